#!/usr/bin/env bash
# --integrator dopri5 and --gradient otd as a user types them: what they give, and every way to mistype them.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" data dw2 -n 200 -o good.npy --quiet || finish
succeed "$eqflow" train dw2 --data good.npy -o good.safetensors --steps 20 --batch-size 16 --quiet || finish

# ---- What they give -------------------------------------------------------------------------------------------------
succeed "$eqflow" log-prob good.safetensors --data good.npy -o rk4.npy --integration-steps 80 --quiet
succeed "$eqflow" log-prob good.safetensors --data good.npy -o dopri5.npy --integrator dopri5 --rtol 1e-6 --quiet
if ! cmp -s rk4.npy dopri5.npy; then pass; else fail "dopri5 gave the very bits of RK4: was it used?"; fi
succeed "$eqflow" log-prob good.safetensors --data good.npy -o again.npy --integrator rk4 --integration-steps 80 --quiet
if cmp -s rk4.npy again.npy; then pass; else fail "--integrator rk4 is not the default"; fi
succeed "$eqflow" sample good.safetensors -n 100 -o x.npy --integrator dopri5 --quiet
succeed "$eqflow" evaluate good.safetensors --data good.npy -n 200 --integrator dopri5 --rtol 1e-4 --atol 1e-8 --json \
    --report report.html --quiet
if grep -q '"num_steps_mean"' stdout && grep -q '"num_failed_solves": 0' stdout && grep -q '"num_rejected_steps_max"' stdout
then pass; else fail "evaluate does not report the steps of dopri5: $(cat stdout)"; fi
if grep -q 'Dormand-Prince 5(4), rtol 0.0001' report.html; then pass; else fail "the report does not name the integrator"; fi
succeed "$eqflow" train dw2 --data good.npy -o otd.safetensors --steps 5 --batch-size 16 --gradient otd --rtol 1e-3 --quiet
succeed "$eqflow" train dw2 --data good.npy -o otd2.safetensors --steps 5 --batch-size 16 --gradient otd --rtol 1e-3 --quiet
if cmp -s otd.safetensors otd2.safetensors; then pass; else fail "training by the adjoint does not repeat"; fi

# ---- Mistyped -------------------------------------------------------------------------------------------------------
for command in "log-prob good.safetensors --data good.npy -o out.npy" "sample good.safetensors -n 10 -o out.npy" \
    "evaluate good.safetensors --data good.npy"; do
    # shellcheck disable=SC2086
    {
        expect 2 'rk4 or dopri5' "$eqflow" $command --integrator euler
        expect 2 'add --integrator dopri5' "$eqflow" $command --rtol 1e-4
        expect 2 'add --integrator dopri5' "$eqflow" $command --integrator rk4 --atol 1e-4
        expect 2 'dopri5 chooses its steps' "$eqflow" $command --integrator dopri5 --integration-steps 10
        expect 2 'no fixed times' "$eqflow" $command --integrator dopri5 --field-evaluation table
        expect 2 'at least 1e-08' "$eqflow" $command --integrator dopri5 --rtol 1e-12
        expect 2 '--atol' "$eqflow" $command --integrator dopri5 --atol nan
    }
done
train="train dw2 --data good.npy -o new.safetensors --steps 5"
# shellcheck disable=SC2086
{
    expect 2 'dto, otd or path' "$eqflow" $train --gradient adjoint
    expect 2 'add --gradient otd' "$eqflow" $train --rtol 1e-4
    expect 2 'add --gradient otd' "$eqflow" $train --gradient dto --atol 1e-4
    expect 2 'integration-penalty' "$eqflow" $train --gradient otd --integration-penalty 0.1
    expect 2 'no fixed times' "$eqflow" $train --gradient otd --field-evaluation table
}
finish
