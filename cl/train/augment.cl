/* Augmentation of a training batch: x_i <- Q x_p(i) with Q uniform (Haar) on O(D), reflections included, and p uniform
 * among the permutations of the N particles within their species. The energy does not change. Defined by the host: N,
 * D, FIRST_B: the first particle of species B, or N with one species. Philox counter (position low, high, number,
 * STREAM_AUGMENT), key = seed; position counts the configurations that training has drawn, so that no random state is
 * stored and any step can be repeated. */
#define STREAM_AUGMENT 0x61756774u

/* words: four random words. uniform_open does not use the low bits; they choose between rotation and reflection. */
static inline void draw_orthogonal(const uintv words[4], realv q[D][D]) {
    realv mirror = (realv)1 - (realv)2 * convert_realv(words[0] & (uintv)1u);
#if D == 1
    q[0][0] = mirror;
#elif D == 2
    realv half_turns = REAL(2.0) * uniform_open(words[0]);
    realv c = cospi(half_turns), s = sinpi(half_turns);
    q[0][0] = c;
    q[1][0] = s;
    q[0][1] = -s * mirror;
    q[1][1] = c * mirror;
#else
    /* Four normals give a uniform unit quaternion a + b i + c j + d k; the factor -1 is a reflection in three
     * dimensions. */
    realv a, b, c, d;
    normal_pair(words[0], words[1], &a, &b);
    normal_pair(words[2], words[3], &c, &d);
    realv scale = REAL(1.0) / sqrt(a * a + b * b + c * c + d * d);
    a *= scale;
    b *= scale;
    c *= scale;
    d *= scale;
    q[0][0] = mirror * (a * a + b * b - c * c - d * d);
    q[0][1] = mirror * REAL(2.0) * (b * c - a * d);
    q[0][2] = mirror * REAL(2.0) * (b * d + a * c);
    q[1][0] = mirror * REAL(2.0) * (b * c + a * d);
    q[1][1] = mirror * (a * a - b * b + c * c - d * d);
    q[1][2] = mirror * REAL(2.0) * (c * d - a * b);
    q[2][0] = mirror * REAL(2.0) * (b * d - a * c);
    q[2][1] = mirror * REAL(2.0) * (c * d + a * b);
    q[2][2] = mirror * (a * a - b * b - c * c + d * d);
#endif
}

/* Changes x_blocked [num_blocks][N*D][V]; lane l of block b has position first_position + b V + l. One work-item for
 * each block. */
__kernel void augment(__global real *x_blocked, uint seed_low, uint seed_high, ulong first_position, uint num_blocks) {
    uint block = get_global_id(0);
    if (block >= num_blocks) return;
    __global real *x = x_blocked + (size_t)block * (N * D * V);
    ulong first = first_position + (ulong)block * V;
    uintv low = (uint)first + lane_index();
    uintv high = (uintv)(uint)(first >> 32) + select((uintv)0, (uintv)1, low < (uintv)(uint)first);
    uintv words[4];

    /* Fisher and Yates: particle i is exchanged with one of first ... i, of its species. The index is the upper half of
     * a random word times their number: its distribution is uniform to 1e-6. */
    for (uint i = N - 1; i > 0; i--) {
        uint draw = N - 1 - i, first_alike = i >= FIRST_B ? FIRST_B : 0;
        if (draw % 4 == 0) random_words(seed_low, seed_high, low, high, 1 + draw / 4, STREAM_AUGMENT, words);
        uintv word = draw % 4 == 0 ? words[0] : draw % 4 == 1 ? words[1] : draw % 4 == 2 ? words[2] : words[3];
        uint partner[V];
        store_lanes(partner, first_alike + mul_hi(word, (uintv)(i + 1 - first_alike)));
        for (uint lane = 0; lane < V; lane++)
            for (uint d = 0; d < D; d++) {
                size_t here = (size_t)(i * D + d) * V + lane, there = (size_t)(partner[lane] * D + d) * V + lane;
                real kept = x[here];
                x[here] = x[there];
                x[there] = kept;
            }
    }
    realv q[D][D];
    random_words(seed_low, seed_high, low, high, 0, STREAM_AUGMENT, words);
    draw_orthogonal(words, q);
    for (uint i = 0; i < N; i++) {
        realv r[D];
        for (uint d = 0; d < D; d++) r[d] = load_lanes(x + (size_t)(i * D + d) * V);
        for (uint d = 0; d < D; d++) {
            realv turned = 0;
            for (uint e = 0; e < D; e++) turned = fma(q[d][e], r[e], turned);
            store_lanes(x + (size_t)(i * D + d) * V, turned);
        }
    }
}
