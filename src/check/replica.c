/* Known answers of replica exchange: the host draws the same random numbers and takes the same decisions in double. A
 * chain in which rounding may change a decision (a uniform number close to its probability) is left out; few are. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "host_potential.h"
#include "host_reference.h"

/* As in cl/mcmc: streams of random numbers, the interval at which centres are removed. */
static const uint32_t stream_sweep = 0x6d637377u, stream_swap = 0x73776170u;
enum { CENTRE_INTERVAL = 64 };
enum { NUM_TEMPERATURES = 3, NUM_SWEEPS = 2, FIRST_SWEEP = CENTRE_INTERVAL - 1, ROUND = 1 };
static const uint64_t seed = 0x123456789abcdefu;
static const double doubtful = 2e-3; /* if a uniform number is nearer to its probability, the decision is left out */

/* The problem with the results of the device and of the host. */
typedef struct replica_problem {
    eqf__problem base;
    eqf_context *ctx;
    const eqf_potential_options *potential;
    const eqf__replica_kernels *kernels;
    cl_uint num_ladders, num_chains, num_blocks;
    size_t num_dof, lanes;
    float factors[NUM_TEMPERATURES], steps[NUM_TEMPERATURES];
    float *x_blocked, *factor_of, *step_of, *energy; /* [num_blocks][...][V] */
    cl_uint *accepted, *chain_at, *moves, *swaps, *way, *trips;
    cl_mem buffers[12];
    double *h_x;                /* [num_chains, N*D] */
    double *h_energy;           /* [num_chains] */
    cl_uint *h_accepted;        /* [num_chains] */
    unsigned char *is_doubtful; /* [num_chains] */
} replica_problem;

/* Start values of `way`: as if some chains had been at the ends of their ladders. */
static cl_uint way_before(size_t chain) {
    return (cl_uint)((chain + chain / NUM_TEMPERATURES) % 3);
}

static double uniform_of(uint32_t word) {
    return ((word >> 9) + 0.5) / 8388608.0;
}

/* ---- The host ---------------------------------------------------------------------------------------------------- */

/* One proposed move of one particle of one chain. */
static void offer(replica_problem *p, unsigned chain, unsigned sweep, unsigned particle) {
    const unsigned dim = p->potential->space_dim;
    const unsigned k = chain % NUM_TEMPERATURES;
    double *x = p->h_x + chain * p->num_dof, kept[3];
    uint32_t words[4];
    eqf__host_words(seed, (const uint32_t[4]){chain, sweep, particle, stream_sweep}, words);
    const double before = eqf__host_energy(p->potential, x);
    for (unsigned d = 0; d < dim; d++) {
        kept[d] = x[particle * dim + d];
        x[particle * dim + d] += (double)p->steps[k] * sqrt(12) * (uniform_of(words[d]) - 0.5);
    }
    const double change = eqf__host_energy(p->potential, x) - before,
                 chance = exp(-fmax(0, (double)p->factors[k] * change)), uniform = uniform_of(words[3]);
    if (change > -1e-4 && fabs(uniform - chance) < doubtful) p->is_doubtful[chain] = 1;
    if (change > 0 && uniform >= chance)
        memcpy(x + particle * dim, kept, dim * sizeof *kept);
    else
        p->h_accepted[chain]++;
}

static void remove_centre(const replica_problem *p, double *x) {
    const unsigned dim = p->potential->space_dim, num_particles = p->potential->num_particles;
    for (unsigned d = 0; d < dim; d++) {
        double mean = 0;
        for (unsigned i = 0; i < num_particles; i++) mean += x[i * dim + d] / num_particles;
        for (unsigned i = 0; i < num_particles; i++) x[i * dim + d] -= mean;
    }
}

static void run_host(replica_problem *p) {
    for (unsigned chain = 0; chain < p->num_chains; chain++) {
        for (unsigned sweep = FIRST_SWEEP; sweep < FIRST_SWEEP + NUM_SWEEPS; sweep++) {
            for (unsigned i = 0; i < p->potential->num_particles; i++) offer(p, chain, sweep, i);
            if ((sweep + 1) % CENTRE_INTERVAL == 0) remove_centre(p, p->h_x + chain * p->num_dof);
        }
        p->h_energy[chain] = eqf__host_energy(p->potential, p->h_x + chain * p->num_dof);
    }
}

/* ---- The device -------------------------------------------------------------------------------------------------- */

static eqf_status make_room(replica_problem *p) {
    eqf_context *ctx = p->ctx;
    const unsigned V = ctx->device->vector_width;
    p->num_dof = (size_t)p->potential->num_particles * p->potential->space_dim;
    p->num_ladders = 8;
    p->num_chains = p->num_ladders * NUM_TEMPERATURES;
    p->num_blocks = (p->num_chains + V - 1) / V;
    p->lanes = (size_t)p->num_blocks * V;
    p->x_blocked = eqf__alloc(ctx, p->lanes * (p->num_dof + 3), sizeof(float), "the known answers");
    p->accepted =
        eqf__alloc(ctx, p->lanes * 2 + 3 * p->num_chains + p->num_ladders, sizeof(cl_uint), "the known answers");
    p->h_x = eqf__alloc(ctx, p->num_chains * (p->num_dof + 1), sizeof(double), "the known answers");
    p->h_accepted = eqf__alloc(ctx, p->num_chains, sizeof(cl_uint), "the known answers");
    p->is_doubtful = eqf__alloc(ctx, p->num_chains, 1, "the known answers");
    if (p->x_blocked == NULL || p->accepted == NULL || p->h_x == NULL || p->h_accepted == NULL ||
        p->is_doubtful == NULL)
        return EQF_ERROR_OUT_OF_MEMORY;
    p->factor_of = p->x_blocked + p->lanes * p->num_dof;
    p->step_of = p->factor_of + p->lanes;
    p->energy = p->step_of + p->lanes;
    p->way = p->accepted + p->lanes;
    p->chain_at = p->way + p->lanes;
    p->moves = p->chain_at + p->num_chains;
    p->swaps = p->moves + p->num_chains;
    p->trips = p->swaps + p->num_chains;
    p->h_energy = p->h_x + p->num_chains * p->num_dof;
    return EQF_OK;
}

/* Lattices, which the host keeps as rounded for the device; the step size is such that some moves are taken and some
 * are not. */
static void make_problem(replica_problem *p) {
    const unsigned V = p->ctx->device->vector_width, dim = p->potential->space_dim;
    for (unsigned chain = 0; chain < p->num_chains; chain++) {
        double *x = p->h_x + chain * p->num_dof;
        eqf__host_lattice(p->potential, chain, x);
        for (size_t c = 0; c < p->num_dof; c++) x[c] = (double)(float)x[c];
        p->chain_at[chain] = chain % NUM_TEMPERATURES;
    }
    double square = 0; /* of the distance of the first two particles */
    for (unsigned d = 0; d < dim; d++) square += pow(p->h_x[d] - p->h_x[dim + d], 2);
    for (unsigned k = 0; k < NUM_TEMPERATURES; k++) {
        p->factors[k] = (float)(1.0 / (1 + 0.5 * k));
        p->steps[k] = (float)((0.05 + 0.03 * k) * sqrt(square));
    }
    for (size_t lane = 0; lane < p->lanes; lane++) {
        const size_t chain = lane < p->num_chains ? lane : p->num_chains - 1;
        for (size_t c = 0; c < p->num_dof; c++)
            p->x_blocked[(lane / V * p->num_dof + c) * V + lane % V] = (float)p->h_x[chain * p->num_dof + c];
        p->factor_of[lane] = p->factors[chain % NUM_TEMPERATURES];
        p->step_of[lane] = p->steps[chain % NUM_TEMPERATURES];
        p->way[lane] = way_before(lane);
    }
}

static eqf_status run_device(replica_problem *p) {
    eqf_context *ctx = p->ctx;
    const size_t chains = p->num_chains * sizeof(cl_uint), lanes = p->lanes * sizeof(float);
    const struct {
        size_t num_bytes;
        const void *data;
    } made[] = {{lanes * p->num_dof, p->x_blocked},
                {lanes, p->factor_of},
                {lanes, p->step_of},
                {lanes, p->accepted},
                {lanes, p->energy},
                {sizeof p->factors, p->factors},
                {sizeof p->steps, p->steps},
                {chains, p->chain_at},
                {chains, p->moves},
                {chains, p->swaps},
                {lanes, p->way},
                {p->num_ladders * sizeof(cl_uint), p->trips}};
    for (size_t m = 0; m < sizeof made / sizeof made[0]; m++)
        EQF__TRY(eqf__buffer_create(ctx, made[m].num_bytes, made[m].data, "the known answers", &p->buffers[m]));
    cl_uint num_blocks = p->num_blocks, first_sweep = FIRST_SWEEP, num_sweeps = NUM_SWEEPS, is_centred = 1,
            round = ROUND, is_swapping = 1, num_ladders = p->num_ladders, num_temperatures = NUM_TEMPERATURES;
    cl_uint seed_low = (cl_uint)seed, seed_high = (cl_uint)(seed >> 32);
    cl_mem *b = p->buffers;
    EQF__TRY(EQF__LAUNCH(ctx, p->kernels->sweeps, num_blocks, p->kernels->group_size, EQF__ARG(b[0]), EQF__ARG(b[1]),
                         EQF__ARG(b[2]), EQF__ARG(b[3]), EQF__ARG(b[4]), EQF__ARG(num_blocks), EQF__ARG(seed_low),
                         EQF__ARG(seed_high), EQF__ARG(first_sweep), EQF__ARG(num_sweeps), EQF__ARG(is_centred)));
    EQF__TRY(EQF__LAUNCH(ctx, p->kernels->swap, num_ladders, 0, EQF__ARG(b[4]), EQF__ARG(b[3]), EQF__ARG(b[5]),
                         EQF__ARG(b[6]), EQF__ARG(b[1]), EQF__ARG(b[2]), EQF__ARG(b[7]), EQF__ARG(b[8]), EQF__ARG(b[9]),
                         EQF__ARG(b[10]), EQF__ARG(b[11]), EQF__ARG(num_ladders), EQF__ARG(num_temperatures),
                         EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(round), EQF__ARG(is_swapping)));
    void *const read[] = {p->x_blocked, p->factor_of, p->step_of, p->accepted, p->energy, NULL,
                          NULL,         p->chain_at,  p->moves,   p->swaps,    p->way,    p->trips};
    for (size_t m = 0; m < sizeof read / sizeof read[0]; m++)
        if (read[m] != NULL) EQF__TRY(eqf__buffer_read(ctx, b[m], 0, made[m].num_bytes, read[m]));
    return EQF_OK;
}

/* ---- Comparison -------------------------------------------------------------------------------------------------- */

/* The error of positions and energies of the chains that are not left out; NaN if those are too few. */
static double error_of_sweeps(const replica_problem *p) {
    const unsigned V = p->ctx->device->vector_width;
    double worst = 0;
    unsigned num_compared = 0;
    for (unsigned chain = 0; chain < p->num_chains; chain++) {
        if (p->is_doubtful[chain]) continue;
        num_compared++;
        const double expected = p->h_energy[chain], found = (double)p->energy[chain];
        worst = eqf__host_worse(worst, fabs(found - expected) / (1 + fabs(expected) + p->potential->num_particles));
        worst = eqf__host_worse(worst, p->accepted[chain] != p->h_accepted[chain]);
        for (size_t c = 0; c < p->num_dof; c++) {
            const double x = p->h_x[chain * p->num_dof + c];
            worst = eqf__host_worse(
                worst, fabs((double)p->x_blocked[(chain / V * p->num_dof + c) * V + chain % V] - x) / (1 + fabs(x)));
        }
    }
    return num_compared >= p->num_chains / 4 ? worst : NAN;
}

/* Exchanges by the device's own energies: the error is 0 if all whole numbers are right, else 1. */
static double error_of_ladder(const replica_problem *p, unsigned ladder) {
    const unsigned first = ladder * NUM_TEMPERATURES;
    unsigned at[NUM_TEMPERATURES], num_swaps[NUM_TEMPERATURES] = {0};
    for (unsigned k = 0; k < NUM_TEMPERATURES; k++) at[k] = k;
    for (unsigned k = ROUND % 2; k + 1 < NUM_TEMPERATURES; k += 2) {
        uint32_t words[4];
        eqf__host_words(seed, (const uint32_t[4]){ladder, ROUND, k, stream_swap}, words);
        const double chance =
            exp(fmin(0, ((double)p->factors[k] - (double)p->factors[k + 1]) *
                            ((double)p->energy[first + at[k]] - (double)p->energy[first + at[k + 1]])));
        if (fabs(uniform_of(words[0]) - chance) < 1e-5) return 0;
        if (uniform_of(words[0]) >= chance) continue;
        const unsigned low = at[k];
        at[k] = at[k + 1];
        at[k + 1] = low;
        num_swaps[k]++;
    }
    const unsigned lowest = first + at[0], highest = first + at[NUM_TEMPERATURES - 1];
    bool is_right = p->trips[ladder] == (way_before(lowest) == 2) && p->way[lowest] == 1 &&
                    p->way[highest] == (way_before(highest) == 1 ? 2 : way_before(highest));
    for (unsigned k = 0; k < NUM_TEMPERATURES; k++) {
        const unsigned chain = first + at[k];
        is_right = is_right && p->chain_at[first + k] == at[k] && p->swaps[first + k] == num_swaps[k] &&
                   p->moves[first + k] == p->accepted[first + k] && p->factor_of[chain] == p->factors[k] &&
                   p->step_of[chain] == p->steps[k];
    }
    return is_right ? 0 : 1;
}

static void clear(replica_problem *p) {
    for (size_t b = 0; b < sizeof p->buffers / sizeof p->buffers[0]; b++) eqf__buffer_destroy(&p->buffers[b]);
    free(p->x_blocked);
    free(p->accepted);
    free(p->h_x);
    free(p->h_accepted);
    free(p->is_doubtful);
}

static eqf_status make(eqf__problem *problem, bool *can_tell_out) {
    replica_problem *p = (replica_problem *)problem;
    (void)can_tell_out;
    EQF__TRY(make_room(p));
    make_problem(p);
    return EQF_OK;
}

EQF__ANSWER(replica_sweeps) {
    replica_problem *p = (replica_problem *)problem;
    EQF__TRY(run_device(p));
    run_host(p);
    *error_out = error_of_sweeps(p);
    return EQF_OK;
}

/* Compares the exchanges with the device's results. */
EQF__ANSWER(replica_swaps) {
    const replica_problem *p = (const replica_problem *)problem;
    for (unsigned ladder = 0; ladder < p->num_ladders; ladder++)
        *error_out = eqf__host_worse(*error_out, error_of_ladder(p, ladder));
    return EQF_OK;
}

eqf_status eqf__check_replicas(eqf__checker *checker, const eqf_potential_options *potential,
                               const eqf__replica_kernels *kernels) {
    if (!eqf__host_has_formula(potential)) return EQF_OK;
    replica_problem p = {.base = {.ctx = checker->ctx,
                                  .topic = EQF__TOPIC_REPLICAS,
                                  .answers = EQF__ANSWERS_OF_VALUES,
                                  .programs = {kernels->sweeps->program},
                                  .plain = eqf__plain_width(checker->ctx),
                                  .make = make},
                         .ctx = checker->ctx,
                         .potential = potential,
                         .kernels = kernels};
    const eqf_status status = eqf__check(checker, &p.base);
    clear(&p);
    return status;
}
