#!/usr/bin/env bash
# A user's own potential through every command: data, train, sample, evaluate, minima, log-prob, selftest; what is wrong
# with it is said in one line; a model's text does not run unasked.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

cp "$source_root/apps/examples/morse.cl" .
system=(--potential morse.cl --particles 3 --space-dim 2 --constant depth=2 --constant steepness=3 --constant r_min=1
    --constant trap=1)

succeed "$eqflow" data "${system[@]}" -n 400 --chains 64 --burn-in 200 --thinning 10 -o x.npy --json --quiet || finish
if grep -q '"preset": "own"' stdout; then pass; else fail "data: $(cat stdout)"; fi
within "$(json mean_energy stdout)" -5 0 "mean energy of three Morse particles"
succeed "$eqflow" train "${system[@]}" --data x.npy -o m.safetensors --steps 20 --batch-size 32 --quiet || finish
succeed "$eqflow" data lj13 "${system[@]}" -n 64 --chains 16 --burn-in 50 --thinning 5 -o y.npy --quiet
rm y.npy

# The text is in the model, and the model can be used without the file, if one says so.
mv morse.cl away.cl
succeed "$eqflow" log-prob m.safetensors --data x.npy -o log_prob.npy --quiet
succeed "$eqflow" sample m.safetensors -n 50 -o s.npy --xyz s.xyz --json --quiet
if grep -q '"ess_fraction": null' stdout; then pass; else fail "sample without leave: $(cat stdout)"; fi
succeed "$eqflow" sample m.safetensors -n 50 -o s2.npy --json --quiet --trust-potential
within "$(json ess_fraction stdout)" 0 1 "effective sample size with leave"
same s.npy s2.npy "samples with and without leave"
expect 2 'code that would run on this machine' "$eqflow" evaluate m.safetensors --data x.npy -n 50
succeed "$eqflow" evaluate m.safetensors --data x.npy -n 50 --quiet --trust-potential --report r.html --json
within "$(json mean_energy_data stdout)" -5 0 "mean energy of the data"
if grep -q 'morse.cl, depth = 2, steepness = 3' r.html; then pass; else fail "the report does not name the target"; fi
succeed "$eqflow" minima m.safetensors -n 20 --json --quiet --potential away.cl
within "$(json num_at_minima stdout)" 20 20 "a model's samples at minima"
expect 2 'trust-potential' "$eqflow" minima m.safetensors -n 20
mv away.cl morse.cl
succeed "$eqflow" minima "${system[@]}" -n 20 --json --quiet
within "$(json num_minima stdout)" 1 1 "minima of three Morse particles"
# A triangle at distance r_min but for the trap: -3 depth and a little
within "$(sed -n 's/.*"energy": \(-[0-9.]*\).*/\1/p' stdout | head -1)" -6 -5.4 "energy of the triangle"
succeed "$eqflow" selftest --only sums "${system[@]}"
if grep -q 'ok .*own potential: gradient' stdout; then pass; else fail "selftest: $(cat stdout)"; fi

# What can be wrong.
sed 's/-2 \* depth/2 * depth/' morse.cl >sign.cl
sed 's/sum += depth/sum += dept/' morse.cl >broken.cl
printf '' >empty.cl
printf '\377\376' >binary.cl
rest=(--particles 3 --space-dim 2 --constant depth=2 --constant steepness=3 --constant r_min=1 --constant trap=1)
expect 3 "sign.cl: the gradient is not the energy's" "$eqflow" data --potential sign.cl "${rest[@]}" -n 4 -o y.npy
expect 3 "sign.cl: the gradient is not the energy's" "$eqflow" train --potential sign.cl "${rest[@]}" -o y.safetensors
expect 3 "sign.cl: the gradient is not the energy's" "$eqflow" selftest --potential sign.cl "${rest[@]}"
if "$eqflow" data --potential broken.cl "${rest[@]}" -n 4 -o y.npy >stdout 2>stderr; then fail "broken.cl is taken"; fi
log=$(sed -n 's/.*log and source: //p' stderr)
if [ -r "$log" ] && grep -q 'dept ' "$log"; then pass; else fail "no log: $(cat stderr)"; fi
if ! grep -q 'broken.cl' <(sed -n '/---- log/,/---- source/p' "$log") || grep -q 'broken.cl:22' stderr; then
    pass
else
    fail "the line is not named: $(cat stderr)"
fi
rm -f "$log"
expect 3 'empty.cl is no potential' "$eqflow" data --potential empty.cl "${rest[@]}" -n 4 -o y.npy
expect 3 'binary.cl is no potential' "$eqflow" data --potential binary.cl "${rest[@]}" -n 4 -o y.npy
# Unlike particles and an outer field: said where weights can correct it, refused where a model would have to learn it.
cat >unlike.cl <<'TEXT'
real energy(const real *x) {
    real sum = 0, centre[D];
    for (int d = 0; d < D; d++) centre[d] = 0;
    for (int c = 0; c < N * D; c++) centre[c % D] += x[c] / N;
    for (int c = 0; c < N * D; c++) sum += (c < D ? heavy : 1) * (c % D == 0 ? along : 1) * pown(x[c] - centre[c % D], 2);
    return sum;
}
void energy_gradient(const real *x, real *gradient) {
    real centre[D], mean[D];
    for (int d = 0; d < D; d++) centre[d] = mean[d] = 0;
    for (int c = 0; c < N * D; c++) centre[c % D] += x[c] / N;
    for (int c = 0; c < N * D; c++) {
        gradient[c] = 2 * (c < D ? heavy : 1) * (c % D == 0 ? along : 1) * (x[c] - centre[c % D]);
        mean[c % D] += gradient[c] / N;
    }
    for (int c = 0; c < N * D; c++) gradient[c] -= mean[c % D];
}
TEXT
springs=(--potential unlike.cl --particles 3 --space-dim 2 --quiet)
chains=(-n 64 --burn-in 200 --thinning 20 -o springs.npy)
succeed "$eqflow" data "${springs[@]}" --constant heavy=1 --constant along=1 "${chains[@]}"
if grep -q 'the energy changes under' stderr; then fail "springs: $(cat stderr)"; else pass; fi
succeed "$eqflow" data "${springs[@]}" --constant heavy=3 --constant along=1 "${chains[@]}"
if grep -q 'warning: unlike.cl: the energy changes under permutation;' stderr; then pass; else fail "an unlike particle: $(cat stderr)"; fi
succeed "$eqflow" data "${springs[@]}" --constant heavy=3 --constant along=2 "${chains[@]}"
if grep -q 'changes under permutation, rotation, reflection;' stderr; then pass; else fail "an outer field: $(cat stderr)"; fi
expect 3 'unlike.cl: the energy changes under permutation .*train --field dense' "$eqflow" train "${springs[@]}" --constant heavy=3 \
    --constant along=1 --data springs.npy -o springs.safetensors --steps 2 --batch-size 16
succeed "$eqflow" train "${springs[@]}" --constant heavy=3 --constant along=1 --data springs.npy -o springs.safetensors --steps 2 \
    --batch-size 16 --field dense --width 8 --depth 1
# All of the text is in the model and in the key of the cache: it may not read other files, in any spelling.
echo '#define DEPTH_OF_FILE depth' >extra.h
for include in '#include "extra.h"' '%:include "extra.h"' '??=include "extra.h"' '#inc\
lude "extra.h"' '# include "extra.h"' '#/**/include "extra.h"' '#import "extra.h"'; do
    { printf '%s\n' "${include/extra.h/$work/extra.h}"; cat morse.cl; } >including.cl
    expect 3 'including.cl is no potential: it includes other files' "$eqflow" data --potential including.cl "${rest[@]}" -n 4 -o y.npy
done
# What the sizes of buffers stand on is not the text's to redefine; the compiler may add lines of its own.
for macro in N D real; do
    { cat morse.cl; echo "#undef $macro"; echo "#define $macro 7"; } >redefined.cl
    "$eqflow" data --potential redefined.cl "${rest[@]}" -n 4 -o y.npy >stdout 2>stderr
    code=$?
    if [ $code -eq 3 ] && grep -q 'N, D or real is redefined' stderr && [ ! -e y.npy ]; then
        pass
    else
        fail "$macro redefined: exit code $code: $(cat stderr)"
    fi
    rm -f "$(sed -n 's/.*log and source: //p' stderr)"
done
# An index far out of range ends the process, on CPU devices; a line says where to look. (Sanitizers have their own to
# say.)
if ! ldd "$eqflow" | grep -qi asan && "$eqflow" devices | grep -q '^ *\* .*\(pthread\|cpu\)'; then
    sed 's/return sum/return x[1 << 28]/' morse.cl >outside.cl
    if cmp -s outside.cl morse.cl; then fail "no index was put out of range"; fi
    (ulimit -c 0 && exec "$eqflow" data --potential outside.cl "${rest[@]}" -n 4 -o y.npy) >stdout 2>stderr
    code=$?
    if { [ $code -ge 128 ] && grep -q 'crashed while computing: in a potential of your own' stderr && [ ! -e y.npy ]; } ||
        [ $code -eq 3 ]; then
        pass
    else
        fail "an index out of range: exit code $code: $(cat stderr)"
    fi
fi
expect 3 'missing.cl' "$eqflow" data --potential missing.cl "${rest[@]}" -n 4 -o y.npy
expect 2 'needs --particles N and --space-dim D' "$eqflow" data --potential morse.cl -n 4 -o y.npy
expect 2 'PRESET is missing' "$eqflow" data -n 4 -o y.npy
expect 2 'must be NAME=NUMBER' "$eqflow" data "${system[@]}" --constant depth -n 4 -o y.npy
expect 2 'must be NAME=NUMBER' "$eqflow" data "${system[@]}" --constant depth=two -n 4 -o y.npy
expect 2 'cannot be a constant' "$eqflow" data "${system[@]}" --constant N=4 -n 4 -o y.npy
expect 2 '--epsilon has no meaning here' "$eqflow" data "${system[@]}" --epsilon 2 -n 4 -o y.npy
expect 2 '--constant has no meaning here' "$eqflow" data dw4 --constant depth=2 -n 4 -o y.npy
expect 2 '--length has no meaning here' "$eqflow" data dw4 --length 2 -n 4 -o y.npy
expect 2 '--length 0' "$eqflow" data "${system[@]}" --length 0 -n 4 -o y.npy
expect 2 '--potential FILE.cl is missing' "$eqflow" selftest --particles 3
finish
