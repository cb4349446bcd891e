#include "field_kinds.h"

static const eqf__dynamics_kind *const kinds[] = {&eqf__radial_kind, &eqf__dense_kind, &eqf__message_kind};

const eqf__dynamics_kind *eqf__dynamics_kind_of(eqf_dynamics_kind kind) {
    for (size_t k = 0; k < sizeof kinds / sizeof kinds[0]; k++)
        if (kinds[k]->kind == kind) return kinds[k];
    return NULL;
}
