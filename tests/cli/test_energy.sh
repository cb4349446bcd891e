#!/usr/bin/env bash
# Training on the energy, on mixtures, with augmentation, as a user types it: files, resuming, every way to mistype it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" data dw2 -n 300 -o good.npy --quiet || finish
small="--steps 30 --num-generated 16 --quiet"

# No data at all.
# shellcheck disable=SC2086
succeed "$eqflow" train dw2 --data none -o energy.safetensors $small --json
if grep -q '"loss": "energy"' stdout && [ "$(json held_out_nll stdout)" = null ]; then pass; else fail "$(cat stdout)"; fi
within "$(json held_out_free_energy stdout)" -7.3 1000 "free energy"
if head -1 energy.csv | grep -q '^step,seconds,loss,nll,held_out_nll,gradient_norm,learning_rate,free_energy,held_out_free_energy$' &&
    sed -n 2p energy.csv | grep -Eq '^[0-9]+,[^,]+,[^,]+,,,[^,]+,[^,]+,[^,]+,[^,]+$'; then
    pass
else
    fail "log: $(head -2 energy.csv)"
fi
succeed "$eqflow" sample energy.safetensors -n 5 -o x.npy --quiet
succeed "$eqflow" evaluate energy.safetensors --data good.npy -n 50 --report report.html --quiet
# shellcheck disable=SC2086
succeed "$eqflow" train dw2 --loss energy -o energy2.safetensors $small
same energy.safetensors energy2.safetensors "--loss energy and --data none"

# Likelihood alone: the log is as it has always been.
succeed "$eqflow" train dw2 --data good.npy -o nll.safetensors --steps 20 --batch-size 16 --quiet
if head -1 nll.csv | grep -q 'learning_rate$' && ! grep -q free_energy nll.safetensors; then pass; else fail "$(head -1 nll.csv)"; fi

# A mixture, augmented: whole, and stopped and resumed.
mixture() { # MODEL [more options]
    local model=$1
    shift
    "$eqflow" train dw2 --data good.npy --loss mixture --augment -o "$model" --steps 400 --batch-size 16 --num-generated 8 \
        --seed 3 --checkpoint-interval 0 --quiet "$@"
}
succeed mixture whole.safetensors --json
within "$(json held_out_nll stdout)" 3 20 "held-out NLL of the mixture"
within "$(json held_out_free_energy stdout)" -7.3 50 "free energy of the mixture"
"$eqflow" train dw2 --data good.npy --loss mixture --augment -o stopped.safetensors --steps 400 --batch-size 16 \
    --num-generated 8 --seed 3 --checkpoint-interval 0 --quiet >stdout 2>stderr </dev/null &
child=$!
children="$children $child"
for _ in $(seq 1200); do
    [ -e stopped.safetensors.checkpoint ] && break
    sleep 0.05
done
kill -TERM "$child"
wait "$child"
code=$?
if [ $code -eq 130 ] && grep -q 'resume with' stderr; then pass; else fail "SIGTERM: exit code $code: $(cat stderr)"; fi
expect 2 'other options' mixture stopped.safetensors --resume --nll-weight-end 0.4
expect 2 'other options' mixture stopped.safetensors --resume --energy-cap 50
succeed mixture stopped.safetensors --resume
same whole.safetensors stopped.safetensors "SIGTERM and --resume"
succeed mixture constant.safetensors --nll-weight-start 0.7 --nll-weight-end 0.7 --energy-cap 40
if cmp -s whole.safetensors constant.safetensors; then fail "the weights change nothing"; else pass; fi

# Hard cores.
succeed "$eqflow" train lj13 --particles 5 --data none -o lj.safetensors --steps 5 --num-generated 16 --quiet
expect 7 'not finite|non-finite' "$eqflow" train lj13 --particles 5 --data none -o lj2.safetensors --steps 20 --num-generated 16 \
    --energy-cap none --learning-rate 1e6 --clip-norm 0 --quiet

bad() { # PATTERN options: exit code 2, no file touched
    local pattern=$1
    shift
    expect 2 "$pattern" "$eqflow" train dw2 -o bad.safetensors "$@"
}
bad '--loss kl: must be nll, energy or mixture' --loss kl
bad '--loss nll needs samples' --loss nll --data none
bad '--loss mixture needs samples' --loss mixture --data none
bad '--loss energy uses no samples' --loss energy --data good.npy
bad '--num-train has no meaning' --loss energy --num-train 100
bad '--held-out has no meaning' --data none --held-out 0.2
bad '--augment has no meaning' --data none --augment
bad '--data-noise has no meaning' --data none --data-noise 0.1
bad '--prior-scale data has no meaning' --data none --prior-scale data
bad '--batch-size has no meaning' --data none --batch-size 16
bad '--num-generated has no meaning' --data good.npy --num-generated 16
bad '--energy-cap has no meaning' --energy-cap 100
bad '--nll-weight-start has no meaning' --nll-weight-start 0.5
bad '--nll-weight-end has no meaning' --data none --nll-weight-end 0.5
bad '--nll-weight-end 1.5' --loss mixture --nll-weight-end 1.5
bad '--nll-weight-start -1' --loss mixture --nll-weight-start -1
bad '--num-generated 0' --data none --num-generated 0
bad '--energy-cap high' --data none --energy-cap high
bad '--energy-cap inf' --data none --energy-cap inf
bad '--energy-cap' --data none --energy-cap ''
expect 6 'memory|MiB|GB' env POCL_MEMORY_LIMIT=1 timeout 60 "$eqflow" train lj13 --data none -o bad.safetensors \
    --num-generated 1000000 --quiet
finish
