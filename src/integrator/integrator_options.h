/* Options of integrators. Each is written once here, for the tables of the integrators (in eqf_flow_options), of a
 * model's integrator and of a training. `structure` is the struct that has the option. */
#ifndef EQF_INTEGRATOR_OPTIONS_H
#define EQF_INTEGRATOR_OPTIONS_H

#include "eqflow/flow.h"
#include "option.h"

/* The method in a model file. */
#define EQF__METHOD_OPTION(structure)                                                                  \
    EQF__OPTION(structure, method, NAME, .initial = EQF_INTEGRATOR_RK4, .names = eqf__model_method_names, \
                .help = "how the flow is solved")
/* Commands have flags of their own for the number of steps. */
#define EQF__NUM_STEPS_OPTION(structure)                                                                \
    EQF__OPTION(structure, num_steps, UNSIGNED, .initial = 20, .low = 1, .high = 100000, .flag = "", \
                .help = "equal steps")

/* An option of step control, in the struct's member `adaptive`. */
#define EQF__ADAPTIVE_OPTION(structure, member, value_type, ...)                             \
    {                                                                                        \
        .struct_size = sizeof(eqf_option), .key = #member,                                   \
        .offset = offsetof(structure, adaptive) + offsetof(eqf_adaptive_options, member),    \
        .type = EQF_OPTION_##value_type, .is_zero_default = true, __VA_ARGS__                \
    }
#define EQF__RTOL_OPTION(structure)                                                            \
    EQF__ADAPTIVE_OPTION(structure, rtol, REAL, .initial = 1e-5, .low = 1e-8, .high = 0.1, \
                         .help = "largest relative error of a step")
#define EQF__ATOL_OPTION(structure)                                                           \
    EQF__ADAPTIVE_OPTION(structure, atol, REAL, .initial = 1e-10, .low = 1e-20, .high = 1, \
                         .help = "largest absolute error of a step")
#define EQF__MAX_STEPS_OPTION(structure)                                                                  \
    EQF__ADAPTIVE_OPTION(structure, max_steps, UNSIGNED, .initial = 10000, .low = 1, .high = 1000000, \
                         .flag = "", .help = "tries of a step before a sample is given up")
#define EQF__ERROR_NORM_OPTION(structure)                                                      \
    EQF__ADAPTIVE_OPTION(structure, error_norm, NAME, .initial = EQF_ERROR_NORM_STATE_AND_LOG_DET, \
                         .names = eqf__error_norm_names, .flag = "", .help = "what is held below the tolerance")

/* The methods that a model may have, by their numbers (solver.c); the others can only be chosen for a flow. */
extern const char *const eqf__model_method_names[];
extern const char *const eqf__error_norm_names[];

#endif
