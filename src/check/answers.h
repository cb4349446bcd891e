/* The table of known answers (answers.c), and the functions of its rows. A topic is a thing whose results are checked:
 * a flow, a potential, a step of training. A problem is a small case of a topic that the host can compute; the rows of
 * its topic run in order. */
#ifndef EQF_ANSWERS_H
#define EQF_ANSWERS_H

#include "check.h"

typedef enum eqf__topic {
    EQF__TOPIC_FLOW,
    EQF__TOPIC_VJP, /* the field's vector-Jacobian product alone, whose programs solves do not use */
    EQF__TOPIC_POTENTIAL,
    EQF__TOPIC_OWN_POTENTIAL,
    EQF__TOPIC_ENERGY_SEED,
    EQF__TOPIC_CHAINS,
    EQF__TOPIC_REPLICAS,
    EQF__TOPIC_STATES,
    EQF__TOPIC_PARTICLES,
    EQF__TOPIC_DESCENTS,
    EQF__TOPIC_STEP, /* of training */
    EQF__TOPIC_AUGMENT,
    EQF__TOPIC_MATCHING,
    EQF__TOPIC_WEIGHTED,
    EQF__TOPIC_PATH,
    EQF__TOPIC_SUMS,
    EQF__TOPIC_LIMITS /* of the device */
} eqf__topic;

/* Sets of properties: those that a problem has, and those that a row needs. */
enum {
    EQF__IN_SELFTEST = 1 << 0, /* only for selftest: other rows check the same programs, this one runs another kernel */
    EQF__OF_VALUES = 1 << 1,
    EQF__OF_GRADIENTS = 1 << 2,
    EQF__IN_FLOAT = 1 << 3,
    EQF__IN_DOUBLE = 1 << 4,
    EQF__BY_TEXT = 1 << 5,  /* the field is kernel text */
    EQF__BY_BATCH = 1 << 6, /* the field is computed launch by launch */
    EQF__BY_TABLE = 1 << 7, /* the field is read from a table */
    EQF__BY_SUM = 1 << 8,   /* the field is summed directly */
    EQF__IS_SMALL = 1 << 9, /* the host computes everything */
    EQF__IS_LARGE = 1 << 10, /* the host computes only velocities, of fields of many particles (flow_problem.h) */
    EQF__IS_COSTLY = 1 << 11 /* the divergence costs much more than the velocity, whose reverse pass is its own */
};

/* Programs of a problem. Those of a flow are different ones for values and for gradients. */
enum { EQF__PRIOR_PROGRAM, EQF__FIELD_PROGRAM, EQF__INTEGRATOR_PROGRAM, EQF__MOST_PROGRAMS };
enum {
    EQF__FROM_PRIOR = 1 << EQF__PRIOR_PROGRAM,
    EQF__FROM_FIELD = 1 << EQF__FIELD_PROGRAM,
    EQF__FROM_INTEGRATOR = 1 << EQF__INTEGRATOR_PROGRAM,
    EQF__FROM_FLOW = EQF__FROM_FIELD | EQF__FROM_INTEGRATOR,
    EQF__FROM_ONE = 1, /* for topics with one program, */
    EQF__FROM_TWO = 3  /* or two */
};

typedef struct eqf__problem eqf__problem;

/* A row. */
typedef struct eqf__known_answer {
    const char *what; /* the quantity */
    eqf__topic topic;
    unsigned needs;   /* properties that the problem must have */
    unsigned from;    /* programs that may be the cause if the answer is wrong */
    unsigned shows;   /* programs that are right if the answer is: later rows do not name them as the cause */
    double tolerance; /* largest error, to be multiplied by the problem's slack */
    bool goes_on;     /* the row before has launched all or most of its kernels */
    eqf_status (*run)(eqf__problem *problem, double *error_out);
} eqf__known_answer;
extern const eqf__known_answer eqf__known_answers[];
extern const size_t eqf__num_known_answers;

/* The problem of every topic begins with this. */
struct eqf__problem {
    eqf_context *ctx;
    eqf__topic topic;
    eqf__answers answers; /* of values or of gradients */
    unsigned has;         /* its properties */
    eqf__program *programs[EQF__MOST_PROGRAMS]; /* NULL: there is none, or another one does its work */
    unsigned known;                             /* those that have passed already */
    bool has_begun;                             /* the caller has launched the kernels */
    double slack;                               /* factor of tolerances; 0 means 1 */
    double tolerance;                           /* of the row that runs */
    const char *plain;                          /* what to try if an answer is wrong */
    /* Makes the problem; called if one of the programs has not passed yet. *can_tell_out false: the host cannot compute
     * the answers, and nothing is checked. NULL: the problem is already made. */
    eqf_status (*make)(eqf__problem *problem, bool *can_tell_out);
};

/* Runs all rows of the problem's topic that need no property it lacks, if one of its programs has not passed yet or if
 * selftest is the caller. Afterwards all of its programs have passed. */
eqf_status eqf__check(eqf__checker *checker, eqf__problem *problem);

/* ---- What the rows run: the file of each topic has its problem --------------------------------------------------- */

#define EQF__ANSWER(name) eqf_status eqf__answer_##name(eqf__problem *problem, double *error_out)
EQF__ANSWER(velocities); /* flow_values.c */
EQF__ANSWER(samples);
EQF__ANSWER(latents);
EQF__ANSWER(log_densities);
EQF__ANSWER(velocities_in_double);
EQF__ANSWER(samples_in_double);
EQF__ANSWER(log_densities_in_double);
EQF__ANSWER(prior_samples); /* flow_prior.c */
EQF__ANSWER(noise);
EQF__ANSWER(scores);
EQF__ANSWER(losses); /* flow_gradients.c */
EQF__ANSWER(gradients);
EQF__ANSWER(reverse_passes);
EQF__ANSWER(vjp);
EQF__ANSWER(velocity_vjp);
EQF__ANSWER(energies); /* potential.c */
EQF__ANSWER(forces);
EQF__ANSWER(chains);
EQF__ANSWER(replica_sweeps); /* replica.c */
EQF__ANSWER(replica_swaps);
EQF__ANSWER(state_energies); /* states.c */
EQF__ANSWER(state_swaps);
EQF__ANSWER(particle_places); /* particles.c */
EQF__ANSWER(particle_changes);
EQF__ANSWER(particle_moves);
EQF__ANSWER(own_energies); /* own_potential.c */
EQF__ANSWER(own_forces);
EQF__ANSWER(energy_seeds); /* energy_seed.c */
EQF__ANSWER(descents);     /* quench.c */
EQF__ANSWER(descent_energies);
EQF__ANSWER(curvatures);
EQF__ANSWER(batches); /* training.c */
EQF__ANSWER(optimizer);
EQF__ANSWER(augmentation);
EQF__ANSWER(matching); /* stages.c */
EQF__ANSWER(weighted);
EQF__ANSWER(path_stages);
EQF__ANSWER(path_seeds);
EQF__ANSWER(path_reverse);
EQF__ANSWER(sums); /* sums.c */
EQF__ANSWER(limits);

#endif
