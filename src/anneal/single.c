/* Metropolis moves of single particles: a sweep displaces each particle of every walker in turn, and E_beta of the
 * whole decides. From a flow this takes a log-density of every walker for each particle; from a potential only the
 * energies of one particle's pairs. */
#include <math.h>
#include <stdlib.h>

#include "anneal.h"
#include "particles.h"

void eqf__anneal_clear_particles(eqf__anneal_system *system) {
    if (system->particles != NULL) eqf__particles_clear(system->particles);
    free(system->particles);
    system->particles = NULL;
}

/* Memory and kernels for num walkers: those of the pilot run are not as many as those of the repeats. */
static eqf_status prepare(eqf__anneal_system *system, size_t num) {
    if (system->particles != NULL && system->particles->num == num) return EQF_OK;
    eqf__anneal_clear_particles(system);
    eqf__particles *particles = eqf__alloc(system->ctx, 1, sizeof *particles, "the moves of particles");
    if (particles == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf__checker checker = eqf__checker_of(system->ctx);
    const eqf_status status = eqf__particles_create(
        &checker, &system->target, system->start.flow == NULL ? &system->start.potential : NULL, num, particles);
    if (status != EQF_OK) {
        free(particles);
        return status;
    }
    system->particles = particles;
    return EQF_OK;
}

/* -log q of all walkers after the move into proposed->start_energy. */
static eqf_status evaluate_start(eqf__anneal_system *system, const eqf__particle_move *move, eqf__walkers *proposed) {
    EQF__TRY(eqf__particles_propose(system->particles, move, proposed->x));
    system->costs.log_probs += (double)proposed->num;
    EQF__TRY(eqf_flow_log_prob(system->start.flow, proposed->num, proposed->x, proposed->start_energy, NULL));
    for (size_t w = 0; w < proposed->num; w++) proposed->start_energy[w] = -proposed->start_energy[w];
    return EQF_OK;
}

/* The start decides nothing at beta = 1, where its log-densities are not computed. Each change of energy counts as an
 * energy. */
static eqf_status move_one(eqf__anneal_system *system, const eqf__particle_move *move, eqf__walkers *proposed) {
    const bool has_start = move->share_start > 0, is_flow = system->start.flow != NULL;
    if (has_start && is_flow) EQF__TRY(evaluate_start(system, move, proposed));
    system->costs.energies += (double)proposed->num * (has_start && !is_flow ? 2 : 1);
    return eqf__particles_decide(system->particles, move, has_start && is_flow ? proposed->start_energy : NULL);
}

/* Metropolis et al., J. Chem. Phys. 21 (1953) 1087, with cl/mcmc/particle.cl. One particle after the other in a fixed
 * order leaves exp(-E_beta) invariant, because each move does. */
eqf_status eqf__anneal_move_particles(eqf__anneal_system *system, eqf__walkers *walkers, eqf__walkers *proposed,
                                      double beta, double size, eqf__anneal_place place, double *acceptance_out) {
    EQF__TRY(prepare(system, walkers->num));
    const bool is_flow = system->start.flow != NULL;
    EQF__TRY(eqf__particles_put(system->particles, walkers->x, is_flow ? walkers->start_energy : NULL));
    for (unsigned i = 0; i < system->num_particles; i++) {
        const eqf__particle_move move = {.seed = place.seed,
                                         .step = place.step,
                                         .move = place.move * system->num_particles + i,
                                         .particle = i,
                                         .step_size = size,
                                         .share_start = 1 - beta,
                                         .share_target = beta};
        EQF__TRY(move_one(system, &move, proposed));
    }
    return eqf__particles_take(system->particles, walkers->x, is_flow ? walkers->start_energy : NULL, acceptance_out);
}
