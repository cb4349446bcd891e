/* Options of a training: checks, schedules, fingerprint. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "integrator_options.h"
#include "kinds.h"
#include "potential_kinds.h"
#include "prior_kinds.h"
#include "train_internal.h"

/* ---- The table --------------------------------------------------------------------------------------------------- */

#define MOST_SAMPLES ((double)(1 << 24))
#define MOST_STEPS 9007199254740992.0 /* 2^53: a row holds its limits as doubles, which count exactly up to there */

static const char *const evaluations[] = {[EQF_FIELD_TABLE] = "table", [EQF_FIELD_DIRECT] = "direct", NULL};
static const char *const divergences[] = {[EQF_DIVERGENCE_EXACT] = "exact",
                                          [EQF_DIVERGENCE_RADEMACHER] = "rademacher",
                                          [EQF_DIVERGENCE_GAUSSIAN] = "gaussian",
                                          NULL};
static const char *const gradients[] = {
    [EQF_GRADIENT_DTO] = "dto", [EQF_GRADIENT_OTD] = "otd", [EQF_GRADIENT_PATH] = "path", NULL};
static const char *const optimizers[] = {[EQF_OPTIMIZER_ADAM] = "adam", [EQF_OPTIMIZER_SOAP] = "soap", NULL};
static const char *const objectives[] = {
    [EQF_OBJECTIVE_LIKELIHOOD] = "likelihood", [EQF_OBJECTIVE_FLOW_MATCHING] = "flow_matching", NULL};
static const char *const pairings[] = {[EQF_PAIRING_NONE] = "none",
                                       [EQF_PAIRING_MINIBATCH] = "minibatch",
                                       [EQF_PAIRING_EQUIVARIANT] = "equivariant",
                                       NULL};

#define ROW(member, value_type, ...) EQF__OPTION(eqf_training_options, member, value_type, __VA_ARGS__)
#define FROM_0(member, initial_value, ...) \
    ROW(member, REAL, .initial = (initial_value), .low = 0, .high = DBL_MAX, __VA_ARGS__)
#define FRACTION(member, initial_value, ...) \
    ROW(member, REAL, .initial = (initial_value), .low = 0, .high = 1, __VA_ARGS__)

/* The fingerprint is a hash of the values in this order: numbers, then counts, and an optional one only where it is not
 * its default. New rows are optional and come last. */
static const eqf_option rows[] = {
    ROW(learning_rate, REAL, .initial = 5e-3, .low = DBL_MIN, .high = DBL_MAX,
        .help = "of the optimizer, at its highest"),
    FRACTION(final_learning_rate_fraction, 0.02, .flag = "final-fraction",
             .help = "of the learning rate, where the cosine ends"),
    FROM_0(weight_decay, 0, .help = "decoupled, as in AdamW"),
    FROM_0(clip_norm, 10, .help = "largest gradient norm; 0: no clipping"),
    ROW(average_decay, REAL, .initial = 0.995, .low = 0, .high = 0.999999,
        .help = "of the parameters' moving average; 0: none"),
    FROM_0(integration_penalty, 0.1, .help = "weight of the integration error in the loss"),
    FRACTION(nll_weight_start, 1, .help = "mixture: weight of the likelihood at the first step"),
    FRACTION(nll_weight_end, 1, .help = "mixture: at the last step, linear between"),
    ROW(energy_cap, REAL, .initial = (double)INFINITY, .low = -DBL_MAX, .high = (double)INFINITY, .unit = "kT",
        .help = "energies above it are flattened, so that overlaps do not drown the rest"),
    EQF__RTOL_OPTION(eqf_training_options),
    EQF__ATOL_OPTION(eqf_training_options),
    FROM_0(data_noise, 0, .unit = "length", .help = "sd of noise on each coordinate, new in each batch; 0: none"),
    FROM_0(clip_ratio, 0, .help = "largest gradient norm in running norms; 0: no clipping"),
    FROM_0(path_cap, 0, .help = "path gradients: largest |s + grad u| of a sample; 0: any"),
    FROM_0(dispersion_weight, 0, .help = "weight of Var[log q + u] over the data; 0: none"),
    FROM_0(sample_cap, 0, .unit = "nat", .help = "nats above the mean where a sample counts less; 0: none"),

    ROW(batch_size, SIZE, .initial = 256, .low = 1, .high = MOST_SAMPLES, .help = "samples a step"),
    ROW(num_steps, UINT64, .initial = 4000, .low = 1, .high = MOST_STEPS, .flag = "steps", .help = "optimizer steps"),
    ROW(num_warmup_steps, UINT64, .initial = 100, .low = 0, .high = MOST_STEPS, .flag = "warm-up",
        .help = "steps of linear warm-up"),
    ROW(validation_interval, UINT64, .initial = 200, .low = 1, .high = MOST_STEPS,
        .help = "steps between held-out measurements"),
    ROW(field_evaluation, NAME, .initial = EQF_FIELD_TABLE, .names = evaluations,
        .help = "table (fast) or direct (every Gaussian summed)"),
    ROW(seed, UINT64, .initial = 0, .low = 0, .high = 18446744073709551616.0, .flag = "", .help = "of the batches"),
    ROW(num_generated, SIZE, .initial = 256, .low = 1, .high = MOST_SAMPLES,
        .help = "energy, mixture: samples of the model a step"),
    ROW(num_held_out_generated, SIZE, .initial = 4096, .low = 1, .high = MOST_SAMPLES, .flag = "",
        .help = "samples of the model that measure its free energy"),
    ROW(is_augmented, BOOL, .flag = "augment", .help = "rotate, reflect and permute each sample at random"),
    ROW(divergence, NAME, .initial = EQF_DIVERGENCE_EXACT, .names = divergences,
        .help = "of a dense field: exact or Hutchinson's estimate"),
    ROW(gradient, NAME, .initial = EQF_GRADIENT_DTO, .names = gradients, .help = "of nll, energy and mixture"),
    EQF__MAX_STEPS_OPTION(eqf_training_options),
    EQF__ERROR_NORM_OPTION(eqf_training_options),
    ROW(optimizer, NAME, .initial = EQF_OPTIMIZER_ADAM, .names = optimizers, .help = "of the parameters"),
    ROW(num_validated, SIZE, .initial = 0, .low = 0, .high = MOST_STEPS,
        .help = "held-out samples of a measurement; 0: all"),
    ROW(objective, NAME, .initial = EQF_OBJECTIVE_LIKELIHOOD, .names = objectives, .flag = "",
        .help = "what is minimised"),
    ROW(pairing, NAME, .initial = EQF_PAIRING_NONE, .names = pairings, .help = "of flow-matching"),
    ROW(pairing_group, SIZE, .initial = 64, .low = 0, .high = 4096, .help = "pairs among which latents are dealt"),
    ROW(num_pairing_starts, UNSIGNED, .initial = 4, .low = 0, .high = 1e6,
        .help = "of an alignment of more than 4 particles"),
    ROW(sub_batch_size, SIZE, .initial = 0, .low = 0, .high = MOST_SAMPLES, .is_optional = true,
        .help = "samples solved at once, to save memory; 0: a whole batch"),
    EQF__OPTIONS_END,
};

/* No result depends on these. */
static const eqf_option rows_of_no_result[] = {
    ROW(num_pairing_threads, UNSIGNED, .initial = 0, .low = 0, .high = 8,
        .help = "that make pairs; 0: as many as processors"),
    EQF__OPTIONS_END,
};
enum { NUM_ROWS = sizeof rows / sizeof rows[0] - 1 };

const eqf_option *eqf_training_option(size_t index) {
    return index < NUM_ROWS ? &rows[index] : eqf__options_at(rows_of_no_result, index - NUM_ROWS);
}

/* ---- Checks ------------------------------------------------------------------------------------------------------ */

eqf_status eqf__training_options_check(eqf_context *ctx, const eqf_training_options *o) {
    EQF__TRY(eqf__options_check(ctx, rows, "training", o));
    EQF__TRY(eqf__options_check(ctx, rows_of_no_result, "training", o));
    if (o->sub_batch_size > 0 && (o->dispersion_weight != 0 || o->sample_cap != 0))
        return eqf__fail(
            ctx, EQF_ERROR_INVALID_ARGUMENT,
            "dispersion_weight and sample_cap look at a whole batch: they cannot be had with sub_batch_size");
    if (o->objective == EQF_OBJECTIVE_FLOW_MATCHING && o->pairing_group == 0)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "pairing_group must be at least 1 for flow matching");
    if (o->objective == EQF_OBJECTIVE_FLOW_MATCHING && o->is_augmented)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "flow matching pairs each datum with a latent: it is not augmented besides");
    return EQF_OK;
}

/* ---- The fingerprint --------------------------------------------------------------------------------------------- */

static uint64_t fingerprint_options(uint64_t hash, const eqf_training_options *o) {
    for (const eqf_option *row = rows; row->key != NULL; row++)
        if (!row->is_optional || eqf_option_get(row, o) != row->initial) hash = eqf__option_hash(hash, row, o);
    return hash;
}

uint64_t eqf__trainer_fingerprint(const eqf_trainer *trainer, const float *x) {
    const uint64_t counts[] = {trainer->num_stages, trainer->num_train, trainer->num_held_out};
    const eqf_model_options *made = eqf_model_options_of(trainer->model);
    const uint64_t model_counts[] = {made->integrator.num_steps, made->seed, trainer->num_params};
    const eqf_potential_options *u = &made->potential;
    uint64_t hash = eqf__hash(EQF__HASH_START, counts, sizeof counts);
    for (unsigned stage = 0; stage < trainer->num_stages; stage++)
        hash = fingerprint_options(hash, &trainer->stages[stage]);
    hash = eqf__hash(hash, model_counts, sizeof model_counts);
    hash = eqf__potential_hash(hash, u);
    hash = eqf__prior_hash(hash, made);
    hash = eqf__dynamics_hash(hash, &made->dynamics);
    hash = eqf__hash(hash, eqf_model_params(trainer->model), trainer->num_params * sizeof(float));
    const size_t num_dof = (size_t)u->num_particles * u->space_dim;
    hash = eqf__hash(hash, x, trainer->num_train * num_dof * sizeof(float));
    return eqf__hash(hash, trainer->held_out, trainer->num_held_out * num_dof * sizeof(float));
}

double eqf__scheduled_learning_rate(const eqf_training_options *o, uint64_t step) {
    double warmup = o->num_warmup_steps > 0 ? fmin(1.0, ((double)step + 1.0) / (double)o->num_warmup_steps) : 1.0;
    double progress = (double)step / (double)(o->num_steps > 1 ? o->num_steps - 1 : 1);
    double cosine = 0.5 * (1.0 + cos(3.14159265358979323846 * progress));
    double fraction = o->final_learning_rate_fraction + (1.0 - o->final_learning_rate_fraction) * cosine;
    return o->learning_rate * warmup * fraction;
}

double eqf__scheduled_nll_weight(const eqf_training_options *o, uint64_t step) {
    double progress = (double)step / (double)(o->num_steps > 1 ? o->num_steps - 1 : 1);
    return o->nll_weight_start + (o->nll_weight_end - o->nll_weight_start) * progress;
}
