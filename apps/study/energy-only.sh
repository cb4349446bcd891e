#!/usr/bin/env bash
# A flow from the energy alone, without Monte Carlo of the target (docs/energy-only.md): a poor flow by reverse KL; annealing from it gives
# configurations; flow matching on them gives a better flow, from which annealing costs less; and so on. At last path gradients of the free energy.
#   apps/study/energy-only.sh [--short] [PRESET [FOLDER]]   eqflow is on the PATH, or named by EQFLOW; --short: little work, for tests
# Prints the energy evaluations of all rounds and the evaluation of the last flow. PRESET: dw4 if none is given; FOLDER: energy-only.
set -euo pipefail
eqflow=${EQFLOW:-eqflow}
walkers=4096 first_steps=500 matching=4000 batch=256 likelihood=30 generated=256 rounds=2 samples=20000 field=(--field message)
if [ "${1:-}" = --short ]; then
    walkers=256 first_steps=30 matching=60 batch=64 likelihood=4 generated=32 samples=500
    field=(--field message --num-hops 1 --num-scalars 8 --num-vectors 8 --num-edge 8 --num-distance 8)
    shift
fi
preset=${1:-dw4} folder=${2:-energy-only}
mkdir -p "$folder"
cd "$folder"

# The number after "KEY": in a JSON file.
number() {
    sed -n "s/^ *\"$2\": *\([-0-9.e+]*\),*$/\1/p" "$1" | head -n 1
}

# 1. A first flow, of the paper's field: seconds.
"$eqflow" train "$preset" --data none --steps "$first_steps" --num-generated 256 -o flow_0.safetensors --seed 1 --json >train_0.json
evaluations=$((first_steps * 256)) # without the measurements that choose the best model

for ((round = 1; round <= rounds; round++)); do
    # 2. From the last flow to the target: equally weighted configurations, however poor the flow is.
    "$eqflow" anneal "flow_$((round - 1)).safetensors" -n "$walkers" -o "x_$round.npy" --langevin-moves 0 --latent-moves 4 --seed "$round" --json \
        >"anneal_$round.json"
    count=$(number "anneal_$round.json" energy_evaluations)
    evaluations=$((evaluations + ${count%.*}))
    # 3. A flow that goes where they are; the last one also by path gradients of the free energy of its own samples.
    start=("${field[@]}") stages=(--stage "flow-matching,steps=$matching,batch=$batch")
    [ "$round" -eq 1 ] || start=(--start "flow_$((round - 1)).safetensors")
    if [ "$round" -eq "$rounds" ]; then
        stages+=(--stage "energy,gradient=path,steps=$likelihood,generated=$generated,lr=1e-4,path-cap=30")
        evaluations=$((evaluations + likelihood * generated))
    fi
    "$eqflow" train "$preset" "${start[@]}" --data "x_$round.npy" "${stages[@]}" -o "flow_$round.safetensors" --seed "$round" --json \
        >"train_$round.json"
    printf 'round %d: ln Z %s +- %s from %s walkers, %d energy evaluations so far\n' "$round" "$(number "anneal_$round.json" log_z)" \
        "$(number "anneal_$round.json" log_z_standard_error)" "$walkers" "$evaluations"
done

# 4. What it is worth.
"$eqflow" evaluate "flow_$rounds.safetensors" -n "$samples" -o samples.npy --json >evaluate.json
printf 'the last flow: ESS %s, ln Z %s\n' "$(number evaluate.json ess_fraction)" "$(number evaluate.json log_z)"
