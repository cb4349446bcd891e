#!/usr/bin/env bash
# --precision double: agrees with float to float's rounding, refused in words where it cannot be.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
"$eqflow" devices >/dev/null 2>&1 || skip "no OpenCL device"
succeed "$eqflow" data dw2 -n 40 -o data.npy --burn-in 20 --thinning 1 --quiet
succeed "$eqflow" train dw2 --data data.npy -o m.safetensors --steps 3 --batch-size 16 --quiet || finish
expect 2 '--precision half: must be float or double' "$eqflow" sample m.safetensors -n 4 -o x.npy --precision half
expect 2 'field-evaluation table is of float' \
    "$eqflow" sample m.safetensors -n 4 -o x.npy --precision double --field-evaluation table
if ! "$eqflow" sample m.safetensors -n 4 -o x.npy --precision double --quiet >stdout 2>stderr; then
    grep -q 'has no double precision (fp64): use another --device, or --precision float' stderr && pass ||
        fail "no fp64, and yet: $(cat stderr)"
    finish
fi
expect 1 'double precision is for RK4' "$eqflow" sample m.safetensors -n 4 -o y.npy --precision double --integrator dopri5 --quiet
succeed "$eqflow" log-prob m.safetensors --data data.npy -o wide.npy --precision double --json --quiet
wide=$(json mean_log_prob stdout)
succeed "$eqflow" log-prob m.safetensors --data data.npy -o narrow.npy --json --quiet
narrow=$(json mean_log_prob stdout)
within "$(awk -v a="$wide" -v b="$narrow" 'BEGIN { print a - b }')" -1e-4 1e-4 "float's log-density less double's"
succeed "$eqflow" evaluate m.safetensors --data data.npy -n 64 --precision double --json --quiet
within "$(json nll stdout)" "$(awk -v a="$wide" 'BEGIN { print -a - 2 }')" "$(awk -v a="$wide" 'BEGIN { print -a + 2 }')" "nll in double"
within "$(json float_log_prob_error stdout)" 1e-9 1e-4 "float32 against double, nats"
within "$(json jacobian_error stdout)" 0 1e-4 "double against the map's own Jacobian, nats"
succeed "$eqflow" evaluate m.safetensors --data data.npy -n 64 --precision double --json --quiet --integration-steps 160
within "$(json jacobian_error stdout)" 0 1e-8 "the same with steps enough"
succeed "$eqflow" evaluate m.safetensors --data data.npy -n 64 --json --quiet
if grep -q jacobian_error stdout; then fail "a certificate of double without it"; else pass; fi
# The message field too.
succeed "$eqflow" train dw2 --field message --num-hops 2 --num-scalars 8 --num-vectors 3 --num-edge 6 --num-reduced 2 --num-distance 8 --data data.npy -o message.safetensors --steps 2 --batch-size 16 --quiet
succeed "$eqflow" evaluate message.safetensors --data data.npy -n 64 --precision double --json --quiet --integration-steps 40
within "$(json float_log_prob_error stdout)" 1e-9 1e-4 "message field: float32 against double, nats"
within "$(json jacobian_error stdout)" 0 1e-6 "message field: double against the map's own Jacobian, nats"
succeed "$eqflow" sample message.safetensors -n 5 -o y.npy --precision double --quiet
# One sample a work-item, as on GPUs.
succeed "$eqflow" log-prob message.safetensors --data data.npy -o wide8.npy --precision double --json --quiet
wide=$(json mean_log_prob stdout)
succeed "$eqflow" log-prob message.safetensors --data data.npy -o wide1.npy --precision double --json --quiet --set-profile vector_width=1
within "$(awk -v a="$wide" -v b="$(json mean_log_prob stdout)" 'BEGIN { print a - b }')" -1e-6 1e-6 "double, by lanes less one by one"
succeed "$eqflow" selftest --only double
grep -Eq 'ok +radial, direct, rk4, double: log-densities' stdout && pass || fail "selftest says nothing of double: $(cat stdout)"
finish
