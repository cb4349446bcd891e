/* Temporary names of files that are being written, .eqflow-PROCESS-NUMBER.tmp, and the removal of such files of killed
 * processes. */
#ifndef EQF_LEFTOVER_H
#define EQF_LEFTOVER_H

enum { EQF__LEFTOVER_NAME_BYTES = 64 };

/* The temporary name number `attempt` of this process, without a folder. */
void eqf__leftover_name(unsigned attempt, char name[EQF__LEFTOVER_NAME_BYTES]);
/* Locks the file of fd until it is closed, as a sign that it is being written. */
void eqf__leftover_claim(int fd);
/* Removes such files of this user from the folder if their process has ended: this machine has no process of the
 * number, and the file is not locked. (The number alone is not enough if several machines or containers use the
 * folder.) Reads the first few thousand names, and never fails. */
void eqf__leftover_remove(const char *folder);

#endif
