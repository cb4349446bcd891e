/* Known answers of descents: step by step as the host does them, then energies and a Hessian where they end. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "host_potential.h"
#include "host_reference.h"
#include "quench.h"

enum { BATCH = 3, STEPS = 24, LAUNCH_STEPS = 10 };
/* Steps longer than any run takes, but cut sooner: within the few of them descents turn, and some are cut. */
static const double stretch = 4.0, cut = 0.3;

/* Off the host's descent of sample b from h_x [N*D], which ends there, at most; 0 where rounding decides what comes of
 * it, as between particles that fly through each other: the host asks itself from a start that is moved by little. near
 * [N*D]: scratch. */
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

/* Off the same differences of forces on the host, at x [N*D], relative to the largest element; force [2, N*D] and
 * matrix [N*D, N*D]: scratch. */
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

/* Descents from lattices, step by step as the host does them; energies and the first Hessian where they end on the
 * device. work: [2 + N*D, N*D]. */
static eqf_status check_descents(eqf__checker *checker, eqf__quench *run, double *work) {
    const size_t n = run->num_dof, indices[BATCH] = {0, 1, 2};
    const char *plain = run->V > 1 ? eqf__plain_width(run->ctx) : "";
    eqf__answer of_descents = {"descents", 0, run->is_double ? 1e-8 : 1e-4, plain};
    eqf__answer of_energies = {"energies", 0, run->is_double ? 1e-12 : 1e-4, plain};
    eqf__answer of_hessians = {"curvatures", 0, run->is_double ? 1e-6 : 1e-2, plain};
    for (unsigned b = 0; b < BATCH; b++) eqf__host_lattice(run->potential, b, run->x_out + b * n);
    for (size_t c = 0; c < BATCH * n; c++) run->x_out[c] = (float)run->x_out[c];
    eqf__check_begin(checker);
    EQF__TRY(eqf__quench_upload(run, BATCH, indices));
    EQF__TRY(eqf__quench_descend(run, BATCH));
    EQF__TRY(eqf__quench_collect(run, BATCH, indices));
    for (unsigned b = 0; b < BATCH; b++) {
        double error = 0, *h_x = work, *near = work + n;
        eqf__host_lattice(run->potential, b, h_x);
        for (size_t c = 0; c < n; c++) h_x[c] = (float)h_x[c];
        EQF__TRY(descent_error(run, b, of_descents.tolerance, h_x, near, &error));
        of_descents.error = eqf__host_worse(of_descents.error, error);
        const double energy = eqf__host_energy(run->potential, run->x_out + b * n);
        error = fabs(energy - run->energy_out[b]) / (1 + fabs(energy) + run->num_particles);
        of_energies.error = eqf__host_worse(of_energies.error, error);
    }
    EQF__TRY(eqf__check_report(checker, &of_descents, 1, &run->steps.program));
    EQF__TRY(eqf__check_report(checker, &of_energies, 1, &run->steps.program));
    EQF__TRY(eqf__quench_first_hessian(run));
    of_hessians.error = hessian_error(run, run->x_out, work, work + 2 * n);
    return eqf__check_report(checker, &of_hessians, 1, &run->steps.program);
}

/* The program of `asked`, in a run of its own. */
static eqf_status run_descents(eqf__checker *checker, const eqf__quench *asked) {
    eqf_context *ctx = checker->ctx;
    const eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    eqf_quench_result results[BATCH];
    double energies[BATCH], gradient_norms[BATCH];
    const size_t n = asked->num_dof;
    double *numbers = eqf__alloc(ctx, (BATCH + 2 + n) * n, sizeof *numbers, "the known answers");
    if (numbers == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf__quench run;
    eqf__quench_begin(ctx, asked->potential, &options, asked->is_double, BATCH, &run);
    run.x_out = numbers;
    run.energy_out = energies;
    run.gradient_norm_out = gradient_norms;
    run.result_out = results;
    run.max_steps =
        STEPS - 1; /* and one more, which eqf__quench_descend takes to see whether the last one was enough */
    if (run.launch_steps > LAUNCH_STEPS) run.launch_steps = LAUNCH_STEPS;
    run.gradient_tolerance = 0.0;
    run.largest_time_step *= stretch;
    run.largest_displacement *= cut;
    eqf_status status = eqf__quench_create_kernels(&run);
    if (status == EQF_OK) status = eqf__quench_create_buffers(&run);
    if (status == EQF_OK) status = check_descents(checker, &run, numbers + BATCH * n);
    eqf__quench_clear(&run);
    free(numbers);
    return status;
}

eqf_status eqf__check_quench(eqf__checker *checker, const eqf__quench *asked) {
    eqf__program *program = asked->steps.program;
    if (!eqf__host_has_formula(asked->potential) || !eqf__check_is_due(checker, program, EQF__ANSWERS_OF_VALUES))
        return EQF_OK;
    EQF__TRY(run_descents(checker, asked));
    eqf__check_done(checker, program, EQF__ANSWERS_OF_VALUES);
    return EQF_OK;
}
