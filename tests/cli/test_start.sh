#!/usr/bin/env bash
# Training that goes on from a model (--start), and the loop that needs the energy alone (docs/energy-only.md) in its short version.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" data dw2 -n 1000 -o data.npy --quiet || finish
succeed "$eqflow" train dw2 --data data.npy --steps 200 -o first.safetensors --quiet
nll_of() { sed -n 's/^ *"held_out_nll": *\([-0-9.e+]*\),*$/\1/p' stdout; }

# One step of next to no length: the model is the one that it begins with.
succeed "$eqflow" train dw2 --data data.npy --start first.safetensors --steps 1 --learning-rate 1e-20 --average-decay 0 --integration-steps 20 -o same.safetensors --quiet
succeed "$eqflow" log-prob first.safetensors --data data.npy -o first.npy --integration-steps 20 --quiet
succeed "$eqflow" log-prob same.safetensors --data data.npy -o same.npy --integration-steps 20 --quiet
if cmp -s first.npy same.npy; then pass; else fail "--start does not begin with the model's parameters"; fi

# Twenty steps from a trained model end below twenty from new parameters; field and prior are the model's.
succeed "$eqflow" train dw2 --data data.npy --start first.safetensors --steps 20 -o on.safetensors --json && from_model=$(nll_of)
succeed "$eqflow" train dw2 --data data.npy --steps 20 -o new.safetensors --json && from_new=$(nll_of)
within "$from_model" 0 "$from_new" "held-out NLL of twenty steps"
succeed "$eqflow" train dw2 --data data.npy --field dense --width 16 --prior-scale 1.5 --steps 20 -o dense.safetensors --quiet
succeed "$eqflow" train dw2 --data data.npy --start dense.safetensors --steps 20 -o dense_on.safetensors --json
if grep -aq 'mean_free_gaussian[^}]*scale[^}]*1.5}' dense_on.safetensors && grep -aq 'dynamics[^}]*dense' dense_on.safetensors; then pass; else
    fail "field or prior of --start"
fi
# Another target.
succeed "$eqflow" train dw2 --start first.safetensors --data none --temperature 0.8 --steps 5 -o cold.safetensors --quiet

refuse() { # CODE WORDS ARGUMENTS...
    expect "$1" "$2" "$eqflow" train "${@:3}" -o refused.safetensors --quiet
    [ ! -e refused.safetensors ] || fail "a model was written"
}
refuse 2 '--field has no meaning here' dw2 --data data.npy --start first.safetensors --field dense
refuse 2 '--num-distance has no meaning here' dw2 --data data.npy --start first.safetensors --num-distance 9
refuse 2 '--prior-scale has no meaning here' dw2 --data data.npy --start first.safetensors --prior-scale 2
refuse 3 'is a model of 2 particles in 2 dimensions, not of 4 in 2' dw4 --start first.safetensors --data none
refuse 3 'absent.safetensors' dw2 --data data.npy --start absent.safetensors

# The loop: ln Z of dw2 (7.26039 by quadrature) from 256 walkers, and a flow of use after two short rounds.
succeed env EQFLOW="$eqflow" "$source_root/apps/study/energy-only.sh" --short dw2 loop || finish
log_z=$(sed -n 's/^ *"log_z": *\([-0-9.e+]*\),*$/\1/p' loop/anneal_2.json)
within "$log_z" 7.0 7.5 "ln Z of the second round"
within "$(sed -n 's/^ *"ess_fraction": *\([-0-9.e+]*\),*$/\1/p' loop/evaluate.json)" 0.3 1 "effective sample size of the last flow"
finish
