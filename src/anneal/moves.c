/* Moves of whole configurations that leave exp(-E_beta) invariant, of all walkers at once. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "anneal.h"

/* Metropolis: copies proposed walkers that are accepted into walkers; log_ratio [num]: logarithms of the acceptance
 * ratios. Returns the accepted fraction. */
static double take(eqf__walkers *walkers, const eqf__walkers *proposed, const double *log_ratio,
                   eqf__anneal_place place) {
    size_t num_taken = 0;
    for (size_t w = 0; w < walkers->num; w++) {
        if (!(log(eqf__anneal_uniform(place, w)) < log_ratio[w])) continue; /* NaN is rejected too */
        eqf__walkers_copy(proposed, w, walkers, w);
        num_taken++;
    }
    return walkers->num > 0 ? (double)num_taken / (double)walkers->num : NAN;
}

/* In latent space exp(-E_beta) is q0(z) exp(-beta (u + log q)). The proposal z cos a + xi sin a with xi from q0 leaves
 * q0 invariant (Neal, Bayesian Statistics 6 (1999) 475), so only the second factor enters the acceptance. */
eqf_status eqf__anneal_move_latents(eqf__anneal_system *system, eqf__walkers *walkers, eqf__walkers *proposed,
                                    double beta, double angle, eqf__anneal_place place, double *acceptance_out) {
    const float cosine = (float)cos(angle), sine = (float)sin(angle);
    EQF__TRY(eqf_flow_prior_sample(system->start.flow, eqf__anneal_seed(place), 0, walkers->num, proposed->z));
    for (size_t c = 0; c < walkers->num * walkers->num_dof; c++)
        proposed->z[c] = cosine * walkers->z[c] + sine * proposed->z[c];
    EQF__TRY(eqf__anneal_evaluate_latents(system, proposed));
    double *log_ratio = eqf__alloc(system->ctx, walkers->num, sizeof *log_ratio, "a move");
    if (log_ratio == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (size_t w = 0; w < walkers->num; w++) {
        const double before = (double)walkers->energy[w] - (double)walkers->start_energy[w];
        const double after = (double)proposed->energy[w] - (double)proposed->start_energy[w];
        /* A walker of zero density accepts any place of finite energy. */
        log_ratio[w] = isfinite(before) ? -beta * (after - before) : isfinite(after) ? 0 : NAN;
    }
    *acceptance_out = take(walkers, proposed, log_ratio, place);
    free(log_ratio);
    return EQF_OK;
}

/* The largest drift of a particle in units of sqrt(2 h): in a steep core the unbounded drift would be far too large. */
static const double most_drift = 2.0;

/* drift_out [N, D] = -h grad E_beta of a walker, bounded for each particle, mean-free. It is a function of x alone, so
 * the acceptance ratio is exact. */
static void drift_of(const eqf__anneal_system *system, const eqf__walkers *walkers, size_t w, double beta,
                     double step_size, double *drift_out) {
    const unsigned num_particles = system->num_particles, space_dim = system->space_dim;
    const float *force = walkers->force + w * system->num_dof,
                *start_force = walkers->start_force + w * system->num_dof;
    const double most = most_drift * sqrt(2 * step_size);
    double mean[3] = {0, 0, 0};
    for (unsigned i = 0; i < num_particles; i++) {
        double *drift = drift_out + i * space_dim, square = 0;
        for (unsigned d = 0; d < space_dim; d++) {
            const double start = start_force[i * space_dim + d], end = force[i * space_dim + d];
            drift[d] = step_size * (beta == 0 ? start : beta == 1 ? end : (1 - beta) * start + beta * end);
            square += drift[d] * drift[d];
        }
        const double scale = square > most * most ? most / sqrt(square) : 1;
        for (unsigned d = 0; d < space_dim; d++) {
            drift[d] = isfinite(square) ? drift[d] * scale : 0;
            mean[d] += drift[d] / num_particles;
        }
    }
    for (unsigned i = 0; i < num_particles; i++)
        for (unsigned d = 0; d < space_dim; d++) drift_out[i * space_dim + d] -= mean[d];
}

static void make_mean_free(const eqf__anneal_system *system, double *values) {
    for (unsigned d = 0; d < system->space_dim; d++) {
        double mean = 0;
        for (unsigned i = 0; i < system->num_particles; i++)
            mean += values[i * system->space_dim + d] / system->num_particles;
        for (unsigned i = 0; i < system->num_particles; i++) values[i * system->space_dim + d] -= mean;
    }
}

/* -|to - from - drift|^2 / 4h, the logarithm of the proposal's density up to a constant. */
static double log_proposal(size_t num_dof, const float *from, const float *to, const double *drift, double step_size) {
    double square = 0;
    for (size_t c = 0; c < num_dof; c++) {
        const double off = (double)to[c] - (double)from[c] - drift[c];
        square += off * off;
    }
    return -square / (4 * step_size);
}

/* Metropolis-adjusted Langevin (Roberts and Tweedie, Bernoulli 2 (1996) 341): x' = x - h grad E_beta + sqrt(2h) xi on
 * the mean-free subspace. */
eqf_status eqf__anneal_move_langevin(eqf__anneal_system *system, eqf__walkers *walkers, eqf__walkers *proposed,
                                     double beta, double step_size, eqf__anneal_place place, double *acceptance_out) {
    const size_t num = walkers->num, num_dof = walkers->num_dof;
    double *drift = eqf__alloc(system->ctx, 2 * num_dof + num, sizeof *drift, "a move");
    if (drift == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    double *noise = drift + num_dof, *log_ratio = noise + num_dof;
    for (size_t w = 0; w < num; w++) {
        drift_of(system, walkers, w, beta, step_size, drift);
        eqf__anneal_normals(place, w, num_dof, noise);
        make_mean_free(system, noise);
        for (size_t c = 0; c < num_dof; c++)
            proposed->x[w * num_dof + c] =
                (float)(walkers->x[w * num_dof + c] + drift[c] + sqrt(2 * step_size) * noise[c]);
        log_ratio[w] = -log_proposal(num_dof, walkers->x + w * num_dof, proposed->x + w * num_dof, drift, step_size);
    }
    const eqf_status status = eqf__anneal_evaluate(system, proposed);
    for (size_t w = 0; w < num && status == EQF_OK; w++) {
        drift_of(system, proposed, w, beta, step_size, drift);
        log_ratio[w] += log_proposal(num_dof, proposed->x + w * num_dof, walkers->x + w * num_dof, drift, step_size);
        const double before = eqf__anneal_energy(walkers, w, beta), after = eqf__anneal_energy(proposed, w, beta);
        log_ratio[w] = isfinite(before) ? log_ratio[w] + before - after : isfinite(after) ? 0 : NAN;
    }
    if (status == EQF_OK) *acceptance_out = take(walkers, proposed, log_ratio, place);
    free(drift);
    return status;
}
