#include "prior.h"

#include <string.h>

#include "budget.h"

eqf_status eqf__prior_create(eqf_context *ctx, const eqf_model_options *options, const eqf__real *real,
                             eqf__prior *prior_out) {
    const eqf__prior_kind *kind = eqf__prior_kind_of(options->prior_kind);
    memset(prior_out, 0, sizeof *prior_out);
    prior_out->ctx = ctx;
    prior_out->real = *real;
    prior_out->kind = kind;
    prior_out->options = *options;
    prior_out->options.potential.source = prior_out->options.potential.source_name = NULL;
    prior_out->scale = eqf__is_double(real) ? options->prior_scale : (double)(float)options->prior_scale;
    prior_out->constant_term = kind->log_z(options);
    EQF__TRY(eqf__buffer_create(ctx, 2 * real->size * real->vector_width, NULL, "the losses", &prior_out->d_carry));
    const char *const files[] = {"common/real.clh",   "common/philox.clh", "common/random.clh", "common/pack.cl",
                                 "prior/normals.clh", kind->kernel_file,   "prior/prior.cl",    NULL};
    char defines[256], name[32];
    eqf__real_defines(real, defines, sizeof defines);
    size_t length = strlen(defines);
    snprintf(defines + length, sizeof defines - length, "-D N=%u -D D=%u", options->potential.num_particles,
             options->potential.space_dim);
    length = strlen(defines);
    if (kind->write_defines != NULL) kind->write_defines(options, defines + length, sizeof defines - length);
    snprintf(name, sizeof name, "prior%s", real->suffix);
    eqf__program *program;
    EQF__TRY(eqf__program_get(ctx, name, files, defines, &program));
    prior_out->program = program;
    EQF__TRY(eqf__kernel_create(ctx, program, "prior_sample", &prior_out->sample));
    EQF__TRY(eqf__kernel_create(ctx, program, "centre", &prior_out->centre));
    EQF__TRY(eqf__kernel_create(ctx, program, "add_noise", &prior_out->add_noise));
    EQF__TRY(eqf__kernel_create(ctx, program, "prior_log_prob", &prior_out->log_prob));
    EQF__TRY(eqf__kernel_create(ctx, program, "prior_score", &prior_out->score));
    EQF__TRY(eqf__kernel_create(ctx, program, "add_log_det", &prior_out->add_log_det));
    EQF__TRY(eqf__kernel_create(ctx, program, "nll_seed", &prior_out->seed));
    return eqf__kernel_create(ctx, program, "loss_sums", &prior_out->loss_sums);
}

void eqf__prior_clear(eqf__prior *prior) {
    eqf__kernel *kernels[] = {&prior->sample, &prior->centre,      &prior->add_noise, &prior->log_prob,
                              &prior->score,  &prior->add_log_det, &prior->seed,      &prior->loss_sums};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
    eqf__buffer_destroy(&prior->d_carry);
}

eqf_status eqf__prior_sample(const eqf__prior *prior, uint64_t seed, uint64_t first_sample, size_t num_blocks,
                             cl_mem d_x) {
    cl_uint low = (cl_uint)seed, high = (cl_uint)(seed >> 32), blocks = (cl_uint)num_blocks;
    cl_ulong first = first_sample;
    const eqf__real_argument scale = eqf__real_value(&prior->real, prior->scale);
    return EQF__LAUNCH(prior->ctx, &prior->sample, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(low), EQF__ARG(high),
                       EQF__ARG(first), EQF__REAL_ARG(&prior->real, scale), EQF__ARG(blocks));
}

eqf_status eqf__prior_add_noise(const eqf__prior *prior, uint64_t seed, uint64_t first_position, double scale,
                                size_t num_blocks, cl_mem d_x) {
    cl_uint low = (cl_uint)seed, high = (cl_uint)(seed >> 32), blocks = (cl_uint)num_blocks;
    cl_ulong first = first_position;
    const eqf__real_argument sd = eqf__real_value(&prior->real, scale);
    return EQF__LAUNCH(prior->ctx, &prior->add_noise, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(low), EQF__ARG(high),
                       EQF__ARG(first), EQF__REAL_ARG(&prior->real, sd), EQF__ARG(blocks));
}

eqf_status eqf__prior_centre(const eqf__prior *prior, size_t num_blocks, cl_mem d_x) {
    cl_uint blocks = (cl_uint)num_blocks;
    return EQF__LAUNCH(prior->ctx, &prior->centre, num_blocks, 0, EQF__ARG(d_x), EQF__ARG(blocks));
}

eqf_status eqf__prior_log_prob(const eqf__prior *prior, size_t num_blocks, cl_mem d_z, cl_mem d_log_det, double sign,
                               cl_mem d_log_prob) {
    cl_uint blocks = (cl_uint)num_blocks;
    const eqf__real_argument scale = eqf__real_value(&prior->real, prior->scale);
    const eqf__real_argument constant_term = eqf__real_value(&prior->real, prior->constant_term);
    const eqf__real_argument of_log_det = eqf__real_value(&prior->real, sign);
    return EQF__LAUNCH(prior->ctx, &prior->log_prob, num_blocks, 0, EQF__ARG(d_z), EQF__ARG(d_log_det),
                       EQF__ARG(d_log_prob), EQF__REAL_ARG(&prior->real, scale),
                       EQF__REAL_ARG(&prior->real, constant_term), EQF__REAL_ARG(&prior->real, of_log_det),
                       EQF__ARG(blocks));
}

eqf_status eqf__prior_score(const eqf__prior *prior, size_t num_blocks, cl_mem d_z, cl_mem d_score) {
    cl_uint blocks = (cl_uint)num_blocks;
    const eqf__real_argument scale = eqf__real_value(&prior->real, prior->scale);
    return EQF__LAUNCH(prior->ctx, &prior->score, num_blocks, 0, EQF__ARG(d_z), EQF__ARG(d_score),
                       EQF__REAL_ARG(&prior->real, scale), EQF__ARG(blocks));
}

eqf_status eqf__prior_add_log_det(const eqf__prior *prior, size_t num_blocks, cl_mem d_log_prob, cl_mem d_log_det,
                                  double sign) {
    cl_uint blocks = (cl_uint)num_blocks;
    const eqf__real_argument of_log_det = eqf__real_value(&prior->real, sign);
    return EQF__LAUNCH(prior->ctx, &prior->add_log_det, num_blocks, 0, EQF__ARG(d_log_prob), EQF__ARG(d_log_det),
                       EQF__REAL_ARG(&prior->real, of_log_det), EQF__ARG(blocks));
}

eqf_status eqf__prior_sum_losses(const eqf__prior *prior, size_t num_blocks, cl_mem d_value, cl_mem d_error,
                                 cl_mem d_weight, cl_mem d_sums, unsigned place) {
    const cl_uint blocks = (cl_uint)num_blocks, at = place;
    const cl_uint most = (cl_uint)eqf__budget_units(prior->ctx, 1, 0, blocks);
    for (cl_uint begin = 0; begin < blocks;) {
        const cl_uint end = blocks - begin < most ? blocks : begin + most;
        EQF__TRY(EQF__LAUNCH(prior->ctx, &prior->loss_sums, 1, 0, EQF__ARG(d_value), EQF__ARG(d_error),
                             EQF__ARG(d_weight), EQF__ARG(prior->d_carry), EQF__ARG(d_sums), EQF__ARG(at),
                             EQF__ARG(begin), EQF__ARG(end), EQF__ARG(blocks)));
        begin = end;
    }
    return EQF_OK;
}

eqf_status eqf__prior_seed_nll(const eqf__prior *prior, size_t batch_size, cl_mem d_z, cl_mem d_log_det,
                               cl_mem d_adjoint_z, cl_mem d_adjoint_log_det, cl_mem d_weight, cl_mem d_nll,
                               cl_mem d_error) {
    const size_t V = prior->real.vector_width, num_blocks = (batch_size + V - 1) / V;
    const cl_uint batch = (cl_uint)batch_size, blocks = (cl_uint)num_blocks;
    const eqf__real_argument scale = eqf__real_value(&prior->real, prior->scale);
    const eqf__real_argument constant_term = eqf__real_value(&prior->real, prior->constant_term);
    return EQF__LAUNCH(prior->ctx, &prior->seed, num_blocks, 0, EQF__ARG(d_z), EQF__ARG(d_log_det),
                       EQF__ARG(d_adjoint_z), EQF__ARG(d_adjoint_log_det), EQF__ARG(d_weight), EQF__ARG(d_nll),
                       EQF__ARG(d_error), EQF__REAL_ARG(&prior->real, scale),
                       EQF__REAL_ARG(&prior->real, constant_term), EQF__ARG(batch), EQF__ARG(blocks));
}
