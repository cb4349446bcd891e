/* Text that makes a compiler read files is found in every spelling, and ordinary kernels are not taken for it. */
#include "test_files.h"

#include <string.h>

#include "base.h"

static void test_found(void **state) {
    (void)state;
    static const char *const texts[] = {
        "#include \"a.h\"",
        "#include <a.h>",
        "real energy(const real *x) {\n#include \"body.h\"\n}",
        "  #\tinclude \"a.h\"",
        "# include MACRO",
        "%:include \"a.h\"",
        "?\?=include \"a.h\"",
        "#inc\\\nlude \"a.h\"",
        "#inc\\ \t\nlude \"a.h\"",
        "#\\\ninclude \"a.h\"",
        "#inc?\?/\nlude \"a.h\"",
        "%\\\n:include \"a.h\"",
        "?\\\n?\\\n=include \"a.h\"",
        "#\\\r\ninclude \"a.h\"",
        "#inc\\\rlude \"a.h\"",
        "#inc\\ \rlude \"a.h\"",
        "#inc\\\n\rlude \"a.h\"",
        "a\\\n\rasm(\".incbin\");",
        "a\\\rasm(\".incbin\");",
        "a?\?/\nasm(\".incbin\");",
        "#/* hidden */include \"a.h\"",
        "# /\\\n* hidden\n*/ include \"a.h\"",
        "#include_next <a.h>",
        "#import \"a.h\"",
        "#embed \"a.bin\"",
        "#__include_macros \"a.h\"",
        "/* #include \"a.h\" */",
        "#if __has_include(\"a.h\")",
        "void f(void) { asm(\".incbin a\"); }",
        "__asm__ volatile(\"\");",
    };
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++)
        if (eqf__source_reads_files(texts[t]) == NULL) fail_msg("'%s' is taken for text that reads nothing", texts[t]);
}

static void test_not_found(void **state) {
    (void)state;
    static const char *const texts[] = {
        "",
        "#",
        "%:",
        "?\?=",
        "\\",
        "#define include 3\n",
        "#ifdef A\n#endif\n#pragma OPENCL EXTENSION cl_khr_fp64 : enable\n",
        "int includes = 3; // to include",
        "#includes",
        "#\ninclude",
        "real basm = 1, asm_2 = 2, _asm = 3;",
        "#define PASTE(a, b) a##b\n",
        "?\?/ ?\?",
        "x %: y",
    };
    for (size_t t = 0; t < sizeof texts / sizeof texts[0]; t++) {
        const char *found = eqf__source_reads_files(texts[t]);
        if (found != NULL) fail_msg("'%s' is taken for text that reads files: %s", texts[t], found);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_found), cmocka_unit_test(test_not_found)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
