#include "words.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Of two names with the same beginning the longer comes first. A name that ends with _ is the beginning of a constant;
 * the rest of the constant in lower case is the flag's value. */
static const struct {
    const char *of_library, *of_program;
} words[] = {
    {"another device", "another --device"},
    {"use device", "use --device"},
    {"integrator.num_steps", "--integration-steps"},
    {"EQF_INTEGRATOR_", "--integrator "},
    {"EQF_PRECISION_", "--precision "},
    {"EQF_FIELD_", "--field-evaluation "},
    {"EQF_DIVERGENCE_", "--divergence "},
    {"field_evaluation", "--field-evaluation"},
    {"eqf_context_set_profile", "--set-profile"},
    {"eqf_context_open_device", "--device"},
    {"eqf_device_store_tuning again", "eqflow tune"},
    {"eqf_device_store_tuning", "eqflow tune"},
    {"eqf_device_list", "eqflow devices"},
    {"eqf_selftest", "eqflow selftest"},
    {"eqf_trainer_restore_checkpoint", "--resume"},
    {"integration_penalty", "--integration-penalty"},
    {"highest_temperature", "--highest-temperature"},
    {"learning_rate", "--learning-rate"},
    {"clip_norm", "--clip-norm"},
    {"energy_cap", "--energy-cap"},
    {"prior_scale", "--prior-scale"},
    {"max_samples", "--max-samples"},
    {"num_samples", "-n"},
    {"rtol", "--rtol"},
};

static bool is_of_word(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* Whether the library's name is at position c of text; *num_read_out: its length there. */
static bool stands_at(const char *word, const char *text, const char *c, size_t *num_read_out) {
    size_t length = strlen(word);
    if (strncmp(c, word, length) != 0 || (c != text && is_of_word(c[-1]))) return false;
    if (word[length - 1] == '_')
        while (isupper((unsigned char)c[length]) || isdigit((unsigned char)c[length])) length++;
    *num_read_out = length;
    /* a full stop may end the sentence, or be followed by the name of a member */
    return !is_of_word(c[length]) || (c[length] == '.' && !is_of_word(c[length + 1]));
}

void words_translate(const char *text, char *text_out, size_t size) {
    size_t length = 0;
    for (const char *c = text; *c && length + 1 < size;) {
        size_t w = 0, num_read = 1;
        while (w < sizeof words / sizeof words[0] && !stands_at(words[w].of_library, text, c, &num_read)) w++;
        if (w < sizeof words / sizeof words[0]) {
            for (const char *r = words[w].of_program; *r && length + 1 < size; r++) text_out[length++] = *r;
            for (size_t i = strlen(words[w].of_library); i < num_read && length + 1 < size; i++)
                text_out[length++] = (char)tolower((unsigned char)c[i]);
        } else {
            num_read = 1;
            text_out[length++] = *c;
        }
        c += num_read;
    }
    text_out[length] = '\0';
}
