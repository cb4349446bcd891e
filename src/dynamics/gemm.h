/* Matrix products on the device by CLBlast, with own tuned parameters for devices for which CLBlast's are slow.
 * Products are checked before their first use. */
#ifndef EQF_GEMM_H
#define EQF_GEMM_H

#include "ocl.h"

/* Matrices whose sizes are multiples of this are multiplied in place on every device class with tuned parameters;
 * CLBlast copies others to padded matrices first. */
#define EQF__GEMM_MULTIPLE 16u

/* The parameters of CLBlast's kernels: tuned ones, or CLBlast's defaults. */
typedef enum eqf__gemm_tuning { EQF__GEMM_TUNED, EQF__GEMM_DEFAULTS } eqf__gemm_tuning;

/* Sets CLBlast's parameters for the device and checks a product of matrices of small integers, which must be exact.
 * CLBlast keeps parameters and compiled kernels for the process. EQF__GEMM_DEFAULTS keeps CLBlast's own parameters, for
 * measurements; it must be the first call in the process. Errors: SELF_TEST (the product is wrong), DEVICE. */
eqf_status eqf__gemm_open(eqf_context *ctx, eqf__gemm_tuning tuning);

/* C[n][m] = sum over k of A[k][m] B[k][n], float32, m fastest in A [K][M] and C [N][M], n in B [K][N]. Enqueues. The
 * order of summation depends only on K. Errors: those of the device. */
eqf_status eqf__gemm(eqf_context *ctx, size_t num_m, size_t num_n, size_t num_k, cl_mem d_a, cl_mem d_b, cl_mem d_c);

#endif
