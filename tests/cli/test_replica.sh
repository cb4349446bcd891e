#!/usr/bin/env bash
# eqflow data --replicas as a user types it: known means, two starts, files of every temperature, the same bits with one thread, every way to
# mistype it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

run() { "$eqflow" data "$@" --burn-in 500 --thinning 50 --quiet --json; }
succeed run dw2 -n 1600 --replicas 4 --highest-temperature 6 -o x.npy --energies e.npy --each 't%.npy' --ladder l.csv || finish
# By quadrature: -3.8707.
within "$(json mean_energy stdout)" -3.97 -3.77 "mean energy"
within "$(json mean_energy_standard_error stdout)" 0.005 0.05 "its error"
within "$(json num_round_trips stdout)" 50 1e6 "round trips"
within "$(json num_sweeps stdout)" 1500 1500 "sweeps"
same x.npy t0.npy "the lowest temperature's samples"
if [ -e t3.npy ] && [ ! -e t4.npy ] && [ "$(wc -l <l.csv)" -eq 5 ]; then pass; else fail "$(ls) $(cat l.csv)"; fi
within "$(awk -F, '$1 == 3 { print $2 }' l.csv)" 6 6 "highest temperature"
if [ "$(json largest_start_difference stdout)" = null ]; then pass; else fail "no start, but a difference"; fi
if [ "$(json largest_log_z_difference stdout)" = null ] && head -1 l.csv | grep -q ',log_z,log_z_standard_error,'; then pass; else fail "$(head -1 l.csv)"; fi
# The samples of a higher temperature are that one's equilibrium, by a run of its own.
succeed "$eqflow" average t3.npy --preset dw2 --temperature 6 --json --quiet
hot=$(sed -n '/"energy"/,/}/s/^ *"mean": \(.*[^,]\),\{0,1\}$/\1/p' stdout | head -1)
succeed run dw2 -n 1600 --temperature 6 -o hot.npy
within "$hot" "$(awk -v m="$(json mean_energy stdout)" 'BEGIN { print m - 0.15 }')" "$(awk -v m="$(json mean_energy stdout)" 'BEGIN { print m + 0.15 }')" "mean energy at T = 6"

cp x.npy before.npy
succeed env POCL_MAX_PTHREAD_COUNT=1 "$eqflow" data dw2 -n 1600 --replicas 4 --highest-temperature 6 --burn-in 500 --thinning 50 -o x.npy --quiet
same x.npy before.npy "the same bits with one thread"

# lj13 begins at its icosahedron and as gas; a run of one interval cannot have forgotten that.
succeed run lj13 -n 64 --replicas 3 --highest-temperature 2 -o y.npy
within "$(json largest_start_difference stdout)" 0 6 "two starts"
"$eqflow" data lj13 -n 64 --replicas 2 --highest-temperature 1.1 --burn-in 10 --thinning 10 --ladders 32 -o z.npy >stdout 2>stderr
code=$?
if [ $code -eq 9 ] && grep -q 'not equilibrium' stderr && [ -s z.npy ]; then pass; else fail "exit code $code: $(cat stderr)"; fi
succeed run lj13 -n 32 --replicas 2 --highest-temperature 1.3 --start gas -o g.npy
if [ "$(json largest_start_difference stdout)" = null ]; then pass; else fail "gas alone, but a difference"; fi
succeed run dw2 -n 32 --replicas 2 --start before.npy -o f.npy
if [ "$(json largest_start_difference stdout)" != null ]; then pass; else fail "a start from a file, but no difference"; fi

# Exchange in lambda: at the last entry the equilibrium of its own constants, by a run of its own; ln Z by MBAR from the files.
succeed run dw2 -n 1600 --replicas 3 --to quadratic=-2.5 -o x.npy --each 's%.npy' --ladder l.csv
difference=$(json log_z_difference stdout)
error=$(json log_z_difference_standard_error stdout)
within "$(awk -F, '$1 == 2 { print $20 }' l.csv)" -2.5 -2.5 "constant of the last entry"
within "$(awk -F, '$1 == 1 { print $20 }' l.csv)" -3.25 -3.25 "constant of the entry between"
last=$(awk -F, '$1 == 2 { print $6 }' l.csv)
last_error=$(awk -F, '$1 == 2 { print $7 }' l.csv)
succeed run dw2 -n 1600 --quadratic -2.5 -o direct.npy
within "$(awk -v a="$last" -v b="$(json mean_energy stdout)" -v e="$last_error" -v f="$(json mean_energy_standard_error stdout)" \
    'BEGIN { d = (a - b) / sqrt(e * e + f * f); print d < 0 ? -d : d }')" 0 4 "mean energy of the last entry, errors off a run of its own"
succeed "$eqflow" average s0.npy --preset dw2 --with quadratic=-3.25:s1.npy --with quadratic=-2.5:s2.npy --blocks 4 --observable mean_distance \
    --quiet --json
mbar=$(sed -n 's/^ *"free_energy": \([^,]*\),*$/\1/p' stdout | tail -1)
within "$(awk -v a="$difference" -v b="$mbar" -v e="$error" 'BEGIN { d = (a + b) / e; print d < 0 ? -d : d }')" 0 2 "ln Z by MBAR, errors off"

refuse() { # CODE PATTERN ARGUMENTS...
    local code=$1 pattern=$2
    shift 2
    expect "$code" "$pattern" "$eqflow" data "$@" --quiet
}
refuse 2 'belongs to --replicas' dw2 -n 9 -o n.npy --highest-temperature 3
refuse 2 'belongs to --replicas' dw2 -n 9 -o n.npy --ladder n.csv
refuse 2 'belongs to --replicas' dw2 -n 9 -o n.npy --to quadratic=-2
refuse 2 'give NAME=NUMBER' dw2 -n 9 -o n.npy --replicas 2 --to quadratic
refuse 2 'no constant of this name' dw2 -n 9 -o n.npy --replicas 2 --to epsilon=2
refuse 2 '--to quadratic is given twice' dw2 -n 9 -o n.npy --replicas 2 --to quadratic=-2 --to quadratic=-3
refuse 2 'use --highest-temperature' dw2 -n 9 -o n.npy --replicas 2 --to temperature=2
refuse 2 'below the system' dw2 -n 9 -o n.npy --replicas 2 --to quadratic=-2 --highest-temperature 0.5
refuse 2 'quartic' dw2 -n 9 -o n.npy --replicas 2 --to quartic=1e40
refuse 2 'at least 2' dw2 -n 9 -o n.npy --replicas 1
refuse 2 "must be above the potential's temperature" dw2 -n 9 -o n.npy --replicas 2 --highest-temperature 0.5
refuse 2 'even number' dw2 -n 9 -o n.npy --replicas 2 --ladders 3
refuse 2 'excludes' dw2 -n 9 -o n.npy --replicas 2 --noise 0.1
refuse 2 'excludes' dw2 -n 9 -o n.npy --replicas 2 --chains 4
refuse 2 'none is known' dw2 -n 9 -o n.npy --replicas 2 --start minimum
refuse 2 'needs one %' dw2 -n 9 -o n.npy --replicas 2 --each n.npy
refuse 3 'no such file' dw2 -n 9 -o n.npy --replicas 2 --start none.npy
# Files of temperatures are outputs like others: none is another one, or an input.
cp before.npy t1.npy
refuse 2 '-o and --each name one file' dw2 -n 9 -o ./t1.npy --replicas 2 --each 't%.npy'
refuse 2 '--energies and --each name one file' dw2 -n 9 -o n.npy --energies t1.npy --replicas 2 --each 't%.npy'
refuse 2 '--each t1.npy would overwrite --start t1.npy' dw2 -n 9 -o n.npy --start t1.npy --replicas 2 --each 't%.npy'
refuse 2 '-o t1.npy would overwrite --start t1.npy' dw2 -n 9 -o t1.npy --start t1.npy --replicas 2
ln -s n1.npy n0.npy
refuse 2 '--each and --each name one file' dw2 -n 9 -o n.npy --replicas 2 --each 'n%.npy'
rm n0.npy
refuse 2 "--ladder t0.npy: what is written there is no NumPy array" dw2 -n 9 -o n.npy --replicas 2 --ladder t0.npy
refuse 4 'there is no folder nowhere' dw2 -n 9 -o n.npy --replicas 2 --each 'nowhere/t%.npy'
finish
