/* The struct of a model, for model.c, model_file.c and model_json.c. */
#ifndef EQF_MODEL_INTERNAL_H
#define EQF_MODEL_INTERNAL_H

#include "base.h"
#include "eqflow/model.h"
#include "option.h"

enum { EQF__MODEL_MAX_SLICES = 96, EQF__MODEL_VERSION_BYTES = 32 };

struct eqf_model {
    eqf_model_options options;
    char *potential_source, *potential_source_name; /* options.potential points to them; NULL for built-in kinds */
    char version[EQF__MODEL_VERSION_BYTES]; /* of the library that made the model */
    size_t num_slices, num_params, num_trained;
    eqf_param_slice slices[EQF__MODEL_MAX_SLICES];
    float *params; /* [num_params] */
    size_t num_rows, row_capacity;
    eqf_history_row *rows; /* [num_rows] */
};

/* Options of a model's integrator, members of eqf_integrator_options. */
extern const eqf_option eqf__model_integrator_options[];

/* Checks the options and makes a model with all parameters zero. Errors: INVALID_ARGUMENT (with the option's name),
 * OUT_OF_MEMORY. */
eqf_status eqf__model_allocate(eqf_context *ctx, const eqf_model_options *options, eqf_model **model_out);

/* eqf_model_load from bytes in memory; path is only for messages. */
eqf_status eqf__model_parse(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                            eqf_model **model_out);

#endif
