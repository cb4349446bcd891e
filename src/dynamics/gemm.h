/* Matrix products on the device by CLBlast. Where CLBlast's own parameters are far off, tuned ones take their place.
 * Products are checked before their first use. */
#ifndef EQF_GEMM_H
#define EQF_GEMM_H

#include "ocl.h"

/* Sizes that are multiples of this are multiplied in place on every device class that has tuned parameters: CLBlast
 * copies other matrices to padded ones first. */
#define EQF__GEMM_MULTIPLE 16u

/* Whose parameters CLBlast multiplies with. */
typedef enum eqf__gemm_tuning { EQF__GEMM_TUNED, EQF__GEMM_DEFAULTS } eqf__gemm_tuning;

/* Gives CLBlast the device's parameters and multiplies matrices of small integers, whose product must be exact. CLBlast
 * keeps parameters and compiled kernels for the process. EQF__GEMM_DEFAULTS leaves CLBlast's own, which only
 * measurements want; whoever asks for them must be first in the process. Errors: SELF_TEST (the product is wrong),
 * DEVICE. */
eqf_status eqf__gemm_open(eqf_context *ctx, eqf__gemm_tuning tuning);

/* C[n][m] = sum over k of A[k][m] B[k][n], float32, m fastest in A [K][M] and C [N][M], n in B [K][N]. Enqueues. The
 * sum's order depends on nothing but K. Errors: those of the device. */
eqf_status eqf__gemm(eqf_context *ctx, size_t num_m, size_t num_n, size_t num_k, cl_mem d_a, cl_mem d_b, cl_mem d_c);

#endif
