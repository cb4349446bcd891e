/* The mean-free Gaussian. Equations: cl/prior/gaussian.clh. */
#include <math.h>

#include "host_reference.h"
#include "prior_kinds.h"

/* The key in model files differs from the member's name. Within the bounds the prior and its log-density are float32
 * numbers without overflow. */
static const eqf_option options[] = {
    {.struct_size = sizeof(eqf_option),
     .key = "scale",
     .offset = offsetof(eqf_model_options, prior_scale),
     .type = EQF_OPTION_REAL,
     .initial = 1.0,
     .low = 1e-6,
     .high = 1e6,
     .unit = "length",
     .flag = "prior-scale",
     .help = "sd of the Gaussian prior"},
    EQF__OPTIONS_END,
};

static double log_z(const eqf_model_options *made) {
    const double half_log_two_pi = 0.91893853320467274178;
    return (made->potential.num_particles - 1) * made->potential.space_dim * (log(made->prior_scale) + half_log_two_pi);
}

static void host_sample(const eqf_model_options *made, uint64_t seed, uint64_t sample, double *z_out) {
    eqf__host_normals(made->potential.num_particles, made->potential.space_dim, made->prior_scale, seed, sample,
                      EQF__STREAM_PRIOR, z_out);
}

static double host_log_prob(const eqf_model_options *made, const double *z) {
    double square = 0;
    for (unsigned c = 0; c < made->potential.num_particles * made->potential.space_dim; c++) square += z[c] * z[c];
    return -0.5 * square / (made->prior_scale * made->prior_scale) - log_z(made);
}

const eqf__prior_kind eqf__gaussian_prior = {
    .info = {.struct_size = sizeof(eqf_prior_kind_info), .name = "mean_free_gaussian", .title = "mean-free Gaussian"},
    .options = options,
    .kernel_file = "prior/gaussian.clh",
    .log_z = log_z,
    .host_sample = host_sample,
    .host_log_prob = host_log_prob,
};
