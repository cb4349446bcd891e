/* The version, at compile time and at run time. */
#ifndef EQFLOW_VERSION_H
#define EQFLOW_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

#define EQF_VERSION_MAJOR 0
#define EQF_VERSION_MINOR 1
#define EQF_VERSION_PATCH 0
#define EQF_VERSION_TEXT "0.1.0"

/* Static texts. */
const char *eqf_version(void);             /* "0.1.0", of the library that runs */
const char *eqf_version_revision(void);    /* git revision it was built from, or "unknown" */
const char *eqf_version_compiler(void);    /* "GNU 12.2.0, Release" */

#ifdef __cplusplus
}
#endif
#endif
