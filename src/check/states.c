/* Known answers of exchanges between two states: energies of both states' configurations in both states, and the
 * exchanges that the host decides, in double, from the device's energies and the same random numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "host_potential.h"
#include "host_reference.h"

static const uint32_t stream_swap = 0x73746174u; /* as in cl/mcmc/states.cl */
static const uint64_t seed = 0xfedcba987654321u;
enum { NUM_LADDERS = 13, ROUND = 5, PAIR = 2 };
/* Buffers. Of the energies: of the low state at its own and at the high state's configurations, then of the high
 * one. */
enum {
    X_LOW,
    X_HIGH,
    LOW_OF_LOW,
    LOW_OF_HIGH,
    HIGH_OF_LOW,
    HIGH_OF_HIGH,
    WAY_LOW,
    WAY_HIGH,
    SWAPS,
    TRIPS,
    MOVES, /* counts the exchanges twice, as if they were accepted moves */
    NUM_BUFFERS
};

typedef struct states_problem {
    eqf__problem base;
    const eqf_potential_options *states[2]; /* low, high */
    const eqf__state_kernels *kernels;
    cl_uint num_blocks;
    size_t num_dof, lanes;
    double *h_x;                             /* [N*D]: scratch */
    float *x[2];                             /* [lanes, N*D]: before the exchanges */
    float *blocked[2];                       /* [num_blocks][N*D][V]: the same, then after the exchanges */
    float *energy[4];                        /* [lanes], in the order of the buffers */
    cl_uint *way[2], *swaps, *trips, *moves; /* [lanes] */
    cl_mem buffers[NUM_BUFFERS];
} states_problem;

/* As if configurations had been at the ends of their ladders before. */
static cl_uint way_before(unsigned state, size_t ladder) {
    return (cl_uint)((ladder + state) % 3);
}

static eqf_status make_room(states_problem *p) {
    eqf_context *ctx = p->base.ctx;
    const unsigned V = ctx->device->vector_width;
    p->num_dof = (size_t)p->states[0]->num_particles * p->states[0]->space_dim;
    p->num_blocks = (NUM_LADDERS + V - 1) / V;
    p->lanes = (size_t)p->num_blocks * V;
    float *reals = eqf__alloc(ctx, p->lanes * (4 * p->num_dof + 4), sizeof *reals, "the known answers");
    p->x[0] = reals;
    p->way[0] = eqf__alloc(ctx, p->lanes * 5, sizeof(cl_uint), "the known answers");
    p->h_x = eqf__alloc(ctx, p->num_dof, sizeof *p->h_x, "the known answers");
    if (reals == NULL || p->way[0] == NULL || p->h_x == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const size_t row = p->lanes * p->num_dof;
    p->x[1] = reals + row;
    for (unsigned s = 0; s < 2; s++) p->blocked[s] = reals + (2 + s) * row;
    for (unsigned e = 0; e < 4; e++) p->energy[e] = reals + 4 * row + e * p->lanes;
    p->way[1] = p->way[0] + p->lanes;
    p->swaps = p->way[1] + p->lanes;
    p->trips = p->swaps + p->lanes;
    p->moves = p->trips + p->lanes;
    return EQF_OK;
}

/* Lattices. Energies of different ladders are up to hundreds of kT apart, so that some exchanges are taken and some are
 * not: in every third ladder both states have the same configuration, and the exchange is certain. */
static void make_problem(states_problem *p) {
    const unsigned V = p->base.ctx->device->vector_width;
    for (unsigned s = 0; s < 2; s++)
        for (size_t lane = 0; lane < p->lanes; lane++) {
            double *x = p->h_x;
            eqf__host_lattice(p->states[s], (unsigned)(lane + (lane % 3 != 0 ? 100 * s : 0)), x);
            for (size_t c = 0; c < p->num_dof; c++) {
                p->x[s][lane * p->num_dof + c] = (float)x[c];
                p->blocked[s][(lane / V * p->num_dof + c) * V + lane % V] = (float)x[c];
            }
            p->way[s][lane] = way_before(s, lane);
        }
}

static eqf_status make(eqf__problem *problem, bool *can_tell_out) {
    states_problem *p = (states_problem *)problem;
    (void)can_tell_out;
    EQF__TRY(make_room(p));
    make_problem(p);
    return EQF_OK;
}

static eqf_status evaluate(states_problem *p, unsigned of, unsigned at, unsigned energy) {
    const eqf__kernel *kernel = of == 0 ? p->kernels->energy_low : p->kernels->energy_high;
    const size_t group = of == 0 ? p->kernels->group_low : p->kernels->group_high;
    cl_uint num_blocks = p->num_blocks;
    return EQF__LAUNCH(p->base.ctx, kernel, num_blocks, group, EQF__ARG(p->buffers[X_LOW + at]),
                       EQF__ARG(p->buffers[energy]), EQF__ARG(num_blocks));
}

static eqf_status run_device(states_problem *p) {
    eqf_context *ctx = p->base.ctx;
    const size_t row = p->lanes * p->num_dof * sizeof(float), reals = p->lanes * sizeof(float),
                 whole = p->lanes * sizeof(cl_uint);
    const struct {
        size_t num_bytes;
        void *data;
    } made[NUM_BUFFERS] = {{row, p->blocked[0]},  {row, p->blocked[1]},  {reals, p->energy[0]}, {reals, p->energy[1]},
                           {reals, p->energy[2]}, {reals, p->energy[3]}, {whole, p->way[0]},    {whole, p->way[1]},
                           {whole, p->swaps},     {whole, p->trips},     {whole, p->moves}};
    cl_mem *b = p->buffers;
    for (size_t m = 0; m < NUM_BUFFERS; m++)
        EQF__TRY(eqf__buffer_create(ctx, made[m].num_bytes, made[m].data, "the known answers", &b[m]));
    for (unsigned e = 0; e < 4; e++) EQF__TRY(evaluate(p, e / 2, e % 2, LOW_OF_LOW + e));
    cl_uint num_ladders = NUM_LADDERS, round = ROUND, k = PAIR;
    cl_uint seed_low = (cl_uint)seed, seed_high = (cl_uint)(seed >> 32);
    EQF__TRY(EQF__LAUNCH(ctx, p->kernels->swap, num_ladders, 0, EQF__ARG(b[X_LOW]), EQF__ARG(b[X_HIGH]),
                         EQF__ARG(b[LOW_OF_LOW]), EQF__ARG(b[LOW_OF_HIGH]), EQF__ARG(b[HIGH_OF_LOW]),
                         EQF__ARG(b[HIGH_OF_HIGH]), EQF__ARG(b[WAY_LOW]), EQF__ARG(b[WAY_HIGH]), EQF__ARG(b[SWAPS]),
                         EQF__ARG(num_ladders), EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(round), EQF__ARG(k)));
    EQF__TRY(EQF__LAUNCH(ctx, p->kernels->ways, num_ladders, 0, EQF__ARG(b[WAY_LOW]), EQF__ARG(b[WAY_HIGH]),
                         EQF__ARG(b[TRIPS]), EQF__ARG(num_ladders)));
    for (unsigned twice = 0; twice < 2; twice++)
        EQF__TRY(EQF__LAUNCH(ctx, p->kernels->count, num_ladders, 0, EQF__ARG(b[SWAPS]), EQF__ARG(b[MOVES]),
                             EQF__ARG(num_ladders)));
    for (size_t m = 0; m < NUM_BUFFERS; m++) EQF__TRY(eqf__buffer_read(ctx, b[m], 0, made[m].num_bytes, made[m].data));
    return EQF_OK;
}

EQF__ANSWER(state_energies) {
    states_problem *p = (states_problem *)problem;
    EQF__TRY(run_device(p));
    double *x = p->h_x;
    for (unsigned e = 0; e < 4; e++)
        for (size_t ladder = 0; ladder < NUM_LADDERS; ladder++) {
            for (size_t c = 0; c < p->num_dof; c++) x[c] = p->x[e % 2][ladder * p->num_dof + c];
            const double expected = eqf__host_energy(p->states[e / 2], x),
                         scale = 1 + fabs(expected) + p->states[0]->num_particles;
            *error_out = eqf__host_worse(*error_out, fabs(expected - (double)p->energy[e][ladder]) / scale);
        }
    return EQF_OK;
}

/* Whether the ladder's exchange is taken; *is_near_out: rounding may decide. */
static bool is_taken(const states_problem *p, size_t ladder, bool *is_near_out) {
    uint32_t words[4];
    eqf__host_words(seed, (const uint32_t[4]){(uint32_t)ladder, ROUND, PAIR, stream_swap}, words);
    const double uniform = ((words[0] >> 9) + 0.5) / 8388608.0,
                 change = ((double)p->energy[1][ladder] - (double)p->energy[0][ladder]) +
                          ((double)p->energy[2][ladder] - (double)p->energy[3][ladder]),
                 chance = exp(fmin(0, -change));
    *is_near_out = fabs(uniform - chance) < 1e-3;
    return uniform < chance;
}

/* The error is 0 if all of the ladder's numbers are right, else 1. */
static double error_of_ladder(const states_problem *p, size_t ladder) {
    const unsigned V = p->base.ctx->device->vector_width;
    bool is_near;
    const bool taken = is_taken(p, ladder, &is_near);
    if (is_near) return 0;
    cl_uint low = way_before(taken, ladder), high = way_before(!taken, ladder);
    bool is_right = p->trips[ladder] == (low == 2) && p->way[0][ladder] == 1 &&
                    p->way[1][ladder] == (high == 1 ? 2 : high) && p->swaps[ladder] == taken &&
                    p->moves[ladder] == 2 * (cl_uint)taken;
    for (unsigned s = 0; s < 2; s++)
        for (size_t c = 0; c < p->num_dof; c++)
            is_right = is_right && p->blocked[s][(ladder / V * p->num_dof + c) * V + ladder % V] ==
                                       p->x[taken ? 1 - s : s][ladder * p->num_dof + c];
    return is_right ? 0 : 1;
}

EQF__ANSWER(state_swaps) {
    const states_problem *p = (const states_problem *)problem;
    for (size_t ladder = 0; ladder < NUM_LADDERS; ladder++)
        *error_out = eqf__host_worse(*error_out, error_of_ladder(p, ladder));
    return EQF_OK;
}

eqf_status eqf__check_states(eqf__checker *checker, const eqf_potential_options *low, const eqf_potential_options *high,
                             const eqf__state_kernels *kernels) {
    if (!eqf__host_has_formula(low) || !eqf__host_has_formula(high)) return EQF_OK;
    eqf__program *const second = kernels->energy_high->program, *const first = kernels->energy_low->program;
    states_problem p = {.base = {.ctx = checker->ctx,
                                 .topic = EQF__TOPIC_STATES,
                                 .answers = EQF__ANSWERS_OF_VALUES,
                                 .programs = {first, second == first ? NULL : second},
                                 .plain = eqf__plain_width(checker->ctx),
                                 .make = make},
                        .states = {low, high},
                        .kernels = kernels};
    const eqf_status status = eqf__check(checker, &p.base);
    for (size_t b = 0; b < NUM_BUFFERS; b++) eqf__buffer_destroy(&p.buffers[b]);
    free(p.x[0]);
    free(p.h_x);
    free(p.way[0]);
    return status;
}
