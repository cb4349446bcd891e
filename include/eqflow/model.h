/* The model: system, prior, dynamics, integrator, parameters and training history, which is all that is needed to
 * sample again; on the host and in one file. */
#ifndef EQFLOW_MODEL_H
#define EQFLOW_MODEL_H

#include <math.h>
#include <stdbool.h>
#include <stdint.h>

#include "eqflow/potential.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum eqf_dynamics_kind {
    EQF_DYNAMICS_RADIAL, /* the paper's: pair forces along the distances, equivariant, closed-form divergence */
    /* a black-box network on the flattened coordinates and time: the baseline, only translations are built in */
    EQF_DYNAMICS_DENSE,
    EQF_DYNAMICS_MESSAGE /* deep messages between particles: equivariant, many-body, closed-form divergence */
} eqf_dynamics_kind;

/* How the distance Gaussians start (docs/method.md; Koehler et al. 2020, appendix). */
typedef enum eqf_radial_layout {
    EQF_RADIAL_UNIFORM,   /* centres linspace(0, distance_max), one width distance_gamma */
    EQF_RADIAL_DENSE_CORE /* the authors' choice for LJ-13 (docs/method.md, section 2) */
} eqf_radial_layout;

/* The dense field's hidden layers. */
typedef enum eqf_activation { EQF_ACTIVATION_TANH, EQF_ACTIVATION_SILU } eqf_activation;

typedef struct eqf_dynamics_options {
    size_t struct_size; /* set by EQF_DYNAMICS_OPTIONS_INIT */
    eqf_dynamics_kind kind;
    /* radial */
    unsigned num_distance; /* K Gaussians in distance */
    unsigned num_time;     /* M Gaussians in time, centres linspace(0, 1) */
    eqf_radial_layout layout;
    double distance_max;   /* largest centre, length */
    double distance_gamma; /* width of EQF_RADIAL_UNIFORM, length */
    double time_gamma;     /* width of EQF_RADIAL_UNIFORM in time */
    /* dense */
    unsigned width, depth; /* units of a hidden layer; hidden layers */
    eqf_activation activation;
    /* message; num_distance and distance_max too */
    unsigned num_hops;    /* hops of messages, the first included */
    unsigned num_scalars; /* scalar channels of a particle */
    unsigned num_vectors; /* vector channels of a particle */
    unsigned num_edge;    /* channels of an edge in the read-out */
    unsigned num_reduced; /* vectors of a particle that an edge reads */
    unsigned num_b;       /* set by eqf_model_create: particles of species B in the potential, eqf_potential_num_b */
    unsigned char reserved[428]; /* 0: see eqflow/context.h */
} eqf_dynamics_options;
#define EQF_DYNAMICS_OPTIONS_INIT                                                                                     \
    {                                                                                                                 \
        .struct_size = sizeof(eqf_dynamics_options), .kind = EQF_DYNAMICS_RADIAL, .num_distance = 50, .num_time = 10, \
        .layout = EQF_RADIAL_UNIFORM, .distance_max = 8.0, .distance_gamma = 0.5, .time_gamma = 0.3, .width = 128,    \
        .depth = 2, .activation = EQF_ACTIVATION_TANH, .num_hops = 3, .num_scalars = 48, .num_vectors = 16,           \
        .num_edge = 48, .num_reduced = 8                                                                              \
    }

/* Properties of a kind of dynamics; texts are static. */
typedef struct eqf_dynamics_kind_info {
    size_t struct_size; /* set by the library */
    const char *name;   /* "radial": the key in files */
    const char *title;  /* for help: "the paper's" */
    bool is_equivariant; /* under rotations, reflections and permutations within species */
    bool has_estimates; /* its divergence can be estimated (eqf_divergence) */
    bool has_table;     /* it can be read from a table (eqf_field_evaluation) */
    bool has_double;    /* it can be solved in double precision */
    bool is_batched;    /* evaluated for a batch at any times; flow matching and path gradients need such a field */
    /* Tolerances of the choice of integration steps (eqf_flow_choose_steps): errors of a coordinate (length) and of a
     * log-density (nats) after prior -> data -> prior. */
    double coordinate_tolerance, log_prob_tolerance;
    bool has_species; /* its density need not be symmetric under exchange of unlike particles (eqf_potential_num_b) */
} eqf_dynamics_kind_info;

/* NULL if there is no such kind; kinds count from 0 without a gap. */
const eqf_dynamics_kind_info *eqf_dynamics_kind_describe(eqf_dynamics_kind kind);
/* Errors: NOT_FOUND, INVALID_ARGUMENT where something is NULL (no context: nothing to report to). */
eqf_status eqf_dynamics_kind_find(const char *name, eqf_dynamics_kind *kind_out);
/* The options of a kind, one by one: offsets in eqf_dynamics_options. NULL beyond the last. */
const eqf_option *eqf_dynamics_option(eqf_dynamics_kind kind, size_t index);

typedef enum eqf_prior_kind {
    EQF_PRIOR_GAUSSIAN /* normal on the configurations with their centre of mass at 0, sd prior_scale */
} eqf_prior_kind;

typedef struct eqf_prior_kind_info {
    size_t struct_size; /* set by the library */
    const char *name;   /* "mean_free_gaussian": the key in files */
    const char *title;  /* "mean-free Gaussian" */
} eqf_prior_kind_info;

/* NULL if there is no such kind; kinds count from 0 without a gap. */
const eqf_prior_kind_info *eqf_prior_kind_describe(eqf_prior_kind kind);
/* "mean_free_gaussian". NULL if unknown. */
const char *eqf_prior_kind_name(eqf_prior_kind kind);
/* Errors: NOT_FOUND, INVALID_ARGUMENT where something is NULL (no context: nothing to report to). */
eqf_status eqf_prior_kind_find(const char *name, eqf_prior_kind *kind_out);
/* The options of a kind, one by one: offsets in eqf_model_options. NULL beyond the last. */
const eqf_option *eqf_prior_option(eqf_prior_kind kind, size_t index);

typedef enum eqf_integrator_method {
    EQF_INTEGRATOR_RK4,   /* equal steps, the same for all samples */
    /* Dormand-Prince 5(4), each sample its own steps: a choice of the flow, see eqf_flow_options; models say RK4 */
    EQF_INTEGRATOR_DOPRI5
} eqf_integrator_method;

/* Properties of a method; texts are static. */
typedef struct eqf_integrator_method_info {
    size_t struct_size;    /* set by the library */
    const char *name;      /* "rk4" */
    const char *title;     /* "Dormand-Prince 5(4)" */
    /* each sample has its own steps, by eqf_adaptive_options; gradients are those of the continuous adjoint */
    bool has_step_control;
    bool has_double;       /* it can solve in double precision */
} eqf_integrator_method_info;

/* NULL if there is no such method; methods count from 0 without a gap. */
const eqf_integrator_method_info *eqf_integrator_method_describe(eqf_integrator_method method);
/* Errors: NOT_FOUND, INVALID_ARGUMENT where something is NULL (no context: nothing to report to). */
eqf_status eqf_integrator_method_find(const char *name, eqf_integrator_method *method_out);

typedef struct eqf_integrator_options {
    size_t struct_size; /* set by EQF_INTEGRATOR_OPTIONS_INIT */
    eqf_integrator_method method;
    unsigned num_steps; /* equal steps over t in [0, 1] */
    unsigned char reserved[112]; /* 0: see eqflow/context.h */
} eqf_integrator_options;
#define EQF_INTEGRATOR_OPTIONS_INIT \
    { .struct_size = sizeof(eqf_integrator_options), .method = EQF_INTEGRATOR_RK4, .num_steps = 20 }

typedef struct eqf_model_options {
    size_t struct_size; /* set by EQF_MODEL_OPTIONS_INIT */
    char preset[32]; /* the system's name: "dw4", or "" */
    eqf_potential_options potential; /* the target; also gives N and D */
    double prior_scale;              /* width of the prior, a length; of the mean-free Gaussian: its sd */
    eqf_dynamics_options dynamics;
    eqf_integrator_options integrator;
    uint64_t seed; /* of the initial parameters */
    eqf_prior_kind prior_kind;
} eqf_model_options;
#define EQF_MODEL_OPTIONS_INIT                                                                                 \
    {                                                                                                          \
        .struct_size = sizeof(eqf_model_options), .potential = EQF_POTENTIAL_OPTIONS_INIT, .prior_scale = 1.0, \
        .dynamics = EQF_DYNAMICS_OPTIONS_INIT, .integrator = EQF_INTEGRATOR_OPTIONS_INIT                       \
    }

/* ln of the integral of the prior's exp(-u), where u = -ln of its density, shifted so that it is 0 where all
 * coordinates are 0. NaN if options are NULL or their kind of prior is unknown. */
double eqf_prior_log_z(const eqf_model_options *options);

/* One line of the training history. Means over the steps since the line before; held_out_nll is NaN
 * where it was not measured. */
typedef struct eqf_history_row {
    size_t struct_size; /* set by EQF_HISTORY_ROW_INIT */
    uint64_t step;
    /* wall time in training so far; 0 when loaded: the file lacks it, so the same seed gives the same file */
    double seconds;
    double loss, nll, held_out_nll, gradient_norm, learning_rate;
    double free_energy, held_out_free_energy; /* NaN if the loss has no such part; so are the members below */
    double flow_matching, held_out_flow_matching;
    double dispersion, held_out_dispersion;
    unsigned char reserved[144]; /* 0: see eqflow/context.h */
} eqf_history_row;
#define EQF_HISTORY_ROW_INIT                                                                                    \
    {.struct_size = sizeof(eqf_history_row), .held_out_nll = (double)NAN, .free_energy = (double)NAN,           \
     .held_out_free_energy = (double)NAN, .flow_matching = (double)NAN, .held_out_flow_matching = (double)NAN, \
     .dispersion = (double)NAN, .held_out_dispersion = (double)NAN}

/* A named part of the flat parameter vector; row-major. */
typedef struct eqf_param_slice {
    size_t struct_size; /* set by the library */
    const char *name; /* "radial.weights", ...: also the tensor's name in the file */
    unsigned num_dims;
    size_t shape[2];
    size_t offset, count; /* in floats */
    bool is_trained;      /* false: a constant such as the centres, at the end of the vector */
} eqf_param_slice;

/* Owns: parameters and history, on the host. Threads: one at a time. */
typedef struct eqf_model eqf_model;

/* A fresh model, parameters drawn from options->seed (radial: W ~ N(0,1)/sqrt(K), bias and importance 0;
 * dense: weights N(0,1)/sqrt(inputs), the last layer's a hundredth of that, biases 0).
 * Errors: INVALID_ARGUMENT, OUT_OF_MEMORY. */
eqf_status eqf_model_create(eqf_context *ctx, const eqf_model_options *options, eqf_model **model_out);
eqf_status eqf_model_copy(eqf_context *ctx, const eqf_model *model, eqf_model **model_out);
void eqf_model_destroy(eqf_model **model);

/* Views into the model, valid until it changes or is destroyed. */
const eqf_model_options *eqf_model_options_of(const eqf_model *model);
/* Flat float32 parameters: first the num_trained trained ones, then constants; num_params in all. */
size_t eqf_model_num_params(const eqf_model *model);
size_t eqf_model_num_trained(const eqf_model *model);
const float *eqf_model_params(const eqf_model *model);
size_t eqf_model_num_slices(const eqf_model *model);
const eqf_param_slice *eqf_model_slice(const eqf_model *model, size_t index);
/* The training history, oldest first; *num_rows_out may be 0. */
const eqf_history_row *eqf_model_history(const eqf_model *model, size_t *num_rows_out);
/* The library version that made the model ("0.1.0"). */
const char *eqf_model_version(const eqf_model *model);

/* Copies num_params floats into the model; NON_FINITE if one is not finite. */
eqf_status eqf_model_set_params(eqf_context *ctx, eqf_model *model, const float *params);
/* Sets the number of integration steps; INVALID_ARGUMENT unless it is 1 to 100000. */
eqf_status eqf_model_set_num_steps(eqf_context *ctx, eqf_model *model, unsigned num_steps);
eqf_status eqf_model_add_history(eqf_context *ctx, eqf_model *model, const eqf_history_row *row);

/* One safetensors file (docs/file-formats.md). Save writes the whole file or nothing; load also takes "gallery:NAME"
 * (eqflow/gallery.h). Errors: IO; load also FORMAT (not a model, corrupt, newer format), UNSUPPORTED, NOT_FOUND (a name
 * that the gallery lacks). */
eqf_status eqf_model_save(eqf_context *ctx, const eqf_model *model, const char *path);
eqf_status eqf_model_load(eqf_context *ctx, const char *path, eqf_model **model_out);

#ifdef __cplusplus
}
#endif
#endif
