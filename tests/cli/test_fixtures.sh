#!/usr/bin/env bash
# Files of earlier releases (tests/fixtures/): read, with the numbers of then; or refused in one line that says why.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
unset EQFLOW_CACHE

# numbers FILE: of a .npy of little-endian float32, one a line.
numbers() {
    local header
    header=$(od -An -tu2 -j8 -N2 "$1")
    od -An -v -tf4 -w4 "-j$((10 + header))" "$1"
}
# close FILE FILE WHAT: as many numbers, alike to 1e-3. (Other devices round otherwise.)
close() {
    if paste <(numbers "$1") <(numbers "$2") | awk 'NF != 2 { bad = 1 } { d = $1 - $2; if (d < 0) d = -d; if (d > 1e-3) bad = 1 } END { exit bad }'; then
        pass
    else
        fail "$3: $(paste <(numbers "$1") <(numbers "$2") | head -3)"
    fi
}

for release in "$source_root"/tests/fixtures/*/; do
    name=$(basename "$release")
    cp "$release"/* .
    # The model: the same samples of the same seed, and the same log-densities of the same configurations.
    succeed "$eqflow" sample model.safetensors -n 8 -o again.npy --quiet
    close samples.npy again.npy "samples of the model of $name"
    succeed "$eqflow" log-prob model.safetensors --data samples.npy -o again.npy --quiet
    close log_prob.npy again.npy "log-densities of the model of $name"
    succeed "$eqflow" evaluate model.safetensors --data data.npy -n 100 --quiet --json
    # The checkpoint goes on, or a line says why not and nothing is touched.
    cp stopped.checkpoint stopped.safetensors.checkpoint
    "$eqflow" train dw2 --data data.npy -o stopped.safetensors --steps 1000000 --batch-size 16 --num-distance 20 --num-time 3 \
        --integration-steps 10 --quiet --checkpoint-interval 0 --resume >stdout 2>stderr </dev/null &
    child=$!
    children="$children $child"
    for _ in $(seq 1200); do # kernels may have to be built first
        kill -0 $child 2>/dev/null || break
        cmp -s stopped.checkpoint stopped.safetensors.checkpoint || break # a new one: it goes on
        sleep 0.1
    done
    kill -TERM $child 2>/dev/null
    wait $child
    code=$?
    if [ $code -eq 130 ] && ! cmp -s stopped.checkpoint stopped.safetensors.checkpoint; then
        pass
        echo "the checkpoint of $name goes on"
    elif { [ $code -eq 2 ] || [ $code -eq 3 ]; } && [ "$(wc -l <stderr)" -eq 1 ] && cmp -s stopped.checkpoint stopped.safetensors.checkpoint; then
        pass
        echo "the checkpoint of $name is refused: $(cat stderr)"
    else
        fail "the checkpoint of $name: exit code $code: $(cat stderr)"
    fi
    # The cache's entry is listed as whole, and is no hindrance.
    export XDG_CACHE_HOME=$work/cache-$name
    mkdir -p "$XDG_CACHE_HOME/eqflow"
    cp ./*.bin "$XDG_CACHE_HOME/eqflow/"
    chmod 700 "$XDG_CACHE_HOME/eqflow" && chmod 600 "$XDG_CACHE_HOME/eqflow"/*.bin
    succeed "$eqflow" cache list --json
    within "$(json num_entries stdout)" 1 1 "entries of $name"
    if grep -q '"is_whole": true' stdout; then pass; else fail "the entry of $name: $(cat stdout)"; fi
    rm -f ./*.npy ./*.safetensors ./*.checkpoint ./*.bin
done
finish
