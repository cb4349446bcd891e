#!/usr/bin/env bash
# The experiments: one question of the paper each, answered by one command with a table and a picture.
# docs/experiments/README.md has the questions, the options and the folder that comes out.
set -uo pipefail
here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=apps/experiments/lib.sh disable=SC1091
. "$here/lib.sh"
export LC_ALL=C
me=$(basename "$0")

usage() {
    echo "Usage: $me EXPERIMENT" '[options]'
    cat <<'USAGE'

Trains, measures and draws all that answers one question; leaves table.csv,
table.md, EXPERIMENT.svg and .png. Steps that are done are not done again: after
Ctrl-C or a crash the same command goes on where it stopped.

Experiments:
  invariance       do log-densities change under rotation, reflection,
                   translation, permutation?
  data-efficiency  likelihood and effective sample size against the number of
                   training samples
  boltzmann        trained on samples and energy: are energies reweighted
                   without bias?
  metastable       trained around one minimum: how many distinct minima do the
                   samples fall into?
  dto-otd          two gradients, three divergences: what do they cost, and what
                   do they give?
  message          a deep many-body field, hop by hop: likelihood, samples,
                   cost, beside what is published

Options:
      --quick          small sizes: a minute or so on a laptop; shows how,
                       proves little
  -o, --output FOLDER  where everything goes [experiments/EXPERIMENT, with
                       --quick EXPERIMENT-quick]
      --systems LIST   of dw2, dw4, lj13 [by experiment]
      --fields LIST    of radial, dense, augmented (dense, trained on augmented
                       batches); of message: radial, message-1, message-2,
                       message-3 (hops) [by experiment]
      --sizes LIST     numbers of training samples [by experiment]
      --seeds N        repetitions, each with data, start and batches of its own
                       [by experiment]
      --steps N        optimizer steps of each training [by experiment]
      --dense-steps N  those of dense fields, whose steps cost far more
                       [by experiment]
      --batch-size N   training samples a step [by experiment]
      --samples N      samples of each model, test configurations
                       [by experiment]
      --device DEVICE  as in eqflow --device [$EQFLOW_DEVICE, else auto]
      --program FILE   eqflow to be used [$EQFLOW, else of build/, installed
                       with this, in PATH]
      --dry-run        print the commands, run nothing
  -q, --quiet          no progress
  -h, --help           this text

LIST is comma-separated. Exit codes are those of eqflow (docs/errors.md): 0, 1
(jq, gnuplot or eqflow is missing, or no picture could be drawn), 2 (usage), 4
(cannot write), 130 (interrupted); a step that fails gives its own.
USAGE
}

# find_program: eqflow of the option, the environment, the build folder, the installation, PATH.
find_program() {
    local candidate
    if [ -n "$program" ]; then
        command -v "$program" >/dev/null || fail 1 "--program $program: there is no such program"
        program=$(readlink -f "$(command -v "$program")")
        return
    fi
    for candidate in "${EQFLOW:-}" "$here/../../build/apps/eqflow/eqflow" "$here/../../../bin/eqflow" "$(command -v eqflow)"; do
        if [ -n "$candidate" ] && [ -x "$candidate" ] && [ ! -d "$candidate" ]; then
            program=$(readlink -f "$candidate")
            return
        fi
    done
    fail 1 "eqflow was not found: build it (./demo.sh), put it in PATH, or name it with --program"
}

check_count() { # OPTION VALUE
    case $2 in '' | *[!0-9]* | 0*) fail 2 "$1 $2: must be a whole number above 0; see $me --help" ;; esac
    [ ${#2} -le 9 ] || fail 2 "$1 $2: must be below 1e9; see $me --help"
}

check_list() { # OPTION VALUE ALLOWED...
    local option=$1 list=$2 word
    shift 2
    [ -n "$list" ] || fail 2 "$option: the list is empty; see $me --help"
    for word in ${list//,/ }; do
        [[ " $* " == *" $word "* ]] || fail 2 "$option $list: '$word' is not one of: $*"
    done
}

check_options() {
    local size
    [ -z "$seeds" ] || check_count --seeds "$seeds"
    [ -z "$steps" ] || check_count --steps "$steps"
    [ -z "$dense_steps" ] || check_count --dense-steps "$dense_steps"
    [ -z "$batch_size" ] || check_count --batch-size "$batch_size"
    [ -z "$samples" ] || check_count --samples "$samples"
    [ -z "$samples" ] || [ "$samples" -ge 20 ] || fail 2 "--samples $samples: 20 or more; see $me --help"
    for size in ${sizes//,/ }; do
        check_count --sizes "$size"
        [ "$size" -ge 4 ] || fail 2 "--sizes $sizes: at least 4 samples are needed to train on some and keep some"
    done
}

name='' program='' out='' is_quick='' is_dry='' is_quiet=''
systems='' fields='' sizes='' seeds='' steps='' dense_steps='' batch_size='' samples=''
device_options=()
while [ $# -gt 0 ]; do
    # Both --name value and --name=value.
    if [[ $1 == --*=* ]]; then set -- "${1%%=*}" "${1#*=}" "${@:2}"; fi
    case $1 in
    --quick) is_quick=yes ;;
    --dry-run) is_dry=yes ;;
    -q | --quiet) is_quiet=yes ;;
    -h | --help)
        usage
        exit 0
        ;;
    -o | --output | --systems | --fields | --sizes | --seeds | --steps | --dense-steps | --batch-size | --samples | --device | --program)
        if [ $# -lt 2 ] || [ -z "$2" ]; then fail 2 "$1 needs a value; see $me --help"; fi
        case $1 in
        -o | --output) out=$2 ;;
        --device) device_options=(--device "$2") ;;
        --dense-steps) dense_steps=$2 ;;
        --batch-size) batch_size=$2 ;;
        *) printf -v "${1#--}" %s "$2" ;;
        esac
        shift
        ;;
    -*) fail 2 "unknown option $1; see $me --help" ;;
    *)
        [ -z "$name" ] || fail 2 "one experiment at a time, not also '$1'; see $me --help"
        name=$1
        ;;
    esac
    shift
done
case $name in
invariance | data-efficiency | boltzmann | metastable | dto-otd | message) ;;
'') fail 2 "EXPERIMENT is missing: invariance, data-efficiency, boltzmann, metastable, dto-otd or message; see $me --help" ;;
*) fail 2 "unknown experiment '$name': must be invariance, data-efficiency, boltzmann, metastable, dto-otd or message" ;;
esac
check_options
# shellcheck source=/dev/null
. "$here/$name.sh"
# shellcheck disable=SC2154  # the experiment's own file has them
[ -z "$systems" ] || check_list --systems "$systems" "${known_systems[@]}"
# shellcheck disable=SC2154
[ -z "$fields" ] || check_list --fields "$fields" "${known_fields[@]}"
if [ -n "$is_quick" ]; then defaults_quick; else defaults_full; fi
need jq jq
need gnuplot gnuplot-nox

mode=plan
experiment
[ -z "$is_dry" ] || exit 0
# shellcheck disable=SC2034  # of lib.sh
mode=run

find_program
program_version=$("$program" version --json 2>/dev/null | jq -r '.version + " " + .revision' 2>/dev/null)
[ -n "$program_version" ] || fail 1 "$program does not say its version: is it eqflow?"
devices=$("$program" devices "${device_options[@]}" --json </dev/null) || exit $?
device_name=$(jq -r '.devices[] | select(.is_chosen) | .name + ", " + .driver_version' <<<"$devices")
[ -n "$out" ] || out=experiments/$name${is_quick:+-quick}
mkdir -p "$out/steps" 2>/dev/null || fail 4 "cannot write into $out"
cd "$out" || fail 4 "cannot write into $out"
out=$PWD
exec 9>.lock
if command -v flock >/dev/null && ! flock -n 9; then fail 1 "another run works in $out"; fi
rm -f commands.begun
trap stop INT TERM

began=$SECONDS
experiment
keep commands.txt <commands.begun
rm -f commands.begun
tabulate
markdown <table.csv | keep table.md
draw
[ -n "$is_quiet" ] || { cat table.md; echo; read_out; }
say "$num_run of $num_planned steps run in $((SECONDS - began)) s; table.csv, table.md, $name.svg and $name.png are in $out"
