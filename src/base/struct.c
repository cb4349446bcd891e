/* Structs that pass between program and library, each beginning with its size: eqflow/context.h has the rule. */
#include <string.h>

#include "base.h"
#include "eqflow/version.h"

/* No struct is as large as this; a larger number is not a size (structs of version 0.1 begin with other members). */
enum { LARGEST_STRUCT = 1 << 20 };

static bool is_zero(const unsigned char *bytes, size_t num_bytes) {
    while (num_bytes > 0 && *bytes == 0) {
        bytes++;
        num_bytes--;
    }
    return num_bytes == 0;
}

static eqf_status get_size(eqf_context *ctx, const char *init, const void *given, size_t *size_out) {
    if (given == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "NULL in place of a struct made by %s", init);
    memcpy(size_out, given, sizeof *size_out);
    if (*size_out < sizeof *size_out || *size_out > LARGEST_STRUCT)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "struct_size is %zu: start from %s", *size_out, init);
    return EQF_OK;
}

eqf_status eqf__struct_read(eqf_context *ctx, const char *init, const void *given, size_t size, void *copy) {
    size_t given_size = 0;
    EQF__TRY(get_size(ctx, init, given, &given_size));
    if (given_size > size && !is_zero((const unsigned char *)given + size, given_size - size))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "the struct made by %s asks for something that eqflow %s does not know: use a newer version, "
                         "or leave it out",
                         init, EQF_VERSION_TEXT);
    memcpy(copy, given, given_size < size ? given_size : size);
    memcpy(copy, &size, sizeof size);
    return EQF_OK;
}

eqf_status eqf__struct_write(eqf_context *ctx, const char *init, const void *full, size_t size, void *given) {
    size_t given_size = 0;
    EQF__TRY(get_size(ctx, init, given, &given_size));
    memcpy(given, full, given_size < size ? given_size : size);
    if (given_size > size) memset((unsigned char *)given + size, 0, given_size - size);
    memcpy(given, &given_size, sizeof given_size);
    return EQF_OK;
}

eqf_status eqf__struct_check_size(eqf_context *ctx, const char *init, const void *given) {
    size_t given_size = 0;
    return get_size(ctx, init, given, &given_size);
}

eqf_status eqf__struct_check(eqf_context *ctx, const char *init, const void *given, size_t size, size_t reserved_offset,
                             size_t num_reserved) {
    size_t given_size = 0;
    EQF__TRY(get_size(ctx, init, given, &given_size));
    if (given_size != size)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "struct_size is %zu: start from %s", given_size, init);
    if (!is_zero((const unsigned char *)given + reserved_offset, num_reserved))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "the struct made by %s asks for something that eqflow %s does not know: use a newer version, "
                         "or leave it out",
                         init, EQF_VERSION_TEXT);
    return EQF_OK;
}
