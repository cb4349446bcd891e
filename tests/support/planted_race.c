/* A race, that ThreadSanitizer must find (tests/threads/tsan.sh): two threads add to one number. */
#include <pthread.h>
#include <stdio.h>

static int shared;

static void *add(void *user) {
    for (int i = 0; i < 1000; i++) shared += *(const int *)user;
    return NULL;
}

int main(void) {
    pthread_t threads[2];
    int one = 1;
    for (int t = 0; t < 2; t++)
        if (pthread_create(&threads[t], NULL, add, &one) != 0) return 1;
    for (int t = 0; t < 2; t++) pthread_join(threads[t], NULL);
    printf("%d\n", shared);
    return 0;
}
