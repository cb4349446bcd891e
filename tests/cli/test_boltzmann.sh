#!/usr/bin/env bash
# eqflow boltzmann as a user types it: figures against what is known, files, repeats, every way to mistype it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" train dw2 --data none -o model.safetensors --steps 500 --num-generated 64 --quiet || finish
run() { "$eqflow" boltzmann model.safetensors --quiet "$@"; }

# dw2's figures by quadrature: ln Z 7.26039, mean energy -3.8707. Errors are of 20000 samples: four of them.
succeed run -n 20000 --json -o x.npy --energies u.npy --histograms h.csv
within "$(json ess_fraction stdout)" 0.5 1 "effective sample size"
within "$(json acceptance stdout)" 0.5 1 "acceptance"
within "$(json autocorrelation_time stdout)" 1 20 "autocorrelation time"
near() { # VALUE KNOWN ERROR WHAT: within four standard errors, and an error that means something
    within "$3" 0.0001 0.1 "standard error of $4"
    within "$1" "$(awk -v k="$2" -v e="$3" 'BEGIN { print k - 4 * e }')" "$(awk -v k="$2" -v e="$3" 'BEGIN { print k + 4 * e }')" "$4"
}
near "$(json log_z stdout)" 7.26039 "$(json log_z_standard_error stdout)" "ln Z"
# ln Z of a unit Gaussian in two dimensions is ln 2 pi = 1.83788.
near "$(json free_energy_difference stdout)" -5.42251 "$(json free_energy_difference_standard_error stdout)" "free energy"
near "$(json mean_energy_reweighted stdout)" -3.8707 "$(json mean_energy_reweighted_standard_error stdout)" "mean energy, reweighted"
near "$(json mean_energy_chain stdout)" -3.8707 "$(json mean_energy_chain_standard_error stdout)" "mean energy, chain"
within "$(json num_burn_in stdout)" 200 200 "burn-in"

# Files: the chain has 19800 states; each histogram has 60 bins and integrates to nearly 1.
if head -c 128 x.npy | grep -q '(19800, 2, 2)' && head -c 128 u.npy | grep -q '(19800,)'; then
    pass
else
    fail "shapes: $(head -c 128 x.npy)"
fi
if [ "$(grep -c '^energy,' h.csv)" -eq 60 ] && [ "$(grep -c '^distance,' h.csv)" -eq 60 ]; then pass; else fail "$(head -3 h.csv)"; fi
for quantity in energy distance; do
    for column in 4 6 8; do
        within "$(awk -F, -v q=$quantity -v c=$column '$1 == q { s += $c * ($3 - $2) } END { print s }' h.csv)" 0.9 1.0001 \
            "$quantity, column $column: integral"
    done
done
# The chain's samples are good data.
succeed "$eqflow" log-prob model.safetensors --data x.npy -o log_prob.npy --quiet
succeed "$eqflow" minima x.npy --preset dw2 -n 20 --quiet

cp x.npy first.npy
succeed run -n 20000 -o x.npy
same x.npy first.npy "the same seed"
succeed run -n 20000 -o x.npy --seed 1
if cmp -s x.npy first.npy; then fail "another seed gives the same chain"; else pass; fi
succeed run -n 2000 -o x.npy --burn-in 0 --thinning 7
if head -c 128 x.npy | grep -q '(286, 2, 2)'; then pass; else fail "thinning: $(head -c 128 x.npy)"; fi
succeed run -n 2000 --histograms h.csv --bins 5
if [ "$(wc -l <h.csv)" -eq 11 ]; then pass; else fail "bins: $(cat h.csv)"; fi
succeed run -n 3000 --temperature 1.2 --json # another target
within "$(json log_z stdout)" 5 7 "ln Z at temperature 1.2"

echo "a file of somebody else" >out.npy
bad() { # CODE PATTERN options
    local code=$1 pattern=$2
    shift 2
    expect "$code" "$pattern" "$eqflow" boltzmann model.safetensors "$@"
}
expect 2 'is missing' "$eqflow" boltzmann
expect 3 'missing.safetensors' "$eqflow" boltzmann missing.safetensors
expect 3 'x.npy' "$eqflow" boltzmann x.npy
bad 2 '--num-proposals 3' -n 3
bad 2 '--burn-in 97 leaves fewer' -n 100 --burn-in 97
bad 2 '--thinning 0' -n 100 -o out.npy --thinning 0
bad 2 '--thinning says which' -n 100 --thinning 3
bad 2 '--bins belongs to' -n 100 --bins 3
bad 2 '--bins 0' -n 100 --histograms out.csv --bins 0
bad 2 'name one file' -n 100 -o out.npy --energies out.npy
bad 2 '--epsilon has no meaning' -n 100 --epsilon 1
bad 2 '--field-evaluation' -n 100 --field-evaluation exact
bad 4 'no folder' -n 100 -o nowhere/x.npy
bad 4 'no folder' -n 100 --energies nowhere/u.npy
bad 4 'no folder' -n 100 --histograms nowhere/h.csv
bad 5 'nosuchdevice' -n 100 --device nosuchdevice
finish
