#!/usr/bin/env bash
# Device tests beyond PoCL: all of them on Mesa's rusticl (llvmpipe), and a tiny one under oclgrind, which checks every memory
# access. oclgrind exits with 0 whatever it finds, so its log decides. What is not installed is counted as skipped.
# Usage: tests/portability.sh [BUILD_FOLDER [rusticl|oclgrind]]     [default: build, both]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

build=${1:-build}
only=${2:-both}
case $only in
both | rusticl | oclgrind) ;;
*)
    echo "error: '$only' is neither rusticl nor oclgrind" >&2
    exit 2
    ;;
esac
if [ ! -f "$build/CTestTestfile.cmake" ]; then
    echo "error: no tests in $build/: run ./test.sh first, or name the build folder" >&2
    exit 2
fi
build=$(realpath "$build")

num_passed=0
num_failed=0
num_skipped=0
record() { # RESULT NAME
    printf '%-8s %s\n' "$1" "$2"
    case $1 in
    passed) num_passed=$((num_passed + 1)) ;;
    skipped) num_skipped=$((num_skipped + 1)) ;;
    *) num_failed=$((num_failed + 1)) ;;
    esac
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# Naming the device makes its absence a failure instead of a skip.
rusticl_icd=/etc/OpenCL/vendors/rusticl.icd
if [ "$only" != oclgrind ]; then
    if [ ! -f "$rusticl_icd" ]; then
        record skipped "rusticl: $rusticl_icd is missing (package mesa-opencl-icd)"
    elif RUSTICL_ENABLE=llvmpipe OCL_ICD_VENDORS=$rusticl_icd EQFLOW_DEVICE=0 \
        ctest --test-dir "$build" --output-on-failure --no-tests=error -L '^device$' -LE '^long$'; then
        record passed "device tests on rusticl"
    else
        record FAILED "device tests on rusticl"
    fi
fi

# Not --uninitialized: oclgrind 21.10 stops kernels with a "freeze" instruction there, and then blames the next ones.
under_oclgrind() { # NAME COMMAND...
    local name=$1 log=$scratch/oclgrind.log code=0
    shift
    rm -f "$log"
    EQFLOW_DEVICE=0 oclgrind --data-races --log "$log" "$@" >"$scratch/output" 2>&1 || code=$?
    # The device must have been oclgrind's, or an empty log means nothing.
    if [ "$code" -eq 0 ] && [ ! -s "$log" ] && grep -qi oclgrind "$scratch/output"; then
        record passed "$name"
        return
    fi
    record FAILED "$name: exit code $code; end of its output, then oclgrind's log"
    tail -n 20 "$scratch/output"
    if [ -e "$log" ]; then head -n 60 "$log"; fi
}

if [ "$only" != rusticl ]; then
    if ! command -v oclgrind >/dev/null; then
        record skipped "oclgrind: not installed (package oclgrind)"
    else
        under_oclgrind "portability.tiny under oclgrind" "$build/tests/test_portability_tiny"
    fi
fi

echo "$num_passed passed, $num_failed failed, $num_skipped skipped"
[ "$num_failed" -eq 0 ]
