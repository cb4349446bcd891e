#!/usr/bin/env bash
# Planted faults are caught: wrong kernels, kernels that do not compile, damaged and foreign cache entries, devices that
# lie or go away.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
export XDG_CACHE_HOME=$work/cache TMPDIR=$work POCL_CACHE_DIR=${POCL_CACHE_DIR:-$HOME/.cache/pocl/kcache}
unset EQFLOW_CACHE EQFLOW_KERNEL_PATH
"$eqflow" devices >/dev/null 2>&1 || skip "no OpenCL device"
cache=$work/cache/eqflow

# A small model, and what it gives.
succeed "$eqflow" data dw2 -n 64 -o data.npy --burn-in 20 --thinning 1 --quiet
succeed "$eqflow" train dw2 --data data.npy -o m.safetensors --steps 3 --batch-size 16 --quiet || finish
sample() { "$eqflow" sample m.safetensors -n 20 -o x.npy --log-prob l.npy --quiet "$@"; }
succeed sample
cp x.npy good.npy
[ "$(find "$cache" -name '*.known' | wc -l)" -ge 5 ] && pass || fail "known answers were not kept: $(ls "$cache")"

# refused CODE PATTERN COMMAND...: that exit code, one line of ours (drivers add theirs) like the pattern, and no
# samples written.
refused() {
    local code=$1 pattern=$2 got
    shift 2
    rm -f x.npy l.npy
    "$@" >stdout 2>stderr
    got=$?
    if [ "$got" -ne "$code" ]; then
        fail "$*: exit code $got, expected $code: $(cat stderr)"
    elif ! grep -Eq -- "$pattern" stderr || [ "$(grep -c '^eqflow' stderr)" -ne 1 ]; then
        fail "$*: stderr does not match '$pattern': $(cat stderr)"
    elif [ -e x.npy ] || [ -e l.npy ]; then
        fail "$*: samples were written"
    else
        pass
        echo "ok $code: $(cat stderr)"
    fi
}
# again WHAT: the same samples as before the fault.
again() {
    rm -f x.npy
    succeed sample
    same x.npy good.npy "$1"
}

# ---- Kernels with a wrong sign, each in a folder of its own ----
wrong() { # FILE SED NAME
    rm -rf kernels
    cp -r "$source_root/cl" kernels
    sed -i "$2" "kernels/$1"
    if cmp -s "kernels/$1" "$source_root/cl/$1"; then fail "the fault '$3' was not planted in $1"; fi
}
names_all='gives wrong results on .* with driver .* off by .*, allowed .*; nothing was computed with it: '
wrong dynamics/radial.clh 's/velocity\[j \* D + a\] -= r/velocity[j * D + a] += r/' 'third law'
refused 8 "kernel program .*'trajectory' $names_all" \
    env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet --field-evaluation direct
grep -q 'try --set-profile vector_width=1, another --device' stderr || [ "$(json vector_width <("$eqflow" devices --json))" = 1 ] &&
    pass || fail "no plain variant is offered: $(cat stderr)"
wrong dynamics/radial.clh 's/div += d \* phi1 +/div += d * phi1 -/' 'divergence'
refused 8 "kernel program .*'trajectory' $names_all" \
    env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet --field-evaluation direct
wrong common/random.clh 's/sqrt(/0.99f * sqrt(/' 'prior'
refused 8 "kernel program 'prior' $names_all" \
    env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet
wrong dynamics/radial_table.clh 's/sqrt_distance(d2)/sqrt_distance(d2) * 1.01f/' 'table'
refused 8 "kernel program 'trajectory' $names_all.*try --field-evaluation direct" \
    env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet
wrong potential/double_well.clh 's/DW_QUARTIC/-DW_QUARTIC/' 'potential'
refused 8 "kernel program 'mcmc' gives wrong results|not finite" \
    env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" data dw2 -n 8 -o x.npy --burn-in 5 --thinning 1 --quiet
refused 8 "kernel program 'potential' $names_all" \
    env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet
wrong dynamics/radial_gradients.cl 's/+=/-=/' 'gradient'
cp m.safetensors before.safetensors
refused 8 "kernel program 'radial_gradients' $names_all" \
    env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" train dw2 --data data.npy -o n.safetensors --steps 3 --batch-size 16 --quiet
[ ! -e n.safetensors ] && pass || fail "a model of wrong gradients was written"

# ---- The same of what else gives results: the dense field, dopri5 and its adjoint, quenches, what training adds ----
# caught FILE SED PROGRAM COMMAND...: planted in FILE, the command stops, names that program and the driver, and leaves
# no model.
caught() {
    local file=$1 fault=$2 program=$3
    shift 3
    wrong "$file" "$fault" "$program"
    refused 8 "kernel program .*'$program'.* $names_all" env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" "$@" --quiet
    [ ! -e n.safetensors ] && pass || fail "$file: a model was written"
}
train() { echo train dw2 --data data.npy -o n.safetensors --steps 1 --batch-size 16 "$@"; }
succeed "$eqflow" train dw2 --field dense --data data.npy -o d.safetensors --steps 1 --batch-size 16 --quiet
dense="sample d.safetensors -n 20 -o x.npy"
# shellcheck disable=SC2046,SC2086 # words, none with blanks
{
    caught dynamics/dense.clh 's/unit : -(real)k \* unit/unit : (real)k * unit/' dense $dense
    caught dynamics/dense.cl 's/fma(load_lanes(row + COLUMN(0, block)), slope, bend/fma(load_lanes(row + COLUMN(0, block)), slope, -bend/' \
        dense $(train --field dense)
    caught dynamics/dense.clh 's/(real)2 \* convert_realv(words\[i\] >> 31)/(real)3 * convert_realv(words[i] >> 31)/' dense \
        $(train --field dense --divergence rademacher)
    caught integrator/rk4_batched.cl 's/fma((realv)h, load_lanes(sum/fma((realv)-h, load_lanes(sum/' rk4_batched $dense
    caught integrator/rk4_batched.cl 's/(realv)share, load_lanes(adjoint_total/(realv)-share, load_lanes(adjoint_total/' rk4_batched \
        $(train --field dense)
    caught integrator/dormand_prince_tableau.clh 's/FRACTION(35, 384)/-FRACTION(35, 384)/' dormand_prince \
        sample m.safetensors -n 20 -o x.npy --integrator dopri5
    caught integrator/dormand_prince_batched.cl 's/direction \* load_lanes(OWN(velocity/-direction * load_lanes(OWN(velocity/' \
        dormand_prince_batched $dense --integrator dopri5
    caught dynamics/radial_any_time.clh 's/velocity\[j \* D + a\] -= r/velocity[j * D + a] += r/' dormand_prince sample m.safetensors -n 20 -o x.npy --integrator dopri5
    caught integrator/dormand_prince_adjoint.clh 's/-direction \* weight \* adjoint_log_det/direction * weight * adjoint_log_det/' \
        dormand_prince_adjoint $(train --gradient otd)
    caught integrator/dormand_prince_batched.cl 's/-direction \* weight \* adjoint)/direction * weight * adjoint)/' \
        dormand_prince_batched_adjoint $(train --field dense --gradient otd)
    caught minima/quench.cl 's/before - step_back/before + step_back/' minima minima dw2 -n 8
    caught minima/quench.cl 's/COMPONENT_OF(below, c) - COMPONENT_OF(above, c)/COMPONENT_OF(above, c) - COMPONENT_OF(below, c)/' minima minima dw2 -n 8 --float
    caught potential/energy_seed.cl 's/realv slope = -shrink/realv slope = shrink/' energy_seed \
        train dw2 --loss energy -o n.safetensors --steps 1 --num-generated 16
    caught train/adam.cl 's/p -= learning_rate/p += learning_rate/' train $(train)
    stages='train dw2 --field dense --width 8 --depth 1 --num-train 100 -o n.safetensors --integration-steps 2'
    caught train/flow_matching.cl 's/load_lanes(data + AT(c)) - z, z)/load_lanes(data + AT(c)) + z, z)/' flow_matching \
        $stages --stage flow-matching,steps=1,batch=16
    caught train/flow_matching.cl 's/(real)2 \* share/-(real)2 * share/' flow_matching $stages --stage flow-matching,steps=1,batch=16
    caught prior/prior.cl 's/(realv)-1, scale/(realv)1, scale/' prior \
        $stages --stage nll,steps=1,batch=16,gradient=path
    caught train/path.cl 's/fma(share, load_lanes(score/fma(-share, load_lanes(score/' path $stages --stage nll,steps=1,batch=16,gradient=path
    caught train/weighted.cl 's/, f \* load_lanes(at)/, -f * load_lanes(at)/' weighted $stages --stage nll,steps=1,batch=16,dispersion=1
    caught train/batch.cl 's/position % num/position % (num - 1)/' train $(train)
    caught train/augment.cl 's/q\[0\]\[1\] = -s/q[0][1] = s/' augment $(train --field dense --augment)
    caught prior/gaussian.clh 's/share \* z\[c\]/-share * z[c]/' prior $(train)
}
again 'after wrong kernels'

# ---- A kernel that does not compile: file, line, and where the log is ----
wrong dynamics/radial_table.clh '/^static inline void field_velocity/s/$/ this is no C;/' 'syntax'
line=$(grep -n 'this is no C' kernels/dynamics/radial_table.clh | cut -d: -f1)
refused 6 "did not build on .*cl/dynamics/radial_table\.clh:$line:.*; options, log and source: $work/eqflow-build-" \
    env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet
log=$(sed -n 's/^eqflow.*log and source: //p' stderr)
grep -q 'this is no C' "$log" && grep -q -- '-D N=' "$log" && pass || fail "the log $log lacks source or options"
again 'after a kernel that does not compile'

# ---- The cache: cut off, of another driver, with a record that is none ----
for entry in "$cache"/*.bin; do
    head -c 3000 "$entry" >beginning && cp beginning "$entry"
done
rm -f x.npy
"$eqflow" sample m.safetensors -n 20 -o x.npy >stdout 2>stderr
grep -q 'is damaged: removed, building anew' stderr && pass || fail "a truncated entry: $(cat stderr)"
same x.npy good.npy 'after a truncated entry'
: >"$entry"
again 'after an empty entry'
# Another driver's entry under this one's name: its header says so, or its digest does not fit.
driver=$("$eqflow" devices --json | sed -n 's/^ *"driver_version": "\(.*\)",$/\1/p' | head -1)
for entry in "$cache"/*.bin; do
    LC_ALL=C sed -i "s/$(printf %s "$driver" | sed 's/[.]/\\&/g')/$(printf %s "$driver" | tr '0-9' '1-90')/" "$entry"
done
rm -f x.npy
"$eqflow" sample m.safetensors -n 20 -o x.npy >stdout 2>stderr
grep -Eq 'is damaged|is of another driver' stderr && pass || fail "another driver's entries: $(cat stderr)"
same x.npy good.npy "after another driver's entries"
for known in "$cache"/*.known; do : >"$known"; done
"$eqflow" sample m.safetensors -n 20 -o x.npy --verbose >stdout 2>stderr
grep -q "known answers: program 'trajectory' is right" stderr && pass || fail "an empty file was believed: $(cat stderr)"
"$eqflow" sample m.safetensors -n 20 -o x.npy --verbose >stdout 2>stderr
grep -q 'known answers' stderr && fail "answers are asked again: $(cat stderr)" || pass

# ---- Too little memory: whoever notices first, the last line is ours ----
if ! ldd "$eqflow" | grep -qi asan; then
    for kilobytes in 300000 350000 400000 450000 500000; do
        (ulimit -c 0 && ulimit -v $kilobytes && exec env EQFLOW_CACHE=off POCL_CACHE_DIR="$work/pocl$kilobytes" "$eqflow" data dw2 \
            -n 64 -o y.npy --burn-in 50 --thinning 50 --quiet) >stdout 2>stderr
        code=$?
        if [ $code -eq 0 ] || { tail -1 stderr | grep -q '^eqflow data: ' && { [ $code -lt 128 ] || tail -1 stderr | grep -q 'ulimit -a'; }; }; then
            pass
        else
            fail "with $kilobytes kB: exit code $code: $(cat stderr)"
        fi
        rm -rf y.npy "$work/pocl$kilobytes"
    done
fi

# ---- Devices that lie, stop, or go away ----
faulty=${EQFLOW_FAULTY_OPENCL:-}
if [ -z "$faulty" ] || [ ! -e "$faulty" ] || ldd "$eqflow" | grep -qi asan; then
    echo "no faulty OpenCL here: the rest is not tested"
    finish
fi
under() { env LD_PRELOAD="$faulty" "$@"; }
refused 5 'cannot be used: not usable: it reports no memory' under EQFLOW_FAULT=no-memory "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet
succeed under EQFLOW_FAULT=no-memory "$eqflow" devices
grep -q 'not chosen: not usable: it reports no memory' stdout && pass || fail "a device without memory: $(cat stdout)"
refused 6 'was lost while copying from the device \(CL_DEVICE_NOT_AVAILABLE\)' \
    under EQFLOW_FAULT=lost EQFLOW_FAULT_AT=1 "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet
refused 6 'stopped working while copying from the device \(CL_OUT_OF_RESOURCES\): a kernel was killed' \
    under EQFLOW_FAULT=killed EQFLOW_FAULT_AT=2 "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet
for at in 1 5; do
    refused 1 'not finite|non-finite' under EQFLOW_FAULT=nan EQFLOW_FAULT_AT=$at "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet
done
refused 8 'gives wrong results' under EQFLOW_FAULT=flipped EQFLOW_CACHE=off EQFLOW_FAULT_AT=2 \
    "$eqflow" sample m.safetensors -n 20 -o x.npy --quiet
refused 1 'not finite|energy nan' under EQFLOW_FAULT=nan EQFLOW_FAULT_AT=1 "$eqflow" data dw2 -n 8 -o x.npy --burn-in 5 --thinning 1 --quiet
again 'after faulty devices'
finish
