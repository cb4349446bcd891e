/* Random numbers of the program itself, on the host: few, and the same on every machine. */
#ifndef EQFLOW_APP_RANDOM_STREAM_H
#define EQFLOW_APP_RANDOM_STREAM_H

#include <stdint.h>

/* Number `index` of a seed's stream is next; start at 0. */
typedef struct random_stream {
    uint64_t seed, index;
} random_stream;

double random_uniform(random_stream *stream); /* on (0, 1) */
double random_normal(random_stream *stream);

#endif
