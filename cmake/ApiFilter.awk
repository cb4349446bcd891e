# Makes the plain comments of the public headers Doxygen's: before a declaration /** ... */, behind a member /**< ... */. Texts are taken
# as they stand: nothing in them is markup. Declarations that follow one another without a gap share the comment before the first.
#   awk -f ApiFilter.awk HEADER
function escape(text) {
    gsub(/\\/, "\\\\", text)
    gsub(/@/, "\\@", text)
    gsub(/&/, "\\&amp;", text)
    gsub(/</, "\\&lt;", text)
    gsub(/>/, "\\&gt;", text)
    gsub(/#/, "\\#", text)
    gsub(/%/, "\\%", text)
    gsub(/"/, "\\\"", text)
    return text
}
function of_comment(text,   body) {
    body = text
    if (match(body, /\*\//)) {
        in_comment = 0
        if (!is_behind) has_comment = 1
        return escape(substr(body, 1, RSTART - 1)) substr(body, RSTART)
    }
    return escape(body)
}
{
    line = $0
    if (in_comment) {
        indent = match(line, /^ \*   +/) ? "\\n " : ""
        prefix = ""
        if (match(line, /^ *\* ?/)) { prefix = substr(line, 1, RLENGTH); line = substr(line, RLENGTH + 1) }
        if (substr(line, 1, 1) == "/" && prefix ~ /\*$/) { in_comment = 0; if (!is_behind) has_comment = 1; print prefix line; next }
        print prefix indent of_comment(line)
        next
    }
    if (match(line, /\/\*/)) {
        before = substr(line, 1, RSTART - 1)
        after = substr(line, RSTART + 2)
        if (before ~ /^[ \t]*$/ && after ~ /^ ?----/) { print ""; next }   # a heading
        if (before ~ /^#/ || before ~ /"C"/) { print line; next }
        in_comment = 1
        is_behind = before !~ /^[ \t]*$/
        if (before ~ /^[ \t]*$/) {
            has_comment = 0
            print before "/**" (FNR == 1 ? " \\file\n *" : "") of_comment(after)
            if (FNR == 1) has_comment = 0
        } else {
            print before "/**<" of_comment(after)
        }
        next
    }
    if (line ~ /^[ \t]*$/) { has_comment = 0; shared = "" }
    else if (match(line, /eqf_[a-z0-9_]+\(/) && line !~ /^[ #\/]/) {
        name = substr(line, RSTART, RLENGTH - 1)
        if (!has_comment && shared != "") print "/** \\copydoc " shared " */"
        else if (has_comment) shared = name
        has_comment = 0
    }
    print line
}
