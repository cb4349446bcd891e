/* The linear assignment problem by shortest augmenting paths with dual prices (Jonker and Volgenant, Computing 38
 * (1987) 325): most rows get a column in a greedy start, each of the others by one search along the cheapest reduced
 * costs. At most n^3 steps. */
#include "assignment.h"

#include <math.h>

/* An assignment is optimal if there are prices of rows and columns with cost - row price - column price >= 0 for all
 * pairs and = 0 for the assigned pairs. The start reduces the columns by their least cost and then gives each row its
 * cheapest column if that is free; n stands for unassigned. */
static void start(unsigned n, const double *cost, double *price, unsigned *row_of, unsigned *column_of) {
    for (unsigned j = 0; j < n; j++) {
        row_of[j] = column_of[j] = n;
        price[j] = INFINITY;
    }
    for (unsigned i = 0; i < n; i++)
        for (unsigned j = 0; j < n; j++) price[j] = cost[i * n + j] < price[j] ? cost[i * n + j] : price[j];
    for (unsigned i = 0; i < n; i++) {
        unsigned best = 0;
        for (unsigned j = 1; j < n; j++)
            if (cost[i * n + j] - price[j] < cost[i * n + best] - price[best]) best = j;
        if (row_of[best] != n) continue;
        row_of[best] = i;
        column_of[i] = best;
    }
}

/* Dijkstra's search from a free row to the nearest free column; then updates prices and the assignment along the
 * path. */
static void augment(unsigned n, unsigned free_row, const double *cost, double *price, double *distance,
                    unsigned *row_of, unsigned *column_of, unsigned *from, unsigned *left) {
    unsigned num_left = n, row = free_row, last;
    double so_far = 0;
    for (unsigned j = 0; j < n; j++) {
        distance[j] = INFINITY;
        left[j] = j;
    }
    /* left [0 ... num_left - 1] are the columns without a final distance; those with one come after them, the latest
     * first */
    for (;;) {
        const double row_price = column_of[row] != n ? cost[row * n + column_of[row]] - price[column_of[row]] : 0;
        unsigned nearest = 0;
        for (unsigned l = 0; l < num_left; l++) {
            const unsigned j = left[l];
            const double through = so_far + cost[row * n + j] - price[j] - row_price;
            if (through < distance[j]) {
                distance[j] = through;
                from[j] = row;
            }
            if (distance[j] < distance[left[nearest]]) nearest = l;
        }
        last = left[nearest];
        left[nearest] = left[--num_left];
        left[num_left] = last;
        so_far = distance[last];
        if (row_of[last] == n) break;
        row = row_of[last];
    }
    for (unsigned l = num_left; l < n; l++) price[left[l]] += distance[left[l]] - so_far;
    for (unsigned column = last;;) {
        row = from[column];
        const unsigned next = column_of[row];
        row_of[column] = row;
        column_of[row] = column;
        if (row == free_row) break;
        column = next;
    }
}

void eqf__assign(unsigned n, const double *cost, double *doubles, unsigned *indices, unsigned *columns_out) {
    double *price = doubles, *distance = doubles + n;
    unsigned *row_of = indices, *from = indices + n, *left = indices + 2 * (size_t)n;
    start(n, cost, price, row_of, columns_out);
    for (unsigned i = 0; i < n; i++)
        if (columns_out[i] == n) augment(n, i, cost, price, distance, row_of, columns_out, from, left);
}
