/* Exit codes of the program: the one list. docs/errors.md explains each. */
#ifndef EXIT_CODE_H
#define EXIT_CODE_H

#include "eqflow/status.h"

typedef enum exit_code {
    EXIT_CODE_OK = 0,
    EXIT_CODE_FAILURE = 1,      /* any failure without a code of its own */
    EXIT_CODE_USAGE = 2,        /* unknown command, option, preset; a value out of its range */
    EXIT_CODE_INPUT = 3,        /* a file to read is missing or wrong */
    EXIT_CODE_OUTPUT = 4,       /* a file could not be written */
    EXIT_CODE_NO_DEVICE = 5,    /* no OpenCL platform, or no such device */
    EXIT_CODE_DEVICE = 6,       /* the device failed, or memory ran out */
    EXIT_CODE_DIVERGED = 7,     /* a loss or gradient of training is not finite */
    EXIT_CODE_SELF_TEST = 8,    /* the device gives wrong results */
    EXIT_CODE_NO_EQUILIBRIUM = 9, /* Monte Carlo's samples cannot be of equilibrium */
    EXIT_CODE_INTERRUPTED = 130 /* SIGINT, SIGTERM, SIGHUP or SIGXCPU */
} exit_code;

/* The activity of the failed call: a status has one exit code for a file that is read and another for one that is
 * written. */
typedef enum cli_activity { ACTIVITY_COMPUTE, ACTIVITY_READ, ACTIVITY_WRITE, ACTIVITY_TRAIN } cli_activity;

exit_code exit_code_of(eqf_status status, cli_activity activity);

#endif
