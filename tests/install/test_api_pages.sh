#!/usr/bin/env bash
# The reference pages made from the headers: Doxygen warns of nothing, and every function has a description, in XML and
# as a page of section 3.
# shellcheck source=../cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh" "$1"

if ! command -v doxygen >/dev/null; then
    echo "doxygen is not installed: skipped"
    exit 77
fi
sed "s|^OUTPUT_DIRECTORY.*|OUTPUT_DIRECTORY = $PWD/pages|" "$EQFLOW_BUILD/Doxyfile" >Doxyfile
if doxygen Doxyfile >messages 2>&1; then pass; else fail "doxygen: $(head -3 messages)"; fi

# name and "yes" or "no": is there a text between the name and the end of the descriptions?
cat pages/xml/*.xml | awk '/<memberdef kind="function"/ { name = ""; text = "no" }
    match($0, /<name>eqf_[a-z0-9_]+<\/name>/) { name = substr($0, RSTART + 6, RLENGTH - 13) }
    /<para>/ { text = "yes" }
    /<\/memberdef>/ { if (name != "") print name, text; name = "" }' | sort -u >described
sed 's/^X(\([a-z0-9_]*\),.*/\1/' "$EQFLOW_BUILD/tests/api_functions.inc" | sort >declared
num=0
while read -r name; do
    num=$((num + 1))
    if grep -q "^$name yes$" described; then pass; else fail "$name has no description"; fi
    if [ -r "pages/man/man3/$name.3" ]; then pass; else fail "$name has no page in section 3"; fi
done <declared
if [ "$num" -gt 100 ]; then pass; else fail "$num functions only"; fi
# A broken comment is found.
mkdir -p broken/eqflow
cp "$source_root"/include/eqflow/*.h broken/eqflow/
printf '/* \\param nothing\n * of a function */\nvoid eqf_nothing(int x);\n' >broken/eqflow/nothing.h
sed -i 's/\\\\\\\\/\\/' broken/eqflow/nothing.h
sed -e "s|^INPUT .*|INPUT = $PWD/broken/eqflow|" -e "s|^INPUT_FILTER.*|INPUT_FILTER = \"sed -e s,/\\\\*,/**,\"|" Doxyfile >Doxyfile.broken
if doxygen Doxyfile.broken >/dev/null 2>&1; then fail "doxygen accepts a comment about a parameter that is not there"; else pass; fi
echo "$num functions described"
finish
