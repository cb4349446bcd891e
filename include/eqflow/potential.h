/* Potentials: reduced energies u(x) = U(x)/kT of a configuration x [N, D], and their forces -grad u. */
#ifndef EQFLOW_POTENTIAL_H
#define EQFLOW_POTENTIAL_H

#include <stdbool.h>

#include "eqflow/context.h"
#include "eqflow/option.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum eqf_potential_kind {
    EQF_POTENTIAL_DOUBLE_WELL,
    EQF_POTENTIAL_LENNARD_JONES,
    EQF_POTENTIAL_USER, /* OpenCL C text of the user's own: docs/potentials.md */
    EQF_POTENTIAL_MORSE,
    EQF_POTENTIAL_BINARY_LENNARD_JONES /* two species of particles */
} eqf_potential_kind;

#define EQF_POTENTIAL_MAX_CONSTANTS 16
#define EQF_POTENTIAL_MAX_SOURCE 262144 /* bytes of text */

/* A constant of the user's text: its name is a macro there. */
typedef struct eqf_potential_constant {
    char name[32];
    double value;
} eqf_potential_constant;

/* Pair sums run over unordered pairs i<j, d = |x_i - x_j| (Koehler et al. 2020, section 5).
 *   double well:    u = (1/T) sum [ linear s + quadratic s^2 + quartic s^4 ],  s = d - distance_offset
 *   Lennard-Jones:  u = (1/T) { epsilon sum [ (r_min/d)^12 - 2 (r_min/d)^6 ]
 *                               + 0.5 trap_strength sum_i |x_i - x_com|^2 }
 *   Morse:          u = (1/T) { depth sum [ (1 - exp(-width (d - r_min)))^2 - 1 ]
 *                               + 0.5 trap_strength sum_i |x_i - x_com|^2 }
 *   binary Lennard-Jones:  Lennard-Jones with epsilon and r_min of the pair's species; the last num_b particles are of
 *                   species B, the others of species A
 *   user:           u = (1/T) energy(x),  energy and its gradient from the text */
typedef struct eqf_potential_options {
    size_t struct_size; /* set by EQF_POTENTIAL_OPTIONS_INIT */
    eqf_potential_kind kind;
    unsigned num_particles; /* N >= 2 */
    unsigned space_dim;     /* D: 1, 2 or 3 */
    double temperature;     /* T > 0 */
    double distance_offset, linear, quadratic, quartic; /* double well */
    double epsilon, r_min, trap_strength;               /* Lennard-Jones; the last two of Morse too */
    /* user; the texts are the caller's and must outlive the options (a model keeps a copy of its own) */
    const char *source;      /* UTF-8 text of OpenCL C: energy and energy_gradient of one configuration */
    const char *source_name; /* its name in compiler messages, such as the file's name; NULL: "potential.cl" */
    double length;           /* typical distance of neighbours: starts and step sizes are proportional to it */
    unsigned num_constants;
    eqf_potential_constant constants[EQF_POTENTIAL_MAX_CONSTANTS];
    double depth, width; /* Morse */
    double epsilon_aa, epsilon_ab, epsilon_bb, r_min_aa, r_min_ab, r_min_bb; /* binary Lennard-Jones */
    unsigned num_b; /* binary Lennard-Jones and user: the last num_b particles are of species B; 0: all are alike */
    unsigned char reserved[196]; /* 0: see eqflow/context.h */
} eqf_potential_options;
#define EQF_POTENTIAL_OPTIONS_INIT                                                                                    \
    {                                                                                                                 \
        .struct_size = sizeof(eqf_potential_options), .kind = EQF_POTENTIAL_DOUBLE_WELL, .num_particles = 2,          \
        .space_dim = 2, .temperature = 1.0, .distance_offset = 4.0, .linear = 0.0, .quadratic = -4.0, .quartic = 0.9, \
        .epsilon = 2.0, .r_min = 1.0, .trap_strength = 1.0, .length = 1.0, .depth = 2.0, .width = 6.0,                \
        .epsilon_aa = 1.0, .epsilon_ab = 1.5, .epsilon_bb = 0.5, .r_min_aa = 1.0, .r_min_ab = 0.8, .r_min_bb = 0.88   \
    }

/* Properties of a kind; texts are static. */
typedef struct eqf_potential_kind_info {
    size_t struct_size;  /* set by the library */
    const char *name;    /* "lennard_jones": the key in files */
    const char *title;   /* "Lennard-Jones" */
    /* energy of a pair at distance d, in the names of the options; "" if the energy is the options' text */
    const char *formula;
    const char *element; /* symbol of the particles in XYZ files */
    bool has_text;       /* the energy is OpenCL C text of the options */
    const char *element_b; /* the same for species B; NULL: there is one species */
} eqf_potential_kind_info;

/* NULL if there is no such kind; kinds count from 0 without a gap. */
const eqf_potential_kind_info *eqf_potential_kind_describe(eqf_potential_kind kind);
/* "double_well", "lennard_jones", "user", "morse", "binary_lennard_jones". NULL if unknown. */
const char *eqf_potential_kind_name(eqf_potential_kind kind);
/* Errors: NOT_FOUND (no context: nothing to report to). */
eqf_status eqf_potential_kind_find(const char *name, eqf_potential_kind *kind_out);

/* The constants of a kind, one by one: offsets in eqf_potential_options. NULL beyond the last. */
const eqf_option *eqf_potential_option(eqf_potential_kind kind, size_t index);
/* The options that every kind has: num_particles, space_dim, temperature. NULL beyond the last. */
const eqf_option *eqf_potential_common_option(size_t index);
/* Number of particles of species B, which are the last ones; 0 if all particles are alike. Only particles of one
 * species may be exchanged. */
unsigned eqf_potential_num_b(const eqf_potential_options *potential);
/* Typical distance of neighbours, of a potential that eqf_potential_check passes. */
double eqf_potential_length(const eqf_potential_options *potential);

/* Checks all members; constants of other kinds need only be finite. Errors: INVALID_ARGUMENT, with a message that names
 * the member. */
eqf_status eqf_potential_check(eqf_context *ctx, const eqf_potential_options *potential);

/* Energies and forces on the device.
 *   x [B, N, D] float32, energy_out [B] or NULL, force_out [B, N, D] or NULL (reduced: kT per length).
 * Non-finite results are returned as they are. B = 0 is allowed. Errors: INVALID_ARGUMENT, those of the device. */
eqf_status eqf_potential_evaluate(eqf_context *ctx, const eqf_potential_options *potential,
                                  size_t batch_size, const float *x, float *energy_out, float *force_out);

/* Sets a constant of a user's text, or adds it. Errors: INVALID_ARGUMENT (name, too many constants). */
eqf_status eqf_potential_set_constant(eqf_context *ctx, eqf_potential_options *potential, const char *name,
                                      double value);

/* Reads the text of a file for the member source: *source_out is the caller's (eqf_free). Errors: IO, OUT_OF_MEMORY,
 * FORMAT (empty, too long, not text). */
eqf_status eqf_potential_read_source(eqf_context *ctx, const char *path, char **source_out);

/* Compares the gradient with differences of the energy in a few random configurations, on the device, in double if it
 * has that. error_out: largest deviation relative to the largest component, or NULL. It is meant for a user's text, and
 * works for every kind. Errors: FORMAT (a gradient that is not the energy's, an energy that changes when all particles
 * are shifted, no configuration with finite energies; the message says which), KERNEL_BUILD, those of the device. */
eqf_status eqf_potential_verify(eqf_context *ctx, const eqf_potential_options *potential, double *error_out);

/* Operations that do not change a potential. */
typedef struct eqf_potential_symmetry {
    size_t struct_size;    /* set by EQF_POTENTIAL_SYMMETRY_INIT */
    bool has_permutation;  /* of the particles of each species (num_b) */
    bool has_rotation;     /* false e.g. in an outer field or a box */
    bool has_reflection;   /* false e.g. for handed particles */
    bool has_translation;  /* if false, no flow of eqflow fits: eqf_potential_verify refuses such a potential */
} eqf_potential_symmetry;
#define EQF_POTENTIAL_SYMMETRY_INIT {.struct_size = sizeof(eqf_potential_symmetry)}

/* Finds them from the energies of 24 random configurations and their images, on the device, in double if it has that.
 * The density of a flow with a radial or message field has all of these symmetries, so it cannot fit a potential that
 * lacks one. Errors: KERNEL_BUILD, those of the device. */
eqf_status eqf_potential_find_symmetry(eqf_context *ctx, const eqf_potential_options *potential,
                                       eqf_potential_symmetry *symmetry_out);

#ifdef __cplusplus
}
#endif
#endif
