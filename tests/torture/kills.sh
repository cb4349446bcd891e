#!/usr/bin/env bash
# kill -9 at random moments: kills.sh PROGRAM [COUNT [SEED]]     (60 kills; the seed is printed, and makes the moments
# again) After each: every output is the old file or the new one, whole; nothing is left over; a training goes on from
# its checkpoint and ends with the same bits as one that was never killed; the shared program cache hinders nobody.
set -u
eqflow=${1:?the program}
count=${2:-60} seed=${3:-$RANDOM}
export LC_ALL=C EQFLOW_DEVICE=${EQFLOW_DEVICE:-auto}
work=$(mktemp -d "${TMPDIR:-/tmp}/eqflow-kills-XXXXXX")
trap 'cd /; rm -rf "$work"' EXIT
cd "$work" || exit 1
export XDG_CACHE_HOME=$work/cache
mkdir -p cache good
echo "seed $seed"
RANDOM=$seed
num_bad=0 num_killed=0 num_ended=0

"$eqflow" data dw2 -n 400 -o x.npy --quiet >/dev/null || exit 77
train=(train dw2 --data x.npy --steps 400 --batch-size 64 --checkpoint-interval 0 --integration-steps 10 --quiet)
"$eqflow" "${train[@]}" -o m.safetensors >/dev/null || exit 1
names=(data train sample evaluate boltzmann minima anneal average trajectory log-prob)
command_of() {
    case $1 in
        data) echo "data dw2 -n 2000 --burn-in 400 --thinning 40 -o out1.npy --energies out2.npy --quiet" ;;
        train) echo "${train[*]} -o out1.safetensors" ;;
        sample) echo "sample m.safetensors -n 20000 -o out1.npy --log-prob out2.npy --xyz out3.xyz --quiet" ;;
        evaluate) echo "evaluate m.safetensors --data x.npy -n 2000 --report out1.html --quiet" ;;
        boltzmann) echo "boltzmann m.safetensors -n 20000 -o out1.npy --energies out2.npy --quiet" ;;
        minima) echo "minima m.safetensors -n 40 --xyz out1.xyz --quiet" ;;
        anneal) echo "anneal m.safetensors -n 256 --pilot 64 --repeats 4 -o out1.npy --energies out2.npy --log-weights out3.npy --xyz out4.xyz --quiet" ;;
        average) echo "average x.npy --preset dw2 --equal-weights --blocks 10 --scan temperature=0.9:1.1:3 --table out1.csv --pairs out2.csv --quiet" ;;
        trajectory) echo "trajectory m.safetensors -n 2000 --frames 11 -o out1.npy --log-prob out2.npy --animation out3.svg --quiet" ;;
        log-prob) echo "log-prob m.safetensors --data x.npy -o out1.npy --quiet" ;;
    esac
}
bad() {
    num_bad=$((num_bad + 1))
    echo "BAD: kill $n ($name, after $delay s): $*"
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
declare -A seconds
for name in "${names[@]}"; do
    # shellcheck disable=SC2046
    for _ in 1 2; do
        start=$(date +%s%N)
        "$eqflow" $(command_of "$name") >/dev/null 2>stderr || { cat stderr; exit 1; }
        seconds[$name]=$((($(date +%s%N) - start) / 1000000))
    done
    for file in out*; do mv "$file" "good/$name-$file"; done
done
for n in $(seq "$count"); do
    name=${names[$((RANDOM % ${#names[@]}))]}
    delay=$(awk -v r=$RANDOM -v m="${seconds[$name]}" 'BEGIN { printf "%.3f", r / 32768 * m * 1.1 / 1000 }')
    for file in good/"$name"-*; do echo old >"${file#good/"$name"-}"; done
    # shellcheck disable=SC2046
    "$eqflow" $(command_of "$name") >stdout 2>stderr </dev/null &
    child=$!
    sleep "$delay"
    kill -9 $child 2>/dev/null && num_killed=$((num_killed + 1)) || num_ended=$((num_ended + 1))
    wait $child 2>/dev/null
    for file in good/"$name"-*; do
        file=${file#good/"$name"-}
        [ "$(head -c 4 "$file" | tr -d '\0')" = "old" ] || whole "$file" || bad "$file is neither old nor whole"
    done
    [ -z "$(find . -name '.eqflow-*' -print -quit)" ] || bad "left over: $(find . -name '.eqflow-*')"
    if [ "$name" = train ] && [ -e out1.safetensors.checkpoint ]; then
        "$eqflow" "${train[@]}" -o out1.safetensors --resume >stdout 2>stderr || bad "no resumption: $(tail -1 stderr)"
        cmp -s out1.safetensors good/train-out1.safetensors || bad "another model after resumption"
    fi
    rm -f out* .eqflow-*
done
echo "$num_killed killed, $num_ended had ended; $num_bad bad"
[ $num_bad -eq 0 ]
