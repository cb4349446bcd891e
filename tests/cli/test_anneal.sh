#!/usr/bin/env bash
# eqflow anneal as a user types it: known figures from a start that is useless by itself, files, repeats, every way to
# mistype it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

# Ten steps of training leave dw2 almost where the prior is.
succeed "$eqflow" train dw2 --num-train 500 --steps 10 -o model.safetensors --quiet || finish
run() { "$eqflow" anneal model.safetensors -n 2000 --pilot 300 --quiet "$@"; }
near() { # VALUE KNOWN ERROR WHAT: within five standard errors, and an error that means something
    within "$3" 0.0005 0.2 "standard error of $4"
    within "$1" "$(awk -v k="$2" -v e="$3" 'BEGIN { print k - 5 * e }')" "$(awk -v k="$2" -v e="$3" 'BEGIN { print k + 5 * e }')" "$4"
}
succeed run --json -o x.npy --energies u.npy --walkers w.npy --log-weights lw.npy --steps steps.csv
# dw2's figures by quadrature.
near "$(json log_z stdout)" 7.26039 "$(json log_z_standard_error stdout)" "ln Z"
near "$(json mean_energy stdout)" -3.8707 "$(json mean_energy_standard_error stdout)" "mean energy"
within "$(json ess_fraction stdout)" 0.4 1 "effective sample size"
for file in x w; do
    if head -c 128 $file.npy | grep -q '(2000, 2, 2)'; then pass; else fail "$file.npy: $(head -c 128 $file.npy)"; fi
done
for file in u lw; do
    if head -c 128 $file.npy | grep -q '(2000,)'; then pass; else fail "$file.npy: $(head -c 128 $file.npy)"; fi
done
if [ "$(grep -c '^main,' steps.csv)" = "$(json num_steps stdout)" ] && grep -q '^pilot,1,' steps.csv; then pass; else fail "$(cat steps.csv)"; fi

# Same seed, same files; another seed, others.
cp x.npy x_before.npy
succeed run -o x.npy
same x.npy x_before.npy "the same seed"
succeed run -o x.npy --seed 1
if cmp -s x.npy x_before.npy; then fail "another seed gave the same configurations"; else pass; fi

# From samples of a preset to another temperature.
succeed "$eqflow" data dw2 -n 2000 -o data.npy --quiet
succeed "$eqflow" anneal data.npy --preset dw2 --temperature 2 -n 2000 --pilot 300 --quiet --json
within "$(json ess_fraction stdout)" 0.4 1 "effective sample size, from samples"
# Single particles: from the model, of log q of the whole, and from samples, of two energies.
succeed run --latent-moves 0 --langevin-moves 0 --particle-sweeps 3 --json --steps steps.csv
near "$(json log_z stdout)" 7.26039 "$(json log_z_standard_error stdout)" "ln Z by moves of single particles"
near "$(json mean_energy stdout)" -3.8707 "$(json mean_energy_standard_error stdout)" "mean energy by moves of single particles"
if head -1 steps.csv | grep -q ',particle_acceptance,particle_step$' && [ "$(awk -F, '{ print NF }' steps.csv | sort -u)" = 17 ]; then pass; else fail "$(cat steps.csv)"; fi
within "$(json score_evaluations stdout)" 0 0 "scores of moves of single particles"
succeed "$eqflow" anneal data.npy --preset dw2 --temperature 2 -n 2000 --pilot 300 --langevin-moves 0 --particle-sweeps 2 --quiet --json
near "$(json log_z stdout)" -1.8219 "$(json log_z_standard_error stdout)" "ln Z at T = 2 minus that at T = 1"
within "$(json log_prob_evaluations stdout)" 0 0 "log-densities from samples"
# From samples made with another constant than the preset's: the way back has the opposite difference of ln Z (by quadrature 2.3479 - see
# cli.average - from T = 1 to 3).
succeed "$eqflow" data dw2 --temperature 3 -n 2000 -o hot.npy --quiet
succeed "$eqflow" anneal hot.npy --preset dw2 --from temperature=3 -n 2000 --pilot 300 --quiet --json
near "$(json log_z stdout)" 2.3479 "$(json log_z_standard_error stdout)" "ln Z at T = 1 minus that at T = 3"
near "$(json mean_energy stdout)" -3.8707 "$(json mean_energy_standard_error stdout)" "mean energy, from T = 3"
if [ -s stderr ]; then fail "samples of an equilibrium are doubted: $(cat stderr)"; else pass; fi
# Samples of another equilibrium, or of none: a line says so. (Their virial is the number of free coordinates, 2.)
doubt() { # WHAT ARGUMENTS...
    local what=$1
    shift
    succeed "$eqflow" anneal "$@" --preset dw2 -n 400 --pilot 64 --repeats 2 --quiet
    if [ "$(grep -c 'warning:' stderr)" -eq "${lines:-1}" ] && grep -q 'not of the equilibrium .* virial is .*, not 2, ' stderr; then
        pass
        echo "ok, $what: $(cat stderr)"
    else
        fail "$what: no doubt: $(cat stderr)"
    fi
}
succeed "$eqflow" data dw2 --temperature 6 -n 2000 -o hotter.npy --quiet
doubt 'made at T = 6, taken for T = 1' hotter.npy
doubt 'made at T = 1, taken for T = 3' data.npy --from temperature=3
npy '<f4' False '(32, 2, 2)' alike.npy < <(for _ in $(seq 32); do printf '\0\0\200\77\0\0\0\0\0\0\0\0\0\0\0\0'; done)
lines=2 doubt 'one configuration 32 times' alike.npy
if grep -q 'the moves hardly change the walkers (.* correlation 1.000)' stderr; then pass; else fail "$(cat stderr)"; fi

# Few independent walkers: a line says that errors may be too small; with the walkers above there is none.
succeed "$eqflow" anneal data.npy --preset dw2 --temperature 1.1 -n 128 --pilot 64 --repeats 8 --quiet --json
within "$(json num_independent stdout)" 1 16 "independent walkers of a repeat of 16"
if [ "$(wc -l <stderr)" -eq 1 ] && grep -q 'a repeat has only [0-9]* independent walkers, so errors may be too small: use more walkers' stderr; then pass; else fail "$(cat stderr)"; fi
succeed run --json
within "$(json num_independent stdout)" 50 125 "independent walkers of a repeat of 125"
within "$(json energy_correlation stdout)" -0.2 0.8 "correlation of energies by the moves"
if [ -s stderr ]; then fail "a line without need: $(cat stderr)"; else pass; fi
refuse() { # CODE PATTERN ARGUMENTS...
    local code=$1 pattern=$2
    shift 2
    expect "$code" "$pattern" "$eqflow" anneal "$@" --quiet
}
refuse 2 'needs? .*--preset|--preset PRESET' data.npy
refuse 2 'knows its own potential' model.safetensors --preset dw2
refuse 2 'from belongs to samples' model.safetensors --from temperature=3
refuse 2 'give NAME=NUMBER' hot.npy --preset dw2 --from temperature
refuse 2 'give NAME=NUMBER' hot.npy --preset dw2 --from temperature=hot
refuse 2 'no constant of this name' hot.npy --preset dw2 --from colour=3
refuse 2 'no constant of this name' hot.npy --preset dw2 --from epsilon=3
refuse 2 'temperature' hot.npy --preset dw2 --from temperature=-1
refuse 2 '--from temperature is given twice' hot.npy --preset dw2 --from temperature=3 --from temperature=2
refuse 2 'fewer than 2 walkers' model.safetensors -n 10
refuse 2 'reweighting' model.safetensors --latent-moves 0 --langevin-moves 0
refuse 2 'particle-sweeps' model.safetensors --particle-sweeps 1001
refuse 2 'particle-sweeps' model.safetensors --particle-sweeps -1
refuse 2 'particle-sweeps' model.safetensors --particle-sweeps many
refuse 2 'no latents to move' hot.npy --preset dw2 --langevin-moves 0
refuse 2 'name one file' model.safetensors -o a.npy --walkers a.npy
refuse 2 'unknown preset|no preset' data.npy --preset nothing
refuse 3 'lj13|particles|shape' data.npy --preset lj13
finish
