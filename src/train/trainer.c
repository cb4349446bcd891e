/* Training with everything but the schedule on the device. */
#include "eqflow/train.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "budget.h"
#include "train_internal.h"

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- Life ------------------------------------------------------------------------------------------------------------- */

static eqf_status check_options(eqf_context *ctx, const eqf_training_options *o) {
    const struct {
        bool is_good;
        const char *message;
    } rules[] = {
        {o->version == 1, "training options are of an unknown version"},
        {o->batch_size >= 1 && o->batch_size <= ((size_t)1 << 24), "the batch size must be 1 ... 16777216"},
        {o->num_steps >= 1, "the number of training steps must be at least 1"},
        {isfinite(o->learning_rate) && o->learning_rate > 0, "the learning rate must be a number > 0"},
        {o->final_learning_rate_fraction >= 0 && o->final_learning_rate_fraction <= 1,
         "the final learning rate fraction must be in [0, 1]"},
        {isfinite(o->weight_decay) && o->weight_decay >= 0, "the weight decay must be a number >= 0"},
        {isfinite(o->clip_norm) && o->clip_norm >= 0, "the clip norm must be a number >= 0 (0: no clipping)"},
        {o->average_decay >= 0 && o->average_decay < 1, "the average decay must be in [0, 1)"},
        {isfinite(o->integration_penalty) && o->integration_penalty >= 0,
         "the integration penalty must be a number >= 0"},
        {isfinite(o->data_noise) && o->data_noise >= 0, "the data noise must be a number >= 0"},
        {o->gradient == EQF_GRADIENT_DTO || o->gradient == EQF_GRADIENT_OTD, "there is no such gradient"},
        {o->validation_interval >= 1, "the validation interval must be at least 1 step"},
        {o->nll_weight_start >= 0 && o->nll_weight_start <= 1 && o->nll_weight_end >= 0 && o->nll_weight_end <= 1,
         "the likelihood's weights at start and end must be in [0, 1]"},
        {o->num_generated >= 1 && o->num_generated <= ((size_t)1 << 24),
         "the number of generated samples a step must be 1 ... 16777216"},
        {o->num_held_out_generated >= 1 && o->num_held_out_generated <= ((size_t)1 << 24),
         "the number of generated samples of a measurement must be 1 ... 16777216"},
        {!isnan(o->energy_cap) && o->energy_cap > -INFINITY, "the energy cap must be a number (infinity: none)"},
    };
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        if (!rules[r].is_good) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s", rules[r].message);
    return EQF_OK;
}

uint64_t eqf__fingerprint(uint64_t hash, const void *bytes, size_t num_bytes) {
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < num_bytes; i++) hash = (hash ^ byte[i]) * 1099511628211u;
    return hash;
}

static uint64_t fingerprint_all(const eqf_trainer *trainer, const float *x) {
    const eqf_training_options *o = &trainer->options;
    const double numbers[] = {o->learning_rate,    o->final_learning_rate_fraction,
                              o->weight_decay,     o->clip_norm,
                              o->average_decay,    o->integration_penalty,
                              o->nll_weight_start, o->nll_weight_end,
                              o->energy_cap,       o->adaptive.rtol,
                              o->adaptive.atol,    o->data_noise};
    const uint64_t counts[] = {o->batch_size,
                               o->num_steps,
                               o->num_warmup_steps,
                               o->validation_interval,
                               (uint64_t)o->field_evaluation,
                               o->seed,
                               trainer->num_train,
                               trainer->num_held_out,
                               o->num_generated,
                               o->num_held_out_generated,
                               o->is_augmented,
                               (uint64_t)o->divergence,
                               (uint64_t)o->gradient,
                               o->adaptive.max_steps,
                               (uint64_t)o->adaptive.error_norm};
    const eqf_model_options *made = eqf_model_options_of(trainer->model);
    const uint64_t model_counts[] = {
        made->potential.num_particles, made->potential.space_dim,     made->integrator.num_steps,         made->seed,
        trainer->num_params,           (uint64_t)made->dynamics.kind, (uint64_t)made->dynamics.activation};
    const eqf_potential_options *u = &made->potential;
    const double potential[] = {(double)u->kind, u->temperature, u->distance_offset, u->linear,       u->quadratic,
                                u->quartic,      u->epsilon,     u->r_min,           u->trap_strength};
    uint64_t hash = EQF__FINGERPRINT_START;
    hash = eqf__fingerprint(hash, numbers, sizeof numbers);
    hash = eqf__fingerprint(hash, counts, sizeof counts);
    hash = eqf__fingerprint(hash, model_counts, sizeof model_counts);
    hash = eqf__fingerprint(hash, &made->prior_scale, sizeof made->prior_scale);
    hash = eqf__fingerprint(hash, potential, sizeof potential);
    if (u->kind == EQF_POTENTIAL_USER) {
        hash = eqf__fingerprint(hash, u->source, strlen(u->source));
        hash = eqf__fingerprint(hash, u->constants, u->num_constants * sizeof u->constants[0]);
    }
    hash = eqf__fingerprint(hash, eqf_model_params(trainer->model), trainer->num_params * sizeof(float));
    size_t num_dof = trainer->flow->num_dof;
    hash = eqf__fingerprint(hash, x, trainer->num_train * num_dof * sizeof(float));
    return eqf__fingerprint(hash, trainer->held_out, trainer->num_held_out * num_dof * sizeof(float));
}

/* Whether the loss has that part at any step. */
static bool has_nll(const eqf_trainer *trainer) {
    return trainer->options.nll_weight_start > 0 || trainer->options.nll_weight_end > 0;
}
static bool has_free_energy(const eqf_trainer *trainer) {
    return trainer->options.nll_weight_start < 1 || trainer->options.nll_weight_end < 1;
}

/* This rank's part of a batch; alone: all of it. */
typedef struct batch_share {
    size_t first, count;
    double fraction; /* of the batch */
} batch_share;
static batch_share share_of(const eqf_trainer *trainer, size_t num) {
    batch_share share;
    eqf__share(trainer->ctx, num, &share.first, &share.count);
    share.fraction = num > 0 ? (double)share.count / (double)num : 0;
    return share;
}

static eqf_status create_kernels(eqf_trainer *trainer) {
    const eqf_potential_options *potential = &eqf_model_options_of(trainer->model)->potential;
    if (has_free_energy(trainer)) EQF__TRY(eqf__energy_seed_create(trainer->ctx, potential, &trainer->energy_seed));
    if (has_nll(trainer) && trainer->options.is_augmented)
        EQF__TRY(eqf__augment_create(trainer->ctx, potential->num_particles, potential->space_dim, &trainer->augment));
    static const char *const files[] = {"common/real.clh", "common/philox.clh", "common/random.clh",
                                        "train/batch.cl",  "train/adam.cl",     NULL};
    eqf__program *program;
    EQF__TRY(eqf__program_get(trainer->ctx, "train", files, "", &program));
    EQF__TRY(eqf__buffer_create(trainer->ctx, trainer->flow->vector_width * sizeof(float), NULL, "the gradient's norm",
                                &trainer->d_carry));
    EQF__TRY(eqf__kernel_create(trainer->ctx, program, "gather", &trainer->gather));
    EQF__TRY(eqf__kernel_create(trainer->ctx, program, "measure_step", &trainer->measure));
    EQF__TRY(eqf__kernel_create(trainer->ctx, program, "blend_gradient", &trainer->blend));
    EQF__TRY(eqf__kernel_create(trainer->ctx, program, "adam_update", &trainer->update));
    return eqf__trainer_check_answers(trainer);
}

eqf_status eqf__trainer_create_workspace(eqf_trainer *trainer) {
    size_t batch_size = has_nll(trainer) ? share_of(trainer, trainer->options.batch_size).count : 0;
    if (has_free_energy(trainer)) {
        size_t num_generated = share_of(trainer, trainer->options.num_generated).count;
        if (num_generated > batch_size) batch_size = num_generated;
    }
    eqf__gradient_workspace_clear(&trainer->workspace);
    return eqf__gradient_workspace_create(trainer->flow, batch_size, &trainer->workspace);
}

static eqf_status create_state(eqf_trainer *trainer, const float *x, const float *x_held_out) {
    eqf_context *ctx = trainer->ctx;
    const size_t num_dof = trainer->flow->num_dof, state_bytes = trainer->num_trained * sizeof(float);
    trainer->held_out = eqf__alloc(ctx, trainer->num_held_out * num_dof, sizeof(float), "the held-out data");
    trainer->best_params = eqf__alloc(ctx, trainer->num_params, sizeof(float), "the parameters");
    trainer->h_scratch = eqf__alloc(ctx, trainer->num_params, sizeof(float), "the parameters");
    trainer->h_message = eqf__alloc(ctx, trainer->num_trained + EQF__NUM_SUMS, sizeof(float), "the gradient's message");
    if (trainer->held_out == NULL || trainer->best_params == NULL || trainer->h_scratch == NULL ||
        trainer->h_message == NULL)
        return EQF_ERROR_OUT_OF_MEMORY;
    if (trainer->num_held_out > 0)
        memcpy(trainer->held_out, x_held_out, trainer->num_held_out * num_dof * sizeof(float));
    const float *params = eqf_model_params(trainer->model);
    memcpy(trainer->best_params, params, trainer->num_params * sizeof(float));
    memset(trainer->h_scratch, 0, trainer->num_params * sizeof(float));
    const float zeros[EQF__MAX_STEPS_IN_FLIGHT * EQF__RECORD_SIZE] = {0};
    EQF__TRY(eqf__buffer_create(ctx, trainer->num_train * num_dof * sizeof(float), x, "the training data",
                                &trainer->d_data));
    EQF__TRY(eqf__buffer_create(ctx, state_bytes, trainer->h_scratch, "the optimizer", &trainer->d_first_moment));
    EQF__TRY(eqf__buffer_create(ctx, state_bytes, trainer->h_scratch, "the optimizer", &trainer->d_second_moment));
    EQF__TRY(eqf__buffer_create(ctx, state_bytes, params, "the average", &trainer->d_average));
    EQF__TRY(eqf__buffer_create(ctx, state_bytes, trainer->h_scratch, "the gradient", &trainer->d_gradient));
    EQF__TRY(eqf__buffer_create(ctx, sizeof zeros, zeros, "the records", &trainer->d_records));
    EQF__TRY(eqf__buffer_create(ctx, sizeof(cl_uint), zeros, "a flag", &trainer->d_failed));
    trainer->half_bits = 1;
    while (((uint64_t)1 << (2 * trainer->half_bits)) < trainer->num_train) trainer->half_bits++;
    trainer->fingerprint = fingerprint_all(trainer, x);
    return eqf__trainer_create_workspace(trainer);
}

/* x [num, N, D]. One NaN would reach every parameter with the first batch that holds it, and the learning rate would be
 * blamed for it. */
static eqf_status check_data(eqf_context *ctx, const char *what, const float *x, size_t num, size_t num_dof) {
    if (num > 0 && x == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the %s data are NULL", what);
    for (size_t i = 0; i < num * num_dof; i++)
        if (!isfinite(x[i]))
            return eqf__fail(ctx, EQF_ERROR_NON_FINITE,
                             "configuration %zu (counted from 0) of the %s data holds %s: remove it or make the data "
                             "again",
                             i / num_dof, what, isnan(x[i]) ? "NaN" : "infinity");
    return EQF_OK;
}

static eqf_status create_parts(eqf_trainer *trainer, const eqf_model *model, const float *x, const float *x_held_out) {
    eqf_context *ctx = trainer->ctx;
    EQF__TRY(eqf_model_copy(ctx, model, &trainer->model));
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.field_evaluation = trainer->options.field_evaluation;
    flow_options.divergence = trainer->options.divergence;
    if (trainer->options.gradient == EQF_GRADIENT_OTD) flow_options.method = EQF_INTEGRATOR_DOPRI5;
    flow_options.adaptive = trainer->options.adaptive;
    EQF__TRY(eqf_flow_create(ctx, model, &flow_options, &trainer->flow));
    trainer->num_params = eqf_model_num_params(model);
    trainer->num_trained = eqf_model_num_trained(model);
    EQF__TRY(create_kernels(trainer));
    if (trainer->flow->field->evaluation == EQF_FIELD_TABLE) {
        eqf__field *field = trainer->flow->field;
        field->table_tolerance = EQF__TRAINING_TABLE_TOLERANCE;
        EQF__TRY(eqf__field_set_resolution(field, EQF__TRAINING_RESOLUTION));
        EQF__TRY(eqf_flow_set_params(trainer->flow, eqf_model_params(model)));
        EQF__TRY(eqf__flow_reassemble(trainer->flow));
    }
    return create_state(trainer, x, x_held_out);
}

eqf_status eqf_trainer_create(eqf_context *ctx, const eqf_model *model, const eqf_training_options *options,
                              size_t num_train, const float *x, size_t num_held_out, const float *x_held_out,
                              eqf_trainer **trainer_out) {
    *trainer_out = NULL;
    EQF__TRY(check_options(ctx, options));
    if (num_train == 0 && (options->nll_weight_start > 0 || options->nll_weight_end > 0))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "there are no training data, which a likelihood needs");
    if (num_train > 0x7fffffff)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "more than 2^31 training configurations");
    const eqf_potential_options *potential = &eqf_model_options_of(model)->potential;
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    const unsigned num_ranks = eqf__num_ranks(ctx);
    const bool is_nll_short = num_train > 0 && options->batch_size < num_ranks;
    const bool is_energy_short =
        (options->nll_weight_start < 1 || options->nll_weight_end < 1) && options->num_generated < num_ranks;
    if (is_nll_short || is_energy_short)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "a batch of %zu cannot be shared by %u ranks: use a larger batch or fewer ranks",
                         is_nll_short ? options->batch_size : options->num_generated, num_ranks);
    EQF__TRY(check_data(ctx, "training", x, num_train, num_dof));
    EQF__TRY(check_data(ctx, "held-out", x_held_out, num_held_out, num_dof));
    eqf_trainer *trainer = eqf__alloc(ctx, 1, sizeof *trainer, "the trainer");
    if (trainer == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    trainer->ctx = ctx;
    trainer->options = *options;
    trainer->num_train = num_train;
    trainer->num_held_out = num_held_out;
    trainer->held_out_nll = trainer->best_nll = NAN;
    trainer->held_out_free_energy = trainer->best_free_energy = trainer->best_loss = NAN;
    eqf_status status = create_parts(trainer, model, x, x_held_out);
    if (status != EQF_OK) {
        eqf_trainer_destroy(&trainer);
        return status;
    }
    *trainer_out = trainer;
    return EQF_OK;
}

void eqf_trainer_destroy(eqf_trainer **trainer) {
    if (trainer == NULL || *trainer == NULL) return;
    eqf_trainer *dying = *trainer;
    cl_mem *buffers[] = {&dying->d_data,    &dying->d_first_moment, &dying->d_second_moment, &dying->d_average,
                         &dying->d_records, &dying->d_failed,       &dying->d_gradient,      &dying->d_carry};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    eqf__kernel *kernels[] = {&dying->gather, &dying->measure, &dying->update,
                              &dying->blend,  &dying->augment, &dying->energy_seed};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
    eqf__gradient_workspace_clear(&dying->workspace);
    eqf_flow_destroy(&dying->flow);
    eqf_model_destroy(&dying->model);
    free(dying->held_out);
    free(dying->best_params);
    free(dying->h_scratch);
    free(dying->h_message);
    free(dying);
    *trainer = NULL;
}

/* ---- Steps ------------------------------------------------------------------------------------------------------------- */

/* Linear warm-up, then a cosine down to the final fraction (Loshchilov and Hutter 2017). step counts from 0. */
static double scheduled_learning_rate(const eqf_training_options *o, uint64_t step) {
    double warmup = o->num_warmup_steps > 0 ? fmin(1.0, ((double)step + 1.0) / (double)o->num_warmup_steps) : 1.0;
    double progress = (double)step / (double)(o->num_steps > 1 ? o->num_steps - 1 : 1);
    double cosine = 0.5 * (1.0 + cos(3.14159265358979323846 * progress));
    double fraction = o->final_learning_rate_fraction + (1.0 - o->final_learning_rate_fraction) * cosine;
    return o->learning_rate * warmup * fraction;
}

/* The likelihood's weight in the loss. step counts from 0. */
static double scheduled_nll_weight(const eqf_training_options *o, uint64_t step) {
    double progress = (double)step / (double)(o->num_steps > 1 ? o->num_steps - 1 : 1);
    return o->nll_weight_start + (o->nll_weight_end - o->nll_weight_start) * progress;
}

/* Seeds of their own for the model's samples, so that none of them comes again in `eqf_flow_sample` with the same seed: the finaliser of
 * splitmix64 (Steele, Lea and Flood 2014). */
enum noise_purpose { NOISE_TRAINING = 1, NOISE_HELD_OUT = 2 };
static uint64_t noise_seed(const eqf_training_options *o, enum noise_purpose purpose) {
    uint64_t mixed = o->seed + (uint64_t)purpose * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static size_t num_blocks_of(const eqf_trainer *trainer, size_t batch_size) {
    return (batch_size + trainer->flow->vector_width - 1) / trainer->flow->vector_width;
}

/* nll and its gradient, of the next batch of data. */
static eqf_status launch_nll(eqf_trainer *trainer) {
    const eqf_training_options *o = &trainer->options;
    eqf_flow *flow = trainer->flow;
    eqf__gradient_workspace *w = &trainer->workspace;
    cl_uint seed_low = (cl_uint)o->seed, seed_high = (cl_uint)(o->seed >> 32), num = (cl_uint)trainer->num_train;
    const batch_share share = share_of(trainer, o->batch_size);
    cl_uint half_bits = trainer->half_bits, batch = (cl_uint)share.count, num_dof = (cl_uint)flow->num_dof;
    cl_ulong position = trainer->step * o->batch_size + share.first;
    const size_t blocks = num_blocks_of(trainer, share.count);
    EQF__TRY(EQF__LAUNCH(trainer->ctx, &trainer->gather, blocks, 0, EQF__ARG(trainer->d_data), EQF__ARG(w->d_x),
                         EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(position), EQF__ARG(num),
                         EQF__ARG(half_bits), EQF__ARG(batch), EQF__ARG(num_dof)));
    if (o->is_augmented) EQF__TRY(eqf__augment(trainer->ctx, &trainer->augment, o->seed, position, blocks, w->d_x));
    if (o->data_noise > 0)
        EQF__TRY(eqf__prior_add_noise(&flow->prior, o->seed, position, o->data_noise, blocks, w->d_x));
    const eqf__noise noise = {o->seed, position}; /* new with every batch */
    return eqf__flow_launch_gradient(flow, w, &noise, share.count, o->integration_penalty);
}

/* Free energy and its gradient, of samples that no step before had. */
static eqf_status launch_free_energy(eqf_trainer *trainer) {
    const eqf_training_options *o = &trainer->options;
    eqf__gradient_workspace *w = &trainer->workspace;
    const batch_share share = share_of(trainer, o->num_generated);
    const uint64_t first = trainer->step * o->num_generated + share.first;
    EQF__TRY(eqf__prior_sample(&trainer->flow->prior, noise_seed(o, NOISE_TRAINING), first,
                               num_blocks_of(trainer, share.count), w->d_x));
    const eqf__noise noise = {noise_seed(o, NOISE_TRAINING), first};
    return eqf__flow_launch_energy_gradient(trainer->flow, &trainer->energy_seed, w, &noise, share.count, o->energy_cap,
                                            o->integration_penalty);
}

/* trainer->d_gradient = or += weight times the workspace's. */
static eqf_status launch_blend(eqf_trainer *trainer, double weight, cl_uint is_first) {
    cl_float scale = (cl_float)weight;
    cl_uint num_trained = (cl_uint)trainer->num_trained;
    return EQF__LAUNCH(trainer->ctx, &trainer->blend, (trainer->num_trained + 15) / 16, 0,
                       EQF__ARG(trainer->d_gradient), EQF__ARG(trainer->workspace.d_gradient), EQF__ARG(scale),
                       EQF__ARG(is_first), EQF__ARG(num_trained));
}

/* The gradient in trainer->d_gradient and the sums of the workspace, over all ranks: each has weighted its part. One message: the gradient
 * and, behind it, the sums. */
static eqf_status sum_over_ranks(eqf_trainer *trainer) {
    eqf_context *ctx = trainer->ctx;
    const size_t n = trainer->num_trained;
    float *message = trainer->h_message, *sums = message + n;
    EQF__TRY(eqf__buffer_read(ctx, trainer->d_gradient, 0, n * sizeof(float), message));
    EQF__TRY(eqf__buffer_read(ctx, trainer->workspace.d_sums, 0, EQF__NUM_SUMS * sizeof(float), sums));
    const double nll_fraction = share_of(trainer, trainer->options.batch_size).fraction;
    const double free_energy_fraction = share_of(trainer, trainer->options.num_generated).fraction;
    for (size_t i = 0; i < EQF__NUM_SUMS; i++)
        sums[i] *= (float)(i < EQF__SUM_FREE_ENERGY ? nll_fraction : free_energy_fraction);
    EQF__TRY(eqf__sum_floats(ctx, n + EQF__NUM_SUMS, message));
    EQF__TRY(eqf__buffer_write(ctx, trainer->d_gradient, 0, n * sizeof(float), message));
    return eqf__buffer_write(ctx, trainer->workspace.d_sums, 0, EQF__NUM_SUMS * sizeof(float), sums);
}

eqf_status eqf__trainer_measure(const eqf_trainer *trainer, cl_mem d_gradient, cl_mem d_sums, cl_mem d_records,
                                unsigned record, cl_mem d_failed, bool has_nll, bool has_free_energy, size_t num) {
    const unsigned V = trainer->flow->vector_width;
    const cl_uint at = record, with_nll = has_nll, with_free_energy = has_free_energy, count = (cl_uint)num;
    const size_t vectors = (num + V - 1) / V;
    const size_t turns = eqf__budget_units(trainer->ctx, 1, 0, vectors);
    const cl_uint most = turns == vectors ? count : (cl_uint)(turns * V);
    for (cl_uint begin = 0; begin < count;) {
        const cl_uint end = count - begin < most ? count : begin + most;
        EQF__TRY(EQF__LAUNCH(trainer->ctx, &trainer->measure, 1, 0, EQF__ARG(d_gradient), EQF__ARG(d_sums),
                             EQF__ARG(d_records), EQF__ARG(at), EQF__ARG(d_failed), EQF__ARG(with_nll),
                             EQF__ARG(with_free_energy), EQF__ARG(trainer->d_carry), EQF__ARG(begin), EQF__ARG(end),
                             EQF__ARG(count)));
        begin = end;
    }
    return EQF_OK;
}

static eqf_status launch_step(eqf_trainer *trainer, size_t record_index) {
    eqf_context *ctx = trainer->ctx;
    const eqf_training_options *o = &trainer->options;
    eqf_flow *flow = trainer->flow;
    eqf__gradient_workspace *w = &trainer->workspace;
    const double nll_weight = scheduled_nll_weight(o, trainer->step);
    cl_uint with_nll = nll_weight > 0, with_free_energy = nll_weight < 1;
    const bool has_both = with_nll && with_free_energy;
    EQF__TRY(eqf__field_prepare(flow->field, false));
    const bool is_blended = has_both || eqf__num_ranks(ctx) > 1;
    const double nll_share = share_of(trainer, o->batch_size).fraction;
    const double free_energy_share = share_of(trainer, o->num_generated).fraction;
    if (with_nll) EQF__TRY(launch_nll(trainer));
    if (with_nll && is_blended) EQF__TRY(launch_blend(trainer, nll_share * nll_weight, 1));
    if (with_free_energy) EQF__TRY(launch_free_energy(trainer));
    if (with_free_energy && is_blended)
        EQF__TRY(launch_blend(trainer, free_energy_share * (1.0 - nll_weight), !with_nll));
    if (eqf__num_ranks(ctx) > 1) EQF__TRY(sum_over_ranks(trainer));
    cl_mem d_gradient = is_blended ? trainer->d_gradient : w->d_gradient;
    cl_uint num_trained = (cl_uint)trainer->num_trained, record = (cl_uint)record_index;
    EQF__TRY(eqf__trainer_measure(trainer, d_gradient, w->d_sums, trainer->d_records, record, trainer->d_failed,
                                  with_nll, with_free_energy, trainer->num_trained));
    double step = (double)trainer->step + 1.0;
    trainer->learning_rate = scheduled_learning_rate(o, trainer->step);
    cl_float learning_rate = (cl_float)trainer->learning_rate;
    cl_float correction_1 = (cl_float)(1.0 / (1.0 - pow(0.9, step)));
    cl_float correction_2 = (cl_float)(1.0 / (1.0 - pow(0.999, step)));
    cl_float clip_norm = (cl_float)o->clip_norm, weight_decay = (cl_float)o->weight_decay;
    /* The average forgets its start quickly: its memory never exceeds a tenth of the steps so far. */
    cl_float average_decay = (cl_float)fmin(o->average_decay, step / (step + 10.0));
    EQF__TRY(EQF__LAUNCH(ctx, &trainer->update, (trainer->num_trained + 15) / 16, 0, EQF__ARG(flow->field->d_params),
                         EQF__ARG(trainer->d_first_moment), EQF__ARG(trainer->d_second_moment),
                         EQF__ARG(trainer->d_average), EQF__ARG(d_gradient), EQF__ARG(trainer->d_records),
                         EQF__ARG(record), EQF__ARG(trainer->d_failed), EQF__ARG(learning_rate), EQF__ARG(correction_1),
                         EQF__ARG(correction_2), EQF__ARG(clip_norm), EQF__ARG(weight_decay), EQF__ARG(average_decay),
                         EQF__ARG(num_trained)));
    trainer->step++;
    return EQF_OK;
}

/* Adds the record of a step, counted from 0, to the totals. */
static void add_record(eqf_trainer *trainer, uint64_t step, const float *record) {
    const double nll_weight = scheduled_nll_weight(&trainer->options, step);
    const double penalty = trainer->options.integration_penalty;
    const bool with_nll = nll_weight > 0, with_free_energy = nll_weight < 1;
    double totals[EQF__NUM_TOTALS] = {0};
    if (with_nll) {
        totals[EQF__TOTAL_NLL] = record[EQF__SUM_NLL];
        totals[EQF__TOTAL_NLL_STEPS] = 1;
        totals[EQF__TOTAL_LOSS] += nll_weight * (record[EQF__SUM_NLL] + penalty * record[EQF__SUM_NLL_ERROR]);
    }
    if (with_free_energy) {
        totals[EQF__TOTAL_FREE_ENERGY] = record[EQF__SUM_FREE_ENERGY];
        totals[EQF__TOTAL_FREE_ENERGY_STEPS] = 1;
        totals[EQF__TOTAL_LOSS] +=
            (1.0 - nll_weight) * (record[EQF__SUM_FREE_ENERGY] + penalty * record[EQF__SUM_FREE_ENERGY_ERROR]);
    }
    totals[EQF__TOTAL_NORM] = record[EQF__RECORD_NORM];
    totals[EQF__TOTAL_STEPS] = 1;
    for (size_t i = 0; i < EQF__NUM_TOTALS; i++) {
        trainer->row_totals[i] += totals[i];
        trainer->report_totals[i] += totals[i];
    }
}

static eqf_status collect_records(eqf_trainer *trainer, size_t num_records) {
    float records[EQF__MAX_STEPS_IN_FLIGHT * EQF__RECORD_SIZE];
    EQF__TRY(
        eqf__buffer_read(trainer->ctx, trainer->d_records, 0, num_records * EQF__RECORD_SIZE * sizeof(float), records));
    const uint64_t first_step = trainer->step - num_records;
    for (size_t r = 0; r < num_records; r++) {
        const float *record = records + r * EQF__RECORD_SIZE;
        if (record[EQF__RECORD_IS_GOOD] == 0.0f) {
            trainer->step = first_step + r;
            if (trainer->step == 0) /* no parameter has changed yet: what is solved is to blame, not how */
                return eqf__fail(
                    trainer->ctx, EQF_ERROR_NON_FINITE,
                    "training diverged before it began: the loss or gradient of step 1 is not finite; look for "
                    "overlapping or far particles in the data, or try more --integration-steps%s",
                    has_free_energy(trainer) ? ", an --energy-cap or another --prior-scale" : "");
            const bool may_be_cores = has_free_energy(trainer) && isinf(trainer->options.energy_cap);
            return eqf__fail(trainer->ctx, EQF_ERROR_NON_FINITE,
                             "training diverged: the loss or gradient of step %llu is not finite; try %sa lower "
                             "--learning-rate, a lower --clip-norm or more --integration-steps",
                             (unsigned long long)trainer->step + 1,
                             may_be_cores ? "an --energy-cap (for potentials with hard cores), " : "");
        }
        add_record(trainer, first_step + r, record);
    }
    return EQF_OK;
}

/* ---- Held-out measurements ---------------------------------------------------------------------------------------------- */

enum { ENOUGH_HELD_OUT = 100 };

/* nlls_out [num_held_out]: -log_prob of the held-out data, all of them on every rank. */
static eqf_status held_out_nlls(eqf_trainer *trainer, double *nlls_out) {
    const batch_share share = share_of(trainer, trainer->num_held_out);
    float *log_prob = eqf__alloc(trainer->ctx, share.count, sizeof *log_prob, "log-densities");
    if (log_prob == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status =
        eqf_flow_log_prob_part(trainer->flow, share.first, share.count,
                               trainer->held_out + share.first * trainer->flow->num_dof, log_prob, NULL);
    for (size_t b = 0; b < trainer->num_held_out; b++) nlls_out[b] = 0;
    for (size_t b = 0; b < share.count; b++) nlls_out[share.first + b] = -(double)log_prob[b];
    free(log_prob);
    return status == EQF_OK ? eqf__sum_doubles(trainer->ctx, trainer->num_held_out, nlls_out) : status;
}

/* The mean NLL of the held-out data, and the one that models are chosen by: without the worst sample, where that is a
 * hundredth of them or less. One outlier, which costs a flow with thin tails tens of nats, would prefer a model that has hardly learnt. */
static eqf_status measure_held_out_nll(eqf_trainer *trainer, double *nll_out, double *choosing_nll_out) {
    const size_t num = trainer->num_held_out;
    double *nlls = eqf__alloc(trainer->ctx, num, sizeof *nlls, "log-densities");
    if (nlls == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = held_out_nlls(trainer, nlls);
    double sum = 0, worst = -INFINITY;
    for (size_t b = 0; status == EQF_OK && b < num; b++) {
        sum += nlls[b];
        worst = fmax(worst, nlls[b]);
    }
    free(nlls);
    *nll_out = sum / (double)num;
    *choosing_nll_out = num >= ENOUGH_HELD_OUT ? (sum - worst) / (double)(num - 1) : *nll_out;
    return status;
}

/* Mean of u + log_prob over samples of the model, with energies capped as in training. The noise is the same each time, so that two
 * measurements differ by what the model learnt. */
static eqf_status mean_held_out_free_energy(eqf_trainer *trainer, double *free_energy_out) {
    eqf_context *ctx = trainer->ctx;
    const eqf_training_options *o = &trainer->options;
    const batch_share share = share_of(trainer, o->num_held_out_generated);
    const size_t num = share.count, num_dof = trainer->flow->num_dof;
    float *x = eqf__alloc(ctx, num * num_dof, sizeof *x, "samples");
    float *log_prob = eqf__alloc(ctx, num, sizeof *log_prob, "log-densities");
    float *energy = eqf__alloc(ctx, num, sizeof *energy, "energies");
    eqf_status status = x != NULL && log_prob != NULL && energy != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK)
        status = eqf_flow_sample(trainer->flow, noise_seed(o, NOISE_HELD_OUT), share.first, num, x, log_prob);
    if (status == EQF_OK)
        status = eqf_potential_evaluate(ctx, &eqf_model_options_of(trainer->model)->potential, num, x, energy, NULL);
    double sum = 0;
    for (size_t b = 0; b < num && status == EQF_OK; b++) {
        double u = energy[b];
        if (u > o->energy_cap) u = o->energy_cap + log1p(fmin(u, (double)FLT_MAX) - o->energy_cap);
        sum += u + log_prob[b];
    }
    if (status == EQF_OK) status = eqf__sum_doubles(ctx, 1, &sum);
    *free_energy_out = sum / (double)o->num_held_out_generated;
    free(x);
    free(log_prob);
    free(energy);
    return status;
}

/* What the best model is chosen by: the loss, without penalty, with the weights that training ends with. NaN where a part of it is not
 * measured. */
static double held_out_loss(const eqf_trainer *trainer, double nll, double free_energy) {
    const double weight = trainer->options.nll_weight_end;
    double loss = 0;
    if (weight > 0) loss += weight * nll;
    if (weight < 1) loss += (1.0 - weight) * free_energy;
    return loss;
}

/* Keeps the averaged parameters if they are the best so far, or if nothing can be measured. */
static void keep_best(eqf_trainer *trainer, const float *averaged, double choosing_nll) {
    const bool is_measured = trainer->num_held_out > 0 || !(trainer->options.nll_weight_end > 0);
    const double loss = held_out_loss(trainer, choosing_nll, trainer->held_out_free_energy);
    if (is_measured && !(isfinite(loss) && !(loss >= trainer->best_loss))) return;
    trainer->best_loss = loss;
    memcpy(trainer->best_params, averaged, trainer->num_params * sizeof *averaged);
    trainer->best_nll = trainer->held_out_nll;
    trainer->best_free_energy = trainer->held_out_free_energy;
    trainer->best_step = trainer->step;
}

/* Measures the averaged parameters on what is held out and keeps them if they are the best. The field's table is checked, and may be
 * refined, here. */
static eqf_status validate(eqf_trainer *trainer) {
    eqf_context *ctx = trainer->ctx;
    eqf__field *field = trainer->flow->field;
    const size_t trained_bytes = trainer->num_trained * sizeof(float), all_bytes = trainer->num_params * sizeof(float);
    float *averaged = eqf__alloc(ctx, trainer->num_params, sizeof *averaged, "the parameters");
    if (averaged == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__buffer_read(ctx, field->d_params, 0, all_bytes, trainer->h_scratch);
    const bool has_params = status == EQF_OK;
    if (has_params) {
        memcpy(averaged, trainer->h_scratch, all_bytes);
        status = eqf__buffer_read(ctx, trainer->d_average, 0, trained_bytes, averaged);
    }
    const unsigned resolution = field->resolution;
    if (status == EQF_OK) status = eqf_flow_set_params(trainer->flow, averaged);
    double choosing_nll = NAN;
    if (status == EQF_OK && trainer->num_held_out > 0)
        status = measure_held_out_nll(trainer, &trainer->held_out_nll, &choosing_nll);
    if (status == EQF_OK && has_free_energy(trainer))
        status = mean_held_out_free_energy(trainer, &trainer->held_out_free_energy);
    if (status == EQF_OK) keep_best(trainer, averaged, choosing_nll);
    if (has_params) { /* whatever came of it: a checkpoint must not hold the average as the optimizer's parameters */
        eqf_status restored = eqf__buffer_write(ctx, field->d_params, 0, all_bytes, trainer->h_scratch);
        if (status == EQF_OK) status = restored;
    }
    if (status == EQF_OK && field->resolution != resolution) status = eqf__trainer_create_workspace(trainer);
    free(averaged);
    return status;
}

/* NaN for a mean over no steps. */
static double mean_of(const double totals[EQF__NUM_TOTALS], size_t what, size_t num_steps) {
    return totals[num_steps] > 0 ? totals[what] / totals[num_steps] : NAN;
}

static eqf_status add_history_row(eqf_trainer *trainer) {
    const double *totals = trainer->row_totals;
    const eqf_history_row row = {
        .step = trainer->step,
        .seconds = trainer->seconds,
        .loss = mean_of(totals, EQF__TOTAL_LOSS, EQF__TOTAL_STEPS),
        .nll = mean_of(totals, EQF__TOTAL_NLL, EQF__TOTAL_NLL_STEPS),
        .held_out_nll = trainer->held_out_nll,
        .gradient_norm = mean_of(totals, EQF__TOTAL_NORM, EQF__TOTAL_STEPS),
        .learning_rate = trainer->learning_rate,
        .free_energy = mean_of(totals, EQF__TOTAL_FREE_ENERGY, EQF__TOTAL_FREE_ENERGY_STEPS),
        .held_out_free_energy = trainer->held_out_free_energy,
    };
    memset(trainer->row_totals, 0, sizeof trainer->row_totals);
    return eqf_model_add_history(trainer->ctx, trainer->model, &row);
}

/* ---- What the caller sees ------------------------------------------------------------------------------------------------ */

static void fill_state(eqf_trainer *trainer, eqf_training_state *state) {
    const double *totals = trainer->report_totals;
    const eqf_training_state now = {
        .step = trainer->step,
        .num_steps = trainer->options.num_steps,
        .seconds = trainer->seconds,
        .loss = mean_of(totals, EQF__TOTAL_LOSS, EQF__TOTAL_STEPS),
        .nll = mean_of(totals, EQF__TOTAL_NLL, EQF__TOTAL_NLL_STEPS),
        .free_energy = mean_of(totals, EQF__TOTAL_FREE_ENERGY, EQF__TOTAL_FREE_ENERGY_STEPS),
        .gradient_norm = mean_of(totals, EQF__TOTAL_NORM, EQF__TOTAL_STEPS),
        .learning_rate = trainer->learning_rate,
        .nll_weight = scheduled_nll_weight(&trainer->options, trainer->step > 0 ? trainer->step - 1 : 0),
        .held_out_nll = trainer->held_out_nll,
        .best_held_out_nll = trainer->best_nll,
        .held_out_free_energy = trainer->held_out_free_energy,
        .best_held_out_free_energy = trainer->best_free_energy,
        .best_step = trainer->best_step,
        .is_done = trainer->step >= trainer->options.num_steps,
    };
    *state = now;
    memset(trainer->report_totals, 0, sizeof trainer->report_totals);
}

static eqf_status advance(eqf_trainer *trainer, uint64_t max_steps) {
    const eqf_training_options *o = &trainer->options;
    uint64_t target = o->num_steps - trainer->step < max_steps ? o->num_steps : trainer->step + max_steps;
    const uint64_t next_validation = (trainer->step / o->validation_interval + 1) * o->validation_interval;
    if (target > next_validation) target = next_validation;
    while (trainer->step < target) {
        size_t num_records = 0;
        for (; trainer->step < target && num_records < EQF__MAX_STEPS_IN_FLIGHT; num_records++)
            EQF__TRY(launch_step(trainer, num_records));
        EQF__TRY(collect_records(trainer, num_records));
    }
    if (trainer->step > 0 && (trainer->step == next_validation || trainer->step == o->num_steps)) {
        EQF__TRY(validate(trainer));
        EQF__TRY(add_history_row(trainer));
    }
    return EQF_OK;
}

eqf_status eqf_trainer_advance(eqf_trainer *trainer, uint64_t max_steps, eqf_training_state *state_out) {
    const double start = now_seconds();
    eqf_status status = EQF_OK;
    if (trainer->step < trainer->options.num_steps) status = advance(trainer, max_steps);
    trainer->seconds += now_seconds() - start;
    if (state_out != NULL) fill_state(trainer, state_out);
    return status;
}

eqf_status eqf_trainer_best_model(eqf_trainer *trainer, eqf_model **model_out) {
    EQF__TRY(eqf_model_copy(trainer->ctx, trainer->model, model_out));
    eqf_status status = eqf_model_set_params(trainer->ctx, *model_out, trainer->best_params);
    if (status != EQF_OK) eqf_model_destroy(model_out);
    return status;
}
