#!/usr/bin/env bash
# eqflow average as a user types it: figures against what is known, scans, weights, own observables, tables, every way
# to mistype it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" data dw2 -n 4000 --burn-in 500 --thinning 50 -o x.npy --quiet || finish
run() { "$eqflow" average "$@" --preset dw2 --quiet; }
value() { # OBSERVABLE KEY FILE: from the object of an observable in "averages"
    sed -n "/\"averages\"/,/^  }/p" "$3" | sed -n "/\"$1\"/,/}/s/^ *\"$2\": \(.*[^,]\),\{0,1\}\$/\1/p" | head -1
}

succeed run x.npy --json --pairs g.csv --histograms h.csv --bins 50 --scan temperature=0.9:1.1:3 --table scan.csv
# By quadrature (docs/method.md): mean energy -3.8707.
within "$(value energy mean stdout)" -3.97 -3.77 "mean energy"
within "$(value energy standard_error stdout)" 0.005 0.05 "its error"
within "$(value energy variance stdout)" 0.5 0.8 "variance of the energy"
within "$(json ess_fraction stdout)" 1 1 "equal weights"
within "$(value mean_distance mean stdout)" 2 6 "mean distance"
# With two particles all distances are one.
if [ "$(value smallest_distance mean stdout)" = "$(value largest_distance mean stdout)" ]; then pass; else fail "$(cat stdout)"; fi
# The density of the other particle integrates to 1 in the plane.
within "$(awk -F, 'NR > 1 { s += $3 * 3.14159265 * ($2 * $2 - $1 * $1) } END { print s }' g.csv)" 0.98 1.0001 "pair density, integral"
within "$(awk -F, '$1 == "energy" { s += $4 * ($3 - $2) } END { print s }' h.csv)" 0.99 1.0001 "histogram, integral"
if [ "$(wc -l <scan.csv)" -eq 4 ] && head -1 scan.csv | grep -q '^temperature,ess_fraction,energy,energy_standard_error,energy_variance'; then pass; else fail "$(cat scan.csv)"; fi
# The same scan in the words of the constant itself.
succeed run x.npy --temperature 0.9:1.1:3 --table same.csv --json
same scan.csv same.csv "--temperature FIRST:LAST:COUNT"
succeed run x.npy --table same.csv --json --temperature=0.9:1.1:3
same scan.csv same.csv "--temperature=FIRST:LAST:COUNT"
# At the temperature of the data the scan is the average; away from it the ESS falls.
within "$(awk -F, '$1 == 1 { print $2 }' scan.csv)" 1 1 "ESS at the data's own temperature"
within "$(awk -F, '$1 == 0.9 { print $2 }' scan.csv)" 0.7 0.9999 "ESS beside it"

# Own observables, own constants, XYZ.
echo 'real observable(const real *x) { return factor * fabs(x[0]); }' >mine.cl
succeed run x.npy --observable mean_distance --observable-text mine.cl --observable-constant factor=2 --json
if grep -q '"mine.cl"' stdout && ! grep -q '"q6"' stdout; then pass; else fail "$(cat stdout)"; fi
succeed "$eqflow" train dw2 --data x.npy --steps 20 -o m.safetensors --quiet
succeed "$eqflow" sample m.safetensors -n 200 -o s.npy --xyz s.xyz --quiet
succeed run s.npy --json
cp stdout from_npy
succeed run s.xyz --equal-weights --json
within "$(value energy mean stdout)" "$(awk -v v="$(value energy mean from_npy)" 'BEGIN { print v - 1e-4 }')" \
    "$(awk -v v="$(value energy mean from_npy)" 'BEGIN { print v + 1e-4 }')" "mean energy of the same configurations as XYZ"

# Weights: annealing's walkers.
succeed "$eqflow" anneal m.safetensors -n 800 --pilot 200 --repeats 4 --walkers w.npy --log-weights lw.npy --quiet --json
cp stdout annealed
succeed run w.npy --log-weights lw.npy --json
if awk -v a="$(json mean_energy annealed)" -v b="$(value energy mean stdout)" 'BEGIN { exit !(a - b < 1e-4 && b - a < 1e-4) }'; then
    pass
else
    fail "annealed $(json mean_energy annealed), averaged $(value energy mean stdout)"
fi

# Two temperatures together by MBAR: what lies between them, against quadrature (u/T of a pair in the plane), and their difference in free energy.
succeed "$eqflow" data dw2 -n 2000 --temperature 3 --burn-in 500 --thinning 50 --seed 2 -o hot.npy --quiet
succeed run x.npy --with temperature=3:hot.npy --scan temperature=1:3:5 --table with.csv --observable mean_distance --blocks 20 --json
at() { awk -F, -v t="$1" -v c="$2" '$1 == t { print $c }' with.csv; }
check_at() { # TEMPERATURE MEAN VARIANCE
    within "$(awk -v v="$(at "$1" 3)" -v e="$(at "$1" 4)" -v m="$2" 'BEGIN { d = (v - m) / e; print d < 0 ? -d : d }')" 0 4 "mean at T = $1, errors off"
    within "$(awk -v v="$(at "$1" 5)" -v e="$(at "$1" 6)" -v m="$3" 'BEGIN { d = (v - m) / e; print d < 0 ? -d : d }')" 0 4 "variance at T = $1, errors off"
    within "$(at "$1" 4)" 0.003 0.04 "its error"
}
check_at 1 -3.870727 0.634698
check_at 1.5 -2.381241 0.547960
check_at 2 -1.662649 0.441335
check_at 3 -0.986907 0.304432
within "$(sed -n 's/^ *"free_energy": \(2[^,]*\),*$/\1/p' stdout)" 2.27 2.43 "free energy at T = 3 minus that at T = 1 (2.3479)"
# One set with itself in two halves is that set.
succeed run hot.npy --temperature 3 --observable mean_distance --json
cp stdout alone
cp hot.npy twin.npy # the file itself is refused
succeed run hot.npy --temperature 3 --with temperature=3:twin.npy --observable mean_distance --json
within "$(value energy mean stdout)" "$(awk -v v="$(value energy mean alone)" 'BEGIN { print v - 1e-6 }')" \
    "$(awk -v v="$(value energy mean alone)" 'BEGIN { print v + 1e-6 }')" "a set with itself"

# The values of each configuration: their mean is the mean.
succeed run x.npy --each each.csv --observable mean_distance --json
if [ "$(head -1 each.csv)" = configuration,log_weight,energy,mean_distance ] && [ "$(wc -l <each.csv)" -eq "$(($(json num_samples stdout) + 1))" ]; then
    pass
else
    fail "$(head -2 each.csv)"
fi
for c in 3 4; do
    name=$([ $c -eq 3 ] && echo energy || echo mean_distance)
    within "$(awk -F, -v c=$c -v m="$(value $name mean stdout)" 'NR > 1 { sum += $c; n++ } END { printf "%.9f", sum / n - m }' each.csv)" -1e-5 1e-5 "mean $name of each"
done

refuse() { # CODE PATTERN ARGUMENTS...
    local code=$1 pattern=$2
    shift 2
    expect "$code" "$pattern" "$eqflow" average "$@" --quiet
}
refuse 2 'whose configurations' x.npy
refuse 2 'unknown observable' x.npy --preset dw2 --observable q8
succeed run x.npy --observable energy --json
if grep -q '"energy"' stdout && ! grep -q '"mean_distance"' stdout; then pass; else fail "$(cat stdout)"; fi
refuse 2 'NAME=FIRST:LAST:COUNT' x.npy --preset dw2 --scan temperature
refuse 2 'NAME=FIRST:LAST:COUNT' x.npy --preset dw2 --scan temperature=1:2
refuse 2 'is no number' x.npy --preset dw2 --scan temperature=1:2:many
refuse 2 'whole number from 2' x.npy --preset dw2 --scan temperature=1:2:1
refuse 2 'no constant of this name' x.npy --preset dw2 --scan colour=1:2:3
refuse 2 'no constant of this name' x.npy --preset dw2 --constant colour=1:2:3
refuse 2 'one constant can be scanned' x.npy --preset dw2 --scan temperature=1:2:3 --quartic 0.8:1:3
refuse 2 'one constant can be scanned' x.npy --preset dw2 --temperature 1:2:3 --temperature=1:3:3
refuse 2 'whole number from 2' x.npy --preset dw2 --temperature 1:2:1
refuse 2 'is no number' x.npy --preset dw2 --temperature 1::3
refuse 2 'temperature' x.npy --preset dw2 --temperature 1:2
refuse 2 'NAME=NUMBER' x.npy --preset dw2 --observable-text mine.cl --observable-constant factor
refuse 2 'give NAME=VALUE:FILE' x.npy --preset dw2 --with temperature=3
refuse 2 'is no number' x.npy --preset dw2 --with temperature=hot:hot.npy
refuse 2 'no constant of this name' x.npy --preset dw2 --with colour=3:hot.npy
refuse 3 'no such file' x.npy --preset dw2 --with temperature=3:none.npy
refuse 2 'excludes --log-weights' x.npy --preset dw2 --with temperature=3:hot.npy --log-weights lw.npy
# ---- The report: what was found, drawn ----
succeed "$eqflow" average x.npy --preset dw2 --with temperature=3:hot.npy --temperature 1:3:5 --report page.html --json
if [ "$(json report_output stdout)" = '"page.html"' ] && grep -q '<h2>Averages</h2>' page.html && grep -q '</html>' page.html; then pass; else fail "no report"; fi
free_energy=$(printf '%.6g' "$(sed -n 's/.*"free_energy": \([-0-9.e]*\).*/\1/p' stdout | sed -n 2p)")
if grep -q "<td>$free_energy ± [-0-9.e]* kT</td><td>temperature = 3," page.html; then pass; else fail "the report lacks $free_energy"; fi
if [ "$(grep -c '<tr><td>temperature = ' page.html)" -eq 5 ]; then pass; else fail "rows of the scan in the report"; fi
if command -v gnuplot >/dev/null; then
    if [ "$(grep -c '<figure id=' page.html)" -ge 6 ]; then pass; else fail "$(grep -c '<figure id=' page.html) pictures in the report"; fi
fi
mkdir -p few # a PATH without gnuplot
succeed env PATH="$PWD/few" "$eqflow" average x.npy --preset dw2 --report bare.html
if [ "$(grep -c 'gnuplot-nox' stderr)" -eq 1 ] && grep -q 'No pictures: ' bare.html && ! grep -q '<figure' bare.html; then pass; else fail "without gnuplot: $(cat stderr)"; fi

# Copies of one configuration.
npy '<f4' False '(32, 2, 2)' alike.npy < <(for _ in $(seq 32); do printf '\0\0\200\77\0\0\0\0\0\0\0\0\0\0\0\0'; done)
succeed "$eqflow" average alike.npy --preset dw2 --quiet
if [ "$(wc -l <stderr)" -eq 1 ] && grep -q 'all 32 configurations have the same energy' stderr; then pass; else fail "copies of one: $(cat stderr)"; fi
refuse 2 'excludes --with' x.npy --preset dw2 --with temperature=3:hot.npy --each each.csv
refuse 2 'would overwrite' x.npy --preset dw2 --each x.npy
refuse 2 'would overwrite' x.npy --preset dw2 --report x.npy
refuse 2 'name one file' x.npy --preset dw2 --report page.csv --each page.csv
refuse 2 'belongs to --scan' x.npy --preset dw2 --table t.csv
refuse 2 'would overwrite' x.npy --preset dw2 --pairs x.npy
refuse 3 'numbers, but there are' x.npy --preset dw2 --log-weights w.npy
refuse 3 'particles' x.npy --preset dw4
refuse 2 'is for 3 dimensions' x.npy --preset dw2 --observable q4

# ---- Files that are read stay, and no set counts twice ----
expect 2 '--table hot.npy would overwrite --with hot.npy' "$eqflow" average x.npy --preset dw2 --with temperature=3:hot.npy \
    --scan temperature=1:3:5 --table hot.npy
expect 2 '--pairs ./mine.cl would overwrite --observable-text mine.cl' "$eqflow" average x.npy --preset dw2 --observable-text mine.cl --pairs ./mine.cl
expect 2 '--histograms h.npy: what is written there is no NumPy array' "$eqflow" average x.npy --preset dw2 --histograms h.npy
ln -s x.npy same.npy
for again in x.npy ./x.npy same.npy; do
    expect 2 'these are the samples of x.npy once more' "$eqflow" average x.npy --preset dw2 --with "temperature=1.2:$again"
done
expect 2 'these are the samples of hot.npy once more' "$eqflow" average x.npy --preset dw2 --with temperature=3:hot.npy --with temperature=2:./hot.npy
finish
