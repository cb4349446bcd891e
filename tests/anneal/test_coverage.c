/* Do annealing's error bars hold? From a flow that knows nothing (its ESS is below 0.01) to a target whose integrals
 * are known by quadrature, with 100 seeds: how many of the results lie within one, two and three of their own standard
 * errors? Long: minutes of one core. EQF_COVERAGE_SEEDS: another number of seeds; EQF_COVERAGE_CASE: one of the tests
 * below. */
#include <math.h>
#include <stdlib.h>

#include "support.h"

enum { NUM_SEEDS = 100 };

/* ---- Quadrature -------------------------------------------------------------------------------------------------- */

/* Reduced energy of one pair: U of two particles at distance d, over T. */
static double pair(const eqf_potential_options *potential, double d) {
    const double offset = d - potential->distance_offset, square = offset * offset;
    return (potential->linear * offset + potential->quadratic * square + potential->quartic * square * square) /
           potential->temperature;
}

/* Three particles on a line, mean-free: free coordinates a, b along orthonormal directions. Where two particles pass
 * each other the energy has a kink, so the error of equal steps shrinks as their square. */
static void integrate_line(const eqf_potential_options *potential, double step, double *log_z, double *mean_energy) {
    const double reach = 12, low = -14;
    double z = 0, energy = 0;
    for (double a = -reach; a <= reach; a += step)
        for (double b = -reach; b <= reach; b += step) {
            const double x[3] = {a / sqrt(2) + b / sqrt(6), -a / sqrt(2) + b / sqrt(6), -2 * b / sqrt(6)};
            const double u = pair(potential, fabs(x[0] - x[1])) + pair(potential, fabs(x[0] - x[2])) +
                             pair(potential, fabs(x[1] - x[2]));
            z += exp(low - u);
            energy += exp(low - u) * u;
        }
    *log_z = log(z * step * step) - low;
    *mean_energy = energy / z;
}

/* A place of one more particle beside the first two, which are at (0, 0) and (r, 0). */
typedef struct place {
    double x, y, u; /* u: of its two pairs */
} place;

/* Four particles in a plane. In coordinates relative to the first particle, with the second at (r, 0),
 *   Z = N^(-D/2) integral 2 pi r dr dp dq exp(-u),
 * p and q the places of the others; N^(-D/2) is the ratio of volumes, mean-free to relative coordinates. The sums over
 * equal steps are exact to far more digits than annealing has: a well is two steps wide. */
static void integrate_plane(const eqf_potential_options *potential, double step, double *log_z, double *mean_energy) {
    const double reach = 8, most = 14, low = -25; /* pairs and places of higher energies have no share */
    const size_t side = (size_t)(2 * reach / step) + 1;
    place *places = malloc(side * side * sizeof *places);
    double z = 0, energy = 0;
    assert_non_null(places);
    for (double r = step; r <= reach; r += step) {
        const double u_r = pair(potential, r);
        size_t num = 0;
        for (size_t i = 0; i < side; i++)
            for (size_t j = 0; j < side; j++) {
                const double x = -reach + (double)i * step, y = -reach + (double)j * step;
                const double u = pair(potential, hypot(x, y)) + pair(potential, hypot(x - r, y));
                if (u < most) places[num++] = (place){x, y, u};
            }
        for (size_t p = 0; p < num; p++)
            for (size_t q = 0; q < num; q++) {
                const double u = u_r + places[p].u + places[q].u +
                                 pair(potential, hypot(places[p].x - places[q].x, places[p].y - places[q].y));
                if (u > low + 40) continue;
                const double weight = r * exp(low - u);
                z += weight;
                energy += weight * u;
            }
    }
    free(places);
    *log_z = log(2 * 3.141592653589793 * z / 4) + 5 * log(step) - low;
    *mean_energy = energy / z;
}

/* ---- Annealing --------------------------------------------------------------------------------------------------- */

/* Counts of results within 1, 2 and 3 of their errors, and the mean square of (result - known) / error. */
typedef struct coverage {
    unsigned within[3];
    double squares, sum;
} coverage;

static void count(coverage *c, double value, double error, double known) {
    const double off = (value - known) / error;
    for (unsigned s = 0; s < 3; s++) c->within[s] += fabs(off) <= s + 1;
    c->squares += off * off;
    c->sum += off;
}

static unsigned num_seeds(void) {
    const char *text = getenv("EQF_COVERAGE_SEEDS");
    const long wanted = text != NULL ? strtol(text, NULL, 10) : NUM_SEEDS;
    return wanted >= 1 && wanted <= 100000 ? (unsigned)wanted : NUM_SEEDS;
}

static double ess_of_flow(eqf_context *ctx, eqf_flow *flow, const eqf_potential_options *target) {
    enum { NUM = 20000 };
    const size_t num_dof = (size_t)target->num_particles * target->space_dim;
    float *x = test_floats(NUM * num_dof), *log_prob = test_floats(NUM), *energy = test_floats(NUM);
    double *log_weights = malloc(NUM * sizeof *log_weights);
    eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    TEST_OK(ctx, eqf_flow_sample(flow, 5, 0, NUM, x, log_prob));
    TEST_OK(ctx, eqf_potential_evaluate(ctx, target, NUM, x, energy, NULL));
    for (size_t b = 0; b < NUM; b++) log_weights[b] = -(double)energy[b] - (double)log_prob[b];
    assert_int_equal(eqf_estimate_weights(NUM, log_weights, &summary), EQF_OK);
    free(x);
    free(log_prob);
    free(energy);
    free(log_weights);
    return summary.ess_fraction;
}

static eqf_anneal_result anneal(eqf_context *ctx, eqf_flow *flow, const eqf_potential_options *target,
                                const eqf_anneal_options *options, double *evaluations) {
    eqf_annealer *annealer;
    eqf_anneal_state now = EQF_ANNEAL_STATE_INIT;
    TEST_OK(ctx, eqf_annealer_create(ctx, flow, target, options, &annealer));
    while (!now.is_done) TEST_OK(ctx, eqf_annealer_advance(annealer, &now));
    eqf_anneal_result result = EQF_ANNEAL_RESULT_INIT;
    TEST_OK(ctx, eqf_annealer_result(annealer, &result, NULL, NULL, NULL));
    eqf_annealer_destroy(&annealer);
    *evaluations += now.energy_evaluations;
    return result;
}

static void print_coverage(const char *of, const coverage *c, unsigned num) {
    print_message("  %-11s within 1, 2, 3 errors: %u, %u, %u of %u; (result - known) / error: mean %.2f, root mean "
                  "square %.2f\n",
                  of, c->within[0], c->within[1], c->within[2], num, c->sum / num, sqrt(c->squares / num));
}

/* 95 of 100 must lie within three errors. num_particle_sweeps 0: the default moves; else these alone. */
static void measure(eqf_context *ctx, const char *name, eqf_flow *flow, const eqf_potential_options *target,
                    double log_z, double mean_energy, unsigned num_particle_sweeps) {
    const unsigned num = num_seeds();
    const double ess = ess_of_flow(ctx, flow, target);
    print_message("%s: quadrature ln Z %.5f, mean energy %.5f; ESS of the flow %.1e\n", name, log_z, mean_energy, ess);
    assert_true(ess < 0.01);
    coverage of_log_z = {{0}, 0, 0}, of_energy = {{0}, 0, 0};
    double log_z_error = 0, energy_error = 0, evaluations = 0, least_ess = 1;
    for (unsigned seed = 1; seed <= num; seed++) {
        const eqf_anneal_options options = {.struct_size = sizeof options,
                                            .seed = seed,
                                            .num_walkers = 2048,
                                            .num_pilot = 256,
                                            .has_no_latent_moves = num_particle_sweeps > 0,
                                            .has_no_langevin_moves = num_particle_sweeps > 0,
                                            .num_particle_sweeps = num_particle_sweeps};
        const eqf_anneal_result result = anneal(ctx, flow, target, &options, &evaluations);
        count(&of_log_z, result.log_z, result.log_z_standard_error, log_z);
        count(&of_energy, result.mean_energy, result.mean_energy_standard_error, mean_energy);
        log_z_error += result.log_z_standard_error / num;
        energy_error += result.mean_energy_standard_error / num;
        least_ess = fmin(least_ess, result.ess_fraction);
    }
    print_message("  errors: ln Z %.4f, mean energy %.4f; least ESS after annealing %.2f; %.0f energies a seed\n",
                  log_z_error, energy_error, least_ess, evaluations / num);
    print_coverage("ln Z", &of_log_z, num);
    print_coverage("mean energy", &of_energy, num);
    assert_true(of_log_z.within[2] >= 0.95 * num && of_energy.within[2] >= 0.95 * num);
}

/* An untrained radial field with a prior of the wrong size. */
static eqf_flow *make_flow(eqf_context *ctx, const eqf_potential_options *target, double prior_scale,
                           eqf_model **model) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential = *target;
    options.prior_scale = prior_scale;
    options.seed = 2;
    eqf_flow *flow;
    TEST_OK(ctx, eqf_model_create(ctx, &options, model));
    TEST_OK(ctx, eqf_flow_create(ctx, *model, NULL, &flow));
    return flow;
}

static void measure_line(unsigned num_particle_sweeps) {
    eqf_context *ctx = test_context();
    eqf_potential_options target = EQF_POTENTIAL_OPTIONS_INIT; /* double wells: the presets' constants */
    target.num_particles = 3;
    target.space_dim = 1;
    target.distance_offset = 2;
    double log_z, mean_energy, rough[2];
    integrate_line(&target, 0.005, &log_z, &mean_energy);
    integrate_line(&target, 0.0075, &rough[0], &rough[1]);
    print_message("line: quadrature with two steps: ln Z %.6f and %.6f, mean energy %.6f and %.6f\n", log_z, rough[0],
                  mean_energy, rough[1]);
    assert_true(fabs(log_z - rough[0]) < 2e-4 && fabs(mean_energy - rough[1]) < 2e-4);
    eqf_model *model;
    eqf_flow *flow = make_flow(ctx, &target, 30, &model);
    measure(ctx, "3 particles on a line", flow, &target, log_z, mean_energy, num_particle_sweeps);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

static void measure_dw4(unsigned num_particle_sweeps) {
    eqf_context *ctx = test_context();
    const eqf_preset *preset = eqf_preset_find("dw4");
    const eqf_potential_options *target = &preset->model->potential;
    double log_z, mean_energy, rough[2];
    integrate_plane(target, 0.25, &log_z, &mean_energy);
    integrate_plane(target, 0.3, &rough[0], &rough[1]);
    print_message("dw4: quadrature with two steps: ln Z %.6f and %.6f, mean energy %.6f and %.6f\n", log_z, rough[0],
                  mean_energy, rough[1]);
    assert_true(fabs(log_z - rough[0]) < 1e-3 && fabs(mean_energy - rough[1]) < 2e-3);
    assert_true(fabs(log_z - preset->log_z) < 3 * preset->log_z_error);
    eqf_model *model;
    eqf_flow *flow = make_flow(ctx, target, 1, &model);
    measure(ctx, "dw4", flow, target, log_z, mean_energy, num_particle_sweeps);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

static void test_line(void **state) {
    (void)state;
    measure_line(0);
}

static void test_line_particles(void **state) {
    (void)state;
    measure_line(3);
}

static void test_dw4(void **state) {
    (void)state;
    measure_dw4(0);
}

static void test_dw4_particles(void **state) {
    (void)state;
    measure_dw4(3);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line),
        cmocka_unit_test(test_line_particles),
        cmocka_unit_test(test_dw4),
        cmocka_unit_test(test_dw4_particles),
    };
    const char *only = getenv("EQF_COVERAGE_CASE");
    if (only != NULL) cmocka_set_test_filter(only);
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
