#include "evaluation.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "eqflow/estimate.h"

#include "progress.h"
#include "random_stream.h"
#include "work.h"

static const double refinement_tolerance = 0.01; /* nats between nll and nll_refined */
static const double invariance_tolerance = 1e-4; /* nats */
static const double dominant_weight = 0.05;      /* of the total: one sample decides the averages */
/* ESS from too few samples misleads: docs/method.md, section 7. */
static const size_t few_samples = 10000, few_samples_low_ess = 100000;
static const double low_ess = 0.5;
enum { NUM_INVARIANCE = 256, MAX_SPACE_DIM = 3, NUM_RESAMPLES = 200 };

typedef struct evaluation_job {
    cli_app *app;
    const eqf_model *model;
    const eqf_potential_options *target;
    size_t num_data;
    const float *x_data;
} evaluation_job;

static void warn(evaluation *result, const char *format, ...) APP_PRINTF(2, 3);
static void warn(evaluation *result, const char *format, ...) {
    if (result->num_warnings == EVALUATION_MAX_WARNINGS) return;
    char *text = malloc(512);
    if (!text) return;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, 512, format, arguments);
    va_end(arguments);
    result->warnings[result->num_warnings++] = text;
}

/* Mean of num floats in double; NaN if one is not finite, and their number. */
static double mean_of(size_t num, const float *values, size_t *num_bad_out) {
    double sum = 0;
    *num_bad_out = 0;
    for (size_t b = 0; b < num; b++) {
        if (!isfinite(values[b])) ++*num_bad_out;
        sum += values[b];
    }
    return *num_bad_out > 0 ? NAN : sum / (double)num;
}

static exit_code create_flow(const evaluation_job *job, const eqf_flow_options *options, eqf_flow **flow_out) {
    cli_app *app = job->app;
    cli_progress progress;
    progress_wait(&progress, app, "building kernels for this device");
    eqf_status status = eqf_flow_create(app->ctx, job->model, options, flow_out);
    progress_end(&progress);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_COMPUTE);
}

/* ---- Likelihood of the data ------------------------------------------------------------------- */

/* The mean and its standard error where there are numbers enough for them; NaN else. */
static void summarise(size_t num, const double *values, double *mean_out, double *standard_error_out) {
    if (eqf_estimate_mean(num, values, mean_out, standard_error_out) == EQF_OK) return;
    *mean_out = num == 1 ? values[0] : NAN;
    *standard_error_out = NAN;
}

/* values_out [num_data] = -log_prob of the data. */
static exit_code measure_nll(const evaluation_job *job, eqf_flow *flow, const char *label, double *values_out,
                             double *nll_out, double *standard_error_out) {
    float *log_prob = app_alloc(job->app, job->num_data, sizeof *log_prob, "the log-densities");
    exit_code code = log_prob ? work_log_prob(job->app, flow, job->target, label, job->num_data, job->x_data, log_prob)
                              : EXIT_CODE_DEVICE;
    for (size_t b = 0; b < job->num_data && code == EXIT_CODE_OK; b++) values_out[b] = -(double)log_prob[b];
    if (code == EXIT_CODE_OK) summarise(job->num_data, values_out, nll_out, standard_error_out);
    free(log_prob);
    return code;
}

static exit_code measure_refined_nll(const evaluation_job *job, double *values, evaluation *result) {
    eqf_flow *refined = NULL;
    double unused;
    eqf_flow_options refinement = result->flow_options;
    refinement.num_steps *= 2;
    refinement.adaptive.rtol = fmax(0.1 * refinement.adaptive.rtol, 1e-8);
    refinement.adaptive.atol = fmax(0.1 * refinement.adaptive.atol, 1e-20);
    exit_code code = create_flow(job, &refinement, &refined);
    if (code == EXIT_CODE_OK) code = measure_nll(job, refined, "nll refined", values, &result->nll_refined, &unused);
    eqf_flow_destroy(&refined);
    return code;
}

/* KL(target || model), where ln Z is known, in two ways. NLL - entropy has the noise of the data's energies, which the mean of
 * ln p - ln q over the same data, ln p = -u - ln Z, has not. nlls [num_data] of the data. */
static void measure_kl(const evaluation_job *job, double *nlls, evaluation *result) {
    result->kl = result->nll - result->entropy;
    result->kl_standard_error = hypot(result->nll_standard_error, result->entropy_error);
    if (isnan(result->known_log_z)) return;
    for (size_t b = 0; b < job->num_data; b++) nlls[b] -= (double)result->energy_data[b] + result->known_log_z;
    summarise(job->num_data, nlls, &result->kl_direct, &result->kl_direct_standard_error);
    result->kl_direct_standard_error = hypot(result->kl_direct_standard_error, result->known_log_z_error);
}

static exit_code measure_data(const evaluation_job *job, eqf_flow *flow, evaluation *result) {
    const eqf_potential_options *target = job->target;
    double *nlls = app_alloc(job->app, job->num_data, sizeof *nlls, "the log-densities");
    double *refined = app_alloc(job->app, job->num_data, sizeof *refined, "the log-densities");
    result->energy_data = app_alloc(job->app, job->num_data, sizeof(float), "the energies");
    exit_code code = nlls && refined && result->energy_data ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) {
        code = measure_nll(job, flow, "nll", nlls, &result->nll, &result->nll_standard_error);
    }
    if (code == EXIT_CODE_OK) code = measure_refined_nll(job, refined, result);
    if (code == EXIT_CODE_OK) code = work_energy(job->app, target, job->num_data, job->x_data, result->energy_data);
    if (code == EXIT_CODE_OK) {
        /* Half of ln 2 pi for each free degree of freedom: the convention of papers that drop the prior's constant. */
        const double half_log_2_pi = 0.91893853320467274178;
        result->nll_without_constant =
            result->nll - half_log_2_pi * (double)((target->num_particles - 1) * target->space_dim);
        size_t num_bad;
        result->mean_energy_data = mean_of(job->num_data, result->energy_data, &num_bad);
        if (num_bad > 0) warn(result, "%zu of %zu data configurations have no finite energy", num_bad, job->num_data);
        if (isnan(result->nll)) {
            warn(result, "some data configurations have no finite log-density, so there is no NLL: the flow cannot "
                         "reach them");
        }
        measure_kl(job, nlls, result);
    }
    free(nlls);
    free(refined);
    return code;
}

/* ---- Samples of the model --------------------------------------------------------------------- */

static exit_code measure_samples(const evaluation_job *job, eqf_flow *flow, evaluation *result) {
    size_t num = result->num_samples, num_bad;
    size_t num_dof = (size_t)job->target->num_particles * job->target->space_dim;
    float *log_prob = app_alloc(job->app, num, sizeof *log_prob, "the log-densities");
    double *energies = app_alloc(job->app, num, sizeof *energies, "the energies");
    result->x_model = app_alloc(job->app, num, num_dof * sizeof(float), "the samples");
    result->energy_model = app_alloc(job->app, num, sizeof(float), "the energies");
    result->log_weights = app_alloc(job->app, num, sizeof(double), "the weights");
    exit_code code = EXIT_CODE_DEVICE;
    if (!log_prob || !energies || !result->x_model || !result->energy_model || !result->log_weights) goto done;
    code = work_sample(job->app, flow, job->target, app_seed_for(job->app->seed, "evaluate"), num, result->x_model,
                       log_prob);
    if (code != EXIT_CODE_OK) goto done;
    code = work_energy(job->app, job->target, num, result->x_model, result->energy_model);
    if (code != EXIT_CODE_OK) goto done;

    eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    if (eqf_estimate_log_weights(num, result->energy_model, log_prob, result->log_weights) == EQF_OK &&
        eqf_estimate_weights(num, result->log_weights, &summary) == EQF_OK) {
        result->ess_fraction = summary.ess_fraction;
        result->max_weight_fraction = summary.max_weight_fraction;
        result->log_z = summary.log_z;
        result->free_energy_difference = work_free_energy_difference(
            summary.log_z, eqf_model_options_of(job->model)->prior_scale, job->target);
        uint64_t seed = app_seed_for(job->app->seed, "bootstrap");
        if (eqf_estimate_weights_bootstrap(num, result->log_weights, NUM_RESAMPLES, seed, &result->log_z_standard_error,
                                           &result->ess_fraction_standard_error) != EQF_OK) {
            result->log_z_standard_error = result->ess_fraction_standard_error = NAN;
        }
        for (size_t b = 0; b < num; b++) energies[b] = result->energy_model[b];
        if (eqf_estimate_reweighted_bootstrap(num, result->log_weights, energies, NUM_RESAMPLES, seed,
                                              &result->mean_energy_reweighted,
                                              &result->mean_energy_reweighted_standard_error) != EQF_OK) {
            result->mean_energy_reweighted = result->mean_energy_reweighted_standard_error = NAN;
        }
    } else {
        warn(result, "no importance weights: log-densities of samples are not finite, or no sample has any weight");
    }
    result->mean_energy_model = mean_of(num, result->energy_model, &num_bad);
    if (num_bad > 0) warn(result, "%zu of %zu samples of the model have no finite energy", num_bad, num);
done:
    free(log_prob);
    free(energies);
    return code;
}

/* ---- Invariance ------------------------------------------------------------------------------- */

/* A random rotation or reflection of space_dim dimensions: Gaussian columns, orthonormalised (Gram-Schmidt). Columns
 * of independent Gaussians have either handedness equally often. */
static void draw_orthogonal(random_stream *stream, unsigned space_dim, double q[MAX_SPACE_DIM][MAX_SPACE_DIM]) {
    for (unsigned i = 0; i < space_dim; i++) {
        double length = 0;
        while (length < 1e-3) { /* a near-dependent column: draw again */
            for (unsigned d = 0; d < space_dim; d++) q[i][d] = random_normal(stream);
            for (unsigned j = 0; j < i; j++) {
                double along = 0;
                for (unsigned d = 0; d < space_dim; d++) along += q[i][d] * q[j][d];
                for (unsigned d = 0; d < space_dim; d++) q[i][d] -= along * q[j][d];
            }
            length = 0;
            for (unsigned d = 0; d < space_dim; d++) length += q[i][d] * q[i][d];
            length = sqrt(length);
        }
        for (unsigned d = 0; d < space_dim; d++) q[i][d] /= length;
    }
}

/* det q: 1 for a rotation, -1 for a reflection; 1 or 2 or 3 dimensions. */
static double determinant(unsigned space_dim, double q[MAX_SPACE_DIM][MAX_SPACE_DIM]) {
    if (space_dim == 1) return q[0][0];
    if (space_dim == 2) return q[0][0] * q[1][1] - q[0][1] * q[1][0];
    return q[0][0] * (q[1][1] * q[2][2] - q[1][2] * q[2][1]) - q[0][1] * (q[1][0] * q[2][2] - q[1][2] * q[2][0]) +
           q[0][2] * (q[1][0] * q[2][1] - q[1][1] * q[2][0]);
}

/* An orthogonal map with the wanted determinant: the identity, a rotation, a reflection, or either. */
static void draw_map(random_stream *stream, bool has_rotation, bool has_reflection, unsigned space_dim,
                     double q[MAX_SPACE_DIM][MAX_SPACE_DIM]) {
    draw_orthogonal(stream, space_dim, q);
    if (has_rotation && has_reflection) return;
    for (unsigned i = 0; !has_rotation && !has_reflection && i < space_dim; i++) {
        for (unsigned d = 0; d < space_dim; d++) q[i][d] = i == d;
    }
    if ((determinant(space_dim, q) < 0) != has_reflection) {
        for (unsigned d = 0; d < space_dim; d++) q[0][d] = -q[0][d];
    }
}

/* x_out [N, D] = x [N, D] under a random element of the symmetry: permuted, rotated or reflected, moved by float32 as a
 * user's file would be, and centred. */
static void transform(random_stream *stream, symmetry kind, const eqf_potential_options *target, const float *x,
                      unsigned *order, float *x_out) {
    unsigned num_particles = target->num_particles, space_dim = target->space_dim;
    double q[MAX_SPACE_DIM][MAX_SPACE_DIM], shift[MAX_SPACE_DIM] = {0}, centre[MAX_SPACE_DIM] = {0};
    const bool is_all = kind == SYMMETRY_ALL;
    draw_map(stream, is_all || kind == SYMMETRY_ROTATION, is_all || kind == SYMMETRY_REFLECTION, space_dim, q);
    for (unsigned d = 0; d < space_dim && (is_all || kind == SYMMETRY_TRANSLATION); d++) shift[d] = random_normal(stream);
    for (unsigned i = 0; i < num_particles; i++) order[i] = i;
    for (unsigned i = num_particles; i > 1 && (is_all || kind == SYMMETRY_PERMUTATION); i--) {
        unsigned j = (unsigned)(random_uniform(stream) * i), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
    for (unsigned i = 0; i < num_particles; i++) {
        for (unsigned d = 0; d < space_dim; d++) {
            double sum = shift[d];
            for (unsigned e = 0; e < space_dim; e++) sum += q[d][e] * x[order[i] * space_dim + e];
            x_out[i * space_dim + d] = (float)sum;
            centre[d] += (double)(float)sum / num_particles;
        }
    }
    for (unsigned i = 0; i < num_particles; i++) {
        for (unsigned d = 0; d < space_dim; d++) {
            x_out[i * space_dim + d] = (float)(x_out[i * space_dim + d] - centre[d]);
        }
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* NaN where no configuration has a finite log-density. */
static log_prob_change summarise_changes(size_t num, const float *before, const float *after) {
    double changes[NUM_INVARIANCE];
    size_t num_finite = 0;
    for (size_t b = 0; b < num; b++) {
        double change = fabs((double)after[b] - (double)before[b]);
        if (isfinite(change)) changes[num_finite++] = change;
    }
    if (num_finite == 0) return (log_prob_change){NAN, NAN};
    qsort(changes, num_finite, sizeof changes[0], compare);
    double median = 0.5 * (changes[(num_finite - 1) / 2] + changes[num_finite / 2]);
    return (log_prob_change){median, changes[num_finite - 1]};
}

static exit_code measure_invariance(const evaluation_job *job, eqf_flow *flow, evaluation *result) {
    size_t num = job->num_data < NUM_INVARIANCE ? job->num_data : NUM_INVARIANCE;
    size_t num_dof = (size_t)job->target->num_particles * job->target->space_dim;
    float before[NUM_INVARIANCE], after[NUM_INVARIANCE];
    float *x = app_alloc(job->app, num, num_dof * sizeof *x, "the transformed configurations");
    unsigned *order = app_alloc(job->app, job->target->num_particles, sizeof *order, "the permutation");
    exit_code code = x && order ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) code = work_log_prob(job->app, flow, job->target, "invariance", num, job->x_data, before);
    for (symmetry kind = 0; kind < NUM_SYMMETRIES && code == EXIT_CODE_OK; kind++) {
        random_stream stream = {app_seed_for(job->app->seed + kind, "invariance"), 0};
        for (size_t b = 0; b < num; b++) {
            transform(&stream, kind, job->target, job->x_data + b * num_dof, order, x + b * num_dof);
        }
        code = work_log_prob(job->app, flow, job->target, "invariance", num, x, after);
        if (code == EXIT_CODE_OK) result->changes[kind] = summarise_changes(num, before, after);
    }
    free(x);
    free(order);
    result->log_prob_invariance_error = result->changes[SYMMETRY_ALL].largest;
    return code;
}

/* ---- Judgement -------------------------------------------------------------------------------- */

static void judge_likelihood(evaluation *result) {
    double difference = result->nll_refined - result->nll;
    const eqf_flow_options *used = &result->flow_options;
    if (result->steps.num_failed > 0) {
        warn(result, "%" PRIu64 " of %" PRIu64 " trajectories were given up: they are not finite, or need steps too small or too many",
             result->steps.num_failed, result->steps.num_samples);
    }
    if (fabs(difference) > refinement_tolerance && used->method == EQF_INTEGRATOR_DOPRI5) {
        warn(result, "nll_refined differs from nll by %.3g nats (more than %g): --rtol %g does not resolve this flow; "
                     "neither is its NLL: evaluate with --rtol %g", difference, refinement_tolerance,
             used->adaptive.rtol, 0.01 * used->adaptive.rtol);
    } else if (fabs(difference) > refinement_tolerance) {
        warn(result, "nll_refined differs from nll by %.3g nats (more than %g): %u integration steps do not resolve "
                     "this flow, and twice as many may not either: neither is its NLL; evaluate with --integration-steps %u or "
                     "--integrator dopri5 until both agree, and train with a larger --integration-penalty", difference, refinement_tolerance, used->num_steps,
             4 * used->num_steps);
    }
    double uncertainty = 3 * hypot(isfinite(result->nll_standard_error) ? result->nll_standard_error : 0,
                                   isfinite(result->entropy_error) ? result->entropy_error : 0);
    if (result->nll < result->entropy - uncertainty) {
        warn(result, "nll %.4f is below the target's entropy %.4f, which no model can be on equilibrium data: either "
                     "the integrator is not accurate (see nll_refined) or the data are not equilibrium samples",
             result->nll, result->entropy);
    } else if (result->nll_refined < result->entropy - uncertainty) {
        warn(result, "nll_refined %.4f is below the target's entropy %.4f, which no model can be on equilibrium data",
             result->nll_refined, result->entropy);
    }
    if (result->log_prob_invariance_error > invariance_tolerance) {
        warn(result, "log-densities change by up to %.2g nats under rotation, reflection, translation and permutation "
                     "(more than %g)%s", result->log_prob_invariance_error, invariance_tolerance,
             used->method == EQF_INTEGRATOR_DOPRI5 ? ": rounding decides which steps are accepted; a lower --rtol makes this smaller" : "");
    }
}

static void judge_weights(evaluation *result) {
    if (result->max_weight_fraction > dominant_weight) {
        warn(result, "one sample carries %.1f %% of the total weight: ESS, ln Z and reweighted averages hang on it; "
                     "draw more samples (-n) or improve the model", 100 * result->max_weight_fraction);
    }
    if (result->num_samples < few_samples) {
        warn(result, "%zu samples are too few for an effective sample size; use -n %zu or more", result->num_samples,
             few_samples);
    } else if (result->ess_fraction < low_ess && result->num_samples < few_samples_low_ess) {
        warn(result, "an effective sample size below %g is uncertain from %zu samples; use -n %zu", low_ess,
             result->num_samples, few_samples_low_ess);
    }
}

exit_code evaluation_run(cli_app *app, const eqf_model *model, const eqf_potential_options *target,
                         const eqf_flow_options *flow_options, size_t num_data, const float *x_data,
                         size_t num_samples, evaluation *result) {
    evaluation_job job = {app, model, target, num_data, x_data};
    const eqf_model_options *options = eqf_model_options_of(model);
    *result = (evaluation){.num_samples = num_samples, .num_data = num_data};
    result->flow_options = *flow_options;
    if (flow_options->num_steps == 0) result->flow_options.num_steps = options->integrator.num_steps;
    result->entropy = result->entropy_error = result->kl = result->kl_standard_error = NAN;
    result->kl_direct = result->kl_direct_standard_error = result->known_log_z = result->known_log_z_error = NAN;
    result->ess_fraction = result->max_weight_fraction = result->log_z = result->log_z_standard_error = NAN;
    result->ess_fraction_standard_error = result->free_energy_difference = NAN;
    result->mean_energy_reweighted = result->mean_energy_reweighted_standard_error = NAN;
    result->log_prob_invariance_error = NAN;
    for (symmetry kind = 0; kind < NUM_SYMMETRIES; kind++) result->changes[kind] = (log_prob_change){NAN, NAN};
    const eqf_preset *preset = eqf_preset_find(options->preset);
    if (preset && eqf_preset_matches(preset, target)) {
        result->entropy = preset->entropy;
        result->entropy_error = preset->entropy_error;
        result->known_log_z = preset->log_z;
        result->known_log_z_error = preset->log_z_error;
    }
    eqf_flow *flow = NULL;
    exit_code code = create_flow(&job, &result->flow_options, &flow);
    if (code == EXIT_CODE_OK) code = measure_data(&job, flow, result);
    if (code == EXIT_CODE_OK) code = measure_samples(&job, flow, result);
    if (code == EXIT_CODE_OK) eqf_flow_step_statistics(flow, &result->steps);
    if (code == EXIT_CODE_OK) code = measure_invariance(&job, flow, result);
    eqf_flow_destroy(&flow);
    if (code != EXIT_CODE_OK) return code;
    judge_likelihood(result);
    judge_weights(result);
    return EXIT_CODE_OK;
}

void evaluation_clear(evaluation *result) {
    free(result->x_model);
    free(result->energy_model);
    free(result->log_weights);
    free(result->energy_data);
    for (size_t i = 0; i < result->num_warnings; i++) free(result->warnings[i]);
    *result = (evaluation){.num_samples = 0};
}
