/* Any text as the stored tuning of a device: its values are used, or none of them, and the profile is complete
 * either way. */
#include "target.h"

#include "profile.h"

static char last_warning[2048];
static void keep_warning(void *user, eqf_log_level level, const char *message) {
    (void)user;
    if (level == EQF_LOG_WARNING) snprintf(last_warning, sizeof last_warning, "%s", message);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes) {
    static const eqf__profile_facts facts = {.type = EQF_DEVICE_CPU,
                                             .native_width = 8,
                                             .platform_name = "Portable Computing Language",
                                             .name = "pthread",
                                             .driver_version = "3.1"};
    static eqf_device_profile plain, tuned, direct;
    static char name[64];
    eqf_context ctx = {.log = keep_warning};
    if (plain.num_values == 0) FUZZ_REQUIRE(eqf__profile_resolve(&ctx, &facts, NULL, &plain, name) == EQF_OK);
    char *text = malloc(num_bytes + 1);
    FUZZ_REQUIRE(text != NULL);
    memcpy(text, bytes, num_bytes);
    text[num_bytes] = '\0';
    last_warning[0] = '\0';
    direct = plain;
    const eqf_status status = eqf__profile_apply_text(&ctx, "input", text, EQF__PROFILE_GENERIC, NULL, &direct, NULL);
    FUZZ_REQUIRE(status == EQF_OK || (status == EQF_ERROR_FORMAT && ctx.error[0] != '\0'));
    /* The whole chain reads every file of platforms/, hundreds of times the work. */
    const int is_resolved = fuzz_is_thorough || eqf__hash(EQF__HASH_START, bytes, num_bytes) % 2048 == 3;
    if (is_resolved) FUZZ_REQUIRE(eqf__profile_resolve(&ctx, &facts, text, &tuned, name) == EQF_OK);
    if (is_resolved && status == EQF_OK) {
        FUZZ_REQUIRE(last_warning[0] == '\0');
        for (unsigned v = 0; v < direct.num_values; v++)
            FUZZ_REQUIRE(strcmp(eqf__profile_get(&tuned, direct.values[v].key), direct.values[v].value) == 0);
    } else if (is_resolved) {
        FUZZ_REQUIRE(last_warning[0] != '\0' && memcmp(&tuned, &plain, sizeof plain) == 0);
    }
    free(text);
    return 0;
}
