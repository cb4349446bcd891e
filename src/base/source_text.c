/* Finds out whether a kernel's text reads other files while it is compiled. Neither a cache key nor a model holds
 * the content of such files. */
#include <string.h>

#include "base.h"

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\v' || c == '\f' || c == '\r';
}

static bool is_word_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Compilers differ in what ends a continued line: whether a carriage return alone ends a line (clang), whether a
 * carriage return after a newline belongs to it (clang), whether blanks may follow the backslash (clang, gcc), and
 * whether there are trigraphs. A text is read in every one of these ways. */
enum { LONE_RETURN = 1, RETURN_BEHIND = 2, BLANKS = 4, TRIGRAPHS = 8, NUM_WAYS = 16 };

/* If a continued line ends at text, the bytes of its end: a backslash or ??/ with the newline after it; else 0. */
static size_t splice_length(unsigned way, const char *text) {
    size_t length = text[0] == '\\' ? 1 : (way & TRIGRAPHS) != 0 && strncmp(text, "?\?/", 3) == 0 ? 3 : 0;
    if (length == 0) return 0;
    while ((way & BLANKS) != 0 && is_blank(text[length]) && text[length] != '\r') length++;
    if (text[length] == '\r' && text[length + 1] == '\n') return length + 2;
    if (text[length] == '\r') return (way & LONE_RETURN) != 0 ? length + 1 : 0;
    if (text[length] != '\n') return 0;
    return (way & RETURN_BEHIND) != 0 && text[length + 1] == '\r' ? length + 2 : length + 1;
}

/* The next letter from text on, continued lines joined; *next_out is behind it. */
static char letter_at(unsigned way, const char *text, const char **next_out) {
    for (size_t length; (length = splice_length(way, text)) > 0;) text += length;
    *next_out = *text != '\0' ? text + 1 : text;
    return *text;
}

/* The word that begins at text, at most size - 1 letters of it. */
static void take_word(unsigned way, const char *text, size_t size, char *word) {
    size_t length = 0;
    const char *next;
    for (char c = letter_at(way, text, &next); is_word_letter(c) && length + 1 < size;
         c = letter_at(way, text, &next)) {
        word[length++] = c;
        text = next;
    }
    word[length] = '\0';
}

static const char *find(const char *word, size_t num, const char *const *words) {
    for (size_t w = 0; w < num; w++)
        if (strcmp(word, words[w]) == 0) return words[w];
    return NULL;
}

/* The name of the directive whose # is before text, if it reads a file; else NULL. */
static const char *directive_that_reads(unsigned way, const char *text) {
    static const char *const names[] = {"include", "include_next", "import", "embed", "__include_macros"};
    const char *next;
    char c = letter_at(way, text, &next), word[24];
    while (is_blank(c)) {
        text = next;
        c = letter_at(way, text, &next);
    }
    /* A comment here can only hide what follows it. */
    if (c == '/' && letter_at(way, next, &next) == '*') return "a comment between # and a directive's name";
    take_word(way, text, sizeof word, word);
    return find(word, sizeof names / sizeof names[0], names);
}

static const char *reads_files(unsigned way, const char *source) {
    static const char *const words[] = {"__has_include", "__has_include_next", "__has_embed", "asm", "__asm",
                                        "__asm__"};
    bool is_word_start = true;
    const char *next;
    for (const char *text = source; *text != '\0'; text = next) {
        const char c = letter_at(way, text, &next);
        if (c == '\0') break;
        const char *behind, *found = NULL;
        const char second = letter_at(way, next, &behind);
        char word[24];
        if (c == '#')
            found = directive_that_reads(way, next);
        else if (c == '%' && second == ':') /* another spelling of # (C11, 6.4.6) */
            found = directive_that_reads(way, behind);
        else if (c == '?' && second == '?' && letter_at(way, behind, &behind) == '=') /* and another (C11, 5.2.1.1) */
            found = directive_that_reads(way, behind);
        else if (is_word_start && is_word_letter(c)) {
            take_word(way, text, sizeof word, word);
            found = find(word, sizeof words / sizeof words[0], words);
        }
        if (found != NULL) return found;
        is_word_start = !is_word_letter(c);
    }
    return NULL;
}

const char *eqf__source_reads_files(const char *source) {
    /* Without trigraphs half of the ways are the same, and without continued lines all of them. */
    const bool has_trigraphs = strstr(source, "?\?/") != NULL;
    const unsigned num_ways = has_trigraphs ? NUM_WAYS : strchr(source, '\\') != NULL ? TRIGRAPHS : 1;
    const char *found = NULL;
    for (unsigned way = 0; way < num_ways && found == NULL; way++) found = reads_files(way, source);
    return found;
}
