#include "model_json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/version.h"
#include "kinds.h"
#include "option_json.h"
#include "potential_kinds.h"
#include "prior_kinds.h"

/* ---- The history ------------------------------------------------------------------------------ */

/* The columns of the history after "step", all double. An optional one is in the file if a row has a number in it. */
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
    {"dispersion", offsetof(eqf_history_row, dispersion), true},
    {"held_out_dispersion", offsetof(eqf_history_row, held_out_dispersion), true},
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

/* ---- Writing ---------------------------------------------------------------------------------- */

/* Adds value (a new reference; NULL if it could not be made) and clears *is_complete on failure. */
static void put(json_t *object, const char *key, json_t *value, bool *is_complete) {
    if (json_object_set_new(object, key, value) != 0) *is_complete = false;
}

static void put_options(json_t *object, const eqf_option *rows, const void *options, bool *is_complete) {
    if (!eqf__options_to_json(rows, options, object)) *is_complete = false;
}

/* Adds an object to root whose first member is the name of a kind; NULL if it could not be made. */
static json_t *put_kind(json_t *root, const char *section, const char *name, bool *is_complete) {
    json_t *object = json_object();
    put(object, "kind", json_string(name), is_complete);
    put(root, section, object, is_complete);
    return json_object_get(root, section);
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
                    json_array_append_new(row, eqf__json_real(column_of(&model->rows[r], c))) == 0 && is_appended;
        is_appended = json_array_append_new(rows, row) == 0 && is_appended;
    }
    if (!is_appended) *is_complete = false;
    json_t *history = json_object();
    put(history, "columns", columns, is_complete);
    put(history, "rows", rows, is_complete);
    return history;
}

/* The tables of options that are in the file: the kind's own, unless its row has others. */
static const eqf_option *file_table(const eqf__potential_kind *kind, size_t index) {
    if (kind->file_options != NULL) return kind->file_options[index];
    return index == 0 ? kind->options : NULL;
}

static void put_potential(json_t *root, const eqf_potential_options *potential, bool *is_complete) {
    const eqf__potential_kind *kind = eqf__potential_kind_of(potential->kind);
    json_t *object = put_kind(root, "potential", kind->info.name, is_complete);
    put_options(object, eqf__potential_common_options, potential, is_complete);
    for (size_t n = 0; file_table(kind, n) != NULL; n++)
        put_options(object, file_table(kind, n), potential, is_complete);
    if (!kind->info.has_text) return;
    json_t *constants = json_object();
    for (unsigned c = 0; c < potential->num_constants; c++)
        put(constants, potential->constants[c].name, json_real(potential->constants[c].value), is_complete);
    put(object, "constants", constants, is_complete);
    const char *name = potential->source_name != NULL ? potential->source_name : "";
    put(object, "source_name", json_string(name), is_complete);
    put(object, "source", json_string(potential->source), is_complete);
}

json_t *eqf__model_to_json(const eqf_model *model) {
    const eqf_model_options *options = &model->options;
    const eqf__prior_kind *prior = eqf__prior_kind_of(options->prior_kind);
    const eqf__dynamics_kind *dynamics = eqf__dynamics_kind_of(options->dynamics.kind);
    bool is_complete = true;
    json_t *root = json_object();
    put(root, "format", json_integer(EQF__MODEL_FORMAT), &is_complete);
    put(root, "version", json_string(model->version), &is_complete);
    put(root, "preset", json_string(options->preset), &is_complete);
    put_potential(root, &options->potential, &is_complete);
    put_options(put_kind(root, "prior", prior->info.name, &is_complete), prior->options, options, &is_complete);
    put_options(put_kind(root, "dynamics", dynamics->info.name, &is_complete), dynamics->options, &options->dynamics,
                &is_complete);
    json_t *integrator = json_object();
    put_options(integrator, eqf__model_integrator_options, &options->integrator, &is_complete);
    put(root, "integrator", integrator, &is_complete);
    /* A string, as most JSON readers have no 64-bit numbers. */
    char seed[24];
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)options->seed);
    put(root, "seed", json_string(seed), &is_complete);
    put(root, "history", history_to_json(model, &is_complete), &is_complete);
    if (is_complete) return root;
    json_decref(root);
    return NULL;
}

/* ---- Reading ---------------------------------------------------------------------------------- */

void eqf__model_reject(eqf__model_reader *reader, const char *section, const char *key, const char *reason) {
    if (reader->status != EQF_OK) return;
    reader->status = eqf__fail(reader->ctx, EQF_ERROR_FORMAT, "%s is a damaged eqflow model: %s%s%s in its metadata %s",
                               reader->path, section, *section != '\0' ? "." : "", key, reason);
}

const json_t *eqf__model_value(eqf__model_reader *reader, const json_t *object, const char *section, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (value == NULL) eqf__model_reject(reader, section, key, "is missing");
    return value;
}

static const json_t *get_object(eqf__model_reader *reader, const json_t *root, const char *key) {
    const json_t *value = eqf__model_value(reader, root, "", key);
    if (value != NULL && !json_is_object(value)) eqf__model_reject(reader, "", key, "is not an object");
    return value;
}

/* "" if there is none; the error is then reported. */
const char *eqf__model_text(eqf__model_reader *reader, const json_t *object, const char *section, const char *key) {
    const json_t *value = eqf__model_value(reader, object, section, key);
    if (value != NULL && !json_is_string(value)) eqf__model_reject(reader, section, key, "is not text");
    return json_is_string(value) ? json_string_value(value) : "";
}

/* Reports a kind or method that this library does not have, but needs for the model. */
static void reject_name(eqf__model_reader *reader, const char *section, const char *key, const char *name) {
    if (reader->status != EQF_OK) return;
    reader->status = eqf__fail(reader->ctx, EQF_ERROR_UNSUPPORTED,
                               "%s: %s.%s \"%.60s\" is not known to eqflow %s: use the version that wrote the file",
                               reader->path, section, key, name, eqf_version());
}

static void get_options(eqf__model_reader *reader, const json_t *object, const char *section, const eqf_option *rows,
                        void *options) {
    eqf__option_problem problem;
    if (reader->status != EQF_OK || eqf__options_from_json(rows, object, options, &problem)) return;
    if (problem.unknown_name != NULL)
        reject_name(reader, section, problem.key, problem.unknown_name);
    else
        eqf__model_reject(reader, section, problem.key, problem.reason);
}

static uint64_t get_seed(eqf__model_reader *reader, const json_t *root) {
    const char *text = eqf__model_text(reader, root, "", "seed");
    uint64_t seed = 0;
    bool is_number = *text != '\0';
    for (; is_number && *text != '\0'; text++) {
        unsigned digit = (unsigned char)*text - (unsigned)'0';
        is_number = digit <= 9 && seed <= (UINT64_MAX - digit) / 10;
        seed = seed * 10 + digit;
    }
    if (!is_number) eqf__model_reject(reader, "", "seed", "is not a 64-bit number");
    return seed;
}

/* The texts are owned by root. */
static void get_text_potential(eqf__model_reader *reader, const json_t *object, eqf_potential_options *potential) {
    potential->source = eqf__model_text(reader, object, "potential", "source");
    const char *name = eqf__model_text(reader, object, "potential", "source_name");
    potential->source_name = *name != '\0' ? name : NULL;
    const json_t *constants = eqf__model_value(reader, object, "potential", "constants");
    if (constants != NULL && !json_is_object(constants))
        eqf__model_reject(reader, "potential", "constants", "is not an object");
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)constants, key, value) { /* jansson's iterators take no const */
        eqf_context scratch = {.device = NULL};
        if (!json_is_number(value)) {
            eqf__model_reject(reader, "potential.constants", key, "is not a number");
        } else if (eqf_potential_set_constant(&scratch, potential, key, json_number_value(value)) != EQF_OK &&
                   reader->status == EQF_OK) {
            reader->status = eqf__fail(reader->ctx, EQF_ERROR_FORMAT, "%s cannot be loaded as an eqflow model: %.700s",
                                       reader->path, scratch.error);
        }
    }
}

static void get_potential(eqf__model_reader *reader, const json_t *root, eqf_potential_options *potential) {
    const json_t *object = get_object(reader, root, "potential");
    const char *name = eqf__model_text(reader, object, "potential", "kind");
    if (eqf_potential_kind_find(name, &potential->kind) != EQF_OK) reject_name(reader, "potential", "kind", name);
    const eqf__potential_kind *kind = eqf__potential_kind_of(potential->kind);
    get_options(reader, object, "potential", eqf__potential_common_options, potential);
    for (size_t n = 0; file_table(kind, n) != NULL; n++)
        get_options(reader, object, "potential", file_table(kind, n), potential);
    if (kind->info.has_text) get_text_potential(reader, object, potential);
}

void eqf__model_options_from_json(eqf__model_reader *reader, const json_t *root, eqf_model_options *options_out) {
    *options_out = (eqf_model_options)EQF_MODEL_OPTIONS_INIT;
    const char *preset = eqf__model_text(reader, root, "", "preset");
    if (strlen(preset) >= sizeof options_out->preset) eqf__model_reject(reader, "", "preset", "is too long");
    snprintf(options_out->preset, sizeof options_out->preset, "%s", preset);
    options_out->seed = get_seed(reader, root);
    get_potential(reader, root, &options_out->potential);

    const json_t *prior = get_object(reader, root, "prior");
    const char *name = eqf__model_text(reader, prior, "prior", "kind");
    if (eqf_prior_kind_find(name, &options_out->prior_kind) != EQF_OK) reject_name(reader, "prior", "kind", name);
    get_options(reader, prior, "prior", eqf__prior_kind_of(options_out->prior_kind)->options, options_out);

    eqf_dynamics_options *dynamics = &options_out->dynamics;
    const json_t *of_dynamics = get_object(reader, root, "dynamics");
    name = eqf__model_text(reader, of_dynamics, "dynamics", "kind");
    if (eqf_dynamics_kind_find(name, &dynamics->kind) != EQF_OK) reject_name(reader, "dynamics", "kind", name);
    get_options(reader, of_dynamics, "dynamics", eqf__dynamics_kind_of(dynamics->kind)->options, dynamics);

    const json_t *integrator = get_object(reader, root, "integrator");
    get_options(reader, integrator, "integrator", eqf__model_integrator_options, &options_out->integrator);
}

void eqf__model_history_from_json(eqf__model_reader *reader, const json_t *root, eqf_model *model) {
    const json_t *history = get_object(reader, root, "history");
    const json_t *columns = eqf__model_value(reader, history, "history", "columns"),
                 *rows = eqf__model_value(reader, history, "history", "rows");
    if (reader->status != EQF_OK) return;
    /* places[c]: the index of column c in a row; 0 (which is the step) if the file has no such column. Columns have the
     * order of the table. */
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
    if (!has_columns || place != num_columns)
        eqf__model_reject(reader, "history", "columns", "are not those of this format");
    if (!json_is_array(rows)) eqf__model_reject(reader, "history", "rows", "is not an array");
    for (size_t r = 0; reader->status == EQF_OK && r < json_array_size(rows); r++) {
        const json_t *values = json_array_get(rows, r), *step = json_array_get(values, 0);
        eqf_history_row row = EQF_HISTORY_ROW_INIT;
        bool is_row = json_array_size(values) == num_columns && json_is_integer(step) && json_integer_value(step) >= 0;
        row.step = (uint64_t)json_integer_value(step);
        for (unsigned c = 0; is_row && c < NUM_REAL_COLUMNS; c++) {
            double value = 0.0;
            if (places[c] == 0) continue;
            is_row = eqf__json_real_value(json_array_get(values, places[c]), &value);
            memcpy((char *)&row + history_columns[c].offset, &value, sizeof value);
        }
        if (!is_row)
            eqf__model_reject(reader, "history", "rows", "has a row that is not one step and a number for each column");
        else
            reader->status = eqf_model_add_history(reader->ctx, model, &row);
    }
}
