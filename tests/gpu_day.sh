#!/usr/bin/env bash
# The first ten minutes with a GPU, piece by piece into one folder with a README: what the machine is, the device tests,
# log-densities against those of PoCL, bench in every layout, tune, short training, peers. A piece has its own time
# limit, one that ended is not run again, and none begins that the time left is too short for: run it again and it goes
# on.
#   1. Where eqflow is built and PoCL is (no GPU needed):  tests/gpu_day.sh --pack FOLDER
#      makes FOLDER: the programs, the libraries that they need, models and PoCL's log-densities of them. Nothing else
#        has to be there
#      on the machine with the GPU but its driver (and the same kind of processor and a C library as new).
#   2. On the machine with the GPU:                        FOLDER/gpu_day.sh [--out RESULTS] [--device gpu] [--minutes
#     10]
# Usage: gpu_day.sh [--pack FOLDER] [--build FOLDER] [--out FOLDER] [--device SELECTOR] [--minutes M] [--only PIECE]
# [--plan] [--small]
#   --pack FOLDER      see 1; --build FOLDER: where the tests were built [build]
#   --out FOLDER       results [gpu-day]
#   --device SELECTOR  as in eqflow --device [gpu]
#   --minutes M        time for all pieces [10]
#   --only PIECE       this piece alone, again if it has ended
#   --plan             says the pieces and their limits; exit code 1 if they are more than ten minutes together
#   --small            a rehearsal on a CPU: tiny sizes and few tests
# GPU_DAY_CLOCK=FILE: a clock for rehearsals. FILE holds the seconds since the start; a piece adds its whole limit.
set -uo pipefail
export LC_ALL=C
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

fail_usage() {
    echo "error: $*" >&2
    exit 2
}
pack='' build=build out=gpu-day device=gpu minutes=10 only='' wants_plan=0 is_small=0
while [ $# -gt 0 ]; do
    case $1 in
    --pack | --build | --out | --device | --minutes | --only)
        [ $# -ge 2 ] || fail_usage "$1 wants a value"
        case $1 in --pack) pack=$2 ;; --build) build=$2 ;; --out) out=$2 ;; --device) device=$2 ;; --minutes) minutes=$2 ;; --only) only=$2 ;; esac
        shift
        ;;
    --plan) wants_plan=1 ;;
    --small) is_small=1 ;;
    *) fail_usage "unknown argument '$1'; the first lines of $0 say what there is" ;;
    esac
    shift
done

# ---- Pieces: name, limit in seconds, what it is ----------------------------------------------------------------------
pieces=(
    "machine 15 devices, drivers, processor"
    "selftest 60 known answers of every kernel"
    "tests 140 the device tests, one after the other"
    "certificates 40 log-densities against those of PoCL"
    "bench-default 40 speeds in the layout of the profile"
    "bench-lanes 40 one sample a work-item"
    "bench-group32 40 a work-group of 32 a sample, from 2 particles on"
    "bench-group64 40 of 64"
    "bench-group128 40 of 128"
    "tune 60 which values are fastest"
    "train-lj13 35 steps of lj13"
    "train-lj55 30 steps of lj55"
    "peers 20 JAX on the same GPU, where it is installed"
)
if [ $wants_plan = 1 ]; then
    total=0
    for piece in "${pieces[@]}"; do
        read -r name limit what <<<"$piece"
        printf '%-16s %4d s  %s\n' "$name" "$limit" "$what"
        total=$((total + limit))
    done
    echo "together $total s"
    [ $total -le 600 ]
    exit
fi

# ---- Packing ---------------------------------------------------------------------------------------------------------
test_programs=(test_portability_tiny test_dynamics_radial test_flow_flow test_potential_potential test_flow_gradient test_integrator_group
    test_mcmc_mcmc test_flow_double test_train_trainer test_minima_minima test_dynamics_message test_dynamics_dense test_dynamics_gemm)
references=(dw4 lj13 lj55)

make_pack() {
    local program library name count
    [ -x "$build/apps/eqflow/eqflow" ] || fail_usage "no eqflow in $build/: run ./test.sh first, or --build FOLDER"
    mkdir -p "$pack/bin" "$pack/lib" "$pack/reference" || exit 1
    cp "$build/apps/eqflow/eqflow" "$pack/bin/"
    for program in "${test_programs[@]}"; do [ ! -x "$build/tests/$program" ] || cp "$build/tests/$program" "$pack/bin/"; done
    # All but the C library, whose parts must fit each other and the kernel.
    ldd "$pack"/bin/* | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
        grep -vE '/(libc|libm|libdl|libpthread|librt|ld-linux[^/]*|libstdc\+\+|libgcc_s)\.so' | xargs -I{} cp -L {} "$pack/lib/"
    cp "${BASH_SOURCE[0]}" "$pack/gpu_day.sh"
    cp -r "$here/bench" "$pack/bench"
    git -C "$here" rev-parse HEAD >"$pack/revision" 2>/dev/null || echo unknown >"$pack/revision"
    for name in "${references[@]}"; do
        count=64 steps=60
        [ "$name" != lj55 ] || { count=8; steps=4; }
        [ $is_small = 0 ] || { count=8; steps=2; }
        echo "reference $name"
        "$build/apps/eqflow/eqflow" data "$name" -n $((8 * count)) -o "$pack/reference/$name-data.npy" --device cpu --seed 1 --quiet >/dev/null 2>&1 ||
            { echo "no data of $name"; exit 1; }
        "$build/apps/eqflow/eqflow" train "$name" --data "$pack/reference/$name-data.npy" -o "$pack/reference/$name.safetensors" --steps $steps \
            --batch-size 32 --device cpu --seed 2 --quiet >/dev/null 2>&1 &&
            "$build/apps/eqflow/eqflow" sample "$pack/reference/$name.safetensors" -n $count -o "$pack/reference/$name-x.npy" \
                --device cpu --seed 3 --quiet >/dev/null 2>&1 &&
            "$build/apps/eqflow/eqflow" log-prob "$pack/reference/$name.safetensors" --data "$pack/reference/$name-x.npy" \
                -o "$pack/reference/$name-log-prob.npy" --device cpu --quiet >/dev/null 2>&1 || { echo "no reference of $name"; exit 1; }
    done
    du -sh "$pack"
}
if [ -n "$pack" ]; then
    make_pack
    exit
fi
if [ ! -d "$here/reference" ]; then
    echo "no packed folder: making one in $out/pack (PoCL is needed for its references)"
    mkdir -p "$out"
    [ -d "$out/pack/reference" ] || pack=$out/pack
    if [ -n "$pack" ]; then (make_pack) || exit 1; fi
    here=$(cd "$out/pack" && pwd)
fi

# ---- One piece -------------------------------------------------------------------------------------------------------
mkdir -p "$out" || exit 1
out=$(cd "$out" && pwd)
export LD_LIBRARY_PATH=$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH} EQFLOW_DEVICE=$device XDG_CACHE_HOME=$out/cache
# A driver without an ICD file: the loader's folder is made here.
if [ -z "${OCL_ICD_VENDORS:-}" ] && ! ls /etc/OpenCL/vendors/*.icd >/dev/null 2>&1; then
    mkdir -p "$out/vendors"
    for library in libnvidia-opencl.so.1 libamdocl64.so libigdrcl.so; do
        if ldconfig -p 2>/dev/null | grep -q "$library" || ls /usr/local/nvidia/lib64/$library /usr/lib/*/$library >/dev/null 2>&1; then
            path=$(ls /usr/local/nvidia/lib64/$library /usr/lib/*/$library 2>/dev/null | head -1)
            echo "${path:-$library}" >"$out/vendors/${library%%.*}.icd"
        fi
    done
    export OCL_ICD_VENDORS=$out/vendors
fi
eqflow=$here/bin/eqflow
bench_seconds=0.2 tune_seconds=0.05 train_steps=2000
[ $is_small = 0 ] || { bench_seconds=0.02; tune_seconds=0.01; train_steps=5; }

# Numbers of a .npy of float32, one a line.
floats() {
    local length
    length=$(od -A n -t u2 -j 8 -N 2 "$1" | tr -d ' ')
    od -A n -t f4 -v -j $((10 + length)) -w4 "$1" | tr -d ' '
}

# compare NAME: this device's log-densities of the reference's configurations beside PoCL's; prints the largest
# difference.
compare() {
    "$eqflow" log-prob "$here/reference/$1.safetensors" --data "$here/reference/$1-x.npy" -o "$2/$1.npy" --quiet || return 1
    paste <(floats "$here/reference/$1-log-prob.npy") <(floats "$2/$1.npy") |
        awk -v name="$1" -v allowed="$3" 'NF != 2 || $1 != $1 || $2 != $2 || $1 ~ /nan/ || $2 ~ /nan/ { bad = 1 }
            { d = $1 - $2; if (d < 0) d = -d; if (d > worst) worst = d; count++ }
            END { printf "%s: %d log-densities, off by %g nat at most, %g allowed\n", name, count, worst, allowed; exit bad || count == 0 || worst > allowed }'
}

# What bench is to measure of a system: calls of several sizes, from small ones to what fills a GPU.
requests() {
    local batch batches='256 4096 65536'
    [ "$1" != lj55 ] || batches='256 4096'
    [ $is_small = 0 ] || batches=64
    echo info
    for batch in $batches; do
        printf 'prepare sample %s %s\nmeasure sample %s %s %s\n' "$1" "$batch" "$1" "$batch" $bench_seconds
        printf 'prepare train %s %s\nmeasure train %s %s %s\n' "$1" "$batch" "$1" "$batch" $bench_seconds
    done
    printf 'measure mcmc %s 4096 %s\nquit\n' "$1" $bench_seconds
}

run_piece() {
    local folder=$2 name code=0
    case $1 in
    machine)
        { uname -a; lscpu 2>/dev/null | head -20; nvidia-smi 2>/dev/null; rocm-smi 2>/dev/null; cat "$here/revision"; } >"$folder/machine.txt"
        "$eqflow" version && "$eqflow" devices --verbose | tee "$folder/devices.txt" && "$eqflow" devices --json >"$folder/devices.json"
        ;;
    selftest) "$eqflow" selftest | tee "$folder/selftest.txt" ;;
    tests)
        for program in "${test_programs[@]}"; do
            [ -x "$here/bin/$program" ] || continue
            [ $is_small = 0 ] || case $program in test_portability_tiny | test_potential_potential) ;; *) continue ;; esac
            timeout -k 2 40 "$here/bin/$program" >"$folder/$program.txt" 2>&1
            name=$?
            echo "$program: exit code $name, $(grep -c '\[       OK' "$folder/$program.txt") passed, $(grep -c '\[  FAILED  \] test_' "$folder/$program.txt") failed"
            [ $name = 0 ] || code=1
        done
        return $code
        ;;
    certificates)
        # lj55 sums 1485 pairs: more rounding.
        compare dw4 "$folder" 1e-4 || code=1
        compare lj13 "$folder" 3e-4 || code=1
        compare lj55 "$folder" 3e-3 || code=1
        return $code
        ;;
    bench-*)
        local profile=()
        case $1 in
        bench-lanes) profile=(--set-profile group_size=0) ;;
        bench-group*) profile=(--set-profile "group_size=${1#bench-group}" --set-profile group_min_particles=2) ;;
        esac
        for name in dw4 lj13 lj55; do
            [ $is_small = 0 ] || [ $name = dw4 ] || continue
            # One line of JSON an answer, there as soon as it is measured. (bench without --serve also splits the start of
            # new processes with empty caches, which alone may take longer than there is time.)
            requests "$name" | timeout -k 1 13 "$eqflow" bench --serve "${profile[@]}" >"$folder/$name.jsonl" || code=1
            grep -q '"error":"' "$folder/$name.jsonl" && code=1
            echo "$name: $(grep -c '"seconds_per_call":' "$folder/$name.jsonl") figures"
        done
        return $code
        ;;
    tune) "$eqflow" tune --seconds $tune_seconds --json | tee "$folder/tune.json" ;;
    train-*)
        name=${1#train-}
        # As many steps as the limit allows: an interrupt keeps what there is.
        timeout -s INT -k 5 $(($3 - 8)) "$eqflow" train "$name" --data "$here/reference/$name-data.npy" -o "$folder/$name.safetensors" \
            --steps $train_steps --batch-size 32 --json >"$folder/train.json" 2>"$folder/progress.txt"
        code=$?
        tail -2 "$folder/progress.txt"
        [ $code = 0 ] || [ $code = 124 ] || [ -s "$folder/$name.safetensors" ]
        ;;
    peers)
        python3 -c 'import jax, sys; sys.exit(jax.devices()[0].platform == "cpu")' 2>/dev/null || { echo "skipped: no JAX with a GPU here"; return 0; }
        for name in dw4 lj13; do
            printf 'prepare sample %s 4096\nmeasure sample %s 4096 1\nprepare train %s 4096\nmeasure train %s 4096 1\nquit\n' $name $name $name $name |
                timeout 60 python3 "$here/bench/jax_field.py" --variant table | tee "$folder/jax-$name.txt" || code=1
        done
        return $code
        ;;
    *) fail_usage "there is no piece '$1'" ;;
    esac
}
export -f run_piece requests compare floats fail_usage
export here out eqflow is_small bench_seconds tune_seconds train_steps
declare -p test_programs >"$out/.settings"

now() { if [ -n "${GPU_DAY_CLOCK:-}" ]; then cat "$GPU_DAY_CLOCK"; else echo $SECONDS; fi; }

num_failed=0 num_left=0
for piece in "${pieces[@]}"; do
    read -r name limit what <<<"$piece"
    [ -z "$only" ] || [ "$only" = "$name" ] || continue
    folder=$out/$name
    [ -z "$only" ] || rm -rf "$folder"
    if [ -f "$folder/exit-code" ]; then
        echo "$name: ended before, exit code $(cat "$folder/exit-code")"
        continue
    fi
    if [ $(($(now) + limit)) -gt $((minutes * 60)) ]; then
        echo "$name: no time left for it: run again"
        num_left=$((num_left + 1))
        continue
    fi
    rm -rf "$folder" && mkdir -p "$folder"
    begin=$SECONDS
    (cd "$folder" && timeout -k 3 "$limit" bash -c 'set -uo pipefail; . "$0/.settings"; run_piece "$@"' "$out" "$name" "$folder" "$limit") >"$folder/log" 2>&1
    code=$?
    seconds=$((SECONDS - begin))
    [ -z "${GPU_DAY_CLOCK:-}" ] || echo $(($(now) + limit)) >"$GPU_DAY_CLOCK"
    echo "$seconds" >"$folder/seconds"
    echo "$code" >"$folder/exit-code"
    [ $code = 0 ] || num_failed=$((num_failed + 1))
    echo "$name: exit code $code after $seconds s: $(tail -n 1 "$folder/log" | cut -c1-150)"
done

# ---- What is there ---------------------------------------------------------------------------------------------------
{
    echo "# A day with a GPU"
    echo
    echo "Device \`$device\`, revision $(cat "$here/revision"), $(date -u +%Y-%m-%d). Each piece has a folder: \`log\`, \`exit-code\` (124: its time was over),"
    echo "\`seconds\`, and what it wrote. \`gpu_day.sh --out\` this folder runs what is missing; \`--only PIECE\` runs one again."
    echo
    echo "| piece | exit code | seconds | of | what |"
    echo "|---|---|---|---|---|"
    for piece in "${pieces[@]}"; do
        read -r name limit what <<<"$piece"
        echo "| $name | $(cat "$out/$name/exit-code" 2>/dev/null || echo 'not run') | $(cat "$out/$name/seconds" 2>/dev/null || echo -) | $limit | $what |"
    done
    echo
    for name in machine selftest tests certificates tune; do
        [ -f "$out/$name/log" ] || continue
        printf '## %s\n\n```\n' "$name"
        head -60 "$out/$name/log" | cut -c1-200
        printf '```\n\n'
    done
} >"$out/README.md"
rm -f "$out/.settings"
echo "$out/README.md: $num_failed failed, $num_left left"
[ $num_failed = 0 ] && [ $num_left = 0 ]
