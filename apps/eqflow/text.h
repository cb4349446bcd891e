/* Words of people and files: how alike two are, and whether they are UTF-8. */
#ifndef TEXT_H
#define TEXT_H

#include <stddef.h>

/* Number of letters to insert, delete or change (Levenshtein), for "did you mean"; 32 for words longer than that. */
size_t text_distance(const char *a, const char *b);

/* Bytes of the UTF-8 character that text begins with (RFC 3629); 0: it begins with none. */
size_t text_utf8_length(const char *text);

/* A copy that is UTF-8 whatever text is (file names are bytes): U+FFFD in place of every byte that is none. The caller
 * frees it; NULL: out of memory. */
char *text_to_utf8(const char *text);

#endif
