/* Differences of ln Z along a ladder: the Bennett acceptance ratio (Bennett, J. Comput. Phys. 22 (1976) 245) between
 * neighbours, with errors by leaving out each ladder. */
#include <math.h>
#include <stdlib.h>

#include "eqflow/free_energy.h"

#include "replica_internal.h"

/* The ladders of a group: first, first + stride, ... Sample n is of ladder n % num_ladders. */
typedef struct ladder_group {
    unsigned num_ladders, first, stride;
} ladder_group;

static bool is_of(ladder_group group, size_t n) {
    return n % group.num_ladders % group.stride == group.first;
}

/* 1 / (1 + exp(x)) */
static double fermi(double x) {
    return 1 / (1 + exp(x));
}

/* f_k+1 - f_k from work forward and reverse [num] of the group's samples. As both states have as many samples, it is
 * the root of g(f) = sum fermi(forward - f) - sum fermi(reverse + f). without_out [num_ladders]: one Newton step from
 * there towards the root without each ladder. scratch [2 num]. NaN where the states do not overlap. */
static double difference_of(ladder_group group, size_t num, const double *forward, const double *reverse,
                            double *scratch, double *without_out) {
    size_t num_own = 0;
    double f = NAN, error, slope = 0;
    for (size_t n = 0; n < num; n++) {
        if (!is_of(group, n)) continue;
        scratch[num_own] = forward[n];
        scratch[num + num_own++] = reverse[n];
    }
    if (num_own == 0 || eqf_free_energy_bar(num_own, scratch, num_own, scratch + num, &f, &error) != EQF_OK) f = NAN;
    double *of_ladder = scratch, *slope_of_ladder = scratch + num; /* num_ladders of each; the work is done with */
    const size_t num_first = num < group.num_ladders ? num : group.num_ladders;
    for (size_t l = 0; l < num_first; l++) of_ladder[l] = slope_of_ladder[l] = 0;
    for (size_t n = 0; n < num; n++) {
        if (!is_of(group, n)) continue;
        const double a = fermi(forward[n] - f), b = fermi(reverse[n] + f);
        of_ladder[n % group.num_ladders] += a - b;
        slope_of_ladder[n % group.num_ladders] += a * (1 - a) + b * (1 - b);
        slope += a * (1 - a) + b * (1 - b);
    }
    for (size_t l = 0; l < num_first; l++) without_out[l] = f + of_ladder[l] / (slope - slope_of_ladder[l]);
    return f;
}

/* ln Z of each state minus that of the first, values_out and errors_out [num_states]. without [num_ladders]: ln Z so
 * far without each ladder; scratch [2 num + num_ladders]. */
static void sum_up(ladder_group group, unsigned num_states, size_t num, const double *forward, const double *reverse,
                   double *without, double *scratch, double *values_out, double *errors_out) {
    const size_t num_first = num < group.num_ladders ? num : group.num_ladders;
    for (size_t l = 0; l < num_first; l++) without[l] = 0;
    values_out[0] = errors_out[0] = 0;
    for (unsigned k = 1; k < num_states; k++) {
        double *steps = scratch + 2 * num, count = 0, mean = 0, squares = 0;
        const size_t at = (k - 1) * num;
        values_out[k] = values_out[k - 1] - difference_of(group, num, forward + at, reverse + at, scratch, steps);
        for (size_t l = 0; l < num_first; l++) without[l] -= steps[l];
        for (size_t l = group.first; l < num_first; l += group.stride, count++) mean += without[l];
        for (size_t l = group.first; l < num_first; l += group.stride) squares += pow(without[l] - mean / count, 2);
        errors_out[k] = count > 1 ? sqrt((count - 1) / count * squares) : NAN;
    }
}

eqf_status eqf__replica_log_z(eqf_context *ctx, unsigned num_states, unsigned num_ladders, bool has_start, size_t num,
                              const double *forward, const double *reverse, eqf_replica_diagnostics *diagnostics) {
    double values[3][EQF_REPLICA_MAX_TEMPERATURES], errors[3][EQF_REPLICA_MAX_TEMPERATURES];
    const ladder_group groups[3] = {{num_ladders, 0, 1}, {num_ladders, 0, 2}, {num_ladders, 1, 2}};
    double *scratch = eqf__alloc(ctx, 2 * num + 2 * (size_t)num_ladders, sizeof *scratch, "differences of ln Z");
    if (scratch == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned g = 0; g < (has_start ? 3u : 1u); g++)
        sum_up(groups[g], num_states, num, forward, reverse, scratch + 2 * num + num_ladders, scratch, values[g],
               errors[g]);
    free(scratch);
    diagnostics->largest_log_z_difference = NAN;
    for (unsigned k = 0; k < num_states; k++) {
        eqf_replica_log_z *to = &diagnostics->log_z[k];
        *to = (eqf_replica_log_z){.log_z = values[0][k], .standard_error = errors[0][k]};
        for (unsigned s = 0; s < 2; s++) {
            to->start_log_z[s] = has_start ? values[1 + s][k] : NAN;
            to->start_standard_errors[s] = has_start ? errors[1 + s][k] : NAN;
        }
        const double difference = fabs(to->start_log_z[0] - to->start_log_z[1]) /
                                  hypot(to->start_standard_errors[0], to->start_standard_errors[1]);
        if (k > 0 && !(difference <= diagnostics->largest_log_z_difference))
            diagnostics->largest_log_z_difference = difference;
    }
    return EQF_OK;
}
