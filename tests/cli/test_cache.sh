#!/usr/bin/env bash
# eqflow cache: filled by a run, listed, cleared, off; damaged entries are seen and do no harm.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
export XDG_CACHE_HOME=$work/cache
unset EQFLOW_CACHE

succeed "$eqflow" cache path
if [ "$(cat stdout)" = "$work/cache/eqflow" ]; then pass; else fail "cache path: $(cat stdout)"; fi
succeed "$eqflow" cache list --json
[ "$(json num_entries stdout)" = 0 ] && pass || fail "an absent cache has entries: $(cat stdout)"
[ ! -e cache ] && pass || fail "cache list made a folder"

"$eqflow" devices >/dev/null 2>&1 || skip "no OpenCL device: nothing to fill the cache with"
succeed "$eqflow" data dw2 -n 100 -o x.npy --burn-in 10 --thinning 1 --quiet || finish
succeed "$eqflow" cache list --json
within "$(json num_entries stdout)" 1 20 "entries after one run"
if grep -q '"program": "mcmc"' stdout; then pass; else fail "no mcmc program: $(cat stdout)"; fi
num_files=$(find cache/eqflow -name '*.bin' | wc -l)
[ "$(json num_entries stdout)" -eq "$num_files" ] && pass || fail "$num_files files, listed $(json num_entries stdout)"
num_bytes=$(find cache/eqflow -name '*.bin' -printf '%s\n' | awk '{ s += $1 } END { print s }')
[ "$(json num_bytes stdout)" = "$num_bytes" ] && pass || fail "$num_bytes bytes, listed $(json num_bytes stdout)"
if grep -q '"is_whole": false' stdout; then fail "a fresh entry counts as damaged"; else pass; fi

succeed "$eqflow" cache list
wide=$(awk 'length > 80' stdout | grep -v ' in ')
if [ -z "$wide" ]; then pass; else fail "cache list: wider than 80 columns: $wide"; fi

entry=$(find cache/eqflow -name '*.bin' | head -1)
printf X | dd of="$entry" bs=1 seek=2000 conv=notrunc 2>/dev/null
succeed "$eqflow" cache list
[ "$(grep -c '^(damaged)' stdout)" -eq 1 ] && pass || fail "a damaged entry is not shown: $(cat stdout)"
succeed "$eqflow" data dw2 -n 100 -o y.npy --burn-in 10 --thinning 1 --quiet
same x.npy y.npy "after damage to the cache"

# Kernels of one's own that include a file: a change of that file counts, although the text that names it is the same.
mkdir -p kernels/potential
{ echo '#include "scale.h"'; sed 's/DW_QUARTIC/(SCALE * DW_QUARTIC)/' "$source_root/cl/potential/double_well.clh"; } \
    >kernels/potential/double_well.clh
if cmp -s kernels/potential/double_well.clh "$source_root/cl/potential/double_well.clh"; then fail "nothing was changed"; fi
own=(env EQFLOW_KERNEL_PATH="$work/kernels" "$eqflow" data dw2 -n 100 --burn-in 500 --thinning 5 --quiet --json
    --set-profile "build_option=-I $work/kernels")
echo '#define SCALE 1' >kernels/scale.h
if "${own[@]}" -o one.npy >stdout 2>stderr; then # a driver may know no includes
    echo '#define SCALE 4' >kernels/scale.h
    "${own[@]}" -o four.npy >stdout 2>stderr
    code=$?
    # The known answers are asked again, of other energies.
    if [ $code -eq 8 ] && grep -q 'gives wrong results' stderr; then
        pass
    else
        fail "a changed include: exit code $code: $(cat stderr): $(json mean_energy stdout)"
    fi
fi

num_files=$(find cache/eqflow -name '*.bin' | wc -l)
touch cache/eqflow/.eqflow-1234-0.tmp cache/eqflow/notes.txt # of a killed process; not ours
succeed "$eqflow" cache clear --json
[ "$(json num_removed stdout)" -eq "$num_files" ] && pass || fail "removed $(json num_removed stdout) of $num_files"
[ -z "$(find cache/eqflow -name '*.bin')" ] && pass || fail "cache clear left files behind"
[ "$(ls -A cache/eqflow)" = notes.txt ] && pass || fail "after cache clear: $(ls -A cache/eqflow)"
succeed "$eqflow" cache clear
grep -q '^0 programs removed' stdout && pass || fail "second clear: $(cat stdout)"

# A folder or a file that others can write to is no cache: its code would run. Said once; nothing is read, stored or
# removed there.
succeed "$eqflow" data dw2 -n 100 -o x.npy --burn-in 10 --thinning 1 --quiet
data=("$eqflow" data dw2 -n 100 -o y.npy --burn-in 10 --thinning 1)
not_used() { # WHY
    local before after
    before=$(cd "$work/cache" && find . -type f -path '*eqflow/*' -exec cksum {} + | sort)
    succeed "${data[@]}"
    if [ "$(grep -c "the cache .* is not used: $1" stderr)" -eq 1 ]; then pass; else fail "$1: $(cat stderr)"; fi
    after=$(cd "$work/cache" && find . -type f -path '*eqflow/*' -exec cksum {} + | sort)
    if [ "$before" = "$after" ]; then pass; else fail "$1: a foreign cache was changed"; fi
    expect 3 "cache .* is not used: $1" "$eqflow" cache list
    expect 4 "cache .* is not used: $1" "$eqflow" cache clear
}
chmod g+w cache/eqflow
not_used 'other users may write to it'
chmod 755 cache/eqflow
mv cache/eqflow cache/elsewhere && ln -s elsewhere cache/eqflow
not_used 'it is a link'
rm cache/eqflow && mv cache/elsewhere cache/eqflow
if [ "$(id -u)" -eq 0 ]; then
    chown 12345 cache/eqflow
    not_used 'it belongs to another user'
    chown 0 cache/eqflow
fi
succeed "${data[@]}"
if grep -q 'not used' stderr; then fail "one's own cache is refused: $(cat stderr)"; else pass; fi
# The entries: a program and the word that its known answers were right.
for file in cache/eqflow/*.bin cache/eqflow/*.known; do
    if [ "$(stat -c %a "$file")" = 600 ]; then pass; else fail "$file may be read or written by others"; fi
done
chmod o+w cache/eqflow/*.bin cache/eqflow/*.known
succeed "${data[@]}"
if [ "$(grep -c 'bin is not used: other users may write' stderr)" -ge 1 ]; then pass; else fail "entries of everybody: $(cat stderr)"; fi
if [ "$(grep -c 'known is not used: other users may write' stderr)" -ge 1 ]; then pass; else fail "known answers of everybody: $(cat stderr)"; fi
succeed "${data[@]}" # they were replaced by one's own
if grep -q 'not used' stderr; then fail "foreign entries stay: $(cat stderr)"; else pass; fi
# A name that does not fit is said, too, not cut.
deep=$work/$(printf 'd%.0s' $(seq 200))
for _ in 1 2 3 4 5; do deep=$deep/$(printf 'd%.0s' $(seq 200)); done
succeed env XDG_CACHE_HOME="$deep" POCL_CACHE_DIR="$work/pocl" "${data[@]}"
if [ "$(grep -c 'not used: its name is too long' stderr)" -eq 1 ]; then pass; else fail "a long name: $(cat stderr)"; fi
# Known answers without a program count for the cache's size.
for n in $(seq 600); do printf 'known answers passed' >"cache/eqflow/$(printf '%064x' "$n").known"; done
touch -d '2 days ago' cache/eqflow/.eqflow-1-0.tmp
touch cache/eqflow/.eqflow-1-1.tmp
rm cache/eqflow/*.bin
chmod o+w cache/eqflow/*.known
succeed "${data[@]}" --quiet
num_known=$(find cache/eqflow -name '*.known' | wc -l)
[ "$num_known" -le 512 ] && pass || fail "$num_known of them are kept"
[ ! -e cache/eqflow/.eqflow-1-0.tmp ] && [ -e cache/eqflow/.eqflow-1-1.tmp ] && pass || fail "temporary files: $(ls -A cache/eqflow | grep tmp)"

export EQFLOW_CACHE=off
succeed "$eqflow" cache path --json
[ "$(json path stdout)" = null ] && pass || fail "path with the cache off: $(cat stdout)"
expect 0 'cache is off' "$eqflow" cache path
succeed "$eqflow" cache list
grep -q 'the cache is off' stdout && pass || fail "list with the cache off: $(cat stdout)"

expect 2 "unknown action 'purge'; there are list, clear, path" "$eqflow" cache purge
expect 2 'list|clear|path is missing' "$eqflow" cache
expect 2 "unexpected argument 'all'" "$eqflow" cache clear all
finish
