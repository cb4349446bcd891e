/* The mistakes that sanitizers and valgrind are there to find, one a run: tests that these tools still would find
 * them. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Through volatile pointers, so that no compiler sees what comes. */
static int leak(void) {
    char *volatile block = malloc(77);
    block = NULL;
    return block != NULL;
}

static int read_freed(void) {
    char *volatile block = calloc(16, 1);
    if (!block) return 0;
    free(block);
    return block[7] == 1 ? printf("?\n") : 0;
}

static int read_beyond(void) {
    char *volatile block = calloc(16, 1);
    if (!block) return 0;
    int value = block[16] == 1 ? printf("?\n") : 0;
    free(block);
    return value;
}

static int overflow(void) {
    volatile int largest = INT_MAX, sum = largest + 1;
    return sum > 0;
}

int main(int argc, char **argv) {
    const struct {
        const char *name;
        int (*make)(void);
    } mistakes[] = {{"leak", leak}, {"read-freed", read_freed}, {"read-beyond", read_beyond}, {"overflow", overflow}};
    for (size_t i = 0; argc == 2 && i < sizeof mistakes / sizeof mistakes[0]; i++) {
        if (strcmp(argv[1], mistakes[i].name) == 0) return mistakes[i].make() != 0;
    }
    fprintf(stderr, "Usage: planted leak|read-freed|read-beyond|overflow\n");
    return 2;
}
