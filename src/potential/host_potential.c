#include "host_potential.h"

#include <math.h>

#include "host_reference.h"
#include "potential_kinds.h"

bool eqf__host_has_formula(const eqf_potential_options *potential) {
    const eqf__potential_kind *kind = eqf__potential_kind_of(potential->kind);
    return kind->pair != NULL || kind->species_pair != NULL;
}

/* Energy and slope of particles i and j at distance d. */
static void pair_of(const eqf_potential_options *potential, unsigned i, unsigned j, double d, double *energy_out,
                    double *slope_out) {
    const eqf__potential_kind *kind = eqf__potential_kind_of(potential->kind);
    const unsigned first_b = potential->num_particles - eqf_potential_num_b(potential);
    if (kind->species_pair != NULL)
        kind->species_pair(potential, (unsigned)(i >= first_b) + (unsigned)(j >= first_b), d, energy_out, slope_out);
    else
        kind->pair(potential, d, energy_out, slope_out);
}

static double distance_of(unsigned dim, const double *x, unsigned i, unsigned j) {
    double squared = 0;
    for (unsigned a = 0; a < dim; a++) squared += pow(x[i * dim + a] - x[j * dim + a], 2);
    return sqrt(squared);
}

/* sum_i |x_i - x_com|^2 */
static double spread_of(unsigned num, unsigned dim, const double *x) {
    double spread = 0;
    for (unsigned a = 0; a < dim; a++) {
        double mean = 0;
        for (unsigned i = 0; i < num; i++) mean += x[i * dim + a] / num;
        for (unsigned i = 0; i < num; i++) spread += pow(x[i * dim + a] - mean, 2);
    }
    return spread;
}

double eqf__host_energy(const eqf_potential_options *potential, const double *x) {
    const eqf__potential_kind *kind = eqf__potential_kind_of(potential->kind);
    const unsigned num = potential->num_particles, dim = potential->space_dim;
    double energy = 0;
    for (unsigned i = 0; i < num; i++)
        for (unsigned j = i + 1; j < num; j++) {
            double of_pair, slope;
            pair_of(potential, i, j, distance_of(dim, x, i, j), &of_pair, &slope);
            energy += of_pair;
        }
    if (kind->has_trap) energy += 0.5 * potential->trap_strength * spread_of(num, dim, x);
    return energy / potential->temperature;
}

/* Sums du/dd over pairs and adds the trap. */
void eqf__host_force(const eqf_potential_options *potential, const double *x, double *force_out) {
    const eqf__potential_kind *kind = eqf__potential_kind_of(potential->kind);
    const unsigned num = potential->num_particles, dim = potential->space_dim;
    for (unsigned c = 0; c < num * dim; c++) force_out[c] = x[c];
    eqf__host_centre(num, dim, force_out);
    for (unsigned c = 0; c < num * dim; c++) force_out[c] *= kind->has_trap ? -potential->trap_strength : 0;
    for (unsigned i = 0; i < num; i++)
        for (unsigned j = 0; j < num; j++) {
            if (j == i) continue;
            const double d = distance_of(dim, x, i, j);
            double of_pair, slope;
            pair_of(potential, i, j, d, &of_pair, &slope);
            for (unsigned a = 0; a < dim; a++) force_out[i * dim + a] -= slope * (x[i * dim + a] - x[j * dim + a]) / d;
        }
    for (unsigned c = 0; c < num * dim; c++) force_out[c] /= potential->temperature;
}

void eqf__host_lattice(const eqf_potential_options *potential, unsigned sample, double *x_out) {
    const unsigned num = potential->num_particles, dim = potential->space_dim;
    const double spacing = eqf_potential_length(potential);
    unsigned side = 1;
    while (pow(side, dim) < num) side++;
    for (unsigned i = 0; i < num; i++) {
        unsigned place = i;
        for (unsigned a = 0; a < dim; a++) {
            const unsigned c = i * dim + a;
            x_out[c] =
                spacing * ((place % side) - 0.5 * (side - 1) + 0.08 * eqf__host_number(c + sample * num * dim, 4));
            place /= side;
        }
    }
}
