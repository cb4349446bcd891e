#!/usr/bin/env bash
# kill -9 of one rank at a random moment: kills_mpi.sh PROGRAM [COUNT [SEED [SECONDS]]]     (10 kills; PROGRAM was built with
# -DEQFLOW_MPI=ON) mpirun ends within half a minute and not with 0; every output is the old file or the new one, whole;
# a training goes on from its checkpoint and ends with the bits of one that was never killed.
set -u
eqflow=$(realpath "${1:?the program}")
count=${2:-10} seed=${3:-$RANDOM} limit=${4:-0}
export LC_ALL=C EQFLOW_DEVICE=${EQFLOW_DEVICE:-auto} POCL_MAX_PTHREAD_COUNT=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
. "$(dirname "${BASH_SOURCE[0]}")/../support/own_folder.sh"
own_folder kills-mpi
export XDG_CACHE_HOME=$work/cache
mkdir cache
launcher=${MPIEXEC:-mpirun}
oversubscribe=()
if "$launcher" --version 2>&1 | grep -qi 'open.*mpi\|openrte\|prrte'; then oversubscribe=(--oversubscribe); fi
ranks() { "$launcher" "${oversubscribe[@]}" -np 2 "$@"; }
ranks true >/dev/null 2>&1 || { echo "skipped: $launcher does not run here"; exit 77; }
echo "seed $seed"
RANDOM=$seed
num_bad=0 num_killed=0
bad() {
    num_bad=$((num_bad + 1))
    echo "BAD, kill $n ($name, rank $rank, after $delay s): $*"
}
"$eqflow" data dw2 -n 400 -o x.npy --quiet >/dev/null || exit 77
train=(train dw2 --data x.npy --steps 300 --batch-size 64 --checkpoint-interval 0 --integration-steps 10 --quiet)
command_of() {
    case $1 in
        data) echo "data dw2 -n 2000 -o out1.npy --energies out2.npy --quiet" ;;
        train) echo "${train[*]} -o out1.safetensors" ;;
        sample) echo "sample m.safetensors -n 40000 -o out1.npy --log-prob out2.npy --quiet" ;;
    esac
}
ranks "$eqflow" "${train[@]}" -o m.safetensors >/dev/null 2>stderr || { cat stderr; exit 1; }
mkdir good
declare -A milliseconds
for name in data train sample; do
    start=$(date +%s%N)
    # shellcheck disable=SC2046
    ranks "$eqflow" $(command_of $name) >/dev/null 2>stderr || { cat stderr; exit 1; }
    milliseconds[$name]=$((($(date +%s%N) - start) / 1000000))
    for file in out*; do mv "$file" "good/$name-$file"; done
done
names=(data train sample)
for n in $(seq "$count"); do
    name=${names[$((RANDOM % 3))]} rank=$((RANDOM % 2))
    delay=$(awk -v r=$RANDOM -v m="${milliseconds[$name]}" 'BEGIN { printf "%.3f", (0.2 + 0.8 * r / 32768) * m / 1000 }')
    for file in good/"$name"-*; do echo old >"${file#good/"$name"-}"; done
    # shellcheck disable=SC2046
    ranks "$eqflow" $(command_of "$name") >stdout 2>stderr </dev/null &
    mpirun=$!
    sleep "$delay"
    # Its children: the ranks, in the order of their making, directly or below a proxy.
    mapfile -t children < <(pgrep -P "$mpirun" -x "$(basename "$eqflow" | head -c 15)" || true)
    [ ${#children[@]} -gt 0 ] || mapfile -t children < <(for proxy in $(pgrep -P "$mpirun"); do pgrep -P "$proxy" -x "$(basename "$eqflow" | head -c 15)"; done)
    is_killed=0
    [ ${#children[@]} -gt "$rank" ] && kill -9 "${children[$rank]}" 2>/dev/null && is_killed=1 && num_killed=$((num_killed + 1))
    for _ in $(seq 600); do
        kill -0 "$mpirun" 2>/dev/null || break
        sleep 0.05
    done
    if kill -0 "$mpirun" 2>/dev/null; then
        bad "mpirun did not end in half a minute"
        kill -9 "$mpirun" "${children[@]}" 2>/dev/null
    fi
    wait "$mpirun" 2>/dev/null
    status=$?
    for file in good/"$name"-*; do
        file=${file#good/"$name"-}
        is_old=0
        [ "$(head -c 4 "$file" | tr -d '\0')" = "old" ] && is_old=1
        case $file in
            *.npy) [ $is_old -eq 1 ] || cmp -s "$file" "good/$name-$file" || bad "$file is neither old nor whole" ;;
            *.safetensors)
                [ $is_old -eq 1 ] || cmp -s "$file" "good/$name-$file" || { "$eqflow" sample "$file" -n 2 -o probe.npy --quiet >/dev/null 2>&1 || bad "$file is neither old nor whole"; } ;;
        esac
        [ $status -eq 0 ] && [ $is_killed -eq 0 ] && [ $is_old -eq 1 ] && bad "$file is old although all went well"
    done
    if [ "$name" = train ] && [ -e out1.safetensors.checkpoint ]; then
        ranks "$eqflow" "${train[@]}" -o out1.safetensors --resume >stdout 2>stderr || bad "no resumption: $(tail -1 stderr)"
        cmp -s out1.safetensors good/train-out1.safetensors || bad "another model after resumption"
    fi
    [ -z "$(find . -name '.eqflow-*.tmp' -print -quit)" ] || bad "left over: $(find . -name '.eqflow-*')"
    rm -f out* probe.npy
    [ "$limit" -gt 0 ] && [ "$SECONDS" -ge "$limit" ] && break
done
echo "$num_killed ranks killed in $n runs; $num_bad bad"
[ $num_bad -eq 0 ]
