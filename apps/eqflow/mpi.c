/* The ranks of an MPI job: the only file that uses MPI. */
#include <errno.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ranks.h"

/* Counts are int in MPI 3, so longer messages are sent in pieces. */
static const size_t largest_piece = (size_t)1 << 30;

static bool sum_floats(void *user, size_t count, float *values) {
    (void)user;
    for (size_t first = 0; first < count; first += largest_piece) {
        size_t piece = count - first < largest_piece ? count - first : largest_piece;
        if (MPI_Allreduce(MPI_IN_PLACE, values + first, (int)piece, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD) !=
            MPI_SUCCESS) {
            return false;
        }
    }
    return true;
}

static bool sum_doubles(void *user, size_t count, double *values) {
    (void)user;
    for (size_t first = 0; first < count; first += largest_piece) {
        size_t piece = count - first < largest_piece ? count - first : largest_piece;
        if (MPI_Allreduce(MPI_IN_PLACE, values + first, (int)piece, MPI_DOUBLE, MPI_SUM, MPI_COMM_WORLD) !=
            MPI_SUCCESS) {
            return false;
        }
    }
    return true;
}

static bool gather(void *user, const size_t *bounds, void *bytes) {
    const cli_app *app = user;
    for (unsigned rank = 0; rank < app->ranks.size; rank++) {
        for (size_t first = bounds[rank]; first < bounds[rank + 1]; first += largest_piece) {
            size_t left = bounds[rank + 1] - first, piece = left < largest_piece ? left : largest_piece;
            if (MPI_Bcast((unsigned char *)bytes + first, (int)piece, MPI_BYTE, (int)rank, MPI_COMM_WORLD) !=
                MPI_SUCCESS) {
                return false;
            }
        }
    }
    return true;
}

/* Whether MPI launched this program; else MPI_Init is not called, which costs time and opens sockets. */
static bool is_launched(void) {
    static const char *const signs[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMI_RANK", "PMIX_RANK", "MPI_LOCALNRANKS"};
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        if (getenv(signs[i])) return true;
    }
    return false;
}

/* Under the mpirun of another MPI library each process is a separate job; all would do the same work and write the same
 * file. */
static exit_code check_launcher(cli_app *app, int size) {
    static const char *const sizes[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (size_t i = 0; size == 1 && i < sizeof sizes / sizeof sizes[0]; i++) {
        const char *launched = getenv(sizes[i]);
        if (!launched || strtol(launched, NULL, 10) <= 1) continue;
        char library[MPI_MAX_LIBRARY_VERSION_STRING] = "";
        int length = 0;
        MPI_Get_library_version(library, &length);
        library[strcspn(library, ",\n")] = '\0';
        for (char *c = library; *c; c++) {
            if (*c == '\t') *c = ' ';
        }
        return app_fail(
            app, EXIT_CODE_USAGE,
            "mpirun started %s processes, which do not see each other: this eqflow was built with another MPI (%s); "
            "use the mpirun of that one",
            launched, library);
    }
    return EXIT_CODE_OK;
}

exit_code ranks_begin(cli_app *app) {
    if (!is_launched()) return EXIT_CODE_OK;
    int provided, rank, size, node_rank;
    MPI_Comm node;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS) {
        return app_fail(app, EXIT_CODE_FAILURE, "MPI did not start");
    }
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    exit_code code = check_launcher(app, size);
    if (code != EXIT_CODE_OK) return code;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &node);
    MPI_Comm_rank(node, &node_rank);
    MPI_Comm_free(&node);
    app->ranks =
        (eqf_communicator){sizeof app->ranks, (unsigned)rank, (unsigned)size, app, sum_floats, sum_doubles, gather};
    app->node_rank = (unsigned)node_rank;
    return EXIT_CODE_OK;
}

static void pause_seconds(double seconds) {
    struct timespec left = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    while (nanosleep(&left, &left) != 0 && errno == EINTR) {
    }
}

exit_code ranks_end(cli_app *app, exit_code code) {
    int is_running = 0;
    MPI_Initialized(&is_running);
    if (!is_running) return code;
    /* Other ranks may wait for this one, so it aborts the job. MPICH's mpirun loses output that it has not read before
     * the abort (in 3 of 20 runs), so there is a pause first. */
    if (code != EXIT_CODE_OK && app->ranks.size > 1) {
        fflush(stderr);
        pause_seconds(0.3);
        MPI_Abort(MPI_COMM_WORLD, (int)code);
    }
    MPI_Finalize();
    return code;
}

void ranks_wait_for_first(const cli_app *app) {
    if (app->ranks.rank == 0) return;
    /* During the pause the first rank's MPI_Abort ends this process, with SIGTERM, which our handler records, and then
     * SIGKILL. */
    pause_seconds(3);
}
