#include <math.h>
#include <stdlib.h>

#include "host_potential.h"
#include "quench.h"

bool eqf__host_quench(const eqf_potential_options *potential, unsigned num_steps, double largest_time_step,
                      double largest_displacement, double *x, double *gradient_norm_out) {
    const unsigned num_dof = potential->num_particles * potential->space_dim;
    double *v = calloc(2 * (size_t)num_dof, sizeof *v), time_step = 0.1 * largest_time_step, mixing = 0.1;
    if (v == NULL) return false;
    double *force = v + num_dof;
    for (unsigned step = 0, num_downhill = 0; step < num_steps; step++) {
        double power = 0, speed = 0, norm = 0, longest = 0;
        eqf__host_force(potential, x, force);
        for (unsigned c = 0; c < num_dof; c++) {
            power += force[c] * v[c];
            speed += v[c] * v[c];
            norm += force[c] * force[c];
        }
        *gradient_norm_out = norm = sqrt(norm);
        if (power > 0) {
            if (++num_downhill > 5) {
                time_step = fmin(1.1 * time_step, largest_time_step);
                mixing *= 0.99;
            }
        } else {
            for (unsigned c = 0; c < num_dof; c++) {
                x[c] -= 0.5 * time_step * v[c];
                v[c] = 0;
            }
            if (speed > 0) time_step = fmax(0.5 * time_step, 1e-3 * largest_time_step);
            num_downhill = 0;
            mixing = 0.1;
        }
        speed = 0;
        for (unsigned c = 0; c < num_dof; c++) {
            v[c] += time_step * force[c];
            speed += v[c] * v[c];
        }
        for (unsigned c = 0; c < num_dof; c++) {
            v[c] = (1 - mixing) * v[c] + mixing * sqrt(speed) * force[c] / fmax(norm, 1e-30);
            longest = fmax(longest, fabs(time_step * v[c]));
        }
        for (unsigned c = 0; c < num_dof; c++) {
            if (longest > largest_displacement) v[c] *= largest_displacement / longest;
            x[c] += time_step * v[c];
        }
    }
    free(v);
    return true;
}
