#!/usr/bin/env bash
# Lines of src/ that the quick suite runs: tests/coverage.sh [BUILD-FOLDER [CTEST-PATTERN]]     (build-coverage; the
# suite without "long") Builds with gcov's counters, runs the tests, and holds each room of src/, and all of it,
# against the floors of tests/coverage.floors. One line a room: lines run, of how many, per cent, floor. Ends with 1 if
# one is below its floor. With a pattern: no floors.
set -u
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=${1:-$source/build-coverage} pattern=${2:-}
command -v gcov >/dev/null || { echo "skipped: no gcov"; exit 77; }
launcher=$(command -v ccache || true)
cmake -S "$source" -B "$build" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS="--coverage -fprofile-update=atomic -O1" -DBUILD_TESTING=ON -DEQFLOW_WARNINGS_AS_ERRORS=OFF \
    ${launcher:+-DCMAKE_C_COMPILER_LAUNCHER=$launcher} >/dev/null &&
    cmake --build "$build" -j2 >"$build/build.log" 2>&1 || { echo "no build: $build/build.log"; exit 1; }
find "$build" -name '*.gcda' -delete
select=(-LE 'long|install')
[ -z "$pattern" ] || select+=(-R "$pattern")
ctest --test-dir "$build" --parallel 2 "${select[@]}" -Q --output-log "$build/tests.log" >/dev/null 2>&1
grep -E '% tests passed' "$build/tests.log" || true
# gcov -t: the source with a count before each line; "#####" is a line that was not run, "-" none that could be.
report=$build/coverage.txt
: >"$report"
while IFS= read -r data; do
    gcov -t "$data" 2>/dev/null
done < <(find "$build/src" -name '*.gcda') | awk -v source="$source/" '
    { split($0, part, ":") }
    part[2] + 0 == 0 && part[3] == "Source" {
        file = $0
        sub(/^[^:]*:[^:]*:Source:/, "", file)
        is_ours = index(file, source "src/") == 1 || file ~ /^(\.\.\/)*src\//
        sub(/^.*src\//, "src/", file)
        next
    }
    is_ours && part[2] + 0 > 0 {
        gsub(/ /, "", part[1])
        if (part[1] == "-") next
        place = file ":" part[2] + 0
        known[place] = 1
        if (part[1] !~ /^[#=]/) run[place] = 1
    }
    END {
        for (place in known) {
            room = place
            sub(/^src\//, "", room)
            sub(/\/.*$/, "", room)
            total[room]++
            total["all"]++
            if (place in run) { done[room]++; done["all"]++ }
        }
        for (room in total) printf "%s %d %d %.1f\n", room, done[room], total[room], 100 * done[room] / total[room]
    }' | sort >"$report"
[ -s "$report" ] || { echo "nothing was measured"; exit 1; }
result=0
while read -r room ran total share; do
    floor=$(awk -v room="$room" '$1 == room { print $2 }' "$source/tests/coverage.floors")
    [ -z "$pattern" ] || floor=0
    if [ -z "$floor" ]; then
        echo "$room $ran of $total lines, $share %: it has no floor in tests/coverage.floors"
        result=1
    elif awk -v share="$share" -v floor="$floor" 'BEGIN { exit share + 0 >= floor + 0 }'; then
        echo "$room $ran of $total lines, $share %: BELOW its floor of $floor"
        result=1
    else
        echo "$room $ran of $total lines, $share % (floor $floor)"
    fi
done <"$report"
exit $result
