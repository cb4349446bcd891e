#!/usr/bin/env bash
# The house keeps its rules (CONTRIBUTING.md): kinds are known to their tables, files and functions stay short.
#   test_rules.sh SOURCE_ROOT
set -u
cd "${1:?the source tree is missing}" || exit 1
num_wrong=0
most_lines=450 # of a file
most_of_function=60

wrong() {
    num_wrong=$((num_wrong + 1))
    echo "$*"
}

# The enumerators of an enum of a header.
enumerators() { sed -n "/^typedef enum $2 {/,/^}/p" "include/eqflow/$1.h" | grep -oE '\bEQF_[A-Z0-9_]+'; }

# ---- A kind is a row of its table and its own files: no more than three other files name it. ----

num_kinds=0
for enum in "potential eqf_potential_kind EQF_POTENTIAL_" "model eqf_dynamics_kind EQF_DYNAMICS_" "model eqf_integrator_method EQF_INTEGRATOR_" \
    "model eqf_prior_kind EQF_PRIOR_"; do
    read -r header type prefix <<<"$enum"
    for kind in $(enumerators "$header" "$type"); do
        num_kinds=$((num_kinds + 1))
        # The table is a switch without a default, which the compiler completes (-Wswitch).
        tables=$(grep -rlw --include='*.c' "case $kind:" src apps)
        num_tables=$(grep -c . <<<"$tables")
        [ "$num_tables" -eq 1 ] || wrong "$kind has a row in $num_tables tables, not 1: $(tr '\n' ' ' <<<"$tables")"
        own=$(tr '[:upper:]' '[:lower:]' <<<"${kind#"$prefix"}")
        files=$(grep -rlw --include='*.[ch]' --include='*.py' "$kind" src apps | grep -v "/${own}[^/]*\$" | grep -vxF "$tables")
        num=$(grep -c . <<<"$files")
        [ "$num" -le 3 ] || wrong "$kind: $num files name it, 3 may: ask for a property of its row instead: $(tr '\n' ' ' <<<"$files")"
    done
done
[ "$num_kinds" -ge 9 ] || wrong "only $num_kinds kinds were found in the headers"

# ---- Short files and functions; a comment above may say why one is not: "Longer than 450 lines: ...", "Longer than 60
# lines: ..." ----

while read -r file; do
    num=$(wc -l <"$file")
    [ "$num" -le "$most_lines" ] || grep -q 'Longer than 450 lines: .' "$file" || wrong "$file: $num lines, $most_lines may be"
done < <(find src apps -name '*.[ch]')

# A function begins at the left with its signature, and ends at the left with a brace.
# shellcheck disable=SC2016
long_functions=$(find src apps -name '*.c' -exec awk -v most="$most_of_function" '
    FNR == 1 { start = 0; has_reason = 0; is_comment = 0 }
    /^\/\*/ { has_reason = 0; is_comment = 1 }
    is_comment && /Longer than 60 lines: ./ { has_reason = 1 }
    /\*\/[ ]*$/ { is_comment = 0; next }
    is_comment { next }
    !start && /^[a-z]/ { start = FNR }
    start && /[;,]$/ && FNR == start { if (/;$/) { start = 0; has_reason = 0 } }
    /^}/ { if (start && FNR - start + 1 > most && !has_reason && /^}$/) print FILENAME ":" start ": " FNR - start + 1 " lines, " most " may be"
           start = 0; has_reason = 0 }' {} +)
while read -r line; do [ -z "$line" ] || wrong "$line"; done <<<"$long_functions"

# ---- Lines, of C and kernels ----

while read -r line; do [ -z "$line" ] || wrong "$line"; done < <(
    find src include apps cl tests -name '*.[ch]' -o -name '*.cl' -o -name '*.clh' | sort | xargs awk '
    length($0) > 120 { print FILENAME ":" FNR ": " length($0) " columns, 120 may be" }')

[ "$num_wrong" -eq 0 ] || { echo "$num_wrong rules are broken"; exit 1; }
echo "$num_kinds kinds, $(find src apps -name '*.[ch]' | wc -l) files: all rules are kept"
