/* The inside of a model, shared by model.c and model_file.c. */
#ifndef EQF_MODEL_INTERNAL_H
#define EQF_MODEL_INTERNAL_H

#include "base.h"
#include "eqflow/model.h"
#include "option.h"

enum { EQF__MODEL_MAX_SLICES = 96, EQF__MODEL_VERSION_BYTES = 32 };

struct eqf_model {
    eqf_model_options options;
    char *potential_source, *potential_source_name; /* what options.potential points to; NULL but for a user's */
    char version[EQF__MODEL_VERSION_BYTES]; /* of the library that made the model */
    size_t num_slices, num_params, num_trained;
    eqf_param_slice slices[EQF__MODEL_MAX_SLICES];
    float *params; /* [num_params] */
    size_t num_rows, row_capacity;
    eqf_history_row *rows; /* [num_rows] */
};

/* The integrator of a model, over eqf_integrator_options. */
extern const eqf_option eqf__model_integrator_options[];

/* A model of checked options whose parameters are all zero. Errors: INVALID_ARGUMENT (names the field),
 * OUT_OF_MEMORY. */
eqf_status eqf__model_allocate(eqf_context *ctx, const eqf_model_options *options, eqf_model **model_out);

/* eqf_model_load on bytes in memory; path is for messages only. */
eqf_status eqf__model_parse(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                            eqf_model **model_out);

#endif
