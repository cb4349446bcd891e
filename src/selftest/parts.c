/* What selftest runs beside flows: potentials of each kind, what is made of them, and training. */
#include <math.h>

#include "chains.h"
#include "eqflow/bench.h"
#include "host_potential.h"
#include "host_reference.h"
#include "potential.h"
#include "quench.h"
#include "selftest_internal.h"
#include "solve.h"
#include "train_internal.h"

enum { NUM_PARTICLES = 4, SPACE_DIM = 2, NUM_DOF = NUM_PARTICLES * SPACE_DIM };

/* ---- Potentials -------------------------------------------------------------------------------------------------- */

static eqf_potential_options potential_of(eqf_potential_kind kind) {
    eqf_potential_options options = EQF_POTENTIAL_OPTIONS_INIT;
    options.kind = kind;
    options.num_particles = NUM_PARTICLES;
    options.space_dim = SPACE_DIM;
    options.temperature = 1.5;
    options.linear = 0.5;
    options.distance_offset = 2;
    options.r_min = 0.7;
    return options;
}

static eqf_status check_chains(eqf__checker *checker, const eqf_potential_options *potential) {
    enum { NUM_SAMPLES = 16 };
    float x[NUM_SAMPLES * NUM_DOF], energies[NUM_SAMPLES];
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.num_chains = NUM_SAMPLES;
    options.num_burn_in = 100;
    options.thinning = 10;
    eqf__check_begin(checker);
    return eqf__mcmc_sample(checker, potential, &options, NUM_SAMPLES, x, energies, NULL);
}

static eqf_status check_ladders(eqf__checker *checker, const eqf_potential_options *potential) {
    enum { NUM_SAMPLES = 4, NUM_TEMPERATURES = 3 };
    float x[NUM_TEMPERATURES * NUM_SAMPLES * NUM_DOF];
    eqf_replica_options options = EQF_REPLICA_OPTIONS_INIT;
    options.num_temperatures = NUM_TEMPERATURES;
    options.highest_temperature = 2 * potential->temperature;
    options.num_ladders = NUM_SAMPLES;
    options.num_burn_in = 100;
    options.thinning = 10;
    eqf__check_begin(checker);
    return eqf__replica_sample(checker, potential, &options, NUM_SAMPLES, x, NULL, NULL);
}

static eqf_status check_seed(eqf__checker *checker, const eqf_potential_options *potential) {
    eqf__kernel seed = {0};
    eqf_status status = eqf__energy_seed_create(checker->ctx, potential, &seed);
    if (status == EQF_OK) status = eqf__check_energy_seed(checker, potential, &seed);
    eqf__kernel_destroy(&seed);
    return status;
}

static eqf_status check_descents(eqf__checker *checker, const eqf_potential_options *potential, bool is_double) {
    const eqf_quench_options options = EQF_QUENCH_OPTIONS_INIT;
    eqf__quench run;
    eqf__quench_begin(checker->ctx, potential, &options, is_double, 1, &run);
    eqf_status status = eqf__quench_create_kernels(&run);
    if (status == EQF_OK) status = eqf__check_quench(checker, &run);
    eqf__quench_clear(&run);
    return status;
}

static eqf_status check_kind(eqf__checker *checker, eqf_potential_kind kind) {
    const eqf_potential_options potential = potential_of(kind);
    EQF__TRY(eqf__check_potential(checker, &potential));
    EQF__TRY(check_chains(checker, &potential));
    EQF__TRY(check_ladders(checker, &potential));
    EQF__TRY(check_seed(checker, &potential));
    EQF__TRY(check_descents(checker, &potential, false));
    return checker->ctx->device->info.has_fp64 ? check_descents(checker, &potential, true) : EQF_OK;
}

/* Every kind whose formula the host knows; one that fails does not keep the others from being asked. */
static eqf_status run_potentials(eqf__checker *checker) {
    eqf_status first = EQF_OK;
    const eqf_potential_kind_info *kind;
    for (unsigned k = 0; (kind = eqf_potential_kind_describe((eqf_potential_kind)k)) != NULL; k++) {
        if (kind->has_text) continue;
        checker->subject = kind->title;
        eqf__check_begin(checker);
        const eqf_status status = check_kind(checker, (eqf_potential_kind)k);
        if (first == EQF_OK) first = status;
    }
    return first;
}

/* ---- A potential of one's own ------------------------------------------------------------------------------------ */

/* Springs between all pairs, and the same on the host. */
static const char springs[] = "real energy(const real *x) {\n"
                              "    real sum = 0;\n"
                              "    for (uint i = 1; i < N; i++)\n"
                              "        for (uint j = 0; j < i; j++)\n"
                              "            for (uint d = 0; d < D; d++) {\n"
                              "                real r = x[i * D + d] - x[j * D + d];\n"
                              "                sum += (real)1.5f * r * r;\n"
                              "            }\n"
                              "    return sum;\n"
                              "}\n"
                              "void energy_gradient(const real *x, real *gradient) {\n"
                              "    for (uint c = 0; c < N * D; c++) gradient[c] = 0;\n"
                              "    for (uint i = 1; i < N; i++)\n"
                              "        for (uint j = 0; j < i; j++)\n"
                              "            for (uint d = 0; d < D; d++) {\n"
                              "                real r = x[i * D + d] - x[j * D + d];\n"
                              "                gradient[i * D + d] += 3 * r;\n"
                              "                gradient[j * D + d] -= 3 * r;\n"
                              "            }\n"
                              "}\n";

static double springs_force(const float *x, unsigned at) {
    double force = 0;
    for (unsigned j = 0; j < NUM_PARTICLES; j++)
        force -= 3 * ((double)x[at] - (double)x[j * SPACE_DIM + at % SPACE_DIM]);
    return force;
}

static double springs_energy(const float *x) {
    double sum = 0;
    for (unsigned at = 0; at < NUM_DOF; at++) sum -= 0.5 * x[at] * springs_force(x, at);
    return sum;
}

static eqf_status run_own_potential(eqf__checker *checker) {
    eqf_potential_options own = EQF_POTENTIAL_OPTIONS_INIT;
    eqf__program *program;
    float x[NUM_DOF], energy, force[NUM_DOF];
    while (!eqf_potential_kind_describe(own.kind)->has_text) own.kind++; /* there is one */
    own.num_particles = NUM_PARTICLES;
    own.space_dim = SPACE_DIM;
    own.temperature = 2;
    own.source = springs;
    eqf__answer of_energy = {"energy and force", 0, 1e-5, eqf__plain_width(checker->ctx)};
    eqf__answer of_gradient = {"force against differences of the energy", 0, 2e-3, ""};
    for (unsigned c = 0; c < NUM_DOF; c++) x[c] = (float)(2 * eqf__host_number(c, 21));
    EQF__TRY(eqf__potential_program(checker->ctx, &own, &program));
    EQF__TRY(eqf__potential_evaluate(checker->ctx, &own, 1, x, &energy, force));
    const double expected = springs_energy(x) / own.temperature;
    of_energy.error = fabs(expected - (double)energy) / (1 + fabs(expected));
    for (unsigned c = 0; c < NUM_DOF; c++)
        of_energy.error = eqf__host_worse(
            of_energy.error, fabs(springs_force(x, c) / own.temperature - (double)force[c]) / (1 + fabs(expected)));
    EQF__TRY(eqf__check_report(checker, &of_energy, 1, &program));
    eqf__check_begin(checker);
    const eqf_status status = eqf_potential_verify(checker->ctx, &own, &of_gradient.error);
    if (status != EQF_OK && status != EQF_ERROR_FORMAT) return status;
    if (status != EQF_OK) of_gradient.error = NAN; /* found wrong, which it is not */
    return eqf__check_report(checker, &of_gradient, 1, &program);
}

/* ---- Sums of partial gradients ----------------------------------------------------------------------------------- */

/* The problems of flows are so small that one part has all of them. */
static eqf_status run_sums(eqf__checker *checker) {
    enum { NUM_PARTIALS = 5, NUM = 32 };
    static const char *const files[] = {"common/real.clh", "common/sum.cl", NULL};
    eqf_context *ctx = checker->ctx;
    eqf__program *program;
    eqf__kernel sum = {0};
    cl_mem d_partials = NULL, d_sum = NULL;
    float partials[NUM_PARTIALS * NUM], got[NUM];
    const cl_uint num_partials = NUM_PARTIALS, num = NUM;
    eqf__answer answer = {"numbers in order", 0, 1e-6, eqf__plain_width(ctx)};
    for (unsigned i = 0; i < NUM_PARTIALS * NUM; i++) partials[i] = (float)eqf__host_number(i, 22);
    EQF__TRY(eqf__program_get(ctx, "sums", files, "", &program));
    eqf_status status = eqf__kernel_create(ctx, program, "sum_partials", &sum);
    if (status == EQF_OK) status = eqf__buffer_create(ctx, sizeof partials, partials, "the known answers", &d_partials);
    if (status == EQF_OK) status = eqf__buffer_create(ctx, sizeof got, NULL, "the known answers", &d_sum);
    if (status == EQF_OK)
        status = EQF__LAUNCH(ctx, &sum, eqf__stride(ctx, NUM / ctx->device->vector_width), 0, EQF__ARG(d_partials),
                             EQF__ARG(d_sum), EQF__ARG(num_partials), EQF__ARG(num));
    if (status == EQF_OK) status = eqf__buffer_read(ctx, d_sum, 0, sizeof got, got);
    for (unsigned i = 0; i < NUM && status == EQF_OK; i++) {
        double expected = 0;
        for (unsigned p = 0; p < NUM_PARTIALS; p++) expected += partials[p * NUM + i];
        answer.error = eqf__host_worse(answer.error, fabs(expected - (double)got[i]));
    }
    if (status == EQF_OK) status = eqf__check_report(checker, &answer, 1, &program);
    eqf__kernel_destroy(&sum);
    eqf__buffer_destroy(&d_partials);
    eqf__buffer_destroy(&d_sum);
    return status;
}

/* ---- Training ---------------------------------------------------------------------------------------------------- */

static eqf_status run_training(eqf__checker *checker) {
    eqf_context *ctx = checker->ctx;
    eqf__kernel gather = {0}, blend = {0}, measure = {0}, augment = {0};
    eqf__program *program;
    const eqf__training_kernels kernels = {&gather, &blend, &measure, &augment, NUM_PARTICLES, SPACE_DIM};
    EQF__TRY(eqf__training_program(ctx, &program));
    eqf_status status = eqf__kernel_create(ctx, program, "gather", &gather);
    if (status == EQF_OK) status = eqf__kernel_create(ctx, program, "blend_gradient", &blend);
    if (status == EQF_OK) status = eqf__kernel_create(ctx, program, "measure_step", &measure);
    if (status == EQF_OK) status = eqf__augment_create(ctx, NUM_PARTICLES, SPACE_DIM, &augment);
    if (status == EQF_OK) status = eqf__check_training(checker, &kernels);
    eqf__stage_programs programs = {.num_particles = NUM_PARTICLES, .space_dim = SPACE_DIM};
    if (status == EQF_OK) status = eqf__matching_program(ctx, NUM_PARTICLES * SPACE_DIM, &programs.matching);
    if (status == EQF_OK) status = eqf__weighted_program(ctx, NUM_PARTICLES * SPACE_DIM, &programs.weighted);
    if (status == EQF_OK) status = eqf__path_program(ctx, NUM_PARTICLES, SPACE_DIM, &programs.path);
    if (status == EQF_OK) status = eqf__check_stages(checker, &programs);
    eqf__kernel *made[] = {&gather, &blend, &measure, &augment};
    for (size_t k = 0; k < sizeof made / sizeof made[0]; k++) eqf__kernel_destroy(made[k]);
    return status;
}

/* ---- The device's limits ----------------------------------------------------------------------------------------- */

/* It checks its own sums and copies. */
static eqf_status run_probe(eqf__checker *checker) {
    eqf_bench_yardsticks yardsticks = EQF_BENCH_YARDSTICKS_INIT;
    const eqf__answer answer = {"additions and copies", 0, 0, ""};
    EQF__TRY(eqf_bench_probe(checker->ctx, &yardsticks));
    return eqf__check_report(checker, &answer, 0, NULL);
}

const eqf__selftest_part eqf__selftest_parts[] = {
    {"sums of partial gradients", run_sums},
    {"potentials", run_potentials},
    {"a potential of one's own", run_own_potential},
    {"training", run_training},
    {"the probe of the device's limits", run_probe},
};
const size_t eqf__selftest_num_parts = sizeof eqf__selftest_parts / sizeof eqf__selftest_parts[0];
