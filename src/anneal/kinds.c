/* The kinds of moves: one row each. */
#include <math.h>
#include <stddef.h>

#include "anneal.h"

/* Acceptances: latent moves 0.3; single particles as Monte Carlo here (src/mcmc/plan.c); Langevin 0.574 (Roberts and
 * Rosenthal, J. R. Stat. Soc. B 60 (1998) 255). Sizes: an angle in latent space, at most a quarter turn; the standard
 * deviation of a displacement, length; h of the Langevin proposal, length^2. Moves of single particles come before
 * Langevin moves, which need the forces that are computed after them. */
const eqf__anneal_kind eqf__anneal_kinds[EQF__ANNEAL_NUM_KINDS] = {
    {.move = eqf__anneal_move_latents,
     .purpose = EQF__ANNEAL_LATENT,
     .wanted_acceptance = 0.3,
     .first_size = 1,
     .most_size = 1.5707963267948966,
     .first_factor = 5,
     .needs_latents = true,
     .num_at = offsetof(eqf_anneal_options, num_latent_moves),
     .acceptance_at = offsetof(eqf_anneal_state, latent_acceptance),
     .state_size_at = offsetof(eqf_anneal_state, latent_step)},
    {.move = eqf__anneal_move_particles,
     .purpose = EQF__ANNEAL_PARTICLE,
     .wanted_acceptance = 0.2,
     .first_size = 0.3,
     .size_power = 1,
     .most_size = INFINITY,
     .first_factor = 5,
     .is_partial = true,
     .num_at = offsetof(eqf_anneal_options, num_particle_sweeps),
     .acceptance_at = offsetof(eqf_anneal_state, particle_acceptance),
     .state_size_at = offsetof(eqf_anneal_state, particle_step)},
    {.move = eqf__anneal_move_langevin,
     .purpose = EQF__ANNEAL_LANGEVIN,
     .wanted_acceptance = 0.574,
     .first_size = 1e-3,
     .size_power = 2,
     .most_size = INFINITY,
     .first_factor = 25,
     .needs_forces = true,
     .keeps_forces = true,
     .num_at = offsetof(eqf_anneal_options, num_langevin_moves),
     .acceptance_at = offsetof(eqf_anneal_state, langevin_acceptance),
     .state_size_at = offsetof(eqf_anneal_state, langevin_step)},
};
