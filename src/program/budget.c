#include "budget.h"

size_t eqf__budget_units(const eqf_context *ctx, uint64_t turns_each, uint64_t turns_once, size_t most) {
    const uint64_t limit = ctx->device->launch_iterations;
    if (limit == 0) return most;
    if (turns_once >= limit) return 0;
    const uint64_t units = (limit - turns_once) / (turns_each > 0 ? turns_each : 1);
    return units < most ? (size_t)units : most;
}

eqf_status eqf__budget_refuse(eqf_context *ctx, const char *what, unsigned num_particles, const char *hint) {
    return eqf__fail(ctx, EQF_ERROR_UNSUPPORTED,
                     "%s allows %llu loop turns a launch and one %s of %u particles takes more: use another device%s",
                     ctx->device->info.name, (unsigned long long)ctx->device->launch_iterations, what, num_particles,
                     hint);
}
