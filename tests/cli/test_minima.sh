#!/usr/bin/env bash
# eqflow minima as a user types it: presets, files, models, what it writes, every way to mistype it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" minima dw4 -n 300 --json --seed 1 --xyz minima.xyz --quiet || finish
within "$(json num_minima stdout)" 5 5 "dw4: distinct minima"
within "$(json num_at_minima stdout)" 300 300 "dw4: configurations at a minimum"
for energy in -25.7922 -25.3124 -24.3524 -23.4654 -21.0664; do # printf's rounding is cut off, not rounded again
    if grep -q "\"energy\": $energy" stdout; then pass; else fail "dw4: no minimum at $energy: $(cat stdout)"; fi
done
if [ "$(grep -c '^4$' minima.xyz)" -eq 5 ] && grep -q 'energy=-25.7922' minima.xyz; then
    pass
else
    fail "minima.xyz: $(head -3 minima.xyz)"
fi
cp stdout first
succeed "$eqflow" minima dw4 -n 300 --json --seed 1 --xyz minima.xyz --quiet
same stdout first "the same seed"
succeed "$eqflow" minima dw4 -n 300 --rows 2 --quiet
num_rows=$(grep -c '^ .*-2[0-9]\.' stdout)
if [ "$num_rows" -eq 2 ] && grep -q 'and 3 more' stdout; then pass; else fail "--rows 2: $(cat stdout)"; fi

succeed "$eqflow" minima lj13 --particles 4 --epsilon 1 --trap 0 -n 20 --json --quiet
within "$(json num_minima stdout)" 1 1 "four Lennard-Jones particles: distinct minima"
if grep -Eq '"energy": -(6\.0|5\.999999)' stdout; then pass; else fail "the tetrahedron: $(cat stdout)"; fi

# Two particles of two starts come together at one distance.
f4_configurations | npy '<f4' False '(2, 2, 2)' pairs.npy
succeed "$eqflow" minima pairs.npy --preset dw2 --json --quiet
within "$(json num_configurations stdout)" 2 2 "configurations of a file"
# The minimum of each: as many rows as configurations, the counts those of the table, ends that are minima already.
succeed "$eqflow" minima dw4 -n 200 --seed 2 --each each.csv --quenched ends.npy --json --quiet
grep -oE '"count": [0-9]+' stdout | awk '{ print $2 }' >counts
awk -F, 'NR > 1 && $2 != "" { n[$2]++ } END { for (m = 1; m in n; m++) print n[m] }' each.csv >counts_of_each
same counts counts_of_each "the counts of --each and of the table"
within "$(wc -l <each.csv)" 201 201 "lines of --each"
succeed "$eqflow" minima ends.npy --preset dw4 --each again.csv --json --quiet
if paste -d, each.csv again.csv | awk -F, 'NR > 1 && $2 != "" { d = $3 - $7; if ($2 != $6 || d * d > 1e-10) bad = 1 } END { exit bad }'; then pass; else fail "quenched again: $(paste -d, each.csv again.csv | head -5)"; fi
succeed "$eqflow" minima pairs.npy --preset dw2 -n 1 --json --quiet
within "$(json num_configurations stdout)" 1 1 "configurations of a file with -n 1"
succeed "$eqflow" data dw2 -n 200 -o good.npy --quiet
succeed "$eqflow" train dw2 --data good.npy -o good.safetensors --steps 5 --batch-size 16 --quiet
succeed "$eqflow" minima good.safetensors -n 50 --json --quiet
within "$(json num_minima stdout)" 1 2 "dw2: distinct minima of a model's samples"
succeed "$eqflow" minima good.safetensors --random-starts -n 50 --json --quiet
within "$(json num_at_minima stdout)" 50 50 "random starts for a model"

expect 2 'is missing' "$eqflow" minima
expect 2 "unknown preset 'dw5'" "$eqflow" minima dw5
expect 2 '--preset PRESET is missing' "$eqflow" minima pairs.npy
expect 2 'unknown preset' "$eqflow" minima pairs.npy --preset dw5
expect 2 '--preset goes with FILE.npy' "$eqflow" minima dw4 --preset dw2
expect 2 '--random-starts excludes' "$eqflow" minima pairs.npy --preset dw2 --random-starts
expect 2 '--epsilon has no meaning' "$eqflow" minima dw4 --epsilon 1
expect 2 '--particles and --space-dim' "$eqflow" minima good.safetensors --particles 3
expect 2 '--num-configurations 0' "$eqflow" minima dw4 -n 0
expect 2 '--tolerance 0' "$eqflow" minima dw4 --tolerance 0
expect 3 'missing.npy' "$eqflow" minima missing.npy --preset dw2
expect 3 'missing.safetensors' "$eqflow" minima missing.safetensors
expect 3 'pairs.npy' "$eqflow" minima pairs.npy --preset dw4
expect 4 'no folder' "$eqflow" minima dw4 --xyz nowhere/minima.xyz
expect 5 'nosuchdevice' "$eqflow" minima dw4 --device nosuchdevice
finish
