#!/usr/bin/env bash
# Do two builds give the same bits? Runs small cases of every kind, solver, precision and layout with each program and compares the
# SHA-256 of what they write: data, models, samples, log-densities, minima, averages.
#   tests/golden.sh PROGRAM OTHER_PROGRAM [PATTERN]   compares; exit code 1 if a case differs
#   tests/golden.sh PROGRAM                           prints the sums
# PATTERN (a regular expression) picks cases. With EQFLOW_MPI builds and mpirun, two ranks are compared too. Both run on this device,
# with caches of their own; sums of different devices or OpenCL versions differ.
set -euo pipefail
if [ $# -lt 1 ] || [ "$1" = -h ] || [ "$1" = --help ]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 2
fi
folder=$(mktemp -d)
own=$(cd "$(dirname "${BASH_SOURCE[0]}")/../apps/examples" && pwd)/morse.cl
own_options=(--particles 5 --space-dim 3 --constant depth=2 --constant steepness=3 --constant r_min=1 --constant trap=1)
trap 'rm -rf "$folder"' EXIT

# case NAME FILE... -- COMMAND: runs the command (its first word is a command of eqflow) and prints a sum for each file it wrote; with the file
# "stdout", of what it printed.
run_case() {
    local name=$1 files=() file
    shift
    while [ "$1" != -- ]; do
        files+=("$1")
        shift
    done
    shift
    [[ $name =~ $pattern ]] || return 0
    [ "${is_of_ranks:-no}" = no ] || [[ $1 =~ ^(data|train|sample|log-prob)$ ]] || return 0 # others run in one process
    if ! "${launcher[@]}" "$program" "$@" --quiet >"$name.stdout" 2>"$name.stderr"; then
        printf '%s FAILED: %s\n' "$name" "$(tail -n 1 "$name.stderr")"
        return 0
    fi
    for file in "${files[@]}"; do
        [ "$file" != stdout ] || file=$name.stdout
        printf '%s %s %s\n' "$name" "${file##*/}" "$(sha256sum <"$file" | cut -c1-64)"
    done
}

# Needs the model $1.safetensors: what is asked of a model, with the further options.
use_model() {
    local model=$1 name=$2 data=$3
    shift 3
    run_case "$name.sample" "$name.x.npy" "$name.p.npy" -- sample "$model.safetensors" -n 200 --seed 3 -o "$name.x.npy" --log-prob "$name.p.npy" "$@"
    run_case "$name.log_prob" "$name.q.npy" -- log-prob "$model.safetensors" --data "$data.npy" -o "$name.q.npy" "$@"
}

run_all() {
    # Data: Monte Carlo of each potential that is built in.
    local system
    for system in dw2 dw4 lj13; do
        run_case "data.$system" "$system.npy" -- data "$system" -n 600 --seed 11 -o "$system.npy"
    done
    run_case data.lj55 lj55.npy -- data lj55 -n 64 --burn-in 200 --thinning 5 --seed 11 -o lj55.npy
    run_case data.noise around.npy -- data dw4 -n 100 --noise 0.1 --seed 2 -o around.npy
    run_case data.constants eps1.npy -- data lj13 --epsilon 1 -n 100 --seed 2 -o eps1.npy
    # Training: every loss, gradient, field. The integration steps are given: how they are chosen is no matter of bits.
    for system in dw2 dw4 lj13; do
        run_case "train.$system" "$system.safetensors" -- train "$system" --data "$system.npy" --integration-steps 20 --steps 30 --seed 5 -o "$system.safetensors"
    done
    run_case train.direct direct.safetensors -- train dw4 --data dw4.npy --steps 10 --field-evaluation direct --seed 5 -o direct.safetensors
    run_case train.mixture mixture.safetensors -- train dw4 --data dw4.npy --loss mixture --steps 20 --seed 5 -o mixture.safetensors
    run_case train.energy energy.safetensors -- train dw2 --data none --steps 20 --seed 5 -o energy.safetensors
    run_case train.otd otd.safetensors -- train dw2 --data dw2.npy --gradient otd --steps 5 --seed 5 -o otd.safetensors
    run_case train.augment augment.safetensors -- train dw4 --data dw4.npy --augment --steps 20 --seed 5 -o augment.safetensors
    run_case train.dense dense.safetensors -- train dw4 --data dw4.npy --field dense --width 32 --steps 10 --seed 5 -o dense.safetensors
    run_case train.hutchinson hutchinson.safetensors -- train dw4 --data dw4.npy --field dense --width 32 --divergence rademacher --steps 10 --seed 5 -o hutchinson.safetensors
    run_case train.group group.safetensors -- train lj13 --data lj13.npy --integration-steps 20 --steps 4 --batch-size 32 --seed 5 --set-profile vector_width=1 --set-profile group_size=64 -o group.safetensors
    # Solvers, precisions, layouts.
    for system in dw2 dw4 lj13; do
        use_model "$system" "$system.table" "$system"
        use_model "$system" "$system.direct" "$system" --field-evaluation direct
        use_model "$system" "$system.dopri5" "$system" --integrator dopri5
        use_model "$system" "$system.double" "$system" --precision double
        use_model "$system" "$system.v1" "$system" --set-profile vector_width=1
    done
    use_model lj13 lj13.group lj13 --set-profile vector_width=1 --set-profile group_size=64
    use_model lj13 lj13.group_direct lj13 --set-profile vector_width=1 --set-profile group_size=64 --field-evaluation direct
    use_model dense dense.rk4 dw4
    use_model dense dense.dopri5 dw4 --integrator dopri5
    use_model dense dense.rademacher dw4 --divergence rademacher
    # A potential of the user's own: samples, training on its energy, minima.
    run_case data.own own.npy own_e.npy -- data --potential "$own" "${own_options[@]}" -n 200 --seed 7 -o own.npy --energies own_e.npy
    run_case train.own own.safetensors -- train --potential "$own" "${own_options[@]}" --data own.npy --loss mixture --prior-scale 0.5 --integration-steps 20 --steps 10 --seed 5 -o own.safetensors
    run_case minima.own stdout -- minima --potential "$own" "${own_options[@]}" -n 50 --seed 1 --json
    # Answers.
    run_case chain.dw4 chain.npy chain_e.npy -- boltzmann dw4.safetensors -n 2000 --seed 3 -o chain.npy --energies chain_e.npy
    run_case minima.dw4 stdout -- minima dw4 -n 200 --seed 1 --json
    run_case minima.lj13 stdout -- minima lj13 --epsilon 1 --trap 0 -n 64 --seed 1 --json
    run_case minima.float stdout -- minima dw4 -n 100 --float --seed 1 --json
}

# The sums of program $1, on stdout.
sums_of() {
    local threads
    program=$(realpath "$1")
    is_of_ranks=no
    for threads in 1 2; do
        launcher=(env "POCL_MAX_PTHREAD_COUNT=$threads" "XDG_CACHE_HOME=$folder/cache$2")
        mkdir -p "$folder/run$2.$threads"
        (cd "$folder/run$2.$threads" && run_all) | sed "s/^/$threads-threads /"
    done
    if command -v mpirun >/dev/null && ldd "$program" | grep -q libmpi; then
        launcher=(env "XDG_CACHE_HOME=$folder/cache$2" mpirun --allow-run-as-root --oversubscribe -n 2)
        mkdir -p "$folder/run$2.mpi"
        is_of_ranks=yes
        (cd "$folder/run$2.mpi" && run_all) | sed 's/^/2-ranks /'
    fi
}

if [ $# -eq 1 ]; then
    pattern=.
    sums_of "$1" A
    exit
fi
pattern=${3:-.}
sums_of "$1" A >"$folder/a"
sums_of "$2" B >"$folder/b"
if grep FAILED "$folder/a" "$folder/b"; then
    echo "golden: cases that failed, above" >&2
    status=1
fi
if ! diff "$folder/a" "$folder/b"; then
    echo "golden: the builds differ in the cases above" >&2
    exit 1
fi
echo "golden: $(wc -l <"$folder/a") sums are equal"
exit "${status:-0}"
