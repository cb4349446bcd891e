/* Known answers: small problems whose results the host works out in double (host_reference.h), asked of the very
 * programs that are used. They are one table (answers.c), which two callers walk:
 *   before a first real result   only programs that are not known to be right are checked, and the first wrong answer
 *       stops;
 *   eqflow selftest              every row runs and is reported.
 * Nothing below this module knows of it: build, then check, then use. */
#ifndef EQF_CHECK_H
#define EQF_CHECK_H

#include "eqflow/flow.h"
#include "eqflow/potential.h"
#include "eqflow/selftest.h"
#include "program.h"

typedef struct eqf__checker eqf__checker;

/* Who asks. */
struct eqf__checker {
    eqf_context *ctx;
    eqf_selftest_callback callback; /* NULL: before a first real result */
    void *user;
    const char *subject; /* of selftest: what is checked, "radial table, RK4" */
    unsigned num_failed;
};
/* Before a first real result. */
static inline eqf__checker eqf__checker_of(eqf_context *ctx) {
    return (eqf__checker){.ctx = ctx};
}

/* What came of one row. */
typedef struct eqf__answer {
    const char *what; /* the quantity */
    double error, tolerance;
    const char *plain; /* what to try if it is wrong, "EQF_FIELD_DIRECT" or "" */
} eqf__answer;

/* Whether the program is to be checked now. */
bool eqf__check_is_due(const eqf__checker *checker, const eqf__program *program, eqf__answers answers);
/* Before a first real result a wrong answer (NaN is one) is SELF_TEST in words, with the names of the programs that can
 * have given it, device and driver; selftest hears of right and wrong ones and goes on. */
eqf_status eqf__check_report(eqf__checker *checker, const eqf__answer *answer, size_t num_programs,
                             eqf__program *const *programs);
/* selftest: notes launches for the next report, which names them. */
void eqf__check_begin(eqf__checker *checker);
/* The program is known to be right from now on, unless selftest found otherwise. */
void eqf__check_done(const eqf__checker *checker, eqf__program *program, eqf__answers answers);

/* ---- What is checked --------------------------------------------------------------------------------------------- */

/* The programs that a flow is made of, as they are assembled now. Builds what gradients need, for those. */
eqf_status eqf__check_flow(eqf__checker *checker, eqf_flow *flow, eqf__answers answers);
/* The programs of eqf_flow_velocity_vjp. */
eqf_status eqf__check_vjp(eqf__checker *checker, eqf_flow *flow);
/* Energies and forces. A potential of the user's own has no formula on the host: it was compared with itself when it
 * was loaded (verify.c). */
eqf_status eqf__check_potential(eqf__checker *checker, const eqf_potential_options *potential);
/* The kernel that seeds the energy-based loss. */
eqf_status eqf__check_energy_seed(eqf__checker *checker, const eqf_potential_options *target,
                                  const eqf__kernel *energy_seed);
/* Energies [num_samples] that chains report, of x [num_samples, N, D]. */
eqf_status eqf__check_chains(eqf__checker *checker, const eqf_potential_options *potential, eqf__program *program,
                             size_t num_samples, const float *x, const float *energies);

/* Sweeps at temperatures of their own, and exchanges; kernels of one program. */
typedef struct eqf__replica_kernels {
    const eqf__kernel *sweeps, *swap;
    size_t group_size; /* of the sweeps; 0: any */
} eqf__replica_kernels;
eqf_status eqf__check_replicas(eqf__checker *checker, const eqf_potential_options *potential,
                               const eqf__replica_kernels *kernels);

/* Descents of that run's program; kernels are made. */
struct eqf__quench;
eqf_status eqf__check_quench(eqf__checker *checker, const struct eqf__quench *run);
/* What training adds to a flow: of one program, and augment of another; NULL: not used. */
typedef struct eqf__training_kernels {
    const eqf__kernel *gather, *blend, *measure;
    const eqf__kernel *augment;
    unsigned num_particles, space_dim, num_b; /* of augment */
} eqf__training_kernels;
eqf_status eqf__check_training(eqf__checker *checker, const eqf__training_kernels *kernels);
/* What stages add, for that many particles; NULL: not used. */
typedef struct eqf__stage_programs {
    eqf__program *matching, *path, *weighted;
    unsigned num_particles, space_dim;
} eqf__stage_programs;
eqf_status eqf__check_stages(eqf__checker *checker, const eqf__stage_programs *programs);
/* For selftest alone: a potential of the user's own; sums of partial gradients; the probe of the device's limits. */
eqf_status eqf__check_own_potential(eqf__checker *checker);
eqf_status eqf__check_sums(eqf__checker *checker);
eqf_status eqf__check_limits(eqf__checker *checker);

#endif
