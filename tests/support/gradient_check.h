/* The exact gradient of the discretised flow against central differences of the double-precision loss: for every way to
 * evaluate the field. */
#ifndef EQF_TESTS_GRADIENT_CHECK_H
#define EQF_TESTS_GRADIENT_CHECK_H

#include "support.h"

typedef struct test_gradient_case {
    const char *system;
    unsigned num_distance, num_time, num_steps;
    size_t batch_size;
    size_t most_checked; /* of each group, and of the state's coordinates: chosen at random */
} test_gradient_case;

/* Loss, gradient and adjoint of the state, by table and by direct summation; prints the errors. Each configuration
 * is stretched to the longest pair distance longest (0: as it is). */
bool test_gradient_check(const test_gradient_case *c, double penalty, double longest, uint64_t seed);

/* Two particles at one place: the parameters' gradient is well-defined there, the state's must at least be finite. A
 * non-finite configuration spoils the mean, not the process. Asserts on its own. */
void test_gradient_edges(eqf_field_evaluation evaluation);

#endif
