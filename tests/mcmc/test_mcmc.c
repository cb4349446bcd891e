/* Metropolis chains on the device: energies against quadrature and against free energy calculations,
 * reproducibility, edges. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ocl.h"
#include "support.h"

typedef struct sampled {
    size_t num_samples, num_dof;
    float *x, *energy;
    eqf_mcmc_diagnostics diagnostics;
} sampled;

static eqf_potential_options potential_of(const char *name) {
    return test_model_options(test_system_named(name)).potential;
}

static sampled sample(eqf_context *ctx, const eqf_potential_options *potential, const eqf_mcmc_options *options,
                      size_t num_samples) {
    sampled result = {num_samples, (size_t)potential->num_particles * potential->space_dim, NULL, NULL,
                      EQF_MCMC_DIAGNOSTICS_INIT};
    result.x = test_output(num_samples * result.num_dof);
    result.energy = test_output(num_samples);
    TEST_OK(ctx, eqf_mcmc_sample(ctx, potential, options, num_samples, result.x, result.energy, &result.diagnostics));
    test_output_end(num_samples * result.num_dof, result.x);
    test_output_end(num_samples, result.energy);
    return result;
}

static void sampled_clear(sampled *result) {
    free(result->x);
    free(result->energy);
}

static void print_diagnostics(const char *name, const eqf_mcmc_diagnostics *d) {
    print_message(
        "%s: %u chains, %llu sweeps, acceptance %.3f, step %.3f, tau %.1f sweeps, R-hat %.4f, effective %.0f, "
        "energy %.4f +- %.4f\n",
        name, d->num_chains, (unsigned long long)d->num_sweeps, d->acceptance, d->step_size, d->autocorrelation_time,
        d->split_r_hat, d->effective_samples, d->mean_energy, d->mean_energy_standard_error);
}

/* The energies are those of the configurations, and the configurations are centred. */
static void check_samples(const char *name, const eqf_potential_options *potential, const sampled *result) {
    test_worst energy_worst = TEST_WORST_INIT(2e-5), centre_worst = TEST_WORST_INIT(1e-6);
    double *x = test_to_double(result->num_samples * result->num_dof, result->x);
    for (size_t b = 0; b < result->num_samples; b++) {
        double u = ref_potential_energy(potential, x + b * result->num_dof, NULL);
        test_compare(&energy_worst, b, fabs((double)result->energy[b] - u) / fmax(fabs(u), 10.0));
        for (unsigned d = 0; d < potential->space_dim; d++) {
            double sum = 0.0;
            for (unsigned i = 0; i < potential->num_particles; i++)
                sum += x[b * result->num_dof + i * potential->space_dim + d];
            test_compare(&centre_worst, b, fabs(sum) / potential->num_particles);
        }
    }
    free(x);
    bool is_right = test_report(&energy_worst, "%s: energy of the sample", name);
    if (!test_report(&centre_worst, "%s: centre of mass", name) || !is_right) fail();
}

/* ---- Equilibrium ------------------------------------------------------------------------------------------- */

/* Mean energy and mean squared energy deviation of two double-well particles by quadrature over their distance:
 * density d^(D-1) exp(-u(d)). */
static void pair_moments(const eqf_potential_options *potential, double *mean_out, double *sd_out) {
    double norm = 0.0, first = 0.0, second = 0.0;
    for (int k = 0; k < 200000; k++) {
        double d = (k + 0.5) * 5e-5, x[6] = {0};
        x[potential->space_dim] = d;
        double u = ref_potential_energy(potential, x, NULL);
        double density = pow(d, potential->space_dim - 1.0) * exp(-u - 4.0);
        norm += density;
        first += density * u;
        second += density * u * u;
    }
    *mean_out = first / norm;
    *sd_out = sqrt(second / norm - first / norm * (first / norm));
}

static void check_mean(const char *name, const eqf_mcmc_diagnostics *d, double expected, double relative) {
    double tolerance = 3.0 * d->mean_energy_standard_error + relative * fabs(expected);
    print_message("%s: mean energy off by %.4f, tolerance %.4f\n", name, fabs(d->mean_energy - expected), tolerance);
    if (!(fabs(d->mean_energy - expected) <= tolerance)) fail_msg("%s: mean energy", name);
    assert_true(d->split_r_hat > 0.99 && d->split_r_hat < 1.05);
    assert_true(fabs(d->acceptance - 0.2) < 0.03);
}

static void check_pair(eqf_context *ctx, const char *name, const eqf_potential_options *potential) {
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.seed = 1;
    double expected, sd;
    pair_moments(potential, &expected, &sd);
    sampled result = sample(ctx, potential, &options, 20000);
    print_diagnostics(name, &result.diagnostics);
    check_samples(name, potential, &result);
    check_mean(name, &result.diagnostics, expected, 0.0);
    /* The error bar itself: the samples are as good as independent. */
    double ratio = result.diagnostics.mean_energy_standard_error / (sd / sqrt(20000.0));
    print_message("%s: expected energy %.5f, sd %.4f; error bar / that of independent samples %.3f\n", name, expected,
                  sd, ratio);
    assert_true(ratio > 0.95 && ratio < 1.1);
    sampled_clear(&result);
}

static void pairs_match_quadrature(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("dw2");
    double expected, sd;
    pair_moments(&potential, &expected, &sd);
    assert_true(fabs(expected - -3.8707) < 1e-4); /* docs/method.md, section 6 */
    check_pair(ctx, "dw2", &potential);
    potential.space_dim = 3;
    potential.temperature = 2.0;
    check_pair(ctx, "dw2 in space at T = 2", &potential);
    potential.space_dim = 1;
    potential.linear = 0.3;
    potential.distance_offset = 3.0;
    check_pair(ctx, "tilted dw2 on a line", &potential);
}

static void check_known_energy(const char *name, size_t num_samples, double expected) {
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of(name);
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.seed = 2;
    sampled result = sample(ctx, &potential, &options, num_samples);
    print_diagnostics(name, &result.diagnostics);
    check_samples(name, &potential, &result);
    check_mean(name, &result.diagnostics, expected, 0.001);
    sampled_clear(&result);
}

static void dw4_matches_its_known_energy(void **state) {
    (void)state;
    check_known_energy("dw4", 20000, -22.542);
}

static void lj13_matches_its_known_energy(void **state) {
    (void)state;
    check_known_energy("lj13", 20000, -42.945);
}

/* The trap alone is a Gaussian in (N-1) D coordinates, of mean energy kT/2 each. Its centre moves with each particle:
 * with the energy change of a fixed centre, the mean would be that of another temperature. */
static void trap_alone_gives_equipartition(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("lj13");
    potential.epsilon = 0.0;
    potential.num_particles = 5;
    potential.trap_strength = 3.0;
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    sampled result = sample(ctx, &potential, &options, 20000);
    print_diagnostics("trap", &result.diagnostics);
    check_mean("trap", &result.diagnostics, 0.5 * 4 * 3, 0.0); /* (N-1) D / 2 */
    sampled_clear(&result);
}

/* Strong correlation between kept samples must show in the error bar: the spread of means over seeds is compared with
 * what each run says of itself. */
static void error_bars_account_for_autocorrelation(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("dw4");
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.num_chains = 16;
    options.thinning = 5;
    double sum_of_squares = 0.0, said = 0.0;
    const int num_seeds = 40;
    for (int seed = 0; seed < num_seeds; seed++) {
        options.seed = 100u + (uint64_t)seed;
        sampled result = sample(ctx, &potential, &options, 16 * 200);
        double deviation = result.diagnostics.mean_energy - -22.542;
        sum_of_squares += deviation * deviation / num_seeds;
        said += result.diagnostics.mean_energy_standard_error / num_seeds;
        if (seed == 0) print_diagnostics("dw4, thinning 5", &result.diagnostics);
        assert_true(result.diagnostics.effective_samples < 0.4 * 16 * 200);
        sampled_clear(&result);
    }
    /* 40 runs know the spread to 11 %. */
    double ratio = sqrt(sum_of_squares) / said;
    print_message("spread of %d runs %.4f, error bar %.4f: ratio %.2f (0.65 to 1.5)\n", num_seeds, sqrt(sum_of_squares),
                  said, ratio);
    assert_true(ratio > 0.65 && ratio < 1.5);
}

/* ---- Reproducibility --------------------------------------------------------------------------------------- */

static eqf_mcmc_options short_run(uint64_t seed) {
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.num_burn_in = 300;
    options.thinning = 20;
    options.seed = seed;
    return options;
}

static bool is_same(const sampled *a, const sampled *b, size_t num_samples) {
    return memcmp(a->x, b->x, num_samples * a->num_dof * sizeof(float)) == 0 &&
           memcmp(a->energy, b->energy, num_samples * sizeof(float)) == 0;
}

static void same_seed_same_bits(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("dw4");
    eqf_mcmc_options options = short_run(9), other = short_run(10), high = short_run(9 | ((uint64_t)1 << 32));
    sampled a = sample(ctx, &potential, &options, 500), b = sample(ctx, &potential, &options, 500);
    sampled c = sample(ctx, &potential, &other, 500), d = sample(ctx, &potential, &high, 500);
    assert_true(is_same(&a, &b, 500));
    assert_memory_equal(&a.diagnostics, &b.diagnostics, sizeof a.diagnostics);
    assert_false(is_same(&a, &c, 500));
    assert_false(is_same(&a, &d, 500)); /* all 64 bits of the seed count */

    /* No two chains walk alike, and no two kept configurations of a chain are the same. */
    for (size_t i = 0; i < 500; i++)
        for (size_t j = 0; j < i; j++) assert_true(memcmp(a.x + i * 8, a.x + j * 8, 8 * sizeof(float)) != 0);
    sampled_clear(&a);
    sampled_clear(&b);
    sampled_clear(&c);
    sampled_clear(&d);
}

/* A device that allows few loop turns in a launch gets more launches, and the same bits. */
static void launches_do_not_change_results(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("lj13");
    eqf_mcmc_options options = short_run(3);
    sampled whole = sample(ctx, &potential, &options, 50);
    uint64_t launch_iterations = ctx->device->launch_iterations;
    ctx->device->launch_iterations = 12000; /* seven sweeps */
    sampled cut = sample(ctx, &potential, &options, 50);
    ctx->device->launch_iterations = launch_iterations;
    assert_true(is_same(&whole, &cut, 50));
    assert_true(whole.diagnostics.acceptance == cut.diagnostics.acceptance);
    sampled_clear(&whole);
    sampled_clear(&cut);
}

/* ---- Edges ------------------------------------------------------------------------------------------------- */

static void odd_counts_work(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("dw2");
    eqf_mcmc_options options = short_run(1);
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    TEST_OK(ctx, eqf_mcmc_sample(ctx, &potential, &options, 0, NULL, NULL, &diagnostics));
    assert_int_equal(diagnostics.num_sweeps, 0);

    const size_t counts[] = {1, 7, 8, 9, 33};
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++) {
        for (unsigned num_chains = 0; num_chains < 4; num_chains++) {
            options.num_chains = num_chains == 2 ? 11 : num_chains; /* chosen, 1, 11, 3 */
            sampled result = sample(ctx, &potential, &options, counts[k]);
            check_samples("odd counts", &potential, &result);
            const eqf_mcmc_diagnostics *d = &result.diagnostics;
            if (num_chains > 0) assert_int_equal(d->num_chains, options.num_chains);
            size_t num_kept = (counts[k] + d->num_chains - 1) / d->num_chains;
            assert_int_equal(d->num_sweeps, 300 + 20 * num_kept);
            assert_true(d->effective_samples >= 1.0 && d->effective_samples <= (double)counts[k] + 1e-9);
            /* A chain alone makes 40 moves: 2 of them are accepted in one run of 100. */
            assert_true(d->acceptance > 0.02 && d->acceptance < 0.6);
            assert_true(isfinite(d->mean_energy));

            /* Fewer samples from the same chains: the first ones of the longer run. */
            if (num_chains > 0 && counts[k] > 1) {
                sampled shorter = sample(ctx, &potential, &options, counts[k] - 1);
                assert_true(is_same(&result, &shorter, counts[k] - 1));
                sampled_clear(&shorter);
            }
            sampled_clear(&result);
        }
    }
}

/* The order is (kept, chain), and keeping does not disturb a chain: every second configuration kept each 20 sweeps is
 * what is kept each 40. */
static void samples_are_ordered_by_kept_configuration(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("dw4");
    eqf_mcmc_options options = short_run(5);
    options.num_chains = 13;
    sampled every_20 = sample(ctx, &potential, &options, 4 * 13);
    options.thinning = 40;
    sampled every_40 = sample(ctx, &potential, &options, 2 * 13);
    for (size_t kept = 0; kept < 2; kept++)
        assert_memory_equal(every_40.x + kept * 13 * 8, every_20.x + (2 * kept + 1) * 13 * 8, 13 * 8 * sizeof(float));
    sampled_clear(&every_20);
    sampled_clear(&every_40);
}

static void uncentred_samples_keep_their_centre(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("dw2");
    eqf_mcmc_options options = short_run(1);
    options.is_centred = false;
    sampled result = sample(ctx, &potential, &options, 64);
    double largest = 0.0;
    for (size_t b = 0; b < 64; b++)
        for (unsigned d = 0; d < 2; d++)
            largest = fmax(largest, fabs((double)result.x[4 * b + d] + (double)result.x[4 * b + 2 + d]) / 2.0);
    print_message("largest centre of mass %.2f\n", largest);
    assert_true(largest > 1.0);
    sampled_clear(&result);
}

typedef struct progress_record {
    int num_calls, stop_at;
    double last_done, total;
    bool has_sampled, is_ordered;
} progress_record;

static int record_progress(void *user, const eqf_progress *progress) {
    progress_record *record = user;
    record->num_calls++;
    record->is_ordered = record->is_ordered && progress->done > record->last_done && progress->done <= progress->total;
    record->last_done = progress->done;
    record->total = progress->total;
    record->has_sampled = record->has_sampled || strcmp(progress->stage, "sampling") == 0;
    return record->stop_at > 0 && record->num_calls >= record->stop_at;
}

static void progress_is_told_and_can_stop(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("dw2");
    eqf_mcmc_options options = short_run(1);
    progress_record record = {.is_ordered = true};
    options.progress = record_progress;
    options.progress_user = &record;
    sampled result = sample(ctx, &potential, &options, 10);
    sampled_clear(&result);
    assert_true(record.is_ordered && record.has_sampled);
    assert_true(record.last_done == record.total && record.total == 320.0);

    record = (progress_record){.stop_at = 3, .is_ordered = true};
    float x[40];
    assert_int_equal(eqf_mcmc_sample(ctx, &potential, &options, 10, x, NULL, NULL), EQF_ERROR_INTERRUPTED);
    assert_int_equal(record.num_calls, 3);
    print_message("message: %s\n", eqf_context_error(ctx));
    assert_non_null(strstr(eqf_context_error(ctx), "stopped"));
}

static void bad_options_are_refused(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("dw2");
    float x[4];
    for (int k = 0; k < 7; k++) {
        eqf_mcmc_options options = short_run(1);
        size_t num_samples = 1;
        const char *word = NULL;
        switch (k) {
            case 0:
                options.start_scale = -1.0;
                word = "start_scale";
                break;
            case 1:
                options.start_scale = NAN;
                word = "start_scale";
                break;
            case 2:
                options.target_acceptance = 1.0;
                word = "target_acceptance";
                break;
            case 3:
                options.target_acceptance = -0.1;
                word = "target_acceptance";
                break;
            case 4:
                options.struct_size = 2;
                word = "struct_size";
                break;
            case 5:
                options.thinning = UINT32_MAX;
                word = "thinning";
                break;
            default:
                num_samples = (size_t)1 << 40;
                options.num_chains = 1;
                word = "chains";
                break;
        }
        assert_int_equal(eqf_mcmc_sample(ctx, &potential, &options, num_samples, x, NULL, NULL),
                         EQF_ERROR_INVALID_ARGUMENT);
        print_message("%s\n", eqf_context_error(ctx));
        assert_non_null(strstr(eqf_context_error(ctx), word));
    }
    potential.temperature = 1e-30;
    potential.quartic = 1e20; /* 1e50 kT */
    assert_int_equal(eqf_mcmc_sample(ctx, &potential, NULL, 1, x, NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
    print_message("%s\n", eqf_context_error(ctx));
    assert_non_null(strstr(eqf_context_error(ctx), "DW_QUARTIC"));
    potential.temperature = 0.0;
    assert_int_equal(eqf_mcmc_sample(ctx, &potential, NULL, 1, x, NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
}

/* Particles that start on top of each other (infinite energy) must find apart; a burn-in that leaves no time for it
 * must say so and not hand over infinities. */
static void overlapping_starts_relax_or_are_reported(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_potential_options potential = potential_of("lj13");
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.start_scale = 1e-4;
    sampled result = sample(ctx, &potential, &options, 64);
    print_diagnostics("lj13 from a point", &result.diagnostics);
    assert_true(fabs(result.diagnostics.mean_energy - -42.945) < 5.0);
    sampled_clear(&result);

    options.num_burn_in = options.thinning = 1;
    potential.epsilon = 1e30; /* over kT 1e38: the pair sum overflows */
    potential.temperature = 1e-8;
    float x[39];
    assert_int_equal(eqf_mcmc_sample(ctx, &potential, &options, 1, x, NULL, NULL), EQF_ERROR_NON_FINITE);
    print_message("message: %s\n", eqf_context_error(ctx));
}

/* Without a trap a cluster has no equilibrium; its gas looks perfect to all diagnostics that look at energies. */
static void unbound_particles_are_seen(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    const struct {
        const char *system;
        double trap;
        bool is_unbound;
    } cases[] = {{"lj13", 0.0, true}, {"lj13", 1.0, false}, {"dw4", 0.0, false}, {"dw2", 0.0, false}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; ++k) {
        eqf_potential_options potential = potential_of(cases[k].system);
        potential.trap_strength = cases[k].trap;
        eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
        options.num_burn_in = 2000;
        options.thinning = 100;
        sampled result = sample(ctx, &potential, &options, 640);
        const eqf_mcmc_diagnostics *d = &result.diagnostics;
        print_message("%s, trap %g: radius of gyration %.3g, grows by %.3g +- %.3g, unbound %d, dissociation %.3g\n",
                      cases[k].system, cases[k].trap, d->radius_of_gyration, d->radius_growth,
                      d->radius_growth_standard_error, d->is_unbound, d->dissociation_energy);
        assert_int_equal(d->is_unbound, cases[k].is_unbound);
        if (cases[k].is_unbound) {
            assert_true(fabs(d->dissociation_energy) < 1e-3 && d->mean_energy > -1.0);
            assert_true(d->radius_growth > 5.0 * d->radius_growth_standard_error);
        } else {
            assert_true(isnan(d->dissociation_energy));
            assert_true(fabs(d->radius_growth) < 5.0 * d->radius_growth_standard_error);
        }
        sampled_clear(&result);
    }
}

/* Starts that are far too loose shrink; two halves of a chain tell. */
static void growth_of_the_radius_is_seen(void **state) {
    (void)state;
    eqf_potential_options potential = potential_of("lj13");
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.start_scale = 30.0;
    options.num_burn_in = 8;
    options.thinning = 5;
    sampled result = sample(test_context(), &potential, &options, 640);
    print_message("growth %.3g +- %.3g\n", result.diagnostics.radius_growth,
                  result.diagnostics.radius_growth_standard_error);
    assert_true(result.diagnostics.radius_growth < -0.02);
    assert_true(result.diagnostics.radius_growth < -5.0 * result.diagnostics.radius_growth_standard_error);
    sampled_clear(&result);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_match_quadrature),
        cmocka_unit_test(dw4_matches_its_known_energy),
        cmocka_unit_test(lj13_matches_its_known_energy),
        cmocka_unit_test(trap_alone_gives_equipartition),
        cmocka_unit_test(error_bars_account_for_autocorrelation),
        cmocka_unit_test(same_seed_same_bits),
        cmocka_unit_test(launches_do_not_change_results),
        cmocka_unit_test(odd_counts_work),
        cmocka_unit_test(samples_are_ordered_by_kept_configuration),
        cmocka_unit_test(uncentred_samples_keep_their_centre),
        cmocka_unit_test(progress_is_told_and_can_stop),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(overlapping_starts_relax_or_are_reported),
        cmocka_unit_test(unbound_particles_are_seen),
        cmocka_unit_test(growth_of_the_radius_is_seen),
    };
    return cmocka_run_group_tests_name("mcmc.mcmc", tests, NULL, test_context_teardown);
}
