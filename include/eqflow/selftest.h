/* Known-answer self-test of the device: each kernel against a double-precision host computation. */
#ifndef EQFLOW_SELFTEST_H
#define EQFLOW_SELFTEST_H

#include <stdbool.h>

#include "eqflow/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eqf_selftest_result {
    size_t struct_size; /* set by the library */
    const char *name; /* "radial table, rk4: samples"; valid during the call */
    double error;     /* largest deviation measured */
    double tolerance;
    bool has_passed;
    const char *kernels; /* that ran, "program:kernel program:kernel"; valid during the call */
} eqf_selftest_result;

/* Called once for each check, always in the same order. */
typedef void (*eqf_selftest_callback)(void *user, const eqf_selftest_result *result);

/* Runs every check on ctx's device. SELF_TEST if one failed (all are run and reported first). */
eqf_status eqf_selftest(eqf_context *ctx, eqf_selftest_callback callback, void *user);
/* The same for the checks whose name contains subject, such as "dopri5" or "double well"; NULL: all. NOT_FOUND if there
 * is none. */
eqf_status eqf_selftest_of(eqf_context *ctx, const char *subject, eqf_selftest_callback callback, void *user);

#ifdef __cplusplus
}
#endif
#endif
