/* Likelihoods whose samples the host weights, between the solve and its reverse pass: the adjoints of sample b are
 * multiplied by a factor f_b.
 *
 * The log-dispersion (Richter et al., NeurIPS 2020, there log-variance; Vaitl et al. 2025): over a batch of data
 *     dispersion = mean of (w - mean of w)^2,   w = log q(x) + u(x)
 * It is zero where the model q is the target; ln Z drops out, and the data may have any density. Its gradient is the
 * mean of 2 (w - mean of w) d log q / d params: f = -2 (w - mean of w).
 *
 * A cap on samples: f = cap / (nll - mean of nll) if that is positive and less than 1, so that one bad trajectory does
 * not dominate a step. */
#include <math.h>
#include <stdlib.h>

#include "train_internal.h"

struct eqf__weighted {
    eqf__kernel scale;
    cl_mem d_factor;                    /* [blocks][V] */
    size_t max_numbers;                 /* blocks V */
    float *energies, *values, *factors; /* [max_numbers] */
};

static size_t num_numbers(const eqf_trainer *trainer, size_t count) {
    return eqf__solver_blocks(trainer->flow->solver, count) * trainer->flow->vector_width;
}

eqf_status eqf__weighted_program(eqf_context *ctx, size_t num_dof, eqf__program **program_out) {
    static const char *const files[] = {"common/real.clh", "train/weighted.cl", NULL};
    char defines[32];
    snprintf(defines, sizeof defines, "-D DOF=%zu", num_dof);
    return eqf__program_get(ctx, "weighted", files, defines, program_out);
}

eqf_status eqf__weighted_create(eqf_trainer *trainer) {
    eqf_context *ctx = trainer->ctx;
    eqf__weighted *d = trainer->weighted = eqf__alloc(ctx, 1, sizeof *d, "the samples' weights");
    if (d == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf__program *program;
    EQF__TRY(eqf__weighted_program(ctx, trainer->flow->num_dof, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "scale_adjoints", &d->scale));
    d->max_numbers = num_numbers(trainer, eqf__share_of(trainer, trainer->options.batch_size).count);
    d->energies = eqf__alloc(ctx, 3 * d->max_numbers, sizeof(float), "the samples' weights");
    if (d->energies == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    d->values = d->energies + d->max_numbers;
    d->factors = d->values + d->max_numbers;
    return eqf__buffer_create(ctx, d->max_numbers * sizeof(float), NULL, "the samples' weights", &d->d_factor);
}

void eqf__weighted_destroy(eqf_trainer *trainer) {
    eqf__weighted *d = trainer->weighted;
    if (d == NULL) return;
    eqf__kernel_destroy(&d->scale);
    eqf__buffer_destroy(&d->d_factor);
    free(d->energies);
    free(d);
    trainer->weighted = NULL;
}

/* energies [count] of the batch in workspace.d_x, computed by the kernel energy_seed with log_prob_prior and log_det
 * set to 0. */
static eqf_status read_energies(eqf_trainer *trainer, size_t count) {
    const eqf__gradient_workspace *w = &trainer->workspace;
    const size_t num_bytes = num_numbers(trainer, count) * sizeof(float);
    const cl_float cap = (cl_float)INFINITY;
    const cl_uint batch = (cl_uint)count, blocks = (cl_uint)eqf__solver_blocks(trainer->flow->solver, count);
    EQF__TRY(eqf__fill_zero(trainer->ctx, w->d_value, num_bytes));
    EQF__TRY(eqf__fill_zero(trainer->ctx, w->d_log_det, num_bytes));
    EQF__TRY(EQF__LAUNCH(trainer->ctx, &trainer->energy_seed, blocks, 0, EQF__ARG(w->d_x), EQF__ARG(w->d_log_det),
                         EQF__ARG(w->d_adjoint_x), EQF__ARG(w->d_adjoint_log_det), EQF__ARG(w->d_weight),
                         EQF__ARG(w->d_value), EQF__ARG(w->d_error), EQF__ARG(cap), EQF__ARG(batch), EQF__ARG(blocks)));
    return eqf__buffer_read(trainer->ctx, w->d_value, 0, count * sizeof(float), trainer->weighted->energies);
}

/* The sum of value over the batches of all ranks. */
static eqf_status sum_over_batch(eqf_trainer *trainer, size_t count,
                                 double (*value)(const eqf__weighted *weighted, size_t sample), double *sum_out) {
    *sum_out = 0;
    for (size_t b = 0; b < count; b++) *sum_out += value(trainer->weighted, b);
    return eqf__sum_doubles(trainer->ctx, 1, sum_out);
}

static double nll_of(const eqf__weighted *weighted, size_t sample) {
    return (double)weighted->values[sample];
}

/* log q + u. */
static double log_ratio_of(const eqf__weighted *weighted, size_t sample) {
    return (double)weighted->energies[sample] - (double)weighted->values[sample];
}

/* values: in, the nll of each sample; out, squared deviations. Also computes the factors. */
static eqf_status weigh_dispersion(eqf_trainer *trainer, size_t count) {
    eqf__weighted *weighted = trainer->weighted;
    double sum;
    EQF__TRY(sum_over_batch(trainer, count, log_ratio_of, &sum));
    const double mean = sum / (double)trainer->options.batch_size;
    for (size_t b = 0; b < count; b++) {
        const double deviation = log_ratio_of(weighted, b) - mean;
        weighted->factors[b] = (float)(-2 * deviation);
        weighted->values[b] = (float)(deviation * deviation);
    }
    return EQF_OK;
}

/* Factors below 1 for improbable samples; values stay the same. */
static eqf_status weigh_cap(eqf_trainer *trainer, size_t count) {
    eqf__weighted *weighted = trainer->weighted;
    const double cap = trainer->options.sample_cap;
    double sum;
    EQF__TRY(sum_over_batch(trainer, count, nll_of, &sum));
    const double mean = sum / (double)trainer->options.batch_size;
    for (size_t b = 0; b < count; b++) {
        const double above = nll_of(weighted, b) - mean;
        weighted->factors[b] = above > cap ? (float)(cap / above) : 1;
    }
    return EQF_OK;
}

/* The nll of the batch in workspace.d_x and its gradient, with samples weighted by `weigh`. */
static eqf_status launch(eqf_trainer *trainer, size_t count, eqf_status (*weigh)(eqf_trainer *trainer, size_t count),
                         unsigned place) {
    eqf_context *ctx = trainer->ctx;
    eqf_flow *flow = trainer->flow;
    eqf__solver *solver = flow->solver;
    eqf__weighted *weighted = trainer->weighted;
    eqf__gradient_workspace *w = &trainer->workspace;
    const size_t numbers = num_numbers(trainer, count);
    const cl_uint blocks = (cl_uint)eqf__solver_blocks(solver, count);
    EQF__TRY(eqf__fill_zero(ctx, w->d_log_det, numbers * sizeof(float)));
    EQF__TRY(solver->verbs->solve(solver, &w->noise, EQF_DATA_TO_PRIOR, count, w->d_x, w->d_log_det, &w->tape));
    EQF__TRY(eqf__prior_seed_nll(&flow->prior, count, w->d_x, w->d_log_det, w->d_adjoint_x, w->d_adjoint_log_det,
                                 w->d_weight, w->d_value, w->d_error));
    EQF__TRY(eqf__buffer_read(ctx, w->d_value, 0, numbers * sizeof(float), weighted->values));
    for (size_t b = count; b < numbers; b++) weighted->factors[b] = 0;
    EQF__TRY(weigh(trainer, count));
    EQF__TRY(eqf__buffer_write(ctx, weighted->d_factor, 0, numbers * sizeof(float), weighted->factors));
    EQF__TRY(eqf__buffer_write(ctx, w->d_value, 0, numbers * sizeof(float), weighted->values));
    EQF__TRY(EQF__LAUNCH(ctx, &weighted->scale, blocks, 0, EQF__ARG(w->d_adjoint_x), EQF__ARG(w->d_adjoint_log_det),
                         EQF__ARG(weighted->d_factor), EQF__ARG(blocks)));
    const eqf__way_back way_back = {.batch_size = count,
                                    .d_x = w->d_x,
                                    .d_adjoint_x = w->d_adjoint_x,
                                    .d_adjoint_log_det = w->d_adjoint_log_det,
                                    .d_weight = w->d_weight,
                                    .d_error = w->d_error,
                                    .penalty = (float)trainer->options.integration_penalty,
                                    .d_gradient = w->d_gradient};
    EQF__TRY(solver->verbs->reverse(solver, &w->noise, EQF_DATA_TO_PRIOR, &w->tape, &way_back));
    return eqf__prior_sum_losses(&flow->prior, blocks, w->d_value, w->d_error, w->d_weight, w->d_sums, place);
}

eqf_status eqf__dispersion_launch(eqf_trainer *trainer, size_t count) {
    EQF__TRY(read_energies(trainer, count));
    return launch(trainer, count, weigh_dispersion, EQF__SUM_DISPERSION);
}

eqf_status eqf__capped_nll_launch(eqf_trainer *trainer, size_t count) {
    return launch(trainer, count, weigh_cap, EQF__SUM_NLL);
}

/* The dispersion of the held-out data that are measured. */
eqf_status eqf__dispersion_measure(eqf_trainer *trainer, double *mean_out, double *choosing_out) {
    eqf_context *ctx = trainer->ctx;
    const size_t num = eqf__num_validated(trainer), num_dof = trainer->flow->num_dof;
    const eqf__batch_share share = eqf__share_of(trainer, num);
    const float *x = trainer->held_out + share.first * num_dof;
    float *log_prob = eqf__alloc(ctx, 2 * share.count, sizeof *log_prob, "log-densities"),
          *energy = log_prob + share.count;
    if (log_prob == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf_flow_log_prob_part(trainer->flow, share.first, share.count, x, log_prob, NULL);
    if (status == EQF_OK)
        status =
            eqf_potential_evaluate(ctx, &eqf_model_options_of(trainer->model)->potential, share.count, x, energy, NULL);
    double sums[2] = {0, 0};
    for (size_t b = 0; status == EQF_OK && b < share.count; b++)
        sums[0] += ((double)log_prob[b] + (double)energy[b]) / (double)num;
    if (status == EQF_OK) status = eqf__sum_doubles(ctx, 1, &sums[0]);
    for (size_t b = 0; status == EQF_OK && b < share.count; b++)
        sums[1] += pow((double)log_prob[b] + (double)energy[b] - sums[0], 2) / (double)num;
    if (status == EQF_OK) status = eqf__sum_doubles(ctx, 1, &sums[1]);
    free(log_prob);
    *choosing_out = *mean_out = sums[1];
    return status;
}
