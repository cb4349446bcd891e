/* A tape of vectors of dual numbers: exact directional derivatives (forward mode), and the exact gradient of
 * anything that is linear in the values and the directional derivatives (reverse mode over both). Only four
 * operations: slow, plain, and correct by inspection. Out of memory aborts: this is test code. */
#ifndef EQF_TESTS_REF_TAPE_H
#define EQF_TESTS_REF_TAPE_H

#include <stddef.h>

/* One vector: value, derivative along the direction that the leaves' tangents say, and the gradients by both. Each
 * array is [count]. */
typedef struct ref_node {
    size_t count;
    double *value, *tangent, *by_value, *by_tangent;
} ref_node;

typedef struct ref_tape ref_tape;

ref_tape *ref_tape_create(void);
void ref_tape_destroy(ref_tape *tape);

/* A new vector [count], zeros. Its pointers stay where they are as long as the tape lives. A leaf is a vector that
 * no operation writes. */
ref_node *ref_tape_node(ref_tape *tape, size_t count);

/* out[p po + q qo + r ro] += factor * a[p pa + q qa + r ra] * b[p pb + q qb + r rb] for p < P, q < Q, r < R:
 * products of vectors, of a matrix and a vector, inner and outer products, sums. */
typedef struct ref_product {
    size_t P, Q, R;
    size_t out[3], a[3], b[3];             /* strides of p, q, r */
    size_t out_offset, a_offset, b_offset; /* where each begins */
    double factor;
} ref_product;
void ref_tape_product(ref_tape *tape, ref_node *out, const ref_node *a, const ref_node *b, ref_product rule);

/* out[i] = s(a[i]); s gives value, first and second derivative. */
typedef void (*ref_function)(double x, const double *settings, double out[3]);
/* settings [2]: given to the function. */
ref_node *ref_tape_apply(ref_tape *tape, ref_function function, const ref_node *a, const double settings[2]);

/* out[0] = |a|. Below 1e-9 all derivatives are taken as 0. */
ref_node *ref_tape_norm(ref_tape *tape, const ref_node *a);

/* out[k] = exp(-((a[0] - center[k]) / gamma)^2); center and gamma are constants, center stays the caller's. */
ref_node *ref_tape_gaussians(ref_tape *tape, const ref_node *a, size_t count, const double *center, double gamma);

/* Values were computed while recording; the tangents of everything but leaves are computed here, from the leaves'
 * tangents. */
void ref_tape_tangents(ref_tape *tape);
/* All by_value and by_tangent to 0; for every tangent to 0 see ref_tape_clear_tangents. */
void ref_tape_clear_gradients(ref_tape *tape);
void ref_tape_clear_tangents(ref_tape *tape);
/* From by_value and by_tangent of the results down to those of the leaves. */
void ref_tape_reverse(ref_tape *tape);

#endif
