/* Profiles of devices: the files of platforms/, combined for one device. */
#ifndef EQF_PROFILE_H
#define EQF_PROFILE_H

#include "ocl.h"

/* The files inside the library; made by cmake/EmbedText.cmake. */
typedef struct eqf__embedded_profile {
    const char *name; /* path below platforms/; NULL ends the list */
    const char *text;
} eqf__embedded_profile;
extern const eqf__embedded_profile eqf__embedded_profiles[];

/* From the most general to the most specific: a later level overrides an earlier one. */
typedef enum eqf__profile_level {
    EQF__PROFILE_GENERIC,
    EQF__PROFILE_CLASS,
    EQF__PROFILE_VENDOR,
    EQF__PROFILE_ARCHITECTURE,
    EQF__PROFILE_DRIVER,
    EQF__PROFILE_DEVICE,
    EQF__PROFILE_NUM_LEVELS
} eqf__profile_level;

/* Properties of a device that profiles are matched with. */
typedef struct eqf__profile_facts {
    eqf_device_type type;
    unsigned vendor_id;
    unsigned native_width;             /* floats of a native vector; 1 if the driver does not say */
    unsigned compute_capability;       /* of NVIDIA's driver: 10 major + minor; 0: another driver */
    unsigned wavefront_width;          /* of AMD's driver; 0: another driver */
    bool has_kernel_timeout;           /* NVIDIA's driver kills long kernels here */
    char platform_name[128], name[128];
    char driver_version[128];
} eqf__profile_facts;
void eqf__profile_read_facts(const eqf__device *device, eqf__profile_facts *facts_out);

/* Applies one text of the format to profile. With facts: only if the text has that level and matches the facts. Without
 * facts (tuning, --set-profile): every line, and the text may have neither level nor match. *is_used_out (or NULL): it
 * was applied. Errors: FORMAT with name and line. */
eqf_status eqf__profile_apply_text(eqf_context *ctx, const char *name, const char *text, eqf__profile_level level,
                                   const eqf__profile_facts *facts, eqf_device_profile *profile, bool *is_used_out);

/* Combines the profile of a device: embedded files by level, this machine's tuning, then the context's own settings.
 * name_out: the most specific embedded file. */
eqf_status eqf__profile_resolve(eqf_context *ctx, const eqf__profile_facts *facts, const char *tuning_text,
                                eqf_device_profile *profile_out, char name_out[64]);

/* Sets the device's fields and info.profile_name from the profile of these facts. Errors: FORMAT (a file of platforms/
 * lacks a key). */
eqf_status eqf__profile_apply(eqf_context *ctx, const eqf__profile_facts *facts, eqf__device *device);

/* The text format: the next "key = value  # reason" of *text, with the indented comment lines below it. False at the
 * end; any other line gives key "". *number counts lines, from 0 before the first call. */
typedef struct eqf__profile_line {
    char key[64], value[224], reason[384];
    unsigned number;
} eqf__profile_line;
bool eqf__profile_next_line(const char **text, unsigned *number, eqf__profile_line *line);
/* Appends a blank and more to target [size], if there is room. */
void eqf__profile_append(char *target, size_t size, const char *more);

/* Value of a key, "" if there is none. */
const char *eqf__profile_get(const eqf_device_profile *profile, const char *key);
/* Whether a version lies in "FIRST..LAST". Versions are compared number by number, as many numbers as the bound has:
 * 3.1.5 is in "..3.1". */
bool eqf__profile_version_fits(const char *driver_version, const char *range);

#endif
