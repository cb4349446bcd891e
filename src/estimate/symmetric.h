/* Small symmetric matrices, row-major [n, n]. */
#ifndef EQF_SYMMETRIC_H
#define EQF_SYMMETRIC_H

#include <stdbool.h>

/* Eigenvalues [n] and eigenvectors (column e of vectors_out belongs to value e) by Jacobi's rotations (Golub and Van
 * Loan, Matrix Computations, 8.5). matrix is overwritten. */
void eqf__symmetric_eigen(unsigned n, double *matrix, double *values_out, double *vectors_out);
/* Solves matrix x = right in place by elimination with pivots. False: singular. matrix is overwritten. */
bool eqf__symmetric_solve(unsigned n, double *matrix, double *right);

#endif
