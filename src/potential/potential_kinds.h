/* The kinds of potential: each is a row, in a file of its own. docs/extending.md says how to add one. The rest of the
 * library does not depend on the kind. */
#ifndef EQF_POTENTIAL_KINDS_H
#define EQF_POTENTIAL_KINDS_H

#include "eqflow/potential.h"
#include "option.h"

/* Lengths and a stiffness that are typical of a potential; energies are not divided by the temperature. */
typedef struct eqf__potential_scales {
    double length;             /* typical distance of neighbours: the unit of other lengths */
    double start_sd;           /* standard deviation of the coordinates at the start of a Monte Carlo chain */
    double first_move;         /* a chain's largest displacement at first; burn-in adapts it */
    double start_radius;       /* radius of the ball of random starts of quenches */
    double stiffness;          /* about the largest eigenvalue of the Hessian of U at a minimum */
    bool is_stiffness_guessed; /* the stiffness is a guess: code that needs it must measure it */
} eqf__potential_scales;

/* The -D options of a kind's constants, in the precision of the kernel. */
typedef struct eqf__define_list {
    eqf_context *ctx;
    bool is_double;
    char *buffer; /* text of size bytes, appended to */
    size_t size;
} eqf__define_list;

/* Appends -D name=value, whatever the locale. Errors: INVALID_ARGUMENT beyond float32. */
eqf_status eqf__define(eqf__define_list *list, const char *name, double value);
/* The same, except that a constant of 0 is not defined, and the kernel leaves its term out: 0 * inf would be NaN. */
eqf_status eqf__define_unless_zero(eqf__define_list *list, const char *name, double value);
/* Appends a whole number. */
void eqf__define_count(eqf__define_list *list, const char *name, unsigned value);

/* The argument `potential` of these functions is checked and has this kind. */
typedef struct eqf__potential_kind {
    eqf_potential_kind_info info;
    const eqf_option *options; /* of the kind, members of eqf_potential_options */
    const eqf_option *const
        *file_options;       /* tables of the options in the model file, NULL-terminated; NULL: only options */
    const char *kernel_file; /* in cl/, with pair_energy and pair_slope; NULL: the text in the options */
    const char *sum_file;    /* in cl/, with the energy and force of a configuration from these */
    bool has_trap;           /* trap_strength holds the particles together: at 0 they may fly apart */
    bool has_species;        /* num_b has a meaning: there are two species */
    /* The energy of a pair at distance d and its derivative by d, not divided by the temperature, without the trap: the
     * formula of the kernel file in double. NULL: the host has no formula, and there are no known answers. */
    void (*pair)(const eqf_potential_options *potential, double d, double *energy_out, double *slope_out);
    /* Instead of pair, for two species: num_b_of_pair of the two particles are of species B. */
    void (*species_pair)(const eqf_potential_options *potential, unsigned num_b_of_pair, double d, double *energy_out,
                         double *slope_out);
    void (*scales)(const eqf_potential_options *potential, eqf__potential_scales *scales_out);
    /* Checks conditions beyond those of the option rows; NULL: there are none. Errors: INVALID_ARGUMENT. */
    eqf_status (*check)(eqf_context *ctx, const eqf_potential_options *potential);
    /* Appends the constants of the kernel file. */
    eqf_status (*define)(const eqf_potential_options *potential, eqf__define_list *list);
} eqf__potential_kind;

/* The rows. */
extern const eqf__potential_kind eqf__double_well, eqf__lennard_jones, eqf__user_potential, eqf__morse;
extern const eqf__potential_kind eqf__binary_lennard_jones;

/* In format 1, model files of either of the first two kinds have the constants of both. */
extern const eqf_option eqf__double_well_options[], eqf__lennard_jones_options[];
extern const eqf_option *const eqf__first_file_options[];

/* NULL: there is no such kind. */
const eqf__potential_kind *eqf__potential_kind_of(eqf_potential_kind kind);

/* Options of all kinds: num_particles, space_dim, temperature. */
extern const eqf_option eqf__potential_common_options[];

/* A constant of a kind: a double within the range of float32, the precision of kernels. */
#define EQF__CONSTANT(member, default_value, lowest, ...) \
    EQF__OPTION(eqf_potential_options, member, REAL, .initial = default_value, .low = lowest, .high = 1e30, __VA_ARGS__)

/* The scales of a potential whose particles have neighbours at distance `length`; does not set the stiffness. */
void eqf__potential_packed_scales(const eqf_potential_options *potential, double length,
                                  eqf__potential_scales *scales_out);
/* The number of particles that can touch one, plus one: 12 spheres, 6 discs, or 2 on a line; at most N. */
double eqf__potential_packed_neighbours(const eqf_potential_options *potential);

/* The scales of a potential of any kind; the stiffness is positive and divided by the temperature. */
void eqf__potential_scales_of(const eqf_potential_options *potential, eqf__potential_scales *scales_out);
/* A potential with these numbers of particles, for a model whose energy is not used. */
void eqf__potential_of_species(unsigned num_particles, unsigned space_dim, unsigned num_b,
                               eqf_potential_options *potential_out);
/* Checks num_b against the number of particles. Errors: INVALID_ARGUMENT. */
eqf_status eqf__potential_check_species(eqf_context *ctx, const eqf_potential_options *potential);
/* The option num_b; optional, as model files of user potentials may lack it. */
#define EQF__SPECIES_OPTION(...)                                                                                  \
    EQF__OPTION(eqf_potential_options, num_b, UNSIGNED, .initial = 0, .low = 0, .high = 999, .is_optional = true, \
                .help = "particles of species B, the last ones; 0: all are alike", __VA_ARGS__)
/* Adds everything on which the energy depends to a hash (eqf__hash). */
uint64_t eqf__potential_hash(uint64_t hash, const eqf_potential_options *potential);

#endif
