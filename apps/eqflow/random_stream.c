#include "random_stream.h"

#include <math.h>

#include "app.h"

double random_uniform(random_stream *stream) {
    return ((double)(app_seed_for(stream->seed + stream->index++, "uniform") >> 11) + 0.5) * 0x1p-53;
}

double random_normal(random_stream *stream) { /* Box and Muller */
    double radius = sqrt(-2 * log(random_uniform(stream)));
    return radius * cos(6.283185307179586477 * random_uniform(stream));
}
