/* Warnings about doubtful figures of an evaluation. */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "evaluation.h"

static const double refinement_tolerance = 0.01; /* nats between nll and nll_refined */
static const double invariance_tolerance = 1e-4; /* nats */
static const double dominant_weight = 0.05;      /* of the total: then one sample dominates the averages */
static const size_t few_samples = 10000;         /* from fewer the ESS is unreliable: docs/method.md, section 7 */
/* The two ESS disagree if they differ by more than this many standard errors and by more than ess_error. */
static const double most_errors = 3;

const char *eqf_warning_kind_name(eqf_warning_kind kind) {
#define NAME(name, text) #name,
    static const char *const names[] = {EQF_WARNING_MAP(NAME)};
#undef NAME
    return (unsigned)kind < EQF_NUM_WARNING_KINDS ? names[kind] : NULL;
}

void eqf__evaluation_warn(eqf_evaluation *result, eqf_warning_kind kind, double value, double limit, const char *format,
                          ...) {
    if (result->num_warnings == EQF__MAX_WARNINGS) return;
    char *text = result->texts[result->num_warnings];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, EQF__WARNING_SIZE, format, arguments);
    va_end(arguments);
    result->warnings[result->num_warnings++] =
        (eqf_evaluation_warning){sizeof(eqf_evaluation_warning), kind, value, limit, text};
}

static bool has_step_control(const eqf_evaluation *result) {
    return eqf_integrator_method_describe(result->flow_options.method)->has_step_control;
}

static void compare_refined(eqf_evaluation *result) {
    const eqf_evaluation_figures *f = &result->figures;
    const eqf_flow_options *used = &result->flow_options;
    const double difference = f->nll_refined - f->nll;
    if (fabs(difference) > refinement_tolerance && has_step_control(result))
        eqf__evaluation_warn(
            result, EQF_WARNING_NOT_RESOLVED, difference, refinement_tolerance,
            "nll_refined differs from nll by %.3g nats (more than %g): rtol %g does not resolve this flow; "
            "neither is its NLL: evaluate with rtol %g",
            difference, refinement_tolerance, used->adaptive.rtol, 0.01 * used->adaptive.rtol);
    else if (fabs(difference) > refinement_tolerance)
        eqf__evaluation_warn(
            result, EQF_WARNING_NOT_RESOLVED, difference, refinement_tolerance,
            "nll_refined differs from nll by %.3g nats (more than %g): %u integration steps do not resolve "
            "this flow, and twice as many may not either: neither is its NLL; evaluate with integrator.num_steps "
            "%u or EQF_INTEGRATOR_DOPRI5 until both agree, and train with a larger integration_penalty",
            difference, refinement_tolerance, used->num_steps, 4 * used->num_steps);
}

static void compare_entropy(eqf_evaluation *result) {
    const eqf_evaluation_figures *f = &result->figures;
    const double uncertainty = 3 * hypot(isfinite(f->nll_standard_error) ? f->nll_standard_error : 0,
                                         isfinite(f->entropy_error) ? f->entropy_error : 0);
    if (f->nll < f->entropy - uncertainty)
        eqf__evaluation_warn(
            result, EQF_WARNING_BELOW_ENTROPY, f->nll, f->entropy,
            "nll %.4f is below the target's entropy %.4f, which no model can be on equilibrium data: either "
            "the integrator is not accurate (see nll_refined) or the data are not equilibrium samples",
            f->nll, f->entropy);
    else if (f->nll_refined < f->entropy - uncertainty)
        eqf__evaluation_warn(
            result, EQF_WARNING_REFINED_BELOW_ENTROPY, f->nll_refined, f->entropy,
            "nll_refined %.4f is below the target's entropy %.4f, which no model can be on equilibrium data",
            f->nll_refined, f->entropy);
}

static void compare_weights(const eqf__evaluated *of, eqf_evaluation *result) {
    const eqf_evaluation_figures *f = &result->figures;
    const double limit = eqf__ess_error_limit(of, f), error = f->ess_fraction_standard_error;
    if (f->max_weight_fraction > dominant_weight)
        eqf__evaluation_warn(
            result, EQF_WARNING_DOMINANT_WEIGHT, f->max_weight_fraction, dominant_weight,
            "one sample carries %.1f %% of the total weight: ESS, ln Z and reweighted averages hang on it; "
            "draw more samples (num_samples) or improve the model",
            100 * f->max_weight_fraction);
    if (f->num_samples < few_samples)
        eqf__evaluation_warn(result, EQF_WARNING_FEW_SAMPLES, (double)f->num_samples, (double)few_samples,
                             "%zu samples are too few for an effective sample size; use num_samples %zu or more",
                             f->num_samples, few_samples);
    else if (error > limit)
        eqf__evaluation_warn(result, EQF_WARNING_UNCERTAIN_ESS, error, limit,
                             "the effective sample size, %.2g, is uncertain by %.2g (more than %.2g) from %zu samples; "
                             "allow more of them (max_samples %.2g)",
                             f->ess_fraction, error, limit, f->num_samples,
                             fmax(2, error / limit * error / limit) * (double)f->num_samples);
}

/* The data's ESS is lower where the model misses a part of the target, and where the data are not of the target's
 * equilibrium. */
static void compare_ess(const eqf__evaluated *of, eqf_evaluation *result) {
    const eqf_evaluation_figures *f = &result->figures;
    const double difference = f->ess_fraction - f->ess_fraction_data;
    const double limit =
        fmax(most_errors * hypot(f->ess_fraction_standard_error, f->ess_fraction_data_standard_error), of->ess_error);
    if (fabs(difference) > limit)
        eqf__evaluation_warn(
            result, EQF_WARNING_ESS_DISAGREES, difference, limit,
            "the effective sample size is %.3g of the model's samples and %.3g from the data (their errors: %.2g, "
            "%.2g): "
            "%s, or the data are not equilibrium samples of the target",
            f->ess_fraction, f->ess_fraction_data, f->ess_fraction_standard_error, f->ess_fraction_data_standard_error,
            difference > 0 ? "the model misses a part of the target" : "the samples have weights that the data do not");
}

void eqf__evaluation_compare(const eqf__evaluated *of, eqf_evaluation *result) {
    const eqf_evaluation_figures *f = &result->figures;
    if (result->steps.num_failed > 0)
        eqf__evaluation_warn(result, EQF_WARNING_FAILED_SOLVES, (double)result->steps.num_failed, 0,
                             "%" PRIu64 " of %" PRIu64
                             " trajectories were given up: they are not finite, or need steps too small or too many",
                             result->steps.num_failed, result->steps.num_samples);
    compare_refined(result);
    compare_entropy(result);
    if (f->log_prob_invariance_error > invariance_tolerance)
        eqf__evaluation_warn(
            result, EQF_WARNING_NOT_INVARIANT, f->log_prob_invariance_error, invariance_tolerance,
            "log-densities change by up to %.2g nats under rotation, reflection, translation and permutation "
            "(more than %g)%s",
            f->log_prob_invariance_error, invariance_tolerance,
            has_step_control(result)
                ? ": rounding decides which steps are accepted; a lower rtol makes this smaller"
                : "");
    compare_weights(of, result);
    compare_ess(of, result);
}
