# shellcheck shell=bash
# A folder of its own for a script: own_folder NAME makes it, goes there, names it in $work, and removes it at the end.
# The folder's name has the script's process in it: what scripts left that were killed, a later one removes.
own_folder() {
    export work
    local base=${TMPDIR:-/tmp} left process
    for left in "$base/eqflow-$1"-[0-9]*-??????; do
        process=${left#"$base/eqflow-$1-"} process=${process%-??????}
        [ -O "$left" ] && [ -d "$left" ] && [ ! -L "$left" ] || continue
        case $process in *[!0-9]*) continue ;; esac
        kill -0 "$process" 2>/dev/null || rm -rf "$left"
    done
    work=$(mktemp -d "$base/eqflow-$1-$$-XXXXXX") || exit 1
    trap 'cd /; rm -rf "$work"' EXIT
    cd "$work" || exit 1
}
