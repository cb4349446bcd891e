/* Files without a name, on file systems that have them (Linux: O_TMPFILE, open(2)). */
#ifndef EQF_UNNAMED_H
#define EQF_UNNAMED_H

#include <stdbool.h>

/* Opens a new file without a name in folder, for writing; -1 if the file system has none. It disappears when it is
 * closed, unless it gets a name first. */
int eqf__unnamed_open(const char *folder);
/* Gives it a name that must be free; false: errno says why not. */
bool eqf__unnamed_link(int fd, const char *path);

#endif
