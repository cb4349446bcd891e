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
    /* For independence.c: energies before the moves of a step [num walkers]; mean number of walkers that a walker is
     * alike [num_repeats], itself included; what the last step gave. */
    float *energy_before;
    double *family;
    double energy_correlation, num_independent;
    unsigned step, num_steps;
    double beta;
    bool is_pilot, has_begun, is_done;
};

/* Pearson's correlation of the walkers' energies before and after moves, by their weights within each repeat. */
double eqf__anneal_correlation(const eqf__walkers *walkers, const float *before, unsigned num_repeats);
/* How many of a repeat's num walkers a new one is alike: of samples they are drawn with replacement. */
double eqf__anneal_first_family(const eqf_annealer *annealer, size_t num);
/* Mean over resampled walkers of how many have the same parent; equal parents are neighbours. */
double eqf__anneal_copies(size_t num, const size_t *parents);
/* After the moves of a step: energy_correlation and num_independent of the state. */
void eqf__anneal_measure_moves(eqf_annealer *annealer, eqf_anneal_state *state);

/* Fills in the results from the walkers, except what the steps alone know. */
void eqf__anneal_summarise(const eqf_annealer *annealer, eqf_anneal_result *result_out);

#endif
