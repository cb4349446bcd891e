#!/usr/bin/env bash
# Which devices are there and which one is taken: selectors, made-up ICD folders, stored probes.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
unset EQFLOW_DEVICE EQFLOW_CACHE RUSTICL_ENABLE
export XDG_CACHE_HOME=$work/cache POCL_CACHE_DIR=${POCL_CACHE_DIR:-$HOME/.cache/pocl/kcache} # PoCL would keep its own there
data() { "$eqflow" data dw2 -n 4 -o x.npy --burn-in 1 --thinning 1 "$@"; }

# ---- Loaders without anything ----
mkdir none broken empty noise
echo libeqflow-is-not-there.so.1 >broken/a.icd
: >empty/a.icd
ldconfig -p | awk '/libc\.so\.6/ { print $NF; exit }' >noise/a.icd
loader_obeys() { # some loaders ignore OCL_ICD_VENDORS: then the made-up folders mean nothing
    ! OCL_ICD_VENDORS=$work/none "$eqflow" devices >/dev/null 2>&1
}
loader_obeys || skip "this OpenCL loader does not know OCL_ICD_VENDORS"
expect 5 'no OpenCL implementation is installed where OCL_ICD_VENDORS points' \
    env OCL_ICD_VENDORS="$work/none" "$eqflow" devices
expect 5 'a\.icd names libeqflow-is-not-there\.so\.1, which cannot be loaded \(.*\); install that driver' \
    env OCL_ICD_VENDORS="$work/broken" "$eqflow" devices
expect 5 'a\.icd is empty' env OCL_ICD_VENDORS="$work/empty" "$eqflow" devices
expect 5 'which is no OpenCL driver' env OCL_ICD_VENDORS="$work/noise" "$eqflow" devices
expect 5 'names libeqflow-is-not-there' env OCL_ICD_VENDORS="$work/broken" "$eqflow" selftest
# PoCL without a cache folder that it can make offers no device, and is installed.
pocl=${vendors:-$machine_vendors}/pocl.icd
if [ -f "$pocl" ] && OCL_ICD_VENDORS=$pocl "$eqflow" devices | grep -q 'Portable\|pthread\|PoCL\|cpu'; then
    env -u POCL_CACHE_DIR OCL_ICD_VENDORS="$pocl" XDG_CACHE_HOME=/dev/null "$eqflow" devices >stdout 2>stderr
    code=$?
    if [ $code -eq 0 ] || { [ $code -eq 5 ] && grep -q 'offers no device: can its cache be written' stderr; }; then # 0: a PoCL that can do without
        pass
    else
        fail "PoCL without a cache: exit code $code: $(cat stderr)"
    fi
fi
rusticl=${vendors:-$machine_vendors}/rusticl.icd
if [ -f "$rusticl" ]; then
    expect 5 'OpenCL is installed \(rusticl\) but offers no device: rusticl wants its driver named, RUSTICL_ENABLE=' \
        env OCL_ICD_VENDORS=$rusticl "$eqflow" devices
fi

# ---- Selectors, on one CPU driver that is there twice ----
pocl=$(find "${vendors:-$machine_vendors}" -name 'pocl*.icd' 2>/dev/null | sort | head -1)
[ -n "$pocl" ] || { echo "no PoCL here: selectors are not tested"; finish; }
mkdir one two mixed
cp "$pocl" one/a.icd
export OCL_ICD_VENDORS=$work/one
succeed "$eqflow" devices --json
grep -q '"choice_reason": "the only one that can be used"' stdout && pass || fail "one device: $(cat stdout)"
for selector in auto AUTO 0 cpu CPU portable; do succeed "$eqflow" devices --device "$selector"; done
succeed env EQFLOW_DEVICE=cpu "$eqflow" devices
expect 5 "no device matches 'gpu': 'eqflow devices' lists the 1 here" "$eqflow" devices --device gpu
expect 5 "no device matches 'accelerator'" "$eqflow" devices --device accelerator
expect 5 "no device matches 'nvidia'" "$eqflow" devices --device nvidia
expect 5 "there is no device 7: 'eqflow devices' lists the 1 here, from 0" "$eqflow" devices --device 7
expect 5 'there is no device 99999999999999999999' "$eqflow" devices --device 99999999999999999999
expect 5 "no device matches '-1'" "$eqflow" devices --device=-1
expect 5 "no device matches 'no such thing'" env EQFLOW_DEVICE='no such thing' "$eqflow" selftest
succeed data
[ ! -s stderr ] || ! grep -q 'device 0' stderr && pass || fail "one device, and yet a choice was announced: $(cat stderr)"

cp "$pocl" two/a.icd
cp "$pocl" two/b.icd
export OCL_ICD_VENDORS=$work/two
succeed "$eqflow" devices
if [ "$(grep -c '^[* ] [0-9]:' stdout)" -eq 2 ]; then
    grep -q 'the same device and driver as 0: two ICD files' stdout && pass || fail "two of a kind: $(cat stdout)"
    succeed data
    grep -q 'device 0 of 2, .*first CPU' stderr && pass || fail "the choice is not announced: $(cat stderr)"
    succeed data --device 1
    grep -q 'device . of 2' stderr && fail "a named device is announced: $(cat stderr)" || pass
    succeed data --quiet
    grep -qv 'warning:' stderr && fail "--quiet: $(cat stderr)" || pass # a run this short is warned of
    # Probes: nothing before all are measured, then the fastest. Both copies are one device to the store.
    succeed "$eqflow" devices --probe --quiet
    grep -q 'fastest by the stored probes, [0-9.]* GFLOP/s' stdout && pass || fail "no probe was used: $(cat stdout)"
    succeed "$eqflow" devices --json
    grep -Eq '"probe_gflops": [0-9]' stdout && pass || fail "the probe was not kept: $(cat stdout)"
    # What others may write to is not used: the probe, and a tuning.
    probe=$(ls cache/eqflow/*.probe)
    tuning=${probe%.probe}.tuning
    printf 'table_cells = 1024\n' >"$tuning"
    succeed "$eqflow" devices --verbose
    grep -Eq 'table_cells +1024 +eqflow tune' stdout && pass || fail "a stored tuning: $(grep table_cells stdout)"
    chmod o+w "$probe" "$tuning"
    succeed "$eqflow" devices --verbose
    for kind in probe tuning; do
        [ "$(grep -c "$kind is not used: other users may write to it" stderr)" -ge 1 ] && pass || fail "a $kind of everybody: $(cat stderr)"
    done
    if grep -Eq 'table_cells +1024|fastest by the stored probes' stdout; then fail "a probe or tuning of everybody is used"; else pass; fi
    rm "$tuning"
    chmod o-w "$probe"
    printf 'nonsense\n' >"$(ls cache/eqflow/*.probe)"
    succeed "$eqflow" devices
    grep -q 'first CPU; GPUs come' stdout && pass || fail "a damaged probe: $(cat stdout)"
    EQFLOW_CACHE=off expect 2 'no cache folder' "$eqflow" devices --probe --quiet
fi

cp "$pocl" mixed/a.icd
echo libeqflow-is-not-there.so.1 >mixed/b.icd
export OCL_ICD_VENDORS=$work/mixed
succeed "$eqflow" devices
grep -q 'b\.icd names libeqflow-is-not-there' stderr && pass || fail "the broken file beside a good one: $(cat stderr)"
grep -q '^\* 0:' stdout && pass || fail "the good one is not taken: $(cat stdout)"

# llvmpipe never wins over a CPU driver, and does when named.
if [ -f "$rusticl" ]; then
    cp "$rusticl" one/0.icd
    export OCL_ICD_VENDORS=$work/one RUSTICL_ENABLE=llvmpipe
    succeed "$eqflow" devices
    if grep -q llvmpipe stdout; then
        grep -A4 llvmpipe stdout | grep -q 'a last resort' && pass || fail "llvmpipe: $(cat stdout)"
        succeed "$eqflow" devices --device rusticl
        grep -q '^\* .: llvmpipe' stdout && pass || fail "--device rusticl: $(cat stdout)"
        succeed "$eqflow" devices --device cpu
        grep -q '^\* .: llvmpipe' stdout && fail "--device cpu takes the last resort: $(cat stdout)" || pass
    fi
fi
finish
