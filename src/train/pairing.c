#include "pairing.h"

#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "alignment.h"
#include "assignment.h"
#include "host_reference.h"
#include "prior_kinds.h"

/* ---- The sequence of data ---------------------------------------------------------------------------------------- */

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014), a pseudorandom bijection. */
static uint64_t mix(uint64_t number) {
    number += 0x9e3779b97f4a7c15u;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9u;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebu;
    return number ^ (number >> 31);
}

/* The row at a position. An epoch of num positions has every row once, each epoch in another order: a Feistel network
 * on the smallest even number of bits that holds num, applied again until the result is below num (Black and Rogaway
 * 2002), as in cl/train/batch.cl. */
static size_t row_at(uint64_t seed, uint64_t position, size_t num) {
    const uint64_t epoch = mix(seed ^ mix(position / num));
    unsigned half_bits = 1;
    while ((uint64_t)1 << (2 * half_bits) < num) half_bits++;
    const uint64_t mask = ((uint64_t)1 << half_bits) - 1;
    uint64_t place = position % num;
    do {
        uint64_t left = place >> half_bits, right = place & mask;
        for (unsigned round = 0; round < 6; round++) {
            const uint64_t next = left ^ (mix(epoch ^ mix(right * 8 + round)) & mask);
            left = right;
            right = next;
        }
        place = left << half_bits | right;
    } while (place >= num);
    return (size_t)place;
}

/* ---- Pairs ------------------------------------------------------------------------------------------------------- */

/* Working memory of one thread. */
typedef struct pair_maker {
    const eqf__pairing_options *options;
    eqf__alignment *alignment;
    double *latents, *data; /* [group_size, N*D + 4] each; draws of normals need 4 more numbers */
    double *cost, *doubles;
    unsigned *indices, *columns;
    size_t stride;
} pair_maker;

static void maker_clear(pair_maker *maker) {
    eqf__alignment_destroy(&maker->alignment);
    free(maker->latents);
    free(maker->cost);
    free(maker->indices);
}

static eqf_status maker_create(eqf_context *ctx, const eqf__pairing_options *options, pair_maker *maker_out) {
    pair_maker *m = maker_out;
    const size_t n = options->group_size;
    *m = (pair_maker){.options = options, .stride = (size_t)options->num_particles * options->space_dim + 4};
    const bool is_dealt = options->kind != EQF_PAIRING_NONE && n > 1;
    m->latents = eqf__alloc(ctx, 2 * n * m->stride, sizeof(double), "pairs");
    m->cost = eqf__alloc(ctx, is_dealt ? n * n + EQF__ASSIGNMENT_DOUBLES(n) : 0, sizeof(double), "pairs");
    m->indices = eqf__alloc(ctx, is_dealt ? EQF__ASSIGNMENT_INDICES(n) + n : 0, sizeof(unsigned), "pairs");
    eqf_status status = m->latents == NULL || m->cost == NULL || m->indices == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
    if (status == EQF_OK)
        status = eqf__alignment_create(ctx, options->num_particles, options->num_b, options->space_dim, &m->alignment);
    if (status != EQF_OK) {
        maker_clear(m);
        return status;
    }
    m->data = m->latents + n * m->stride;
    if (is_dealt) {
        m->doubles = m->cost + n * n;
        m->columns = m->indices + EQF__ASSIGNMENT_INDICES(n);
    }
    return EQF_OK;
}

/* The cost of the pair of latent z and datum x: |z - x|^2, or that of the nearest copy of x if pairs are equivariant
 * and the particles are few. */
static double cost_of(const pair_maker *m, const double *z, const double *x) {
    const double distance =
        m->options->kind == EQF_PAIRING_EQUIVARIANT ? eqf__aligned_distance(m->alignment, z, x) : NAN;
    if (!isnan(distance)) return distance;
    double square = 0;
    for (size_t c = 0; c + 4 < m->stride; c++) square += (z[c] - x[c]) * (z[c] - x[c]);
    return square;
}

/* Pairs of one group of positions, at most group_size. */
static void make_group(pair_maker *m, size_t num, const float *data, uint64_t first, unsigned count, float *latents_out,
                       float *data_out) {
    const eqf__pairing_options *o = m->options;
    const eqf__prior_kind *prior = eqf__prior_kind_of(o->model->prior_kind);
    const size_t num_dof = m->stride - 4;
    for (unsigned b = 0; b < count; b++) {
        double *x = m->data + b * m->stride;
        const float *row = data + row_at(o->seed, first + b, num) * num_dof;
        for (size_t c = 0; c < num_dof; c++) x[c] = row[c];
        eqf__host_centre(o->num_particles, o->space_dim, x);
        prior->host_sample(o->model, o->seed, first + b, m->latents + b * m->stride);
    }
    const bool is_dealt = o->kind != EQF_PAIRING_NONE && count > 1;
    for (unsigned i = 0; is_dealt && i < count; i++)
        for (unsigned j = 0; j < count; j++)
            m->cost[i * count + j] = cost_of(m, m->latents + j * m->stride, m->data + i * m->stride);
    if (is_dealt) eqf__assign(count, m->cost, m->doubles, m->indices, m->columns);
    for (unsigned b = 0; b < count; b++) {
        const double *z = m->latents + (is_dealt ? m->columns[b] : b) * m->stride;
        double *x = m->data + b * m->stride;
        if (o->kind == EQF_PAIRING_EQUIVARIANT)
            eqf__align(m->alignment, z, o->num_starts, o->seed, (first + b) * (o->num_starts > 0 ? o->num_starts : 1),
                       x);
        for (size_t c = 0; c < num_dof; c++) {
            latents_out[b * num_dof + c] = (float)z[c];
            data_out[b * num_dof + c] = (float)x[c];
        }
    }
}

static void make_batch(pair_maker *m, size_t num, const float *data, uint64_t first, size_t num_pairs,
                       float *latents_out, float *data_out) {
    const size_t num_dof = m->stride - 4;
    for (size_t done = 0; done < num_pairs;) {
        const size_t left = num_pairs - done, count = left < m->options->group_size ? left : m->options->group_size;
        make_group(m, num, data, first + done, (unsigned)count, latents_out + done * num_dof,
                   data_out + done * num_dof);
        done += count;
    }
}

eqf_status eqf__pairs_make(eqf_context *ctx, const eqf__pairing_options *options, size_t num, const float *data,
                           uint64_t first, size_t num_pairs, float *latents_out, float *data_out) {
    pair_maker maker;
    EQF__TRY(maker_create(ctx, options, &maker));
    make_batch(&maker, num, data, first, num_pairs, latents_out, data_out);
    maker_clear(&maker);
    return EQF_OK;
}

/* ---- Threads ----------------------------------------------------------------------------------------------------- */

enum { MAX_THREADS = 8, SLOTS_A_THREAD = 2 };

/* A batch that is being made, ready, or in use. */
typedef struct pair_slot {
    float *latents, *data; /* [num_pairs, N, D] */
    uint64_t batch;
    bool is_ready;
} pair_slot;

struct eqf__pairing {
    eqf_context *ctx;
    eqf__pairing_options options;
    const float *data; /* [num, N, D], borrowed */
    size_t num, batch_size, first, num_pairs;
    unsigned num_threads, num_running, num_slots;
    pair_maker makers[MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    unsigned num_started; /* threads that have taken a pair_maker */
    pair_slot slots[MAX_THREADS * SLOTS_A_THREAD + 1];
    /* The lock protects what follows. Batches below `oldest` have been used; those from `next` on are not begun. */
    pthread_mutex_t lock;
    pthread_cond_t has_room, has_batch;
    bool has_lock, is_stopped;
    uint64_t oldest, next;
};

static void *run_thread(void *argument) {
    eqf__pairing *p = argument;
    pthread_mutex_lock(&p->lock);
    pair_maker *maker = &p->makers[p->num_started++];
    while (!p->is_stopped) {
        if (p->next >= p->oldest + p->num_slots) {
            pthread_cond_wait(&p->has_room, &p->lock);
            continue;
        }
        const uint64_t batch = p->next++;
        pair_slot *slot = &p->slots[batch % p->num_slots];
        slot->is_ready = false;
        slot->batch = batch;
        pthread_mutex_unlock(&p->lock);
        make_batch(maker, p->num, p->data, batch * p->batch_size + p->first, p->num_pairs, slot->latents, slot->data);
        pthread_mutex_lock(&p->lock);
        slot->is_ready = true;
        pthread_cond_broadcast(&p->has_batch);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static eqf_status create_parts(eqf__pairing *p) {
    const size_t num_dof = (size_t)p->options.num_particles * p->options.space_dim;
    for (unsigned t = 0; t < p->num_threads; t++) EQF__TRY(maker_create(p->ctx, &p->options, &p->makers[t]));
    for (unsigned s = 0; s < p->num_slots; s++) {
        p->slots[s].latents = eqf__alloc(p->ctx, 2 * p->num_pairs * num_dof, sizeof(float), "pairs");
        if (p->slots[s].latents == NULL) return EQF_ERROR_OUT_OF_MEMORY;
        p->slots[s].data = p->slots[s].latents + p->num_pairs * num_dof;
    }
    p->has_lock = pthread_mutex_init(&p->lock, NULL) == 0 && pthread_cond_init(&p->has_room, NULL) == 0 &&
                  pthread_cond_init(&p->has_batch, NULL) == 0;
    return p->has_lock ? EQF_OK
                       : eqf__fail(p->ctx, EQF_ERROR_OUT_OF_MEMORY, "no lock could be made for the pairs' threads");
}

static unsigned default_threads(void) {
    const long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count < 1 ? 1 : count > MAX_THREADS ? MAX_THREADS : (unsigned)count;
}

eqf_status eqf__pairing_create(eqf_context *ctx, const eqf__pairing_options *options, size_t num, const float *data,
                               size_t batch_size, size_t first, size_t num_pairs, unsigned num_threads,
                               eqf__pairing **pairing_out) {
    *pairing_out = NULL;
    eqf__pairing *p = eqf__alloc(ctx, 1, sizeof *p, "pairs");
    if (p == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    p->ctx = ctx;
    p->options = *options;
    p->num = num;
    p->data = data;
    p->batch_size = batch_size;
    p->first = first;
    p->num_pairs = num_pairs;
    p->num_threads = num_threads == 0 ? default_threads() : num_threads > MAX_THREADS ? MAX_THREADS : num_threads;
    p->num_slots = SLOTS_A_THREAD * p->num_threads + 1; /* one more, for the batch in use */
    const eqf_status status = create_parts(p);
    if (status != EQF_OK) {
        eqf__pairing_destroy(&p);
        return status;
    }
    *pairing_out = p;
    return EQF_OK;
}

static eqf_status start_threads(eqf__pairing *p, uint64_t batch) {
    p->oldest = p->next = batch;
    for (; p->num_running < p->num_threads; p->num_running++)
        if (pthread_create(&p->threads[p->num_running], NULL, run_thread, p) != 0) break;
    if (p->num_running == 0) return eqf__fail(p->ctx, EQF_ERROR_OUT_OF_MEMORY, "no thread could be made for the pairs");
    return EQF_OK;
}

eqf_status eqf__pairing_take(eqf__pairing *p, uint64_t batch, const float **latents_out, const float **data_out) {
    if (p->num_running == 0) EQF__TRY(start_threads(p, batch));
    pair_slot *slot = &p->slots[batch % p->num_slots];
    pthread_mutex_lock(&p->lock);
    p->oldest = batch;
    pthread_cond_broadcast(&p->has_room);
    while (p->next <= batch || slot->batch != batch || !slot->is_ready) pthread_cond_wait(&p->has_batch, &p->lock);
    pthread_mutex_unlock(&p->lock);
    *latents_out = slot->latents;
    *data_out = slot->data;
    return EQF_OK;
}

void eqf__pairing_destroy(eqf__pairing **pairing) {
    if (*pairing == NULL) return;
    eqf__pairing *p = *pairing;
    if (p->num_running > 0) {
        pthread_mutex_lock(&p->lock);
        p->is_stopped = true;
        pthread_cond_broadcast(&p->has_room);
        pthread_mutex_unlock(&p->lock);
        for (unsigned t = 0; t < p->num_running; t++) pthread_join(p->threads[t], NULL);
    }
    if (p->has_lock) {
        pthread_cond_destroy(&p->has_room);
        pthread_cond_destroy(&p->has_batch);
        pthread_mutex_destroy(&p->lock);
    }
    for (unsigned t = 0; t < p->num_threads; t++) maker_clear(&p->makers[t]);
    for (unsigned s = 0; s < p->num_slots; s++) free(p->slots[s].latents);
    free(p);
    *pairing = NULL;
}
