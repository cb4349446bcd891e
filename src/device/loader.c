#include "loader.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static bool ends_with_icd(const char *name) {
    const size_t length = strlen(name);
    return length > 4 && strcmp(name + length - 4, ".icd") == 0;
}

/* An ICD file is one line, the library's name or path (cl_khr_icd, OpenCL Extension Specification). */
static bool is_broken(const char *path, char *text, size_t size) {
    char library[512] = "";
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        snprintf(text, size, "%s cannot be read", path);
        return true;
    }
    if (fgets(library, sizeof library, file) == NULL) library[0] = '\0';
    fclose(file);
    library[strcspn(library, "\r\n")] = '\0';
    if (library[0] == '\0') {
        snprintf(text, size, "%s is empty", path);
        return true;
    }
    void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
    if (handle == NULL) {
        const char *reason = dlerror();
        snprintf(text, size, "%s names %s, which cannot be loaded (%s)", path, library, reason != NULL ? reason : "?");
        for (char *c = text; *c; c++)
            if (*c == '\n') *c = ' ';
        return true;
    }
    const bool has_entry =
        dlsym(handle, "clGetExtensionFunctionAddress") != NULL || dlsym(handle, "clIcdGetPlatformIDsKHR") != NULL;
    dlclose(handle);
    if (!has_entry) snprintf(text, size, "%s names %s, which is no OpenCL driver", path, library);
    return !has_entry;
}

bool eqf__loader_find_broken(char *text, size_t size, unsigned *num_files_out) {
    const char *folder = getenv("OCL_ICD_VENDORS");
    struct stat about;
    *num_files_out = 0;
    if (folder == NULL || folder[0] == '\0') folder = "/etc/OpenCL/vendors";
    /* the variable names one file */
    if (ends_with_icd(folder) && stat(folder, &about) == 0 && S_ISREG(about.st_mode)) {
        *num_files_out = 1;
        return is_broken(folder, text, size);
    }
    DIR *directory = opendir(folder);
    if (directory == NULL) return false;
    bool is_found = false;
    for (struct dirent *file; (file = readdir(directory)) != NULL;) {
        char path[1024];
        if (!ends_with_icd(file->d_name)) continue;
        ++*num_files_out;
        if (is_found || snprintf(path, sizeof path, "%s/%s", folder, file->d_name) >= (int)sizeof path) continue;
        is_found = is_broken(path, text, size);
    }
    closedir(directory);
    return is_found;
}
