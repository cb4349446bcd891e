/* Known answers of descents: compared with the host's step by step; then energies and a Hessian at their ends. */
#include <math.h>
#include <stdlib.h>

#include "answers.h"
#include "host_potential.h"
#include "host_reference.h"
#include "quench.h"

enum { BATCH = 3, STEPS = 24, LAUNCH_STEPS = 10 };
/* Factors of the run's step size and of its largest displacement: with longer steps and a smaller limit the few steps
 * of the check include uphill steps and limited ones. */
static const double stretch = 4.0, cut = 0.3;

/* The largest deviation from the host's descent of sample b, which starts from h_x [N*D] and leaves its end there. 0 if
 * rounding decides the end, for example when particles fly through each other: the host finds this by a second descent
 * from a slightly moved start. near [N*D]: scratch. */
static eqf_status descent_error(const eqf__quench *run, size_t b, double tolerance, double *h_x, double *near,
                                double *error_out) {
    const size_t n = run->num_dof;
    double gradient_norm, near_norm, change = 0, error = 0;
    for (size_t c = 0; c < n; c++) near[c] = h_x[c] + 0.01 * tolerance * run->length * eqf__host_number((unsigned)c, 6);
    if (!eqf__host_quench(run->potential, STEPS, run->largest_time_step, run->largest_displacement, h_x,
                          &gradient_norm) ||
        !eqf__host_quench(run->potential, STEPS, run->largest_time_step, run->largest_displacement, near, &near_norm))
        return eqf__fail(run->ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the known answers");
    const double scale = fmax(run->gradient_scale, gradient_norm);
    change = fabs(near_norm - gradient_norm) / scale;
    error = fabs(run->gradient_norm_out[b] - gradient_norm) / scale;
    for (size_t c = 0; c < n; c++) {
        change = eqf__host_worse(change, fabs(near[c] - h_x[c]) / run->length);
        error = eqf__host_worse(error, fabs(run->x_out[b * n + c] - h_x[c]) / run->length);
    }
    *error_out = change <= tolerance ? error : 0;
    return EQF_OK;
}

/* The largest deviation of the Hessian at x [N*D] from the host's differences of forces, relative to the largest
 * element. force [2, N*D] and matrix [N*D, N*D]: scratch. */
static double hessian_error(const eqf__quench *run, double *x, double *force, double *matrix) {
    const size_t n = run->num_dof;
    const double step = run->scales->difference * run->length;
    double largest = 1e-30, error = 0;
    for (size_t row = 0; row < n; row++) {
        const double kept = x[row];
        for (int side = 0; side < 2; side++) {
            x[row] = kept + (side ? step : -step);
            eqf__host_force(run->potential, x, force + side * n);
        }
        x[row] = kept;
        for (size_t c = 0; c < n; c++) matrix[row * n + c] = (force[c] - force[n + c]) / (2.0 * step);
    }
    for (size_t c = 0; c < n * n; c++) largest = fmax(largest, fabs(matrix[c]));
    for (size_t row = 0; row < n; row++)
        for (size_t c = 0; c < n; c++) {
            const double expected = 0.5 * (matrix[row * n + c] + matrix[c * n + row]);
            error = eqf__host_worse(error, fabs(expected - run->h_matrix[row * n + c]) / largest);
        }
    return error;
}

/* A run with the program that is checked. */
typedef struct descents_problem {
    eqf__problem base;
    eqf_quench_options options;
    eqf__quench run;
    double *numbers; /* [BATCH + 2 + N*D, N*D]: the ends of the descents, and scratch */
    double energies[BATCH], gradient_norms[BATCH];
    eqf_quench_result results[BATCH];
} descents_problem;

static eqf_status make(eqf__problem *problem, bool *can_tell_out) {
    descents_problem *t = (descents_problem *)problem;
    eqf__quench *run = &t->run;
    const size_t n = run->num_dof;
    (void)can_tell_out;
    t->numbers = eqf__alloc(problem->ctx, (BATCH + 2 + n) * n, sizeof *t->numbers, "the known answers");
    if (t->numbers == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    run->x_out = t->numbers;
    run->energy_out = t->energies;
    run->gradient_norm_out = t->gradient_norms;
    run->result_out = t->results;
    run->max_steps =
        STEPS - 1; /* eqf__quench_descend takes one more, to check whether the last one was enough */
    if (run->launch_steps > LAUNCH_STEPS) run->launch_steps = LAUNCH_STEPS;
    run->gradient_tolerance = 0.0;
    run->largest_time_step *= stretch;
    run->largest_displacement *= cut;
    for (unsigned b = 0; b < BATCH; b++) eqf__host_lattice(run->potential, b, run->x_out + b * n);
    for (size_t c = 0; c < BATCH * n; c++) run->x_out[c] = (float)run->x_out[c];
    return eqf__quench_create(run);
}

/* Descents from lattices, compared with the host's, step by step. */
EQF__ANSWER(descents) {
    descents_problem *t = (descents_problem *)problem;
    eqf__quench *run = &t->run;
    const size_t n = run->num_dof, indices[BATCH] = {0, 1, 2};
    double *h_x = t->numbers + BATCH * n, *near = h_x + n;
    EQF__TRY(eqf__quench_upload(run, BATCH, indices));
    EQF__TRY(eqf__quench_descend(run, BATCH));
    EQF__TRY(eqf__quench_collect(run, BATCH, indices));
    for (unsigned b = 0; b < BATCH; b++) {
        double error = 0;
        eqf__host_lattice(run->potential, b, h_x);
        for (size_t c = 0; c < n; c++) h_x[c] = (float)h_x[c];
        EQF__TRY(descent_error(run, b, problem->tolerance, h_x, near, &error));
        *error_out = eqf__host_worse(*error_out, error);
    }
    return EQF_OK;
}

/* Energies at the ends of the descents. */
EQF__ANSWER(descent_energies) {
    const eqf__quench *run = &((descents_problem *)problem)->run;
    for (unsigned b = 0; b < BATCH; b++) {
        const double energy = eqf__host_energy(run->potential, run->x_out + b * run->num_dof);
        *error_out =
            eqf__host_worse(*error_out, fabs(energy - run->energy_out[b]) / (1 + fabs(energy) + run->num_particles));
    }
    return EQF_OK;
}

/* The Hessian at the end of the first descent. */
EQF__ANSWER(curvatures) {
    descents_problem *t = (descents_problem *)problem;
    const size_t n = t->run.num_dof;
    double *work = t->numbers + BATCH * n;
    EQF__TRY(eqf__quench_first_hessian(&t->run));
    *error_out = hessian_error(&t->run, t->run.x_out, work, work + 2 * n);
    return EQF_OK;
}

eqf_status eqf__check_quench(eqf__checker *checker, const eqf__quench *asked) {
    eqf_context *ctx = checker->ctx;
    const bool is_double = eqf__is_double(&asked->real);
    if (!eqf__host_has_formula(asked->potential)) return EQF_OK;
    descents_problem t = {.base = {.ctx = ctx,
                                   .topic = EQF__TOPIC_DESCENTS,
                                   .answers = EQF__ANSWERS_OF_VALUES,
                                   .has = is_double ? EQF__IN_DOUBLE : EQF__IN_FLOAT,
                                   .programs = {asked->steps.program},
                                   .make = make},
                          .options = EQF_QUENCH_OPTIONS_INIT};
    eqf__quench_begin(ctx, asked->potential, &t.options, is_double, BATCH, &t.run);
    t.base.plain = t.run.real.vector_width > 1 ? eqf__plain_width(ctx) : "";
    const eqf_status status = eqf__check(checker, &t.base);
    eqf__quench_clear(&t.run);
    free(t.numbers);
    return status;
}
