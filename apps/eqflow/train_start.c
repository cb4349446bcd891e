/* --start of eqflow train: training starts with the field, prior and parameters of a model. */
#include <string.h>

#include "flow_flags.h"
#include "train_flags.h"

/* The first given flag whose value the model determines; NULL: there is none. */
static const char *first_unfit(const train_flags *flags) {
    if (flags->field) return "field";
    if (flags->prior) return "prior";
    if (flags->prior_scale) return "prior-scale";
    const option_flags *sets[] = {&flags->dynamics, &flags->priors};
    for (size_t s = 0; s < sizeof sets / sizeof sets[0]; s++)
        for (size_t f = 0; f < sets[s]->num; f++)
            if (sets[s]->flags[f].is_set) return sets[s]->flags[f].name;
    return NULL;
}

exit_code train_start_load(cli_app *app, train_flags *flags, const eqf_potential_options *potential) {
    if (!flags->start_path) return EXIT_CODE_OK;
    const char *unfit = first_unfit(flags);
    if (unfit)
        return app_fail(app, EXIT_CODE_USAGE, "--%s has no meaning here: field and prior are those of --start %s",
                        unfit, flags->start_path);
    const exit_code code = flow_flags_load(app, flags->start_path, &flags->start);
    if (code != EXIT_CODE_OK) return code;
    const eqf_model_options *made = eqf_model_options_of(flags->start);
    if (made->potential.num_particles != potential->num_particles || made->potential.space_dim != potential->space_dim)
        return app_fail(app, EXIT_CODE_INPUT, "--start %s is a model of %u particles in %u dimensions, not of %u in %u",
                        flags->start_path, made->potential.num_particles, made->potential.space_dim,
                        potential->num_particles, potential->space_dim);
    return EXIT_CODE_OK;
}

void train_start_fill(const train_flags *flags, eqf_model_options *options) {
    const eqf_model_options preset = *options;
    *options = *eqf_model_options_of(flags->start);
    options->potential = preset.potential;
    memcpy(options->preset, preset.preset, sizeof options->preset);
    if (flags->is_integration_steps_set) options->integrator.num_steps = (unsigned)flags->integration_steps;
}
