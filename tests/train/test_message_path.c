/* Path gradients of the message field against the double reference: one batch, the same numbers, no averages. The
 * score is solved along the trajectory, ds/dt = -(dv/dx)^T s - grad div v, and the reverse of the solve is seeded
 * with s(1) + grad u. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref_message.h"
#include "support.h"
#include "train_internal.h"

enum { N = 4, D = 2, DOF = N * D, NUM_STEPS = 5, BATCH = 3, NUM_DATA = 12 };

static const double reach[4] = {0.0, 0.5, 0.5, 1.0}, weight[4] = {1.0, 2.0, 2.0, 1.0};

static eqf_model *make_model(eqf_context *ctx) {
    eqf_model_options options = *eqf_preset_find("dw4")->model;
    options.dynamics.kind = EQF_DYNAMICS_MESSAGE;
    options.dynamics.num_hops = 3;
    options.dynamics.num_scalars = 8;
    options.dynamics.num_vectors = 4;
    options.dynamics.num_edge = 6;
    options.dynamics.num_reduced = 2;
    options.dynamics.num_distance = 12;
    options.integrator.num_steps = NUM_STEPS;
    options.potential.quartic = 0.1; /* soft, so that samples of an untrained model have forces of a reasonable size */
    options.seed = 4;
    eqf_model *model;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    const size_t num_params = eqf_model_num_params(model);
    float *params = test_floats(num_params);
    memcpy(params, eqf_model_params(model), num_params * sizeof *params);
    for (size_t p = 0; p < num_params; ++p) params[p] *= 1.2f;
    TEST_OK(ctx, eqf_model_set_params(ctx, model, params));
    free(params);
    return model;
}

/* The places of all stages of a solve from z and the score along it. */
typedef struct joint_solve {
    double x[4 * NUM_STEPS][DOF], x_end[DOF], score_end[DOF], log_det;
} joint_solve;

static void solve(const ref_message *message, double prior_scale, const double *z, joint_solve *out) {
    const double h = 1.0 / NUM_STEPS;
    double x[DOF], s[DOF], x_at[DOF], s_at[DOF], v[4][DOF], slope[4][DOF];
    memcpy(x, z, sizeof x);
    for (unsigned c = 0; c < DOF; ++c) s[c] = -z[c] / (prior_scale * prior_scale);
    out->log_det = 0.0;
    for (unsigned step = 0; step < NUM_STEPS; ++step) {
        for (unsigned i = 0; i < 4; ++i) {
            for (unsigned c = 0; c < DOF; ++c) {
                x_at[c] = x[c] + (i ? reach[i] * h * v[i - 1][c] : 0.0);
                s_at[c] = s[c] - (i ? reach[i] * h * slope[i - 1][c] : 0.0);
            }
            memcpy(out->x[4 * step + i], x_at, sizeof x_at);
            double t = h * (step + reach[i]), divergence;
            ref_message_field(message, t, x_at, v[i], &divergence);
            ref_message_gradient(message, t, x_at, s_at, 1.0, slope[i], NULL);
            out->log_det += h / 6.0 * weight[i] * divergence;
        }
        for (unsigned i = 0; i < 4; ++i)
            for (unsigned c = 0; c < DOF; ++c) {
                x[c] += h / 6.0 * weight[i] * v[i][c];
                s[c] -= h / 6.0 * weight[i] * slope[i][c];
            }
    }
    memcpy(out->x_end, x, sizeof x);
    memcpy(out->score_end, s, sizeof s);
}

/* by_params += the reverse of the solve of x, seeded with adjoint at its end. */
static void reverse(const ref_message *message, const joint_solve *solved, const double *seed, double *by_params) {
    const double h = 1.0 / NUM_STEPS;
    double adjoint[DOF], by_k[4][DOF], by_x[DOF], *by_one = calloc(message->num_params, sizeof *by_one);
    assert_non_null(by_one);
    memcpy(adjoint, seed, sizeof adjoint);
    for (unsigned step = NUM_STEPS; step-- > 0;) {
        for (unsigned i = 0; i < 4; ++i)
            for (unsigned c = 0; c < DOF; ++c) by_k[i][c] = h / 6.0 * weight[i] * adjoint[c];
        for (unsigned i = 4; i-- > 0;) {
            ref_message_gradient(message, h * (step + reach[i]), solved->x[4 * step + i], by_k[i], 0.0, by_x, by_one);
            for (size_t p = 0; p < message->num_params; ++p) by_params[p] += by_one[p];
            for (unsigned c = 0; c < DOF; ++c) {
                adjoint[c] += by_x[c];
                if (i) by_k[i - 1][c] += reach[i] * h * by_x[c];
            }
        }
    }
    free(by_one);
}

static double norm(const double *v, size_t count) {
    double sum = 0.0;
    for (size_t c = 0; c < count; ++c) sum += v[c] * v[c];
    return sqrt(sum);
}

static void check_way(bool is_energy) {
    eqf_context *ctx = test_context();
    eqf_model *model = make_model(ctx);
    ref_message *message = ref_message_from_model(model);
    assert_non_null(message);
    const eqf_model_options *model_options = eqf_model_options_of(model);
    float *data = test_configurations(test_system_named("dw4"), NUM_DATA, 5);
    eqf_training_options options = EQF_TRAINING_OPTIONS_INIT;
    options.gradient = EQF_GRADIENT_PATH;
    options.batch_size = options.num_generated = BATCH;
    options.num_steps = 10;
    options.integration_penalty = 0;
    options.path_cap = 0;
    options.nll_weight_start = options.nll_weight_end = !is_energy;
    options.seed = 6;
    eqf_trainer *trainer;
    TEST_OK(ctx, eqf_trainer_create(ctx, model, &options, NUM_DATA, data, 0, NULL, &trainer));
    const eqf__term_kind kind = is_energy ? EQF__TERM_ENERGY : EQF__TERM_NLL;
    const eqf__batch_share share = eqf__share_of(trainer, BATCH);
    const unsigned V = trainer->flow->vector_width;
    const size_t num_blocks = (BATCH + V - 1) / V, num = trainer->num_trained;
    float *blocked = test_floats(num_blocks * DOF * V), *got = test_floats(num);
    TEST_OK(ctx, eqf__field_prepare(trainer->flow->field, false));
    TEST_OK(ctx, eqf__terms[kind].draw(trainer, &share));
    TEST_OK(ctx, eqf__buffer_read(ctx, trainer->workspace.d_x, 0, num_blocks * DOF * V * sizeof(float), blocked));
    TEST_OK(ctx, eqf__terms[kind].launch(trainer, share.count));
    TEST_OK(ctx, eqf__buffer_read(ctx, trainer->workspace.d_gradient, 0, num * sizeof(float), got));
    assert_int_equal(num, message->num_params);
    double *by_params = calloc(num, sizeof *by_params), seeds = 0.0;
    ref_message_flow flow = {message, NUM_STEPS, model_options->prior_scale};
    for (size_t b = 0; b < BATCH; ++b) {
        double z[DOF], force[DOF], seed[DOF];
        for (unsigned c = 0; c < DOF; ++c) z[c] = blocked[(b / V * DOF + c) * V + b % V];
        if (!is_energy) ref_message_transform(&flow, EQF_DATA_TO_PRIOR, z, z, NULL);
        joint_solve solved;
        solve(message, model_options->prior_scale, z, &solved);
        ref_potential_energy(&model_options->potential, solved.x_end, force);
        for (unsigned c = 0; c < DOF; ++c) seed[c] = (solved.score_end[c] - force[c]) / BATCH;
        seeds += norm(seed, DOF);
        reverse(message, &solved, seed, by_params);
    }
    double worst = 0.0, least = 1e-3 * norm(by_params, num);
    for (size_t s = 0; s < message->num_slices; ++s) {
        const ref_matrix *slice = message->slices + s;
        double difference = 0.0;
        for (size_t p = slice->offset; p < slice->offset + slice->rows * slice->columns; ++p)
            difference += (got[p] - by_params[p]) * (got[p] - by_params[p]);
        worst =
            fmax(worst, sqrt(difference) / fmax(least, norm(by_params + slice->offset, slice->rows * slice->columns)));
    }
    print_message("%s: seeds %.3g, gradient %.3g, worst slice off by %.1e\n", is_energy ? "energy" : "nll", seeds,
                  norm(by_params, num), worst);
    assert_true(norm(by_params, num) > 1e-3);
    assert_true(worst <= 1e-3);
    free(by_params);
    free(blocked);
    free(got);
    free(data);
    eqf_trainer_destroy(&trainer);
    eqf_model_destroy(&model);
    ref_message_destroy(message);
}

static void test_likelihood(void **state) {
    (void)state;
    check_way(false);
}

static void test_free_energy(void **state) {
    (void)state;
    check_way(true);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_likelihood), cmocka_unit_test(test_free_energy)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
