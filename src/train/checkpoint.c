/* Checkpoints: all that training needs to go on bit for bit, in one safetensors file (docs/file-formats.md). */
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/train.h"
#include "eqflow/version.h"
#include "tensor_file.h"
#include "train_internal.h"

/* Positions in the tensor "counts" (U64) and "numbers" (F64). */
enum { COUNT_FINGERPRINT, COUNT_STAGE, COUNT_STEP, COUNT_BEST_STEP, COUNT_RESOLUTION, COUNT_CHECKSUM, NUM_COUNTS };
enum {
    NUMBER_SECONDS,
    NUMBER_LEARNING_RATE,
    NUMBER_BEST_LOSS,
    NUMBER_RUNNING_NORM,
    NUMBER_MEASURED,
    NUMBER_BEST_MEASURED = NUMBER_MEASURED + EQF__NUM_TERMS,
    NUMBER_ROW_TOTALS = NUMBER_BEST_MEASURED + EQF__NUM_TERMS,
    NUM_NUMBERS = NUMBER_ROW_TOTALS + sizeof(eqf__totals) / sizeof(double)
};
/* Vectors of floats. */
enum { VECTOR_PARAMS, VECTOR_OPTIMIZER, VECTOR_AVERAGE, VECTOR_BEST, NUM_VECTORS };
static const char *const vector_names[NUM_VECTORS] = {"params", "optimizer", "average", "best_params"};
/* A history row: the step, then all its other numbers. */
static const size_t row_offsets[] = {
    offsetof(eqf_history_row, seconds),       offsetof(eqf_history_row, loss),
    offsetof(eqf_history_row, nll),           offsetof(eqf_history_row, held_out_nll),
    offsetof(eqf_history_row, gradient_norm), offsetof(eqf_history_row, learning_rate),
    offsetof(eqf_history_row, free_energy),   offsetof(eqf_history_row, held_out_free_energy),
    offsetof(eqf_history_row, flow_matching), offsetof(eqf_history_row, held_out_flow_matching),
    offsetof(eqf_history_row, dispersion),    offsetof(eqf_history_row, held_out_dispersion),
};
enum { ROW_WIDTH = 1 + sizeof row_offsets / sizeof row_offsets[0] };
static const char checkpoint_metadata[] =
    "{\"kind\":\"checkpoint\",\"format_version\":5,\"library_version\":\"" EQF_VERSION_TEXT "\"}";

static size_t vector_size(const eqf_trainer *trainer, unsigned vector) {
    switch (vector) {
        case VECTOR_OPTIMIZER: return trainer->optimizer->state_size(trainer);
        case VECTOR_AVERAGE: return trainer->num_trained;
        default: return trainer->num_params;
    }
}

static eqf_status read_vector(eqf_trainer *trainer, unsigned vector, float **numbers_out) {
    const size_t count = vector_size(trainer, vector);
    *numbers_out = eqf__alloc(trainer->ctx, count, sizeof(float), "the checkpoint");
    if (*numbers_out == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    if (vector == VECTOR_OPTIMIZER) return trainer->optimizer->read(trainer, *numbers_out);
    if (vector == VECTOR_BEST) {
        memcpy(*numbers_out, trainer->best_params, count * sizeof(float));
        return EQF_OK;
    }
    const cl_mem buffer = vector == VECTOR_PARAMS ? trainer->flow->field->d_params : trainer->d_average;
    return eqf__buffer_read(trainer->ctx, buffer, 0, count * sizeof(float), *numbers_out);
}

static eqf_status write_vector(eqf_trainer *trainer, unsigned vector, const float *numbers) {
    const size_t num_bytes = vector_size(trainer, vector) * sizeof(float);
    if (vector == VECTOR_OPTIMIZER) return trainer->optimizer->write(trainer, numbers);
    if (vector == VECTOR_BEST) {
        memcpy(trainer->best_params, numbers, num_bytes);
        return EQF_OK;
    }
    const cl_mem buffer = vector == VECTOR_PARAMS ? trainer->flow->field->d_params : trainer->d_average;
    return eqf__buffer_write(trainer->ctx, buffer, 0, num_bytes, numbers);
}

static eqf_status copy_history(eqf_trainer *trainer, double **rows_out, size_t *num_rows_out) {
    const eqf_history_row *rows = eqf_model_history(trainer->model, num_rows_out);
    double *numbers = eqf__alloc(trainer->ctx, *num_rows_out * ROW_WIDTH, sizeof *numbers, "the checkpoint");
    *rows_out = numbers;
    if (numbers == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t r = 0; r < *num_rows_out; r++) {
        numbers[r * ROW_WIDTH] = (double)rows[r].step;
        for (unsigned c = 1; c < ROW_WIDTH; c++)
            memcpy(numbers + r * ROW_WIDTH + c, (const char *)&rows[r] + row_offsets[c - 1], sizeof(double));
    }
    return EQF_OK;
}

/* Checksum of the counts before it and of all else in the file; without it a damaged number would make the training
 * diverge. history NULL: none. */
static uint64_t checksum_of(const eqf_trainer *trainer, const uint64_t *counts, const double *numbers,
                            const void *const vectors[NUM_VECTORS], const void *history, size_t num_rows) {
    uint64_t hash = eqf__hash(EQF__HASH_START, counts, COUNT_CHECKSUM * sizeof *counts);
    hash = eqf__hash(hash, numbers, NUM_NUMBERS * sizeof *numbers);
    for (unsigned v = 0; v < NUM_VECTORS; v++)
        hash = eqf__hash(hash, vectors[v], vector_size(trainer, v) * sizeof(float));
    return eqf__hash(hash, history, num_rows * ROW_WIDTH * sizeof(double));
}

static eqf_status write_checkpoint(eqf_trainer *trainer, const char *path, float *const vectors[NUM_VECTORS],
                                   const double *rows, size_t num_rows) {
    uint64_t counts[NUM_COUNTS] = {trainer->fingerprint, trainer->stage, trainer->step, trainer->best_step,
                                   trainer->flow->field->resolution};
    double numbers[NUM_NUMBERS] = {trainer->seconds, trainer->learning_rate, trainer->best_loss, trainer->running_norm};
    memcpy(numbers + NUMBER_MEASURED, trainer->measured, sizeof trainer->measured);
    memcpy(numbers + NUMBER_BEST_MEASURED, trainer->best_measured, sizeof trainer->best_measured);
    memcpy(numbers + NUMBER_ROW_TOTALS, &trainer->row_totals, sizeof trainer->row_totals);
    const void *content[NUM_VECTORS];
    eqf__tensor tensors[NUM_VECTORS + 3];
    for (unsigned v = 0; v < NUM_VECTORS; v++) {
        content[v] = vectors[v];
        tensors[v] = (eqf__tensor){vector_names[v], EQF__TENSOR_F32, 1, {vector_size(trainer, v)}, vectors[v]};
    }
    counts[COUNT_CHECKSUM] = checksum_of(trainer, counts, numbers, content, rows, num_rows);
    tensors[NUM_VECTORS] = (eqf__tensor){"counts", EQF__TENSOR_U64, 1, {NUM_COUNTS}, counts};
    tensors[NUM_VECTORS + 1] = (eqf__tensor){"numbers", EQF__TENSOR_F64, 1, {NUM_NUMBERS}, numbers};
    tensors[NUM_VECTORS + 2] = (eqf__tensor){"history", EQF__TENSOR_F64, 2, {num_rows, ROW_WIDTH}, rows};
    /* An empty history has no tensor: not all readers of safetensors accept empty ones. */
    return eqf__tensor_file_write(trainer->ctx, path, checkpoint_metadata, NUM_VECTORS + (num_rows == 0 ? 2 : 3),
                                  tensors);
}

eqf_status eqf_trainer_save_checkpoint(eqf_trainer *trainer, const char *path) {
    EQF__NOT_NULL(NULL, trainer);
    EQF__NOT_NULL(trainer->ctx, path);
    float *vectors[NUM_VECTORS] = {NULL};
    double *rows = NULL;
    size_t num_rows = 0;
    eqf_status status = EQF_OK;
    for (unsigned v = 0; v < NUM_VECTORS && status == EQF_OK; v++) status = read_vector(trainer, v, &vectors[v]);
    if (status == EQF_OK) status = copy_history(trainer, &rows, &num_rows);
    if (status == EQF_OK) status = write_checkpoint(trainer, path, vectors, rows, num_rows);
    for (unsigned v = 0; v < NUM_VECTORS; v++) free(vectors[v]);
    free(rows);
    return status;
}

/* Finds the tensor of that name, type and count, or gives a FORMAT error. */
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

/* Finds the file's parts, and checks that they are complete and belong to this training. */
static eqf_status find_parts(eqf_trainer *trainer, const char *path, const eqf__tensor_file *file, uint64_t *counts,
                             double *numbers, const void *vectors[NUM_VECTORS], const eqf__tensor **history_out) {
    eqf_context *ctx = trainer->ctx;
    if (file->metadata_json == NULL || strstr(file->metadata_json, "\"checkpoint\"") == NULL)
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is not an eqflow checkpoint", path);
    const void *counts_data, *numbers_data;
    EQF__TRY(need(trainer, path, file, "counts", EQF__TENSOR_U64, NUM_COUNTS, &counts_data));
    EQF__TRY(need(trainer, path, file, "numbers", EQF__TENSOR_F64, NUM_NUMBERS, &numbers_data));
    memcpy(counts, counts_data, NUM_COUNTS * sizeof *counts);
    memcpy(numbers, numbers_data, NUM_NUMBERS * sizeof *numbers);
    if (counts[COUNT_FINGERPRINT] != trainer->fingerprint)
        return eqf__fail(
            ctx, EQF_ERROR_INVALID_ARGUMENT,
            "%s was made with another model, other options or other data: give the same ones, or train anew "
            "without eqf_trainer_restore_checkpoint",
            path);
    if (counts[COUNT_STAGE] >= trainer->num_stages || counts[COUNT_STEP] > trainer->num_steps ||
        counts[COUNT_RESOLUTION] > 1u << 20)
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is damaged: it counts %llu steps", path,
                         (unsigned long long)counts[COUNT_STEP]);
    if (counts[COUNT_STAGE] != trainer->stage)
        EQF__TRY(eqf__trainer_enter_stage(trainer, (unsigned)counts[COUNT_STAGE]));
    for (unsigned v = 0; v < NUM_VECTORS; v++)
        EQF__TRY(need(trainer, path, file, vector_names[v], EQF__TENSOR_F32, vector_size(trainer, v), &vectors[v]));
    const eqf__tensor *history = *history_out = eqf__tensor_file_find(file, "history");
    if (history != NULL &&
        (history->type != EQF__TENSOR_F64 || history->num_dims != 2 || history->shape[1] != ROW_WIDTH))
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is damaged: its history has another shape", path);
    if (counts[COUNT_CHECKSUM] == checksum_of(trainer, counts, numbers, vectors, history != NULL ? history->data : NULL,
                                              history != NULL ? history->shape[0] : 0))
        return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_FORMAT,
                     "%s is damaged: its content does not match its checksum: take another copy, or train anew "
                     "without eqf_trainer_restore_checkpoint",
                     path);
}

/* Checks for numbers that a training does not save and that would cause errors only later. */
static eqf_status check_parts(eqf_trainer *trainer, const char *path, const void *const vectors[NUM_VECTORS],
                              const eqf__tensor *history) {
    for (unsigned v = 0; v < NUM_VECTORS; v++) {
        if (v == VECTOR_OPTIMIZER) continue; /* a mean of squares may overflow */
        const size_t count = vector_size(trainer, v);
        for (size_t n = 0; n < count; n++) {
            float number;
            memcpy(&number, (const char *)vectors[v] + n * sizeof number, sizeof number);
            if (!isfinite(number))
                return eqf__fail(trainer->ctx, EQF_ERROR_FORMAT, "%s is damaged: number %zu of its %s is %g", path, n,
                                 vector_names[v], (double)number);
        }
    }
    for (size_t r = 0; history != NULL && r < history->shape[0]; r++) {
        double step;
        memcpy(&step, (const char *)history->data + r * ROW_WIDTH * sizeof step, sizeof step);
        if (!(step >= 0 && step <= (double)trainer->num_steps))
            return eqf__fail(trainer->ctx, EQF_ERROR_FORMAT, "%s is damaged: its history has a step %g", path, step);
    }
    return EQF_OK;
}

static eqf_status restore_history(eqf_trainer *trainer, const eqf__tensor *history) {
    for (size_t r = 0; history != NULL && r < history->shape[0]; r++) {
        double v[ROW_WIDTH];
        memcpy(v, (const char *)history->data + r * sizeof v, sizeof v);
        eqf_history_row row = EQF_HISTORY_ROW_INIT;
        row.step = (uint64_t)v[0];
        for (unsigned c = 1; c < ROW_WIDTH; c++) memcpy((char *)&row + row_offsets[c - 1], &v[c], sizeof(double));
        EQF__TRY(eqf_model_add_history(trainer->ctx, trainer->model, &row));
    }
    return EQF_OK;
}

static eqf_status restore(eqf_trainer *trainer, const char *path, const eqf__tensor_file *file) {
    uint64_t counts[NUM_COUNTS];
    double numbers[NUM_NUMBERS];
    const void *vectors[NUM_VECTORS];
    const eqf__tensor *history = NULL;
    eqf_status status = find_parts(trainer, path, file, counts, numbers, vectors, &history);
    if (status == EQF_OK) status = check_parts(trainer, path, vectors, history);
    /* find_parts entered the checkpoint's stage, on which sizes depend. After an error it is left. */
    if (status != EQF_OK && trainer->stage != 0) (void)eqf__trainer_enter_stage(trainer, 0);
    if (status != EQF_OK) return status;
    eqf__field *field = trainer->flow->field;
    EQF__TRY(eqf__field_set_resolution(field, (unsigned)counts[COUNT_RESOLUTION]));
    EQF__TRY(eqf__solver_assemble(trainer->flow->solver));
    EQF__TRY(eqf__trainer_create_workspace(trainer));
    for (unsigned v = 0; v < NUM_VECTORS; v++) EQF__TRY(write_vector(trainer, v, vectors[v]));
    trainer->step = counts[COUNT_STEP];
    trainer->best_step = counts[COUNT_BEST_STEP];
    trainer->seconds = numbers[NUMBER_SECONDS];
    trainer->learning_rate = numbers[NUMBER_LEARNING_RATE];
    trainer->best_loss = numbers[NUMBER_BEST_LOSS];
    trainer->running_norm = numbers[NUMBER_RUNNING_NORM];
    memcpy(trainer->measured, numbers + NUMBER_MEASURED, sizeof trainer->measured);
    memcpy(trainer->best_measured, numbers + NUMBER_BEST_MEASURED, sizeof trainer->best_measured);
    memcpy(&trainer->row_totals, numbers + NUMBER_ROW_TOTALS, sizeof trainer->row_totals);
    return restore_history(trainer, history);
}

eqf_status eqf__trainer_restore_bytes(eqf_trainer *trainer, const char *path, const unsigned char *bytes,
                                      size_t num_bytes) {
    eqf__tensor_file file;
    EQF__TRY(eqf__tensor_file_parse(trainer->ctx, path, bytes, num_bytes, &file));
    eqf_status status = restore(trainer, path, &file);
    eqf__tensor_file_clear(&file);
    return status;
}

eqf_status eqf_trainer_restore_checkpoint(eqf_trainer *trainer, const char *path) {
    EQF__NOT_NULL(NULL, trainer);
    EQF__NOT_NULL(trainer->ctx, path);
    if (trainer->step > 0)
        return eqf__fail(trainer->ctx, EQF_ERROR_INVALID_ARGUMENT, "a checkpoint is restored before the first step");
    unsigned char *bytes;
    size_t num_bytes;
    EQF__TRY(eqf__tensor_file_bytes(trainer->ctx, path, &bytes, &num_bytes));
    const eqf_status status = eqf__trainer_restore_bytes(trainer, path, bytes, num_bytes);
    free(bytes);
    return status;
}
