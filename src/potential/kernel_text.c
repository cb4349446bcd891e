/* The kernel text of a potential: files and constants. */
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "potential.h"
#include "potential_kinds.h"
#include "program.h"

/* Constants become literals in kernel text, of the precision of the kernel. */
typedef enum literal_kind { FLOAT_LITERAL, DOUBLE_LITERAL } literal_kind;

enum { LITERAL_BYTES = 64 };

/* The value as kernel text, with the 9 (17) digits that determine a float (double). printf writes the decimal point of
 * the locale, but the kernel compiler needs a point: the character after the first digit is replaced. */
static void write_literal(literal_kind kind, double value, char literal[LITERAL_BYTES]) {
    char number[LITERAL_BYTES - 8];
    if (kind == FLOAT_LITERAL)
        snprintf(number, sizeof number, "%.8e", (double)(float)value);
    else
        snprintf(number, sizeof number, "%.16e", value);
    size_t lead = number[0] == '-' ? 2 : 1;
    size_t fraction = lead + strcspn(number + lead, "0123456789");
    snprintf(literal, LITERAL_BYTES, "%.*s.%s%s", (int)lead, number, number + fraction,
             kind == FLOAT_LITERAL ? "f" : "");
}

eqf_status eqf__define(eqf__define_list *list, const char *name, double value) {
    char number[LITERAL_BYTES];
    if (!(fabs(value) <= FLT_MAX))
        return eqf__fail(list->ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "the potential's %s is %g in units of kT, beyond float32: choose other units", name, value);
    write_literal(list->is_double ? DOUBLE_LITERAL : FLOAT_LITERAL, value, number);
    size_t length = strlen(list->buffer);
    snprintf(list->buffer + length, list->size - length, " -D %s=%s", name, number);
    return EQF_OK;
}

eqf_status eqf__define_unless_zero(eqf__define_list *list, const char *name, double value) {
    return (float)fmin(fabs(value), FLT_MAX) > 0.0f ? eqf__define(list, name, value) : EQF_OK;
}

void eqf__define_count(eqf__define_list *list, const char *name, unsigned value) {
    const size_t length = strlen(list->buffer);
    snprintf(list->buffer + length, list->size - length, " -D %s=%uu", name, value);
}

static eqf_status program_defines(eqf_context *ctx, const eqf_potential_options *potential, bool is_double,
                                  char *buffer, size_t size) {
    EQF__TRY(eqf_potential_check(ctx, potential));
    snprintf(buffer, size, "-D N=%u -D D=%u", potential->num_particles, potential->space_dim);
    eqf__define_list list = {ctx, is_double, buffer, size};
    return eqf__potential_kind_of(potential->kind)->define(potential, &list);
}

/* ---- Files ------------------------------------------------------------------------------------ */

/* The user's text with its constants as macros around it, and with its own file name and line numbers for the
 * compiler's messages. The macros have both precisions, as the text is used in both. */
static eqf_status write_user_text(eqf_context *ctx, const eqf_potential_options *potential, char **text_out) {
    const size_t line_bytes = sizeof potential->constants[0].name + LITERAL_BYTES + 64;
    size_t size = strlen(potential->source) + 512 + 2 * potential->num_constants * line_bytes, length = 0;
    char *text = eqf__alloc(ctx, size, 1, "kernel text");
    *text_out = text;
    if (text == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned c = 0; c < potential->num_constants; c++) {
        char single[LITERAL_BYTES], twofold[LITERAL_BYTES];
        write_literal(FLOAT_LITERAL, potential->constants[c].value, single);
        write_literal(DOUBLE_LITERAL, potential->constants[c].value, twofold);
        length += (size_t)snprintf(text + length, size - length,
                                   "#ifdef USE_DOUBLE\n#define %s (%s)\n#else\n#define %s (%s)\n#endif\n",
                                   potential->constants[c].name, twofold, potential->constants[c].name, single);
    }
    char name[224];
    snprintf(name, sizeof name, "%s", potential->source_name != NULL ? potential->source_name : "potential.cl");
    for (char *c = name; *c != '\0'; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 32) *c = '_'; /* the name is inside a string of the text */
    length += (size_t)snprintf(text + length, size - length, "#line 1 \"%s\"\n%s\n", name, potential->source);
    /* The text must not change macros on which the sizes of buffers depend. */
    length += (size_t)snprintf(text + length, size - length,
                               "#if !defined(N) || N != %u || !defined(D) || D != %u || defined(real)\n"
                               "#error N, D or real is redefined\n#endif\n",
                               potential->num_particles, potential->space_dim);
    for (unsigned c = 0; c < potential->num_constants; c++)
        length += (size_t)snprintf(text + length, size - length, "#undef %s\n", potential->constants[c].name);
    return EQF_OK;
}

/* The name of the text among the program's files. If the text could not be stored, the name is one that no file has,
 * and eqf__program_get fails. */
static const char *user_file(eqf_context *ctx, const eqf_potential_options *potential) {
    char *text;
    const char *file = NULL;
    if (write_user_text(ctx, potential, &text) == EQF_OK && eqf__program_keep_text(ctx, text, &file) != EQF_OK)
        file = NULL;
    free(text);
    return file != NULL ? file : "text/none: out of memory";
}

const char *eqf__potential_kernel_file(eqf_context *ctx, const eqf_potential_options *potential) {
    const eqf__potential_kind *kind = eqf__potential_kind_of(potential->kind);
    return kind->kernel_file != NULL ? kind->kernel_file : user_file(ctx, potential);
}

const char *eqf__potential_sum_file(const eqf_potential_options *potential) {
    return eqf__potential_kind_of(potential->kind)->sum_file;
}

bool eqf__potential_is_pair_sum(const eqf_potential_options *potential) {
    return strcmp(eqf__potential_sum_file(potential), "potential/pair_sum.clh") == 0;
}

eqf_status eqf__potential_program_defines(eqf_context *ctx, const eqf_potential_options *potential, char *buffer,
                                          size_t size) {
    return program_defines(ctx, potential, false, buffer, size);
}

eqf_status eqf__potential_program_defines_double(eqf_context *ctx, const eqf_potential_options *potential, char *buffer,
                                                 size_t size) {
    return program_defines(ctx, potential, true, buffer, size);
}
