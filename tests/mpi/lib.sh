# Shared by the tests of several ranks, after ../cli/lib.sh: ranks NUMBER PROGRAM... is mpirun of the MPI the program
# was built with.
# shellcheck shell=bash
export POCL_MAX_PTHREAD_COUNT=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
launch() { # LAUNCHER NUMBER PROGRAM...
    local launcher=$1 number=$2 oversubscribe=()
    shift 2
    if "$launcher" --version 2>&1 | grep -qi 'open.*mpi\|openrte\|prrte'; then oversubscribe=(--oversubscribe); fi
    "$launcher" "${oversubscribe[@]}" -np "$number" "$@"
}
launcher=${MPIEXEC-mpirun}
ranks() { launch "$launcher" "$@"; }
[ -n "$launcher" ] || skip "there is no mpirun of the MPI that the program was built with"
if ! ranks 2 true >/dev/null 2>messages; then skip "$launcher does not run here: $(head -1 messages)"; fi
