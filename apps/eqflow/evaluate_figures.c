#include "evaluate_figures.h"

#include <string.h>

/* Figures of an integrator that chooses its steps. */
static size_t list_steps(const eqf_step_statistics *steps, evaluate_figure figures_out[]) {
    const double num_solves = (double)steps->num_samples;
    const evaluate_figure all[] = {
        {"num_steps_mean", "steps of the integrator, mean", (double)steps->accepted.total / num_solves,
         "of a sample's solve; each chooses its own", false},
        {"num_steps_min", "  fewest", (double)steps->accepted.min, "", true},
        {"num_steps_max", "  most", (double)steps->accepted.max, "", true},
        {"num_rejected_steps_mean", "rejected steps, mean", (double)steps->rejected.total / num_solves, "", false},
        {"num_rejected_steps_max", "  most", (double)steps->rejected.max, "", true},
        {"num_velocity_evals_mean", "evaluations of the field, mean", (double)steps->num_velocity_evals / num_solves,
         "80 for RK4 with 20 steps", false},
        {"num_failed_solves", "trajectories given up", (double)steps->num_failed, "", true},
    };
    memcpy(figures_out, all, sizeof all);
    return sizeof all / sizeof all[0];
}

size_t evaluate_figures_list(const eqf_evaluation_figures *of, evaluate_figure figures_out[MAX_EVALUATE_FIGURES]) {
    const bool is_adaptive = eqf_integrator_method_describe(of->flow->method)->has_step_control;
    const evaluate_figure all[] = {
        {"nll", "NLL (nats)", of->nll, "mean negative log-likelihood of the data", false},
        {"nll_standard_error", "  standard error", of->nll_standard_error, "", false},
        {"nll_without_constant", "NLL without the prior's constant", of->nll_without_constant,
         "for tables that leave out (N-1)D/2 ln 2 pi", false},
        {"nll_refined", is_adaptive ? "NLL, a tenth of the tolerances" : "NLL, twice the integration steps",
         of->nll_refined, "differs by less than 0.01 if the integration is resolved", false},
        {"entropy", "entropy of the target (nats)", of->entropy, "no model's expected NLL is below it", false},
        {"kl", "KL(target || model) (nats)", of->kl, "NLL - entropy", false},
        {"kl_standard_error", "  standard error", of->kl_standard_error, "", false},
        {"kl_direct", "KL from the data's energies", of->kl_direct,
         "mean of -energy - ln Z - log-density: less noise; agrees with NLL - entropy on equilibrium data", false},
        {"kl_direct_standard_error", "  standard error", of->kl_direct_standard_error, "", false},
        {"reverse_kl", "KL(model || target) (nats)", of->reverse_kl,
         "over the model's samples: large where some of them have a high energy", false},
        {"reverse_kl_standard_error", "  standard error", of->reverse_kl_standard_error, "", false},
        {"ess_fraction", "effective sample size (fraction)", of->ess_fraction,
         "Kish, of the model's samples reweighted to the target", false},
        {"ess_fraction_standard_error", "  standard error", of->ess_fraction_standard_error, "", false},
        {"ess_fraction_data", "effective sample size from data", of->ess_fraction_data,
         "1 / (mean w x mean 1/w) over the data; lower where the model misses a part of the target", false},
        {"ess_fraction_data_standard_error", "  standard error", of->ess_fraction_data_standard_error, "", false},
        {"max_weight_fraction", "largest weight (fraction of all)", of->max_weight_fraction,
         "near 0 unless a single sample decides the averages", false},
        {"log_z", "ln Z", of->log_z, "of the target, from the weights", false},
        {"log_z_standard_error", "  standard error", of->log_z_standard_error, "", false},
        {"log_z_bar", "ln Z by samples and data", of->log_z_bar,
         "Bennett's acceptance ratio: less error where the effective sample size is small", false},
        {"log_z_bar_standard_error", "  standard error", of->log_z_bar_standard_error, "for independent data", false},
        {"free_energy_difference", "free energy minus prior's (kT)", of->free_energy_difference,
         "-ln Z + ln Z of the prior; the error is that of ln Z", false},
        {"mean_energy_model", "mean energy, model (kT)", of->mean_energy_model,
         "before reweighting; a few bad samples can raise it without bound", false},
        {"above_data_fraction", "samples above all data in energy", of->above_data_fraction, "a fraction", false},
        {"mean_energy_reweighted", "mean energy, reweighted (kT)", of->mean_energy_reweighted,
         "agrees with the data if the weights are good", false},
        {"mean_energy_reweighted_standard_error", "  standard error", of->mean_energy_reweighted_standard_error, "",
         false},
        {"mean_energy_data", "mean energy, data (kT)", of->mean_energy_data, "", false},
        {"num_samples", "samples of the model", (double)of->num_samples, "", true},
        {"num_data", "data configurations", (double)of->num_data, "", true},
        {"log_prob_invariance_error", "invariance error (nats)", of->log_prob_invariance_error,
         "largest change of log-density under symmetry operations", false},
    };
    const evaluate_figure in_double[] = {
        {"float_log_prob_error", "float32 against double (nats)", of->float_log_prob_error,
         "largest difference of log-densities", false},
        {"jacobian_error", "double against the Jacobian (nats)", of->jacobian_error,
         "log-density less ln|det| of the map's Jacobian by differences: what the integrator's steps leave out", false},
    };
    size_t num = sizeof all / sizeof all[0];
    memcpy(figures_out, all, sizeof all);
    if (of->flow->precision == EQF_PRECISION_DOUBLE) {
        memcpy(figures_out + num, in_double, sizeof in_double);
        num += sizeof in_double / sizeof in_double[0];
    }
    return is_adaptive ? num + list_steps(of->steps, figures_out + num) : num;
}

