/* The samples of a training. */
#ifndef TRAIN_DATA_H
#define TRAIN_DATA_H

#include "app.h"
#include "train_flags.h"

/* Rows 0 .. num_held_out - 1 are held out, the others are trained on. */
typedef struct train_data {
    float *x; /* [num_held_out + num_train, N, D], shuffled */
    size_t num_train, num_held_out, num_dof;
} train_data;

/* Reads or makes the samples, opens the device and verifies the potential. free(data_out->x) also after a
 * failure. */
exit_code train_data_get(cli_app *app, const train_flags *flags, const eqf_preset *preset,
                         const eqf_potential_options *potential, train_data *data_out);
/* Standard deviation of the data per free degree of freedom: sqrt(sum |x|^2 / (B (N-1) D)). */
double train_data_scale(const train_data *data, const eqf_potential_options *potential);

#endif
