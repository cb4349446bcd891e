#!/usr/bin/env bash
# Stopping, resuming, repeating: whatever happens, the same seed gives the same model file bit for bit.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"

succeed "$eqflow" data dw2 -n 2000 -o data.npy --quiet || finish
train() { # MODEL [more options]
    local model=$1
    shift
    "$eqflow" train dw2 --data data.npy -o "$model" --steps 600 --batch-size 64 --seed 3 --checkpoint-interval 0 "$@"
}

# The program itself in the background (no shell between), so that $! is its process: start MODEL [more options]
start() {
    local model=$1
    shift
    "$eqflow" train dw2 --data data.npy -o "$model" --steps 600 --batch-size 64 --seed 3 --checkpoint-interval 0 "$@" \
        >stdout 2>stderr </dev/null &
    child=$!
    children="$children $child"
}
wait_for() { # FILE: up to 60 seconds
    for _ in $(seq 1200); do
        [ -e "$1" ] && return 0
        kill -0 "$child" 2>/dev/null || break
        sleep 0.05
    done
    fail "$1 did not appear: $(cat stderr)"
    return 1
}

succeed train whole.safetensors --quiet || finish
if [ -e whole.safetensors.checkpoint ]; then fail "the checkpoint outlived a finished run"; else pass; fi
if [ "$(wc -l <whole.csv)" -gt 10 ] && head -1 whole.csv | grep -q '^step,seconds,loss,nll,held_out_nll,'; then
    pass
else
    fail "training log: $(head -2 whole.csv)"
fi

succeed train again.safetensors --quiet
same whole.safetensors again.safetensors "same seed"
succeed train other.safetensors --quiet --seed 4
if cmp -s whole.safetensors other.safetensors; then fail "another seed gives the same model"; else pass; fi

# One thread or two (PoCL counts them when it starts).
for threads in 1 2; do
    succeed env POCL_MAX_PTHREAD_COUNT=$threads "$eqflow" train dw2 --data data.npy -o threads$threads.safetensors \
        --steps 600 --batch-size 64 --seed 3 --quiet
    same whole.safetensors threads$threads.safetensors "$threads PoCL threads"
done

# SIGTERM, then the command that the message gives.
for signal in TERM INT HUP XCPU; do
    model=stopped$signal.safetensors
    # A background job of a script ignores SIGINT unless job control is on.
    set -m
    start $model --quiet
    set +m
    wait_for $model.checkpoint
    kill -$signal "$child"
    wait "$child"
    code=$?
    if [ $code -eq 130 ] && [ "$(wc -l <stderr)" -eq 1 ] && [ -e $model.checkpoint ]; then
        pass
        echo "ok: $(cat stderr)"
    else
        fail "SIG$signal: exit code $code: $(cat stderr)"
    fi
    resume=$(sed -n 's/^.*resume with: //p' stderr)
    succeed eval "$resume"
    same whole.safetensors $model "SIG$signal and --resume"
done

# timeout(1) tells its child twice: once itself, once as one of its group. Both mean one wish.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
    start twice.safetensors --quiet --steps 1000000
    wait_for twice.safetensors.checkpoint
    kill -TERM "$child"
    kill -TERM "$child" 2>/dev/null
    wait "$child"
    code=$?
    if [ $code -eq 130 ] && grep -q 'resume with' stderr; then pass; else fail "SIGTERM twice: exit code $code: $(cat stderr)"; fi
    rm -f twice.*
done

# kill -9 at several moments: what is there is whole, and resuming gives the same bits.
for delay in 0.05 0.2 0.4; do
    model=killed$delay.safetensors
    start $model --quiet
    wait_for $model.checkpoint
    wait_for $model
    sleep $delay
    kill -9 "$child" 2>/dev/null
    wait "$child" 2>/dev/null
    succeed "$eqflow" sample $model -n 5 -o samples.npy --quiet
    [ -e $model.checkpoint ] || echo "note: the run was over before the signal (delay $delay)"
    [ -e $model.checkpoint ] && succeed train $model --resume --quiet
    same whole.safetensors $model "kill -9 after $delay s and --resume"
done

# A checkpoint resumes its own run only, and a damaged one says so.
start kept.safetensors --quiet
wait_for kept.safetensors.checkpoint
kill -TERM "$child"
wait "$child"
expect 2 'other options' train kept.safetensors --resume --quiet --learning-rate 0.001
expect 2 'other' train kept.safetensors --resume --quiet --seed 5
succeed "$eqflow" data dw2 -n 2000 -o other.npy --seed 9 --quiet
expect 2 'other data' train kept.safetensors --resume --quiet --data other.npy
head -c 3000 kept.safetensors.checkpoint >truncated.checkpoint
expect 3 'truncated.checkpoint' train kept.safetensors --resume --quiet --checkpoint truncated.checkpoint
succeed train kept.safetensors --resume --quiet
same whole.safetensors kept.safetensors "resume after refusals"

# Own-made data come back from the seed.
own() { "$eqflow" train dw2 --num-train 1000 -o "$1" --steps 200 --batch-size 32 --seed 6 --quiet "${@:2}"; }
succeed own own.safetensors
"$eqflow" train dw2 --num-train 1000 -o own2.safetensors --steps 200 --batch-size 32 --seed 6 --quiet \
    --checkpoint-interval 0 >stdout 2>stderr </dev/null &
child=$!
children="$children $child"
wait_for own2.safetensors.checkpoint
kill -TERM "$child"
wait "$child"
succeed own own2.safetensors --resume
same own.safetensors own2.safetensors "own-made data and --resume"

# Long calls stop too, and write nothing.
"$eqflow" data lj13 -n 100000 -o long.npy --burn-in 1000000 --quiet >stdout 2>stderr </dev/null &
child=$!
children="$children $child"
sleep 1
kill -TERM "$child"
wait "$child"
code=$?
if [ $code -eq 130 ] && grep -q interrupted stderr && [ ! -e long.npy ]; then
    pass
else
    fail "interrupted data: exit code $code: $(cat stderr)"
fi

# Ctrl-C goes to the whole foreground group, the driver's linker too, and the driver may abort then: still code 130.
for delay in 0.2 0.4 0.6 0.8; do
    command=(sample whole.safetensors -n 1e9 -o long.npy --quiet)
    [ $delay != 0.8 ] || command=(train dw2 --data none -o long.safetensors --steps 1000000 --quiet) # nothing to save yet: it ends too
    set -m
    env XDG_CACHE_HOME="$work/cold" POCL_CACHE_DIR="$work/cold-pocl" "$eqflow" "${command[@]}" >stdout 2>stderr </dev/null &
    child=$!
    set +m
    children="$children $child"
    sleep $delay
    kill -INT -- -$child
    wait "$child"
    code=$?
    if [ $code -eq 130 ] && grep -q "^eqflow ${command[0]}: interrupted" stderr && [ ! -e long.npy ] && [ ! -e long.safetensors ]; then
        pass
    else
        fail "Ctrl-C while kernels are built: exit code $code: $(cat stderr)"
    fi
    rm -rf cold cold-pocl
done

# So do those in which nothing asks for signals: here a bootstrap over all samples, which takes half a minute and more
# on any machine.
"$eqflow" boltzmann whole.safetensors -n 4e6 -o long.npy --quiet >stdout 2>stderr </dev/null &
child=$!
children="$children $child"
sleep 2
kill -TERM "$child"
started=$(date +%s)
wait "$child"
code=$?
seconds=$(($(date +%s) - started))
if [ $code -eq 130 ] && [ "$seconds" -le 10 ] && grep -q interrupted stderr && [ ! -e long.npy ]; then
    pass
else
    fail "interrupted boltzmann: exit code $code after $seconds s: $(cat stderr)"
fi
finish
