/* The public face of potentials: check, evaluate. */
#include "check.h"
#include "ocl.h"
#include "potential.h"

eqf_status eqf_potential_evaluate(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size,
                                  const float *x, float *energy_out, float *force_out) {
    eqf__device *device;
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(eqf_potential_check(ctx, potential));
    if (batch_size == 0 || (energy_out == NULL && force_out == NULL)) return EQF_OK;
    EQF__TRY(eqf__device_get(ctx, &device));
    eqf__checker checker = eqf__checker_of(ctx);
    EQF__TRY(eqf__check_potential(&checker, potential));
    return eqf__potential_evaluate(ctx, potential, batch_size, x, energy_out, force_out);
}
