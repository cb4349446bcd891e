#!/usr/bin/env bash
# Device tests on every OpenCL implementation of this machine, one row each: Debian's ICD files, drivers unpacked from Python wheels by
# --fetch, oclgrind. Skips are counted apart from passes. Every implementation also gives log-densities of the same models, which are
# compared with the first one's.
# Usage: tests/matrix.sh [--build FOLDER] [--only NAME] [-R REGEX] [--fetch] [--write]
#   --build FOLDER  where the tests were built [build]
#   --only NAME     implementations whose name holds NAME
#   -R REGEX        of ctest: only these device tests
#   --fetch         first unpack PoCL and Intel's CPU runtime from the Python registry into $XDG_CACHE_HOME/eqflow-opencl
#   --write         put the table into docs/devices.md
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export LC_ALL=C

build=build only='' pattern='' wants_fetch=0 wants_write=0
fail_usage() {
    echo "error: $*" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
    --build | --only | -R)
        [ $# -ge 2 ] || fail_usage "$1 wants a value"
        case $1 in --build) build=$2 ;; --only) only=$2 ;; -R) pattern=$2 ;; esac
        shift
        ;;
    --fetch) wants_fetch=1 ;;
    --write) wants_write=1 ;;
    *) fail_usage "unknown argument '$1'; the first lines of tests/matrix.sh say what there is" ;;
    esac
    shift
done
[ -f "$build/CTestTestfile.cmake" ] || fail_usage "no tests in $build/: run ./test.sh first, or --build FOLDER"
build=$(realpath "$build")
eqflow=$(find "$build" -path '*apps*' -name eqflow -type f -perm -u+x | head -1)
[ -n "$eqflow" ] || fail_usage "there is no eqflow program in $build/"
drivers=${XDG_CACHE_HOME:-$HOME/.cache}/eqflow-opencl
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export XDG_CACHE_HOME=$scratch/cache POCL_CACHE_DIR=${POCL_CACHE_DIR:-$HOME/.cache/pocl/kcache}

# ---- Drivers from wheels ----
# fetch NAME LIBRARY PACKAGE...: unpacks the wheels side by side, and an ICD file with the library's full path.
fetch() {
    local name=$1 library=$2 folder=$drivers/$1 path
    shift 2
    if [ -f "$folder/$name.icd" ]; then return 0; fi
    rm -rf "$folder" && mkdir -p "$folder/wheels" || return 1
    python3 -m pip download -q --no-deps -d "$folder/wheels" "$@" || return 1
    for path in "$folder"/wheels/*.whl; do python3 -m zipfile -e "$path" "$folder" || return 1; done
    rm -r "$folder/wheels"
    # Wheels put what belongs into a prefix under NAME-VERSION.data/data/lib: all into one folder, where the libraries look for each other.
    mkdir -p "$folder/lib"
    find "$folder" -path '*.data/data/lib/*' -type f -exec mv -n {} "$folder/lib/" \;
    rm -f "$folder"/lib/libOpenCL.so* # the loader stays the system's
    path=$(find "$folder/lib" "$folder" -name "$library" -type f | head -1)
    [ -n "$path" ] || return 1
    printf '%s\n' "$path" >"$folder/$name.icd"
}
if [ "$wants_fetch" -eq 1 ]; then
    fetch pocl-wheel 'libpocl-*.so' pocl-binary-distribution || echo "PoCL's wheel could not be had" >&2
    fetch intel-wheel libintelocl.so intel-opencl-rt intel-cmplr-lib-rt tbb tcmlib umf || echo "Intel's wheel could not be had" >&2
fi

# ---- One implementation ----
rows=()
num_failures=0
row() { # IMPLEMENTATION DEVICE DRIVER PROFILE FP64 PASSED FAILED SKIPPED AGREEMENT NOTE
    rows+=("| $1 | $2 | $3 | $4 | $5 | $6 | $7 | $8 | $9 | ${10} |")
    printf '%-12s %-40.40s passed %s, failed %s, skipped %s, off by %s%s\n' "$1" "$2" "$6" "$7" "$8" "$9" "${10:+; ${10}}"
}

# value KEY INDEX FILE: of the device at INDEX in the JSON of eqflow devices, whose keys stand one a line.
value() {
    awk -v key="\"$1\":" -v wanted="$2" '
        $1 == "\"index\":" { index_now = $2 + 0 }
        $1 == key && index_now == wanted { sub(/^[^:]*: */, ""); sub(/,$/, ""); gsub(/"/, ""); print; exit }' "$3"
}

# The sums of cmocka: "[  PASSED  ] 4 test(s)."
count() { awk -v what="$1" '$0 ~ "\\[ +" what " +\\] [0-9]+ test" { for (i = 1; i < NF; i++) if ($(i + 1) ~ /^test/) n += $i } END { print n + 0 }' "$2"; }

# Largest difference in nats between this implementation's log-densities and the first one's, of models of dw4 and lj13.
agreement() {
    local system worst=0 one
    for system in dw4 lj13; do
        if [ ! -f "$scratch/$system.safetensors" ]; then
            "$eqflow" data "$system" -n 64 -o "$scratch/$system.npy" --burn-in 200 --thinning 1 --quiet >/dev/null 2>&1
            "$eqflow" train "$system" --data "$scratch/$system.npy" -o "$scratch/$system.safetensors" --steps 3 --batch-size 16 \
                --quiet >/dev/null 2>&1 || { echo '-'; return; }
        fi
        "$eqflow" log-prob "$scratch/$system.safetensors" --data "$scratch/$system.npy" -o "$scratch/l.npy" --quiet \
            >/dev/null 2>"$scratch/error" || { echo '-'; return; }
        [ -f "$scratch/$system.first" ] || cp "$scratch/l.npy" "$scratch/$system.first"
        one=$(paste <(od -An -v -tf4 -w4 -j128 "$scratch/$system.first") <(od -An -v -tf4 -w4 -j128 "$scratch/l.npy") |
            awk '{ d = $1 - $2; if (d < 0) d = -d; if (!(d <= worst)) worst = d } END { printf "%.2g", worst }')
        worst=$(awk -v a="$worst" -v b="$one" 'BEGIN { print (a + 0 > b + 0 ? a : b) }')
    done
    echo "$worst"
}

run_device() { # NAME INDEX JSON
    local name=$1 index=$2 json=$3 log=$scratch/$1-$2.log passed failed skipped code note='' off timed_out
    export EQFLOW_DEVICE=$index
    local device driver profile fp64
    device=$(value name "$index" "$json") driver=$(value driver_version "$index" "$json")
    profile=$(value profile "$index" "$json") fp64=$(value has_fp64 "$index" "$json")
    case $fp64 in true) fp64=yes ;; *) fp64=no ;; esac
    off=$(agreement)
    "$eqflow" selftest >"$scratch/selftest" 2>&1 || note='self-test failed'
    ctest --test-dir "$build" -V --no-tests=error -L '^device$' -LE '^long$' ${pattern:+-R "$pattern"} >"$log" 2>&1
    code=$?
    passed=$(count PASSED "$log") failed=$(count FAILED "$log") skipped=$(count SKIPPED "$log")
    timed_out=$(grep -cE '\*\*\*(Timeout|Exception)|SEGFAULT|Subprocess aborted' "$log")
    if [ "$code" -ne 0 ] || [ -n "$note" ]; then
        num_failures=$((num_failures + 1))
        note="$note${note:+; }$(sed -n 's/^[ \t]*[0-9]* - \([^ ]*\) (\(.*\)).*/\1 \2/p' "$log" | sort -u | paste -sd, | sed 's/,/, /g')"
        [ "$timed_out" -eq 0 ] || note="$note ($timed_out crashed or out of time)"
        cp "$log" "${TMPDIR:-/tmp}/eqflow-matrix-$name-$index.log"
        echo "    log: ${TMPDIR:-/tmp}/eqflow-matrix-$name-$index.log"
    fi
    if [ "$off" != - ] && awk -v o="$off" 'BEGIN { exit !(o > 1e-4) }'; then
        num_failures=$((num_failures + 1))
        note="$note${note:+; }log-densities disagree"
    fi
    row "$name" "$device" "$driver" "$profile" "$fp64" "$passed" "$failed" "$skipped" "$off" "$note"
    if [ "$(value type "$index" "$json")" = gpu ]; then # what only such a machine can tell
        "$eqflow" bench --json >"${TMPDIR:-/tmp}/eqflow-matrix-bench-$name-$index.json" 2>/dev/null &&
            echo "    benchmark: ${TMPDIR:-/tmp}/eqflow-matrix-bench-$name-$index.json"
    fi
}

run_icd() { # ICD-FILE
    local name json=$scratch/devices.json num
    name=$(basename "$1" .icd)
    [[ $name == *"$only"* ]] || return 0
    mkdir -p "$scratch/vendors" && rm -f "$scratch/vendors"/* && cp "$1" "$scratch/vendors/" # loaders want a folder
    export OCL_ICD_VENDORS=$scratch/vendors LD_LIBRARY_PATH=$loader_path
    case $1 in "$drivers"/*) LD_LIBRARY_PATH=$(dirname "$(cat "$1")")${loader_path:+:$loader_path} ;; esac
    [ "$name" != rusticl ] || export RUSTICL_ENABLE=${RUSTICL_ENABLE:-llvmpipe}
    unset EQFLOW_DEVICE
    if ! timeout 300 "$eqflow" devices --json >"$json" 2>"$scratch/error"; then
        row "$name" '-' '-' '-' '-' 0 0 all '-' "$(sed 's/^eqflow devices: //; s/|/ /g' "$scratch/error" | tail -1 | cut -c1-160)"
        return 0
    fi
    num=$(grep -c '"index":' "$json")
    for ((d = 0; d < num; d++)); do run_device "$name" "$d" "$json"; done
}

loader_path=${LD_LIBRARY_PATH:-}
for icd in "${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}"/*.icd "$drivers"/*/*.icd; do
    [ ! -f "$icd" ] || run_icd "$icd"
done
unset OCL_ICD_VENDORS RUSTICL_ENABLE
export LD_LIBRARY_PATH=$loader_path

# ---- oclgrind: it checks every memory access of a tiny program, and its log decides, as it exits with 0 whatever it finds. Not
# --uninitialized: 21.10 stops kernels with a "freeze" instruction there, and then blames the next ones. ----
if [[ oclgrind == *"$only"* ]]; then
    if ! command -v oclgrind >/dev/null; then
        row oclgrind '-' '-' '-' '-' 0 0 all '-' 'not installed (package oclgrind)'
    else
        export EQFLOW_DEVICE=0
        code=0
        oclgrind --data-races --log "$scratch/oclgrind.log" "$build/tests/test_portability_tiny" >"$scratch/output" 2>&1 || code=$?
        note=''
        # The device must have been oclgrind's, or an empty log means nothing.
        if [ "$code" -ne 0 ] || [ -s "$scratch/oclgrind.log" ] || ! grep -qi oclgrind "$scratch/output"; then
            num_failures=$((num_failures + 1))
            note="exit code $code, $(grep -c . "$scratch/oclgrind.log" 2>/dev/null || true) lines in its log"
            { tail -n 20 "$scratch/output"; head -n 60 "$scratch/oclgrind.log" 2>/dev/null; } | sed 's/^/    /'
        fi
        row oclgrind 'Oclgrind Simulator' "$(oclgrind --version | grep -Eo '[0-9]+\.[0-9]+' | head -1)" cpu/oclgrind yes \
            "$(count PASSED "$scratch/output")" "$(count FAILED "$scratch/output")" "$(count SKIPPED "$scratch/output")" '-' \
            "tiny sizes${note:+; $note}"
    fi
fi

# ---- The table ----
{
    echo "Run on $(date -u +%Y-%m-%d), $(grep -m1 'model name' /proc/cpuinfo | sed 's/.*: //'), eqflow $("$eqflow" --version | cut -d' ' -f2)${pattern:+, only the tests $pattern}."
    echo
    echo '| implementation | device | driver | profile | fp64 | passed | failed | skipped | log-densities off by (nat) | |'
    echo '|---|---|---|---|---|---|---|---|---|---|'
    printf '%s\n' "${rows[@]}"
} >"$scratch/table"
echo
cat "$scratch/table"
if [ "$wants_write" -eq 1 ]; then
    awk -v table="$scratch/table" '
        /<!-- matrix begins/ { print; while ((getline line < table) > 0) print line; skips = 1; next }
        /<!-- matrix ends/ { skips = 0 }
        !skips' docs/devices.md >"$scratch/page" && cat "$scratch/page" >docs/devices.md
fi
[ "$num_failures" -eq 0 ]
