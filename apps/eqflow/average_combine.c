/* eqflow average --with: sets made at several values of a constant are combined by MBAR (Shirts and Chodera, J. Chem.
 * Phys. 129 (2008) 124105): in the state u a sample x of any of K sets has the weight exp(-u(x)) / sum_k N_k exp(f_k -
 * u_k(x)), with f_k solved from all sets. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "average.h"
#include "eqflow/free_energy.h"
#include "files.h"

enum { MOST_SETS = CLI_LIST_MAX + 1 };

struct combined {
    unsigned num_sets;
    char names[MOST_SETS][64]; /* of the constant; the first set is that of the command's FILE */
    double values[MOST_SETS];
    const char *paths[MOST_SETS];
    size_t counts[MOST_SETS];
    unsigned char *set_of; /* [num] */
    double *energy;        /* [num_sets, num]: at the constants of each set */
    double f[MOST_SETS], f_errors[MOST_SETS];
    size_t num_blocks;
    double *block_log_weights; /* [num_blocks, num]: computed without the block; -infinity within it */
};

void average_combined_clear(averages *a) {
    if (!a->combined) return;
    free(a->combined->set_of);
    free(a->combined->energy);
    free(a->combined->block_log_weights);
    free(a->combined);
    a->combined = NULL;
}

const char *average_path_of_set(const char *with) {
    const char *equals = strchr(with, '='), *colon = equals ? strchr(equals, ':') : NULL;
    return colon && colon[1] != '\0' ? colon + 1 : NULL;
}

/* MBAR takes all samples for independent: those of a file that is given twice would count twice, with errors that are
 * too small. */
exit_code average_check_sets(cli_app *app, const average_flags *flags) {
    for (size_t w = 0; w < flags->with.num_texts; w++) {
        const char *path = average_path_of_set(flags->with.texts[w]);
        for (size_t other = 0; path && other <= w; other++) {
            const char *before = other == 0 ? flags->data_path : average_path_of_set(flags->with.texts[other - 1]);
            if (before && files_is_one(path, before))
                return app_fail(app, EXIT_CODE_USAGE,
                                "--with %s: these are the samples of %s once more; each set counts once",
                                flags->with.texts[w], before);
        }
    }
    return EXIT_CODE_OK;
}

/* "NAME=VALUE:FILE" */
static exit_code parse(cli_app *app, const char *text, combined *c) {
    const char *path = average_path_of_set(text), *equals = strchr(text, '='), *colon = path ? path - 1 : NULL;
    char number[64];
    const unsigned s = c->num_sets;
    if (!path || equals == text || (size_t)(equals - text) >= sizeof c->names[s] ||
        (size_t)(colon - equals - 1) >= sizeof number)
        return app_fail(app, EXIT_CODE_USAGE, "--with %s: give NAME=VALUE:FILE, such as temperature=1.2:x.npy", text);
    snprintf(c->names[s], sizeof c->names[s], "%.*s", (int)(equals - text), text);
    snprintf(number, sizeof number, "%.*s", (int)(colon - equals - 1), equals + 1);
    if (!options_number(number, &c->values[s]))
        return app_fail(app, EXIT_CODE_USAGE, "--with %s: '%s' is no number", text, number);
    c->paths[s] = path;
    c->num_sets++;
    return EXIT_CODE_OK;
}

/* ---- Sets combined by MBAR --------------------------------------------------------------------------------------- */

/* Interleaves the sets evenly, so that a contiguous block of the whole has a contiguous block of every set, as the
 * jackknife needs. */
static void interleave(combined *c, const eqf_array *sets, size_t row, float *x) {
    size_t next[MOST_SETS] = {0};
    for (size_t n = 0;; n++) {
        unsigned chosen = c->num_sets;
        double least = INFINITY;
        for (unsigned s = 0; s < c->num_sets; s++) {
            const double place = ((double)next[s] + 0.5) / (double)c->counts[s];
            if (next[s] == c->counts[s] || !(place < least)) continue;
            least = place;
            chosen = s;
        }
        if (chosen == c->num_sets) return;
        memcpy(x + n * row, sets[chosen].data + next[chosen]++ * row, row * sizeof *x);
        c->set_of[n] = (unsigned char)chosen;
    }
}

static exit_code merge(cli_app *app, averages *a, combined *c, const eqf_array *sets) {
    const size_t row = (size_t)a->potential.num_particles * a->potential.space_dim;
    size_t num = 0;
    for (unsigned s = 0; s < c->num_sets; s++) num += c->counts[s];
    float *x = app_alloc(app, num, row * sizeof *x, "the configurations");
    c->set_of = x ? app_alloc(app, num, sizeof *c->set_of, "the configurations") : NULL;
    if (!c->set_of) {
        free(x);
        return EXIT_CODE_DEVICE;
    }
    interleave(c, sets, row, x);
    eqf_array_clear(&a->x);
    a->x = work_configurations(x, num, &a->potential);
    a->num = num;
    return EXIT_CODE_OK;
}

exit_code average_read_sets(cli_app *app, const average_flags *flags, averages *a) {
    if (flags->with.num_texts == 0) return EXIT_CODE_OK;
    eqf_array sets[MOST_SETS] = {a->x};
    combined *c = a->combined = app_alloc(app, 1, sizeof *c, "the sets");
    if (!c) return EXIT_CODE_DEVICE;
    *c = (combined){.num_sets = 1, .counts = {a->num}, .paths = {flags->data_path}};
    exit_code code = EXIT_CODE_OK;
    for (size_t w = 0; w < flags->with.num_texts && code == EXIT_CODE_OK; w++) {
        const unsigned s = c->num_sets;
        code = parse(app, flags->with.texts[w], c);
        if (code == EXIT_CODE_OK) code = work_read_configurations(app, c->paths[s], &a->potential, &sets[s]);
        if (code == EXIT_CODE_OK) c->counts[s] = sets[s].shape[0];
    }
    if (code == EXIT_CODE_OK) code = merge(app, a, c, sets);
    for (unsigned s = 1; s < MOST_SETS; s++) eqf_array_clear(&sets[s]);
    return code;
}

/* ---- Weights ----------------------------------------------------------------------------------------------------- */

static exit_code evaluate_states(cli_app *app, const average_flags *flags, const cli_option *options,
                                 size_t num_options, averages *a) {
    combined *c = a->combined;
    float *energy = app_alloc(app, a->num, sizeof *energy, "the energies");
    c->energy = energy ? app_alloc(app, c->num_sets * a->num, sizeof *c->energy, "the energies") : NULL;
    exit_code code = c->energy ? EXIT_CODE_OK : EXIT_CODE_DEVICE;
    for (unsigned s = 0; s < c->num_sets && code == EXIT_CODE_OK; s++) {
        eqf_potential_options potential = a->potential;
        scan_range scan = {.num = 1};
        snprintf(scan.name, sizeof scan.name, "%s", c->names[s]);
        if (s > 0) code = average_set_constant(app, &scan, c->values[s], options, num_options, flags, &potential);
        if (code == EXIT_CODE_OK) code = work_energy(app, &potential, a->num, a->x.data, energy);
        for (size_t n = 0; n < a->num && code == EXIT_CODE_OK; n++)
            c->energy[s * a->num + n] = isnan(energy[n]) ? INFINITY : (double)energy[n];
    }
    free(energy);
    return code;
}

/* -u_0(x) - ln sum_k N_k exp(f_k - u_k(x)), u_0 with the command's constants. */
static double log_weight_of(const combined *c, size_t num, const size_t *counts, const double *f, size_t n) {
    double largest = -INFINITY, sum = 0;
    for (unsigned s = 0; s < c->num_sets; s++)
        if (counts[s] > 0) largest = fmax(largest, f[s] - c->energy[s * num + n]);
    for (unsigned s = 0; s < c->num_sets; s++) sum += (double)counts[s] * exp(f[s] - c->energy[s * num + n] - largest);
    return isfinite(largest) ? -c->energy[n] - largest - log(sum) : -INFINITY;
}

/* MBAR without the samples of [begin, end): log_weights_out [num], f_out [num_sets], errors_out [num_sets] or NULL. */
static exit_code solve(cli_app *app, const averages *a, size_t begin, size_t end, double *log_weights_out,
                       double *f_out, double *errors_out) {
    const combined *c = a->combined;
    const size_t num = a->num, left = num - (end - begin);
    size_t counts[MOST_SETS] = {0};
    double errors[MOST_SETS * MOST_SETS];
    double *energy = app_alloc(app, c->num_sets * left, sizeof *energy, "the energies");
    if (!energy) return EXIT_CODE_DEVICE;
    for (size_t n = 0; n < num; n++) {
        if (n >= begin && n < end) continue;
        counts[c->set_of[n]]++;
        for (unsigned s = 0; s < c->num_sets; s++)
            energy[s * left + (n < begin ? n : n - (end - begin))] = c->energy[s * num + n];
    }
    const eqf_status status = eqf_free_energy_mbar(c->num_sets, counts, energy, f_out, errors_out ? errors : NULL);
    free(energy);
    if (status != EQF_OK)
        return app_fail(
            app, EXIT_CODE_FAILURE,
            "the sets of --with cannot be combined: they do not overlap, or have energies that are not finite; sets at "
            "values in between help");
    for (unsigned s = 0; s < c->num_sets && errors_out; s++) errors_out[s] = errors[s];
    for (size_t n = 0; n < num; n++)
        log_weights_out[n] = n >= begin && n < end ? -INFINITY : log_weight_of(c, num, counts, f_out, n);
    return EXIT_CODE_OK;
}

exit_code average_weigh_sets(cli_app *app, const average_flags *flags, const cli_option *options, size_t num_options,
                             averages *a) {
    combined *c = a->combined;
    if (!c) return EXIT_CODE_OK;
    a->weights_are = "all sets together, by MBAR";
    exit_code code = evaluate_states(app, flags, options, num_options, a);
    if (code == EXIT_CODE_OK) code = solve(app, a, 0, 0, a->log_weights, c->f, c->f_errors);
    c->num_blocks = (size_t)flags->num_blocks < a->num ? (size_t)flags->num_blocks : a->num;
    if (code == EXIT_CODE_OK) {
        c->block_log_weights = app_alloc(app, c->num_blocks * a->num, sizeof(double), "the weights of each block");
        if (!c->block_log_weights) code = EXIT_CODE_DEVICE;
    }
    for (size_t b = 0; b < c->num_blocks && code == EXIT_CODE_OK; b++) {
        double f[MOST_SETS];
        code = solve(app, a, a->num * b / c->num_blocks, a->num * (b + 1) / c->num_blocks,
                     c->block_log_weights + b * a->num, f, NULL);
    }
    return code;
}

/* ---- Averages ---------------------------------------------------------------------------------------------------- */

/* Weighted mean and variance about the mean; false if nothing has weight. */
static bool weighted_moments(size_t num, const double *log_weights, const double *change, const double *base,
                             const double *values, double *mean_out, double *variance_out) {
    double largest = -INFINITY, weights = 0, first = 0, second = 0;
    for (size_t n = 0; n < num; n++)
        if (log_weights[n] > -INFINITY && change[n] > -INFINITY)
            largest = fmax(largest, log_weights[n] + change[n] - base[n]);
    if (!isfinite(largest)) return false;
    for (unsigned pass = 0; pass < 2; pass++)
        for (size_t n = 0; n < num; n++) {
            if (!(log_weights[n] > -INFINITY && change[n] > -INFINITY)) continue;
            const double w = exp(log_weights[n] + change[n] - base[n] - largest);
            if (pass == 0) {
                weights += w;
                first += w * values[n];
            } else
                second += w * (values[n] - first / weights) * (values[n] - first / weights);
        }
    *mean_out = first / weights;
    *variance_out = second / weights;
    return true;
}

/* log_weights: those of a plus the change by a scan, which is applied to every block's weights too. */
exit_code average_combined_moments(cli_app *app, const averages *a, const double *log_weights, const double *values,
                                   eqf_moments *moments) {
    const combined *c = a->combined;
    double sums[2] = {0}, squares[2] = {0}, blocks[2];
    const double num = (double)c->num_blocks;
    double *kept = app_alloc(app, 2 * c->num_blocks, sizeof *kept, "the blocks");
    if (!kept) return EXIT_CODE_DEVICE;
    bool is_right = weighted_moments(a->num, a->log_weights, log_weights, a->log_weights, values, &moments->mean,
                                     &moments->variance);
    for (size_t b = 0; b < c->num_blocks && is_right; b++) {
        is_right = weighted_moments(a->num, c->block_log_weights + b * a->num, log_weights, a->log_weights, values,
                                    &blocks[0], &blocks[1]);
        for (unsigned q = 0; q < 2; q++) {
            kept[2 * b + q] = blocks[q];
            sums[q] += blocks[q] / num;
        }
    }
    for (size_t b = 0; b < c->num_blocks; b++)
        for (unsigned q = 0; q < 2; q++) squares[q] += (kept[2 * b + q] - sums[q]) * (kept[2 * b + q] - sums[q]);
    free(kept);
    moments->mean_standard_error = sqrt((num - 1) / num * squares[0]);
    moments->variance_standard_error = sqrt((num - 1) / num * squares[1]);
    if (is_right && isfinite(moments->mean) && isfinite(moments->variance)) return EXIT_CODE_OK;
    return app_fail(app, EXIT_CODE_FAILURE, "an observable has no average: values that are not finite");
}

void average_print_sets(const averages *a, cli_output *output) {
    const combined *c = a->combined;
    if (!c) return;
    json_t *all = json_array();
    for (unsigned s = 0; s < c->num_sets; s++) {
        char texts[3][32];
        output_line(output, "set %-20s %12s %8zu configurations, free energy %s +- %s kT",
                    s > 0 ? c->names[s] : "of the command", s > 0 ? output_format(c->values[s], texts[0]) : "",
                    c->counts[s], output_format(c->f[s], texts[1]), output_format(c->f_errors[s], texts[2]));
        json_array_append_new(all, json_pack("{s:o, s:o, s:o, s:I, s:o, s:o}", "file", output_json_text(c->paths[s]),
                                             "constant", output_json_text(s > 0 ? c->names[s] : NULL), "value",
                                             output_real(s > 0 ? c->values[s] : NAN), "num_samples",
                                             (json_int_t)c->counts[s], "free_energy", output_real(c->f[s]),
                                             "free_energy_standard_error", output_real(c->f_errors[s])));
    }
    output_json(output, "sets", all);
}
