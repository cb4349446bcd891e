/* eqflow data --replicas --to NAME=X: ladders whose entries differ in constants (exchange in lambda). And the table of
 * any ladder. */
#include <math.h>
#include <string.h>

#include "average.h"
#include "data_replica.h"
#include "output.h"
#include "system.h"

/* One constant in equal steps from the system's own value to the last one. */
static exit_code put_row(cli_app *app, const char *text, unsigned num, eqf_potential_options *states) {
    char name[64];
    double first, last;
    exit_code code = system_read_constant(app, "--to", text, name, &last);
    if (code == EXIT_CODE_OK && strcmp(name, "temperature") == 0)
        code = app_fail(app, EXIT_CODE_USAGE, "--to temperature: use --highest-temperature, whose row is geometric");
    if (code == EXIT_CODE_OK) code = system_get_constant(app, name, &states[0], &first);
    for (unsigned k = 1; k < num && code == EXIT_CODE_OK; k++) {
        const double lambda = (double)k / (num - 1);
        code = system_set_constant(app, name, (1 - lambda) * first + lambda * last, &states[k]);
    }
    return code;
}

exit_code replica_make_states(cli_app *app, const replica_flags *flags, const eqf_potential_options *potential,
                              eqf_potential_options *states_out) {
    const unsigned num = (unsigned)flags->num_temperatures;
    const double ratio = flags->is_highest_set ? flags->highest / potential->temperature : 1;
    if (!(ratio >= 1) && flags->to.num_texts > 0)
        return app_fail(app, EXIT_CODE_USAGE, "--highest-temperature %g is below the system's temperature, %g",
                        flags->highest, potential->temperature);
    for (unsigned k = 0; k < num; k++) {
        states_out[k] = *potential;
        states_out[k].temperature *= pow(ratio, (double)k / (num - 1));
    }
    exit_code code = system_check_once(app, "--to", &flags->to);
    for (size_t c = 0; c < flags->to.num_texts && code == EXIT_CODE_OK; c++)
        code = put_row(app, flags->to.texts[c], num, states_out);
    return code;
}

/* The name of one of the constants of --to, and its value in a state. */
static const char *constant_of(cli_app *app, const replica_flags *flags, size_t c, const eqf_potential_options *state,
                               char name[64], double *value_out) {
    double unused;
    if (system_read_constant(app, "--to", flags->to.texts[c], name, &unused) != EXIT_CODE_OK ||
        system_get_constant(app, name, state, value_out) != EXIT_CODE_OK)
        *value_out = NAN;
    return name;
}

/* The values of the constants of --to as CSV columns; without a state their names. */
static void write_constants(cli_app *app, const replica_flags *flags, const eqf_potential_options *state, FILE *table) {
    char name[64];
    for (size_t c = 0; c < flags->to.num_texts; c++) {
        double value = NAN;
        if (state) {
            constant_of(app, flags, c, state, name, &value);
            fprintf(table, ",%.9g", value);
        } else {
            fprintf(table, ",%.*s", (int)strcspn(flags->to.texts[c], "="), flags->to.texts[c]);
        }
    }
}

void replica_add_constants(cli_app *app, const replica_flags *flags, const eqf_potential_options *state, json_t *row) {
    char name[64];
    double value;
    for (size_t c = 0; c < flags->to.num_texts; c++) {
        constant_of(app, flags, c, state, name, &value);
        json_object_set_new(row, name, output_real(value));
    }
}

exit_code replica_write_ladder(cli_app *app, const replica_flags *flags, const eqf_potential_options *states,
                               const eqf_replica_diagnostics *d) {
    if (!flags->ladder_path) return EXIT_CODE_OK;
    text_file file = {NULL, NULL, 0};
    const exit_code code = text_begin(app, &file);
    if (code != EXIT_CODE_OK) return code;
    fputs(
        "number,temperature,acceptance,step_size,swap_acceptance,mean_energy,mean_energy_standard_error,heat_capacity,"
        "heat_capacity_standard_error,mean_energy_from_gas,from_gas_standard_error,mean_energy_from_start,"
        "from_start_standard_error,log_z,log_z_standard_error,log_z_from_gas,log_z_from_gas_standard_error,"
        "log_z_from_start,log_z_from_start_standard_error",
        file.stream);
    write_constants(app, flags, NULL, file.stream);
    fputc('\n', file.stream);
    for (unsigned k = 0; k < d->num_temperatures; k++) {
        const eqf_replica_temperature *at = &d->at[k];
        const eqf_replica_log_z *z = &d->log_z[k];
        fprintf(file.stream, "%u,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g,%.9g", k, at->temperature,
                at->acceptance, at->step_size, at->swap_acceptance, at->mean_energy, at->mean_energy_standard_error,
                at->heat_capacity, at->heat_capacity_standard_error, at->start_means[0], at->start_standard_errors[0],
                at->start_means[1], at->start_standard_errors[1]);
        fprintf(file.stream, ",%.9g,%.9g,%.9g,%.9g,%.9g,%.9g", z->log_z, z->standard_error, z->start_log_z[0],
                z->start_standard_errors[0], z->start_log_z[1], z->start_standard_errors[1]);
        write_constants(app, flags, &states[k], file.stream);
        fputc('\n', file.stream);
    }
    return text_end(app, &file, flags->ladder_path, code);
}
