/* Equal steps of a scheme (cl/integrator/steps.clh) with fields that are text for all samples at one time. Field and
 * scheme are assembled into one program. */
#ifndef EQF_RK4_H
#define EQF_RK4_H

#include "solver.h"

typedef struct eqf__rk4 {
    eqf__solver base;
    const char *scheme_file;
    unsigned num_partials; /* of a gradient */
    /* Layout, chosen by the device's profile: 0, a work-item carries a block; else a work-group of so many carries a
     * sample. Both read and write the same arrays, and give the same numbers up to rounding. */
    unsigned group_size, reverse_group_size;
    /* Within the device's launch budget: steps of a forward launch; steps, and blocks (of groups: samples) one after
     * the other, of a reverse launch. */
    size_t steps_per_launch, reverse_steps, reverse_blocks;
    cl_mem d_nothing; /* stands in for checkpoints where none are kept */
    eqf__kernel forward, adjoint, at_stage;
} eqf__rk4;

/* The solver's inside, for tests: NULL if it is another. */
eqf__rk4 *eqf__rk4_of(eqf__solver *solver);

/* ---- What both forms of RK4 share ---- */

/* Stage times are j / (2 num_steps): INVALID_ARGUMENT if t is none. */
eqf_status eqf__rk4_check_time(eqf__solver *solver, double t);
unsigned eqf__rk4_stage_at(const eqf__solver *solver, double t);

#endif
