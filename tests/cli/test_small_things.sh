#!/usr/bin/env bash
# Names that promise another format, misspelt options, closed pipes, names that are no UTF-8, constants that were
# forgotten, two runs of one model, hints that work.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" data dw2 -n 200 -o x.npy --quiet || finish
succeed "$eqflow" train dw2 --data x.npy -o m.safetensors --steps 5 --batch-size 16 --quiet || finish

# ---- Where results go ----
for name in out.xyz out.CSV out.json m2.safetensors; do
    expect 2 "-o $name: what is written there is a NumPy array: name it .npy" "$eqflow" sample m.safetensors -n 5 -o $name
    expect 2 "-o $name: what is written there is a NumPy array" "$eqflow" data dw2 -n 5 -o $name
    expect 2 "-o $name: what is written there is a NumPy array" "$eqflow" log-prob m.safetensors --data x.npy -o $name
    expect 2 "-o $name: what is written there is a NumPy array" "$eqflow" boltzmann m.safetensors -n 100 -o $name
done
expect 2 '--energies e.csv: what is written there is a NumPy array' "$eqflow" data dw2 -n 5 -o y.npy --energies e.csv
for command in "data dw2 -n 5" "sample m.safetensors -n 5" "train dw2 --data x.npy --steps 2"; do
    # shellcheck disable=SC2086
    expect 2 '-o -: results go into files, not to stdout' "$eqflow" $command -o -
done
succeed "$eqflow" sample m.safetensors -n 5 -o ./- --quiet
if [ -s ./- ]; then pass; else fail "./- was not written"; fi
rm -f ./-
succeed "$eqflow" sample m.safetensors -n 5 -o out.xyz.npy --quiet

# The other way round, a text or a model that would be called .npy, and what each command has of them.
expect 2 '-o m.npy: what is written there is no NumPy array' "$eqflow" train dw2 --data x.npy -o m.npy --steps 2
expect 2 '--xyz s.npy: what is written there is no NumPy array' "$eqflow" sample m.safetensors -n 5 -o s5.npy --xyz s.npy
expect 2 '--report r.NPY: what is written there is no NumPy array' "$eqflow" evaluate m.safetensors --report r.NPY
expect 2 '--steps a.npy: what is written there is no NumPy array' "$eqflow" anneal m.safetensors --steps a.npy
expect 2 '--each e.npy: what is written there is no NumPy array' "$eqflow" minima dw2 --each e.npy
expect 2 '--animation a.npy: what is written there is no NumPy array' "$eqflow" trajectory m.safetensors --animation a.npy
expect 2 '--log-prob l.csv: what is written there is a NumPy array' "$eqflow" trajectory m.safetensors -o t.xyz --log-prob l.csv

# ---- Options ----
expect 2 'unknown option --chians; did you mean --chains\?; see' "$eqflow" data dw2 -n 5 -o y.npy --chians 4
expect 2 'unknown option --burnin=4; did you mean --burn-in\?' "$eqflow" data dw2 -n 5 -o y.npy --burnin=4
expect 2 'unknown option --sede; did you mean --seed\?' "$eqflow" sample m.safetensors -n 5 -o y.npy --sede 4
expect 2 'unknown option --nothing-like-it; see' "$eqflow" data dw2 -n 5 -o y.npy --nothing-like-it

# ---- A reader that has seen enough ----
for arguments in "--help" "train --help" "help data"; do
    for _ in 1 2 3 4 5; do
        # shellcheck disable=SC2086
        code=$( { "$eqflow" $arguments 2>stderr; echo $? >code; } | head -c 1 >/dev/null; cat code)
        if [ "$code" -eq 0 ] && [ ! -s stderr ]; then pass; else fail "eqflow $arguments | head: exit code $code: $(cat stderr)"; fi
    done
done
[ -e /dev/full ] && { "$eqflow" train --help >/dev/full 2>stderr; code=$?; [ $code -eq 4 ] && pass || fail "help on a full disk: exit code $code"; }

# ---- Names that are no UTF-8, and such as steer a terminal ----
odd=$(printf 'w\366rter.npy')
succeed "$eqflow" data dw2 -n 20 -o "$odd" --burn-in 50 --thinning 20 --json --quiet
if grep -aq "\"output\": \"w$(printf '\357\277\275')rter.npy\"" stdout; then pass; else fail "a name in Latin 1: $(grep -a output stdout)"; fi
succeed "$eqflow" evaluate m.safetensors --data "$odd" -n 50 --report r.html --json --quiet
if command -v iconv >/dev/null; then
    if iconv -f UTF-8 -t UTF-8 r.html >/dev/null 2>&1; then pass; else fail "the report is no UTF-8"; fi
    if iconv -f UTF-8 -t UTF-8 stdout >/dev/null 2>&1; then pass; else fail "JSON is no UTF-8"; fi
fi
steering=$(printf 'a\302\2332Jb\342\200\250c.npy')
"$eqflow" log-prob m.safetensors --data "$steering" -o y.npy >stdout 2>stderr
if grep -q 'a??2Jb   c.npy' stderr; then pass; else fail "a name that steers: $(od -c stderr | head -5)"; fi

# ---- Own potentials ----
cp "$source_root/apps/examples/morse.cl" .
system=(--potential morse.cl --particles 3 --space-dim 2 --constant depth=2 --constant steepness=3 --constant r_min=1)
"$eqflow" data "${system[@]}" -n 4 -o y.npy >stdout 2>stderr
code=$?
if [ $code -eq 3 ] && grep -q "undeclared identifier 'trap'" stderr && grep -q 'if trap is a constant of the potential: give its value' stderr &&
    ! grep -q 'did you mean' stderr; then
    pass
elif ! grep -q 'undeclared identifier' stderr; then
    pass # another compiler, with words of its own
else
    fail "a constant that was forgotten: exit code $code: $(cat stderr)"
fi
rm -f "$(sed -n 's/.*log and source: //p' stderr)"
system+=(--constant trap=1)
expect 2 '--constant depth=2 and depth=3: a constant has one value' "$eqflow" data "${system[@]}" --constant depth=3 -n 4 -o y.npy
succeed "$eqflow" data "${system[@]}" -n 100 -o own.npy --burn-in 100 --thinning 20 --quiet
succeed "$eqflow" train "${system[@]}" --data own.npy -o own.safetensors --steps 3 --batch-size 16
hint=$(sed -n 's/.*next: eqflow //p' stderr)
# shellcheck disable=SC2086
succeed "$eqflow" $hint -n 50 --data own.npy --quiet

# ---- Two runs of one model ----
"$eqflow" train dw2 --data x.npy -o m.safetensors --steps 1000000 --batch-size 16 --quiet --checkpoint-interval 0 >/dev/null 2>&1 </dev/null &
child=$!
children="$children $child"
for _ in $(seq 600); do
    [ -e m.safetensors.checkpoint ] && break
    sleep 0.05
done
if [ "$(uname)" = Linux ]; then
    for name in m.safetensors ./m.safetensors; do
        "$eqflow" train dw2 --data x.npy -o $name --steps 5 --batch-size 16 --quiet >stdout 2>stderr
        code=$?
        if [ $code -eq 4 ] && grep -q 'another eqflow is writing the model .*m.safetensors now' stderr; then
            pass
        else
            fail "a second run of $name: exit code $code: $(cat stderr)"
        fi
    done
    "$eqflow" train dw2 --data x.npy -o other.safetensors --checkpoint m.safetensors.checkpoint --steps 5 --batch-size 16 --quiet \
        >stdout 2>stderr
    code=$?
    if [ $code -eq 4 ] && grep -q 'another eqflow is writing the checkpoint' stderr; then pass; else fail "a second checkpoint: $code: $(cat stderr)"; fi
fi
succeed "$eqflow" train dw2 --data x.npy -o other.safetensors --steps 5 --batch-size 16 --quiet
kill -9 $child
wait $child 2>/dev/null
succeed "$eqflow" train dw2 --data x.npy -o m.safetensors --steps 5 --batch-size 16 --quiet # a killed one holds nothing
finish
