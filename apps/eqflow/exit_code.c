#include "exit_code.h"

exit_code exit_code_of(eqf_status status, cli_activity activity) {
    switch (status) {
    case EQF_OK: return EXIT_CODE_OK;
    case EQF_ERROR_INVALID_ARGUMENT:
    case EQF_ERROR_NOT_FOUND: return EXIT_CODE_USAGE;
    case EQF_ERROR_OUT_OF_MEMORY:
    case EQF_ERROR_DEVICE:
    case EQF_ERROR_DEVICE_MEMORY: return EXIT_CODE_DEVICE;
    /* a user's potential that does not compile is a bad file; for eqflow's kernels the device is the cause */
    case EQF_ERROR_KERNEL_BUILD: return activity == ACTIVITY_READ ? EXIT_CODE_INPUT : EXIT_CODE_DEVICE;
    case EQF_ERROR_IO: return activity == ACTIVITY_WRITE ? EXIT_CODE_OUTPUT : EXIT_CODE_INPUT;
    case EQF_ERROR_FORMAT: return EXIT_CODE_INPUT;
    case EQF_ERROR_UNSUPPORTED: return activity == ACTIVITY_READ ? EXIT_CODE_INPUT : EXIT_CODE_FAILURE;
    case EQF_ERROR_NO_PLATFORM:
    case EQF_ERROR_NO_DEVICE: return EXIT_CODE_NO_DEVICE;
    case EQF_ERROR_NON_FINITE:
        return activity == ACTIVITY_TRAIN  ? EXIT_CODE_DIVERGED
               : activity == ACTIVITY_READ ? EXIT_CODE_INPUT
                                           : EXIT_CODE_FAILURE;
    case EQF_ERROR_SELF_TEST: return EXIT_CODE_SELF_TEST;
    case EQF_ERROR_INTERRUPTED: return EXIT_CODE_INTERRUPTED;
    }
    return EXIT_CODE_FAILURE;
}
