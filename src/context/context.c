/* Creation and destruction of a context, and its device. */
#include <stdlib.h>
#include <string.h>

#include "ocl.h"
#include "program.h"

static eqf_status copy_cache_path(eqf_context *ctx, const char *given) {
    const char *off = getenv("EQFLOW_CACHE");
    if (off != NULL && strcmp(off, "off") == 0) given = "";
    if (given != NULL) {
        ctx->cache_path = eqf__strdup(ctx, given);
    } else {
        const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME"), *below = "/eqflow";
        if (base == NULL || base[0] != '/') {
            base = home != NULL && home[0] == '/' ? home : NULL;
            below = "/.cache/eqflow";
        }
        const size_t size = (base != NULL ? strlen(base) : 0) + strlen(below) + 1;
        ctx->cache_path = eqf__alloc(ctx, size, 1, "a file name");
        if (ctx->cache_path != NULL && base != NULL) snprintf(ctx->cache_path, size, "%s%s", base, below);
    }
    return ctx->cache_path == NULL ? EQF_ERROR_OUT_OF_MEMORY : EQF_OK;
}

eqf_status eqf_context_create(const eqf_context_options *options, eqf_context **ctx_out) {
    EQF__NOT_NULL(NULL, ctx_out);
    *ctx_out = NULL;
    eqf_context_options copy = EQF_CONTEXT_OPTIONS_INIT;
    if (options != NULL) EQF__TRY(EQF__READ(NULL, EQF_CONTEXT_OPTIONS_INIT, options, &copy));
    options = &copy;
    eqf_context *ctx = calloc(1, sizeof *ctx);
    if (ctx == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const char *kernel_path =
        options->kernel_path != NULL ? options->kernel_path : getenv("EQFLOW_KERNEL_PATH");
    ctx->log = options->log;
    ctx->log_user = options->log_user;
    ctx->log_level = options->log_level;
    eqf_status status = copy_cache_path(ctx, options->cache_path);
    if (status == EQF_OK && kernel_path != NULL && kernel_path[0] != '\0') {
        ctx->kernel_path = eqf__strdup(ctx, kernel_path);
        if (ctx->kernel_path == NULL) status = EQF_ERROR_OUT_OF_MEMORY;
    }
    if (status != EQF_OK) {
        eqf_context_destroy(&ctx);
        return status;
    }
    *ctx_out = ctx;
    return EQF_OK;
}

void eqf_context_destroy(eqf_context **ctx) {
    if (ctx == NULL || *ctx == NULL) return;
    eqf__programs_destroy(*ctx);
    eqf__device_close(*ctx);
    free((*ctx)->kernel_path);
    free((*ctx)->cache_path);
    free((*ctx)->profile_text);
    free((*ctx)->launches);
    free(*ctx);
    *ctx = NULL;
}

/* ---- Its device -------------------------------------------------------------------------------------------------- */

eqf_status eqf__device_get(eqf_context *ctx, eqf__device **device_out) {
    *device_out = NULL;
    if (ctx->device == NULL) EQF__TRY(eqf_context_open_device(ctx, NULL));
    EQF__TRY(eqf__device_check_process(ctx));
    *device_out = ctx->device;
    return EQF_OK;
}

void eqf__device_close(eqf_context *ctx) {
    if (ctx->device == NULL) return;
    if (eqf__device_check_process(ctx) == EQF_OK) { /* else they are the parent's */
        if (ctx->device->queue != NULL) clReleaseCommandQueue(ctx->device->queue);
        if (ctx->device->context != NULL) clReleaseContext(ctx->device->context);
    }
    free(ctx->device->described);
    free(ctx->device);
    ctx->device = NULL;
}

eqf_status eqf_context_device(eqf_context *ctx, eqf_device_info *device_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(EQF__CHECK_SIZE(ctx, EQF_DEVICE_INFO_INIT, device_out));
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    return EQF__WRITE(ctx, EQF_DEVICE_INFO_INIT, &device->info, device_out);
}
