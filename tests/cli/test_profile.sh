#!/usr/bin/env bash
# Device profiles: shown with their origin, set for a run, refused in words; every guard that platforms/ names is a
# test.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh" "$1"
export EQFLOW_CACHE=off

guards=$(sed -n 's/^issue\.[a-z-]*\.guard = \([^ ]*\).*/\1/p' "$source_root"/platforms/*/*.profile | sort -u)
[ -n "$guards" ] && pass || fail "no guards in platforms/"
for guard in $guards; do
    noun=${guard%%.*} what=${guard#*.}
    if compgen -G "$source_root/tests/$noun/test_$what.*" >/dev/null; then pass; else fail "there is no test $guard"; fi
done

expect 2 "no profile key 'vektor_width'; there are build_option" "$eqflow" devices --set-profile vektor_width=8
expect 2 'vector_width is one of 1 8 16' "$eqflow" devices --set-profile vector_width=7
expect 2 "num_partials is a whole number from 1 to 4096, not '-4'" "$eqflow" devices --set-profile num_partials=-4
expect 2 'not of the form key=value' "$eqflow" devices --set-profile vector_width
expect 2 'no compiler option' "$eqflow" devices --set-profile 'build_option=;ls'
many=()
for _ in {1..17}; do many+=(--set-profile vector_width=1); done
expect 2 'more than 16 times' "$eqflow" devices "${many[@]}"

"$eqflow" devices >/dev/null 2>&1 || skip "no OpenCL device for the rest"
succeed "$eqflow" devices --verbose
grep -Eq 'vector_width .*platforms/[a-z]+/[a-z0-9-]+\.profile:[0-9]+' stdout && pass || fail "no origin: $(cat stdout)"
succeed "$eqflow" devices --verbose --set-profile vector_width=1 --set-profile num_partials=3
grep -Eq 'vector_width +1 +--set-profile' stdout && pass || fail "vector_width was not set: $(cat stdout)"
grep -Eq 'num_partials +3 +--set-profile' stdout && pass || fail "num_partials was not set: $(cat stdout)"
succeed "$eqflow" devices --json --verbose
grep -q '"origin": "platforms/' stdout && pass || fail "--json has no origin: $(cat stdout)"

# A set value reaches the kernels: another width, the same physics; the error of the compiler if an option is wrong.
succeed "$eqflow" selftest --only "radial, table" --set-profile vector_width=1 --set-profile native_sqrt=yes --set-profile table_cells=1024
TMPDIR=$work "$eqflow" data dw2 -n 10 -o x.npy --burn-in 1 --thinning 1 --quiet --set-profile 'build_option=-D realv=1' \
    >stdout 2>stderr
[ $? -eq 6 ] && pass || fail "a program that does not build: $(cat stderr)"
grep -Eq "kernel program '[a-z]+' did not build on .*cl/common/real.clh.*: $work/eqflow-build-[a-z]+-[A-Za-z0-9]+$" stderr && pass ||
    fail "the message does not name file and log: $(cat stderr)"
[ ! -e x.npy ] && pass || fail "something was written"
grep -q -- '-D realv=1' eqflow-build-* && pass || fail "the log does not hold the options"
finish
