/* An evaluation, from its options to its figures. */
#include <math.h>
#include <stdlib.h>

#include "eqflow/preset.h"
#include "evaluation.h"

uint64_t eqf_seed_for(uint64_t seed, const char *purpose) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a of the purpose ... */
    for (const char *c = purpose != NULL ? purpose : ""; *c; c++) hash = (hash ^ (unsigned char)*c) * 0x100000001b3u;
    uint64_t mixed =
        seed + hash; /* ... mixed with the seed by the finaliser of splitmix64 (Steele, Lea and Flood 2014) */
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

static void forget_all(eqf_evaluation_figures *f) {
    f->nll = f->nll_standard_error = f->nll_without_constant = f->nll_refined = NAN;
    f->entropy = f->entropy_error = f->kl = f->kl_standard_error = f->kl_direct = f->kl_direct_standard_error = NAN;
    f->known_log_z = f->known_log_z_error = NAN;
    f->ess_fraction = f->ess_fraction_standard_error = f->max_weight_fraction = f->log_z = f->log_z_standard_error =
        NAN;
    f->free_energy_difference = f->mean_energy_model = f->mean_energy_data = NAN;
    f->mean_energy_reweighted = f->mean_energy_reweighted_standard_error = f->log_prob_invariance_error = NAN;
    f->reverse_kl = f->reverse_kl_standard_error = f->ess_fraction_data = f->ess_fraction_data_standard_error = NAN;
    f->log_z_bar = f->log_z_bar_standard_error = NAN;
    f->above_data_fraction = f->float_log_prob_error = f->jacobian_error = NAN;
    for (int kind = 0; kind < EQF_NUM_SYMMETRIES; kind++) f->changes[kind] = (eqf_log_prob_change){NAN, NAN};
    f->round_trip = (eqf_round_trip){NAN, NAN};
}

/* Sets the known figures of the target, if it is exactly a preset's. */
static void look_up(const eqf__evaluated *of, eqf_evaluation_figures *f) {
    const eqf_preset *preset = eqf_preset_find(eqf_model_options_of(of->model)->preset);
    if (preset == NULL || !eqf_preset_matches(preset, of->target)) return;
    f->entropy = preset->entropy;
    f->entropy_error = preset->entropy_error;
    f->known_log_z = preset->log_z;
    f->known_log_z_error = preset->log_z_error;
}

static eqf_status measure(const eqf__evaluated *of, size_t num_round_trip, eqf_evaluation *result) {
    eqf_flow *flow = NULL;
    EQF__TRY(eqf_flow_create(of->ctx, of->model, &result->flow_options, &flow));
    eqf_status status = eqf__evaluate_data(of, flow, result);
    if (status == EQF_OK) status = eqf__evaluate_samples(of, flow, result);
    if (status == EQF_OK) status = eqf__evaluate_log_z(of, result);
    if (status == EQF_OK) status = eqf_flow_step_statistics(flow, &result->steps);
    if (status == EQF_OK) status = eqf__evaluate_invariance(of, flow, result);
    if (status == EQF_OK) status = eqf__evaluate_in_double(of, flow, result);
    if (status == EQF_OK && num_round_trip > 0)
        status = eqf_flow_round_trip(flow, eqf_seed_for(of->seed, "round trip"), num_round_trip,
                                     &result->figures.round_trip);
    eqf_flow_destroy(&flow);
    return status;
}

static eqf_status check(const eqf__evaluated *of, const eqf_evaluation_options *options) {
    const eqf_potential_options *own = &eqf_model_options_of(of->model)->potential;
    EQF__TRY(eqf_potential_check(of->ctx, of->target));
    if (of->target->num_particles != own->num_particles || of->target->space_dim != own->space_dim)
        return eqf__fail(of->ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "the target has %u particles in %u dimensions, the model %u in %u", of->target->num_particles,
                         of->target->space_dim, own->num_particles, own->space_dim);
    if (options->num_samples < 2)
        return eqf__fail(of->ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "num_samples of the evaluation is %zu: it must be 2 or more", options->num_samples);
    if (options->max_samples != 0 && options->max_samples < options->num_samples)
        return eqf__fail(of->ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "max_samples is %zu: it must be num_samples, %zu, or more", options->max_samples,
                         options->num_samples);
    if (!(options->ess_error > 0 && options->ess_error < 1))
        return eqf__fail(of->ctx, EQF_ERROR_INVALID_ARGUMENT, "ess_error is %g: it must be above 0 and below 1",
                         options->ess_error);
    if (of->num_data == 0) return eqf__fail(of->ctx, EQF_ERROR_INVALID_ARGUMENT, "there are no data to evaluate on");
    return EQF_OK;
}

eqf_status eqf_evaluate(eqf_context *ctx, const eqf_model *model, const eqf_evaluation_options *options,
                        size_t num_data, const float *x, eqf_evaluation **evaluation_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, evaluation_out);
    *evaluation_out = NULL;
    EQF__NOT_NULL(ctx, model);
    EQF__NOT_NULL(ctx, x);
    eqf_evaluation_options o = EQF_EVALUATION_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_EVALUATION_OPTIONS_INIT, options, &o));
    const eqf_model_options *made = eqf_model_options_of(model);
    eqf__evaluated of = {.ctx = ctx, .model = model, .seed = o.seed, .num_data = num_data, .x = x};
    of.target = o.target != NULL ? o.target : &made->potential;
    EQF__TRY(check(&of, &o));
    of.max_samples = o.max_samples != 0 ? o.max_samples : o.num_samples;
    of.ess_error = o.ess_error;
    of.num_dof = (size_t)made->potential.num_particles * made->potential.space_dim;
    eqf_evaluation *result = eqf__alloc(ctx, 1, sizeof *result, "the evaluation");
    if (result == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    result->flow_options = (eqf_flow_options)EQF_FLOW_OPTIONS_INIT;
    result->steps = (eqf_step_statistics)EQF_STEP_STATISTICS_INIT;
    eqf_status status = o.flow != NULL ? EQF__READ(ctx, EQF_FLOW_OPTIONS_INIT, o.flow, &result->flow_options) : EQF_OK;
    if (result->flow_options.num_steps == 0) result->flow_options.num_steps = made->integrator.num_steps;
    result->figures = (eqf_evaluation_figures){.struct_size = sizeof result->figures,
                                               .num_samples = o.num_samples,
                                               .num_data = num_data,
                                               .flow = &result->flow_options,
                                               .steps = &result->steps};
    forget_all(&result->figures);
    look_up(&of, &result->figures);
    if (status == EQF_OK) status = measure(&of, o.num_round_trip, result);
    if (status != EQF_OK) {
        eqf_evaluation_destroy(&result);
        return status;
    }
    eqf__evaluation_compare(&of, result);
    *evaluation_out = result;
    return EQF_OK;
}

void eqf_evaluation_destroy(eqf_evaluation **evaluation) {
    if (evaluation == NULL || *evaluation == NULL) return;
    eqf_evaluation *dying = *evaluation;
    free(dying->samples);
    free(dying->sample_energies);
    free(dying->sample_log_probs);
    free(dying->log_weights);
    free(dying->data_energies);
    free(dying->data_log_weights);
    free(dying);
    *evaluation = NULL;
}

/* ---- Looking ----------------------------------------------------------------------------------------------------- */

const eqf_evaluation_figures *eqf_evaluation_figures_of(const eqf_evaluation *evaluation) {
    return evaluation != NULL ? &evaluation->figures : NULL;
}
size_t eqf_evaluation_num_warnings(const eqf_evaluation *evaluation) {
    return evaluation != NULL ? evaluation->num_warnings : 0;
}
const eqf_evaluation_warning *eqf_evaluation_warning_at(const eqf_evaluation *evaluation, size_t index) {
    return index < eqf_evaluation_num_warnings(evaluation) ? &evaluation->warnings[index] : NULL;
}
const float *eqf_evaluation_samples(const eqf_evaluation *evaluation) {
    return evaluation != NULL ? evaluation->samples : NULL;
}
const float *eqf_evaluation_sample_energies(const eqf_evaluation *evaluation) {
    return evaluation != NULL ? evaluation->sample_energies : NULL;
}
const float *eqf_evaluation_sample_log_probs(const eqf_evaluation *evaluation) {
    return evaluation != NULL ? evaluation->sample_log_probs : NULL;
}
const double *eqf_evaluation_log_weights(const eqf_evaluation *evaluation) {
    return evaluation != NULL ? evaluation->log_weights : NULL;
}
const float *eqf_evaluation_data_energies(const eqf_evaluation *evaluation) {
    return evaluation != NULL ? evaluation->data_energies : NULL;
}
