#define _GNU_SOURCE /* dladdr */
#include "eqflow/gallery.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base.h"

static const char prefix[] = "gallery:", extension[] = ".safetensors";
enum { MAX_NAME = 64, MAX_PATH = 4096 };

static bool is_folder(const char *path) {
    struct stat about;
    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

/* Writes the folder of the program or shared library that contains this code, with links followed; false: unknown. */
static bool folder_of_code(char out[MAX_PATH]) {
    static const char inside = 0;
    Dl_info about;
    if (dladdr(&inside, &about) == 0 || about.dli_fname == NULL) return false;
    /* For a program that was started by its name without a path, dli_fname has no path. */
    char *path =
        strchr(about.dli_fname, '/') != NULL ? realpath(about.dli_fname, NULL) : realpath("/proc/self/exe", NULL);
    char *slash = path != NULL ? strrchr(path, '/') : NULL;
    if (slash != NULL) *slash = '\0';
    const bool is_known = slash != NULL && strlen(path) < MAX_PATH;
    if (is_known) strcpy(out, path);
    free(path);
    return is_known;
}

eqf_status eqf_gallery_folder(eqf_context *ctx, char **folder_out) {
    /* As seen from bin/ or lib/; from lib/x86_64-linux-gnu/; from a wheel's eqflow/lib/. */
    static const char *const from_code[] = {"../share/eqflow/gallery", "../../share/eqflow/gallery", "../gallery"};
    static const char *const known[] = {"/usr/local/share/eqflow/gallery", "/usr/share/eqflow/gallery"};
    EQF__NOT_NULL(ctx, folder_out);
    *folder_out = NULL;
    char code[MAX_PATH], path[MAX_PATH + 64];
    const char *named = getenv("EQFLOW_GALLERY"), *found = NULL;
    if (named != NULL && named[0] != '\0') {
        if (!is_folder(named))
            return eqf__fail(ctx, EQF_ERROR_NOT_FOUND, "EQFLOW_GALLERY names %.700s, which is no folder", named);
        found = named;
    }
    const bool has_code = found == NULL && folder_of_code(code);
    for (size_t i = 0; has_code && found == NULL && i < sizeof from_code / sizeof from_code[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", code, from_code[i]);
        if (is_folder(path)) found = path;
    }
    for (size_t i = 0; found == NULL && i < sizeof known / sizeof known[0]; i++)
        if (is_folder(known[i])) found = known[i];
    if (found == NULL)
        return eqf__fail(ctx, EQF_ERROR_NOT_FOUND,
                         "no gallery of models is installed here: set EQFLOW_GALLERY to its folder");
    *folder_out = realpath(found, NULL);
    if (*folder_out == NULL) *folder_out = eqf__strdup(ctx, found);
    return *folder_out != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
}

/* ---- The list ------------------------------------------------------------------------------------ */

typedef struct names {
    size_t num, capacity;
    char (*texts)[MAX_NAME];
} names;

static eqf_status add_name(eqf_context *ctx, names *list, const char *file) {
    const size_t length = strlen(file), end = strlen(extension);
    if (file[0] == '.' || length <= end || length - end >= MAX_NAME || strcmp(file + length - end, extension) != 0)
        return EQF_OK;
    if (list->num == list->capacity) {
        const size_t capacity = 2 * list->capacity + 16;
        void *texts = realloc(list->texts, capacity * sizeof list->texts[0]);
        if (texts == NULL) return eqf__fail(ctx, EQF_ERROR_OUT_OF_MEMORY, "out of memory for the gallery's names");
        list->texts = texts;
        list->capacity = capacity;
    }
    memcpy(list->texts[list->num], file, length - end);
    list->texts[list->num++][length - end] = '\0';
    return EQF_OK;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(a, b);
}

/* The sorted names of the models in folder; the caller frees list->texts, also after a failure. */
static eqf_status read_names(eqf_context *ctx, const char *folder, names *list) {
    *list = (names){0};
    DIR *directory = opendir(folder);
    if (directory == NULL) return eqf__fail(ctx, EQF_ERROR_IO, "%.700s cannot be read: %s", folder, strerror(errno));
    eqf_status status = EQF_OK;
    for (struct dirent *file; status == EQF_OK && (file = readdir(directory)) != NULL;)
        status = add_name(ctx, list, file->d_name);
    closedir(directory);
    if (list->num > 1) qsort(list->texts, list->num, sizeof list->texts[0], compare_names);
    return status;
}

/* One block of memory: the entries, followed by the name and path of each. */
static eqf_status make_entries(eqf_context *ctx, const char *folder, const names *list,
                               eqf_gallery_entry **entries_out) {
    const size_t path_size = strlen(folder) + 1 + MAX_NAME + sizeof extension, size = MAX_NAME + path_size;
    eqf_gallery_entry *entries = eqf__alloc(ctx, list->num, sizeof *entries + size, "the gallery's list");
    if (entries == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    char *texts = (char *)(entries + list->num);
    for (size_t e = 0; e < list->num; e++, texts += size) {
        snprintf(texts, MAX_NAME, "%s", list->texts[e]);
        snprintf(texts + MAX_NAME, path_size, "%s/%s%s", folder, list->texts[e], extension);
        entries[e] = (eqf_gallery_entry){.struct_size = sizeof *entries, .name = texts, .model_path = texts + MAX_NAME};
    }
    *entries_out = entries;
    return EQF_OK;
}

eqf_status eqf_gallery_list(eqf_context *ctx, eqf_gallery_entry **entries_out, size_t *num_entries_out) {
    EQF__NOT_NULL(ctx, entries_out);
    EQF__NOT_NULL(ctx, num_entries_out);
    *entries_out = NULL;
    *num_entries_out = 0;
    char *folder;
    EQF__TRY(eqf_gallery_folder(ctx, &folder));
    names list;
    eqf_status status = read_names(ctx, folder, &list);
    if (status == EQF_OK) status = make_entries(ctx, folder, &list, entries_out);
    if (status == EQF_OK) *num_entries_out = list.num;
    free(list.texts);
    eqf_free(folder);
    return status;
}

/* ---- One model ------------------------------------------------------------------------------------ */

/* Number of letters to insert, delete or change between two words (Levenshtein); words are cut at MAX_NAME letters. */
static size_t distance(const char *a, const char *b) {
    size_t row[MAX_NAME + 1];
    const size_t num_a = strnlen(a, MAX_NAME), num_b = strnlen(b, MAX_NAME);
    for (size_t j = 0; j <= num_b; j++) row[j] = j;
    for (size_t i = 1; i <= num_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= num_b; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[num_b];
}

/* An error with up to three of the most similar names, the most similar first. */
static eqf_status fail_unknown(eqf_context *ctx, const char *folder, const char *name, const eqf_gallery_entry *entries,
                               size_t num) {
    enum { NUM_NEAREST = 3 };
    char text[NUM_NEAREST * (MAX_NAME + 2)] = "";
    size_t last_distance = 0, last = 0;
    for (size_t n = 0; n < NUM_NEAREST && n < num; n++) {
        size_t best = num, best_distance = 0;
        for (size_t e = 0; e < num; e++) {
            const size_t d = distance(name, entries[e].name);
            if (n > 0 && (d < last_distance || (d == last_distance && e <= last))) continue;
            if (best == num || d < best_distance) {
                best = e;
                best_distance = d;
            }
        }
        last = best;
        last_distance = best_distance;
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", n > 0 ? ", " : "", entries[best].name);
    }
    if (num == 0) return eqf__fail(ctx, EQF_ERROR_NOT_FOUND, "the gallery %.700s holds no model", folder);
    return eqf__fail(ctx, EQF_ERROR_NOT_FOUND,
                     "the gallery has no model '%.80s'; the nearest names: %s (all: eqflow gallery)", name, text);
}

eqf_status eqf_gallery_find(eqf_context *ctx, const char *name, char **path_out) {
    EQF__NOT_NULL(ctx, name);
    EQF__NOT_NULL(ctx, path_out);
    *path_out = NULL;
    if (strncmp(name, prefix, strlen(prefix)) == 0) name += strlen(prefix);
    eqf_gallery_entry *entries;
    size_t num;
    EQF__TRY(eqf_gallery_list(ctx, &entries, &num));
    eqf_status status = EQF_ERROR_NOT_FOUND;
    for (size_t e = 0; e < num && *path_out == NULL && status == EQF_ERROR_NOT_FOUND; e++) {
        if (strcmp(entries[e].name, name) != 0) continue;
        *path_out = eqf__strdup(ctx, entries[e].model_path);
        status = *path_out != NULL ? EQF_OK : EQF_ERROR_OUT_OF_MEMORY;
    }
    if (status == EQF_ERROR_NOT_FOUND) {
        char *folder = NULL;
        status = num > 0 ? EQF_OK : eqf_gallery_folder(ctx, &folder);
        if (status == EQF_OK) status = fail_unknown(ctx, folder, name, entries, num);
        eqf_free(folder);
    }
    eqf_free(entries);
    return status;
}
