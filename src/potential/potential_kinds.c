#include "potential_kinds.h"

#include <math.h>
#include <string.h>

/* No default: the compiler names a kind that has no row (-Wswitch). */
const eqf__potential_kind *eqf__potential_kind_of(eqf_potential_kind kind) {
    switch (kind) {
        case EQF_POTENTIAL_DOUBLE_WELL: return &eqf__double_well;
        case EQF_POTENTIAL_LENNARD_JONES: return &eqf__lennard_jones;
        case EQF_POTENTIAL_USER: return &eqf__user_potential;
        case EQF_POTENTIAL_MORSE: return &eqf__morse;
        case EQF_POTENTIAL_BINARY_LENNARD_JONES: return &eqf__binary_lennard_jones;
    }
    return NULL;
}

/* ---- For programs ----------------------------------------------------------------------------- */

const eqf_potential_kind_info *eqf_potential_kind_describe(eqf_potential_kind kind) {
    const eqf__potential_kind *row = eqf__potential_kind_of(kind);
    return row != NULL ? &row->info : NULL;
}

const char *eqf_potential_kind_name(eqf_potential_kind kind) {
    const eqf__potential_kind *row = eqf__potential_kind_of(kind);
    return row != NULL ? row->info.name : NULL;
}

static const char *name_of(unsigned kind) {
    return eqf_potential_kind_name((eqf_potential_kind)kind);
}

eqf_status eqf_potential_kind_find(const char *name, eqf_potential_kind *kind_out) {
    unsigned kind;
    EQF__NOT_NULL(NULL, kind_out);
    EQF__TRY(eqf__kind_find(name, name_of, &kind));
    *kind_out = (eqf_potential_kind)kind;
    return EQF_OK;
}

const eqf_option *eqf_potential_option(eqf_potential_kind kind, size_t index) {
    const eqf__potential_kind *row = eqf__potential_kind_of(kind);
    return row != NULL ? eqf__options_at(row->options, index) : NULL;
}

const eqf_option *eqf_potential_common_option(size_t index) {
    return eqf__options_at(eqf__potential_common_options, index);
}

unsigned eqf_potential_num_b(const eqf_potential_options *potential) {
    const eqf__potential_kind *row = potential != NULL ? eqf__potential_kind_of(potential->kind) : NULL;
    return row != NULL && row->has_species ? potential->num_b : 0;
}

double eqf_potential_length(const eqf_potential_options *potential) {
    if (potential == NULL) return NAN;
    eqf__potential_scales scales;
    eqf__potential_scales_of(potential, &scales);
    return scales.length;
}

/* ---- For the library -------------------------------------------------------------------------- */

double eqf__potential_packed_neighbours(const eqf_potential_options *potential) {
    static const double touching[] = {2.0, 6.0, 12.0};
    return fmin(potential->num_particles, 1.0 + touching[potential->space_dim - 1]);
}

void eqf__potential_packed_scales(const eqf_potential_options *potential, double length,
                                  eqf__potential_scales *scales_out) {
    const double particles_across = pow(potential->num_particles, 1.0 / potential->space_dim);
    scales_out->length = length;
    scales_out->start_sd = 0.6 * length * particles_across; /* about one particle in a cube of side length */
    scales_out->first_move = 0.2 * length;
    /* in three dimensions about half the density of close packing */
    scales_out->start_radius = 0.7 * length * particles_across;
}

void eqf__potential_scales_of(const eqf_potential_options *potential, eqf__potential_scales *scales_out) {
    *scales_out = (eqf__potential_scales){.length = 1.0};
    eqf__potential_kind_of(potential->kind)->scales(potential, scales_out);
    scales_out->stiffness /= potential->temperature;
    if (!(scales_out->stiffness > 0.0)) scales_out->stiffness = 1.0;
}

void eqf__potential_of_species(unsigned num_particles, unsigned space_dim, unsigned num_b,
                               eqf_potential_options *potential_out) {
    const eqf__potential_kind *row;
    *potential_out = (eqf_potential_options)EQF_POTENTIAL_OPTIONS_INIT;
    potential_out->num_particles = num_particles;
    potential_out->space_dim = space_dim;
    potential_out->num_b = num_b;
    for (unsigned kind = 0; num_b > 0 && (row = eqf__potential_kind_of((eqf_potential_kind)kind)) != NULL; kind++)
        if (row->species_pair != NULL) potential_out->kind = (eqf_potential_kind)kind;
}

uint64_t eqf__potential_hash(uint64_t hash, const eqf_potential_options *potential) {
    const eqf__potential_kind *row = eqf__potential_kind_of(potential->kind);
    hash = eqf__hash(hash, row->info.name, strlen(row->info.name) + 1);
    hash = eqf__options_hash(hash, eqf__potential_common_options, potential);
    hash = eqf__options_hash(hash, row->options, potential);
    if (!row->info.has_text) return hash;
    hash = eqf__hash(hash, potential->source, strlen(potential->source) + 1);
    for (unsigned c = 0; c < potential->num_constants; c++) {
        hash = eqf__hash(hash, potential->constants[c].name, strlen(potential->constants[c].name) + 1);
        hash = eqf__hash(hash, &potential->constants[c].value, sizeof potential->constants[c].value);
    }
    return hash;
}
