/* The annealer, for anneal.c, which does the steps, and result.c, which computes the results. */
#ifndef EQF_ANNEALER_H
#define EQF_ANNEALER_H

#include "anneal.h"

/* A step of the schedule that the pilot run found. */
typedef struct eqf__anneal_step {
    double delta, beta;                  /* the step, and its end */
    double sizes[EQF__ANNEAL_NUM_KINDS]; /* of the moves of each kind */
} eqf__anneal_step;

struct eqf_annealer {
    eqf__anneal_system system;
    eqf_anneal_options options;     /* checked, defaults filled in */
    eqf__walkers walkers, proposed; /* first of the pilot run; then of all repeats, one block after the other */
    eqf__anneal_step *schedule;     /* [max_steps] */
    double *log_z;                  /* [num_repeats]: ln of the mean weights that resamplings have removed */
    unsigned step, num_steps;
    double beta;
    bool is_pilot, has_begun, is_done;
};

/* Fills in the results from the walkers, except num_steps. */
void eqf__anneal_summarise(const eqf_annealer *annealer, eqf_anneal_result *result_out);

#endif
