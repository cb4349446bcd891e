#include "words.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

/* Of two that begin alike the longer comes first. */
static const struct {
    const char *of_library, *of_program;
} words[] = {
    {"another device", "another --device"},
    {"use device", "use --device"},
    {"integrator.num_steps", "--integration-steps"},
    {"EQF_INTEGRATOR_RK4", "--integrator rk4"},
    {"EQF_INTEGRATOR_DOPRI5", "--integrator dopri5"},
    {"EQF_PRECISION_FLOAT", "--precision float"},
    {"EQF_PRECISION_DOUBLE", "--precision double"},
    {"EQF_FIELD_DIRECT", "--field-evaluation direct"},
    {"EQF_FIELD_TABLE", "--field-evaluation table"},
    {"EQF_DIVERGENCE_EXACT", "--divergence exact"},
    {"field_evaluation", "--field-evaluation"},
    {"eqf_context_set_profile", "--set-profile"},
    {"eqf_context_open_device", "--device"},
    {"eqf_device_store_tuning again", "eqflow tune"},
    {"eqf_device_store_tuning", "eqflow tune"},
    {"eqf_device_list", "eqflow devices"},
    {"eqf_selftest", "eqflow selftest"},
    {"eqf_trainer_restore_checkpoint", "--resume"},
    {"integration_penalty", "--integration-penalty"},
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

void words_translate(const char *text, char *text_out, size_t size) {
    size_t length = 0;
    for (const char *c = text; *c && length + 1 < size;) {
        const char *replacement = NULL;
        size_t num_read = 1;
        for (size_t w = 0; w < sizeof words / sizeof words[0] && !replacement; w++) {
            const size_t word_length = strlen(words[w].of_library);
            const char next = strncmp(c, words[w].of_library, word_length) == 0 ? c[word_length] : '_';
            /* a full stop may end the sentence, or go on with the name of a member */
            const bool is_end = !is_of_word(next) || (next == '.' && !is_of_word(c[word_length + 1]));
            if ((c == text || !is_of_word(c[-1])) && is_end) {
                replacement = words[w].of_program;
                num_read = word_length;
            }
        }
        if (replacement) {
            for (; *replacement && length + 1 < size; replacement++) text_out[length++] = *replacement;
        } else {
            text_out[length++] = *c;
        }
        c += num_read;
    }
    text_out[length] = '\0';
}
