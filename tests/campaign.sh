#!/usr/bin/env bash
# The campaign: what takes too long for test.sh. tests/campaign.sh BUILD-FOLDER [HOURS]
#   every fallible call fails (tests/torture/torture.sh --long), kills at random moments (1,000, with a seed of the
#     day), fuzzers for the
#   rest of the time if BUILD-FOLDER was made with clang and -DEQFLOW_FUZZ=ON. One line a part; ends with 1 if any part
#     found something.
set -u
build=$(cd "${1:?the build folder}" && pwd) hours=${2:-8}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
program=$build/apps/eqflow/eqflow
[ -x "$program" ] || { echo "there is no program in $build: build it first"; exit 2; }
result=0
start=$(date +%s)
log=$build/campaign-$(date +%Y%m%d)
mkdir -p "$log"
part() { # NAME COMMAND...
    local name=$1
    shift
    if "$@" >"$log/$name.txt" 2>&1; then echo "ok    $name: $(tail -1 "$log/$name.txt")"; else
        echo "FOUND $name: $log/$name.txt"
        result=1
    fi
}
seed=$(date +%Y%m%d)
part torture bash "$here/torture/torture.sh" "$program" "$build/tests/libfailing_calls.so" --long
part kills bash "$here/torture/kills.sh" "$program" 1000 "$seed"
fuzzers=("$build"/tests/fuzz_*)
if [ -x "${fuzzers[0]}" ]; then
    left=$((start + hours * 3600 - $(date +%s)))
    for fuzzer in "${fuzzers[@]}"; do
        name=$(basename "$fuzzer")
        mkdir -p "$log/$name"
        [ $left -gt 60 ] && part "$name" "$fuzzer" "-max_total_time=$((left / ${#fuzzers[@]}))" -print_final_stats=1 "-artifact_prefix=$log/$name-" "$log/$name"
    done
else
    echo "--    no fuzzers in $build (CC=clang cmake -DEQFLOW_FUZZ=ON)"
fi
exit $result
