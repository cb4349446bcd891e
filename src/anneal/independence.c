/* How many independent walkers a repeat has. Resampling makes copies, and moves make copies independent again; where
 * moves are few or short, a repeat is far smaller than its number of walkers, and its averages lag behind in a way that
 * the spread of the repeats does not show. Equations: docs/anneal.md, "Independent walkers". */
#include <math.h>
#include <string.h>

#include "annealer.h"

/* Weighted sums over a repeat of energies before (0) and after (1) the moves, about their means. */
typedef struct energy_moments {
    double squares[2], product;
} energy_moments;

static double weight_of(const eqf__walkers *walkers, size_t w, double largest) {
    const double weight = exp(walkers->log_weight[w] - largest);
    return weight > 0 ? weight : 0; /* its energy may be infinite */
}

static void add_moments(const eqf__walkers *walkers, const float *before, size_t begin, size_t num,
                        energy_moments *moments) {
    double largest = -INFINITY, sum = 0, means[2] = {0, 0};
    for (size_t w = begin; w < begin + num; w++) largest = fmax(largest, walkers->log_weight[w]);
    for (size_t w = begin; w < begin + num; w++) {
        const double weight = weight_of(walkers, w, largest);
        if (weight == 0) continue;
        sum += weight;
        means[0] += weight * before[w];
        means[1] += weight * walkers->energy[w];
    }
    for (size_t w = begin; w < begin + num; w++) {
        const double weight = weight_of(walkers, w, largest) / sum;
        if (weight == 0) continue;
        const double first = before[w] - means[0] / sum, last = walkers->energy[w] - means[1] / sum;
        moments->squares[0] += weight * first * first;
        moments->squares[1] += weight * last * last;
        moments->product += weight * first * last;
    }
}

double eqf__anneal_correlation(const eqf__walkers *walkers, const float *before, unsigned num_repeats) {
    const size_t num = walkers->num / num_repeats;
    energy_moments moments = {{0, 0}, 0};
    for (unsigned r = 0; r < num_repeats; r++) add_moments(walkers, before, r * num, num, &moments);
    const double correlation = moments.product / sqrt(moments.squares[0] * moments.squares[1]);
    return isfinite(correlation) ? correlation : 1; /* one energy alone: nothing shows that moves change it */
}

double eqf__anneal_first_family(const eqf_annealer *a, size_t num) {
    const eqf__anneal_start *start = &a->system.start;
    if (start->flow != NULL) return 1;
    const double num_samples = (double)start->num_samples / (a->options.num_repeats + 1); /* the repeat's own */
    return 1 + ((double)num - 1) / num_samples;
}

double eqf__anneal_copies(size_t num, const size_t *parents) {
    double squares = 0;
    size_t begin = 0;
    for (size_t w = 1; w <= num; w++) {
        if (w < num && parents[w] == parents[begin]) continue;
        squares += (double)(w - begin) * (double)(w - begin);
        begin = w;
    }
    return squares / (double)num;
}

void eqf__anneal_measure_moves(eqf_annealer *a, eqf_anneal_state *state) {
    const unsigned num_repeats = a->is_pilot ? 1 : a->options.num_repeats;
    const size_t num = a->walkers.num / num_repeats;
    const double correlation = eqf__anneal_correlation(&a->walkers, a->energy_before, num_repeats);
    state->energy_correlation = correlation;
    for (unsigned r = 0; r < num_repeats; r++) {
        a->family[r] = 1 + (a->family[r] - 1) * correlation * correlation;
        state->num_independent +=
            (double)num * eqf__anneal_ess_after(&a->walkers, r * num, num, 0) / a->family[r] / num_repeats;
    }
    a->energy_correlation = state->energy_correlation;
    a->num_independent = state->num_independent;
}
