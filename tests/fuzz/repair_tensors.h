/* safetensors as bytes: where header and data lie, and the length between them made right. */
#ifndef EQF_FUZZ_REPAIR_TENSORS_H
#define EQF_FUZZ_REPAIR_TENSORS_H

#include "target.h"

/* Sets the length of the header to where its brace closes; gives the start of the data, 0 if no brace closes. */
size_t fuzz_repair_header(uint8_t *bytes, size_t num_bytes);
/* The place of text in bytes [begin, end), end if it is not there. */
size_t fuzz_find(const uint8_t *bytes, size_t begin, size_t end, const char *text);
/* data_offsets of the tensor of that name: the place of its first byte in the file; 0 if the header does not say. */
size_t fuzz_tensor_place(const uint8_t *bytes, size_t data, const char *name);

#endif
