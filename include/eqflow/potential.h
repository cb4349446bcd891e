/* Potentials: reduced energies u(x) = U(x)/kT of a configuration x [N, D], and their forces -grad u. */
#ifndef EQFLOW_POTENTIAL_H
#define EQFLOW_POTENTIAL_H

#include "eqflow/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum eqf_potential_kind { EQF_POTENTIAL_DOUBLE_WELL, EQF_POTENTIAL_LENNARD_JONES } eqf_potential_kind;

/* Pair sums run over unordered pairs i<j, d = |x_i - x_j| (Koehler et al. 2020, section 5).
 *   double well:    u = (1/T) sum [ linear s + quadratic s^2 + quartic s^4 ],  s = d - distance_offset
 *   Lennard-Jones:  u = (1/T) { epsilon sum [ (r_min/d)^12 - 2 (r_min/d)^6 ]
 *                               + 0.5 trap_strength sum_i |x_i - x_com|^2 }                            */
typedef struct eqf_potential_options {
    unsigned version;
    eqf_potential_kind kind;
    unsigned num_particles; /* N >= 2 */
    unsigned space_dim;     /* D: 1, 2 or 3 */
    double temperature;     /* T > 0 */
    double distance_offset, linear, quadratic, quartic; /* double well */
    double epsilon, r_min, trap_strength;               /* Lennard-Jones */
} eqf_potential_options;
#define EQF_POTENTIAL_OPTIONS_INIT \
    {1, EQF_POTENTIAL_DOUBLE_WELL, 2, 2, 1.0, 4.0, 0.0, -4.0, 0.9, 2.0, 1.0, 1.0}

/* "double_well", "lennard_jones". NULL if unknown. */
const char *eqf_potential_kind_name(eqf_potential_kind kind);
/* Errors: NOT_FOUND (no context: nothing to report to). */
eqf_status eqf_potential_kind_find(const char *name, eqf_potential_kind *kind_out);

/* Constants of the other kind need only be finite. Errors: INVALID_ARGUMENT with a message that names the field. */
eqf_status eqf_potential_check(eqf_context *ctx, const eqf_potential_options *potential);

/* Energies and forces on the device.
 *   x [B, N, D] float32, energy_out [B] or NULL, force_out [B, N, D] or NULL (reduced: kT per length).
 * Non-finite results are returned as they are. B = 0 is allowed. Errors: as of the device. */
eqf_status eqf_potential_evaluate(eqf_context *ctx, const eqf_potential_options *potential,
                                  size_t batch_size, const float *x, float *energy_out, float *force_out);

#ifdef __cplusplus
}
#endif
#endif
