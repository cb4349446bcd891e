/* Training in stages: by likelihood of samples, by the target's energy, or by both, with the gradient of the
 * discretised flow (DTO), of the continuous flow (OTD) or along the samples' paths; or by flow matching, without
 * solving the flow. Equations: docs/method.md, section 4. */
#ifndef EQFLOW_TRAIN_H
#define EQFLOW_TRAIN_H

#include <math.h>
#include <stdbool.h>

#include "eqflow/flow.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The gradient of nll and free energy. */
typedef enum eqf_gradient {
    EQF_GRADIENT_DTO, /* discretise, then optimise: the exact gradient of RK4's flow */
    /* optimise, then discretise: the continuous adjoint, solved backward by dopri5. Slower; without integration
     * penalty */
    EQF_GRADIENT_OTD,
    /* path gradient of the Kullback-Leibler divergence (Vaitl et al. 2022): its variance vanishes where the model is
     * the target. It needs the target's potential, and data must be its equilibrium samples. For batched fields with
     * exact divergence; without integration penalty */
    EQF_GRADIENT_PATH
} eqf_gradient;

/* What a stage minimises. */
typedef enum eqf_objective {
    EQF_OBJECTIVE_LIKELIHOOD,   /* nll and free energy, by their weights */
    /* mean of |v(x_t, t) - (x - z)|^2, x_t = (1 - t) z + t x, t uniform (Lipman et al. 2023): needs data and a batched
     * field */
    EQF_OBJECTIVE_FLOW_MATCHING
} eqf_objective;

/* How latents are paired with data in flow matching. The nearer the two are, the straighter are the paths and the
 * simpler is the field. */
typedef enum eqf_pairing {
    EQF_PAIRING_NONE,      /* as they are drawn */
    EQF_PAIRING_MINIBATCH, /* of least total squared distance within groups of pairing_group (Tong et al. 2023) */
    /* each datum is rotated, reflected and relabelled so that it is near its latent (Klein, Kraemer and Noe 2023). Up
     * to four particles the copy is the nearest of all, and pairs have least total squared distance within groups of
     * pairing_group. For equivariant fields */
    EQF_PAIRING_EQUIVARIANT
} eqf_pairing;

/* How steps are computed from gradients. */
typedef enum eqf_optimizer_kind {
    EQF_OPTIMIZER_ADAM, /* with decoupled weight decay (AdamW), on the device */
    /* Adam in the eigenbasis of each matrix's running gradient covariances (Vyas et al. 2024), on the host */
    EQF_OPTIMIZER_SOAP
} eqf_optimizer_kind;

typedef struct eqf_training_options {
    size_t struct_size;                    /* set by EQF_TRAINING_OPTIONS_INIT */
    size_t batch_size;
    uint64_t num_steps;                    /* optimizer steps in all */
    double learning_rate;                  /* Adam, at its highest */
    double final_learning_rate_fraction;   /* cosine from 1 to this */
    uint64_t num_warmup_steps;             /* linear warm-up */
    double weight_decay;                   /* decoupled (AdamW) */
    double clip_norm;                      /* largest gradient norm; 0: no clipping */
    double average_decay;                  /* of the parameters' exponential moving average; 0: none */
    double integration_penalty;            /* see eqf_loss; without it DTO exploits the integration error */
    uint64_t validation_interval;          /* steps between held-out measurements */
    eqf_field_evaluation field_evaluation;
    uint64_t seed;                         /* of the batches */
    /* loss = w nll + (1 - w) free_energy (eqf_loss, eqf_energy_loss), each with its integration penalty; w goes
     * linearly from start to end of training. 1: maximum likelihood only; 0: energy only, which needs no data. */
    double nll_weight_start, nll_weight_end;
    size_t num_generated;                  /* samples of the model in a step, where w < 1 */
    double energy_cap;                     /* of eqf_flow_energy_gradient; INFINITY: none */
    /* latents on which the held-out free energy is measured, the same each time */
    size_t num_held_out_generated;
    bool is_augmented;                     /* random rotations, reflections and permutations of the training batches */
    eqf_divergence divergence;             /* estimates draw new noise with every batch */
    eqf_gradient gradient;
    eqf_adaptive_options adaptive;         /* of EQF_GRADIENT_OTD */
    /* sd of mean-free normal noise on the training data's coordinates, anew in each batch; 0: none */
    double data_noise;
    eqf_optimizer_kind optimizer;
    double clip_ratio;                     /* largest gradient norm, in units of its running mean; 0: no clipping */
    size_t num_validated;                  /* a measurement takes so many held-out samples, the first; 0: all */
    eqf_objective objective;
    /* Of flow matching. pairing_group: number of pairs within which latents are dealt to data. num_pairing_starts:
     * random orientations from which an alignment of more than four particles begins. num_pairing_threads: host threads
     * that make pairs while the device trains (0: one for each processor, at most 8); results do not depend on it. */
    eqf_pairing pairing;
    size_t pairing_group;
    unsigned num_pairing_starts, num_pairing_threads;
    /* Weight of a term that is added to nll and free energy: the mean over the batch of data of (w - mean of w)^2 with
     * w = log_prob(x) + u(x). ln Z drops out, and the data may have any density. With EQF_GRADIENT_DTO or OTD. 0:
     * none */
    double dispersion_weight;
    /* For a likelihood with EQF_GRADIENT_DTO or OTD, in nats: a sample whose nll is above the batch's mean by more than
     * this has its share in the gradient multiplied by sample_cap / (nll - mean), so that one bad trajectory does not
     * dominate a step. 0: none */
    double sample_cap;
    /* of EQF_GRADIENT_PATH: largest |grad log q + grad u| of a sample; 0: none */
    double path_cap;
    /* For batches that do not fit into memory: a batch is solved in parts of this many samples, one after the other,
     * and their gradients are added in this order. 0: the whole batch. Not with the log-dispersion or sample_cap, which
     * need the mean of the batch. */
    size_t sub_batch_size;
} eqf_training_options;
#define EQF_TRAINING_OPTIONS_INIT                                                                                      \
    {                                                                                                                  \
        .struct_size = sizeof(eqf_training_options), .batch_size = 256, .num_steps = 4000, .learning_rate = 5e-3,      \
        .final_learning_rate_fraction = 0.02, .num_warmup_steps = 100, .clip_norm = 10.0, .average_decay = 0.995,      \
        .integration_penalty = 0.1, .validation_interval = 200, .field_evaluation = EQF_FIELD_TABLE,                   \
        .nll_weight_start = 1.0, .nll_weight_end = 1.0, .num_generated = 256, .energy_cap = (double)INFINITY,          \
        .num_held_out_generated = 4096, .divergence = EQF_DIVERGENCE_EXACT, .gradient = EQF_GRADIENT_DTO,              \
        .adaptive = EQF_ADAPTIVE_OPTIONS_INIT, .optimizer = EQF_OPTIMIZER_ADAM, .objective = EQF_OBJECTIVE_LIKELIHOOD, \
        .pairing = EQF_PAIRING_NONE, .pairing_group = 64, .num_pairing_starts = 4                                      \
    }

/* The options, one by one: offsets in eqf_training_options. NULL beyond the last. */
const eqf_option *eqf_training_option(size_t index);

/* Owns: a flow, the data and the optimizer's state on the device. Threads: as its context. */
typedef struct eqf_trainer eqf_trainer;

/* x [num_train, N, D] and x_held_out [num_held_out, N, D] are copied; num_train may be 0 if both weights of the nll are
 * 0. num_held_out may be 0: then the last average is taken as the best model, unless the loss at the end is free energy
 * alone. Training starts from model, whose potential is the target. Errors: INVALID_ARGUMENT, NON_FINITE (the data hold
 * a NaN or infinity; the message says where), those of eqf_flow_create. */
eqf_status eqf_trainer_create(eqf_context *ctx, const eqf_model *model, const eqf_training_options *options,
                              size_t num_train, const float *x, size_t num_held_out,
                              const float *x_held_out, eqf_trainer **trainer_out);
void eqf_trainer_destroy(eqf_trainer **trainer);

/* The same with stages, one after the other: stages [num_stages] are their options, whose steps count from the first
 * step of the stage. A stage begins with the best model of the one before and a fresh optimizer, and keeps that model
 * unless it finds a better one. */
eqf_status eqf_trainer_create_stages(eqf_context *ctx, const eqf_model *model, unsigned num_stages,
                                     const eqf_training_options *const *stages, size_t num_train, const float *x,
                                     size_t num_held_out, const float *x_held_out, eqf_trainer **trainer_out);

/* The state of training. */
typedef struct eqf_training_state {
    size_t struct_size; /* set by EQF_TRAINING_STATE_INIT */
    uint64_t step, num_steps;
    double seconds;
    double loss, nll, gradient_norm, learning_rate; /* means since the last report */
    double held_out_nll;                            /* the newest; NaN before the first */
    double best_held_out_nll;                       /* of the best model; NaN before there is one */
    double free_energy, held_out_free_energy, best_held_out_free_energy; /* the same, if the loss has it; else NaN */
    double nll_weight;                              /* of the newest step */
    uint64_t best_step;
    bool is_done;
    double flow_matching, held_out_flow_matching, best_held_out_flow_matching; /* as free_energy */
    unsigned stage, num_stages;      /* stage of the newest step, from 0 */
    uint64_t stage_step, stage_num_steps;
    const char *stage_name;          /* static: "nll", "free_energy", "mixture" or "flow_matching" */
    double dispersion, held_out_dispersion, best_held_out_dispersion; /* as free_energy */
} eqf_training_state;
#define EQF_TRAINING_STATE_INIT {.struct_size = sizeof(eqf_training_state)}

/* Does at most max_steps steps; it returns earlier at the end of training and after each validation, which adds a
 * history row. NON_FINITE: the loss or gradient was not finite; the parameters stay those of the last good step, and
 * the message says what to try. */
eqf_status eqf_trainer_advance(eqf_trainer *trainer, uint64_t max_steps, eqf_training_state *state_out);

/* The best held-out model so far (a copy, with history); the caller destroys it. The best has the lowest held-out w nll
 * + (1 - w) free_energy with the weight w at the end of training (in flow matching the lowest held-out loss); of 100 or
 * more held-out samples the one of the highest NLL is left out. */
eqf_status eqf_trainer_best_model(eqf_trainer *trainer, eqf_model **model_out);

/* A checkpoint holds all that training needs to go on bit for bit, except the data. Restore refuses
 * (INVALID_ARGUMENT) a checkpoint of another model, other options or other data; after this error and after FORMAT the
 * trainer is unchanged. */
eqf_status eqf_trainer_save_checkpoint(eqf_trainer *trainer, const char *path);
eqf_status eqf_trainer_restore_checkpoint(eqf_trainer *trainer, const char *path);

#ifdef __cplusplus
}
#endif
#endif
