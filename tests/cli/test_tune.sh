#!/usr/bin/env bash
# eqflow tune: measures, rejects what is wrong, keeps the best per device and driver; later runs use it and give the
# same bits.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
export XDG_CACHE_HOME=$work/cache POCL_CACHE_DIR=${POCL_CACHE_DIR:-$HOME/.cache/pocl/kcache}
unset EQFLOW_CACHE EQFLOW_KERNEL_PATH
expect 2 '--only colour: there are vector_width, local_size, group_size, table_cells' "$eqflow" tune --only colour
expect 2 'seconds 0: must be at least' "$eqflow" tune --seconds 0
"$eqflow" devices >/dev/null 2>&1 || skip "no OpenCL device"
EQFLOW_CACHE=off expect 2 'no cache to store the tuning in .*: use --dry-run' "$eqflow" tune --seconds 0.001

succeed "$eqflow" tune --only local_size --seconds 0.001 --quiet --json
grep -q '"is_stored": true' stdout && pass || fail "nothing was stored: $(cat stdout)"
[ "$(find cache/eqflow -name '*.tuning' | wc -l)" -eq 1 ] && pass || fail "not one file: $(ls cache/eqflow)"
succeed "$eqflow" devices --verbose
grep -Eq 'local_size +[0-9]+ +eqflow tune' stdout && pass || fail "the tuning is not used: $(cat stdout)"

# Other values are used, and --set-profile has the last word.
tuning=$(ls cache/eqflow/*.tuning)
printf 'table_cells = 1024  # by hand\n' >"$tuning"
succeed "$eqflow" data dw2 -n 64 -o d.npy --burn-in 20 --thinning 1 --quiet
succeed "$eqflow" train dw2 --data d.npy -o m.safetensors --steps 2 --batch-size 16 --quiet
succeed "$eqflow" sample m.safetensors -n 9 -o a.npy --verbose
grep -q 'table of 1024' stderr && pass || fail "the stored value is not used: $(cat stderr)"
succeed "$eqflow" sample m.safetensors -n 9 -o b.npy --quiet
same a.npy b.npy 'the same tuning twice'
succeed "$eqflow" sample m.safetensors -n 9 -o b.npy --verbose --set-profile table_cells=512
grep -q 'table of 512' stderr && pass || fail "--set-profile does not override: $(cat stderr)"
printf 'vector_width = 3\n' >"$tuning"
succeed "$eqflow" devices
grep -q 'tuning of .* is damaged and not used' stderr && pass || fail "damaged tuning: $(cat stderr)"
succeed "$eqflow" tune --forget
[ ! -e "$tuning" ] && pass || fail "--forget left $tuning"

# A width whose results are wrong is rejected however fast it is; with all wrong there is nothing to tune.
cp -r "$source_root/cl" kernels
width=$("$eqflow" devices --json | sed -n 's/^ *"vector_width": \([0-9]*\),*$/\1/p' | head -1)
cat >>kernels/common/real.clh <<CL
#if V != $width
#undef sqrt_distance
#define sqrt_distance(squared) (1.05f * sqrt(squared))
#endif
CL
export EQFLOW_KERNEL_PATH=$work/kernels
succeed "$eqflow" tune --only vector_width --seconds 0.001 --dry-run --quiet
grep -q 'not stored (--dry-run)' stdout && [ -z "$(ls cache/eqflow/*.tuning 2>/dev/null)" ] && pass || fail "--dry-run: $(cat stdout)"
[ "$(grep -c 'rejected: wrong results' stdout)" -eq 2 ] && pass || fail "wrong widths were not rejected: $(cat stdout)"
sed -i 's/^#if V != .*/#if 1/' kernels/common/real.clh
"$eqflow" tune --only local_size --seconds 0.001 --quiet >stdout 2>stderr
[ $? -eq 8 ] && grep -q 'gives wrong results' stderr && [ ! -s stdout ] && pass || fail "all wrong: $(cat stdout stderr)"
finish
