#include "quench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "potential.h"
#include "potential_kinds.h"

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
#define APART 3.0 /* parts farther than this from each other feel nothing any more */

static const eqf__quench_scales double_scales = {1e-10, 1e-15, 1e-5, 1e-6};
static const eqf__quench_scales float_scales = {6e-8, 6e-8, 2e-3, 2e-4};

/* ---- Reals of either precision ------------------------------------------------------------------------------- */

static void eqf__quench_set_real(const eqf__quench *run, size_t index, double value) {
    if (run->is_double)
        ((double *)run->h_reals)[index] = value;
    else
        ((float *)run->h_reals)[index] = (float)value;
}

static double eqf__quench_get_real(const eqf__quench *run, size_t index) {
    return run->is_double ? ((const double *)run->h_reals)[index] : (double)((const float *)run->h_reals)[index];
}

/* A real as kernel argument. */
typedef union eqf__quench_real {
    cl_double as_double;
    cl_float as_float;
} eqf__quench_real;

static eqf__quench_real eqf__quench_real_of(const eqf__quench *run, double value) {
    eqf__quench_real result;
    if (run->is_double)
        result.as_double = value;
    else
        result.as_float = (cl_float)value;
    return result;
}
#define EQF__QUENCH_ARG(run, variable) ((eqf__argument){(run)->real_size, &(variable)})

/* ---- Preparation --------------------------------------------------------------------------------------------- */

static unsigned min_unsigned(unsigned a, unsigned b) {
    return a < b ? a : b;
}

static void set_precision(eqf__quench *run, bool is_double) {
    const eqf__device *device = run->ctx->device;
    run->is_double = is_double;
    run->scales = run->is_double ? &double_scales : &float_scales;
    run->real_size = run->is_double ? sizeof(cl_double) : sizeof(cl_float);
    /* As many bytes a vector as in float. */
    run->V = run->is_double && device->vector_width > 1 ? device->vector_width / 2 : device->vector_width;
}

void eqf__quench_choose_scales(eqf__quench *run, double stiffness) {
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
void eqf__quench_begin(eqf_context *ctx, const eqf_potential_options *potential, const eqf_quench_options *options,
                       bool is_double, size_t batch_size, eqf__quench *run_out) {
    *run_out = (eqf__quench){.ctx = ctx, .potential = potential, .options = options, .batch_size = batch_size};
    run_out->num_particles = potential->num_particles;
    run_out->space_dim = potential->space_dim;
    run_out->num_dof = run_out->num_particles * run_out->space_dim;
    set_precision(run_out, is_double);
    eqf__potential_scales scales;
    eqf__potential_scales_of(potential, &scales);
    run_out->has_guessed_stiffness = scales.is_stiffness_guessed;
    eqf__quench_choose_scales(run_out, scales.stiffness);
}

eqf_status eqf__quench_create_kernels(eqf__quench *run) {
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

eqf_status eqf__quench_create_buffers(eqf__quench *run) {
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

void eqf__quench_clear(eqf__quench *run) {
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

/* ---- One descent of a chunk ---------------------------------------------------------------------------------- */

/* indices [count]: configurations of x_out to quench; their numbers in the blocks are 0 ... count - 1. */
eqf_status eqf__quench_upload(eqf__quench *run, size_t count, const size_t *indices) {
    cl_uint batch_size = (cl_uint)count, num_blocks = (batch_size + run->V - 1) / run->V;
    for (size_t b = 0; b < count; b++)
        for (size_t c = 0; c < run->num_dof; c++)
            eqf__quench_set_real(run, b * run->num_dof + c, run->x_out[indices[b] * run->num_dof + c]);
    EQF__TRY(eqf__buffer_write(run->ctx, run->x, 0, count * run->num_dof * run->real_size, run->h_reals));
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->pack, num_blocks, 0, EQF__ARG(run->x), EQF__ARG(run->x_blocked),
                         EQF__ARG(batch_size), EQF__ARG(run->num_dof)));
    eqf__quench_real largest_time_step = eqf__quench_real_of(run, run->largest_time_step);
    return EQF__LAUNCH(run->ctx, &run->begin, num_blocks, 0, EQF__ARG(run->velocity_blocked),
                       EQF__ARG(run->control_blocked), EQF__ARG(num_blocks), EQF__QUENCH_ARG(run, largest_time_step));
}

/* blocked [..][num_values][V] -> h_reals [count, num_values] */
static eqf_status download(eqf__quench *run, cl_mem blocked, cl_uint num_values, size_t count) {
    cl_uint batch_size = (cl_uint)count, num_blocks = (batch_size + run->V - 1) / run->V;
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->unpack, num_blocks, 0, EQF__ARG(blocked), EQF__ARG(run->x),
                         EQF__ARG(batch_size), EQF__ARG(num_values)));
    return eqf__buffer_read(run->ctx, run->x, 0, count * num_values * run->real_size, run->h_reals);
}

static eqf_status report_progress(const eqf__quench *run, size_t num_done) {
    if (run->options->progress == NULL)
        return eqf__progress(run->ctx, "quench", (double)num_done, (double)run->batch_size);
    eqf_progress progress = {sizeof progress, "quench", (double)num_done, (double)run->batch_size};
    if (run->options->progress(run->options->progress_user, &progress) == 0) return EQF_OK;
    return eqf__fail(run->ctx, EQF_ERROR_INTERRUPTED,
                     "the quench was stopped on request after %zu of %zu configurations", num_done, run->batch_size);
}

eqf_status eqf__quench_descend(eqf__quench *run, size_t count) {
    cl_uint num_blocks = (cl_uint)((count + run->V - 1) / run->V);
    eqf__quench_real tolerance = eqf__quench_real_of(run, run->gradient_tolerance),
                     time_step = eqf__quench_real_of(run, run->largest_time_step);
    eqf__quench_real displacement = eqf__quench_real_of(run, run->largest_displacement);
    /* One launch more than max_steps: it takes no step, but sees whether the last one was enough. */
    for (unsigned done = 0; done <= run->max_steps;) {
        cl_uint num_steps = min_unsigned(run->max_steps + 1 - done, run->launch_steps);
        EQF__TRY(EQF__LAUNCH(run->ctx, &run->steps, num_blocks, 0, EQF__ARG(run->x_blocked),
                             EQF__ARG(run->velocity_blocked), EQF__ARG(run->control_blocked), EQF__ARG(num_blocks),
                             EQF__ARG(num_steps), EQF__QUENCH_ARG(run, tolerance), EQF__QUENCH_ARG(run, time_step),
                             EQF__QUENCH_ARG(run, displacement)));
        done += num_steps;
        EQF__TRY(download(run, run->control_blocked, NUM_CONTROLS, count));
        size_t num_done = 0;
        for (size_t b = 0; b < count; b++)
            num_done += eqf__quench_get_real(run, b * NUM_CONTROLS + CONTROL_IS_DONE) > 0.0;
        EQF__TRY(report_progress(run, run->num_finished + num_done));
        if (num_done == count) break;
    }
    for (size_t n = 0; n < count * NUM_CONTROLS; n++) run->h_control[n] = eqf__quench_get_real(run, n);
    return EQF_OK;
}

/* ---- What came of it ----------------------------------------------------------------------------------------- */

/* Parts that nothing holds together: only particles without their trap can fly off. */
static bool is_dissociated(const eqf__quench *run, const double *x) {
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

eqf_status eqf__quench_collect(eqf__quench *run, size_t count, const size_t *indices) {
    size_t num_dof = run->num_dof;
    EQF__TRY(download(run, run->x_blocked, run->num_dof, count));
    for (size_t b = 0; b < count; b++) {
        double *x = run->x_out + indices[b] * num_dof;
        for (size_t c = 0; c < num_dof; c++) x[c] = eqf__quench_get_real(run, b * num_dof + c);
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
    for (size_t b = 0; b < count; b++) run->energy_out[indices[b]] = eqf__quench_get_real(run, b);
    return EQF_OK;
}

/* The Hessian of lane `lane` of Hessian block `block`, symmetric, in h_matrix; gives its largest diagonal element. */
double eqf__quench_take_hessian(eqf__quench *run, size_t block, size_t lane) {
    size_t n = run->num_dof, first = block * n * n;
    double largest = 0.0;
    for (size_t row = 0; row < n; row++)
        for (size_t column = 0; column <= row; column++) {
            double value = 0.5 * (eqf__quench_get_real(run, (first + row * n + column) * run->V + lane) +
                                  eqf__quench_get_real(run, (first + column * n + row) * run->V + lane));
            run->h_matrix[row * n + column] = run->h_matrix[column * n + row] = value;
            if (row == column) largest = fmax(largest, fabs(value));
        }
    return largest;
}

eqf_status eqf__quench_hessians(eqf__quench *run, size_t first_block, size_t num_blocks) {
    const size_t n = run->num_dof;
    const cl_uint first = (cl_uint)first_block, count = (cl_uint)num_blocks;
    const eqf__quench_real difference = eqf__quench_real_of(run, run->scales->difference * run->length);
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->hessian, num_blocks * n, 0, EQF__ARG(run->x_blocked), EQF__ARG(run->hessians),
                         EQF__ARG(first), EQF__ARG(count), EQF__QUENCH_ARG(run, difference)));
    return eqf__buffer_read(run->ctx, run->hessians, 0, num_blocks * run->V * n * n * run->real_size, run->h_reals);
}

eqf_status eqf__quench_first_hessian(eqf__quench *run) {
    EQF__TRY(eqf__quench_hessians(run, 0, 1));
    eqf__quench_take_hessian(run, 0, 0);
    return EQF_OK;
}
