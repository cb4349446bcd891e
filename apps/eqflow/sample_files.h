/* Configurations with their energies, log-densities and log-weights: the files that several commands write, and their
 * options. */
#ifndef SAMPLE_FILES_H
#define SAMPLE_FILES_H

#include "eqflow/potential.h"
#include "files.h"
#include "options.h"
#include "output.h"

/* Paths; NULL: no such file. element: the particles' symbol in XYZ, NULL: that of the kind of potential. */
typedef struct sample_files {
    const char *x, *energies, *log_prob, *log_weights, *xyz, *element;
} sample_files;

/* num configurations x [num, N, D]; energy, log_prob [num] and log_weights [num] may be NULL (unknown). */
typedef struct sample_set {
    const eqf_potential_options *potential;
    size_t num;
    float *x, *energy, *log_prob;
    const double *log_weights;
    double log_weight_shift; /* subtracted */
} sample_set;

enum { SAMPLE_FILES_NUM_OPTIONS = 2, SAMPLE_FILES_NUM_USES = 5 };
/* --xyz, with that help, and --element: into options_out [SAMPLE_FILES_NUM_OPTIONS]; gives their number. */
size_t sample_files_options(sample_files *files, const char *help, cli_option options_out[]);
/* The files in the form for files_check_distinct: uses_out [SAMPLE_FILES_NUM_USES]. x_option: the option of the
 * configurations. */
void sample_files_uses(const sample_files *files, const char *x_option, files_use uses_out[]);
/* Checks before the work that the files can be written and that the element's name is a word. */
exit_code sample_files_check(cli_app *app, const sample_files *files);
/* Writes the files of all arrays that are known. */
exit_code sample_files_write(cli_app *app, const sample_files *files, const sample_set *set);
/* Prints the paths. x_key: the configurations' key in JSON, with its label; NULL: printed elsewhere. */
void sample_files_print(const sample_files *files, cli_output *output, const char *x_key, const char *x_label);

#endif
