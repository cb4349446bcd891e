/* Known answers of potentials: energies, forces, and the energies that chains report. */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "host_potential.h"
#include "host_reference.h"
#include "potential.h"

enum { BATCH = 2, MOST_CHAINS = 4 };

/* Forces along one direction through all coordinates against differences of the host's energy. */
static double force_error(const eqf_potential_options *potential, const float *h_x, const float *force, double *x) {
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    const double step = 1e-6;
    double along = 0, norm = 0, values[2];
    for (size_t c = 0; c < num_dof; c++) {
        along += force[c] * eqf__host_number((unsigned)c, 5);
        norm += (double)force[c] * force[c];
    }
    for (int end = 0; end < 2; end++) {
        for (size_t c = 0; c < num_dof; c++) x[c] = h_x[c] + (end ? step : -step) * eqf__host_number((unsigned)c, 5);
        values[end] = eqf__host_energy(potential, x);
    }
    return fabs((values[0] - values[1]) / (2 * step) - along) / (sqrt(norm) + 1);
}

/* x [N*D], h_x and force [BATCH, N*D]: scratch. */
static eqf_status check_energies(eqf__checker *checker, const eqf_potential_options *potential, eqf__program *program,
                                 double *x, float *h_x, float *force) {
    eqf_context *ctx = checker->ctx;
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    float energy[BATCH];
    eqf__answer of_energies = {"energies", 0, 1e-4, eqf__plain_width(ctx)};
    eqf__answer of_forces = {"forces", 0, 1e-3, eqf__plain_width(ctx)};
    for (unsigned b = 0; b < BATCH; b++) {
        eqf__host_lattice(potential, b, x);
        for (size_t c = 0; c < num_dof; c++) h_x[b * num_dof + c] = (float)x[c];
    }
    eqf__check_begin(checker);
    EQF__TRY(eqf__potential_evaluate(ctx, potential, BATCH, h_x, energy, force));
    for (unsigned b = 0; b < BATCH; b++) {
        for (size_t c = 0; c < num_dof; c++) x[c] = h_x[b * num_dof + c];
        const double expected = eqf__host_energy(potential, x), scale = 1 + fabs(expected) + potential->num_particles;
        of_energies.error = eqf__host_worse(of_energies.error, fabs(expected - (double)energy[b]) / scale);
        of_forces.error =
            eqf__host_worse(of_forces.error, force_error(potential, h_x + b * num_dof, force + b * num_dof, x));
    }
    EQF__TRY(eqf__check_report(checker, &of_energies, 1, &program));
    return eqf__check_report(checker, &of_forces, 1, &program);
}

eqf_status eqf__check_potential(eqf__checker *checker, const eqf_potential_options *potential) {
    eqf_context *ctx = checker->ctx;
    eqf__program *program;
    if (!eqf__host_has_formula(potential)) return EQF_OK;
    EQF__TRY(eqf__potential_program(ctx, potential, &program));
    if (!eqf__check_is_due(checker, program, EQF__ANSWERS_OF_VALUES)) return EQF_OK;
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    double *x = eqf__alloc(ctx, num_dof, sizeof *x, "the known answers");
    float *h_x = eqf__alloc(ctx, BATCH * num_dof, sizeof *h_x, "the known answers");
    float *force = eqf__alloc(ctx, BATCH * num_dof, sizeof *force, "the known answers");
    eqf_status status = x == NULL || h_x == NULL || force == NULL
                            ? EQF_ERROR_OUT_OF_MEMORY
                            : check_energies(checker, potential, program, x, h_x, force);
    if (status == EQF_OK) eqf__check_done(checker, program, EQF__ANSWERS_OF_VALUES);
    free(x);
    free(h_x);
    free(force);
    return status;
}

eqf_status eqf__check_chains(eqf__checker *checker, const eqf_potential_options *potential, eqf__program *program,
                             size_t num_samples, const float *x, const float *energies) {
    if (!eqf__host_has_formula(potential) || !eqf__check_is_due(checker, program, EQF__ANSWERS_OF_VALUES))
        return EQF_OK;
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    eqf__answer answer = {"energies of the chains", 0, 1e-3, eqf__plain_width(checker->ctx)};
    double *h_x = eqf__alloc(checker->ctx, num_dof, sizeof *h_x, "the known answers");
    if (h_x == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t b = 0; b < num_samples && b < MOST_CHAINS; b++) {
        for (size_t c = 0; c < num_dof; c++) h_x[c] = x[b * num_dof + c];
        const double expected = eqf__host_energy(potential, h_x);
        answer.error = eqf__host_worse(answer.error, fabs(expected - (double)energies[b]) /
                                                         (1 + fabs(expected) + potential->num_particles));
        /* They are handed over with their centre of mass at 0. */
        for (unsigned d = 0; d < potential->space_dim; d++) {
            double sum = 0, size = 1;
            for (size_t c = d; c < num_dof; c += potential->space_dim) {
                sum += h_x[c];
                size += fabs(h_x[c]);
            }
            answer.error = eqf__host_worse(answer.error, fabs(sum) / size);
        }
    }
    free(h_x);
    EQF__TRY(eqf__check_report(checker, &answer, 1, &program));
    eqf__check_done(checker, program, EQF__ANSWERS_OF_VALUES);
    return EQF_OK;
}
