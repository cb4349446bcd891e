#include "eqflow/version.h"

/* The build system defines both if it knows them. */
#ifndef EQF_REVISION
#define EQF_REVISION "unknown"
#endif
#ifndef EQF_BUILD_TYPE
#ifdef NDEBUG
#define EQF_BUILD_TYPE "Release"
#else
#define EQF_BUILD_TYPE "Debug"
#endif
#endif

#if defined(__clang__)
#define EQF_COMPILER __VERSION__ /* names itself: "Debian Clang 14.0.6" */
#elif defined(__GNUC__)
#define EQF_COMPILER "GNU " __VERSION__
#else
#define EQF_COMPILER "unknown compiler"
#endif

const char *eqf_version(void) {
    return EQF_VERSION_TEXT;
}
const char *eqf_version_revision(void) {
    return EQF_REVISION;
}
const char *eqf_version_compiler(void) {
    return EQF_COMPILER ", " EQF_BUILD_TYPE;
}
