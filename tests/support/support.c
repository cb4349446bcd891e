#include "support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <Random123/philox.h>

/* ---- Random numbers ---------------------------------------------------------------------------------------- */

static uint64_t next_word(test_rng *rng) { /* splitmix64: Steele, Lea and Flood, OOPSLA 2014 */
    uint64_t word = (rng->state += 0x9e3779b97f4a7c15u);
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebu;
    return word ^ (word >> 31);
}

double test_uniform(test_rng *rng) {
    return ((double)(next_word(rng) >> 11) + 0.5) * 0x1p-53;
}

double test_normal(test_rng *rng) {
    double radius = sqrt(-2.0 * log(test_uniform(rng)));
    return radius * cos(6.283185307179586 * test_uniform(rng));
}

size_t test_below(test_rng *rng, size_t bound) {
    return (size_t)(next_word(rng) % bound);
}

/* ---- Device ------------------------------------------------------------------------------------------------ */

static eqf_context *shared_context;

static void print_log(void *user, eqf_log_level level, const char *message) {
    (void)user;
    if (level >= EQF_LOG_WARNING) print_message("library: %s\n", message);
}

eqf_context *test_context(void) {
    static bool has_no_device;
    if (has_no_device) skip();
    if (shared_context) return shared_context;
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    options.log = print_log;
    options.cache_path = getenv("EQFLOW_TEST_CACHE") ? getenv("EQFLOW_TEST_CACHE") : "";
    eqf_context *ctx;
    if (eqf_context_create(&options, &ctx) != EQF_OK) fail_msg("no context");
    const char *selector = getenv("EQFLOW_DEVICE");
    eqf_status status = eqf_context_open_device(ctx, selector);
    if ((status == EQF_ERROR_NO_PLATFORM || status == EQF_ERROR_NO_DEVICE) && !selector) {
        print_message("skipped: %s\n", eqf_context_error(ctx));
        eqf_context_destroy(&ctx);
        has_no_device = true;
        skip();
    }
    if (status != EQF_OK) {
        print_error("EQFLOW_DEVICE=%s: %s\n", selector ? selector : "", eqf_context_error(ctx));
        eqf_context_destroy(&ctx);
        fail();
    }
    shared_context = ctx;
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &device));
    print_message("device: %s, %s, driver %s\n", device.name, device.platform_version, device.driver_version);
    return ctx;
}

int test_context_teardown(void **state) {
    (void)state;
    eqf_context_destroy(&shared_context);
    return 0;
}

static bool has_same_bits_of_forms(eqf_context *ctx) {
    eqf_device_info device = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &device));
    return strncmp(device.platform_name, "Intel(R) OpenCL", 15) != 0;
}

void test_same_doubles(eqf_context *ctx, const char *what, size_t count, const double *a, const double *b,
                       double tolerance) {
    const bool has_same_bits = has_same_bits_of_forms(ctx);
    double largest = 0.0;
    for (size_t i = 0; i < count; i++) largest = fmax(largest, fabs(b[i]));
    for (size_t i = 0; i < count; i++)
        if (memcmp(&a[i], &b[i], sizeof *a) != 0 && (has_same_bits || !(fabs(a[i] - b[i]) <= tolerance * largest)))
            fail_msg("%s: number %zu is %.17g here, %.17g there", what, i, a[i], b[i]);
}

void test_same(eqf_context *ctx, const char *what, size_t count, const float *a, const float *b, double tolerance) {
    double *wide_a = test_to_double(count, a), *wide_b = test_to_double(count, b);
    test_same_doubles(ctx, what, count, wide_a, wide_b, tolerance);
    free(wide_a);
    free(wide_b);
}

bool test_wants_every(void) {
    return getenv("EQF_TEST_EVERY") != NULL;
}

void test_ok(eqf_context *ctx, eqf_status status, const char *file, int line) {
    if (status == EQF_OK) return;
    print_error("%s: %s\n", eqf_status_name(status), ctx ? eqf_context_error(ctx) : "");
    _fail(file, line);
}

/* ---- Systems ----------------------------------------------------------------------------------------------- */

const test_system test_systems[] = {
    {"dw2", 2, 2, EQF_POTENTIAL_DOUBLE_WELL},     {"dw4", 4, 2, EQF_POTENTIAL_DOUBLE_WELL},
    {"line3", 3, 1, EQF_POTENTIAL_DOUBLE_WELL},   {"dw5", 5, 3, EQF_POTENTIAL_DOUBLE_WELL},
    {"lj13", 13, 3, EQF_POTENTIAL_LENNARD_JONES},
};
const size_t num_test_systems = sizeof test_systems / sizeof *test_systems;

const test_system *test_system_named(const char *name) {
    for (size_t i = 0; i < num_test_systems; ++i)
        if (!strcmp(test_systems[i].name, name)) return test_systems + i;
    static const test_system lj34 = {"lj34", 34, 3, EQF_POTENTIAL_LENNARD_JONES};
    if (!strcmp(lj34.name, name)) return &lj34;
    fail_msg("no test system %s", name);
    return NULL;
}

const size_t test_batch_sizes[] = {0, 1, 7, 8, 9, 37};
const size_t num_test_batch_sizes = sizeof test_batch_sizes / sizeof *test_batch_sizes;

eqf_model_options test_model_options(const test_system *system) {
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.kind = system->kind;
    options.potential.num_particles = system->num_particles;
    options.potential.space_dim = system->space_dim;
    if (system->kind != EQF_POTENTIAL_DOUBLE_WELL) {
        options.dynamics.layout = EQF_RADIAL_DENSE_CORE;
        options.dynamics.distance_max = 16.0;
    }
    return options;
}

static const eqf_param_slice *slice_named(const eqf_model *model, const char *name) {
    for (size_t i = 0; i < eqf_model_num_slices(model); ++i)
        if (!strcmp(eqf_model_slice(model, i)->name, name)) return eqf_model_slice(model, i);
    fail_msg("the model has no %s", name);
    return NULL;
}

eqf_model *test_trained_like_model(eqf_context *ctx, const test_system *system, const eqf_model_options *options,
                                   uint64_t seed) {
    eqf_model_options defaults = test_model_options(system);
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, options ? options : &defaults, &model));
    size_t num_params = eqf_model_num_params(model);
    float *params = test_floats(num_params);
    memcpy(params, eqf_model_params(model), num_params * sizeof *params);
    test_rng rng = {seed};
    /* phi must shrink as 1/(N-1), so that particles travel about their own distance whatever N is. */
    double size = 1.5 / (system->num_particles - 1.0);
    static const char *const names[] = {"radial.weights", "radial.bias", "radial.importance",
                                        "radial.distance_log_gammas", "radial.time_log_gammas"};
    for (size_t n = 0; n < sizeof names / sizeof *names; ++n) {
        const eqf_param_slice *slice = slice_named(model, names[n]);
        for (size_t i = 0; i < slice->count; ++i) {
            float *value = params + slice->offset + i;
            if (n == 0) *value = (float)(size * test_normal(&rng));
            if (n == 1) *value = (float)(0.3 * size * test_normal(&rng));
            if (n == 2) *value = (float)(0.15 * test_normal(&rng));
            if (n >= 3) *value += (float)(0.4 * test_uniform(&rng) - 0.2);
        }
    }
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    free(params);
    return model;
}

void test_center(unsigned num_particles, unsigned space_dim, double *x) {
    for (unsigned d = 0; d < space_dim; ++d) {
        double mean = 0.0;
        for (unsigned i = 0; i < num_particles; ++i) mean += x[i * space_dim + d] / num_particles;
        for (unsigned i = 0; i < num_particles; ++i) x[i * space_dim + d] -= mean;
    }
}

void test_center_floats(unsigned num_particles, unsigned space_dim, float *x) {
    double *one = test_to_double((size_t)num_particles * space_dim, x);
    test_center(num_particles, space_dim, one);
    for (unsigned n = 0; n < num_particles * space_dim; ++n) x[n] = (float)one[n];
    free(one);
}

/* Lattice points with neighbour distance 1.1 (1-D and 2-D: cubic, 3-D: face-centred cubic) around a random origin, the
 * nearest ones, each moved a little: what a Lennard-Jones cluster looks like to the pair distances. */
static void cluster(test_rng *rng, unsigned num_particles, unsigned space_dim, double *x) {
    static const double basis[4][3] = {{0, 0, 0}, {0, .5, .5}, {.5, 0, .5}, {.5, .5, 0}};
    enum { CELLS = 7, SITES = 4 * CELLS * CELLS * CELLS };
    double edge = space_dim == 3 ? 1.1 * sqrt(2.0) : 1.1, origin[3] = {0.0, 0.0, 0.0};
    double(*site)[3] = calloc(SITES, sizeof *site);
    if (!site) abort();
    size_t num_sites = 0;
    for (unsigned d = 0; d < space_dim; ++d) origin[d] = edge * test_uniform(rng);
    for (unsigned p = 0; p < SITES; ++p) {
        unsigned cell[3] = {p / 4 % CELLS, p / 4 / CELLS % CELLS, p / 4 / CELLS / CELLS}, corner = p % 4;
        if (space_dim < 3 && (corner || cell[2])) continue;
        if (space_dim < 2 && cell[1]) continue;
        for (unsigned d = 0; d < space_dim; ++d)
            site[num_sites][d] = edge * ((double)cell[d] - CELLS / 2 + basis[corner][d]) - origin[d];
        num_sites++;
    }
    for (unsigned i = 0; i < num_particles; ++i) {
        size_t nearest = i; /* sites before i are taken */
        double best = INFINITY;
        for (size_t p = i; p < num_sites; ++p) {
            double squared = site[p][0] * site[p][0] + site[p][1] * site[p][1] + site[p][2] * site[p][2];
            if (squared < best) {
                best = squared;
                nearest = p;
            }
        }
        for (unsigned d = 0; d < space_dim; ++d) {
            double held = site[i][d];
            site[i][d] = site[nearest][d];
            site[nearest][d] = held;
            x[i * space_dim + d] = site[i][d] + 0.06 * test_normal(rng);
        }
    }
    free(site);
}

static double longest_distance(unsigned num_particles, unsigned space_dim, const double *x) {
    double longest = 0.0;
    for (unsigned i = 0; i < num_particles; ++i)
        for (unsigned j = 0; j < i; ++j) {
            double squared = 0.0;
            for (unsigned d = 0; d < space_dim; ++d)
                squared +=
                    (x[i * space_dim + d] - x[j * space_dim + d]) * (x[i * space_dim + d] - x[j * space_dim + d]);
            longest = fmax(longest, sqrt(squared));
        }
    return longest;
}

void test_stretch(unsigned num_particles, unsigned space_dim, double longest, float *x) {
    double *one = test_to_double((size_t)num_particles * space_dim, x);
    double factor = longest / longest_distance(num_particles, space_dim, one);
    for (unsigned n = 0; n < num_particles * space_dim; ++n) x[n] = (float)(factor * one[n]);
    free(one);
}

float *test_configurations(const test_system *system, size_t batch_size, uint64_t seed) {
    unsigned N = system->num_particles, D = system->space_dim;
    float *x = test_floats(batch_size * N * D);
    double *one = calloc((size_t)N * D, sizeof *one);
    test_rng rng = {seed};
    for (size_t b = 0; b < batch_size; ++b) {
        if (system->kind != EQF_POTENTIAL_DOUBLE_WELL) {
            cluster(&rng, N, D, one);
        } else {
            /* The presets' last Gaussian is at distance 8: samples keep within. */
            do {
                for (unsigned n = 0; n < N * D; ++n) one[n] = 2.0 * test_normal(&rng);
            } while (longest_distance(N, D, one) > 8.0);
        }
        test_center(N, D, one);
        for (unsigned n = 0; n < N * D; ++n) x[b * N * D + n] = (float)one[n];
    }
    free(one);
    return x;
}

void test_orthogonal(test_rng *rng, unsigned space_dim, bool is_reflected, double *matrix_out) {
    /* Gram-Schmidt on random rows; the last row's sign sets the determinant's. */
    for (unsigned row = 0; row < space_dim; ++row) {
        double *a = matrix_out + row * space_dim, length = 0.0;
        for (unsigned d = 0; d < space_dim; ++d) a[d] = test_normal(rng);
        for (unsigned above = 0; above < row; ++above) {
            const double *b = matrix_out + above * space_dim;
            double along = 0.0;
            for (unsigned d = 0; d < space_dim; ++d) along += a[d] * b[d];
            for (unsigned d = 0; d < space_dim; ++d) a[d] -= along * b[d];
        }
        for (unsigned d = 0; d < space_dim; ++d) length += a[d] * a[d];
        for (unsigned d = 0; d < space_dim; ++d) a[d] /= sqrt(length);
    }
    const double *m = matrix_out;
    double determinant = m[0];
    if (space_dim == 2) determinant = m[0] * m[3] - m[1] * m[2];
    if (space_dim == 3)
        determinant = m[0] * (m[4] * m[8] - m[5] * m[7]) - m[1] * (m[3] * m[8] - m[5] * m[6]) +
                      m[2] * (m[3] * m[7] - m[4] * m[6]);
    if ((determinant < 0.0) != is_reflected)
        for (unsigned d = 0; d < space_dim; ++d)
            matrix_out[(space_dim - 1) * space_dim + d] = -matrix_out[(space_dim - 1) * space_dim + d];
}

double *test_to_double(size_t count, const float *values) {
    double *copy = malloc((count ? count : 1) * sizeof *copy);
    if (!copy) abort();
    for (size_t i = 0; i < count; ++i) copy[i] = values[i];
    return copy;
}

float *test_floats(size_t count) {
    float *values = calloc(count ? count : 1, sizeof *values);
    if (!values) abort();
    return values;
}

#define GUARD 16
static const float untouched = -1.2345e-21f;

float *test_output(size_t count) {
    float *values = test_floats(count + GUARD);
    for (size_t i = 0; i < count + GUARD; ++i) values[i] = untouched;
    return values;
}

void test_output_end(size_t count, const float *values) {
    for (size_t i = 0; i < GUARD; ++i)
        if (values[count + i] != untouched) fail_msg("written past the end: element %zu of %zu", count + i, count);
}

/* z of the prior's stream, straight from the definition: Philox 4x32-10 (Salmon et al. 2011), Box and Muller, mean
 * removed. */
void test_latents(unsigned N, unsigned D, double scale, uint64_t seed, uint64_t sample, double *z) {
    for (unsigned c = 0; c < N * D; c++) {
        philox4x32_ctr_t counter = {{(uint32_t)sample, (uint32_t)(sample >> 32), c / 4, 0x7072696fu}};
        philox4x32_key_t key = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
        philox4x32_ctr_t words = philox4x32(counter, key);
        const unsigned pair = c % 4 / 2;
        const double radius = sqrt(-2.0 * log(((words.v[2 * pair] >> 9) + 0.5) / 8388608.0));
        const double angle = 2.0 * acos(-1.0) * ((words.v[2 * pair + 1] >> 9) + 0.5) / 8388608.0;
        z[c] = radius * (c % 2 ? sin(angle) : cos(angle));
    }
    test_center(N, D, z);
    for (unsigned c = 0; c < N * D; c++) z[c] *= scale;
}

/* ---- Worst errors ------------------------------------------------------------------------------------------ */

void test_compare(test_worst *worst, size_t index, double error) {
    if (isnan(error)) error = INFINITY;
    if (error > worst->tolerance) worst->num_above++;
    if (!worst->num_compared++ || error > worst->error) {
        worst->error = error;
        worst->index = index;
    }
}

bool test_report(const test_worst *worst, const char *format, ...) {
    char name[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(name, sizeof name, format, arguments);
    va_end(arguments);
    print_message("%-44s worst %9.3g (of %zu, at %zu); allowed %g; above: %zu\n", name, worst->error,
                  worst->num_compared, worst->index, worst->tolerance, worst->num_above);
    return worst->num_above == 0;
}
