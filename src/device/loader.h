/* Finds ICD files whose library cannot be loaded; the OpenCL loader ignores them without a message. */
#ifndef EQF_LOADER_H
#define EQF_LOADER_H

#include <stdbool.h>
#include <stddef.h>

/* Looks through the loader's folder ($OCL_ICD_VENDORS, else /etc/OpenCL/vendors). num_files_out: number of ICD files
 * there. True if the library of one cannot be loaded; text has the file, the library and the reason. */
bool eqf__loader_find_broken(char *text, size_t size, unsigned *num_files_out);

#endif
