#!/usr/bin/env bash
# The worked study of docs/study.md: melting of the cluster of 13 Lennard-Jones particles. From nothing to a figure in FOLDER (default: melting).
#   apps/study/melting.sh [--short] [FOLDER]      eqflow is on the PATH, or named by EQFLOW; --short: a tenth of the work, for tests
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
eqflow=${EQFLOW:-eqflow}
num=960 burn_in=6000 thinning=200 blocks=20 points=37
if [ "${1:-}" = --short ]; then
    num=160 burn_in=2000 thinning=100 blocks=5 points=7
    shift
fi
folder=${1:-melting}
mkdir -p "$folder"
cd "$folder"

# 1. Configurations at eight temperatures, T = 0.3 ... 1.2 in a geometric row, from 16 ladders, half of which begin at the icosahedron.
"$eqflow" data lj13 --temperature 0.3 -n "$num" --replicas 8 --highest-temperature 1.2 --burn-in "$burn_in" --thinning "$thinning" \
    --ladders 16 -o cold.npy --each 't_%.npy' --ladder ladder.csv --seed 1

# 2. All of them together by MBAR, at as many temperatures as the figure wants.
with=()
while IFS=, read -r number temperature _; do
    case $number in
        number | 0) ;;
        *) with+=(--with "temperature=$temperature:t_$number.npy") ;;
    esac
done <ladder.csv
"$eqflow" average t_0.npy --preset lj13 --temperature 0.3 "${with[@]}" --scan "temperature=0.3:1.2:$points" --blocks "$blocks" \
    --observable radius_of_gyration --observable q6 --table melting.csv

# 3. The figure.
awk -f "$here/melting.awk" ladder.csv melting.csv >melting.svg
echo "figure in $folder/melting.svg"
