/* assemble DESCRIPTION FOLDER [CASES]: every program that the library assembles for the device that a file describes
 * (src/device/described.h), one folder a case below FOLDER; with CASES only of those whose name begins so
 * ("lj13.radial"). The verbs run on a few samples; what they compute means nothing. Last line: how many cases there
 * were. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "described.h"
#include "eqflow/eqflow.h"
#include "particles.h"

enum { BATCH = 9, NUM_GENERATED = 8, MAX_DOF = 165 };

typedef struct target {
    eqf_context *ctx;
    const eqf_preset *preset;
    eqf_potential_options potential;
    size_t num_dof;
    float x[BATCH * MAX_DOF];
} target;

/* A user's potential of four particles in a plane, with all that such a text may use. */
static const char user_text[] =
    "real energy(const real *x) {\n"
    "    real sum = 0;\n"
    "    for (uint i = 0; i < N; i++)\n"
    "        for (uint j = 0; j < i; j++) {\n"
    "            real s = 0;\n"
    "            for (uint d = 0; d < D; d++) s += (x[i * D + d] - x[j * D + d]) * (x[i * D + d] - x[j * D + d]);\n"
    "            sum += stiffness * (s - 1) * (s - 1);\n"
    "        }\n"
    "    return sum;\n"
    "}\n"
    "void energy_gradient(const real *x, real *gradient) {\n"
    "    for (uint c = 0; c < N * D; c++) gradient[c] = 0;\n"
    "    for (uint i = 0; i < N; i++)\n"
    "        for (uint j = 0; j < N; j++) {\n"
    "            real s = 0;\n"
    "            for (uint d = 0; d < D; d++) s += (x[i * D + d] - x[j * D + d]) * (x[i * D + d] - x[j * D + d]);\n"
    "            for (uint d = 0; d < D; d++)\n"
    "                gradient[i * D + d] += 4 * stiffness * (s - 1) * (x[i * D + d] - x[j * D + d]);\n"
    "        }\n"
    "}\n";

/* ---- Cases: what a user can ask for, each with a context of its own ---------------------------------------------- */

#define TRY(call)                                    \
    do {                                             \
        const eqf_status try_status = (call);        \
        if (try_status != EQF_OK) return try_status; \
    } while (0)

/* The preset's model with another field; what the preset does not say of it has its default. */
static eqf_model_options model_with(const target *t, eqf_dynamics_kind kind) {
    const eqf_dynamics_options defaults = EQF_DYNAMICS_OPTIONS_INIT;
    eqf_model_options options = *t->preset->model;
    if (kind == EQF_DYNAMICS_MESSAGE) {
        const double distance_max = options.dynamics.distance_max;
        options.dynamics = defaults;
        options.dynamics.distance_max = distance_max;
    }
    options.dynamics.kind = kind;
    return options;
}

static eqf_status solve(target *t, eqf_dynamics_kind kind, const eqf_flow_options *options, bool has_gradient) {
    eqf_model_options model_options = model_with(t, kind);
    eqf_model *model = NULL;
    eqf_flow *flow = NULL;
    float out[BATCH * MAX_DOF], log_prob[BATCH];
    TRY(eqf_model_create(t->ctx, &model_options, &model));
    float *gradient = calloc(eqf_model_num_params(model), sizeof *gradient);
    eqf_status status = gradient == NULL ? EQF_ERROR_OUT_OF_MEMORY : eqf_flow_create(t->ctx, model, options, &flow);
    if (status == EQF_OK) status = eqf_flow_sample(flow, 1, 0, BATCH, out, log_prob);
    if (status == EQF_OK) status = eqf_flow_log_prob(flow, BATCH, t->x, log_prob, out);
    if (status == EQF_OK) status = eqf_flow_velocity(flow, 0.3, BATCH, t->x, out, log_prob);
    eqf_loss loss = EQF_LOSS_INIT;
    if (status == EQF_OK && has_gradient) status = eqf_flow_nll_gradient(flow, 0, BATCH, t->x, &loss, gradient, NULL);
    eqf_energy_loss energy_loss = EQF_ENERGY_LOSS_INIT;
    if (status == EQF_OK && has_gradient && options->method == EQF_INTEGRATOR_RK4)
        status = eqf_flow_energy_gradient(flow, &t->potential, 1e3, 0.1, BATCH, t->x, &energy_loss, gradient);
    /* A message field has a program of its own for the reverse of velocities. */
    if (status == EQF_OK && has_gradient && kind == EQF_DYNAMICS_MESSAGE)
        status = eqf_flow_velocity_vjp(flow, 0.5, BATCH, t->x, t->x, NULL, out, gradient);
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    free(gradient);
    return status;
}

static eqf_status radial_table(target *t) {
    const eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    return solve(t, EQF_DYNAMICS_RADIAL, &options, true);
}

static eqf_status radial_direct(target *t) {
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.field_evaluation = EQF_FIELD_DIRECT;
    return solve(t, EQF_DYNAMICS_RADIAL, &options, true);
}

static eqf_status radial_dopri5(target *t) {
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.method = EQF_INTEGRATOR_DOPRI5;
    return solve(t, EQF_DYNAMICS_RADIAL, &options, true);
}

static eqf_status radial_double(target *t) {
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TRY(eqf_context_device(t->ctx, &device));
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.precision = EQF_PRECISION_DOUBLE;
    return device.has_fp64 ? solve(t, EQF_DYNAMICS_RADIAL, &options, false) : EQF_OK;
}

static eqf_status dense(target *t) {
    const eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    return solve(t, EQF_DYNAMICS_DENSE, &options, true);
}

static eqf_status dense_estimated(target *t) {
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.divergence = EQF_DIVERGENCE_RADEMACHER;
    TRY(solve(t, EQF_DYNAMICS_DENSE, &options, true));
    options.divergence = EQF_DIVERGENCE_GAUSSIAN;
    return solve(t, EQF_DYNAMICS_DENSE, &options, true);
}

static eqf_status dense_dopri5(target *t) {
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.method = EQF_INTEGRATOR_DOPRI5;
    return solve(t, EQF_DYNAMICS_DENSE, &options, true);
}

static eqf_status message(target *t) {
    const eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    return solve(t, EQF_DYNAMICS_MESSAGE, &options, true);
}

static eqf_status message_dopri5(target *t) {
    eqf_flow_options options = EQF_FLOW_OPTIONS_INIT;
    options.method = EQF_INTEGRATOR_DOPRI5;
    return solve(t, EQF_DYNAMICS_MESSAGE, &options, true);
}

/* One step with the options as they are, of a field of that kind. */
static eqf_status train_step(target *t, eqf_dynamics_kind kind, eqf_training_options options) {
    options.batch_size = BATCH;
    options.num_steps = 1;
    options.num_generated = options.num_held_out_generated = NUM_GENERATED;
    eqf_model_options model_options = model_with(t, kind);
    eqf_model *model = NULL;
    eqf_trainer *trainer = NULL;
    eqf_training_state state = EQF_TRAINING_STATE_INIT;
    TRY(eqf_model_create(t->ctx, &model_options, &model));
    eqf_status status = eqf_trainer_create(t->ctx, model, &options, BATCH, t->x, BATCH, t->x, &trainer);
    if (status == EQF_OK) status = eqf_trainer_advance(trainer, 1, &state);
    /* records of zeros say that the step failed */
    if (status == EQF_ERROR_NON_FINITE && trainer != NULL) status = EQF_OK;
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&model);
    return status;
}

static eqf_status train(target *t) {
    eqf_training_options options = *t->preset->training;
    options.is_augmented = true;
    options.nll_weight_start = options.nll_weight_end = 0.5;
    options.data_noise = 0.01;
    return train_step(t, EQF_DYNAMICS_RADIAL, options);
}

static eqf_status train_matching(target *t) {
    eqf_training_options options = *t->preset->training;
    const eqf_training_options defaults = EQF_TRAINING_OPTIONS_INIT;
    options.objective = EQF_OBJECTIVE_FLOW_MATCHING;
    options.pairing_group = defaults.pairing_group;
    return train_step(t, EQF_DYNAMICS_MESSAGE, options);
}

static eqf_status train_path(target *t) {
    eqf_training_options options = *t->preset->training;
    options.gradient = EQF_GRADIENT_PATH;
    options.integration_penalty = 0;
    return train_step(t, EQF_DYNAMICS_MESSAGE, options);
}

static eqf_status energy(target *t) {
    float u[BATCH], force[BATCH * MAX_DOF];
    TRY(eqf_potential_evaluate(t->ctx, &t->potential, BATCH, t->x, u, force));
    if (t->potential.kind != EQF_POTENTIAL_USER) return EQF_OK;
    double error;
    const eqf_status status = eqf_potential_verify(t->ctx, &t->potential, &error);
    return status == EQF_ERROR_SELF_TEST || status == EQF_ERROR_FORMAT ? EQF_OK : status; /* zeros are no gradient */
}

static eqf_status chains(target *t) {
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.num_chains = 8;
    options.num_burn_in = 20;
    options.thinning = 10;
    float x[NUM_GENERATED * MAX_DOF], u[NUM_GENERATED];
    eqf_mcmc_diagnostics diagnostics = EQF_MCMC_DIAGNOSTICS_INIT;
    return eqf_mcmc_sample(t->ctx, &t->potential, &options, NUM_GENERATED, x, u, &diagnostics);
}

static eqf_status states(target *t) {
    eqf_potential_options two[2] = {t->potential, t->potential};
    two[1].temperature *= 2;
    eqf_replica_options options = EQF_REPLICA_OPTIONS_INIT;
    options.num_ladders = NUM_GENERATED / 2;
    options.num_burn_in = 20;
    options.thinning = 10;
    float x[NUM_GENERATED * MAX_DOF];
    return eqf_replica_sample_states(t->ctx, 2, two, &options, NUM_GENERATED / 2, x, NULL, NULL);
}

/* Moves of single particles of annealing. */
static eqf_status particles(target *t) {
    eqf_potential_options start = t->potential;
    start.temperature *= 2;
    eqf__checker checker = eqf__checker_of(t->ctx);
    eqf__particles all;
    float x[BATCH * MAX_DOF];
    TRY(eqf__particles_create(&checker, &t->potential, &start, BATCH, &all));
    const eqf__particle_move move = {.step_size = 0.1, .share_start = 0.5, .share_target = 0.5};
    eqf_status status = eqf__particles_put(&all, t->x, NULL);
    if (status == EQF_OK) status = eqf__particles_propose(&all, &move, x);
    if (status == EQF_OK) status = eqf__particles_decide(&all, &move, NULL);
    eqf__particles_clear(&all);
    return status;
}

static eqf_status ladders(target *t) {
    eqf_replica_options options = EQF_REPLICA_OPTIONS_INIT;
    options.num_temperatures = 2;
    options.highest_temperature = 2 * t->potential.temperature;
    options.num_ladders = NUM_GENERATED / 2;
    options.num_burn_in = 20;
    options.thinning = 10;
    float x[NUM_GENERATED * MAX_DOF];
    return eqf_replica_sample(t->ctx, &t->potential, &options, NUM_GENERATED / 2, x, NULL, NULL);
}

static eqf_status quench(target *t, eqf_quench_precision precision) {
    eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    options.precision = precision;
    options.max_steps = 20;
    double x[BATCH * MAX_DOF], u[BATCH], norm[BATCH];
    eqf_quench_result result[BATCH];
    eqf_quench_summary summary = EQF_QUENCH_SUMMARY_INIT;
    return eqf_minima_quench(t->ctx, &t->potential, &options, BATCH, t->x, x, u, norm, result, &summary);
}

static eqf_status minima(target *t) {
    return quench(t, EQF_QUENCH_FLOAT);
}

static eqf_status minima_double(target *t) {
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TRY(eqf_context_device(t->ctx, &device));
    return device.has_fp64 ? quench(t, EQF_QUENCH_DOUBLE) : EQF_OK;
}

static eqf_status probe(target *t) {
    eqf_bench_yardsticks yardsticks = EQF_BENCH_YARDSTICKS_INIT;
    const eqf_status status = eqf_bench_probe(t->ctx, &yardsticks);
    return status == EQF_ERROR_SELF_TEST ? EQF_OK : status; /* it counted nothing */
}

static const struct {
    const char *name;
    eqf_status (*run)(target *t);
    bool is_of_field; /* of a model's, which does not know the potential */
} cases[] = {
    {"radial-table", radial_table, true},
    {"radial-direct", radial_direct, true},
    {"radial-dopri5", radial_dopri5, true},
    {"radial-double", radial_double, true},
    {"dense", dense, true},
    {"dense-estimated", dense_estimated, true},
    {"dense-dopri5", dense_dopri5, true},
    {"message", message, true},
    {"message-dopri5", message_dopri5, true},
    {"train", train, true},
    {"train-matching", train_matching, true},
    {"train-path", train_path, true},
    {"energy", energy, false},
    {"mcmc", chains, false},
    {"replica", ladders, false},
    {"states", states, false},
    {"particle", particles, false},
    {"minima", minima, false},
    {"minima-double", minima_double, false},
    {"probe", probe, true},
};

/* ---- All of them ------------------------------------------------------------------------------------------------- */

static int fail(const char *what, const eqf_context *ctx) {
    fprintf(stderr, "assemble: %s: %s\n", what, ctx != NULL ? eqf_context_error(ctx) : "no context");
    return 1;
}

/* A lattice: no two particles in one place. */
static void place(target *t) {
    const unsigned D = t->potential.space_dim;
    for (size_t c = 0; c < BATCH * t->num_dof; c++) {
        const size_t i = c % t->num_dof / D, d = c % D;
        const size_t cell = d == 0 ? i % 4 : d == 1 ? i / 4 % 4 : i / 16;
        t->x[c] = (float)cell - 1.5f + 0.01f * (float)(c % 7);
    }
}

static int run_case(const char *description, const char *folder, target *t, const char *name, size_t number) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    if (mkdir(path, 0777) != 0) return fail(path, NULL);
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    options.cache_path = "";
    if (eqf_context_create(&options, &t->ctx) != EQF_OK) return fail("eqf_context_create", NULL);
    eqf_status status = eqf__device_open_described(t->ctx, description, path);
    if (status == EQF_OK) status = cases[number].run(t);
    /* A device's limit of launches may be too small for a step: the library says so, and there is no such program to
     * compile. */
    if (status == EQF_ERROR_UNSUPPORTED) printf("refused: %s: %s\n", name, eqf_context_error(t->ctx));
    const int code = status == EQF_OK || status == EQF_ERROR_UNSUPPORTED ? 0 : fail(path, t->ctx);
    eqf_context_destroy(&t->ctx);
    return code;
}

int main(int argc, char **argv) {
    static target t;
    static const char *const systems[] = {"dw4", "lj13", "lj55", "user4"};
    if (argc != 3 && argc != 4) return fprintf(stderr, "usage: assemble DESCRIPTION FOLDER [CASES]\n"), 2;
    unsigned num_cases = 0;
    for (size_t s = 0; s < sizeof systems / sizeof systems[0]; s++) {
        const bool is_user = strncmp(systems[s], "user", 4) == 0;
        t.preset = eqf_preset_find(is_user ? "dw4" : systems[s]);
        if (t.preset == NULL) return fail(systems[s], NULL);
        t.potential = t.preset->model->potential;
        if (is_user) {
            t.potential.kind = EQF_POTENTIAL_USER;
            t.potential.source = user_text;
            t.potential.length = 1;
            if (eqf_potential_set_constant(NULL, &t.potential, "stiffness", 2) != EQF_OK)
                return fail("stiffness", NULL);
        }
        t.num_dof = (size_t)t.potential.num_particles * t.potential.space_dim;
        place(&t);
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            char name[64];
            snprintf(name, sizeof name, "%s.%s", systems[s], cases[c].name);
            if (is_user && cases[c].is_of_field) continue;
            if (argc == 4 && strncmp(name, argv[3], strlen(argv[3])) != 0) continue;
            if (run_case(argv[1], argv[2], &t, name, c) != 0) return 1;
            num_cases++;
        }
    }
    printf("%u cases\n", num_cases);
    return 0;
}
