/* Moves of single particles: memory, launches, and the way between rows of the host and blocks of the device. */
#include "particles.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "mcmc_internal.h"

/* ---- Create and destroy ------------------------------------------------------------------------------------------ */

static eqf_status create_kernels(eqf__particles *p, const eqf_potential_options *target,
                                 const eqf_potential_options *start) {
    eqf__program *program;
    unsigned launch_sweeps;
    EQF__TRY(eqf__mcmc_launch_sweeps(p->ctx, target, &launch_sweeps));
    EQF__TRY(eqf__mcmc_program(p->ctx, target, "particle", "mcmc/particle.cl", &program));
    EQF__TRY(eqf__kernel_create(p->ctx, program, "particle_place", &p->kernels.place));
    EQF__TRY(eqf__kernel_create(p->ctx, program, "particle_accept", &p->kernels.accept));
    p->kernels.group_target = eqf__mcmc_local_chains(p->ctx, target);
    if (start == NULL) start = target;
    EQF__TRY(eqf__mcmc_program(p->ctx, start, "particle", "mcmc/particle.cl", &program));
    p->kernels.group_start = eqf__mcmc_local_chains(p->ctx, start);
    return eqf__kernel_create(p->ctx, program, "particle_change", &p->kernels.change);
}

static eqf_status create_buffers(eqf__particles *p) {
    eqf_context *ctx = p->ctx;
    const size_t reals = p->lanes * sizeof(float), row = p->num_dof * sizeof(float);
    EQF__TRY(eqf__buffer_create(ctx, p->lanes * row, NULL, "the configurations", &p->x_blocked));
    EQF__TRY(eqf__buffer_create(ctx, p->num * row, NULL, "the proposed configurations", &p->rows));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "their energies", &p->before));
    EQF__TRY(eqf__buffer_create(ctx, reals, NULL, "their energies", &p->after));
    EQF__TRY(eqf__buffer_create(ctx, p->lanes * sizeof(cl_uint), NULL, "the counts of moves", &p->accepted));
    p->h_blocked = eqf__alloc(ctx, p->lanes, row, "the configurations");
    p->h_numbers = p->h_blocked == NULL ? NULL : eqf__alloc(ctx, p->lanes, sizeof(float), "their energies");
    p->h_counts = p->h_numbers == NULL ? NULL : eqf__alloc(ctx, p->lanes, sizeof(cl_uint), "the counts of moves");
    return p->h_counts == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
}

eqf_status eqf__particles_create(eqf__checker *checker, const eqf_potential_options *target,
                                 const eqf_potential_options *start, size_t num, eqf__particles *particles_out) {
    eqf_context *ctx = checker->ctx;
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    const unsigned V = device->vector_width;
    eqf__particles *p = particles_out;
    *p = (eqf__particles){.ctx = ctx,
                          .has_start = start != NULL,
                          .num = num,
                          .num_dof = (size_t)target->num_particles * target->space_dim,
                          .num_blocks = (cl_uint)((num + V - 1) / V)};
    p->lanes = (size_t)p->num_blocks * V;
    eqf_status status = create_kernels(p, target, start);
    if (status == EQF_OK) status = eqf__check_particles(checker, target, start != NULL ? start : target, &p->kernels);
    if (status == EQF_OK) status = create_buffers(p);
    if (status != EQF_OK) eqf__particles_clear(p);
    return status;
}

void eqf__particles_clear(eqf__particles *p) {
    eqf__kernel *kernels[] = {&p->kernels.place, &p->kernels.change, &p->kernels.accept};
    cl_mem *buffers[] = {&p->x_blocked, &p->rows, &p->before, &p->after, &p->accepted};
    for (size_t k = 0; k < sizeof kernels / sizeof kernels[0]; k++) eqf__kernel_destroy(kernels[k]);
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    free(p->h_blocked);
    free(p->h_numbers);
    free(p->h_counts);
    memset(p, 0, sizeof *p);
}

/* ---- Moves ------------------------------------------------------------------------------------------------------- */

/* Padding lanes repeat the last configuration. */
static size_t configuration_of(const eqf__particles *p, size_t lane) {
    return lane < p->num ? lane : p->num - 1;
}

static eqf_status write_numbers(eqf__particles *p, const float *numbers, cl_mem buffer) {
    for (size_t lane = 0; lane < p->lanes; lane++) {
        const float number = numbers[configuration_of(p, lane)];
        p->h_numbers[lane] = isfinite(number) ? number : INFINITY; /* zero density */
    }
    return eqf__buffer_write(p->ctx, buffer, 0, p->lanes * sizeof(float), p->h_numbers);
}

eqf_status eqf__particles_put(eqf__particles *p, const float *x, const float *start_energy) {
    const size_t V = p->ctx->device->vector_width, num_dof = p->num_dof;
    for (size_t lane = 0; lane < p->lanes; lane++)
        for (size_t c = 0; c < num_dof; c++)
            p->h_blocked[(lane / V * num_dof + c) * V + lane % V] = x[configuration_of(p, lane) * num_dof + c];
    EQF__TRY(eqf__buffer_write(p->ctx, p->x_blocked, 0, p->lanes * num_dof * sizeof(float), p->h_blocked));
    p->num_proposed = 0;
    EQF__TRY(eqf__fill_zero(p->ctx, p->accepted, p->lanes * sizeof(cl_uint)));
    return start_energy != NULL ? write_numbers(p, start_energy, p->before)
                                : eqf__fill_zero(p->ctx, p->before, p->lanes * sizeof(float));
}

eqf_status eqf__particles_propose(eqf__particles *p, const eqf__particle_move *move, float *x_out) {
    cl_uint num_blocks = p->num_blocks, num = (cl_uint)p->num, step = move->step, number = move->move,
            particle = move->particle, seed_low = (cl_uint)move->seed, seed_high = (cl_uint)(move->seed >> 32);
    cl_float step_size = (cl_float)move->step_size;
    EQF__TRY(EQF__LAUNCH(p->ctx, &p->kernels.place, num_blocks, p->kernels.group_target, EQF__ARG(p->x_blocked),
                         EQF__ARG(p->rows), EQF__ARG(num_blocks), EQF__ARG(num), EQF__ARG(seed_low),
                         EQF__ARG(seed_high), EQF__ARG(step), EQF__ARG(number), EQF__ARG(particle),
                         EQF__ARG(step_size)));
    return eqf__buffer_read(p->ctx, p->rows, 0, p->num * p->num_dof * sizeof(float), x_out);
}

eqf_status eqf__particles_decide(eqf__particles *p, const eqf__particle_move *move, const float *start_energy) {
    cl_uint num_blocks = p->num_blocks, step = move->step, number = move->move, particle = move->particle,
            seed_low = (cl_uint)move->seed, seed_high = (cl_uint)(move->seed >> 32), is_whole = !p->has_start;
    cl_float step_size = (cl_float)move->step_size, share_start = (cl_float)move->share_start,
             share_target = (cl_float)move->share_target;
    if (start_energy != NULL) EQF__TRY(write_numbers(p, start_energy, p->after));
    if (p->has_start && share_start > 0)
        EQF__TRY(EQF__LAUNCH(p->ctx, &p->kernels.change, num_blocks, p->kernels.group_start, EQF__ARG(p->x_blocked),
                             EQF__ARG(p->after), EQF__ARG(num_blocks), EQF__ARG(seed_low), EQF__ARG(seed_high),
                             EQF__ARG(step), EQF__ARG(number), EQF__ARG(particle), EQF__ARG(step_size)));
    p->num_proposed += (double)p->num;
    return EQF__LAUNCH(p->ctx, &p->kernels.accept, num_blocks, p->kernels.group_target, EQF__ARG(p->x_blocked),
                       EQF__ARG(p->before), EQF__ARG(p->after), EQF__ARG(p->accepted), EQF__ARG(num_blocks),
                       EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(step), EQF__ARG(number), EQF__ARG(particle),
                       EQF__ARG(step_size), EQF__ARG(share_start), EQF__ARG(share_target), EQF__ARG(is_whole));
}

eqf_status eqf__particles_take(eqf__particles *p, float *x_out, float *start_energy_out, double *acceptance_out) {
    const size_t V = p->ctx->device->vector_width, num_dof = p->num_dof;
    EQF__TRY(eqf__buffer_read(p->ctx, p->x_blocked, 0, p->lanes * num_dof * sizeof(float), p->h_blocked));
    for (size_t b = 0; b < p->num; b++)
        for (size_t c = 0; c < num_dof; c++) x_out[b * num_dof + c] = p->h_blocked[(b / V * num_dof + c) * V + b % V];
    if (start_energy_out != NULL)
        EQF__TRY(eqf__buffer_read(p->ctx, p->before, 0, p->num * sizeof(float), start_energy_out));
    EQF__TRY(eqf__buffer_read(p->ctx, p->accepted, 0, p->lanes * sizeof(cl_uint), p->h_counts));
    double taken = 0;
    for (size_t b = 0; b < p->num; b++) taken += p->h_counts[b];
    *acceptance_out = p->num_proposed > 0 ? taken / p->num_proposed : 0;
    return EQF_OK;
}
