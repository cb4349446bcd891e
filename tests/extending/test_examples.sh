#!/usr/bin/env bash
# The examples of docs/extending.md: applied to a copy of the tree, built, run.
# shellcheck source=../cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh" "$1"

command -v patch >/dev/null || { echo "no patch"; exit 77; }
mkdir tree
for part in CMakeLists.txt apps cl cmake docs include man platforms src LICENSE README.md CHANGELOG.md; do
    [ ! -e "$source_root/$part" ] || cp -R "$source_root/$part" tree/
done
sed -n '/^```diff$/,/^```$/p' "$source_root/docs/extending.md" | sed '/^```/d' >examples.diff
if [ "$(grep -c '^+++ ' examples.diff)" -ge 20 ]; then pass; else fail "docs/extending.md: $(grep -c '^+++ ' examples.diff) files of examples"; fi
if patch -d tree -p1 <examples.diff >patched 2>&1; then pass; else fail "the examples do not apply: $(grep -iE 'fail|malformed' patched)"; finish; fi
generator=()
! command -v ninja >/dev/null || generator=(-G Ninja)
if cmake -S tree -B build "${generator[@]}" -DCMAKE_BUILD_TYPE=Debug -DBUILD_TESTING=OFF -DCMAKE_C_COMPILER="${CC:-cc}" \
    ${EQFLOW_COMPILER_LAUNCHER:+-DCMAKE_C_COMPILER_LAUNCHER="$EQFLOW_COMPILER_LAUNCHER"} >made 2>&1 &&
    cmake --build build --parallel 2 >>made 2>&1; then
    pass
else
    fail "the examples do not build: $(grep -E 'error|Error' made | head -3)"
    finish
fi
extended=$work/build/apps/eqflow/eqflow

# The potential: its known answers on the device, its flags.
succeed "$extended" selftest
cp stdout stdout.selftest
if grep -Eq 'ok .*Gaussian core' stdout; then pass; else fail "selftest does not check the Gaussian core: $(cat stdout)"; fi
succeed "$extended" data dw2 --help
if grep -q -- '--reach X .*Gaussian core' stdout; then pass; else fail "no flag --reach"; fi
expect 2 '--reach has no meaning here.*double well' "$extended" data dw2 --reach 2 -n 4 -o x.npy

# The prior: its known answers, its flags, its place in the model file. Samples of any prior, weighed, give the target's
# ln Z.
if grep -Eq "ok .*Student's t: scores of the prior" stdout.selftest; then pass; else fail "selftest does not check Student's t: $(cat stdout.selftest)"; fi
expect 2 '--degrees has no meaning here: this is --prior mean_free_gaussian' "$extended" train dw2 --degrees 4 -o n.safetensors
expect 2 '--degrees 2: must be at least 3 and at most 64' "$extended" train dw2 --prior student_t --degrees 2 -o n.safetensors
log_z() { sed -n 's/.*"log_z": *\([-0-9.e]*\).*/\1/p' stdout; }
for prior in mean_free_gaussian 'student_t --degrees 7'; do
    # shellcheck disable=SC2086 # the prior's words are arguments
    succeed "$extended" train dw2 --prior $prior --num-train 2000 --steps 300 -o prior.safetensors --quiet
    succeed "$extended" evaluate prior.safetensors -n 20000 --json --quiet
    log_z >>log_zs
done
if grep -aq 'student_t[^}]*degrees[^}]*: *7' prior.safetensors; then pass; else fail "the model file has no student_t"; fi
within "$(awk 'NR == 1 { a = $1 } NR == 2 { print a - $1 }' log_zs)" -0.05 0.05 "ln Z by one prior minus that by the other"

# The integrator: its known answers, and its order, from log-densities beside those of many steps of RK4.
if grep -Eq 'ok .*radial, direct, midpoint: gradients' stdout.selftest; then pass; else fail "selftest does not check the midpoint rule: $(cat stdout.selftest)"; fi
succeed "$extended" data dw2 -n 50 -o few.npy --quiet
succeed "$extended" log-prob prior.safetensors --data few.npy -o fine.npy --integration-steps 400 --quiet
error_of() {
    succeed "$extended" log-prob prior.safetensors --data few.npy -o coarse.npy --integrator midpoint --integration-steps "$1" --quiet
    paste <(tail -c 200 fine.npy | od -An -v -w4 -tf4) <(tail -c 200 coarse.npy | od -An -v -w4 -tf4) |
        awk '{ d = $1 - $2; s += d * d } END { print sqrt(s / NR) }'
}
within "$(awk -v a="$(error_of 8 | tail -n 1)" -v b="$(error_of 16 | tail -n 1)" 'BEGIN { print a / b }')" 3 5.5 "the midpoint rule's error at 8 steps, in those at 16"
expect 2 'rtol is an option of another integrator: add --integrator dopri5' "$extended" log-prob prior.safetensors --data few.npy -o coarse.npy --integrator midpoint --rtol 1e-3

# The field: dw2's particles are twice as far out as those of the prior, ln 2 = 0.69; few steps go part of the way.
succeed "$extended" train dw2 --field breathing --num-train 300 --steps 60 -o model.safetensors --quiet
within "$(tail -c 4 model.safetensors | od -An -tf4 | tr -d " ")" 0.05 0.75 "the rate"
succeed "$extended" sample model.safetensors -n 20 -o x.npy --quiet

# The loss: a column of the training history.
succeed "$extended" train dw2 --num-train 300 --steps 20 -o blurred.safetensors --quiet
if grep -aq '"blurred.",."held_out_blurred' blurred.safetensors; then pass; else fail "the history has no blurred likelihood"; fi

succeed "$extended" presets
if grep -q '^lj13 .*Lennard-Jones' stdout; then pass; else fail "presets: $(cat stdout)"; fi

succeed "$extended" devices --verbose
if grep -q 'num_partials .*48 .*platforms/cpu/example.profile' stdout; then pass; else fail "the profile is not used"; fi
finish
