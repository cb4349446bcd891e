/* Known answers of a potential given as text, for selftest. (The gradient of a text that a user loads is compared with
 * its energy: verify.c.) */
#include <math.h>

#include "answers.h"
#include "host_reference.h"
#include "potential.h"

enum { NUM_PARTICLES = 4, SPACE_DIM = 2, NUM_DOF = NUM_PARTICLES * SPACE_DIM };

/* Springs between all pairs, as text and on the host. */
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

typedef struct own_problem {
    eqf__problem base;
    eqf_potential_options potential;
} own_problem;

EQF__ANSWER(own_energies) {
    const eqf_potential_options *own = &((const own_problem *)problem)->potential;
    float x[NUM_DOF], energy, force[NUM_DOF];
    for (unsigned c = 0; c < NUM_DOF; c++) x[c] = (float)(2 * eqf__host_number(c, 21));
    EQF__TRY(eqf__potential_evaluate(problem->ctx, own, 1, x, &energy, force));
    const double expected = springs_energy(x) / own->temperature;
    *error_out = fabs(expected - (double)energy) / (1 + fabs(expected));
    for (unsigned c = 0; c < NUM_DOF; c++)
        *error_out = eqf__host_worse(*error_out, fabs(springs_force(x, c) / own->temperature - (double)force[c]) /
                                                     (1 + fabs(expected)));
    return EQF_OK;
}

EQF__ANSWER(own_forces) {
    const eqf_status status = eqf_potential_verify(problem->ctx, &((const own_problem *)problem)->potential, error_out);
    if (status != EQF_ERROR_FORMAT) return status;
    *error_out = NAN; /* the check refused a right text */
    return EQF_OK;
}

eqf_status eqf__check_own_potential(eqf__checker *checker) {
    own_problem t = {.base = {.ctx = checker->ctx,
                              .topic = EQF__TOPIC_OWN_POTENTIAL,
                              .answers = EQF__ANSWERS_OF_VALUES,
                              .plain = eqf__plain_width(checker->ctx)},
                     .potential = EQF_POTENTIAL_OPTIONS_INIT};
    while (!eqf_potential_kind_describe(t.potential.kind)->has_text) t.potential.kind++; /* such a kind exists */
    t.potential.num_particles = NUM_PARTICLES;
    t.potential.space_dim = SPACE_DIM;
    t.potential.temperature = 2;
    t.potential.source = springs;
    EQF__TRY(eqf__potential_program(checker->ctx, &t.potential, &t.base.programs[0]));
    return eqf__check(checker, &t.base);
}
