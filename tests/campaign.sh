#!/usr/bin/env bash
# The campaign, what takes too long for test.sh: campaign.sh BUILD-FOLDER [MINUTES [PART...]]
# (480: a night; all parts: torture kills cold_cache kills_mpi tsan fuzz afl)
# One knob: the parts share the minutes. Every fallible call fails (tests/torture/torture.sh --long, a fifth; the next
# campaign of the same build folder goes on where this one stopped), kills at random moments (up to 1,000 with the day as
# seed, a quarter), processes on one cold cache and killed ranks (a twentieth each; ranks if the build has MPI), two
# contexts under ThreadSanitizer, and fuzzers for the rest: libFuzzer's (built here with clang, in BUILD-FOLDER/fuzz),
# and AFL++'s for a fifth of it. What they find is kept, and what they reach is merged into the corpora by
# tests/fuzz/keep.sh. One line a part, and the same in BUILD-FOLDER/campaign-DAY/summary.txt; ends with 1 if any part
# found something.
set -u
build=$(cd "${1:?the build folder}" && pwd) minutes=${2:-480}
shift $(($# < 2 ? $# : 2))
parts=" $* "
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$build/apps/eqflow/eqflow
[ -x "$program" ] || { echo "there is no program in $build: build it first"; exit 2; }
case $minutes in '' | *[!0-9]*) echo "$minutes: how many minutes?" && exit 2 ;; esac
result=0
seconds=$((minutes * 60))
log=$build/campaign-$(date +%Y%m%d)
mkdir -p "$log"
: >"$log/summary.txt"
left() { echo $((seconds - SECONDS)); }
say() { echo "$*" | tee -a "$log/summary.txt"; }
wants() { [ -z "${parts// /}" ] || [[ $parts == *" $1 "* ]]; }
part() { # NAME COMMAND...
    local name=$1 code start=$SECONDS
    shift
    "$@" >"$log/$name.txt" 2>&1
    code=$?
    case $code in
        0) say "ok    $name ($((SECONDS - start)) s): $(tail -1 "$log/$name.txt")" ;;
        77) say "--    $name: $(tail -1 "$log/$name.txt")" ;;
        *)
            say "FOUND $name: exit code $code, $log/$name.txt: $(tail -1 "$log/$name.txt")"
            result=1
            ;;
    esac
}
say "campaign of $minutes minutes, $(cd "$here" && git rev-parse --short HEAD 2>/dev/null || echo 'no git'), $(date +%F)"
seed=$(date +%Y%m%d)
failing=$build/tests/libfailing_calls.so
wants torture && part torture env TORTURE_SECONDS=$((seconds / 5)) TORTURE_STATE="$build/campaign-torture.state" \
    bash "$here/torture/torture.sh" "$program" "$failing" --long
wants kills && part kills bash "$here/torture/kills.sh" "$program" 1000 "$seed" "$failing" $((seconds / 4))
wants cold_cache && part cold_cache bash "$here/torture/cold_cache.sh" "$program" 50 "$seed" $((seconds / 20))
if ! wants kills_mpi; then
    :
elif grep -q '^EQFLOW_MPI:BOOL=ON' "$build/CMakeCache.txt" 2>/dev/null; then
    part kills_mpi bash "$here/torture/kills_mpi.sh" "$program" 100 "$seed" $((seconds / 20))
else
    say "--    kills_mpi: $build was made without -DEQFLOW_MPI=ON"
fi
wants tsan && part tsan bash "$here/threads/tsan.sh" "$here/.." "$build"

# Fuzzers share what is left. Short inputs are many a second; longest: what the format needs to be whole.
targets=(npy xyz model checkpoint cache_entry profile tuning potential_text options)
shares=(3 5 20 28 2 13 5 19 5) # of a hundred, so that all come as far (docs/reliability.md)
clang=$(command -v clang || true)
if ! wants fuzz; then
    :
elif [ -n "$clang" ] && [ "$(left)" -gt 30 ]; then
    fuzz=$build/fuzz
    names=()
    for target in "${targets[@]}"; do names+=("fuzz_$target"); done
    launcher=$(command -v ccache || true)
    part fuzz_build sh -c "cmake -S '$here/..' -B '$fuzz' -DCMAKE_C_COMPILER='$clang' -DCMAKE_BUILD_TYPE=RelWithDebInfo -DEQFLOW_FUZZ=ON \
        -DBUILD_TESTING=ON ${launcher:+-DCMAKE_C_COMPILER_LAUNCHER=$launcher} && cmake --build '$fuzz' -j2 --target ${names[*]}"
    rest=$(left)
    for n in "${!targets[@]}"; do
        target=${targets[$n]}
        mkdir -p "$build/campaign-corpus/$target"
        case $target in model | checkpoint) longest=4096 ;; npy) longest=6144 ;; *) longest=512 ;; esac
        each=$((rest * 4 / 5 * shares[n] / 100))
        [ $each -gt 1 ] || each=2
        part "fuzz_$target" "$fuzz/tests/fuzz/fuzz_$target" "-max_total_time=$each" "-max_len=$longest" -timeout=20 -print_final_stats=1 \
            "-artifact_prefix=$log/$target-" "$build/campaign-corpus/$target" "$here/fuzz/corpus/$target"
        value() { sed -n "s/^stat::$1: *//p" "$log/fuzz_$target.txt"; }
        say "      $target: $(value number_of_executed_units) of 100000000 executions, $(value average_exec_per_sec) a second"
    done
    [ $result -ne 0 ] || part keep bash "$here/fuzz/keep.sh" "$fuzz" "$build/campaign-corpus"
else
    say "--    no clang, or no time left: no libFuzzer"
fi
if ! wants afl; then
    :
elif [ "$(left)" -gt 0 ]; then
    each=$(($(left) / ${#targets[@]}))
    part afl bash "$here/fuzz/afl.sh" "$here/.." "$build" $((each > 2 ? each : 2))
    sed -n 's/^\([a-z_]*: [0-9]* executions\)/      AFL++ \1/p' "$log/afl.txt" | tee -a "$log/summary.txt"
else
    say "--    no time left: no AFL++"
fi
say "$SECONDS s; $([ $result -eq 0 ] && echo 'nothing was found' || echo 'something was found')"
exit $result
