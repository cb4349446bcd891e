#!/usr/bin/env bash
# Every device test on every OpenCL implementation of this machine, one row each: Debian's ICD files, drivers unpacked
# from Python wheels by --fetch, those of Debian 13 by --debian13; portability.tiny under oclgrind. Skips are counted
# apart from passes, and what did not end counts as failed. Every implementation also gives log-densities of the same
# models, which are compared with the first one's. About an hour on two cores, half of it rusticl's.
# Usage: tests/matrix.sh [--build FOLDER] [--only NAME] [--quick | -R REGEX] [--limit SECONDS] [--resume] [--fetch]
# [--debian13] [--write]
#   --build FOLDER   where the tests were built [build]
#   --only NAME      implementations whose name holds NAME
#   --quick          three programs alone: portability.tiny, flow.double, potential.potential
#   -R REGEX         of ctest: only these device tests
#   --limit SECONDS  a program that takes longer is ended and counted as failed; oclgrind has four times that [900]
#   --resume         what an earlier run of this revision has finished is not run again, but counted: logs and exit codes
#     stay in $TMPDIR/eqflow-matrix. So a row can be filled in several sittings, also with several -R
#   --fetch          first unpack PoCL and Intel's CPU runtime from the Python registry into
#     $XDG_CACHE_HOME/eqflow-opencl
#   --debian13       also Debian 13's PoCL and Mesa, in a root of their own beside those, which debootstrap makes (needs
#     root); library and tests are built there
#   --write          put the rows into the table of docs/devices.md, each when its implementation is through; others
#     stay as they are
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export LC_ALL=C

build=build only='' pattern='' limit=900 wants_fetch=0 wants_write=0 wants_debian13=0 wants_resume=0
fail_usage() {
    echo "error: $*" >&2
    exit 2
}
while [ $# -gt 0 ]; do
    case $1 in
    --build | --only | -R | --limit)
        [ $# -ge 2 ] || fail_usage "$1 wants a value"
        case $1 in --build) build=$2 ;; --only) only=$2 ;; -R) pattern=$2 ;; --limit) limit=$2 ;; esac
        shift
        ;;
    --quick) pattern='^(portability\.tiny|flow\.double|potential\.potential)$' ;;
    --fetch) wants_fetch=1 ;;
    --resume) wants_resume=1 ;;
    --debian13) wants_debian13=1 ;;
    --write) wants_write=1 ;;
    *) fail_usage "unknown argument '$1'; the first lines of tests/matrix.sh say what there is" ;;
    esac
    shift
done
[ -f "$build/CTestTestfile.cmake" ] || fail_usage "no tests in $build/: run ./test.sh first, or --build FOLDER"
build=$(realpath "$build")
eqflow=$(find "$build" -path '*apps*' -name eqflow -type f -perm -u+x | head -1)
[ -n "$eqflow" ] || fail_usage "there is no eqflow program in $build/"
tests_of() { ctest --test-dir "$build" -N -L '^device$' -LE '^long$' "$@" | sed -n 's/^ *Test *#[0-9]*: //p'; }
mapfile -t all_tests < <(tests_of)
mapfile -t tests < <(tests_of ${pattern:+-R "$pattern"})
[ ${#tests[@]} -gt 0 ] || fail_usage "no device test is called '$pattern'"
# A test's program and what it wants in its environment, as ctest would run it.
declare -A program_of environment_of
while IFS='|' read -r test key value; do
    case $key in
    program) program_of[$test]=$value ;;
    environment) environment_of[$test]+="$value " ;;
    esac
done < <(
    ctest --test-dir "$build" -N -V -L '^device$' -LE '^long$' | awk '
        /^[0-9]+: Test command: / { command = $0; sub(/^[0-9]+: Test command: /, "", command); gsub(/"/, "", command); num = 0 }
        /^[0-9]+:  [A-Z_]+=/ { line = $0; sub(/^[0-9]+:  /, "", line); variables[++num] = line }
        /^ *Test +#[0-9]+: / {
            name = $NF
            print name "|program|" command
            for (v = 1; v <= num; v++) print name "|environment|" variables[v]
        }'
)
# Within a root of --debian13 these are set: what its rows' names begin with, the revision, and the folder with the
# models and first log-densities of the outer run.
prefix=${EQFLOW_MATRIX_PREFIX:-} revision=${EQFLOW_MATRIX_REVISION:-} models=${EQFLOW_MATRIX_MODELS:-}
if [ -z "$revision" ]; then
    revision=$(git rev-parse --short HEAD 2>/dev/null || echo 'no git')
    git diff --quiet HEAD -- . ':!docs' 2>/dev/null || revision="$revision, changed"
fi
logs=${TMPDIR:-/tmp}/eqflow-matrix
mkdir -p "$logs"
drivers=${XDG_CACHE_HOME:-$HOME/.cache}/eqflow-opencl
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
models=${models:-$scratch}
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
    # Wheels put what belongs into a prefix under NAME-VERSION.data/data/lib: all into one folder, where the libraries
    # look for each other.
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
rows=() notes=() failures=() child='' stops=''
num_failures=0
# Interrupted, it writes the row of the programs that were through.
trap 'stops=1; [ -z "$child" ] || kill "$child" 2>/dev/null' INT TERM

# Puts the rows of implementation $1 into the page, in place of those it has; a new one at the end.
write_rows() {
    [ "$wants_write" -eq 1 ] || return 0
    printf '%s\n' "${rows[@]}" | grep "^| $1 |" >"$scratch/rows"
    printf '%s\n' "${notes[@]}" | grep "^ - $1:" >"$scratch/notes"
    awk -v name="$1" -v rows="$scratch/rows" -v notes="$scratch/notes" '
        function put(file) { while ((getline line < file) > 0) print line; close(file) }
        /<!-- matrix begins/ { inside = 1 }
        inside && index($0, "| " name " |") == 1 { if (!has_rows++) put(rows); next }
        inside && index($0, " - " name ":") == 1 { if (!has_notes++) put(notes); next }
        inside && /^$/ && was_row { if (!has_rows++) put(rows) }
        inside && /<!-- matrix ends/ { if (!has_notes++) put(notes); inside = 0 }
        { print; was_row = index($0, "|") == 1 }' docs/devices.md >"$scratch/page" && cat "$scratch/page" >docs/devices.md
}

row() { # IMPLEMENTATION DEVICE DRIVER PROFILE FP64 PROGRAMS PASSED FAILED SKIPPED AGREEMENT
    rows+=("| $1 | $2 | $3 | $4 | $5 | $6 | $7 | $8 | $9 | ${10} | $(date -u +%Y-%m-%d), $revision |")
    printf '%-12s %-40.40s %s programs: passed %s, failed %s, skipped %s, off by %s\n' "$1" "$2" "$6" "$7" "$8" "$9" "${10}"
}

note() { # IMPLEMENTATION TEXT
    notes+=(" - $1: $2")
    echo "    $2"
}

# Failures of one implementation make one line, so that a driver that can do nothing does not fill the page.
failure() { # TEXT
    num_failures=$((num_failures + 1))
    failures+=("$1")
    echo "    failed: $1"
}

note_failures() { # IMPLEMENTATION
    [ ${#failures[@]} -eq 0 ] || notes+=(" - $1: failed: $(printf '%s; ' "${failures[@]}" | sed 's/|/ /g; s/; $//')")
    failures=()
}

# value KEY INDEX FILE: of the device at INDEX in the JSON of eqflow devices, whose keys stand one a line.
value() {
    awk -v key="\"$1\":" -v wanted="$2" '
        $1 == "\"index\":" { index_now = $2 + 0 }
        $1 == key && index_now == wanted { sub(/^[^:]*: */, ""); sub(/,$/, ""); gsub(/"/, ""); print; exit }' "$3"
}

# names WORD FILE: of the tests of cmocka that ended so, each once; not its summary ("tests: 5 test(s).").
names() { sed -n "s/^.*\[ *$1 *\] \([A-Za-z_][A-Za-z0-9_]*\) *$/\1/p" "$2" | sort -u; }

# run_once LOG COMMAND...: sets code and seconds of the caller. With --resume, what ended before, by itself, is not run
# again.
run_once() {
    local log=$1 begin=$SECONDS of=''
    shift
    if [ "$wants_resume" -eq 1 ] && [ -f "$log.end" ]; then
        read -r code seconds of <"$log.end"
        if [ "$of" = "$revision" ] && [ "$code" -ne 124 ] && [ "$code" -ne 137 ]; then return 0; fi
    fi
    code=0
    timeout -k 10 "$limit" "$@" >"$log" 2>&1 &
    child=$!
    wait "$child" || code=$?
    child='' seconds=$((SECONDS - begin))
    [ -n "$stops" ] || echo "$code $seconds $revision" >"$log.end"
}

# run_program NAME TEST LOG COMMAND...: adds to num_run, passed, failed, skipped of the caller. A test that did not end
# is a failed one; so is a program without a test, or one that is content but exits with an error.
run_program() {
    local name=$1 test=$2 log=$3 code=0 seconds=0 total ok skips fails one reason
    shift 3
    run_once "$log" "$@"
    [ -z "$stops" ] || return 0
    num_run=$((num_run + 1))
    total=$(sed -n 's/^.*\[=*\] \([A-Za-z0-9_.]*: \)\{0,1\}Running \([0-9]*\) test.*/\2/p' "$log" | awk '{ n += $1 } END { print n + 0 }')
    ok=$(names OK "$log" | grep -c .) skips=$(names SKIPPED "$log" | grep -c .)
    fails=$((total - ok - skips))
    if [ "$fails" -le 0 ] && { [ "$code" -ne 0 ] || [ "$total" -eq 0 ] || [ "$fails" -lt 0 ]; }; then fails=1; fi
    passed=$((passed + ok)) skipped=$((skipped + skips)) failed=$((failed + fails))
    printf '    %-28s %s passed, %s failed, %s skipped, %d s\n' "$test" "$ok" "$fails" "$skips" "$seconds"
    for one in $(names SKIPPED "$log"); do # the reason stands in the line above
        reason=$(grep -m1 -B1 "SKIPPED *\] $one" "$log" | head -1 | sed 's/^skipped: //; s/|/ /g' | cut -c1-200)
        case $reason in *SKIPPED* | '[ RUN'*) reason='no reason given' ;; esac
        note "$name" "skipped: $test, $one: $reason"
    done
    [ "$fails" -gt 0 ] || return 0
    reason=$(names FAILED "$log" | paste -sd' ')
    if [ "$code" -ge 124 ]; then
        one=$(grep -o 'RUN *\] [A-Za-z_][A-Za-z0-9_]*' "$log" | tail -1 | sed 's/.* //')
        reason="$reason${reason:+, }exit code $code"
        [ "$seconds" -lt "$limit" ] || reason="${reason%exit code *}out of time ($limit s)"
        reason="$reason in ${one:-no test}"
    elif [ "$fails" -eq "$total" ] && [ "$total" -gt 1 ]; then
        reason="all $total of its tests"
    fi
    failure "$test: ${reason:-exit code $code, $total tests announced}"
    echo "    log: $log"
}

# Largest difference in nats between this implementation's log-densities and the first one's, of models of dw4 and lj13;
# 'none' if one of the 2 x 64 is missing or no number.
agreement() {
    local system worst=0 one
    for system in dw4 lj13; do
        if [ ! -f "$models/$system.safetensors" ]; then
            timeout "$limit" "$eqflow" data "$system" -n 64 -o "$models/$system.npy" --burn-in 200 --thinning 1 --quiet >/dev/null 2>&1
            timeout "$limit" "$eqflow" train "$system" --data "$models/$system.npy" -o "$models/$system.safetensors" --steps 3 \
                --batch-size 16 --quiet >/dev/null 2>&1 || { echo none; return; }
        fi
        rm -f "$scratch/l.npy"
        timeout "$limit" "$eqflow" log-prob "$models/$system.safetensors" --data "$models/$system.npy" -o "$scratch/l.npy" --quiet \
            >/dev/null 2>"$scratch/error" || { echo none; return; }
        [ -f "$models/$system.first" ] || cp "$scratch/l.npy" "$models/$system.first"
        one=$(paste <(od -An -v -tf4 -w4 -j128 "$models/$system.first") <(od -An -v -tf4 -w4 -j128 "$scratch/l.npy") |
            awk '$1 ~ /[0-9]/ && $2 ~ /[0-9]/ { n++; d = $1 - $2; if (d < 0) d = -d; if (d > worst) worst = d }
                END { if (n == 64) printf "%.2g", worst; else print "none" }')
        [ "$one" != none ] || { echo none; return; }
        worst=$(awk -v a="$worst" -v b="$one" 'BEGIN { print (a + 0 > b + 0 ? a : b) }')
    done
    echo "$worst"
}

run_device() { # NAME INDEX JSON
    local name=$1 index=$2 json=$3 num_run=0 passed=0 failed=0 skipped=0 off test code=0 seconds=0
    local selftest=$logs/$name-$index-selftest.log
    export EQFLOW_DEVICE=$index
    local device driver profile fp64
    device=$(value name "$index" "$json") driver=$(value driver_version "$index" "$json")
    profile=$(value profile "$index" "$json") fp64=$(value has_fp64 "$index" "$json")
    case $fp64 in true) fp64=yes ;; *) fp64=no ;; esac
    echo "$name: $device"
    off=$(agreement)
    if [ "$off" = none ]; then
        failure "log-densities could not be had: $(tail -1 "$scratch/error" 2>/dev/null | sed 's/; options, log and source.*//')"
    elif awk -v o="$off" 'BEGIN { exit !(o > 1e-4) }'; then
        failure "log-densities disagree"
    fi
    run_once "$selftest" "$eqflow" selftest
    [ "$code" -eq 0 ] || [ -n "$stops" ] || failure "self-test: $(tail -1 "$selftest" | sed 's/; options, log and source.*//')"
    for test in "${tests[@]}"; do
        [ -z "$stops" ] || break
        # shellcheck disable=SC2086 # no value of a test's has a space in it
        run_program "$name" "$test" "$logs/$name-$index-$test.log" env ${environment_of[$test]-} "${program_of[$test]}"
    done
    # Where no kernel builds one reason is enough: the log has the rest.
    if grep -q 'did not build' "$selftest"; then failures=("${failures[0]}" "with it all tests that need a kernel, $failed"); fi
    note_failures "$name"
    row "$name" "$device" "$driver" "$profile" "$fp64" "$num_run of ${#all_tests[@]}" "$passed" "$failed" "$skipped" "$off"
    if [ -z "$stops" ] && [ "$(value type "$index" "$json")" = gpu ]; then # what only such a machine can tell
        "$eqflow" bench --json >"$logs/bench-$name-$index.json" 2>/dev/null && echo "    benchmark: $logs/bench-$name-$index.json"
    fi
}

run_icd() { # ICD-FILE
    local name json=$scratch/devices.json num
    name=$prefix$(basename "$1" .icd)
    [[ $name == *"$only"* ]] || [ ! -f "$models/lj13.first" ] || return 0
    mkdir -p "$scratch/vendors" && rm -f "$scratch/vendors"/* && cp "$1" "$scratch/vendors/" # loaders want a folder
    export OCL_ICD_VENDORS=$scratch/vendors LD_LIBRARY_PATH=$loader_path
    case $1 in "$drivers"/*) LD_LIBRARY_PATH=$(dirname "$(cat "$1")")${loader_path:+:$loader_path} ;; esac
    [ "$name" != "${prefix}rusticl" ] || export RUSTICL_ENABLE=${RUSTICL_ENABLE:-llvmpipe}
    unset EQFLOW_DEVICE
    if ! timeout 300 "$eqflow" devices --json >"$json" 2>"$scratch/error"; then
        [[ $name == *"$only"* ]] || return 0
        note "$name" "skipped: all, $(sed 's/^eqflow devices: //; s/|/ /g' "$scratch/error" | tail -1 | cut -c1-160)"
        row "$name" '-' '-' '-' '-' "0 of ${#all_tests[@]}" 0 0 all '-'
        write_rows "$name"
        return 0
    fi
    if [[ $name != *"$only"* ]]; then # its log-densities are what the others' are compared with
        EQFLOW_DEVICE=0 agreement >/dev/null
        return 0
    fi
    num=$(grep -c '"index":' "$json")
    for ((d = 0; d < num; d++)); do run_device "$name" "$d" "$json"; done
    write_rows "$name"
}

loader_path=${LD_LIBRARY_PATH:-}
icds=("${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}"/*.icd "$drivers"/*/*.icd)

# oclgrind checks every memory access of a tiny program, and its log decides, as it exits with 0 whatever it finds. Not
# --uninitialized: 21.10 stops kernels with a "freeze" instruction there, and then blames the next ones.
run_oclgrind() {
    local name=oclgrind num_run=0 passed=0 failed=0 skipped=0 lines limit=$((4 * limit))
    [ -z "$prefix" ] && [[ $name == *"$only"* ]] || return 0
    unset OCL_ICD_VENDORS
    export LD_LIBRARY_PATH=$loader_path EQFLOW_DEVICE=0
    if ! command -v oclgrind >/dev/null; then
        note "$name" 'skipped: all, not installed (package oclgrind)'
        row "$name" '-' '-' '-' '-' "0 of ${#all_tests[@]}" 0 0 all '-'
    else
        echo "$name"
        rm -f "$logs"/oclgrind*
        run_program "$name" portability.tiny "$logs/oclgrind-output.log" \
            oclgrind --data-races --log "$logs/oclgrind.log" "$build/tests/test_portability_tiny"
        lines=$(grep -c . "$logs/oclgrind.log" 2>/dev/null)
        [ "${lines:-0}" -eq 0 ] || failure "portability.tiny: $lines lines in its log: $(grep -m1 . "$logs/oclgrind.log" | cut -c1-160)"
        timeout "$limit" oclgrind --data-races --log "$logs/oclgrind-planted.log" "$eqflow" selftest \
            --potential tests/support/reads_beyond.cl --particles 3 --space-dim 1 >/dev/null 2>&1
        grep -q '^Invalid read' "$logs/oclgrind-planted.log" || failure 'a planted mistake was not found'
        # The device must have been oclgrind's, or an empty log means nothing.
        grep -q '^device: Oclgrind' "$logs/oclgrind-output.log" || failure 'portability.tiny: on another device'
        note_failures "$name"
        row "$name" 'Oclgrind Simulator' "$(oclgrind --version | grep -Eo '[0-9]+\.[0-9]+' | head -1)" cpu/oclgrind yes \
            "$num_run of ${#all_tests[@]}" "$passed" "$failed" "$skipped" '-'
    fi
    write_rows "$name"
}

# Debian 13 in a root of its own. The tree is copied into it, built there with Debian 13's compiler, and this script runs
# there with the same options; its rows come back.
run_debian13() {
    local root=$drivers/debian13 log=$logs/debian13.log inner=() reason='' line name
    if [ "$(id -u)" -ne 0 ] || ! command -v debootstrap >/dev/null || ! command -v unshare >/dev/null; then
        reason='needs root, debootstrap and unshare'
    elif [ ! -f "$root/complete" ]; then
        mkdir -p "$root"
        if debootstrap --variant=minbase trixie "$root" "${EQFLOW_DEBIAN_MIRROR:-http://deb.debian.org/debian}" >"$log" 2>&1; then
            touch "$root/complete"
        else
            reason="debootstrap failed, see $log"
        fi
    fi
    if [ -n "$reason" ]; then
        note debian13 "skipped: all, $reason"
        row debian13 '-' '-' '-' '-' "0 of ${#all_tests[@]}" 0 0 all '-'
        write_rows debian13
        return
    fi
    mkdir -p "$root/eqflow" "$root/models" && rm -rf "$root/eqflow/docs" "$root/models/"*
    git ls-files -z | tar --null --files-from=- -cf - | tar -xf - -C "$root/eqflow"
    sed -i '/^| debian13/d; /^ - debian13/d' "$root/eqflow/docs/devices.md"
    cp "$models"/*.safetensors "$models"/*.npy "$models"/*.first "$root/models/" 2>/dev/null
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    inner=(--limit "$limit")
    [ -z "$pattern" ] || inner+=(-R "$pattern")
    [ -z "$only" ] || inner+=(--only "$only")
    [ "$wants_resume" -eq 0 ] || inner+=(--resume)
    # The mounts are of a namespace that ends with its process.
    # shellcheck disable=SC2016 # expanded there
    unshare --mount --propagation private bash -c '
        mount -t proc proc "$0/proc" && mount -t sysfs sysfs "$0/sys" && mount --rbind /dev "$0/dev" || exit 2
        exec chroot "$0" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            http_proxy="${http_proxy:-}" EQFLOW_MATRIX_PREFIX=debian13- EQFLOW_MATRIX_MODELS=/models \
            EQFLOW_MATRIX_REVISION="$1" bash -c "set -euo pipefail; cd /eqflow; . cmake/setup.sh
                install_packages \"\${build_packages[@]}\" libcmocka-dev jq mesa-opencl-icd
                build_release all -DBUILD_TESTING=ON
                exec tests/matrix.sh \"\$@\"" matrix "${@:2}"' "$root" "$revision" --write "${inner[@]}" ||
        num_failures=$((num_failures + 1)) # of a test, which its row names, or of the build
    while IFS= read -r line; do
        case $line in
        '| debian13-'*"$revision |") rows+=("$line") ;;
        ' - debian13-'*) notes+=("$line") ;;
        esac
    done <"$root/eqflow/docs/devices.md"
    if ! printf '%s\n' "${rows[@]}" | grep -q '^| debian13-'; then
        note debian13 'skipped: all, it could not be built there'
        row debian13 '-' '-' '-' '-' "0 of ${#all_tests[@]}" 0 0 all '-'
        write_rows debian13
    fi
    for name in $(printf '%s\n' "${rows[@]}" | sed -n 's/^| \(debian13-[^ ]*\) .*/\1/p' | sort -u); do write_rows "$name"; done
}

# The slowest last.
for icd in "${icds[@]}"; do [[ -n $stops || ! -f $icd || $icd == */rusticl.icd ]] || run_icd "$icd"; done
[ -n "$stops" ] || run_oclgrind
for icd in "${icds[@]}"; do [[ -n $stops || ! -f $icd || $icd != */rusticl.icd ]] || run_icd "$icd"; done
[ -n "$stops" ] || [ "$wants_debian13" -eq 0 ] || run_debian13

# ---- The table ----
echo
echo '| implementation | device | driver | profile | fp64 | programs | passed | failed | skipped | log-densities off by (nat) | run on, of |'
echo '|---|---|---|---|---|---|---|---|---|---|---|'
printf '%s\n' "${rows[@]}" '' "${notes[@]}"
[ -z "$stops" ] || exit 130
[ "$num_failures" -eq 0 ]
