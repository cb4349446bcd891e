/* The launch budget: how many loop turns one work-item may take in one launch. llvmpipe ends its loops silently
 * after 65,535 turns, and a watchdog stops kernels that take too long. Code that launches kernels with long loops
 * asks here how far one launch may go. */
#ifndef EQF_BUDGET_H
#define EQF_BUDGET_H

#include "ocl.h"

/* Units of turns_each loop turns, beside turns_once that every launch takes, that fit into one launch: `most` where the
 * device sets no limit, never more; 0: not even one. */
size_t eqf__budget_units(const eqf_context *ctx, uint64_t turns_each, uint64_t turns_once, size_t most);
/* UNSUPPORTED, in words: what of num_particles takes more than a launch may; hint: "" or ", or EQF_FIELD_TABLE". */
eqf_status eqf__budget_refuse(eqf_context *ctx, const char *what, unsigned num_particles, const char *hint);

#endif
