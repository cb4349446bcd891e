/* Any text as a profile, as the description of a device, and as settings: applied with values in their ranges, or
 * refused with a message. */
#include "target.h"

#include "described.h"
#include "profile.h"

static void require_values(const eqf_device_profile *profile) {
    FUZZ_REQUIRE(profile->num_values <= EQF_PROFILE_MAX_VALUES && profile->num_issues <= EQF_PROFILE_MAX_ISSUES);
    for (unsigned v = 0; v < profile->num_values; v++) {
        FUZZ_REQUIRE(memchr(profile->values[v].key, '\0', sizeof profile->values[v].key) != NULL);
        FUZZ_REQUIRE(memchr(profile->values[v].value, '\0', sizeof profile->values[v].value) != NULL);
        FUZZ_REQUIRE(memchr(profile->values[v].origin, '\0', sizeof profile->values[v].origin) != NULL);
        FUZZ_REQUIRE(memchr(profile->values[v].reason, '\0', sizeof profile->values[v].reason) != NULL);
        FUZZ_REQUIRE(profile->values[v].value[0] != '\0');
        for (unsigned w = 0; w < v; w++) FUZZ_REQUIRE(strcmp(profile->values[v].key, profile->values[w].key) != 0);
    }
    const char *width = eqf__profile_get(profile, "vector_width"), *cells = eqf__profile_get(profile, "table_cells");
    FUZZ_REQUIRE(width[0] == '\0' || strcmp(width, "1") == 0 || strcmp(width, "8") == 0 || strcmp(width, "16") == 0);
    FUZZ_REQUIRE(cells[0] == '\0' || strcmp(cells, "256") == 0 || strcmp(cells, "512") == 0 ||
                 strcmp(cells, "1024") == 0 || strcmp(cells, "2048") == 0 || strcmp(cells, "4096") == 0);
    for (unsigned i = 0; i < profile->num_issues; i++) {
        FUZZ_REQUIRE(memchr(profile->issues[i].text, '\0', sizeof profile->issues[i].text) != NULL);
        (void)eqf__profile_version_fits("3.1.5-debian", profile->issues[i].versions);
    }
}

static void apply(const char *text, eqf__profile_level level, const eqf__profile_facts *facts) {
    static eqf_device_profile profile;
    eqf_context ctx = {.log = NULL};
    bool is_used;
    memset(&profile, 0, sizeof profile);
    const eqf_status status = eqf__profile_apply_text(&ctx, "input", text, level, facts, &profile, &is_used);
    FUZZ_REQUIRE(status == EQF_OK || (status == EQF_ERROR_FORMAT && ctx.error[0] != '\0'));
    require_values(&profile);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes) {
    static const eqf__profile_facts facts = {.type = EQF_DEVICE_GPU,
                                             .vendor_id = 0x10de,
                                             .native_width = 1,
                                             .compute_capability = 90,
                                             .platform_name = "NVIDIA CUDA",
                                             .name = "H200",
                                             .driver_version = "570.124.06"};
    char *text = malloc(num_bytes + 1);
    FUZZ_REQUIRE(text != NULL);
    memcpy(text, bytes, num_bytes);
    text[num_bytes] = '\0';
    apply(text, EQF__PROFILE_GENERIC, NULL);
    for (eqf__profile_level level = 0; level < EQF__PROFILE_NUM_LEVELS; level++) apply(text, level, &facts);
    eqf_context ctx = {.log = NULL};
    eqf_device_info info;
    eqf__profile_facts read;
    const eqf_status status = eqf__description_read(&ctx, "input", text, &info, &read);
    FUZZ_REQUIRE(status == EQF_OK || (status == EQF_ERROR_FORMAT && ctx.error[0] != '\0'));
    if (status == EQF_OK)
        FUZZ_REQUIRE(memchr(info.name, '\0', sizeof info.name) != NULL &&
                     memchr(read.name, '\0', sizeof read.name) != NULL);
    free(text);
    return 0;
}
