/* Free energy differences between states from samples of each: BAR and MBAR. Plain host arithmetic in double, without
 * device or context. A state k has a reduced energy u_k(x) and the reduced free energy f_k = -ln of the integral of
 * exp(-u_k). Names and signs are those of pymbar (https://pymbar.readthedocs.io), so numbers can be compared. Every
 * function returns EQF_OK, EQF_ERROR_INVALID_ARGUMENT, EQF_ERROR_NON_FINITE (an energy that has no meaning there,
 * states that do not overlap, no convergence) or EQF_ERROR_OUT_OF_MEMORY. */
#ifndef EQFLOW_FREE_ENERGY_H
#define EQFLOW_FREE_ENERGY_H

#include <stddef.h>

#include "eqflow/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Bennett's acceptance ratio (J. Comput. Phys. 22 (1976) 245): difference_out = f_1 - f_0.
 *   forward_work [num_forward]: u_1(x) - u_0(x) of samples of state 0;  reverse_work [num_reverse]: u_0(x) - u_1(x) of
 *       samples of state 1
 * The standard error is Bennett's, for independent samples (his equation 10; pymbar: uncertainty_method "BAR"). Work
 * +infinity is allowed. */
eqf_status eqf_free_energy_bar(size_t num_forward, const double *forward_work, size_t num_reverse,
                               const double *reverse_work, double *difference_out, double *standard_error_out);

/* The multistate estimator MBAR (Shirts and Chodera, J. Chem. Phys. 129 (2008) 124105).
 *   num_samples [num_states]: samples of each state, num in all; a state may have none
 *   energy [num_states, num]: u_k of all samples, those of state 0 first
 *   f_out [num_states]: f_out[0] = 0 (their equation 11)
 *   standard_errors_out [num_states, num_states] or NULL: of f_j - f_i (their equations 8 and 12, independent samples)
 * At most 256 states. */
eqf_status eqf_free_energy_mbar(unsigned num_states, const size_t *num_samples, const double *energy, double *f_out,
                                double *standard_errors_out);

#ifdef __cplusplus
}
#endif
#endif
