#!/usr/bin/env bash
# Every fallible call fails once, for six commands: torture.sh PROGRAM FAILING-CALLS-LIBRARY [--long|--few]
# [COMMAND...] Class by class (memory, files, OpenCL) the k-th call fails, k = 1, 2, ... until the run does not get
# that far. After each run: an exit code of docs/errors.md; a line of ours at the end if it is not 0; each output the
# old file or the new one, whole; nothing left over. Short: every k up to 12 and then one in eight, one code a class.
# --long: every k, all codes, once and for ever. --few: a third of short. A PROGRAM built with -DEQFLOW_SANITIZE=ON
# (the library is one built without) must not lose memory either, nor touch what is not its own; what drivers lose is
# suppressed (tests/support/lsan.supp).
# TORTURE_SECONDS in the environment: it stops then, begun when all is ready. TORTURE_STATE: a file that keeps how far each command, class and
# code has come; the next call with it goes on from there.
set -u
eqflow=$(realpath "${1:?the program}") library=$(realpath "${2:?libfailing_calls.so}") # the script changes its folder
is_long=0 is_few=0
case ${3:-} in
    --long) is_long=1 ;;
    --few) is_few=1 ;;
esac
shift $(($# < 3 ? $# : 3))
commands=("$@")
[ ${#commands[@]} -gt 0 ] || commands=(data train sample evaluate boltzmann minima)
preload=$library
sanitizer=$(ldd "$eqflow" | awk '/libasan/ { print $3; exit }')
if [ -n "$sanitizer" ]; then
    preload="$library $sanitizer"
    export ASAN_OPTIONS=verify_asan_link_order=0:exitcode=99:allocator_may_return_null=1
    LSAN_OPTIONS=suppressions=$(cd "$(dirname "${BASH_SOURCE[0]}")/../support" && pwd)/lsan.supp:print_suppressions=0
    export LSAN_OPTIONS UBSAN_OPTIONS=print_stacktrace=1
fi
limit=${TORTURE_SECONDS:-0} state=${TORTURE_STATE:+$(realpath -m "$TORTURE_STATE")}
export LC_ALL=C EQFLOW_DEVICE=${EQFLOW_DEVICE:-auto}
. "$(dirname "${BASH_SOURCE[0]}")/../support/own_folder.sh"
own_folder torture
export XDG_CACHE_HOME=$work/cache
mkdir -p cache
num_runs=0 num_bad=0 num_sweeps=0 num_whole=0
declare -A next # of a sweep, the call that fails next; "end": no run gets further
if [ -n "$state" ] && [ -e "$state" ]; then
    while read -r sweep k; do next[$sweep]=$k; done <"$state"
fi
is_over() { [ "$limit" -gt 0 ] && [ "$SECONDS" -ge "$limit" ]; }
keep() { # SWEEP CALL
    next[$1]=$2
    [ -z "$state" ] || echo "$1 $2" >>"$state"
}

"$eqflow" data dw2 -n 200 -o x.npy --quiet >/dev/null || exit 77
"$eqflow" train dw2 --data x.npy -o m.safetensors --steps 5 --batch-size 16 --quiet --integration-steps 5 >/dev/null || exit 1

SECONDS=0
command_of() {
    case $1 in
        data) echo "data dw2 -n 64 --burn-in 40 --thinning 20 -o out1.npy --energies out2.npy" ;;
        train) echo "train dw2 --data x.npy -o out1.safetensors --steps 3 --batch-size 16 --integration-steps 5" ;;
        sample) echo "sample m.safetensors -n 20 -o out1.npy --log-prob out2.npy --xyz out3.xyz" ;;
        evaluate) echo "evaluate m.safetensors --data x.npy -n 50 --report out1.html" ;;
        boltzmann) echo "boltzmann m.safetensors -n 200 -o out1.npy --energies out2.npy" ;;
        minima) echo "minima m.safetensors -n 4 --xyz out1.xyz" ;;
    esac
}

bad() {
    num_bad=$((num_bad + 1))
    echo "BAD: $name, $class $mode code $code, call $k: $*"
    tail -2 stderr
}

is_whole() { # FILE: a report has times in it, everything else the bits of a run without failures
    case $1 in
        *.html) tail -c 10 "$1" | grep -q '</html>' ;;
        *.csv) head -1 "$1" | grep -q '^step,' ;;
        *.safetensors) # after a failure: the best model so far
            cmp -s "$1" "good/$1" || { [ "$status" -ne 0 ] && "$eqflow" sample "$1" -n 2 -o probe.npy --quiet >/dev/null 2>&1 && rm -f probe.npy; } ;;
        *) cmp -s "$1" "good/$1" ;;
    esac
}

run_one() { # name class mode code k; false: it did not get that far
    local file status count
    name=$1 class=$2 mode=$3 code=$4 k=$5
    for file in good/out*; do echo old >"${file#good/}"; done
    # shellcheck disable=SC2046
    timeout 120 env LD_PRELOAD="$preload" EQFLOW_TORTURE_CLASS="$class" EQFLOW_TORTURE_MODE="$mode" EQFLOW_TORTURE_CODE="$code" EQFLOW_TORTURE_AT="$k" \
        EQFLOW_TORTURE_COUNT="$work/count" "$eqflow" $(command_of "$name") --quiet >stdout 2>stderr </dev/null
    status=$?
    num_runs=$((num_runs + 1))
    count=$(cat count 2>/dev/null || echo 0)
    # Jansson 2.14 asserts, in its own reader, that it finds memory.
    if [ $status -eq 134 ] && [ "$class" = memory ] && grep -q 'lex_scan_string: Assertion' stderr && tail -1 stderr | grep -q '^eqflow'; then
        :
    elif grep -Eq 'ERROR: (Address|Leak)Sanitizer|runtime error:' stderr; then
        bad "exit code $status: $(grep -E -m1 -A12 'ERROR: (Address|Leak)Sanitizer|runtime error:' stderr)"
    elif [ $status -gt 9 ]; then
        bad "exit code $status"
    elif [ $status -ne 0 ] && ! tail -1 stderr | grep -q '^eqflow'; then
        bad "exit code $status without a line"
    fi
    for file in good/out*; do
        file=${file#good/}
        [ "$(head -c 4 "$file" 2>/dev/null | tr -d '\0')" = "old" ] && [ $status -ne 0 ] && continue
        [ -e "$file" ] && is_whole "$file" || bad "exit code $status, and $file is neither old nor whole"
    done
    # A failure may hit the removal of a checkpoint that is no longer needed.
    for file in * .[!.]*; do
        case $file in
            x.npy | x.csv | m.safetensors | m.csv | good | cache | count | stdout | stderr | out* | '.[!.]*') ;;
            *) bad "left over: $file" && rm -rf "$file" ;;
        esac
    done
    rm -f out*
    [ "$count" -ge "$k" ]
}

sweep() { # name class mode code
    local sweep=$1-$2-$3-$4 k step
    k=${next[$sweep]:-1}
    num_sweeps=$((num_sweeps + 1))
    if [ "$k" = end ]; then
        num_whole=$((num_whole + 1))
        return
    fi
    while ! is_over && [ "$num_bad" -le 30 ]; do
        if ! run_one "$1" "$2" "$3" "$4" "$k"; then
            keep "$sweep" end
            num_whole=$((num_whole + 1))
            break
        fi
        step=1
        [ $is_long -eq 0 ] && [ "$k" -ge 12 ] && step=$((k / 8 + 8))
        [ $is_few -eq 1 ] && [ "$k" -ge 4 ] && step=$((k / 3 + 8))
        k=$((k + step))
        keep "$sweep" $k
    done
    [ "$k" -eq 1 ] || echo "$1, $2 $3 code $4: up to call $k"
}

for each in "${commands[@]}"; do
    mkdir -p good && rm -f good/*
    # shellcheck disable=SC2046
    for _ in 1 2; do is_over || "$eqflow" $(command_of $each) --quiet >/dev/null 2>stderr || { cat stderr; exit 1; }; done
    is_over || mv out* good/
    if [ $is_long -eq 1 ]; then
        for mode in once forever; do
            sweep $each memory $mode 12
            for code in 28 5 4 13; do sweep $each file $mode $code; done
            for code in -5 -4 -6 -2 -11 -36 -38 -48 -61; do sweep $each opencl $mode $code; done
        done
    else
        sweep $each memory once 12
        sweep $each file once 28
        sweep $each opencl once -5
    fi
done
if [ -n "$state" ] && [ -e "$state" ]; then # each sweep's last line is enough
    for sweep in "${!next[@]}"; do echo "$sweep ${next[$sweep]}"; done | sort >"$state.new" && mv "$state.new" "$state"
fi
if [ $num_runs -eq 0 ] && [ $num_whole -lt $num_sweeps ]; then
    echo "skipped: $limit s are too short for the first run"
    exit 77
fi
echo "$num_runs runs in $SECONDS s, $num_whole of $num_sweeps sequences of calls whole, $num_bad bad"
[ $num_bad -eq 0 ]
