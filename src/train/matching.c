/* Flow matching: cl/train/flow_matching.cl has the loss, pairing.c the pairs. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "pairing.h"
#include "train_internal.h"

/* Number of pairs on which models are compared; with more the noise of training would be larger than the error. */
static const size_t most_held_out_pairs = 4096;

struct eqf__matching {
    eqf__pairing_options options;
    eqf__pairing *pairing;
    eqf__kernel place, seed;
    size_t max_samples;                   /* of a batch, or of its parts */
    cl_mem d_rows;                        /* [max_samples, N*D] */
    cl_mem d_latents, d_data, d_velocity; /* [blocks][N*D][V] */
    cl_mem d_times;                       /* [blocks][V] */
    size_t num_held_out;
    float *held_out_latents,
        /* [num_held_out, N, D]: this rank's share, the same at each measurement; NULL before the first */
        *held_out_data;
};

static size_t num_blocks_of(const eqf_trainer *trainer, size_t count) {
    return (count + trainer->flow->vector_width - 1) / trainer->flow->vector_width;
}

eqf_status eqf__matching_program(eqf_context *ctx, size_t num_dof, eqf__program **program_out) {
    static const char *const files[] = {"common/real.clh", "common/philox.clh", "common/random.clh",
                                        "train/flow_matching.cl", NULL};
    char defines[32];
    snprintf(defines, sizeof defines, "-D DOF=%zu", num_dof);
    return eqf__program_get(ctx, "flow_matching", files, defines, program_out);
}

static eqf_status create_parts(eqf_trainer *trainer, eqf__matching *m) {
    eqf_context *ctx = trainer->ctx;
    const eqf_flow *flow = trainer->flow;
    eqf__program *program;
    EQF__TRY(eqf__matching_program(ctx, flow->num_dof, &program));
    EQF__TRY(eqf__kernel_create(ctx, program, "matching_place", &m->place));
    EQF__TRY(eqf__kernel_create(ctx, program, "matching_seed", &m->seed));
    const eqf__batch_share share = eqf__share_of(trainer, trainer->options.batch_size);
    m->max_samples = eqf__part_of(trainer, share.count);
    const size_t blocks = num_blocks_of(trainer, m->max_samples), numbers = blocks * flow->vector_width * sizeof(float);
    const size_t state = numbers * flow->num_dof;
    EQF__TRY(eqf__buffer_create(ctx, m->max_samples * flow->num_dof * sizeof(float), NULL, "the pairs", &m->d_rows));
    EQF__TRY(eqf__buffer_create(ctx, state, NULL, "the pairs", &m->d_latents));
    EQF__TRY(eqf__buffer_create(ctx, state, NULL, "the pairs", &m->d_data));
    EQF__TRY(eqf__buffer_create(ctx, state, NULL, "the pairs", &m->d_velocity));
    EQF__TRY(eqf__buffer_create(ctx, numbers, NULL, "the pairs", &m->d_times));
    return eqf__pairing_create(ctx, &m->options, trainer->num_train, trainer->data, trainer->options.batch_size,
                               share.first, share.count, trainer->options.num_pairing_threads, &m->pairing);
}

eqf_status eqf__matching_create(eqf_trainer *trainer) {
    const eqf_training_options *o = &trainer->options;
    const eqf_flow *flow = trainer->flow;
    if (flow->field->batched == NULL)
        return eqf__fail(
            trainer->ctx, EQF_ERROR_UNSUPPORTED,
            "flow matching wants a field that is evaluated batch by batch, each sample at its own time, which "
            "the radial field is not");
    eqf__matching *m = trainer->matching = eqf__alloc(trainer->ctx, 1, sizeof *m, "flow matching");
    if (m == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    m->options =
        (eqf__pairing_options){.kind = o->pairing,
                               .group_size = o->pairing_group < o->batch_size ? o->pairing_group : o->batch_size,
                               .num_starts = o->num_pairing_starts,
                               .num_particles = flow->num_particles,
                               .space_dim = flow->space_dim,
                               .num_b = eqf_potential_num_b(&eqf_model_options_of(trainer->model)->potential),
                               .model = eqf_model_options_of(trainer->model),
                               .seed = eqf__noise_seed(o, EQF__NOISE_PAIRS)};
    /* With more particles comparing all data with all latents is too expensive: each datum keeps its latent. */
    if (o->pairing == EQF_PAIRING_EQUIVARIANT && flow->num_particles > 4) m->options.group_size = 1;
    return create_parts(trainer, m);
}

void eqf__matching_destroy(eqf_trainer *trainer) {
    eqf__matching *m = trainer->matching;
    if (m == NULL) return;
    eqf__pairing_destroy(&m->pairing);
    eqf__kernel_destroy(&m->place);
    eqf__kernel_destroy(&m->seed);
    cl_mem *buffers[] = {&m->d_rows, &m->d_latents, &m->d_data, &m->d_velocity, &m->d_times};
    for (size_t b = 0; b < sizeof buffers / sizeof buffers[0]; b++) eqf__buffer_destroy(buffers[b]);
    free(m->held_out_latents);
    free(m->held_out_data);
    free(m);
    trainer->matching = NULL;
}

/* Copies pairs [count, N, D] to the device and computes their places at the times of positions first ... of the seed;
 * first_in_batch and batch_size give the part of (0, 1) of each time. */
static eqf_status upload(eqf_trainer *trainer, uint64_t seed, uint64_t first, size_t first_in_batch, size_t batch_size,
                         size_t count, const float *latents, const float *data) {
    eqf_context *ctx = trainer->ctx;
    const eqf__matching *m = trainer->matching;
    const eqf_flow *flow = trainer->flow;
    const size_t num_bytes = count * flow->num_dof * sizeof(float), blocks = num_blocks_of(trainer, count);
    const cl_uint seed_low = (cl_uint)seed, seed_high = (cl_uint)(seed >> 32), num_blocks = (cl_uint)blocks;
    const cl_uint place = (cl_uint)first_in_batch, size = (cl_uint)batch_size;
    const cl_ulong position = first;
    EQF__TRY(eqf__buffer_write(ctx, m->d_rows, 0, num_bytes, latents));
    EQF__TRY(eqf__batch_pack(&flow->batch, count, m->d_rows, m->d_latents));
    EQF__TRY(eqf__buffer_write(ctx, m->d_rows, 0, num_bytes, data));
    EQF__TRY(eqf__batch_pack(&flow->batch, count, m->d_rows, m->d_data));
    if (trainer->options.data_noise > 0)
        EQF__TRY(eqf__prior_add_noise(&flow->prior, seed, first, trainer->options.data_noise, blocks, m->d_data));
    return EQF__LAUNCH(ctx, &m->place, blocks, 0, EQF__ARG(m->d_latents), EQF__ARG(m->d_data),
                       EQF__ARG(trainer->workspace.d_x), EQF__ARG(m->d_times), EQF__ARG(seed_low), EQF__ARG(seed_high),
                       EQF__ARG(position), EQF__ARG(place), EQF__ARG(size), EQF__ARG(num_blocks));
}

eqf_status eqf__matching_draw(eqf_trainer *trainer, const eqf__batch_share *share) {
    const uint64_t step = eqf__stage_step(trainer);
    const size_t first_of_rank = eqf__share_of(trainer, trainer->options.batch_size).first;
    const size_t skipped = (share->first - first_of_rank) * trainer->flow->num_dof;
    const float *latents, *data;
    EQF__TRY(eqf__pairing_take(trainer->matching->pairing, step, &latents, &data));
    return upload(trainer, trainer->matching->options.seed, step * trainer->options.batch_size + share->first,
                  share->first, trainer->options.batch_size, share->count, latents + skipped, data + skipped);
}

/* Velocities at the pairs' places, and from them the losses and the adjoints, which overwrite the velocities. */
static eqf_status launch_values(eqf_trainer *trainer, size_t count) {
    const eqf__matching *m = trainer->matching;
    const eqf__gradient_workspace *w = &trainer->workspace;
    eqf__field *field = trainer->flow->field;
    const size_t blocks = num_blocks_of(trainer, count);
    const cl_uint num_samples = (cl_uint)count, num_blocks = (cl_uint)blocks;
    EQF__TRY(field->batched->evaluate(field, &w->noise, blocks, w->d_x, m->d_times, m->d_velocity, NULL));
    return EQF__LAUNCH(trainer->ctx, &m->seed, blocks, 0, EQF__ARG(m->d_latents), EQF__ARG(m->d_data),
                       EQF__ARG(m->d_velocity), EQF__ARG(w->d_weight), EQF__ARG(w->d_value), EQF__ARG(w->d_error),
                       EQF__ARG(num_samples), EQF__ARG(num_blocks));
}

eqf_status eqf__matching_launch(eqf_trainer *trainer, size_t count) {
    eqf_context *ctx = trainer->ctx;
    const eqf__matching *m = trainer->matching;
    const eqf__gradient_workspace *w = &trainer->workspace;
    const eqf_flow *flow = trainer->flow;
    eqf__field *field = flow->field;
    const size_t blocks = num_blocks_of(trainer, count);
    EQF__TRY(launch_values(trainer, count));
    EQF__TRY(eqf__fill_zero(ctx, w->tape.d_grad_shared, w->tape.grad_shared_count * sizeof(float)));
    EQF__TRY(eqf__fill_zero(ctx, w->d_adjoint_x, blocks * flow->vector_width * flow->num_dof * sizeof(float)));
    EQF__TRY(field->batched->vjp(field, &w->noise, blocks, w->d_x, m->d_times, m->d_velocity, NULL, w->d_adjoint_x,
                                 w->tape.d_grad_shared));
    EQF__TRY(eqf__prior_sum_losses(&flow->prior, blocks, w->d_value, w->d_error, w->d_weight, w->d_sums,
                                   EQF__SUM_FLOW_MATCHING));
    return field->batched->contract(field, w->tape.d_grad_shared, w->d_gradient);
}

/* ---- Held-out pairs ---
 * -------------------------------------------------------------------------------------------- */

/* Number of held-out pairs: each datum comes several times, with different latents and times. */
static size_t num_held_out_pairs(const eqf_trainer *trainer) {
    const size_t times = 4 * eqf__num_validated(trainer);
    return times < most_held_out_pairs ? times : most_held_out_pairs;
}

static eqf_status make_held_out(eqf_trainer *trainer, const eqf__batch_share *share) {
    eqf__matching *m = trainer->matching;
    if (m->held_out_latents != NULL) return EQF_OK;
    const size_t num_dof = trainer->flow->num_dof;
    eqf__pairing_options options = m->options;
    options.seed = eqf__noise_seed(&trainer->options, EQF__NOISE_HELD_OUT_PAIRS);
    m->num_held_out = share->count;
    m->held_out_data = eqf__alloc(trainer->ctx, share->count * num_dof, sizeof(float), "the held-out pairs");
    float *latents = eqf__alloc(trainer->ctx, share->count * num_dof, sizeof(float), "the held-out pairs");
    eqf_status status = m->held_out_data != NULL && latents != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK)
        status = eqf__pairs_make(trainer->ctx, &options, eqf__num_validated(trainer), trainer->held_out, share->first,
                                 share->count, latents, m->held_out_data);
    if (status == EQF_OK) {
        m->held_out_latents = latents;
        return EQF_OK;
    }
    free(latents);
    free(m->held_out_data);
    m->held_out_data = NULL;
    return status;
}

/* The mean loss of held-out pairs; pairs and times are the same at each measurement. */
eqf_status eqf__matching_measure(eqf_trainer *trainer, double *mean_out, double *choosing_out) {
    const size_t num = num_held_out_pairs(trainer), num_dof = trainer->flow->num_dof, V = trainer->flow->vector_width;
    const eqf__batch_share share = eqf__share_of(trainer, num);
    eqf__matching *m = trainer->matching;
    const uint64_t seed = eqf__noise_seed(&trainer->options, EQF__NOISE_HELD_OUT_PAIRS);
    EQF__TRY(make_held_out(trainer, &share));
    float *values = eqf__alloc(trainer->ctx, m->max_samples + V, sizeof *values, "losses");
    if (values == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    double sum = 0;
    eqf_status status = EQF_OK;
    for (size_t done = 0; status == EQF_OK && done < share.count;) {
        const size_t left = share.count - done, count = left < m->max_samples ? left : m->max_samples;
        status = upload(trainer, seed, share.first + done, share.first + done, num, count,
                        m->held_out_latents + done * num_dof, m->held_out_data + done * num_dof);
        if (status == EQF_OK) status = launch_values(trainer, count);
        if (status == EQF_OK)
            status = eqf__buffer_read(trainer->ctx, trainer->workspace.d_value, 0, count * sizeof(float), values);
        for (size_t b = 0; status == EQF_OK && b < count; b++) sum += values[b];
        done += count;
    }
    free(values);
    if (status == EQF_OK) status = eqf__sum_doubles(trainer->ctx, 1, &sum);
    *choosing_out = *mean_out = sum / (double)num;
    return status;
}
