/* Checkpoints: all that training needs to go on bit for bit, in one safetensors file (docs/file-formats.md). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/train.h"
#include "eqflow/version.h"
#include "tensor_file.h"
#include "train_internal.h"

/* Positions in the tensor "counts" (U64) and "numbers" (F64). */
enum { COUNT_FINGERPRINT, COUNT_STEP, COUNT_BEST_STEP, COUNT_RESOLUTION, COUNT_CHECKSUM, NUM_COUNTS };
enum {
    NUMBER_SECONDS,
    NUMBER_HELD_OUT,
    NUMBER_BEST,
    NUMBER_LEARNING_RATE,
    NUMBER_HELD_OUT_FREE_ENERGY,
    NUMBER_BEST_FREE_ENERGY,
    NUMBER_BEST_LOSS,
    NUMBER_ROW_TOTALS,
    NUM_NUMBERS = NUMBER_ROW_TOTALS + EQF__NUM_TOTALS
};
enum { ROW_WIDTH = 9 };
static const char checkpoint_metadata[] =
    "{\"kind\":\"checkpoint\",\"format_version\":4,\"library_version\":\"" EQF_VERSION_TEXT "\"}";

static eqf_status read_params(eqf_trainer *trainer, cl_mem buffer, size_t count, float **params_out) {
    *params_out = eqf__alloc(trainer->ctx, count, sizeof(float), "the checkpoint");
    if (*params_out == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    return eqf__buffer_read(trainer->ctx, buffer, 0, count * sizeof(float), *params_out);
}

static eqf_status copy_history(eqf_trainer *trainer, double **rows_out, size_t *num_rows_out) {
    const eqf_history_row *rows = eqf_model_history(trainer->model, num_rows_out);
    double *numbers = eqf__alloc(trainer->ctx, *num_rows_out * ROW_WIDTH, sizeof *numbers, "the checkpoint");
    *rows_out = numbers;
    if (numbers == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t r = 0; r < *num_rows_out; r++) {
        const double row[ROW_WIDTH] = {(double)rows[r].step,  rows[r].seconds,       rows[r].loss,
                                       rows[r].nll,           rows[r].held_out_nll,  rows[r].gradient_norm,
                                       rows[r].learning_rate, rows[r].free_energy,   rows[r].held_out_free_energy};
        memcpy(numbers + r * ROW_WIDTH, row, sizeof row);
    }
    return EQF_OK;
}

/* Of the counts before it and all else in the file. A damaged number would go on as a training that diverges. history NULL: none. */
static uint64_t checksum_of(const eqf_trainer *trainer, const uint64_t *counts, const double *numbers,
                            const void *const vectors[4], const void *best_params, const void *history, size_t num_rows) {
    uint64_t hash = eqf__fingerprint(EQF__FINGERPRINT_START, counts, COUNT_CHECKSUM * sizeof *counts);
    hash = eqf__fingerprint(hash, numbers, NUM_NUMBERS * sizeof *numbers);
    for (size_t v = 0; v < 4; v++)
        hash = eqf__fingerprint(hash, vectors[v],
                                (v == 0 ? trainer->num_params : trainer->num_trained) * sizeof(float));
    hash = eqf__fingerprint(hash, best_params, trainer->num_params * sizeof(float));
    return eqf__fingerprint(hash, history, num_rows * ROW_WIDTH * sizeof(double));
}

static eqf_status write_checkpoint(eqf_trainer *trainer, const char *path, float *const vectors[4], const double *rows,
                                   size_t num_rows) {
    uint64_t counts[NUM_COUNTS] = {trainer->fingerprint, trainer->step, trainer->best_step,
                                   trainer->flow->field->resolution};
    double numbers[NUM_NUMBERS] = {trainer->seconds,       trainer->held_out_nll,         trainer->best_nll,
                                   trainer->learning_rate, trainer->held_out_free_energy, trainer->best_free_energy,
                                   trainer->best_loss};
    memcpy(numbers + NUMBER_ROW_TOTALS, trainer->row_totals, sizeof trainer->row_totals);
    const void *const content[4] = {vectors[0], vectors[1], vectors[2], vectors[3]};
    counts[COUNT_CHECKSUM] = checksum_of(trainer, counts, numbers, content, trainer->best_params, rows, num_rows);
    const size_t n = trainer->num_trained;
    const eqf__tensor tensors[] = {
        {"params", EQF__TENSOR_F32, 1, {trainer->num_params}, vectors[0]},
        {"first_moment", EQF__TENSOR_F32, 1, {n}, vectors[1]},
        {"second_moment", EQF__TENSOR_F32, 1, {n}, vectors[2]},
        {"average", EQF__TENSOR_F32, 1, {n}, vectors[3]},
        {"best_params", EQF__TENSOR_F32, 1, {trainer->num_params}, trainer->best_params},
        {"counts", EQF__TENSOR_U64, 1, {NUM_COUNTS}, counts},
        {"numbers", EQF__TENSOR_F64, 1, {NUM_NUMBERS}, numbers},
        {"history", EQF__TENSOR_F64, 2, {num_rows, ROW_WIDTH}, rows},
    };
    /* An empty history has no tensor: safetensors readers differ on empty ones. */
    const size_t num_tensors = sizeof tensors / sizeof tensors[0] - (num_rows == 0 ? 1 : 0);
    return eqf__tensor_file_write(trainer->ctx, path, checkpoint_metadata, num_tensors, tensors);
}

eqf_status eqf_trainer_save_checkpoint(eqf_trainer *trainer, const char *path) {
    float *vectors[4] = {NULL, NULL, NULL, NULL};
    double *rows = NULL;
    size_t num_rows = 0;
    const cl_mem buffers[4] = {trainer->flow->field->d_params, trainer->d_first_moment, trainer->d_second_moment,
                               trainer->d_average};
    eqf_status status = EQF_OK;
    for (size_t v = 0; v < 4 && status == EQF_OK; v++)
        status = read_params(trainer, buffers[v], v == 0 ? trainer->num_params : trainer->num_trained, &vectors[v]);
    if (status == EQF_OK) status = copy_history(trainer, &rows, &num_rows);
    if (status == EQF_OK) status = write_checkpoint(trainer, path, vectors, rows, num_rows);
    for (size_t v = 0; v < 4; v++) free(vectors[v]);
    free(rows);
    return status;
}

/* The tensor of that name, type and count, or a FORMAT error. */
static eqf_status need(eqf_trainer *trainer, const char *path, const eqf__tensor_file *file, const char *name,
                       eqf__tensor_type type, size_t count, const void **data_out) {
    *data_out = NULL;
    const eqf__tensor *tensor = eqf__tensor_file_find(file, name);
    if (tensor == NULL || tensor->type != type || tensor->num_dims != 1 || tensor->shape[0] != count)
        return eqf__fail(trainer->ctx, EQF_ERROR_FORMAT,
                         "%s is not a checkpoint of this training: tensor '%s' is missing or of another shape", path,
                         name);
    *data_out = tensor->data;
    return EQF_OK;
}

static eqf_status restore(eqf_trainer *trainer, const char *path, const eqf__tensor_file *file) {
    eqf_context *ctx = trainer->ctx;
    if (file->metadata_json == NULL || strstr(file->metadata_json, "\"checkpoint\"") == NULL)
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is not an eqflow checkpoint", path);
    const void *counts_data, *numbers_data, *vectors[4], *best;
    EQF__TRY(need(trainer, path, file, "counts", EQF__TENSOR_U64, NUM_COUNTS, &counts_data));
    EQF__TRY(need(trainer, path, file, "numbers", EQF__TENSOR_F64, NUM_NUMBERS, &numbers_data));
    uint64_t counts[NUM_COUNTS];
    double numbers[NUM_NUMBERS];
    memcpy(counts, counts_data, sizeof counts);
    memcpy(numbers, numbers_data, sizeof numbers);
    if (counts[COUNT_FINGERPRINT] != trainer->fingerprint)
        return eqf__fail(
            ctx, EQF_ERROR_INVALID_ARGUMENT,
            "%s was made with another model, other options or other data: give the same ones, or train anew "
            "without --resume",
            path);
    if (counts[COUNT_STEP] > trainer->options.num_steps || counts[COUNT_RESOLUTION] > 1u << 20)
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is damaged: it counts %llu steps", path,
                         (unsigned long long)counts[COUNT_STEP]);
    static const char *const names[4] = {"params", "first_moment", "second_moment", "average"};
    for (size_t v = 0; v < 4; v++)
        EQF__TRY(need(trainer, path, file, names[v], EQF__TENSOR_F32,
                      v == 0 ? trainer->num_params : trainer->num_trained, &vectors[v]));
    EQF__TRY(need(trainer, path, file, "best_params", EQF__TENSOR_F32, trainer->num_params, &best));
    const eqf__tensor *history = eqf__tensor_file_find(file, "history");
    if (history != NULL &&
        (history->type != EQF__TENSOR_F64 || history->num_dims != 2 || history->shape[1] != ROW_WIDTH))
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is damaged: its history has another shape", path);
    if (counts[COUNT_CHECKSUM] != checksum_of(trainer, counts, numbers, vectors, best,
                                              history != NULL ? history->data : NULL,
                                              history != NULL ? history->shape[0] : 0))
        return eqf__fail(ctx, EQF_ERROR_FORMAT,
                         "%s is damaged: its content does not match its checksum: take another copy, or train anew "
                         "without --resume",
                         path);

    eqf__field *field = trainer->flow->field;
    EQF__TRY(eqf__field_set_resolution(field, (unsigned)counts[COUNT_RESOLUTION]));
    EQF__TRY(eqf__flow_reassemble(trainer->flow));
    EQF__TRY(eqf__trainer_create_workspace(trainer));
    const cl_mem buffers[4] = {field->d_params, trainer->d_first_moment, trainer->d_second_moment, trainer->d_average};
    for (size_t v = 0; v < 4; v++)
        EQF__TRY(eqf__buffer_write(ctx, buffers[v], 0,
                                   (v == 0 ? trainer->num_params : trainer->num_trained) * sizeof(float), vectors[v]));
    memcpy(trainer->best_params, best, trainer->num_params * sizeof(float));
    trainer->step = counts[COUNT_STEP];
    trainer->best_step = counts[COUNT_BEST_STEP];
    trainer->seconds = numbers[NUMBER_SECONDS];
    trainer->held_out_nll = numbers[NUMBER_HELD_OUT];
    trainer->best_nll = numbers[NUMBER_BEST];
    trainer->learning_rate = numbers[NUMBER_LEARNING_RATE];
    trainer->held_out_free_energy = numbers[NUMBER_HELD_OUT_FREE_ENERGY];
    trainer->best_free_energy = numbers[NUMBER_BEST_FREE_ENERGY];
    trainer->best_loss = numbers[NUMBER_BEST_LOSS];
    memcpy(trainer->row_totals, numbers + NUMBER_ROW_TOTALS, sizeof trainer->row_totals);
    for (size_t r = 0; history != NULL && r < history->shape[0]; r++) {
        double v[ROW_WIDTH];
        memcpy(v, (const char *)history->data + r * sizeof v, sizeof v);
        if (!(v[0] >= 0 && v[0] <= (double)trainer->options.num_steps))
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is damaged: its history has a step %g", path, v[0]);
        const eqf_history_row row = {(uint64_t)v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7], v[8]};
        EQF__TRY(eqf_model_add_history(ctx, trainer->model, &row));
    }
    return EQF_OK;
}

eqf_status eqf_trainer_restore_checkpoint(eqf_trainer *trainer, const char *path) {
    if (trainer->step > 0)
        return eqf__fail(trainer->ctx, EQF_ERROR_INVALID_ARGUMENT, "a checkpoint is restored before the first step");
    eqf__tensor_file file;
    EQF__TRY(eqf__tensor_file_read(trainer->ctx, path, &file));
    eqf_status status = restore(trainer, path, &file);
    eqf__tensor_file_clear(&file);
    return status;
}
