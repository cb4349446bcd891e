/* A fuzz target without a fuzzer: runs the files and folders that are named, each as it is and repaired, and the
 * target's own seed. Without names: what comes on standard input, or, built by AFL++'s compiler, what the fuzzer
 * puts into shared memory, many a process. */
#define _XOPEN_SOURCE 700

#include "target.h"

#include <dirent.h>
#include <sys/stat.h>
#ifdef __AFL_FUZZ_TESTCASE_LEN
#include <unistd.h>
__AFL_FUZZ_INIT();
#endif

enum { CAPACITY = 1 << 20 };
static size_t num_inputs;
int fuzz_is_thorough = 1;

/* In a block of its exact size, so that a read beyond its end is seen. */
static void run_once(const uint8_t *bytes, size_t num_bytes) {
    uint8_t *copy = malloc(num_bytes > 0 ? num_bytes : 1);
    FUZZ_REQUIRE(copy != NULL);
    memcpy(copy, bytes, num_bytes);
    LLVMFuzzerTestOneInput(copy, num_bytes);
    free(copy);
}

static void run_both(uint8_t *bytes, size_t num_bytes, size_t capacity) {
    run_once(bytes, num_bytes);
    run_once(bytes, fuzz_repair(bytes, num_bytes, capacity));
    num_inputs++;
}

static void run_stream(FILE *stream, uint8_t *room) {
    const size_t num_bytes = fread(room, 1, CAPACITY, stream);
    run_both(room, num_bytes, CAPACITY);
}

static void run_path(const char *path, uint8_t *room) {
    struct stat about;
    FUZZ_REQUIRE(stat(path, &about) == 0);
    if (S_ISDIR(about.st_mode)) {
        DIR *folder = opendir(path);
        FUZZ_REQUIRE(folder != NULL);
        for (struct dirent *file; (file = readdir(folder)) != NULL;) {
            char inside[1024];
            if (file->d_name[0] == '.') continue;
            snprintf(inside, sizeof inside, "%s/%s", path, file->d_name);
            run_path(inside, room);
        }
        closedir(folder);
        return;
    }
    FILE *stream = fopen(path, "rb");
    FUZZ_REQUIRE(stream != NULL);
    run_stream(stream, room);
    fclose(stream);
}

int main(int argc, char **argv) {
    uint8_t *room = malloc(CAPACITY);
    FUZZ_REQUIRE(room != NULL);
#ifdef __AFL_FUZZ_TESTCASE_LEN
    if (argc == 1) {
        fuzz_is_thorough = 0;
        __AFL_INIT();
        const uint8_t *shared = __AFL_FUZZ_TESTCASE_BUF;
        while (__AFL_LOOP(100000)) {
            const size_t num_bytes =
                (size_t)__AFL_FUZZ_TESTCASE_LEN < CAPACITY ? (size_t)__AFL_FUZZ_TESTCASE_LEN : CAPACITY;
            memcpy(room, shared, num_bytes);
            run_both(room, num_bytes, CAPACITY);
        }
        free(room);
        return EXIT_SUCCESS;
    }
#endif
    if (argc == 1) run_stream(stdin, room);
    for (int a = 1; a < argc; a++) run_path(argv[a], room);
    const size_t num_seed_bytes = fuzz_seed(room, CAPACITY);
    if (num_seed_bytes > 0) run_both(room, num_seed_bytes, CAPACITY);
    printf("%zu inputs, each as it is and repaired\n", num_inputs);
    free(room);
    return num_inputs > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
