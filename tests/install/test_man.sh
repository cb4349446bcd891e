#!/usr/bin/env bash
# The manual: eqflow(1) names every command and no other, every environment variable and exit code that the program has;
# each command has a page made of its --help.
# shellcheck source=../cli/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../cli/lib.sh" "$1"

page=$source_root/man/eqflow.1
"$eqflow" --help | sed -n '/^Commands:/,/^$/s/^  \([a-z-]*\) .*/\1/p' | sort >commands
sed -n '/^\.SH COMMANDS/,/^\.SH OPTIONS/p' "$page" | sed -n 's/^\.B \([a-z\\-]*\).*/\1/p' | tr -d '\\' | sort >described
if diff commands described >difference; then pass; else fail "eqflow --help and eqflow.1: $(cat difference)"; fi

check_page() { # PAGE COMMAND...
    local made=$EQFLOW_BUILD/man/$1.1 warnings
    shift
    if [ ! -r "$made" ]; then
        fail "$made is missing: run the build"
        return
    fi
    # Every word of the help is in the page, in order.
    "$@" --help | sed 's/^Usage: //' | tr -s ' ' '\n' | grep . >words
    sed -e '1,/^\.SH SYNOPSIS/d' -e '/^\.SH SEE ALSO/,$d' -e '/^\.SH/d' -e '/^\.[nf][fi]$/d' -e 's/\\&//g; s/\\-/-/g; s/\\e/\\/g' \
        "$made" | tr -s ' ' '\n' | grep . >page_words
    same words page_words "the words of $made"
    if command -v groff >/dev/null; then
        warnings=$(groff -man -Tutf8 -ww -Wbreak "$made" 2>&1 >/dev/null)
        if [ -z "$warnings" ]; then pass; else fail "$made: $warnings"; fi
    fi
}
while read -r command; do
    check_page "eqflow-$command" "$eqflow" "$command"
done <commands
check_page eqflow-experiment "$source_root/apps/experiments/run.sh"
finish
