#!/usr/bin/env bash
# Every program that the library assembles for the devices of platforms/*/*.device, compiled by NVIDIA's, AMD's and
# Intel's own compilers. No GPU is needed. Warnings are errors; scratch and spilled registers above
# platforms/<vendor>/*.ceilings are too. What is not installed is skipped and counted. A program is compiled once: its
# figures are kept in $XDG_CACHE_HOME/eqflow-vendors/figures, so a second pass takes seconds, and one that was stopped
# goes on. All devices: two hours of a core, most of it Intel's compiler; the second time minutes.
# Exit code: 0, 1 (complaints), 77 (nothing could be compiled), 2 (usage). Usage: tests/vendors.sh [--build FOLDER]
# [--only REGEX] [--cases PREFIX] [--jobs N] [--fetch] [--csv FILE] [--write] [--planted]
#   --build FOLDER   where the tests were built [build]
#   --only REGEX     devices, by the name of their file: 'h200|rx6900'
#   --cases PREFIX   programs of these cases only: lj13.radial
#   --jobs N         compilers at once [all cores]
#   --fetch          first unpack NVIDIA's assembler (nvidia-cuda-nvcc-cu12, which still knows sm_70, under NVIDIA's
#     licence) from the Python
#                    registry into $XDG_CACHE_HOME/eqflow-vendors
#   --csv FILE       every kernel's figures
#   --write          the tables into docs/devices.md
#   --set-ceilings   raises the ceilings to what is found: after a look at why
#   --planted        the test of this test: four mistakes, each of which must be found
# Needed for all of it, on Debian 12: clang-19 lld-19 llvm-19 libclc-15 rocm-device-libs intel-opencl-icd, ptxas of a
# CUDA toolkit (or
# --fetch; PTXAS names another). libclc-16 and later drive out Mesa's OpenCL there. intel-opencl-icd also adds an OpenCL
# platform without devices: its file /etc/OpenCL/vendors/intel.icd may go.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2
export LC_ALL=C

fail_usage() {
    echo "error: $*" >&2
    exit 2
}
build=build wants_fetch=0 wants_planted=0 options=()
while [ $# -gt 0 ]; do
    case $1 in
    --build | --only | --cases | --jobs | --csv)
        [ $# -ge 2 ] || fail_usage "$1 wants a value"
        case $1 in --build) build=$2 ;; *) options+=("$1" "$2") ;; esac
        shift
        ;;
    --fetch) wants_fetch=1 ;;
    --write | --set-ceilings) options+=("$1") ;;
    --planted) wants_planted=1 ;;
    *) fail_usage "unknown argument '$1'; the first lines of tests/vendors.sh say what there is" ;;
    esac
    shift
done
assemble=$(find "$build" -name assemble -type f -perm -u+x | head -1)
[ -n "$assemble" ] || fail_usage "no program 'assemble' in $build/: run ./test.sh first, or --build FOLDER"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }

if [ $wants_fetch = 1 ]; then
    cache=${XDG_CACHE_HOME:-$HOME/.cache}/eqflow-vendors
    mkdir -p "$cache"
    if [ ! -x "$cache/nvidia/cuda_nvcc/bin/ptxas" ]; then
        python3 -m pip download -q --no-deps --only-binary=:all: -d "$cache" 'nvidia-cuda-nvcc-cu12<12.10' &&
            python3 -c 'import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract("nvidia/cuda_nvcc/bin/ptxas", sys.argv[2])' \
                "$cache"/nvidia_cuda_nvcc_cu12-*.whl "$cache" && chmod +x "$cache/nvidia/cuda_nvcc/bin/ptxas" ||
            echo "NVIDIA's assembler could not be fetched"
    fi
fi

compile() { python3 tests/vendors/compile.py --assemble "$assemble" "$@"; }
[ $wants_planted = 1 ] || { compile "${options[@]}" && exit 0 || exit $?; }

# ---- Does it find what it looks for? ----
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r cl "$scratch/cl"
export EQFLOW_KERNEL_PATH=$scratch/cl
devices='h200|rx6900|arc-a770'
compile --only "$devices" --cases dw4.mcmc >"$scratch/log" 2>&1
code=$?
sed 's/^/    /' "$scratch/log"
[ $code != 77 ] || { echo "skipped: none of $devices can be compiled for"; exit 77; }
[ $code = 0 ] || { echo "FAILED: complaints before anything was planted"; exit 1; }
num_devices=$(sed -n 's/^\([0-9]*\) devices compiled for.*/\1/p' "$scratch/log")
failed=0
# planted WHAT FILE SED-SCRIPT PATTERN: the mistake must be found on every device, in the words of PATTERN.
planted() {
    cp -r cl/. "$scratch/cl"
    sed -i "$3" "$scratch/cl/$2"
    ! cmp -s "cl/$2" "$scratch/cl/$2" || { echo "FAILED: $1: nothing was planted in cl/$2"; failed=1; return; }
    compile --only "$devices" --cases dw4.mcmc >"$scratch/log" 2>&1
    local code=$? found
    found=$(grep -cE "$4" "$scratch/log")
    if [ $code = 1 ] && [ "$found" -ge "$num_devices" ]; then
        echo "found: $1, on $num_devices devices"
    else
        echo "FAILED: $1 was found on $found of $num_devices devices (exit code $code)"
        sed 's/^/    /' "$scratch/log"
        failed=1
    fi
}
planted 'an inline function that is not static' mcmc/metropolis.cl 's/^static inline void load_state/inline void load_state/' \
    'load_state is inline and not static'
planted 'a double literal' mcmc/metropolis.cl 's/REAL(3.4641016151377544)/(real)3.4641016151377544/' 'double precision constant'
# Of 64 KB with its neighbours: each work-item writes and reads it, so that no compiler drops it.
planted 'a local array of 64 KB' mcmc/metropolis.cl '/^CHAIN_KERNEL void mcmc_keep/,/) {/s/) {/) { __local real planted[16384]; planted[get_local_id(0)] = 1; planted[get_local_id(0) + 16000] = 2; barrier(CLK_LOCAL_MEM_FENCE); if (planted[(get_local_id(0) * 7) % 16384] > 3) return;/' \
    'local memory|shared data|[Ll]ocal|SLM'
planted 'an array that no register holds' mcmc/metropolis.cl '/^CHAIN_KERNEL void mcmc_keep/,/) {/s/) {/) { real planted[2000]; for (uint p = 0; p < 2000; p++) planted[p] = p * get_global_id(0); if (planted[get_global_id(0) % 2000] < 0) return;/' \
    'bytes of scratch'
exit $failed
