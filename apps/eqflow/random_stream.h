/* A few random numbers of the program itself, computed on the host and the same on every machine. */
#ifndef EQFLOW_APP_RANDOM_STREAM_H
#define EQFLOW_APP_RANDOM_STREAM_H

#include <stdint.h>

/* index: the number in the seed's stream that is drawn next. */
typedef struct random_stream {
    uint64_t seed, index;
} random_stream;

double random_uniform(random_stream *stream); /* on (0, 1) */
double random_normal(random_stream *stream);

#endif
