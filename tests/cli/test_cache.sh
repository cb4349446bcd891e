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

touch cache/eqflow/.eqflow-1234-0.tmp cache/eqflow/notes.txt # of a killed process; not ours
succeed "$eqflow" cache clear --json
[ "$(json num_removed stdout)" -eq "$num_files" ] && pass || fail "removed $(json num_removed stdout) of $num_files"
[ -z "$(find cache/eqflow -name '*.bin')" ] && pass || fail "cache clear left files behind"
[ "$(ls -A cache/eqflow)" = notes.txt ] && pass || fail "after cache clear: $(ls -A cache/eqflow)"
succeed "$eqflow" cache clear
grep -q '^0 programs removed' stdout && pass || fail "second clear: $(cat stdout)"

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
