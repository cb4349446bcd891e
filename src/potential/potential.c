/* Potentials on the device: batches of energies and forces. */
#include "eqflow/potential.h"

#include <stdlib.h>

#include "budget.h"
#include "ocl.h"
#include "potential.h"
#include "program.h"

/* Samples evaluated in one go: bounds the device memory. */
#define CHUNK_REALS ((size_t)1 << 23)

typedef struct evaluation {
    eqf__program *program;
    eqf__kernel pack, unpack, energy, force;
    cl_mem x, x_blocked, result, result_blocked;
} evaluation;

static void evaluation_clear(evaluation *work) {
    eqf__kernel_destroy(&work->pack);
    eqf__kernel_destroy(&work->unpack);
    eqf__kernel_destroy(&work->energy);
    eqf__kernel_destroy(&work->force);
    eqf__buffer_destroy(&work->x);
    eqf__buffer_destroy(&work->x_blocked);
    eqf__buffer_destroy(&work->result);
    eqf__buffer_destroy(&work->result_blocked);
}

/* A configuration's energy and force are a work-item's: pairs and their coordinates, and passes over all coordinates. A
 * user's text may loop otherwise, but is likely to be such a sum. */
static eqf_status check_budget(eqf_context *ctx, const eqf_potential_options *potential) {
    const uint64_t N = potential->num_particles, D = potential->space_dim;
    if (eqf__budget_units(ctx, N * (N - 1) / 2 * (2 * D + 1) + 4 * N * D, 0, 1) > 0) return EQF_OK;
    return eqf__budget_refuse(ctx, "energy", potential->num_particles, "");
}

eqf_status eqf__potential_program(eqf_context *ctx, const eqf_potential_options *potential,
                                  eqf__program **program_out) {
    char defines[EQF__POTENTIAL_DEFINES_SIZE];
    EQF__TRY(eqf__potential_program_defines(ctx, potential, defines, sizeof defines));
    const char *files[] = {"common/real.clh", EQF__POTENTIAL_FILES(ctx, potential), "potential/energy.cl",
                           "common/pack.cl", NULL};
    return eqf__program_get(ctx, "potential", files, defines, program_out);
}

static eqf_status evaluation_prepare(eqf_context *ctx, const eqf_potential_options *potential, size_t chunk,
                                     bool has_force, evaluation *work) {
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    EQF__TRY(check_budget(ctx, potential));
    EQF__TRY(eqf__potential_program(ctx, potential, &work->program));
    eqf__program *program = work->program;
    EQF__TRY(eqf__kernel_create(ctx, program, "pack", &work->pack));
    EQF__TRY(eqf__kernel_create(ctx, program, "unpack", &work->unpack));
    EQF__TRY(eqf__kernel_create(ctx, program, "evaluate_energy", &work->energy));
    EQF__TRY(eqf__kernel_create(ctx, program, "evaluate_force", &work->force));
    size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    size_t padded = (chunk + device->vector_width - 1) / device->vector_width * device->vector_width;
    size_t result_reals = padded * (has_force ? num_dof : 1);
    EQF__TRY(eqf__buffer_create(ctx, padded * num_dof * sizeof(float), NULL, "the configurations", &work->x));
    EQF__TRY(eqf__buffer_create(ctx, padded * num_dof * sizeof(float), NULL, "the configurations", &work->x_blocked));
    EQF__TRY(eqf__buffer_create(ctx, result_reals * sizeof(float), NULL, "the energies and forces", &work->result));
    return eqf__buffer_create(ctx, result_reals * sizeof(float), NULL, "the energies and forces",
                              &work->result_blocked);
}

/* x [batch_size, N*D] -> energy_out [batch_size] or NULL, force_out [batch_size, N*D] or NULL, batch_size at most a
 * chunk. */
static eqf_status evaluate_chunk(eqf_context *ctx, const evaluation *work, cl_uint batch_size, cl_uint num_dof,
                                 const float *x, float *energy_out, float *force_out) {
    unsigned V = ctx->device->vector_width;
    cl_uint num_blocks = (batch_size + V - 1) / V, one = 1;
    EQF__TRY(eqf__buffer_write(ctx, work->x, 0, (size_t)batch_size * num_dof * sizeof(float), x));
    EQF__TRY(EQF__LAUNCH(ctx, &work->pack, num_blocks, 0, EQF__ARG(work->x), EQF__ARG(work->x_blocked),
                         EQF__ARG(batch_size), EQF__ARG(num_dof)));
    if (energy_out != NULL) {
        EQF__TRY(EQF__LAUNCH(ctx, &work->energy, num_blocks, 0, EQF__ARG(work->x_blocked),
                             EQF__ARG(work->result_blocked), EQF__ARG(num_blocks)));
        EQF__TRY(EQF__LAUNCH(ctx, &work->unpack, num_blocks, 0, EQF__ARG(work->result_blocked),
                             EQF__ARG(work->result), EQF__ARG(batch_size), EQF__ARG(one)));
        EQF__TRY(eqf__buffer_read(ctx, work->result, 0, (size_t)batch_size * sizeof(float), energy_out));
    }
    if (force_out != NULL) {
        EQF__TRY(EQF__LAUNCH(ctx, &work->force, num_blocks, 0, EQF__ARG(work->x_blocked),
                             EQF__ARG(work->result_blocked), EQF__ARG(num_blocks)));
        EQF__TRY(EQF__LAUNCH(ctx, &work->unpack, num_blocks, 0, EQF__ARG(work->result_blocked),
                             EQF__ARG(work->result), EQF__ARG(batch_size), EQF__ARG(num_dof)));
        EQF__TRY(eqf__buffer_read(ctx, work->result, 0, (size_t)batch_size * num_dof * sizeof(float), force_out));
    }
    return EQF_OK;
}

eqf_status eqf__potential_evaluate(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size,
                                  const float *x, float *energy_out, float *force_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(eqf_potential_check(ctx, potential));
    if (batch_size == 0 || (energy_out == NULL && force_out == NULL)) return EQF_OK;
    if (x == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "no configurations: x is NULL");
    size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    size_t chunk = num_dof < CHUNK_REALS ? CHUNK_REALS / num_dof : 1;
    if (chunk > batch_size) chunk = batch_size;

    evaluation work = {0};
    eqf_status status = evaluation_prepare(ctx, potential, chunk, force_out != NULL, &work);
    eqf__pieces pieces = {0};
    for (size_t first = 0, count; status == EQF_OK && first < batch_size; first += count) {
        count = eqf__next_piece(ctx, &pieces, chunk, batch_size, first);
        status = eqf__progress(ctx, "energies", (double)first, (double)batch_size);
        if (status == EQF_OK)
            status = evaluate_chunk(ctx, &work, (cl_uint)count, (cl_uint)num_dof, x + first * num_dof,
                                    energy_out == NULL ? NULL : energy_out + first,
                                    force_out == NULL ? NULL : force_out + first * num_dof);
    }
    evaluation_clear(&work);
    return status;
}
