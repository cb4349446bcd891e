#include "gemm.h"

#include <clblast_c.h>
#include <stdlib.h>
#include <string.h>

#include "described.h"
#include "program.h"

/* ---- Tuned parameters -------------------------------------------------------------------------------------------- */

typedef struct gemm_parameter {
    const char *kernel, *name;
    size_t value;
} gemm_parameter;

/* For CPUs with PoCL. CLBlast 1.5.3 has no tuned values for them and uses those for GPUs: work-groups that share tiles
 * in local memory, which PoCL translates to loops around every barrier. With the values here a work-group is one
 * work-item, which keeps a tile of 16 x 8 results in registers and reads A and B in place. For the sizes of a dense
 * field, 7168 x 128 x 128, on two cores of an AMD EPYC (AVX2), PoCL 3.1: 52-81 GFLOP/s, and 6.8 with CLBlast's values;
 * `eqflow bench` measures it on your device (docs/benchmarks.md). GemmRoutine selects the kernel that is tuned here
 * also for small matrices, so that there is one order of summation. The other kernels never run but are compiled; small
 * tiles make that fast (a cold first call takes 6-7 s, with CLBlast's values 12 s). */
static const gemm_parameter cpu_parameters[] = {
    {"Xgemm", "GEMMK", 0},
    {"Xgemm", "KREG", 1},
    {"Xgemm", "KWG", 16},
    {"Xgemm", "KWI", 2},
    {"Xgemm", "MDIMA", 1},
    {"Xgemm", "MDIMC", 1},
    {"Xgemm", "MWG", 16},
    {"Xgemm", "NDIMB", 1},
    {"Xgemm", "NDIMC", 1},
    {"Xgemm", "NWG", 8},
    {"Xgemm", "SA", 0},
    {"Xgemm", "SB", 0},
    {"Xgemm", "STRM", 0},
    {"Xgemm", "STRN", 0},
    {"Xgemm", "VWM", 8},
    {"Xgemm", "VWN", 4},
    {"GemmRoutine", "XGEMM_MIN_INDIRECT_SIZE", 0},
    {"XgemmDirect", "WGD", 8},
    {"XgemmDirect", "MDIMCD", 8},
    {"XgemmDirect", "NDIMCD", 8},
    {"XgemmDirect", "MDIMAD", 8},
    {"XgemmDirect", "NDIMBD", 8},
    {"XgemmDirect", "KWID", 1},
    {"XgemmDirect", "VWMD", 1},
    {"XgemmDirect", "VWND", 1},
    {"XgemmDirect", "PADA", 0},
    {"XgemmDirect", "PADB", 0},
    {"Copy", "COPY_DIMX", 8},
    {"Copy", "COPY_DIMY", 8},
    {"Copy", "COPY_VW", 1},
    {"Copy", "COPY_WPT", 1},
    {"Pad", "PAD_DIMX", 8},
    {"Pad", "PAD_DIMY", 8},
    {"Pad", "PAD_WPTX", 1},
    {"Pad", "PAD_WPTY", 1},
    {"Transpose", "TRA_DIM", 8},
    {"Transpose", "TRA_PAD", 0},
    {"Transpose", "TRA_SHUFFLE", 0},
    {"Transpose", "TRA_WPT", 1},
    {"Padtranspose", "PADTRA_PAD", 0},
    {"Padtranspose", "PADTRA_TILE", 8},
    {"Padtranspose", "PADTRA_WPT", 1},
};

static eqf_status fail(eqf_context *ctx, CLBlastStatusCode code, const char *what) {
    /* Codes from -1 down to -1023 are OpenCL's; CLBlast's are below. */
    if ((int)code > -1024) return eqf__ocl_fail(ctx, (cl_int)code, what);
    return eqf__fail(ctx, EQF_ERROR_DEVICE, "CLBlast failed with its code %d on %s %s", (int)code,
                     ctx->device->info.name, what);
}

/* CLBlast requires all parameters of a kernel in one call. */
static eqf_status override_parameters(eqf_context *ctx, const gemm_parameter *parameters, size_t num_parameters) {
    enum { MOST = 32 };
    for (size_t begin = 0; begin < num_parameters;) {
        const char *names[MOST];
        size_t values[MOST], num = 0;
        const char *kernel = parameters[begin].kernel;
        while (begin + num < num_parameters && num < MOST && strcmp(parameters[begin + num].kernel, kernel) == 0) {
            names[num] = parameters[begin + num].name;
            values[num] = parameters[begin + num].value;
            num++;
        }
        CLBlastStatusCode code =
            CLBlastOverrideParameters(ctx->device->id, kernel, CLBlastPrecisionSingle, num, names, values);
        if (code != CLBlastSuccess) return fail(ctx, code, "while it was given its parameters");
        begin += num;
    }
    return EQF_OK;
}

/* ---- Products ---------------------------------------------------------------------------------------------------- */

eqf_status eqf__gemm(eqf_context *ctx, size_t num_m, size_t num_n, size_t num_k, cl_mem d_a, cl_mem d_b, cl_mem d_c) {
    if (ctx->device->described != NULL) { /* CLBlast needs a driver: the listener sees one launch for its kernels */
        const eqf__described_listener *listener = ctx->device->listener;
        cl_uint m = (cl_uint)num_m, n = (cl_uint)num_n, k = (cl_uint)num_k, V = ctx->device->vector_width;
        const eqf__argument arguments[] = {EQF__ARG(m), EQF__ARG(n), EQF__ARG(k), EQF__ARG(V)};
        const eqf__launch_seen seen = {"gemm", "clblast", "", "", num_m * num_n, EQF__GEMM_MULTIPLE, 4, arguments};
        if (listener != NULL) listener->on_launch(listener->user, &seen);
        return EQF_OK;
    }
    CLBlastStatusCode code =
        CLBlastSgemm(CLBlastLayoutColMajor, CLBlastTransposeNo, CLBlastTransposeYes, num_m, num_n, num_k, 1.0f, d_a, 0,
                     num_m, d_b, 0, num_n, 0.0f, d_c, 0, num_m, &ctx->device->queue, NULL);
    if (code != CLBlastSuccess) return fail(ctx, code, "while matrices were multiplied");
    return EQF_OK;
}

/* ---- The check before first use ---------------------------------------------------------------------------------- */

enum { CHECK_M = 48, CHECK_N = 32, CHECK_K = 80 };

/* Integers from -8 to 7: sums of products are exact in float32. */
static float check_value(unsigned index) {
    return (float)((index * 2654435761u) >> 28) - 8.0f;
}

static eqf_status compare_product(eqf_context *ctx, const float *a, const float *b, const float *c) {
    for (unsigned n = 0; n < CHECK_N; n++)
        for (unsigned m = 0; m < CHECK_M; m++) {
            float sum = 0;
            for (unsigned k = 0; k < CHECK_K; k++) sum += a[k * CHECK_M + m] * b[k * CHECK_N + n];
            if (!(c[n * CHECK_M + m] == sum))
                return eqf__fail(ctx, EQF_ERROR_SELF_TEST,
                                 "CLBlast's matrix product is wrong on %s (driver %s): %g instead of %g; use another "
                                 "device or driver",
                                 ctx->device->info.name, ctx->device->info.driver_version, (double)c[n * CHECK_M + m],
                                 (double)sum);
        }
    return EQF_OK;
}

static eqf_status check_product(eqf_context *ctx) {
    enum { NUM_A = CHECK_K * CHECK_M, NUM_B = CHECK_K * CHECK_N, NUM_C = CHECK_N * CHECK_M };
    float *numbers = eqf__alloc(ctx, NUM_A + NUM_B + NUM_C, sizeof *numbers, "the check of matrix products");
    if (numbers == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    float *a = numbers, *b = a + NUM_A, *c = b + NUM_B;
    for (unsigned i = 0; i < NUM_A + NUM_B; i++) numbers[i] = check_value(i);
    cl_mem d_a = NULL, d_b = NULL, d_c = NULL;
    eqf_status status = eqf__buffer_create(ctx, NUM_A * sizeof(float), a, "the check of matrix products", &d_a);
    if (status == EQF_OK)
        status = eqf__buffer_create(ctx, NUM_B * sizeof(float), b, "the check of matrix products", &d_b);
    if (status == EQF_OK)
        status = eqf__buffer_create(ctx, NUM_C * sizeof(float), NULL, "the check of matrix products", &d_c);
    if (status == EQF_OK) status = eqf__gemm(ctx, CHECK_M, CHECK_N, CHECK_K, d_a, d_b, d_c);
    if (status == EQF_OK) status = eqf__buffer_read(ctx, d_c, 0, NUM_C * sizeof(float), c);
    if (status == EQF_OK) status = compare_product(ctx, a, b, c);
    eqf__buffer_destroy(&d_a);
    eqf__buffer_destroy(&d_b);
    eqf__buffer_destroy(&d_c);
    free(numbers);
    return status;
}

eqf_status eqf__gemm_open(eqf_context *ctx, eqf__gemm_tuning tuning) {
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    if (device->has_gemm) return EQF_OK; /* setting the parameters again would make CLBlast compile again */
    /* V > 1: the driver of this CPU runs a work-item's vectors as vector instructions. */
    if (tuning == EQF__GEMM_TUNED && device->info.type == EQF_DEVICE_CPU && device->vector_width > 1)
        EQF__TRY(override_parameters(ctx, cpu_parameters, sizeof cpu_parameters / sizeof cpu_parameters[0]));
    EQF__TRY(check_product(ctx));
    device->has_gemm = true;
    return EQF_OK;
}
