#!/bin/sh
# Compares eqflow with PyTorch, NumPy and (with --jax) JAX on this machine: installs what is missing, runs compare.py.
#
#   tests/bench/compare.sh [--jax] [--eqflow PROGRAM] [options of compare.py: see compare.py --help]
#
# PyTorch and NumPy are Debian's, with OpenBLAS (the reference BLAS that comes by default would flatter us). JAX comes
# from PyPI into a virtual environment under ${XDG_CACHE_HOME:-~/.cache}/eqflow-bench, only if asked for.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)

is_asked_for_jax=0
has_program=0
count=$#
while [ "$count" -gt 0 ]; do
    argument=$1
    shift
    count=$((count - 1))
    case $argument in
    --jax) is_asked_for_jax=1 ;;
    --eqflow | --eqflow=* | --check)
        has_program=1
        set -- "$@" "$argument"
        ;;
    --subject | --subject=*)
        has_program=1
        set -- "$@" "$argument"
        ;;
    *) set -- "$@" "$argument" ;;
    esac
done

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

missing=
for package in python3-torch python3-numpy libopenblas0-pthread; do
    if ! dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed'; then
        missing="$missing $package"
    fi
done
if [ -n "$missing" ]; then
    echo "compare.sh: installing$missing" >&2
    as_root apt-get update -qq >&2
    # shellcheck disable=SC2086 # a list of packages
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >&2
fi

if [ "$is_asked_for_jax" -eq 1 ]; then
    venv=${XDG_CACHE_HOME:-$HOME/.cache}/eqflow-bench/jax
    if ! "$venv/bin/python" -c 'import jax' 2>/dev/null; then
        echo "compare.sh: installing JAX from PyPI into $venv" >&2
        /usr/bin/python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet jax >&2
    fi
    set -- --jax-python "$venv/bin/python" "$@"
fi

if [ "$has_program" -eq 0 ]; then
    program=
    for folder in build-release build; do
        for candidate in "$root/$folder/apps/eqflow/eqflow" "$root/$folder/eqflow" "$root/$folder/bin/eqflow"; do
            if [ -z "$program" ] && [ -x "$candidate" ]; then
                program=$candidate
            fi
        done
    done
    if [ -z "$program" ]; then
        echo "compare.sh: no eqflow found; build it in Release (./demo.sh does) or give --eqflow PROGRAM" >&2
        exit 2
    fi
    set -- --eqflow "$program" "$@"
fi

exec /usr/bin/python3 "$here/compare.py" "$@"
