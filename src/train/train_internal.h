/* The trainer, for the files of this folder:
 *   options.c     options: checks, schedules, fingerprint
 *   term.c        the losses, one row each
 *   weighted.c    likelihoods with weighted samples: the log-dispersion, the cap on samples
 *   path.c        path gradients of likelihood and free energy
 *   matching.c    flow matching; its pairs are made by pairing.c and src/alignment
 *   optimizer.c   the optimizers, one row each; soap.c is one of them
 *   validation.c  held-out measurements, the best model, the history
 *   step.c        one step and its measurements
 *   trainer.c     creation, stages, and the loop over steps
 *   checkpoint.c  checkpoints */
#ifndef EQF_TRAIN_INTERNAL_H
#define EQF_TRAIN_INTERNAL_H

#include "augment.h"
#include "eqflow/train.h"
#include "solve.h"

typedef struct eqf__optimizer eqf__optimizer;
typedef struct eqf__adam eqf__adam;
typedef struct eqf__soap eqf__soap;
typedef struct eqf__matching eqf__matching;
typedef struct eqf__path eqf__path;
typedef struct eqf__weighted eqf__weighted;

enum { EQF__MAX_STEPS_IN_FLIGHT = 64 };

/* The losses. Each has two indices in d_sums: of its mean over the batch and of the mean integration error. */
typedef enum eqf__term_kind {
    EQF__TERM_NLL,
    EQF__TERM_ENERGY,
    EQF__TERM_FLOW_MATCHING,
    EQF__TERM_DISPERSION,
    EQF__NUM_TERMS
} eqf__term_kind;

/* Sums over steps, for means. Those of a term are over the steps in which its weight is not 0. */
typedef struct eqf__totals {
    double loss, norm, num_steps;
    double value[EQF__NUM_TERMS], num_value_steps[EQF__NUM_TERMS];
} eqf__totals;

struct eqf_trainer {
    eqf_context *ctx;
    eqf_training_options *stages;    /* [num_stages] */
    unsigned num_stages, stage;      /* stage: the current one */
    eqf_training_options options;    /* of the current stage */
    uint64_t stage_begin, num_steps; /* the stage's first step; the steps of all stages */
    /* its parameters are the optimizer's when they were last read; it has the history */
    eqf_model *model;
    eqf_flow *flow;                  /* the field's d_params are the optimizer's */
    size_t num_trained, num_params;
    size_t num_train, num_held_out;
    unsigned half_bits;   /* of the batch permutation */
    float *held_out;      /* [num_held_out, N, D] */
    float *data;          /* [num_train, N, D], for stages that make pairs; else NULL */
    uint64_t fingerprint; /* of model options, training options and data */
    eqf__gradient_workspace workspace;
    cl_mem d_data;     /* [num_train, N*D], centred */
    cl_mem d_average;  /* [num_trained] */
    cl_mem d_records;  /* [EQF__MAX_STEPS_IN_FLIGHT][EQF__RECORD_SIZE] */
    cl_mem d_failed;   /* [1] uint: not 0 after a step that was not finite */
    cl_mem d_carry;    /* [V]: partial sums of the measurement */
    cl_mem d_gradient; /* [num_trained]: the sum over terms and parts of a batch, if there are several */
    cl_mem d_sums;     /* [EQF__NUM_SUMS]: the sum over parts of a batch */
    eqf__kernel gather, measure, blend;
    eqf__kernel augment, energy_seed; /* if the options need them */
    const eqf__optimizer *optimizer;
    eqf__matching *matching; /* if the stage is flow matching; else NULL */
    eqf__path *path;         /* if the stage has path gradients; else NULL */
    eqf__weighted *weighted; /* if the host weights samples; else NULL */
    eqf__adam *adam;         /* the state of the stage's optimizer; the other is NULL */
    eqf__soap *soap;
    /* The state of training. */
    uint64_t step, best_step;
    double seconds;
    /* Held-out means: the newest, and those of the best model; NaN before the first measurement. */
    double measured[EQF__NUM_TERMS], best_measured[EQF__NUM_TERMS];
    double best_loss;    /* the held-out loss by which the best model was chosen; NaN before the first */
    double running_norm; /* running mean of the gradient's norm, for clip_ratio; 0 before the first step */
    float *best_params;  /* [num_params] */
    float *h_scratch;    /* [num_params] */
    float *h_message;    /* [num_trained + EQF__NUM_SUMS]: the numbers that ranks sum */
    /* Since the last history row and since the last report. */
    eqf__totals row_totals, report_totals;
    double learning_rate;
};

/* ---- Options ----------------------------------------------------------------------------------------------------- */

eqf_status eqf__training_options_check(eqf_context *ctx, const eqf_training_options *options);

/* A hash of model, options and data x [num_train, N, D], by which a checkpoint is refused that was made with others. */
uint64_t eqf__trainer_fingerprint(const eqf_trainer *trainer, const float *x);

/* The learning rate of a step, counted from 0: linear warm-up, then a cosine down to the final fraction (Loshchilov and
 * Hutter 2017). */
double eqf__scheduled_learning_rate(const eqf_training_options *options, uint64_t step);
/* The weight of the nll in the loss; that of the free energy is 1 minus it. */
double eqf__scheduled_nll_weight(const eqf_training_options *options, uint64_t step);

/* ---- Terms ------------------------------------------------------------------------------------------------------- */

/* This rank's part of a batch; without ranks: the whole batch. */
typedef struct eqf__batch_share {
    size_t first, count;
    double fraction; /* of the batch */
} eqf__batch_share;
eqf__batch_share eqf__share_of(const eqf_trainer *trainer, size_t num);
/* The largest number of samples that are solved at once: the largest share of all terms, or sub_batch_size. */
size_t eqf__largest_solve(const eqf_trainer *trainer);
/* How many samples of a share of `count` are solved at once: sub_batch_size, or all. */
static inline size_t eqf__part_of(const eqf_trainer *trainer, size_t count) {
    const size_t most = trainer->options.sub_batch_size;
    return most > 0 && most < count ? most : count;
}

typedef struct eqf__term {
    const char *name;                       /* of its history column, and held_out_<name> beside it */
    eqf_direction direction;                /* of the solve of its batch */
    size_t history_offset, held_out_offset; /* in eqf_history_row */
    /* The term's weight; nll_weight is that of the nll among the two parts of EQF_OBJECTIVE_LIKELIHOOD. */
    double (*weight)(const eqf_training_options *options, double nll_weight);
    size_t (*batch_size)(const eqf_training_options *options);
    /* Draws the share's part of this step's batch into workspace.d_x; parts of a share are drawn in their order. */
    eqf_status (*draw)(eqf_trainer *trainer, const eqf__batch_share *share);
    /* Launches loss and gradient of count drawn samples: workspace.d_gradient, and its pair of workspace.d_sums. */
    eqf_status (*launch)(eqf_trainer *trainer, size_t count);
    /* The held-out mean, and the one by which models are chosen. */
    eqf_status (*measure)(eqf_trainer *trainer, double *mean_out, double *choosing_out);
    bool (*is_measured)(const eqf_trainer *trainer); /* whether there are held-out samples for it */
} eqf__term;
extern const eqf__term eqf__terms[EQF__NUM_TERMS];

/* A term's weight at a step, counted from 0; and at the last step, by which models are chosen. */
double eqf__term_weight(const eqf_training_options *options, eqf__term_kind kind, uint64_t step);
double eqf__term_last_weight(const eqf_training_options *options, eqf__term_kind kind);
/* Whether the loss has that term at any step. */
bool eqf__has_term(const eqf_training_options *options, eqf__term_kind kind);
/* Kernels that the options' terms need. */
eqf_status eqf__terms_create(eqf_trainer *trainer);
void eqf__terms_destroy(eqf_trainer *trainer);

/* ---- Steps ------------------------------------------------------------------------------------------------------- */

/* d_records[record] = the measurements of a step (cl/train/adam.cl) from d_gradient [num] and d_sums, within the launch
 * budget. Bit k of terms: the loss has term k in this step. */
eqf_status eqf__trainer_measure(const eqf_trainer *trainer, cl_mem d_gradient, cl_mem d_sums, cl_mem d_records,
                                unsigned record, cl_mem d_failed, cl_uint terms, size_t num);

/* Launches the next step; its measurements go to record number `record`. */
eqf_status eqf__trainer_step(eqf_trainer *trainer, size_t record);
/* Reads the records of the last num_records steps and adds them to the totals. Errors: NON_FINITE; the trainer's step
 * is then the one that failed. */
eqf_status eqf__trainer_collect(eqf_trainer *trainer, size_t num_records);

/* One step's numbers for an optimizer. */
typedef struct eqf__step {
    cl_mem d_gradient; /* [num_trained] */
    cl_uint record;    /* index in d_records */
    double number;     /* number of the step, from 1 */
    double learning_rate, average_decay;
    double clip_norm; /* largest norm of the gradient; 0: no limit */
} eqf__step;

enum { EQF__NUM_OPTIMIZERS = EQF_OPTIMIZER_SOAP + 1 };

struct eqf__optimizer {
    const char *name;
    eqf_status (*create)(eqf_trainer *trainer); /* state of zeros */
    void (*destroy)(eqf_trainer *trainer);
    /* Changes parameters and average, unless the step or one before was not finite. */
    eqf_status (*step)(eqf_trainer *trainer, const eqf__step *step);
    /* The state as floats, for checkpoints. */
    size_t (*state_size)(const eqf_trainer *trainer);
    eqf_status (*read)(eqf_trainer *trainer, float *state_out);
    eqf_status (*write)(eqf_trainer *trainer, const float *state);
};
extern const eqf__optimizer eqf__optimizers[EQF__NUM_OPTIMIZERS]; /* by eqf_optimizer_kind */

struct eqf__adam {
    cl_mem d_first_moment, d_second_moment; /* [num_trained] */
    eqf__kernel update;
};

/* ---- Stages ------------------------------------------------------------------------------------------------------ */

/* The number of the next step, counted from the stage's first. */
static inline uint64_t eqf__stage_step(const eqf_trainer *trainer) {
    return trainer->step - trainer->stage_begin;
}
/* Sets up all that depends on the stage's options; parameters are the best so far, the optimizer's state is zero. */
eqf_status eqf__trainer_enter_stage(eqf_trainer *trainer, unsigned stage);

/* Restores the state from a file's bytes; path is for messages. Errors as of eqf_trainer_restore_checkpoint; after an
 * error the trainer can only be destroyed. */
eqf_status eqf__trainer_restore_bytes(eqf_trainer *trainer, const char *path, const unsigned char *bytes,
                                      size_t num_bytes);

/* ---- Flow matching ----------------------------------------------------------------------------------------------- */

eqf_status eqf__matching_create(eqf_trainer *trainer);
void eqf__matching_destroy(eqf_trainer *trainer);
eqf_status eqf__matching_draw(eqf_trainer *trainer, const eqf__batch_share *share);
eqf_status eqf__matching_launch(eqf_trainer *trainer, size_t count);
eqf_status eqf__matching_measure(eqf_trainer *trainer, double *mean_out, double *choosing_out);

/* ---- Path gradients ---------------------------------------------------------------------------------------------- */

eqf_status eqf__path_create(eqf_trainer *trainer);
void eqf__path_destroy(eqf_trainer *trainer);
/* Loss and path gradient of the batch in workspace.d_x: of data (EQF_DATA_TO_PRIOR: nll) or of latents (the free energy
 * of their images). place: the term's first index in d_sums. */
eqf_status eqf__path_launch(eqf_trainer *trainer, eqf_direction direction, size_t count, unsigned place);

/* ---- Weighted samples
 * --------------------------------------------------------------------------------------------- */

eqf_status eqf__weighted_create(eqf_trainer *trainer);
void eqf__weighted_destroy(eqf_trainer *trainer);
/* The likelihood with the weight of improbable samples reduced by sample_cap. */
eqf_status eqf__capped_nll_launch(eqf_trainer *trainer, size_t count);
eqf_status eqf__dispersion_launch(eqf_trainer *trainer, size_t count);
eqf_status eqf__dispersion_measure(eqf_trainer *trainer, double *mean_out, double *choosing_out);

/* Separate seeds for the model's samples and for pairs, so that `eqf_flow_sample` with the same seed repeats none of
 * them. */
typedef enum eqf__noise_purpose {
    EQF__NOISE_TRAINING = 1,
    EQF__NOISE_HELD_OUT = 2,
    EQF__NOISE_PAIRS = 3,
    EQF__NOISE_HELD_OUT_PAIRS = 4
} eqf__noise_purpose;
uint64_t eqf__noise_seed(const eqf_training_options *options, eqf__noise_purpose purpose);
/* Number of held-out samples that a measurement takes. */
size_t eqf__num_validated(const eqf_trainer *trainer);

/* Checks the known answers (src/check) of the programs of the stage, as they are assembled now, unless they have passed
 * before: SELF_TEST if one is wrong. */
eqf_status eqf__trainer_check(const eqf_trainer *trainer);
/* The program of batches and of the optimizer. */
eqf_status eqf__training_program(eqf_context *ctx, eqf__program **program_out);
/* The programs of stages; each is built once. */
eqf_status eqf__matching_program(eqf_context *ctx, size_t num_dof, eqf__program **program_out);
eqf_status eqf__weighted_program(eqf_context *ctx, size_t num_dof, eqf__program **program_out);
eqf_status eqf__path_program(eqf_context *ctx, unsigned num_particles, unsigned space_dim, eqf__program **program_out);

/* Makes a new workspace, large enough for the batches of all terms. */
eqf_status eqf__trainer_create_workspace(eqf_trainer *trainer);

/* ---- Validation -------------------------------------------------------------------------------------------------- */

/* Measures the averaged parameters on the held-out samples and keeps them if they are the best. It also checks the
 * field's table, and refines it if necessary. */
eqf_status eqf__trainer_validate(eqf_trainer *trainer);
eqf_status eqf__trainer_add_history(eqf_trainer *trainer);
/* total / num_steps; NaN for no steps. */
double eqf__mean_of(double total, double num_steps);

#endif
