#!/usr/bin/env bash
# eqflow bench: every figure is there and agrees with its neighbours; the protocol of tests/bench/compare.py.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

expect 2 "unknown system 'lj14'; there are dw2, dw4, lj13, lj55, sweep, all" "$eqflow" bench --system lj14
expect 2 '--batch 0: must be at least 1' "$eqflow" bench --batch 0
expect 2 '--seconds 0: must be' "$eqflow" bench --seconds 0
"$eqflow" devices >/dev/null 2>&1 || skip "no OpenCL device to measure"

mkdir tmp
export TMPDIR=$work/tmp # whose rests are seen at the end

# ---- Figures --------------------------------------------------------------------------------------------------------
succeed "$eqflow" bench --system dw2 --batch 16 --seconds 0.01 --json --quiet || finish
cp stdout bench.json
[ -s stderr ] && fail "something on stderr: $(cat stderr)"
within "$(json fma_peak_gflops bench.json)" 0.01 1e6 "FMA peak (GFLOP/s)"
within "$(json copy_bandwidth_gbps bench.json)" 0.01 1e5 "copy bandwidth (GB/s)"
# One line a figure: task, penalty, batch, seconds, calls/s, samples/s, fraction of the peak.
tr -d ' \n' <bench.json | sed 's/{"task":/\n&/g' | grep '^{"task"' >figures
field() { sed -n "s/.*\"$1\":\([^,}]*\).*/\1/p"; }
for task in sample log_prob train mcmc; do
    grep "^{\"task\":\"$task\"" figures >figure
    count=$(wc -l <figure)
    wanted=1
    [ $task = train ] && wanted=2
    [ "$count" -eq $wanted ] && pass || fail "$count figures of $task, expected $wanted"
    seconds=$(head -1 figure | field seconds_per_call)
    calls=$(head -1 figure | field calls_per_second)
    samples=$(head -1 figure | field samples_per_second)
    within "$seconds" 1e-7 100 "$task: seconds a call"
    within "$(awk "BEGIN { print $seconds * $calls }")" 0.9999 1.0001 "$task: seconds a call times calls a second"
    within "$(awk "BEGIN { print $samples / $calls }")" 15.999 16.001 "$task: samples a call"
    within "$(head -1 figure | field value)" -1e30 1e30 "$task: what was computed"
    [ $task = mcmc ] && continue
    within "$(head -1 figure | field fma_peak_fraction)" 1e-9 1 "$task: fraction of the FMA peak"
    within "$(head -1 figure | field copy_bandwidth_fraction)" 1e-9 1 "$task: fraction of the copy bandwidth"
done
# One pair, 80 evaluations, 16 samples: ns_per_pair_evaluation from seconds.
head -1 figures >figure
within "$(awk "BEGIN { print $(field ns_per_pair_evaluation <figure) / ($(field seconds_per_call <figure) * 1e9 / 16 / 80) }")" \
    0.9999 1.0001 "ns a pair and evaluation against seconds a call"
cold=$(sed -n '/"cold"/,/}/s/.*"flow_seconds": \([^,]*\),*/\1/p' bench.json)
warm=$(sed -n '/"warm"/,/}/s/.*"flow_seconds": \([^,]*\),*/\1/p' bench.json)
within "$(awk "BEGIN { print $cold / $warm }")" 1 1e6 "programs: cold against warm"
[ -z "$(ls tmp)" ] && pass || fail "left behind in TMPDIR: $(ls tmp)"

succeed "$eqflow" bench --start-up --system dw2
grep -q '^programs and stage tables' stdout && pass || fail "start-up: $(cat stdout)"

# ---- Devices that are not here -------------------------------------------------------------------------------------
succeed "$eqflow" bench --model h200 --system lj13 --batch 512 --json
[ "$(grep -o '"layout": *"[a-z, ]*"' stdout | sort -u | wc -l)" -eq 3 ] && pass || fail "not three layouts: $(cat stdout)"
[ "$(grep -c '"is_chosen": *true' stdout)" -ge 1 ] && pass || fail "no layout is chosen: $(cat stdout)"
for key in seconds occupancy gflop num_launches; do within "$(field $key <stdout | head -n 1 | tr -d " ")" 1e-12 1e12 "--model: $key"; done
expect 2 "no device 'no-such-device': there are here, " "$eqflow" bench --model no-such-device --system dw4
expect 2 'belong to --model' "$eqflow" bench --field message --system dw2 --seconds 0.01
expect 2 'numbers that a description lacks' "$eqflow" bench --model h200 --field dense --integrator dopri5 --system dw2
expect 2 'belong to --model' "$eqflow" bench --steps 20 --system dw2 --seconds 0.01
expect 2 'there are rk4 and dopri5' "$eqflow" bench --model h200 --integrator euler --system dw2
succeed "$eqflow" bench --model h200 --integrator dopri5 --steps 20 --system dw2 --batch 64
succeed "$eqflow" bench --model h200 --field dense --system dw2 --batch 64
echo 'spam = 1' >odd.device
expect 3 "odd.device: .*'spam' is no key of a device's description" "$eqflow" bench --model odd.device --system dw2
head -c 70000 /dev/zero | tr '\0' '#' >long.device
expect 3 'long.device is no description of a device: it is longer' "$eqflow" bench --model long.device --system dw2
printf 'name = x\0y\n' >zero.device
expect 3 'zero.device is no description of a device: it holds a zero byte' "$eqflow" bench --model zero.device --system dw2
mkfifo pipe.device
expect 3 'cannot read pipe.device: it is a device or a pipe' timeout 10 "$eqflow" bench --model pipe.device --system dw2
expect 3 'cannot read tmp: it is a folder' "$eqflow" bench --model tmp --system dw2
rm ./*.device
expect 2 "unknown field 'fancy'" "$eqflow" bench --model h200 --field fancy --system dw4

# ---- Protocol -------------------------------------------------------------------------------------------------------
printf '%s\n' info 'prepare sample dw2 16' 'measure sample dw2 16 0.01' 'measure train dw2 16' 'measure mcmc dw2 64 0.01' \
    'prepare mcmc dw2 0' "model dw2 $work/m.safetensors" '' 'measure sample dw9 16' 'measure fly dw2 16' \
    'measure sample dw2 many' 'measure sample dw2' 'model dw2 /nonexistent/m.safetensors' quit info |
    "$eqflow" bench --serve >answers 2>stderr && pass || fail "--serve: $(cat stderr)"
[ "$(wc -l <answers)" -eq 12 ] && pass || fail "$(wc -l <answers) answers to 12 requests"
[ "$(grep -c '"peer":"eqflow"' answers)" -eq 12 ] && pass || fail "answers without a peer: $(cat answers)"
[ "$(grep -c '"error":"' answers)" -eq 5 ] && pass || fail "not 5 errors: $(cat answers)"
[ "$(sed -n '1,7p' answers | grep -c '"error":')" -eq 0 ] && pass || fail "errors among good requests: $(cat answers)"
for key in '"tasks":\["sample","train","mcmc"\]' '"affinity":[1-9]' '"versions":{' '"blas":\[\]' '"threads":[1-9]'; do
    sed -n 1p answers | grep -q "$key" && pass || fail "info has no $key: $(sed -n 1p answers)"
done
for line in 3 4 5; do
    sed -n ${line}p answers >answer
    within "$(field seconds_per_call <answer)" 1e-7 100 "answer $line: seconds a call"
    within "$(field value <answer)" -1e30 1e30 "answer $line: value"
done
within "$(sed -n 6p answers | field batch)" 64 1e7 "batch of eqflow's own choice"
succeed "$eqflow" sample m.safetensors -n 10 -o x.npy --quiet
finish
