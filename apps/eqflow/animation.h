/* The path from prior to data as an animated picture: SVG with SMIL, which browsers play without a script. */
#ifndef ANIMATION_H
#define ANIMATION_H

#include <stdio.h>

#include "app.h"

/* x [num_frames, num, N, D]: the configurations side by side, up to six in a row. */
void animation_print(FILE *stream, size_t num_frames, size_t num, unsigned num_particles, unsigned space_dim,
                     const float *x);
/* The same as a file, whole or not at all. */
exit_code animation_write(cli_app *app, const char *path, size_t num_frames, size_t num, unsigned num_particles,
                          unsigned space_dim, const float *x);

#endif
