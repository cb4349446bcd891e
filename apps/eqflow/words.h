/* Translates messages of the library, which name options of the C interface, to the program's flags and commands. */
#ifndef WORDS_H
#define WORDS_H

#include <stddef.h>

/* "integrator.num_steps" becomes "--integration-steps", and so on; text_out [size] is cut if it is too short. */
void words_translate(const char *text, char *text_out, size_t size);

#endif
