/* A program as it was written against the headers of eqflow 0.1 (revision 822ff18), touching what has changed since. It
 * is no example: tests/install/test_headers.sh applies from_0_1.sed, the mechanical changes that CHANGELOG.md lists,
 * and compiles it. */
#include <eqflow/eqflow.h>
#include <stdio.h>

static int stop(void *user, const eqf_progress *progress) {
    (void)user;
    printf("%s %g of %g\n", progress->stage, progress->done, progress->total);
    return 0;
}

static eqf_status train(eqf_context *ctx, const eqf_preset *preset, const float *x, size_t num, eqf_model **model_out) {
    eqf_model *model;
    eqf_trainer *trainer;
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    eqf_training_state state;
    eqf_preset_training_options(preset, num, &options);
    if (options.batch_size > preset->training.batch_size) options.batch_size = preset->training.batch_size;
    eqf_status status = eqf_model_create(ctx, &preset->model, &model);
    if (status != EQF_OK) return status;
    status = eqf_trainer_create(ctx, model, &options, num, x, 0, NULL, &trainer);
    if (status == EQF_OK) status = eqf_trainer_advance(trainer, 10, &state);
    if (status == EQF_OK) printf("step %u, nll %g\n", (unsigned)state.step, state.nll);
    if (status == EQF_OK) status = eqf_trainer_best_model(trainer, model_out);
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&model);
    return status;
}

static eqf_status look(eqf_context *ctx, const eqf_model *model, const float *x) {
    eqf_flow *flow;
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    eqf_loss loss;
    eqf_energy_loss energy_loss;
    eqf_step_statistics statistics;
    eqf_device_info device;
    options.method = EQF_INTEGRATOR_DOPRI5;
    options.adaptive.rtol = 1e-4;
    eqf_status status = eqf_flow_create(ctx, model, &options, &flow);
    if (status != EQF_OK) return status;
    status = eqf_flow_nll_gradient(flow, 0.1, 16, x, &loss, NULL, NULL);
    if (status == EQF_OK)
        status = eqf_flow_energy_gradient(flow, &eqf_model_options_of(model)->potential, 100.0, 0.1, 16, x,
                                          &energy_loss, NULL);
    eqf_flow_step_statistics(flow, &statistics);
    if (status == EQF_OK) status = eqf_context_device(ctx, &device);
    if (status == EQF_OK)
        printf("%s: nll %g, free energy %g, %u solves\n", device.name, loss.nll, energy_loss.free_energy,
               (unsigned)statistics.num_samples);
    eqf_flow_destroy(&flow);
    return status;
}

int main(void) {
    float x[16][4][2], energy[16];
    double log_weights[16];
    eqf_context *ctx;
    eqf_context_options context_options = EQF_CONTEXT_OPTIONS_INIT;
    eqf_mcmc_options mcmc = EQF_MCMC_OPTIONS_INIT;
    eqf_mcmc_diagnostics diagnostics;
    eqf_weight_summary summary;
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    eqf_model *model = NULL;
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    const eqf_preset *preset = eqf_preset_find("dw4");
    context_options.cache_path = "";
    potential.num_particles = 4;
    mcmc.progress = stop;
    if (eqf_context_create(&context_options, &ctx) != EQF_OK) return 1;
    eqf_status status = eqf_mcmc_sample(ctx, &potential, &mcmc, 16, &x[0][0][0], energy, &diagnostics);
    if (status == EQF_OK) status = train(ctx, preset, &x[0][0][0], 16, &model);
    if (status == EQF_OK) status = look(ctx, model, &x[0][0][0]);
    if (status == EQF_OK) status = eqf_estimate_log_weights(16, energy, energy, log_weights);
    if (status == EQF_OK) status = eqf_estimate_weights(16, log_weights, &summary);
    if (status == EQF_OK)
        printf("%u steps, %u presets, ESS %g, R-hat %g\n", preset->model.integrator.num_steps, (unsigned)num_presets,
               summary.ess, diagnostics.split_r_hat);
    if (status != EQF_OK) fprintf(stderr, "%s\n", eqf_context_error(ctx));
    eqf_model_destroy(&model);
    eqf_context_destroy(&ctx);
    return status != EQF_OK || presets == NULL;
}
