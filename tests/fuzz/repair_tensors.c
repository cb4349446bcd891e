#include "repair_tensors.h"

size_t fuzz_find(const uint8_t *bytes, size_t begin, size_t end, const char *text) {
    const size_t length = strlen(text);
    for (size_t place = begin; place + length <= end; place++)
        if (memcmp(bytes + place, text, length) == 0) return place;
    return end;
}

size_t fuzz_repair_header(uint8_t *bytes, size_t num_bytes) {
    if (num_bytes < 16) return 0;
    bytes[8] = '{';
    size_t depth = 0, end = 8;
    int is_text = 0;
    for (; end < num_bytes; end++) {
        const uint8_t c = bytes[end];
        if (is_text && c == '\\') {
            end++;
        } else if (c == '"') {
            is_text = !is_text;
        } else if (!is_text && c == '{') {
            depth++;
        } else if (!is_text && c == '}' && --depth == 0) {
            break;
        }
    }
    if (end >= num_bytes) return 0;
    end++;
    while (end < num_bytes && end % 8 != 0 && bytes[end] == ' ') end++;
    for (unsigned byte = 0; byte < 8; byte++) bytes[byte] = (uint8_t)((uint64_t)(end - 8) >> (8 * byte));
    return end;
}

size_t fuzz_tensor_place(const uint8_t *bytes, size_t data, const char *name) {
    char quoted[64];
    snprintf(quoted, sizeof quoted, "\"%s\":{", name);
    size_t place = fuzz_find(bytes, 8, data, quoted);
    place = fuzz_find(bytes, place, data, "\"data_offsets\":[");
    if (place >= data) return 0;
    size_t offset = 0;
    for (place += strlen("\"data_offsets\":[");
         place < data && bytes[place] >= '0' && bytes[place] <= '9' && offset < 1000000; place++)
        offset = 10 * offset + bytes[place] - '0';
    return data + offset;
}
