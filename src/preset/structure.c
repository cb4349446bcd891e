/* Structures of the lowest known minima: the Mackay icosahedra of 13 and 55 particles (Mackay, Acta Cryst. 15 (1962)
 * 916), and the truncated octahedron of 38, a piece of the fcc lattice. They are the lowest known of free
 * Lennard-Jones clusters (Wales and Doye, J. Phys. Chem. A 101 (1997) 5111; Cambridge Cluster Database). */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base.h"
#include "eqflow/preset.h"

static void put(float *x, unsigned *num, double scale, double a, double b, double c) {
    float *place = x + 3 * (*num)++;
    place[0] = (float)(scale * a);
    place[1] = (float)(scale * b);
    place[2] = (float)(scale * c);
}

/* Vertex v of an icosahedron with edges of length 2: cyclic orders of (0, +-1, +-golden ratio). */
static void vertex(unsigned v, double out[3]) {
    const double golden = 0.5 * (1 + sqrt(5)), one = v & 1 ? -1 : 1, other = v & 2 ? -golden : golden;
    const unsigned turn = v / 4;
    out[turn] = 0;
    out[(turn + 1) % 3] = one;
    out[(turn + 2) % 3] = other;
}

/* num_shells 1: the centre and 12 vertices, 13 points. num_shells 2: also the vertices at twice the distance and the
 * middles of the edges between these, 55 points. */
static void icosahedron(unsigned num_shells, double length, float *x) {
    /* Edges are a twentieth longer than the distance to the centre; a scale between the two gives the least strain. */
    const double scale = 0.5 * 1.02 * length;
    unsigned num = 0;
    put(x, &num, scale, 0, 0, 0);
    for (unsigned v = 0; v < 12; v++) {
        double a[3];
        vertex(v, a);
        for (unsigned s = 1; s <= num_shells; s++) put(x, &num, scale * s, a[0], a[1], a[2]);
        for (unsigned w = 0; w < v && num_shells == 2; w++) {
            double b[3], square = 0;
            vertex(w, b);
            for (unsigned d = 0; d < 3; d++) square += (a[d] - b[d]) * (a[d] - b[d]);
            if (square < 4.1) put(x, &num, scale, a[0] + b[0], a[1] + b[1], a[2] + b[2]);
        }
    }
}

/* The lattice points with an odd sum of coordinates and at most sqrt(5) from the origin: 6 + 8 + 24. */
static void truncated_octahedron(double length, float *x) {
    unsigned num = 0;
    for (int a = -2; a <= 2; a++)
        for (int b = -2; b <= 2; b++)
            for (int c = -2; c <= 2; c++)
                if ((a + b + c) % 2 != 0 && a * a + b * b + c * c <= 5) put(x, &num, length / sqrt(2), a, b, c);
}

bool eqf_preset_minimum_structure(const eqf_preset *preset, float *x_out) {
    if (preset == NULL || x_out == NULL) return false;
    const double length = eqf_potential_length(&preset->model->potential);
    if (strcmp(preset->name, "lj13") == 0)
        icosahedron(1, length, x_out);
    else if (strcmp(preset->name, "lj38") == 0)
        truncated_octahedron(length, x_out);
    else if (strcmp(preset->name, "lj55") == 0)
        icosahedron(2, length, x_out);
    else
        return false;
    return true;
}
