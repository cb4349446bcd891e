#include "quench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "potential.h"
#include "potential_kinds.h"

/* Most steps of one launch, so that progress and Ctrl-C need not wait long. */
#define MAX_LAUNCH_STEPS 256u
#define DEFAULT_MAX_STEPS 50000u
/* The most numbers that the Hessians on the device have at a time. */
#define HESSIAN_REALS ((size_t)1 << 22)
/* omega dt of the stiffest mode at the largest time step; leapfrog is stable below 2. */
#define LARGEST_PHASE 1.0
/* Numbers of a lane that stay between launches, as in cl/minima/quench.cl. */
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
#define APART 3.0 /* parts farther than this from each other do not interact */

static const eqf__quench_scales double_scales = {1e-10, 1e-15, 1e-5, 1e-6};
static const eqf__quench_scales float_scales = {6e-8, 6e-8, 2e-3, 2e-4};

/* ---- Preparation --------------------------------------------------------------------------------------------- */

static unsigned min_unsigned(unsigned a, unsigned b) {
    return a < b ? a : b;
}

/* Number `index` of h_reals, in the precision of the device. */
static double get_real(const eqf__quench *run, size_t index) {
    return eqf__is_double(&run->real) ? ((const double *)run->h_reals)[index] : ((const float *)run->h_reals)[index];
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
    /* Loop turns of a step: over pairs and their coordinates, and five times over all coordinates. */
    uint64_t turns = (uint64_t)run->num_particles * (run->num_particles + 1) / 2 * (2 * run->space_dim + 2) +
                     5u * (uint64_t)run->num_dof;
    const size_t steps = eqf__budget_units(run->ctx, turns, 0, MAX_LAUNCH_STEPS);
    run->launch_steps = steps > 0 ? (unsigned)steps : 1;
}

/* Sets all members except kernels, buffers and the caller's arrays. */
void eqf__quench_begin(eqf_context *ctx, const eqf_potential_options *potential, const eqf_quench_options *options,
                       bool is_double, size_t batch_size, eqf__quench *run_out) {
    *run_out = (eqf__quench){.ctx = ctx, .potential = potential, .options = options, .batch_size = batch_size};
    run_out->num_particles = potential->num_particles;
    run_out->space_dim = potential->space_dim;
    run_out->num_dof = run_out->num_particles * run_out->space_dim;
    run_out->real = is_double ? eqf__real_double(ctx->device) : eqf__real_float(ctx->device);
    run_out->scales = is_double ? &double_scales : &float_scales;
    eqf__potential_scales scales;
    eqf__potential_scales_of(potential, &scales);
    run_out->has_guessed_stiffness = scales.is_stiffness_guessed;
    eqf__quench_choose_scales(run_out, scales.stiffness);
}

static eqf_status get_program(eqf__quench *run, eqf__program **program_out, unsigned *group_size_out) {
    eqf_context *ctx = run->ctx;
    const bool is_double = eqf__is_double(&run->real);
    char constants[EQF__POTENTIAL_DEFINES_SIZE], defines[EQF__POTENTIAL_DEFINES_SIZE + 64 + EQF__LOCAL_DEFINE_SIZE];
    EQF__TRY(is_double ? eqf__potential_program_defines_double(ctx, run->potential, constants, sizeof constants)
                       : eqf__potential_program_defines(ctx, run->potential, constants, sizeof constants));
    snprintf(defines, sizeof defines, "%s -D V=%u%s", constants, run->real.vector_width,
             is_double ? " -D USE_DOUBLE" : "");
    /* three configurations: place, velocity and force */
    *group_size_out = eqf__potential_define_local(ctx, run->potential, 3 * run->real.size, defines, sizeof defines);
    const char *files[] = {"common/real.clh",     EQF__POTENTIAL_FILES(ctx, run->potential),
                           "potential/energy.cl", "minima/quench.cl",
                           "common/pack.cl",      NULL};
    return eqf__program_get(ctx, "minima", files, defines, program_out);
}

static eqf_status create_hessians(eqf__quench *run, size_t num_blocks) {
    const size_t one = (size_t)run->num_dof * run->num_dof * run->real.vector_width;
    const size_t most = HESSIAN_REALS / one > 1 ? HESSIAN_REALS / one : 1;
    run->num_hessian_blocks = (cl_uint)(most < num_blocks ? most : num_blocks);
    return eqf__buffer_create(run->ctx, one * run->num_hessian_blocks * run->real.size, NULL, "the Hessians",
                              &run->d_hessians);
}

eqf_status eqf__quench_create(eqf__quench *run) {
    eqf_context *ctx = run->ctx;
    eqf__program *program;
    unsigned group_size;
    EQF__TRY(get_program(run, &program, &group_size));
    EQF__TRY(eqf__kernel_create(ctx, program, "evaluate_energy", &run->energy));
    EQF__TRY(eqf__kernel_create(ctx, program, "quench_begin", &run->begin));
    EQF__TRY(eqf__kernel_create(ctx, program, "quench_steps", &run->steps));
    EQF__TRY(eqf__kernel_create(ctx, program, "quench_hessian", &run->hessian));
    run->energy.group_size = run->steps.group_size = run->hessian.group_size = group_size;
    EQF__TRY(eqf__batch_create(ctx, program, &run->real, run->num_dof, run->batch_size, &run->batch));

    const size_t num_dof = run->num_dof, lanes = eqf__batch_lanes(&run->batch), bytes = lanes * run->real.size;
    EQF__TRY(eqf__buffer_create(ctx, bytes * num_dof, NULL, "the velocities", &run->d_velocity));
    EQF__TRY(eqf__buffer_create(ctx, bytes * NUM_CONTROLS, NULL, "the quench's state", &run->d_control));
    EQF__TRY(eqf__buffer_create(ctx, bytes, NULL, "the energies", &run->d_energy));
    EQF__TRY(create_hessians(run, lanes / run->real.vector_width));
    const size_t hessian_reals = num_dof * num_dof * run->real.vector_width * run->num_hessian_blocks;
    const size_t control_reals = lanes * NUM_CONTROLS;
    run->h_reals =
        eqf__alloc(ctx, control_reals > hessian_reals ? control_reals : hessian_reals, run->real.size, "the Hessians");
    run->h_rows = eqf__alloc(ctx, run->batch.chunk_size * num_dof, sizeof(double), "the configurations");
    run->h_control = eqf__alloc(ctx, run->batch.chunk_size * NUM_CONTROLS, sizeof(double), "the quench's state");
    run->h_matrix = eqf__alloc(ctx, num_dof * num_dof, sizeof(double), "the Hessian");
    run->h_direction = eqf__alloc(ctx, num_dof, sizeof(double), "a direction");
    run->h_is_reached = eqf__alloc(ctx, run->num_particles, sizeof(bool), "the particles");
    bool is_complete = run->h_reals != NULL && run->h_rows != NULL && run->h_control != NULL && run->h_matrix != NULL &&
                       run->h_direction != NULL && run->h_is_reached != NULL;
    return is_complete ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
}

void eqf__quench_clear(eqf__quench *run) {
    eqf__kernel_destroy(&run->energy);
    eqf__kernel_destroy(&run->begin);
    eqf__kernel_destroy(&run->steps);
    eqf__kernel_destroy(&run->hessian);
    eqf__batch_clear(&run->batch);
    eqf__buffer_destroy(&run->d_velocity);
    eqf__buffer_destroy(&run->d_control);
    eqf__buffer_destroy(&run->d_energy);
    eqf__buffer_destroy(&run->d_hessians);
    free(run->h_reals);
    free(run->h_rows);
    free(run->h_control);
    free(run->h_matrix);
    free(run->h_direction);
    free(run->h_is_reached);
}

/* ---- One descent of a chunk ---------------------------------------------------------------------------------- */

/* Uploads rows indices [count] of x_out to samples 0 ... count - 1 of the blocks. */
eqf_status eqf__quench_upload(eqf__quench *run, size_t count, const size_t *indices) {
    const size_t num_dof = run->num_dof;
    cl_uint num_blocks = (cl_uint)eqf__num_blocks(&run->real, count);
    for (size_t b = 0; b < count; b++)
        memcpy(run->h_rows + b * num_dof, run->x_out + indices[b] * num_dof, num_dof * sizeof(double));
    EQF__TRY(eqf__batch_upload(&run->batch, count, eqf__doubles(run->h_rows)));
    eqf__real_argument largest_time_step = eqf__real_value(&run->real, run->largest_time_step);
    return EQF__LAUNCH(run->ctx, &run->begin, num_blocks, 0, EQF__ARG(run->d_velocity), EQF__ARG(run->d_control),
                       EQF__ARG(num_blocks), EQF__REAL_ARG(&run->real, largest_time_step));
}

/* [num_blocks][NUM_CONTROLS][V] of the device -> h_control [count, NUM_CONTROLS] */
static eqf_status read_control(eqf__quench *run, size_t count) {
    const size_t V = run->real.vector_width, num = eqf__num_blocks(&run->real, count) * NUM_CONTROLS * V;
    EQF__TRY(eqf__buffer_read(run->ctx, run->d_control, 0, num * run->real.size, run->h_reals));
    for (size_t b = 0; b < count; b++)
        for (size_t c = 0; c < NUM_CONTROLS; c++)
            run->h_control[b * NUM_CONTROLS + c] = get_real(run, (b / V * NUM_CONTROLS + c) * V + b % V);
    return EQF_OK;
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
    const eqf__real *real = &run->real;
    cl_uint num_blocks = (cl_uint)eqf__num_blocks(real, count);
    eqf__real_argument tolerance = eqf__real_value(real, run->gradient_tolerance),
                       time_step = eqf__real_value(real, run->largest_time_step),
                       displacement = eqf__real_value(real, run->largest_displacement);
    /* One launch more than max_steps: it makes no step, but tests whether the last one was enough. */
    for (unsigned done = 0; done <= run->max_steps;) {
        cl_uint num_steps = min_unsigned(run->max_steps + 1 - done, run->launch_steps);
        EQF__TRY(EQF__LAUNCH(run->ctx, &run->steps, num_blocks, 0, EQF__ARG(run->batch.d_x), EQF__ARG(run->d_velocity),
                             EQF__ARG(run->d_control), EQF__ARG(num_blocks), EQF__ARG(num_steps),
                             EQF__REAL_ARG(real, tolerance), EQF__REAL_ARG(real, time_step),
                             EQF__REAL_ARG(real, displacement)));
        done += num_steps;
        EQF__TRY(read_control(run, count));
        size_t num_done = 0;
        for (size_t b = 0; b < count; b++) num_done += run->h_control[b * NUM_CONTROLS + CONTROL_IS_DONE] > 0.0;
        EQF__TRY(report_progress(run, run->num_finished + num_done));
        if (num_done == count) break;
    }
    return EQF_OK;
}

/* ---- Results ------------------------------------------------------------------------------------------------- */

/* Whether the particles are in parts that do not interact; without a trap particles can fly away. */
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
    EQF__TRY(eqf__batch_download(&run->batch, count, run->batch.d_x, eqf__doubles(run->h_rows)));
    for (size_t b = 0; b < count; b++) {
        double *x = run->x_out + indices[b] * num_dof;
        memcpy(x, run->h_rows + b * num_dof, num_dof * sizeof *x);
        const double *control = run->h_control + b * NUM_CONTROLS;
        bool is_done = control[CONTROL_IS_DONE] > 0.0;
        run->num_steps += control[CONTROL_NUM_STEPS];
        run->result_out[indices[b]] = is_dissociated(run, x) ? EQF_QUENCH_DISSOCIATED
                                      : is_done              ? EQF_QUENCH_MINIMUM
                                                             : EQF_QUENCH_UNFINISHED;
        if (run->gradient_norm_out != NULL) run->gradient_norm_out[indices[b]] = control[CONTROL_GRADIENT_NORM];
    }
    if (run->energy_out == NULL) return EQF_OK;
    cl_uint num_blocks = (cl_uint)eqf__num_blocks(&run->real, count);
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->energy, num_blocks, 0, EQF__ARG(run->batch.d_x), EQF__ARG(run->d_energy),
                         EQF__ARG(num_blocks)));
    EQF__TRY(eqf__batch_read(&run->batch, count, run->d_energy, eqf__doubles(run->h_rows)));
    for (size_t b = 0; b < count; b++) run->energy_out[indices[b]] = run->h_rows[b];
    return EQF_OK;
}

/* Stores the symmetric Hessian of lane `lane` of Hessian block `block` in h_matrix; returns its largest diagonal
 * element. */
double eqf__quench_take_hessian(eqf__quench *run, size_t block, size_t lane) {
    size_t n = run->num_dof, first = block * n * n;
    double largest = 0.0;
    for (size_t row = 0; row < n; row++)
        for (size_t column = 0; column <= row; column++) {
            double value = 0.5 * (get_real(run, (first + row * n + column) * run->real.vector_width + lane) +
                                  get_real(run, (first + column * n + row) * run->real.vector_width + lane));
            run->h_matrix[row * n + column] = run->h_matrix[column * n + row] = value;
            if (row == column) largest = fmax(largest, fabs(value));
        }
    return largest;
}

eqf_status eqf__quench_hessians(eqf__quench *run, size_t first_block, size_t num_blocks) {
    const eqf__real *real = &run->real;
    const size_t n = run->num_dof;
    const cl_uint first = (cl_uint)first_block, count = (cl_uint)num_blocks;
    const eqf__real_argument difference = eqf__real_value(real, run->scales->difference * run->length);
    EQF__TRY(EQF__LAUNCH(run->ctx, &run->hessian, num_blocks * n, 0, EQF__ARG(run->batch.d_x),
                         EQF__ARG(run->d_hessians), EQF__ARG(first), EQF__ARG(count), EQF__REAL_ARG(real, difference)));
    return eqf__buffer_read(run->ctx, run->d_hessians, 0, num_blocks * real->vector_width * n * n * real->size,
                            run->h_reals);
}

eqf_status eqf__quench_first_hessian(eqf__quench *run) {
    EQF__TRY(eqf__quench_hessians(run, 0, 1));
    eqf__quench_take_hessian(run, 0, 0);
    return EQF_OK;
}
