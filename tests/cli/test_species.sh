#!/usr/bin/env bash
# Two species of particles as a user has them: data, a message field, samples with two elements, minima; and what is
# refused, in one line and before any work.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
system=(blj13 --particles 5 --num-b 2 --space-dim 2)
small=(--field message --num-hops 2 --num-scalars 8 --num-vectors 4 --num-edge 8 --num-reduced 2 --num-distance 8)

expect 2 'num_b of the potential is 5: it must be below the number of particles, 5' "$eqflow" data blj13 --particles 5 --num-b 5 --space-dim 2 -n 10 -o x.npy
expect 2 'num_b of the potential is 5: it must be below' "$eqflow" data blj13 --particles 4 -n 10 -o x.npy
expect 2 '--num-b has no meaning here: this system.s potential is of the kind Lennard-Jones' "$eqflow" data lj13 --num-b 3 -n 10 -o x.npy
expect 2 '--epsilon-ab -1: must be at least 0' "$eqflow" data "${system[@]}" --epsilon-ab -1 -n 10 -o x.npy
expect 2 '--r-min-bb 0: must be more than 0' "$eqflow" data "${system[@]}" --r-min-bb 0 -n 10 -o x.npy

succeed "$eqflow" data "${system[@]}" -n 400 --burn-in 500 --thinning 40 -o x.npy --quiet || finish
# Each pair of species has weights of its own in a radial field; it knows stages only.
succeed "$eqflow" train "${system[@]}" --data x.npy --steps 5 --integration-steps 4 -o r.safetensors --quiet
succeed "$eqflow" evaluate r.safetensors --data x.npy -n 50 --json --quiet
within "$(sed -n 's/.*"log_prob_invariance_error": *\([-0-9.e]*\).*/\1/p' stdout)" 0 1e-3 "change of a radial field's log-densities under symmetries"
expect 1 'a radial field with two species knows stages only: use --integrator rk4' "$eqflow" sample r.safetensors -n 5 -o u.npy --integrator dopri5
succeed "$eqflow" train "${system[@]}" --data x.npy "${small[@]}" --stage flow-matching,steps=20,batch=32 --integration-steps 4 -o m.safetensors --quiet || finish
# One species has the same parameters as ever; two have filters of two pairs and a start for species B beside them.
python3 - m.safetensors <<'PY' && pass || fail "the slices of the model"
import json, struct, sys
data = open(sys.argv[1], "rb").read()
header = json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])
meta = json.loads(header["__metadata__"]["eqflow"])
names = [n for n in header if n.startswith("message.")]
wanted = ["message.time_b_1"] + [f"message.filter_{pair}_{hop}" for pair in ("ab", "bb") for hop in ("1", "2", "edge")]
sys.exit(0 if all(n in names for n in wanted) and meta["potential"]["num_b"] == 2 else 1)
PY
succeed "$eqflow" sample m.safetensors -n 50 -o s.npy --xyz s.xyz --quiet
if [ "$(grep -c '^Ar ' s.xyz)" -eq 150 ] && [ "$(grep -c '^Ne ' s.xyz)" -eq 100 ]; then pass; else fail "$(head -8 s.xyz)"; fi
if [ "$(sed -n '3,7p' s.xyz | cut -c1-2 | tr '\n' ' ')" = "Ar Ar Ar Ne Ne " ]; then pass; else fail "order: $(head -7 s.xyz)"; fi
succeed "$eqflow" sample m.safetensors -n 50 -o s.npy --xyz t.xyz --element Ni,P --quiet
if sed 's/^Ni /Ar /; s/^P /Ne /' t.xyz | cmp -s - s.xyz; then pass; else fail "--element Ni,P: $(head -7 t.xyz)"; fi
for bad in Ni,P,S ,P Ni,; do
    expect 2 "--element $bad: must be a short word such as Ar, or two: Ar,Ne" "$eqflow" sample m.safetensors -n 5 -o u.npy --xyz u.xyz --element "$bad"
done
# XYZ in, as data: the order of the particles is the order of the species.
succeed "$eqflow" log-prob m.safetensors --data s.xyz -o p.npy --quiet
succeed "$eqflow" evaluate m.safetensors --data x.npy -n 100 --json --quiet
within "$(sed -n 's/.*"log_prob_invariance_error": *\([-0-9.e]*\).*/\1/p' stdout)" 0 1e-4 "change of log-densities under symmetries, permutations within species among them"
succeed "$eqflow" compare s.npy x.npy --preset blj13 --particles 5 --num-b 2 --space-dim 2 --json --quiet
succeed "$eqflow" minima m.safetensors -n 40 --json --quiet
# A text says which particles are alike, and is asked about those only.
cat >mixture.cl <<'CL'
real energy(const real *x) {
    real sum = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++)
            for (int d = 0; d < D; d++) sum += ((i >= 3) + 1) * (x[i * D + d] - x[j * D + d]) * (x[i * D + d] - x[j * D + d]);
    return sum;
}
void energy_gradient(const real *x, real *gradient) {
    for (int c = 0; c < N * D; c++) gradient[c] = 0;
    for (int i = 0; i < N; i++)
        for (int j = 0; j < i; j++)
            for (int d = 0; d < D; d++) {
                const real g = 2 * ((i >= 3) + 1) * (x[i * D + d] - x[j * D + d]);
                gradient[i * D + d] += g;
                gradient[j * D + d] -= g;
            }
}
CL
text=(--potential mixture.cl --particles 5 --space-dim 2)
expect 3 'the energy changes under permutation.*--text-num-b' "$eqflow" train "${text[@]}" --field message -o t.safetensors
expect 2 'num_b of the potential is 5' "$eqflow" train "${text[@]}" --text-num-b 5 --field message -o t.safetensors
succeed "$eqflow" train "${text[@]}" --text-num-b 2 --data x.npy "${small[@]}" --stage flow-matching,steps=5,batch=32 --integration-steps 4 -o t.safetensors --quiet
succeed "$eqflow" evaluate t.safetensors --potential mixture.cl --data x.npy -n 50 --json --quiet
finish
