#!/usr/bin/env bash
# Training in stages: one command, one log, one checkpoint; whatever happens between, the same model bit for bit.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" data dw2 -n 1200 -o data.npy --quiet || finish
# shellcheck disable=SC2054 # commas are between the keys of a stage
options=(--data data.npy --field dense --width 16 --depth 1 --integration-steps 6 --seed 3 --checkpoint-interval 0
    --stage flow-matching,steps=160,batch=64,pairing=minibatch,group=16,interval=20
    --stage nll,steps=40,batch=64,gradient=path,lr=1e-3,interval=10,validated=40)

succeed "$eqflow" train dw2 "${options[@]}" -o whole.safetensors --json
if grep -q '"num_stages": *2' stdout && grep -q '"num_steps": *200' stdout; then pass; else fail "result: $(cat stdout)"; fi
if head -1 whole.csv | grep -q 'learning_rate,flow_matching,held_out_flow_matching$' && [ "$(wc -l <whole.csv)" -eq 13 ]; then
    pass
else
    fail "training log: $(cat whole.csv)"
fi
# Each row has the numbers of its own stage and none of the other's.
if awk -F, 'NR > 1 && $1 <= 160 && ($4 != "" || $8 == "" || $9 == "") { exit 1 }
            NR > 1 && $1 > 160 && ($4 == "" || $5 == "" || $8 != "") { exit 1 }' whole.csv; then pass; else fail "columns: $(cat whole.csv)"; fi

# Stopped at whatever stage it has reached, then again: the same file as without.
for delay in 0 0.3 1; do
    set -m
    "$eqflow" train dw2 "${options[@]}" -o stopped.safetensors --quiet >stdout 2>stderr </dev/null &
    child=$!
    set +m
    children="$children $child"
    for _ in $(seq 1200); do
        [ -e stopped.safetensors.checkpoint ] && break
        kill -0 "$child" 2>/dev/null || break
        sleep 0.05
    done
    sleep $delay
    kill -INT "$child" 2>/dev/null
    wait "$child"
    code=$?
    if [ $code -eq 130 ] || [ $code -eq 0 ]; then pass; else fail "code $code: $(cat stderr)"; fi
    [ -e stopped.safetensors.checkpoint ] || echo "note: the run was over before the signal (delay $delay)"
    [ -e stopped.safetensors.checkpoint ] && succeed "$eqflow" train dw2 "${options[@]}" -o stopped.safetensors --quiet --resume
    same whole.safetensors stopped.safetensors "stopped after $delay s and resumed"
    rm -f stopped.*
done

# Another seed, another stage: another model, and its checkpoint is not this one's.
expect 2 '--stage nli,steps=3: begins with' "$eqflow" train dw2 -o m.safetensors --stage nli,steps=3
expect 2 '--stage nll,step=3: .step=3. is no key=value' "$eqflow" train dw2 -o m.safetensors --stage nll,step=3
expect 2 '--stage nll,steps=0: steps must be a whole number from 1' "$eqflow" train dw2 -o m.safetensors --stage nll,steps=0
expect 2 '--stage nll,steps: .steps. is no key=value' "$eqflow" train dw2 -o m.safetensors --stage nll,steps
expect 2 '--stage nll,steps=3,lr=1,steps=4: steps has two values' "$eqflow" train dw2 -o m.safetensors --stage nll,steps=3,lr=1,steps=4
expect 2 'lr must be a number > 0' "$eqflow" train dw2 -o m.safetensors --stage nll,lr=fast
expect 2 'optimizer must be adam.soap' "$eqflow" train dw2 -o m.safetensors --stage nll,optimizer=sgd
expect 2 '--stage names the loss of each stage, so it excludes --loss' "$eqflow" train dw2 -o m.safetensors --stage nll --loss nll
expect 2 'needs samples, so it excludes --data none' "$eqflow" train dw2 -o m.safetensors --stage nll --data none
expect 2 '--gradient path is for --field dense or message' "$eqflow" train dw2 -o m.safetensors --gradient path
expect 2 '--num-hops belongs to --field message' "$eqflow" train dw2 -o m.safetensors --num-hops 2
expect 2 'flow-matching is for --field dense or message' "$eqflow" train dw2 -o m.safetensors --stage flow-matching,steps=4
expect 2 'gradient=path is for --field dense or message' "$eqflow" train dw2 -o m.safetensors --stage nll,gradient=path
finish
