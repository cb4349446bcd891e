/* Known answers of a flow's gradients: the loss and its gradient with respect to the parameters, and the field's
 * vector-Jacobian product alone. */
#include <stdlib.h>
#include <string.h>

#include "flow_problem.h"

/* ---- Differences ------------------------------------------------------------------------------------------------- */

/* Sets t->direction, one direction through all trained parameters, to which each group of parameters contributes about
 * equally, so that an error in the smallest group is found as well as in the largest. Returns the norm of the largest
 * group's part of t->gradient. */
static double choose_direction(eqf__flow_problem *t) {
    const double least_share = 0.03;
    double largest = 1e-30;
    for (int pass = 0; pass < 2; pass++) /* first finds the largest norm, then scales the groups by it */
        for (size_t s = 0; s < eqf_model_num_slices(t->model); s++) {
            const eqf_param_slice *slice = eqf_model_slice(t->model, s);
            if (!slice->is_trained) continue;
            double norm = 0;
            for (size_t i = slice->offset; i < slice->offset + slice->count; i++)
                norm += (double)t->gradient[i] * t->gradient[i];
            norm = sqrt(norm);
            if (pass == 0) largest = fmax(largest, norm);
            for (size_t i = slice->offset; i < slice->offset + slice->count; i++)
                t->direction[i] = eqf__host_number((unsigned)i, 3) * largest / fmax(norm, least_share * largest);
        }
    return largest;
}

/* The component of t->gradient along t->direction. */
static double along_direction(const eqf__flow_problem *t) {
    double along = 0;
    for (size_t i = 0; i < eqf_model_num_trained(t->model); i++) along += t->gradient[i] * t->direction[i];
    return along;
}

static void shift_params(eqf__flow_problem *t, double shift) {
    for (size_t i = 0; i < eqf_model_num_trained(t->model); i++) t->params[i] += shift * t->direction[i];
}

/* ---- Losses ------------------------------------------------------------------------------------------------------ */

/* The continuous adjoint has no integration error. */
static double weight_of_error(const eqf__flow_problem *t) {
    return eqf__is_adaptive(t->flow) ? 0 : EQF__FLOW_PENALTY;
}

/* The expected loss of the twin. */
static eqf_loss host_loss(eqf__flow_problem *t) {
    const eqf__prior *prior = &t->flow->prior;
    eqf_loss loss = EQF_LOSS_INIT;
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++) {
        double log_det, error;
        t->field.noise_sample = b;
        if (!eqf__host_transform(&t->field, t->scheme, false, t->host_steps, t->h_x + b * t->flow->num_dof, t->h_y,
                                 &log_det, &error))
            log_det = error = NAN;
        loss.nll -= (prior->kind->host_log_prob(&prior->options, t->h_y) + log_det) / EQF__FLOW_BATCH;
        loss.integration_error += error / EQF__FLOW_BATCH;
    }
    loss.loss = loss.nll + weight_of_error(t) * loss.integration_error;
    return loss;
}

EQF__ANSWER(losses) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    EQF__TRY(eqf__flow_nll_gradient(t->twin, EQF__FLOW_PENALTY, EQF__FLOW_BATCH, t->x, &t->loss, t->gradient, NULL));
    double expected = 0;
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++) expected -= eqf__flow_host_log_prob(t, b) / EQF__FLOW_BATCH;
    *error_out = eqf__off_in_nats(expected, t->loss.nll);
    return EQF_OK;
}

/* The gradient of the loss, compared with differences of the host's loss. */
EQF__ANSWER(gradients) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    const double step = 1e-5, largest = choose_direction(t), along = along_direction(t);
    double values[2];
    for (int side = 0; side < 2; side++) {
        shift_params(t, side ? step : -step);
        values[side] = host_loss(t).loss;
        shift_params(t, side ? -step : step);
    }
    const double expected_error = eqf__is_adaptive(t->flow) ? 0 : host_loss(t).integration_error;
    *error_out = eqf__host_worse(fabs((values[1] - values[0]) / (2 * step) - along) / largest,
                                 eqf__relative(expected_error, t->loss.integration_error, 1));
    return EQF_OK;
}

/* ---- The field alone --------------------------------------------------------------------------------------------- */

static const double vjp_time = 0.5;

static float adjoint_velocity(const eqf__flow_problem *t, unsigned b, size_t c) {
    return (float)(b < eqf__flow_num_known(t) ? eqf__host_number((unsigned)(b * t->flow->num_dof + c), 31) : 0);
}
static float adjoint_divergence(const eqf__flow_problem *t, unsigned b) {
    return (float)(b < eqf__flow_num_known(t) ? 0.5 + 0.25 * eqf__host_number(b, 32) : 0);
}

/* The direction in which configurations are displaced: a ring stays a ring. */
static double way_of(const eqf__flow_problem *t, unsigned b, size_t c) {
    if (t->of_field.is_large) return t->h_x[b * t->flow->num_dof + c];
    return eqf__host_number((unsigned)(b * t->flow->num_dof + c), 33);
}

/* Sum over samples of adjoint_velocity . v, and with the divergence of adjoint_divergence div v, at configurations and
 * parameters displaced by `shift` along their directions. */
static double host_product(eqf__flow_problem *t, bool has_divergence, double shift) {
    const size_t num_dof = t->flow->num_dof;
    double sum = 0, *x = calloc(num_dof, sizeof *x);
    if (x == NULL) return NAN;
    shift_params(t, shift);
    for (unsigned b = 0; b < eqf__flow_num_known(t); b++) {
        double divergence = 0;
        for (size_t c = 0; c < num_dof; c++) x[c] = t->h_x[b * num_dof + c] + shift * way_of(t, b, c);
        if (!eqf__flow_host_velocity(t, b, x, vjp_time, t->h_y, has_divergence ? &divergence : NULL)) divergence = NAN;
        sum += (double)adjoint_divergence(t, b) * divergence;
        for (size_t c = 0; c < num_dof; c++) sum += (double)adjoint_velocity(t, b, c) * t->h_y[c];
    }
    shift_params(t, -shift);
    free(x);
    return sum;
}

/* Derivatives with respect to configurations and parameters, compared with differences along a direction in both. */
static eqf_status check_vjp(eqf__flow_problem *t, bool has_divergence, double *error_out) {
    const size_t num = EQF__FLOW_BATCH * t->flow->num_dof;
    const double step = 3e-5;
    float of_divergence[EQF__FLOW_BATCH], *adjoints = eqf__alloc(t->flow->ctx, num, sizeof(float), "the known answers");
    double along = 0, size = 0;
    if (adjoints == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++) {
        of_divergence[b] = adjoint_divergence(t, b);
        for (size_t c = 0; c < t->flow->num_dof; c++) adjoints[b * t->flow->num_dof + c] = adjoint_velocity(t, b, c);
    }
    const eqf_status status = eqf__flow_velocity_vjp(t->twin, vjp_time, EQF__FLOW_BATCH, t->x, adjoints,
                                                     has_divergence ? of_divergence : NULL, t->y, t->gradient);
    free(adjoints);
    EQF__TRY(status);
    size = choose_direction(t);
    for (unsigned b = 0; b < EQF__FLOW_BATCH; b++)
        for (size_t c = 0; c < t->flow->num_dof; c++) {
            const double part = (double)t->y[b * t->flow->num_dof + c];
            along += part * way_of(t, b, c);
            size = fmax(size, fabs(part));
        }
    along += along_direction(t);
    const double expected =
        (host_product(t, has_divergence, step) - host_product(t, has_divergence, -step)) / (2 * step);
    *error_out = fabs(expected - along) / fmax(size, 1e-3);
    return EQF_OK;
}

static eqf_status check_vjp_of_field(eqf__flow_problem *t, bool has_divergence, double *error_out) {
    const double calm = t->share;
    if (eqf__flow_share_of_field(t) != calm) EQF__TRY(eqf__flow_set_share(t, eqf__flow_share_of_field(t)));
    EQF__TRY(check_vjp(t, has_divergence, error_out));
    return t->share != calm ? eqf__flow_set_share(t, calm) : EQF_OK;
}

EQF__ANSWER(vjp) {
    return check_vjp_of_field(eqf__flow_problem_of(problem), true, error_out);
}

/* Flow matching needs no more, and a field may have a kernel of its own for it. */
EQF__ANSWER(velocity_vjp) {
    return check_vjp_of_field(eqf__flow_problem_of(problem), false, error_out);
}

/* ---- The reverse pass of the solver alone ------------------------------------------------------------------------ */

/* RK4 (integrator/rk4.clh): of each stage the step to the next stage's place, the weight, and the time, in steps. */
static const double reach[4] = {0.5, 0.5, 1, 0}, weight[4] = {1. / 6, 1. / 3, 1. / 3, 1. / 6},
                    offset[4] = {0, .5, .5, 1};

/* One sample's solve from the data to the prior and its reverse pass: places and slopes [4 host_steps, N*D] and
 * divergences [4 host_steps] of all stages. */
typedef struct sample_way {
    eqf__flow_problem *t;
    double h;
    double *places, *slopes, *divergences;
    double *adjoint, *total; /* [N*D] */
    float *single, *of_x;    /* [2, N*D], [N*D] */
    double *gradient;        /* [num_trained], of all samples */
} sample_way;

static bool go(sample_way *w, unsigned b) {
    eqf__flow_problem *t = w->t;
    const size_t n = t->flow->num_dof;
    memcpy(t->h_y, t->h_x + b * n, n * sizeof *t->h_y);
    for (unsigned at = 0; at < 4 * t->host_steps; at++) {
        const unsigned s = at % 4;
        double *place = w->places + at * n, *slope = w->slopes + at * n;
        for (size_t c = 0; c < n; c++)
            place[c] = t->h_y[c] + (s == 0 ? 0 : w->h * reach[s - 1] * w->slopes[(at - 1) * n + c]);
        if (!t->field.velocity(&t->field, place, 1 + w->h * (at / 4 + offset[s]), slope, &w->divergences[at]))
            return false;
        for (size_t c = 0; c < n && s == 3; c++)
            for (unsigned k = 0; k < 4; k++) t->h_y[c] += w->h * weight[k] * w->slopes[(at - 3 + k) * n + c];
    }
    return true;
}

/* Adds the gradient of -log_prob(z) - log_det plus the weighted integration error, the difference between the slopes of
 * the two middle stages. */
static eqf_status come_back(sample_way *w) {
    eqf__flow_problem *t = w->t;
    const size_t n = t->flow->num_dof, num_trained = eqf_model_num_trained(t->model);
    const double share = 1.0 / EQF__FLOW_BATCH, step = 1e-4 * t->flow->prior.options.prior_scale;
    const double of_error = 2 * fabs(w->h) * weight_of_error(t) * share;
    const eqf__prior *prior = &t->flow->prior;
    for (size_t c = 0; c < n; c++) { /* at the latents, which `go` left in h_y */
        const double kept = t->h_y[c];
        t->h_y[c] = kept - step;
        w->adjoint[c] = prior->kind->host_log_prob(&prior->options, t->h_y);
        t->h_y[c] = kept + step;
        w->adjoint[c] = share * (w->adjoint[c] - prior->kind->host_log_prob(&prior->options, t->h_y)) / (2 * step);
        t->h_y[c] = kept;
    }
    for (unsigned at = 4 * t->host_steps; at-- > 0;) {
        const unsigned s = at % 4;
        const double sign = s == 1 ? 1 : s == 2 ? -1 : 0;
        const double *k = w->slopes + (at - s) * n, *d = w->divergences + (at - s);
        if (s == 3) memcpy(w->total, w->adjoint, n * sizeof *w->total);
        for (size_t c = 0; c < n; c++) {
            w->single[c] = (float)w->places[at * n + c];
            w->single[n + c] = (float)(w->h * weight[s] * w->adjoint[c] + sign * of_error * (k[n + c] - k[2 * n + c]) +
                                       (s == 3 ? 0 : w->h * reach[s] * (double)w->of_x[c]));
        }
        const float of_divergence = (float)(-share * w->h * weight[s] + sign * of_error * (d[1] - d[2]));
        EQF__TRY(eqf__flow_velocity_vjp(t->twin, 1 + w->h * (at / 4 + offset[s]), 1, w->single, w->single + n,
                                        &of_divergence, w->of_x, t->gradient));
        for (size_t c = 0; c < n; c++) w->total[c] += (double)w->of_x[c];
        for (size_t i = 0; i < num_trained; i++) w->gradient[i] += (double)t->gradient[i];
        if (s == 0) memcpy(w->adjoint, w->total, n * sizeof *w->total);
    }
    return EQF_OK;
}

static eqf_status run_ways(sample_way *w, double *error_out) {
    eqf__flow_problem *t = w->t;
    const size_t num_trained = eqf_model_num_trained(t->model);
    float *got = eqf__alloc(t->flow->ctx, num_trained, sizeof *got, "the known answers");
    eqf_status status = got != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) memcpy(got, t->gradient, num_trained * sizeof *got);
    for (unsigned b = 0; status == EQF_OK && b < EQF__FLOW_BATCH; b++) {
        if (!go(w, b)) *error_out = NAN;
        status = come_back(w);
    }
    double largest = 1e-30, error = 0;
    for (size_t i = 0; status == EQF_OK && i < num_trained; i++) {
        largest = fmax(largest, fabs(w->gradient[i]));
        error = eqf__host_worse(error, fabs(w->gradient[i] - (double)got[i]));
    }
    *error_out = eqf__host_worse(*error_out, error / largest);
    free(got);
    return status;
}

/* The gradient of the loss, compared with the host's own reverse pass, which uses the twin's vector-Jacobian products
 * (as cl/train/path.cl does). */
EQF__ANSWER(reverse_passes) {
    eqf__flow_problem *t = eqf__flow_problem_of(problem);
    eqf_context *ctx = t->flow->ctx;
    const size_t n = t->flow->num_dof, stages = 4 * (size_t)t->host_steps;
    sample_way w = {.t = t, .h = -1.0 / t->host_steps};
    w.places = eqf__alloc(ctx, stages * (2 * n + 1) + 2 * n, sizeof *w.places, "the known answers");
    w.single = eqf__alloc(ctx, 3 * n, sizeof *w.single, "the known answers");
    w.gradient = eqf__alloc(ctx, eqf_model_num_trained(t->model), sizeof *w.gradient, "the known answers");
    eqf_status status = w.places != NULL && w.single != NULL && w.gradient != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) {
        w.slopes = w.places + stages * n;
        w.divergences = w.slopes + stages * n;
        w.adjoint = w.divergences + stages;
        w.total = w.adjoint + n;
        w.of_x = w.single + 2 * n;
        status = run_ways(&w, error_out);
    }
    const double expected_error = eqf__is_adaptive(t->flow) ? 0 : host_loss(t).integration_error;
    *error_out = eqf__host_worse(*error_out, eqf__relative(expected_error, t->loss.integration_error, 1));
    free(w.places);
    free(w.single);
    free(w.gradient);
    return status;
}
