#!/usr/bin/env bash
# The campaign, one night's run: what takes too long for test.sh. tests/campaign.sh BUILD-FOLDER [HOURS]     (8 hours):
# every fallible call fails (tests/torture/torture.sh --long), kills at random moments (1,000, with a seed of the day),
# processes on one cold cache, ranks killed if BUILD-FOLDER was made with MPI, two contexts under ThreadSanitizer, and
# fuzzers for the rest of the time: libFuzzer's (built here with clang, in BUILD-FOLDER/fuzz) and AFL++'s. What they
# find is kept and merged into the corpora there: tests/fuzz/keep.sh takes it into the repository. One line a part;
# ends with 1 if any part found something.
set -u
build=$(cd "${1:?the build folder}" && pwd) hours=${2:-8}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$build/apps/eqflow/eqflow
[ -x "$program" ] || { echo "there is no program in $build: build it first"; exit 2; }
result=0
start=$(date +%s)
log=$build/campaign-$(date +%Y%m%d)
mkdir -p "$log"
left() { echo $((start + hours * 3600 - $(date +%s))); }
part() { # NAME COMMAND...
    local name=$1 code
    shift
    "$@" >"$log/$name.txt" 2>&1
    code=$?
    case $code in
        0) echo "ok    $name: $(tail -1 "$log/$name.txt")" ;;
        77) echo "--    $name: $(tail -1 "$log/$name.txt")" ;;
        *)
            echo "FOUND $name: $log/$name.txt"
            result=1
            ;;
    esac
}
seed=$(date +%Y%m%d)
part torture bash "$here/torture/torture.sh" "$program" "$build/tests/libfailing_calls.so" --long
part kills bash "$here/torture/kills.sh" "$program" 1000 "$seed"
part cold_cache bash "$here/torture/cold_cache.sh" "$program" 50 "$seed"
if grep -q '^EQFLOW_MPI:BOOL=ON' "$build/CMakeCache.txt" 2>/dev/null; then
    part kills_mpi bash "$here/torture/kills_mpi.sh" "$program" 100 "$seed"
else
    echo "--    kills_mpi: $build was made without -DEQFLOW_MPI=ON"
fi
part tsan bash "$here/threads/tsan.sh" "$here/.." "$build"

# Fuzzers share what is left, a fifth of it for AFL++.
targets=(npy xyz model checkpoint cache_entry profile tuning potential_text options)
clang=$(command -v clang || true)
if [ -n "$clang" ] && [ "$(left)" -gt 120 ]; then
    fuzz=$build/fuzz
    names=()
    for target in "${targets[@]}"; do names+=("fuzz_$target"); done
    part fuzz_build sh -c "cmake -S '$here/..' -B '$fuzz' -DCMAKE_C_COMPILER='$clang' -DCMAKE_BUILD_TYPE=RelWithDebInfo -DEQFLOW_FUZZ=ON \
        -DBUILD_TESTING=ON && cmake --build '$fuzz' -j2 --target ${names[*]}"
    each=$(($(left) * 4 / 5 / ${#targets[@]}))
    for target in "${targets[@]}"; do
        mkdir -p "$log/corpus/$target"
        case $target in model) longest=8192 ;; checkpoint) longest=16384 ;; npy) longest=6144 ;; *) longest=2048 ;; esac
        part "fuzz_$target" "$fuzz/tests/fuzz/fuzz_$target" "-max_total_time=$each" "-max_len=$longest" -timeout=20 -print_final_stats=1 \
            "-artifact_prefix=$log/$target-" "$log/corpus/$target" "$here/fuzz/corpus/$target"
        echo "      $target: $(sed -n 's/^stat::number_of_executed_units: //p' "$log/fuzz_$target.txt") of 100000000 executions"
    done
else
    echo "--    no clang, or no time left: no libFuzzer"
fi
[ "$(left)" -gt 60 ] && part afl bash "$here/fuzz/afl.sh" "$here/.." "$build" $(($(left) / ${#targets[@]}))
exit $result
