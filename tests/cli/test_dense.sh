#!/usr/bin/env bash
# The dense field as a user types it: train, sample, log-prob, evaluate, both ways to the divergence, every way to
# mistype it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

train=("$eqflow" train dw2 --field dense --width 8 --num-train 100 --steps 4 --batch-size 16 --integration-steps 4 --quiet)
succeed "${train[@]}" --depth 1 --activation silu -o a.safetensors --json || finish
within "$(json num_params stdout)" 84 84 "trained parameters of (5 -> 8 -> 4)" # 8 * 5 + 8 + 4 * 8 + 4
succeed "${train[@]}" --depth 1 --activation silu -o b.safetensors
same a.safetensors b.safetensors "the same seed"
succeed "${train[@]}" --depth 1 --activation silu --divergence rademacher -o c.safetensors
if cmp -s a.safetensors c.safetensors; then fail "--divergence changes nothing in training"; else pass; fi
succeed "$eqflow" sample a.safetensors -n 50 -o x.npy --log-prob exact.npy --quiet
for how in exact rademacher gaussian; do
    succeed "$eqflow" log-prob a.safetensors --data x.npy -o "$how-1.npy" --divergence $how --quiet
    succeed "$eqflow" log-prob a.safetensors --data x.npy -o "$how-2.npy" --divergence $how --quiet
    same "$how-1.npy" "$how-2.npy" "log-prob --divergence $how, twice"
done
if cmp -s exact-1.npy rademacher-1.npy || cmp -s rademacher-1.npy gaussian-1.npy; then
    fail "log-prob --divergence changes nothing"
else
    pass
fi
succeed "$eqflow" evaluate a.safetensors --data x.npy -n 100 --report r.html --quiet
if grep -q 'dense: width = 8, depth = 1, activation = silu; 84 trained parameters' r.html; then pass; else fail "the report does not name the field"; fi

expect 2 '--field graph: must be radial, dense or message' "$eqflow" train dw2 -o m.safetensors --field graph
expect 2 '--activation relu: must be tanh or silu' "$eqflow" train dw2 -o m.safetensors --field dense --activation relu
expect 2 '--width' "$eqflow" train dw2 -o m.safetensors --field dense --width 0
expect 2 '--depth' "$eqflow" train dw2 -o m.safetensors --field dense --depth 9
expect 2 '--width belongs to --field dense' "$eqflow" train dw2 -o m.safetensors --width 8
expect 2 '--divergence belongs to --field dense' "$eqflow" train dw2 -o m.safetensors --divergence gaussian
expect 2 '--num-time belongs to --field radial' "$eqflow" train dw2 -o m.safetensors --field dense --num-time 8
expect 2 '--field-evaluation belongs to --field radial' \
    "$eqflow" train dw2 -o m.safetensors --field dense --field-evaluation direct
for command in "sample -n 5 -o y.npy" "log-prob --data x.npy -o y.npy" "evaluate --data x.npy -n 5"; do
    # shellcheck disable=SC2086
    expect 2 '--divergence trace: must be exact, rademacher or gaussian' "$eqflow" ${command%% *} a.safetensors ${command#* } --divergence trace
done
# A radial model has no estimate.
succeed "$eqflow" train dw2 --num-train 100 --steps 2 --batch-size 16 --integration-steps 4 -o radial.safetensors --quiet
expect 2 'closed form' "$eqflow" sample radial.safetensors -n 5 -o y.npy --divergence gaussian
# The noise of an estimate follows a configuration's number, not the pieces in which the work is done: their sizes
# follow the clock.
{ for _ in $(seq 1024); do f4_configurations | head -c 16 && f4_configurations | head -c 16; done; } | npy '<f4' False '(2048, 2, 2)' alike.npy
succeed "$eqflow" log-prob a.safetensors --data alike.npy -o alike_log_prob.npy --divergence rademacher --quiet
tail -c 8192 alike_log_prob.npy | head -c 4096 >first_piece
tail -c 4096 alike_log_prob.npy >second_piece
if cmp -s first_piece second_piece; then fail "the noise of the first piece came again"; else pass; fi
finish
