/* Presets: the constants of the literature, and training options that follow the size of the data. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "eqflow/preset.h"

static void test_names_and_sizes(void **state) {
    (void)state;
    static const struct {
        const char *name;
        unsigned num_particles, space_dim;
        eqf_potential_kind kind;
    } expected[] = {
        {"dw2", 2, 2, EQF_POTENTIAL_DOUBLE_WELL},
        {"dw4", 4, 2, EQF_POTENTIAL_DOUBLE_WELL},
        {"lj13", 13, 3, EQF_POTENTIAL_LENNARD_JONES},
        {"lj38", 38, 3, EQF_POTENTIAL_LENNARD_JONES},
        {"lj55", 55, 3, EQF_POTENTIAL_LENNARD_JONES},
        {"morse13", 13, 3, EQF_POTENTIAL_MORSE},
        {"blj13", 13, 3, EQF_POTENTIAL_BINARY_LENNARD_JONES},
    };
    size_t num_presets;
    assert_non_null(eqf_presets(&num_presets));
    assert_int_equal(num_presets, 7);
    for (size_t i = 0; i < num_presets; i++) {
        const eqf_preset *preset = eqf_preset_find(expected[i].name);
        assert_non_null(preset);
        assert_string_equal(preset->model->preset, expected[i].name);
        assert_int_equal(preset->model->potential.num_particles, expected[i].num_particles);
        assert_int_equal(preset->model->potential.space_dim, expected[i].space_dim);
        assert_int_equal(preset->model->potential.kind, expected[i].kind);
        assert_int_equal(preset->model->dynamics.num_distance, 50);
        assert_int_equal(preset->model->dynamics.num_time, 10);
        assert_int_equal(preset->model->integrator.num_steps, 20);
        assert_int_equal(eqf_potential_check(NULL, &preset->model->potential), EQF_OK);
    }
    assert_null(eqf_preset_find("dw3"));
    assert_null(eqf_preset_find(""));
    assert_null(eqf_preset_find(NULL));
}

/* Constants of Koehler et al. 2020, section 5; for Lennard-Jones eps = 2, what the published data follow. */
static void test_constants(void **state) {
    (void)state;
    const eqf_potential_options *well = &eqf_preset_find("dw4")->model->potential;
    assert_true(well->distance_offset == 4 && well->linear == 0 && well->quadratic == -4 && well->quartic == 0.9);
    const eqf_potential_options *cluster = &eqf_preset_find("lj13")->model->potential;
    assert_true(cluster->epsilon == 2 && cluster->r_min == 1 && cluster->trap_strength == 1);
    assert_true(well->temperature == 1 && cluster->temperature == 1);
}

/* S = ln Z + mean energy ties the three known figures together: an error in one shows. */
static void test_known_figures_agree(void **state) {
    (void)state;
    size_t num_presets, num_known = 0;
    const eqf_preset *presets = eqf_presets(&num_presets);
    double worst = 0;
    for (size_t i = 0; i < num_presets; i++) {
        if (isnan(presets[i].entropy)) continue;
        double difference = fabs(presets[i].entropy - presets[i].log_z - presets[i].mean_energy);
        if (difference > worst) worst = difference;
        assert_true(difference <= 3 * hypot(presets[i].entropy_error, presets[i].log_z_error) + 1e-4);
        num_known++;
    }
    print_message("entropy - ln Z - mean energy: at most %.4g nats\n", worst);
    assert_int_equal(num_known, 4);
}

static void test_matches_exact_constants_only(void **state) {
    (void)state;
    const eqf_preset *well = eqf_preset_find("dw4"), *cluster = eqf_preset_find("lj13");
    assert_true(eqf_preset_matches(well, &well->model->potential));
    assert_true(eqf_preset_matches(cluster, &cluster->model->potential));
    assert_false(eqf_preset_matches(well, &cluster->model->potential));
    assert_false(eqf_preset_matches(well, &eqf_preset_find("dw2")->model->potential));
    assert_false(eqf_preset_matches(NULL, &well->model->potential));

    eqf_potential_options changed = well->model->potential;
    double *const well_constants[] = {&changed.temperature, &changed.distance_offset, &changed.linear,
                                      &changed.quadratic, &changed.quartic};
    for (size_t i = 0; i < sizeof well_constants / sizeof well_constants[0]; i++) {
        changed = well->model->potential;
        *well_constants[i] += 1e-9;
        assert_false(eqf_preset_matches(well, &changed));
    }
    double *const cluster_constants[] = {&changed.temperature, &changed.epsilon, &changed.r_min,
                                         &changed.trap_strength};
    for (size_t i = 0; i < sizeof cluster_constants / sizeof cluster_constants[0]; i++) {
        changed = cluster->model->potential;
        *cluster_constants[i] += 1e-9;
        assert_false(eqf_preset_matches(cluster, &changed));
    }
    changed = cluster->model->potential;
    changed.quartic = 7; /* has no meaning for Lennard-Jones */
    assert_true(eqf_preset_matches(cluster, &changed));
    changed.num_particles = 12;
    assert_false(eqf_preset_matches(cluster, &changed));
}

static void test_training_options_follow_data(void **state) {
    (void)state;
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    for (size_t i = 0; i < num_presets; i++) {
        eqf_training_options all = EQF_TRAINING_OPTIONS_INIT, few = EQF_TRAINING_OPTIONS_INIT;
        eqf_preset_training_options(&presets[i], presets[i].default_num_train, &all);
        assert_int_equal(all.num_steps, presets[i].training->num_steps);
        assert_int_equal(all.batch_size, presets[i].training->batch_size);
        assert_true(all.integration_penalty > 0); /* without it training games the integrator: docs/method.md */
        eqf_preset_training_options(&presets[i], 10, &few);
        assert_true(few.batch_size <= 10);
        assert_true(few.num_steps <= all.num_steps && few.num_steps > 0);
        assert_true(few.num_warmup_steps < few.num_steps);
        assert_true(all.data_noise > 0 && fabs(few.data_noise / all.data_noise -
                                              pow((double)presets[i].default_num_train / 10.0, 0.2)) < 1e-9);
    }
}

/* Recipes: message fields match flows and then maximise the likelihood; the others do the latter with the preset's
 * options; every stage and model is one that can be made. */
static void test_recipes(void **state) {
    (void)state;
    size_t num_presets;
    const eqf_preset *presets = eqf_presets(&num_presets);
    for (size_t i = 0; i < num_presets; i++)
        for (unsigned kind = EQF_DYNAMICS_RADIAL; kind <= EQF_DYNAMICS_MESSAGE; kind++) {
            eqf_objective objectives[EQF_PRESET_MAX_STAGES];
            const unsigned num_stages = eqf_preset_recipe(&presets[i], kind, objectives);
            const bool is_message = kind == EQF_DYNAMICS_MESSAGE;
            assert_true(num_stages >= 1 && num_stages <= EQF_PRESET_MAX_STAGES && (is_message || num_stages == 1));
            assert_int_equal(objectives[0], is_message ? EQF_OBJECTIVE_FLOW_MATCHING : EQF_OBJECTIVE_LIKELIHOOD);
            for (unsigned s = 0; s < num_stages; s++) {
                eqf_training_options options = EQF_TRAINING_OPTIONS_INIT, plain = EQF_TRAINING_OPTIONS_INIT;
                assert_int_equal(eqf_preset_stage_options(&presets[i], kind, objectives[s], 5000, &options), EQF_OK);
                assert_int_equal(eqf_preset_training_options(&presets[i], 5000, &plain), EQF_OK);
                assert_int_equal(options.objective, objectives[s]);
                assert_true(options.num_steps >= 1 && options.batch_size >= 1 && options.validation_interval >= 1);
                if (!is_message) assert_memory_equal(&options, &plain, sizeof plain);
                if (is_message && s == 1) assert_int_equal(options.gradient, EQF_GRADIENT_PATH);
                if (is_message && s == 0)
                    assert_true(options.pairing == EQF_PAIRING_EQUIVARIANT && options.optimizer == EQF_OPTIMIZER_SOAP);
            }
            eqf_model_options model = EQF_MODEL_OPTIONS_INIT;
            eqf_model *made;
            assert_int_equal(eqf_preset_model_options(&presets[i], kind, &model), EQF_OK);
            assert_int_equal(model.dynamics.kind, kind);
            const bool can_tell = eqf_dynamics_kind_describe((eqf_dynamics_kind)kind)->has_species ||
                                  eqf_potential_num_b(&model.potential) == 0;
            assert_int_equal(eqf_model_create(NULL, &model, &made), can_tell ? EQF_OK : EQF_ERROR_INVALID_ARGUMENT);
            eqf_model_destroy(&made);
        }
    /* a small set is no larger than its batch */
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    assert_int_equal(eqf_preset_stage_options(eqf_preset_find("dw4"), EQF_DYNAMICS_MESSAGE, EQF_OBJECTIVE_FLOW_MATCHING,
                                              20, &options),
                     EQF_OK);
    assert_int_equal(options.batch_size, 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_recipes), cmocka_unit_test(test_names_and_sizes),
        cmocka_unit_test(test_constants),
        cmocka_unit_test(test_known_figures_agree),
        cmocka_unit_test(test_matches_exact_constants_only),
        cmocka_unit_test(test_training_options_follow_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
