#!/usr/bin/env bash
# Many processes on one cold cache: cold_cache.sh PROGRAM [ROUNDS [SEED [SECONDS]]]     (5 rounds; the seed is printed) Each
# round empties the program cache and starts eight runs at once; two of them are killed (-9) at random moments. The
# others must give the same bits and say nothing; afterwards no entry is damaged, and a further run builds nothing
# anew. The driver's own cache stays.
set -u
eqflow=$(realpath "${1:?the program}")
rounds=${2:-5} seed=${3:-$RANDOM} limit=${4:-0}
export LC_ALL=C EQFLOW_DEVICE=${EQFLOW_DEVICE:-auto}
. "$(dirname "${BASH_SOURCE[0]}")/../support/own_folder.sh"
own_folder cold
export XDG_CACHE_HOME=$work/cache
mkdir cache
echo "seed $seed"
RANDOM=$seed
num_bad=0 num_runs=0 num_killed=0
bad() {
    num_bad=$((num_bad + 1))
    echo "BAD, round $round: $*"
}
"$eqflow" data dw2 -n 200 -o x.npy --quiet >/dev/null || exit 77
"$eqflow" train dw2 --data x.npy -o m.safetensors --steps 5 --batch-size 16 --quiet >/dev/null || exit 1
run() { "$eqflow" sample m.safetensors -n 100 -o "$1.npy" --log-prob "$1.log.npy" --quiet; }
run good >/dev/null || exit 1
for round in $(seq "$rounds"); do
    rm -rf cache/eqflow
    children=()
    for n in 1 2 3 4 5 6 7 8; do
        "$eqflow" sample m.safetensors -n 100 -o "s$n.npy" --log-prob "s$n.log.npy" --quiet >/dev/null 2>"stderr$n" </dev/null &
        children+=($!)
    done
    for n in 0 5; do
        sleep "$(awk -v r=$RANDOM 'BEGIN { printf "%.3f", r / 32768 }')"
        kill -9 "${children[$n]}" 2>/dev/null && num_killed=$((num_killed + 1))
    done
    for n in 1 2 3 4 5 6 7 8; do
        wait "${children[$((n - 1))]}" 2>/dev/null
        status=$?
        num_runs=$((num_runs + 1))
        [ $status -eq 137 ] && continue
        if [ $status -ne 0 ] || [ -s "stderr$n" ] || ! cmp -s "s$n.npy" good.npy || ! cmp -s "s$n.log.npy" good.log.npy; then
            bad "run $n: exit code $status: $(cat "stderr$n")"
        fi
    done
    "$eqflow" cache list --json >list 2>stderr || bad "cache list: $(cat stderr)"
    grep -q '"is_whole": false' list && bad "damaged entries: $(grep -c '"is_whole": false' list)"
    run again 2>stderr >/dev/null || bad "afterwards: $(cat stderr)"
    [ ! -s stderr ] && cmp -s again.npy good.npy || bad "afterwards: $(cat stderr)"
    [ -z "$(find cache/eqflow -name '.eqflow-*.tmp' -print -quit)" ] || bad "left over: $(ls -A cache/eqflow)"
    rm -f s*.npy again*
    [ "$limit" -gt 0 ] && [ "$SECONDS" -ge "$limit" ] && break
done
echo "$num_runs runs in $round rounds on one cold cache, $num_killed of them killed; $num_bad bad"
[ $num_bad -eq 0 ]
