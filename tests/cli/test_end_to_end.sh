#!/usr/bin/env bash
# Data, training, samples, evaluation, report: the whole path at small size, and what each command prints.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

size_of() { wc -c <"$1" | tr -d ' '; }

succeed "$eqflow" devices --json
grep -q '"is_chosen": true' stdout && pass || fail "devices --json chooses none"
succeed "$eqflow" selftest --only "radial, table" --json
grep -q '^  "has_passed": true' stdout && pass || fail "selftest --json: $(tail -3 stdout)"

# ---- data: known energies, and eps one flag away ---------------------------------------------------------------------
succeed "$eqflow" data dw2 -n 5000 -o dw2.npy --seed 1 --json
[ -s stderr ] && fail "data --json speaks on stderr: $(cat stderr)"
within "$(json mean_energy stdout)" -3.95 -3.79 "mean energy of dw2 (quadrature: -3.8707)"
within "$(json acceptance stdout)" 0.1 0.9 "acceptance"
within "$(json split_r_hat stdout)" 0.9 1.05 "split R-hat"
if [ "$(size_of dw2.npy)" -eq $((128 + 5000 * 4 * 4)) ]; then pass; else fail "dw2.npy has $(size_of dw2.npy) bytes"; fi
cp dw2.npy first.npy
succeed "$eqflow" data dw2 -n 5000 -o dw2.npy --seed 1 --quiet
same dw2.npy first.npy "data, same seed"
succeed "$eqflow" data lj13 -n 256 -o eps1.npy --seed 1 --epsilon 1 --json
within "$(json mean_energy stdout)" -3.5 4.5 "mean energy of lj13 with epsilon 1 (integration: +0.5)"
succeed "$eqflow" data dw2 --particles 3 --space-dim 1 -n 64 -o three.npy --json
if [ "$(json num_particles stdout)" = 3 ] && [ "$(json space_dim stdout)" = 1 ]; then pass; else fail "sizes by flag"; fi

# ---- train -----------------------------------------------------------------------------------------------------------
succeed "$eqflow" train dw2 --data dw2.npy -o model.safetensors --steps 300 --batch-size 128 --seed 1 --json
within "$(json held_out_nll stdout)" 3.2 3.6 "held-out NLL of dw2 (entropy 3.3897)"
within "$(json num_held_out stdout)" 500 500 "held-out samples"
within "$(json num_params stdout)" 620 620 "trained parameters"
within "$(json batch_size stdout)" 128 128 "samples a step"
if grep -q '"radial.weights"' model.safetensors && grep -q '"radial.time_log_gammas"' model.safetensors; then
    pass
else
    fail "the model's tensors are not in its header"
fi
grep -q '\[#\+\|ETA' stderr && fail "a progress bar although stderr is no terminal"
cp model.safetensors kept.safetensors
succeed "$eqflow" train dw2 --num-train 12 -o few.safetensors --steps 3 --json --prior-scale data
within "$(json num_held_out stdout)" 2 4 "held-out samples of 12"
succeed "$eqflow" train dw2 --data dw2.npy -o direct.safetensors --steps 3 --batch-size 16 --field-evaluation direct --json
succeed "$eqflow" train lj13 --data eps1.npy --epsilon 1 -o eps1.safetensors --steps 2 --batch-size 16 --json

# ---- sample ----------------------------------------------------------------------------------------------------------
succeed "$eqflow" sample model.safetensors -n 1000 -o x.npy --log-prob lp.npy --xyz x.xyz --seed 5 --json
within "$(json ess_fraction stdout)" 0.5 1 "ESS of samples"
if [ "$(size_of x.npy)" -eq $((128 + 1000 * 4 * 4)) ] && [ "$(size_of lp.npy)" -eq $((128 + 1000 * 4)) ]; then
    pass
else
    fail "sizes of samples and log-densities: $(size_of x.npy) $(size_of lp.npy)"
fi
if [ "$(grep -c '^2$' x.xyz)" -eq 1000 ] && grep -q 'Properties=species:S:1:pos:R:3' x.xyz; then pass; else fail "x.xyz"; fi
# log-prob of the samples is what sample said, to the integrator's round trip.
succeed "$eqflow" log-prob model.safetensors --data x.npy -o lp2.npy --json
within "$(json seconds stdout)" 1e-9 60 "seconds of 1000 log-densities"
mean=$(json mean_log_prob stdout)
"$eqflow" sample model.safetensors -n 1000 -o x.npy --seed 5 --json >stdout
within "$(json mean_log_prob stdout)" "$(awk -v m="$mean" 'BEGIN { print m - 1e-4 }')" \
    "$(awk -v m="$mean" 'BEGIN { print m + 1e-4 }')" "mean log-density, there and back"

# ---- every .npy layout gives the same --------------------------------------------------------------------------------
f4_configurations | npy '<f4' False '(2, 2, 2)' c.npy
f4_configurations | npy '<f4' False '(2, 4)' flat.npy
f8_configurations | npy '<f8' False '(2, 2, 2)' double.npy
f4_fortran_configurations | npy '<f4' True '(2, 2, 2)' fortran.npy
for layout in c flat double fortran; do
    succeed "$eqflow" log-prob model.safetensors --data $layout.npy -o lp_$layout.npy --quiet --json
    same lp_c.npy lp_$layout.npy "layout $layout"
done
# Off-centre data are centred, and a note says so.
{
    printf '\0\0\100\100\0\0\0\0\0\0\200\277\0\0\0\0' # (3, 0), (-1, 0): moved by 1
    printf '\0\0\200\077\0\0\200\077\0\0\200\077\0\0\200\277'
} | npy '<f4' False '(2, 2, 2)' moved.npy
succeed "$eqflow" log-prob model.safetensors --data moved.npy -o lp_moved.npy --json
if grep -q 'centred.*moved.npy' stderr; then pass; else fail "no note about centring: $(cat stderr)"; fi
same lp_c.npy lp_moved.npy "centred data"

# ---- evaluate --------------------------------------------------------------------------------------------------------
succeed "$eqflow" evaluate model.safetensors -n 10000 --report report.html --seed 2 --json
cp stdout evaluation.json
for key in nll nll_standard_error nll_without_constant nll_refined entropy kl kl_standard_error kl_direct kl_direct_standard_error ess_fraction max_weight_fraction log_z \
    reverse_kl reverse_kl_standard_error ess_fraction_data ess_fraction_data_standard_error above_data_fraction \
    log_z_standard_error mean_energy_model mean_energy_reweighted mean_energy_data num_samples num_data \
    log_z_bar log_z_bar_standard_error log_prob_invariance_error; do
    case $(json $key evaluation.json) in
    '' | null | *[!-+0-9.e]*) fail "evaluate --json: $key is '$(json $key evaluation.json)'" ;;
    *) pass ;;
    esac
done
within "$(json nll evaluation.json)" 3.35 3.5 "nll"
within "$(json entropy evaluation.json)" 3.3896 3.3898 "entropy"
kl=$(awk -v n="$(json nll evaluation.json)" -v e="$(json entropy evaluation.json)" 'BEGIN { print n - e }')
within "$(json kl evaluation.json)" "$(awk -v k="$kl" 'BEGIN { print k - 1e-6 }')" \
    "$(awk -v k="$kl" 'BEGIN { print k + 1e-6 }')" "kl = nll - entropy"
kl=$(awk -v n="$(json nll evaluation.json)" -v u="$(json mean_energy_data evaluation.json)" 'BEGIN { print n - u - 7.26039 }')
within "$(json kl_direct evaluation.json)" "$(awk -v k="$kl" 'BEGIN { print k - 1e-4 }')" \
    "$(awk -v k="$kl" 'BEGIN { print k + 1e-4 }')" "kl_direct = nll - mean energy - ln Z"
within "$(json kl_direct_standard_error evaluation.json)" 1e-5 "$(json kl_standard_error evaluation.json)" "error of kl_direct"
offset=$(awk -v n="$(json nll evaluation.json)" -v w="$(json nll_without_constant evaluation.json)" 'BEGIN { print n - w }')
within "$offset" 1.83787 1.83789 "the prior's constant, (N-1)D/2 ln 2 pi = ln 2 pi"
within "$(json log_z evaluation.json)" 7.2 7.32 "ln Z (quadrature: 7.26039)"
within "$(json mean_energy_reweighted evaluation.json)" -3.95 -3.79 "reweighted mean energy"
within "$(json log_prob_invariance_error evaluation.json)" 0 1e-4 "invariance error"
for group in all rotation reflection translation permutation; do
    grep -A2 "\"$group\": {" evaluation.json >"$group.json"
    if [ "$(grep -Ec '"(median|largest)": [0-9.e-]+,?$' "$group.json")" -eq 2 ]; then pass; else fail "$group: $(cat "$group.json")"; fi
done
within "$(json num_data evaluation.json)" 10000 10000 "num_data"
if grep -q 'NaN\|Infinity\|: nan\|: inf' evaluation.json; then fail "JSON holds what is no JSON"; else pass; fi
same model.safetensors kept.safetensors "evaluate leaves the model alone"

succeed "$eqflow" evaluate model.safetensors -n 100 --max-samples 1e6 --ess-error 0.03 --json --quiet
within "$(json ess_fraction_standard_error stdout)" 0 0.03 "error of an effective sample size whose samples grow"
within "$(awk -v n="$(json num_samples stdout)" 'BEGIN { while (n > 100) n /= 2; print n }')" 100 100 "samples, doubled from 100"
within "$(json num_data stdout)" 100 100 "num_data, as many as -n"
expect 2 '--max-samples 50: must be at least -n, 100' "$eqflow" evaluate model.safetensors -n 100 --max-samples 50
expect 2 '--ess-error 0: must be at least' "$eqflow" evaluate model.safetensors -n 100 --ess-error 0

# The report: one file, nothing fetched, seven pictures, drawn configurations, a light for each certificate, the figures.
if [ "$(head -c 15 report.html)" = "<!DOCTYPE html>" ] && grep -q '</html>' report.html; then pass; else fail "report.html"; fi
within "$(grep -c '<li><svg viewBox="0 0 16 16"' report.html)" 6 8 "traffic lights"
within "$(grep -o 'class="panel"' report.html | wc -l)" 39 39 "drawn configurations: three times eight, and a strip of three by five"
within "$(grep -o '<circle cx' report.html | wc -l)" 78 86 "particles of the drawn configurations, and lights"
within "$(grep -o '<animate ' report.html | wc -l)" 24 24 "coordinates that move: six samples of two particles in a plane"
# The command is there to its end.
if grep -q -- '--report report.html --seed 2 --json</td>' report.html; then pass; else fail "the report's command is cut"; fi
if grep -Eq '(src|href)="(http|//|[^"#d])' report.html; then fail "the report is not self-contained"; else pass; fi
if command -v gnuplot >/dev/null; then
    within "$(grep -c 'src="data:image/svg+xml;base64,' report.html)" 7 7 "pictures"
else
    echo "not tried: pictures (gnuplot is not installed)"
fi
mkdir bin
if PATH=$work/bin "$eqflow" evaluate model.safetensors -n 10000 --report bare.html --quiet >stdout 2>stderr &&
    [ "$(grep -c 'gnuplot-nox' stderr)" -eq 1 ] && grep -q '<table>' bare.html &&
    ! grep -q 'image/svg' bare.html; then
    pass
else
    fail "without gnuplot: $(cat stderr)"
fi

# Says in words what must not be believed.
succeed "$eqflow" evaluate model.safetensors --data c.npy -n 100 --integration-steps 2 --json
if grep -q 'nll_refined differs from nll' stderr && grep -q '100 samples are too few' stderr; then
    pass
else
    fail "no words about nll_refined or few samples: $(cat stderr)"
fi
within "$(json num_data stdout)" 2 2 "num_data from a file"
# The table against the sum of all Gaussians: the same to rounding, but not the same bits.
for how in table direct; do
    succeed "$eqflow" sample model.safetensors -n 1000 -o $how.npy --log-prob $how-log-prob.npy --field-evaluation $how --json
    json mean_log_prob stdout >$how.value
    succeed "$eqflow" log-prob model.safetensors --data c.npy -o lp.npy --field-evaluation $how --json
    json mean_log_prob stdout >>$how.value
    succeed "$eqflow" evaluate model.safetensors --data c.npy -n 100 --field-evaluation $how --json
    json nll_refined stdout >>$how.value
done
worst=$(paste table.value direct.value | awk '{ d = $1 - $2; if (d < 0) d = -d; if (d > w) w = d } END { print w + 0 }')
echo "table against direct: $worst nats at most in $(wc -l <table.value) figures"
if [ "$(wc -l <table.value)" -eq 3 ] && awk "BEGIN { exit !($worst < 1e-4) }"; then pass; else fail "table and direct differ by $worst"; fi
if cmp -s table-log-prob.npy direct-log-prob.npy; then fail "--field-evaluation direct changes nothing"; else pass; fi
for command in "sample -n 1 -o x.npy" "log-prob --data c.npy -o x.npy" "evaluate -n 10"; do
    # shellcheck disable=SC2086  # words on purpose
    expect 2 'must be table or direct' "$eqflow" $command model.safetensors --field-evaluation sum
done

# Another target: nothing is known of it.
succeed "$eqflow" evaluate model.safetensors --temperature 1.1 -n 1000 --num-data 500 --json
if [ "$(json entropy stdout)" = null ] && [ "$(json kl stdout)" = null ]; then pass; else fail "entropy of another target"; fi
succeed "$eqflow" evaluate eps1.safetensors -n 1000 --num-data 500 --json
if [ "$(json entropy stdout)" = null ]; then pass; else fail "entropy of lj13 with epsilon 1"; fi
# Likelihood below the entropy: data at the bottom of the well.
{ for _ in $(seq 200); do printf '\0\0\240\77\0\0\0\0\0\0\240\277\0\0\0\0'; done; } | npy '<f4' False '(200, 2, 2)' cold.npy
succeed "$eqflow" evaluate model.safetensors --data cold.npy -n 10000 --json
if grep -q 'below the target.s entropy' stderr; then pass; else fail "no word about the entropy: $(json nll stdout) $(cat stderr)"; fi
finish
