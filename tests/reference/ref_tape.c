/* The tape of vectors of dual numbers. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ref_tape.h"

/* Below it a distance has no derivative (docs/method.md, "The message field"). */
static const double smallest_distance = 1e-9;

typedef enum operation_kind { PRODUCT, APPLY, NORM, GAUSSIANS } operation_kind;

typedef struct operation {
    operation_kind kind;
    ref_node *out;
    ref_node *a, *b;
    ref_product rule;
    ref_function function;
    double settings[2];
    const double *center;
    double gamma;
} operation;

typedef struct ref_tape {
    size_t num_nodes, room_nodes, num_operations, room_operations;
    ref_node **nodes;
    operation *operations;
} ref_tape;

static void *grown(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (!memory) abort();
    return memory;
}

ref_tape *ref_tape_create(void) {
    ref_tape *tape = calloc(1, sizeof *tape);
    if (!tape) abort();
    return tape;
}

void ref_tape_destroy(ref_tape *tape) {
    if (!tape) return;
    for (size_t i = 0; i < tape->num_nodes; ++i) {
        free(tape->nodes[i]->value);
        free(tape->nodes[i]);
    }
    free(tape->nodes);
    free(tape->operations);
    free(tape);
}

ref_node *ref_tape_node(ref_tape *tape, size_t count) {
    if (tape->num_nodes == tape->room_nodes) {
        tape->room_nodes = tape->room_nodes ? 2 * tape->room_nodes : 1024;
        tape->nodes = grown(tape->nodes, tape->room_nodes * sizeof(ref_node *));
    }
    ref_node *node = calloc(1, sizeof *node);
    double *memory = calloc(4 * count, sizeof *memory);
    if (!node || !memory) abort();
    *node = (ref_node){count, memory, memory + count, memory + 2 * count, memory + 3 * count};
    return tape->nodes[tape->num_nodes++] = node;
}

static operation *record(ref_tape *tape, operation_kind kind, ref_node *out, const ref_node *a, const ref_node *b) {
    if (tape->num_operations == tape->room_operations) {
        tape->room_operations = tape->room_operations ? 2 * tape->room_operations : 1024;
        tape->operations = grown(tape->operations, tape->room_operations * sizeof(operation));
    }
    operation *op = tape->operations + tape->num_operations++;
    memset(op, 0, sizeof *op);
    op->kind = kind;
    op->out = out;
    op->a = (ref_node *)a; /* the tape's own nodes: const only promises that recording changes nothing */
    op->b = (ref_node *)b;
    return op;
}

/* out += factor a b */
static void multiply(const ref_product *rule, double *out, const double *a, const double *b) {
    out += rule->out_offset;
    a += rule->a_offset;
    b += rule->b_offset;
    for (size_t p = 0; p < rule->P; ++p)
        for (size_t q = 0; q < rule->Q; ++q)
            for (size_t r = 0; r < rule->R; ++r)
                out[p * rule->out[0] + q * rule->out[1] + r * rule->out[2]] +=
                    rule->factor * a[p * rule->a[0] + q * rule->a[1] + r * rule->a[2]] *
                    b[p * rule->b[0] + q * rule->b[1] + r * rule->b[2]];
}

/* The same sum with the parts exchanged: what a gets of the gradient by out, by_a += factor by_out b; and what b
 * gets. */
static ref_product for_a(const ref_product *rule) {
    ref_product turned = *rule;
    memcpy(turned.out, rule->a, sizeof turned.out);
    memcpy(turned.a, rule->out, sizeof turned.a);
    turned.out_offset = rule->a_offset;
    turned.a_offset = rule->out_offset;
    return turned;
}

static ref_product for_b(const ref_product *rule) {
    ref_product turned = *rule;
    memcpy(turned.out, rule->b, sizeof turned.out);
    memcpy(turned.b, rule->out, sizeof turned.b);
    turned.out_offset = rule->b_offset;
    turned.b_offset = rule->out_offset;
    return turned;
}

void ref_tape_product(ref_tape *tape, ref_node *out, const ref_node *a, const ref_node *b, ref_product rule) {
    record(tape, PRODUCT, out, a, b)->rule = rule;
    multiply(&rule, out->value, a->value, b->value);
}

ref_node *ref_tape_apply(ref_tape *tape, ref_function function, const ref_node *a, const double settings[2]) {
    ref_node *out = ref_tape_node(tape, a->count);
    operation *op = record(tape, APPLY, out, a, NULL);
    op->function = function;
    if (settings) memcpy(op->settings, settings, sizeof op->settings);
    for (size_t i = 0; i < out->count; ++i) {
        double s[3];
        function(a->value[i], op->settings, s);
        out->value[i] = s[0];
    }
    return out;
}

static double inner(size_t count, const double *a, const double *b) {
    double sum = 0.0;
    for (size_t i = 0; i < count; ++i) sum += a[i] * b[i];
    return sum;
}

ref_node *ref_tape_norm(ref_tape *tape, const ref_node *a) {
    ref_node *out = ref_tape_node(tape, 1);
    record(tape, NORM, out, a, NULL);
    out->value[0] = sqrt(inner(a->count, a->value, a->value));
    return out;
}

ref_node *ref_tape_gaussians(ref_tape *tape, const ref_node *a, size_t count, const double *center, double gamma) {
    ref_node *out = ref_tape_node(tape, count);
    operation *op = record(tape, GAUSSIANS, out, a, NULL);
    op->center = center;
    op->gamma = gamma;
    for (size_t k = 0; k < count; ++k) {
        double u = (a->value[0] - center[k]) / gamma;
        out->value[k] = exp(-u * u);
    }
    return out;
}

/* The first two derivatives of exp(-((x - center)/gamma)^2). */
static void gaussian_derivatives(double x, double center, double gamma, double value, double out[2]) {
    double u = (x - center) / gamma;
    out[0] = -2.0 * u / gamma * value;
    out[1] = (4.0 * u * u - 2.0) / (gamma * gamma) * value;
}

static void tangent(const operation *op) {
    ref_node *out = op->out;
    const ref_node *a = op->a, *b = op->b;
    if (op->kind == PRODUCT) {
        multiply(&op->rule, out->tangent, a->tangent, b->value);
        multiply(&op->rule, out->tangent, a->value, b->tangent);
    } else if (op->kind == NORM) {
        double d = out->value[0];
        out->tangent[0] = d < smallest_distance ? 0.0 : inner(a->count, a->value, a->tangent) / d;
    } else {
        for (size_t i = 0; i < out->count; ++i) {
            double s[3];
            if (op->kind == APPLY) {
                op->function(a->value[i], op->settings, s);
                out->tangent[i] = s[1] * a->tangent[i];
            } else {
                gaussian_derivatives(a->value[0], op->center[i], op->gamma, out->value[i], s);
                out->tangent[i] = s[0] * a->tangent[0];
            }
        }
    }
}

void ref_tape_tangents(ref_tape *tape) {
    for (size_t i = 0; i < tape->num_operations; ++i) {
        ref_node *out = tape->operations[i].out;
        memset(out->tangent, 0, out->count * sizeof *out->tangent);
    }
    for (size_t i = 0; i < tape->num_operations; ++i) tangent(tape->operations + i);
}

void ref_tape_clear_gradients(ref_tape *tape) {
    for (size_t i = 0; i < tape->num_nodes; ++i)
        memset(tape->nodes[i]->by_value, 0, 2 * tape->nodes[i]->count * sizeof(double));
}

void ref_tape_clear_tangents(ref_tape *tape) {
    for (size_t i = 0; i < tape->num_nodes; ++i)
        memset(tape->nodes[i]->tangent, 0, tape->nodes[i]->count * sizeof(double));
}

/* d = |a|, d' = a.a'/d: by a: by_d a/d + by_d' (a'/d - a (a.a')/d^3); by a': by_d' a/d. */
static void reverse_norm(const operation *op) {
    const ref_node *out = op->out;
    ref_node *a = op->a;
    double d = out->value[0];
    if (d < smallest_distance) return;
    double along = inner(a->count, a->value, a->tangent);
    for (size_t i = 0; i < a->count; ++i) {
        a->by_value[i] += out->by_value[0] * a->value[i] / d +
                          out->by_tangent[0] * (a->tangent[i] / d - a->value[i] * along / (d * d * d));
        a->by_tangent[i] += out->by_tangent[0] * a->value[i] / d;
    }
}

static void reverse(const operation *op) {
    const ref_node *out = op->out;
    ref_node *a = op->a, *b = op->b;
    if (op->kind == NORM) {
        reverse_norm(op);
        return;
    }
    if (op->kind == PRODUCT) {
        /* value = a b, tangent = a' b + a b' */
        ref_product to_a = for_a(&op->rule), to_b = for_b(&op->rule);
        multiply(&to_a, a->by_value, out->by_value, b->value);
        multiply(&to_a, a->by_value, out->by_tangent, b->tangent);
        multiply(&to_a, a->by_tangent, out->by_tangent, b->value);
        multiply(&to_b, b->by_value, a->value, out->by_value);
        multiply(&to_b, b->by_value, a->tangent, out->by_tangent);
        multiply(&to_b, b->by_tangent, a->value, out->by_tangent);
        return;
    }
    for (size_t i = 0; i < out->count; ++i) { /* value = s(a), tangent = s'(a) a' */
        double s[3];
        size_t from = op->kind == APPLY ? i : 0;
        if (op->kind == APPLY)
            op->function(a->value[from], op->settings, s);
        else
            gaussian_derivatives(a->value[from], op->center[i], op->gamma, out->value[i], s + 1);
        a->by_value[from] += out->by_value[i] * s[1] + out->by_tangent[i] * s[2] * a->tangent[from];
        a->by_tangent[from] += out->by_tangent[i] * s[1];
    }
}

void ref_tape_reverse(ref_tape *tape) {
    for (size_t i = tape->num_operations; i > 0; --i) reverse(tape->operations + i - 1);
}
