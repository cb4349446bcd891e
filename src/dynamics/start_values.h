/* Random start values of parameters, on the host. */
#ifndef EQF_START_VALUES_H
#define EQF_START_VALUES_H

#include <stdint.h>

/* Standard normal number `index` of a seed: one Philox4x32-10 block, Box-Muller in double. */
double eqf__start_normal(uint64_t seed, uint32_t index);

#endif
