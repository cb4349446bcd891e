#include "start_values.h"

#include <math.h>

#include <Random123/philox.h>

/* The last word of the Philox counter for start values, "init". Other uses of random numbers have another. */
static const uint32_t init_stream = 0x696e6974;

double eqf__start_normal(uint64_t seed, uint32_t index) {
    philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    philox4x32_ctr_t counter = {{index, 0, 0, init_stream}};
    philox4x32_ctr_t random = philox4x32(counter, key);
    const double unit = 0x1p-53; /* 53 bits of the 64, so that the conversion to double is exact */
    double radial = (double)(((((uint64_t)random.v[0] << 32) | random.v[1]) >> 11) + 1) * unit; /* (0, 1] */
    double angular = (double)((((uint64_t)random.v[2] << 32) | random.v[3]) >> 11) * unit;      /* [0, 1) */
    const double two_pi = 6.283185307179586476925;
    return sqrt(-2.0 * log(radial)) * cos(two_pi * angular);
}
