/* The losses as terms of one sum, one row each: name, samples, direction of the solve, and held-out measurement. */
#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>

#include "train_internal.h"

eqf__batch_share eqf__share_of(const eqf_trainer *trainer, size_t num) {
    eqf__batch_share share;
    eqf__share(trainer->ctx, num, &share.first, &share.count);
    share.fraction = num > 0 ? (double)share.count / (double)num : 0;
    return share;
}

size_t eqf__largest_solve(const eqf_trainer *trainer) {
    size_t largest = 0;
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) {
        const size_t count = eqf__share_of(trainer, eqf__terms[k].batch_size(&trainer->options)).count;
        const size_t part = eqf__part_of(trainer, count);
        if (eqf__has_term(&trainer->options, k) && part > largest) largest = part;
    }
    return largest;
}

static size_t num_blocks_of(const eqf_trainer *trainer, size_t batch_size) {
    return (batch_size + trainer->flow->vector_width - 1) / trainer->flow->vector_width;
}

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014). */
uint64_t eqf__noise_seed(const eqf_training_options *options, eqf__noise_purpose purpose) {
    uint64_t mixed = options->seed + (uint64_t)purpose * 0x9e3779b97f4a7c15u;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

/* ---- Likelihood of data ------------------------------------------------------------------------------------------ */

static double weight_of_nll(const eqf_training_options *o, double nll_weight) {
    return o->objective == EQF_OBJECTIVE_LIKELIHOOD ? nll_weight : 0;
}

static size_t nll_batch_size(const eqf_training_options *o) {
    return o->batch_size;
}

/* The next batch of data. */
static eqf_status draw_data(eqf_trainer *trainer, const eqf__batch_share *share) {
    const eqf_training_options *o = &trainer->options;
    eqf_flow *flow = trainer->flow;
    eqf__gradient_workspace *w = &trainer->workspace;
    cl_uint seed_low = (cl_uint)o->seed, seed_high = (cl_uint)(o->seed >> 32), num = (cl_uint)trainer->num_train;
    cl_uint half_bits = trainer->half_bits, batch = (cl_uint)share->count, num_dof = (cl_uint)flow->num_dof;
    cl_ulong position = eqf__stage_step(trainer) * o->batch_size + share->first;
    const size_t blocks = num_blocks_of(trainer, share->count);
    EQF__TRY(EQF__LAUNCH(trainer->ctx, &trainer->gather, blocks, 0, EQF__ARG(trainer->d_data), EQF__ARG(w->d_x),
                         EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(position), EQF__ARG(num),
                         EQF__ARG(half_bits), EQF__ARG(batch), EQF__ARG(num_dof)));
    if (o->is_augmented) EQF__TRY(eqf__augment(trainer->ctx, &trainer->augment, o->seed, position, blocks, w->d_x));
    if (o->data_noise > 0)
        EQF__TRY(eqf__prior_add_noise(&flow->prior, o->seed, position, o->data_noise, blocks, w->d_x));
    w->noise = (eqf__noise){o->seed, position}; /* different in each batch */
    return EQF_OK;
}

static eqf_status launch_nll(eqf_trainer *trainer, size_t count) {
    if (trainer->path != NULL) return eqf__path_launch(trainer, EQF_DATA_TO_PRIOR, count, EQF__SUM_NLL);
    if (trainer->options.sample_cap > 0) return eqf__capped_nll_launch(trainer, count);
    return eqf__flow_launch_gradient(trainer->flow, &trainer->workspace, count, trainer->options.integration_penalty);
}

enum { ENOUGH_HELD_OUT = 100 };

size_t eqf__num_validated(const eqf_trainer *trainer) {
    const size_t most = trainer->options.num_validated;
    return most > 0 && most < trainer->num_held_out ? most : trainer->num_held_out;
}

/* nlls_out [num]: -log_prob of the held-out data, all of them on every rank. */
static eqf_status held_out_nlls(eqf_trainer *trainer, size_t num, double *nlls_out) {
    const eqf__batch_share share = eqf__share_of(trainer, num);
    float *log_prob = eqf__alloc(trainer->ctx, share.count, sizeof *log_prob, "log-densities");
    if (log_prob == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status =
        eqf_flow_log_prob_part(trainer->flow, share.first, share.count,
                               trainer->held_out + share.first * trainer->flow->num_dof, log_prob, NULL);
    for (size_t b = 0; b < num; b++) nlls_out[b] = 0;
    for (size_t b = 0; b < share.count; b++) nlls_out[share.first + b] = -(double)log_prob[b];
    free(log_prob);
    return status == EQF_OK ? eqf__sum_doubles(trainer->ctx, num, nlls_out) : status;
}

/* The mean NLL of the held-out data, and the one by which models are chosen: of 100 or more samples the worst is left
 * out. In a flow with thin tails one outlier costs tens of nats, so it would favour a model that has learnt little. */
static eqf_status measure_nll(eqf_trainer *trainer, double *nll_out, double *choosing_nll_out) {
    const size_t num = eqf__num_validated(trainer);
    double *nlls = eqf__alloc(trainer->ctx, num, sizeof *nlls, "log-densities");
    if (nlls == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = held_out_nlls(trainer, num, nlls);
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

static bool has_held_out(const eqf_trainer *trainer) {
    return trainer->num_held_out > 0 && trainer->options.objective == EQF_OBJECTIVE_LIKELIHOOD;
}

/* ---- Free energy of the model ------------------------------------------------------------------------------------ */

static double weight_of_energy(const eqf_training_options *o, double nll_weight) {
    return o->objective == EQF_OBJECTIVE_LIKELIHOOD ? 1.0 - nll_weight : 0;
}

static size_t energy_batch_size(const eqf_training_options *o) {
    return o->num_generated;
}

/* Draws latents that no earlier step had. */
static eqf_status draw_latents(eqf_trainer *trainer, const eqf__batch_share *share) {
    const eqf_training_options *o = &trainer->options;
    const uint64_t first = eqf__stage_step(trainer) * o->num_generated + share->first;
    EQF__TRY(eqf__prior_sample(&trainer->flow->prior, eqf__noise_seed(o, EQF__NOISE_TRAINING), first,
                               num_blocks_of(trainer, share->count), trainer->workspace.d_x));
    trainer->workspace.noise = (eqf__noise){eqf__noise_seed(o, EQF__NOISE_TRAINING), first};
    return EQF_OK;
}

static eqf_status launch_energy(eqf_trainer *trainer, size_t count) {
    const eqf_training_options *o = &trainer->options;
    if (trainer->path != NULL) return eqf__path_launch(trainer, EQF_PRIOR_TO_DATA, count, EQF__SUM_FREE_ENERGY);
    return eqf__flow_launch_energy_gradient(trainer->flow, &trainer->energy_seed, &trainer->workspace, count,
                                            o->energy_cap, o->integration_penalty);
}

/* Mean of u + log_prob over samples of the model, with energies capped as in training. The latents and the noise are
 * the same each time, so that two measurements differ by the model only. */
static eqf_status measure_energy(eqf_trainer *trainer, double *free_energy_out, double *choosing_out) {
    eqf_context *ctx = trainer->ctx;
    const eqf_training_options *o = &trainer->options;
    const eqf__batch_share share = eqf__share_of(trainer, o->num_held_out_generated);
    const size_t num = share.count, num_dof = trainer->flow->num_dof;
    float *x = eqf__alloc(ctx, num * num_dof, sizeof *x, "samples");
    float *log_prob = eqf__alloc(ctx, num, sizeof *log_prob, "log-densities");
    float *energy = eqf__alloc(ctx, num, sizeof *energy, "energies");
    eqf_status status = x != NULL && log_prob != NULL && energy != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK)
        status = eqf_flow_sample(trainer->flow, eqf__noise_seed(o, EQF__NOISE_HELD_OUT), share.first, num, x, log_prob);
    if (status == EQF_OK)
        status = eqf_potential_evaluate(ctx, &eqf_model_options_of(trainer->model)->potential, num, x, energy, NULL);
    double sum = 0;
    for (size_t b = 0; b < num && status == EQF_OK; b++) {
        double u = energy[b];
        if (u > o->energy_cap) u = o->energy_cap + log1p(fmin(u, (double)FLT_MAX) - o->energy_cap);
        sum += u + log_prob[b];
    }
    if (status == EQF_OK) status = eqf__sum_doubles(ctx, 1, &sum);
    *choosing_out = *free_energy_out = sum / (double)o->num_held_out_generated;
    free(x);
    free(log_prob);
    free(energy);
    return status;
}

static bool has_energy(const eqf_trainer *trainer) {
    return eqf__has_term(&trainer->options, EQF__TERM_ENERGY);
}

/* ---- Flow matching ----------------------------------------------------------------------------------------------- */

static double weight_of_matching(const eqf_training_options *o, double nll_weight) {
    (void)nll_weight;
    return o->objective == EQF_OBJECTIVE_FLOW_MATCHING;
}

static bool has_held_out_pairs(const eqf_trainer *trainer) {
    return trainer->num_held_out > 0 && trainer->options.objective == EQF_OBJECTIVE_FLOW_MATCHING;
}

/* ---- Log-dispersion ---------------------------------------------------------------------------------------------- */

static double weight_of_dispersion(const eqf_training_options *o, double nll_weight) {
    (void)nll_weight;
    return o->objective == EQF_OBJECTIVE_LIKELIHOOD ? o->dispersion_weight : 0;
}

static bool has_held_out_dispersion(const eqf_trainer *trainer) {
    return trainer->num_held_out > 0 && eqf__has_term(&trainer->options, EQF__TERM_DISPERSION);
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

#define COLUMNS(training, held) offsetof(eqf_history_row, training), offsetof(eqf_history_row, held)
const eqf__term eqf__terms[EQF__NUM_TERMS] = {
    [EQF__TERM_NLL] = {"nll", EQF_DATA_TO_PRIOR, COLUMNS(nll, held_out_nll), weight_of_nll, nll_batch_size, draw_data,
                       launch_nll, measure_nll, has_held_out},
    [EQF__TERM_ENERGY] = {"free_energy", EQF_PRIOR_TO_DATA, COLUMNS(free_energy, held_out_free_energy),
                          weight_of_energy, energy_batch_size, draw_latents, launch_energy, measure_energy, has_energy},
    [EQF__TERM_FLOW_MATCHING] = {"flow_matching", EQF_PRIOR_TO_DATA, COLUMNS(flow_matching, held_out_flow_matching),
                                 weight_of_matching, nll_batch_size, eqf__matching_draw, eqf__matching_launch,
                                 eqf__matching_measure, has_held_out_pairs},
    [EQF__TERM_DISPERSION] = {"dispersion", EQF_DATA_TO_PRIOR, COLUMNS(dispersion, held_out_dispersion),
                              weight_of_dispersion, nll_batch_size, draw_data, eqf__dispersion_launch,
                              eqf__dispersion_measure, has_held_out_dispersion},
};

double eqf__term_weight(const eqf_training_options *options, eqf__term_kind kind, uint64_t step) {
    return eqf__terms[kind].weight(options, eqf__scheduled_nll_weight(options, step));
}

double eqf__term_last_weight(const eqf_training_options *options, eqf__term_kind kind) {
    return eqf__terms[kind].weight(options, options->nll_weight_end);
}

bool eqf__has_term(const eqf_training_options *options, eqf__term_kind kind) {
    return eqf__terms[kind].weight(options, options->nll_weight_start) > 0 || eqf__term_last_weight(options, kind) > 0;
}

eqf_status eqf__terms_create(eqf_trainer *trainer) {
    const eqf_training_options *o = &trainer->options;
    const eqf_potential_options *potential = &eqf_model_options_of(trainer->model)->potential;
    const bool has_path = o->gradient == EQF_GRADIENT_PATH && o->objective == EQF_OBJECTIVE_LIKELIHOOD;
    if (has_path) EQF__TRY(eqf__path_create(trainer));
    const bool has_dispersion = eqf__has_term(o, EQF__TERM_DISPERSION);
    if (has_dispersion || (o->sample_cap > 0 && !has_path && eqf__has_term(o, EQF__TERM_NLL)))
        EQF__TRY(eqf__weighted_create(trainer));
    if (has_path || has_dispersion || eqf__has_term(o, EQF__TERM_ENERGY))
        EQF__TRY(eqf__energy_seed_create(trainer->ctx, potential, &trainer->energy_seed));
    if (eqf__has_term(&trainer->options, EQF__TERM_FLOW_MATCHING)) EQF__TRY(eqf__matching_create(trainer));
    if (eqf__has_term(&trainer->options, EQF__TERM_NLL) && trainer->options.is_augmented)
        EQF__TRY(eqf__augment_create(trainer->ctx, potential->num_particles, eqf_potential_num_b(potential),
                                     potential->space_dim, &trainer->augment));
    return EQF_OK;
}

void eqf__terms_destroy(eqf_trainer *trainer) {
    eqf__matching_destroy(trainer);
    eqf__path_destroy(trainer);
    eqf__weighted_destroy(trainer);
    eqf__kernel_destroy(&trainer->augment);
    eqf__kernel_destroy(&trainer->energy_seed);
}
