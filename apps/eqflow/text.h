/* Texts of users and files: how similar two are, whether they are UTF-8, whether they steer a terminal. */
#ifndef TEXT_H
#define TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Number of letters to insert, delete or change (Levenshtein), for "did you mean"; 32 for words longer than that. */
size_t text_distance(const char *a, const char *b);

/* Number of bytes of the UTF-8 character at the start of text (RFC 3629); 0: there is none. */
size_t text_utf8_length(const char *text);

/* A copy in which every byte that is not UTF-8 is replaced by U+FFFD (file names may have any bytes). The caller frees
 * it; NULL: out of memory. */
char *text_to_utf8(const char *text);

/* Replaces what would steer a terminal, in place: control characters by ?, ends of lines and tabs by blanks;
 * keeps_lines: the newlines and tabs of ASCII stay. */
void text_make_plain(char *text, bool keeps_lines);

#endif
