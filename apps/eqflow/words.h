/* The library's words as the program's: its messages name options of the API, a user of the program knows flags and
 * commands. */
#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>

/* "integrator.num_steps" becomes "--integration-steps", and so on; text_out [size] ends where it is full. */
void words_translate(const char *text, char *text_out, size_t size);

#endif
