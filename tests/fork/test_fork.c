/* A context does not survive a fork: the child is told so in words, instead of waiting for threads that it does not
 * have. */
#define _XOPEN_SOURCE 700

#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

/* Runs act in a child, which ends with its result; a child that waits for ever is killed by an alarm. */
static int in_child(int (*act)(void *what), void *what) {
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        alarm(20);
        _exit(act(what));
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFSIGNALED(status)) fail_msg("the child was ended by signal %d", WTERMSIG(status));
    return WEXITSTATUS(status);
}

typedef struct parent {
    eqf_context *ctx;
    eqf_flow *flow;
    const eqf_model *model;
} parent;

static bool is_refused(eqf_context *ctx, eqf_status status) {
    return status == EQF_ERROR_UNSUPPORTED && strstr(eqf_context_error(ctx), "(fork)") != NULL;
}

/* Every way to the device, and the end of what the parent made: 0 if all are refused and none waits. */
static int use_in_child(void *what) {
    parent *p = what;
    float x[64] = {0}, log_prob[8];
    eqf_device_info info = EQF_DEVICE_INFO_INIT;
    eqf_flow *flow = NULL;
    const eqf_model_options *made = eqf_model_options_of(p->model);
    if (!is_refused(p->ctx, eqf_flow_sample(p->flow, 1, 0, 4, x, log_prob))) return 1;
    if (!is_refused(p->ctx, eqf_flow_log_prob(p->flow, 4, x, log_prob, NULL))) return 2;
    if (!is_refused(p->ctx, eqf_flow_create(p->ctx, p->model, NULL, &flow))) return 3;
    if (!is_refused(p->ctx, eqf_potential_evaluate(p->ctx, &made->potential, 4, x, log_prob, NULL))) return 4;
    if (!is_refused(p->ctx, eqf_mcmc_sample(p->ctx, &made->potential, NULL, 4, x, NULL, NULL))) return 5;
    if (!is_refused(p->ctx, eqf_context_device(p->ctx, &info))) return 6;
    eqf_flow_destroy(&p->flow);
    eqf_context_destroy(&p->ctx);
    return 0;
}

static void test_child_is_refused(void **state) {
    (void)state;
    eqf_context *ctx = test_context();
    eqf_model_options options = test_model_options(test_systems);
    eqf_model *model = test_trained_like_model(ctx, test_systems, &options, 5);
    eqf_flow *flow;
    float x[64], log_prob[8];
    TEST_OK(ctx, eqf_flow_create(ctx, model, NULL, &flow));
    TEST_OK(ctx, eqf_flow_sample(flow, 1, 0, 4, x, log_prob));
    parent p = {ctx, flow, model};
    assert_int_equal(in_child(use_in_child, &p), 0);
    TEST_OK(ctx, eqf_flow_sample(flow, 1, 0, 4, x, log_prob)); /* and the parent goes on */
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
}

/* Files and models need no device and work in a child. */
static int make_model(void *what) {
    (void)what;
    eqf_context *ctx;
    eqf_model *model;
    eqf_model_options options = test_model_options(test_systems);
    if (eqf_context_create(NULL, &ctx) != EQF_OK) return 1;
    if (eqf_model_create(ctx, &options, &model) != EQF_OK) return 2;
    eqf_model_destroy(&model);
    eqf_context_destroy(&ctx);
    return 0;
}

static void test_child_without_device(void **state) {
    (void)state;
    assert_int_equal(in_child(make_model, NULL), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_child_without_device),
                                       cmocka_unit_test(test_child_is_refused)};
    return cmocka_run_group_tests_name("fork.fork", tests, NULL, test_context_teardown);
}
