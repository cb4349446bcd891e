/* Known answers: small problems whose results the host computes in double (host_reference.h) and compares with those of
 * the programs that are about to be used. They are one table (answers.c) with two callers:
 *   the first use of a program   only programs that have not passed yet are checked, and the first wrong answer is an
 *       error;
 *   eqflow selftest              every row runs and is reported.
 * No module below this one knows of checks: build, then check, then use. */
#ifndef EQF_CHECK_H
#define EQF_CHECK_H

#include "eqflow/flow.h"
#include "eqflow/potential.h"
#include "eqflow/selftest.h"
#include "program.h"

typedef struct eqf__checker eqf__checker;

/* The caller. */
struct eqf__checker {
    eqf_context *ctx;
    eqf_selftest_callback callback; /* of selftest; NULL: the first use of a program */
    void *user;
    const char *subject; /* of selftest: the name of what is checked, "radial table, RK4" */
    unsigned num_failed;
};
/* For the first use of a program. */
static inline eqf__checker eqf__checker_of(eqf_context *ctx) {
    return (eqf__checker){.ctx = ctx};
}

/* The result of one row. */
typedef struct eqf__answer {
    const char *what; /* the quantity */
    double error, tolerance;
    const char *plain; /* what to try if it is wrong, "EQF_FIELD_DIRECT" or "" */
} eqf__answer;

/* Whether the program is to be checked now. */
bool eqf__check_is_due(const eqf__checker *checker, const eqf__program *program, eqf__answers answers);
/* Compares the error with the tolerance; NaN is wrong. At the first use of a program a wrong answer is the error
 * SELF_TEST, whose message names the programs that may be the cause, device and driver. selftest gets every answer by
 * its callback and goes on. */
eqf_status eqf__check_report(eqf__checker *checker, const eqf__answer *answer, size_t num_programs,
                             eqf__program *const *programs);
/* For selftest: records launches for the next report, which names their kernels. */
void eqf__check_begin(eqf__checker *checker);
/* Marks the program as passed, unless selftest found a wrong answer. */
void eqf__check_done(const eqf__checker *checker, eqf__program *program, eqf__answers answers);

/* ---- What is checked --------------------------------------------------------------------------------------------- */

/* The programs of a flow, as they are assembled now. For gradients it builds their programs first. */
eqf_status eqf__check_flow(eqf__checker *checker, eqf_flow *flow, eqf__answers answers);
/* The programs of eqf_flow_velocity_vjp. */
eqf_status eqf__check_vjp(eqf__checker *checker, eqf_flow *flow);
/* Energies and forces. A user's potential has no formula on the host; its gradient was compared with its energy when it
 * was loaded (verify.c). */
eqf_status eqf__check_potential(eqf__checker *checker, const eqf_potential_options *potential);
/* The kernel that starts the reverse solve of the energy-based loss. */
eqf_status eqf__check_energy_seed(eqf__checker *checker, const eqf_potential_options *target,
                                  const eqf__kernel *energy_seed);
/* Energies [num_samples] that chains report, of x [num_samples, N, D]. */
eqf_status eqf__check_chains(eqf__checker *checker, const eqf_potential_options *potential, eqf__program *program,
                             size_t num_samples, const float *x, const float *energies);

/* The kernels of sweeps and of exchanges, of one program. */
typedef struct eqf__replica_kernels {
    const eqf__kernel *sweeps, *swap;
    size_t group_size; /* of the sweeps; 0: any */
} eqf__replica_kernels;
eqf_status eqf__check_replicas(eqf__checker *checker, const eqf_potential_options *potential,
                               const eqf__replica_kernels *kernels);

/* The kernels of exchanges between two states: energies of each one's program, the rest of the first one's. */
typedef struct eqf__state_kernels {
    const eqf__kernel *energy_low, *energy_high, *swap, *count, *ways;
    size_t group_low, group_high; /* of the energies; 0: any */
} eqf__state_kernels;
eqf_status eqf__check_states(eqf__checker *checker, const eqf_potential_options *low, const eqf_potential_options *high,
                             const eqf__state_kernels *kernels);

/* The kernels of moves of single particles (cl/mcmc/particle.cl): of the target's program; change of the start's. */
typedef struct eqf__particle_kernels {
    eqf__kernel place, accept, change;
    size_t group_target, group_start; /* 0: any */
} eqf__particle_kernels;
eqf_status eqf__check_particles(eqf__checker *checker, const eqf_potential_options *target,
                                const eqf_potential_options *start, const eqf__particle_kernels *kernels);

/* Descents by the program of a run, whose kernels exist. */
struct eqf__quench;
eqf_status eqf__check_quench(eqf__checker *checker, const struct eqf__quench *run);
/* Kernels that training adds to a flow: the first three are of one program, augment is of another; NULL: not used. */
typedef struct eqf__training_kernels {
    const eqf__kernel *gather, *blend, *measure;
    const eqf__kernel *augment;
    unsigned num_particles, space_dim, num_b; /* of augment */
} eqf__training_kernels;
eqf_status eqf__check_training(eqf__checker *checker, const eqf__training_kernels *kernels);
/* Programs that stages add; NULL: not used. */
typedef struct eqf__stage_programs {
    eqf__program *matching, *path, *weighted;
    unsigned num_particles, space_dim;
} eqf__stage_programs;
eqf_status eqf__check_stages(eqf__checker *checker, const eqf__stage_programs *programs);
/* For selftest only: a potential of the user's own; sums of partial gradients; the probe of the device's limits. */
eqf_status eqf__check_own_potential(eqf__checker *checker);
eqf_status eqf__check_sums(eqf__checker *checker);
eqf_status eqf__check_limits(eqf__checker *checker);

#endif
