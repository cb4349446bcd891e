#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "animation.h"
#include "commands.h"
#include "files.h"
#include "flow_flags.h"
#include "options.h"
#include "output.h"
#include "system.h"
#include "work.h"

typedef struct trajectory_flags {
    const char *model_path, *output_path, *animation_path, *log_prob_path;
    uint64_t num, num_frames;
    flow_flags flow;
    eqf_flow_options flow_options;
} trajectory_flags;

/* Frames of all configurations: x [F, n, N, D], log_prob [F, n]. */
typedef struct frames {
    size_t num_frames, num, num_dof;
    unsigned num_steps;
    float *x, *log_prob;
} frame_set;

static bool ends_with(const char *text, const char *end) {
    const size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

static exit_code compute(cli_app *app, const eqf_model *model, const trajectory_flags *flags, frame_set *frames) {
    eqf_flow *flow = NULL;
    eqf_status status = eqf_flow_create(app->ctx, model, &flags->flow_options, &flow);
    if (status != EQF_OK) return app_fail_status(app, status, ACTIVITY_COMPUTE);
    const size_t numbers = frames->num * frames->num_dof;
    float *z = app_alloc(app, numbers, sizeof *z, "the latents");
    frames->x = z ? app_alloc(app, frames->num_frames, numbers * sizeof *frames->x, "the frames") : NULL;
    frames->log_prob =
        frames->x ? app_alloc(app, frames->num_frames, frames->num * sizeof *frames->log_prob, "the frames") : NULL;
    exit_code code = frames->log_prob ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    if (code == EXIT_CODE_OK) {
        status = eqf_flow_prior_sample(flow, app->seed, 0, frames->num, z);
        if (status == EQF_OK)
            status = eqf_flow_trajectory(flow, frames->num_steps, frames->num, z, frames->num_frames, frames->x,
                                         frames->log_prob, NULL);
        if (status != EQF_OK) code = app_fail_status(app, status, ACTIVITY_COMPUTE);
    }
    free(z);
    eqf_flow_destroy(&flow);
    return code;
}

/* The XYZ file has all frames of the first configuration, then those of the second, and so on. */
static exit_code write_xyz(cli_app *app, const trajectory_flags *flags, const eqf_potential_options *potential,
                           const frame_set *frames) {
    const size_t numbers = frames->num * frames->num_dof, total = frames->num_frames * frames->num;
    float *x = app_alloc(app, total, frames->num_dof * sizeof *x, "the frames");
    float *log_prob = x ? app_alloc(app, total, sizeof *log_prob, "the frames") : NULL;
    if (!log_prob) {
        free(x);
        return EXIT_CODE_DEVICE;
    }
    for (size_t f = 0; f < frames->num_frames; f++) {
        for (size_t b = 0; b < frames->num; b++) {
            memcpy(x + (b * frames->num_frames + f) * frames->num_dof, frames->x + f * numbers + b * frames->num_dof,
                   frames->num_dof * sizeof *x);
            log_prob[b * frames->num_frames + f] = frames->log_prob[f * frames->num + b];
        }
    }
    const eqf_array array = work_configurations(x, total, potential);
    const eqf_frame_value values = {"log_prob", log_prob};
    const eqf_status status = system_write_xyz(app, flags->output_path, &array, potential, NULL, 1, &values);
    free(x);
    free(log_prob);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_WRITE);
}

static exit_code write_npy(cli_app *app, const char *path, float *data, unsigned num_dims, size_t num_frames,
                           size_t num, size_t num_particles, size_t space_dim) {
    if (!path) return EXIT_CODE_OK;
    eqf_array array = EQF_ARRAY_INIT;
    array.data = data;
    array.num_dims = num_dims;
    const size_t shape[4] = {num_frames, num, num_particles, space_dim};
    memcpy(array.shape, shape, num_dims * sizeof *shape);
    const eqf_status status = eqf_array_write_npy(app->ctx, path, &array);
    return status == EQF_OK ? EXIT_CODE_OK : app_fail_status(app, status, ACTIVITY_WRITE);
}

static exit_code write_all(cli_app *app, const trajectory_flags *flags, const eqf_potential_options *potential,
                           const frame_set *frames) {
    exit_code code = EXIT_CODE_OK;
    if (flags->output_path && ends_with(flags->output_path, ".xyz"))
        code = write_xyz(app, flags, potential, frames);
    else
        code = write_npy(app, flags->output_path, frames->x, 4, frames->num_frames, frames->num,
                         potential->num_particles, potential->space_dim);
    if (code == EXIT_CODE_OK)
        code = write_npy(app, flags->log_prob_path, frames->log_prob, 2, frames->num_frames, frames->num, 0, 0);
    if (code == EXIT_CODE_OK && flags->animation_path)
        code = animation_write(app, flags->animation_path, frames->num_frames, frames->num, potential->num_particles,
                               potential->space_dim, frames->x);
    return code;
}

static exit_code print_result(cli_app *app, const trajectory_flags *flags, const frame_set *frames) {
    cli_output output;
    exit_code code = output_begin(&output, app);
    if (code != EXIT_CODE_OK) return code;
    double first = 0, last = 0;
    for (size_t b = 0; b < frames->num; b++) {
        first += frames->log_prob[b] / (double)frames->num;
        last += frames->log_prob[(frames->num_frames - 1) * frames->num + b] / (double)frames->num;
    }
    output_count(&output, "num_samples", "configurations", frames->num);
    output_count(&output, "num_frames", "frames of each", frames->num_frames);
    output_count(&output, "num_steps", "integration steps", frames->num_steps);
    output_count(&output, "seed", "seed", app->seed);
    output_number(&output, "mean_log_prob_prior", "mean log-density at t = 0 (nats)", first, NULL);
    output_number(&output, "mean_log_prob", "mean log-density at t = 1 (nats)", last, NULL);
    output_text(&output, "output", flags->output_path ? "frames in" : NULL, flags->output_path);
    output_text(&output, "log_prob_output", flags->log_prob_path ? "log-densities in" : NULL, flags->log_prob_path);
    output_text(&output, "animation_output", flags->animation_path ? "animation in" : NULL, flags->animation_path);
    return output_finish(&output);
}

static exit_code check_flags(cli_app *app, trajectory_flags *flags) {
    if (!flags->output_path && !flags->animation_path)
        return app_fail(app, EXIT_CODE_USAGE, "-o FILE or --animation FILE.svg is missing: where do the frames go?");
    if (flags->output_path && !ends_with(flags->output_path, ".xyz") && !ends_with(flags->output_path, ".npy"))
        return app_fail(app, EXIT_CODE_USAGE, "-o %s: the name must end in .xyz or .npy, which says what to write",
                        flags->output_path);
    const files_use uses[] = {{"-o", flags->output_path, FILES_OF_EITHER},
                              {"--animation", flags->animation_path, FILES_WRITTEN},
                              {"--log-prob", flags->log_prob_path, FILES_NUMPY},
                              {"MODEL", flags->model_path, FILES_READ}};
    exit_code code = files_check_distinct(app, sizeof uses / sizeof uses[0], uses);
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->output_path, "the frames");
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->animation_path, "the animation");
    if (code == EXIT_CODE_OK) code = files_check_writable(app, flags->log_prob_path, "the log-densities");
    return code == EXIT_CODE_OK ? flow_flags_read(app, &flags->flow, &flags->flow_options) : code;
}

static size_t own_options(trajectory_flags *flags, cli_option options_out[]) {
    const cli_option rows[] = {
        {.kind = OPTION_COUNT,
         .letter = 'n',
         .name = "num-samples",
         .argument = "COUNT",
         .value = &flags->num,
         .low = 1,
         .high = 1e6,
         .help = "configurations that go the way"},
        {.kind = OPTION_COUNT,
         .name = "frames",
         .argument = "COUNT",
         .value = &flags->num_frames,
         .low = 2,
         .high = 1e5,
         .help = "of each, from t = 0 to 1; at most one a step is new"},
        {.kind = OPTION_TEXT,
         .letter = 'o',
         .name = "output",
         .argument = "FILE",
         .value = &flags->output_path,
         .help = ".xyz: one way after the other; .npy: [frames, B, N, D]"},
        {.kind = OPTION_TEXT,
         .name = "log-prob",
         .argument = "FILE.npy",
         .value = &flags->log_prob_path,
         .help = "log-densities on the way, float32 [frames, B]"},
        {.kind = OPTION_TEXT,
         .name = "animation",
         .argument = "FILE.svg",
         .value = &flags->animation_path,
         .help = "a picture that moves, for a browser"},
    };
    return OPTIONS_PUT(options_out, rows);
}

exit_code cmd_trajectory(cli_app *app) {
    const char *const operands[] = {"MODEL", NULL};
    const command_help help = {
        .usage = "MODEL [-n COUNT] [--frames COUNT] -o FILE [options]",
        .description = "The way of samples from the prior to the data, frame by frame, with the log-density on the "
                       "way. The last frame is what eqflow sample draws for the same seed.",
        .operands = operands,
        .examples = "  eqflow trajectory dw4.safetensors -n 16 --frames 60 -o way.xyz\n"
                    "  eqflow trajectory lj13.safetensors -n 6 --animation way.svg\n",
    };
    trajectory_flags flags = {.num = 6, .num_frames = 41};
    cli_option options[OPTIONS_MAX];
    size_t num_options = own_options(&flags, options);
    num_options += flow_flags_options(&flags.flow, 1e5, "integrator steps", options + num_options);
    const char *words[OPERANDS_MAX];
    exit_code code;
    if (!options_parse(app, &help, options, num_options, words, &code)) return code;
    flags.model_path = words[0];
    if ((code = check_flags(app, &flags)) != EXIT_CODE_OK) return code;
    eqf_model *model = NULL;
    if ((code = flow_flags_load(app, flags.model_path, &model)) != EXIT_CODE_OK) return code;
    const eqf_model_options *made = eqf_model_options_of(model);
    frame_set all = {.num_frames = (size_t)flags.num_frames,
                     .num = (size_t)flags.num,
                     .num_dof = (size_t)made->potential.num_particles * made->potential.space_dim,
                     .num_steps =
                         flags.flow_options.num_steps ? flags.flow_options.num_steps : made->integrator.num_steps};
    if ((code = app_open(app)) == EXIT_CODE_OK) code = compute(app, model, &flags, &all);
    if (code == EXIT_CODE_OK) code = write_all(app, &flags, &made->potential, &all);
    if (code == EXIT_CODE_OK) code = print_result(app, &flags, &all);
    free(all.x);
    free(all.log_prob);
    eqf_model_destroy(&model);
    return code;
}
