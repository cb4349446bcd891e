/* Profiles: keys and their values, which files match a device, and how they are combined. Format and keys:
 * platforms/README.md. */
#include "profile.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "store.h"

/* Of cl_nv_device_attribute_query and cl_amd_device_attribute_query, which not every cl_ext.h has. */
enum {
    NV_COMPUTE_CAPABILITY_MAJOR = 0x4000,
    NV_COMPUTE_CAPABILITY_MINOR = 0x4001,
    NV_KERNEL_EXEC_TIMEOUT = 0x4005,
    AMD_WAVEFRONT_WIDTH = 0x4043
};

/* ---- Keys -------------------------------------------------------------------------------------------------------- */

typedef enum value_kind { VALUE_COUNT, VALUE_FLAG, VALUE_OPTIONS } value_kind;
typedef struct key_rule {
    const char *key;
    value_kind kind;
    uint64_t low, high;
    const char *allowed; /* a list of counts, or NULL: low ... high */
} key_rule;

static const key_rule key_rules[] = {
    {"build_option", VALUE_OPTIONS, 0, 0, NULL},
    {"vector_width", VALUE_COUNT, 1, 16, "1 8 16"},
    {"num_partials", VALUE_COUNT, 1, 4096, NULL},
    {"max_work_items_per_unit", VALUE_COUNT, 0, 65536, NULL},
    {"max_work_items_least", VALUE_COUNT, 1, 1 << 20, NULL},
    {"launch_iterations", VALUE_COUNT, 0, UINT64_C(1) << 40, NULL},
    {"local_size", VALUE_COUNT, 0, 1024, NULL},
    {"group_size", VALUE_COUNT, 0, 1024, NULL},
    {"group_min_particles", VALUE_COUNT, 0, 1 << 20, NULL},
    {"group_min_particles_wide", VALUE_COUNT, 0, 1 << 20, NULL},
    {"group_staging_particles", VALUE_COUNT, 0, 1 << 20, NULL},
    {"local_memory", VALUE_FLAG, 0, 0, NULL},
    {"private_numbers", VALUE_COUNT, 0, 1 << 20, NULL},
    {"native_sqrt", VALUE_FLAG, 0, 0, NULL},
    {"table_cells", VALUE_COUNT, 256, 4096, "256 512 1024 2048 4096"},
    {"last_resort", VALUE_FLAG, 0, 0, NULL},
};
enum { NUM_KEYS = sizeof key_rules / sizeof key_rules[0] };
_Static_assert((int)NUM_KEYS <= (int)EQF_PROFILE_MAX_VALUES, "every key has a place in eqf_device_profile");

static const char known_keys[] =
    "build_option, vector_width, num_partials, max_work_items_per_unit, max_work_items_least, launch_iterations, "
    "local_size, group_size, group_min_particles, group_min_particles_wide, group_staging_particles, local_memory, "
    "private_numbers, native_sqrt, table_cells, last_resort";

static bool parse_count(const char *text, uint64_t *count_out) {
    if (!isdigit((unsigned char)text[0])) return false;
    char *end;
    *count_out = strtoull(text, &end, 0);
    return *end == '\0';
}

static bool is_in_list(const char *list, const char *word) {
    const size_t length = strlen(word);
    for (const char *at = list; (at = strstr(at, word)) != NULL; at += length)
        if ((at == list || at[-1] == ' ') && (at[length] == ' ' || at[length] == '\0')) return true;
    return false;
}

/* A compiler option or several: "-cl-mad-enable", "-D NAME=1". */
static bool is_option_text(const char *text) {
    if (text[0] != '-' || strlen(text) > 200) return false;
    for (const char *c = text; *c; c++)
        if (!isalnum((unsigned char)*c) && strchr(" -_=.+/", *c) == NULL) return false;
    return true;
}

static eqf_status check_value(eqf_context *ctx, const char *place, const key_rule *rule, const char *value) {
    uint64_t count;
    switch (rule->kind) {
        case VALUE_FLAG:
            if (strcmp(value, "yes") != 0 && strcmp(value, "no") != 0)
                return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: %s is yes or no, not '%s'", place, rule->key, value);
            return EQF_OK;
        case VALUE_OPTIONS:
            if (!is_option_text(value))
                return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: '%s' is no compiler option", place, value);
            return EQF_OK;
        case VALUE_COUNT: break;
    }
    if (!parse_count(value, &count) || count < rule->low || count > rule->high)
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: %s is a whole number from %llu to %llu, not '%s'", place,
                         rule->key, (unsigned long long)rule->low, (unsigned long long)rule->high, value);
    if (rule->allowed != NULL && !is_in_list(rule->allowed, value))
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: %s is one of %s, not '%s'", place, rule->key, rule->allowed,
                         value);
    return EQF_OK;
}

/* ---- Which device ------------------------------------------------------------------------------------------------ */

static bool contains(const char *text, const char *part) {
    return part[0] != '\0' && strstr(text, part) != NULL;
}

static const char *const level_names[EQF__PROFILE_NUM_LEVELS] = {"generic",      "class",  "vendor",
                                                                 "architecture", "driver", "device"};
static const char *const type_names[] = {"cpu", "gpu", "accelerator", "other"};

/* One match line against the facts. */
static eqf_status match(eqf_context *ctx, const char *place, const eqf__profile_line *line,
                        const eqf__profile_facts *facts, bool *fits) {
    const char *what = line->key + strlen("match."), *value = line->value;
    uint64_t number = 0;
    const bool is_number = parse_count(value, &number);
    if (strcmp(what, "type") == 0)
        *fits = strcmp(value, type_names[facts->type]) == 0;
    else if (strcmp(what, "platform") == 0)
        *fits = contains(facts->platform_name, value);
    else if (strcmp(what, "device") == 0)
        *fits = contains(facts->name, value);
    else if (strcmp(what, "has_kernel_timeout") == 0)
        *fits = strcmp(value, facts->has_kernel_timeout ? "yes" : "no") == 0;
    else if (strcmp(what, "vendor_id") == 0 && is_number)
        *fits = number == facts->vendor_id;
    else if (strcmp(what, "min_native_width") == 0 && is_number)
        *fits = facts->native_width >= number;
    else if (strcmp(what, "compute_capability") == 0 && is_number)
        *fits = number == facts->compute_capability;
    else if (strcmp(what, "wavefront_width") == 0 && is_number)
        *fits = number == facts->wavefront_width;
    else
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: '%s = %s' matches nothing that is known of devices", place,
                         line->key, value);
    return EQF_OK;
}

/* First pass: whether the text has this level and matches the facts. */
static eqf_status check_fit(eqf_context *ctx, const char *name, const char *text, eqf__profile_level level,
                            const eqf__profile_facts *facts, bool *fits_out) {
    unsigned number = 0;
    eqf__profile_line line;
    bool has_level = false;
    *fits_out = true;
    while (eqf__profile_next_line(&text, &number, &line)) {
        char place[160];
        snprintf(place, sizeof place, "%s:%u", name, line.number);
        if (strcmp(line.key, "level") == 0) {
            eqf__profile_level found = 0;
            while (found < EQF__PROFILE_NUM_LEVELS && strcmp(line.value, level_names[found]) != 0) found++;
            if (found == EQF__PROFILE_NUM_LEVELS)
                return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: there is no level '%s'", place, line.value);
            has_level = true;
            if (found != level) *fits_out = false;
        } else if (strncmp(line.key, "match.", 6) == 0) {
            bool fits = false;
            EQF__TRY(match(ctx, place, &line, facts, &fits));
            if (!fits) *fits_out = false;
        }
    }
    return has_level ? EQF_OK : eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: 'level = ...' is missing", name);
}

/* ---- Values ------------------------------------------------------------------------------------------------------ */

const char *eqf__profile_get(const eqf_device_profile *profile, const char *key) {
    for (unsigned v = 0; v < profile->num_values; v++)
        if (strcmp(profile->values[v].key, key) == 0) return profile->values[v].value;
    return "";
}

static eqf_status set_value(eqf_context *ctx, const char *place, const eqf__profile_line *line,
                            eqf_device_profile *profile) {
    const key_rule *rule = NULL;
    for (size_t k = 0; k < NUM_KEYS; k++)
        if (strcmp(key_rules[k].key, line->key) == 0) rule = &key_rules[k];
    if (rule == NULL)
        return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: there is no profile key '%s'; there are %s", place, line->key,
                         known_keys);
    EQF__TRY(check_value(ctx, place, rule, line->value));
    eqf_profile_value *value = NULL;
    for (unsigned v = 0; v < profile->num_values; v++)
        if (strcmp(profile->values[v].key, line->key) == 0) value = &profile->values[v];
    if (value == NULL) {
        value = &profile->values[profile->num_values++];
        memset(value, 0, sizeof *value);
        snprintf(value->key, sizeof value->key, "%s", rule->key);
    }
    if (rule->kind == VALUE_OPTIONS && value->value[0] != '\0') { /* options add up */
        if (strlen(value->value) + strlen(line->value) + 2 > sizeof value->value)
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: the build options are too long", place);
        eqf__profile_append(value->value, sizeof value->value, line->value);
        eqf__profile_append(value->origin, sizeof value->origin, place);
        eqf__profile_append(value->reason, sizeof value->reason, line->reason);
        return EQF_OK;
    }
    snprintf(value->value, sizeof value->value, "%s", line->value);
    snprintf(value->origin, sizeof value->origin, "%s", place);
    snprintf(value->reason, sizeof value->reason, "%s", line->reason);
    return EQF_OK;
}

/* "issue.NAME", "issue.NAME.versions|guard|source" */
static eqf_status set_issue(eqf_context *ctx, const char *place, const eqf__profile_line *line,
                            eqf_device_profile *profile) {
    const char *name = line->key + strlen("issue."), *field = strchr(name, '.');
    const size_t length = field != NULL ? (size_t)(field - name) : strlen(name);
    eqf_driver_issue *issue = NULL;
    for (unsigned i = 0; i < profile->num_issues; i++)
        if (strlen(profile->issues[i].name) == length && strncmp(profile->issues[i].name, name, length) == 0)
            issue = &profile->issues[i];
    if (field == NULL) {
        if (issue != NULL || profile->num_issues == EQF_PROFILE_MAX_ISSUES || length >= sizeof issue->name)
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: issue '%s' is there twice, or one too many", place, name);
        issue = &profile->issues[profile->num_issues++];
        memset(issue, 0, sizeof *issue);
        snprintf(issue->name, sizeof issue->name, "%s", name);
        snprintf(issue->text, sizeof issue->text, "%.*s", (int)sizeof issue->text - 1, line->value);
        snprintf(issue->origin, sizeof issue->origin, "%s", place);
        return EQF_OK;
    }
    char *target = NULL;
    size_t size = 0;
    if (issue != NULL && strcmp(field, ".versions") == 0) target = issue->versions, size = sizeof issue->versions;
    if (issue != NULL && strcmp(field, ".guard") == 0) target = issue->guard, size = sizeof issue->guard;
    if (issue != NULL && strcmp(field, ".source") == 0) target = issue->source, size = sizeof issue->source;
    if (target == NULL || strlen(line->value) >= size)
        return eqf__fail(ctx, EQF_ERROR_FORMAT,
                         "%s: '%s' does not follow its issue, or is not one of versions, guard, source", place,
                         line->key);
    memcpy(target, line->value, strlen(line->value) + 1);
    return EQF_OK;
}

eqf_status eqf__profile_apply_text(eqf_context *ctx, const char *name, const char *text, eqf__profile_level level,
                                   const eqf__profile_facts *facts, eqf_device_profile *profile, bool *is_used_out) {
    bool fits = true;
    if (facts != NULL) EQF__TRY(check_fit(ctx, name, text, level, facts, &fits));
    if (is_used_out != NULL) *is_used_out = fits;
    if (!fits) return EQF_OK;
    unsigned number = 0;
    eqf__profile_line line;
    while (eqf__profile_next_line(&text, &number, &line)) {
        char place[96];
        if (facts != NULL)
            snprintf(place, sizeof place, "%.80s:%u", name, line.number);
        else
            snprintf(place, sizeof place, "%.80s", name);
        if (line.key[0] == '\0' || line.value[0] == '\0')
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: not of the form 'key = value'", place);
        if (strncmp(line.key, "issue.", 6) == 0)
            EQF__TRY(set_issue(ctx, place, &line, profile));
        else if (facts == NULL || (strcmp(line.key, "level") != 0 && strncmp(line.key, "match.", 6) != 0))
            EQF__TRY(set_value(ctx, place, &line, profile));
    }
    return EQF_OK;
}

/* ---- Versions ---------------------------------------------------------------------------------------------------- */

static int compare_versions(const char *version, const char *bound) {
    for (;;) {
        char *end_a, *end_b;
        const unsigned long a = strtoul(version, &end_a, 10), b = strtoul(bound, &end_b, 10);
        if (a != b) return a < b ? -1 : 1;
        if (*end_b != '.' || !isdigit((unsigned char)end_b[1])) return 0;
        bound = end_b + 1;
        version = *end_a == '.' ? end_a + 1 : "0";
    }
}

bool eqf__profile_version_fits(const char *driver_version, const char *range) {
    const char *dots = strstr(range, "..");
    if (dots == NULL) return true;
    while (*driver_version != '\0' && !isdigit((unsigned char)*driver_version)) driver_version++;
    if (dots > range && compare_versions(driver_version, range) < 0) return false;
    return dots[2] == '\0' || compare_versions(driver_version, dots + 2) <= 0;
}

static void drop_other_versions(const char *driver_version, eqf_device_profile *profile) {
    unsigned kept = 0;
    for (unsigned i = 0; i < profile->num_issues; i++)
        if (eqf__profile_version_fits(driver_version, profile->issues[i].versions))
            profile->issues[kept++] = profile->issues[i];
    profile->num_issues = kept;
}

/* ---- The chain --------------------------------------------------------------------------------------------------- */

static unsigned device_count(cl_device_id id, cl_device_info what, unsigned otherwise) {
    cl_uint value = 0;
    return clGetDeviceInfo(id, what, sizeof value, &value, NULL) == CL_SUCCESS ? value : otherwise;
}

void eqf__profile_read_facts(const eqf__device *device, eqf__profile_facts *facts_out) {
    const eqf_device_info *info = &device->info;
    memset(facts_out, 0, sizeof *facts_out);
    facts_out->type = info->type;
    snprintf(facts_out->platform_name, sizeof facts_out->platform_name, "%s", info->platform_name);
    snprintf(facts_out->name, sizeof facts_out->name, "%s", info->name);
    snprintf(facts_out->driver_version, sizeof facts_out->driver_version, "%s", info->driver_version);
    facts_out->vendor_id = info->vendor_id;
    facts_out->native_width = device_count(device->id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, 1);
    char extensions[8192] = "";
    clGetDeviceInfo(device->id, CL_DEVICE_EXTENSIONS, sizeof extensions - 1, extensions, NULL);
    if (strstr(extensions, "cl_nv_device_attribute_query") != NULL) {
        facts_out->compute_capability = 10 * device_count(device->id, NV_COMPUTE_CAPABILITY_MAJOR, 0) +
                                        device_count(device->id, NV_COMPUTE_CAPABILITY_MINOR, 0);
        facts_out->has_kernel_timeout = device_count(device->id, NV_KERNEL_EXEC_TIMEOUT, 0) != 0;
    }
    if (strstr(extensions, "cl_amd_device_attribute_query") != NULL)
        facts_out->wavefront_width = device_count(device->id, AMD_WAVEFRONT_WIDTH, 0);
}

eqf_status eqf__profile_resolve(eqf_context *ctx, const eqf__profile_facts *facts, const char *tuning_text,
                                eqf_device_profile *profile_out, char name_out[64]) {
    memset(profile_out, 0, sizeof *profile_out);
    name_out[0] = '\0';
    for (eqf__profile_level level = 0; level < EQF__PROFILE_NUM_LEVELS; level++) {
        for (const eqf__embedded_profile *file = eqf__embedded_profiles; file->name != NULL; file++) {
            char path[96];
            bool is_used;
            snprintf(path, sizeof path, "platforms/%s", file->name);
            EQF__TRY(eqf__profile_apply_text(ctx, path, file->text, level, facts, profile_out, &is_used));
            if (is_used) snprintf(name_out, 64, "%.*s", (int)strcspn(file->name, "."), file->name);
        }
    }
    if (tuning_text != NULL) {
        eqf_device_profile tuned = *profile_out;
        if (eqf__profile_apply_text(ctx, "eqf_device_store_tuning", tuning_text, 0, NULL, &tuned, NULL) == EQF_OK)
            *profile_out = tuned;
        else
            eqf__log(ctx, EQF_LOG_WARNING,
                     "the stored tuning of %s is damaged and not used (%s): run eqf_device_store_tuning again",
                     facts->name, ctx->error);
    }
    if (ctx->profile_text != NULL)
        EQF__TRY(
            eqf__profile_apply_text(ctx, "eqf_context_set_profile", ctx->profile_text, 0, NULL, profile_out, NULL));
    drop_other_versions(facts->driver_version, profile_out);
    return EQF_OK;
}

static unsigned count_of(const eqf_device_profile *profile, const char *key) {
    uint64_t count = 0;
    return parse_count(eqf__profile_get(profile, key), &count) && count < UINT32_MAX ? (unsigned)count : 0;
}

static bool flag_of(const eqf_device_profile *profile, const char *key) {
    return strcmp(eqf__profile_get(profile, key), "yes") == 0;
}

eqf_status eqf__profile_apply(eqf_context *ctx, const eqf__profile_facts *facts, eqf__device *device) {
    eqf_device_profile *profile = eqf__alloc(ctx, 1, sizeof *profile, "the device's profile");
    if (profile == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    /* A described device has no tuning: tuning is measured on this machine's devices. */
    char *tuning = device->described != NULL ? NULL : eqf__store_load(ctx, &device->info, EQF__STORE_TUNING);
    eqf_status status = eqf__profile_resolve(ctx, facts, tuning, profile, device->info.profile_name);
    free(tuning);
    if (status == EQF_OK) {
        uint64_t iterations = 0;
        const size_t per_unit = count_of(profile, "max_work_items_per_unit"),
                     least = count_of(profile, "max_work_items_least"), wanted = per_unit * device->info.compute_units;
        const size_t most = device->info.max_work_group_size > 0 ? device->info.max_work_group_size : 1;
        device->vector_width = device->info.vector_width = count_of(profile, "vector_width");
        device->num_partials = count_of(profile, "num_partials");
        device->max_work_items = per_unit == 0 ? SIZE_MAX : wanted > least ? wanted : least;
        device->local_size = count_of(profile, "local_size");
        if (device->local_size > most) device->local_size = most;
        device->group_size = count_of(profile, "group_size");
        if (device->group_size > most) device->group_size = (unsigned)most;
        device->group_min_particles = count_of(profile, "group_min_particles");
        device->group_min_particles_wide = count_of(profile, "group_min_particles_wide");
        device->has_fast_local_memory = flag_of(profile, "local_memory");
        device->group_staging_particles =
            device->has_fast_local_memory ? count_of(profile, "group_staging_particles") : UINT32_MAX;
        device->private_numbers = count_of(profile, "private_numbers");
        parse_count(eqf__profile_get(profile, "launch_iterations"), &iterations);
        device->launch_iterations = iterations;
        device->table_cells = count_of(profile, "table_cells");
        device->is_last_resort = flag_of(profile, "last_resort");
        snprintf(device->build_options, sizeof device->build_options, "%s%s", eqf__profile_get(profile, "build_option"),
                 flag_of(profile, "native_sqrt") ? " -D NATIVE_SQRT" : "");
    }
    free(profile);
    return status;
}

eqf_status eqf_context_set_profile(eqf_context *ctx, const char *assignment) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__NOT_NULL(ctx, assignment);
    if (ctx->device != NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "the profile is set before the device is opened");
    const char *equals = strchr(assignment, '=');
    if (equals == NULL || equals == assignment || equals[1] == '\0' || strpbrk(assignment, "#\n") != NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "'%.80s' is not of the form key=value", assignment);
    eqf_device_profile *profile = eqf__alloc(ctx, 1, sizeof *profile, "the profile");
    if (profile == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    eqf_status status = eqf__profile_apply_text(ctx, "eqf_context_set_profile", assignment, 0, NULL, profile, NULL);
    const bool has_value = profile->num_values == 1;
    free(profile);
    if (status != EQF_OK) return status == EQF_ERROR_FORMAT ? EQF_ERROR_INVALID_ARGUMENT : status;
    if (!has_value)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "'%.80s' is no profile value; keys are %s", assignment,
                         known_keys);
    const size_t before = ctx->profile_text != NULL ? strlen(ctx->profile_text) : 0;
    char *text = realloc(ctx->profile_text, before + strlen(assignment) + 2);
    if (text == NULL) return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "not enough memory for the profile");
    ctx->profile_text = text;
    snprintf(text + before, strlen(assignment) + 2, "%s\n", assignment);
    return EQF_OK;
}
