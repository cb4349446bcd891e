/* A potential given as the user's OpenCL C text (docs/potentials.md). Kernel text around it: cl/potential/user.clh. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "potential_kinds.h"

static const eqf_option options[] = {
    EQF__CONSTANT(length, 1.0, 1e-30, .help = "typical distance of neighbours", .unit = "length"),
    EQF__SPECIES_OPTION(.flag = "text-num-b"),
    EQF__OPTIONS_END,
};

/* ---- Its constants ---------------------------------------------------------------------------- */

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

/* Constants are macros when the user's text is compiled, so their names must not be those of OpenCL C or of the text
 * around it. */
static eqf_status check_constant_name(eqf_context *ctx, const char *name, size_t length) {
    static const char *const reserved[] = {"N",     "D",      "V",     "real", "energy", "energy_gradient",
                                           "float", "double", "int",   "uint", "for",    "if",
                                           "else",  "return", "const", "void", "while",  "do",
                                           "sqrt",  "exp",    "log",   "pow",  "defined"};
    bool is_name = length > 0 && length < sizeof(((eqf_potential_constant *)0)->name) && is_letter(name[0]);
    for (size_t i = 0; is_name && i < length; i++) is_name = is_letter(name[i]) || (name[i] >= '0' && name[i] <= '9');
    if (!is_name)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "'%.40s' cannot be a constant of the potential: a name is 1 to 31 letters, digits and _, no "
                         "digit first",
                         name);
    for (size_t r = 0; r < sizeof reserved / sizeof reserved[0]; r++)
        if (strcmp(name, reserved[r]) == 0)
            return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                             "'%s' cannot be a constant of the potential: the name has a meaning of its own", name);
    return EQF_OK;
}

static eqf_status check_constant(eqf_context *ctx, const char *name, double value) {
    if (fabs(value) <= 1e30) return EQF_OK;
    return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                     "%s of the potential is %g: it must be a number, at most 1e+30 in size", name, value);
}

static eqf_status check_constants(eqf_context *ctx, const eqf_potential_options *potential) {
    if (potential->num_constants > EQF_POTENTIAL_MAX_CONSTANTS)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "num_constants of the potential is %u: at most %d",
                         potential->num_constants, EQF_POTENTIAL_MAX_CONSTANTS);
    for (unsigned c = 0; c < potential->num_constants; c++) {
        const char *name = potential->constants[c].name;
        const char *end = memchr(name, '\0', sizeof potential->constants[c].name);
        EQF__TRY(check_constant_name(ctx, name, end != NULL ? (size_t)(end - name) : 0));
        EQF__TRY(check_constant(ctx, name, potential->constants[c].value));
        for (unsigned other = 0; other < c; other++)
            if (strcmp(potential->constants[other].name, name) == 0)
                return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the potential has two constants %s", name);
    }
    return EQF_OK;
}

/* ---- Its text --------------------------------------------------------------------------------- */

/* The number of bytes of the UTF-8 character at text (RFC 3629); 0 if it is not valid. */
static size_t utf8_length(const unsigned char *text) {
    size_t length = text[0] < 0x80                      ? 1
                    : text[0] >= 0xc2 && text[0] < 0xe0 ? 2
                    : (text[0] & 0xf0) == 0xe0          ? 3
                    : text[0] >= 0xf0 && text[0] < 0xf5 ? 4
                                                        : 0;
    for (size_t i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80) return 0;
    if (length == 3 && ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f))) return 0;
    if (length == 4 && ((text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))) return 0;
    return length;
}

/* The reason why the text cannot be used, or NULL. It must be UTF-8, as model files store it as JSON. */
static const char *source_problem(const char *source) {
    bool is_empty = true;
    const unsigned char *text = (const unsigned char *)source;
    while (*text != '\0') {
        size_t length = utf8_length(text);
        if (length == 0) return "it is not UTF-8 text";
        if (*text > 32) is_empty = false;
        text += length;
    }
    if (is_empty) return "it is empty";
    /* A model file has the whole text; files that it includes would be read on the machine of the person who loads
     * it. */
    if (eqf__source_reads_files(source) != NULL)
        return "it includes other files (#include and its like, or asm, even in a comment): put all of it into one "
               "text";
    return (size_t)(text - (const unsigned char *)source) > EQF_POTENTIAL_MAX_SOURCE ? "it is longer than 262144 bytes"
                                                                                     : NULL;
}

static eqf_status check_user(eqf_context *ctx, const eqf_potential_options *potential) {
    if (potential->source == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the potential has no text: source is NULL");
    EQF__TRY(eqf__potential_check_species(ctx, potential));
    const char *problem = source_problem(potential->source);
    if (problem != NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the text of the potential cannot be used: %s", problem);
    if (potential->source_name != NULL) {
        const char *problem_name = *potential->source_name != '\0' ? source_problem(potential->source_name) : NULL;
        if (problem_name != NULL || strlen(potential->source_name) > 200)
            return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                             "source_name of the potential must be at most 200 bytes of UTF-8");
    }
    return check_constants(ctx, potential);
}

/* ---- The row ---------------------------------------------------------------------------------- */

static eqf_status define(const eqf_potential_options *potential, eqf__define_list *list) {
    return eqf__define(list, "USER_BETA", 1.0 / potential->temperature);
}

static void scales(const eqf_potential_options *potential, eqf__potential_scales *scales_out) {
    eqf__potential_packed_scales(potential, potential->length, scales_out);
    /* a guess: the energy of a pair changes by about kT in a tenth of the length */
    scales_out->stiffness = 100.0 * potential->temperature / (potential->length * potential->length);
    scales_out->is_stiffness_guessed = true;
}

const eqf__potential_kind eqf__user_potential = {
    .info = {.struct_size = sizeof(eqf_potential_kind_info),
             .name = "user",
             .title = "own text",
             .formula = "",
             .element = "X",
             .has_text = true,
             .element_b = "Y"},
    .options = options,
    .sum_file = "potential/user.clh",
    .has_species = true,
    .scales = scales,
    .check = check_user,
    .define = define,
};

/* ---- For programs ----------------------------------------------------------------------------- */

eqf_status eqf_potential_set_constant(eqf_context *ctx, eqf_potential_options *potential, const char *name,
                                      double value) {
    if (potential == NULL || name == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the potential or the constant's name is NULL");
    EQF__TRY(check_constant_name(ctx, name, strlen(name)));
    EQF__TRY(check_constant(ctx, name, value));
    unsigned c = 0;
    while (c < potential->num_constants && strcmp(potential->constants[c].name, name) != 0) c++;
    if (c == EQF_POTENTIAL_MAX_CONSTANTS)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "a potential has at most %d constants: %s is one too many",
                         EQF_POTENTIAL_MAX_CONSTANTS, name);
    if (c == potential->num_constants) {
        memset(potential->constants[c].name, 0, sizeof potential->constants[c].name);
        memcpy(potential->constants[c].name, name, strlen(name));
        potential->num_constants++;
    }
    potential->constants[c].value = value;
    return EQF_OK;
}

eqf_status eqf_potential_read_source(eqf_context *ctx, const char *path, char **source_out) {
    if (path == NULL || source_out == NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "path or source_out is NULL");
    *source_out = NULL;
    unsigned char *bytes, first;
    size_t num_bytes, num_first;
    EQF__TRY(eqf__file_read_start(ctx, path, sizeof first, &first, &num_first, &num_bytes));
    if (num_bytes > EQF_POTENTIAL_MAX_SOURCE) /* before reading: the file may be larger than memory */
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is no potential: it is longer than %d bytes", path,
                         (int)EQF_POTENTIAL_MAX_SOURCE);
    EQF__TRY(eqf__file_read(ctx, path, &bytes, &num_bytes));
    const char *reason =
        memchr(bytes, '\0', num_bytes) != NULL ? "it holds a zero byte" : source_problem((const char *)bytes);
    if (reason != NULL) {
        free(bytes);
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s is no potential: %s", path, reason);
    }
    *source_out = (char *)bytes;
    return EQF_OK;
}
