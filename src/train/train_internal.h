/* The trainer's inside, shared by trainer.c and checkpoint.c. */
#ifndef EQF_TRAIN_INTERNAL_H
#define EQF_TRAIN_INTERNAL_H

#include "eqflow/train.h"
#include "flow_internal.h"

enum { EQF__MAX_STEPS_IN_FLIGHT = 64, EQF__RECORD_SIZE = 4 };

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
    eqf__kernel gather, measure, update;
    /* Where it stands */
    uint64_t step, best_step;
    double seconds;
    double held_out_nll, best_nll; /* NaN before the first measurement */
    float *best_params;            /* [num_params] */
    float *h_scratch;              /* [num_params] */
    /* Sums since the last history row (row_) and since the last report (report_): loss, nll, norm, steps */
    double row_sums[4], report_sums[4];
    double learning_rate;
};

#endif
