/* The parts of selftest that are not flows (parts.c). */
#ifndef EQF_SELFTEST_INTERNAL_H
#define EQF_SELFTEST_INTERNAL_H

#include "check.h"

typedef struct eqf__selftest_part {
    const char *name;
    eqf_status (*run)(eqf__checker *checker);
} eqf__selftest_part;
extern const eqf__selftest_part eqf__selftest_parts[];
extern const size_t eqf__selftest_num_parts;

#endif
