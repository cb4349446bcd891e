#include "train_options.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "train_stages.h"

/* ---- Defaults by preset ----------------------------------------------------------------------- */

#define PRESET_COLUMN(name, format, value)                                          \
    static void name(const eqf_preset *preset, const void *unused, char text[16]) { \
        (void)unused;                                                               \
        snprintf(text, 16, format, value);                                          \
    }
PRESET_COLUMN(column_num_train, "%zu", preset->default_num_train)
PRESET_COLUMN(column_prior_scale, "%g", preset->model->prior_scale)
PRESET_COLUMN(column_integration_steps, "%u", preset->model->integrator.num_steps)
PRESET_COLUMN(column_num_distance, "%u", preset->model->dynamics.num_distance)
PRESET_COLUMN(column_num_time, "%u", preset->model->dynamics.num_time)

const eqf_option *train_row(unsigned kind, size_t index) {
    return kind == 0 ? eqf_training_option(index) : NULL;
}

static void print_training_value(const eqf_preset *preset, const void *row_of_table, char text[16]) {
    const eqf_option *row = row_of_table;
    const char *name = eqf_option_name(row, preset->training);
    const double value = eqf_option_get(row, preset->training);
    if (name)
        snprintf(text, 16, "%.15s", name);
    else if (isinf(value))
        snprintf(text, 16, "none");
    else
        snprintf(text, 16, row->type == EQF_OPTION_REAL ? "%g" : "%.15g", value);
}

/* Options whose defaults differ between presets. */
static void print_training_rows(FILE *stream) {
    static const char *const names[] = {
        "steps",          "batch-size", "num-generated",       "energy-cap",      "learning-rate",
        "final-fraction", "warm-up",    "integration-penalty", "clip-norm",       "average-decay",
        "weight-decay",   "data-noise", "validation-interval", "field-evaluation"};
    option_flags flags = {.num = 0};
    option_flags_add(&flags, "", train_row, 0);
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        char label[48];
        snprintf(label, sizeof label, "--%s", names[n]);
        system_print_row(stream, label, print_training_value, option_flags_find(&flags, names[n])->row);
    }
}

void train_options_print_more(FILE *stream) {
    system_print_heading(stream, "Defaults of the presets");
    system_print_row(stream, "--num-train", column_num_train, NULL);
    print_training_rows(stream);
    system_print_row(stream, "--prior-scale", column_prior_scale, NULL);
    system_print_row(stream, "--integration-steps", column_integration_steps, NULL);
    system_print_row(stream, "--num-distance", column_num_distance, NULL);
    system_print_row(stream, "--num-time", column_num_time, NULL);
    system_print_constants(stream);
    train_stages_print_help(stream);
    fputs("\nSmall data sets train for fewer steps; --data-noise is that of 1000 samples and\n"
          "shrinks as their number to the power -1/5. A short --steps also shortens\n"
          "--warm-up and --validation-interval, unless those are given. Ctrl-C writes a\n"
          "checkpoint and says how to resume.\n",
          stream);
}

/* ---- Fields ----------------------------------------------------------------------------------- */

const eqf_dynamics_kind_info *train_field(unsigned kind) {
    return eqf_dynamics_kind_describe((eqf_dynamics_kind)kind);
}

const eqf_option *train_dynamics_row(unsigned kind, size_t index) {
    return eqf_dynamics_option((eqf_dynamics_kind)kind, index);
}

/* Whether every preset has the row's default, for every field that has the flag. */
static bool is_default_of_all(const option_flag *flag) {
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    for (unsigned kind = 0; train_field(kind); kind++) {
        const eqf_option *row = option_flags_row(flag, train_dynamics_row, kind);
        for (size_t i = 0; row && i < num_presets; i++) {
            eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
            if (eqf_preset_model_options(&presets[i], (eqf_dynamics_kind)kind, &options) != EQF_OK) return false;
            if (eqf_option_get(row, &options.dynamics) != flag->row->initial) return false;
        }
    }
    return true;
}

static size_t dynamics_options(train_flags *flags, cli_option options_out[]) {
    const size_t num = option_flags_options(&flags->dynamics, NULL, options_out);
    for (size_t i = 0; i < num; i++)
        /* it depends on preset and field */
        if (!is_default_of_all(&flags->dynamics.flags[i])) options_out[i].default_text = "";
    return num;
}

/* "radial: the paper's; dense: ..." */
static void describe_fields(char *text, size_t size) {
    size_t length = 0;
    for (unsigned kind = 0; train_field(kind) && length < size; kind++)
        length += (size_t)snprintf(text + length, size - length, "%s%s: %s", kind ? "; " : "", train_field(kind)->name,
                                   train_field(kind)->title);
}

/* ---- Options ---------------------------------------------------------------------------------- */

/* Flags of a training's rows; print_more has their defaults. */
#define NAMED(flags, options_out, ...)                                                                  \
    option_flags_named(&(flags)->training, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), \
                       (const char *const[]){__VA_ARGS__}, "", options_out)

static size_t data_options(train_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_TEXT,
         .letter = 'o',
         .name = "output",
         .argument = "FILE",
         .value = &flags->model_path,
         .default_text = "required",
         .help = "the model (safetensors)"},
        {.kind = OPTION_HEADING, .name = "Data"},
        {.kind = OPTION_TEXT,
         .name = "data",
         .argument = "FILE.npy",
         .value = &flags->data_path,
         .default_text = "made here",
         .help = "samples, [B, N, D] or [B, N*D]; none: train on the energy alone"},
        {.kind = OPTION_COUNT,
         .name = "num-train",
         .argument = "COUNT",
         .value = &flags->num_train,
         .is_set = &flags->is_num_train_set,
         .default_text = "by preset",
         .low = 2,
         .high = 1e12,
         .help = "samples to make, held-out ones included"},
        {.kind = OPTION_NUMBER,
         .name = "held-out",
         .argument = "FRACTION",
         .value = &flags->held_out,
         .is_set = &flags->is_held_out_set,
         .low = 0,
         .high = 0.9,
         .help = "part of the samples that chooses the model, at most 10000"},
        {.kind = OPTION_FLAG,
         .name = "augment",
         .value = &flags->is_augmented,
         .help = "rotate, reflect and permute each sample at random, anew in each batch"},
    };
    const size_t num = OPTIONS_PUT(options_out, rows);
    return num + NAMED(flags, options_out + num, "data-noise");
}

static size_t loss_options(train_flags *flags, cli_option options_out[]) {
    const char *const preset = ""; /* print_more has these */
    const cli_option rows[] = {
        {.kind = OPTION_HEADING, .name = "Loss"},
        {.kind = OPTION_TEXT,
         .name = "loss",
         .argument = "WHAT",
         .value = &flags->loss_name,
         .default_text = "nll, or energy with --data none",
         .help = "nll: likelihood of the samples; energy: free energy of the model (reverse KL); mixture: both"},
        {.kind = OPTION_TEXT,
         .name = "energy-cap",
         .argument = "E",
         .value = &flags->energy_cap,
         .default_text = preset,
         .help = "energy, mixture: flatten energies above E kT, so that overlaps do not drown the rest; or none"},
    };
    const char *const weights[] = {"nll-weight-start", "nll-weight-end"};
    size_t num = OPTIONS_PUT(options_out, rows);
    num += option_flags_named(&flags->training, 2, weights, NULL, options_out + num);
    *(double *)options_out[num - 1].value = 0.5; /* of --loss mixture */
    return num + NAMED(flags, options_out + num, "num-generated");
}

static size_t training_options(train_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_HEADING, .name = "Training (defaults by preset: see the table below)"},
        {.kind = OPTION_LIST,
         .name = "stage",
         .argument = "LOSS,KEY=VALUE,...",
         .value = &flags->stages,
         .default_text = "the recipe of preset and field",
         .help = "a stage of training, several times for several: \"flow-matching,steps=20000\"; keys: see below"},
    };
    const size_t num = OPTIONS_PUT(options_out, rows);
    return num + NAMED(flags, options_out + num, "steps", "batch-size", "learning-rate", "final-fraction", "warm-up",
                       "integration-penalty", "clip-norm", "average-decay", "weight-decay", "validation-interval");
}

static size_t gradient_options(train_flags *flags, cli_option options_out[]) {
    const char *const preset = ""; /* print_more has these */
    const cli_option rows[] = {
        {.kind = OPTION_TEXT,
         .name = "field-evaluation",
         .argument = "HOW",
         .value = &flags->field_evaluation,
         .default_text = preset,
         .help = "table (fast) or direct (every Gaussian summed)"},
        {.kind = OPTION_TEXT,
         .name = "gradient",
         .argument = "HOW",
         .value = &flags->gradient,
         .default_text = "dto",
         .help = "dto (exact, of RK4's flow), otd (continuous adjoint, by dopri5) or path (along samples' paths)"},
    };
    const size_t num = OPTIONS_PUT(options_out, rows);
    const char *const tolerances[] = {"rtol", "atol"};
    for (size_t t = 0; t < 2; t++) option_flags_entitle(&flags->training, tolerances[t], "otd");
    return num + option_flags_named(&flags->training, 2, tolerances, NULL, options_out + num);
}

static size_t flow_options(train_flags *flags, cli_option options_out[]) {
    const char *const preset = ""; /* print_more has these */
    const cli_option rows[] = {
        {.kind = OPTION_HEADING, .name = "The flow (defaults by preset: see the table below)"},
        {.kind = OPTION_TEXT,
         .name = "start",
         .argument = "MODEL",
         .value = &flags->start_path,
         .default_text = "new parameters",
         .help = "go on from this model: its field, its prior and its parameters"},
        {.kind = OPTION_TEXT,
         .name = "prior-scale",
         .argument = "X",
         .value = &flags->prior_scale,
         .default_text = preset,
         .help = "of the prior, of the Gaussian its sd; data: that of the samples"},
        {.kind = OPTION_TEXT,
         .name = "prior",
         .argument = "KIND",
         .value = &flags->prior,
         .default_text = "mean_free_gaussian",
         .help = flags->prior_help},
        {.kind = OPTION_COUNT,
         .name = "integration-steps",
         .argument = "N",
         .value = &flags->integration_steps,
         .is_set = &flags->is_integration_steps_set,
         .default_text = preset,
         .low = 1,
         .high = 1e5,
         .help = "Runge-Kutta steps"},
        {.kind = OPTION_TEXT,
         .name = "field",
         .argument = "KIND",
         .value = &flags->field,
         .default_text = "radial",
         .help = flags->field_help},
        {.kind = OPTION_TEXT,
         .name = "divergence",
         .argument = "HOW",
         .value = &flags->divergence,
         .default_text = "exact",
         .help = "of a dense field: exact, or Hutchinson's estimate: rademacher, gaussian"},
    };
    const size_t num = OPTIONS_PUT(options_out, rows);
    return num + option_flags_options(&flags->priors, NULL, options_out + num);
}

static size_t interruption_options(train_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_HEADING, .name = "Interruptions"},
        {.kind = OPTION_TEXT,
         .name = "checkpoint",
         .argument = "FILE",
         .value = &flags->checkpoint_path,
         .default_text = "the model's name + .checkpoint",
         .help = "all that --resume needs; removed at the end"},
        {.kind = OPTION_NUMBER,
         .name = "checkpoint-interval",
         .argument = "SECONDS",
         .value = &flags->checkpoint_seconds,
         .low = 0,
         .high = DBL_MAX,
         .help = "between checkpoints"},
        {.kind = OPTION_FLAG,
         .name = "resume",
         .value = &flags->is_resumed,
         .help = "go on from the checkpoint; all else as in the first command"},
    };
    return OPTIONS_PUT(options_out, rows);
}

size_t train_options(train_flags *flags, cli_option options_out[]) {
    for (unsigned kind = 0; train_field(kind); kind++)
        option_flags_add(&flags->dynamics, train_field(kind)->name, train_dynamics_row, kind);
    option_flags_add(&flags->training, "", train_row, 0);
    describe_fields(flags->field_help, sizeof flags->field_help);
    train_prior_describe(flags);
    size_t num = data_options(flags, options_out);
    num += loss_options(flags, options_out + num);
    num += training_options(flags, options_out + num);
    num += gradient_options(flags, options_out + num);
    num += flow_options(flags, options_out + num);
    num += dynamics_options(flags, options_out + num);
    num += interruption_options(flags, options_out + num);
    return num + system_options(&flags->system, SYSTEM_OF_PRESET, options_out + num);
}
