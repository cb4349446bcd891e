/* The text format of profiles: lines. Format: platforms/README.md. */
#include <ctype.h>
#include <string.h>

#include "profile.h"

static void copy_trimmed(char *target, size_t size, const char *begin, size_t length) {
    while (length > 0 && isspace((unsigned char)*begin)) begin++, length--;
    while (length > 0 && isspace((unsigned char)begin[length - 1])) length--;
    if (length >= size) length = size - 1;
    memcpy(target, begin, length);
    target[length] = '\0';
}

void eqf__profile_append(char *target, size_t size, const char *text) {
    const size_t length = strlen(target), more = strlen(text), gap = length > 0;
    if (length + gap + more >= size) return;
    if (gap) target[length] = ' ';
    memcpy(target + length + gap, text, more + 1);
}

bool eqf__profile_next_line(const char **text, unsigned *number, eqf__profile_line *line) {
    while (**text != '\0') {
        const char *begin = *text;
        size_t length = strcspn(begin, "\n");
        *text += length + (begin[length] == '\n');
        ++*number;
        memset(line, 0, sizeof *line);
        line->number = *number;
        size_t before_comment = 0;
        while (before_comment < length && begin[before_comment] != '#') before_comment++;
        const char *equals = memchr(begin, '=', before_comment);
        char whole[64];
        copy_trimmed(whole, sizeof whole, begin, before_comment);
        if (whole[0] == '\0') continue; /* blank, or only a comment */
        if (equals == NULL) return true;
        copy_trimmed(line->key, sizeof line->key, begin, (size_t)(equals - begin));
        copy_trimmed(line->value, sizeof line->value, equals + 1, (size_t)(begin + before_comment - equals - 1));
        if (before_comment < length)
            copy_trimmed(line->reason, sizeof line->reason, begin + before_comment + 1, length - before_comment - 1);
        while (isspace((unsigned char)**text) && **text != '\n') {
            const size_t indent = strspn(*text, " \t"), more = strcspn(*text, "\n");
            if ((*text)[indent] != '#') break;
            char comment[160];
            copy_trimmed(comment, sizeof comment, *text + indent + 1, more - indent - 1);
            eqf__profile_append(line->reason, sizeof line->reason, comment);
            *text += more + ((*text)[more] == '\n');
            ++*number;
        }
        return true;
    }
    return false;
}
