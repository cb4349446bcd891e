/* Devices from a file: their capabilities, and buffers in the host's memory. */
#include "described.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- The file ---------------------------------------------------------------------------------------------------- */

typedef enum value_kind { TEXT, COUNT, UNSIGNED, WORDS, FLAG, TYPE, RATE, OF_COMPILERS } value_kind;

/* Where a key's value goes: into info or, from FIRST_OF_FACTS on, into facts. */
typedef struct description_key {
    const char *key;
    value_kind kind;
    bool is_needed, is_fact;
    size_t offset, size;
} description_key;

#define INFO(key, kind) \
    { #key, kind, true, false, offsetof(eqf_device_info, key), sizeof(((eqf_device_info *)0)->key) }
#define RATE_OF(key) \
    { #key, RATE, false, false, offsetof(eqf__device_rates, key), sizeof(double) }
#define FACT(key, kind) \
    { #key, kind, false, true, offsetof(eqf__profile_facts, key), sizeof(((eqf__profile_facts *)0)->key) }
static const description_key description_keys[] = {
    INFO(name, TEXT),
    INFO(vendor, TEXT),
    INFO(driver_version, TEXT),
    INFO(platform_name, TEXT),
    INFO(type, TYPE),
    INFO(vendor_id, UNSIGNED),
    INFO(compute_units, UNSIGNED),
    INFO(max_clock_mhz, UNSIGNED),
    INFO(global_memory_bytes, COUNT),
    INFO(max_allocation_bytes, COUNT),
    INFO(local_memory_bytes, COUNT),
    INFO(max_work_group_size, WORDS),
    INFO(has_fp64, FLAG),
    FACT(native_width, UNSIGNED),
    FACT(compute_capability, UNSIGNED),
    FACT(wavefront_width, UNSIGNED),
    FACT(has_kernel_timeout, FLAG),
    RATE_OF(fp32_gflops),
    RATE_OF(fp64_gflops),
    RATE_OF(special_gops),
    RATE_OF(lookup_gops),
    RATE_OF(memory_gbps),
    RATE_OF(cache_gbps),
    RATE_OF(local_gbps),
    RATE_OF(link_gbps),
    RATE_OF(launch_us),
    RATE_OF(latency_ns),
    RATE_OF(units),
    RATE_OF(wave_width),
    RATE_OF(waves_per_unit),
    RATE_OF(registers_per_unit),
    RATE_OF(register_granule),
    RATE_OF(registers_per_work_item),
    RATE_OF(local_memory_per_unit),
    /* For tests/vendors, which compiles the programs; not used by the library. */
    {"compiler", OF_COMPILERS, true, false, 0, 0},
    {"target", OF_COMPILERS, true, false, 0, 0},
};
enum { NUM_KEYS = sizeof description_keys / sizeof description_keys[0] };
#undef RATE_OF
#undef INFO
#undef FACT

static const char *const type_names[] = {[EQF_DEVICE_CPU] = "cpu",
                                         [EQF_DEVICE_GPU] = "gpu",
                                         [EQF_DEVICE_ACCELERATOR] = "accelerator",
                                         [EQF_DEVICE_OTHER] = "other"};
enum { NUM_TYPES = sizeof type_names / sizeof type_names[0] };

static bool read_count(const char *text, uint64_t most, uint64_t *count_out) {
    char *end;
    if (text[0] < '0' || text[0] > '9') return false;
    *count_out = strtoull(text, &end, 0);
    return *end == '\0' && *count_out <= most;
}

static bool read_rate(const char *text, double *rate_out) {
    const char *end = text;
    if (text[0] < '0' || text[0] > '9') return false;
    *rate_out = 0;
    for (; *end >= '0' && *end <= '9'; end++) *rate_out = 10 * *rate_out + (*end - '0');
    double place = 1;
    if (*end == '.') /* as in every locale */
        for (end++; *end >= '0' && *end <= '9'; end++) *rate_out += (place /= 10) * (*end - '0');
    return *end == '\0';
}

/* False: the value does not have the key's type. */
static bool store_value(const description_key *key, const char *value, char *target) {
    uint64_t count = 0;
    unsigned number, type = 0;
    size_t words;
    double rate;
    bool flag;
    switch (key->kind) {
        case OF_COMPILERS: return true;
        case RATE: return read_rate(value, &rate);
        case TEXT:
            if (strlen(value) >= key->size) return false;
            memcpy(target, value, strlen(value) + 1);
            return true;
        case COUNT:
            if (!read_count(value, UINT64_MAX, &count)) return false;
            memcpy(target, &count, sizeof count);
            return true;
        case UNSIGNED:
            if (!read_count(value, UINT32_MAX, &count)) return false;
            number = (unsigned)count;
            memcpy(target, &number, sizeof number);
            return true;
        case WORDS:
            if (!read_count(value, 1 << 20, &count)) return false;
            words = (size_t)count;
            memcpy(target, &words, sizeof words);
            return true;
        case FLAG:
            flag = strcmp(value, "yes") == 0;
            if (!flag && strcmp(value, "no") != 0) return false;
            memcpy(target, &flag, sizeof flag);
            return true;
        case TYPE:
            while (type < NUM_TYPES && strcmp(value, type_names[type]) != 0) type++;
            if (type == NUM_TYPES) return false;
            const eqf_device_type found = (eqf_device_type)type;
            memcpy(target, &found, sizeof found);
            return true;
    }
    return false;
}

eqf_status eqf__description_read(eqf_context *ctx, const char *name, const char *text, eqf_device_info *info_out,
                                 eqf__profile_facts *facts_out) {
    unsigned number = 0;
    bool is_given[NUM_KEYS] = {false};
    eqf__profile_line line;
    memset(info_out, 0, sizeof *info_out);
    memset(facts_out, 0, sizeof *facts_out);
    facts_out->native_width = 1;
    while (eqf__profile_next_line(&text, &number, &line)) {
        size_t k = 0;
        while (k < NUM_KEYS && strcmp(description_keys[k].key, line.key) != 0) k++;
        if (k == NUM_KEYS)
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s:%u: '%s' is no key of a device's description", name,
                             line.number, line.key);
        const description_key *key = &description_keys[k];
        char *target = (key->is_fact ? (char *)facts_out : (char *)info_out) + key->offset;
        if (is_given[k] || !store_value(key, line.value, target))
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s:%u: '%s = %s' is there twice, or no value of that key", name,
                             line.number, line.key, line.value);
        is_given[k] = true;
    }
    for (size_t k = 0; k < NUM_KEYS; k++)
        if (description_keys[k].is_needed && !is_given[k])
            return eqf__fail(ctx, EQF_ERROR_FORMAT, "%s: '%s = ...' is missing", name, description_keys[k].key);
    info_out->has_compiler = info_out->is_available = true;
    facts_out->type = info_out->type;
    facts_out->vendor_id = info_out->vendor_id;
    snprintf(facts_out->name, sizeof facts_out->name, "%s", info_out->name);
    snprintf(facts_out->platform_name, sizeof facts_out->platform_name, "%s", info_out->platform_name);
    snprintf(facts_out->driver_version, sizeof facts_out->driver_version, "%s", info_out->driver_version);
    return EQF_OK;
}

eqf_status eqf__description_rates(eqf_context *ctx, const char *name, const char *text, eqf__device_rates *rates_out) {
    eqf_device_info info;
    eqf__profile_facts facts;
    eqf__profile_line line;
    unsigned number = 0;
    memset(rates_out, 0, sizeof *rates_out);
    EQF__TRY(eqf__description_read(ctx, name, text, &info, &facts));
    while (eqf__profile_next_line(&text, &number, &line))
        for (size_t k = 0; k < NUM_KEYS; k++)
            if (description_keys[k].kind == RATE && strcmp(description_keys[k].key, line.key) == 0)
                (void)read_rate(line.value, (double *)(void *)((char *)rates_out + description_keys[k].offset));
    return EQF_OK;
}

/* ---- The device -------------------------------------------------------------------------------------------------- */

static eqf_status fill(eqf_context *ctx, const char *name, const char *text, const char *folder, eqf__device *device) {
    eqf__profile_facts facts;
    device->described = eqf__strdup(ctx, folder);
    if (device->described == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    EQF__TRY(eqf__description_read(ctx, name, text, &device->info, &facts));
    device->process_id = (long)getpid();
    device->has_gemm = true; /* CLBlast's kernels are not part of the programs to be written */
    snprintf(device->info.choice_reason, sizeof device->info.choice_reason, "described by a file");
    return eqf__profile_apply(ctx, &facts, device);
}

static eqf_status open_text(eqf_context *ctx, const char *name, const char *text, const char *folder) {
    if (ctx->device != NULL)
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "this context already uses %s", ctx->device->info.name);
    eqf__device *device = eqf__alloc(ctx, 1, sizeof *device, "the device");
    if (device == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    const eqf_status status = fill(ctx, name, text, folder, device);
    if (status != EQF_OK) {
        free(device->described);
        free(device);
        return status;
    }
    ctx->device = device;
    return EQF_OK;
}

eqf_status eqf__device_open_described(eqf_context *ctx, const char *path, const char *folder) {
    unsigned char *bytes;
    size_t num_bytes;
    EQF__TRY(eqf__file_read(ctx, path, &bytes, &num_bytes));
    const eqf_status status = open_text(ctx, path, (const char *)bytes, folder);
    free(bytes);
    return status;
}

eqf_status eqf__device_open_description(eqf_context *ctx, const char *name, const char *text) {
    return open_text(ctx, name, text, "");
}

/* ---- Buffers ----------------------------------------------------------------------------------------------------- */

bool eqf__is_described(const void *handle) {
    return ((uintptr_t)handle & 1) != 0;
}

void *eqf__described_handle(void *memory) {
    return (char *)memory + 1;
}

void *eqf__described_memory(void *handle) {
    return (char *)handle - 1;
}

eqf_status eqf__described_buffer(eqf_context *ctx, size_t num_bytes, const void *h_data, cl_mem *buffer_out) {
    char *memory = eqf__alloc(ctx, num_bytes, 1, "a buffer of a described device");
    if (memory == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    if (h_data != NULL) memcpy(memory, h_data, num_bytes);
    *buffer_out = eqf__described_handle(memory);
    return EQF_OK;
}

static void note_copy(const eqf__device *device, size_t num_bytes) {
    if (device->listener == NULL) return;
    device->listener->num_bytes_copied += (double)num_bytes;
    device->listener->num_copies++;
}

eqf_status eqf__described_write(eqf__device *device, cl_mem buffer, size_t offset, size_t num_bytes,
                                const void *h_data) {
    memcpy((char *)eqf__described_memory(buffer) + offset, h_data, num_bytes);
    note_copy(device, num_bytes);
    return EQF_OK;
}

eqf_status eqf__described_read(eqf__device *device, cl_mem buffer, size_t offset, size_t num_bytes, void *h_data) {
    memcpy(h_data, (const char *)eqf__described_memory(buffer) + offset, num_bytes);
    note_copy(device, num_bytes);
    return EQF_OK;
}

eqf_status eqf__described_touch(eqf__device *device, size_t num_bytes) {
    if (device->listener != NULL) device->listener->num_bytes_on_device += (double)num_bytes;
    return EQF_OK;
}
