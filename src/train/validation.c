/* Held-out measurements, the best model so far, and the history. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train_internal.h"

/* The number by which the best model is chosen: the loss without penalty and with the last weights. NaN if a part of it
 * is not measured; values [EQF__NUM_TERMS]. */
static double held_out_loss(const eqf_trainer *trainer, const double *values) {
    double loss = 0;
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) {
        const double weight = eqf__term_last_weight(&trainer->options, k);
        if (weight > 0) loss += weight * (eqf__terms[k].is_measured(trainer) ? values[k] : (double)NAN);
    }
    return loss;
}

/* Whether all parts of that number can be measured. */
static bool is_measured(const eqf_trainer *trainer) {
    static const double zeros[EQF__NUM_TERMS] = {0};
    return !isnan(held_out_loss(trainer, zeros));
}

/* Keeps the averaged parameters if they are the best so far, or if nothing can be measured. */
static void keep_best(eqf_trainer *trainer, const float *averaged, const double *choosing) {
    const double loss = held_out_loss(trainer, choosing);
    if (is_measured(trainer) && !(isfinite(loss) && !(loss >= trainer->best_loss))) return;
    trainer->best_loss = loss;
    memcpy(trainer->best_params, averaged, trainer->num_params * sizeof *averaged);
    memcpy(trainer->best_measured, trainer->measured, sizeof trainer->best_measured);
    trainer->best_step = trainer->step;
}

/* Measures all terms of the flow's present parameters. */
static eqf_status measure_terms(eqf_trainer *trainer, double *choosing_out) {
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) {
        choosing_out[k] = NAN;
        if (eqf__terms[k].is_measured(trainer))
            EQF__TRY(eqf__terms[k].measure(trainer, &trainer->measured[k], &choosing_out[k]));
    }
    return EQF_OK;
}

eqf_status eqf__trainer_validate(eqf_trainer *trainer) {
    eqf_context *ctx = trainer->ctx;
    eqf__field *field = trainer->flow->field;
    const size_t trained_bytes = trainer->num_trained * sizeof(float), all_bytes = trainer->num_params * sizeof(float);
    float *averaged = eqf__alloc(ctx, trainer->num_params, sizeof *averaged, "the parameters");
    if (averaged == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__buffer_read(ctx, field->d_params, 0, all_bytes, trainer->h_scratch);
    const bool has_params = status == EQF_OK;
    if (has_params) {
        memcpy(averaged, trainer->h_scratch, all_bytes);
        status = eqf__buffer_read(ctx, trainer->d_average, 0, trained_bytes, averaged);
    }
    const unsigned resolution = field->resolution;
    if (status == EQF_OK) status = eqf_flow_set_params(trainer->flow, averaged);
    double choosing[EQF__NUM_TERMS];
    if (status == EQF_OK) status = measure_terms(trainer, choosing);
    if (status == EQF_OK) keep_best(trainer, averaged, choosing);
    if (has_params) { /* also after a failure: a checkpoint must not have the average in place of the parameters */
        eqf_status restored = eqf__buffer_write(ctx, field->d_params, 0, all_bytes, trainer->h_scratch);
        if (status == EQF_OK) status = restored;
    }
    if (status == EQF_OK && field->resolution != resolution) status = eqf__trainer_create_workspace(trainer);
    free(averaged);
    return status;
}

double eqf__mean_of(double total, double num_steps) {
    return num_steps > 0 ? total / num_steps : NAN;
}

eqf_status eqf__trainer_add_history(eqf_trainer *trainer) {
    const eqf__totals *totals = &trainer->row_totals;
    eqf_history_row row = {
        .struct_size = sizeof row,
        .step = trainer->step,
        .seconds = trainer->seconds,
        .loss = eqf__mean_of(totals->loss, totals->num_steps),
        .gradient_norm = eqf__mean_of(totals->norm, totals->num_steps),
        .learning_rate = trainer->learning_rate,
    };
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) {
        const double value = eqf__mean_of(totals->value[k], totals->num_value_steps[k]);
        memcpy((char *)&row + eqf__terms[k].history_offset, &value, sizeof value);
        memcpy((char *)&row + eqf__terms[k].held_out_offset, &trainer->measured[k], sizeof value);
    }
    trainer->row_totals = (eqf__totals){0};
    return eqf_model_add_history(trainer->ctx, trainer->model, &row);
}
