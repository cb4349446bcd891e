/* The kernel text and constants of a potential, for all programs that compute energies. */
#ifndef EQF_POTENTIAL_INTERNAL_H
#define EQF_POTENTIAL_INTERNAL_H

#include "base.h"
#include "eqflow/potential.h"
#include "program.h"

/* Files of cl/ that define potential_energy, potential_force and potential_energy_change (as in
 * cl/potential/pair_sum.clh). In the list of files for eqf__program_get they follow common/real.clh; call
 * eqf__potential_program_defines before. */
#define EQF__POTENTIAL_FILES(ctx, potential) \
    eqf__potential_kernel_file(ctx, potential), eqf__potential_sum_file(potential)
const char *eqf__potential_kernel_file(eqf_context *ctx, const eqf_potential_options *potential);
const char *eqf__potential_sum_file(const eqf_potential_options *potential);
/* Whether the potential uses cl/potential/pair_sum.clh. */
bool eqf__potential_is_pair_sum(const eqf_potential_options *potential);

#define EQF__POTENTIAL_DEFINES_SIZE 512
/* N, D and the constants as -D options, which do not depend on the locale. Errors: those of eqf_potential_check. */
eqf_status eqf__potential_program_defines(eqf_context *ctx, const eqf_potential_options *potential, char *buffer,
                                          size_t size);
/* The same constants with the digits of a double, for programs built with -D USE_DOUBLE. */
eqf_status eqf__potential_program_defines_double(eqf_context *ctx, const eqf_potential_options *potential, char *buffer,
                                                 size_t size);

/* The program of energies and forces. */
eqf_status eqf__potential_program(eqf_context *ctx, const eqf_potential_options *potential, eqf__program **program_out);
/* eqf_potential_evaluate without the program's self-check. */
eqf_status eqf__potential_evaluate(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size,
                                   const float *x, float *energy_out, float *force_out);

#endif
