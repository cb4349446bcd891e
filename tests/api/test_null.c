/* Every public function with NULL for each of its pointers in turn: INVALID_ARGUMENT and a line where the header does
 * not allow it, success where it does, never a crash. The list of functions is made from the headers
 * (cmake/ListApi.cmake): one without a row fails the test. */
#include "eqflow/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support.h"
#include "test_files.h"

enum { MAX_PARAMETERS = 12, NUM = 20, NUM_DOF = 4, NUM_BYTES = 4096 };

/* p: the arguments, of which those that are no pointers are not used. */
typedef eqf_status (*caller)(void *const *p);

typedef struct row {
    const char *name;
    const char *rule; /* a letter per parameter: ! refused if NULL, o may be NULL, ~ gives no status, . no pointer */
    caller call;
    void *arguments[MAX_PARAMETERS];
    eqf_status expected; /* where nothing is NULL that must not be */
} row;

#define CALL(name, ...)                              \
    static eqf_status call_##name(void *const *p) {  \
        return name(__VA_ARGS__);                    \
    }
#define CALL_WITHOUT_STATUS(name, ...)               \
    static eqf_status call_##name(void *const *p) {  \
        (void)name(__VA_ARGS__);                     \
        return EQF_OK;                               \
    }
#define CALL_VOID(name, ...)                         \
    static eqf_status call_##name(void *const *p) {  \
        name(__VA_ARGS__);                           \
        return EQF_OK;                               \
    }
/* One that hands memory over. */
#define CALL_AND_FREE(name, place, ...)                                  \
    static eqf_status call_##name(void *const *p) {                      \
        const eqf_status status = name(__VA_ARGS__);                     \
        if (status == EQF_OK) {                                          \
            void *memory;                                                \
            memcpy(&memory, p[place], sizeof memory);                    \
            eqf_free(memory);                                            \
        }                                                                \
        return status;                                                   \
    }
#define CALL_AND_DESTROY(name, place, type, ...)                         \
    static eqf_status call_##name(void *const *p) {                      \
        const eqf_status status = name(__VA_ARGS__);                     \
        if (status == EQF_OK) type##_destroy(p[place]);                  \
        return status;                                                   \
    }

static void ignore(void *user, const eqf_selftest_result *result) {
    (void)user;
    (void)result;
}

static const eqf_model *model_of_flow;

/* ---- Calls ------------------------------------------------------------------------------------------------------- */

CALL_AND_DESTROY(eqf_annealer_create, 4, eqf_annealer, p[0], p[1], p[2], p[3], p[4])
CALL_AND_DESTROY(eqf_annealer_create_from_samples, 6, eqf_annealer, p[0], p[1], NUM, p[3], p[4], p[5], p[6])
CALL_VOID(eqf_annealer_destroy, p[0])
CALL(eqf_compare, p[0], p[1], NUM, p[3], NUM, p[5], NUM, p[7], p[8], p[9])
CALL(eqf_annealer_advance, p[0], p[1])
CALL(eqf_annealer_result, p[0], p[1], p[2], p[3], p[4])
CALL(eqf_annealer_resample, p[0], NUM, p[2], p[3])
CALL_WITHOUT_STATUS(eqf_array_count, p[0])
CALL_VOID(eqf_array_clear, p[0])
CALL_AND_FREE(eqf_array_read_npy, 2, p[0], p[1], p[2])
CALL(eqf_array_write_npy, p[0], p[1], p[2])
CALL(eqf_file_write, p[0], p[1], p[2], 3)
CALL_AND_FREE(eqf_array_read_configurations, 4, p[0], p[1], 2, 2, p[4], p[5])
CALL(eqf_array_write_xyz, p[0], p[1], p[2], p[3], p[4], p[5])
CALL(eqf_array_write_xyz_values, p[0], p[1], p[2], p[3], 1, p[5])
CALL(eqf_array_write_xyz_species, p[0], p[1], p[2], p[3], p[4], 1, 1, p[7])
CALL_AND_FREE(eqf_array_read_xyz_values, 3, p[0], p[1], p[2], p[3])
CALL(eqf_bench_probe, p[0], p[1])
CALL(eqf_bench_remember, p[0], p[1])
CALL_WITHOUT_STATUS(eqf_bench_device_text, p[0])
CALL_AND_FREE(eqf_bench_describe, 1, p[0], p[1])
CALL(eqf_bench_model, p[0], p[1], p[2], p[3], p[4])
CALL_WITHOUT_STATUS(eqf_cache_path, p[0])
CALL_AND_FREE(eqf_cache_list, 1, p[0], p[1], p[2])
CALL(eqf_cache_clear, p[0], p[1])
CALL_AND_FREE(eqf_gallery_folder, 1, p[0], p[1])
CALL_AND_FREE(eqf_gallery_list, 1, p[0], p[1], p[2])
CALL_AND_FREE(eqf_gallery_find, 2, p[0], p[1], p[2])
CALL(eqf_context_set_communicator, p[0], p[1])
CALL(eqf_context_set_progress, p[0], NULL, p[2])
CALL_AND_DESTROY(eqf_evaluate, 5, eqf_evaluation, p[0], p[1], p[2], NUM, p[4], p[5])
CALL_VOID(eqf_evaluation_destroy, p[0])
CALL_WITHOUT_STATUS(eqf_evaluation_figures_of, p[0])
CALL_WITHOUT_STATUS(eqf_evaluation_num_warnings, p[0])
CALL_WITHOUT_STATUS(eqf_evaluation_warning_at, p[0], 0)
CALL_WITHOUT_STATUS(eqf_evaluation_samples, p[0])
CALL_WITHOUT_STATUS(eqf_evaluation_sample_energies, p[0])
CALL_WITHOUT_STATUS(eqf_evaluation_sample_log_probs, p[0])
CALL_WITHOUT_STATUS(eqf_evaluation_log_weights, p[0])
CALL_WITHOUT_STATUS(eqf_evaluation_data_energies, p[0])
CALL_WITHOUT_STATUS(eqf_seed_for, 1, p[1])
CALL_WITHOUT_STATUS(eqf_communicator_share, p[0], 1, 5)
CALL_AND_DESTROY(eqf_context_create, 1, eqf_context, p[0], p[1])
CALL_WITHOUT_STATUS(eqf_context_error, p[0])
CALL_VOID(eqf_context_destroy, p[0])
CALL(eqf_context_opencl, p[0], p[1], p[2], p[3])
CALL(eqf_flow_sample_opencl, p[0], 1, 0, NUM, p[4], p[5], 0)
CALL(eqf_flow_log_prob_opencl, p[0], 0, NUM, p[3], p[4], p[5], 0)
CALL_VOID(eqf_free, p[0])
CALL_AND_FREE(eqf_device_list, 1, p[0], p[1], p[2])
CALL(eqf_device_get_profile, p[0], 0, p[2])
CALL(eqf_device_store_tuning, p[0], p[1])
CALL(eqf_context_device, p[0], p[1])
CALL(eqf_estimate_log_weights, NUM, p[1], p[2], p[3])
CALL(eqf_estimate_weights, NUM, p[1], p[2])
CALL(eqf_estimate_mean, NUM, p[1], p[2], p[3])
CALL(eqf_estimate_reweighted_mean, NUM, p[1], p[2], p[3], p[4])
CALL(eqf_estimate_reweighted_bootstrap, NUM, p[1], p[2], 8, 1, p[5], p[6])
CALL(eqf_estimate_weights_bootstrap, NUM, p[1], 8, 1, p[4], p[5])
CALL(eqf_estimate_forward_ess, NUM, p[1], 8, 1, p[4], p[5])
CALL(eqf_estimate_independence_chain, NUM, p[1], 1, p[3], p[4])
CALL(eqf_estimate_chain_mean, NUM, p[1], p[2], p[3])
CALL(eqf_estimate_autocorrelation_time, 1, NUM, p[2], p[3])
CALL(eqf_estimate_split_r_hat, 1, NUM, p[2], p[3])
CALL(eqf_estimate_histogram, NUM, p[1], p[2], -1.0, 1.0, 4, p[6])
CALL(eqf_estimate_histogram_with_error, NUM, 1, p[2], p[3], -1.0, 1.0, 4, p[7], p[8])
CALL(eqf_estimate_moments, NUM, p[1], p[2], 4, p[4])
CALL(eqf_estimate_wasserstein, NUM, p[1], NUM, p[3], p[4])
CALL(eqf_free_energy_bar, NUM, p[1], NUM, p[3], p[4], p[5])
CALL(eqf_free_energy_mbar, 2, p[1], p[2], p[3], p[4])
CALL_WITHOUT_STATUS(eqf_observables, p[0])
CALL_WITHOUT_STATUS(eqf_observable_find, p[0])
CALL(eqf_observable_evaluate, p[0], p[1], 2, 2, 1.0, NUM, p[6], p[7])
CALL(eqf_observable_evaluate_text, p[0], p[1], NUM, p[3], p[4])
CALL(eqf_observable_pair_density, 2, 2, NUM, p[3], p[4], 0.0, 9.0, 4, p[8], p[9])
CALL_WITHOUT_STATUS(eqf_preset_recipe, p[0], EQF_DYNAMICS_RADIAL, p[2])
CALL(eqf_preset_stage_options, p[0], EQF_DYNAMICS_RADIAL, EQF_OBJECTIVE_LIKELIHOOD, 100, p[4])
CALL(eqf_preset_model_options, p[0], EQF_DYNAMICS_RADIAL, p[2])
CALL(eqf_estimate_pair_distances, NUM, 2, 2, p[3], p[4])
CALL_AND_DESTROY(eqf_flow_create, 3, eqf_flow, p[0], p[1], p[2], p[3])
CALL_VOID(eqf_flow_destroy, p[0])
CALL(eqf_flow_set_params, p[0], p[1])
CALL_WITHOUT_STATUS(eqf_flow_num_dof, p[0])
CALL(eqf_flow_score, p[0], NUM, p[2], p[3], p[4], p[5])
CALL(eqf_flow_sample, p[0], 1, 0, NUM, p[4], p[5])
CALL(eqf_flow_log_prob, p[0], NUM, p[2], p[3], p[4])
CALL(eqf_flow_log_prob_part, p[0], 3, NUM, p[3], p[4], p[5])
CALL(eqf_flow_sample_double, p[0], 1, 0, NUM, p[4], p[5])
CALL(eqf_flow_log_prob_double, p[0], NUM, p[2], p[3], p[4])
CALL(eqf_flow_transform, p[0], EQF_PRIOR_TO_DATA, NUM, p[3], p[4], p[5])
CALL(eqf_flow_round_trip, p[0], 1, NUM, p[3])
CALL(eqf_flow_choose_steps, p[0], p[1], p[2], 1, NUM, p[5], p[6], p[7])
CALL(eqf_flow_velocity, p[0], 0.0, NUM, p[3], p[4], p[5])
CALL(eqf_flow_trajectory, p[0], eqf_model_options_of(model_of_flow)->integrator.num_steps, NUM, p[3], 2, p[5], p[6],
     p[7])
CALL(eqf_flow_nll_gradient, p[0], 0.1, NUM, p[3], p[4], p[5], p[6])
CALL(eqf_flow_energy_gradient, p[0], p[1], 100.0, 0.1, NUM, p[5], p[6], p[7])
CALL(eqf_flow_prior_log_prob, p[0], NUM, p[2], p[3])
CALL(eqf_flow_prior_sample, p[0], 1, 0, NUM, p[4])
CALL(eqf_flow_step_statistics, p[0], p[1])
CALL_VOID(eqf_flow_reset_step_statistics, p[0])
CALL(eqf_mcmc_sample, p[0], p[1], p[2], NUM, p[4], p[5], p[6])
CALL(eqf_replica_sample_states, p[0], 2, p[2], p[3], 1, p[5], p[6], p[7])
CALL(eqf_replica_sample, p[0], p[1], p[2], 1, p[4], p[5], p[6])
CALL(eqf_minima_quench, p[0], p[1], p[2], NUM, p[4], p[5], p[6], p[7], p[8], p[9])
CALL(eqf_minima_random_starts, p[0], p[1], 1, 0, NUM, p[5])
CALL_AND_FREE(eqf_minima_group, 7, p[0], p[1], p[2], NUM, p[4], p[5], p[6], p[7], p[8], p[9])
CALL_AND_DESTROY(eqf_model_create, 2, eqf_model, p[0], p[1], p[2])
CALL_AND_DESTROY(eqf_model_copy, 2, eqf_model, p[0], p[1], p[2])
CALL_VOID(eqf_model_destroy, p[0])
CALL_WITHOUT_STATUS(eqf_model_options_of, p[0])
CALL_WITHOUT_STATUS(eqf_model_num_params, p[0])
CALL_WITHOUT_STATUS(eqf_model_num_trained, p[0])
CALL_WITHOUT_STATUS(eqf_model_params, p[0])
CALL_WITHOUT_STATUS(eqf_model_num_slices, p[0])
CALL_WITHOUT_STATUS(eqf_model_slice, p[0], 0)
CALL_WITHOUT_STATUS(eqf_model_history, p[0], p[1])
CALL_WITHOUT_STATUS(eqf_model_version, p[0])
CALL(eqf_model_set_params, p[0], p[1], p[2])
CALL(eqf_model_set_num_steps, p[0], p[1], 4)
CALL(eqf_model_add_history, p[0], p[1], p[2])
CALL(eqf_model_save, p[0], p[1], p[2])
CALL_AND_DESTROY(eqf_model_load, 2, eqf_model, p[0], p[1], p[2])
CALL_WITHOUT_STATUS(eqf_option_get, p[0], p[1])
CALL_VOID(eqf_option_set, p[0], p[1], 1.0)
CALL_WITHOUT_STATUS(eqf_option_name, p[0], p[1])
CALL(eqf_dynamics_kind_find, p[0], p[1])
CALL(eqf_integrator_method_find, p[0], p[1])
CALL(eqf_prior_kind_find, p[0], p[1])
CALL_WITHOUT_STATUS(eqf_prior_log_z, p[0])
CALL(eqf_potential_kind_find, p[0], p[1])
CALL(eqf_flow_velocity_vjp, p[0], 0.0, NUM, p[3], p[4], p[5], p[6], p[7])
CALL(eqf_potential_check, p[0], p[1])
CALL(eqf_potential_find_symmetry, p[0], p[1], p[2])
CALL_WITHOUT_STATUS(eqf_potential_length, p[0])
CALL_WITHOUT_STATUS(eqf_potential_num_b, p[0])
CALL(eqf_potential_evaluate, p[0], p[1], NUM, p[3], p[4], p[5])
CALL(eqf_potential_set_constant, p[0], p[1], p[2], 1.0)
CALL_AND_FREE(eqf_potential_read_source, 2, p[0], p[1], p[2])
CALL(eqf_potential_verify, p[0], p[1], p[2])
CALL_WITHOUT_STATUS(eqf_presets, p[0])
CALL_WITHOUT_STATUS(eqf_preset_find, p[0])
CALL_WITHOUT_STATUS(eqf_preset_minimum_structure, p[0], p[1])
CALL_WITHOUT_STATUS(eqf_preset_matches, p[0], p[1])
CALL(eqf_preset_training_options, p[0], 100, p[2])
CALL_AND_FREE(eqf_preset_for_potential, 2, p[0], p[1], p[2])
/* The whole takes a minute: with a context a part stands for it. */
static eqf_status call_eqf_selftest(void *const p[]) {
    return p[0] == NULL ? eqf_selftest(NULL, ignore, p[2])
                        : eqf_selftest_of(p[0], "training", p[1] != NULL ? ignore : NULL, p[2]);
}
CALL(eqf_selftest_of, p[0], "training", p[2] != NULL ? ignore : NULL, p[3])
CALL_AND_DESTROY(eqf_trainer_create, 7, eqf_trainer, p[0], p[1], p[2], NUM, p[4], NUM, p[6], p[7])
CALL_AND_DESTROY(eqf_trainer_create_stages, 8, eqf_trainer, p[0], p[1], 1, p[3], NUM, p[5], NUM, p[7], p[8])
CALL_VOID(eqf_trainer_destroy, p[0])
CALL(eqf_trainer_advance, p[0], 1, p[2])
CALL_AND_DESTROY(eqf_trainer_best_model, 1, eqf_model, p[0], p[1])
CALL(eqf_trainer_save_checkpoint, p[0], p[1])
CALL(eqf_trainer_restore_checkpoint, p[0], p[1])

/* Those that are allowed before a device is opened only: a context of their own. */
static eqf_context *context_without_device(void) {
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    options.cache_path = "";
    eqf_context *ctx;
    assert_int_equal(eqf_context_create(&options, &ctx), EQF_OK);
    return ctx;
}
static eqf_status call_eqf_context_set_profile(void *const *p) {
    eqf_context *ctx = context_without_device();
    const eqf_status status = eqf_context_set_profile(p[0] != NULL ? ctx : NULL, p[1]);
    eqf_context_destroy(&ctx);
    return status;
}
static eqf_status call_eqf_context_open_opencl(void *const *p) {
    eqf_context *ctx = context_without_device();
    const eqf_status status = eqf_context_open_opencl(p[0] != NULL ? ctx : NULL, p[1], p[2], p[3]);
    eqf_context_destroy(&ctx);
    return status;
}
static eqf_status call_eqf_context_open_device(void *const *p) {
    eqf_context *ctx = context_without_device();
    const eqf_status status = eqf_context_open_device(p[0] != NULL ? ctx : NULL, p[1]);
    eqf_context_destroy(&ctx);
    return status;
}

/* ---- Arguments --------------------------------------------------------------------------------------------------- */

typedef struct fixture {
    eqf_context *ctx;
    eqf_potential_options potential;
    eqf_model *model;
    eqf_flow *flow, *in_double; /* in_double: NULL where the device has no fp64 */
    cl_context opencl;
    cl_device_id device;
    cl_command_queue queue;
    cl_mem rows, numbers; /* of the context: [NUM, N, D], [NUM] */
    eqf_trainer *trainer;
    eqf_evaluation *evaluation;
    eqf_annealer *annealer, *annealed; /* the second has taken all its steps */
    char npy[1024], text[1024], out[1024]; /* files: [NUM, 2, 2]; a potential's text; one to be written */
    /* results, for whoever asks */
    float floats[2][NUM_BYTES / sizeof(float)], x[NUM * NUM_DOF];
    double doubles[3][NUM_BYTES / sizeof(double)], wide_x[NUM * NUM_DOF];
    size_t sizes[2][NUM];
    eqf_quench_result results[NUM];
    unsigned count;
    void *pointer;
    eqf_array array, read;
} fixture;

static void temporary(char path[1024], const char *what) {
    snprintf(path, 1024, "%s", test_path(what));
    test_write_bytes(path, "", 0);
}

static void set_up(fixture *f) {
    static const char text[] = "inline real energy(const real *x) { return 0.5f * x[0] * x[0]; }\n";
    memset(f, 0, sizeof *f);
    f->ctx = test_context();
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.integrator.num_steps = 4;
    f->potential = options.potential;
    TEST_OK(f->ctx, eqf_model_create(f->ctx, &options, &f->model));
    TEST_OK(f->ctx, eqf_flow_create(f->ctx, f->model, NULL, &f->flow));
    eqf_flow_options of_double = EQF_FLOW_OPTIONS_INIT;
    of_double.precision = EQF_PRECISION_DOUBLE;
    if (eqf_flow_create(f->ctx, f->model, &of_double, &f->in_double) != EQF_OK) f->in_double = NULL;
    TEST_OK(f->ctx, eqf_flow_prior_sample(f->flow, 5, 0, NUM, f->x));
    for (size_t i = 0; i < NUM * NUM_DOF; i++) f->wide_x[i] = f->x[i];
    for (size_t i = 0; i < NUM; i++) f->sizes[0][i] = i;
    TEST_OK(f->ctx, eqf_trainer_create(f->ctx, f->model, NULL, NUM, f->x, 0, NULL, &f->trainer));
    TEST_OK(f->ctx, eqf_context_opencl(f->ctx, &f->opencl, &f->device, &f->queue));
    cl_int error;
    f->rows = clCreateBuffer(f->opencl, CL_MEM_READ_WRITE, sizeof f->x, NULL, &error);
    f->numbers = clCreateBuffer(f->opencl, CL_MEM_READ_WRITE, NUM * sizeof(float), NULL, &error);
    assert_true(f->rows != NULL && f->numbers != NULL);
    eqf_evaluation_options short_one = EQF_EVALUATION_OPTIONS_INIT;
    short_one.num_samples = NUM;
    TEST_OK(f->ctx, eqf_evaluate(f->ctx, f->model, &short_one, NUM, f->x, &f->evaluation));
    eqf_anneal_options few = EQF_ANNEAL_OPTIONS_INIT;
    few.num_walkers = few.num_pilot = 16;
    few.num_repeats = 2;
    few.num_latent_moves = few.num_langevin_moves = 1;
    TEST_OK(f->ctx, eqf_annealer_create(f->ctx, f->flow, &f->potential, &few, &f->annealer));
    TEST_OK(f->ctx, eqf_annealer_create(f->ctx, f->flow, &f->potential, &few, &f->annealed));
    eqf_anneal_state state = EQF_ANNEAL_STATE_INIT;
    while (!state.is_done) TEST_OK(f->ctx, eqf_annealer_advance(f->annealed, &state));
    f->array = (eqf_array){f->x, 3, {NUM, 2, 2}};
    temporary(f->npy, "npy");
    temporary(f->text, "text");
    temporary(f->out, "out");
    TEST_OK(f->ctx, eqf_array_write_npy(f->ctx, f->npy, &f->array));
    TEST_OK(f->ctx, eqf_file_write(f->ctx, f->text, text, sizeof text - 1));
}

static void tear_down(fixture *f) {
    clReleaseMemObject(f->rows);
    clReleaseMemObject(f->numbers);
    eqf_evaluation_destroy(&f->evaluation);
    eqf_annealer_destroy(&f->annealer);
    eqf_annealer_destroy(&f->annealed);
    eqf_trainer_destroy(&f->trainer);
    eqf_flow_destroy(&f->in_double);
    eqf_flow_destroy(&f->flow);
    eqf_model_destroy(&f->model);
    unlink(f->npy);
    unlink(f->text);
    unlink(f->out);
}

/* ---- The test ---------------------------------------------------------------------------------------------------- */

typedef struct declared {
    const char *name, *pointers; /* as ListApi.cmake writes them */
} declared;
static const declared functions[] = {
#define X(name, pointers) {#name, pointers},
#include "api_functions.inc"
#undef X
};
enum { NUM_FUNCTIONS = sizeof functions / sizeof functions[0] };

static const declared *find(const char *name) {
    for (size_t n = 0; n < NUM_FUNCTIONS; n++)
        if (strcmp(functions[n].name, name) == 0) return &functions[n];
    return NULL;
}

static unsigned num_calls, num_wrong;

static void call(fixture *f, const row *r, void *const arguments[MAX_PARAMETERS], int which, eqf_status expected) {
    num_calls++;
    const bool has_line = expected != EQF_OK && arguments[0] != NULL && r->rule[0] == '!' &&
                          (arguments[0] == f->ctx || arguments[0] == f->flow || arguments[0] == f->trainer) &&
                          r->call != call_eqf_context_open_device && r->call != call_eqf_context_open_opencl &&
                          r->call != call_eqf_context_set_profile;
    if (has_line) eqf_model_load(f->ctx, "/nowhere/at/all", &(eqf_model *){NULL}); /* another message, to be replaced */
    const eqf_status status = r->call(arguments);
    const char *line = eqf_context_error(f->ctx);
    if (status == expected && (!has_line || (line[0] != '\0' && strstr(line, "/nowhere") == NULL))) return;
    num_wrong++;
    print_message("%s with NULL for parameter %d: %s in place of %s (%s)\n", r->name, which, eqf_status_name(status),
                  eqf_status_name(expected), line);
}

static void check_row(fixture *f, const row *r) {
    const declared *function = find(r->name);
    if (function == NULL) fail_msg("%s is in no header any more", r->name);
    char pointers[MAX_PARAMETERS + 1] = "";
    for (size_t i = 0; r->rule[i] != '\0'; i++) pointers[i] = r->rule[i] == '.' ? '-' : 'p';
    if (strcmp(pointers, function->pointers) != 0)
        fail_msg("%s has parameters %s: its row says %s", r->name, function->pointers, r->rule);
    const bool has_status = strchr(r->rule, '~') == NULL;
    print_message("%s\n", r->name); /* the last line tells where it crashed */
    call(f, r, r->arguments, 0, has_status ? r->expected : EQF_OK);
    for (int i = 0; r->rule[i] != '\0'; i++) {
        if (r->rule[i] == '.') continue;
        void *arguments[MAX_PARAMETERS];
        memcpy(arguments, r->arguments, sizeof arguments);
        assert_true(arguments[i] != NULL);
        arguments[i] = NULL;
        const eqf_status allowed = has_status ? r->expected : EQF_OK;
        call(f, r, arguments, i + 1, r->rule[i] == '!' ? EQF_ERROR_INVALID_ARGUMENT : allowed);
    }
}

static void test_null(void **state) {
    (void)state;
    static fixture f;
    set_up(&f);
    static eqf_training_options few = EQF_TRAINING_OPTIONS_INIT;
    model_of_flow = f.model;
    few.num_steps = 100;
    static const eqf_training_options *stages = &few;
    static eqf_anneal_options anneal_options = EQF_ANNEAL_OPTIONS_INIT;
    static eqf_comparison_options comparison_options = EQF_COMPARISON_OPTIONS_INIT;
    static eqf_comparison comparison = EQF_COMPARISON_INIT;
    static eqf_replica_options replica_options = EQF_REPLICA_OPTIONS_INIT;
    static eqf_replica_diagnostics replicas = EQF_REPLICA_DIAGNOSTICS_INIT;
    replica_options.num_temperatures = replica_options.num_ladders = 2;
    replica_options.num_burn_in = replica_options.thinning = 10;
    replica_options.highest_temperature = 100;
    static eqf_replica_options state_options = EQF_REPLICA_OPTIONS_INIT;
    static eqf_potential_options states[2];
    states[0] = states[1] = f.potential;
    state_options.num_ladders = 2;
    state_options.num_burn_in = state_options.thinning = 10;
    static eqf_frame_value frame_value = {"energy", NULL};
    static eqf_anneal_state anneal_state = EQF_ANNEAL_STATE_INIT;
    static eqf_anneal_result anneal_result = EQF_ANNEAL_RESULT_INIT;
    anneal_options.num_walkers = anneal_options.num_pilot = 16;
    anneal_options.num_repeats = 2;
    static eqf_evaluation_options evaluation_options = EQF_EVALUATION_OPTIONS_INIT;
    evaluation_options.num_samples = NUM;
    static eqf_context_options context_options = EQF_CONTEXT_OPTIONS_INIT;
    context_options.cache_path = "";
    static eqf_bench_yardsticks yardsticks = EQF_BENCH_YARDSTICKS_INIT;
    static eqf_bench_question question = EQF_BENCH_QUESTION_INIT;
    static eqf_bench_estimate estimate = EQF_BENCH_ESTIMATE_INIT;
    static char device_name[] = "h200";
    char h200[8192];
    snprintf(h200, sizeof h200, "%s", eqf_bench_device_text(device_name));
    static eqf_communicator communicator = EQF_COMMUNICATOR_INIT;
    static eqf_device_profile profile = EQF_DEVICE_PROFILE_INIT;
    static eqf_device_info device = EQF_DEVICE_INFO_INIT;
    static eqf_weight_summary summary = EQF_WEIGHT_SUMMARY_INIT;
    static eqf_moments moments = EQF_MOMENTS_INIT;
    static size_t halves[2] = {NUM / 2, NUM / 2};
    static double mbar_energy[2 * NUM];
    for (size_t i = 0; i < 2 * NUM; i++) mbar_energy[i] = 0.1 * (double)(i % 7);
    static char observable_name[] = "radius_of_gyration", objectives[64 * EQF_PRESET_MAX_STAGES];
    void *observable;
    memcpy(&observable, &(const eqf_observable *){eqf_observables(NULL)}, sizeof observable);
    static eqf_potential_options observable_text = EQF_POTENTIAL_OPTIONS_INIT;
    observable_text.kind = EQF_POTENTIAL_USER;
    observable_text.source = "real observable(const real *x) { return x[0]; }";
    static eqf_chain_mean chain = EQF_CHAIN_MEAN_INIT;
    static eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    static eqf_loss loss = EQF_LOSS_INIT;
    static eqf_energy_loss energy_loss = EQF_ENERGY_LOSS_INIT;
    static eqf_step_statistics statistics = EQF_STEP_STATISTICS_INIT;
    static eqf_mcmc_options mcmc_options = EQF_MCMC_OPTIONS_INIT;
    static eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    static eqf_quench_options quench_options = EQF_QUENCH_OPTIONS_INIT;
    static eqf_quench_summary quench_summary = EQF_QUENCH_SUMMARY_INIT;
    static eqf_minima_group_options group_options = EQF_MINIMA_GROUP_OPTIONS_INIT;
    static eqf_model_options model_options = EQF_MODEL_OPTIONS_INIT;
    static eqf_history_row history_row = EQF_HISTORY_ROW_INIT;
    static eqf_training_state training_state = EQF_TRAINING_STATE_INIT;
    static eqf_potential_options own_potential = EQF_POTENTIAL_OPTIONS_INIT;
    static eqf_potential_kind kind;
    static eqf_potential_symmetry symmetry = EQF_POTENTIAL_SYMMETRY_INIT;
    static eqf_dynamics_kind dynamics_kind;
    static eqf_prior_kind prior_kind;
    static eqf_integrator_method method;
    static char dynamics_name[] = "dense", method_name[] = "dopri5", prior_name[] = "mean_free_gaussian";
    static eqf_option option = {.key = "temperature", .offset = offsetof(eqf_potential_options, temperature)};
    static void *nothing;
    static char assignment[] = "group_size=64", selector[] = "auto", element[] = "Ar", kind_name[] = "user",
                preset_name[] = "dw4", gallery_name[] = "dw4-radial", constant[] = "depth", tuning[] = "";
    mcmc_options.num_burn_in = 10;
    void *x = f.x, *wide_x = f.wide_x, *a = f.floats[0], *b = f.floats[1], *preset = NULL;
    void *u = f.doubles[0], *v = f.doubles[1], *w = f.doubles[2], *potential = &f.potential, *ctx = f.ctx;
    memcpy(&preset, &(const eqf_preset *){eqf_preset_find("dw4")}, sizeof preset);
    static float model_params[NUM_BYTES];
    assert_true(eqf_model_num_params(f.model) <= NUM_BYTES);
    memcpy(model_params, eqf_model_params(f.model), eqf_model_num_params(f.model) * sizeof(float));
    static double quenched_x[NUM * NUM_DOF], quenched_energy[NUM];
    const row rows[] = {
#define ROW(name, rule, ...) {#name, rule, call_##name, {__VA_ARGS__}, EQF_OK}
#define ROW_GIVES(name, rule, status, ...) {#name, rule, call_##name, {__VA_ARGS__}, status}
#define _ NULL
        ROW(eqf_annealer_create, "!!!o!", ctx, f.flow, potential, &anneal_options, &f.pointer),
        ROW(eqf_annealer_create_from_samples, "!!.!!o!", ctx, potential, _, x, potential, &anneal_options, &f.pointer),
        ROW(eqf_annealer_destroy, "~", &nothing),
        ROW(eqf_compare, "!!.!.!.oo!", ctx, potential, _, x, _, x, _, x, &comparison_options, &comparison),
        ROW(eqf_annealer_advance, "!o", f.annealer, &anneal_state),
        ROW(eqf_annealer_result, "!oooo", f.annealed, &anneal_result, a, b, u),
        ROW(eqf_annealer_resample, "!.!o", f.annealed, _, a, b),
        ROW(eqf_array_count, "~", &f.array),
        ROW(eqf_array_clear, "~", &f.read),
        ROW(eqf_array_read_npy, "o!!", ctx, f.npy, &f.read),
        ROW(eqf_array_write_npy, "o!!", ctx, f.out, &f.array),
        ROW(eqf_file_write, "o!!.", ctx, f.out, x, _),
        ROW(eqf_array_read_configurations, "o!..!o", ctx, f.npy, _, _, &f.read, u),
        ROW(eqf_array_write_xyz, "o!!!oo", ctx, f.out, &f.array, element, a, b),
        ROW(eqf_array_write_xyz_values, "o!!!.!", ctx, f.out, &f.array, element, _, &frame_value),
        ROW(eqf_array_write_xyz_species, "o!!!!..!", ctx, f.out, &f.array, element, element, _, _, &frame_value),
        ROW(eqf_array_read_xyz_values, "o!!!", ctx, f.npy, element, &f.read),
        ROW(eqf_bench_probe, "!!", ctx, &yardsticks),
        ROW_GIVES(eqf_bench_remember, "!!", EQF_ERROR_NOT_FOUND, ctx, &yardsticks),
        ROW(eqf_bench_device_text, "~", device_name),
        ROW(eqf_bench_describe, "!!", ctx, &f.pointer),
        ROW(eqf_bench_model, "!!!!!", ctx, h200, &model_options, &question, &estimate),
        ROW(eqf_cache_path, "~", ctx),
        ROW(eqf_cache_list, "!!!", ctx, &f.pointer, f.sizes[1]),
        ROW(eqf_cache_clear, "!o", ctx, f.sizes[1]),
        ROW(eqf_gallery_folder, "o!", ctx, &f.pointer),
        ROW(eqf_gallery_list, "o!!", ctx, &f.pointer, f.sizes[1]),
        ROW(eqf_gallery_find, "o!!", ctx, gallery_name, &f.pointer),
        ROW(eqf_context_set_communicator, "!o", ctx, &communicator),
        ROW(eqf_context_set_progress, "!oo", ctx, x, x),
        ROW(eqf_evaluate, "!!o.!!", ctx, f.model, &evaluation_options, _, x, &f.pointer),
        ROW(eqf_evaluation_destroy, "~", &nothing),
        ROW(eqf_evaluation_figures_of, "~", f.evaluation),
        ROW(eqf_evaluation_num_warnings, "~", f.evaluation),
        ROW(eqf_evaluation_warning_at, "~.", f.evaluation, _),
        ROW(eqf_evaluation_samples, "~", f.evaluation),
        ROW(eqf_evaluation_sample_energies, "~", f.evaluation),
        ROW(eqf_evaluation_sample_log_probs, "~", f.evaluation),
        ROW(eqf_evaluation_log_weights, "~", f.evaluation),
        ROW(eqf_evaluation_data_energies, "~", f.evaluation),
        ROW(eqf_seed_for, ".~", _, preset_name),
        ROW(eqf_communicator_share, "~..", &communicator, _, _),
        ROW(eqf_context_create, "o!", &context_options, &f.pointer),
        ROW(eqf_context_set_profile, "!!", ctx, assignment),
        ROW(eqf_context_open_opencl, "!!!o", ctx, f.opencl, f.device, f.queue),
        ROW(eqf_context_opencl, "!ooo", ctx, &f.opencl, &f.device, &f.queue),
        ROW(eqf_flow_sample_opencl, "!...!o.", f.flow, _, _, _, f.rows, f.numbers, _),
        ROW(eqf_flow_log_prob_opencl, "!..!oo.", f.flow, _, _, f.rows, f.numbers, f.rows, _),
        ROW(eqf_context_open_device, "!o", ctx, selector),
        ROW(eqf_context_error, "~", ctx),
        ROW(eqf_context_destroy, "~", &nothing),
        ROW(eqf_free, "~", malloc(1)),
        ROW(eqf_device_list, "!!!", ctx, &f.pointer, f.sizes[1]),
        ROW(eqf_device_get_profile, "!.!", ctx, _, &profile),
        ROW_GIVES(eqf_device_store_tuning, "!o", EQF_ERROR_NOT_FOUND, ctx, tuning),
        ROW(eqf_context_device, "!!", ctx, &device),
        ROW(eqf_estimate_log_weights, ".!!!", _, x, x, u),
        ROW(eqf_estimate_weights, ".!!", _, wide_x, &summary),
        ROW(eqf_estimate_mean, ".!!!", _, wide_x, u, v),
        ROW(eqf_estimate_reweighted_mean, ".!!!!", _, wide_x, wide_x, u, v),
        ROW(eqf_estimate_reweighted_bootstrap, ".!!..!!", _, wide_x, wide_x, _, _, u, v),
        ROW(eqf_estimate_weights_bootstrap, ".!..!!", _, wide_x, _, _, u, v),
        ROW(eqf_estimate_forward_ess, ".!..!!", _, wide_x, _, _, u, v),
        ROW(eqf_estimate_independence_chain, ".!.!!", _, wide_x, _, f.sizes[1], u),
        ROW(eqf_estimate_chain_mean, ".!!!", _, f.sizes[0], wide_x, &chain),
        ROW(eqf_estimate_autocorrelation_time, "..!!", _, _, wide_x, u),
        ROW(eqf_estimate_split_r_hat, "..!!", _, _, wide_x, u),
        ROW(eqf_estimate_histogram, ".!o...!", _, wide_x, wide_x, _, _, _, u),
        ROW(eqf_estimate_histogram_with_error, "..!o...!!", _, _, x, wide_x, _, _, _, u, v),
        ROW(eqf_estimate_moments, ".o!.!", _, wide_x, wide_x, _, &moments),
        ROW(eqf_estimate_wasserstein, ".!.!!", _, wide_x, _, wide_x, u),
        ROW(eqf_free_energy_bar, ".!.!!o", _, wide_x, _, wide_x, u, v),
        ROW(eqf_free_energy_mbar, ".!!!o", _, halves, mbar_energy, u, v),
        ROW(eqf_observables, "~", f.sizes[1]),
        ROW(eqf_observable_find, "~", observable_name),
        ROW(eqf_observable_evaluate, "o!....!!", ctx, observable, _, _, _, _, x, u),
        ROW(eqf_observable_evaluate_text, "!!.!!", ctx, &observable_text, _, x, u),
        ROW(eqf_observable_pair_density, "...!o...!o", _, _, _, x, wide_x, _, _, _, u, v),
        ROW(eqf_preset_recipe, "~.~", preset, _, objectives),
        ROW(eqf_preset_stage_options, "!...!", preset, _, _, _, &few),
        ROW(eqf_preset_model_options, "!.!", preset, _, &model_options),
        ROW(eqf_estimate_pair_distances, "...!!", _, _, _, x, a),
        ROW(eqf_flow_create, "!!o!", ctx, f.model, &flow_options, &f.pointer),
        ROW(eqf_flow_destroy, "~", &nothing),
        ROW(eqf_flow_set_params, "!!", f.flow, model_params),
        ROW(eqf_flow_num_dof, "~", f.flow),
        ROW(eqf_flow_score, "!.!!o!", f.flow, _, x, a, u, b),
        ROW(eqf_flow_sample, "!...!o", f.flow, _, _, _, a, b),
        ROW(eqf_flow_log_prob, "!.!!o", f.flow, _, x, a, b),
        ROW(eqf_flow_log_prob_part, "!..!!o", f.flow, _, _, x, a, b),
        ROW(eqf_flow_transform, "!..!!!", f.flow, _, _, x, a, b),
        ROW(eqf_flow_round_trip, "!..!", f.flow, _, _, u),
        ROW(eqf_flow_choose_steps, "!!o..!!!", ctx, f.model, &flow_options, _, _, wide_x, &f.count, u),
        ROW(eqf_flow_velocity, "!..!!!", f.flow, _, _, x, a, b),
        ROW(eqf_flow_trajectory, "!..!.!oo", f.flow, _, _, x, _, a, b, model_params),
        ROW(eqf_flow_nll_gradient, "!..!ooo", f.flow, _, _, x, &loss, a, b),
        ROW(eqf_flow_energy_gradient, "!!...!oo", f.flow, potential, _, _, _, x, &energy_loss, a),
        ROW(eqf_flow_prior_log_prob, "!.!!", f.flow, _, x, a),
        ROW(eqf_flow_prior_sample, "!...!", f.flow, _, _, _, a),
        ROW(eqf_flow_step_statistics, "!!", f.flow, &statistics),
        ROW(eqf_flow_reset_step_statistics, "~", f.flow),
        ROW(eqf_mcmc_sample, "!!o.!oo", ctx, potential, &mcmc_options, _, a, b, &diagnostics),
        ROW(eqf_replica_sample_states, "!.!!.!oo", ctx, _, states, &state_options, _, x, a, &replicas),
        ROW(eqf_replica_sample, "!!!.!oo", ctx, potential, &replica_options, _, x, a, &replicas),
        ROW(eqf_minima_quench, "!!o.!!oo!o", ctx, potential, &quench_options, _, x, quenched_x, quenched_energy, w,
            f.results, &quench_summary),
        ROW(eqf_minima_random_starts, "o!...!", ctx, potential, _, _, _, a),
        ROW(eqf_minima_group, "o!o.!!o!!o", ctx, potential, &group_options, _, quenched_x, quenched_energy, f.results,
            &f.pointer, f.sizes[0], f.sizes[1]),
        ROW(eqf_model_create, "o!!", ctx, &model_options, &f.pointer),
        ROW(eqf_model_copy, "o!!", ctx, f.model, &f.pointer),
        ROW(eqf_model_destroy, "~", &nothing),
        ROW(eqf_model_options_of, "~", f.model),
        ROW(eqf_model_num_params, "~", f.model),
        ROW(eqf_model_num_trained, "~", f.model),
        ROW(eqf_model_params, "~", f.model),
        ROW(eqf_model_num_slices, "~", f.model),
        ROW(eqf_model_slice, "~.", f.model, _),
        ROW(eqf_model_history, "~~", f.model, f.sizes[1]),
        ROW(eqf_model_version, "~", f.model),
        ROW(eqf_model_set_params, "o!!", ctx, f.model, model_params),
        ROW(eqf_model_set_num_steps, "o!.", ctx, f.model, _),
        ROW(eqf_model_add_history, "o!!", ctx, f.model, &history_row),
        ROW(eqf_model_save, "o!!", ctx, f.model, f.out),
        ROW(eqf_model_load, "o!!", ctx, f.out, &f.pointer),
        ROW(eqf_option_get, "~~", &option, &own_potential),
        ROW(eqf_option_set, "~~.", &option, &own_potential, _),
        ROW(eqf_option_name, "~~", &option, &own_potential),
        ROW(eqf_dynamics_kind_find, "!!", dynamics_name, &dynamics_kind),
        ROW(eqf_integrator_method_find, "!!", method_name, &method),
        ROW(eqf_prior_kind_find, "!!", prior_name, &prior_kind),
        ROW(eqf_prior_log_z, "~", &model_options),
        ROW(eqf_potential_kind_find, "!!", kind_name, &kind),
        ROW(eqf_flow_velocity_vjp, "!..!!ooo", f.flow, _, _, x, x, x, a, b),
        ROW(eqf_potential_length, "~", potential),
        ROW(eqf_potential_num_b, "~", potential),
        ROW(eqf_potential_find_symmetry, "!!!", ctx, potential, &symmetry),
        ROW(eqf_potential_check, "o!", ctx, potential),
        ROW(eqf_potential_evaluate, "!!.!oo", ctx, potential, _, x, a, b),
        ROW(eqf_potential_set_constant, "o!!.", ctx, &own_potential, constant, _),
        ROW(eqf_potential_read_source, "o!!", ctx, f.text, &f.pointer),
        ROW(eqf_potential_verify, "!!o", ctx, potential, u),
        ROW(eqf_presets, "~", f.sizes[1]),
        ROW(eqf_preset_find, "~", preset_name),
        ROW(eqf_preset_minimum_structure, "~~", preset, a),
        ROW(eqf_preset_matches, "~~", preset, potential),
        ROW(eqf_preset_training_options, "!.!", preset, _, &few),
        ROW(eqf_preset_for_potential, "o!!", ctx, potential, &f.pointer),
        ROW(eqf_selftest, "!oo", ctx, x, x),
        ROW(eqf_selftest_of, "!ooo", ctx, x, x, x),
        ROW(eqf_trainer_create, "!!o.!.!!", ctx, f.model, &few, _, x, _, x, &f.pointer),
        ROW(eqf_trainer_create_stages, "!!.!.!.!!", ctx, f.model, _, &stages, _, x, _, x, &f.pointer),
        ROW(eqf_trainer_destroy, "~", &nothing),
        ROW(eqf_trainer_save_checkpoint, "!!", f.trainer, f.out),
        ROW(eqf_trainer_restore_checkpoint, "!!", f.trainer, f.out),
        ROW(eqf_trainer_advance, "!.o", f.trainer, _, &training_state),
        ROW(eqf_trainer_best_model, "!!", f.trainer, &f.pointer),
        /* of the device's second precision, last */
        ROW(eqf_flow_sample_double, "!...!o", f.in_double, _, _, _, u, v),
        ROW(eqf_flow_log_prob_double, "!.!!o", f.in_double, _, wide_x, u, v),
    };
    enum { NUM_ROWS = sizeof rows / sizeof rows[0] };
    for (size_t r = 0; r < NUM_ROWS; r++)
        if (rows[r].arguments[0] != NULL || rows[r].rule[0] == '.') check_row(&f, &rows[r]);
    unsigned num_forgotten = 0;
    for (size_t n = 0; n < NUM_FUNCTIONS; n++) {
        bool is_here = strchr(functions[n].pointers, 'p') == NULL;
        for (size_t r = 0; r < NUM_ROWS; r++) is_here = is_here || strcmp(rows[r].name, functions[n].name) == 0;
        if (!is_here) {
            num_forgotten++;
            print_message("%s(%s) has no row here\n", functions[n].name, functions[n].pointers);
        }
    }
    tear_down(&f);
    print_message("%d functions, %u calls\n", (int)NUM_FUNCTIONS, num_calls);
    assert_int_equal(num_wrong, 0);
    assert_int_equal(num_forgotten, 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_null)};
    return cmocka_run_group_tests(tests, NULL, test_folders_teardown);
}
