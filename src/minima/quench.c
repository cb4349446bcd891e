/* Quenches on the device: descents in rounds, what is a saddle point displaced and sent down again. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "host_potential.h"
#include "host_reference.h"
#include "potential_kinds.h"
#include "minima_internal.h"
#include "ocl.h"
#include "potential.h"
#include "program.h"

/* Most steps of one launch: progress and Ctrl-C wait for no more. */
#define MAX_LAUNCH_STEPS 256u
#define DEFAULT_MAX_STEPS 50000u
/* Coordinates, and numbers of Hessians, on the device at a time. */
#define CHUNK_REALS ((size_t)1 << 20)
#define HESSIAN_REALS ((size_t)1 << 22)
/* omega dt of the stiffest mode at the largest time step: leapfrog is stable below 2. */
#define LARGEST_PHASE 1.0
/* Numbers of a lane that outlive a launch: cl/minima/quench.cl. */
enum {
    CONTROL_TIME_STEP,
    CONTROL_MIXING,
    CONTROL_NUM_DOWNHILL,
    CONTROL_IS_DONE,
    CONTROL_GRADIENT_NORM,
    CONTROL_NUM_STEPS,
    NUM_CONTROLS
};

/* In units of the potential's length: */
#define DEFAULT_DISPLACEMENT 0.1
#define ESCAPE_DISPLACEMENT 0.05 /* off a saddle point */
#define CLOSEST_START 0.01       /* particles nearer than this are moved apart before the descent ... */
#define START_NUDGE 0.02         /* ... by this */
#define APART 3.0                /* parts farther than this from each other feel nothing any more */

/* What depends on the precision. Differences of the Hessian balance rounding against the force's third derivative (of
 * Lennard-Jones, 3e4 epsilon / r_min^4); curvatures are relative to the Hessian's largest diagonal element. */
typedef struct precision_scales {
    double gradient_tolerance; /* the default, relative to stiffness * length * sqrt(N D) */
    double least_tolerance;    /* what rounding lets a descent reach, likewise */
    double difference;         /* of the Hessian, relative to the length */
    double curvature;          /* flatter than this counts as flat */
} precision_scales;
static const precision_scales double_scales = {1e-10, 1e-15, 1e-5, 1e-6};
static const precision_scales float_scales = {6e-8, 6e-8, 2e-3, 2e-4};

typedef struct quench_run {
    eqf_context *ctx;
    const eqf_potential_options *potential;
    const eqf_quench_options *options;
    cl_uint num_particles, space_dim, num_dof;
    bool is_double;
    const precision_scales *scales;
    unsigned V;
    size_t real_size, chunk;    /* chunk: configurations */
    cl_uint num_hessian_blocks; /* at a time */
    unsigned max_steps, launch_steps;
    bool has_guessed_stiffness; /* measured before the first descent */
    double length, gradient_scale, gradient_tolerance, largest_time_step, largest_displacement;
    eqf__kernel pack, unpack, energy, begin, steps, hessian;
    cl_mem x;                           /* [chunk, N*D] and [chunk, NUM_CONTROLS]: what pack reads and unpack writes */
    cl_mem x_blocked, velocity_blocked; /* [num_blocks][N*D][V] */
    cl_mem control_blocked;             /* [num_blocks][NUM_CONTROLS][V] */
    cl_mem energy_blocked;              /* [num_blocks][V] */
    cl_mem hessians;                    /* [num_hessian_blocks][N*D][N*D][V] */
    void *h_reals;                      /* what is on its way to or from the device */
    double *h_control;                  /* [chunk, NUM_CONTROLS] */
    double *h_matrix, *h_direction;     /* [N*D, N*D], [N*D] */
    bool *h_is_reached;                 /* [N] */
    double *x_out, *energy_out, *gradient_norm_out; /* the caller's, [B, N*D], [B] or NULL, [B] or NULL */
    eqf_quench_result *result_out;
    size_t batch_size, num_finished, num_escapes;
    double num_steps; /* of all */
} quench_run;

static const char *const result_texts[] = {
#define RESULT_TEXT(name, text) [EQF_QUENCH_##name] = text,
    EQF_QUENCH_RESULT_MAP(RESULT_TEXT)
#undef RESULT_TEXT
};

const char *eqf_quench_result_text(eqf_quench_result result) {
    return (unsigned)result < EQF_QUENCH_NUM_RESULTS ? result_texts[result] : NULL;
}

/* ---- Reals of either precision ------------------------------------------------------------------------------- */

static void set_real(const quench_run *run, size_t index, double value) {
    if (run->is_double)
        ((double *)run->h_reals)[index] = value;
    else
        ((float *)run->h_reals)[index] = (float)value;
}

static double get_real(const quench_run *run, size_t index) {
    return run->is_double ? ((const double *)run->h_reals)[index] : (double)((const float *)run->h_reals)[index];
}

/* A real as kernel argument. */
typedef union real_value {
    cl_double as_double;
    cl_float as_float;
} real_value;

static real_value real_of(const quench_run *run, double value) {
    real_value result;
    if (run->is_double)
        result.as_double = value;
    else
        result.as_float = (cl_float)value;
    return result;
}
#define ARG_REAL(run, variable) ((eqf__argument){(run)->real_size, &(variable)})

/* ---- Preparation --------------------------------------------------------------------------------------------- */

static eqf_status check_options(eqf_context *ctx, const eqf_quench_options *options) {
    if ((unsigned)options->precision > EQF_QUENCH_FLOAT)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "precision of the quench is %u: there is no such precision",
                         (unsigned)options->precision);
    if (!(options->gradient_tolerance >= 0.0) || !isfinite(options->gradient_tolerance))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "gradient_tolerance is %g: it must be positive, or 0 for the default",
                         options->gradient_tolerance);
    if (!(options->largest_displacement >= 0.0) || !isfinite(options->largest_displacement))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "largest_displacement is %g: it must be positive, or 0 for the default",
                         options->largest_displacement);
    return EQF_OK;
}

static unsigned min_unsigned(unsigned a, unsigned b) {
    return a < b ? a : b;
}

static eqf_status choose_precision(eqf_context *ctx, const eqf_quench_options *options, bool *is_double_out) {
    const bool has_double = ctx->device->info.has_fp64;
    *is_double_out = has_double && options->precision != EQF_QUENCH_FLOAT;
    if (options->precision != EQF_QUENCH_DOUBLE || has_double) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED, "%s computes in float only: quench in float, or choose another device",
                     ctx->device->info.name);
}

static void set_precision(quench_run *run, bool is_double) {
    const eqf__device *device = run->ctx->device;
    run->is_double = is_double;
    run->scales = run->is_double ? &double_scales : &float_scales;
    run->real_size = run->is_double ? sizeof(cl_double) : sizeof(cl_float);
    /* As many bytes a vector as in float. */
    run->V = run->is_double && device->vector_width > 1 ? device->vector_width / 2 : device->vector_width;
}

static void choose_scales(quench_run *run, double stiffness) {
    const eqf_quench_options *options = run->options;
    run->length = eqf_potential_length(run->potential);
    run->largest_time_step = LARGEST_PHASE / sqrt(stiffness);
    run->largest_displacement =
        options->largest_displacement > 0.0 ? options->largest_displacement : DEFAULT_DISPLACEMENT * run->length;
    run->gradient_scale = stiffness * run->length * sqrt((double)run->num_dof);
    double relative_tolerance = options->gradient_tolerance > 0.0 ? options->gradient_tolerance / run->gradient_scale
                                                                  : run->scales->gradient_tolerance;
    run->gradient_tolerance = run->gradient_scale * fmax(relative_tolerance, run->scales->least_tolerance);
    run->max_steps = options->max_steps > 0 ? options->max_steps : DEFAULT_MAX_STEPS;
    /* Loop turns of a step: pairs and their coordinates, and the passes over all coordinates. */
    uint64_t turns = (uint64_t)run->num_particles * (run->num_particles + 1) / 2 * (2 * run->space_dim + 2) +
                     5u * (uint64_t)run->num_dof;
    const size_t steps = eqf__budget_units(run->ctx, turns, 0, MAX_LAUNCH_STEPS);
    run->launch_steps = steps > 0 ? (unsigned)steps : 1;
}

/* Everything but kernels, buffers and the caller's arrays. */
static void begin_run(eqf_context *ctx, const eqf_potential_options *potential, const eqf_quench_options *options,
                      bool is_double, size_t batch_size, quench_run *run_out) {
    *run_out = (quench_run){.ctx = ctx, .potential = potential, .options = options, .batch_size = batch_size};
    run_out->num_particles = potential->num_particles;
    run_out->space_dim = potential->space_dim;
    run_out->num_dof = run_out->num_particles * run_out->space_dim;
    set_precision(run_out, is_double);
    eqf__potential_scales scales;
    eqf__potential_scales_of(potential, &scales);
    run_out->has_guessed_stiffness = scales.is_stiffness_guessed;
    choose_scales(run_out, scales.stiffness);
}

static eqf_status create_kernels(quench_run *run) {
    eqf_context *ctx = run->ctx;
    char constants[EQF__POTENTIAL_DEFINES_SIZE], defines[EQF__POTENTIAL_DEFINES_SIZE + 64];
    EQF__TRY(run->is_double ? eqf__potential_program_defines_double(ctx, run->potential, constants, sizeof constants)
                            : eqf__potential_program_defines(ctx, run->potential, constants, sizeof constants));
    snprintf(defines, sizeof defines, "%s -D V=%u%s", constants, run->V, run->is_double ? " -D USE_DOUBLE" : "");
    const char *files[] = {"common/real.clh",     EQF__POTENTIAL_FILES(ctx, run->potential),
                           "potential/energy.cl", "minima/quench.cl",
                           "common/pack.cl",      NULL};
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, "minima", files, defines, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "pack", &run->pack));
    EQF__TRY(eqf__kernel_create(ctx, program, "unpack", &run->unpack));
    EQF__TRY(eqf__kernel_create(ctx, program, "evaluate_energy", &run->energy));
    EQF__TRY(eqf__kernel_create(ctx, program, "quench_begin", &run->begin));
    EQF__TRY(eqf__kernel_create(ctx, program, "quench_steps", &run->steps));
    return eqf__kernel_create(ctx, program, "quench_hessian", &run->hessian);
}

static eqf_status create_buffers(quench_run *run) {
    eqf_context *ctx = run->ctx;
    size_t num_dof = run->num_dof, V = run->V;
    run->chunk = CHUNK_REALS / num_dof;
    if (run->chunk < V) run->chunk = V;
    if (run->chunk > run->batch_size) run->chunk = run->batch_size;
    size_t num_blocks = (run->chunk + V - 1) / V, hessian_reals = num_dof * num_dof * V;
    size_t hessian_blocks = HESSIAN_REALS / hessian_reals;
    if (hessian_blocks < 1) hessian_blocks = 1;
    run->num_hessian_blocks = (cl_uint)(hessian_blocks < num_blocks ? hessian_blocks : num_blocks);
    hessian_reals *= run->num_hessian_blocks;

    size_t num_reals = num_blocks * V * (num_dof > NUM_CONTROLS ? num_dof : NUM_CONTROLS);
    EQF__TRY(eqf__buffer_create(ctx, num_reals * run->real_size, NULL, "the configurations", &run->x));
    EQF__TRY(eqf__buffer_create(ctx, num_blocks * V * num_dof * run->real_size, NULL, "the configurations",
                                &run->x_blocked));
    EQF__TRY(eqf__buffer_create(ctx, num_blocks * V * num_dof * run->real_size, NULL, "the velocities",
                                &run->velocity_blocked));
    EQF__TRY(eqf__buffer_create(ctx, num_blocks * V * NUM_CONTROLS * run->real_size, NULL, "the quench's state",
                                &run->control_blocked));
    EQF__TRY(eqf__buffer_create(ctx, num_blocks * V * run->real_size, NULL, "the energies", &run->energy_blocked));
    EQF__TRY(eqf__buffer_create(ctx, hessian_reals * run->real_size, NULL, "the Hessians", &run->hessians));
    run->h_reals =
        eqf__alloc(ctx, num_reals > hessian_reals ? num_reals : hessian_reals, run->real_size, "the configurations");
    run->h_control = eqf__alloc(ctx, run->chunk * NUM_CONTROLS, sizeof(double), "the quench's state");
    run->h_matrix = eqf__alloc(ctx, num_dof * num_dof, sizeof(double), "the Hessian");
    run->h_direction = eqf__alloc(ctx, num_dof, sizeof(double), "a direction");
    run->h_is_reached = eqf__alloc(ctx, run->num_particles, sizeof(bool), "the particles");
    bool is_complete = run->h_reals != NULL && run->h_control != NULL && run->h_matrix != NULL &&
                       run->h_direction != NULL && run->h_is_reached != NULL;
    return is_complete ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
}

static void run_clear(quench_run *run) {
    eqf__kernel_destroy(&run->pack);
    eqf__kernel_destroy(&run->unpack);
    eqf__kernel_destroy(&run->energy);
    eqf__kernel_destroy(&run->begin);
    eqf__kernel_destroy(&run->steps);
    eqf__kernel_destroy(&run->hessian);
    eqf__buffer_destroy(&run->x);
    eqf__buffer_destroy(&run->x_blocked);
    eqf__buffer_destroy(&run->velocity_blocked);
    eqf__buffer_destroy(&run->control_blocked);
    eqf__buffer_destroy(&run->energy_blocked);
    eqf__buffer_destroy(&run->hessians);
    free(run->h_reals);
    free(run->h_control);
    free(run->h_matrix);
    free(run->h_direction);
    free(run->h_is_reached);
}

/* ---- Starts -------------------------------------------------------------------------------------------------- */

static bool is_finite(size_t count, const float *x) {
    for (size_t c = 0; c < count; c++)
        if (!isfinite(x[c])) return false;
    return true;
}

/* Between coincident particles a force has no direction, and very near ones overflow float. Each of them goes a little
 * way of its own: a fixed one, spread evenly over directions by multiples of the golden ratio. */
static void part_overlaps(const quench_run *run, double *x) {
    unsigned N = run->num_particles, D = run->space_dim;
    double closest = CLOSEST_START * run->length, nudge = START_NUDGE * run->length;
    for (unsigned i = 1; i < N; i++)
        for (unsigned j = 0; j < i; j++) {
            double squared = 0.0;
            for (unsigned d = 0; d < D; d++) {
                double r = x[i * D + d] - x[j * D + d];
                squared += r * r;
            }
            if (squared >= closest * closest) continue;
            for (unsigned d = 0; d < D; d++) {
                double turns = (i * D + d + 1) * 0.6180339887498949;
                x[i * D + d] += 2.0 * nudge * (turns - floor(turns) - 0.5) + (d == 0 ? nudge * i : 0.0);
            }
            break;
        }
}

/* ---- One descent of a chunk ---------------------------------------------------------------------------------- */

/* indices [count]: configurations of x_out to quench; their numbers in the blocks are 0 ... count - 1. */
static eqf_status upload(quench_run *run, size_t count, const size_t *indices) {
    cl_uint batch_size = (cl_uint)count, num_blocks = (batch_size + run->V - 1) / run->V;
    for (size_t b = 0; b < count; b++)
        for (size_t c = 0; c < run->num_dof; c++)
            set_real(run, b * run->num_dof + c, run->x_out[indices[b] * run->num_dof + c]);
    EQF__TRY(eqf__buffer_write(run->ctx, run->x, 0, count * run->num_dof * run->real_size, run->h_reals));
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->pack, num_blocks, 0, EQF__ARG(run->x), EQF__ARG(run->x_blocked),
                         EQF__ARG(batch_size), EQF__ARG(run->num_dof)));
    real_value largest_time_step = real_of(run, run->largest_time_step);
    return EQF__LAUNCH(run->ctx, &run->begin, num_blocks, 0, EQF__ARG(run->velocity_blocked),
                       EQF__ARG(run->control_blocked), EQF__ARG(num_blocks), ARG_REAL(run, largest_time_step));
}

/* blocked [..][num_values][V] -> h_reals [count, num_values] */
static eqf_status download(quench_run *run, cl_mem blocked, cl_uint num_values, size_t count) {
    cl_uint batch_size = (cl_uint)count, num_blocks = (batch_size + run->V - 1) / run->V;
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->unpack, num_blocks, 0, EQF__ARG(blocked), EQF__ARG(run->x),
                         EQF__ARG(batch_size), EQF__ARG(num_values)));
    return eqf__buffer_read(run->ctx, run->x, 0, count * num_values * run->real_size, run->h_reals);
}

static eqf_status report_progress(const quench_run *run, size_t num_done) {
    if (run->options->progress == NULL)
        return eqf__progress(run->ctx, "quench", (double)num_done, (double)run->batch_size);
    eqf_progress progress = {sizeof progress, "quench", (double)num_done, (double)run->batch_size};
    if (run->options->progress(run->options->progress_user, &progress) == 0) return EQF_OK;
    return eqf__fail(run->ctx, EQF_ERROR_INTERRUPTED,
                     "the quench was stopped on request after %zu of %zu configurations", num_done, run->batch_size);
}

static eqf_status descend(quench_run *run, size_t count) {
    cl_uint num_blocks = (cl_uint)((count + run->V - 1) / run->V);
    real_value tolerance = real_of(run, run->gradient_tolerance), time_step = real_of(run, run->largest_time_step);
    real_value displacement = real_of(run, run->largest_displacement);
    /* One launch more than max_steps: it takes no step, but sees whether the last one was enough. */
    for (unsigned done = 0; done <= run->max_steps;) {
        cl_uint num_steps = min_unsigned(run->max_steps + 1 - done, run->launch_steps);
        EQF__TRY(EQF__LAUNCH(run->ctx, &run->steps, num_blocks, 0, EQF__ARG(run->x_blocked),
                             EQF__ARG(run->velocity_blocked), EQF__ARG(run->control_blocked), EQF__ARG(num_blocks),
                             EQF__ARG(num_steps), ARG_REAL(run, tolerance), ARG_REAL(run, time_step),
                             ARG_REAL(run, displacement)));
        done += num_steps;
        EQF__TRY(download(run, run->control_blocked, NUM_CONTROLS, count));
        size_t num_done = 0;
        for (size_t b = 0; b < count; b++) num_done += get_real(run, b * NUM_CONTROLS + CONTROL_IS_DONE) > 0.0;
        EQF__TRY(report_progress(run, run->num_finished + num_done));
        if (num_done == count) break;
    }
    for (size_t n = 0; n < count * NUM_CONTROLS; n++) run->h_control[n] = get_real(run, n);
    return EQF_OK;
}

/* ---- What came of it ----------------------------------------------------------------------------------------- */

/* Parts that nothing holds together: only particles without their trap can fly off. */
static bool is_dissociated(const quench_run *run, const double *x) {
    const eqf_potential_options *potential = run->potential;
    if (!eqf__potential_kind_of(potential->kind)->has_trap || potential->trap_strength > 0.0) return false;
    unsigned N = run->num_particles, D = run->space_dim;
    double apart = APART * run->length;
    bool *is_reached = run->h_is_reached;
    memset(is_reached, 0, N * sizeof *is_reached);
    is_reached[0] = true;
    unsigned num_reached = 1;
    for (bool has_grown = true; has_grown;) {
        has_grown = false;
        for (unsigned i = 0; i < N; i++)
            for (unsigned j = 0; is_reached[i] && j < N; j++) {
                double squared = 0.0;
                for (unsigned d = 0; d < D; d++) {
                    double r = x[i * D + d] - x[j * D + d];
                    squared += r * r;
                }
                if (is_reached[j] || squared > apart * apart) continue;
                is_reached[j] = has_grown = true;
                num_reached++;
            }
    }
    return num_reached < N;
}

static eqf_status collect(quench_run *run, size_t count, const size_t *indices) {
    size_t num_dof = run->num_dof;
    EQF__TRY(download(run, run->x_blocked, run->num_dof, count));
    for (size_t b = 0; b < count; b++) {
        double *x = run->x_out + indices[b] * num_dof;
        for (size_t c = 0; c < num_dof; c++) x[c] = get_real(run, b * num_dof + c);
        const double *control = run->h_control + b * NUM_CONTROLS;
        bool is_done = control[CONTROL_IS_DONE] > 0.0;
        run->num_steps += control[CONTROL_NUM_STEPS];
        run->result_out[indices[b]] = is_dissociated(run, x) ? EQF_QUENCH_DISSOCIATED
                                      : is_done              ? EQF_QUENCH_MINIMUM
                                                             : EQF_QUENCH_UNFINISHED;
        if (run->gradient_norm_out != NULL) run->gradient_norm_out[indices[b]] = control[CONTROL_GRADIENT_NORM];
    }
    if (run->energy_out == NULL) return EQF_OK;
    cl_uint num_blocks = (cl_uint)((count + run->V - 1) / run->V);
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->energy, num_blocks, 0, EQF__ARG(run->x_blocked), EQF__ARG(run->energy_blocked),
                         EQF__ARG(num_blocks)));
    EQF__TRY(download(run, run->energy_blocked, 1, count));
    for (size_t b = 0; b < count; b++) run->energy_out[indices[b]] = get_real(run, b);
    return EQF_OK;
}

/* The Hessian of lane `lane` of Hessian block `block`, symmetric, in h_matrix; gives its largest diagonal element. */
static double take_hessian(quench_run *run, size_t block, size_t lane) {
    size_t n = run->num_dof, first = block * n * n;
    double largest = 0.0;
    for (size_t row = 0; row < n; row++)
        for (size_t column = 0; column <= row; column++) {
            double value = 0.5 * (get_real(run, (first + row * n + column) * run->V + lane) +
                                  get_real(run, (first + column * n + row) * run->V + lane));
            run->h_matrix[row * n + column] = run->h_matrix[column * n + row] = value;
            if (row == column) largest = fmax(largest, fabs(value));
        }
    return largest;
}

/* Tells minima from saddle points, and displaces the latter along a way down if they are to be left. */
static eqf_status check_curvature(quench_run *run, size_t count, const size_t *indices, bool is_left) {
    size_t n = run->num_dof, V = run->V, num_blocks = (count + V - 1) / V;
    real_value difference = real_of(run, run->scales->difference * run->length);
    for (size_t first = 0; first < num_blocks; first += run->num_hessian_blocks) {
        size_t blocks = num_blocks - first < run->num_hessian_blocks ? num_blocks - first : run->num_hessian_blocks;
        cl_uint first_block = (cl_uint)first, count_blocks = (cl_uint)blocks;
        EQF__TRY(EQF__LAUNCH(run->ctx, &run->hessian, blocks * n, 0, EQF__ARG(run->x_blocked), EQF__ARG(run->hessians),
                             EQF__ARG(first_block), EQF__ARG(count_blocks), ARG_REAL(run, difference)));
        EQF__TRY(eqf__buffer_read(run->ctx, run->hessians, 0, blocks * V * n * n * run->real_size, run->h_reals));
        for (size_t b = first * V; b < (first + blocks) * V && b < count; b++) {
            if (run->result_out[indices[b]] != EQF_QUENCH_MINIMUM) continue;
            double largest = take_hessian(run, b / V - first, b % V);
            double flat = fmax(run->scales->curvature * largest, 1e-300);
            if (!eqf__minima_find_way_down(n, flat, run->h_matrix, run->h_direction)) continue;
            run->result_out[indices[b]] = EQF_QUENCH_SADDLE;
            if (!is_left) continue;
            double *x = run->x_out + indices[b] * n;
            for (size_t c = 0; c < n; c++) x[c] += ESCAPE_DISPLACEMENT * run->length * run->h_direction[c];
        }
    }
    return EQF_OK;
}

/* The Hessian of the first configuration in the blocks, in h_matrix. */
static eqf_status find_first_hessian(quench_run *run) {
    const size_t n = run->num_dof;
    cl_uint first_block = 0, num_blocks = 1;
    real_value difference = real_of(run, run->scales->difference * run->length);
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->hessian, n, 0, EQF__ARG(run->x_blocked), EQF__ARG(run->hessians),
                         EQF__ARG(first_block), EQF__ARG(num_blocks), ARG_REAL(run, difference)));
    EQF__TRY(eqf__buffer_read(run->ctx, run->hessians, 0, run->V * n * n * run->real_size, run->h_reals));
    take_hessian(run, 0, 0);
    return EQF_OK;
}

/* A user's potential does not say how stiff it is. One random start, the same for every batch, goes down as far as it
 * gets with a guess; no eigenvalue of its Hessian there is above the largest sum of absolute values in a row
 * (Gershgorin). */
static eqf_status measure_stiffness(quench_run *run) {
    const size_t n = run->num_dof, only = 0;
    float *start = eqf__alloc(run->ctx, n, sizeof *start, "a configuration");
    double *x = eqf__alloc(run->ctx, n, sizeof *x, "a configuration");
    double *x_out = run->x_out, stiffness = 0.0;
    const unsigned max_steps = run->max_steps;
    eqf_status status = start == NULL || x == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    if (status == EQF_OK) status = eqf_minima_random_starts(run->ctx, run->potential, 0, 0, 1, start);
    if (status == EQF_OK) {
        for (size_t c = 0; c < n; c++) x[c] = (double)start[c];
        run->x_out = x;
        run->max_steps = 3000;
        status = upload(run, 1, &only);
        if (status == EQF_OK) status = descend(run, 1);
        run->x_out = x_out;
        run->max_steps = max_steps;
    }
    if (status == EQF_OK) status = find_first_hessian(run);
    if (status == EQF_OK) {
        for (size_t row = 0; row < n; row++) {
            double sum = 0.0;
            for (size_t column = 0; column < n; column++) sum += fabs(run->h_matrix[row * n + column]);
            stiffness = fmax(stiffness, sum); /* fmax leaves a NaN out */
        }
        if (isfinite(stiffness) && stiffness > 0.0) choose_scales(run, stiffness);
    }
    free(start);
    free(x);
    return status;
}

/* ---- Known answers ------------------------------------------------------------------------------------------- */

enum { TRIAL_BATCH = 3, TRIAL_STEPS = 24, TRIAL_LAUNCH_STEPS = 10 };
/* Steps longer than any run takes, but cut sooner: within the few of a trial descents turn, and some are cut. */
static const double trial_stretch = 4.0, trial_cut = 0.3;

/* Off the host's descent of sample b from h_x [N*D], which ends there, at most; 0 where rounding decides what comes of it, as between
 * particles that fly through each other: the host asks itself from a start that is moved by little. near [N*D]: scratch. */
static eqf_status descent_error(const quench_run *run, size_t b, double tolerance, double *h_x, double *near,
                                double *error_out) {
    const size_t n = run->num_dof;
    double gradient_norm, near_norm, change = 0, error = 0;
    for (size_t c = 0; c < n; c++) near[c] = h_x[c] + 0.01 * tolerance * run->length * eqf__host_number((unsigned)c, 6);
    if (!eqf__host_quench(run->potential, TRIAL_STEPS, run->largest_time_step, run->largest_displacement, h_x,
                          &gradient_norm) ||
        !eqf__host_quench(run->potential, TRIAL_STEPS, run->largest_time_step, run->largest_displacement, near,
                          &near_norm))
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

/* Off the same differences of forces on the host, at x [N*D], relative to the largest element; force [2, N*D] and matrix [N*D, N*D]:
 * scratch. */
static double hessian_error(const quench_run *run, double *x, double *force, double *matrix) {
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

/* Descents from lattices, step by step as the host does them; energies and the first Hessian where they end on the device.
 * work: [2 + N*D, N*D]. */
static eqf_status try_descents(quench_run *run, double *work) {
    const size_t n = run->num_dof, indices[TRIAL_BATCH] = {0, 1, 2};
    const char *plain = run->V > 1 ? eqf__plain_width(run->ctx) : "";
    eqf__verdict of_descents = {"descents", 0, run->is_double ? 1e-8 : 1e-4, plain};
    eqf__verdict of_energies = {"energies", 0, run->is_double ? 1e-12 : 1e-4, plain};
    eqf__verdict of_hessians = {"curvatures", 0, run->is_double ? 1e-6 : 1e-2, plain};
    for (unsigned b = 0; b < TRIAL_BATCH; b++) eqf__host_lattice(run->potential, b, run->x_out + b * n);
    for (size_t c = 0; c < TRIAL_BATCH * n; c++) run->x_out[c] = (float)run->x_out[c];
    EQF__TRY(upload(run, TRIAL_BATCH, indices));
    EQF__TRY(descend(run, TRIAL_BATCH));
    EQF__TRY(collect(run, TRIAL_BATCH, indices));
    for (unsigned b = 0; b < TRIAL_BATCH; b++) {
        double error = 0, *h_x = work, *near = work + n;
        eqf__host_lattice(run->potential, b, h_x);
        for (size_t c = 0; c < n; c++) h_x[c] = (float)h_x[c];
        EQF__TRY(descent_error(run, b, of_descents.tolerance, h_x, near, &error));
        of_descents.error = eqf__host_worse(of_descents.error, error);
        const double energy = eqf__host_energy(run->potential, run->x_out + b * n);
        error = fabs(energy - run->energy_out[b]) / (1 + fabs(energy) + run->num_particles);
        of_energies.error = eqf__host_worse(of_energies.error, error);
    }
    EQF__TRY(eqf__program_judge(run->ctx, &of_descents, 1, &run->steps.program));
    EQF__TRY(eqf__program_judge(run->ctx, &of_energies, 1, &run->steps.program));
    EQF__TRY(find_first_hessian(run));
    of_hessians.error = hessian_error(run, run->x_out, work, work + 2 * n);
    return eqf__program_judge(run->ctx, &of_hessians, 1, &run->steps.program);
}

/* The program of `asked` on trial, in a run of its own. A user's potential has no answers; its gradient was checked against its energy. */
static eqf_status check_answers(const quench_run *asked) {
    eqf_context *ctx = asked->ctx;
    eqf__program *program = asked->steps.program;
    if (!eqf__host_has_formula(asked->potential) || ctx->is_in_trial ||
        eqf__program_is_trusted(program, EQF__ANSWERS_OF_VALUES))
        return EQF_OK;
    const eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    eqf_quench_result results[TRIAL_BATCH];
    double energies[TRIAL_BATCH], gradient_norms[TRIAL_BATCH];
    const size_t n = asked->num_dof;
    double *numbers = eqf__alloc(ctx, (TRIAL_BATCH + 2 + n) * n, sizeof *numbers, "the known answers");
    if (numbers == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    quench_run run;
    begin_run(asked->ctx, asked->potential, &options, asked->is_double, TRIAL_BATCH, &run);
    run.x_out = numbers;
    run.energy_out = energies;
    run.gradient_norm_out = gradient_norms;
    run.result_out = results;
    run.max_steps = TRIAL_STEPS - 1; /* and one more, which descend takes to see whether the last one was enough */
    run.launch_steps = min_unsigned(run.launch_steps, TRIAL_LAUNCH_STEPS);
    run.gradient_tolerance = 0.0;
    run.largest_time_step *= trial_stretch;
    run.largest_displacement *= trial_cut;
    eqf_status status = create_kernels(&run);
    if (status == EQF_OK) status = create_buffers(&run);
    if (status == EQF_OK) status = try_descents(&run, numbers + TRIAL_BATCH * n);
    if (status == EQF_OK) eqf__program_trust(ctx, program, EQF__ANSWERS_OF_VALUES);
    run_clear(&run);
    free(numbers);
    return status;
}

/* ---- Rounds -------------------------------------------------------------------------------------------------- */

/* indices [num_active] shrinks to the saddle points that were left. */
static eqf_status quench_round(quench_run *run, bool is_left, size_t *num_active, size_t *indices) {
    size_t num_left = 0;
    for (size_t first = 0; first < *num_active; first += run->chunk) {
        size_t count = *num_active - first < run->chunk ? *num_active - first : run->chunk;
        EQF__TRY(upload(run, count, indices + first));
        EQF__TRY(descend(run, count));
        EQF__TRY(collect(run, count, indices + first));
        EQF__TRY(check_curvature(run, count, indices + first, is_left));
        size_t num_left_before = num_left;
        for (size_t b = first; b < first + count; b++)
            if (is_left && run->result_out[indices[b]] == EQF_QUENCH_SADDLE) indices[num_left++] = indices[b];
        run->num_finished += count - (num_left - num_left_before);
    }
    *num_active = num_left;
    run->num_escapes += num_left;
    return EQF_OK;
}

static eqf_status quench(quench_run *run, const float *x, size_t *indices) {
    size_t num_dof = run->num_dof, num_active = 0;
    for (size_t b = 0; b < run->batch_size; b++) {
        double *x_out = run->x_out + b * num_dof;
        run->result_out[b] = EQF_QUENCH_NON_FINITE;
        for (size_t c = 0; c < num_dof; c++) x_out[c] = NAN;
        if (run->energy_out != NULL) run->energy_out[b] = NAN;
        if (run->gradient_norm_out != NULL) run->gradient_norm_out[b] = NAN;
        if (!is_finite(num_dof, x + b * num_dof)) continue;
        for (size_t c = 0; c < num_dof; c++) x_out[c] = (double)x[b * num_dof + c];
        eqf__minima_centre(run->num_particles, run->space_dim, x_out);
        part_overlaps(run, x_out);
        indices[num_active++] = b;
    }
    run->num_finished = run->batch_size - num_active;
    for (unsigned round = 0; num_active > 0; round++)
        EQF__TRY(quench_round(run, round < run->options->max_escapes, &num_active, indices));
    for (size_t b = 0; b < run->batch_size; b++)
        if (run->result_out[b] != EQF_QUENCH_NON_FINITE)
            eqf__minima_centre(run->num_particles, run->space_dim, run->x_out + b * num_dof);
    return EQF_OK;
}

static void summarise(const quench_run *run, eqf_quench_summary *summary) {
    summary->is_double = run->is_double;
    summary->gradient_tolerance = run->gradient_tolerance;
    summary->num_escapes = run->num_escapes;
    for (size_t b = 0; b < run->batch_size; b++) summary->counts[run->result_out[b]]++;
    size_t num_finite = run->batch_size - summary->counts[EQF_QUENCH_NON_FINITE];
    summary->mean_steps = num_finite > 0 ? run->num_steps / (double)num_finite : 0.0;
}

eqf_status eqf_minima_quench(eqf_context *ctx, const eqf_potential_options *potential,
                             const eqf_quench_options *options, size_t batch_size, const float *x, double *x_out,
                             double *energy_out, double *gradient_norm_out, eqf_quench_result *result_out,
                             eqf_quench_summary *summary_out) {
    eqf_quench_options copy = EQF_QUENCH_OPTIONS_INIT;
    eqf_quench_summary summary = EQF_QUENCH_SUMMARY_INIT;
    EQF__NOT_NULL(ctx, ctx);
    if (options != NULL) EQF__TRY(EQF__READ(ctx, EQF_QUENCH_OPTIONS_INIT, options, &copy));
    options = &copy;
    if (summary_out != NULL) EQF__TRY(EQF__WRITE(ctx, EQF_QUENCH_SUMMARY_INIT, &summary, summary_out));
    EQF__TRY(eqf_potential_check(ctx, potential));
    EQF__TRY(check_options(ctx, options));
    if (batch_size > 0 && (x == NULL || x_out == NULL || result_out == NULL))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "x, x_out or result_out is NULL");
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    bool is_double;
    EQF__TRY(choose_precision(ctx, options, &is_double));
    quench_run run;
    begin_run(ctx, potential, options, is_double, batch_size, &run);
    run.x_out = x_out;
    run.energy_out = energy_out;
    run.gradient_norm_out = gradient_norm_out;
    run.result_out = result_out;
    eqf_status status = EQF_OK;
    if (batch_size > 0) {
        size_t *indices = eqf__alloc(ctx, batch_size, sizeof *indices, "the configurations' indices");
        status = indices == NULL ? EQF_ERROR_OUT_OF_MEMORY : create_kernels(&run);
        if (status == EQF_OK) status = check_answers(&run);
        if (status == EQF_OK) status = create_buffers(&run);
        if (status == EQF_OK && run.has_guessed_stiffness) status = measure_stiffness(&run);
        if (status == EQF_OK) status = quench(&run, x, indices);
        run_clear(&run);
        free(indices);
    }
    if (status != EQF_OK || summary_out == NULL) return status;
    summarise(&run, &summary);
    return EQF__WRITE(ctx, EQF_QUENCH_SUMMARY_INIT, &summary, summary_out);
}
