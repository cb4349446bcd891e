#!/usr/bin/env bash
# Do two starts of replica exchange agree in energies, in differences of ln Z and in the occupation of funnels (docs/sampling.md)? Every
# configuration of every temperature descends to its minimum; Q4 of the minimum says in which funnel it is: 0.19 in the fcc truncated octahedron of
# 38 particles, below 0.1 in icosahedral and disordered ones. Half of the ladders began at the preset's lowest minimum, the other half as gas.
#   apps/study/funnels.sh [--short] [--analyse] [PRESET [FOLDER [eqflow data's options...]]]
# eqflow is on the PATH, or named by EQFLOW. PRESET: lj38 if none is given; FOLDER: funnels. --short: little work, for tests. --analyse: of a run that
# is in FOLDER already (t_0.npy ..., ladder.csv). FOLDER/funnels.csv receives the table.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
eqflow=${EQFLOW:-eqflow}
is_sampling=1
run=(--temperature 0.35 -n 1600 --replicas 10 --highest-temperature 0.8 --ladders 16 --burn-in 60000 --thinning 2000)
while [[ ${1:-} == --* ]]; do
    case $1 in
        --short) run=(--temperature 0.6 -n 64 --replicas 3 --highest-temperature 0.9 --ladders 8 --burn-in 500 --thinning 50) ;;
        --analyse) is_sampling=0 ;;
        *)
            echo "funnels.sh: unknown option $1" >&2
            exit 2
            ;;
    esac
    shift
done
preset=${1:-lj38} folder=${2:-funnels}
[ $# -le 2 ] || run=("${@:3}")
mkdir -p "$folder"
cd "$folder"

# 1. Ladders from the minimum and from gas. Exit code 9, two starts that differ, is an answer too.
if [ $is_sampling -eq 1 ]; then
    code=0
    "$eqflow" data "$preset" "${run[@]}" -o lowest.npy --each 't_%.npy' --ladder ladder.csv --seed 1 --json >ladder.json || code=$?
    [ $code -eq 0 ] || [ $code -eq 9 ] || exit $code
fi
ladders=$(sed -n 's/^ *"num_ladders": *\([0-9]*\),*$/\1/p' ladder.json)

# 2. To the minima, and Q4 of each. The limit of a bond is the usual one, 1.391 sigma = 1.24 r_min.
while IFS=, read -r number temperature _; do
    [ "$number" != number ] || continue
    "$eqflow" minima "t_$number.npy" --preset "$preset" --temperature "$temperature" --quenched "q_$number.npy" --each "minima_$number.csv" \
        --quiet --json >"minima_$number.json"
    "$eqflow" average "q_$number.npy" --preset "$preset" --temperature "$temperature" --observable q4 --observable q6 --neighbours 1.24 \
        --equal-weights --each "order_$number.csv" --quiet --json >"order_$number.json"
done <ladder.csv

# 3. Occupations with errors from the spread of the ladders, and how far the two starts are apart in standard errors.
awk -v ladders="$ladders" -f "$here/funnels.awk" ladder.csv >funnels.csv
awk -F, 'NR == 1 { printf "%11s %15s %15s %8s %15s %15s %8s %8s %8s\n", "temperature", "Q4>0.13 gas", "minimum", "errors", "lowest gas", "minimum",
        "errors", "energy", "ln Z"; next }
    { printf "%11.4f %7.3f +-%6.3f %7.3f +-%6.3f %8.2f %7.3f +-%6.3f %7.3f +-%6.3f %8.2f %8.2f %8.2f\n", $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11,
        $12, $13 }' funnels.csv
