#!/usr/bin/env bash
# Each public header compiles alone and twice over, as C11 and as C++17, with every warning on.
# shellcheck source=../cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh" "$1"

try() { # LANGUAGE HEADER COMPILER...
    local language=$1 header=$2
    shift 2
    printf '#include <eqflow/%s>\n#include <eqflow/%s>\nint nothing_else;\n' "$header" "$header" >"one.$language"
    if "$@" -Wall -Wextra -Wpedantic -Werror -I "$source_root/include" -c "one.$language" -o one.o 2>messages; then
        pass
    else
        fail "$header as $language: $(head -3 messages)"
    fi
}
num_headers=0
for path in "$source_root"/include/eqflow/*.h; do
    header=${path##*/}
    num_headers=$((num_headers + 1))
    try c "$header" "${CC:-cc}" -std=c11 -Wstrict-prototypes -Wmissing-prototypes
    if [ -n "${CXX:-}" ]; then try cpp "$header" "$CXX" -std=c++17 -Wold-style-cast; fi
done
# The initializers are C; a C++ program uses them too.
all_initializers() {
    echo '#include <eqflow/eqflow.h>'
    grep -hoE 'define EQF_[A-Z_]+_INIT\b' "$source_root"/include/eqflow/*.h | while read -r _ name; do
        type=$(echo "$name" | sed 's/_INIT$//' | tr '[:upper:]' '[:lower:]')
        echo "$type value_of_$type = $name;"
    done
}
all_initializers >init.c
cp init.c init.cpp
if "${CC:-cc}" -std=c11 -Wall -Wextra -Werror -I "$source_root/include" -c init.c -o init.o 2>messages; then
    pass
else
    fail "initializers as C11: $(head -5 messages)"
fi
if [ -z "${CXX:-}" ]; then
    echo "no C++ compiler: headers were compiled as C only"
elif "$CXX" -std=c++17 -Wall -Wextra -Wno-missing-field-initializers -Werror -I "$source_root/include" -c init.cpp -o init.o 2>messages; then
    pass
else
    fail "initializers as C++17: $(head -5 messages)"
fi
# Programs written against the headers of 0.1: its README's as it was, a wider one after the mechanical changes that
# CHANGELOG.md lists. The wider one needs those changes, so that the list cannot grow stale unnoticed.
sed -f "$source_root/tests/install/from_0_1.sed" "$source_root/tests/install/wide_0_1.c" >wide.c
cp "$source_root/tests/install/readme_0_1.c" readme.c
for program in readme wide; do
    if "${CC:-cc}" -std=c11 -Wall -Wextra -Werror -I "$source_root/include" -c $program.c -o $program.o 2>messages; then
        pass
    else
        fail "$program of 0.1: $(head -3 messages)"
    fi
done
# eqflow.h has all of them but the one that needs the headers of OpenCL.
for path in "$source_root"/include/eqflow/*.h; do
    header=${path##*/}
    if [ "$header" = eqflow.h ] || [ "$header" = opencl.h ] || grep -q "eqflow/$header" "$source_root/include/eqflow/eqflow.h"; then
        pass
    else
        fail "eqflow.h does not include $header"
    fi
done
echo "$num_headers headers, $(wc -l <init.c) lines of initializers"
finish
