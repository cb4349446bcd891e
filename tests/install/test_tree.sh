#!/usr/bin/env bash
# Installs to a prefix, moves it, and uses what is there: the program, the README's C example through pkg-config and
# through find_package, the manual, and the symbols that a program can see.
# shellcheck source=../cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh" "$1"

cmake --install "$EQFLOW_BUILD" --prefix "$work/first" >install.log 2>&1 || { fail "install: $(tail -3 install.log)"; finish; }
mv "$work/first" "$work/moved"
prefix=$work/moved
program=$prefix/bin/eqflow

# Nothing there knows where it was built or first installed.
if grep -rlE "$work/first|$source_root|$EQFLOW_BUILD" "$prefix" --include='*.cmake' --include='*.pc' --include='*.h' >found; then
    fail "folders of this machine in: $(cat found)"
else
    pass
fi
succeed "$program" version
succeed "$program" sample gallery:dw2-radial -n 10 -o from_gallery.npy --quiet
succeed "$program" gallery
if grep -q " in $prefix/share/eqflow/gallery$" stdout; then pass; else fail "the gallery of the moved tree: $(cat stdout)"; fi
succeed "$program" train dw4 -o model.safetensors --num-train 200 --steps 3 --batch-size 16 --quiet || finish
if command -v jq >/dev/null && command -v gnuplot >/dev/null; then
    succeed "$prefix/bin/eqflow-experiment" invariance --quick --fields radial --steps 2 --samples 20 --quiet -o experiment
    if grep -q '</svg>' experiment/invariance.svg; then pass; else fail "eqflow-experiment drew nothing: $(cat stderr)"; fi
fi
pages=$(find "$prefix/share/man/man1" -name 'eqflow*.1' | wc -l)
within "$pages" 8 40 "manual pages"

# The README's example, as it stands there but for the model's name.
sed -n '/^```c$/,/^```$/p' "$source_root/README.md" | sed '1d;$d' | sed 's|demo-output/dw4.safetensors|model.safetensors|' >example.c
if grep -q 'int main' example.c && grep -q '"model.safetensors"' example.c; then pass; else fail "README.md has no C example"; fi
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig:$prefix/lib64/pkgconfig:${PKG_CONFIG_PATH:-}
export LD_LIBRARY_PATH=$prefix/lib:${LD_LIBRARY_PATH:-}
# shellcheck disable=SC2046
if "${CC:-cc}" -std=c11 -Wall -Wextra -Werror $(pkg-config --cflags eqflow) example.c $(pkg-config --libs eqflow) -o with_pc 2>messages; then
    succeed ./with_pc
    if grep -Eq '^first particle at \(-?[0-9.e-]+, -?[0-9.e-]+\), log_prob -?[0-9.]+$' stdout; then
        pass
        cat stdout
    else
        fail "the README's example printed: $(cat stdout)"
    fi
else
    fail "pkg-config: $(head -5 messages)"
fi
cp stdout stdout_with_pc
if [ "$(pkg-config --modversion eqflow)" = "$("$program" --version | sed 's/eqflow //')" ]; then pass; else fail "versions differ"; fi

mkdir consumer && cp example.c consumer/
cat >consumer/CMakeLists.txt <<'END'
cmake_minimum_required(VERSION 3.25)
project(consumer LANGUAGES C)
find_package(eqflow 0.1 CONFIG REQUIRED)
add_executable(with_cmake example.c)
target_link_libraries(with_cmake PRIVATE eqflow::eqflow)
END
# With the generator of this build: a machine that has ninja need not have make, which is cmake's own choice.
CMAKE_GENERATOR=$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' "$EQFLOW_BUILD/CMakeCache.txt")
export CMAKE_GENERATOR
if cmake -S consumer -B consumer/build -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="${CC:-cc}" >cmake.log 2>&1 &&
    cmake --build consumer/build >>cmake.log 2>&1; then
    succeed consumer/build/with_cmake
    same stdout stdout_with_pc "the example through find_package and through pkg-config"
else
    fail "find_package: $(grep -iE 'error|not found' cmake.log | head -5)"
fi

# Symbols: a shared library shows the public functions only; a static one nothing without our prefix.
if [ "$EQFLOW_LIBRARY_TYPE" = shared ]; then
    library=$(find "$prefix" -name 'libeqflow.so.*.*.*')
    nm -D --defined-only "$library" | awk '{ print $3 }' | sed 's/@.*//' | grep -v '^$' >symbols
    grep -vE '^eqf_[a-z]' symbols >foreign
    # All that the headers promise is there.
    cat "$prefix"/include/eqflow/*.h | tr -s ' \n' ' ' | grep -oE '\beqf_[a-z0-9_]+\(' | tr -d '(' | sort -u >promised
    sort -u symbols >shown
    comm -23 promised shown >missing
    if [ -s missing ]; then fail "promised by the headers, not in the library: $(tr '\n' ' ' <missing)"; else pass; fi
    if readelf -d "$library" | grep -q 'SONAME.*libeqflow.so.0.1'; then pass; else fail "SONAME: $(readelf -d "$library")"; fi
else
    library=$(find "$prefix" -name 'libeqflow.a')
    nm -g --defined-only "$library" 2>/dev/null | awk 'NF == 3 { print $3 }' | grep -v '^$' >symbols
    grep -vE '^eqf_' symbols >foreign
fi
within "$(wc -l <symbols)" 50 1000 "symbols of the library"
if [ -s foreign ]; then fail "symbols that are not ours: $(head -5 foreign | tr '\n' ' ')"; else pass; fi
finish
