/* Training: maximum likelihood on samples, by the exact gradient of the discretised flow (DTO). */
#ifndef EQFLOW_TRAIN_H
#define EQFLOW_TRAIN_H

#include "eqflow/flow.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eqf_training_options {
    unsigned version;
    size_t batch_size;
    uint64_t num_steps;                    /* optimizer steps in all */
    double learning_rate;                  /* Adam, at its highest */
    double final_learning_rate_fraction;   /* cosine from 1 to this */
    uint64_t num_warmup_steps;             /* linear warm-up */
    double weight_decay;                   /* decoupled (AdamW) */
    double clip_norm;                      /* largest gradient norm; 0: no clipping */
    double average_decay;                  /* of the parameters' exponential moving average; 0: none */
    double integration_penalty;            /* lambda, see eqf_loss; keeps DTO from gaming the integrator */
    uint64_t validation_interval;          /* steps between held-out measurements */
    eqf_field_evaluation field_evaluation;
    uint64_t seed;                         /* of the batches */
} eqf_training_options;
#define EQF_TRAINING_OPTIONS_INIT \
    {1, 256, 4000, 5e-3, 0.02, 100, 0.0, 10.0, 0.995, 0.1, 200, EQF_FIELD_TABLE, 0}

/* Owns: a flow, the data and the optimizer's state on the device. Threads: those of its context. */
typedef struct eqf_trainer eqf_trainer;

/* x [num_train, N, D] and x_held_out [num_held_out, N, D] are copied; num_held_out may be 0 (then the
 * last average counts as the best model). model is the start. Errors: INVALID_ARGUMENT, NON_FINITE (the data hold a
 * NaN or infinity; the message says where), those of eqf_flow_create. */
eqf_status eqf_trainer_create(eqf_context *ctx, const eqf_model *model, const eqf_training_options *options,
                              size_t num_train, const float *x, size_t num_held_out,
                              const float *x_held_out, eqf_trainer **trainer_out);
void eqf_trainer_destroy(eqf_trainer **trainer);

/* Where training stands. */
typedef struct eqf_training_state {
    uint64_t step, num_steps;
    double seconds;
    double loss, nll, gradient_norm, learning_rate; /* means since the last report */
    double held_out_nll;                            /* the newest; NaN before the first */
    double best_held_out_nll;                       /* NaN before the first */
    uint64_t best_step;
    bool is_done;
} eqf_training_state;

/* Takes up to max_steps steps (stopping at the end, and after each validation, which adds a history row).
 * NON_FINITE: the loss or gradient was not finite; the parameters stay those of the last good step and the
 * message says what to try. */
eqf_status eqf_trainer_advance(eqf_trainer *trainer, uint64_t max_steps, eqf_training_state *state_out);

/* The best held-out model so far (a copy, with history); the caller destroys it. */
eqf_status eqf_trainer_best_model(eqf_trainer *trainer, eqf_model **model_out);

/* A checkpoint holds all that training needs to go on bit for bit, the data excepted. Restore refuses
 * (INVALID_ARGUMENT) a checkpoint of another model, other options or other data. */
eqf_status eqf_trainer_save_checkpoint(eqf_trainer *trainer, const char *path);
eqf_status eqf_trainer_restore_checkpoint(eqf_trainer *trainer, const char *path);

#ifdef __cplusplus
}
#endif
#endif
