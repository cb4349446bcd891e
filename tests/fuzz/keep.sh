#!/usr/bin/env bash
# Takes into tests/fuzz/corpus what a campaign's inputs reach that it does not: keep.sh FUZZ-BUILD-FOLDER INPUTS [MOST-
# FILES] INPUTS has a folder a target (BUILD-FOLDER/campaign-*/corpus). libFuzzer merges; files above 4 KiB and beyond
# MOST-FILES (60) stay out.
set -u
build=$(cd "${1:?the build folder of the fuzzers}" && pwd) inputs=$(cd "${2:?the inputs}" && pwd) most=${3:-60}
corpus=$(cd "$(dirname "${BASH_SOURCE[0]}")/corpus" && pwd)
for folder in "$inputs"/*/; do
    target=$(basename "$folder")
    fuzzer=$build/tests/fuzz/fuzz_$target
    [ -x "$fuzzer" ] || continue
    merged=$(mktemp -d)
    "$fuzzer" -merge=1 -max_len=4096 "$merged" "$corpus/$target" "$folder" >"$merged.log" 2>&1
    num=$(find "$corpus/$target" -type f | wc -l)
    # Smallest first: they say most for a byte.
    find "$merged" -type f -size -9 -printf '%s %p\n' | sort -n | while read -r _ file; do
        [ "$num" -lt "$most" ] || break
        name=$(sha256sum "$file" | cut -c1-12)
        [ -z "$(find "$corpus/$target" -type f -size "$(stat -c %s "$file")c" -exec cmp -s "$file" {} \; -print -quit)" ] || continue
        cp "$file" "$corpus/$target/$name"
        num=$((num + 1))
    done
    echo "$target: $(find "$corpus/$target" -type f | wc -l) inputs, $(du -sb "$corpus/$target" | cut -f1) bytes"
    rm -rf "$merged" "$merged.log"
done
