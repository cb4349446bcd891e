/* A program, for program.c, which builds it, and launch.c, which launches its kernels. */
#ifndef EQF_PROGRAM_INTERNAL_H
#define EQF_PROGRAM_INTERNAL_H

#include "cache.h"
#include "program.h"

struct eqf__program {
    eqf__program *next;
    char *source;
    char *options;
    char name[48];
    cl_program id;
    char key[EQF__CACHE_KEY_SIZE];
    char *cached_kernels;        /* kernels that had run when the cached binary was stored; NULL: built from source */
    char launched_kernels[1024]; /* names, each followed by a space */
    unsigned checked;            /* a set of eqf__answers: known answers that passed */
};

#endif
