/* Known answers of the log-dispersion term: adjoints times a factor of each sample (cl/train/dispersion.cl). */
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "host_reference.h"

static eqf_status compare(eqf_context *ctx, const eqf__kernel *scale, size_t num_dof, float *before, float *after,
                          cl_mem d[3], double *error_out) {
    const size_t V = ctx->device->vector_width, num_blocks = 2, lanes = num_blocks * V;
    const size_t counts[3] = {lanes * num_dof, lanes, lanes}; /* adjoint_x, adjoint_log_det, factor */
    const cl_uint blocks = (cl_uint)num_blocks;
    size_t offset = 0;
    for (size_t i = 0; i < counts[0] + 2 * lanes; i++) before[i] = (float)eqf__host_number((unsigned)i, 41);
    for (unsigned a = 0; a < 3; offset += counts[a++])
        EQF__TRY(eqf__buffer_create(ctx, counts[a] * sizeof(float), before + offset, "the known answers", &d[a]));
    EQF__TRY(EQF__LAUNCH(ctx, scale, num_blocks, 0, EQF__ARG(d[0]), EQF__ARG(d[1]), EQF__ARG(d[2]), EQF__ARG(blocks)));
    EQF__TRY(eqf__buffer_read(ctx, d[0], 0, counts[0] * sizeof(float), after));
    EQF__TRY(eqf__buffer_read(ctx, d[1], 0, lanes * sizeof(float), after + counts[0]));
    const float *factor = before + counts[0] + lanes;
    for (size_t i = 0; i < counts[0] + lanes; i++) {
        const size_t block = i < counts[0] ? i / V / num_dof : (i - counts[0]) / V, lane = i % V;
        const double expected = (double)factor[block * V + lane] * (double)before[i];
        *error_out = eqf__host_worse(*error_out, fabs(expected - (double)after[i]));
    }
    return EQF_OK;
}

eqf_status eqf__check_dispersion(eqf__checker *checker, const eqf__kernel *scale, size_t num_dof) {
    eqf_context *ctx = checker->ctx;
    eqf__program *program = scale->program;
    if (!eqf__check_is_due(checker, program, EQF__ANSWERS_OF_GRADIENTS)) return EQF_OK;
    const size_t num = 2 * ctx->device->vector_width * (num_dof + 2);
    float *before = eqf__alloc(ctx, num, sizeof *before, "the known answers");
    float *after = eqf__alloc(ctx, num, sizeof *after, "the known answers");
    cl_mem d[3] = {NULL, NULL, NULL};
    eqf__answer answer = {"adjoints of the log-dispersion", 0, 1e-6, eqf__plain_width(ctx)};
    eqf__check_begin(checker);
    eqf_status status = before == NULL || after == NULL
                            ? EQF_ERROR_OUT_OF_MEMORY
                            : compare(ctx, scale, num_dof, before, after, d, &answer.error);
    for (unsigned a = 0; a < 3; a++) eqf__buffer_destroy(&d[a]);
    free(before);
    free(after);
    if (status == EQF_OK) status = eqf__check_report(checker, &answer, 1, &program);
    if (status == EQF_OK) eqf__check_done(checker, program, EQF__ANSWERS_OF_GRADIENTS);
    return status;
}
