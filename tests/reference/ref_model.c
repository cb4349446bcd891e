/* The radial field's numbers out of a model: only names and shapes of the public header. */
#include <stdlib.h>
#include <string.h>

#include "reference.h"

static double *find(const eqf_model *model, double *params, const char *name, size_t rows, size_t columns) {
    for (size_t i = 0; i < eqf_model_num_slices(model); ++i) {
        const eqf_param_slice *slice = eqf_model_slice(model, i);
        if (strcmp(slice->name, name)) continue;
        bool has_shape = columns ? slice->num_dims == 2 && slice->shape[0] == rows && slice->shape[1] == columns
                                 : slice->num_dims == 1 && slice->shape[0] == rows;
        return has_shape && slice->count == rows * (columns ? columns : 1) ? params + slice->offset : NULL;
    }
    return NULL;
}

ref_radial *ref_radial_from_model(const eqf_model *model) {
    const eqf_model_options *options = eqf_model_options_of(model);
    unsigned K = options->dynamics.num_distance, M = options->dynamics.num_time;
    ref_radial *radial = calloc(1, sizeof *radial);
    if (!radial) abort();
    radial->num_distance = K;
    radial->num_time = M;
    radial->num_params = eqf_model_num_params(model);
    radial->num_trained = eqf_model_num_trained(model);
    radial->params = calloc(radial->num_params, sizeof *radial->params);
    if (!radial->params) abort();
    const float *params = eqf_model_params(model);
    for (size_t i = 0; i < radial->num_params; ++i) radial->params[i] = params[i];
    radial->weights = find(model, radial->params, "radial.weights", K, M);
    radial->bias = find(model, radial->params, "radial.bias", M, 0);
    radial->importance = find(model, radial->params, "radial.importance", K, 0);
    radial->distance_log_gammas = find(model, radial->params, "radial.distance_log_gammas", K, 0);
    radial->time_log_gammas = find(model, radial->params, "radial.time_log_gammas", M, 0);
    radial->distance_centers = find(model, radial->params, "radial.distance_centers", K, 0);
    radial->time_centers = find(model, radial->params, "radial.time_centers", M, 0);
    if (!radial->weights || !radial->bias || !radial->importance || !radial->distance_log_gammas ||
        !radial->time_log_gammas || !radial->distance_centers || !radial->time_centers) {
        ref_radial_destroy(radial);
        return NULL;
    }
    return radial;
}
