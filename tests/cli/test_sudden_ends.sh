#!/usr/bin/env bash
# Ends that nobody planned: a stack that runs out in a driver's thread, memory that runs out inside JSON, signals while
# a file is opened, and a program that is done but for storing its kernels.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
export XDG_CACHE_HOME=$work/cache
unset EQFLOW_CACHE
"$eqflow" devices >/dev/null 2>&1 || skip "no OpenCL device"
faulty=${EQFLOW_FAULTY_OPENCL:-} failing=${EQFLOW_FAILING_CALLS:-}
if ldd "$eqflow" | grep -qi 'asan\|tsan'; then skip "sanitizers have their own words of this"; fi

# ---- A stack that runs out, in whatever thread the driver computes: sixteen megabytes in one frame, and a hundred
# thousand frames ----
cat >wide.cl <<'TEXT'
real energy(const real *x) {
    volatile real room[1 << 22];
    for (int i = 0; i < (1 << 22); i += 512) room[i] = x[i % (N * D)];
    real sum = 0;
    for (int i = 0; i < (1 << 22); i += 512) sum += room[i];
    return trap * sum;
}
void energy_gradient(const real *x, real *gradient) {
    for (int c = 0; c < N * D; c++) gradient[c] = 0;
}
TEXT
cat >deep.cl <<'TEXT'
static real down(const real *x, int num_left, int seed) {
    volatile real room[4096];
    for (int i = 0; i < 4096; i++) room[i] = x[(i + seed) % (N * D)];
    return room[seed % 4096] + (num_left > 0 ? down(x, num_left - 1, seed + 1) : 0) + room[(seed + 1) % 4096];
}
real energy(const real *x) { return trap * down(x, 100000, 1); }
void energy_gradient(const real *x, real *gradient) {
    for (int c = 0; c < N * D; c++) gradient[c] = 0;
}
TEXT
if "$eqflow" devices | grep -q '^ *\* .*\(pthread\|cpu\)'; then
    for potential in wide.cl deep.cl; do
        (ulimit -c 0 && ulimit -s 8192 && exec "$eqflow" data --potential $potential --particles 3 --space-dim 2 --constant trap=1 -n 4 -o y.npy) \
            >stdout 2>stderr
        code=$?
        # 3: a driver that has the room, or refuses recursion; the gradient is not the energy's then
        if { { [ $code -ge 128 ] && tail -1 stderr | grep -q '^eqflow data: crashed while computing: in a potential of your own'; } || [ $code -eq 3 ]; } &&
            [ ! -e y.npy ]; then
            pass
            echo "ok $code: $(tail -1 stderr)"
        else
            fail "$potential: exit code $code: $(cat stderr)"
        fi
    done
fi

# ---- Two threads of a driver crash at once, after its compiler has installed a handler of its own: one line ----
if [ -n "$faulty" ] && [ -e "$faulty" ]; then
    (ulimit -c 0 && exec env LD_PRELOAD="$faulty" EQFLOW_FAULT=two-crashes "$eqflow" data dw2 -n 20 -o y.npy --burn-in 20 --thinning 20) >stdout 2>stderr
    code=$?
    if [ $code -eq 139 ] && [ "$(grep -c '^eqflow data: crashed while computing' stderr)" -eq 1 ] && [ ! -e y.npy ]; then
        pass
        echo "ok $code, two threads: $(tail -1 stderr)"
    else
        fail "two threads crash: exit code $code: $(cat stderr)"
    fi
fi

# ---- The k-th call fails ----
if [ -n "$failing" ] && [ -e "$failing" ]; then
    succeed "$eqflow" data dw2 -n 100 -o x.npy --burn-in 50 --thinning 20 --quiet
    succeed "$eqflow" train dw2 --data x.npy -o m.safetensors --steps 3 --batch-size 16 --quiet
    sample=("$eqflow" sample m.safetensors -n 20 -o s.npy --quiet)
    succeed "${sample[@]}"
    mv s.npy good.npy
    # A driver that gets no thread: whatever it does then, the last line is ours.
    for k in 1 2; do
        (ulimit -c 0 && exec timeout 60 env LD_PRELOAD="$failing" EQFLOW_TORTURE_CLASS=thread EQFLOW_TORTURE_MODE=forever EQFLOW_TORTURE_CODE=11 \
            EQFLOW_TORTURE_AT=$k EQFLOW_TORTURE_COUNT="$work/count" "${sample[@]}") >stdout 2>stderr
        code=$?
        if { [ $code -eq 0 ] && cmp -s s.npy good.npy; } || { [ $code -ne 124 ] && tail -1 stderr | grep -q '^eqflow sample: ' && [ ! -e s.npy ]; }; then
            pass
            echo "ok $code, no thread: $(tail -1 stderr)"
        else
            fail "no thread: exit code $code: $(cat stderr)"
        fi
        rm -f s.npy
    done
    # An OpenCL that has no resources left is installed all the same. Calls 1 and 2: its platforms, their devices.
    for k in 1 2; do
        for code in -5 -6; do
            expect 6 "^eqflow sample: OpenCL is installed.* but does not say what devices there are \(CL_OUT_OF.*ran out" env LD_PRELOAD="$failing" \
                EQFLOW_TORTURE_CLASS=opencl EQFLOW_TORTURE_MODE=forever EQFLOW_TORTURE_CODE=$code EQFLOW_TORTURE_AT=$k "${sample[@]}"
        done
    done
    expect 5 'no OpenCL implementation is installed' env LD_PRELOAD="$failing" EQFLOW_TORTURE_CLASS=opencl EQFLOW_TORTURE_CODE=-1001 EQFLOW_TORTURE_AT=1 \
        "${sample[@]}"
    expect 5 'offers no device' env LD_PRELOAD="$failing" EQFLOW_TORTURE_CLASS=opencl EQFLOW_TORTURE_MODE=forever EQFLOW_TORTURE_CODE=-1 EQFLOW_TORTURE_AT=2 \
        "${sample[@]}"
    # A signal while a file is opened is no failure.
    for k in 1 2 3 4 5 6 7 8 9 10 12 14 16 18 20 23 26 30 34 38 42 48 54 60; do
        rm -f count s.npy
        env LD_PRELOAD="$failing" EQFLOW_TORTURE_CLASS=open EQFLOW_TORTURE_CODE=4 EQFLOW_TORTURE_AT="$k" EQFLOW_TORTURE_COUNT="$work/count" \
            "${sample[@]}" >stdout 2>stderr
        code=$?
        if [ $code -eq 0 ] && [ ! -s stderr ] && cmp -s s.npy good.npy; then pass; else fail "EINTR at opening $k: exit code $code: $(cat stderr)"; fi
        [ "$(cat count)" -ge "$k" ] || break
    done
    within "$k" 4 59 "openings of one run, and more"
    sample+=(--json)
    succeed "${sample[@]}"
    num_keys=$(grep -c '"' stdout)
    # Memory that runs out, wherever it does, is said to be that and no damage of the file.
    num_inside=0
    k=1 # each of the first, in the text of the model, then one in some
    while [ $k -lt 2000 ]; do
        rm -f s.npy
        (ulimit -c 0 && exec env LD_PRELOAD="$failing" EQFLOW_TORTURE_CLASS=jansson EQFLOW_TORTURE_CODE=12 EQFLOW_TORTURE_AT="$k" \
            EQFLOW_TORTURE_COUNT="$work/count" "${sample[@]}") >stdout 2>stderr
        code=$?
        [ "$(cat count 2>/dev/null || echo 0)" -ge "$k" ] || [ $code -ge 128 ] || break
        num_inside=$((num_inside + 1))
        if [ $code -eq 0 ] && [ "$(grep -c '"' stdout)" -eq "$num_keys" ] && cmp -s s.npy good.npy; then
            pass # it was one that can be done without
        elif [ $code -eq 6 ] && tail -1 stderr | grep -q 'memory' && { [ ! -e s.npy ] || cmp -s s.npy good.npy; }; then
            pass
        elif [ $code -eq 134 ] && grep -q 'Assertion' stderr && tail -1 stderr | grep -q '^eqflow sample: '; then
            pass # Jansson 2.14's own
        else
            fail "no memory at Jansson's call $k: exit code $code: $(cat stderr)"
        fi
        k=$((k + 1 + k / 4))
    done
    within "$num_inside" 12 80 "calls of Jansson's that failed"
else
    echo "no failing calls here: not tested"
fi

# ---- Done, but for the storing of kernels ----
if [ -z "$faulty" ] || [ ! -e "$faulty" ]; then
    echo "no faulty OpenCL here: the rest is not tested"
    finish
fi
storing='results written; storing kernels for the next start'
slowly() { # SECONDS COMMAND...: in the background; its process is $child
    local seconds=$1
    shift
    rm -rf cache/eqflow y.npy y.npy.* y.csv y.safetensors*
    : >stderr
    env LD_PRELOAD="$faulty" EQFLOW_FAULT=slow-store EQFLOW_FAULT_AT="$seconds" "$eqflow" "$@" >stdout 2>stderr </dev/null &
    child=$!
    children="$children $child"
}
waits_for() { # PATTERN: up to a minute
    for _ in $(seq 1200); do
        grep -q "$1" stderr && return 0
        kill -0 "$child" 2>/dev/null || break
        sleep 0.05
    done
    fail "no line '$1': $(cat stderr)"
    return 1
}
data=(data dw2 -n 20 -o y.npy --burn-in 20 --thinning 20)
slowly 10 "${data[@]}"
waits_for "$storing"
if kill -0 "$child" 2>/dev/null && [ -s y.npy ] && [ -s stdout ]; then pass; else fail "said too late, or before the results were written"; fi
wait "$child"
code=$?
if [ $code -eq 0 ] && [ "$(grep -c "$storing" stderr)" -eq 1 ]; then pass; else fail "storing: exit code $code: $(cat stderr)"; fi
slowly 3 "${data[@]}" --quiet
wait "$child"
code=$?
if [ $code -eq 0 ] && [ ! -s stderr ]; then pass; else fail "--quiet while storing: exit code $code: $(cat stderr)"; fi
# A signal meanwhile: at once, with the code of what was done.
cuts_short() { # SIGNAL CODE COMMAND...
    local signal=$1 expected=$2 start code
    shift 2
    slowly 60 "$@"
    waits_for "$storing" || return
    start=$(date +%s%N)
    kill -"$signal" "$child"
    wait "$child"
    code=$?
    if [ $code -eq "$expected" ] && [ $((($(date +%s%N) - start) / 1000000)) -lt 1000 ] && [ "$(wc -l <stderr)" -eq 1 ]; then
        pass
    else
        fail "SIG$signal while storing: exit code $code, expected $expected, after $((($(date +%s%N) - start) / 1000000)) ms: $(cat stderr)"
    fi
}
cuts_short TERM 0 "${data[@]}"
cp y.npy terminated.npy
succeed "$eqflow" "${data[@]}" --quiet
same y.npy terminated.npy "data, and data that SIGTERM ended while it stored kernels"
cuts_short HUP 0 "${data[@]}"
# A signal before: the run ends, and does not store its kernels first. Its log says that it has built them.
[ -e x.npy ] || succeed "$eqflow" data dw2 -n 100 -o x.npy --burn-in 50 --thinning 20 --quiet
slowly 25 train dw2 --data x.npy -o y.safetensors --steps 1000000 --batch-size 16 --validation-interval 1 --quiet
for _ in $(seq 1200); do
    [ ! -s y.csv ] || break
    sleep 0.05
done
start=$(date +%s%N)
kill -INT "$child"
wait "$child"
code=$?
elapsed=$((($(date +%s%N) - start) / 1000000))
if [ $code -eq 130 ] && [ -s y.csv ] && [ -s y.safetensors.checkpoint ] && [ $elapsed -lt 20000 ] && [ "$(wc -l <stderr)" -eq 1 ]; then
    pass
    echo "ok $code after $elapsed ms: $(cat stderr)"
else
    fail "SIGINT before kernels are stored: exit code $code after $elapsed ms: $(cat stderr)"
fi
if [ -e m.safetensors ]; then
    cuts_short TERM 0 sample m.safetensors -n 20 -o y.npy
    same y.npy good.npy "a sample that was cut short while it stored kernels"
fi
finish
