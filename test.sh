#!/usr/bin/env bash
# Builds with the tests and runs them; ends with ctest's summary and its exit code. Installs what is missing (as root or
# through sudo). Other arguments go to ctest: ./test.sh -R flow    --long adds the suites with the label "long".
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=cmake/setup.sh
. cmake/setup.sh

selection=(--label-exclude '^long$')
arguments=()
for argument in "$@"; do
    case $argument in
    --long) selection=() ;;
    -h | --help)
        say "Usage: ./test.sh [--long] [ctest arguments, such as -R PATTERN or -L host]"
        say "  --long  also the suites with the label \"long\" (docs/testing.md)"
        exit 0
        ;;
    *) arguments+=("$argument") ;;
    esac
done

install_packages "${build_packages[@]}" "${test_packages[@]}"
build_release all -DBUILD_TESTING=ON

say "Running the tests ..."
cd build
exec ctest --parallel 2 --output-on-failure --no-tests=error "${selection[@]}" "${arguments[@]}"
