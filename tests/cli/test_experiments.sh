#!/usr/bin/env bash
# The experiments at the smallest sizes: tables, pictures, nothing done twice, going on after an interruption, mistypes.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
command -v jq >/dev/null || skip "jq is not installed"
command -v gnuplot >/dev/null || skip "gnuplot is not installed"
run=$source_root/apps/experiments/run.sh

# The program with a list of its calls.
real=$(readlink -f "$(command -v "$eqflow")")
printf '#!/bin/sh\necho "$*" >>"%s/calls.txt"\nexec "%s" "$@"\n' "$work" "$real" >counted
chmod +x counted
num_calls() { grep -Ec "^$1 " calls.txt; }

# rows FILE NUM: a table of NUM rows, each cell a word or a finite number.
rows() {
    local num
    num=$(($(wc -l <"$1") - 1))
    if [ "$num" -eq "$2" ]; then pass; else fail "$1 has $num rows, expected $2: $(cat "$1")"; fi
    if grep -Eiq '(^|,)-?(nan|inf)' "$1"; then fail "$1 has numbers that are not finite: $(cat "$1")"; else pass; fi
    if awk -F, 'NR == 1 { n = NF } NF != n { bad = 1 } END { exit bad }' "$1"; then pass; else fail "$1 is ragged: $(cat "$1")"; fi
}

# outputs FOLDER NAME
outputs() {
    if grep -q '</svg>' "$1/$2.svg" && [ "$(head -c 4 "$1/$2.png" | tail -c 3)" = PNG ]; then pass; else fail "$1: no pictures"; fi
    if [ "$(grep -c '^|' "$1/table.md")" -ge 3 ]; then pass; else fail "$1: no table.md"; fi
    if grep -q '^eqflow train ' "$1/commands.txt"; then pass; else fail "$1: no commands"; fi
}

checksums() { (cd "$1" && find . -type f -exec cksum {} + | sort); }

small="--quick --steps 6 --dense-steps 3 --samples 40 --program ./counted --quiet"
for name in invariance data-efficiency boltzmann metastable dto-otd; do
    # shellcheck disable=SC2086
    succeed "$run" $name $small -o $name || { cat stderr; finish; }
    outputs $name $name
done
# shellcheck disable=SC2086
succeed "$run" message $small --fields radial,message-1 --systems dw2 -o message || { cat stderr; finish; }
outputs message message
rows message/table.csv 2
if awk -F, 'NR == 1 { for (c = 1; c <= NF; c++) if ($c == "samples_a_second") at = c; next } !(at && $at > 0) { bad = 1 }
    END { exit bad || NR < 2 }' message/table.csv; then pass; else fail "samples a second: $(cat message/table.csv)"; fi
rows invariance/table.csv 12
rows data-efficiency/table.csv 6
rows boltzmann/table.csv 4
rows metastable/table.csv 7
rows dto-otd/gradients.csv 4
rows dto-otd/divergences.csv 4
within "$(awk -F, '$2 == "radial" && $3 == "permutation" { print $7 }' invariance/table.csv)" 0 1e-4 "radial field, permuted (nats)"
within "$(awk -F, '$2 == "dense" && $3 == "permutation" { print $7 }' invariance/table.csv)" 1e-3 1e9 "dense field, permuted (nats)"
within "$(awk -F, '$2 == "noise" { print $4 }' metastable/table.csv)" 1 1 "distinct minima in the noise"
within "$(awk -F, '$3 == "rademacher" { print $7 }' dto-otd/divergences.csv)" 1e-6 1e9 "noise of Hutchinson's estimate (nats)"
within "$(awk -F, '$3 == "brute force" { print $7 }' dto-otd/divergences.csv)" 0 0 "noise of the exact divergence (nats)"

# Again: nothing runs, nothing changes.
for name in boltzmann dto-otd; do
    checksums $name >before
    : >calls.txt
    # shellcheck disable=SC2086
    succeed "$run" $name $small -o $name
    checksums $name >after
    if cmp -s before after; then pass; else fail "$name, again: $(diff before after)"; fi
    if grep -Evq '^(version|devices) ' calls.txt; then fail "$name, again: $(cat calls.txt)"; else pass; fi
done

# Other options: what depends on them runs again, the rest does not.
: >calls.txt
# shellcheck disable=SC2086
succeed "$run" invariance $small --steps 7 -o invariance
within "$(num_calls data)" 0 0 "data made again"
within "$(num_calls train)" 1 1 "fields trained again"
within "$(num_calls evaluate)" 1 1 "models evaluated again"
# A lost or changed file is made again, and what was made of it.
rm invariance/dw4-dense-1.safetensors
: >calls.txt
# shellcheck disable=SC2086
succeed "$run" invariance $small --steps 7 -o invariance
within "$(num_calls train)" 1 1 "trainings of a lost model"
within "$(num_calls evaluate)" 0 0 "evaluations of the same model"
cp data-efficiency/dw4-100-1.npy invariance/dw4-1.npy
: >calls.txt
# shellcheck disable=SC2086
succeed "$run" invariance $small --steps 7 -o invariance
within "$(num_calls train)" 3 3 "trainings on changed data"

# Interrupted in training: the same command goes on from the checkpoint.
: >calls.txt
long="data-efficiency --quick --systems dw2 --sizes 100 --fields radial --steps 8000 --samples 40 --program ./counted -o long"
# shellcheck disable=SC2086
"$run" $long >stdout 2>stderr </dev/null &
child=$!
children="$children $child"
for _ in $(seq 1200); do
    grep -q '^train ' calls.txt && [ -s long/dw2-radial-100-1.csv ] && break
    sleep 0.05
done
kill -TERM "$child"
wait "$child"
code=$?
if [ $code -eq 130 ] && tail -n 1 stderr | grep -q 'interrupted; the same command goes on'; then pass; else fail "SIGTERM: exit code $code: $(cat stderr)"; fi
if [ -f long/dw2-radial-100-1.safetensors.checkpoint ] && [ ! -e long/steps/train-dw2-radial-100-1.json ]; then pass; else fail "after SIGTERM: $(ls long long/steps)"; fi
: >calls.txt
# shellcheck disable=SC2086
succeed "$run" $long
within "$(num_calls data)" 0 0 "data made again after an interruption"
if grep -q '^train .* --resume' calls.txt; then pass; else fail "training did not go on: $(cat calls.txt)"; fi
within "$(jq .result.num_steps long/steps/train-dw2-radial-100-1.json)" 8000 8000 "steps in the end"

# Usage.
expect 2 'EXPERIMENT is missing' "$run"
expect 2 "unknown experiment 'learning'" "$run" learning
expect 2 "one experiment at a time" "$run" invariance boltzmann
expect 2 'unknown option --fast' "$run" invariance --fast
expect 2 '--steps needs a value' "$run" invariance --steps
for value in 0 -1 x 1.5 '1 2' 12345678901; do expect 2 '--steps' "$run" invariance --steps "$value"; done
expect 2 "--systems dw4,dw5: 'dw5' is not one of" "$run" invariance --systems dw4,dw5
expect 2 "'lj55' is not one of" "$run" metastable --systems=lj55
expect 2 "--fields radial,graph: 'graph' is not one of" "$run" invariance --fields radial,graph
expect 2 '--sizes 3: at least 4' "$run" data-efficiency --sizes 3
expect 2 'one number of samples' "$run" invariance --sizes 10,100
expect 2 '--samples 5: 20 or more' "$run" invariance --samples 5
expect 1 'there is no such program' "$run" invariance --program ./nowhere -o new
expect 1 'is it eqflow' "$run" invariance --program /bin/true -o new
: >file
expect 4 'cannot write into file' "$run" invariance --quick --program "$real" -o file
expect 5 'no device|names|nothing' "$run" invariance --quick --program "$real" --device no-such-device -o new
mkdir few
for tool in bash basename dirname readlink cat; do ln -s "$(command -v $tool)" few/; done
expect 1 'jq is not installed' env PATH="$work/few" bash "$run" invariance
ln -s "$(command -v jq)" few/
expect 1 'gnuplot is not installed' env PATH="$work/few" bash "$run" invariance
succeed "$run" --help
if awk 'length > 80' stdout | grep -q .; then fail "--help: wider than 80 columns: $(awk 'length > 80' stdout | head -1)"; else pass; fi
succeed "$run" metastable --dry-run --quick
if grep -q '^eqflow minima dw4 -n 1000 --seed 1000$' stdout; then pass; else fail "--dry-run: $(cat stdout)"; fi
finish
