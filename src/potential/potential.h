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

/* The number of work-items of a group whose states, of bytes_of_number for each number of a configuration, are in local
 * memory; 0: they are in private memory (pair sums on GPUs alone have this form). */
unsigned eqf__potential_local_items(const eqf_context *ctx, const eqf_potential_options *potential,
                                    size_t bytes_of_number);
/* The same for energies and descents, which keep small configurations in private memory (private_numbers of the
 * profile). Adds -D LOCAL_CHAINS to defines [size], which has room for EQF__LOCAL_DEFINE_SIZE more. The number is the
 * group_size of the kernels of cl/potential/energy.cl and energy_seed.cl, and of cl/minima/quench.cl. */
#define EQF__LOCAL_DEFINE_SIZE 32
unsigned eqf__potential_define_local(const eqf_context *ctx, const eqf_potential_options *potential,
                                     size_t bytes_of_number, char *defines, size_t size);

/* The program of energies and forces. */
eqf_status eqf__potential_program(eqf_context *ctx, const eqf_potential_options *potential, eqf__program **program_out);
/* eqf_potential_evaluate without the program's self-check. */
eqf_status eqf__potential_evaluate(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size,
                                   const float *x, float *energy_out, float *force_out);

#endif
