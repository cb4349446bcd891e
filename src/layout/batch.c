#include "batch.h"

#include <stdlib.h>
#include <string.h>

eqf__array eqf__array_at(eqf__array array, size_t first) {
    return (eqf__array){array.single != NULL ? array.single + first : NULL,
                        array.twofold != NULL ? array.twofold + first : NULL};
}

/* The number of samples in about 8 MiB: enough work for any device, and it fits a CPU's last cache level. */
static size_t choose_chunk_size(const eqf__real *real, size_t num_dof) {
    const bool is_double = eqf__is_double(real);
    const size_t samples = ((size_t)8 << 20) / real->size / num_dof / 64 * 64, most = is_double ? 16384 : 32768;
    return samples == 0 ? 64 : samples < most ? samples : most;
}

eqf_status eqf__batch_create(eqf_context *ctx, eqf__program *program, const eqf__real *real, size_t num_dof,
                             size_t most_samples, eqf__batch *batch_out) {
    memset(batch_out, 0, sizeof *batch_out);
    batch_out->ctx = ctx;
    batch_out->real = *real;
    batch_out->num_dof = num_dof;
    batch_out->chunk_size = choose_chunk_size(real, num_dof);
    if (most_samples > 0 && most_samples < batch_out->chunk_size) batch_out->chunk_size = most_samples;
    const size_t bytes = eqf__batch_lanes(batch_out) * num_dof * real->size;
    EQF__TRY(eqf__kernel_create(ctx, program, "pack", &batch_out->pack));
    EQF__TRY(eqf__kernel_create(ctx, program, "unpack", &batch_out->unpack));
    EQF__TRY(eqf__buffer_create(ctx, bytes, NULL, "configurations", &batch_out->d_rows));
    return eqf__buffer_create(ctx, bytes, NULL, "configurations", &batch_out->d_x);
}

void eqf__batch_clear(eqf__batch *batch) {
    eqf__kernel_destroy(&batch->pack);
    eqf__kernel_destroy(&batch->unpack);
    eqf__buffer_destroy(&batch->d_rows);
    eqf__buffer_destroy(&batch->d_x);
    free(batch->h_other);
    memset(batch, 0, sizeof *batch);
}

eqf_status eqf__batch_pack(const eqf__batch *batch, size_t count, cl_mem d_rows, cl_mem d_blocked) {
    const cl_uint batch_size = (cl_uint)count, num_dof = (cl_uint)batch->num_dof;
    return EQF__LAUNCH(batch->ctx, &batch->pack, eqf__num_blocks(&batch->real, count), 0, EQF__ARG(d_rows),
                       EQF__ARG(d_blocked), EQF__ARG(batch_size), EQF__ARG(num_dof));
}

eqf_status eqf__batch_unpack(const eqf__batch *batch, size_t count, cl_mem d_blocked, cl_mem d_rows) {
    const cl_uint batch_size = (cl_uint)count, num_dof = (cl_uint)batch->num_dof;
    return EQF__LAUNCH(batch->ctx, &batch->unpack, eqf__num_blocks(&batch->real, count), 0, EQF__ARG(d_blocked),
                       EQF__ARG(d_rows), EQF__ARG(batch_size), EQF__ARG(num_dof));
}

/* ---- Precisions -------------------------------------------------------------------------------------------------- */

static bool is_of_device(const eqf__batch *batch, eqf__array array) {
    return (array.twofold != NULL) == eqf__is_double(&batch->real);
}

static eqf_status make_other(eqf__batch *batch) {
    if (batch->h_other != NULL) return EQF_OK;
    batch->h_other = eqf__alloc(batch->ctx, batch->chunk_size * batch->num_dof, batch->real.size, "configurations");
    return batch->h_other != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
}

static eqf_status write_numbers(eqf__batch *batch, size_t num, eqf__array values, cl_mem d_values) {
    const size_t num_bytes = num * batch->real.size;
    if (is_of_device(batch, values))
        return eqf__buffer_write(batch->ctx, d_values, 0, num_bytes,
                                 values.twofold != NULL ? (const void *)values.twofold : values.single);
    EQF__TRY(make_other(batch));
    for (size_t i = 0; i < num; i++)
        if (eqf__is_double(&batch->real))
            ((double *)batch->h_other)[i] = values.single[i];
        else
            ((float *)batch->h_other)[i] = (float)values.twofold[i];
    return eqf__buffer_write(batch->ctx, d_values, 0, num_bytes, batch->h_other);
}

static eqf_status read_numbers(eqf__batch *batch, size_t num, cl_mem d_values, eqf__array values_out) {
    const size_t num_bytes = num * batch->real.size;
    if (is_of_device(batch, values_out))
        return eqf__buffer_read(batch->ctx, d_values, 0, num_bytes,
                                values_out.twofold != NULL ? (void *)values_out.twofold : values_out.single);
    EQF__TRY(make_other(batch));
    EQF__TRY(eqf__buffer_read(batch->ctx, d_values, 0, num_bytes, batch->h_other));
    for (size_t i = 0; i < num; i++)
        if (eqf__is_double(&batch->real))
            values_out.single[i] = (float)((double *)batch->h_other)[i];
        else
            values_out.twofold[i] = ((float *)batch->h_other)[i];
    return EQF_OK;
}

/* ---- Chunks ------------------------------------------------------------------------------------------------------ */

eqf_status eqf__batch_upload(eqf__batch *batch, size_t count, eqf__array rows) {
    EQF__TRY(write_numbers(batch, count * batch->num_dof, rows, batch->d_rows));
    return eqf__batch_pack(batch, count, batch->d_rows, batch->d_x);
}

eqf_status eqf__batch_download(eqf__batch *batch, size_t count, cl_mem d_blocked, eqf__array rows_out) {
    if (!eqf__array_is_wanted(rows_out)) return EQF_OK;
    EQF__TRY(eqf__batch_unpack(batch, count, d_blocked, batch->d_rows));
    return read_numbers(batch, count * batch->num_dof, batch->d_rows, rows_out);
}

eqf_status eqf__batch_read(eqf__batch *batch, size_t count, cl_mem d_numbers, eqf__array numbers_out) {
    return eqf__array_is_wanted(numbers_out) ? read_numbers(batch, count, d_numbers, numbers_out) : EQF_OK;
}

eqf_status eqf__batch_zero(const eqf__batch *batch, size_t count, cl_mem d_numbers) {
    return eqf__fill_zero(batch->ctx, d_numbers,
                          eqf__num_blocks(&batch->real, count) * batch->real.vector_width * batch->real.size);
}
