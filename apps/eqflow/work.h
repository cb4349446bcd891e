/* Long calls of the library, with progress and a way to stop. Every function prints errors and returns the exit code:
 * EXIT_CODE_INTERRUPTED if a signal stopped it. */
#ifndef WORK_H
#define WORK_H

#include "app.h"
#include "eqflow/array.h"
#include "eqflow/evaluate.h"
#include "eqflow/flow.h"
#include "eqflow/mcmc.h"

/* x_out [num, N, D], log_prob_out [num] or NULL. */
exit_code work_sample(cli_app *app, eqf_flow *flow, const eqf_potential_options *system, uint64_t seed, size_t num,
                      float *x_out, float *log_prob_out);

/* An error if samples x [num, N*D] or log-densities [num] are not finite, before they are written. */
exit_code work_check_finite(cli_app *app, size_t num, size_t num_dof, const float *x, const float *log_prob);

/* x [num, N, D] -> log_prob_out [num], and the latents z_out [num, N, D] or NULL. label: of the progress
 * bar. */
exit_code work_log_prob(cli_app *app, eqf_flow *flow, const eqf_potential_options *system, const char *label,
                        size_t num, const float *x, float *log_prob_out, float *z_out);

/* A small round trip, prior -> data -> prior: the difference between the log-densities of a sample from sampling and
 * from eqf_flow_log_prob. Of as many samples as the command is for (num), but at least 16 and at most 256: it must not
 * take much longer than the command itself. Warns if the integration does not resolve the flow. */
exit_code work_round_trip(cli_app *app, eqf_flow *flow, const eqf_flow_options *options, size_t num,
                          eqf_round_trip *error_out);

/* x [num, N, D] -> energy_out [num]. */
exit_code work_energy(cli_app *app, const eqf_potential_options *potential, size_t num, const float *x,
                      float *energy_out);

/* The whole evaluation (eqf_evaluate). */
exit_code work_evaluate(cli_app *app, const eqf_model *model, const eqf_evaluation_options *options, size_t num_data,
                        const float *x, eqf_evaluation **evaluation_out);

/* Equilibrium configurations x_out [num, N, D]; energy_out [num] or NULL. Prints warnings of the diagnostics. */
exit_code work_mcmc(cli_app *app, const eqf_potential_options *potential, const eqf_mcmc_options *options, size_t num,
                    float *x_out, float *energy_out, eqf_mcmc_diagnostics *diagnostics_out);

/* An error if the samples cannot be of equilibrium: nothing holds the particles together, or their radius of gyration
 * drifts. what_is_left ends the line: "; the samples are in ...". */
exit_code work_require_equilibrium(cli_app *app, const eqf_mcmc_diagnostics *diagnostics, const char *what_is_left);

/* Configurations [B, N, D] of a file for this system, with the note about centring. Clear the array after. */
exit_code work_read_configurations(cli_app *app, const char *path, const eqf_potential_options *system,
                                   eqf_array *x_out);

/* The value of --field-evaluation; NULL is the table. Anything but "table" and "direct" is a usage error. */
exit_code work_field_evaluation(cli_app *app, const char *text, eqf_field_evaluation *evaluation_out);

/* The value of --divergence; NULL is exact. Anything but "exact", "rademacher" and "gaussian" is a usage error. */
exit_code work_divergence(cli_app *app, const char *text, eqf_divergence *divergence_out);

/* x [num, N, D] in an array header for writing; the data stay the caller's. */
eqf_array work_configurations(float *x, size_t num, const eqf_potential_options *system);

#endif
