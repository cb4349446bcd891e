/* The kinds of potential, one row each in a file of its own. To add one: docs/extending.md. Nothing else in the library
 * compares kinds. */
#ifndef EQF_POTENTIAL_KINDS_H
#define EQF_POTENTIAL_KINDS_H

#include "eqflow/potential.h"
#include "option.h"

/* Lengths and a stiffness that fit a potential, before the temperature is divided out. */
typedef struct eqf__potential_scales {
    double length;             /* typical distance of neighbours: what "far" and "near" are measured by */
    double start_sd;           /* of the coordinates of a Monte Carlo chain's start */
    double first_move;         /* a chain's first largest displacement; burn-in adapts it */
    double start_radius;       /* of the ball in which random starts of quenches lie */
    double stiffness;          /* about the largest eigenvalue of the Hessian of U at a minimum */
    bool is_stiffness_guessed; /* a place to start from; who needs it measures it */
} eqf__potential_scales;

/* Where a kind's constants go: -D options of the precision that the kernel computes in. */
typedef struct eqf__define_list {
    eqf_context *ctx;
    bool is_double;
    char *buffer; /* text of size bytes, appended to */
    size_t size;
} eqf__define_list;

/* Appends -D name=value, the same in every locale. Errors: INVALID_ARGUMENT beyond float32. */
eqf_status eqf__define(eqf__define_list *list, const char *name, double value);
/* The same, but a constant that vanishes is left undefined and its term out of the kernel: 0 * inf would be NaN. */
eqf_status eqf__define_unless_zero(eqf__define_list *list, const char *name, double value);
/* Appends a whole number. */
void eqf__define_count(eqf__define_list *list, const char *name, unsigned value);

/* `potential` below is a potential of that kind, and checked. */
typedef struct eqf__potential_kind {
    eqf_potential_kind_info info;
    const eqf_option *options; /* the kind's own rows, over eqf_potential_options */
    const eqf_option *const
        *file_options;       /* tables whose keys are in the model file, NULL at the end; NULL: options alone */
    const char *kernel_file; /* of cl/: pair_energy and pair_slope; NULL: the text in the options */
    const char *sum_file;    /* of cl/: what makes the promises of a potential from that */
    bool has_trap;           /* trap_strength holds the particles together: at 0 they may fly apart */
    bool has_species;        /* num_b says which particles are alike */
    /* Energy of a pair at distance d and its derivative by d, temperature and trap left out: the twin of the kernel
     * file in double. NULL: the host knows no formula, and there are no known answers. */
    void (*pair)(const eqf_potential_options *potential, double d, double *energy_out, double *slope_out);
    /* In its place where the pair's species matter: num_b_of_pair of the two are of species B. */
    void (*species_pair)(const eqf_potential_options *potential, unsigned num_b_of_pair, double d, double *energy_out,
                         double *slope_out);
    void (*scales)(const eqf_potential_options *potential, eqf__potential_scales *scales_out);
    /* What the rows cannot say; NULL: nothing. Errors: INVALID_ARGUMENT. */
    eqf_status (*check)(eqf_context *ctx, const eqf_potential_options *potential);
    /* The kernel file's constants. */
    eqf_status (*define)(const eqf_potential_options *potential, eqf__define_list *list);
} eqf__potential_kind;

/* The rows. */
extern const eqf__potential_kind eqf__double_well, eqf__lennard_jones, eqf__user_potential, eqf__morse;
extern const eqf__potential_kind eqf__binary_lennard_jones;

/* A file of either of the first two kinds holds the constants of both: format 1 began so. */
extern const eqf_option eqf__double_well_options[], eqf__lennard_jones_options[];
extern const eqf_option *const eqf__first_file_options[];

/* NULL: there is no such kind. */
const eqf__potential_kind *eqf__potential_kind_of(eqf_potential_kind kind);

/* num_particles, space_dim, temperature: of every kind. */
extern const eqf_option eqf__potential_common_options[];

/* One constant of a kind: a double that fits float32, in which the kernels compute. */
#define EQF__CONSTANT(member, default_value, lowest, ...) \
    EQF__OPTION(eqf_potential_options, member, REAL, .initial = default_value, .low = lowest, .high = 1e30, __VA_ARGS__)

/* The scales of a potential whose particles pack at the distance `length`; leaves the stiffness alone. */
void eqf__potential_packed_scales(const eqf_potential_options *potential, double length,
                                  eqf__potential_scales *scales_out);
/* Particles that touch one, and one more: 12 spheres around a sphere, 6 discs around a disc, 2 neighbours on a line. */
double eqf__potential_packed_neighbours(const eqf_potential_options *potential);

/* The scales of any kind, the stiffness divided by the temperature and positive. */
void eqf__potential_scales_of(const eqf_potential_options *potential, eqf__potential_scales *scales_out);
/* A potential of so many particles and species, for a model whose energy nobody asks for. */
void eqf__potential_of_species(unsigned num_particles, unsigned space_dim, unsigned num_b,
                               eqf_potential_options *potential_out);
/* Are num_b and the number of particles those of species? Errors: INVALID_ARGUMENT. */
eqf_status eqf__potential_check_species(eqf_context *ctx, const eqf_potential_options *potential);
/* The row of num_b: optional, as models with text are older than it. */
#define EQF__SPECIES_OPTION(...)                                                                                  \
    EQF__OPTION(eqf_potential_options, num_b, UNSIGNED, .initial = 0, .low = 0, .high = 999, .is_optional = true, \
                .help = "particles of species B, the last ones; 0: all are alike", __VA_ARGS__)
/* Feeds everything that the energy depends on to a hash (eqf__hash). */
uint64_t eqf__potential_hash(uint64_t hash, const eqf_potential_options *potential);

#endif
