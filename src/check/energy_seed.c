/* Known answers of the kernel that starts the reverse solve of the energy-based loss; it depends on the potential
 * only. */
#include <math.h>
#include <stdlib.h>

#include "answers.h"
#include "host_potential.h"
#include "host_reference.h"

enum { BATCH = 3 }; /* not a multiple of any V but 1 */

/* Arguments of cl/potential/energy_seed.cl that are arrays, in its order. */
enum { X, LOG_DET, ADJOINT_X, ADJOINT_LOG_DET, WEIGHT, FREE_ENERGY, INTEGRATION_ERROR, NUM_ARRAYS };

typedef struct seed_problem {
    eqf__problem base;
    eqf_context *ctx;
    const eqf__kernel *energy_seed;
    const eqf_potential_options *target;
    size_t num_dof, num_blocks, width; /* width: V */
    double *x, *force;                 /* [BATCH, N*D], exact in float32; scratch [N*D] */
    float *h[NUM_ARRAYS];              /* [num_blocks][N*D or 1][V] */
    cl_mem d[NUM_ARRAYS];
} seed_problem;

static size_t numbers_of(const seed_problem *t, unsigned array) {
    return array == X || array == ADJOINT_X ? t->num_dof : 1;
}

/* Number c of sample b. */
static float *at(const seed_problem *t, unsigned array, size_t b, size_t c) {
    return &t->h[array][(b / t->width * numbers_of(t, array) + c) * t->width + b % t->width];
}

static double prior_term(size_t b) {
    return 2.5 + (double)b;
}

static double log_det_term(size_t b) {
    return 0.5 - (double)b;
}

static void seed_problem_clear(seed_problem *t) {
    for (unsigned a = 0; a < NUM_ARRAYS; a++) {
        free(t->h[a]);
        eqf__buffer_destroy(&t->d[a]);
    }
    free(t->x);
    free(t->force);
}

static eqf_status make(eqf__problem *problem, bool *can_tell_out) {
    seed_problem *t = (seed_problem *)problem;
    (void)can_tell_out;
    t->x = eqf__alloc(t->ctx, BATCH * t->num_dof, sizeof *t->x, "the known answers");
    t->force = eqf__alloc(t->ctx, t->num_dof, sizeof *t->force, "the known answers");
    if (t->x == NULL || t->force == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned b = 0; b < BATCH; b++) eqf__host_lattice(t->target, b, t->x + b * t->num_dof);
    for (size_t c = 0; c < BATCH * t->num_dof; c++) t->x[c] = (float)t->x[c];
    const size_t num_lanes = t->num_blocks * t->width;
    for (unsigned a = 0; a < NUM_ARRAYS; a++) {
        t->h[a] = eqf__alloc(t->ctx, num_lanes * numbers_of(t, a), sizeof(float), "the known answers");
        if (t->h[a] == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        EQF__TRY(eqf__buffer_create(t->ctx, num_lanes * numbers_of(t, a) * sizeof(float), NULL, "the known answers",
                                    &t->d[a]));
    }
    return EQF_OK;
}

/* The largest deviation of sample b from the formula at the top of the kernel file; lanes beyond the batch hold sample
 * 0 and must have share 0. */
static double seed_error(const seed_problem *t, size_t b, double cap) {
    const double share = b < BATCH ? 1.0 / BATCH : 0;
    const double *x = t->x + (b < BATCH ? b * t->num_dof : 0);
    double energy = eqf__host_energy(t->target, x), shrink = 1, norm = 0, worst = 0;
    if (energy > cap) {
        shrink = 1 / (1 + energy - cap);
        energy = cap + log1p(energy - cap);
    }
    eqf__host_force(t->target, x, t->force);
    for (size_t c = 0; c < t->num_dof; c++) norm += t->force[c] * t->force[c];
    for (size_t c = 0; c < t->num_dof; c++)
        worst = eqf__host_worse(worst, fabs(-share * shrink * t->force[c] - (double)*at(t, ADJOINT_X, b, c)) /
                                           (shrink * sqrt(norm) + 1));
    const double free_energy = b < BATCH ? energy + prior_term(b) - log_det_term(b) : 0;
    const double scale = 1 + fabs(free_energy) + t->target->num_particles;
    worst = eqf__host_worse(worst, fabs(free_energy - (double)*at(t, FREE_ENERGY, b, 0)) / scale);
    worst = eqf__host_worse(worst, fabs(-share - (double)*at(t, ADJOINT_LOG_DET, b, 0)));
    worst = eqf__host_worse(worst, fabs(share - (double)*at(t, WEIGHT, b, 0)));
    return eqf__host_worse(worst, fabs((double)*at(t, INTEGRATION_ERROR, b, 0)));
}

static eqf_status check_seed(seed_problem *t, double energy_cap, double *error_out) {
    const size_t num_lanes = t->num_blocks * t->width;
    const cl_float cap = (cl_float)energy_cap;
    const cl_uint batch_size = BATCH, blocks = (cl_uint)t->num_blocks;
    for (size_t b = 0; b < num_lanes; b++) {
        for (size_t c = 0; c < t->num_dof; c++) *at(t, X, b, c) = (float)t->x[(b < BATCH ? b * t->num_dof : 0) + c];
        *at(t, LOG_DET, b, 0) = (float)log_det_term(b);
        *at(t, FREE_ENERGY, b, 0) = (float)prior_term(b);
    }
    static const unsigned inputs[] = {X, LOG_DET, FREE_ENERGY};
    static const unsigned outputs[] = {ADJOINT_X, ADJOINT_LOG_DET, WEIGHT, FREE_ENERGY, INTEGRATION_ERROR};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++)
        EQF__TRY(eqf__buffer_write(t->ctx, t->d[inputs[i]], 0, num_lanes * numbers_of(t, inputs[i]) * sizeof(float),
                                   t->h[inputs[i]]));
    EQF__TRY(EQF__LAUNCH(t->ctx, t->energy_seed, t->num_blocks, 0, EQF__ARG(t->d[X]), EQF__ARG(t->d[LOG_DET]),
                         EQF__ARG(t->d[ADJOINT_X]), EQF__ARG(t->d[ADJOINT_LOG_DET]), EQF__ARG(t->d[WEIGHT]),
                         EQF__ARG(t->d[FREE_ENERGY]), EQF__ARG(t->d[INTEGRATION_ERROR]), EQF__ARG(cap),
                         EQF__ARG(batch_size), EQF__ARG(blocks)));
    for (size_t o = 0; o < sizeof outputs / sizeof outputs[0]; o++)
        EQF__TRY(eqf__buffer_read(t->ctx, t->d[outputs[o]], 0, num_lanes * numbers_of(t, outputs[o]) * sizeof(float),
                                  t->h[outputs[o]]));
    for (size_t b = 0; b < num_lanes; b++) *error_out = eqf__host_worse(*error_out, seed_error(t, b, (double)cap));
    return EQF_OK;
}

/* Without a cap, and with a cap below all energies. */
EQF__ANSWER(energy_seeds) {
    seed_problem *t = (seed_problem *)problem;
    double lowest = INFINITY;
    for (unsigned b = 0; b < BATCH; b++) lowest = fmin(lowest, eqf__host_energy(t->target, t->x + b * t->num_dof));
    EQF__TRY(check_seed(t, INFINITY, error_out));
    return check_seed(t, lowest - 1, error_out);
}

eqf_status eqf__check_energy_seed(eqf__checker *checker, const eqf_potential_options *target,
                                  const eqf__kernel *energy_seed) {
    eqf_context *ctx = checker->ctx;
    if (!eqf__host_has_formula(target)) return EQF_OK;
    const size_t width = ctx->device->vector_width;
    seed_problem t = {.base = {.ctx = ctx,
                               .topic = EQF__TOPIC_ENERGY_SEED,
                               .answers = EQF__ANSWERS_OF_GRADIENTS,
                               .programs = {energy_seed->program},
                               .plain = eqf__plain_width(ctx),
                               .make = make},
                      .ctx = ctx,
                      .energy_seed = energy_seed,
                      .target = target,
                      .width = width,
                      .num_blocks = (BATCH + width - 1) / width};
    t.num_dof = (size_t)target->num_particles * target->space_dim;
    const eqf_status status = eqf__check(checker, &t.base);
    seed_problem_clear(&t);
    return status;
}
