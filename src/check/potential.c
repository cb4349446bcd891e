/* Known answers of potentials: energies, forces, and the energies that chains report. */
#include <math.h>
#include <stdlib.h>

#include "answers.h"
#include "host_potential.h"
#include "host_reference.h"
#include "potential.h"

enum { BATCH = 2, MOST_CHAINS = 4 };

/* Forces along one direction through all coordinates, compared with differences of the host's energy. */
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

typedef struct potential_problem {
    eqf__problem base;
    const eqf_potential_options *potential;
    size_t num_dof;
    double *x;          /* scratch [N*D] */
    float *h_x, *force; /* [BATCH, N*D] */
    float energy[BATCH];
} potential_problem;

static eqf_status make(eqf__problem *problem, bool *can_tell_out) {
    potential_problem *t = (potential_problem *)problem;
    (void)can_tell_out;
    t->x = eqf__alloc(problem->ctx, t->num_dof, sizeof *t->x, "the known answers");
    t->h_x = eqf__alloc(problem->ctx, BATCH * t->num_dof, sizeof *t->h_x, "the known answers");
    t->force = eqf__alloc(problem->ctx, BATCH * t->num_dof, sizeof *t->force, "the known answers");
    if (t->x == NULL || t->h_x == NULL || t->force == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned b = 0; b < BATCH; b++) {
        eqf__host_lattice(t->potential, b, t->x);
        for (size_t c = 0; c < t->num_dof; c++) t->h_x[b * t->num_dof + c] = (float)t->x[c];
    }
    return EQF_OK;
}

/* The same launch gives the forces. */
EQF__ANSWER(energies) {
    potential_problem *t = (potential_problem *)problem;
    EQF__TRY(eqf__potential_evaluate(problem->ctx, t->potential, BATCH, t->h_x, t->energy, t->force));
    for (unsigned b = 0; b < BATCH; b++) {
        for (size_t c = 0; c < t->num_dof; c++) t->x[c] = t->h_x[b * t->num_dof + c];
        const double expected = eqf__host_energy(t->potential, t->x),
                     scale = 1 + fabs(expected) + t->potential->num_particles;
        *error_out = eqf__host_worse(*error_out, fabs(expected - (double)t->energy[b]) / scale);
    }
    return EQF_OK;
}

EQF__ANSWER(forces) {
    potential_problem *t = (potential_problem *)problem;
    for (unsigned b = 0; b < BATCH; b++)
        *error_out = eqf__host_worse(
            *error_out, force_error(t->potential, t->h_x + b * t->num_dof, t->force + b * t->num_dof, t->x));
    return EQF_OK;
}

eqf_status eqf__check_potential(eqf__checker *checker, const eqf_potential_options *potential) {
    eqf_context *ctx = checker->ctx;
    if (!eqf__host_has_formula(potential)) return EQF_OK;
    potential_problem t = {
        .base = {.ctx = ctx, .topic = EQF__TOPIC_POTENTIAL, .answers = EQF__ANSWERS_OF_VALUES, .make = make},
        .potential = potential,
        .num_dof = (size_t)potential->num_particles * potential->space_dim};
    EQF__TRY(eqf__potential_program(ctx, potential, &t.base.programs[0]));
    t.base.plain = eqf__plain_width(ctx);
    const eqf_status status = eqf__check(checker, &t.base);
    free(t.x);
    free(t.h_x);
    free(t.force);
    return status;
}

/* ---- Chains ------------------------------------------------------------------------------------------------------ */

typedef struct chains_problem {
    eqf__problem base;
    const eqf_potential_options *potential;
    size_t num_samples;
    const float *x, *energies; /* [num_samples, N, D], [num_samples]: results of the chains */
} chains_problem;

EQF__ANSWER(chains) {
    const chains_problem *t = (const chains_problem *)problem;
    const eqf_potential_options *potential = t->potential;
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    double *h_x = eqf__alloc(problem->ctx, num_dof, sizeof *h_x, "the known answers");
    if (h_x == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t b = 0; b < t->num_samples && b < MOST_CHAINS; b++) {
        for (size_t c = 0; c < num_dof; c++) h_x[c] = t->x[b * num_dof + c];
        const double expected = eqf__host_energy(potential, h_x);
        *error_out = eqf__host_worse(*error_out, fabs(expected - (double)t->energies[b]) /
                                                     (1 + fabs(expected) + potential->num_particles));
        /* The chains' configurations have their centre of mass at 0. */
        for (unsigned d = 0; d < potential->space_dim; d++) {
            double sum = 0, size = 1;
            for (size_t c = d; c < num_dof; c += potential->space_dim) {
                sum += h_x[c];
                size += fabs(h_x[c]);
            }
            *error_out = eqf__host_worse(*error_out, fabs(sum) / size);
        }
    }
    free(h_x);
    return EQF_OK;
}

eqf_status eqf__check_chains(eqf__checker *checker, const eqf_potential_options *potential, eqf__program *program,
                             size_t num_samples, const float *x, const float *energies) {
    chains_problem t = {.base = {.ctx = checker->ctx,
                                 .topic = EQF__TOPIC_CHAINS,
                                 .answers = EQF__ANSWERS_OF_VALUES,
                                 .programs = {program},
                                 .has_begun = true},
                        .potential = potential,
                        .num_samples = num_samples,
                        .x = x,
                        .energies = energies};
    t.base.plain = eqf__plain_width(checker->ctx);
    return eqf__host_has_formula(potential) ? eqf__check(checker, &t.base) : EQF_OK;
}
