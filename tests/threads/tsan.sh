#!/usr/bin/env bash
# ThreadSanitizer over two contexts in two threads: tsan.sh SOURCE-FOLDER BUILD-FOLDER. Builds the library anew in
# BUILD-FOLDER/tsan. Reports about drivers are suppressed (tests/support/tsan.supp says why); 0 others are allowed.
# Exit code 77: skipped.
set -u
source=$(cd "${1:?the source folder}" && pwd) build=${2:?the build folder}/tsan
mkdir -p "$(dirname "$build")"
echo 'int main(void) { return 0; }' >"$build.probe.c"
if ! "${CC:-cc}" -fsanitize=thread "$build.probe.c" -o "$build.probe" 2>/dev/null; then
    rm -f "$build.probe.c"
    echo "skipped: ${CC:-cc} has no ThreadSanitizer"
    exit 77
fi
setarch=()
# ThreadSanitizer keeps memory of its own at fixed addresses, which a random layout of memory may take.
if ! "$build.probe" 2>/dev/null; then setarch=(setarch "$(uname -m)" -R); fi
"${setarch[@]}" "$build.probe" 2>/dev/null || { echo "skipped: ThreadSanitizer does not run on this kernel"; exit 77; }
rm -f "$build.probe" "$build.probe.c"
launcher=$(command -v ccache || true)
cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_FLAGS="-fsanitize=thread -fno-omit-frame-pointer" \
    -DCMAKE_EXE_LINKER_FLAGS=-fsanitize=thread -DBUILD_TESTING=ON ${launcher:+-DCMAKE_C_COMPILER_LAUNCHER=$launcher} >"$build.log" 2>&1 &&
    cmake --build "$build" -j2 --target test_threads_contexts planted_race >>"$build.log" 2>&1 || { tail -5 "$build.log"; exit 1; }
export TSAN_OPTIONS="suppressions=$source/tests/support/tsan.supp exitcode=66 history_size=4 report_signal_unsafe=0 second_deadlock_stack=1"
# A race of our own would be seen.
if "${setarch[@]}" "$build/tests/planted_race" >"$build.planted" 2>&1 || ! grep -q 'data race' "$build.planted"; then
    echo "a planted race is not found: $(head -3 "$build.planted")"
    exit 1
fi
"${setarch[@]}" "$build/tests/test_threads_contexts" >"$build.out" 2>&1
code=$?
num=$(grep -c 'WARNING: ThreadSanitizer' "$build.out")
if grep -q 'skipped:' "$build.out"; then
    tail -1 "$build.out"
    exit 77
fi
if [ $code -ne 0 ] || [ "$num" -ne 0 ]; then
    grep -A12 'WARNING: ThreadSanitizer\|FAILED\|fail' "$build.out" | head -60
fi
echo "exit code $code, $num reports"
[ $code -eq 0 ] && [ "$num" -eq 0 ]
