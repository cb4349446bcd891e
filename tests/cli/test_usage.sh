#!/usr/bin/env bash
# Help, version, and every way to mistype a command: no device is needed.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

for command in devices data train sample evaluate log-prob selftest version; do
    if "$eqflow" --help | grep -q "^  $command "; then pass; else fail "eqflow --help does not show $command"; fi
done
# Every command of the table, those of later days included.
for command in $("$eqflow" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p'); do
    succeed "$eqflow" "$command" --help
    [ -s stderr ] && fail "$command --help: something on stderr"
    wide=$(awk 'length > 80' stdout)
    if [ -z "$wide" ]; then pass; else fail "$command --help: wider than 80 columns: $wide"; fi
    for option in --device --seed --json --quiet --help; do
        if grep -q -- "$option" stdout; then pass; else fail "$command --help does not show $option"; fi
    done
done
succeed "$eqflow" train --help
num_presets=$(awk '/^Defaults of the presets/ { print NF - 4 }' stdout)
if [ "$num_presets" -ge 5 ]; then pass; else fail "train --help: a table of ${num_presets:-no} presets"; fi
for option in steps batch-size learning-rate final-fraction warm-up integration-penalty clip-norm average-decay \
    weight-decay validation-interval field-evaluation prior-scale integration-steps num-distance num-time num-train \
    epsilon r-min trap temperature quadratic quartic linear distance-offset particles space-dim; do
    if grep -Eq -- "^  --$option( +[^ ]+){$num_presets}$" stdout; then
        pass
    else
        fail "train --help does not show the default of --$option for every preset"
    fi
done
if grep -q 'held-out.*' stdout && grep -q '\[0.1\]' stdout; then pass; else fail "train --help: default of --held-out"; fi
cp stdout direct
succeed "$eqflow" help train
same stdout direct "help train"

succeed "$eqflow" version --json
version=$(json version stdout)
succeed "$eqflow" --version
if [ "\"$(sed 's/eqflow //' stdout)\"" = "$version" ]; then pass; else fail "--version and version --json disagree"; fi

# docs/errors.md lists every status and every exit code.
for status in $(sed -n 's/^ *X(\(ERROR_[A-Z_]*\),.*/\1/p' "$source_root/include/eqflow/status.h"); do
    if grep -q "EQF_$status" "$source_root/docs/errors.md"; then pass; else fail "docs/errors.md lacks EQF_$status"; fi
done
for code in $(sed -n 's/^ *EXIT_CODE_[A-Z_]* = \([0-9]*\).*/\1/p' "$source_root/apps/eqflow/exit_code.h"); do
    if grep -q "^| $code |" "$source_root/docs/errors.md"; then pass; else fail "docs/errors.md lacks exit code $code"; fi
done

expect 2 'command is missing.*eqflow --help' "$eqflow"
expect 2 "unknown command 'trian'.*train" "$eqflow" trian
expect 2 "unknown command 'frobnicate'.*eqflow --help" "$eqflow" frobnicate
expect 2 'unknown option --frob .*before a command' "$eqflow" --frob
expect 2 'unknown option --frob; see eqflow train --help' "$eqflow" train dw4 --frob
expect 2 'unknown option -Z; see eqflow data --help' "$eqflow" data dw4 -Z
expect 2 'PRESET is missing' "$eqflow" train
expect 2 "unexpected argument 'dw4'" "$eqflow" train dw2 dw4 -o m.safetensors
expect 2 "unknown preset 'dw3'; there are dw2, dw4, lj13, lj38, lj55, morse13, blj13" "$eqflow" train dw3 -o m.safetensors
expect 2 "unknown preset 'dw3'" "$eqflow" data dw3 -n 10 -o x.npy
expect 2 '-o .* is missing' "$eqflow" train dw2
expect 2 '-n .* is missing' "$eqflow" data dw2 -o x.npy
expect 2 '-o .* is missing' "$eqflow" data dw2 -n 10
expect 2 '--num-samples ten: not a whole number' "$eqflow" data dw2 -n ten -o x.npy
expect 2 '--num-samples -5: must be at least 1 ' "$eqflow" data dw2 -n -5 -o x.npy
expect 2 '--num-samples 1.5: not a whole number' "$eqflow" data dw2 -n 1.5 -o x.npy
expect 2 '--num-samples 0: must be at least 1' "$eqflow" data dw2 -n 0 -o x.npy
expect 2 '--seed 99999999999999999999: not a whole number' "$eqflow" data dw2 -n 10 -o x.npy --seed 99999999999999999999
expect 2 '--learning-rate nan: not a finite number' "$eqflow" train dw2 -o m.safetensors --learning-rate nan
expect 2 '--learning-rate 0: must be more than 0' "$eqflow" train dw2 -o m.safetensors --learning-rate 0
expect 2 '--held-out 2: must be at least 0 and at most 0.9' "$eqflow" train dw2 -o m.safetensors --held-out 2
expect 2 '--steps: .*' "$eqflow" train dw2 -o m.safetensors --steps
expect 2 '--field-evaluation guess: must be table or direct' "$eqflow" train dw2 -o m.safetensors --field-evaluation guess
expect 2 '--prior-scale -1: must be' "$eqflow" train dw2 -o m.safetensors --prior-scale -1
expect 2 '--num-train .*excludes --data' "$eqflow" train dw2 -o m.safetensors --data x.npy --num-train 100
expect 2 '--epsilon has no meaning here.*double well' "$eqflow" data dw2 -n 10 -o x.npy --epsilon 1
expect 2 '--quartic has no meaning here.*Lennard-Jones' "$eqflow" data lj13 -n 10 -o x.npy --quartic 1
expect 2 '--space-dim 4: must be at least 1 and at most 3' "$eqflow" data dw2 -n 10 -o x.npy --space-dim 4
expect 3 'no checkpoint .*m.safetensors.checkpoint.*without --resume' "$eqflow" train dw2 -o m.safetensors --resume

# A full stdout is an error of its own, not a success.
if [ -w /dev/full ]; then
    "$eqflow" version >/dev/full 2>stderr
    if [ $? -eq 4 ] && [ "$(wc -l <stderr)" -eq 1 ]; then pass; else fail "version >/dev/full: $(cat stderr)"; fi
    for words in --help --version "help train" "train --help"; do
        # shellcheck disable=SC2086
        "$eqflow" $words >/dev/full 2>stderr
        code=$?
        if [ $code -eq 4 ] && [ "$(wc -l <stderr)" -eq 1 ]; then pass; else fail "$words >/dev/full: $code: $(cat stderr)"; fi
    done
fi

# No command has two options of one name: constants of potentials and of fields meet in train.
for words in anneal boltzmann data evaluate log-prob minima sample selftest train; do
    "$eqflow" $words --help >stdout || fail "$words --help"
    twice=$(grep -oE '^  (-., |    )--[a-z0-9-]+' stdout | grep -oE -- '--.*' | sort | uniq -d)
    if [ -z "$twice" ]; then pass; else fail "$words --help has twice: $twice"; fi
done

# Short options may stand together; the overview fits a terminal.
succeed "$eqflow" train -qh
same stdout direct "train -qh"
succeed "$eqflow" --help
wide=$(awk 'length > 79' stdout)
if [ -z "$wide" ]; then pass; else fail "--help: wider than 79 columns: $wide"; fi

# Numbers are decimal and nothing else.
for bad in 0x10 ' 12' '12 ' 12x 1e400 nan -inf; do
    expect 2 'not a whole number' "$eqflow" data dw2 -n "$bad" -o x.npy
    expect 2 'not a finite number' "$eqflow" data dw2 -n 10 -o x.npy --temperature "$bad"
    expect 2 'must be' "$eqflow" train dw2 -o m.safetensors --prior-scale "$bad"
    expect 2 'must be' "$eqflow" train dw2 -o m.safetensors --loss energy --energy-cap "$bad"
done

expect 2 '--num-samples 1e30: must be at least 1 and at most' "$eqflow" data dw2 -n 1e30 -o x.npy

# A closed standard stream lends its number to no file of ours.
succeed "$eqflow" data dw2 -n 10 -o open.npy --burn-in 5 --thinning 1 --quiet
"$eqflow" data dw2 -n 10 -o closed.npy --burn-in 5 --thinning 1 >&- 2>&- <&-
code=$?
if [ $code -eq 4 ]; then pass; else fail "closed streams: exit code $code"; fi
same open.npy closed.npy "closed streams"

# No OpenCL platform: says which package to install.
expect 5 'pocl-opencl-icd' env OCL_ICD_VENDORS=/nonexistent "$eqflow" devices
expect 5 'pocl-opencl-icd' env OCL_ICD_VENDORS=/nonexistent "$eqflow" data dw2 -n 10 -o x.npy
expect 5 'pocl-opencl-icd' env OCL_ICD_VENDORS=/nonexistent "$eqflow" train dw2 -o m.safetensors
expect 5 'pocl-opencl-icd' env OCL_ICD_VENDORS=/nonexistent "$eqflow" selftest
finish
