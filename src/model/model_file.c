/* The model file: docs/file-formats.md. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/version.h"
#include "json_text.h"
#include "model_internal.h"
#include "tensor_file.h"

/* Raised when an older library could not read the file rightly; new keys alone do not raise it. */
enum { FORMAT_VERSION = 1 };

/* ---- Names in the file, and where they go in the options: one table for both directions ------- */

typedef struct name_entry {
    const char *name;
    unsigned value;
} name_entry;

static const name_entry dynamics_names[] = {{"radial", EQF_DYNAMICS_RADIAL}, {"dense", EQF_DYNAMICS_DENSE}, {NULL, 0}};
static const name_entry layout_names[] = {
    {"uniform", EQF_RADIAL_UNIFORM}, {"dense_core", EQF_RADIAL_DENSE_CORE}, {NULL, 0}};
static const name_entry activation_names[] = {{"tanh", EQF_ACTIVATION_TANH}, {"silu", EQF_ACTIVATION_SILU}, {NULL, 0}};
static const name_entry method_names[] = {{"rk4", EQF_INTEGRATOR_RK4}, {NULL, 0}};

static const char *name_of(const name_entry *names, unsigned value) {
    while (names->name != NULL && names->value != value) names++;
    return names->name;
}

static const char prior_kind[] = "mean_free_gaussian";

/* A number of the options. */
typedef struct field_entry {
    const char *name;
    size_t offset; /* in eqf_model_options */
    bool is_real;  /* double, else unsigned */
} field_entry;
#define REAL_FIELD(path, name) \
    { #name, offsetof(eqf_model_options, path name), true }
#define COUNT_FIELD(path, name) \
    { #name, offsetof(eqf_model_options, path name), false }

static const field_entry potential_fields[] = {
    COUNT_FIELD(potential., num_particles),
    COUNT_FIELD(potential., space_dim),
    REAL_FIELD(potential., temperature),
    {NULL, 0, false},
};
static const field_entry built_in_fields[] = {
    REAL_FIELD(potential., distance_offset), REAL_FIELD(potential., linear),
    REAL_FIELD(potential., quadratic),       REAL_FIELD(potential., quartic),
    REAL_FIELD(potential., epsilon),         REAL_FIELD(potential., r_min),
    REAL_FIELD(potential., trap_strength),   {NULL, 0, false},
};
static const field_entry user_fields[] = {REAL_FIELD(potential., length), {NULL, 0, false}};
static const field_entry prior_fields[] = {{"scale", offsetof(eqf_model_options, prior_scale), true}, {NULL, 0, false}};
static const field_entry radial_fields[] = {
    COUNT_FIELD(dynamics., num_distance),  COUNT_FIELD(dynamics., num_time),  REAL_FIELD(dynamics., distance_max),
    REAL_FIELD(dynamics., distance_gamma), REAL_FIELD(dynamics., time_gamma), {NULL, 0, false},
};
static const field_entry dense_fields[] = {
    COUNT_FIELD(dynamics., width), COUNT_FIELD(dynamics., depth), {NULL, 0, false}};
static const field_entry integrator_fields[] = {COUNT_FIELD(integrator., num_steps), {NULL, 0, false}};

/* The columns of the history after "step", all double. Optional ones are in the file where a row has such a number. */
static const struct {
    const char *name;
    size_t offset; /* in eqf_history_row */
    bool is_optional;
} history_columns[] = {
    {"loss", offsetof(eqf_history_row, loss), false},
    {"nll", offsetof(eqf_history_row, nll), false},
    {"held_out_nll", offsetof(eqf_history_row, held_out_nll), false},
    {"gradient_norm", offsetof(eqf_history_row, gradient_norm), false},
    {"learning_rate", offsetof(eqf_history_row, learning_rate), false},
    {"free_energy", offsetof(eqf_history_row, free_energy), true},
    {"held_out_free_energy", offsetof(eqf_history_row, held_out_free_energy), true},
    {"flow_matching", offsetof(eqf_history_row, flow_matching), true},
    {"held_out_flow_matching", offsetof(eqf_history_row, held_out_flow_matching), true},
};
enum { NUM_REAL_COLUMNS = sizeof history_columns / sizeof history_columns[0] };

static double column_of(const eqf_history_row *row, unsigned column) {
    double value;
    memcpy(&value, (const char *)row + history_columns[column].offset, sizeof value);
    return value;
}

static bool has_column(const eqf_model *model, unsigned column) {
    if (!history_columns[column].is_optional) return true;
    for (size_t r = 0; r < model->num_rows; r++)
        if (!isnan(column_of(&model->rows[r], column))) return true;
    return false;
}

/* ---- Checksum --------------------------------------------------------------------------------- */

/* FNV-1a, 64 bits (http://www.isthe.com/chongo/tech/comp/fnv/): each step is one-to-one, so that a single wrong byte
 * always shows. Against accidents, not against attackers. */
static uint64_t hash_byte(uint64_t hash, unsigned char byte) {
    return (hash ^ byte) * UINT64_C(0x100000001b3);
}

static uint64_t hash_bytes(uint64_t hash, const char *bytes, size_t num_bytes) {
    for (size_t n = 0; n < num_bytes; n++) hash = hash_byte(hash, (unsigned char)bytes[n]);
    return hash;
}

/* Metadata text, then name and data (float32 only, as little-endian bytes) of each tensor in the order given. */
static uint64_t checksum_of(const char *text, size_t num_text_bytes, size_t num_tensors, const eqf__tensor *tensors) {
    uint64_t hash = hash_bytes(UINT64_C(0xcbf29ce484222325), text, num_text_bytes);
    for (size_t t = 0; t < num_tensors; t++) {
        hash = hash_bytes(hash, tensors[t].name, strlen(tensors[t].name) + 1);
        if (tensors[t].type != EQF__TENSOR_F32) continue; /* refused later: a model has none */
        size_t count = 1;
        for (unsigned d = 0; d < tensors[t].num_dims; d++) count *= tensors[t].shape[d];
        for (size_t n = 0; n < count; n++) {
            uint32_t bits;
            memcpy(&bits, (const char *)tensors[t].data + 4 * n, sizeof bits);
            for (unsigned byte = 0; byte < 4; byte++) hash = hash_byte(hash, (unsigned char)(bits >> (8 * byte)));
        }
    }
    return hash;
}

/* What the metadata text ends with; the checksum covers the text before it. */
enum { CHECKSUM_TEXT_BYTES = 40 };
static size_t checksum_text(uint64_t checksum, char text[CHECKSUM_TEXT_BYTES]) {
    return (size_t)snprintf(text, CHECKSUM_TEXT_BYTES, ",\"checksum\":\"%016llx\"}", (unsigned long long)checksum);
}

/* ---- Saving ----------------------------------------------------------------------------------- */

/* JSON has no word for these; everything else is written with 17 digits and reads back bit for bit. */
static json_t *real_to_json(double value) {
    if (isnan(value)) return json_null();
    if (isinf(value)) return json_string(value > 0 ? "inf" : "-inf");
    return json_real(value);
}

/* Adds value (a new reference, or NULL where it could not be made) and remembers failure. */
static void put(json_t *object, const char *key, json_t *value, bool *is_complete) {
    if (json_object_set_new(object, key, value) != 0) *is_complete = false;
}

static void put_fields(json_t *object, const eqf_model_options *options, const field_entry *fields, bool *is_complete) {
    for (; fields->name != NULL; fields++) {
        const char *place = (const char *)options + fields->offset;
        double real;
        unsigned count;
        if (fields->is_real)
            memcpy(&real, place, sizeof real);
        else
            memcpy(&count, place, sizeof count);
        put(object, fields->name, fields->is_real ? real_to_json(real) : json_integer(count), is_complete);
    }
}

static json_t *history_to_json(const eqf_model *model, bool *is_complete) {
    json_t *columns = json_array(), *rows = json_array();
    bool is_appended = json_array_append_new(columns, json_string("step")) == 0;
    bool is_there[NUM_REAL_COLUMNS];
    for (unsigned c = 0; c < NUM_REAL_COLUMNS; c++) {
        is_there[c] = has_column(model, c);
        if (is_there[c])
            is_appended = json_array_append_new(columns, json_string(history_columns[c].name)) == 0 && is_appended;
    }
    for (size_t r = 0; r < model->num_rows; r++) {
        json_t *row = json_array();
        is_appended = json_array_append_new(row, json_integer((json_int_t)model->rows[r].step)) == 0 && is_appended;
        for (unsigned c = 0; c < NUM_REAL_COLUMNS; c++)
            if (is_there[c])
                is_appended =
                    json_array_append_new(row, real_to_json(column_of(&model->rows[r], c))) == 0 && is_appended;
        is_appended = json_array_append_new(rows, row) == 0 && is_appended;
    }
    if (!is_appended) *is_complete = false;
    json_t *history = json_object();
    put(history, "columns", columns, is_complete);
    put(history, "rows", rows, is_complete);
    return history;
}

/* A user's potential: its text, the name for compiler messages, and its constants by name. */
static void put_user_potential(json_t *object, const eqf_model_options *options, bool *is_complete) {
    const eqf_potential_options *potential = &options->potential;
    put_fields(object, options, user_fields, is_complete);
    json_t *constants = json_object();
    for (unsigned c = 0; c < potential->num_constants; c++)
        put(constants, potential->constants[c].name, json_real(potential->constants[c].value), is_complete);
    put(object, "constants", constants, is_complete);
    const char *name = potential->source_name != NULL ? potential->source_name : "";
    put(object, "source_name", json_string(name), is_complete);
    put(object, "source", json_string(potential->source), is_complete);
}

/* All of the model but its parameters. NULL: out of memory. */
static json_t *model_to_json(const eqf_model *model) {
    const eqf_model_options *options = &model->options;
    bool is_complete = true;
    json_t *root = json_object();
    put(root, "format", json_integer(FORMAT_VERSION), &is_complete);
    put(root, "version", json_string(model->version), &is_complete);
    put(root, "preset", json_string(options->preset), &is_complete);

    json_t *potential = json_object();
    put(potential, "kind", json_string(eqf_potential_kind_name(options->potential.kind)), &is_complete);
    put_fields(potential, options, potential_fields, &is_complete);
    if (options->potential.kind == EQF_POTENTIAL_USER)
        put_user_potential(potential, options, &is_complete);
    else
        put_fields(potential, options, built_in_fields, &is_complete);
    put(root, "potential", potential, &is_complete);

    json_t *prior = json_object();
    put(prior, "kind", json_string(prior_kind), &is_complete);
    put_fields(prior, options, prior_fields, &is_complete);
    put(root, "prior", prior, &is_complete);

    json_t *dynamics = json_object();
    put(dynamics, "kind", json_string(name_of(dynamics_names, options->dynamics.kind)), &is_complete);
    switch (options->dynamics.kind) {
        case EQF_DYNAMICS_RADIAL:
            put_fields(dynamics, options, radial_fields, &is_complete);
            put(dynamics, "layout", json_string(name_of(layout_names, options->dynamics.layout)), &is_complete);
            break;
        case EQF_DYNAMICS_DENSE:
            put_fields(dynamics, options, dense_fields, &is_complete);
            put(dynamics, "activation", json_string(name_of(activation_names, options->dynamics.activation)),
                &is_complete);
            break;
    }
    put(root, "dynamics", dynamics, &is_complete);

    json_t *integrator = json_object();
    put(integrator, "method", json_string(name_of(method_names, options->integrator.method)), &is_complete);
    put_fields(integrator, options, integrator_fields, &is_complete);
    put(root, "integrator", integrator, &is_complete);

    /* As text: 64 bits do not fit the numbers of most JSON readers. */
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)options->seed);
    put(root, "seed", json_string(seed), &is_complete);
    put(root, "history", history_to_json(model, &is_complete), &is_complete);
    if (is_complete) return root;
    json_decref(root);
    return NULL;
}

eqf_status eqf_model_save(eqf_context *ctx, const eqf_model *model, const char *path) {
    if (model == NULL || path == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the model or path is NULL");
    json_t *json = model_to_json(model);
    char *text = NULL;
    size_t num_bytes = 0;
    eqf_status status = eqf__json_text(ctx, json, &text, &num_bytes);
    json_decref(json);
    if (status != EQF_OK) return status;

    eqf__tensor tensors[EQF__MODEL_MAX_SLICES];
    for (size_t s = 0; s < model->num_slices; s++) {
        const eqf_param_slice *slice = &model->slices[s];
        tensors[s] = (eqf__tensor){slice->name,
                                   EQF__TENSOR_F32,
                                   slice->num_dims,
                                   {slice->shape[0], slice->shape[1], 0, 0},
                                   model->params + slice->offset};
    }
    char *signed_text = eqf__alloc(ctx, num_bytes + CHECKSUM_TEXT_BYTES, 1, "the metadata");
    status = signed_text != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    if (status == EQF_OK) {
        num_bytes--; /* the closing brace comes after the checksum */
        memcpy(signed_text, text, num_bytes);
        checksum_text(checksum_of(text, num_bytes, model->num_slices, tensors), signed_text + num_bytes);
        status = eqf__tensor_file_write(ctx, path, signed_text, model->num_slices, tensors);
    }
    free(signed_text);
    free(text);
    return status;
}

/* ---- Loading ---------------------------------------------------------------------------------- */

/* Carries what messages need. The first problem is reported and its status kept; the calls after it do nothing. */
typedef struct model_reader {
    eqf_context *ctx;
    const char *path;
    eqf_status status;
} model_reader;

static void reject(model_reader *reader, const char *section, const char *key, const char *reason) {
    if (reader->status != EQF_OK) return;
    reader->status = eqf__fail(reader->ctx, EQF_ERROR_FORMAT, "%s is a damaged eqflow model: %s%s%s in its metadata %s",
                               reader->path, section, *section != '\0' ? "." : "", key, reason);
}

static const json_t *get(model_reader *reader, const json_t *object, const char *section, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (value == NULL) reject(reader, section, key, "is missing");
    return value;
}

static const json_t *get_object(model_reader *reader, const json_t *root, const char *key) {
    const json_t *value = get(reader, root, "", key);
    if (value != NULL && !json_is_object(value)) reject(reader, "", key, "is not an object");
    return value;
}

/* "" where there is none, after the report. */
static const char *get_text(model_reader *reader, const json_t *object, const char *section, const char *key) {
    const json_t *value = get(reader, object, section, key);
    if (value != NULL && !json_is_string(value)) reject(reader, section, key, "is not text");
    return json_is_string(value) ? json_string_value(value) : "";
}

/* A kind or method that this library must know to use the model. */
static void reject_name(model_reader *reader, const char *section, const char *key, const char *name) {
    if (reader->status != EQF_OK) return;
    reader->status = eqf__fail(reader->ctx, EQF_ERROR_UNSUPPORTED,
                               "%s: %s.%s \"%.60s\" is not known to eqflow %s: use the version that wrote the file",
                               reader->path, section, key, name, eqf_version());
}

static unsigned get_name(model_reader *reader, const json_t *object, const char *section, const char *key,
                         const name_entry *names) {
    const char *text = get_text(reader, object, section, key);
    for (; names->name != NULL; names++)
        if (strcmp(names->name, text) == 0) return names->value;
    reject_name(reader, section, key, text);
    return 0;
}

static void get_fields(model_reader *reader, const json_t *object, const char *section, const field_entry *fields,
                       eqf_model_options *options) {
    for (; fields->name != NULL; fields++) {
        const json_t *value = get(reader, object, section, fields->name);
        char *place = (char *)options + fields->offset;
        if (value == NULL) return;
        if (fields->is_real) {
            if (!json_is_number(value)) reject(reader, section, fields->name, "is not a number");
            double real = json_number_value(value);
            memcpy(place, &real, sizeof real);
        } else {
            json_int_t number = json_integer_value(value);
            if (!json_is_integer(value) || number < 0 || number > INT32_MAX)
                reject(reader, section, fields->name, "is not a count");
            unsigned count = (unsigned)(number & INT32_MAX);
            memcpy(place, &count, sizeof count);
        }
    }
}

static uint64_t get_seed(model_reader *reader, const json_t *root) {
    const char *text = get_text(reader, root, "", "seed");
    uint64_t seed = 0;
    bool is_number = *text != '\0';
    for (; is_number && *text != '\0'; text++) {
        unsigned digit = (unsigned char)*text - (unsigned)'0';
        is_number = digit <= 9 && seed <= (UINT64_MAX - digit) / 10;
        seed = seed * 10 + digit;
    }
    if (!is_number) reject(reader, "", "seed", "is not a 64-bit number");
    return seed;
}

/* The texts stay those of root. */
static void get_user_potential(model_reader *reader, const json_t *object, eqf_model_options *options) {
    eqf_potential_options *potential = &options->potential;
    get_fields(reader, object, "potential", user_fields, options);
    potential->source = get_text(reader, object, "potential", "source");
    const char *name = get_text(reader, object, "potential", "source_name");
    potential->source_name = *name != '\0' ? name : NULL;
    const json_t *constants = get(reader, object, "potential", "constants");
    if (constants != NULL && !json_is_object(constants)) reject(reader, "potential", "constants", "is not an object");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)constants, key, value) { /* jansson's iterators take no const */
        eqf_context scratch = {.device = NULL};
        if (!json_is_number(value)) {
            reject(reader, "potential.constants", key, "is not a number");
        } else if (eqf_potential_set_constant(&scratch, potential, key, json_number_value(value)) != EQF_OK &&
                   reader->status == EQF_OK) {
            reader->status = eqf__fail(reader->ctx, EQF_ERROR_FORMAT, "%s cannot be loaded as an eqflow model: %.700s",
                                       reader->path, scratch.error);
        }
    }
}

static void get_options(model_reader *reader, const json_t *root, eqf_model_options *options) {
    *options = (eqf_model_options)EQF_MODEL_OPTIONS_INIT;
    const char *preset = get_text(reader, root, "", "preset");
    if (strlen(preset) >= sizeof options->preset) reject(reader, "", "preset", "is too long");
    snprintf(options->preset, sizeof options->preset, "%s", preset);
    options->seed = get_seed(reader, root);

    const json_t *potential = get_object(reader, root, "potential");
    const char *kind = get_text(reader, potential, "potential", "kind");
    if (eqf_potential_kind_find(kind, &options->potential.kind) != EQF_OK)
        reject_name(reader, "potential", "kind", kind);
    get_fields(reader, potential, "potential", potential_fields, options);
    if (options->potential.kind == EQF_POTENTIAL_USER)
        get_user_potential(reader, potential, options);
    else
        get_fields(reader, potential, "potential", built_in_fields, options);

    const json_t *prior = get_object(reader, root, "prior");
    const char *prior_text = get_text(reader, prior, "prior", "kind");
    if (strcmp(prior_text, prior_kind) != 0) reject_name(reader, "prior", "kind", prior_text);
    get_fields(reader, prior, "prior", prior_fields, options);

    const json_t *dynamics = get_object(reader, root, "dynamics");
    options->dynamics.kind = (eqf_dynamics_kind)get_name(reader, dynamics, "dynamics", "kind", dynamics_names);
    switch (options->dynamics.kind) {
        case EQF_DYNAMICS_RADIAL:
            get_fields(reader, dynamics, "dynamics", radial_fields, options);
            options->dynamics.layout =
                (eqf_radial_layout)get_name(reader, dynamics, "dynamics", "layout", layout_names);
            break;
        case EQF_DYNAMICS_DENSE:
            get_fields(reader, dynamics, "dynamics", dense_fields, options);
            options->dynamics.activation =
                (eqf_activation)get_name(reader, dynamics, "dynamics", "activation", activation_names);
            break;
    }

    const json_t *integrator = get_object(reader, root, "integrator");
    options->integrator.method =
        (eqf_integrator_method)get_name(reader, integrator, "integrator", "method", method_names);
    get_fields(reader, integrator, "integrator", integrator_fields, options);
}

static bool real_from_json(const json_t *json, double *value_out) {
    const char *text = json_string_value(json);
    if (json_is_number(json))
        *value_out = json_number_value(json);
    else if (json_is_null(json))
        *value_out = NAN;
    else if (text != NULL && strcmp(text, "inf") == 0)
        *value_out = INFINITY;
    else if (text != NULL && strcmp(text, "-inf") == 0)
        *value_out = -INFINITY;
    else
        return false;
    return true;
}

static void get_history(model_reader *reader, const json_t *root, eqf_model *model) {
    const json_t *history = get_object(reader, root, "history");
    const json_t *columns = get(reader, history, "history", "columns"), *rows = get(reader, history, "history", "rows");
    if (reader->status != EQF_OK) return;
    /* places[c]: where column c stands in a row; 0: nowhere, as the step is there. The order is that of the table. */
    size_t places[NUM_REAL_COLUMNS] = {0}, num_columns = json_array_size(columns), place = 1;
    const char *first = json_string_value(json_array_get(columns, 0));
    bool has_columns = first != NULL && strcmp(first, "step") == 0;
    for (unsigned c = 0; c < NUM_REAL_COLUMNS; c++) {
        const char *name = json_string_value(json_array_get(columns, place));
        if (name != NULL && strcmp(name, history_columns[c].name) == 0)
            places[c] = place++;
        else
            has_columns = has_columns && history_columns[c].is_optional;
    }
    if (!has_columns || place != num_columns) reject(reader, "history", "columns", "are not those of this format");
    if (!json_is_array(rows)) reject(reader, "history", "rows", "is not an array");
    for (size_t r = 0; reader->status == EQF_OK && r < json_array_size(rows); r++) {
        const json_t *values = json_array_get(rows, r), *step = json_array_get(values, 0);
        eqf_history_row row = EQF_HISTORY_ROW_INIT;
        bool is_row = json_array_size(values) == num_columns && json_is_integer(step) && json_integer_value(step) >= 0;
        row.step = (uint64_t)json_integer_value(step);
        for (unsigned c = 0; is_row && c < NUM_REAL_COLUMNS; c++) {
            double value = 0.0;
            if (places[c] == 0) continue;
            is_row = real_from_json(json_array_get(values, places[c]), &value);
            memcpy((char *)&row + history_columns[c].offset, &value, sizeof value);
        }
        if (!is_row)
            reject(reader, "history", "rows", "has a row that is not one step and a number for each column");
        else
            reader->status = eqf_model_add_history(reader->ctx, model, &row);
    }
}

static eqf_status take_params(eqf_context *ctx, const char *path, const eqf__tensor_file *file, eqf_model *model) {
    for (size_t s = 0; s < model->num_slices; s++) {
        const eqf_param_slice *slice = &model->slices[s];
        const eqf__tensor *tensor = eqf__tensor_file_find(file, slice->name);
        if (tensor == NULL)
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is a damaged eqflow model: tensor %s is missing", path,
                             slice->name);
        bool has_shape = tensor->type == EQF__TENSOR_F32 && tensor->num_dims == slice->num_dims;
        for (unsigned d = 0; has_shape && d < slice->num_dims; d++) has_shape = tensor->shape[d] == slice->shape[d];
        if (!has_shape && slice->num_dims == 2)
            return eqf__fail(ctx, EQF_ERROR_FORMAT,
                             "%s is a damaged eqflow model: tensor %s is not F32 of shape [%zu, %zu]", path,
                             slice->name, slice->shape[0], slice->shape[1]);
        if (!has_shape)
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is a damaged eqflow model: tensor %s is not F32 of shape [%zu]",
                             path, slice->name, slice->shape[0]);
        const float *values = tensor->data;
        for (size_t n = 0; n < slice->count; n++)
            if (!isfinite(values[n]))
                return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is a damaged eqflow model: number %zu of tensor %s is %g",
                                 path, n, slice->name, (double)values[n]);
        memcpy(model->params + slice->offset, values, slice->count * sizeof *values);
    }
    for (size_t n = 0; n < file->num_tensors; n++) {
        bool is_slice = false;
        for (size_t s = 0; s < model->num_slices; s++)
            is_slice = is_slice || strcmp(file->tensors[n].name, model->slices[s].name) == 0;
        if (!is_slice)
            return eqf__fail(ctx, EQF_ERROR_FORMAT,
                             "%s is a damaged eqflow model: tensor %.100s does not belong to its dynamics", path,
                             file->tensors[n].name);
    }
    return EQF_OK;
}

/* A file without a checksum is one that somebody edited on purpose: it passes. */
static eqf_status verify_checksum(eqf_context *ctx, const char *path, const json_t *root,
                                  const eqf__tensor_file *file) {
    if (json_object_get(root, "checksum") == NULL) return EQF_OK;
    const char *text = file->metadata_json;
    size_t length = strlen(text);
    char expected[CHECKSUM_TEXT_BYTES];
    size_t num_expected = checksum_text(0, expected);
    if (length > num_expected) {
        size_t num_covered = length - num_expected;
        checksum_text(checksum_of(text, num_covered, file->num_tensors, file->tensors), expected);
        if (strcmp(text + num_covered, expected) == 0) return EQF_OK;
    }
    return eqf__fail(
        ctx, EQF_ERROR_FORMAT,
        "%s is damaged: its content does not match its checksum: take another copy (or, if you edited it on "
        "purpose, remove the checksum from its metadata)",
        path);
}

static eqf_status model_from_json(eqf_context *ctx, const char *path, const json_t *root, const eqf__tensor_file *file,
                                  eqf_model **model_out) {
    model_reader reader = {ctx, path, EQF_OK};
    const json_t *format = get(&reader, root, "", "format");
    if (reader.status == EQF_OK && !json_is_integer(format)) reject(&reader, "", "format", "is not a number");
    EQF__TRY(reader.status);
    if (json_integer_value(format) > FORMAT_VERSION)
        return eqf__fail(ctx, EQF_ERROR_FORMAT,
                         "%s is a model of format %lld, eqflow %s reads up to %d: use a newer version of eqflow", path,
                         (long long)json_integer_value(format), eqf_version(), FORMAT_VERSION);
    EQF__TRY(verify_checksum(ctx, path, root, file));
    if (json_integer_value(format) < 1) reject(&reader, "", "format", "is not a format version");
    const char *version = get_text(&reader, root, "", "version");
    if (strlen(version) >= EQF__MODEL_VERSION_BYTES) reject(&reader, "", "version", "is too long");
    eqf_model_options options;
    get_options(&reader, root, &options);
    EQF__TRY(reader.status);

    /* The same rules as for a new model; here their breach is the file's fault. */
    eqf_context scratch = {.log = NULL};
    eqf_status status = eqf__model_allocate(&scratch, &options, model_out);
    if (status == EQF_ERROR_INVALID_ARGUMENT) status = EQF_ERROR_FORMAT;
    if (status != EQF_OK)
        return eqf__fail(ctx, status, "%s cannot be loaded as an eqflow model: %.700s", path, scratch.error);
    memset((*model_out)->version, 0, sizeof(*model_out)->version);
    snprintf((*model_out)->version, sizeof(*model_out)->version, "%s", version);
    EQF__TRY(take_params(ctx, path, file, *model_out));
    get_history(&reader, root, *model_out);
    return reader.status;
}

eqf_status eqf__model_parse(eqf_context *ctx, const char *path, const unsigned char *bytes, size_t num_bytes,
                            eqf_model **model_out) {
    *model_out = NULL;
    eqf__tensor_file file;
    EQF__TRY(eqf__tensor_file_parse(ctx, path, bytes, num_bytes, &file));
    eqf_status status;
    eqf_model *model = NULL;
    json_t *root = NULL;
    if (file.metadata_json == NULL) {
        status =
            eqf__fail(ctx, EQF_ERROR_FORMAT,
                      "%s is a safetensors file but not an eqflow model: its metadata have no entry \"eqflow\"", path);
    } else {
        status = eqf__json_parse(ctx, path, "a whole eqflow model: its metadata are not JSON", file.metadata_json,
                                 strlen(file.metadata_json), &root);
        if (status == EQF_OK) status = model_from_json(ctx, path, root, &file, &model);
    }
    json_decref(root);
    eqf__tensor_file_clear(&file);
    if (status == EQF_OK)
        *model_out = model;
    else
        eqf_model_destroy(&model);
    return status;
}

eqf_status eqf_model_load(eqf_context *ctx, const char *path, eqf_model **model_out) {
    if (model_out == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "model_out is NULL");
    *model_out = NULL;
    if (path == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path is NULL");
    unsigned char *bytes;
    size_t num_bytes;
    EQF__TRY(eqf__tensor_file_bytes(ctx, path, &bytes, &num_bytes));
    eqf_status status = eqf__model_parse(ctx, path, bytes, num_bytes, model_out);
    free(bytes);
    return status;
}
