/* One step: the gradients of the terms are added and measured, and the optimizer changes the parameters. Then the
 * measurements are added up. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "train_internal.h"

/* d_total [num] = (is_first) or += weight times d_values. */
static eqf_status launch_blend(eqf_trainer *trainer, cl_mem d_total, cl_mem d_values, size_t num, double weight,
                               cl_uint is_first) {
    cl_float scale = (cl_float)weight;
    cl_uint count = (cl_uint)num;
    return EQF__LAUNCH(trainer->ctx, &trainer->blend, (num + 15) / 16, 0, EQF__ARG(d_total), EQF__ARG(d_values),
                       EQF__ARG(scale), EQF__ARG(is_first), EQF__ARG(count));
}

/* Sums trainer->d_gradient and the sums of the workspace over all ranks, each of which has weighted its part. They are
 * one message: the gradient, followed by the sums. */
static eqf_status sum_over_ranks(eqf_trainer *trainer) {
    eqf_context *ctx = trainer->ctx;
    const size_t n = trainer->num_trained;
    float *message = trainer->h_message, *sums = message + n;
    EQF__TRY(eqf__buffer_read(ctx, trainer->d_gradient, 0, n * sizeof(float), message));
    EQF__TRY(eqf__buffer_read(ctx, trainer->workspace.d_sums, 0, EQF__NUM_SUMS * sizeof(float), sums));
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) {
        const double fraction = eqf__share_of(trainer, eqf__terms[k].batch_size(&trainer->options)).fraction;
        sums[2 * k] *= (float)fraction;
        sums[2 * k + 1] *= (float)fraction;
    }
    EQF__TRY(eqf__sum_floats(ctx, n + EQF__NUM_SUMS, message));
    EQF__TRY(eqf__buffer_write(ctx, trainer->d_gradient, 0, n * sizeof(float), message));
    return eqf__buffer_write(ctx, trainer->workspace.d_sums, 0, EQF__NUM_SUMS * sizeof(float), sums);
}

eqf_status eqf__trainer_measure(const eqf_trainer *trainer, cl_mem d_gradient, cl_mem d_sums, cl_mem d_records,
                                unsigned record, cl_mem d_failed, cl_uint terms, size_t num) {
    const unsigned V = trainer->flow->vector_width;
    const cl_uint at = record, count = (cl_uint)num;
    const size_t vectors = (num + V - 1) / V, turns = eqf__budget_units(trainer->ctx, 1, 0, vectors);
    const cl_uint most = turns == vectors ? count : (cl_uint)(turns * V);
    for (cl_uint begin = 0; begin < count;) {
        const cl_uint end = count - begin < most ? count : begin + most;
        EQF__TRY(EQF__LAUNCH(trainer->ctx, &trainer->measure, 1, 0, EQF__ARG(d_gradient), EQF__ARG(d_sums),
                             EQF__ARG(d_records), EQF__ARG(at), EQF__ARG(d_failed), EQF__ARG(terms),
                             EQF__ARG(trainer->d_carry), EQF__ARG(begin), EQF__ARG(end), EQF__ARG(count)));
        begin = end;
    }
    return EQF_OK;
}

/* The terms of a step, as bits, and their weights in the loss. */
static cl_uint terms_of_step(const eqf_trainer *trainer, uint64_t step, double weights_out[EQF__NUM_TERMS]) {
    cl_uint terms = 0;
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) {
        weights_out[k] = eqf__term_weight(&trainer->options, k, step);
        if (weights_out[k] > 0) terms |= 1u << k;
    }
    return terms;
}

/* How gradients and sums of terms are added. */
typedef struct blending {
    bool has_gradients; /* there are several, added in trainer->d_gradient */
    bool has_sums;      /* there are several, added in trainer->d_sums */
    cl_uint is_first, is_first_sum;
} blending;

/* Launches a term's share of the batch, whole or part by part. */
static eqf_status launch_term(eqf_trainer *trainer, unsigned k, double weight, blending *blend) {
    const eqf__term *term = &eqf__terms[k];
    eqf__gradient_workspace *w = &trainer->workspace;
    const size_t batch_size = term->batch_size(&trainer->options);
    const eqf__batch_share share = eqf__share_of(trainer, batch_size);
    const size_t most = eqf__part_of(trainer, share.count);
    for (size_t done = 0; done < share.count || done == 0; done += most) {
        const size_t left = share.count - done, count = left < most ? left : most;
        const eqf__batch_share part = {share.first + done, count, (double)count / (double)batch_size};
        EQF__TRY(term->draw(trainer, &part));
        EQF__TRY(term->launch(trainer, count));
        if (blend->has_gradients)
            EQF__TRY(launch_blend(trainer, trainer->d_gradient, w->d_gradient, trainer->num_trained,
                                  part.fraction * weight, blend->is_first));
        blend->is_first = 0;
        if (blend->has_sums) { /* the term has set its pair; the others are 0 */
            EQF__TRY(launch_blend(trainer, trainer->d_sums, w->d_sums, EQF__NUM_SUMS,
                                  (double)count / (double)share.count, blend->is_first_sum));
            EQF__TRY(eqf__fill_zero(trainer->ctx, w->d_sums, EQF__NUM_SUMS * sizeof(float)));
            blend->is_first_sum = 0;
        }
        if (most == 0) break;
    }
    return EQF_OK;
}

/* Loss and gradient, summed over terms, parts and ranks: the gradient in *d_gradient_out, the sums in the workspace. */
static eqf_status launch_terms(eqf_trainer *trainer, cl_uint *terms_out, cl_mem *d_gradient_out) {
    double weights[EQF__NUM_TERMS];
    const cl_uint terms = *terms_out = terms_of_step(trainer, eqf__stage_step(trainer), weights);
    const bool has_ranks = eqf__num_ranks(trainer->ctx) > 1;
    blending blend = {
        .has_gradients = has_ranks, .is_first = 1, .is_first_sum = 1}; /* a single term of weight 1 needs no addition */
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) {
        if (!(weights[k] > 0)) continue;
        const size_t count = eqf__share_of(trainer, eqf__terms[k].batch_size(&trainer->options)).count;
        blend.has_sums = blend.has_sums || eqf__part_of(trainer, count) < count;
        blend.has_gradients = blend.has_gradients || blend.has_sums || weights[k] != 1;
    }
    cl_mem d_sums = trainer->workspace.d_sums;
    const size_t sums_size = EQF__NUM_SUMS * sizeof(float);
    if (blend.has_sums) EQF__TRY(eqf__fill_zero(trainer->ctx, d_sums, sums_size));
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++)
        if (terms >> k & 1) EQF__TRY(launch_term(trainer, k, weights[k], &blend));
    if (blend.has_sums) EQF__TRY(eqf__buffer_copy(trainer->ctx, trainer->d_sums, 0, d_sums, 0, sums_size));
    if (has_ranks) EQF__TRY(sum_over_ranks(trainer));
    *d_gradient_out = blend.has_gradients ? trainer->d_gradient : trainer->workspace.d_gradient;
    return EQF_OK;
}

/* The largest norm of the gradient: clip_norm, or clip_ratio times its running norm if that is less; for the latter the
 * host waits for the device. The norm enters the running norm after clipping. */
static eqf_status choose_clip_norm(eqf_trainer *trainer, cl_uint record, double *clip_norm_out) {
    const eqf_training_options *o = &trainer->options;
    static const double decay = 0.98;
    *clip_norm_out = o->clip_norm;
    if (o->clip_ratio == 0) return EQF_OK;
    float norm;
    EQF__TRY(eqf__buffer_read(trainer->ctx, trainer->d_records,
                              (record * (size_t)EQF__RECORD_SIZE + EQF__RECORD_NORM) * sizeof norm, sizeof norm,
                              &norm));
    if (!isfinite(norm)) return EQF_OK; /* the step will not change the parameters */
    if (trainer->running_norm == 0) trainer->running_norm = norm;
    const double most = o->clip_ratio * trainer->running_norm;
    trainer->running_norm = decay * trainer->running_norm + (1 - decay) * fmin(norm, most);
    if (!(o->clip_norm > 0 && o->clip_norm < most)) *clip_norm_out = most;
    return EQF_OK;
}

eqf_status eqf__trainer_step(eqf_trainer *trainer, size_t record) {
    const eqf_training_options *o = &trainer->options;
    eqf__field *field = trainer->flow->field;
    eqf__step step = {.record = (cl_uint)record, .number = (double)eqf__stage_step(trainer) + 1.0};
    cl_uint terms;
    EQF__TRY(eqf__trainer_check(trainer)); /* a measurement may have refined the table, and so changed programs */
    EQF__TRY(eqf__field_prepare(field, false));
    EQF__TRY(launch_terms(trainer, &terms, &step.d_gradient));
    EQF__TRY(eqf__trainer_measure(trainer, step.d_gradient, trainer->workspace.d_sums, trainer->d_records, step.record,
                                  trainer->d_failed, terms, trainer->num_trained));
    step.learning_rate = trainer->learning_rate = eqf__scheduled_learning_rate(o, eqf__stage_step(trainer));
    EQF__TRY(choose_clip_norm(trainer, step.record, &step.clip_norm));
    /* At the start the average has a short memory, at most a tenth of the steps so far. */
    step.average_decay = fmin(o->average_decay, step.number / (step.number + 10.0));
    EQF__TRY(trainer->optimizer->step(trainer, &step));
    trainer->step++;
    return EQF_OK;
}

/* Adds the record of a step, counted from the stage's first, to the totals. */
static void add_record(eqf_trainer *trainer, uint64_t step, const float *record) {
    double weights[EQF__NUM_TERMS], loss = 0;
    eqf__totals *const all[] = {&trainer->row_totals, &trainer->report_totals};
    const cl_uint terms = terms_of_step(trainer, step, weights);
    for (unsigned k = 0; k < EQF__NUM_TERMS; k++) {
        if ((terms >> k & 1) == 0) continue;
        loss += weights[k] * (record[2 * k] + trainer->options.integration_penalty * record[2 * k + 1]);
        for (unsigned i = 0; i < 2; i++) {
            all[i]->value[k] += record[2 * k];
            all[i]->num_value_steps[k] += 1;
        }
    }
    for (unsigned i = 0; i < 2; i++) {
        all[i]->loss += loss;
        all[i]->norm += record[EQF__RECORD_NORM];
        all[i]->num_steps += 1;
    }
}

eqf_status eqf__trainer_collect(eqf_trainer *trainer, size_t num_records) {
    float records[EQF__MAX_STEPS_IN_FLIGHT * EQF__RECORD_SIZE];
    EQF__TRY(
        eqf__buffer_read(trainer->ctx, trainer->d_records, 0, num_records * EQF__RECORD_SIZE * sizeof(float), records));
    const uint64_t first_step = trainer->step - num_records;
    for (size_t r = 0; r < num_records; r++) {
        const float *record = records + r * EQF__RECORD_SIZE;
        if (record[EQF__RECORD_IS_GOOD] == 0.0f) {
            trainer->step = first_step + r;
            if (trainer->step ==
                /* no parameter has changed yet: the cause is the problem, not the learning rate */
                trainer->stage_begin)
                return eqf__fail(
                    trainer->ctx, EQF_ERROR_NON_FINITE,
                    "training diverged before it began: the loss or gradient of step %llu is not finite; look for "
                    "overlapping or far particles in the data, or try more integrator.num_steps%s",
                    (unsigned long long)trainer->step + 1,
                    eqf__has_term(&trainer->options, EQF__TERM_ENERGY) ? ", an energy_cap or another prior_scale" : "");
            const bool may_be_cores =
                eqf__has_term(&trainer->options, EQF__TERM_ENERGY) && isinf(trainer->options.energy_cap);
            return eqf__fail(trainer->ctx, EQF_ERROR_NON_FINITE,
                             "training diverged: the loss or gradient of step %llu is not finite; try %sa lower "
                             "learning_rate, a lower clip_norm or more integrator.num_steps",
                             (unsigned long long)trainer->step + 1,
                             may_be_cores ? "an energy_cap (for potentials with hard cores), " : "");
        }
        add_record(trainer, first_step + r - trainer->stage_begin, record);
    }
    return EQF_OK;
}
