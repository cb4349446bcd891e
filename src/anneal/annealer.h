/* The annealer's inside: anneal.c walks, result.c sums up. */
#ifndef EQF_ANNEALER_H
#define EQF_ANNEALER_H

#include "anneal.h"

/* A step of the schedule that the pilot run found. */
typedef struct eqf__anneal_step {
    double delta, beta; /* the step, and where it ends */
    double angle, langevin_step;
} eqf__anneal_step;

struct eqf_annealer {
    eqf__anneal_system system;
    eqf_anneal_options options;     /* checked, defaults filled in */
    eqf__walkers walkers, proposed; /* of the pilot run, then of all repeats, one after the other */
    eqf__anneal_step *schedule;     /* [max_steps] */
    double *log_z;                  /* [num_repeats]: what the resamplings have taken over from the weights */
    unsigned step, num_steps;
    double beta;
    bool is_pilot, has_begun, is_done;
};

/* Everything but num_steps, of the walkers as they are. */
void eqf__anneal_summarise(const eqf_annealer *annealer, eqf_anneal_result *result_out);

#endif
