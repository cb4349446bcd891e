/* Finds ICD files whose library cannot be loaded. The OpenCL loader passes over them in silence. */
#ifndef EQF_LOADER_H
#define EQF_LOADER_H

#include <stdbool.h>
#include <stddef.h>

/* Looks through the loader's folder ($OCL_ICD_VENDORS, else /etc/OpenCL/vendors). num_files_out: ICD files there. True
 * if one of them cannot work; text says which, what it names, and why. */
bool eqf__loader_find_broken(char *text, size_t size, unsigned *num_files_out);

#endif
