/* Moves of single particles: sweeps against the same decisions in double, with a start that is a potential and with one
 * that the caller computes of the whole; the centre of mass; zero density; the same bits for every vector width. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "host_reference.h"
#include "particles.h"
#include "support.h"

enum { NUM = 37, SWEEPS = 2, MOST_DOF = 39 };
static const uint64_t seed = 0x2468ace13579bdfu;
static const double step_size = 0.1, beta = 0.4;

/* E_start that is no potential: it depends on the whole and on nothing else. */
static double whole_energy(size_t num_dof, const double *x) {
    double sum = 0, cubes = 0;
    for (size_t c = 0; c < num_dof; c++) {
        sum += x[c] * x[c];
        cubes += x[c] * x[c] * x[c];
    }
    return sum + 0.3 * sin(cubes);
}

typedef struct sweeps_of {
    const eqf_potential_options *target, *start; /* start NULL: whole_energy */
    size_t num_dof;
    float *x;         /* [NUM, N*D] */
    double *wide;     /* the same for the host */
    bool *is_unclear; /* [NUM]: rounding may have decided */
    double num_taken; /* by the host, of the others */
} sweeps_of;

static double start_energy(const sweeps_of *t, const double *x) {
    return t->start != NULL ? ref_potential_energy(t->start, x, NULL) : whole_energy(t->num_dof, x);
}

/* One move of configuration b on the host, as docs/anneal.md describes it. */
static void move_on_host(sweeps_of *t, size_t b, const eqf__particle_move *move) {
    const unsigned dim = t->target->space_dim, num_particles = t->target->num_particles;
    double *x = t->wide + b * t->num_dof, moved[MOST_DOF], normals[4];
    memcpy(moved, x, t->num_dof * sizeof *x);
    eqf__host_four_normals(seed, (uint64_t)move->step << 32 | b, move->move, 0x70617264u, normals);
    for (unsigned d = 0; d < dim; d++) moved[move->particle * dim + d] += (double)(float)step_size * normals[d];
    for (unsigned d = 0; d < dim; d++) {
        double mean = 0;
        for (unsigned i = 0; i < num_particles; i++) mean += moved[i * dim + d] / num_particles;
        for (unsigned i = 0; i < num_particles; i++) moved[i * dim + d] -= mean;
    }
    const double of_start = start_energy(t, moved) - start_energy(t, x),
                 of_target = ref_potential_energy(t->target, moved, NULL) - ref_potential_energy(t->target, x, NULL),
                 log_ratio = -(1 - beta) * of_start - beta * of_target;
    uint32_t words[4];
    eqf__host_words(seed, (const uint32_t[4]){(uint32_t)b, move->step, move->move, 0x70617261u}, words);
    const double log_uniform = log(((words[0] >> 9) + 0.5) / 8388608.0);
    if (fabs(log_uniform - log_ratio) < 2e-4 * (1 + fabs(of_target) + fabs(of_start))) t->is_unclear[b] = true;
    if (!(log_uniform < log_ratio)) return;
    memcpy(x, moved, t->num_dof * sizeof *x);
    t->num_taken++;
}

/* The device decides, move by move. */
static void move_on_device(eqf_context *ctx, sweeps_of *t, eqf__particles *particles, const eqf__particle_move *move) {
    float *proposed = test_output(NUM * t->num_dof), energy[NUM];
    if (t->start == NULL) {
        TEST_OK(ctx, eqf__particles_propose(particles, move, proposed));
        test_output_end(NUM * t->num_dof, proposed);
        for (size_t b = 0; b < NUM; b++) {
            double x[MOST_DOF];
            for (size_t c = 0; c < t->num_dof; c++) x[c] = proposed[b * t->num_dof + c];
            energy[b] = (float)whole_energy(t->num_dof, x);
        }
    }
    TEST_OK(ctx, eqf__particles_decide(particles, move, t->start == NULL ? energy : NULL));
    free(proposed);
}

/* Sweeps on the device into t->x, and on the host into t->wide; returns the device's acceptance. */
static double sweep(eqf_context *ctx, sweeps_of *t) {
    eqf__checker checker = eqf__checker_of(ctx);
    eqf__particles particles;
    float energy[NUM], energy_out[NUM];
    double acceptance;
    TEST_OK(ctx, eqf__particles_create(&checker, t->target, t->start, NUM, &particles));
    for (size_t b = 0; b < NUM; b++) energy[b] = (float)start_energy(t, t->wide + b * t->num_dof);
    TEST_OK(ctx, eqf__particles_put(&particles, t->x, t->start == NULL ? energy : NULL));
    for (unsigned m = 0; m < SWEEPS * t->target->num_particles; m++) {
        const eqf__particle_move move = {seed, 9, m, m % t->target->num_particles, step_size, 1 - beta, beta};
        for (size_t b = 0; b < NUM; b++) move_on_host(t, b, &move);
        move_on_device(ctx, t, &particles, &move);
    }
    TEST_OK(ctx, eqf__particles_take(&particles, t->x, t->start == NULL ? energy_out : NULL, &acceptance));
    for (size_t b = 0; b < NUM && t->start == NULL; b++)
        if (!t->is_unclear[b])
            assert_true(fabs((double)energy_out[b] - whole_energy(t->num_dof, t->wide + b * t->num_dof)) < 1e-3);
    eqf__particles_clear(&particles);
    return acceptance;
}

static sweeps_of begin(const test_system *system, const eqf_potential_options *target,
                       const eqf_potential_options *start) {
    sweeps_of t = {.target = target, .start = start, .num_dof = (size_t)system->num_particles * system->space_dim};
    t.x = test_configurations(system, NUM, 7);
    t.wide = test_to_double(NUM * t.num_dof, t.x);
    t.is_unclear = calloc(NUM, sizeof *t.is_unclear);
    assert_non_null(t.is_unclear);
    return t;
}

static void end(sweeps_of *t) {
    free(t->x);
    free(t->wide);
    free(t->is_unclear);
}

static void test_decisions(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const char *const names[] = {"dw4", "lj13"};
    for (unsigned turn = 0; turn < 4; turn++) {
        const test_system *system = test_system_named(names[turn / 2]);
        const eqf_potential_options target = eqf_preset_find(names[turn / 2])->model->potential;
        eqf_potential_options start = target;
        start.temperature *= 3;
        start.r_min *= 0.9; /* two sets of constants, two programs */
        start.quadratic *= 0.9;
        sweeps_of t = begin(system, &target, turn % 2 == 0 ? &start : NULL);
        const double acceptance = sweep(ctx, &t);
        test_worst worst = TEST_WORST_INIT(2e-5);
        unsigned num_clear = 0;
        for (size_t b = 0; b < NUM; b++) {
            num_clear += !t.is_unclear[b];
            for (size_t c = 0; c < t.num_dof && !t.is_unclear[b]; c++)
                test_compare(&worst, b, fabs((double)t.x[b * t.num_dof + c] - t.wide[b * t.num_dof + c]));
        }
        const double of_host = t.num_taken / (double)(SWEEPS * NUM * system->num_particles);
        print_message("acceptance %.3f, of the host %.3f; %u of %u clear\n", acceptance, of_host, num_clear, NUM);
        assert_true(num_clear > NUM / 2 && acceptance > 0.05 && acceptance < 0.95);
        assert_true(fabs(acceptance - of_host) < 0.05);
        assert_true(test_report(&worst, "%s, start %s: places after %d sweeps", names[turn / 2],
                                turn % 2 == 0 ? "a potential" : "computed of the whole", SWEEPS));
        end(&t);
    }
}

/* A start of zero density is left for any other place, and never entered. */
static void test_zero_density(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const test_system *system = test_system_named("dw4");
    const eqf_potential_options target = eqf_preset_find("dw4")->model->potential;
    sweeps_of t = begin(system, &target, NULL);
    eqf__checker checker = eqf__checker_of(ctx);
    eqf__particles particles;
    float before[NUM], after[NUM], energy[NUM], *x = test_floats(NUM * t.num_dof);
    double acceptance;
    TEST_OK(ctx, eqf__particles_create(&checker, &target, NULL, NUM, &particles));
    for (size_t b = 0; b < NUM; b++) {
        before[b] = b % 4 == 0 ? NAN : b % 4 == 1 ? INFINITY : 1;
        after[b] = b % 2 == 0 ? NAN : 2;
    }
    TEST_OK(ctx, eqf__particles_put(&particles, t.x, before));
    const eqf__particle_move move = {seed, 0, 0, 2, 1e-3, 1e-3, 1e-3};
    TEST_OK(ctx, eqf__particles_decide(&particles, &move, after));
    TEST_OK(ctx, eqf__particles_take(&particles, x, energy, &acceptance));
    for (size_t b = 0; b < NUM; b++) {
        const bool has_moved = memcmp(x + b * t.num_dof, t.x + b * t.num_dof, t.num_dof * sizeof *x) != 0;
        if (b % 2 == 0 && has_moved) fail_msg("configuration %zu went to a place of zero density", b);
        if (b % 4 == 1 && (!has_moved || energy[b] != 2)) fail_msg("configuration %zu stayed at zero density", b);
    }
    eqf__particles_clear(&particles);
    free(x);
    end(&t);
}

static void test_same_bits(void **state) {
    (void)state;
    const test_system *system = test_system_named("dw4");
    const eqf_potential_options target = eqf_preset_find("dw4")->model->potential;
    float *first = NULL;
    for (unsigned width = 1; width <= 8; width += 7) {
        eqf_context *ctx;
        const char *device = getenv("EQFLOW_DEVICE");
        TEST_OK(NULL, eqf_context_create(NULL, &ctx));
        TEST_OK(ctx, eqf_context_set_profile(ctx, width == 1 ? "vector_width=1" : "vector_width=8"));
        TEST_OK(ctx, eqf_context_open_device(ctx, device != NULL ? device : "auto"));
        sweeps_of t = begin(system, &target, NULL);
        sweep(ctx, &t);
        if (width == 1) {
            first = test_floats(NUM * t.num_dof);
            memcpy(first, t.x, NUM * t.num_dof * sizeof *first);
        } else if (memcmp(first, t.x, NUM * t.num_dof * sizeof *first) != 0) {
            fail_msg("another vector width gave other bits");
        }
        end(&t);
        eqf_context_destroy(&ctx);
    }
    free(first);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decisions),
        cmocka_unit_test(test_zero_density),
        cmocka_unit_test(test_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
