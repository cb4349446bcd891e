/* The type `real` of a program's numbers, float or double: cl/common/real.clh. */
#ifndef EQF_REAL_H
#define EQF_REAL_H

#include "ocl.h"

typedef struct eqf__real {
    size_t size;           /* of `real` in bytes: 4, or 8 for double */
    unsigned vector_width; /* V: samples of a block */
    const char *suffix;    /* of program names: "" or "_double" */
} eqf__real;

static inline eqf__real eqf__real_float(const eqf__device *device) {
    return (eqf__real){sizeof(cl_float), device->vector_width, ""};
}
/* 8 doubles are as wide as 16 floats. */
static inline eqf__real eqf__real_double(const eqf__device *device) {
    return (eqf__real){sizeof(cl_double), device->vector_width > 1 ? 8 : 1, "_double"};
}
static inline bool eqf__is_double(const eqf__real *real) {
    return real->size == sizeof(cl_double);
}

/* A kernel's argument of type `real`. */
typedef union eqf__real_argument {
    cl_float single;
    cl_double twofold;
} eqf__real_argument;
static inline eqf__real_argument eqf__real_value(const eqf__real *real, double value) {
    eqf__real_argument argument;
    if (eqf__is_double(real))
        argument.twofold = value;
    else
        argument.single = (cl_float)value;
    return argument;
}
#define EQF__REAL_ARG(real, variable) ((eqf__argument){(real)->size, &(variable)})

/* Writes the options that come before a program's own: none for float, whose V eqf__program_get adds. */
static inline void eqf__real_defines(const eqf__real *real, char *buffer, size_t buffer_size) {
    /* -w: compilers for AVX2 warn about the calling convention of functions with double8; here all are inlined. */
    if (eqf__is_double(real))
        snprintf(buffer, buffer_size, "-w -D V=%u -D USE_DOUBLE ", real->vector_width);
    else
        buffer[0] = '\0';
}

#endif
