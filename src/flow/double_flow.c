#include "double_flow.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- Life -------------------------------------------------------------------------------------------------------------- */

void eqf__double_flow_destroy(eqf__double_flow **flow) {
    if (*flow == NULL) return;
    eqf__double_flow *f = *flow;
    eqf__kernel *kernels[] = {&f->sample, &f->centre, &f->log_prob, &f->add_log_det, &f->pack,
                              &f->unpack, &f->time,   &f->shared,   &f->trajectory,  &f->at_stage};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
    cl_mem *buffers[] = {&f->d_params,  &f->d_time_basis, &f->d_coefficients, &f->d_gaussians, &f->d_geometry,
                         &f->d_nothing, &f->d_rows,       &f->d_x,            &f->d_log_det,   &f->d_log_prob};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    free(f);
    *flow = NULL;
}

static eqf_status check(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options) {
    const eqf_device_info *info = &ctx->device->info;
    if (!info->has_fp64)
        return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED, "%s (%s) has no double precision (fp64): use another --device, or --precision float",
                         info->name, info->platform_name);
    if (eqf_model_options_of(model)->dynamics.kind != EQF_DYNAMICS_RADIAL)
        return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED, "double precision is for radial fields: this model has another");
    if (options->method != EQF_INTEGRATOR_RK4)
        return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED, "double precision is for RK4: use --integrator rk4");
    return EQF_OK;
}

static eqf_status create_programs(eqf__double_flow *f, const eqf_dynamics_options *dynamics) {
    static const char *const prior_files[] = {"common/real.clh", "common/philox.clh", "common/random.clh",
                                              "common/pack.cl",  "prior/gaussian.cl", NULL};
    static const char *const stage_files[] = {"common/real.clh", "dynamics/radial_params.clh", "dynamics/radial_stages.cl",
                                              NULL};
    static const char *const trajectory_files[] = {"common/real.clh", "dynamics/radial.clh", "integrator/rk4.clh",
                                                   "integrator/rk4.cl", NULL};
    eqf_context *ctx = f->ctx;
    char defines[256];
    const unsigned K = dynamics->num_distance, M = dynamics->num_time;
    /* -w: compilers for AVX2 warn of the calling convention of functions with double8, all of which are inlined. */
    snprintf(defines, sizeof defines, "-w -D V=%u -D USE_DOUBLE -D N=%u -D D=%u", f->vector_width, f->num_particles, f->space_dim);
    EQF__TRY(eqf__program_get(ctx, "prior_double", prior_files, defines, &f->prior_program));
    snprintf(defines, sizeof defines, "-w -D V=%u -D USE_DOUBLE -D N=%u -D D=%u -D K=%u -D M=%u -D STAGE_SIZE=%u", f->vector_width,
             f->num_particles, f->space_dim, K, M, K + 1);
    EQF__TRY(eqf__program_get(ctx, "stages_double", stage_files, defines, &f->stage_program));
    EQF__TRY(eqf__program_get(ctx, "trajectory_double", trajectory_files, defines, &f->trajectory_program));
    const struct {
        eqf__program *program;
        const char *name;
        eqf__kernel *kernel;
    } kernels[] = {
        {f->prior_program, "prior_sample", &f->sample},        {f->prior_program, "centre", &f->centre},
        {f->prior_program, "prior_log_prob", &f->log_prob},    {f->prior_program, "add_log_det", &f->add_log_det},
        {f->prior_program, "pack", &f->pack},                  {f->prior_program, "unpack", &f->unpack},
        {f->stage_program, "radial_time", &f->time},           {f->stage_program, "radial_shared", &f->shared},
        {f->trajectory_program, "trajectory", &f->trajectory}, {f->trajectory_program, "field_at_stage", &f->at_stage},
    };
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++)
        EQF__TRY(eqf__kernel_create(ctx, kernels[k].program, kernels[k].name, kernels[k].kernel));
    return EQF_OK;
}

static eqf_status create_buffers(eqf__double_flow *f, const eqf_dynamics_options *dynamics) {
    const size_t K = dynamics->num_distance, stages = 2 * (size_t)f->num_steps + 1, size = sizeof(double);
    const size_t padded = (f->chunk_size + f->vector_width - 1) / f->vector_width * f->vector_width;
    const struct {
        cl_mem *buffer;
        size_t count;
        const char *what;
    } needed[] = {
        {&f->d_params, f->num_params, "the parameters"},
        {&f->d_time_basis, stages * dynamics->num_time, "the time basis"},
        {&f->d_coefficients, stages * (K + 1), "the stage coefficients"},
        {&f->d_gaussians, 2 * K, "the Gaussians"},
        {&f->d_geometry, 8, "the table's geometry"},
        {&f->d_nothing, 1, "an empty buffer"},
        {&f->d_rows, padded * f->num_dof, "configurations"},
        {&f->d_x, padded * f->num_dof, "configurations"},
        {&f->d_log_det, padded, "log-densities"},
        {&f->d_log_prob, padded, "log-densities"},
    };
    for (size_t b = 0; b < sizeof needed / sizeof needed[0]; b++)
        EQF__TRY(eqf__buffer_create(f->ctx, needed[b].count * size, NULL, needed[b].what, needed[b].buffer));
    return EQF_OK;
}

/* Loop turns of a step, as if no loop were unrolled (src/integrator/trajectory.c counts the same). */
static eqf_status plan_launches(eqf__double_flow *f, const eqf_dynamics_options *dynamics) {
    const uint64_t limit = f->ctx->device->launch_iterations;
    const size_t N = f->num_particles, D = f->space_dim;
    const size_t turns = 4 * (N * (N - 1) / 2 * (1 + dynamics->num_distance + 2 * D) + N * (2 + 5 * D));
    f->steps_per_launch = limit == 0 || limit / turns > f->num_steps ? f->num_steps : (size_t)(limit / turns);
    if (f->steps_per_launch > 0) return EQF_OK;
    return eqf__fail(f->ctx, EQF_ERROR_UNSUPPORTED, "%s allows %llu loop turns a launch and one step of %u particles takes more: use "
                     "another --device, or --precision float",
                     f->ctx->device->info.name, (unsigned long long)limit, f->num_particles);
}

eqf_status eqf__double_flow_create(eqf_context *ctx, const eqf_model *model, const eqf_flow_options *options, unsigned num_steps,
                                   eqf__double_flow **flow_out) {
    *flow_out = NULL;
    EQF__TRY(check(ctx, model, options));
    const eqf_model_options *made = eqf_model_options_of(model);
    eqf__double_flow *f = eqf__alloc(ctx, 1, sizeof *f, "the flow");
    if (f == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    f->ctx = ctx;
    f->num_particles = made->potential.num_particles;
    f->space_dim = made->potential.space_dim;
    f->num_dof = (size_t)f->num_particles * f->space_dim;
    f->num_steps = num_steps;
    f->num_params = eqf_model_num_params(model);
    f->vector_width = ctx->device->vector_width > 1 ? 8 : 1; /* 8 doubles are as wide as 16 floats */
    f->scale = made->prior_scale;
    f->constant_term = (f->num_particles - 1) * f->space_dim * (log(f->scale) + 0.91893853320467274178);
    f->d_fine = 1; /* of the table's geometry, which nothing reads here */
    f->chunk_size = ((size_t)1 << 20) / f->num_dof / 64 * 64;
    if (f->chunk_size < 64) f->chunk_size = 64;
    if (f->chunk_size > 16384) f->chunk_size = 16384;
    eqf_status status = plan_launches(f, &made->dynamics);
    if (status == EQF_OK) status = create_programs(f, &made->dynamics);
    if (status == EQF_OK) status = create_buffers(f, &made->dynamics);
    if (status == EQF_OK) status = eqf__double_flow_set_params(f, eqf_model_params(model));
    if (status != EQF_OK) {
        eqf__double_flow_destroy(&f);
        return status;
    }
    *flow_out = f;
    return EQF_OK;
}

eqf_status eqf__double_flow_set_params(eqf__double_flow *f, const float *params) {
    eqf_context *ctx = f->ctx;
    double *wide = eqf__alloc(ctx, f->num_params, sizeof *wide, "the parameters");
    if (wide == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    bool is_finite = true;
    for (size_t i = 0; i < f->num_params; i++) {
        wide[i] = params[i];
        is_finite = is_finite && isfinite(wide[i]);
    }
    eqf_status status = is_finite ? eqf__buffer_write(ctx, f->d_params, 0, f->num_params * sizeof *wide, wide)
                                  : eqf__fail(ctx, EQF_ERROR_NON_FINITE, "the field's parameters are not finite");
    free(wide);
    EQF__TRY(status);
    cl_uint num_stages = 2 * f->num_steps + 1, one = 1;
    cl_double d_fine = f->d_fine;
    EQF__TRY(EQF__LAUNCH(ctx, &f->time, num_stages, 0, EQF__ARG(f->d_params), EQF__ARG(f->d_time_basis),
                         EQF__ARG(f->d_coefficients), EQF__ARG(num_stages)));
    return EQF__LAUNCH(ctx, &f->shared, 1, 0, EQF__ARG(f->d_params), EQF__ARG(f->d_gaussians), EQF__ARG(f->d_geometry),
                       EQF__ARG(d_fine), EQF__ARG(one), EQF__ARG(one));
}

/* ---- Solves ------------------------------------------------------------------------------------------------------------ */

static cl_uint num_blocks_of(const eqf__double_flow *f, size_t count) {
    return (cl_uint)((count + f->vector_width - 1) / f->vector_width);
}

static eqf_status upload(eqf__double_flow *f, size_t count, const double *x) {
    cl_uint batch = (cl_uint)count, num_dof = (cl_uint)f->num_dof;
    EQF__TRY(eqf__buffer_write(f->ctx, f->d_rows, 0, count * f->num_dof * sizeof *x, x));
    return EQF__LAUNCH(f->ctx, &f->pack, num_blocks_of(f, count), 0, EQF__ARG(f->d_rows), EQF__ARG(f->d_x), EQF__ARG(batch),
                       EQF__ARG(num_dof));
}

static eqf_status download(eqf__double_flow *f, size_t count, double *x_out) {
    cl_uint batch = (cl_uint)count, num_dof = (cl_uint)f->num_dof;
    EQF__TRY(EQF__LAUNCH(f->ctx, &f->unpack, num_blocks_of(f, count), 0, EQF__ARG(f->d_x), EQF__ARG(f->d_rows), EQF__ARG(batch),
                         EQF__ARG(num_dof)));
    return eqf__buffer_read(f->ctx, f->d_rows, 0, count * f->num_dof * sizeof *x_out, x_out);
}

static eqf_status zero_log_det(eqf__double_flow *f, size_t count) {
    return eqf__fill_zero(f->ctx, f->d_log_det, num_blocks_of(f, count) * f->vector_width * sizeof(double));
}

static eqf_status solve(eqf__double_flow *f, eqf_direction direction, size_t count) {
    cl_uint blocks = num_blocks_of(f, count), num_steps = f->num_steps, has_checkpoints = 0;
    cl_int sign = direction == EQF_PRIOR_TO_DATA ? 1 : -1;
    for (cl_uint begin = 0; begin < num_steps;) {
        const cl_uint end = num_steps - begin > f->steps_per_launch ? begin + (cl_uint)f->steps_per_launch : num_steps;
        EQF__TRY(EQF__LAUNCH(f->ctx, &f->trajectory, blocks, 0, EQF__ARG(f->d_x), EQF__ARG(f->d_log_det), EQF__ARG(f->d_coefficients),
                             EQF__ARG(f->d_gaussians), EQF__ARG(f->d_nothing), EQF__ARG(has_checkpoints), EQF__ARG(blocks),
                             EQF__ARG(num_steps), EQF__ARG(sign), EQF__ARG(begin), EQF__ARG(end)));
        begin = end;
    }
    return EQF_OK;
}

static eqf_status prior_log_prob(eqf__double_flow *f, size_t count, double sign_of_log_det) {
    cl_uint blocks = num_blocks_of(f, count);
    cl_double scale = f->scale, constant_term = f->constant_term, sign = sign_of_log_det;
    return EQF__LAUNCH(f->ctx, &f->log_prob, blocks, 0, EQF__ARG(f->d_x), EQF__ARG(f->d_log_det), EQF__ARG(f->d_log_prob),
                       EQF__ARG(scale), EQF__ARG(constant_term), EQF__ARG(sign), EQF__ARG(blocks));
}

eqf_status eqf__double_flow_sample(eqf__double_flow *f, uint64_t seed, uint64_t first, size_t count, double *x_out,
                                   double *log_prob_out) {
    cl_uint low = (cl_uint)seed, high = (cl_uint)(seed >> 32), blocks = num_blocks_of(f, count);
    cl_ulong first_sample = first;
    cl_double scale = f->scale, minus = -1;
    EQF__TRY(EQF__LAUNCH(f->ctx, &f->sample, blocks, 0, EQF__ARG(f->d_x), EQF__ARG(low), EQF__ARG(high), EQF__ARG(first_sample),
                         EQF__ARG(scale), EQF__ARG(blocks)));
    EQF__TRY(zero_log_det(f, count));
    EQF__TRY(prior_log_prob(f, count, 0));
    EQF__TRY(solve(f, EQF_PRIOR_TO_DATA, count));
    EQF__TRY(EQF__LAUNCH(f->ctx, &f->add_log_det, blocks, 0, EQF__ARG(f->d_log_prob), EQF__ARG(f->d_log_det), EQF__ARG(minus),
                         EQF__ARG(blocks)));
    EQF__TRY(download(f, count, x_out));
    if (log_prob_out == NULL) return EQF_OK;
    return eqf__buffer_read(f->ctx, f->d_log_prob, 0, count * sizeof *log_prob_out, log_prob_out);
}

eqf_status eqf__double_flow_log_prob(eqf__double_flow *f, size_t count, const double *x, double *log_prob_out, double *z_out) {
    cl_uint blocks = num_blocks_of(f, count);
    EQF__TRY(upload(f, count, x));
    EQF__TRY(EQF__LAUNCH(f->ctx, &f->centre, blocks, 0, EQF__ARG(f->d_x), EQF__ARG(blocks)));
    EQF__TRY(zero_log_det(f, count));
    EQF__TRY(solve(f, EQF_DATA_TO_PRIOR, count));
    EQF__TRY(prior_log_prob(f, count, 1));
    EQF__TRY(eqf__buffer_read(f->ctx, f->d_log_prob, 0, count * sizeof *log_prob_out, log_prob_out));
    return z_out == NULL ? EQF_OK : download(f, count, z_out);
}

eqf_status eqf__double_flow_transform(eqf__double_flow *f, eqf_direction direction, size_t count, const double *x_in,
                                      double *x_out, double *log_det_out) {
    EQF__TRY(upload(f, count, x_in));
    EQF__TRY(zero_log_det(f, count));
    EQF__TRY(solve(f, direction, count));
    EQF__TRY(download(f, count, x_out));
    if (log_det_out == NULL) return EQF_OK;
    return eqf__buffer_read(f->ctx, f->d_log_det, 0, count * sizeof *log_det_out, log_det_out);
}

eqf_status eqf__double_flow_velocity(eqf__double_flow *f, unsigned stage, size_t count, const double *x, double *velocity_out,
                                     double *divergence_out) {
    cl_uint blocks = num_blocks_of(f, count), stage_index = stage;
    EQF__TRY(upload(f, count, x));
    EQF__TRY(EQF__LAUNCH(f->ctx, &f->at_stage, blocks, 0, EQF__ARG(f->d_x), EQF__ARG(f->d_x), EQF__ARG(f->d_log_det),
                         EQF__ARG(f->d_coefficients), EQF__ARG(f->d_gaussians), EQF__ARG(blocks), EQF__ARG(stage_index)));
    EQF__TRY(download(f, count, velocity_out));
    return eqf__buffer_read(f->ctx, f->d_log_det, 0, count * sizeof *divergence_out, divergence_out);
}
