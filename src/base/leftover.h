/* Names that files have while they are written, .eqflow-PROCESS-NUMBER.tmp: those that a killed process left. */
#ifndef EQF_LEFTOVER_H
#define EQF_LEFTOVER_H

enum { EQF__LEFTOVER_NAME_BYTES = 64 };

/* This process's name number `attempt`, without a folder. */
void eqf__leftover_name(unsigned attempt, char name[EQF__LEFTOVER_NAME_BYTES]);
/* Says that the file behind fd is being written, until it is closed. */
void eqf__leftover_claim(int fd);
/* Removes from folder what processes of this user left that are no more. A process is no more if this machine has none
 * of its number and nobody claims the file: in a folder that several machines or containers share, a number alone
 * says nothing. Looks at the first few thousand names, and never fails. */
void eqf__leftover_remove(const char *folder);

#endif
