/* For the tests that read and write files: a folder of their own, bytes in and out, messages. */
#ifndef EQF_TEST_FILES_H
#define EQF_TEST_FILES_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "eqflow/context.h"

/* A fresh folder under $TMPDIR or /tmp, made at first need; the group teardown removes it with its files, a later test
 * that of a test that was killed. */
const char *test_folder(void);
int test_folder_teardown(void **state);
/* That and the shared context's (support.h). */
int test_folders_teardown(void **state);
/* name in that folder; valid for the next 15 calls. */
const char *test_path(const char *name);
size_t test_folder_num_files(void);

void test_write_bytes(const char *path, const void *bytes, size_t num_bytes);
/* NUL-terminated beyond num_bytes; the caller frees. Fails the test where there is no such file. */
unsigned char *test_read_bytes(const char *path, size_t *num_bytes_out);

/* status is expected, and the context's message is one line that has needle in it ("": any). */
void test_expect(eqf_context *ctx, eqf_status status, eqf_status expected, const char *needle, const char *file,
                 int line);
#define TEST_EXPECT(ctx, call, expected, needle) test_expect(ctx, call, expected, needle, __FILE__, __LINE__)

#endif
