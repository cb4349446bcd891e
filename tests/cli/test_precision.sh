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
succeed "$eqflow" selftest --only double
grep -Eq 'ok +radial, direct, rk4, double: log-densities' stdout && pass || fail "selftest says nothing of double: $(cat stdout)"
finish
