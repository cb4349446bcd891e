/* Known answers of flow matching: places on the straight paths, losses and their adjoints (cl/train/flow_matching.cl). */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "host_reference.h"
#include "real.h"

enum { BATCH = 3 }; /* not a multiple of any V but 1 */
enum { LATENTS, DATA, X, VELOCITY, TIMES, WEIGHT, VALUE, ERROR, NUM_ARRAYS };

typedef struct matching_problem {
    eqf_context *ctx;
    size_t num_dof, num_blocks, width; /* width: V */
    float *h[NUM_ARRAYS];              /* [num_blocks][N*D or 1][V] */
    cl_mem d[NUM_ARRAYS];
} matching_problem;

static size_t numbers_of(const matching_problem *t, unsigned array) {
    return array < TIMES ? t->num_dof : 1;
}

/* Number c of sample b. */
static float *at(const matching_problem *t, unsigned array, size_t b, size_t c) {
    return &t->h[array][(b / t->width * numbers_of(t, array) + c) * t->width + b % t->width];
}

static eqf_status transfer(const matching_problem *t, unsigned array, bool is_upload) {
    const size_t num_bytes = t->num_blocks * t->width * numbers_of(t, array) * sizeof(float);
    return is_upload ? eqf__buffer_write(t->ctx, t->d[array], 0, num_bytes, t->h[array])
                     : eqf__buffer_read(t->ctx, t->d[array], 0, num_bytes, t->h[array]);
}

static eqf_status make_problem(matching_problem *t) {
    const size_t num_lanes = t->num_blocks * t->width;
    for (unsigned a = 0; a < NUM_ARRAYS; a++) {
        const size_t count = num_lanes * numbers_of(t, a);
        t->h[a] = eqf__alloc(t->ctx, count, sizeof(float), "the known answers");
        if (t->h[a] == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        for (size_t i = 0; i < count; i++) t->h[a][i] = (float)eqf__host_number((unsigned)i, 30 + a);
        EQF__TRY(eqf__buffer_create(t->ctx, count * sizeof(float), t->h[a], "the known answers", &t->d[a]));
    }
    return EQF_OK;
}

static void problem_clear(matching_problem *t) {
    for (unsigned a = 0; a < NUM_ARRAYS; a++) {
        free(t->h[a]);
        eqf__buffer_destroy(&t->d[a]);
    }
}

/* Sample b of B has a time in ((b, b + 1)/B), and lies at that part of its way. */
static eqf_status check_places(matching_problem *t, const eqf__kernel *place, double *error_out) {
    const cl_uint seed_low = 7, seed_high = 11, first_in_batch = 0, batch = BATCH, blocks = (cl_uint)t->num_blocks;
    const cl_ulong first_position = 0xffffffffu; /* the position carries into its high word */
    EQF__TRY(EQF__LAUNCH(t->ctx, place, t->num_blocks, 0, EQF__ARG(t->d[LATENTS]), EQF__ARG(t->d[DATA]),
                         EQF__ARG(t->d[X]), EQF__ARG(t->d[TIMES]), EQF__ARG(seed_low), EQF__ARG(seed_high),
                         EQF__ARG(first_position), EQF__ARG(first_in_batch), EQF__ARG(batch), EQF__ARG(blocks)));
    EQF__TRY(transfer(t, X, false));
    EQF__TRY(transfer(t, TIMES, false));
    for (unsigned b = 0; b < BATCH; b++) {
        const double time = *at(t, TIMES, b, 0);
        if (!(time * BATCH >= b - 1e-5 && time * BATCH <= b + 1 + 1e-5)) *error_out = NAN;
        for (size_t c = 0; c < t->num_dof; c++) {
            const double z = *at(t, LATENTS, b, c), x = *at(t, DATA, b, c);
            *error_out = eqf__host_worse(*error_out, fabs(z + time * (x - z) - (double)*at(t, X, b, c)));
        }
    }
    return EQF_OK;
}

/* value = |v - (x - z)|^2, the adjoint 2 weight (v - (x - z)); nothing in lanes of padding. */
static eqf_status check_losses(matching_problem *t, const eqf__kernel *seed, double *error_out) {
    const cl_uint batch = BATCH, blocks = (cl_uint)t->num_blocks;
    float *velocity = eqf__alloc(t->ctx, t->num_blocks * t->width * t->num_dof, sizeof *velocity, "the known answers");
    if (velocity == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < t->num_blocks * t->width * t->num_dof; i++) velocity[i] = t->h[VELOCITY][i];
    eqf_status status = EQF__LAUNCH(t->ctx, seed, t->num_blocks, 0, EQF__ARG(t->d[LATENTS]), EQF__ARG(t->d[DATA]),
                                    EQF__ARG(t->d[VELOCITY]), EQF__ARG(t->d[WEIGHT]), EQF__ARG(t->d[VALUE]),
                                    EQF__ARG(t->d[ERROR]), EQF__ARG(batch), EQF__ARG(blocks));
    for (unsigned a = VELOCITY; a < NUM_ARRAYS && status == EQF_OK; a++) status = transfer(t, a, false);
    for (size_t b = 0; b < t->num_blocks * t->width && status == EQF_OK; b++) {
        const double share = b < BATCH ? 1.0 / BATCH : 0;
        double square = 0;
        for (size_t c = 0; c < t->num_dof; c++) {
            const size_t i = (b / t->width * t->num_dof + c) * t->width + b % t->width;
            const double off = velocity[i] - ((double)t->h[DATA][i] - (double)t->h[LATENTS][i]);
            square += off * off;
            *error_out = eqf__host_worse(*error_out, fabs(2 * share * off - (double)t->h[VELOCITY][i]));
        }
        if (b < BATCH) *error_out = eqf__host_worse(*error_out, fabs(square - (double)*at(t, VALUE, b, 0)) / (1 + square));
        *error_out = eqf__host_worse(*error_out, fabs(share - (double)*at(t, WEIGHT, b, 0)));
        *error_out = eqf__host_worse(*error_out, fabs((double)*at(t, ERROR, b, 0)));
    }
    free(velocity);
    return status;
}

eqf_status eqf__check_matching(eqf__checker *checker, const eqf__kernel *place, const eqf__kernel *seed,
                               size_t num_dof) {
    eqf_context *ctx = checker->ctx;
    eqf__program *program = place->program;
    if (!eqf__check_is_due(checker, program, EQF__ANSWERS_OF_GRADIENTS)) return EQF_OK;
    const size_t width = ctx->device->vector_width;
    matching_problem t = {.ctx = ctx, .num_dof = num_dof, .width = width, .num_blocks = (BATCH + width - 1) / width};
    eqf__answer of_places = {"places on straight paths", 0, 1e-5, eqf__plain_width(ctx)};
    eqf__answer of_losses = {"losses of flow matching", 0, 1e-5, eqf__plain_width(ctx)};
    eqf_status status = make_problem(&t);
    eqf__check_begin(checker);
    if (status == EQF_OK) status = check_places(&t, place, &of_places.error);
    if (status == EQF_OK) status = eqf__check_report(checker, &of_places, 1, &program);
    eqf__check_begin(checker);
    if (status == EQF_OK) status = check_losses(&t, seed, &of_losses.error);
    if (status == EQF_OK) status = eqf__check_report(checker, &of_losses, 1, &program);
    if (status == EQF_OK) eqf__check_done(checker, program, EQF__ANSWERS_OF_GRADIENTS);
    problem_clear(&t);
    return status;
}
