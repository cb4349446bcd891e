/* Work on the device: draws from the start, energies, log-densities and scores of walkers. */
#include <math.h>
#include <string.h>

#include "anneal.h"

/* A walker with a number that is not finite gets zero density: its energies become infinite. */
static void mark_non_finite(eqf__walkers *w) {
    for (size_t b = 0; b < w->num; b++) {
        if (isnan(w->energy[b])) w->energy[b] = INFINITY;
        if (!isfinite(w->start_energy[b])) w->start_energy[b] = NAN;
    }
}

static void negate(size_t num, float *values) {
    for (size_t n = 0; n < num; n++) values[n] = -values[n];
}

static eqf_status evaluate_target(eqf__anneal_system *system, eqf__walkers *w, bool has_forces) {
    system->costs.energies += (double)w->num;
    return eqf_potential_evaluate(system->ctx, &system->target, w->num, w->x, w->energy, has_forces ? w->force : NULL);
}

eqf_status eqf__anneal_evaluate(eqf__anneal_system *system, eqf__walkers *w) {
    eqf__anneal_start *start = &system->start;
    if (start->flow == NULL) {
        system->costs.energies += (double)w->num;
        EQF__TRY(eqf_potential_evaluate(system->ctx, &start->potential, w->num, w->x, w->start_energy,
                                        system->has_forces ? w->start_force : NULL));
    } else if (system->has_forces) {
        system->costs.scores += (double)w->num;
        EQF__TRY(eqf_flow_score(start->flow, w->num, w->x, w->start_energy, w->z, w->start_force));
    } else {
        system->costs.log_probs += (double)w->num;
        EQF__TRY(eqf_flow_log_prob(start->flow, w->num, w->x, w->start_energy, w->z));
    }
    if (start->flow != NULL) negate(w->num, w->start_energy); /* E_start = -log q */
    EQF__TRY(evaluate_target(system, w, system->has_forces));
    mark_non_finite(w);
    return EQF_OK;
}

eqf_status eqf__anneal_evaluate_latents(eqf__anneal_system *system, eqf__walkers *w) {
    eqf_flow *flow = system->start.flow;
    system->costs.log_probs += (double)w->num;
    /* -log q(x) = log_det - log q0(z); start_energy holds log_det first. */
    EQF__TRY(eqf_flow_transform(flow, EQF_PRIOR_TO_DATA, w->num, w->z, w->x, w->start_energy));
    EQF__TRY(eqf_flow_prior_log_prob(flow, w->num, w->z, w->energy));
    for (size_t b = 0; b < w->num; b++) w->start_energy[b] -= w->energy[b];
    EQF__TRY(evaluate_target(system, w, false));
    mark_non_finite(w);
    return EQF_OK;
}

eqf_status eqf__anneal_draw(eqf__anneal_system *system, uint64_t seed, unsigned part, unsigned num_parts,
                            eqf__walkers *w) {
    const eqf__anneal_start *start = &system->start;
    if (start->flow != NULL) {
        EQF__TRY(eqf_flow_prior_sample(start->flow, seed, 0, w->num, w->z));
        return eqf__anneal_evaluate_latents(system, w);
    }
    const size_t begin = start->num_samples * part / num_parts,
                 num = start->num_samples * (part + 1) / num_parts - begin;
    const eqf__anneal_place place = {seed, EQF__ANNEAL_DRAW, 0, part};
    for (size_t b = 0; b < w->num; b++) {
        size_t row = (size_t)(eqf__anneal_uniform(place, b) * (double)num);
        if (row >= num) row = num - 1;
        memcpy(w->x + b * w->num_dof, start->x + (begin + row) * w->num_dof, w->num_dof * sizeof(float));
    }
    return eqf__anneal_evaluate(system, w);
}
