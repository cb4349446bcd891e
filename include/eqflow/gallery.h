/* The gallery: trained models that come with the library, found by name. Every function that takes the path of a model
 * also takes "gallery:NAME". A model is NAME.safetensors; beside it are its card NAME.md, for people, and NAME.json,
 * the card's figures. */
#ifndef EQFLOW_GALLERY_H
#define EQFLOW_GALLERY_H

#include "eqflow/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct eqf_gallery_entry {
    size_t struct_size;          /* set by the library */
    const char *name;            /* "dw4-radial" */
    const char *model_path;      /* of its safetensors file; name and path live as long as the array */
    unsigned char reserved[64];  /* 0: see eqflow/context.h */
} eqf_gallery_entry;

/* The folder of the models; the text is the caller's (eqf_free). It is $EQFLOW_GALLERY if that is set, else the first
 * that exists of: share/eqflow/gallery in the prefix of the library or the program (in a build folder a link to the
 * sources); the folder beside a wheel's library; /usr/local/share/eqflow/gallery; /usr/share/eqflow/gallery. Errors:
 * NOT_FOUND, OUT_OF_MEMORY. */
eqf_status eqf_gallery_folder(eqf_context *ctx, char **folder_out);

/* All models in the order of their names; the array is the caller's (eqf_free). Errors: NOT_FOUND (there is no
 * gallery), IO, OUT_OF_MEMORY. */
eqf_status eqf_gallery_list(eqf_context *ctx, eqf_gallery_entry **entries_out, size_t *num_entries_out);

/* The path of one model, with or without "gallery:" before its name; the text is the caller's (eqf_free). Errors:
 * NOT_FOUND (the message has the most similar names), those of eqf_gallery_list. */
eqf_status eqf_gallery_find(eqf_context *ctx, const char *name, char **path_out);

#ifdef __cplusplus
}
#endif
#endif
