/* Which column to give each row, so that the costs add up to the least. */
#ifndef EQF_ASSIGNMENT_H
#define EQF_ASSIGNMENT_H

#include <stddef.h>

/* Doubles and indices that eqf__assign works in. */
#define EQF__ASSIGNMENT_DOUBLES(n) (3 * (size_t)(n))
#define EQF__ASSIGNMENT_INDICES(n) (4 * (size_t)(n))

/* columns_out [n]: the column of each row in an assignment of least total cost; cost [n][n], finite. */
void eqf__assign(unsigned n, const double *cost, double *doubles, unsigned *indices, unsigned *columns_out);

#endif
