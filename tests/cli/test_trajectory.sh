#!/usr/bin/env bash
# eqflow trajectory as a user types it: the last frame is the sample, log-densities follow, files, every way to mistype
# it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" train dw2 --data none --steps 60 --num-generated 64 -o m.safetensors --quiet || finish
run() { "$eqflow" trajectory m.safetensors --quiet --seed 4 "$@"; }
succeed run -n 3 --frames 5 -o way.xyz --animation way.svg --log-prob p.npy --json
within "$(json num_frames stdout)" 5 5 "frames"
last=$(json mean_log_prob stdout)
if [ "$(grep -c '^Properties=' way.xyz)" -eq 15 ]; then pass; else fail "$(grep -c '^Properties=' way.xyz) frames in way.xyz"; fi
if head -c 128 p.npy | grep -q '(5, 3)'; then pass; else fail "$(head -c 128 p.npy)"; fi
# Samples of the same seed end there.
succeed "$eqflow" sample m.safetensors -n 3 --seed 4 -o x.npy --xyz x.xyz --quiet --json
within "$last" "$(awk -v v="$(json mean_log_prob stdout)" 'BEGIN { print v - 1e-3 }')" \
    "$(awk -v v="$(json mean_log_prob stdout)" 'BEGIN { print v + 1e-3 }')" "mean log-density at t = 1"
coordinates() { awk -v b="$1" '/^Properties=/ { f++; next } NF == 4 && f == b { print $2, $3 }' "$2"; }
for b in 1 2 3; do
    if paste <(coordinates $((5 * b)) way.xyz) <(coordinates "$b" x.xyz) |
        awk '{ for (k = 1; k <= 2; k++) { d = $k - $(k + 2); if (d * d > 1e-8) bad = 1 } } END { exit bad || NR != 2 }'; then
        pass
    else
        fail "sample $b: $(coordinates $((5 * b)) way.xyz) instead of $(coordinates "$b" x.xyz)"
    fi
done
# A picture with a circle for each particle and no script.
if [ "$(grep -c '<circle' way.svg)" -eq 6 ] && grep -q '<animate' way.svg && ! grep -qi '<script' way.svg && tail -1 way.svg | grep -q '</svg>'; then
    pass
else
    fail "$(head -3 way.svg)"
fi
# The way back: latents of the samples are the first frame.
succeed "$eqflow" log-prob m.safetensors --data x.npy -o lp.npy --latents z.npy --quiet
succeed run -n 3 --frames 2 -o ends.npy
values() { tail -c "$1" "$2" | od -An -v -tf4 -w4; } # the array's last bytes
if paste <(values 48 z.npy) <(values 96 ends.npy | head -12) |
    awk '{ d = $1 - $2; if (d * d > 1e-6) bad = 1 } END { exit bad || NR != 12 }'; then
    pass
else
    fail "latents: $(values 48 z.npy | tr '\n' ' ') instead of $(values 96 ends.npy | head -12 | tr '\n' ' ')"
fi
expect 2 'each needs its own' "$eqflow" log-prob m.safetensors --data x.npy -o same.npy --latents same.npy
succeed run -n 2 --frames 3 -o way.npy
if head -c 128 way.npy | grep -q '(3, 2, 2, 2)'; then pass; else fail "$(head -c 128 way.npy)"; fi

refuse() { # CODE PATTERN ARGUMENTS...
    local code=$1 pattern=$2
    shift 2
    expect "$code" "$pattern" "$eqflow" trajectory "$@" --quiet
}
refuse 2 'where do the frames go' m.safetensors
refuse 2 'must end in' m.safetensors -o way.txt
refuse 2 'frames' m.safetensors -o w.npy --frames 1
refuse 2 'name one file' m.safetensors -o w.npy --log-prob w.npy
refuse 3 'missing.safetensors' missing.safetensors -o w.npy
finish
