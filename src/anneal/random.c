/* Random numbers of the walkers: Philox 4x32-10 (Salmon et al., SC 2011), counted by purpose, step, move and walker. */
#include <math.h>

#include <Random123/philox.h>

#include "anneal.h"

static philox4x32_ctr_t words_of(eqf__anneal_place place, uint64_t walker, uint32_t draw) {
    const philox4x32_key_t key = {{(uint32_t)place.seed, (uint32_t)(place.seed >> 32)}};
    /* One word holds 5 bits of the purpose, 13 of the move and 14 of the draw. */
    const uint32_t packed = (uint32_t)place.purpose << 27 | (place.move & 0x1fffu) << 14 | (draw & 0x3fffu);
    const philox4x32_ctr_t counter = {{(uint32_t)walker, (uint32_t)(walker >> 32) ^ 0x616e6e65u, place.step, packed}};
    return philox4x32(counter, key);
}

/* A number on (0, 1) from 32 bits. */
static double open_unit(uint32_t word) {
    return ((double)word + 0.5) * 0x1p-32;
}

void eqf__anneal_normals(eqf__anneal_place place, uint64_t walker, size_t num, double *normals_out) {
    for (size_t n = 0; n < num; n += 4) {
        const philox4x32_ctr_t words = words_of(place, walker, (uint32_t)(n / 4 + 1));
        /* Box and Muller 1958 */
        for (size_t pair = 0; pair < 2; pair++) {
            const double radius = sqrt(-2.0 * log(open_unit(words.v[2 * pair])));
            const double angle = 6.283185307179586 * open_unit(words.v[2 * pair + 1]);
            if (n + 2 * pair < num) normals_out[n + 2 * pair] = radius * cos(angle);
            if (n + 2 * pair + 1 < num) normals_out[n + 2 * pair + 1] = radius * sin(angle);
        }
    }
}

double eqf__anneal_uniform(eqf__anneal_place place, uint64_t walker) {
    const philox4x32_ctr_t words = words_of(place, walker, 0);
    const uint64_t bits = (uint64_t)words.v[0] << 32 | words.v[1];
    return ((double)(bits >> 11) + 0.5) * 0x1p-53;
}

/* splitmix64 (Steele, Lea and Flood 2014) of the place. */
uint64_t eqf__anneal_seed(eqf__anneal_place place) {
    uint64_t s = place.seed ^ ((uint64_t)place.step << 32 | (uint64_t)place.move << 8 | (uint64_t)place.purpose);
    s += UINT64_C(0x9e3779b97f4a7c15);
    s = (s ^ (s >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    s = (s ^ (s >> 27)) * UINT64_C(0x94d049bb133111eb);
    return s ^ (s >> 31);
}
