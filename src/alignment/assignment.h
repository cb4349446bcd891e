/* The assignment problem: gives each row a column of its own so that the sum of costs is least. */
#ifndef EQF_ASSIGNMENT_H
#define EQF_ASSIGNMENT_H

#include <stddef.h>

/* Sizes of the working memory of eqf__assign. */
#define EQF__ASSIGNMENT_DOUBLES(n) (3 * (size_t)(n))
#define EQF__ASSIGNMENT_INDICES(n) (4 * (size_t)(n))

/* columns_out [n]: the column of each row in an assignment of least total cost; cost [n][n], finite. */
void eqf__assign(unsigned n, const double *cost, double *doubles, unsigned *indices, unsigned *columns_out);

#endif
