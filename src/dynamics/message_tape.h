/* Tapes of the message field: its evaluation, or evaluation and reverse pass, as a list of instructions, which
 * cl/dynamics/message.cl executes (cl/dynamics/message_ops.clh). The reverse is generated from the instructions. */
#ifndef EQF_MESSAGE_TAPE_H
#define EQF_MESSAGE_TAPE_H

#include "message_params.h"
#include "ocl.h"

/* Addresses in a slice of the scratch memory, in numbers of V lanes; cl/dynamics/message.clh has the shapes. The
 * adjoints follow: `size` more numbers. */
typedef struct eqf__message_memory {
    unsigned x, times, r, rho, d, e, e1, e2, f, f1; /* the kernel's defines */
    unsigned source;                                /* from this address on, tensors of one source particle */
    unsigned size;
} eqf__message_memory;

typedef enum eqf__message_reverse {
    EQF__MESSAGE_FORWARD,      /* no reverse: velocity, and divergence if asked for */
    EQF__MESSAGE_ADJOINT,      /* adjoint_x */
    EQF__MESSAGE_WITH_GRADIENT /* adjoint_x and the gradient by the parameters */
} eqf__message_reverse;

/* Instructions begin ... end - 1, which one launch executes. */
typedef struct eqf__message_piece {
    cl_uint begin, end;
} eqf__message_piece;

typedef struct eqf__message_tape {
    cl_uint *words; /* [num_instructions][MESSAGE_WORDS] */
    size_t num_instructions, capacity;
    size_t slice_size; /* numbers of V lanes that a block needs */
} eqf__message_tape;

/* The addresses are the same for all tapes of a field. */
void eqf__message_memory_of(const eqf__message_shape *shape, unsigned num_particles, unsigned space_dim,
                            eqf__message_memory *memory_out);

/* is_shared: a work-group computes a block, not a work-item. Errors: OUT_OF_MEMORY. The caller clears the tape, also
 * after an error. */
eqf_status eqf__message_tape_create(eqf_context *ctx, const eqf__message_shape *shape, unsigned num_particles,
                                    unsigned space_dim, bool is_shared, bool has_divergence,
                                    eqf__message_reverse reverse, eqf__message_tape *tape_out);
size_t eqf__message_tape_bytes(const eqf__message_tape *tape);
/* Cuts the tape into launches within the device's budget (src/program/budget.h), for groups of group_size work-items.
 * An instruction that exceeds the budget is divided into several. The caller frees *pieces_out. Errors: OUT_OF_MEMORY,
 * UNSUPPORTED. */
eqf_status eqf__message_tape_cut(eqf_context *ctx, const eqf__message_shape *shape, unsigned num_particles,
                                 unsigned space_dim, unsigned group_size, eqf__message_tape *tape,
                                 eqf__message_piece **pieces_out, size_t *num_pieces_out);
/* A new instruction of MESSAGE_WORDS zeros. NULL: out of memory. */
cl_uint *eqf__message_tape_add(eqf_context *ctx, eqf__message_tape *tape);
void eqf__message_tape_clear(eqf__message_tape *tape);

#endif
