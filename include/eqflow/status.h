/* Status codes: the one list of everything that can go wrong. */
#ifndef EQFLOW_STATUS_H
#define EQFLOW_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* X(name, value, text). docs/errors.md says in which state each leaves the object. */
#define EQF_STATUS_MAP(X)                                                                \
    X(OK, 0, "success")                                                                  \
    X(ERROR_INVALID_ARGUMENT, 1, "invalid argument")                                     \
    X(ERROR_OUT_OF_MEMORY, 2, "out of host memory")                                      \
    X(ERROR_IO, 3, "file could not be read or written")                                  \
    X(ERROR_FORMAT, 4, "file content is not what it should be")                          \
    X(ERROR_UNSUPPORTED, 5, "not supported")                                             \
    X(ERROR_NOT_FOUND, 6, "no such name")                                                \
    X(ERROR_NO_PLATFORM, 7, "no OpenCL implementation is installed")                     \
    X(ERROR_NO_DEVICE, 8, "no such OpenCL device")                                       \
    X(ERROR_DEVICE, 9, "OpenCL call failed")                                             \
    X(ERROR_DEVICE_MEMORY, 10, "out of device memory")                                   \
    X(ERROR_KERNEL_BUILD, 11, "kernel did not build")                                    \
    X(ERROR_NON_FINITE, 12, "non-finite number")                                         \
    X(ERROR_SELF_TEST, 13, "device gives wrong results")                                 \
    X(ERROR_INTERRUPTED, 14, "stopped on request")

typedef enum eqf_status {
#define EQF_STATUS_ENUM(name, value, text) EQF_##name = (value),
    EQF_STATUS_MAP(EQF_STATUS_ENUM)
#undef EQF_STATUS_ENUM
} eqf_status;

/* Static texts, never freed; an unknown value gives "unknown status" / "EQF_UNKNOWN". */
const char *eqf_status_text(eqf_status status);
const char *eqf_status_name(eqf_status status);

#ifdef __cplusplus
}
#endif
#endif
