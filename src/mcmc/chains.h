/* The public calls with a checker, for selftest. */
#ifndef EQF_CHAINS_H
#define EQF_CHAINS_H

#include "check.h"
#include "eqflow/mcmc.h"

/* eqf_mcmc_sample; the checker gets its known answers. */
eqf_status eqf__mcmc_sample(eqf__checker *checker, const eqf_potential_options *potential,
                            const eqf_mcmc_options *options, size_t num_samples, float *x_out, float *energy_out,
                            eqf_mcmc_diagnostics *diagnostics_out);

/* eqf_replica_sample; the checker gets its known answers. */
eqf_status eqf__replica_sample(eqf__checker *checker, const eqf_potential_options *potential,
                               const eqf_replica_options *options, size_t num_samples, float *x_out, float *energy_out,
                               eqf_replica_diagnostics *diagnostics_out);

/* eqf_replica_sample_states; the checker gets its known answers. */
eqf_status eqf__replica_sample_states(eqf__checker *checker, unsigned num_states, const eqf_potential_options *states,
                                      const eqf_replica_options *options, size_t num_samples, float *x_out,
                                      float *energy_out, eqf_replica_diagnostics *diagnostics_out);

#endif
