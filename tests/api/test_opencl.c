/* A context on the program's own OpenCL objects, and results in its buffers. */
#include "eqflow/opencl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { NUM = 700, OFFSET = 3 };

typedef struct own_objects {
    cl_context context;
    cl_device_id device;
    cl_command_queue queue;
} own_objects;

/* The device that the other tests use, in a context of the test's own. */
static own_objects make_objects(cl_command_queue_properties properties) {
    own_objects own = {0};
    cl_int error;
    TEST_OK(test_context(), eqf_context_opencl(test_context(), NULL, &own.device, NULL));
    own.context = clCreateContext(NULL, 1, &own.device, NULL, NULL, &error);
    assert_int_equal(error, CL_SUCCESS);
    own.queue = clCreateCommandQueue(own.context, own.device, properties, &error);
    if (error != CL_SUCCESS) own.queue = NULL;
    return own;
}

static eqf_context *open_on(const own_objects *own) {
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    options.cache_path = "";
    eqf_context *ctx;
    assert_int_equal(eqf_context_create(&options, &ctx), EQF_OK);
    TEST_OK(ctx, eqf_context_open_opencl(ctx, own->context, own->device, own->queue));
    return ctx;
}

static cl_mem make_buffer(const own_objects *own, size_t num_bytes) {
    cl_int error;
    cl_mem buffer = clCreateBuffer(own->context, CL_MEM_READ_WRITE, num_bytes, NULL, &error);
    assert_int_equal(error, CL_SUCCESS);
    return buffer;
}

static void read(const own_objects *own, cl_mem buffer, size_t offset, size_t num_bytes, void *out) {
    assert_int_equal(clEnqueueReadBuffer(own->queue, buffer, CL_TRUE, offset, num_bytes, out, 0, NULL, NULL),
                     CL_SUCCESS);
}

/* The bits of host arrays, at their place, and nothing beside it; the objects are the program's again at the end. */
static void check_buffers(eqf_precision precision) {
    own_objects own = make_objects(0);
    eqf_context *ctx = open_on(&own);
    cl_context same;
    cl_command_queue same_queue;
    TEST_OK(ctx, eqf_context_opencl(ctx, &same, NULL, &same_queue));
    assert_true(same == own.context && same_queue == own.queue);
    eqf_model_options options = test_model_options(test_system_named("dw4"));
    eqf_model *model;
    eqf_flow *flow;
    eqf_flow_options flow_options = EQF_FLOW_OPTIONS_INIT;
    flow_options.precision = precision;
    TEST_OK(ctx, eqf_model_create(ctx, &options, &model));
    eqf_status status = eqf_flow_create(ctx, model, &flow_options, &flow);
    if (status == EQF_ERROR_UNSUPPORTED) {
        print_message("no fp64: skipped\n");
    } else {
        assert_int_equal(status, EQF_OK);
        const bool is_double = precision == EQF_PRECISION_DOUBLE;
        const size_t size = is_double ? sizeof(double) : sizeof(float), row = eqf_flow_num_dof(flow) * size;
        char *x = malloc(NUM * row), *log_prob = malloc(NUM * size), *back = malloc(NUM * size), *z = malloc(NUM * row);
        char *got = calloc(NUM + 2 * OFFSET, row), *zeros = calloc(NUM + 2 * OFFSET, row);
        cl_mem d_x = make_buffer(&own, (NUM + 2 * OFFSET) * row), d_p = make_buffer(&own, (NUM + OFFSET) * size);
        cl_mem d_z = make_buffer(&own, (NUM + OFFSET) * row);
        assert_int_equal(
            clEnqueueWriteBuffer(own.queue, d_x, CL_TRUE, 0, (NUM + 2 * OFFSET) * row, zeros, 0, NULL, NULL),
            CL_SUCCESS);
        if (is_double) {
            TEST_OK(ctx, eqf_flow_sample_double(flow, 4, 9, NUM, (double *)(void *)x, (double *)(void *)log_prob));
            TEST_OK(ctx, eqf_flow_log_prob_double(flow, NUM, (double *)(void *)x, (double *)(void *)back,
                                                  (double *)(void *)z));
        } else {
            TEST_OK(ctx, eqf_flow_sample(flow, 4, 9, NUM, (float *)(void *)x, (float *)(void *)log_prob));
            TEST_OK(ctx, eqf_flow_log_prob(flow, NUM, (float *)(void *)x, (float *)(void *)back, (float *)(void *)z));
        }
        TEST_OK(ctx, eqf_flow_sample_opencl(flow, 4, 9, NUM, d_x, d_p, OFFSET));
        read(&own, d_x, 0, (NUM + 2 * OFFSET) * row, got);
        assert_memory_equal(got, zeros, OFFSET * row);
        assert_memory_equal(got + OFFSET * row, x, NUM * row);
        assert_memory_equal(got + (OFFSET + NUM) * row, zeros, OFFSET * row);
        read(&own, d_p, OFFSET * size, NUM * size, got);
        assert_memory_equal(got, log_prob, NUM * size);
        TEST_OK(ctx, eqf_flow_log_prob_opencl(flow, 0, NUM, d_x, d_p, d_z, OFFSET));
        read(&own, d_p, OFFSET * size, NUM * size, got);
        assert_memory_equal(got, back, NUM * size);
        read(&own, d_z, OFFSET * row, NUM * row, got);
        assert_memory_equal(got, z, NUM * row);
        TEST_OK(ctx, eqf_flow_sample_opencl(flow, 4, 9, NUM, d_x, NULL, 0)); /* no log-densities wanted */
        /* what does not fit, or is not ours */
        assert_int_equal(eqf_flow_sample_opencl(flow, 4, 9, NUM + OFFSET + 1, d_x, NULL, OFFSET),
                         EQF_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(eqf_context_error(ctx), "x has room"));
        assert_int_equal(eqf_flow_sample_opencl(flow, 4, 9, NUM, d_x, d_p, SIZE_MAX), EQF_ERROR_INVALID_ARGUMENT);
        own_objects other = make_objects(0);
        cl_mem foreign = make_buffer(&other, NUM * row);
        assert_int_equal(eqf_flow_sample_opencl(flow, 4, 9, NUM, foreign, NULL, 0), EQF_ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(eqf_context_error(ctx), "another OpenCL context"));
        assert_int_equal(eqf_flow_sample_opencl(flow, 4, 9, NUM, NULL, NULL, 0), EQF_ERROR_INVALID_ARGUMENT);
        assert_int_equal(eqf_flow_sample_opencl(NULL, 4, 9, NUM, d_x, NULL, 0), EQF_ERROR_INVALID_ARGUMENT);
        assert_int_equal(eqf_flow_log_prob_opencl(NULL, 0, NUM, d_x, d_p, NULL, 0), EQF_ERROR_INVALID_ARGUMENT);
        assert_int_equal(eqf_flow_log_prob_opencl(flow, 0, NUM, NULL, d_p, NULL, 0), EQF_ERROR_INVALID_ARGUMENT);
        clReleaseMemObject(foreign);
        clReleaseCommandQueue(other.queue);
        clReleaseContext(other.context);
        cl_mem buffers[] = {d_x, d_p, d_z};
        for (size_t b = 0; b < 3; b++) assert_int_equal(clReleaseMemObject(buffers[b]), CL_SUCCESS);
        char *arrays[] = {x, log_prob, back, z, got, zeros};
        for (size_t a = 0; a < 6; a++) free(arrays[a]);
        eqf_flow_destroy(&flow);
    }
    eqf_model_destroy(&model);
    eqf_context_destroy(&ctx);
    clReleaseCommandQueue(own.queue);
    clReleaseContext(own.context);
}

static void test_float(void **state) {
    (void)state;
    check_buffers(EQF_PRECISION_FLOAT);
}

static void test_double(void **state) {
    (void)state;
    check_buffers(EQF_PRECISION_DOUBLE);
}

static void test_refusals(void **state) {
    (void)state;
    own_objects own = make_objects(0), other = make_objects(0);
    eqf_context *ctx;
    assert_int_equal(eqf_context_create(NULL, &ctx), EQF_OK);
    assert_int_equal(eqf_context_open_opencl(NULL, own.context, own.device, NULL), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_context_open_opencl(ctx, NULL, own.device, NULL), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_context_open_opencl(ctx, own.context, NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_context_opencl(NULL, NULL, NULL, NULL), EQF_ERROR_INVALID_ARGUMENT);
    assert_int_equal(eqf_context_open_opencl(ctx, own.context, own.device, other.queue), EQF_ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(eqf_context_error(ctx), "queue"));
    own_objects unordered = make_objects(CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE);
    if (unordered.queue != NULL) {
        assert_int_equal(eqf_context_open_opencl(ctx, unordered.context, unordered.device, unordered.queue),
                         EQF_ERROR_UNSUPPORTED);
        assert_non_null(strstr(eqf_context_error(ctx), "order"));
        clReleaseCommandQueue(unordered.queue);
    }
    clReleaseContext(unordered.context);
    TEST_OK(ctx, eqf_context_open_opencl(ctx, own.context, own.device, NULL)); /* a queue of its own */
    cl_command_queue queue;
    TEST_OK(ctx, eqf_context_opencl(ctx, NULL, NULL, &queue));
    assert_true(queue != NULL && queue != own.queue);
    assert_int_equal(eqf_context_open_opencl(ctx, own.context, own.device, NULL),
                     EQF_ERROR_INVALID_ARGUMENT); /* once */
    eqf_device_info mine = EQF_DEVICE_INFO_INIT, usual = EQF_DEVICE_INFO_INIT;
    TEST_OK(ctx, eqf_context_device(ctx, &mine));
    TEST_OK(test_context(), eqf_context_device(test_context(), &usual));
    assert_string_equal(mine.name, usual.name);
    assert_string_equal(mine.profile_name, usual.profile_name);
    eqf_context_destroy(&ctx);
    cl_uint references = 0; /* the program's objects are its own again */
    ctx = open_on(&own);
    eqf_context_destroy(&ctx);
    assert_int_equal(clGetCommandQueueInfo(own.queue, CL_QUEUE_REFERENCE_COUNT, sizeof references, &references, NULL),
                     CL_SUCCESS);
    assert_int_equal(references, 1);
    own_objects *all[] = {&own, &other};
    for (size_t o = 0; o < 2; o++) {
        clReleaseCommandQueue(all[o]->queue);
        clReleaseContext(all[o]->context);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_float), cmocka_unit_test(test_double),
                                       cmocka_unit_test(test_refusals)};
    return cmocka_run_group_tests(tests, NULL, test_context_teardown);
}
