/* The trainer's inside, shared by trainer.c and checkpoint.c. */
#ifndef EQF_TRAIN_INTERNAL_H
#define EQF_TRAIN_INTERNAL_H

#include "augment.h"
#include "eqflow/train.h"
#include "flow_internal.h"

/* A record of a step: cl/train/adam.cl. The first numbers are those of eqf__gradient_workspace.d_sums. */
enum { EQF__RECORD_NORM = EQF__NUM_SUMS, EQF__RECORD_IS_GOOD, EQF__RECORD_SIZE };
enum { EQF__MAX_STEPS_IN_FLIGHT = 64 };

/* Sums over steps, from which means are made. */
enum {
    EQF__TOTAL_LOSS,
    EQF__TOTAL_NLL,
    EQF__TOTAL_FREE_ENERGY,
    EQF__TOTAL_NORM,
    EQF__TOTAL_STEPS,
    EQF__TOTAL_NLL_STEPS,
    EQF__TOTAL_FREE_ENERGY_STEPS,
    EQF__NUM_TOTALS
};

struct eqf_trainer {
    eqf_context *ctx;
    eqf_training_options options;
    eqf_model *model; /* parameters: the optimizer's, as last read back; history grows here */
    eqf_flow *flow;   /* the field's d_params are the optimizer's */
    size_t num_trained, num_params;
    size_t num_train, num_held_out;
    unsigned half_bits;   /* of the batch permutation */
    float *held_out;      /* [num_held_out, N, D] */
    uint64_t fingerprint; /* of model options, training options and data */
    eqf__gradient_workspace workspace;
    cl_mem d_data;                                     /* [num_train, N*D], centred */
    cl_mem d_first_moment, d_second_moment, d_average; /* [num_trained] */
    cl_mem d_records;                                  /* [EQF__MAX_STEPS_IN_FLIGHT][EQF__RECORD_SIZE] */
    cl_mem d_failed;                                   /* [1] uint */
    cl_mem d_carry;                                    /* [V]: of the measurement */
    cl_mem d_gradient;                                 /* [num_trained]: of both parts, where the loss has both */
    eqf__kernel gather, measure, update, blend;
    eqf__kernel augment, energy_seed; /* where the options ask for them */
    /* Where it stands */
    uint64_t step, best_step;
    double seconds;
    double held_out_nll, best_nll; /* NaN before the first measurement */
    double held_out_free_energy, best_free_energy;
    double best_loss;              /* what the best model was chosen by; NaN before the first */
    float *best_params;            /* [num_params] */
    float *h_scratch;              /* [num_params] */
    float *h_message;              /* [num_trained + EQF__NUM_SUMS]: what ranks sum */
    /* Since the last history row and since the last report. */
    double row_totals[EQF__NUM_TOTALS], report_totals[EQF__NUM_TOTALS];
    double learning_rate;
};

/* d_records[record] = what a step measured (cl/train/adam.cl), of d_gradient [num] and d_sums, within the launch budget. */
eqf_status eqf__trainer_measure(const eqf_trainer *trainer, cl_mem d_gradient, cl_mem d_sums, cl_mem d_records,
                                unsigned record, cl_mem d_failed, bool has_nll, bool has_free_energy, size_t num);

/* Known answers of the kernels that training adds, unless they have their verdict: SELF_TEST if one is wrong. */
eqf_status eqf__trainer_check_answers(const eqf_trainer *trainer);

/* The workspace anew, large enough for the batches of both parts of the loss. */
eqf_status eqf__trainer_create_workspace(eqf_trainer *trainer);

#endif
