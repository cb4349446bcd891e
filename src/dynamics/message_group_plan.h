/* What the host decides for a program of cl/dynamics/message_group.cl: places in local and scratch memory, transposed
 * weights, the number of work-items, and how much one launch does. */
#ifndef EQF_MESSAGE_GROUP_PLAN_H
#define EQF_MESSAGE_GROUP_PLAN_H

#include "message_params.h"
#include "ocl.h"

enum { EQF__GROUP_MOST_DEFINES = 256 };

/* What a program computes. */
typedef enum eqf__group_pass {
    EQF__GROUP_VELOCITY,
    EQF__GROUP_DIVERGENCE,         /* and the velocity */
    EQF__GROUP_REVERSE,            /* the velocity's vector-Jacobian product */
    EQF__GROUP_DIVERGENCE_REVERSE, /* and the divergence's */
    EQF__GROUP_NUM_PASSES
} eqf__group_pass;

typedef struct eqf__group_define {
    char name[24];
    size_t value;
} eqf__group_define;

typedef struct eqf__group_plan {
    eqf__group_define defines[EQF__GROUP_MOST_DEFINES];
    size_t num_defines;
    size_t values_local_size; /* numbers in local memory of message_group_values */
    size_t local_size;        /* and of message_group_sources, _edge_adjoints or _row_values */
    size_t rows_local_size;   /* of message_group_row_adjoints */
    size_t nodes_local_size;  /* of message_group_node_adjoints */
    size_t num_columns;       /* of the filters' adjoints, which it has in local memory at a time */
    size_t slice_size;        /* numbers in scratch memory, of a sample */
    unsigned num_sources;     /* source particles of a part */
    unsigned num_parts;
    size_t widest;            /* tiles of the largest matrix product that is computed once for each source */
    size_t num_weights;       /* transposed and not, with what fills their rows */
    uint64_t turns_of_values; /* loop turns of a work-item in message_group_values, as if no loop were unrolled */
    uint64_t turns_of_part;   /* and in a part of the kernels after it, but for the nodes */
    uint64_t turns_of_nodes;  /* and in message_group_node_adjoints */
} eqf__group_plan;

/* The turns are for groups of group_size work-items. */
void eqf__group_plan_make(const eqf__message_shape *shape, unsigned num_particles, unsigned space_dim,
                          eqf__group_pass pass, unsigned group_size, eqf__group_plan *plan_out);

/* sources_out [num_weights]: the parameter that each weight is, or UINT32_MAX for those that fill rows. */
void eqf__group_weight_sources(const eqf__message_shape *shape, cl_uint *sources_out);

#endif
