#include "train_options.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "train_stages.h"

/* ---- Defaults by preset ----------------------------------------------------------------------- */

#define PRESET_COLUMN(name, format, value)                             \
    static void name(const eqf_preset *preset, char text[16]) {        \
        snprintf(text, 16, format, value);                             \
    }
PRESET_COLUMN(column_num_train, "%zu", preset->default_num_train)
PRESET_COLUMN(column_num_steps, "%" PRIu64, preset->training->num_steps)
PRESET_COLUMN(column_batch_size, "%zu", preset->training->batch_size)
PRESET_COLUMN(column_num_generated, "%zu", preset->training->num_generated)
PRESET_COLUMN(column_learning_rate, "%g", preset->training->learning_rate)
PRESET_COLUMN(column_final_fraction, "%g", preset->training->final_learning_rate_fraction)
PRESET_COLUMN(column_num_warmup_steps, "%" PRIu64, preset->training->num_warmup_steps)
PRESET_COLUMN(column_integration_penalty, "%g", preset->training->integration_penalty)
PRESET_COLUMN(column_clip_norm, "%g", preset->training->clip_norm)
PRESET_COLUMN(column_average_decay, "%g", preset->training->average_decay)
PRESET_COLUMN(column_weight_decay, "%g", preset->training->weight_decay)
PRESET_COLUMN(column_data_noise, "%g", preset->training->data_noise)
PRESET_COLUMN(column_validation_interval, "%" PRIu64, preset->training->validation_interval)
PRESET_COLUMN(column_field_evaluation, "%s",
              preset->training->field_evaluation == EQF_FIELD_TABLE ? "table" : "direct")
static void column_energy_cap(const eqf_preset *preset, char text[16]) {
    if (isfinite(preset->training->energy_cap))
        snprintf(text, 16, "%g", preset->training->energy_cap);
    else
        snprintf(text, 16, "none");
}
PRESET_COLUMN(column_prior_scale, "%g", preset->model->prior_scale)
PRESET_COLUMN(column_integration_steps, "%u", preset->model->integrator.num_steps)
PRESET_COLUMN(column_num_distance, "%u", preset->model->dynamics.num_distance)
PRESET_COLUMN(column_num_time, "%u", preset->model->dynamics.num_time)

void train_options_print_more(FILE *stream) {
    system_print_heading(stream, "Defaults of the presets");
    system_print_row(stream, "--num-train", column_num_train);
    system_print_row(stream, "--steps", column_num_steps);
    system_print_row(stream, "--batch-size", column_batch_size);
    system_print_row(stream, "--num-generated", column_num_generated);
    system_print_row(stream, "--energy-cap", column_energy_cap);
    system_print_row(stream, "--learning-rate", column_learning_rate);
    system_print_row(stream, "--final-fraction", column_final_fraction);
    system_print_row(stream, "--warm-up", column_num_warmup_steps);
    system_print_row(stream, "--integration-penalty", column_integration_penalty);
    system_print_row(stream, "--clip-norm", column_clip_norm);
    system_print_row(stream, "--average-decay", column_average_decay);
    system_print_row(stream, "--weight-decay", column_weight_decay);
    system_print_row(stream, "--data-noise", column_data_noise);
    system_print_row(stream, "--validation-interval", column_validation_interval);
    system_print_row(stream, "--field-evaluation", column_field_evaluation);
    system_print_row(stream, "--prior-scale", column_prior_scale);
    system_print_row(stream, "--integration-steps", column_integration_steps);
    system_print_row(stream, "--num-distance", column_num_distance);
    system_print_row(stream, "--num-time", column_num_time);
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
        if (!is_default_of_all(&flags->dynamics.flags[i])) options_out[i].default_text = ""; /* by preset and field */
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

static size_t data_options(train_flags *flags, cli_option options_out[]) {
    const char *const preset = ""; /* print_more has these */
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
        {.kind = OPTION_NUMBER,
         .name = "data-noise",
         .argument = "X",
         .value = &flags->data_noise,
         .is_set = &flags->is_data_noise_set,
         .default_text = preset,
         .low = 0,
         .high = DBL_MAX,
         .help = "sd of normal noise on each coordinate, anew in each batch: keeps a small set from being learned by "
                 "heart"},
    };
    return OPTIONS_PUT(options_out, rows);
}

static size_t loss_options(train_flags *flags, cli_option options_out[]) {
    const char *const preset = ""; /* print_more has these */
    const cli_option rows[] = {
        {.kind = OPTION_HEADING, .name = "Loss"},
        {.kind = OPTION_TEXT, .name = "loss", .argument = "WHAT", .value = &flags->loss_name,
         .default_text = "nll, or energy with --data none",
         .help = "nll: likelihood of the samples; energy: free energy of the model (reverse KL); mixture: both"},
        {.kind = OPTION_NUMBER, .name = "nll-weight-start", .argument = "X", .value = &flags->nll_weight_start,
         .is_set = &flags->is_nll_weight_start_set, .low = 0, .high = 1,
         .help = "mixture: the likelihood's weight at the first step, that of the free energy is 1 - X"},
        {.kind = OPTION_NUMBER, .name = "nll-weight-end", .argument = "X", .value = &flags->nll_weight_end,
         .is_set = &flags->is_nll_weight_end_set, .low = 0, .high = 1,
         .help = "mixture: at the last step; linear between"},
        {.kind = OPTION_COUNT, .name = "num-generated", .argument = "N", .value = &flags->num_generated,
         .is_set = &flags->is_num_generated_set, .default_text = preset, .low = 1, .high = 1 << 24,
         .help = "energy, mixture: samples of the model a step"},
        {.kind = OPTION_TEXT, .name = "energy-cap", .argument = "E", .value = &flags->energy_cap,
         .default_text = preset,
         .help = "energy, mixture: flatten energies above E kT, so that overlaps do not drown the rest; or none"},
    };
    return OPTIONS_PUT(options_out, rows);
}

static size_t training_options(train_flags *flags, cli_option options_out[]) {
    const char *const preset = ""; /* print_more has these */
    const cli_option rows[] = {
        {.kind = OPTION_HEADING, .name = "Training (defaults by preset: see the table below)"},
        {.kind = OPTION_LIST, .name = "stage", .argument = "LOSS,KEY=VALUE,...", .value = &flags->stages,
         .default_text = "the recipe of preset and field",
         .help = "a stage of training, several times for several: \"flow-matching,steps=20000\"; keys: see below"},
        {.kind = OPTION_COUNT, .name = "steps", .argument = "N", .value = &flags->num_steps,
         .is_set = &flags->is_num_steps_set, .default_text = preset, .low = 1, .high = 1e12,
         .help = "optimizer steps"},
        {.kind = OPTION_COUNT, .name = "batch-size", .argument = "N", .value = &flags->batch_size,
         .is_set = &flags->is_batch_size_set, .default_text = preset, .low = 1, .high = 1 << 24,
         .help = "samples a step"},
        {.kind = OPTION_NUMBER, .name = "learning-rate", .argument = "X", .value = &flags->learning_rate,
         .is_set = &flags->is_learning_rate_set, .default_text = preset, .low = DBL_MIN, .high = DBL_MAX,
         .help = "of Adam, at its highest"},
        {.kind = OPTION_NUMBER, .name = "final-fraction", .argument = "X", .value = &flags->final_fraction,
         .is_set = &flags->is_final_fraction_set, .default_text = preset, .low = 0, .high = 1,
         .help = "of the learning rate, where the cosine ends"},
        {.kind = OPTION_COUNT, .name = "warm-up", .argument = "N", .value = &flags->num_warmup_steps,
         .is_set = &flags->is_num_warmup_steps_set, .default_text = preset, .low = 0, .high = 1e12,
         .help = "steps of linear warm-up"},
        {.kind = OPTION_NUMBER, .name = "integration-penalty", .argument = "X", .value = &flags->integration_penalty,
         .is_set = &flags->is_integration_penalty_set, .default_text = preset, .low = 0, .high = DBL_MAX,
         .help = "weight of the integration error in the loss"},
        {.kind = OPTION_NUMBER, .name = "clip-norm", .argument = "X", .value = &flags->clip_norm,
         .is_set = &flags->is_clip_norm_set, .default_text = preset, .low = 0, .high = DBL_MAX,
         .help = "largest gradient norm; 0: no clipping"},
        {.kind = OPTION_NUMBER, .name = "average-decay", .argument = "X", .value = &flags->average_decay,
         .is_set = &flags->is_average_decay_set, .default_text = preset, .low = 0, .high = 0.999999,
         .help = "of the parameters' moving average; 0: none"},
        {.kind = OPTION_NUMBER, .name = "weight-decay", .argument = "X", .value = &flags->weight_decay,
         .is_set = &flags->is_weight_decay_set, .default_text = preset, .low = 0, .high = DBL_MAX,
         .help = "decoupled, as in AdamW"},
        {.kind = OPTION_COUNT, .name = "validation-interval", .argument = "N", .value = &flags->validation_interval,
         .is_set = &flags->is_validation_interval_set, .default_text = preset, .low = 1, .high = 1e12,
         .help = "steps between held-out measurements"},
    };
    return OPTIONS_PUT(options_out, rows);
}

static size_t gradient_options(train_flags *flags, cli_option options_out[]) {
    const char *const preset = ""; /* print_more has these */
    const cli_option rows[] = {
        {.kind = OPTION_TEXT, .name = "field-evaluation", .argument = "HOW", .value = &flags->field_evaluation,
         .default_text = preset, .help = "table (fast) or direct (every Gaussian summed)"},
        {.kind = OPTION_TEXT, .name = "gradient", .argument = "HOW", .value = &flags->gradient, .default_text = "dto",
         .help = "dto (exact, of RK4's flow), otd (continuous adjoint, by dopri5) or path (along samples' paths)"},
        {.kind = OPTION_NUMBER, .name = "rtol", .argument = "TOLERANCE", .value = &flags->rtol,
         .is_set = &flags->is_rtol_set, .default_text = "1e-5", .low = 1e-8, .high = 0.1,
         .help = "of otd: largest relative error of a step"},
        {.kind = OPTION_NUMBER, .name = "atol", .argument = "TOLERANCE", .value = &flags->atol,
         .is_set = &flags->is_atol_set, .default_text = "1e-10", .low = 1e-20, .high = 1,
         .help = "of otd: largest absolute error of a step"},
    };
    return OPTIONS_PUT(options_out, rows);
}

static size_t flow_options(train_flags *flags, cli_option options_out[]) {
    const char *const preset = ""; /* print_more has these */
    const cli_option rows[] = {
        {.kind = OPTION_HEADING, .name = "The flow (defaults by preset: see the table below)"},
        {.kind = OPTION_TEXT, .name = "prior-scale", .argument = "X", .value = &flags->prior_scale,
         .default_text = preset, .help = "of the prior, of the Gaussian its sd; data: that of the samples"},
        {.kind = OPTION_TEXT, .name = "prior", .argument = "KIND", .value = &flags->prior,
         .default_text = "mean_free_gaussian", .help = flags->prior_help},
        {.kind = OPTION_COUNT, .name = "integration-steps", .argument = "N", .value = &flags->integration_steps,
         .is_set = &flags->is_integration_steps_set, .default_text = preset, .low = 1, .high = 1e5,
         .help = "Runge-Kutta steps"},
        {.kind = OPTION_TEXT, .name = "field", .argument = "KIND", .value = &flags->field, .default_text = "radial",
         .help = flags->field_help},
        {.kind = OPTION_TEXT, .name = "divergence", .argument = "HOW", .value = &flags->divergence,
         .default_text = "exact", .help = "of a dense field: exact, or Hutchinson's estimate: rademacher, gaussian"},
    };
    const size_t num = OPTIONS_PUT(options_out, rows);
    return num + option_flags_options(&flags->priors, NULL, options_out + num);
}

static size_t interruption_options(train_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_HEADING, .name = "Interruptions"},
        {.kind = OPTION_TEXT, .name = "checkpoint", .argument = "FILE", .value = &flags->checkpoint_path,
         .default_text = "the model's name + .checkpoint", .help = "all that --resume needs; removed at the end"},
        {.kind = OPTION_NUMBER, .name = "checkpoint-interval", .argument = "SECONDS",
         .value = &flags->checkpoint_seconds, .low = 0, .high = DBL_MAX, .help = "between checkpoints"},
        {.kind = OPTION_FLAG, .name = "resume", .value = &flags->is_resumed,
         .help = "go on from the checkpoint; all else as in the first command"},
    };
    return OPTIONS_PUT(options_out, rows);
}

size_t train_options(train_flags *flags, cli_option options_out[]) {
    for (unsigned kind = 0; train_field(kind); kind++)
        option_flags_add(&flags->dynamics, train_field(kind)->name, train_dynamics_row, kind);
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
