/* Any bytes as the text of a potential, with constants of any value: refused, or such that no compiler reads a file
 * for it. What a compiler makes of the text is asked of the few lines below, which follow C's phases of translation
 * (C11, 5.1.1.2) and clang's ends of line, and share nothing with src/base/source_text.c, which looks at the text as
 * it stands. */
#include "target.h"

#include <math.h>

#include "base.h"
#include "eqflow/potential.h"

/* Phases 1 and 2: trigraphs, continued lines; ends of line become newlines. */
static size_t join_lines(const char *text, int has_trigraphs, char *out) {
    size_t length = 0;
    for (const char *at = text; *at != '\0';) {
        const int is_trigraph = has_trigraphs && at[0] == '?' && at[1] == '?';
        const int is_backslash = at[0] == '\\' || (is_trigraph && at[2] == '/');
        if (is_backslash) {
            const char *end = at + (at[0] == '\\' ? 1 : 3);
            while (*end == ' ' || *end == '\t' || *end == '\f' || *end == '\v') end++;
            if (*end == '\n' || *end == '\r') {
                at = end + ((end[1] == '\n' || end[1] == '\r') && end[1] != end[0] ? 2 : 1);
                continue;
            }
        }
        if (is_trigraph && at[2] == '=') {
            out[length++] = '#';
            at += 3;
        } else {
            out[length++] = *at == '\r' ? '\n' : *at;
            at++;
        }
    }
    out[length] = '\0';
    return length;
}

/* Phase 3: comments become blanks; what stands in quotes stays. */
static void drop_comments(char *text) {
    for (char *at = text; *at != '\0';) {
        if (*at == '"' || *at == '\'') {
            const char quote = *at++;
            while (*at != '\0' && *at != quote && *at != '\n')
                at += at[0] == '\\' && at[1] != '\0' && at[1] != '\n' ? 2 : 1;
            if (*at == quote) at++;
        } else if (at[0] == '/' && at[1] == '/') {
            while (*at != '\0' && *at != '\n') *at++ = ' ';
        } else if (at[0] == '/' && at[1] == '*') {
            char *end = strstr(at + 2, "*/");
            char *behind = end != NULL ? end + 2 : at + strlen(at);
            while (at < behind) *at++ = ' ';
        } else {
            at++;
        }
    }
}

static int is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\v' || c == '\f';
}

/* Phase 4: a line that begins with # or %: and the name of what reads a file. */
static int has_directive(const char *text) {
    static const char *const names[] = {"include", "include_next", "import", "embed"};
    for (const char *line = text; line != NULL; line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL) {
        const char *at = line;
        while (is_blank(*at)) at++;
        if (*at == '#')
            at++;
        else if (at[0] == '%' && at[1] == ':')
            at += 2;
        else
            continue;
        while (is_blank(*at)) at++;
        const size_t length = strspn(at, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789");
        for (size_t n = 0; n < sizeof names / sizeof names[0]; n++)
            if (length == strlen(names[n]) && strncmp(at, names[n], length) == 0) return 1;
    }
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes) {
    double value = 1;
    if (num_bytes >= sizeof value) memcpy(&value, bytes, sizeof value);
    char *text = malloc(num_bytes + 1), *translated = malloc(num_bytes + 1);
    FUZZ_REQUIRE(text != NULL && translated != NULL);
    const size_t first = num_bytes >= sizeof value ? sizeof value : 0;
    memcpy(text, bytes + first, num_bytes - first);
    text[num_bytes - first] = '\0';
    eqf_context ctx = {.log = NULL};
    eqf_potential_options options = EQF_POTENTIAL_OPTIONS_INIT;
    options.kind = EQF_POTENTIAL_USER;
    options.num_particles = 3;
    options.space_dim = 2;
    options.source = text;
    options.source_name = num_bytes % 3 == 0 ? text : NULL;
    const eqf_status named = eqf_potential_set_constant(&ctx, &options, text, value);
    FUZZ_REQUIRE(named == EQF_OK || (named == EQF_ERROR_INVALID_ARGUMENT && ctx.error[0] != '\0'));
    ctx.error[0] = '\0';
    const eqf_status status = eqf_potential_check(&ctx, &options);
    FUZZ_REQUIRE(status == EQF_OK || (status == EQF_ERROR_INVALID_ARGUMENT && ctx.error[0] != '\0'));
    for (int has_trigraphs = 0; has_trigraphs < 2 && status == EQF_OK; has_trigraphs++) {
        join_lines(text, has_trigraphs, translated);
        drop_comments(translated);
        FUZZ_REQUIRE(!has_directive(translated));
    }
    if (status == EQF_OK && named == EQF_OK) FUZZ_REQUIRE(isfinite(value));
    free(text);
    free(translated);
    return 0;
}
