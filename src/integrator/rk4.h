/* Equal steps of a scheme (cl/integrator/steps.clh) for fields with the stage form. The texts of field and scheme
 * become one program. */
#ifndef EQF_RK4_H
#define EQF_RK4_H

#include "solver.h"

typedef struct eqf__rk4 {
    eqf__solver base;
    const char *scheme_file;
    unsigned num_partials; /* number of partial gradients */
    /* The layout, which the device's profile chooses. 0: a work-item computes a block; else a work-group of this size
     * computes a sample. Both use the same arrays, and have the same results up to rounding. */
    unsigned group_size, reverse_group_size;
    /* By the device's launch budget: the steps of a forward launch; the steps of a reverse launch, and the blocks (with
     * groups the samples) that each of its work-items (groups) computes one after the other. */
    size_t steps_per_launch, reverse_steps, reverse_blocks;
    cl_mem d_nothing; /* passed as checkpoints if there are none */
    eqf__kernel forward, adjoint, at_stage;
} eqf__rk4;

/* Internals of the solver, for tests; NULL if it is another solver. */
eqf__rk4 *eqf__rk4_of(eqf__solver *solver);

/* ---- Common to both forms of RK4 ---- */

/* INVALID_ARGUMENT if t is not a stage time, j / (2 num_steps). */
eqf_status eqf__rk4_check_time(eqf__solver *solver, double t);
unsigned eqf__rk4_stage_at(const eqf__solver *solver, double t);

#endif
