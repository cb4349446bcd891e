#!/usr/bin/env bash
# The whole path on four particles in a plane (dw4): data, training, sampling, evaluation, report. About two minutes on
# two cores once the packages are there. Installs what is missing (as root or through sudo), builds in Release.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=cmake/setup.sh
. cmake/setup.sh

usage() {
    say "Usage: ./demo.sh [--seed SEED] [--device DEVICE]"
    say "  --seed SEED      seed of data, training and samples [default: 1]"
    say "  --device DEVICE  as in eqflow --device: auto, cpu, gpu, an index or a part of"
    say "                   a name [default: auto]"
}

seed=1
device=()
while [ $# -gt 0 ]; do
    case $1 in
    --seed | --device)
        if [ $# -lt 2 ]; then
            say "error: $1 needs a value" >&2
            exit 2
        fi
        if [ "$1" = --seed ]; then seed=$2; else device=(--device "$2"); fi
        shift 2
        ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        say "error: unknown argument '$1'" >&2
        usage >&2
        exit 2
        ;;
    esac
done

case $seed in
'' | *[!0-9]*)
    say "error: --seed needs a whole number, not '$seed'" >&2
    exit 2
    ;;
esac

# run WHY COMMAND...: says in words what comes, shows the command so that it can be repeated, runs it.
run() {
    local line="   \$" word
    say ""
    fold -s -w 80 <<<"== $1"
    shift
    for word; do
        if [ $((${#line} + ${#word})) -gt 76 ]; then
            say "$line \\"
            line="    "
        fi
        line+=" $word"
    done
    say "$line"
    "$@"
}

install_packages "${build_packages[@]}"
testing=()
# Leave a build folder that has the tests as it is.
[ -f build/CMakeCache.txt ] || testing=(-DBUILD_TESTING=OFF)
build_release eqflow_program "${testing[@]}"

eqflow=build/apps/eqflow/eqflow
out=demo-output
mkdir -p "$out"
started=$SECONDS

run "The OpenCL devices of this machine" \
    $eqflow devices
run "Equilibrium configurations of four particles, by Metropolis Monte Carlo" \
    $eqflow data dw4 -n 100000 --seed "$seed" "${device[@]}" -o $out/dw4.npy
run "A second set, never seen in training: the likelihood is measured on it" \
    $eqflow data dw4 -n 20000 --seed $((seed + 1)) "${device[@]}" -o $out/dw4-test.npy
run "Training the equivariant flow on them by maximum likelihood" \
    $eqflow train dw4 --data $out/dw4.npy --seed "$seed" "${device[@]}" -o $out/dw4.safetensors
run "New configurations from the flow, each with its exact log-density" \
    $eqflow sample $out/dw4.safetensors -n 10000 --seed "$seed" "${device[@]}" \
    -o $out/samples.npy --log-prob $out/samples-log-prob.npy --xyz $out/samples.xyz
run "How good is it? Likelihood, reweighting to the true energy, and the report" \
    $eqflow evaluate $out/dw4.safetensors --data $out/dw4-test.npy -n 100000 --seed "$seed" "${device[@]}" \
    --report $out/report.html
run "The same with the deep many-body field: half a minute of flow matching" \
    $eqflow train dw4 --field message --data $out/dw4.npy --stage flow-matching,steps=2000 --integration-steps 12 \
    --seed "$seed" "${device[@]}" -o $out/dw4-message.safetensors
run "How much better is it? Compare the effective sample sizes" \
    $eqflow evaluate $out/dw4-message.safetensors -n 10000 --num-data 2000 --seed "$seed" "${device[@]}" \
    --report $out/report-message.html

say ""
say "Done in $((SECONDS - started)) s. Open the reports in a browser:"
say "   $out/report.html          the paper's radial field"
say "   $out/report-message.html  the message field"
say "Beside them: the models (dw4.safetensors, dw4-message.safetensors), the data"
say "(dw4.npy, dw4-test.npy), the flow's samples (samples.npy, samples.xyz)."
say "docs/getting-started.md explains each step and figure."
