# shellcheck shell=bash disable=SC2034 # variables are for the scripts that source this
# Shared by the tests of the program: a folder of their own, checks that count, small .npy files made by hand.
# Use: . lib.sh "$1"   ($1: the program)
set -u
eqflow=${1:?the program to test is missing}
export LC_ALL=C EQFLOW_DEVICE=${EQFLOW_DEVICE:-auto} # named: no note says what was chosen
source_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
. "$source_root/tests/support/own_folder.sh"
own_folder vendors
vendors=$work
own_folder cli
export TMPDIR=$vendors # for the logs of kernels that do not build
trap 'cleanup' EXIT
num_checks=0
num_failed=0
children=""

# The machine's ICD files may name drivers that are gone, of which the program speaks: tests see a folder of those that
# load.
machine_vendors=/etc/OpenCL/vendors
if [ -z "${OCL_ICD_VENDORS:-}" ] && [ -d "$machine_vendors" ]; then
    mkdir "$vendors/one"
    for icd in "$machine_vendors"/*.icd; do
        [ -r "$icd" ] || continue
        cp "$icd" "$vendors/one/"
        if ! OCL_ICD_VENDORS=$vendors/one "$eqflow" devices 2>&1 | grep -Eq 'cannot be (loaded|read)|is empty|no OpenCL driver'; then
            cp "$icd" "$vendors/"
        fi
        rm "$vendors/one/"*
    done
    rmdir "$vendors/one"
    export OCL_ICD_VENDORS=$vendors
fi

cleanup() {
    local child
    for child in $children; do kill -9 "$child" 2>/dev/null; done
    cd / || true
    rm -rf "$work" "$vendors"
}

pass() { num_checks=$((num_checks + 1)); }

fail() {
    num_checks=$((num_checks + 1))
    num_failed=$((num_failed + 1))
    echo "FAILED: $*"
}

finish() {
    echo "$((num_checks - num_failed)) of $num_checks checks passed"
    [ "$num_failed" -eq 0 ] || exit 1
    exit 0
}

skip() {
    echo "skipped: $*"
    exit 77
}

# The text of the folder and the checksums of its files: changes show as a difference.
snapshot() { find . -type f ! -name 'stdout*' ! -name 'stderr*' -exec cksum {} + | sort; }

# expect CODE PATTERN COMMAND...: exit code, one line on stderr that matches PATTERN (grep -E), nothing on stdout, and
# no file made, changed or left behind.
expect() {
    local code=$1 pattern=$2 before after got lines
    shift 2
    before=$(snapshot)
    "$@" >stdout 2>stderr </dev/null
    got=$?
    after=$(snapshot)
    lines=$(wc -l <stderr)
    if [ "$got" -ne "$code" ]; then
        fail "$*: exit code $got, expected $code: $(head -3 stderr)"
    elif [ "$lines" -ne 1 ]; then
        fail "$*: $lines lines on stderr, expected 1: $(cat stderr)"
    elif ! grep -Eq -- "$pattern" stderr; then
        fail "$*: stderr does not match '$pattern': $(cat stderr)"
    elif [ -s stdout ]; then
        fail "$*: something on stdout: $(head -3 stdout)"
    elif [ "$before" != "$after" ]; then
        fail "$*: files changed: $(diff <(echo "$before") <(echo "$after"))"
    else
        pass
        echo "ok $code: $(cat stderr)"
    fi
}

# succeed COMMAND...: exit code 0; its output is in stdout and stderr.
succeed() {
    "$@" >stdout 2>stderr </dev/null
    local got=$?
    if [ "$got" -eq 0 ]; then pass; else fail "$*: exit code $got: $(head -3 stderr)"; fi
    return "$got"
}

# same FILE FILE WHAT: equal bytes.
same() { if cmp -s "$1" "$2"; then pass; else fail "$3: $1 and $2 differ"; fi; }

# json KEY FILE: the value of a key of the outermost object, as it stands there.
json() { sed -n "s/^  \"$1\": \(.*[^,]\),\{0,1\}\$/\1/p" "$2"; }

# within VALUE LOW HIGH WHAT
within() {
    if awk -v v="$1" -v l="$2" -v h="$3" 'BEGIN { exit !(v ~ /^-?[0-9]/ && v + 0 >= l && v + 0 <= h) }'; then
        pass
        echo "ok: $4 is $1, allowed $2 ... $3"
    else
        fail "$4 is '$1', expected $2 ... $3"
    fi
}

# npy DESCR FORTRAN SHAPE FILE: header and standard input as a version 1.0 .npy file.
npy() {
    local header="{'descr': '$1', 'fortran_order': $2, 'shape': $3, }"
    while [ $(((10 + ${#header} + 1) % 64)) -ne 0 ]; do header="$header "; done
    local length=$((${#header} + 1))
    {
        printf '\223NUMPY\001\000'
        # shellcheck disable=SC2059
        printf "\\$(printf %03o $((length % 256)))\\$(printf %03o $((length / 256)))"
        printf '%s\n' "$header"
        cat
    } >"$4"
}

# Two particles in a plane at (2, 0) and (-2, 0), then at (0, 1) and (0, -1), little-endian.
f4_configurations() {
    printf '\0\0\0\100\0\0\0\0\0\0\0\300\0\0\0\0'
    printf '\0\0\0\0\0\0\200\077\0\0\0\0\0\0\200\277'
}
f4_fortran_configurations() { # index b first, then particle, then dimension
    printf '\0\0\0\100\0\0\0\0\0\0\0\300\0\0\0\0'
    printf '\0\0\0\0\0\0\200\077\0\0\0\0\0\0\200\277'
}
f8_configurations() {
    printf '\0\0\0\0\0\0\0\100\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\300\0\0\0\0\0\0\0\0'
    printf '\0\0\0\0\0\0\0\0\0\0\0\0\0\0\360\077\0\0\0\0\0\0\0\0\0\0\0\0\0\0\360\277'
}
