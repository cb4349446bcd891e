#!/usr/bin/env bash
# Configurations with energies and weights beside them: .npy and extended XYZ of every command that has them, read again
# by `average` (and by ASE, where python3 has it); models weighed at another temperature; every way to mistype it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" data dw2 -n 3000 --burn-in 500 --thinning 50 -o x.npy --quiet || finish
succeed "$eqflow" train dw2 --data x.npy --steps 60 -o m.safetensors --quiet
mean() { sed -n '/"energy"/,/}/s/^ *"mean": \(.*[^,]\),\{0,1\}$/\1/p' "$1" | head -1; }
near() { # VALUE EXPECTED TOLERANCE WHAT
    within "$1" "$(awk -v v="$2" -v t="$3" 'BEGIN { print v - t }')" "$(awk -v v="$2" -v t="$3" 'BEGIN { print v + t }')" "$4"
}

# average_of FILE WEIGHTS...: mean energy in the file out
average_of() {
    succeed "$eqflow" average "$@" --preset dw2 --json --quiet
    cp stdout out
}

succeed "$eqflow" sample m.safetensors -n 500 -o s.npy --energies e.npy --log-prob lp.npy --log-weights lw.npy --xyz s.xyz --element Ne --quiet
if [ "$(grep -c '^Ne ' s.xyz)" -eq 1000 ] && [ "$(grep -c 'energy=.* log_prob=.* log_weight=' s.xyz)" -eq 500 ]; then pass; else fail "$(head -4 s.xyz)"; fi
# log_weight = -energy - log_prob, in each frame.
within "$(awk '/log_weight/ { split($0, a, /energy=|log_prob=|log_weight=/); d = a[2] + a[3] + a[4]; if (d < 0) d = -d; if (d > m) m = d } END { print m + 0 }' s.xyz)" 0 1e-5 "log_weight + energy + log_prob"
average_of s.npy --log-weights lw.npy
weighted=$(mean out)
average_of s.xyz
near "$(mean out)" "$weighted" 2e-5 "weighted mean energy from XYZ"
if grep -q '"log_weights": "s.xyz"' out; then pass; else fail "$(grep log_weights out)"; fi
average_of s.xyz --equal-weights
plain=$(mean out)
average_of s.npy
near "$(mean out)" "$plain" 2e-5 "mean energy without weights"
if awk -v a="$plain" -v b="$weighted" 'BEGIN { d = a - b; exit !(d > 1e-3 || d < -1e-3) }'; then pass; else fail "weights change nothing: $plain, $weighted"; fi

succeed "$eqflow" boltzmann m.safetensors -n 500 --proposals p.npy --log-weights plw.npy --xyz p.xyz --json --quiet
cp stdout boltzmann
average_of p.npy --log-weights plw.npy
near "$(mean out)" "$(json mean_energy_reweighted boltzmann)" 1e-4 "mean energy of boltzmann's proposals"
average_of p.xyz
near "$(mean out)" "$(json mean_energy_reweighted boltzmann)" 1e-4 "the same from XYZ"

succeed "$eqflow" anneal m.safetensors -n 400 --pilot 100 --repeats 4 --walkers w.npy --log-weights wlw.npy --xyz w.xyz --json --quiet
cp stdout annealed
average_of w.xyz
near "$(mean out)" "$(json mean_energy annealed)" 1e-4 "mean energy of anneal's walkers from XYZ"
average_of w.npy --log-weights wlw.npy
near "$(mean out)" "$(json mean_energy annealed)" 1e-4 "and from .npy"
succeed "$eqflow" anneal s.xyz --preset dw2 --temperature 1.1 -n 64 --pilot 64 --repeats 2 --quiet

# The model weighed at another temperature: sample and evaluate agree, and differ from T = 1.
succeed "$eqflow" evaluate m.safetensors -n 500 --num-data 500 --temperature 1.5 -o v.npy --energies ve.npy --log-prob vlp.npy --log-weights vlw.npy --xyz v.xyz --json --quiet
cp stdout evaluated
average_of v.xyz --temperature 1.5
near "$(mean out)" "$(json mean_energy_reweighted evaluated)" 1e-4 "mean energy at T = 1.5"
average_of v.npy --log-weights vlw.npy --temperature 1.5
near "$(mean out)" "$(json mean_energy_reweighted evaluated)" 1e-4 "and from .npy"
succeed "$eqflow" sample m.safetensors -n 500 -o h.npy --xyz h.xyz --temperature 1.5 --json --quiet
same h.npy s.npy "the samples do not depend on the target's temperature"
if cmp -s h.xyz s.xyz; then fail "energies at T = 1.5 are those at T = 1"; else pass; fi
# u = U/T: each energy at T = 1.5 is that at T = 1 divided by 1.5.
within "$(paste <(grep -o 'energy=[^ ]*' s.xyz) <(grep -o 'energy=[^ ]*' h.xyz) | awk -F'[=\t]' '{ d = $2 - 1.5 * $4; if (d < 0) d = -d; d /= 1 + ($2 < 0 ? -$2 : $2); if (d > m) m = d } END { print m + 0 }')" 0 1e-5 "energies at two temperatures"

if python3 -c 'import ase.io' 2>/dev/null; then
    succeed python3 - <<'P'
import ase.io
import numpy as np
frames = ase.io.read("s.xyz", ":")
x, lw, e = np.load("s.npy"), np.load("lw.npy"), np.load("e.npy")
assert len(frames) == 500 and frames[0].get_chemical_symbols() == ["Ne", "Ne"]
assert np.allclose([f.positions[:, :2] for f in frames], x, atol=1e-6)
assert np.allclose([f.info["log_weight"] for f in frames], lw, rtol=1e-6)
energy = [f.info["energy"] if "energy" in f.info else f.get_potential_energy() for f in frames]
assert np.allclose(energy, e, rtol=1e-6)
P
else
    echo "not checked with ASE: python3 has none"
fi

refuse() { # CODE PATTERN ARGUMENTS...
    local code=$1 pattern=$2
    shift 2
    expect "$code" "$pattern" "$eqflow" "$@" --quiet
}
refuse 2 'belongs to --xyz' sample m.safetensors -n 5 -o n.npy --element Ar
refuse 2 'short word' sample m.safetensors -n 5 -o n.npy --xyz n.xyz --element 'A r'
refuse 2 'name one file' sample m.safetensors -n 5 -o n.npy --log-weights n.npy
refuse 2 'exclude each other' average s.npy --preset dw2 --log-weights lw.npy --equal-weights
refuse 2 'temperature' sample m.safetensors -n 5 -o n.npy --temperature 0
refuse 2 'belongs to --xyz' evaluate m.safetensors --element Ar
sed '0,/ log_weight=[^ ]*/s///' s.xyz >some.xyz
refuse 3 'some frames have log_weight' average some.xyz --preset dw2
sed 's/log_weight=[^ ]*/log_weight=nan/' s.xyz >nan.xyz
refuse 3 'is not a number below infinity' average nan.xyz --preset dw2
sed 's/log_weight=[^ ]*/log_weight=-inf/' s.xyz >none.xyz
refuse 3 'every weight is zero' average none.xyz --preset dw2
finish
