/* The parts of selftest beside flows: potentials of each kind with chains and descents, and training. */
#include <math.h>

#include "chains.h"
#include "host_potential.h"
#include "particles.h"
#include "potential.h"
#include "quench.h"
#include "selftest_internal.h"
#include "solve.h"
#include "train_internal.h"

enum { NUM_PARTICLES = 4, NUM_B = 1, SPACE_DIM = 2, NUM_DOF = NUM_PARTICLES * SPACE_DIM };

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
    options.num_b = NUM_B; /* of kinds with species */
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

/* From the potential to a warmer one. */
static eqf_status check_states(eqf__checker *checker, const eqf_potential_options *potential) {
    enum { NUM_SAMPLES = 4, NUM_STATES = 2 };
    float x[NUM_STATES * NUM_SAMPLES * NUM_DOF];
    eqf_potential_options states[NUM_STATES] = {*potential, *potential};
    states[1].temperature *= 2;
    eqf_replica_options options = EQF_REPLICA_OPTIONS_INIT;
    options.num_ladders = NUM_SAMPLES;
    options.num_burn_in = 100;
    options.thinning = 10;
    eqf__check_begin(checker);
    return eqf__replica_sample_states(checker, NUM_STATES, states, &options, NUM_SAMPLES, x, NULL, NULL);
}

/* Moves under the potential and a warmer one. */
static eqf_status check_particles(eqf__checker *checker, const eqf_potential_options *potential) {
    eqf_potential_options start = *potential;
    start.temperature *= 2;
    eqf__particles particles;
    eqf__check_begin(checker);
    const eqf_status status = eqf__particles_create(checker, potential, &start, 1, &particles);
    if (status == EQF_OK) eqf__particles_clear(&particles);
    return status;
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
    eqf_status status = eqf__quench_create(&run);
    if (status == EQF_OK) status = eqf__check_quench(checker, &run);
    eqf__quench_clear(&run);
    return status;
}

static eqf_status check_kind(eqf__checker *checker, eqf_potential_kind kind) {
    const eqf_potential_options potential = potential_of(kind);
    EQF__TRY(eqf__check_potential(checker, &potential));
    EQF__TRY(check_chains(checker, &potential));
    EQF__TRY(check_ladders(checker, &potential));
    EQF__TRY(check_states(checker, &potential));
    EQF__TRY(check_particles(checker, &potential));
    EQF__TRY(check_seed(checker, &potential));
    EQF__TRY(check_descents(checker, &potential, false));
    return checker->ctx->device->info.has_fp64 ? check_descents(checker, &potential, true) : EQF_OK;
}

/* Every kind whose formula the host knows; after a failure the others run too. */
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

/* ---- Training ---------------------------------------------------------------------------------------------------- */

static eqf_status run_training(eqf__checker *checker) {
    eqf_context *ctx = checker->ctx;
    eqf__kernel gather = {0}, blend = {0}, measure = {0}, augment = {0};
    eqf__program *program;
    const eqf__training_kernels kernels = {&gather, &blend, &measure, &augment, NUM_PARTICLES, SPACE_DIM, NUM_B};
    EQF__TRY(eqf__training_program(ctx, &program));
    eqf_status status = eqf__kernel_create(ctx, program, "gather", &gather);
    if (status == EQF_OK) status = eqf__kernel_create(ctx, program, "blend_gradient", &blend);
    if (status == EQF_OK) status = eqf__kernel_create(ctx, program, "measure_step", &measure);
    if (status == EQF_OK) status = eqf__augment_create(ctx, NUM_PARTICLES, NUM_B, SPACE_DIM, &augment);
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

const eqf__selftest_part eqf__selftest_parts[] = {
    {"sums of partial gradients", eqf__check_sums},          {"potentials", run_potentials},
    {"a potential of one's own", eqf__check_own_potential},  {"training", run_training},
    {"the probe of the device's limits", eqf__check_limits},
};
const size_t eqf__selftest_num_parts = sizeof eqf__selftest_parts / sizeof eqf__selftest_parts[0];
