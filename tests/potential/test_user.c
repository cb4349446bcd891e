/* A user's own potential: against formulas in double and the built-in kinds, its check of gradients, its way through
 * the model file. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "eqflow/eqflow.h"
#include "support.h"
#include "test_files.h"

static const char morse_text[] =
    "static real distance_of(const real *x, uint i, uint j) {\n"
    "    real s = 0;\n"
    "    for (uint d = 0; d < D; d++) s += (x[i * D + d] - x[j * D + d]) * (x[i * D + d] - x[j * D + d]);\n"
    "    return sqrt(s);\n"
    "}\n"
    "real energy(const real *x) {\n"
    "    real sum = 0;\n"
    "    for (uint i = 0; i < N; i++)\n"
    "        for (uint j = 0; j < i; j++) {\n"
    "            real r = distance_of(x, i, j), e = exp(-steepness * (r - 1));\n"
    "            sum += depth * e * (e - 2) + (real)0.5f * trap / N * r * r;\n"
    "        }\n"
    "    return sum OFFSET;\n"
    "}\n"
    "void energy_gradient(const real *x, real *gradient) {\n"
    "    for (uint c = 0; c < N * D; c++) gradient[c] = 0;\n"
    "    for (uint i = 0; i < N; i++)\n"
    "        for (uint j = 0; j < N; j++) {\n"
    "            if (i == j) continue;\n"
    "            real r = distance_of(x, i, j), e = exp(-steepness * (r - 1));\n"
    "            real slope = (-2 * depth * steepness * e * (e - 1) + trap / N * r) FACTOR;\n"
    "            for (uint d = 0; d < D; d++) gradient[i * D + d] += slope * (x[i * D + d] - x[j * D + d]) / r;\n"
    "        }\n"
    "}\n";

static const double depth = 1.7, steepness = 3.1, trap = 0.6;

/* u and its gradient from the formula, x [N, D] */
static double reference(unsigned N, unsigned D, double T, const float *x, double *gradient) {
    double sum = 0.0;
    for (unsigned c = 0; c < N * D; c++) gradient[c] = 0.0;
    for (unsigned i = 0; i < N; i++)
        for (unsigned j = 0; j < i; j++) {
            double s = 0.0;
            for (unsigned d = 0; d < D; d++) s += pow((double)x[i * D + d] - (double)x[j * D + d], 2.0);
            double r = sqrt(s), w = 1.0 - exp(-steepness * (r - 1.0));
            sum += depth * (w * w - 1.0) + 0.5 * trap / N * s;
            double slope = 2.0 * depth * w * steepness * exp(-steepness * (r - 1.0)) + trap / N * r;
            for (unsigned d = 0; d < D; d++) {
                double part = slope * ((double)x[i * D + d] - (double)x[j * D + d]) / r / T;
                gradient[i * D + d] += part;
                gradient[j * D + d] -= part;
            }
        }
    return sum / T;
}

/* The text with OFFSET and FACTOR replaced: what a careless author writes. */
static char *text_with(const char *offset, const char *factor) {
    char *text = malloc(sizeof morse_text + strlen(offset) + strlen(factor) + 64);
    assert_non_null(text);
    sprintf(text, "#define OFFSET %s\n#define FACTOR %s\n#line 1\n%s", offset, factor, morse_text);
    return text;
}

static eqf_potential_options morse(eqf_context *ctx, unsigned N, unsigned D, const char *text) {
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.kind = EQF_POTENTIAL_USER;
    potential.num_particles = N;
    potential.space_dim = D;
    potential.temperature = 1.3;
    potential.source = text;
    potential.source_name = "morse \"7\".cl";
    assert_int_equal(EQF_OK, eqf_potential_set_constant(ctx, &potential, "depth", depth));
    assert_int_equal(EQF_OK, eqf_potential_set_constant(ctx, &potential, "trap", 9.0));
    assert_int_equal(EQF_OK, eqf_potential_set_constant(ctx, &potential, "steepness", steepness));
    assert_int_equal(EQF_OK, eqf_potential_set_constant(ctx, &potential, "trap", trap));
    assert_int_equal(3, potential.num_constants);
    return potential;
}

static void fill(float *x, size_t count, double scale, unsigned seed) {
    uint32_t state = seed;
    for (size_t c = 0; c < count; c++) {
        state = state * 1664525u + 1013904223u;
        x[c] = (float)(scale * ((double)(state >> 8) / 8388608.0 - 1.0));
    }
}

static void test_energy_and_force(void **state) {
    eqf_context *ctx = test_context();
    (void)state;
    char *text = text_with("", "");
    const struct { unsigned N, D; size_t batch; } cases[] = {{2, 1, 1}, {3, 2, 13}, {7, 3, 37}};
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        const unsigned N = cases[k].N, D = cases[k].D;
        const size_t num_dof = (size_t)N * D, batch = cases[k].batch;
        float *x = malloc(batch * num_dof * sizeof *x), *force = malloc(batch * num_dof * sizeof *force);
        float *energy = malloc(batch * sizeof *energy);
        double *gradient = malloc(num_dof * sizeof *gradient), worst = 0.0;
        assert_true(x && force && energy && gradient);
        fill(x, batch * num_dof, 1.2, 7 + (unsigned)k);
        if (batch > 5) x[5 * num_dof] = NAN; /* of this configuration only */
        eqf_potential_options potential = morse(ctx, N, D, text);
        assert_int_equal(EQF_OK, eqf_potential_evaluate(ctx, &potential, batch, x, energy, force));
        for (size_t b = 0; b < batch; b++) {
            if (batch > 5 && b == 5) {
                assert_true(isnan(energy[b]));
                continue;
            }
            double u = reference(N, D, 1.3, x + b * num_dof, gradient), largest = 1.0;
            for (size_t c = 0; c < num_dof; c++) largest = fmax(largest, fabs(gradient[c]));
            worst = fmax(worst, fabs(u - (double)energy[b]) / (1.0 + fabs(u)));
            for (size_t c = 0; c < num_dof; c++)
                worst = fmax(worst, fabs(gradient[c] + (double)force[b * num_dof + c]) / largest);
        }
        printf("N = %u, D = %u: worst error %.2e\n", N, D, worst);
        assert_true(worst < 2e-5);
        assert_int_equal(EQF_OK, eqf_potential_evaluate(ctx, &potential, 0, NULL, energy, force));
        free(x);
        free(force);
        free(energy);
        free(gradient);
    }
    free(text);
}

static void test_verify(void **state) {
    eqf_context *ctx = test_context();
    (void)state;
    const struct {
        const char *offset, *factor, *message; /* NULL: passes */
    } cases[] = {
        {"", "", NULL},
        {"", "* -1", "the gradient is not the energy's"},
        {"", "* (real)0.5f", "the gradient is not the energy's"},
        {"", "* (i == 2 ? (real)1.02f : (real)1)", "the gradient is not the energy's"},
        {"+ x[0] * x[0]", "", "not the energy's"},
        {"+ (real)3 * (x[0] + x[D] + x[2 * D])", "+ 0", "not the energy's"},
        {"* (real)NAN", "", "could not be checked"},
        {"* 0", "* 0", "could not be checked"},
    };
    for (size_t k = 0; k < sizeof cases / sizeof cases[0]; k++) {
        char *text = text_with(cases[k].offset, cases[k].factor);
        eqf_potential_options potential = morse(ctx, 5, 2, text);
        double error = -1.0;
        eqf_status status = eqf_potential_verify(ctx, &potential, &error);
        printf("%s / %s: error %.2e, %s\n", cases[k].offset, cases[k].factor, error,
               status == EQF_OK ? "passes" : eqf_context_error(ctx));
        assert_int_equal(status, cases[k].message == NULL ? EQF_OK : EQF_ERROR_FORMAT);
        if (cases[k].message != NULL) assert_non_null(strstr(eqf_context_error(ctx), cases[k].message));
        free(text);
    }
    /* An outer field with a right gradient: what is wrong is that it is there. */
    static const char outer[] = "real energy(const real *x) { real s = 0; for (uint c = 0; c < N * D; c++) s += x[c] * "
                                "x[c]; return s; }\nvoid energy_gradient(const real *x, real *gradient) { for (uint c "
                                "= 0; c < N * D; c++) gradient[c] = 2 * x[c]; }\n";
    eqf_potential_options potential = morse(ctx, 4, 3, outer);
    assert_int_equal(EQF_ERROR_FORMAT, eqf_potential_verify(ctx, &potential, NULL));
    assert_non_null(strstr(eqf_context_error(ctx), "when all particles are moved"));
    /* The built-in kinds pass the same check. */
    eqf_potential_options well = EQF_POTENTIAL_OPTIONS_INIT;
    well.num_particles = 4;
    assert_int_equal(EQF_OK, eqf_potential_verify(ctx, &well, NULL));
    well.kind = EQF_POTENTIAL_LENNARD_JONES;
    well.num_particles = 13;
    well.space_dim = 3;
    assert_int_equal(EQF_OK, eqf_potential_verify(ctx, &well, NULL));
}

static void test_build_failure(void **state) {
    eqf_context *ctx = test_context();
    (void)state;
    static const char text[] =
        "/* two lines\n   of comment */\nreal energy(const real *x) { return x[0] + nonsense; }\n"
        "void energy_gradient(const real *x, real *gradient) { gradient[0] = x[0]; }\n";
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.kind = EQF_POTENTIAL_USER;
    potential.source = text;
    potential.source_name = "broken.cl";
    float x[4] = {0}, energy;
    assert_int_equal(EQF_ERROR_KERNEL_BUILD, eqf_potential_evaluate(ctx, &potential, 1, x, &energy, NULL));
    const char *message = eqf_context_error(ctx), *log = strstr(message, "log and source: ");
    printf("%s\n", message);
    assert_non_null(log);
    char path[512];
    snprintf(path, sizeof path, "%s", log + strlen("log and source: "));
    FILE *stream = fopen(path, "r");
    assert_non_null(stream);
    char whole[4096] = "";
    size_t length = fread(whole, 1, sizeof whole - 1, stream);
    whole[length] = '\0';
    fclose(stream);
    unlink(path);
    assert_non_null(strstr(whole, "---- log ----"));
    /* Compilers that name a place name the user's file and line, and the message has it. */
    if (strstr(whole, "broken.cl") != NULL) assert_non_null(strstr(message, "broken.cl:3"));
    else printf("this compiler's log names no file\n");
}

static void test_like_built_in(void **state) {
    eqf_context *ctx = test_context();
    (void)state;
    static const char text[] =
        "real energy(const real *x) { real u = 0; for (uint i = 0; i < N; i++) for (uint j = 0; j < i; j++) { real s = "
        "0; for (uint d = 0; d < D; d++) { real r = x[i*D+d] - x[j*D+d]; s += r * r; } real q = 1 / (s * s * s);\n"
        "u += depth * q * (q - 2) + k / (2 * N) * s; } return u; }\n"
        "void energy_gradient(const real *x, real *g) { for (uint c = 0; c < N * D; c++) g[c] = 0; for (uint i = 0; i "
        "< "
        "N; i++) for (uint j = 0; j < i; j++) { real s = 0; for (uint d = 0; d < D; d++) { real r = x[i*D+d] - "
        "x[j*D+d]; s += r * r; } real q = 1 / (s * s * s), f = -12 * depth * q * (q - 1) / s + k / N; for (uint d = 0; "
        "d < D; d++) { real r = x[i*D+d] - x[j*D+d]; g[i*D+d] += f * r; g[j*D+d] -= f * r; } } }\n";
    eqf_potential_options own = EQF_POTENTIAL_OPTIONS_INIT, built_in = EQF_POTENTIAL_OPTIONS_INIT;
    own.kind = EQF_POTENTIAL_USER;
    own.num_particles = built_in.num_particles = 5;
    own.space_dim = built_in.space_dim = 3;
    own.source = text;
    built_in.kind = EQF_POTENTIAL_LENNARD_JONES;
    built_in.epsilon = 1.0;
    built_in.trap_strength = 0.5;
    assert_int_equal(EQF_OK, eqf_potential_set_constant(ctx, &own, "depth", 1.0));
    assert_int_equal(EQF_OK, eqf_potential_set_constant(ctx, &own, "k", 0.5));
    assert_int_equal(EQF_OK, eqf_potential_verify(ctx, &own, NULL));

    /* The same chains: the same random numbers meet the same energies, but for rounding; means agree in any case. */
    eqf_mcmc_options options = EQF_MCMC_OPTIONS_INIT;
    options.num_chains = 64;
    options.num_burn_in = 400;
    options.thinning = 20;
    enum { NUM = 1024, NUM_DOF = 15, NUM_STARTS = 20 };
    float *x = malloc(NUM * NUM_DOF * sizeof *x);
    assert_non_null(x);
    eqf_mcmc_diagnostics of_own = EQF_MCMC_DIAGNOSTICS_INIT, of_built_in = EQF_MCMC_DIAGNOSTICS_INIT;
    assert_int_equal(EQF_OK, eqf_mcmc_sample(ctx, &built_in, &options, NUM, x, NULL, &of_built_in));
    assert_int_equal(EQF_OK, eqf_mcmc_sample(ctx, &own, &options, NUM, x, NULL, &of_own));
    double error = hypot(of_own.mean_energy_standard_error, of_built_in.mean_energy_standard_error);
    printf("mean energy %.4f own, %.4f built in, error %.4f\n", of_own.mean_energy, of_built_in.mean_energy, error);
    assert_true(fabs(of_own.mean_energy - of_built_in.mean_energy) < 5.0 * error);

    /* The same deepest minimum, from the same random starts. */
    double lowest[2];
    for (unsigned k = 0; k < 2; k++) {
        const eqf_potential_options *potential = k == 0 ? &own : &built_in;
        double x_out[NUM_STARTS * NUM_DOF], energy[NUM_STARTS];
        eqf_quench_result result[NUM_STARTS];
        eqf_quench_summary summary = EQF_QUENCH_SUMMARY_INIT;
        assert_int_equal(EQF_OK, eqf_minima_random_starts(ctx, potential, 3, 0, NUM_STARTS, x));
        assert_int_equal(EQF_OK, eqf_minima_quench(ctx, potential, NULL, NUM_STARTS, x, x_out, energy, NULL, result,
                                                   &summary));
        assert_int_equal(NUM_STARTS, summary.counts[EQF_QUENCH_MINIMUM]);
        lowest[k] = energy[0];
        for (size_t b = 1; b < NUM_STARTS; b++) lowest[k] = fmin(lowest[k], energy[b]);
        printf("deepest minimum %.6f after %.0f steps\n", lowest[k], summary.mean_steps);
    }
    assert_true(fabs(lowest[0] - lowest[1]) < 1e-3);
    free(x);
}

static void test_model_file(void **state) {
    eqf_context *ctx = test_context();
    (void)state;
    char *text = text_with("", "");
    eqf_potential_options potential = morse(ctx, 4, 2, text);
    eqf_preset *preset;
    assert_int_equal(EQF_OK, eqf_preset_for_potential(ctx, &potential, &preset));
    eqf_model *model, *copy, *loaded;
    assert_int_equal(EQF_OK, eqf_model_create(ctx, preset->model, &model));
    eqf_free(preset);
    memset(text, 'x', 20); /* the model's text is its own */
    assert_int_equal(EQF_OK, eqf_model_copy(ctx, model, &copy));
    eqf_model_destroy(&model);
    char path[1024];
    snprintf(path, sizeof path, "%s", test_path("model"));
    assert_int_equal(EQF_OK, eqf_model_save(ctx, copy, path));
    assert_int_equal(EQF_OK, eqf_model_load(ctx, path, &loaded));
    const eqf_potential_options *kept = &eqf_model_options_of(copy)->potential;
    const eqf_potential_options *read = &eqf_model_options_of(loaded)->potential;
    assert_int_equal(EQF_POTENTIAL_USER, read->kind);
    assert_string_equal(kept->source, read->source);
    assert_string_equal("morse \"7\".cl", read->source_name);
    assert_int_equal(3, read->num_constants);
    for (unsigned c = 0; c < 3; c++) {
        assert_string_equal(kept->constants[c].name, read->constants[c].name);
        assert_true(kept->constants[c].value == read->constants[c].value);
    }
    assert_int_equal(EQF_OK, eqf_potential_verify(ctx, read, NULL));
    eqf_model_destroy(&copy);
    eqf_model_destroy(&loaded);
    unlink(path);
    free(text);
}

static void test_refusals(void **state) {
    eqf_context *ctx = test_context();
    (void)state;
    eqf_potential_options potential = EQF_POTENTIAL_OPTIONS_INIT;
    potential.kind = EQF_POTENTIAL_USER;
    assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_potential_check(ctx, &potential));
    const char *bad_texts[] = {"", " \n", "\xff", "\xc0\xaf", "\xed\xa0\x80"};
    for (size_t k = 0; k < sizeof bad_texts / sizeof bad_texts[0]; k++) {
        potential.source = bad_texts[k];
        assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_potential_check(ctx, &potential));
    }
    potential.source = "/* \xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82 */ real";
    assert_int_equal(EQF_OK, eqf_potential_check(ctx, &potential));
    potential.length = 0.0;
    assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_potential_check(ctx, &potential));
    potential.length = 1.0;
    const char *bad_names[] = {"", "1a", "a b", "N", "real", "energy", "a\"b", "a_name_that_is_longer_than_31_chars"};
    for (size_t k = 0; k < sizeof bad_names / sizeof bad_names[0]; k++)
        assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_potential_set_constant(ctx, &potential, bad_names[k], 1.0));
    assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_potential_set_constant(ctx, &potential, "a", NAN));
    assert_int_equal(0, potential.num_constants);
    for (unsigned c = 0; c < EQF_POTENTIAL_MAX_CONSTANTS; c++) {
        char name[8];
        snprintf(name, sizeof name, "c%u", c);
        assert_int_equal(EQF_OK, eqf_potential_set_constant(ctx, &potential, name, c));
    }
    assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_potential_set_constant(ctx, &potential, "more", 1.0));
    assert_int_equal(EQF_OK, eqf_potential_set_constant(ctx, &potential, "c3", -1.0));
    memset(potential.constants[5].name, 'c', sizeof potential.constants[5].name);
    assert_int_equal(EQF_ERROR_INVALID_ARGUMENT, eqf_potential_check(ctx, &potential));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refusals),      cmocka_unit_test(test_energy_and_force),
        cmocka_unit_test(test_verify),        cmocka_unit_test(test_build_failure),
        cmocka_unit_test(test_like_built_in), cmocka_unit_test(test_model_file),
    };
    return cmocka_run_group_tests(tests, NULL, test_folders_teardown);
}
