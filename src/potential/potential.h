/* The kernel side of a potential, for every program that needs energies: kernel text and constants. */
#ifndef EQF_POTENTIAL_INTERNAL_H
#define EQF_POTENTIAL_INTERNAL_H

#include "base.h"
#include "eqflow/potential.h"
#include "program.h"

/* Files of cl/ that follow common/real.clh and give potential_energy, potential_force and potential_energy_change
 * (cl/potential/pair_sum.clh says how); in the list of eqf__program_get, after eqf__potential_program_defines. */
#define EQF__POTENTIAL_FILES(ctx, potential) \
    eqf__potential_kernel_file(ctx, potential), eqf__potential_sum_file(potential)
const char *eqf__potential_kernel_file(eqf_context *ctx, const eqf_potential_options *potential);
const char *eqf__potential_sum_file(const eqf_potential_options *potential);
/* Whether that is cl/potential/pair_sum.clh. */
bool eqf__potential_is_pair_sum(const eqf_potential_options *potential);

#define EQF__POTENTIAL_DEFINES_SIZE 512
/* N, D and the constants as -D options, the same in every locale. Errors: those of eqf_potential_check. */
eqf_status eqf__potential_program_defines(eqf_context *ctx, const eqf_potential_options *potential, char *buffer,
                                          size_t size);
/* The same constants with the digits of a double, for programs built with -D USE_DOUBLE. */
eqf_status eqf__potential_program_defines_double(eqf_context *ctx, const eqf_potential_options *potential, char *buffer,
                                                 size_t size);

/* The program of energies and forces. */
eqf_status eqf__potential_program(eqf_context *ctx, const eqf_potential_options *potential, eqf__program **program_out);
/* eqf_potential_evaluate without a check of that program. */
eqf_status eqf__potential_evaluate(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size,
                                   const float *x, float *energy_out, float *force_out);

#endif
