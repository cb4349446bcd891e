/* Known answers of moves of single particles: the places of proposals, what they add to the start's potential, and the
 * decisions, from the same random numbers in double. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "answers.h"
#include "host_potential.h"
#include "host_reference.h"

/* As in cl/mcmc/particle.cl. */
static const uint32_t stream_displacement = 0x70617264u, stream_acceptance = 0x70617261u;
static const uint64_t seed = 0x13579bdf2468aceu;
static const double share_start = 0.375, share_target = 0.625;
enum { NUM = 13, STEP = 3, MOVE = 6, PARTICLE = 1 };
enum { X, ROWS, CHANGE, BEFORE, AFTER, ACCEPTED, NUM_BUFFERS };

typedef struct particles_problem {
    eqf__problem base;
    const eqf_potential_options *target, *start;
    const eqf__particle_kernels *kernels;
    cl_uint num_blocks;
    size_t num_dof, lanes;
    double step_size;
    double *h_x, *h_moved;                  /* [N*D]: scratch */
    float *x;                               /* [lanes, N*D]: before the moves */
    float *blocked, *rows;                  /* [num_blocks][N*D][V]: the same, then after the moves; [NUM, N*D] */
    float *change, *before, *after, *began; /* [lanes]; began: what is in before at the beginning */
    cl_uint *accepted;                      /* [lanes] */
    cl_mem buffers[NUM_BUFFERS];
} particles_problem;

/* ---- The host ---------------------------------------------------------------------------------------------------- */

/* h_x and h_moved: configuration b before and after its move; returns what the move adds to the potential. */
static double move_on_host(particles_problem *p, const eqf_potential_options *potential, size_t b) {
    const unsigned dim = potential->space_dim, num_particles = potential->num_particles;
    double normals[4];
    eqf__host_four_normals(seed, (uint64_t)STEP << 32 | b, MOVE, stream_displacement, normals);
    for (size_t c = 0; c < p->num_dof; c++) p->h_x[c] = p->h_moved[c] = p->x[b * p->num_dof + c];
    for (unsigned d = 0; d < dim; d++) p->h_moved[PARTICLE * dim + d] += (double)(float)p->step_size * normals[d];
    const double added = eqf__host_energy(potential, p->h_moved) - eqf__host_energy(potential, p->h_x);
    for (unsigned d = 0; d < dim; d++) {
        double mean = 0;
        for (unsigned i = 0; i < num_particles; i++) mean += p->h_moved[i * dim + d] / num_particles;
        for (unsigned i = 0; i < num_particles; i++) p->h_moved[i * dim + d] -= mean;
    }
    return added;
}

/* Energies of the start that make the logarithm of the acceptance ratio -2 ... 0.6, but for three configurations of
 * zero density before, after, and both. */
static void choose_start_energies(particles_problem *p) {
    for (size_t lane = 0; lane < p->lanes; lane++) {
        const size_t b = lane < NUM ? lane : NUM - 1;
        const double added = move_on_host(p, p->target, b), wanted = -2 + 0.2 * (double)b;
        p->began[lane] = p->before[lane] = b == 3 || b == 5 ? INFINITY : (float)(10 - (double)b);
        p->after[lane] =
            b == 4 || b == 5 ? INFINITY : (float)(10 - (double)b - (share_target * added + wanted) / share_start);
    }
}

/* ---- The device -------------------------------------------------------------------------------------------------- */

static eqf_status make_room(particles_problem *p) {
    eqf_context *ctx = p->base.ctx;
    const unsigned V = ctx->device->vector_width;
    p->num_dof = (size_t)p->target->num_particles * p->target->space_dim;
    p->num_blocks = (NUM + V - 1) / V;
    p->lanes = (size_t)p->num_blocks * V;
    const size_t row = p->lanes * p->num_dof;
    p->x = eqf__alloc(ctx, 3 * row + 4 * p->lanes, sizeof *p->x, "the known answers");
    p->h_x = eqf__alloc(ctx, 2 * p->num_dof, sizeof *p->h_x, "the known answers");
    p->accepted = eqf__alloc(ctx, p->lanes, sizeof *p->accepted, "the known answers");
    if (p->x == NULL || p->h_x == NULL || p->accepted == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    p->h_moved = p->h_x + p->num_dof;
    p->blocked = p->x + row;
    p->rows = p->blocked + row;
    p->change = p->rows + row;
    p->before = p->change + p->lanes;
    p->after = p->before + p->lanes;
    p->began = p->after + p->lanes;
    return EQF_OK;
}

/* Lattices; moves of a tenth of their spacing. */
static eqf_status make(eqf__problem *problem, bool *can_tell_out) {
    particles_problem *p = (particles_problem *)problem;
    (void)can_tell_out;
    EQF__TRY(make_room(p));
    const unsigned V = problem->ctx->device->vector_width, dim = p->target->space_dim;
    for (size_t lane = 0; lane < p->lanes; lane++) {
        eqf__host_lattice(p->target, lane < NUM ? (unsigned)lane : NUM - 1, p->h_x);
        for (size_t c = 0; c < p->num_dof; c++) {
            p->x[lane * p->num_dof + c] = (float)p->h_x[c];
            p->blocked[(lane / V * p->num_dof + c) * V + lane % V] = (float)p->h_x[c];
        }
    }
    double spacing = 0;
    for (unsigned d = 0; d < dim; d++) spacing = fmax(spacing, fabs((double)p->x[dim + d] - (double)p->x[d]));
    p->step_size = 0.1 * spacing;
    choose_start_energies(p);
    return EQF_OK;
}

static eqf_status run_device(particles_problem *p) {
    eqf_context *ctx = p->base.ctx;
    const size_t row = p->num_dof * sizeof(float), reals = p->lanes * sizeof(float);
    const struct {
        size_t num_bytes;
        void *data;
    } made[NUM_BUFFERS] = {
        {p->lanes * row, p->blocked}, {NUM * row, p->rows}, {reals, p->change},
        {reals, p->before},           {reals, p->after},    {p->lanes * sizeof(cl_uint), p->accepted}};
    cl_mem *b = p->buffers;
    for (size_t m = 0; m < NUM_BUFFERS; m++)
        EQF__TRY(eqf__buffer_create(ctx, made[m].num_bytes, made[m].data, "the known answers", &b[m]));
    const eqf__particle_kernels *k = p->kernels;
    cl_uint num_blocks = p->num_blocks, num = NUM, step = STEP, move = MOVE, particle = PARTICLE, is_whole = 1,
            seed_low = (cl_uint)seed, seed_high = (cl_uint)(seed >> 32);
    cl_float step_size = (cl_float)p->step_size, of_start = (cl_float)share_start, of_target = (cl_float)share_target;
    EQF__TRY(EQF__LAUNCH(ctx, &k->place, num_blocks, k->group_target, EQF__ARG(b[X]), EQF__ARG(b[ROWS]),
                         EQF__ARG(num_blocks), EQF__ARG(num), EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(step),
                         EQF__ARG(move), EQF__ARG(particle), EQF__ARG(step_size)));
    EQF__TRY(EQF__LAUNCH(ctx, &k->change, num_blocks, k->group_start, EQF__ARG(b[X]), EQF__ARG(b[CHANGE]),
                         EQF__ARG(num_blocks), EQF__ARG(seed_low), EQF__ARG(seed_high), EQF__ARG(step), EQF__ARG(move),
                         EQF__ARG(particle), EQF__ARG(step_size)));
    EQF__TRY(EQF__LAUNCH(ctx, &k->accept, num_blocks, k->group_target, EQF__ARG(b[X]), EQF__ARG(b[BEFORE]),
                         EQF__ARG(b[AFTER]), EQF__ARG(b[ACCEPTED]), EQF__ARG(num_blocks), EQF__ARG(seed_low),
                         EQF__ARG(seed_high), EQF__ARG(step), EQF__ARG(move), EQF__ARG(particle), EQF__ARG(step_size),
                         EQF__ARG(of_start), EQF__ARG(of_target), EQF__ARG(is_whole)));
    for (size_t m = 0; m < NUM_BUFFERS; m++) EQF__TRY(eqf__buffer_read(ctx, b[m], 0, made[m].num_bytes, made[m].data));
    return EQF_OK;
}

/* ---- The answers ------------------------------------------------------------------------------------------------- */

EQF__ANSWER(particle_places) {
    particles_problem *p = (particles_problem *)problem;
    EQF__TRY(run_device(p));
    for (size_t b = 0; b < NUM; b++) {
        move_on_host(p, p->target, b);
        for (size_t c = 0; c < p->num_dof; c++)
            *error_out = eqf__host_worse(*error_out, fabs(p->h_moved[c] - (double)p->rows[b * p->num_dof + c]) /
                                                         (1 + fabs(p->h_moved[c])));
    }
    return EQF_OK;
}

EQF__ANSWER(particle_changes) {
    particles_problem *p = (particles_problem *)problem;
    for (size_t b = 0; b < NUM; b++) {
        const double expected = move_on_host(p, p->start, b),
                     scale = 1 + fabs(eqf__host_energy(p->start, p->h_x)) + fabs(expected) + p->start->num_particles;
        *error_out = eqf__host_worse(*error_out, fabs(expected - (double)p->change[b]) / scale);
    }
    return EQF_OK;
}

/* The error is 0 if all numbers of configuration b are those of its decision, else 1. */
static double error_of_move(particles_problem *p, size_t b) {
    const unsigned V = p->base.ctx->device->vector_width;
    const double added = move_on_host(p, p->target, b),
                 log_ratio = -share_start * ((double)p->after[b] - (double)p->began[b]) - share_target * added;
    uint32_t words[4];
    eqf__host_words(seed, (const uint32_t[4]){(uint32_t)b, STEP, MOVE, stream_acceptance}, words);
    const double log_uniform = log(((words[0] >> 9) + 0.5) / 8388608.0);
    const bool is_taken = log_uniform < log_ratio; /* NaN is refused */
    if (fabs(log_uniform - log_ratio) < 1e-3 * (1 + fabs(added))) return 0;
    bool is_right = p->accepted[b] == is_taken && p->before[b] == (is_taken ? p->after[b] : p->began[b]);
    for (size_t c = 0; c < p->num_dof; c++)
        is_right = is_right &&
                   p->blocked[(b / V * p->num_dof + c) * V + b % V] == (is_taken ? p->rows : p->x)[b * p->num_dof + c];
    return is_right ? 0 : 1;
}

EQF__ANSWER(particle_moves) {
    particles_problem *p = (particles_problem *)problem;
    for (size_t b = 0; b < NUM; b++) *error_out = eqf__host_worse(*error_out, error_of_move(p, b));
    return EQF_OK;
}

eqf_status eqf__check_particles(eqf__checker *checker, const eqf_potential_options *target,
                                const eqf_potential_options *start, const eqf__particle_kernels *kernels) {
    if (!eqf__host_has_formula(target) || !eqf__host_has_formula(start)) return EQF_OK;
    eqf__program *const first = kernels->accept.program, *const second = kernels->change.program;
    particles_problem p = {.base = {.ctx = checker->ctx,
                                    .topic = EQF__TOPIC_PARTICLES,
                                    .answers = EQF__ANSWERS_OF_VALUES,
                                    .programs = {first, second == first ? NULL : second},
                                    .plain = eqf__plain_width(checker->ctx),
                                    .make = make},
                           .target = target,
                           .start = start,
                           .kernels = kernels};
    const eqf_status status = eqf__check(checker, &p.base);
    for (size_t b = 0; b < NUM_BUFFERS; b++) eqf__buffer_destroy(&p.buffers[b]);
    free(p.x);
    free(p.h_x);
    free(p.accepted);
    return status;
}
