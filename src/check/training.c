/* Known answers of the kernels that training adds: batches, their augmentation and the optimizer. */
#include <math.h>
#include <stdlib.h>

#include "answers.h"
#include "augment.h"
#include "budget.h"
#include "host_reference.h"
#include "solve.h"

/* An array on the host and on the device. */
typedef struct twin {
    float *h;
    cl_mem d;
    size_t count;
} twin;

static eqf_status twin_create(eqf_context *ctx, size_t count, const float *values, twin *twin_out) {
    twin_out->count = count;
    twin_out->h = eqf__alloc(ctx, count, sizeof(float), "the known answers");
    if (twin_out->h == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < count; i++) twin_out->h[i] = values != NULL ? values[i] : 0;
    return eqf__buffer_create(ctx, count * sizeof(float), twin_out->h, "the known answers", &twin_out->d);
}

static eqf_status twin_read(eqf_context *ctx, twin *pair) {
    return eqf__buffer_read(ctx, pair->d, 0, pair->count * sizeof(float), pair->h);
}

static void twin_clear(twin *pair) {
    free(pair->h);
    eqf__buffer_destroy(&pair->d);
}

typedef struct training_problem {
    eqf__problem base;
    const eqf__training_kernels *kernels;
} training_problem;

static const eqf__training_kernels *kernels_of(const eqf__problem *problem) {
    return ((const training_problem *)problem)->kernels;
}

/* ---- Batches ----------------------------------------------------------------------------------------------------- */

enum { NUM_ROWS = 5, NUM_EPOCHS = 3, NUM_DRAWN = NUM_ROWS * NUM_EPOCHS, HALF_BITS = 2 };

/* Checks the row that each position draws: an epoch must have every row once. */
static eqf_status check_batches(eqf_context *ctx, const eqf__training_kernels *kernels, twin *rows, twin *drawn,
                                double *error_out) {
    const float numbers[NUM_ROWS] = {0, 1, 2, 3, 4};
    const unsigned V = ctx->device->vector_width;
    const size_t blocks = (NUM_DRAWN + V - 1) / V;
    const cl_uint seed_low = 7, seed_high = 11, num = NUM_ROWS, half_bits = HALF_BITS, batch = NUM_DRAWN, num_dof = 1;
    const cl_ulong position = (cl_ulong)NUM_ROWS << 32; /* an epoch begins there */
    EQF__TRY(twin_create(ctx, NUM_ROWS, numbers, rows));
    EQF__TRY(twin_create(ctx, blocks * V, NULL, drawn));
    EQF__TRY(EQF__LAUNCH(ctx, kernels->gather, blocks, 0, EQF__ARG(rows->d), EQF__ARG(drawn->d), EQF__ARG(seed_low),
                         EQF__ARG(seed_high), EQF__ARG(position), EQF__ARG(num), EQF__ARG(half_bits), EQF__ARG(batch),
                         EQF__ARG(num_dof)));
    EQF__TRY(twin_read(ctx, drawn));
    for (unsigned epoch = 0; epoch < NUM_EPOCHS; epoch++)
        for (unsigned row = 0; row < NUM_ROWS; row++) {
            unsigned times = 0;
            for (unsigned i = 0; i < NUM_ROWS; i++) times += drawn->h[epoch * NUM_ROWS + i] == (float)row;
            *error_out = eqf__host_worse(*error_out, fabs(times - 1.0));
        }
    return EQF_OK;
}

EQF__ANSWER(batches) {
    twin rows = {0}, drawn = {0};
    const eqf_status status = check_batches(problem->ctx, kernels_of(problem), &rows, &drawn, error_out);
    twin_clear(&rows);
    twin_clear(&drawn);
    return status;
}

/* ---- The optimizer ----------------------------------------------------------------------------------------------- */

enum { NUM_PARAMS = 37 }; /* not a multiple of a work-item's part, nor of V unless V is 1 */
enum { PARAMS, FIRST_MOMENT, SECOND_MOMENT, AVERAGE, GRADIENT, TOTAL, SUMS, RECORDS, FAILED, NUM_ARRAYS };

/* Numbers of the size of those in training; a second moment is positive. */
static void fill(unsigned which, float *values, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const double number = eqf__host_number((unsigned)i, 8 + which);
        values[i] = which == TOTAL || which >= RECORDS ? 0 : (float)(which == SECOND_MOMENT ? fabs(number) : number);
    }
}

/* Launches measure_step, which records the gradient's norm and the sums (cl/train/adam.cl), within the launch
 * budget. */
static eqf_status measure(eqf_context *ctx, const eqf__training_kernels *kernels, const twin arrays[NUM_ARRAYS]) {
    const cl_uint record = 0, terms = ~(cl_uint)0, count = NUM_PARAMS, V = ctx->device->vector_width;
    const size_t vectors = (NUM_PARAMS + V - 1) / V, turns = eqf__budget_units(ctx, 1, 0, vectors);
    const cl_uint most = turns == vectors ? count : (cl_uint)(turns * V);
    cl_mem d_carry;
    EQF__TRY(eqf__buffer_create(ctx, V * sizeof(float), NULL, "the known answers", &d_carry));
    eqf_status status = EQF_OK;
    for (cl_uint begin = 0; begin < count && status == EQF_OK;) {
        const cl_uint end = count - begin < most ? count : begin + most;
        status = EQF__LAUNCH(ctx, kernels->measure, 1, 0, EQF__ARG(arrays[TOTAL].d), EQF__ARG(arrays[SUMS].d),
                             EQF__ARG(arrays[RECORDS].d), EQF__ARG(record), EQF__ARG(arrays[FAILED].d), EQF__ARG(terms),
                             EQF__ARG(d_carry), EQF__ARG(begin), EQF__ARG(end), EQF__ARG(count));
        begin = end;
    }
    eqf__buffer_destroy(&d_carry);
    return status;
}

/* One step of Adam on the sum of two weighted gradients, clipped: the formulas of cl/train/adam.cl in double. */
static eqf_status check_optimizer(eqf_context *ctx, const eqf__training_kernels *kernels, const eqf__kernel *update,
                                  twin arrays[NUM_ARRAYS], double *error_out) {
    const cl_float scales[2] = {0.75f, 0.5f}, learning_rate = 0.125f, correction_1 = 2, correction_2 = 3;
    const cl_float clip_norm = 0.5f, weight_decay = 0.25f, average_decay = 0.875f;
    const cl_uint record = 0, num = NUM_PARAMS;
    const size_t items = (NUM_PARAMS + 15) / 16;
    double expected[4][NUM_PARAMS], square = 0;
    for (unsigned a = 0; a < NUM_ARRAYS; a++) {
        float values[NUM_PARAMS];
        const size_t count = a < SUMS ? NUM_PARAMS : a == SUMS ? EQF__NUM_SUMS : a == RECORDS ? EQF__RECORD_SIZE : 1;
        fill(a, values, count);
        EQF__TRY(twin_create(ctx, count, values, &arrays[a]));
    }
    for (cl_uint part = 0; part < 2; part++) {
        const cl_uint is_first = part == 0;
        EQF__TRY(EQF__LAUNCH(ctx, kernels->blend, items, 0, EQF__ARG(arrays[TOTAL].d), EQF__ARG(arrays[GRADIENT].d),
                             EQF__ARG(scales[part]), EQF__ARG(is_first), EQF__ARG(num)));
    }
    EQF__TRY(measure(ctx, kernels, arrays));
    EQF__TRY(EQF__LAUNCH(ctx, update, items, 0, EQF__ARG(arrays[PARAMS].d), EQF__ARG(arrays[FIRST_MOMENT].d),
                         EQF__ARG(arrays[SECOND_MOMENT].d), EQF__ARG(arrays[AVERAGE].d), EQF__ARG(arrays[TOTAL].d),
                         EQF__ARG(arrays[RECORDS].d), EQF__ARG(record), EQF__ARG(arrays[FAILED].d),
                         EQF__ARG(learning_rate), EQF__ARG(correction_1), EQF__ARG(correction_2), EQF__ARG(clip_norm),
                         EQF__ARG(weight_decay), EQF__ARG(average_decay), EQF__ARG(num)));
    for (size_t i = 0; i < NUM_PARAMS; i++) square += pow(1.25 * (double)arrays[GRADIENT].h[i], 2);
    for (size_t i = 0; i < NUM_PARAMS; i++) {
        const double g = 1.25 * (double)arrays[GRADIENT].h[i] * fmin(1, 0.5 / sqrt(square));
        const double m = 0.9 * (double)arrays[FIRST_MOMENT].h[i] + 0.1 * g;
        const double v = 0.999 * (double)arrays[SECOND_MOMENT].h[i] + 0.001 * g * g, p = (double)arrays[PARAMS].h[i];
        expected[FIRST_MOMENT][i] = m;
        expected[SECOND_MOMENT][i] = v;
        expected[PARAMS][i] = p - 0.125 * (2 * m / (sqrt(3 * v) + 1e-8) + 0.25 * p);
        expected[AVERAGE][i] = 0.875 * (double)arrays[AVERAGE].h[i] + 0.125 * expected[PARAMS][i];
    }
    for (unsigned a = PARAMS; a <= AVERAGE; a++) {
        EQF__TRY(twin_read(ctx, &arrays[a]));
        for (size_t i = 0; i < NUM_PARAMS; i++)
            *error_out = eqf__host_worse(*error_out,
                                         fabs(expected[a][i] - (double)arrays[a].h[i]) / fmax(1, fabs(expected[a][i])));
    }
    EQF__TRY(twin_read(ctx, &arrays[RECORDS]));
    const float *got = arrays[RECORDS].h;
    for (size_t i = 0; i < EQF__NUM_SUMS; i++)
        *error_out = eqf__host_worse(*error_out, fabs((double)arrays[SUMS].h[i] - (double)got[i]));
    *error_out = eqf__host_worse(*error_out, fabs(sqrt(square) - (double)got[EQF__RECORD_NORM]) / sqrt(square));
    *error_out = eqf__host_worse(*error_out, fabs(1 - (double)got[EQF__RECORD_IS_GOOD]));
    return EQF_OK;
}

EQF__ANSWER(optimizer) {
    const eqf__training_kernels *kernels = kernels_of(problem);
    twin arrays[NUM_ARRAYS] = {{0}};
    eqf__kernel update; /* a separate kernel, because the training may have another optimizer */
    EQF__TRY(eqf__kernel_create(problem->ctx, kernels->measure->program, "adam_update", &update));
    const eqf_status status = check_optimizer(problem->ctx, kernels, &update, arrays, error_out);
    for (unsigned a = 0; a < NUM_ARRAYS; a++) twin_clear(&arrays[a]);
    eqf__kernel_destroy(&update);
    return status;
}

/* ---- Augmentation ------------------------------------------------------------------------------------------------ */

enum { NUM_AUGMENTED = 3 };

static eqf_status check_augmentation(eqf_context *ctx, const eqf__training_kernels *kernels, double *h_x, twin *x,
                                     double *error_out) {
    const uint64_t seed = 0x0123456789abcdefu, first = 0xffffffffu; /* the position carries into its high word */
    const size_t V = ctx->device->vector_width, num_dof = ((size_t)kernels->num_particles * kernels->space_dim),
                 blocks = (NUM_AUGMENTED + V - 1) / V;
    EQF__TRY(twin_create(ctx, blocks * V * num_dof, NULL, x));
    for (size_t i = 0; i < x->count; i++) x->h[i] = (float)eqf__host_number((unsigned)i, 7);
    EQF__TRY(eqf__buffer_write(ctx, x->d, 0, x->count * sizeof(float), x->h));
    EQF__TRY(eqf__augment(ctx, kernels->augment, seed, first, blocks, x->d));
    float *before = x->h;
    float *after = eqf__alloc(ctx, x->count, sizeof *after, "the known answers");
    if (after == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__buffer_read(ctx, x->d, 0, x->count * sizeof(float), after);
    for (size_t b = 0; status == EQF_OK && b < NUM_AUGMENTED; b++) {
        const size_t at = b / V * num_dof * V + b % V; /* number c of sample b: at + c V */
        for (size_t c = 0; c < num_dof; c++) h_x[c] = (double)before[at + c * V];
        eqf__host_augment(kernels->num_particles, kernels->num_b, kernels->space_dim, seed, first + b, h_x);
        for (size_t c = 0; c < num_dof; c++)
            *error_out = eqf__host_worse(*error_out, fabs(h_x[c] - (double)after[at + c * V]));
    }
    free(after);
    return status;
}

EQF__ANSWER(augmentation) {
    const eqf__training_kernels *kernels = kernels_of(problem);
    twin x = {0};
    double *h_x =
        eqf__alloc(problem->ctx, (size_t)kernels->num_particles * kernels->space_dim, sizeof *h_x, "the known answers");
    const eqf_status status =
        h_x == NULL ? EQF_ERROR_OUT_OF_MEMORY : check_augmentation(problem->ctx, kernels, h_x, &x, error_out);
    twin_clear(&x);
    free(h_x);
    return status;
}

/* ---- All of them ------------------------------------------------------------------------------------------------- */

static eqf_status check(eqf__checker *checker, const eqf__training_kernels *kernels, eqf__topic topic,
                        eqf__program *program) {
    training_problem t = {.base = {.ctx = checker->ctx,
                                   .topic = topic,
                                   .answers = EQF__ANSWERS_OF_GRADIENTS,
                                   .programs = {program},
                                   .plain = eqf__plain_width(checker->ctx)},
                          .kernels = kernels};
    return eqf__check(checker, &t.base);
}

eqf_status eqf__check_training(eqf__checker *checker, const eqf__training_kernels *kernels) {
    EQF__TRY(check(checker, kernels, EQF__TOPIC_STEP, kernels->measure->program));
    if (kernels->augment == NULL) return EQF_OK;
    return check(checker, kernels, EQF__TOPIC_AUGMENT, kernels->augment->program);
}
