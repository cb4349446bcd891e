#!/usr/bin/env bash
# What ends several ranks: a signal to one, the death of one, a device that one loses, a wrong command, another MPI's
# mpirun. All end at once, with the message and the code of the one, and its checkpoint goes on to the same bits.
# shellcheck source=../cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh" "$1"
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# by_rank PROGRAM...: leaves the rank's process number in pid.RANK; the second rank has the environment of only_second.
cat >by_rank <<'END_OF_SCRIPT'
#!/bin/sh
rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}
echo $$ >pid.new.$rank && mv pid.new.$rank pid.$rank
if [ "$rank" = 1 ] && [ -r only_second ]; then . ./only_second; fi
exec "$@"
END_OF_SCRIPT
chmod +x by_rank

succeed "$eqflow" data dw4 -n 300 --burn-in 100 --thinning 20 -o x.npy --quiet || finish
training=("$eqflow" train dw4 --data x.npy --steps 1500 --batch-size 50 --validation-interval 100 --checkpoint-interval 0 --quiet)
succeed ranks 2 "${training[@]}" -o whole.safetensors || finish

# begin MODEL: trains on two ranks in the background, up to a checkpoint after the first best model.
begin() {
    rm -f pid.*
    # In this shell's background: $! is mpirun itself.
    launch_in_background 2 ./by_rank "${training[@]}" -o "$1"
    for _ in $(seq 600); do
        [ -e "$1.checkpoint" ] && [ -e "$1" ] && [ -e pid.1 ] && return
        sleep 0.05
    done
    fail "no checkpoint after 30 s: $(head -3 stderr)"
}
launch_in_background() {
    ranks "$@" >stdout 2>stderr </dev/null &
    child=$!
    children="$children $child"
}
# ended CODES WHAT: mpirun returns, with one of these codes.
ended() {
    local code=none
    for _ in $(seq 400); do
        if ! kill -0 "$child" 2>/dev/null; then
            wait "$child"
            code=$?
            break
        fi
        sleep 0.05
    done
    case " $1 " in
    *" $code "*) pass ;;
    *) fail "$2: exit code $code, expected one of $1: $(head -5 stderr)" ;;
    esac
    # No rank is left; a zombie is none (in a container there may be nobody to take it away).
    sleep 0.2
    for file in pid.0 pid.1; do
        if grep '^State:' "/proc/$(cat $file)/status" 2>/dev/null | grep -qv 'Z (zombie)'; then fail "$2: a rank goes on"; else pass; fi
    done
}
goes_on() { # MODEL WHAT: on two ranks to the bits of the whole run; a copy of the checkpoint on one rank to a model
    [ -s "$1.checkpoint" ] || fail "$2: no checkpoint"
    succeed "$eqflow" sample "$1" -n 5 -o y.npy --quiet
    cp "$1.checkpoint" alone.safetensors.checkpoint
    succeed ranks 2 "${training[@]}" -o "$1" --resume
    same "$1" whole.safetensors "$2 and --resume"
    succeed "${training[@]}" -o alone.safetensors --resume
}

begin signal.safetensors
kill -TERM "$(cat pid.1)"
ended 130 "SIGTERM to the second rank"
if grep -q 'interrupted at step' stderr; then pass; else fail "interrupt: $(head -3 stderr)"; fi
goes_on signal.safetensors "SIGTERM to the second rank"

# mpirun says who died; its code is 128 + 9 or, of MPICH, 9.
begin killed.safetensors
kill -KILL "$(cat pid.1)"
ended "137 9" "SIGKILL of the second rank"
goes_on killed.safetensors "SIGKILL of the second rank"

# Every way to fail: one line of ours, its code through mpirun, nothing left behind.
fails() { # CODE PATTERN COMMAND...
    local code=$1 pattern=$2 got
    shift 2
    "$@" >stdout 2>stderr
    got=$?
    if [ "$got" -ne "$code" ]; then
        fail "$*: exit code $got, expected $code: $(head -3 stderr)"
    elif [ "$(grep -c '^eqflow' stderr)" -ne 1 ] || ! grep -Eq "$pattern" stderr; then
        fail "$*: expected one line of ours with '$pattern': $(grep eqflow stderr)"
    else
        pass
        echo "ok $code: $(grep '^eqflow' stderr)"
    fi
}
# Several times: MPICH's mpirun now and then dropped the message.
for _ in 1 2 3 4 5; do
    fails 3 'there is no such file' ranks 2 "$eqflow" train dw4 --data missing.npy -o y.safetensors
done
fails 2 'unknown option' ranks 2 "$eqflow" data dw4 --nonsense
fails 2 'runs in one process' ranks 2 "$eqflow" devices
fails 2 'cannot be shared by 3 ranks' ranks 3 "$eqflow" train dw4 --data x.npy --batch-size 2 -o y.safetensors --quiet
# Only the second rank has no device: its message, and the first does not wait for ever.
echo 'export EQFLOW_DEVICE=nosuchdevice' >only_second
fails 5 'rank 1: .*nosuchdevice' ranks 2 ./by_rank "$eqflow" data dw4 -n 300 -o y.npy --quiet
fails 5 'rank 1: .*nosuchdevice' ranks 2 ./by_rank "$eqflow" sample whole.safetensors -n 300 -o y.npy --quiet
fails 5 'rank 1: .*nosuchdevice' ranks 2 ./by_rank "$eqflow" evaluate whole.safetensors --data x.npy -n 200 --report y.html --quiet
if [ -e y.safetensors ] || [ -e y.html ]; then fail "a failed run wrote a file"; else pass; fi
# It has one, and loses it in the middle of the training.
if [ -n "${EQFLOW_FAULTY_OPENCL:-}" ] && [ -e "$EQFLOW_FAULTY_OPENCL" ]; then
    echo "export LD_PRELOAD=$EQFLOW_FAULTY_OPENCL EQFLOW_FAULT=lost EQFLOW_FAULT_AT=900" >only_second
    fails 6 'rank 1: .*was lost while copying from the device' ranks 2 ./by_rank "${training[@]}" -o lost.safetensors
    rm only_second
    goes_on lost.safetensors "a lost device"
fi
rm -f only_second

# Another MPI's mpirun: each process would be alone, and all would write one file.
if [ -n "${OTHER_MPIEXEC:-}" ] && launch "$OTHER_MPIEXEC" 2 true >/dev/null 2>&1; then
    launch "$OTHER_MPIEXEC" 2 "$eqflow" data dw4 -n 300 --burn-in 100 --thinning 20 -o other.npy --quiet >stdout 2>stderr
    got=$?
    if [ "$got" -eq 2 ] && grep -q '2 processes, which do not see each other: .*use the mpirun of that one' stderr && [ ! -e other.npy ]; then
        pass
        grep -m 1 '^eqflow' stderr
    else
        fail "$OTHER_MPIEXEC: exit code $got: $(head -3 stderr)"
    fi
else
    echo "no other MPI here: its mpirun is not tested"
fi
if [ -z "$(find . -name '.eqflow-*.tmp')" ]; then pass; else echo "note: temporary files of the killed: $(find . -name '.eqflow-*.tmp')"; fi
finish
