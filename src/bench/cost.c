/* What launches have to do, counted from cl/: a row for each kernel that takes time, with its arguments by place. */
#include "cost.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "program.h"

/* Sizes that a program was assembled for. */
typedef struct sizes {
    double N, D, K, M, V, group, stage_size, grad_stage_size;
    double pairs, steps;
    bool is_table, is_local; /* the field's table; copied to local memory */
} sizes;

/* -D NAME=number of the options; 0: it is not there. */
static double defined(const char *options, const char *name) {
    char head[48];
    const int length = snprintf(head, sizeof head, "-D %s=", name);
    double value = 0;
    for (const char *at = strstr(options, head); at != NULL; at = strstr(at + 1, head)) value = atof(at + length);
    return value;
}

static bool has_file(const eqf__launch_seen *launch, const char *file) {
    char line[96];
    snprintf(line, sizeof line, "\"cl/%s\"", file);
    return strstr(launch->source, line) != NULL;
}

static sizes sizes_of(const eqf__launch_seen *launch, double num_steps) {
    const char *options = launch->options;
    sizes s = {.N = defined(options, "N"),
               .D = defined(options, "D"),
               .K = defined(options, "K"),
               .M = defined(options, "M"),
               .V = defined(options, "V"),
               .group = defined(options, "GROUP_SIZE"),
               .stage_size = defined(options, "STAGE_SIZE"),
               .grad_stage_size = defined(options, "GRAD_STAGE_SIZE")};
    s.pairs = s.N * (s.N - 1) / 2;
    s.steps = num_steps;
    s.is_table = has_file(launch, "dynamics/radial_table.clh");
    s.is_local = strstr(options, "STAGE_IS_LOCAL") != NULL;
    return s;
}

static double argument(const eqf__launch_seen *launch, size_t place) {
    cl_uint value = 0;
    if (place < launch->num_arguments && launch->arguments[place].num_bytes == sizeof value)
        memcpy(&value, launch->arguments[place].value, sizeof value);
    return value;
}

double eqf__cost_defined(const char *options, const char *name) {
    return defined(options, name);
}

double eqf__cost_argument(const eqf__launch_seen *launch, size_t place) {
    return argument(launch, place);
}

static double divide_up(double count, double by) {
    return ceil(count / by);
}

/* ---- One evaluation of the radial field ------------------------------------------------------------------------- */

/* Slots of one Gaussian in radial.clh: u, exp2_clamped (13), g', g'', six sums. */
enum { SLOTS_GAUSSIAN = 3 + 13 + 2 + 5 + 6 };
/* Slots of a group's barrier, a work-item. */
enum { SLOTS_BARRIER = 8 };
/* Of more numbers of a configuration, arrays that loops index are off the chip where a work-item is one lane. */
enum { LARGEST_IN_REGISTERS = 12 };

/* Of one sample by lanes, radial_table.clh or radial.clh: distances 2 D, place 4, cubic 3, slope 4, velocities 3 D,
 * divergence 2. */
static eqf__work velocity_by_lanes(const sizes *s) {
    eqf__work w = {.slots = s->pairs * (5 * s->D + 13), .special = s->pairs, .chain = s->is_table ? s->pairs / 4 : 0};
    if (s->is_table) {
        w.lookups = s->pairs;
    } else {
        w.slots += s->pairs * s->K * SLOTS_GAUSSIAN;
        w.special += s->pairs;
    }
    /* x_j and v_j read, v_j written; distances, places and cells noted and read */
    if (s->V == 1 && s->N * s->D > LARGEST_IN_REGISTERS) w.cached = s->pairs * (3 * s->D + 6) * sizeof(float);
    return w;
}

/* Its products: 9 D + 31 with the table, whose cell is read, added to and written. */
static eqf__work vjp_by_lanes(const sizes *s) {
    eqf__work w = {.slots = s->pairs * (9 * s->D + 31), .special = 2 * s->pairs, .chain = s->is_table ? s->pairs : 0};
    if (s->is_table) {
        w.lookups = 2 * s->pairs;
        w.cached = s->pairs * 8 * sizeof(float);
    } else {
        w.slots += 2 * s->pairs * s->K * (SLOTS_GAUSSIAN + 6);
        w.special += s->pairs;
    }
    if (s->V == 1 && s->N * s->D > LARGEST_IN_REGISTERS) w.cached += s->pairs * (5 * s->D + 6) * sizeof(float);
    return w;
}

/* Of one sample by a group: rows and chunks of radial_group.clh; each turn 3 D + 25 slots, the place among all cells
 * being 16 of them. Then the sum over the group and the parts of the rows. */
static eqf__work velocity_by_group(const sizes *s) {
    const double rows = fmin(s->N, s->group), chunks = fmin(floor(s->group / rows), s->N);
    const double turns = divide_up(s->N, rows) * divide_up(s->N, chunks), items = turns * s->group;
    const double folds = ceil(ceil(log2(s->group)) / 2), owned = divide_up(s->N * s->D, s->group); /* of four to one */
    eqf__work w = {.slots = items * (3 * s->D + 25), .special = items, .local = items * s->D * sizeof(float)};
    w.slots += s->group * ((folds + 4) * SLOTS_BARRIER + owned * (2 + chunks));
    w.local += s->group * (2 * folds + owned * (2 + chunks)) * sizeof(float);
    w.chain = turns + folds / 2;
    if (!s->is_table) {
        w.slots += items * s->K * SLOTS_GAUSSIAN;
        w.special += items;
    } else if (s->is_local) {
        w.local += items * 4 * sizeof(float) + s->stage_size * sizeof(float);
        w.cached = s->stage_size * sizeof(float);
    } else {
        w.lookups = items;
    }
    return w;
}

/* The same with more at each pair, and a note of each unordered pair, at which all work-items look. */
static eqf__work vjp_by_group(const sizes *s) {
    eqf__work w = velocity_by_group(s);
    const double items = w.special / (s->is_table ? 1 : 2), rounds = divide_up(s->pairs, s->group);
    w.slots += items * (5 * s->D + 12) + rounds * s->group * (4 * s->D + 27 + 2 * SLOTS_BARRIER);
    w.special += items + rounds * s->group;
    w.local += items * s->D * sizeof(float);
    w.chain += 2 * rounds;
    if (s->is_table) {
        w.slots += 2 * rounds * s->group * s->group;
        w.local += rounds * s->group * s->group * sizeof(float);
        w.cached += s->pairs * 8 * sizeof(float);
    } else {
        w.slots += s->pairs * s->K * (SLOTS_GAUSSIAN + 14) + rounds * s->group * s->K * SLOTS_GAUSSIAN;
    }
    return w;
}

/* w += factor v, but for what a launch has once. */
static void add_work(eqf__work *w, double factor, const eqf__work *v) {
    w->slots += factor * v->slots;
    w->special += factor * v->special;
    w->lookups += factor * v->lookups;
    w->cached += factor * v->cached;
    w->local += factor * v->local;
    w->bytes += factor * v->bytes;
    w->chain += factor * v->chain;
}

/* ---- Trajectories ----------------------------------------------------------------------------------------------- */

static void place_items(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    w->group_items = (double)launch->local_size;
    w->groups = (double)launch->global_size / w->group_items;
    w->numbers = 24;
    if (s->group > 0 && has_file(launch, "common/group.clh")) {
        w->numbers = 32 + 6 * divide_up(s->N * s->D, s->group);
        w->group_bytes = sizeof(float) * (7 * s->N * s->D + 8 * s->group + (s->is_local ? s->stage_size : 0));
    }
}

static void count_trajectory(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const bool is_group = has_file(launch, "common/group.clh");
    const double lanes = is_group ? defined(launch->options, "LANES") : s->V, samples = argument(launch, 6) * lanes;
    const double steps = argument(launch, 10) - argument(launch, 9), dof = s->N * s->D;
    const eqf__work each = is_group ? velocity_by_group(s) : velocity_by_lanes(s);
    add_work(w, samples * steps * 4, &each);
    w->slots += samples * steps * (4 * 2 + 3) * (is_group ? fmax(dof, s->group) : dof);
    w->bytes += samples * sizeof(float) * (2 * dof + 2 + (argument(launch, 5) > 0 ? steps * dof : 0));
    w->chain = each.chain * 4 * steps * (is_group ? samples / w->groups : 1);
    if (!is_group) w->numbers = 32 + (dof <= LARGEST_IN_REGISTERS ? 4 * dof : 16);
}

static void count_adjoint(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const bool is_group = has_file(launch, "common/group.clh");
    const double steps = argument(launch, 17) - argument(launch, 16), dof = s->N * s->D;
    const double samples = (argument(launch, 12) - argument(launch, 11)) * (is_group ? 1 : s->V);
    const eqf__work forward = is_group ? velocity_by_group(s) : velocity_by_lanes(s);
    const eqf__work reverse = is_group ? vjp_by_group(s) : vjp_by_lanes(s);
    add_work(w, samples * steps * 3, &forward);
    add_work(w, samples * steps * 4, &reverse);
    w->slots += samples * steps * (3 * 3 + 4 * 5 + 6) * (is_group ? fmax(dof, s->group) : dof);
    w->bytes += samples * sizeof(float) * (2 * dof + 4 + steps * dof);
    /* num_partials work-items or groups take the samples one after the other. */
    const double in_turn = divide_up(samples / (is_group ? 1 : s->V), argument(launch, 13));
    w->chain = in_turn * steps * (3 * forward.chain + 4 * reverse.chain);
    w->groups = fmin(argument(launch, 13), samples) / (is_group ? 1 : w->group_items);
    if (w->groups < 1) w->groups = 1;
    if (!is_group) w->numbers = 40 + (dof <= LARGEST_IN_REGISTERS ? 9 * dof : 32);
}

/* ---- Steps of a sample's own ------------------------------------------------------------------------------------ */

/* A and B at a time (radial_any_time.clh); by groups the work-items share them, and meet twice. */
static void add_field_of_time(eqf__work *w, double times, const sizes *s, bool is_group) {
    const double each = (s->K + 1) * s->M + 20 * s->M;
    if (!is_group) {
        w->slots += times * each;
        return;
    }
    const double rounds = divide_up(s->K + 1, s->group) * s->M + s->M + 20;
    w->slots += times * s->group * (rounds + 2 * SLOTS_BARRIER);
    w->local += times * s->group * rounds * sizeof(float);
    w->chain += times * rounds / 8; /* reads of neighbouring numbers, which do not wait for each other */
}

/* The slope of the state: of x and log_det or, in reverse, of x and its adjoint. */
static eqf__work adaptive_slope(const sizes *s, bool is_group, bool is_reverse) {
    eqf__work w = is_group ? velocity_by_group(s) : velocity_by_lanes(s);
    if (!is_reverse) return w;
    const double items = is_group ? w.special / 2 : s->pairs;
    w.slots += items * (5 * s->D + 16);
    w.special += items;
    if (is_group) w.local += items * s->D * sizeof(float);
    return w;
}

/* A stage of the gradient's integral: the pair's sums again, then for each Gaussian 37 more, and the sums over time of
 * (K + 1) M numbers, which are read and written. By groups each unordered pair has a note (radial_group.clh). */
static eqf__work adaptive_quadrature(const sizes *s, bool is_group) {
    const double numbers = (s->K + 1) * s->M + s->K + s->M;
    eqf__work w = {.cached = 2 * numbers * sizeof(float)};
    if (!is_group) {
        w.slots = s->pairs * (5 * s->D + 24 + s->K * (SLOTS_GAUSSIAN + 37)) + numbers * 4;
        w.special = 2 * s->pairs;
        return w;
    }
    const double rounds = divide_up(s->pairs, s->group), owned = divide_up(s->K + 1, s->group);
    w.slots = s->group * (rounds * (4 * s->D + 27 + s->K * SLOTS_GAUSSIAN + 2 * SLOTS_BARRIER) + owned * s->pairs * 37 +
                          2 * s->K + divide_up(numbers, s->group) * 6);
    w.special = rounds * s->group * 2;
    w.local = s->group * owned * s->pairs * 6 * sizeof(float);
    w.chain = rounds + 2 * s->K / 8;
    return w;
}

/* `slopes` of num_samples samples, each at a time of its own but for `shared` of them. */
static void add_slopes(const eqf__launch_seen *launch, const sizes *s, double num_samples, double slopes, double shared,
                       eqf__work *w) {
    const bool is_group = has_file(launch, "common/group.clh");
    const bool is_reverse = has_file(launch, "integrator/dormand_prince_adjoint.clh");
    const eqf__work slope = adaptive_slope(s, is_group, is_reverse);
    add_work(w, num_samples * slopes, &slope);
    add_field_of_time(w, num_samples * (slopes - (is_group ? 0 : shared)), s, is_group);
    if (!is_group) w->numbers = 64;
}

static double adaptive_samples(const eqf__launch_seen *launch, const sizes *s) {
    return has_file(launch, "common/group.clh") ? (double)launch->global_size / s->group
                                                : (double)launch->global_size * s->V;
}

static void count_adaptive_begin(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double samples = adaptive_samples(launch, s);
    add_slopes(launch, s, samples, 2, 0, w);
    w->slots += samples * 2 * s->N * s->D * 16;
    w->bytes += samples * 8 * s->N * s->D * sizeof(float);
    w->chain /= fmax(w->groups, 1);
}

/* A step: six slopes, the last two of one time; sums of stages (21 multiply-adds a component, and ten more at each of
 * six). In reverse five stages of the integral have weights. */
static void count_adaptive_steps(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const bool is_group = has_file(launch, "common/group.clh");
    const bool is_reverse = has_file(launch, "integrator/dormand_prince_adjoint.clh");
    const double samples = adaptive_samples(launch, s), tried = samples * s->steps;
    const double dof = s->N * s->D, state = is_reverse ? 2 * dof : dof + 1;
    add_slopes(launch, s, tried, 6, 1, w);
    w->slots += tried * (21 + 6 * 10 + 20) * (is_group ? fmax(state, s->group) : state);
    if (is_group) w->local += tried * 40 * fmax(state, s->group) * sizeof(float);
    if (is_reverse) {
        const eqf__work stage = adaptive_quadrature(s, is_group);
        add_work(w, tried * 5, &stage);
        add_field_of_time(w, tried * 5, s, is_group);
    }
    w->bytes += samples * 6 * state * sizeof(float);
    w->chain /= fmax(w->groups, 1);
    if (is_group) w->group_bytes += 8 * (state + 1) * sizeof(float);
}

/* ---- Tables and their gradients --------------------------------------------------------------------------------- */

/* Places of arguments: num_stages, num_point_blocks. A Gaussian at a point is SLOTS_POINT, of which exp2_clamped 13. */
enum { SLOTS_POINT = 3 + 13 + 2 + 2 };

static void count_basis(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double points = argument(launch, 5) * s->V;
    w->slots += points * s->K * (SLOTS_POINT + 3);
    w->special += points;
    w->cached += points * s->K * 6 * sizeof(float);
}

static void count_points(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double stages = argument(launch, 3), points = argument(launch, 4) * s->V;
    w->slots += stages * points * s->K * 2;
    w->cached += divide_up(stages, 4) * points * s->K * 2 * sizeof(float) + stages * points * 2 * sizeof(float);
}

static void count_cells(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double cells = argument(launch, 3) * argument(launch, 4) * s->V;
    w->slots += cells * 24 * s->V; /* lane by lane, each a whole vector's time */
    w->cached += cells * 8 * sizeof(float);
}

static void count_point_gradients(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double points = argument(launch, 4) * argument(launch, 5) * s->V;
    w->slots += points * 24 * s->V;
    w->cached += points * 8 * sizeof(float);
}

/* Half of the points lie where no pair does and are passed over. */
static void count_coefficients(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double stages = argument(launch, 4), points = argument(launch, 5) * s->V / 2;
    w->slots += stages * points * s->K * 2;
    w->cached += divide_up(stages, 4) * points * s->K * 2 * sizeof(float);
}

static void count_widths(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double stages = argument(launch, 6), points = argument(launch, 7) * s->V / 2;
    w->slots += points * s->K * (stages * 2 * (s->V > 1 ? 1 : 2) + 2 * SLOTS_POINT + 12);
    w->cached += points * stages * 2 * sizeof(float) * (s->V > 1 ? 1 : 2 * divide_up(s->K, 10));
}

/* Scalars: each takes a vector's time. */
static void count_time(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    w->slots += (double)launch->global_size * s->K * s->M * 4 * s->V;
    w->chain = s->K;
}

static void count_gradient(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    w->slots += (s->K + 1) * s->M * argument(launch, 6) * 8 * s->V;
    w->chain = argument(launch, 6);
}

static void count_check(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double cells = argument(launch, 5) * argument(launch, 6) * s->V;
    w->slots += cells * 40 * s->V;
    w->special += cells * s->V;
    w->cached += cells * 8 * sizeof(float);
    w->chain = 2 * argument(launch, 6) * s->V;
}

static void count_sum_partials(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    (void)s;
    const double partials = argument(launch, 2), numbers = argument(launch, 3);
    w->slots += numbers * partials;
    w->cached += numbers * (partials + 1) * sizeof(float);
}

/* ---- Priors ----------------------------------------------------------------------------------------------------- */

/* Philox: ten rounds of two products and four other operations for four words; Box and Muller: a logarithm, a square
 * root, sine and cosine for two numbers. */
static void count_draw(const eqf__launch_seen *launch, const sizes *s, eqf__work *w) {
    const double numbers = (double)launch->global_size * s->V * s->N * s->D;
    w->slots += 60 * numbers;
    w->special += numbers / 2;
    w->bytes += numbers * sizeof(float);
}

/* ---- All -------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *kernel;
    void (*count)(const eqf__launch_seen *launch, const sizes *s, eqf__work *w);
} rows[] = {
    {"trajectory", count_trajectory},
    {"trajectory_adjoint", count_adjoint},
    {"adaptive_begin", count_adaptive_begin},
    {"adaptive_steps", count_adaptive_steps},
    {"radial_basis", count_basis},
    {"radial_points", count_points},
    {"radial_pieces", count_points},
    {"radial_cells", count_cells},
    {"radial_check", count_check},
    {"radial_point_gradients", count_point_gradients},
    {"radial_contract_coefficients", count_coefficients},
    {"radial_contract_widths", count_widths},
    {"radial_time", count_time},
    {"radial_time_gradients", count_time},
    {"radial_gradient", count_gradient},
    {"sum_partials", count_sum_partials},
    {"radial_take_partials", count_sum_partials},
    {"prior_sample", count_draw},
};

void eqf__cost_count(const eqf__launch_seen *launch, double num_steps, eqf__work *work_out) {
    const sizes s = sizes_of(launch, num_steps);
    eqf__work work = {.bytes = 0};
    place_items(launch, &s, &work);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        if (strcmp(rows[r].kernel, launch->kernel) == 0) {
            rows[r].count(launch, &s, &work);
            work.is_counted = true;
        }
    if (!work.is_counted) work.is_counted = eqf__cost_message(launch, &work) || eqf__cost_dense(launch, &work);
    if (!work.is_counted) {
        /* Kernels over configurations or over parameters: each number read and written once, twenty slots for it. */
        const double numbers = (double)launch->global_size * s.V * fmax(1, s.N * s.D);
        work.slots = 20 * numbers;
        work.bytes = 2 * numbers * sizeof(float);
    }
    *work_out = work;
}

void eqf__cost_time(const eqf__device_rates *rates, const eqf__work *work, eqf__seconds *seconds_out) {
    eqf__seconds t = {.launch = rates->launch_us * 1e-6, .occupancy = 1};
    const double units = fmax(rates->units, 1), width = fmax(rates->wave_width, 1);
    const double waves_of_group = divide_up(work->group_items, width), most = rates->waves_per_unit;
    double resident = fmax(most, 1) / waves_of_group; /* groups of a unit */
    if (most > 0) {
        const double granule = fmax(rates->register_granule, 1);
        const double numbers = fmin(work->numbers, rates->registers_per_work_item);
        resident =
            floor(floor(rates->registers_per_unit / (divide_up(numbers, granule) * granule * width)) / waves_of_group);
        resident = fmin(resident, floor(most / waves_of_group));
        if (work->group_bytes > 0) resident = fmin(resident, floor(rates->local_memory_per_unit / work->group_bytes));
        resident = fmax(resident, 1);
        t.occupancy = fmin(1, resident * waves_of_group / most);
    }
    /* Groups come in rounds over all units; the last round may leave some idle. A unit whose few waves do not hide its
     * latencies - a quarter of those it could hold would - is slower in proportion. */
    const double busy = fmin(work->groups, units) * divide_up(work->groups, units) <= 0
                            ? 1
                            : work->groups / (units * divide_up(work->groups, units));
    const double waves = fmin(divide_up(work->groups, units), resident) * waves_of_group;
    const double hidden = most > 0 ? fmin(1, waves / (most / 4)) : 1;
    const double items = fmin(1, work->group_items / (waves_of_group * width)); /* lanes of a wave that have work */
    const double rate = rates->fp32_gflops / 2 * 1e9 * busy * hidden * (most > 0 ? items : 1);
    t.arithmetic = work->slots / rate + work->special / (rates->special_gops * 1e9 * busy * hidden);
    if (rates->lookup_gops > 0) t.arithmetic += work->lookups / (rates->lookup_gops * 1e9 * busy);
    t.memory = work->bytes / (rates->memory_gbps * 1e9);
    t.cache =
        (work->cached + (rates->lookup_gops > 0 ? 0 : work->lookups * 4 * sizeof(float))) / (rates->cache_gbps * 1e9);
    t.local = rates->local_gbps > 0 ? work->local / (rates->local_gbps * 1e9 * busy) : 0;
    t.chain = work->chain * rates->latency_ns * 1e-9 * divide_up(work->groups, units * resident);
    t.total = t.launch + fmax(fmax(t.arithmetic, t.chain), fmax(t.memory, fmax(t.cache, t.local)));
    *seconds_out = t;
}
