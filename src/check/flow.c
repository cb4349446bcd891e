/* Known answers of flows: the programs, and the properties of their problem. */
#include "flow_problem.h"

/* What the user can try if an answer is wrong. */
static const char *plain_variant(const eqf_flow *flow) {
    if (eqf__is_double(&flow->solver->real)) return "EQF_PRECISION_FLOAT";
    if (flow->field->evaluation == EQF_FIELD_TABLE) return "EQF_FIELD_DIRECT";
    return eqf__plain_width(flow->ctx);
}

static unsigned properties(const eqf_flow *flow, const eqf__field_problem *of_field) {
    return (eqf__is_double(&flow->solver->real) ? EQF__IN_DOUBLE : EQF__IN_FLOAT) |
           (flow->field->batched != NULL ? EQF__BY_BATCH : EQF__BY_TEXT) |
           (flow->field->evaluation == EQF_FIELD_TABLE ? EQF__BY_TABLE : EQF__BY_SUM) |
           (of_field->is_large ? EQF__IS_LARGE : EQF__IS_SMALL) |
           (flow->field->batched != NULL && flow->field->batched->is_divergence_costly ? EQF__IS_COSTLY : 0);
}

/* False: the host has no formula for this flow. */
static bool begin(const eqf_flow *flow, eqf__topic topic, eqf__answers answers, eqf__flow_problem *problem_out) {
    const eqf__dynamics_kind *kind = flow->field->kind;
    *problem_out = (eqf__flow_problem){.flow = flow};
    if (kind->host_velocity == NULL || !kind->problem(&flow->dynamics, flow->num_particles, flow->space_dim,
                                                      eqf__is_adaptive(flow), &problem_out->of_field)) {
        eqf__log(flow->ctx, EQF_LOG_INFO, "the host knows no answers of such a %s field: its programs are not checked",
                 kind->info.name);
        return false;
    }
    problem_out->base = (eqf__problem){.ctx = flow->ctx,
                                       .topic = topic,
                                       .answers = answers,
                                       .has = properties(flow, &problem_out->of_field),
                                       .slack = fmax(1, flow->num_particles / 4.0),
                                       .plain = plain_variant(flow),
                                       .make = eqf__flow_problem_make};
    return true;
}

eqf_status eqf__check_flow(eqf__checker *checker, eqf_flow *flow, eqf__answers answers) {
    const bool of_gradients = answers == EQF__ANSWERS_OF_GRADIENTS;
    eqf__flow_problem t;
    if (!begin(flow, EQF__TOPIC_FLOW, answers, &t)) return EQF_OK;
    if (of_gradients) {
        if (eqf__is_double(&flow->solver->real)) return EQF_OK; /* it has no gradients */
        const eqf_status status = eqf__solver_prepare_gradient(flow->solver);
        if (status == EQF_ERROR_UNSUPPORTED) return EQF_OK; /* the device cannot: the gradient itself is refused */
        EQF__TRY(status);
    }
    t.base.has |= of_gradients ? EQF__OF_GRADIENTS : EQF__OF_VALUES;
    t.base.programs[EQF__PRIOR_PROGRAM] = flow->prior.program;
    t.base.programs[EQF__FIELD_PROGRAM] = eqf__solver_field_program(flow->solver, of_gradients);
    t.base.programs[EQF__INTEGRATOR_PROGRAM] = flow->solver->verbs->program(flow->solver, of_gradients);
    const eqf_status status = eqf__check(checker, &t.base);
    eqf__flow_problem_clear(&t);
    return status;
}

eqf_status eqf__check_vjp(eqf__checker *checker, eqf_flow *flow) {
    eqf__flow_problem t;
    if (!begin(flow, EQF__TOPIC_VJP, EQF__ANSWERS_OF_GRADIENTS, &t)) return EQF_OK;
    EQF__TRY(
        eqf__flow_vjp_programs(flow, &t.base.programs[EQF__FIELD_PROGRAM], &t.base.programs[EQF__INTEGRATOR_PROGRAM]));
    const eqf_status status = eqf__check(checker, &t.base);
    eqf__flow_problem_clear(&t);
    return status;
}
