/* A flow's field against the double-precision formula: for every way to evaluate it. */
#ifndef EQF_TESTS_FIELD_CHECK_H
#define EQF_TESTS_FIELD_CHECK_H

#include "support.h"

/* Velocity relative to the largest component of the configuration's velocity - or, where the terms of phi cancel to
 * less than a tenth, to a tenth of their absolute sum -, divergence to the sum of its absolute pair terms. */
#define test_field_tolerance 2e-5

typedef struct test_field {
    eqf_context *ctx;
    const test_system *system;
    eqf_model *model;
    eqf_flow *flow;
    ref_radial *radial;
} test_field;

/* A trained-like model of the system, its flow and its reference; options NULL: the preset's. */
test_field test_field_set_up(const test_system *system, const eqf_model_options *options,
                             eqf_field_evaluation evaluation, uint64_t seed);
void test_field_tear_down(test_field *field);
const char *test_evaluation_name(eqf_field_evaluation evaluation); /* "table", "direct" */

/* Velocity and divergence of x [B, N, D] at stage time t: the worst errors go to the two. */
void test_field_compare(const test_field *field, double t, size_t batch_size, const float *x,
                        test_worst *velocity_worst, test_worst *divergence_worst);

/* Two particles at one place, one particle far away: the formula has a value there. NaN and infinity: only their own
 * sample is lost. Three particles or more. */
bool test_field_edges(const test_system *system, eqf_field_evaluation evaluation, uint64_t seed);

#endif
