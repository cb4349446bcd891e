#!/usr/bin/env bash
# The same targets under AFL++: afl.sh SOURCE-FOLDER BUILD-FOLDER [SECONDS-A-TARGET [TARGET...]]     (10 seconds each)
# Builds replay_* in BUILD-FOLDER/afl with afl-cc, persistent mode, inputs in shared memory; each starts from its
# corpus. Ends with 1 if one crashes or hangs, which lies in BUILD-FOLDER/afl/out. Exit code 77: skipped.
set -u
source=$(cd "${1:?the source folder}" && pwd) build=${2:?the build folder}/afl seconds=${3:-10}
shift $(($# < 3 ? $# : 3))
compiler=$(command -v afl-clang-fast || command -v afl-cc || true)
[ -n "$compiler" ] && command -v afl-fuzz >/dev/null || { echo "skipped: no AFL++ (Debian: afl++)"; exit 77; }
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(npy xyz model checkpoint cache_entry profile tuning potential_text options)
mkdir -p "$build"
names=()
for target in "${targets[@]}"; do names+=("replay_$target"); done
export AFL_QUIET=1
cmake -S "$source" -B "$build" -DCMAKE_C_COMPILER="$compiler" -DCMAKE_BUILD_TYPE=Release -DBUILD_TESTING=ON -DEQFLOW_WARNINGS_AS_ERRORS=OFF \
    >"$build/configure.log" 2>&1 && cmake --build "$build" -j2 --target "${names[@]}" >"$build/build.log" 2>&1 ||
    { echo "skipped: $compiler does not build it: $(grep -m1 -i error "$build/configure.log" "$build/build.log")"; exit 77; }
export AFL_SKIP_CPUFREQ=1 AFL_I_DONT_CARE_ABOUT_MISSING_CRASHES=1 AFL_NO_UI=1 AFL_NO_AFFINITY=1
result=0
for target in "${targets[@]}"; do
    rm -rf "$build/in/$target" "$build/out/$target"
    mkdir -p "$build/in/$target" "$build/out"
    cp "$source/tests/fuzz/corpus/$target"/* "$build/in/$target/" 2>/dev/null || printf '{' >"$build/in/$target/brace"
    afl-fuzz -i "$build/in/$target" -o "$build/out/$target" -V "$seconds" -t 2000 -- "$build/tests/fuzz/replay_$target" >"$build/out/$target.log" 2>&1
    stats=$build/out/$target/default/fuzzer_stats
    if [ ! -e "$stats" ]; then
        echo "$target: afl-fuzz did not start: $(grep -m1 -i 'abort\|error' "$build/out/$target.log")"
        result=1
        continue
    fi
    value() { awk -v key="$1" '$1 == key { print $3 }' "$stats"; }
    echo "$target: $(value execs_done) executions, $(value edges_found) edges, $(value saved_crashes) crashes, $(value saved_hangs) hangs"
    [ "$(value saved_crashes)" -eq 0 ] && [ "$(value saved_hangs)" -eq 0 ] && [ "$(value execs_done)" -gt 0 ] || result=1
done
exit $result
