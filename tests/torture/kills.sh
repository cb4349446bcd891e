#!/usr/bin/env bash
# kill -9 at random moments: kills.sh PROGRAM [COUNT [SEED [FAILING-CALLS-LIBRARY [SECONDS]]]]     (60 kills, as long
# as it takes; the seed is printed and makes the moments again) Of sixteen kills seven come by the clock while the
# caches are warm (start-up, computing, writing), one by the clock while they are cold (building), and, with the
# library, four inside a random file call and four inside a random OpenCL call, half of what was being written written.
# After each: every output is the old file or the new one, whole; the program cache has no damaged entry and hinders
# nobody; a name that a file had on its way is gone after the next run; a training goes on from its checkpoint and ends
# with the same bits as one that was never killed.
set -u
eqflow=$(realpath "${1:?the program}")
count=${2:-60} seed=${3:-$RANDOM} library=${4:+$(realpath "$4")} limit=${5:-0}
export LC_ALL=C EQFLOW_DEVICE=${EQFLOW_DEVICE:-auto}
. "$(dirname "${BASH_SOURCE[0]}")/../support/own_folder.sh"
own_folder kills
export XDG_CACHE_HOME=$work/cache
mkdir -p cache good
echo "seed $seed"
RANDOM=$seed
num_bad=0 num_ended=0 num_left=0
declare -A num_killed=([warm]=0 [cold]=0 [file]=0 [opencl]=0) milliseconds calls killed_in

"$eqflow" data dw2 -n 400 -o x.npy --quiet >/dev/null || exit 77
train=(train dw2 --data x.npy --steps 100 --batch-size 64 --checkpoint-interval 0 --integration-steps 10 --quiet)
"$eqflow" "${train[@]}" -o m.safetensors >/dev/null || exit 1
names=(data train sample evaluate boltzmann minima anneal average trajectory log-prob compare devices cache)
command_of() {
    case $1 in
        data) echo "data dw2 -n 2000 --burn-in 400 --thinning 40 -o out1.npy --energies out2.npy --quiet" ;;
        train) echo "${train[*]} -o out1.safetensors" ;;
        sample) echo "sample m.safetensors -n 5000 -o out1.npy --log-prob out2.npy --xyz out3.xyz --quiet" ;;
        evaluate) echo "evaluate m.safetensors --data x.npy -n 500 --report out1.html --quiet" ;;
        boltzmann) echo "boltzmann m.safetensors -n 5000 -o out1.npy --energies out2.npy --quiet" ;;
        minima) echo "minima m.safetensors -n 20 --xyz out1.xyz --quiet" ;;
        anneal) echo "anneal m.safetensors -n 64 --pilot 32 --repeats 2 -o out1.npy --energies out2.npy --log-weights out3.npy --xyz out4.xyz --quiet" ;;
        average) echo "average x.npy --preset dw2 --equal-weights --blocks 10 --scan temperature=0.9:1.1:3 --table out1.csv --pairs out2.csv --quiet" ;;
        trajectory) echo "trajectory m.safetensors -n 500 --frames 5 -o out1.npy --log-prob out2.npy --animation out3.svg --quiet" ;;
        log-prob) echo "log-prob m.safetensors --data x.npy -o out1.npy --quiet" ;;
        compare) echo "compare x.npy x.npy --preset dw2 --splits 4 --aligned 100 --quiet" ;;
        # These write into the cache only: a probe, the removal of all entries.
        devices) echo "devices --probe" ;;
        cache) echo "cache clear" ;;
    esac
}
bad() {
    num_bad=$((num_bad + 1))
    echo "BAD: kill $n ($name, $kind, at $moment ${kind/[wc]*/ms}): $*"
}
whole() { # FILE: the bits of a run that was not killed; a report, a log and a model on the way are whole in their own ways
    cmp -s "$1" "good/$name-$1" && return 0
    case $1 in
        *.html) tail -c 10 "$1" | grep -q '</html>' ;;
        *.csv) head -1 "$1" | grep -q '^step,' ;;
        *.safetensors) "$eqflow" sample "$1" -n 2 -o probe.npy --quiet >/dev/null 2>&1 && rm -f probe.npy ;;
        *) return 1 ;;
    esac
}
measure() { # NAME KIND: milliseconds of a run, into milliseconds[NAME-KIND]
    local start
    start=$(date +%s%N)
    # shellcheck disable=SC2046
    "$eqflow" $(command_of "$1") >stdout 2>stderr || { cat stderr; exit 1; }
    milliseconds[$1-$2]=$((($(date +%s%N) - start) / 1000000))
}
for name in "${names[@]}"; do
    measure "$name" cold # in a cache that fills, that is; then with all built
    rm -f out*
    measure "$name" warm
    for file in out*; do [ -e "$file" ] && mv "$file" "good/$name-$file"; done
    rm -f out*
    for class in ${library:+file opencl}; do
        # shellcheck disable=SC2046
        env LD_PRELOAD="$library" EQFLOW_TORTURE_CLASS=$class EQFLOW_TORTURE_COUNT="$work/count" "$eqflow" $(command_of "$name") >/dev/null 2>&1
        calls[$name-$class]=$(cat count)
        rm -f out*
    done
done
kinds=(warm warm warm warm warm warm warm cold)
[ -n "$library" ] && kinds+=(file file file file opencl opencl opencl opencl)
is_old() { # FILE
    local start=
    read -r start <"$1" 2>/dev/null
    [ "$start" = old ]
} 2>/dev/null
shopt -s nullglob
SECONDS=0
for n in $(seq "$count"); do
    name=${names[$((RANDOM % ${#names[@]}))]} kind=${kinds[$((RANDOM % ${#kinds[@]}))]}
    cache=cache
    [ "${calls[$name-$kind]:-1}" -gt 0 ] || kind=warm # a command may make no OpenCL call
    if [ "$kind" = cold ]; then
        cache=cold
        rm -rf cold
        mkdir cold
    fi
    for file in good/"$name"-*; do [ -e "$file" ] && echo old >"${file#good/"$name"-}"; done
    : >stderr
    if [ "$kind" = file ] || [ "$kind" = opencl ]; then
        moment=$((1 + RANDOM % calls[$name-$kind]))
        # shellcheck disable=SC2046
        (ulimit -c 0 && exec env LD_PRELOAD="$library" EQFLOW_TORTURE_CLASS="$kind" EQFLOW_TORTURE_MODE=kill EQFLOW_TORTURE_AT="$moment" "$eqflow" $(command_of "$name")) \
            >stdout 2>stderr </dev/null &
        child=$!
    else
        moment=$((RANDOM * milliseconds[$name-$kind] * 11 / 327680))
        # shellcheck disable=SC2046
        XDG_CACHE_HOME=$work/$cache "$eqflow" $(command_of "$name") >stdout 2>stderr </dev/null &
        child=$!
        printf -v pause '%d.%03d' $((moment / 1000)) $((moment % 1000))
        sleep "$pause"
        kill -9 $child 2>/dev/null
    fi
    wait $child 2>/dev/null
    if [ $? -eq 137 ]; then num_killed[$kind]=$((num_killed[$kind] + 1)); else num_ended=$((num_ended + 1)); fi
    read -r first second call <stderr
    [ "$first $second" != "killed in" ] || killed_in[$call]=$((${killed_in[$call]:-0} + 1))
    for file in good/"$name"-*; do
        [ -e "$file" ] || continue
        file=${file#good/"$name"-}
        is_old "$file" || whole "$file" || bad "$file is neither old nor whole"
    done
    # Between naming and renaming a file a name is left; the next run that writes there removes it.
    left=(.eqflow-*.tmp "$cache"/eqflow/.eqflow-*.tmp)
    if [ ${#left[@]} -gt 0 ]; then
        num_left=$((num_left + 1))
        "$eqflow" sample m.safetensors -n 2 -o probe.npy --quiet >/dev/null 2>stderr || bad "$(cat stderr)"
        XDG_CACHE_HOME=$work/$cache "$eqflow" devices --probe >/dev/null 2>stderr || bad "$(cat stderr)"
        rm -f probe.npy
        left=(.eqflow-*.tmp "$cache"/eqflow/.eqflow-*.tmp)
        [ ${#left[@]} -eq 0 ] || bad "left over: ${left[*]}"
    fi
    if [ "$kind" = cold ] || [ $((n % 20)) -eq 0 ]; then
        XDG_CACHE_HOME=$work/$cache "$eqflow" cache list --json >list 2>stderr && ! grep -q '"is_whole": false' list || bad "damaged entries: $(cat stderr)"
    fi
    if [ "$name" = devices ]; then
        "$eqflow" devices --verbose >stdout 2>stderr || bad "$(cat stderr)"
        ! grep -q warning stderr || bad "$(cat stderr)"
    fi
    if [ "$name" = train ] && [ -e out1.safetensors.checkpoint ]; then
        "$eqflow" "${train[@]}" -o out1.safetensors --resume >stdout 2>stderr || bad "no resumption: $(tail -1 stderr)"
        cmp -s out1.safetensors good/train-out1.safetensors || bad "another model after resumption"
    fi
    rm -f out* .eqflow-*
    [ $((n % 50)) -ne 0 ] || echo "after $n: $num_bad bad, $SECONDS s"
    [ "$limit" -eq 0 ] || [ "$SECONDS" -lt "$limit" ] || break
done
for call in "${!killed_in[@]}"; do echo "${killed_in[$call]} in $call"; done | sort -rn
num=$((num_killed[warm] + num_killed[cold] + num_killed[file] + num_killed[opencl]))
echo "$num killed (by the clock ${num_killed[warm]}, building ${num_killed[cold]}, in file calls ${num_killed[file]}, in OpenCL calls ${num_killed[opencl]})" \
    "in $SECONDS s, $num_ended had ended, $num_left names were left and removed; $num_bad bad"
[ $num_bad -eq 0 ]
