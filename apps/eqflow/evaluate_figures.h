/* The figures of an evaluation: one list for stdout, JSON and the report. */
#ifndef EVALUATE_FIGURES_H
#define EVALUATE_FIGURES_H

#include <stdbool.h>

#include "eqflow/evaluate.h"

enum { MAX_EVALUATE_FIGURES = 48 };

typedef struct evaluate_figure {
    const char *key, *label;
    double value;
    const char *note;
    bool is_count;
} evaluate_figure;

/* Returns the number of figures. */
size_t evaluate_figures_list(const eqf_evaluation_figures *of, evaluate_figure figures_out[MAX_EVALUATE_FIGURES]);

#endif
