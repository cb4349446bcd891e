#!/usr/bin/env bash
# eqflow compare as a user types it: figures against what is known, the same bits again, every way to mistype it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

make() { "$eqflow" data dw2 -n 4000 --burn-in 500 --thinning 50 --quiet "$@"; }
succeed make -o a.npy --seed 1 || finish
succeed make -o b.npy --seed 2
succeed make -o hot.npy --seed 3 --temperature 1.5
value() { sed -n "/\"$1\"/,/}/s/^ *\"$2\": \(.*[^,]\),\{0,1\}\$/\1/p" "$3" | head -1; } # DISTANCE KEY FILE

succeed "$eqflow" compare a.npy b.npy --preset dw2 --aligned 100 --json --quiet
cp stdout first
within "$(value energy_w2 num_compared stdout)" 2000 2000 "half of the perfect set"
within "$(value energy_w2 floor stdout)" 0.01 0.1 "floor of energies"
within "$(value energy_w2 distance stdout)" 0.01 0.15 "two perfect sets"
within "$(value aligned_w2 num_compared stdout)" 100 100 "aligned"
succeed env POCL_MAX_PTHREAD_COUNT=1 "$eqflow" compare a.npy b.npy --preset dw2 --aligned 100 --json --quiet
same stdout first "the same bits again, with one thread"

succeed "$eqflow" compare hot.npy b.npy --preset dw2 --reference a.npy --aligned 0 -n 1000 --json --quiet
within "$(value energy_w2 distance stdout)" 0.2 2 "a set that is too hot"
within "$(value energy_w2 fraction_of_floors_above stdout)" 0 0 "no floor is as far"
within "$(value energy_w2 num_compared stdout)" 1000 1000 "-n"
if grep -q '"floor_of": "the reference"' stdout && ! grep -q aligned_w2 stdout; then pass; else fail "$(cat stdout)"; fi

# The same configurations as XYZ.
succeed "$eqflow" train dw2 --data a.npy --steps 10 -o m.safetensors --quiet
succeed "$eqflow" sample m.safetensors -n 300 -o s.npy --xyz s.xyz --quiet
succeed "$eqflow" compare s.npy b.npy --preset dw2 --json --quiet
cp stdout from_npy
succeed "$eqflow" compare s.xyz b.npy --preset dw2 --json --quiet
within "$(value aligned_w2 distance stdout)" "$(awk -v v="$(value aligned_w2 distance from_npy)" 'BEGIN { print v - 1e-4 }')" \
    "$(awk -v v="$(value aligned_w2 distance from_npy)" 'BEGIN { print v + 1e-4 }')" "aligned W2 of the same as XYZ"
succeed "$eqflow" compare a.npy b.npy --preset dw2 --aligned 50 --quiet
if grep -q 'energy W2 (kT)' stdout && grep -q 'floor' stdout; then pass; else fail "$(cat stdout)"; fi

refuse() { # CODE PATTERN ARGUMENTS...
    local code=$1 pattern=$2
    shift 2
    expect "$code" "$pattern" "$eqflow" compare "$@" --quiet
}
refuse 2 'whose configurations' a.npy b.npy
refuse 2 'B is missing|missing' a.npy --preset dw2
refuse 2 'unknown preset|no preset' a.npy b.npy --preset dw3
refuse 2 'at least 2' a.npy b.npy --preset dw2 --splits 1
refuse 3 'particles' a.npy b.npy --preset dw4
refuse 3 'no such file|No such file|cannot' a.npy none.npy --preset dw2
finish
