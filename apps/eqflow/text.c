#include "text.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

size_t text_distance(const char *a, const char *b) {
    enum { LONGEST = 32 };
    size_t row[LONGEST + 1], length_a = strlen(a), length_b = strlen(b);
    if (length_a > LONGEST || length_b > LONGEST) return LONGEST;
    for (size_t j = 0; j <= length_b; j++) row[j] = j;
    for (size_t i = 1; i <= length_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= length_b; j++) {
            size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            size_t gap = 1 + (row[j] < row[j - 1] ? row[j] : row[j - 1]);
            row[j] = change < gap ? change : gap;
        }
    }
    return row[length_b];
}

size_t text_utf8_length(const char *text) {
    const unsigned char *bytes = (const unsigned char *)text;
    const size_t length = bytes[0] < 0x80   ? 1
                          : bytes[0] < 0xc2 ? 0
                          : bytes[0] < 0xe0 ? 2
                          : bytes[0] < 0xf0 ? 3
                          : bytes[0] < 0xf5 ? 4
                                            : 0;
    for (size_t i = 1; i < length; i++) {
        if ((bytes[i] & 0xc0) != 0x80) return 0;
    }
    /* Not longer than necessary, no surrogates, nothing beyond U+10FFFF. */
    if (length == 3 && ((bytes[0] == 0xe0 && bytes[1] < 0xa0) || (bytes[0] == 0xed && bytes[1] > 0x9f))) return 0;
    if (length == 4 && ((bytes[0] == 0xf0 && bytes[1] < 0x90) || (bytes[0] == 0xf4 && bytes[1] > 0x8f))) return 0;
    return length;
}

char *text_to_utf8(const char *text) {
    static const char replacement[] = "\xef\xbf\xbd";
    char *copy = malloc(3 * strlen(text) + 1), *end = copy;
    if (!copy) return NULL;
    while (*text) {
        const size_t length = text_utf8_length(text);
        memcpy(end, length ? text : replacement, length ? length : 3);
        end += length ? length : 3;
        text += length ? length : 1;
    }
    *end = '\0';
    return copy;
}

void text_make_plain(char *text, bool keeps_lines) {
    for (char *c = text; *c; c++) {
        if (keeps_lines && (*c == '\n' || *c == '\t')) continue;
        if (iscntrl((unsigned char)*c)) *c = *c == '\n' || *c == '\r' || *c == '\t' ? ' ' : '?';
        /* U+0080 ... U+009F are control characters too, U+2028 and U+2029 end lines */
        const unsigned char *bytes = (const unsigned char *)c;
        if (bytes[0] == 0xc2 && bytes[1] >= 0x80 && bytes[1] < 0xa0) c[0] = c[1] = '?';
        if (bytes[0] == 0xe2 && bytes[1] == 0x80 && (bytes[2] == 0xa8 || bytes[2] == 0xa9)) c[0] = c[1] = c[2] = ' ';
    }
}
