/* MBAR: self-consistent equations, solved by Newton's method on their convex function (Shirts and Chodera 2008,
 * appendix C). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "eqflow/free_energy.h"

#include "symmetric.h"

typedef struct mbar {
    unsigned num_states;
    size_t num;
    const size_t *num_samples;
    const double *energy;    /* [K, N] */
    double *f;               /* [K] */
    double *log_denominator; /* [N]: ln sum_k N_k exp(f_k - u_k(x_n)) */
    double *gradient, *step; /* [K] */
    double *overlap;         /* [K, K]: sum_n W_nk W_nl, W_nk = exp(f_k - u_k(x_n)) / denominator */
} mbar;

static double log_weight(const mbar *m, unsigned k, size_t n) {
    return m->f[k] - m->energy[k * m->num + n] - m->log_denominator[n];
}

/* The value of the convex function sum_n ln denominator_n - sum_k N_k f_k; fills in the denominators. */
static double evaluate(mbar *m) {
    double value = 0;
    for (size_t n = 0; n < m->num; n++) {
        double largest = -INFINITY, sum = 0;
        for (unsigned k = 0; k < m->num_states; k++)
            if (m->num_samples[k] > 0)
                largest = fmax(largest, m->f[k] - m->energy[k * m->num + n] + log((double)m->num_samples[k]));
        for (unsigned k = 0; k < m->num_states; k++)
            if (m->num_samples[k] > 0)
                sum += exp(m->f[k] - m->energy[k * m->num + n] + log((double)m->num_samples[k]) - largest);
        m->log_denominator[n] = largest + log(sum);
        value += m->log_denominator[n];
    }
    for (unsigned k = 0; k < m->num_states; k++) value -= (double)m->num_samples[k] * m->f[k];
    return value;
}

/* f_k <- f_k - ln sum_n W_nk (their equation 11) for every state; returns the largest change. */
static double iterate(mbar *m) {
    double largest = 0;
    for (unsigned k = 0; k < m->num_states; k++) {
        double top = -INFINITY, sum = 0;
        for (size_t n = 0; n < m->num; n++) top = fmax(top, log_weight(m, k, n));
        for (size_t n = 0; n < m->num; n++) sum += exp(log_weight(m, k, n) - top);
        m->step[k] = -(top + log(sum));
    }
    const double shift = m->step[0] + m->f[0];
    for (unsigned k = 0; k < m->num_states; k++) {
        const double f = m->f[k] + m->step[k] - shift;
        largest = fmax(largest, fabs(f - m->f[k]));
        m->f[k] = f;
    }
    return largest;
}

static void measure(mbar *m) {
    const unsigned num_states = m->num_states;
    memset(m->gradient, 0, num_states * sizeof *m->gradient);
    memset(m->overlap, 0, (size_t)num_states * num_states * sizeof *m->overlap);
    for (size_t n = 0; n < m->num; n++) {
        for (unsigned k = 0; k < num_states; k++) {
            const double weight = m->step[k] = exp(log_weight(m, k, n));
            m->gradient[k] += weight;
            for (unsigned l = 0; l <= k; l++) m->overlap[k * num_states + l] += weight * m->step[l];
        }
    }
    for (unsigned k = 0; k < num_states; k++)
        for (unsigned l = k + 1; l < num_states; l++) m->overlap[k * num_states + l] = m->overlap[l * num_states + k];
}

/* One Newton step for the states that have samples, with the first of them fixed; halved until the function decreases.
 * False: no step decreased it. */
static bool step_newton(mbar *m, double *hessian, double *value) {
    const unsigned num_states = m->num_states;
    unsigned first = 0;
    while (m->num_samples[first] == 0) first++;
    measure(m);
    for (unsigned k = 0; k < num_states; k++) {
        const double count = (double)m->num_samples[k];
        for (unsigned l = 0; l < num_states; l++) {
            const double both = count * (double)m->num_samples[l] * m->overlap[k * num_states + l];
            hessian[k * num_states + l] = (k == l ? count * m->gradient[k] : 0) - both;
        }
        m->step[k] = count - count * m->gradient[k]; /* minus the gradient of the function */
        if (count > 0 && k != first) continue;
        for (unsigned l = 0; l < num_states; l++) hessian[k * num_states + l] = hessian[l * num_states + k] = 0;
        hessian[k * num_states + k] = 1;
        m->step[k] = 0;
    }
    if (!eqf__symmetric_solve(num_states, hessian, m->step)) return false;
    double fraction = 1;
    for (unsigned turn = 0; turn < 12; turn++, fraction *= 0.5) {
        for (unsigned k = 0; k < num_states; k++) m->f[k] += fraction * m->step[k];
        const double next = evaluate(m);
        if (next <= *value) {
            *value = next;
            return true;
        }
        for (unsigned k = 0; k < num_states; k++) m->f[k] -= fraction * m->step[k];
    }
    evaluate(m);
    return false;
}

static double largest_step(const mbar *m) {
    double largest = 0;
    for (unsigned k = 0; k < m->num_states; k++) largest = fmax(largest, fabs(m->step[k]));
    return largest;
}

static eqf_status solve(mbar *m, double *hessian) {
    double value = evaluate(m), change = INFINITY;
    for (unsigned turn = 0; turn < 20; turn++) {
        iterate(m);
        value = evaluate(m);
    }
    for (unsigned turn = 0; turn < 200 && change > 1e-11; turn++) {
        /* If no Newton step decreases the function, its rounding errors exceed the decrease: the equations are iterated
         * instead. */
        change = step_newton(m, hessian, &value) ? largest_step(m) : iterate(m);
        value = evaluate(m);
        if (!isfinite(value)) return EQF_ERROR_NON_FINITE;
    }
    iterate(m); /* states without samples follow from the others */
    evaluate(m);
    return change < 1e-7 ? EQF_OK : EQF_ERROR_NON_FINITE;
}

/* Theta = V S (1 - S V^T N V S)^+ S V^T with W = U S V^T (their equation D6), here from the eigenvectors of W^T W; the
 * error of a difference is sqrt(Theta_ii + Theta_jj - 2 Theta_ij). work: [4 K K + K]. */
static void find_errors(const mbar *m, double *work, double *standard_errors_out) {
    const unsigned num_states = m->num_states;
    const size_t square = (size_t)num_states * num_states;
    double *vectors = work, *inner = work + square, *inner_vectors = work + 2 * square, *theta = work + 3 * square;
    double *values = work + 4 * square;
    memcpy(inner, m->overlap, square * sizeof *inner);
    eqf__symmetric_eigen(num_states, inner, values, vectors); /* vectors[k][e] */
    for (unsigned e = 0; e < num_states; e++) values[e] = sqrt(fmax(0, values[e]));
    for (unsigned a = 0; a < num_states; a++) {
        for (unsigned b = 0; b < num_states; b++) {
            double sum = 0;
            for (unsigned k = 0; k < num_states; k++)
                sum += vectors[k * num_states + a] * (double)m->num_samples[k] * vectors[k * num_states + b];
            inner[a * num_states + b] = (a == b) - values[a] * sum * values[b];
        }
    }
    for (unsigned k = 0; k < num_states; k++) /* the rows of V S */
        for (unsigned e = 0; e < num_states; e++) vectors[k * num_states + e] *= values[e];
    eqf__symmetric_eigen(num_states, inner, values, inner_vectors);
    memset(theta, 0, square * sizeof *theta);
    for (unsigned e = 0; e < num_states; e++) {
        if (!(fabs(values[e]) > 1e-10)) continue; /* belongs to a common shift of all f, which is arbitrary */
        for (unsigned i = 0; i < num_states; i++) {
            double along_i = 0;
            for (unsigned a = 0; a < num_states; a++)
                along_i += vectors[i * num_states + a] * inner_vectors[a * num_states + e];
            for (unsigned j = 0; j < num_states; j++) {
                double along_j = 0;
                for (unsigned a = 0; a < num_states; a++)
                    along_j += vectors[j * num_states + a] * inner_vectors[a * num_states + e];
                theta[i * num_states + j] += along_i * along_j / values[e];
            }
        }
    }
    for (unsigned i = 0; i < num_states; i++)
        for (unsigned j = 0; j < num_states; j++)
            standard_errors_out[i * num_states + j] =
                sqrt(fmax(0, theta[i * num_states + i] + theta[j * num_states + j] - 2 * theta[i * num_states + j]));
}

eqf_status eqf_free_energy_mbar(unsigned num_states, const size_t *num_samples, const double *energy, double *f_out,
                                double *standard_errors_out) {
    if (num_states < 1 || num_states > 256 || num_samples == NULL || energy == NULL || f_out == NULL)
        return EQF_ERROR_INVALID_ARGUMENT;
    mbar m = {.num_states = num_states, .num_samples = num_samples, .energy = energy, .f = f_out};
    for (unsigned k = 0; k < num_states; k++) m.num += num_samples[k];
    if (m.num == 0) return EQF_ERROR_INVALID_ARGUMENT;
    for (size_t n = 0; n < num_states * m.num; n++)
        if (isnan(energy[n]) || energy[n] == -INFINITY) return EQF_ERROR_NON_FINITE;
    const size_t square = (size_t)num_states * num_states;
    double *memory = malloc((m.num + 2 * num_states + 6 * square + num_states) * sizeof *memory);
    if (memory == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    m.log_denominator = memory;
    m.gradient = memory + m.num;
    m.step = m.gradient + num_states;
    m.overlap = m.step + num_states;
    double *work = m.overlap + square;
    memset(f_out, 0, num_states * sizeof *f_out);
    eqf_status status = solve(&m, work);
    const double shift = f_out[0];
    for (unsigned k = 0; k < num_states; k++) f_out[k] -= shift;
    if (status == EQF_OK && standard_errors_out != NULL) {
        evaluate(&m);
        measure(&m);
        find_errors(&m, work, standard_errors_out);
    }
    free(memory);
    return status;
}
