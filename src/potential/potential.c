/* Potentials on the device: batches of energies and forces. */
#include "eqflow/potential.h"

#include <string.h>

#include "batch.h"
#include "budget.h"
#include "ocl.h"
#include "potential.h"
#include "program.h"

enum { ENERGY_ARRAYS = 2 }; /* configurations in cl/potential/energy.cl: x and force */

typedef struct evaluation {
    eqf__program *program;
    eqf__kernel energy, force;
    eqf__batch batch;
    cl_mem d_energy, d_force; /* [blocks][V], [blocks][N*D][V]; NULL if not computed */
} evaluation;

static void evaluation_clear(evaluation *work) {
    eqf__kernel_destroy(&work->energy);
    eqf__kernel_destroy(&work->force);
    eqf__batch_clear(&work->batch);
    eqf__buffer_destroy(&work->d_energy);
    eqf__buffer_destroy(&work->d_force);
}

/* A work-item computes a block: loop turns over pairs and their coordinates, and over all coordinates. The loops of a
 * user's text are not known, but are probably such sums. */
static eqf_status check_budget(eqf_context *ctx, const eqf_potential_options *potential) {
    const uint64_t N = potential->num_particles, D = potential->space_dim;
    if (eqf__budget_units(ctx, N * (N - 1) / 2 * (2 * D + 1) + 4 * N * D, 0, 1) > 0) return EQF_OK;
    return eqf__budget_refuse(ctx, "energy", potential->num_particles, "");
}

/* At most 64 work-items; drivers use some of a group's local memory, so this takes seven eighths of it. */
unsigned eqf__potential_local_items(const eqf_context *ctx, const eqf_potential_options *potential,
                                    size_t bytes_of_number) {
    const eqf__device *device = ctx->device;
    const uint64_t room = device->info.local_memory_bytes / 8 * 7,
                   state = bytes_of_number * potential->num_particles * potential->space_dim;
    if (device->vector_width != 1 || !device->has_fast_local_memory || !eqf__potential_is_pair_sum(potential)) return 0;
    for (unsigned items = 64; items >= 8; items /= 2)
        if (items * state <= room && items <= device->info.max_work_group_size) return items;
    return 0;
}

unsigned eqf__potential_define_local(const eqf_context *ctx, const eqf_potential_options *potential,
                                     size_t bytes_of_number, char *defines, size_t size) {
    const uint64_t numbers = (uint64_t)potential->num_particles * potential->space_dim;
    const unsigned items =
        numbers > ctx->device->private_numbers ? eqf__potential_local_items(ctx, potential, bytes_of_number) : 0;
    const size_t length = strlen(defines);
    if (items > 0) snprintf(defines + length, size - length, " -D LOCAL_CHAINS=%u", items);
    return items;
}

eqf_status eqf__potential_program(eqf_context *ctx, const eqf_potential_options *potential,
                                  eqf__program **program_out) {
    char defines[EQF__POTENTIAL_DEFINES_SIZE + EQF__LOCAL_DEFINE_SIZE];
    EQF__TRY(eqf__potential_program_defines(ctx, potential, defines, EQF__POTENTIAL_DEFINES_SIZE));
    eqf__potential_define_local(ctx, potential, ENERGY_ARRAYS * sizeof(float), defines, sizeof defines);
    const char *files[] = {"common/real.clh", EQF__POTENTIAL_FILES(ctx, potential), "potential/energy.cl",
                           "common/pack.cl", NULL};
    return eqf__program_get(ctx, "potential", files, defines, program_out);
}

static eqf_status evaluation_prepare(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size,
                                     bool has_energy, bool has_force, evaluation *work) {
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    EQF__TRY(check_budget(ctx, potential));
    EQF__TRY(eqf__potential_program(ctx, potential, &work->program));
    EQF__TRY(eqf__kernel_create(ctx, work->program, "evaluate_energy", &work->energy));
    EQF__TRY(eqf__kernel_create(ctx, work->program, "evaluate_force", &work->force));
    char defines[EQF__LOCAL_DEFINE_SIZE] = "";
    work->energy.group_size = work->force.group_size =
        eqf__potential_define_local(ctx, potential, ENERGY_ARRAYS * sizeof(float), defines, sizeof defines);
    const eqf__real real = eqf__real_float(device);
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    EQF__TRY(eqf__batch_create(ctx, work->program, &real, num_dof, batch_size, &work->batch));
    const size_t bytes = eqf__batch_lanes(&work->batch) * real.size;
    if (has_energy) EQF__TRY(eqf__buffer_create(ctx, bytes, NULL, "the energies", &work->d_energy));
    return has_force ? eqf__buffer_create(ctx, bytes * num_dof, NULL, "the forces", &work->d_force) : EQF_OK;
}

/* x [count, N*D] -> energy_out [count] or NULL, force_out [count, N*D] or NULL, count at most a chunk. */
static eqf_status evaluate_chunk(eqf_context *ctx, evaluation *work, size_t count, const float *x, float *energy_out,
                                 float *force_out) {
    eqf__batch *batch = &work->batch;
    cl_uint num_blocks = (cl_uint)eqf__num_blocks(&batch->real, count);
    EQF__TRY(eqf__batch_upload(batch, count, eqf__floats(x)));
    if (energy_out != NULL) {
        EQF__TRY(EQF__LAUNCH(ctx, &work->energy, num_blocks, 0, EQF__ARG(batch->d_x), EQF__ARG(work->d_energy),
                             EQF__ARG(num_blocks)));
        EQF__TRY(eqf__batch_read(batch, count, work->d_energy, eqf__floats(energy_out)));
    }
    if (force_out == NULL) return EQF_OK;
    EQF__TRY(EQF__LAUNCH(ctx, &work->force, num_blocks, 0, EQF__ARG(batch->d_x), EQF__ARG(work->d_force),
                         EQF__ARG(num_blocks)));
    return eqf__batch_download(batch, count, work->d_force, eqf__floats(force_out));
}

eqf_status eqf__potential_evaluate(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size,
                                   const float *x, float *energy_out, float *force_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(eqf_potential_check(ctx, potential));
    if (batch_size == 0 || (energy_out == NULL && force_out == NULL)) return EQF_OK;
    if (x == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "no configurations: x is NULL");
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;

    evaluation work = {0};
    eqf_status status = evaluation_prepare(ctx, potential, batch_size, energy_out != NULL, force_out != NULL, &work);
    for (size_t first = 0, count; status == EQF_OK && first < batch_size; first += count) {
        count = eqf__batch_next(&work.batch, batch_size, first);
        status = eqf__progress(ctx, "energies", (double)first, (double)batch_size);
        if (status == EQF_OK)
            status =
                evaluate_chunk(ctx, &work, count, x + first * num_dof, energy_out == NULL ? NULL : energy_out + first,
                               force_out == NULL ? NULL : force_out + first * num_dof);
    }
    evaluation_clear(&work);
    return status;
}
