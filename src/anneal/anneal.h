/* Shared by the files of src/anneal. */
#ifndef EQF_ANNEAL_INTERNAL_H
#define EQF_ANNEAL_INTERNAL_H

#include "base.h"
#include "eqflow/anneal.h"

/* Purposes of random numbers; the purpose is in the top bits of a counter word of Philox, so streams are different. */
typedef enum eqf__anneal_purpose {
    EQF__ANNEAL_DRAW,
    EQF__ANNEAL_RESAMPLE,
    EQF__ANNEAL_LATENT,
    EQF__ANNEAL_LANGEVIN,
    EQF__ANNEAL_OUTPUT,
    EQF__ANNEAL_PARTICLE
} eqf__anneal_purpose;

/* Selects random numbers: each (seed, purpose, step, move, walker) has different ones. */
typedef struct eqf__anneal_place {
    uint64_t seed;
    eqf__anneal_purpose purpose;
    uint32_t step, move;
} eqf__anneal_place;
/* A seed for the prior's stream that is different for each place. */
uint64_t eqf__anneal_seed(eqf__anneal_place place);
/* num standard normals of a walker. */
void eqf__anneal_normals(eqf__anneal_place place, uint64_t walker, size_t num, double *normals_out);
/* A uniform number on (0, 1) of a walker, independent of its normals. */
double eqf__anneal_uniform(eqf__anneal_place place, uint64_t walker);

/* Walkers: configurations with all that moves need. All arrays [num] or [num, N, D]. Energies (kT) are float, as they
 * come from the device. */
typedef struct eqf__walkers {
    size_t num, num_dof;
    float *x, *z;                 /* z: latents; NULL if the start has none */
    float *energy, *start_energy; /* u(x); E_start(x) */
    float *force, *start_force;   /* -grad u, -grad E_start; NULL without Langevin moves */
    double *log_weight;           /* since the last resampling of its repeat */
} eqf__walkers;
eqf_status eqf__walkers_create(eqf_context *ctx, size_t num, size_t num_dof, bool has_latents, bool has_forces,
                               eqf__walkers *walkers_out);
void eqf__walkers_clear(eqf__walkers *walkers);
/* A view of walkers begin ... begin + num - 1; whole owns the arrays. */
eqf__walkers eqf__walkers_view(const eqf__walkers *whole, size_t begin, size_t num);
/* Copies walker `from` of `of` to walker `to` of `into`, except its weight. */
void eqf__walkers_copy(const eqf__walkers *of, size_t from, eqf__walkers *into, size_t to);

/* The density at beta = 0: a flow, or the equilibrium of a potential. */
typedef struct eqf__anneal_start {
    eqf_flow *flow;
    eqf_potential_options potential; /* if flow is NULL; x [num_samples, N, D] are samples of its equilibrium */
    size_t num_samples;
    float *x;
} eqf__anneal_start;

typedef struct eqf__anneal_costs {
    double energies, log_probs, scores;
} eqf__anneal_costs;

/* The start and the target on the device. */
typedef struct eqf__anneal_system {
    eqf_context *ctx;
    eqf__anneal_start start;
    eqf_potential_options target;
    size_t num_dof;
    unsigned num_particles, space_dim;
    bool has_latents, has_forces;
    struct eqf__particles *particles; /* for moves of single particles (particles.h), made at the first one */
    eqf__anneal_costs costs;
} eqf__anneal_system;
void eqf__anneal_clear_particles(eqf__anneal_system *system);
/* Draws new walkers from the start; if the start is a set of samples, from part `part` of num_parts. */
eqf_status eqf__anneal_draw(eqf__anneal_system *system, uint64_t seed, unsigned part, unsigned num_parts,
                            eqf__walkers *walkers);
/* Computes all other arrays of walkers from their x. */
eqf_status eqf__anneal_evaluate(eqf__anneal_system *system, eqf__walkers *walkers);
/* Computes x and all other arrays of walkers from their z. */
eqf_status eqf__anneal_evaluate_latents(eqf__anneal_system *system, eqf__walkers *walkers);

/* E_beta of a walker; infinite if its density is zero. */
double eqf__anneal_energy(const eqf__walkers *walkers, size_t w, double beta);

/* A move of all walkers that leaves exp(-E_beta) invariant. proposed: scratch of the walkers' shape. *acceptance_out:
 * accepted fraction. */
typedef eqf_status eqf__anneal_move(eqf__anneal_system *system, eqf__walkers *walkers, eqf__walkers *proposed,
                                    double beta, double size, eqf__anneal_place place, double *acceptance_out);

/* A kind of moves: a row of a table. Every step in beta makes the moves of each kind in the table's order. */
typedef struct eqf__anneal_kind {
    eqf__anneal_move *move;
    eqf__anneal_purpose purpose;
    double wanted_acceptance; /* to which the pilot run tunes the size */
    double first_size, most_size;
    unsigned size_power;   /* first_size is in units of this power of the length of a coordinate */
    unsigned first_factor; /* so many times more moves at the pilot's first step, where the size is a guess */
    bool needs_latents, needs_forces;
    bool keeps_forces;                           /* afterwards walkers have the forces of their places */
    bool is_partial;                             /* afterwards walkers have only their places */
    size_t num_at, acceptance_at, state_size_at; /* offsets: in the options, and twice in the state */
} eqf__anneal_kind;
enum { EQF__ANNEAL_NUM_KINDS = 3 };
extern const eqf__anneal_kind eqf__anneal_kinds[EQF__ANNEAL_NUM_KINDS];
/* How many moves of a kind the options ask for. */
static inline unsigned *eqf__anneal_num_moves(eqf_anneal_options *options, const eqf__anneal_kind *kind) {
    return (unsigned *)(void *)((char *)options + kind->num_at);
}
/* In latent space; along forces; of single particles. */
eqf__anneal_move eqf__anneal_move_latents, eqf__anneal_move_langevin, eqf__anneal_move_particles;

/* The next three are about the weights of walkers begin ... begin + num - 1. */
/* ESS (fraction) of the weights after a step `delta` in beta. */
double eqf__anneal_ess_after(const eqf__walkers *walkers, size_t begin, size_t num, double delta);
/* log_weight -= delta (u - E_start). */
void eqf__anneal_reweigh(eqf__walkers *walkers, size_t begin, size_t num, double delta);
/* ln of the mean weight; -infinity if there is none. */
double eqf__anneal_log_mean_weight(const eqf__walkers *walkers, size_t begin, size_t num);
/* parents_out [num_out]: systematic resampling by exp(log_weight [num]) with one uniform
 * number. False: all weights are zero. */
bool eqf__anneal_resample(size_t num, const double *log_weight, double uniform, size_t num_out, size_t *parents_out);

#endif
