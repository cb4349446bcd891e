/* --prior of eqflow train, and the flags of the kinds of prior. */
#include <string.h>

#include "train_flags.h"

/* Without the scale, which has a separate flag that also takes "data" and has a default for each preset. */
static const eqf_option *prior_rows(unsigned kind, size_t index) {
    const eqf_option *row;
    for (size_t i = 0; (row = eqf_prior_option((eqf_prior_kind)kind, i)) != NULL; i++)
        if (row->offset != offsetof(eqf_model_options, prior_scale) && index-- == 0) return row;
    return NULL;
}

/* "mean_free_gaussian or ...", or with titles "mean_free_gaussian: mean-free Gaussian; ..." */
static void list_priors(bool has_titles, char *text, size_t size) {
    const eqf_prior_kind_info *info;
    size_t length = 0;
    for (unsigned kind = 0; (info = eqf_prior_kind_describe((eqf_prior_kind)kind)) != NULL && length < size; kind++)
        length += (size_t)snprintf(text + length, size - length, "%s%s%s%s",
                                   kind == 0    ? ""
                                   : has_titles ? "; "
                                                : " or ",
                                   info->name, has_titles ? ": " : "", has_titles ? info->title : "");
}

void train_prior_describe(train_flags *flags) {
    const eqf_prior_kind_info *info;
    for (unsigned kind = 0; (info = eqf_prior_kind_describe((eqf_prior_kind)kind)) != NULL; kind++)
        option_flags_add(&flags->priors, info->title, prior_rows, kind);
    list_priors(true, flags->prior_help, sizeof flags->prior_help);
}

exit_code train_flags_prior(cli_app *app, const train_flags *flags, eqf_model_options *options) {
    char names[256];
    if (flags->prior && eqf_prior_kind_find(flags->prior, &options->prior_kind) != EQF_OK) {
        list_priors(false, names, sizeof names);
        return app_fail(app, EXIT_CODE_USAGE, "--prior %s: must be %s; see eqflow train --help", flags->prior, names);
    }
    const option_flag *unfit;
    const exit_code code = option_flags_apply(app, &flags->priors, prior_rows, options->prior_kind, options, &unfit);
    if (code != EXIT_CODE_OK || !unfit) return code;
    return app_fail(app, EXIT_CODE_USAGE, "--%s has no meaning here: this is --prior %s; see eqflow train --help",
                    unfit->name, eqf_prior_kind_describe(options->prior_kind)->name);
}
