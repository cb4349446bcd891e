/* The launch budget: how many loop turns one work-item may take in one launch. llvmpipe ends its loops silently
 * after 65,535 turns, and a watchdog stops kernels that take too long. Code that launches kernels with long loops
 * gets from here how much one launch may do. */
#ifndef EQF_BUDGET_H
#define EQF_BUDGET_H

#include "ocl.h"

/* How many units of turns_each loop turns fit into one launch, which also takes turns_once turns: at most `most`, which
 * it is if the device has no limit; 0: not even one fits. */
size_t eqf__budget_units(const eqf_context *ctx, uint64_t turns_each, uint64_t turns_once, size_t most);
/* UNSUPPORTED, with the message that what ("step of a trajectory") for num_particles exceeds a launch; hint: "" or
 * ", or EQF_FIELD_TABLE". */
eqf_status eqf__budget_refuse(eqf_context *ctx, const char *what, unsigned num_particles, const char *hint);

#endif
