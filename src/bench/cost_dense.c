/* What launches of the dense field have to do (cl/dynamics/dense.cl), CLBlast's matrix products, and RK4 of a batch
 * (cl/integrator/rk4_batched.cl). */
#include <math.h>
#include <string.h>

#include "cost.h"

typedef struct sizes {
    double dof, V, columns; /* columns: of each sample, its values and its tangents (1 + NUM_DIRECTIONS) */
    double in, out;         /* features, with rows of zeros */
    bool is_random;
} sizes;

static sizes sizes_of(const char *options) {
    return (sizes){.dof = eqf__cost_defined(options, "N") * eqf__cost_defined(options, "D"),
                   .V = fmax(eqf__cost_defined(options, "V"), 1),
                   .columns = 1 + eqf__cost_defined(options, "NUM_DIRECTIONS"),
                   .in = eqf__cost_defined(options, "FEATURES_IN"),
                   .out = eqf__cost_defined(options, "FEATURES_OUT"),
                   .is_random = eqf__cost_defined(options, "DIVERGENCE") > 0};
}

/* slots; numbers are floats of arrays in a cache, read or written. */
static void add(eqf__work *w, double slots, double numbers) {
    w->slots += slots;
    w->cached += numbers * sizeof(float);
}

/* tanh or a logistic function with two derivatives: an exponential, a division and some thirty operations. */
enum { SLOTS_ACTIVATION = 48 };

/* C [n][m] of sums over k. Tiles of 64 x 64 results a group, for which rows of A and B are read. On CPUs CLBlast has
 * vectors of 8 (src/dynamics/gemm.c), where the rates are those of V lanes. */
static bool count_product(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    (void)s;
    enum { TILE = 64, GEMM_LANES = 8 };
    const double m = eqf__cost_argument(launch, 0), n = eqf__cost_argument(launch, 1),
                 k = eqf__cost_argument(launch, 2);
    const double tiles = ceil(m / TILE) * ceil(n / TILE);
    add(w, m * n * k * fmax(1, eqf__cost_argument(launch, 3) / GEMM_LANES), tiles * 2 * TILE * k + m * n);
    w->groups = tiles;
    w->group_items = TILE;
    w->numbers = 96;
    return true;
}

static bool count_inputs(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double samples = eqf__cost_argument(launch, 8);
    /* A random direction: Philox, normal numbers, their mean. */
    add(w, samples * s->dof * (6 + (s->columns - 1) * (s->is_random ? 70 : 3)),
        samples * (s->in * s->columns + s->dof));
    return true;
}

static bool count_activate(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double numbers = eqf__cost_argument(launch, 3) * eqf__cost_argument(launch, 4);
    add(w, numbers * (SLOTS_ACTIVATION + 3 * s->columns), numbers * 2 * s->columns);
    w->special += numbers;
    return true;
}

static bool count_outputs(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double numbers = eqf__cost_argument(launch, 7) * s->dof;
    add(w, numbers * (4 + 3 * s->columns), numbers * 2 * s->columns);
    return true;
}

static bool count_output_adjoints(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double samples = eqf__cost_argument(launch, 6);
    add(w, samples * s->dof * (4 + 3 * s->columns), samples * (s->dof + s->out) * s->columns);
    return true;
}

static bool count_activate_reverse(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double numbers = eqf__cost_argument(launch, 2) * eqf__cost_argument(launch, 3);
    add(w, numbers * (SLOTS_ACTIVATION + 6 * s->columns), numbers * 3 * s->columns);
    w->special += numbers;
    return true;
}

/* Copies of a matrix, [2] features and [3] columns. */
static bool count_copy(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    (void)s;
    const double numbers = eqf__cost_argument(launch, 2) * eqf__cost_argument(launch, 3);
    add(w, 4 * numbers, 2 * numbers);
    return true;
}

static bool count_input_adjoints(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double numbers = eqf__cost_argument(launch, 4) * s->dof;
    add(w, 6 * numbers, 3 * numbers);
    return true;
}

/* A work-item an output: its row of weights, and its bias's sum over samples. */
static bool count_add_gradient(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double in = eqf__cost_argument(launch, 4), out = eqf__cost_argument(launch, 5);
    const double samples = eqf__cost_argument(launch, 6);
    (void)s;
    add(w, out * (3 * in + samples), out * (3 * in + samples));
    return true;
}

/* Weights into padded matrices, and gradients out of them: one by one, each in a vector's time. */
static bool count_pad(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double numbers = eqf__cost_argument(launch, 6) * eqf__cost_argument(launch, 7);
    add(w, 6 * numbers * s->V, 3 * numbers);
    return true;
}

static bool count_unpad(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double numbers = eqf__cost_argument(launch, 5) * eqf__cost_argument(launch, 6);
    add(w, 4 * numbers * s->V, 2 * numbers);
    return true;
}

/* Kernels of RK4 over the numbers of a batch of configurations. */
static bool count_state(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double numbers = (double)launch->global_size * s->V * eqf__cost_defined(launch->options, "DOF");
    add(w, 10 * numbers, 5 * numbers);
    return true;
}

static bool count_times(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    add(w, (double)launch->global_size * s->V, (double)launch->global_size * s->V);
    return true;
}

static const struct {
    const char *kernel;
    bool (*count)(const eqf__launch_seen *launch, const sizes *s, eqf__work *w);
} rows[] = {
    {"gemm", count_product},
    {"dense_inputs", count_inputs},
    {"dense_activate", count_activate},
    {"dense_outputs", count_outputs},
    {"dense_output_adjoints", count_output_adjoints},
    {"dense_activate_reverse", count_activate_reverse},
    {"dense_values", count_copy},
    {"dense_transpose", count_copy},
    {"dense_input_adjoints", count_input_adjoints},
    {"dense_add_gradient", count_add_gradient},
    {"dense_pad", count_pad},
    {"dense_unpad", count_unpad},
    {"rk4_set_times", count_times},
    {"rk4_begin", count_state},
    {"rk4_stage", count_state},
    {"rk4_end", count_state},
    {"rk4_node", count_state},
    {"rk4_middle", count_state},
    {"rk4_simpson", count_times},
    {"rk4_reach", count_state},
    {"rk4_difference", count_state},
    {"rk4_stage_adjoint", count_state},
    {"rk4_add", count_state},
};

bool eqf__cost_dense(const eqf__launch_seen *launch, eqf__work *work) {
    const sizes s = sizes_of(launch->options);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        if (strcmp(rows[r].kernel, launch->kernel) == 0) return rows[r].count(launch, &s, work);
    return false;
}
