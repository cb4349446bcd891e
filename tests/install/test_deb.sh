#!/usr/bin/env bash
# cpack -G DEB: a package with what Debian wants of one, from which the program runs where it is unpacked.
# shellcheck source=../cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh" "$1"

for tool in cpack dpkg-deb dpkg-shlibdeps; do
    command -v $tool >/dev/null || skip "$tool is missing"
done
cpack -G DEB --config "$EQFLOW_BUILD/CPackConfig.cmake" -B "$work/packed" >cpack.log 2>&1 || { fail "cpack: $(tail -3 cpack.log)"; finish; }
package=$(find packed -maxdepth 1 -name 'eqflow_*.deb')
if [ -s "$package" ]; then pass; else fail "no package: $(tail -3 cpack.log)" && finish; fi
dpkg-deb -I "$package" >about
dpkg-deb -x "$package" unpacked

# The libraries that the program loads, by the names of their packages; what else it uses when it is there.
for library in libc6 libclblast1 libjansson4 libmd0 libpopt0 ocl-icd-libopencl1; do
    if grep '^ Depends: ' about | grep -q "\b$library\b"; then pass; else fail "does not depend on $library: $(grep Depends about)"; fi
done
if grep '^ Recommends: ' about | grep -q 'pocl-opencl-icd | opencl-icd'; then pass; else fail "recommends no OpenCL driver"; fi
within "$(sed -n 's/^ Description: //p' about | awk '{ print length }')" 10 80 "characters of the one-line description"
within "$(grep -c '^  [^ ]' about)" 3 40 "lines of the longer one"
for file in copyright changelog.gz CHANGELOG.md README.md examples/morse.cl; do
    if [ -s "unpacked/usr/share/doc/eqflow/$file" ]; then pass; else fail "no share/doc/eqflow/$file"; fi
done
# The site, where it was built (docs-site): what is there must be in the package, whole.
if [ -s "$EQFLOW_BUILD/site/index.html" ]; then
    pages=$(cd "$EQFLOW_BUILD/site" && find . -name '*.html' | wc -l)
    packed=$(cd unpacked/usr/share/doc/eqflow/html && find . -name '*.html' | wc -l)
    within "$packed" "$pages" "$pages" "pages of the site in the package"
else
    echo "no site in the build folder: not tested that the package carries it"
fi
if [ -z "$(find unpacked/usr/share/man -name '*.1')" ]; then pass; else fail "manual pages that are not compressed"; fi
within "$(find unpacked/usr/share/man/man1 -name 'eqflow*.1.gz' | wc -l)" 8 40 "manual pages"
for program in unpacked/usr/bin/*; do
    if [ -s "unpacked/usr/share/man/man1/${program##*/}.1.gz" ]; then pass; else fail "no manual page for $program"; fi
done
if readelf -S unpacked/usr/bin/eqflow | grep -q '\.symtab'; then fail "the program is not stripped"; else pass; fi
succeed unpacked/usr/bin/eqflow version
succeed unpacked/usr/bin/eqflow gallery dw4-radial
succeed unpacked/usr/bin/eqflow-experiment --help
finish
