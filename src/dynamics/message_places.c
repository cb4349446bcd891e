/* Chooses the addresses of the message field's tensors in a slice of the scratch memory. */
#include "message_internal.h"

static unsigned take(unsigned *end, size_t count) {
    const unsigned at = *end;
    *end += (unsigned)count;
    return at;
}

eqf__message_strides eqf__message_strides_of(const eqf__message_shape *shape) {
    const unsigned H = shape->num_scalars, M = shape->num_vectors, E = shape->num_edge, R = shape->num_reduced;
    return (eqf__message_strides){.h = H | 1,
                                  .m = M | 1,
                                  .e = E | 1,
                                  .r = R | 1,
                                  .k = shape->num_radial | 1,
                                  .f = shape->num_filters | 1,
                                  .ab = (H + M) | 1,
                                  .mixed = (2 * H + 2 * M) | 1,
                                  .pq = (2 * M) | 1,
                                  .hn = (H + R) | 1,
                                  .bc = (2 * E) | 1,
                                  .invariants = (3 * R) | 1};
}

/* The tensors of the hops' values. */
static void place_hops(size_t L, const eqf__message_strides *stride, size_t N, size_t D, unsigned *end,
                       eqf__message_places *places) {
    for (size_t l = 1; l <= L; l++) {
        eqf__message_hop_places *hop = &places->hops[l];
        hop->z = take(end, 3 * N * stride->h);
        hop->w = take(end, N * D * stride->m); /* hop 1 does not use it */
        hop->u = take(end, N * D * stride->m);
        if (l == 1) {
            hop->sums = take(end, N * stride->h);
            continue;
        }
        hop->ab = take(end, N * stride->ab);
        hop->vu = take(end, N * D * stride->m);
        hop->p = take(end, N * stride->m);
        hop->pq = take(end, N * D * stride->pq);
        hop->n = take(end, N * stride->m);
        hop->mixed = take(end, N * stride->mixed);
        hop->gate = take(end, N * stride->m);
    }
    places->h_n = take(end, N * stride->hn);
    for (size_t l = 1; l <= L; l++) {
        places->hops[l].h = l < L ? places->hops[l + 1].mixed : places->h_n;
        places->hops[l].h_stride = l < L ? stride->mixed : stride->hn;
    }
}

/* The tensors of the rows of derivatives. */
static void place_rows(size_t L, const eqf__message_strides *stride, size_t N, size_t D, unsigned *end,
                       eqf__message_places *places) {
    const size_t full = N * D, reduced = N + D - 1;
    places->dh_n = take(end, reduced * stride->hn);
    for (size_t l = 1; l <= L; l++) {
        eqf__message_hop_places *hop = &places->hops[l];
        const size_t rows = l == L || l == 1 ? reduced : full;
        hop->dz = take(end, rows * stride->h);
        hop->du = take(end, (l == L ? reduced : full) * D * stride->m);
        if (l == 1) {
            hop->dsums = take(end, rows * stride->h);
            continue;
        }
        if (l == 2) hop->dab_reduced = take(end, reduced * stride->ab);
        hop->dab = take(end, full * stride->ab);
        hop->dvu = take(end, full * D * stride->m);
        hop->dp = take(end, rows * stride->m);
        hop->dw = take(end, rows * D * stride->m);
        hop->dpq = take(end, rows * D * stride->pq);
        hop->dmixed = take(end, rows * stride->mixed);
        hop->dgate = take(end, rows * stride->m);
        if (l < L) continue;
        hop->dm = take(end, full * stride->h);
        hop->dp_full = take(end, full * stride->m);
        hop->dw_full = take(end, full * D * stride->m);
        hop->du_reduced = take(end, reduced * D * stride->m);
    }
    /* Full rows of h have the place in which the next hop reads them, if it uses full rows. */
    for (size_t l = 1; l <= L; l++) {
        eqf__message_hop_places *hop = &places->hops[l];
        const bool is_before_full = l > 1 && l + 1 < L;
        hop->dh_stride = l == L ? stride->hn : is_before_full ? stride->mixed : stride->h;
        hop->dh = l == L           ? places->dh_n
                  : is_before_full ? places->hops[l + 1].dmixed
                                   : take(end, (l == 1 ? reduced : full) * stride->h);
    }
}

void eqf__message_place(const eqf__message_shape *shape, unsigned num_particles, unsigned space_dim,
                        eqf__message_places *places_out) {
    const size_t N = num_particles, D = space_dim, P = N * (N - 1) / 2;
    const size_t L = shape->num_hops, edges = N - 1, reduced = N + D - 1;
    const eqf__message_strides strides = eqf__message_strides_of(shape), *stride = &strides;
    eqf__message_places *places = places_out;
    *places = (eqf__message_places){.tau = 0};
    eqf__message_memory *memory = &places->memory;
    unsigned end = 0;
    memory->x = take(&end, N * D);
    memory->times = take(&end, EQF__MESSAGE_NUM_TIME);
    memory->r = take(&end, N * N * D);
    memory->rho = take(&end, N * N * D);
    memory->d = take(&end, P);
    memory->e = take(&end, P * stride->k);
    memory->e1 = take(&end, P * stride->k);
    memory->e2 = take(&end, P * stride->k);
    memory->f = take(&end, P * stride->f);
    memory->f1 = take(&end, P * stride->f);
    places->tau = take(&end, shape->num_times);
    place_hops(L, stride, N, D, &end, places);
    places->y = take(&end, N * D * stride->r);
    places->bc = take(&end, N * stride->bc);
    places->gate_out = take(&end, N * stride->m);
    places->v = take(&end, N * D);
    places->div = take(&end, 1);
    memory->source = end;
    places->invariants = take(&end, 2 * edges * stride->invariants);
    places->edge_z = take(&end, 2 * edges * stride->e);
    places->edge_act = take(&end, 2 * edges * stride->e);
    places->edge_q = take(&end, 2 * edges * stride->e);
    places->g = take(&end, 2 * edges);
    place_rows(L, stride, N, D, &end, places);
    places->dy = take(&end, reduced * D * stride->r);
    places->dbc = take(&end, reduced * stride->bc);
    places->dgate_out = take(&end, D * stride->m);
    memory->size = end;
}

void eqf__message_memory_of(const eqf__message_shape *shape, unsigned num_particles, unsigned space_dim,
                            eqf__message_memory *memory_out) {
    eqf__message_places places;
    eqf__message_place(shape, num_particles, space_dim, &places);
    *memory_out = places.memory;
}
