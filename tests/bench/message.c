/* Times the verbs of the message field, in milliseconds a sample:  bench_message [N D L H M E R K batch rounds V]
 * The defaults are lj13's. Processor time of all threads, not wall time: what else runs on the machine adds little. The
 * verbs are timed in turns, and the least of the rounds is given. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "eqflow/eqflow.h"
#include "field.h"

static void ok(eqf_context *ctx, eqf_status status) {
    if (status == EQF_OK) return;
    fprintf(stderr, "%s\n", eqf_context_error(ctx));
    exit(1);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static cl_mem buffer_of(eqf_context *ctx, size_t count, double spread) {
    float *values = malloc(count * sizeof *values);
    cl_mem buffer;
    if (values == NULL) exit(1);
    for (size_t i = 0; i < count; i++) values[i] = (float)(spread * (rand() / (double)RAND_MAX - 0.5));
    ok(ctx, eqf__buffer_create(ctx, count * sizeof *values, values, "a measurement", &buffer));
    free(values);
    return buffer;
}

int main(int argc, char **argv) {
    unsigned number[11] = {13, 3, 3, 48, 16, 48, 8, 32, 64, 5, 0};
    for (int i = 1; i < argc && i <= 11; i++) number[i - 1] = (unsigned)strtoul(argv[i], NULL, 10);
    const unsigned N = number[0], D = number[1];
    eqf_context *ctx;
    if (eqf_context_create(NULL, &ctx) != EQF_OK) return 1;
    char width[32];
    snprintf(width, sizeof width, "vector_width=%u", number[10]);
    if (number[10] > 0) ok(ctx, eqf_context_set_profile(ctx, width));
    eqf_model_options options = EQF_MODEL_OPTIONS_INIT;
    options.potential.kind = EQF_POTENTIAL_LENNARD_JONES;
    options.potential.num_particles = N;
    options.potential.space_dim = D;
    options.dynamics.kind = EQF_DYNAMICS_MESSAGE;
    options.dynamics.num_hops = number[2];
    options.dynamics.num_scalars = number[3];
    options.dynamics.num_vectors = number[4];
    options.dynamics.num_edge = number[5];
    options.dynamics.num_reduced = number[6];
    options.dynamics.num_distance = number[7];
    options.dynamics.distance_max = 5;
    eqf_model *model;
    ok(ctx, eqf_model_create(ctx, &options, &model));
    eqf__device *device;
    ok(ctx, eqf__device_get(ctx, &device));
    const eqf__field_needs needs = {.form = EQF__FORM_BATCHED,
                                    .num_stages = 3,
                                    .evaluation = EQF_FIELD_DIRECT,
                                    .divergence = EQF_DIVERGENCE_EXACT,
                                    .real = eqf__real_float(device)};
    eqf__field *field;
    ok(ctx, eqf__field_create(ctx, N, D, &options.dynamics, &needs, &field));
    bool has_changed;
    ok(ctx, eqf__field_set_params(field, eqf_model_params(model), &has_changed));
    const unsigned V = field->real.vector_width;
    const size_t blocks = (number[8] + V - 1) / V, state = blocks * N * D * V, numbers = blocks * V;
    cl_mem d_x = buffer_of(ctx, state, 3), d_times = buffer_of(ctx, numbers, 1), d_v = buffer_of(ctx, state, 1);
    cl_mem d_div = buffer_of(ctx, numbers, 1), d_adjoint_x = buffer_of(ctx, state, 0);
    cl_mem d_grad = buffer_of(ctx, field->batched->grad_size, 0);
    printf("N %u D %u L %u H %u M %u E %u R %u K %u, V %u, %zu samples, %s\n", N, D, number[2], number[3], number[4],
           number[5], number[6], number[7], V, blocks * V, device->info.name);
    static const char *const names[] = {"value", "value and divergence", "value and its reverse",
                                        "value, divergence and reverse", "the same by x alone"};
    double best[5];
    for (unsigned round = 0; round <= number[9]; round++)
        for (unsigned verb = 0; verb < 5; verb++) {
            const double begin = now();
            if (verb < 2)
                ok(ctx, field->batched->evaluate(field, NULL, blocks, d_x, d_times, d_v, verb == 1 ? d_div : NULL));
            else
                ok(ctx, field->batched->vjp(field, NULL, blocks, d_x, d_times, d_v, verb > 2 ? d_div : NULL,
                                            d_adjoint_x, verb < 4 ? d_grad : NULL));
            ok(ctx, eqf__finish(ctx));
            const double seconds = now() - begin;
            if (round <= 1 || seconds < best[verb]) best[verb] = seconds; /* the first builds */
        }
    for (unsigned verb = 0; verb < 5; verb++)
        printf("%-30s %8.4f ms a sample\n", names[verb], 1e3 * best[verb] / (double)(blocks * V));
    printf("value and divergence: %.2f times the value\n", best[1] / best[0]);
    return 0;
}
