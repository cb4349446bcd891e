#!/usr/bin/env bash
# Corners of what the command line allows: the known answers follow the field and refuse none of them (exit code 8).
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

corner() { # PRESET OPTIONS...
    "$eqflow" train "$@" --num-train 64 --steps 1 --batch-size 16 -o corner.safetensors --quiet >stdout 2>stderr
    local code=$?
    if [ $code -eq 0 ]; then pass; else fail "$*: exit code $code: $(tail -1 stderr)"; fi
}
corner dw2 --num-distance 1
corner dw4 --num-distance 3
corner dw4 --num-distance 8
corner dw4 --num-distance 2 --num-time 1 --integration-steps 1
corner dw4 --num-distance 400 --num-time 60 --integration-steps 3
corner dw2 --prior-scale 0.001
corner dw2 --prior-scale 1000
corner dw4 --particles 3 --space-dim 1 --num-distance 6
corner dw4 --space-dim 3 --num-distance 5 --field-evaluation direct
corner lj13 --particles 30 --num-distance 4
corner dw4 --field dense --width 1 --depth 1
finish
