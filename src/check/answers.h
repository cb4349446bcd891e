/* The table of known answers (answers.c), and what its rows ask. A topic is something that gives answers: a flow, a
 * potential, a step of training. A problem is one such thing in a small case that the host can work out; its topic's
 * rows are asked in order. */
#ifndef EQF_ANSWERS_H
#define EQF_ANSWERS_H

#include "check.h"

typedef enum eqf__topic {
    EQF__TOPIC_FLOW,
    EQF__TOPIC_VJP, /* programs that flows do not have: the field's vector-Jacobian product alone */
    EQF__TOPIC_POTENTIAL,
    EQF__TOPIC_OWN_POTENTIAL,
    EQF__TOPIC_ENERGY_SEED,
    EQF__TOPIC_CHAINS,
    EQF__TOPIC_REPLICAS,
    EQF__TOPIC_DESCENTS,
    EQF__TOPIC_STEP, /* of training */
    EQF__TOPIC_AUGMENT,
    EQF__TOPIC_MATCHING,
    EQF__TOPIC_WEIGHTED,
    EQF__TOPIC_PATH,
    EQF__TOPIC_SUMS,
    EQF__TOPIC_LIMITS /* of the device */
} eqf__topic;

/* What a problem has and a row needs: sets. */
enum {
    EQF__IN_SELFTEST = 1 << 0, /* says no more of the programs than other rows do, but runs another kernel of theirs */
    EQF__OF_VALUES = 1 << 1,
    EQF__OF_GRADIENTS = 1 << 2,
    EQF__IN_FLOAT = 1 << 3,
    EQF__IN_DOUBLE = 1 << 4,
    EQF__BY_TEXT = 1 << 5,  /* the field: by its text, or */
    EQF__BY_BATCH = 1 << 6, /* launch by launch */
    EQF__BY_TABLE = 1 << 7, /* looked up, or */
    EQF__BY_SUM = 1 << 8,   /* summed directly */
    EQF__IS_SMALL = 1 << 9, /* the host works out everything, or, */
    EQF__IS_LARGE = 1 << 10 /* of a field of many particles, its velocities alone (flow_problem.h) */
};

/* Programs of a problem, in sets: those of a flow, each for values and for gradients. */
enum { EQF__PRIOR_PROGRAM, EQF__FIELD_PROGRAM, EQF__INTEGRATOR_PROGRAM, EQF__MOST_PROGRAMS };
enum {
    EQF__FROM_PRIOR = 1 << EQF__PRIOR_PROGRAM,
    EQF__FROM_FIELD = 1 << EQF__FIELD_PROGRAM,
    EQF__FROM_INTEGRATOR = 1 << EQF__INTEGRATOR_PROGRAM,
    EQF__FROM_FLOW = EQF__FROM_FIELD | EQF__FROM_INTEGRATOR,
    EQF__FROM_ONE = 1 /* of topics that have but one program */
};

typedef struct eqf__problem eqf__problem;

/* A row. */
typedef struct eqf__known_answer {
    const char *what; /* the quantity */
    eqf__topic topic;
    unsigned needs;   /* of the problem */
    unsigned from;    /* programs that can have given a wrong answer */
    unsigned shows;   /* programs that a right one shows to be right: later rows do not blame them */
    double tolerance; /* largest error; of a problem with `slack` times that */
    bool goes_on;     /* the row before has launched all or most of it */
    eqf_status (*run)(eqf__problem *problem, double *error_out);
} eqf__known_answer;
extern const eqf__known_answer eqf__known_answers[];
extern const size_t eqf__num_known_answers;

/* What the problem of each topic begins with. */
struct eqf__problem {
    eqf_context *ctx;
    eqf__topic topic;
    eqf__answers answers; /* which of the programs' answers these are */
    unsigned has;
    eqf__program *programs[EQF__MOST_PROGRAMS]; /* NULL: there is none, or another's */
    unsigned known;                             /* those of them that are known to be right */
    bool has_begun;                             /* the caller has launched what is asked about */
    double slack;                               /* 0: 1 */
    double tolerance;                           /* of the row that is asked */
    const char *plain;                          /* what to try if an answer is wrong */
    /* Makes the problem: called if one of the programs is not known to be right. *can_tell_out false: the host
     * cannot tell what is right, and nothing is asked. NULL: it is made. */
    eqf_status (*make)(eqf__problem *problem, bool *can_tell_out);
};

/* Asks all rows of the problem's topic for which it has what they need, if one of its programs is not known to be
 * right or selftest asks; all of them are known to be right then. */
eqf_status eqf__check(eqf__checker *checker, eqf__problem *problem);

/* ---- What the rows run: the file of each topic has its problem
 * ---------------------------------------------------------------- */

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
EQF__ANSWER(energies); /* potential.c */
EQF__ANSWER(forces);
EQF__ANSWER(chains);
EQF__ANSWER(replica_sweeps); /* replica.c */
EQF__ANSWER(replica_swaps);
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
