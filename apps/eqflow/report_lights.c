#include "report_lights.h"

#include <math.h>
#include <stdarg.h>

/* Green up to the first limit, yellow up to the second. */
static report_colour colour_of(double value, double green, double yellow) {
    return !(value <= yellow) ? REPORT_RED : value <= green ? REPORT_GREEN : REPORT_YELLOW;
}

/* advice: what to do, for green, yellow and red. */
static report_light *add(report_light *light, report_colour colour, const char *name, const char *const advice[3]) {
    light->colour = colour;
    snprintf(light->name, sizeof light->name, "%s", name);
    snprintf(light->advice, sizeof light->advice, "%s", advice[colour]);
    return light;
}

#define VALUE(light, ...) snprintf((light)->value, sizeof(light)->value, __VA_ARGS__)

/* Red begins at the limits of the evaluation's warnings (eqflow/evaluate.h), yellow at lower values. */
static size_t lights_of_integration(const eqf_evaluation_figures *f, report_light *lights) {
    static const char *const steps[] = {
        "Nothing to do: likelihoods and log-densities are those of the flow, not of its integrator.",
        "Near the limit: evaluate again with twice the --integration-steps (dopri5: a tenth of --rtol).",
        ("No likelihood here is one: use more --integration-steps (dopri5: a smaller --rtol) until both agree, "
         "and train with a larger --integration-penalty.")};
    static const char *const trips[] = {
        "Nothing to do: a sample's log-density is the same whether it is drawn or scored.",
        "Compare log-densities of sample and log-prob with care, or use more --integration-steps.",
        "The integration does not resolve the flow: use more --integration-steps."};
    static const char *const symmetry[] = {
        "Nothing to do: equivalent configurations have one density.",
        "Rounding shows: harmless for averages; --precision double makes it smaller.",
        ("The model has not the symmetry of the system (a dense field never has), or rounding is too large: "
         "take a radial or message field, or --precision double.")};
    size_t num = 0;
    const double difference = fabs(f->nll_refined - f->nll);
    VALUE(add(&lights[num++], colour_of(difference, 0.003, 0.01), "Integration resolved", steps),
          "twice the resolution changes the NLL by %.2g nats (allowed: 0.01)", difference);
    if (isfinite(f->round_trip.log_prob))
        VALUE(add(&lights[num++], colour_of(f->round_trip.log_prob, 1e-3, 1e-2), "There and back", trips),
              "log-densities differ by %.2g nats at most (allowed: 0.01)", f->round_trip.log_prob);
    VALUE(add(&lights[num++], colour_of(f->log_prob_invariance_error, 1e-4, 1e-3), "Symmetry", symmetry),
          "log-densities change by %.2g nats at most under rotation, reflection, permutation (allowed: 0.0001)",
          f->log_prob_invariance_error);
    return num;
}

static size_t lights_of_weights(const eqf_evaluation_figures *f, report_light *lights) {
    static const char *const dominant[] = {
        "Nothing to do: no single sample decides.", "Look at the running pictures below: do they settle?",
        "ln Z, ESS and reweighted averages hang on one sample: draw more (-n), train longer, or use eqflow anneal."};
    static const char *const ess[] = {"Nothing to do: reweighted averages are worth that many independent samples.",
                                      "Reweighting works, at a price: a better field (--field message) or eqflow "
                                      "anneal costs less than more samples.",
                                      "Believe no reweighted average: the flow and the target overlap too little. Use "
                                      "eqflow anneal, or a better field."};
    static const char *const number[] = {"Nothing to do.",
                                         "The effective sample size is uncertain: use -n 100000 or allow more "
                                         "with --max-samples.",
                                         "Too few for an effective sample size: use -n 10000 or more."};
    size_t num = 0;
    VALUE(add(&lights[num++], colour_of(f->max_weight_fraction, 0.01, 0.05), "No sample dominates", dominant),
          "the largest weight is %.2g %% of all (allowed: 5 %%)", 100 * f->max_weight_fraction);
    const double effective = f->ess_fraction * (double)f->num_samples;
    VALUE(add(&lights[num++], colour_of(-f->ess_fraction, -0.5, -0.01), "Overlap with the target", ess),
          "%.0f effective samples of %zu, %.3g %%", effective, f->num_samples, 100 * f->ess_fraction);
    const double error = f->ess_fraction_standard_error;
    const bool is_uncertain = (f->ess_fraction < 0.5 && f->num_samples < 100000) || error > 0.02;
    const report_colour enough = f->num_samples < 10000 ? REPORT_RED : is_uncertain ? REPORT_YELLOW : REPORT_GREEN;
    VALUE(add(&lights[num++], enough, "Enough samples", number),
          "%zu samples of the model, %zu of the target: ESS ± %.2g %%", f->num_samples, f->num_data, 100 * error);
    return num;
}

size_t report_fill_lights(const eqf_evaluation_figures *f, report_light lights_out[REPORT_MAX_LIGHTS]) {
    static const char *const possible[] = {
        "Nothing to do: the NLL is not better than it can be.", "Within the noise of the data.",
        "Better than possible: the integrator is not accurate, or the data are no equilibrium samples."};
    static const char *const agree[] = {
        "Nothing to do: weights bring the model to the data.",
        "More than chance would have it: compare the histograms below.",
        ("Data and reweighted samples are not of one distribution: too little overlap, a state that one of both "
         "has not seen, or data of another temperature.")};
    size_t num = lights_of_integration(f, lights_out);
    if (isfinite(f->kl)) {
        const double below = -f->kl / hypot(f->kl_standard_error, 1e-12);
        VALUE(add(&lights_out[num++], colour_of(below, 2, 3), "Likelihood possible", possible),
              "NLL %.4f, entropy of the target %.4f: KL %.3g ± %.2g nats", f->nll, f->entropy, f->kl,
              f->kl_standard_error);
    }
    num += lights_of_weights(f, lights_out + num);
    if (isfinite(f->mean_energy_reweighted) && isfinite(f->mean_energy_data) &&
        f->mean_energy_reweighted_standard_error > 0) {
        const double off =
            fabs(f->mean_energy_reweighted - f->mean_energy_data) / f->mean_energy_reweighted_standard_error;
        VALUE(add(&lights_out[num++], colour_of(off, 3, 6), "Mean energy agrees", agree),
              "reweighted %.5g ± %.2g kT, data %.5g kT", f->mean_energy_reweighted,
              f->mean_energy_reweighted_standard_error, f->mean_energy_data);
    }
    return num;
}

/* Shapes differ too, for readers who do not see colours: a disc, a triangle, a square. */
void report_print_lights(FILE *html, const report_content *report) {
    static const struct {
        const char *word, *shape;
    } of_colour[] = {{"good", "<circle cx=\"8\" cy=\"8\" r=\"7\" fill=\"#009E73\"/>"},
                     {"take care", "<path d=\"M8 1L15.5 15H.5z\" fill=\"#E69F00\"/>"},
                     {"not to be believed", "<rect x=\"1\" y=\"1\" width=\"14\" height=\"14\" fill=\"#D5380A\"/>"}};
    if (report->num_lights == 0) return;
    fputs("<h2>Certificates</h2>\n<div class=\"card\"><ul class=\"lights\">\n", html);
    for (size_t i = 0; i < report->num_lights; i++) { /* the texts of this file need no escapes */
        const report_light *light = &report->lights[i];
        fprintf(html,
                "<li><svg viewBox=\"0 0 16 16\" role=\"img\" "
                "aria-label=\"%s\">%s</svg><b>%s</b><span>%s<small>%s</small></span></li>\n",
                of_colour[light->colour].word, of_colour[light->colour].shape, light->name, light->value,
                light->advice);
    }
    fputs("</ul></div>\n", html);
}
