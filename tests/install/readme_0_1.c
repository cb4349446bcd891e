#include <eqflow/eqflow.h>
#include <stdio.h>

int main(void) {
    eqf_context *ctx = NULL;
    eqf_model *model = NULL;
    eqf_flow *flow = NULL;
    float x[16][4][2], log_prob[16]; /* x [B, N, D], log_prob [B] in nats */
    eqf_status status = eqf_context_create(NULL, &ctx);
    if (status == EQF_OK) status = eqf_model_load(ctx, "demo-output/dw4.safetensors", &model);
    if (status == EQF_OK) status = eqf_flow_create(ctx, model, NULL, &flow);
    if (status == EQF_OK) status = eqf_flow_sample(flow, 1 /* seed */, 0, 16, &x[0][0][0], log_prob);
    if (status == EQF_OK) printf("first particle at (%g, %g), log_prob %g\n", x[0][0][0], x[0][0][1], log_prob[0]);
    else fprintf(stderr, "%s\n", ctx ? eqf_context_error(ctx) : eqf_status_text(status));
    eqf_flow_destroy(&flow);
    eqf_model_destroy(&model);
    eqf_context_destroy(&ctx);
    return status != EQF_OK;
}
