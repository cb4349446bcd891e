/* The kernel text inside the library; made by cmake/EmbedText.cmake. */
#ifndef EQF_EMBEDDED_KERNELS_H
#define EQF_EMBEDDED_KERNELS_H

typedef struct eqf__embedded_kernel {
    const char *name; /* path below cl/; NULL ends the list */
    const char *text;
} eqf__embedded_kernel;
extern const eqf__embedded_kernel eqf__embedded_kernels[];

#endif
