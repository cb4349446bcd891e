/* The kinds of prior, one row each. To add one: docs/extending.md. A prior is a density of scale prior_scale on the
 * configurations [N, D] whose centre of mass is at 0; N and D are those of the model's potential. */
#ifndef EQF_PRIOR_KINDS_H
#define EQF_PRIOR_KINDS_H

#include "eqflow/model.h"
#include "option.h"

/* A row. Its functions take the model's options, which are checked. */
typedef struct eqf__prior_kind {
    eqf_prior_kind_info info;
    const eqf_option *options; /* the kind's rows, over eqf_model_options */
    const char *kernel_file;   /* prior/<kind>.clh: cl/prior/prior.cl lists the functions that it must have */
    /* -D constants of that file, beginning with a space; NULL: it has none. */
    void (*write_defines)(const eqf_model_options *options, char *text, size_t size);
    double (*log_z)(const eqf_model_options *options); /* -log_prob(0) */
    /* In double on the host. host_sample: sample number `sample` of the stream seed, z_out [N*D + 4], the last four
     * scratch. host_log_prob: the log-density of z [N*D]; its differences are the expected gradients of the kernels. */
    void (*host_sample)(const eqf_model_options *options, uint64_t seed, uint64_t sample, double *z_out);
    double (*host_log_prob)(const eqf_model_options *options, const double *z);
} eqf__prior_kind;

/* NULL: there is no such kind. */
const eqf__prior_kind *eqf__prior_kind_of(eqf_prior_kind kind);
/* Checks all options of a model's prior. Errors: INVALID_ARGUMENT with the option's name. */
eqf_status eqf__prior_check(eqf_context *ctx, const eqf_model_options *options);
/* Adds the kind and its options to a hash (eqf__hash). */
uint64_t eqf__prior_hash(uint64_t hash, const eqf_model_options *options);
/* Copies the options of the prior from one model's options to another's. */
void eqf__prior_copy_options(const eqf_model_options *from, eqf_model_options *to);

extern const eqf__prior_kind eqf__gaussian_prior;

#endif
