/* What the files of src/estimate share. */
#ifndef EQF_ESTIMATE_INTERNAL_H
#define EQF_ESTIMATE_INTERNAL_H

/* Philox stream of the bootstrap (last counter word), apart from those of the kernels. */
#define EQF__STREAM_BOOTSTRAP 0x626f6f74u
/* and of the independence chain. */
#define EQF__STREAM_METROPOLIS 0x6d657472u

#endif
