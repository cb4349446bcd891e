#!/usr/bin/env bash
# eqflow data: energies beside the samples, noise around a minimum, every way to mistype them.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

# mean FILE: of a .npy of little-endian float32.
mean() {
    local header
    header=$(od -An -tu2 -j8 -N2 "$1")
    od -An -v -tf4 -w4 "-j$((10 + header))" "$1" | awk '{ sum += $1 } END { print sum / NR }'
}

succeed "$eqflow" data dw4 -n 500 -o x.npy --energies energies.npy --json --quiet --burn-in 500 || finish
within "$(mean energies.npy)" "$(awk -v m="$(json mean_energy stdout)" 'BEGIN { print m - 0.5, m + 0.5 }' | cut -d' ' -f1)" \
    "$(awk -v m="$(json mean_energy stdout)" 'BEGIN { print m + 0.5 }')" "mean of the energies written"
succeed "$eqflow" data dw4 -n 500 -o again.npy --quiet --burn-in 500
same x.npy again.npy "samples with and without --energies"

# The lowest minimum of dw4 is at -25.792202; noise of 0.05 stays in its basin and costs some energy.
succeed "$eqflow" data dw4 -n 200 --noise 0.05 -o noise.npy --energies noise_energies.npy --json --quiet
within "$(json minimum_energy stdout)" -25.7923 -25.7921 "energy of the minimum"
within "$(json mean_energy stdout)" -25.79 -25.3 "mean energy of the noise"
within "$(mean noise_energies.npy)" -25.79 -25.3 "mean of the energies written"
succeed "$eqflow" minima noise.npy --preset dw4 --json --quiet
within "$(json num_minima stdout)" 1 1 "minima in the noise"
succeed "$eqflow" data dw4 -n 200 --noise 0.05 -o noise2.npy --quiet
same noise.npy noise2.npy "noise of the same seed"
succeed "$eqflow" data dw4 -n 200 --noise 0.05 --seed 1 -o noise2.npy --quiet
if cmp -s noise.npy noise2.npy; then fail "the seed changes nothing"; else pass; fi
succeed "$eqflow" data dw4 -n 3 --noise 0 -o still.npy --energies still_energies.npy --quiet
within "$(mean still_energies.npy)" -25.7923 -25.7921 "energy without noise"
succeed "$eqflow" data lj13 --particles 4 --epsilon 1 --trap 0 -n 20 --noise 0.01 -o tetrahedron.npy --json --quiet
within "$(json minimum_energy stdout)" -6.0001 -5.9999 "energy of four Lennard-Jones particles"

for option in --chains --burn-in --thinning; do
    expect 2 "$option is of Markov chains" "$eqflow" data dw4 -n 10 --noise 0.1 "$option" 10 -o bad.npy
done
for value in -1 nan inf x ''; do
    expect 2 '--noise' "$eqflow" data dw4 -n 10 --noise "$value" -o bad.npy
done
expect 2 'name one file' "$eqflow" data dw4 -n 10 -o bad.npy --energies bad.npy
expect 2 'name one file' "$eqflow" data dw4 -n 10 -o bad.npy --energies ./bad.npy

# What is known of a preset is not known of a system with other constants.
succeed "$eqflow" data dw4 -n 64 -o known.npy --burn-in 200 --thinning 5 --quiet
if grep -q 'known: -22.542' stdout; then pass; else fail "dw4: the known mean energy is missing: $(cat stdout)"; fi
succeed "$eqflow" data dw4 -n 64 -o unknown.npy --burn-in 200 --thinning 5 --quiet --quartic 1
if grep -q '(known' stdout; then fail "dw4 --quartic 1: $(grep '(known' stdout)"; else pass; fi
succeed "$eqflow" train dw4 --data unknown.npy -o unknown.safetensors --steps 2 --batch-size 16 --quiet --quartic 1
if grep -q 'entropy is' stdout; then fail "train dw4 --quartic 1: $(grep 'entropy is' stdout)"; else pass; fi
# The same chains, to the bit, for every width of vectors, and as groups with their states in local memory.
for preset in lj13 dw4 blj13; do
    for setting in vector_width=1 vector_width=8 vector_width=16 private_numbers=8; do
        settings=(--set-profile "$setting")
        [ $setting != private_numbers=8 ] || settings+=(--set-profile vector_width=1)
        succeed "$eqflow" data $preset -n 100 -o "$setting.npy" --burn-in 200 --thinning 20 --quiet "${settings[@]}"
        same "$setting.npy" vector_width=1.npy "$preset with $setting"
    done
done
for width in 1 8 16; do
    succeed "$eqflow" data dw2 -n 10000 -o "width$width.npy" --burn-in 200 --thinning 5 --quiet --json --set-profile "vector_width=$width"
    within "$(json num_chains stdout)" 512 512 "chains with vectors of $width"
done
# What the energies alone do not show.
# A gas has no equilibrium: exit code 9 and one line; the samples are written all the same, the figures printed.
no_equilibrium() { # PATTERN COMMAND...
    local pattern=$1 code
    shift
    "$@" --quiet --json >stdout 2>stderr </dev/null
    code=$?
    if [ $code -eq 9 ] && [ "$(grep -vc ': warning: ' stderr)" -eq 1 ] && tail -1 stderr | grep -Eq "$pattern"; then pass; else fail "$*: exit code $code: $(cat stderr)"; fi
}
rm -f gas.npy
no_equilibrium 'nothing holds the particles together, and they have flown apart: .*add a trap.*; the samples are in gas.npy' \
    "$eqflow" data lj13 --trap 0 -n 256 -o gas.npy --burn-in 2000 --thinning 100
grep -q '"is_unbound": true' stdout && pass || fail "a gas: $(cat stdout)"
[ "$(stat -c %s gas.npy 2>/dev/null || stat -f %z gas.npy)" -eq $((128 + 256 * 39 * 4)) ] && pass || fail "the samples of a gas were not written"
no_equilibrium 'nothing holds .*nothing was trained' "$eqflow" train lj13 --trap 0 --num-train 200 -o gas.safetensors --steps 1 --batch-size 16
[ ! -e gas.safetensors ] && [ ! -e gas.csv ] && [ ! -e gas.safetensors.checkpoint ] && pass || fail "a model of a gas was written"
succeed "$eqflow" train lj13 --data gas.npy -o bound.safetensors --steps 1 --batch-size 16 --quiet
no_equilibrium 'nothing holds .*nothing was measured' "$eqflow" evaluate bound.safetensors --trap 0 -n 100 --num-data 200
no_equilibrium 'nothing holds .*; the samples are in replicas.npy' \
    "$eqflow" data lj13 --trap 0 --replicas 3 -n 64 -o replicas.npy --burn-in 200 --thinning 20
[ -s replicas.npy ] && pass || fail "the samples of a gas's replicas were not written"
# A radius that still drifts: chains that begin in a cloud of a cell a particle, and are not given the time to meet.
rm -f drift.npy
no_equilibrium 'radius of gyration still (grows|shrinks), .*raise --burn-in; the samples are in drift.npy' \
    "$eqflow" data lj13 --trap 0.0001 -n 2560 -o drift.npy --burn-in 20 --thinning 20
[ -s drift.npy ] && pass || fail "drifting samples were not written"
succeed "$eqflow" data lj13 -n 64 -o short.npy --burn-in 40 --thinning 2 --quiet
if [ "$(grep -c 'warning: 2 sweeps after burn-in are too few' stderr)" -eq 1 ]; then pass; else fail "two sweeps: $(cat stderr)"; fi
succeed "$eqflow" data lj13 -n 640 -o well.npy --quiet
if grep -q 'warning' stderr; then fail "a good run: $(cat stderr)"; else pass; fi
expect 4 'energies|no such folder|folder' "$eqflow" data dw4 -n 10 -o bad.npy --energies nowhere/e.npy
finish
