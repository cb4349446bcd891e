/* What the files of src/anneal share. */
#ifndef EQF_ANNEAL_INTERNAL_H
#define EQF_ANNEAL_INTERNAL_H

#include "base.h"
#include "eqflow/anneal.h"

/* Philox streams, apart from those of other modules: the first counter word's top is the purpose. */
typedef enum eqf__anneal_purpose {
    EQF__ANNEAL_DRAW,
    EQF__ANNEAL_RESAMPLE,
    EQF__ANNEAL_LATENT,
    EQF__ANNEAL_LANGEVIN,
    EQF__ANNEAL_OUTPUT
} eqf__anneal_purpose;

/* A place in the random numbers of one run: each (purpose, step, move, walker) has numbers of its own. */
typedef struct eqf__anneal_place {
    uint64_t seed;
    eqf__anneal_purpose purpose;
    uint32_t step, move;
} eqf__anneal_place;
/* A seed of its own for the prior's stream. */
uint64_t eqf__anneal_seed(eqf__anneal_place place);
/* num standard normals of a walker. */
void eqf__anneal_normals(eqf__anneal_place place, uint64_t walker, size_t num, double *normals_out);
/* A uniform on (0, 1) of a walker, apart from its normals. */
double eqf__anneal_uniform(eqf__anneal_place place, uint64_t walker);

/* Walkers: configurations with everything that moves need. All arrays [num] or [num, N, D]; energies in double would be
 * false precision: they come from the device in float. */
typedef struct eqf__walkers {
    size_t num, num_dof;
    float *x, *z;                 /* z: latents; NULL where the start has none */
    float *energy, *start_energy; /* u(x); E_start(x) */
    float *force, *start_force;   /* -grad u, -grad E_start; NULL where there are no Langevin moves */
    double *log_weight;           /* since the last resampling of its repeat */
} eqf__walkers;
eqf_status eqf__walkers_create(eqf_context *ctx, size_t num, size_t num_dof, bool has_latents, bool has_forces,
                               eqf__walkers *walkers_out);
void eqf__walkers_clear(eqf__walkers *walkers);
/* Walkers begin ... begin + num - 1 as walkers of their own; the arrays stay the whole's. */
eqf__walkers eqf__walkers_view(const eqf__walkers *whole, size_t begin, size_t num);
/* Walker `to` of `into` becomes walker `from` of `of`, its weight apart. */
void eqf__walkers_copy(const eqf__walkers *of, size_t from, eqf__walkers *into, size_t to);

/* The density that the way begins at. One of the two. */
typedef struct eqf__anneal_start {
    eqf_flow *flow;
    eqf_potential_options potential; /* flow NULL: its equilibrium, of which x [num_samples, N, D] are samples */
    size_t num_samples;
    float *x;
} eqf__anneal_start;

typedef struct eqf__anneal_costs {
    double energies, log_probs, scores;
} eqf__anneal_costs;

/* The work of the device. `first` says which walkers these are, for flows whose random stream counts them. */
typedef struct eqf__anneal_system {
    eqf_context *ctx;
    eqf__anneal_start start;
    eqf_potential_options target;
    size_t num_dof;
    unsigned num_particles, space_dim;
    bool has_latents, has_forces;
    eqf__anneal_costs costs;
} eqf__anneal_system;
/* Fresh walkers of the start, part `part` of num_parts where it is a set of samples. */
eqf_status eqf__anneal_draw(eqf__anneal_system *system, uint64_t seed, unsigned part, unsigned num_parts,
                            eqf__walkers *walkers);
/* Fills in everything else of walkers from their x. */
eqf_status eqf__anneal_evaluate(eqf__anneal_system *system, eqf__walkers *walkers);
/* Fills in x and everything else of walkers from their z. */
eqf_status eqf__anneal_evaluate_latents(eqf__anneal_system *system, eqf__walkers *walkers);

/* E_beta of a walker; infinite where it has no density. */
double eqf__anneal_energy(const eqf__walkers *walkers, size_t w, double beta);

/* Moves that leave exp(-E_beta) invariant. proposed is scratch of the walkers' shape. *acceptance_out: fraction
 * taken. */
eqf_status eqf__anneal_move_latents(eqf__anneal_system *system, eqf__walkers *walkers, eqf__walkers *proposed,
                                    double beta, double angle, eqf__anneal_place place, double *acceptance_out);
eqf_status eqf__anneal_move_langevin(eqf__anneal_system *system, eqf__walkers *walkers, eqf__walkers *proposed,
                                     double beta, double step_size, eqf__anneal_place place, double *acceptance_out);

/* Weights, of walkers begin ... begin + num - 1. */
/* ESS fraction of the weights after a step `delta` in beta. */
double eqf__anneal_ess_after(const eqf__walkers *walkers, size_t begin, size_t num, double delta);
/* log_weight -= delta (u - E_start). */
void eqf__anneal_reweigh(eqf__walkers *walkers, size_t begin, size_t num, double delta);
/* ln of the mean weight; -infinity if there is none. */
double eqf__anneal_log_mean_weight(const eqf__walkers *walkers, size_t begin, size_t num);
/* parents_out [num_out]: systematic resampling by exp(log_weight [num]) with one uniform. False: no weight at all. */
bool eqf__anneal_resample(size_t num, const double *log_weight, double uniform, size_t num_out, size_t *parents_out);

#endif
