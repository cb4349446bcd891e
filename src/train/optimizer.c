/* Optimizers, one row each. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "soap.h"
#include "train_internal.h"

/* ---- Adam, on the device: cl/train/adam.cl ----------------------------------------------------------------------- */

static eqf_status adam_create(eqf_trainer *trainer) {
    eqf_context *ctx = trainer->ctx;
    eqf__adam *adam = trainer->adam = eqf__alloc(ctx, 1, sizeof *adam, "the optimizer");
    if (adam == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const size_t num_bytes = trainer->num_trained * sizeof(float);
    EQF__TRY(eqf__kernel_create(ctx, trainer->measure.program, "adam_update", &adam->update));
    EQF__TRY(eqf__buffer_create(ctx, num_bytes, NULL, "the optimizer", &adam->d_first_moment));
    EQF__TRY(eqf__buffer_create(ctx, num_bytes, NULL, "the optimizer", &adam->d_second_moment));
    EQF__TRY(eqf__fill_zero(ctx, adam->d_first_moment, num_bytes));
    return eqf__fill_zero(ctx, adam->d_second_moment, num_bytes);
}

static void adam_destroy(eqf_trainer *trainer) {
    eqf__adam *adam = trainer->adam;
    if (adam == NULL) return;
    eqf__buffer_destroy(&adam->d_first_moment);
    eqf__buffer_destroy(&adam->d_second_moment);
    eqf__kernel_destroy(&adam->update);
    free(adam);
    trainer->adam = NULL;
}

static eqf_status adam_step(eqf_trainer *trainer, const eqf__step *step) {
    const eqf_training_options *o = &trainer->options;
    const eqf__adam *adam = trainer->adam;
    const cl_float learning_rate = (cl_float)step->learning_rate, average_decay = (cl_float)step->average_decay;
    const cl_float correction_1 = (cl_float)(1.0 / (1.0 - pow(0.9, step->number)));
    const cl_float correction_2 = (cl_float)(1.0 / (1.0 - pow(0.999, step->number)));
    const cl_float clip_norm = (cl_float)step->clip_norm, weight_decay = (cl_float)o->weight_decay;
    const cl_uint num_trained = (cl_uint)trainer->num_trained;
    return EQF__LAUNCH(trainer->ctx, &adam->update, (trainer->num_trained + 15) / 16, 0,
                       EQF__ARG(trainer->flow->field->d_params), EQF__ARG(adam->d_first_moment),
                       EQF__ARG(adam->d_second_moment), EQF__ARG(trainer->d_average), EQF__ARG(step->d_gradient),
                       EQF__ARG(trainer->d_records), EQF__ARG(step->record), EQF__ARG(trainer->d_failed),
                       EQF__ARG(learning_rate), EQF__ARG(correction_1), EQF__ARG(correction_2), EQF__ARG(clip_norm),
                       EQF__ARG(weight_decay), EQF__ARG(average_decay), EQF__ARG(num_trained));
}

static size_t adam_state_size(const eqf_trainer *trainer) {
    return 2 * trainer->num_trained;
}

static eqf_status adam_read(eqf_trainer *trainer, float *state_out) {
    const size_t n = trainer->num_trained;
    EQF__TRY(eqf__buffer_read(trainer->ctx, trainer->adam->d_first_moment, 0, n * sizeof(float), state_out));
    return eqf__buffer_read(trainer->ctx, trainer->adam->d_second_moment, 0, n * sizeof(float), state_out + n);
}

static eqf_status adam_write(eqf_trainer *trainer, const float *state) {
    const size_t n = trainer->num_trained;
    EQF__TRY(eqf__buffer_write(trainer->ctx, trainer->adam->d_first_moment, 0, n * sizeof(float), state));
    return eqf__buffer_write(trainer->ctx, trainer->adam->d_second_moment, 0, n * sizeof(float), state + n);
}

/* ---- SOAP, on the host: soap.c ----------------------------------------------------------------------------------- */

static eqf_status soap_create(eqf_trainer *trainer) {
    return eqf__soap_create(trainer->ctx, trainer->model, &trainer->soap);
}

static void soap_destroy(eqf_trainer *trainer) {
    eqf__soap_destroy(&trainer->soap);
}

/* Reads a record: whether this step and all before were finite, and the gradient's norm. */
static eqf_status read_record(eqf_trainer *trainer, cl_uint record, bool *is_good_out, double *norm_out) {
    float numbers[EQF__RECORD_SIZE];
    cl_uint failed;
    EQF__TRY(eqf__buffer_read(trainer->ctx, trainer->d_records, record * sizeof numbers, sizeof numbers, numbers));
    EQF__TRY(eqf__buffer_read(trainer->ctx, trainer->d_failed, 0, sizeof failed, &failed));
    *is_good_out = failed == 0 && numbers[EQF__RECORD_IS_GOOD] != 0;
    *norm_out = (double)numbers[EQF__RECORD_NORM];
    return EQF_OK;
}

/* h_scratch: the parameters; h_message: the gradient, and then the average. */
static eqf_status soap_step(eqf_trainer *trainer, const eqf__step *step) {
    eqf_context *ctx = trainer->ctx;
    const size_t n = trainer->num_trained, num_bytes = n * sizeof(float);
    float *params = trainer->h_scratch, *other = trainer->h_message;
    bool is_good;
    double norm;
    EQF__TRY(read_record(trainer, step->record, &is_good, &norm));
    if (!is_good) return EQF_OK;
    EQF__TRY(eqf__buffer_read(ctx, step->d_gradient, 0, num_bytes, other));
    EQF__TRY(eqf__buffer_read(ctx, trainer->flow->field->d_params, 0, num_bytes, params));
    const double shrink = step->clip_norm > 0 && norm > step->clip_norm ? step->clip_norm / norm : 1;
    eqf__soap_update(trainer->soap, (uint64_t)step->number, step->learning_rate, trainer->options.weight_decay, shrink,
                     other, params);
    EQF__TRY(eqf__buffer_write(ctx, trainer->flow->field->d_params, 0, num_bytes, params));
    EQF__TRY(eqf__buffer_read(ctx, trainer->d_average, 0, num_bytes, other));
    const float decay = (float)step->average_decay;
    for (size_t i = 0; i < n; i++) other[i] = decay * other[i] + (1 - decay) * params[i];
    return eqf__buffer_write(ctx, trainer->d_average, 0, num_bytes, other);
}

static size_t soap_state_size(const eqf_trainer *trainer) {
    size_t count;
    eqf__soap_state(trainer->soap, &count);
    return count;
}

static eqf_status soap_read(eqf_trainer *trainer, float *state_out) {
    size_t count;
    const float *state = eqf__soap_state(trainer->soap, &count);
    memcpy(state_out, state, count * sizeof *state);
    return EQF_OK;
}

static eqf_status soap_write(eqf_trainer *trainer, const float *state) {
    size_t count;
    memcpy(eqf__soap_state(trainer->soap, &count), state, soap_state_size(trainer) * sizeof *state);
    return EQF_OK;
}

/* ---- The table --------------------------------------------------------------------------------------------------- */

const eqf__optimizer eqf__optimizers[EQF__NUM_OPTIMIZERS] = {
    [EQF_OPTIMIZER_ADAM] = {"adam", adam_create, adam_destroy, adam_step, adam_state_size, adam_read, adam_write},
    [EQF_OPTIMIZER_SOAP] = {"soap", soap_create, soap_destroy, soap_step, soap_state_size, soap_read, soap_write},
};
