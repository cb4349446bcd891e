/* Options of a training: checks, schedules, fingerprint. */
#include <math.h>
#include <string.h>

#include "kinds.h"
#include "potential_kinds.h"
#include "prior_kinds.h"
#include "train_internal.h"

eqf_status eqf__training_options_check(eqf_context *ctx, const eqf_training_options *o) {
    const struct {
        bool is_good;
        const char *message;
    } rules[] = {
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
        {o->gradient == EQF_GRADIENT_DTO || o->gradient == EQF_GRADIENT_OTD || o->gradient == EQF_GRADIENT_PATH,
         "there is no such gradient"},
        {isfinite(o->dispersion_weight) && o->dispersion_weight >= 0,
         "the weight of the log-dispersion must be a number >= 0"},
        {isfinite(o->sample_cap) && o->sample_cap >= 0, "the cap on samples must be a number >= 0 (0: none)"},
        {isfinite(o->path_cap) && o->path_cap >= 0, "the cap of path gradients must be a number >= 0 (0: none)"},
        {o->sub_batch_size <= ((size_t)1 << 24), "the sub-batch size must be 0 (all of a batch) ... 16777216"},
        {o->sub_batch_size == 0 || (o->dispersion_weight == 0 && o->sample_cap == 0),
         "the log-dispersion and the cap on samples look at a whole batch: they cannot be had with a sub-batch size"},
        {o->validation_interval >= 1, "the validation interval must be at least 1 step"},
        {o->nll_weight_start >= 0 && o->nll_weight_start <= 1 && o->nll_weight_end >= 0 && o->nll_weight_end <= 1,
         "the likelihood's weights at start and end must be in [0, 1]"},
        {o->num_generated >= 1 && o->num_generated <= ((size_t)1 << 24),
         "the number of generated samples a step must be 1 ... 16777216"},
        {o->num_held_out_generated >= 1 && o->num_held_out_generated <= ((size_t)1 << 24),
         "the number of generated samples of a measurement must be 1 ... 16777216"},
        {o->objective == EQF_OBJECTIVE_LIKELIHOOD || o->objective == EQF_OBJECTIVE_FLOW_MATCHING,
         "there is no such objective"},
        {o->pairing == EQF_PAIRING_NONE || o->pairing == EQF_PAIRING_MINIBATCH || o->pairing == EQF_PAIRING_EQUIVARIANT,
         "there is no such pairing"},
        {o->objective == EQF_OBJECTIVE_LIKELIHOOD || (o->pairing_group >= 1 && o->pairing_group <= 4096),
         "the pairing group must be 1 ... 4096 pairs"},
        {o->num_pairing_starts <= 1000000, "an alignment may have up to 1000000 starts"},
        {o->objective == EQF_OBJECTIVE_LIKELIHOOD || !o->is_augmented,
         "flow matching pairs each datum with a latent: it is not augmented besides"},
        {o->optimizer == EQF_OPTIMIZER_ADAM || o->optimizer == EQF_OPTIMIZER_SOAP, "there is no such optimizer"},
        {isfinite(o->clip_ratio) && o->clip_ratio >= 0, "the clip ratio must be a number >= 0 (0: none)"},
        {!isnan(o->energy_cap) && o->energy_cap > -INFINITY, "the energy cap must be a number (infinity: none)"},
    };
    for (size_t r = 0; r < sizeof rules / sizeof rules[0]; r++)
        if (!rules[r].is_good) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "%s", rules[r].message);
    return EQF_OK;
}

static uint64_t fingerprint_options(uint64_t hash, const eqf_training_options *o) {
    const double numbers[] = {o->learning_rate,    o->final_learning_rate_fraction,
                              o->weight_decay,     o->clip_norm,
                              o->average_decay,    o->integration_penalty,
                              o->nll_weight_start, o->nll_weight_end,
                              o->energy_cap,       o->adaptive.rtol,
                              o->adaptive.atol,    o->data_noise,
                              o->clip_ratio,       o->path_cap,
                              o->dispersion_weight, o->sample_cap};
    const uint64_t counts[] = {o->batch_size,
                               o->num_steps,
                               o->num_warmup_steps,
                               o->validation_interval,
                               (uint64_t)o->field_evaluation,
                               o->seed,
                               o->num_generated,
                               o->num_held_out_generated,
                               o->is_augmented,
                               (uint64_t)o->divergence,
                               (uint64_t)o->gradient,
                               o->adaptive.max_steps,
                               (uint64_t)o->adaptive.error_norm,
                               (uint64_t)o->optimizer,
                               o->num_validated,
                               (uint64_t)o->objective,
                               (uint64_t)o->pairing,
                               o->pairing_group,
                               o->num_pairing_starts};
    hash = eqf__hash(hash, numbers, sizeof numbers);
    hash = eqf__hash(hash, counts, sizeof counts);
    return o->sub_batch_size == 0 ? hash : eqf__hash(hash, &o->sub_batch_size, sizeof o->sub_batch_size);
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
