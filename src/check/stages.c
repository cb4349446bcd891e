/* Known answers of the kernels that stages of training add: places and losses of flow matching, the parts of path
 * gradients, weighted adjoints. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "host_reference.h"

enum { NUM_BLOCKS = 2, MAX_ARRAYS = 8 };

/* Arrays on host and device, the same numbers in both. */
typedef struct array_set {
    eqf_context *ctx;
    size_t state, numbers; /* counts: NUM_BLOCKS N D V, NUM_BLOCKS V */
    unsigned num_arrays;
    float *h[MAX_ARRAYS], *before[MAX_ARRAYS];
    cl_mem d[MAX_ARRAYS];
    size_t count[MAX_ARRAYS];
} array_set;

static void clear(array_set *set) {
    for (unsigned a = 0; a < set->num_arrays; a++) {
        free(set->h[a]);
        free(set->before[a]);
        eqf__buffer_destroy(&set->d[a]);
    }
}

/* Makes num_states arrays of configurations, then num_numbers arrays of one number for each sample, all between -1 and
 * 1. */
static eqf_status fill(eqf_context *ctx, size_t num_dof, unsigned num_states, unsigned num_numbers,
                       array_set *set_out) {
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    array_set *set = set_out;
    *set = (array_set){.ctx = ctx, .numbers = NUM_BLOCKS * (size_t)device->vector_width};
    set->state = set->numbers * num_dof;
    for (unsigned a = 0; a < num_states + num_numbers; a++) {
        const size_t count = set->count[a] = a < num_states ? set->state : set->numbers;
        set->num_arrays = a + 1;
        set->h[a] = eqf__alloc(ctx, count, sizeof(float), "the known answers");
        set->before[a] = eqf__alloc(ctx, count, sizeof(float), "the known answers");
        if (set->h[a] == NULL || set->before[a] == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        for (size_t i = 0; i < count; i++) set->h[a][i] = (float)eqf__host_number((unsigned)i, 60 + a);
        memcpy(set->before[a], set->h[a], count * sizeof(float));
        EQF__TRY(eqf__buffer_create(ctx, count * sizeof(float), set->h[a], "the known answers", &set->d[a]));
    }
    return EQF_OK;
}

/* Reads the arrays from the device; `before` keeps their old values. */
static eqf_status read_all(array_set *set) {
    for (unsigned a = 0; a < set->num_arrays; a++) {
        memcpy(set->before[a], set->h[a], set->count[a] * sizeof(float));
        EQF__TRY(eqf__buffer_read(set->ctx, set->d[a], 0, set->count[a] * sizeof(float), set->h[a]));
    }
    return EQF_OK;
}

/* The sample, 0 ... numbers - 1, to which element i of a state belongs. */
static size_t sample_of(const array_set *set, size_t i) {
    const size_t V = set->numbers / NUM_BLOCKS, per_block = set->state / NUM_BLOCKS;
    return i / per_block * V + i % V;
}

static void compare(double *worst, double expected, float got) {
    *worst = eqf__host_worse(*worst, fabs(expected - (double)got));
}

/* Launches one kernel of the program by name; everything is small. */
#define RUN(set, program, name, ...)                                                                    \
    do {                                                                                                \
        eqf__kernel run_kernel;                                                                         \
        EQF__TRY(eqf__kernel_create((set)->ctx, program, name, &run_kernel));                           \
        const eqf_status run_status = EQF__LAUNCH((set)->ctx, &run_kernel, NUM_BLOCKS, 0, __VA_ARGS__); \
        eqf__kernel_destroy(&run_kernel);                                                               \
        EQF__TRY(run_status);                                                                           \
        EQF__TRY(read_all(set));                                                                        \
    } while (0)

static const cl_uint blocks = NUM_BLOCKS;

/* ---- Flow matching ----------------------------------------------------------------------------------------------- */

static eqf_status ask_matching(array_set *set, eqf__program *program, double *worst) {
    enum { LATENTS, DATA, X, VELOCITY, TIMES, WEIGHT, VALUE, ERROR };
    const cl_uint seed_low = 7, seed_high = 11, first = 5, batch = (cl_uint)set->numbers + 9,
                  count = (cl_uint)set->numbers - 1;
    const cl_ulong position = 0xffffffffu; /* carries into its high word */
    RUN(set, program, "matching_place", EQF__ARG(set->d[LATENTS]), EQF__ARG(set->d[DATA]), EQF__ARG(set->d[X]),
        EQF__ARG(set->d[TIMES]), EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(position), EQF__ARG(first),
        EQF__ARG(batch), EQF__ARG(blocks));
    for (size_t b = 0; b < set->numbers; b++) { /* each time in its own part of (0, 1) */
        const double place = (double)set->h[TIMES][b] * batch - (double)(first + b);
        if (!(place >= -1e-4 && place <= 1 + 1e-4)) *worst = NAN;
    }
    for (size_t i = 0; i < set->state; i++) {
        const double t = (double)set->h[TIMES][sample_of(set, i)], z = (double)set->h[LATENTS][i];
        compare(worst, z + t * ((double)set->h[DATA][i] - z), set->h[X][i]);
    }
    RUN(set, program, "matching_seed", EQF__ARG(set->d[LATENTS]), EQF__ARG(set->d[DATA]), EQF__ARG(set->d[VELOCITY]),
        EQF__ARG(set->d[WEIGHT]), EQF__ARG(set->d[VALUE]), EQF__ARG(set->d[ERROR]), EQF__ARG(count), EQF__ARG(blocks));
    double *squares = eqf__alloc(set->ctx, set->numbers, sizeof *squares, "the known answers");
    if (squares == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t i = 0; i < set->state; i++) {
        const size_t b = sample_of(set, i);
        const double share = b < count ? 1.0 / count : 0;
        const double difference =
            (double)set->before[VELOCITY][i] - ((double)set->h[DATA][i] - (double)set->h[LATENTS][i]);
        squares[b] += difference * difference;
        compare(worst, 2 * share * difference, set->h[VELOCITY][i]);
        compare(worst, share, set->h[WEIGHT][b]);
        compare(worst, 0, set->h[ERROR][b]);
    }
    for (size_t b = 0; b < set->numbers; b++)
        compare(worst, squares[b] / (1 + squares[b]), set->h[VALUE][b] / (float)(1 + squares[b]));
    free(squares);
    return EQF_OK;
}

/* ---- Weighted adjoints ------------------------------------------------------------------------------------------- */

static eqf_status ask_weighted(array_set *set, eqf__program *program, double *worst) {
    enum { ADJOINT_X, ADJOINT_LOG_DET, FACTOR };
    RUN(set, program, "scale_adjoints", EQF__ARG(set->d[ADJOINT_X]), EQF__ARG(set->d[ADJOINT_LOG_DET]),
        EQF__ARG(set->d[FACTOR]), EQF__ARG(blocks));
    for (size_t i = 0; i < set->state; i++)
        compare(worst, (double)set->before[ADJOINT_X][i] * (double)set->h[FACTOR][sample_of(set, i)],
                set->h[ADJOINT_X][i]);
    for (size_t b = 0; b < set->numbers; b++)
        compare(worst, (double)set->before[ADJOINT_LOG_DET][b] * (double)set->h[FACTOR][b], set->h[ADJOINT_LOG_DET][b]);
    return EQF_OK;
}

/* ---- Path gradients ---------------------------------------------------------------------------------------------- */

/* Checks times, start values of a solve, and its stages. */
static eqf_status ask_path_forward(array_set *set, eqf__program *program, double *worst) {
    enum { X, K, SUM, PLACE, LOG_DET, ONES, TIMES };
    const cl_float t = 0.375f, weight = 0.25f, reach = -0.5f, h = 0.125f, share = 0.75f;
    RUN(set, program, "path_set_times", EQF__ARG(set->d[TIMES]), EQF__ARG(t), EQF__ARG(blocks));
    for (size_t b = 0; b < set->numbers; b++) compare(worst, (double)t, set->h[TIMES][b]);
    RUN(set, program, "path_add_log_det", EQF__ARG(set->d[LOG_DET]), EQF__ARG(set->d[ONES]), EQF__ARG(share),
        EQF__ARG(blocks));
    for (size_t b = 0; b < set->numbers; b++)
        compare(worst, (double)set->before[LOG_DET][b] + 0.75 * (double)set->h[ONES][b], set->h[LOG_DET][b]);
    for (cl_uint stage = 0; stage < 3; stage++) { /* the first, one between and the last */
        const cl_uint is_first = stage == 0, is_last = stage == 2;
        RUN(set, program, "path_stage", EQF__ARG(set->d[X]), EQF__ARG(set->d[K]), EQF__ARG(set->d[SUM]),
            EQF__ARG(set->d[PLACE]), EQF__ARG(weight), EQF__ARG(reach), EQF__ARG(h), EQF__ARG(is_first),
            EQF__ARG(is_last), EQF__ARG(blocks));
        for (size_t i = 0; i < set->state; i++) {
            const double k = (double)set->h[K][i], x = (double)set->before[X][i];
            const double sum = (is_first ? 0 : (double)set->before[SUM][i]) + 0.25 * k,
                         next = x + (is_last ? 0.125 * sum : -0.5 * k);
            compare(worst, sum, set->h[SUM][i]);
            compare(worst, next, set->h[PLACE][i]);
            compare(worst, is_last ? next : x, set->h[X][i]);
        }
    }
    RUN(set, program, "path_begin", EQF__ARG(set->d[LOG_DET]), EQF__ARG(set->d[ONES]), EQF__ARG(blocks));
    for (size_t b = 0; b < set->numbers; b++) {
        compare(worst, 0, set->h[LOG_DET][b]);
        compare(worst, 1, set->h[ONES][b]);
    }
    return EQF_OK;
}

/* The expected adjoint of one sample at t = 1: adjoint [N, D] becomes mean-free and at most `most` long. */
static void seed_of(unsigned num_particles, unsigned space_dim, double most, double *adjoint) {
    double square = 0;
    eqf__host_centre(num_particles, space_dim, adjoint);
    for (unsigned c = 0; c < num_particles * space_dim; c++) square += adjoint[c] * adjoint[c];
    const double shrink = sqrt(square) > most ? most / sqrt(square) : 1;
    for (unsigned c = 0; c < num_particles * space_dim; c++) adjoint[c] *= shrink;
}

static eqf_status ask_path_seed(array_set *set, eqf__program *program, unsigned num_particles, unsigned space_dim,
                                double *worst) {
    enum { ADJOINT, SCORE, WEIGHT, VALUE, LOG_DET, PRIOR };
    const cl_uint is_of_data = 1;
    const cl_float cap = 1.25f;
    const size_t num_dof = (size_t)num_particles * space_dim, V = set->numbers / NUM_BLOCKS;
    for (size_t b = 0; b < set->numbers; b++)
        set->h[WEIGHT][b] = b + 1 < set->numbers ? fabsf(set->h[WEIGHT][b]) : 0; /* the last is padding */
    EQF__TRY(eqf__buffer_write(set->ctx, set->d[WEIGHT], 0, set->numbers * sizeof(float), set->h[WEIGHT]));
    RUN(set, program, "path_seed", EQF__ARG(set->d[ADJOINT]), EQF__ARG(set->d[SCORE]), EQF__ARG(set->d[WEIGHT]),
        EQF__ARG(set->d[VALUE]), EQF__ARG(set->d[LOG_DET]), EQF__ARG(set->d[PRIOR]), EQF__ARG(is_of_data),
        EQF__ARG(cap), EQF__ARG(blocks));
    double *adjoint = eqf__alloc(set->ctx, num_dof, sizeof *adjoint, "the known answers");
    if (adjoint == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t b = 0; b < set->numbers; b++) {
        const size_t at = b / V * num_dof * V + b % V;
        const double weight = (double)set->h[WEIGHT][b];
        for (size_t c = 0; c < num_dof; c++)
            adjoint[c] = (double)set->before[ADJOINT][at + c * V] + weight * (double)set->h[SCORE][at + c * V];
        seed_of(num_particles, space_dim, 1.25 * weight, adjoint);
        for (size_t c = 0; c < num_dof; c++) compare(worst, adjoint[c], set->h[ADJOINT][at + c * V]);
        compare(worst, (double)set->h[LOG_DET][b] - (double)set->h[PRIOR][b], set->h[VALUE][b]);
    }
    free(adjoint);
    return EQF_OK;
}

static eqf_status ask_path_reverse(array_set *set, eqf__program *program, double *worst) {
    enum { ADJOINT, FROM_LATER, ADJOINT_K, TOTAL };
    const cl_float share = 0.375f, reach = 0.625f;
    for (cl_uint turn = 0; turn < 3; turn++) { /* the last stage of a step, one between, the first */
        const cl_uint is_first = turn == 0, is_last = turn == 2;
        RUN(set, program, "path_add", EQF__ARG(set->d[ADJOINT]), EQF__ARG(set->d[TOTAL]), EQF__ARG(set->d[FROM_LATER]),
            EQF__ARG(is_first), EQF__ARG(is_last), EQF__ARG(blocks));
        for (size_t i = 0; i < set->state; i++) {
            const double sum = (double)set->before[is_first ? ADJOINT : TOTAL][i] + (double)set->h[FROM_LATER][i];
            compare(worst, sum, set->h[is_last ? ADJOINT : TOTAL][i]);
            compare(worst, (double)set->before[is_last ? TOTAL : ADJOINT][i], set->h[is_last ? TOTAL : ADJOINT][i]);
        }
    }
    RUN(set, program, "path_stage_adjoint", EQF__ARG(set->d[ADJOINT]), EQF__ARG(set->d[FROM_LATER]),
        EQF__ARG(set->d[ADJOINT_K]), EQF__ARG(share), EQF__ARG(reach), EQF__ARG(blocks));
    for (size_t i = 0; i < set->state; i++) {
        compare(worst, 0.375 * (double)set->h[ADJOINT][i] + 0.625 * (double)set->before[FROM_LATER][i],
                set->h[ADJOINT_K][i]);
        compare(worst, 0, set->h[FROM_LATER][i]);
    }
    return EQF_OK;
}

/* ---- All of them ------------------------------------------------------------------------------------------------- */

typedef struct stages_problem {
    eqf__problem base;
    const eqf__stage_programs *programs;
} stages_problem;

/* New arrays for each row. */
static eqf_status begin(const eqf__problem *problem, unsigned num_states, unsigned num_numbers, array_set *set_out) {
    const eqf__stage_programs *programs = ((const stages_problem *)problem)->programs;
    return fill(problem->ctx, (size_t)programs->num_particles * programs->space_dim, num_states, num_numbers, set_out);
}

EQF__ANSWER(matching) {
    array_set set = {.num_arrays = 0};
    eqf_status status = begin(problem, 4, 4, &set);
    if (status == EQF_OK) status = ask_matching(&set, problem->programs[0], error_out);
    clear(&set);
    return status;
}

EQF__ANSWER(weighted) {
    array_set set = {.num_arrays = 0};
    eqf_status status = begin(problem, 1, 2, &set);
    if (status == EQF_OK) status = ask_weighted(&set, problem->programs[0], error_out);
    clear(&set);
    return status;
}

EQF__ANSWER(path_stages) {
    array_set set = {.num_arrays = 0};
    eqf_status status = begin(problem, 4, 3, &set);
    if (status == EQF_OK) status = ask_path_forward(&set, problem->programs[0], error_out);
    clear(&set);
    return status;
}

EQF__ANSWER(path_seeds) {
    const eqf__stage_programs *programs = ((const stages_problem *)problem)->programs;
    array_set set = {.num_arrays = 0};
    eqf_status status = begin(problem, 2, 4, &set);
    if (status == EQF_OK)
        status = ask_path_seed(&set, problem->programs[0], programs->num_particles, programs->space_dim, error_out);
    clear(&set);
    return status;
}

EQF__ANSWER(path_reverse) {
    array_set set = {.num_arrays = 0};
    eqf_status status = begin(problem, 4, 0, &set);
    if (status == EQF_OK) status = ask_path_reverse(&set, problem->programs[0], error_out);
    clear(&set);
    return status;
}

eqf_status eqf__check_stages(eqf__checker *checker, const eqf__stage_programs *programs) {
    const struct {
        eqf__program *program;
        eqf__topic topic;
    } parts[] = {{programs->matching, EQF__TOPIC_MATCHING},
                 {programs->weighted, EQF__TOPIC_WEIGHTED},
                 {programs->path, EQF__TOPIC_PATH}};
    for (size_t p = 0; p < sizeof parts / sizeof parts[0]; p++) {
        stages_problem t = {.base = {.ctx = checker->ctx,
                                     .topic = parts[p].topic,
                                     .answers = EQF__ANSWERS_OF_GRADIENTS,
                                     .programs = {parts[p].program},
                                     .plain = eqf__plain_width(checker->ctx)},
                            .programs = programs};
        if (parts[p].program != NULL) EQF__TRY(eqf__check(checker, &t.base));
    }
    return EQF_OK;
}
