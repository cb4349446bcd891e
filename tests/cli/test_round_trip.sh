#!/usr/bin/env bash
# Steps that do not resolve a flow: log-densities of sample and log-prob then disagree, and each command says so.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" data dw4 -n 400 -o x.npy --quiet || finish
succeed "$eqflow" train dw4 --data x.npy -o m.safetensors --steps 150 --quiet --json || finish
within "$(json round_trip_log_prob stdout)" 0 5e-5 "log-densities there and back, nats, as train chose the steps"
steps=$(json integration_steps stdout)
within "$steps" 20 80 "integration steps that were chosen"

quiet=(--quiet --json)
for command in "sample m.safetensors -n 300 -o s.npy" "log-prob m.safetensors --data x.npy -o p.npy" "boltzmann m.safetensors -n 1000"; do
    # shellcheck disable=SC2086
    succeed "$eqflow" $command "${quiet[@]}"
    within "$(json round_trip_log_prob stdout)" 0 1e-4 "there and back, ${command%% *}"
    if grep -q 'does not resolve' stderr; then fail "$command warns of $steps steps: $(cat stderr)"; else pass; fi
    # shellcheck disable=SC2086
    succeed "$eqflow" $command "${quiet[@]}" --integration-steps 2
    within "$(json round_trip_log_prob stdout)" 0.01 1e9 "there and back with two steps, ${command%% *}"
    if [ "$(grep -c 'warning: the integration does not resolve this flow: .*use more --integration-steps' stderr)" -eq 1 ]; then
        pass
    else
        fail "$command says nothing of two steps: $(cat stderr)"
    fi
done
succeed "$eqflow" sample m.safetensors -n 300 -o s.npy "${quiet[@]}" --integrator dopri5 --rtol 0.1 --atol 1
within "$(json round_trip_log_prob stdout)" 0.01 1e9 "there and back, coarse dopri5"
if grep -q 'use a smaller --rtol' stderr; then pass; else fail "coarse dopri5 passes: $(cat stderr)"; fi
finish
