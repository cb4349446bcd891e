/* Walkers: their memory, their weights and resampling. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "anneal.h"

eqf_status eqf__walkers_create(eqf_context *ctx, size_t num, size_t num_dof, bool has_latents, bool has_forces,
                               eqf__walkers *walkers_out) {
    eqf__walkers *w = walkers_out;
    *w = (eqf__walkers){.num = num, .num_dof = num_dof};
    const struct {
        float **array;
        size_t item_size;
        bool is_wanted;
    } arrays[] = {
        {&w->x, num_dof, true},      {&w->z, num_dof, has_latents},    {&w->energy, 1, true},
        {&w->start_energy, 1, true}, {&w->force, num_dof, has_forces}, {&w->start_force, num_dof, has_forces}};
    for (size_t a = 0; a < sizeof arrays / sizeof arrays[0]; a++) {
        if (!arrays[a].is_wanted) continue;
        *arrays[a].array = eqf__alloc(ctx, num, arrays[a].item_size * sizeof(float), "the walkers");
        if (*arrays[a].array == NULL) goto failed;
    }
    w->log_weight = eqf__alloc(ctx, num, sizeof(double), "the walkers");
    if (w->log_weight != NULL) return EQF_OK;
failed:
    eqf__walkers_clear(w);
    return EQF_ERROR_OUT_OF_MEMORY;
}

void eqf__walkers_clear(eqf__walkers *walkers) {
    float *arrays[] = {walkers->x,     walkers->z,          walkers->energy, walkers->start_energy,
                       walkers->force, walkers->start_force};
    for (size_t a = 0; a < sizeof arrays / sizeof arrays[0]; a++) free(arrays[a]);
    free(walkers->log_weight);
    memset(walkers, 0, sizeof *walkers);
}

eqf__walkers eqf__walkers_view(const eqf__walkers *whole, size_t begin, size_t num) {
    const size_t row = begin * whole->num_dof;
    return (eqf__walkers){.num = num,
                          .num_dof = whole->num_dof,
                          .x = whole->x + row,
                          .z = whole->z != NULL ? whole->z + row : NULL,
                          .energy = whole->energy + begin,
                          .start_energy = whole->start_energy + begin,
                          .force = whole->force != NULL ? whole->force + row : NULL,
                          .start_force = whole->start_force != NULL ? whole->start_force + row : NULL,
                          .log_weight = whole->log_weight + begin};
}

static void copy_row(const float *from, float *to, size_t from_row, size_t to_row, size_t size) {
    if (from != NULL && to != NULL) memcpy(to + to_row * size, from + from_row * size, size * sizeof(float));
}

void eqf__walkers_copy(const eqf__walkers *of, size_t from, eqf__walkers *into, size_t to) {
    copy_row(of->x, into->x, from, to, of->num_dof);
    copy_row(of->z, into->z, from, to, of->num_dof);
    copy_row(of->force, into->force, from, to, of->num_dof);
    copy_row(of->start_force, into->start_force, from, to, of->num_dof);
    into->energy[to] = of->energy[from];
    into->start_energy[to] = of->start_energy[from];
}

double eqf__anneal_energy(const eqf__walkers *walkers, size_t w, double beta) {
    const double u = walkers->energy[w], start = walkers->start_energy[w];
    /* At both ends one of the two energies has factor 0 and may be infinite. */
    const double energy = beta == 0 ? start : beta == 1 ? u : (1 - beta) * start + beta * u;
    return isnan(energy) ? INFINITY : energy;
}

/* log_weight after a step delta; -infinity if the density of the target is zero or that of the start is not finite. */
static double log_weight_after(const eqf__walkers *walkers, size_t w, double delta) {
    if (delta == 0) return walkers->log_weight[w];
    const double difference = (double)walkers->energy[w] - (double)walkers->start_energy[w];
    const double value = walkers->log_weight[w] - delta * difference;
    return isnan(value) ? -INFINITY : value;
}

double eqf__anneal_ess_after(const eqf__walkers *walkers, size_t begin, size_t num, double delta) {
    double largest = -INFINITY, sum = 0, squares = 0;
    for (size_t w = begin; w < begin + num; w++) largest = fmax(largest, log_weight_after(walkers, w, delta));
    if (!(largest > -INFINITY)) return 0;
    for (size_t w = begin; w < begin + num; w++) {
        const double weight = exp(log_weight_after(walkers, w, delta) - largest);
        sum += weight;
        squares += weight * weight;
    }
    return sum * sum / squares / (double)num;
}

void eqf__anneal_reweigh(eqf__walkers *walkers, size_t begin, size_t num, double delta) {
    for (size_t w = begin; w < begin + num; w++) walkers->log_weight[w] = log_weight_after(walkers, w, delta);
}

double eqf__anneal_log_mean_weight(const eqf__walkers *walkers, size_t begin, size_t num) {
    double largest = -INFINITY, sum = 0;
    for (size_t w = begin; w < begin + num; w++) largest = fmax(largest, walkers->log_weight[w]);
    if (!(largest > -INFINITY)) return -INFINITY;
    for (size_t w = begin; w < begin + num; w++) sum += exp(walkers->log_weight[w] - largest);
    return largest + log(sum / (double)num);
}

/* Systematic resampling (Kitagawa, J. Comput. Graph. Stat. 5 (1996) 1): output k is the walker at which the
 * cumulative weight reaches (k + uniform)/num_out of the total. */
bool eqf__anneal_resample(size_t num, const double *log_weight, double uniform, size_t num_out, size_t *parents_out) {
    double largest = -INFINITY, total = 0;
    for (size_t w = 0; w < num; w++) largest = fmax(largest, log_weight[w]);
    if (!(largest > -INFINITY)) return false;
    for (size_t w = 0; w < num; w++) total += exp(log_weight[w] - largest);
    double passed = 0;
    size_t k = 0, last = 0;
    for (size_t w = 0; w < num && k < num_out; w++) {
        const double weight = exp(log_weight[w] - largest);
        if (weight > 0) last = w;
        passed += weight;
        while (k < num_out && ((double)k + uniform) / (double)num_out * total < passed) parents_out[k++] = w;
    }
    while (k < num_out) parents_out[k++] = last; /* outputs that rounding of the sum left without a walker */
    return true;
}
