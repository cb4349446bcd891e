/* Tables of kinds are whole: every kind has a name of its own, options whose defaults are those of the initializers,
 * and room in its struct; each survives the model file. */
#include "test_files.h"

#include <math.h>
#include <string.h>

#include "eqflow/model.h"
#include "kinds.h"
#include "potential_kinds.h"
#include "prior_kinds.h"
#include "solver.h"

static eqf_context ctx; /* options need no device */

/* Rows of one table, whose defaults are what `initial` holds. */
static void check_rows(const eqf_option *rows, const void *initial, size_t struct_size) {
    for (const eqf_option *row = rows; row->key != NULL; row++) {
        assert_int_equal(row->struct_size, sizeof *row);
        assert_true(row->offset + sizeof(unsigned) <= struct_size);
        assert_true(row->help != NULL && row->help[0] != '\0');
        assert_true(eqf_option_get(row, initial) == row->initial);
        assert_true(row->type == EQF_OPTION_NAME ? row->names != NULL
                                                 : row->low < row->high || row->type == EQF_OPTION_BOOL);
        for (const eqf_option *other = rows; other != row; other++) {
            assert_string_not_equal(other->key, row->key);
            assert_true(other->offset != row->offset);
        }
    }
}

static void test_potentials(void **state) {
    (void)state;
    const eqf_potential_options initial = EQF_POTENTIAL_OPTIONS_INIT;
    const eqf__potential_kind *row;
    unsigned kind = 0;
    check_rows(eqf__potential_common_options, &initial, sizeof initial);
    for (; (row = eqf__potential_kind_of((eqf_potential_kind)kind)) != NULL; kind++) {
        eqf_potential_kind found;
        assert_int_equal(eqf_potential_kind_find(row->info.name, &found), EQF_OK);
        assert_int_equal(found, kind);
        assert_ptr_equal(eqf_potential_kind_describe((eqf_potential_kind)kind), &row->info);
        assert_true(row->info.has_text == (row->pair == NULL && row->species_pair == NULL));
        assert_true(row->info.has_text == (row->kernel_file == NULL));
        assert_non_null(row->info.title);
        assert_ptr_equal(eqf_potential_option((eqf_potential_kind)kind, 0), row->options);
        check_rows(row->options, &initial, sizeof initial);
    }
    assert_true(kind >= 3);
    assert_null(eqf_potential_option((eqf_potential_kind)kind, 0));
    assert_null(eqf_potential_option(EQF_POTENTIAL_USER, 2));
}

static void test_dynamics(void **state) {
    (void)state;
    const eqf_dynamics_options initial = EQF_DYNAMICS_OPTIONS_INIT;
    const eqf__dynamics_kind *row;
    unsigned kind = 0;
    for (; (row = eqf__dynamics_kind_of((eqf_dynamics_kind)kind)) != NULL; kind++) {
        eqf_dynamics_kind found;
        eqf_dynamics_options own = initial;
        assert_int_equal(eqf_dynamics_kind_find(row->info.name, &found), EQF_OK);
        assert_int_equal(found, kind);
        own.kind = (eqf_dynamics_kind)kind;
        eqf__options_set_defaults(row->options, &own); /* kinds share members, each with a default of its own */
        check_rows(row->options, &own, sizeof own);
        assert_int_equal(eqf__dynamics_check(&ctx, &own), EQF_OK);
    }
    assert_true(kind >= 3);
    assert_null(eqf_dynamics_option((eqf_dynamics_kind)kind, 0));
}

static void test_priors(void **state) {
    (void)state;
    const eqf_model_options initial = EQF_MODEL_OPTIONS_INIT;
    const eqf__prior_kind *row;
    unsigned kind = 0;
    for (; (row = eqf__prior_kind_of((eqf_prior_kind)kind)) != NULL; kind++) {
        eqf_prior_kind found;
        assert_int_equal(eqf_prior_kind_find(row->info.name, &found), EQF_OK);
        assert_int_equal(found, kind);
        assert_ptr_equal(eqf_prior_kind_describe((eqf_prior_kind)kind), &row->info);
        check_rows(row->options, &initial, sizeof initial);
    }
    assert_true(kind >= 1);
    assert_null(eqf_prior_option((eqf_prior_kind)kind, 0));
}

static void test_integrators(void **state) {
    (void)state;
    const eqf_integrator_method_info *info;
    unsigned method = 0, num_with_control = 0;
    for (; (info = eqf_integrator_method_describe((eqf_integrator_method)method)) != NULL; method++) {
        eqf_integrator_method found;
        assert_int_equal(eqf_integrator_method_find(info->name, &found), EQF_OK);
        assert_int_equal(found, method);
        assert_int_equal(info->struct_size, sizeof *info);
        assert_non_null(info->title);
        num_with_control += info->has_step_control;
        /* it can solve every kind of field */
        for (unsigned kind = 0; eqf__dynamics_kind_of((eqf_dynamics_kind)kind) != NULL; kind++)
            assert_true(eqf__integrator_form((eqf_integrator_method)method,
                                             eqf__dynamics_kind_of((eqf_dynamics_kind)kind)->forms) != 0);
    }
    assert_true(method >= 2);
    assert_true(num_with_control >= 1 && num_with_control < method); /* training has a use for both */
    assert_true(eqf_integrator_method_describe(eqf__integrator_with_step_control())->has_step_control);
    assert_int_equal(eqf_integrator_method_find("euler", &(eqf_integrator_method){0}), EQF_ERROR_NOT_FOUND);
}

/* Moves every option off its default, where its range lets it. */
static void change(const eqf_option *rows, void *options) {
    for (; rows->key != NULL; rows++) {
        const double value = eqf_option_get(rows, options);
        const bool is_real = rows->type == EQF_OPTION_REAL;
        if (rows->type == EQF_OPTION_NAME)
            eqf_option_set(rows, options, value + 1 < 2 && rows->names[1] != NULL ? value + 1 : value);
        else
            eqf_option_set(rows, options, is_real ? 1.25 * value + 0.0625 : value < rows->high ? value + 1 : value - 1);
    }
}

/* Every kind of potential with every kind of dynamics: what was saved is what is loaded, option by option, and another
 * option is another hash. */
static void test_model_files(void **state) {
    (void)state;
    const char *path = test_path("kinds.safetensors");
    const eqf__potential_kind *potential;
    const eqf__dynamics_kind *dynamics;
    for (unsigned p = 0; (potential = eqf__potential_kind_of((eqf_potential_kind)p)) != NULL; p++)
        for (unsigned d = 0; (dynamics = eqf__dynamics_kind_of((eqf_dynamics_kind)d)) != NULL; d++) {
            eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
            options.potential.kind = (eqf_potential_kind)p;
            options.potential.source = "real energy(const real *x) { return 0; }";
            options.dynamics.kind = (eqf_dynamics_kind)d;
            options.potential.num_particles = 3;
            const uint64_t hash =
                eqf__dynamics_hash(eqf__potential_hash(EQF__HASH_START, &options.potential), &options.dynamics);
            change(potential->options, &options.potential);
            if (!dynamics->info.has_species) {
                eqf_model *none;
                const bool has_b = eqf_potential_num_b(&options.potential) > 0;
                if (has_b)
                    TEST_EXPECT(&ctx, eqf_model_create(&ctx, &options, &none), EQF_ERROR_INVALID_ARGUMENT,
                                "cannot tell the two species");
                options.potential.num_b = 0;
            }
            assert_int_not_equal(
                eqf__potential_hash(EQF__HASH_START, &options.potential),
                eqf__potential_hash(EQF__HASH_START, &(eqf_potential_options)EQF_POTENTIAL_OPTIONS_INIT));
            change(dynamics->options, &options.dynamics);
            change(eqf__prior_kind_of(EQF_PRIOR_GAUSSIAN)->options, &options);
            assert_int_not_equal(
                eqf__dynamics_hash(eqf__potential_hash(EQF__HASH_START, &options.potential), &options.dynamics), hash);
            eqf_model *model, *loaded;
            TEST_EXPECT(&ctx, eqf_model_create(&ctx, &options, &model), EQF_OK, "");
            TEST_EXPECT(&ctx, eqf_model_save(&ctx, model, path), EQF_OK, "");
            TEST_EXPECT(&ctx, eqf_model_load(&ctx, path, &loaded), EQF_OK, "");
            const eqf_model_options *read = eqf_model_options_of(loaded);
            assert_int_equal(read->potential.kind, p);
            assert_int_equal(read->dynamics.kind, d);
            assert_true(eqf__options_are_equal(eqf__potential_common_options, &read->potential, &options.potential));
            assert_true(eqf__options_are_equal(potential->options, &read->potential, &options.potential));
            assert_true(eqf__options_are_equal(dynamics->options, &read->dynamics, &options.dynamics));
            assert_true(eqf__options_are_equal(eqf__prior_kind_of(read->prior_kind)->options, read, &options));
            eqf_model_destroy(&model);
            eqf_model_destroy(&loaded);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_potentials),
        cmocka_unit_test(test_dynamics),
        cmocka_unit_test(test_priors),
        cmocka_unit_test(test_integrators),
        cmocka_unit_test(test_model_files),
    };
    return cmocka_run_group_tests(tests, NULL, test_folder_teardown);
}
