/* Known answers for selftest that belong to no problem: sums of partial gradients, and the probe of the device's
 * limits. */
#include <math.h>

#include "answers.h"
#include "eqflow/bench.h"
#include "host_reference.h"

enum { NUM_PARTIALS = 5, NUM = 32 };

/* The problems of flows are so small that they have one partial sum only, so sums of many are checked here. */
EQF__ANSWER(sums) {
    eqf_context *ctx = problem->ctx;
    eqf__kernel sum = {0};
    cl_mem d_partials = NULL, d_sum = NULL;
    float partials[NUM_PARTIALS * NUM], got[NUM];
    const cl_uint num_partials = NUM_PARTIALS, num = NUM;
    for (unsigned i = 0; i < NUM_PARTIALS * NUM; i++) partials[i] = (float)eqf__host_number(i, 22);
    eqf_status status = eqf__kernel_create(ctx, problem->programs[0], "sum_partials", &sum);
    if (status == EQF_OK) status = eqf__buffer_create(ctx, sizeof partials, partials, "the known answers", &d_partials);
    if (status == EQF_OK) status = eqf__buffer_create(ctx, sizeof got, NULL, "the known answers", &d_sum);
    if (status == EQF_OK)
        status = EQF__LAUNCH(ctx, &sum, eqf__stride(ctx, NUM / ctx->device->vector_width), 0, EQF__ARG(d_partials),
                             EQF__ARG(d_sum), EQF__ARG(num_partials), EQF__ARG(num));
    if (status == EQF_OK) status = eqf__buffer_read(ctx, d_sum, 0, sizeof got, got);
    for (unsigned i = 0; i < NUM && status == EQF_OK; i++) {
        double expected = 0;
        for (unsigned p = 0; p < NUM_PARTIALS; p++) expected += partials[p * NUM + i];
        *error_out = eqf__host_worse(*error_out, fabs(expected - (double)got[i]));
    }
    eqf__kernel_destroy(&sum);
    eqf__buffer_destroy(&d_partials);
    eqf__buffer_destroy(&d_sum);
    return status;
}

/* The probes check their own sums and copies. */
EQF__ANSWER(limits) {
    char *text;
    *error_out = 0;
    const eqf_status status = eqf_bench_describe(problem->ctx, &text);
    eqf_free(text);
    return status;
}

eqf_status eqf__check_sums(eqf__checker *checker) {
    static const char *const files[] = {"common/real.clh", "common/sum.cl", NULL};
    eqf__problem problem = {.ctx = checker->ctx,
                            .topic = EQF__TOPIC_SUMS,
                            .answers = EQF__ANSWERS_OF_GRADIENTS,
                            .plain = eqf__plain_width(checker->ctx)};
    EQF__TRY(eqf__program_get(checker->ctx, "sums", files, "", &problem.programs[0]));
    return eqf__check(checker, &problem);
}

eqf_status eqf__check_limits(eqf__checker *checker) {
    eqf__problem problem = {.ctx = checker->ctx, .topic = EQF__TOPIC_LIMITS, .answers = EQF__ANSWERS_OF_VALUES};
    return eqf__check(checker, &problem);
}
