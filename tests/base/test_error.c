/* Statuses, messages and the version. */
#include "test_files.h"

#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "eqflow/version.h"

static void test_messages_are_one_line(void **state) {
    (void)state;
    eqf_context ctx = {.log = NULL};
    assert_string_equal(eqf_context_error(&ctx), "");
    assert_int_equal(eqf__fail(&ctx, EQF_ERROR_FORMAT, "file %s\nis\tbad", "a\rb"), EQF_ERROR_FORMAT);
    assert_string_equal(eqf_context_error(&ctx), "file a b is bad");
    char text[3000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    eqf__fail(&ctx, EQF_ERROR_IO, "%s", text);
    assert_int_equal(strlen(eqf_context_error(&ctx)), sizeof ctx.error - 1);
    assert_int_equal(eqf__fail(NULL, EQF_ERROR_IO, "nobody listens"), EQF_ERROR_IO);
}

static void count_line(void *user, eqf_log_level level, const char *message) {
    assert_int_equal(level, EQF_LOG_WARNING);
    assert_string_equal(message, "3 things");
    ++*(int *)user;
}

static void test_log(void **state) {
    (void)state;
    int num_lines = 0;
    eqf_context ctx = {.log = count_line, .log_user = &num_lines};
    eqf__log(&ctx, EQF_LOG_WARNING, "%d things", 3);
    eqf__log(NULL, EQF_LOG_WARNING, "dropped");
    ctx.log_level = EQF_LOG_WARNING;
    eqf__log(&ctx, EQF_LOG_INFO, "below the level");
    eqf__log(&ctx, EQF_LOG_DEBUG, "below the level");
    assert_int_equal(num_lines, 1);
}

static void test_status_texts(void **state) {
    (void)state;
    assert_string_equal(eqf_status_name(EQF_ERROR_FORMAT), "EQF_ERROR_FORMAT");
    assert_string_equal(eqf_status_text(EQF_OK), "success");
    assert_string_equal(eqf_status_text((eqf_status)999), "unknown status");
    assert_string_equal(eqf_status_name((eqf_status)999), "EQF_UNKNOWN");
}

static void test_memory(void **state) {
    (void)state;
    eqf_context ctx = {.log = NULL};
    unsigned char *bytes = eqf__alloc(&ctx, 100, 3, "bytes");
    for (unsigned n = 0; n < 300; n++) assert_int_equal(bytes[n], 0);
    free(bytes);
    void *none = eqf__alloc(&ctx, 0, 8, "nothing");
    assert_non_null(none);
    eqf_free(none);
}

static void test_version(void **state) {
    (void)state;
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", EQF_VERSION_MAJOR, EQF_VERSION_MINOR, EQF_VERSION_PATCH);
    assert_string_equal(eqf_version(), text);
    assert_string_equal(eqf_version(), EQF_VERSION_TEXT);
    assert_true(strlen(eqf_version_revision()) > 0);
    assert_non_null(strchr(eqf_version_compiler(), ','));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_are_one_line),
        cmocka_unit_test(test_log),
        cmocka_unit_test(test_status_texts),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_version),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
