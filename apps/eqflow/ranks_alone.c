/* The ranks of a program that was built without MPI. */
#include <stdlib.h>

#include "ranks.h"

exit_code ranks_begin(cli_app *app) {
    /* Variables that Open MPI, MPICH and Intel MPI set in each process of a job. All processes would do the same work
     * and write the same file. */
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const char *size = getenv(sizes[i]);
        if (size && strtol(size, NULL, 10) > 1) {
            return app_fail(
                app, EXIT_CODE_USAGE,
                "this eqflow was built without MPI and cannot share its work among the %s processes of mpirun; "
                "configure it with -DEQFLOW_MPI=ON, see docs/mpi.md",
                size);
        }
    }
    return EXIT_CODE_OK;
}

exit_code ranks_end(cli_app *app, exit_code code) {
    (void)app;
    return code;
}

void ranks_wait_for_first(const cli_app *app) {
    (void)app;
}
