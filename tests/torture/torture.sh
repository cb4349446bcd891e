#!/usr/bin/env bash
# Every fallible call fails, for six commands: torture.sh PROGRAM FAILING-CALLS-LIBRARY [--long|--every|--few]
# [COMMAND...] A run without failures tells the calls of a class (memory, files, OpenCL) with their call stacks: the
# return addresses in the program and in Jansson. Then one of them fails in each run.
#   (short)   the first call of each stack, one code a class
#   --few     of each eighth stack
#   --long    with the first code of its class the first, the second and the last call of each stack once, and the
#             first for ever (from there on); with the other codes, both ways, the first call of each site - its
#             three innermost callers -, over all commands
#   --every   each call: all codes, once and for ever
# "For ever" is a hundred times for EINTR.
# After each run: an exit code of docs/errors.md; a line of ours at the end if it is not 0; each output the old file or
# the new one, whole; nothing left over. A PROGRAM built with -DEQFLOW_SANITIZE=ON (the library is one built without)
# must not lose memory either, nor touch what is not its own; what drivers lose is suppressed
# (tests/support/lsan.supp). Program and driver are loaded once a command, and each run is a child of that process.
# TORTURE_SECONDS in the environment: it stops then, begun when all is ready. TORTURE_STATE: a file that keeps how far
# each command, class and code has come; the next call with it, of the same program, goes on from there.
set -u
eqflow=$(realpath "${1:?the program}") library=$(realpath "${2:?libfailing_calls.so}") # the script changes its folder
level=short
case ${3:-} in --long | --every | --few) level=${3#--} ;; esac
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
drivers=$(cat "${OCL_ICD_VENDORS:-/etc/OpenCL/vendors}"/*.icd 2>/dev/null | tr '\n' ' ')
# shellcheck source=tests/support/own_folder.sh
. "$(dirname "${BASH_SOURCE[0]}")/../support/own_folder.sh"
own_folder torture
export XDG_CACHE_HOME=$work/cache
mkdir -p cache
shopt -s nullglob
num_runs=0 num_bad=0 num_sweeps=0 num_whole=0 num_missed=0 num_stacks=0
declare -A next # of a sweep, the failure that comes next; "end": it is through
of=$level-$(cksum <"$eqflow" | cut -d' ' -f1)-$(IFS=+ && echo "${commands[*]}")
if [ -n "$state" ] && [ -e "$state" ]; then
    while read -r whose sweep n; do [ "$whose" != "$of" ] || next[$sweep]=$n; done <"$state"
fi
is_over() { [ "$limit" -gt 0 ] && [ "$SECONDS" -ge "$limit" ]; }
keep() { # SWEEP NUMBER
    next[$1]=$2
    [ -z "$state" ] || echo "$of $1 $2" >>"$state"
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
    echo "BAD: $name, $class $mode code $code, call $nth with stack $stack: $*"
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
is_old() { # FILE
    local start=
    read -r start <"$1" 2>/dev/null
    [ "$start" = old ]
} 2>/dev/null

# In the server's child: one run of its command. Sets status, and the numbers of calls and of failures.
ask() { # CLASS MODE CODE STACK NTH
    echo "$*" >&"${server[1]}" && read -r status num_calls num_failed <&"${server[0]}"
}
start_server() { # NAME
    # shellcheck disable=SC2046
    coproc server { exec env LD_PRELOAD="$preload" EQFLOW_TORTURE_SERVE="$drivers " "$eqflow" $(command_of "$1") --quiet; }
    server_process=$!
}
end_server() {
    echo >&"${server[1]}"
    wait "$server_process" 2>/dev/null
}

check() { # the run that ended
    local file line last='' text='' is_jansson=''
    mapfile -t lines <stderr
    for line in "${lines[@]}"; do
        case $line in
            *ERROR:\ [AL]*Sanitizer* | *runtime\ error:*) text=$line ;;
            *lex_scan_string:\ Assertion*) is_jansson=1 ;;
        esac
        last=$line
    done
    # Jansson 2.14 asserts, in its own reader, that it finds memory.
    if [ "$status" -eq 134 ] && [ "$class" = memory ] && [ -n "$is_jansson" ] && [[ $last == eqflow* ]]; then
        :
    elif [ -n "$text" ]; then
        bad "exit code $status: $(grep -F -m1 -A12 "$text" stderr)"
    elif [ "$status" -gt 9 ]; then
        bad "exit code $status"
    elif [ "$status" -ne 0 ] && [[ $last != eqflow* ]]; then
        bad "exit code $status without a line"
    fi
    for file in good/out*; do
        file=${file#good/}
        [ "$status" -eq 0 ] || ! is_old "$file" || continue
        { [ -e "$file" ] && is_whole "$file"; } || bad "exit code $status, and $file is neither old nor whole"
    done
    # A failure may hit the removal of a checkpoint that is no longer needed.
    for file in * .[!.]*; do
        case $file in
            x.npy | x.csv | m.safetensors | m.csv | good | cache | stdout | stderr | stacks* | sites* | targets) ;;
            out*) [ -e "good/$file" ] || rm -f "$file" ;;
            *) bad "left over: $file" && rm -rf "$file" ;;
        esac
    done
}

run_one() { # CLASS MODE CODE STACK NTH
    local file num_calls=0 num_failed=0 status=98
    class=$1 mode=$2 code=$3 stack=$4 nth=$5
    for file in good/out*; do echo old >"${file#good/}"; done
    ask "$@"
    num_runs=$((num_runs + 1))
    if [ "$num_failed" -eq 0 ]; then
        num_missed=$((num_missed + 1))
        echo "$name, $class $mode code $code: there was no call $nth with stack $stack"
    fi
    check
}

# The calls of a class that are to fail, a line each: stack and which of its calls, into the file "targets".
find_targets() { # CLASS IS-FIRST-CODE IS-FIRST-MODE: of "stacks-CLASS" and, of the commands before, "sites-CLASS"
    awk -v level="$level" -v is_first_code="$2" -v is_first_mode="$3" '
        FILENAME ~ /^sites/ { is_known[$1] = 1; next }
        !($1 in num) { order[++n] = $1 }
        { num[$1]++ }
        level == "long" && !is_first_code && !($2 in is_known) { is_known[$2] = 1; print $1, num[$1] }
        END {
            if (level == "long" && !is_first_code) exit
            for (s = 1; s <= n; s++) {
                if (level == "few" && s % 8 != 1) continue
                last = level == "every" ? num[order[s]] : 1
                for (k = 1; k <= last; k++) print order[s], k
                if (level != "long" || !is_first_mode) continue
                if (num[order[s]] > 1) print order[s], 2
                if (num[order[s]] > 2) print order[s], num[order[s]]
            }
        }' "sites-$1" "stacks-$1" >targets
}

sweep() { # MODE CODE...: of class $class; the first code is the one whose calls fail more often
    local of_mode=$1 one sweep target n is_first_code=1 is_first_mode=0
    shift
    [ "$of_mode" = forever ] || is_first_mode=1
    for one in "$@"; do
        sweep=$name-$class-$of_mode-$one
        num_sweeps=$((num_sweeps + 1))
        n=${next[$sweep]:-0}
        if [ "$n" = end ]; then
            num_whole=$((num_whole + 1))
            is_first_code=0
            continue
        fi
        find_targets "$class" $is_first_code $is_first_mode
        is_first_code=0
        mapfile -t targets <targets
        while [ "$n" -lt ${#targets[@]} ] && ! is_over && [ "$num_bad" -le 30 ]; do
            target=${targets[$n]}
            run_one "$class" "$of_mode" "$one" "${target% *}" "${target#* }"
            n=$((n + 1))
            keep "$sweep" $n
        done
        echo "$name, $class $of_mode code $one: $n of ${#targets[@]} failures, $num_bad bad, $SECONDS s"
        [ "$n" -lt ${#targets[@]} ] || { keep "$sweep" end && num_whole=$((num_whole + 1)); }
    done
}

for name in "${commands[@]}"; do
    mkdir -p good && rm -f good/*
    # shellcheck disable=SC2046
    for _ in 1 2; do is_over || "$eqflow" $(command_of "$name") --quiet >/dev/null 2>stderr || { cat stderr; exit 1; }; done
    is_over || mv out* good/
    start_server "$name"
    for class in memory file opencl; do
        : >"stacks-$class"
        [ -e "sites-$class" ] || echo none >"sites-$class"
        if ! is_over; then
            for file in good/out*; do echo old >"${file#good/}"; done
            ask "$class" record 0 0 0
            mv stacks "stacks-$class" 2>/dev/null || { echo "$name gave no list of its calls: $status" && exit 1; }
            num=$(cut -d' ' -f1 "stacks-$class" | sort -u | grep -c .)
            num_stacks=$((num_stacks + num))
            echo "$name, $class: $num_calls calls, $num stacks"
        fi
        case $class in memory) codes=(12) ;; file) codes=(28 5 4 13) ;; opencl) codes=(-5 -4 -6 -2 -11 -36 -38 -48 -61) ;; esac
        if [ "$level" = long ] || [ "$level" = every ]; then
            for mode in once forever; do sweep $mode "${codes[@]}"; done
        else
            sweep once "${codes[0]}"
        fi
        cut -d' ' -f2 "stacks-$class" | sort -u >>"sites-$class"
    done
    end_server
    rm -f out*
done
if [ -n "$state" ] && [ -e "$state" ]; then # each sweep's last line is enough
    for sweep in "${!next[@]}"; do echo "$of $sweep ${next[$sweep]}"; done | sort >"$state.new" && mv "$state.new" "$state"
fi
if [ $num_runs -eq 0 ] && [ $num_whole -lt $num_sweeps ]; then
    echo "skipped: $limit s are too short for the first run"
    exit 77
fi
echo "$num_runs runs in $SECONDS s, $num_stacks stacks, $num_whole of $num_sweeps sequences of failures whole, $num_missed met no call," \
    "$num_bad bad"
[ $num_bad -eq 0 ]
