#!/usr/bin/env bash
# Several ranks give what one gives: data and samples bit for bit, training within 1e-5; one writes, one speaks, and one that
# fails stops all.
# shellcheck source=../cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh" "$1"

export POCL_MAX_PTHREAD_COUNT=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMP_NUM_THREADS=1
launcher=${MPIEXEC:-mpirun}
oversubscribe=()
if "$launcher" --version 2>&1 | grep -qi 'open.*mpi\|openrte\|prrte'; then oversubscribe=(--oversubscribe); fi
ranks() { # NUMBER PROGRAM...
    local number=$1
    shift
    "$launcher" "${oversubscribe[@]}" -np "$number" "$@"
}
if ! ranks 2 true >/dev/null 2>messages; then skip "$launcher does not run here: $(head -1 messages)"; fi

# Data: the same bits, and the same diagnostics, from 1, 2 and 3 ranks; fewer blocks of chains than ranks too.
for number in 1 2 3; do
    succeed ranks "$number" "$eqflow" data dw4 -n 300 --burn-in 100 --thinning 20 -o x.npy --json --quiet || finish
    mv x.npy "x$number.npy" && mv stdout "diagnostics$number"
done
same x1.npy x2.npy "data of one and two ranks"
same x1.npy x3.npy "data of one and three ranks"
same diagnostics1 diagnostics2 "diagnostics of one and two ranks"
same diagnostics1 diagnostics3 "diagnostics of one and three ranks"
succeed ranks 3 "$eqflow" data dw2 -n 5 --chains 2 --burn-in 50 --thinning 5 -o few3.npy --quiet
succeed "$eqflow" data dw2 -n 5 --chains 2 --burn-in 50 --thinning 5 -o few1.npy --quiet
same few1.npy few3.npy "two chains on three ranks"

# Training: the loss curve within 1e-5 over 100 steps, likelihood and mixture.
compare_curves() { # FILE FILE WHAT: the largest relative deviation of loss and held-out NLL
    local worst
    worst=$(paste -d, "$1" "$2" | awk -F, 'NR == 1 { for (i = 1; i <= NF / 2; i++) if ($i ~ /loss|nll|free_energy/) columns[i] = 1; width = NF / 2; next }
        { for (i in columns) { a = $i; b = $(i + width); if (a == "" && b == "") continue; d = (a - b) / (a < 0 ? -a : a); if (d < 0) d = -d; if (d > worst) worst = d } }
        END { print (NR > 10 ? worst + 0 : "too few rows") }')
    within "$worst" 0 1e-5 "$3: largest relative deviation"
}
training=(dw4 --data x1.npy --steps 100 --batch-size 50 --validation-interval 5 --quiet)
for number in 1 2 3; do
    succeed ranks "$number" "$eqflow" train "${training[@]}" -o m.safetensors || finish
    mv m.csv "m$number.csv" && mv m.safetensors "m$number.safetensors"
done
compare_curves m1.csv m2.csv "likelihood, two ranks"
compare_curves m1.csv m3.csv "likelihood, three ranks"

# Samples, log-densities and the evaluation.
for number in 1 2 3; do
    succeed ranks "$number" "$eqflow" sample m1.safetensors -n 501 -o s.npy --log-prob l.npy --json --quiet || finish
    mv s.npy "s$number.npy" && mv l.npy "l$number.npy" && mv stdout "sampled$number"
    succeed ranks "$number" "$eqflow" evaluate m1.safetensors --data x1.npy -n 200 --json --quiet || finish
    mv stdout "evaluated$number"
done
for number in 2 3; do
    same s1.npy "s$number.npy" "samples of one and $number ranks"
    same l1.npy "l$number.npy" "log-densities of one and $number ranks"
    same sampled1 "sampled$number" "what sample prints with $number ranks"
    same evaluated1 "evaluated$number" "what evaluate prints with $number ranks"
done

# An interrupted run goes on with another number of ranks.
(ranks 2 "$eqflow" train "${training[@]}" --steps 200000 --validation-interval 10000 -o i.safetensors >stdout 2>stderr) &
launch=$!
children="$children $launch"
for _ in $(seq 100); do
    pids=$(pgrep -f "train dw4 --data x1.npy .* -o i.safetensors" | xargs -r -n 1 sh -c 'grep -qs mpi /proc/$0/comm || grep -qs eqflow /proc/$0/comm && echo $0')
    [ "$(for p in $pids; do cat "/proc/$p/comm"; done 2>/dev/null | grep -c '^eqflow$')" -eq 2 ] && break
    sleep 0.1
done
sleep 2
for p in $pids; do # one rank of the two: the other stops with it
    if [ "$(cat "/proc/$p/comm" 2>/dev/null)" = eqflow ]; then
        kill -TERM "$p"
        break
    fi
done
wait "$launch"
if [ -s i.safetensors.checkpoint ] && grep -q 'interrupted at step' stderr; then pass; else fail "interrupt: $(head -3 stderr)"; fi

# Every way to fail: the first rank's line, the code through mpirun, nothing left behind.
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
fails 3 'there is no such file' ranks 2 "$eqflow" train dw4 --data missing.npy -o y.safetensors
fails 2 'unknown option' ranks 2 "$eqflow" data dw4 --nonsense
fails 2 'runs in one process' ranks 2 "$eqflow" devices
fails 2 'cannot be shared by 3 ranks' ranks 3 "$eqflow" train dw4 --data x1.npy --batch-size 2 -o y.safetensors --quiet
# Only the second rank has no device: its message, and the first does not wait for ever.
cat >second_fails.sh <<'END'
#!/bin/sh
rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:-0}}
[ "$rank" = 1 ] && export EQFLOW_DEVICE=nosuchdevice
exec "$@"
END
chmod +x second_fails.sh
fails 5 'rank 1: .*nosuchdevice' ranks 2 ./second_fails.sh "$eqflow" data dw4 -n 300 -o y.npy --quiet
if [ -e y.npy ] || [ -e y.safetensors ]; then fail "a failed run wrote a file"; else pass; fi
if [ -z "$(find . -name '.eqflow-*.tmp')" ]; then pass; else fail "temporary files are left"; fi
finish
