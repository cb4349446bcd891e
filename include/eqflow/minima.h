/* Minima of a potential: many configurations are quenched on the device and grouped into distinct minima.
 * Method and sources: docs/minima.md. */
#ifndef EQFLOW_MINIMA_H
#define EQFLOW_MINIMA_H

#include <stdbool.h>
#include <stdint.h>

#include "eqflow/potential.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Quench ----------------------------------------------------------------------------------- */

/* How the quench of one configuration ended. X(name, text). */
#define EQF_QUENCH_RESULT_MAP(X)                                                                 \
    X(MINIMUM, "minimum")                    /* gradient below the tolerance, no way down */     \
    X(SADDLE, "saddle")                      /* still a saddle point after max_escapes attempts */ \
    X(UNFINISHED, "unfinished")              /* max_steps were not enough */                     \
    X(DISSOCIATED, "dissociated")            /* fell into parts without forces between them */   \
    X(NON_FINITE, "non-finite")              /* a coordinate of the input was NaN or infinite */
typedef enum eqf_quench_result {
#define EQF_QUENCH_RESULT_ENUM(name, text) EQF_QUENCH_##name,
    EQF_QUENCH_RESULT_MAP(EQF_QUENCH_RESULT_ENUM)
#undef EQF_QUENCH_RESULT_ENUM
    EQF_QUENCH_NUM_RESULTS
} eqf_quench_result;
/* Static texts; NULL if unknown. */
const char *eqf_quench_result_text(eqf_quench_result result);

typedef enum eqf_quench_precision {
    EQF_QUENCH_BEST, /* double where the device has it, else float */
    EQF_QUENCH_DOUBLE,
    EQF_QUENCH_FLOAT
} eqf_quench_precision;

typedef struct eqf_quench_options {
    size_t struct_size; /* set by EQF_QUENCH_OPTIONS_INIT */
    eqf_quench_precision precision;
    double gradient_tolerance;   /* |grad u|, kT per length; 0: chosen from the potential and the precision. A value
                                    that rounding cannot reach is raised; the summary has the one that was used */
    unsigned max_steps;          /* of one descent; 0: 50000 */
    double largest_displacement; /* of a coordinate in a step; 0: a tenth of the potential's length */
    unsigned max_escapes;        /* times a saddle point is left (10 in INIT); 0: saddle points are only reported */
    eqf_progress_callback progress;
    void *progress_user;
} eqf_quench_options;
#define EQF_QUENCH_OPTIONS_INIT \
    { .struct_size = sizeof(eqf_quench_options), .precision = EQF_QUENCH_BEST, .max_escapes = 10 }

typedef struct eqf_quench_summary {
    size_t struct_size; /* set by EQF_QUENCH_SUMMARY_INIT */
    bool is_double;                         /* the precision that was used */
    double gradient_tolerance;              /* the one that was used */
    size_t counts[EQF_QUENCH_NUM_RESULTS];  /* configurations by result */
    size_t num_escapes;                     /* saddle points left on the way */
    double mean_steps;                      /* per configuration with finite input */
} eqf_quench_summary;
#define EQF_QUENCH_SUMMARY_INIT {.struct_size = sizeof(eqf_quench_summary)}

/* Descends from every x [B, N, D] float32 to a minimum of the potential: x_out [B, N, D] double, centred; energy_out
 * [B] and gradient_norm_out [B] double, or NULL; result_out [B]; summary_out or NULL. The result of a configuration
 * does not depend on the others. Non-finite input gives NaN for that configuration only. B = 0 is allowed. Errors:
 * INVALID_ARGUMENT, UNSUPPORTED (double on a device without it), INTERRUPTED, OUT_OF_MEMORY, the device's. */
eqf_status eqf_minima_quench(eqf_context *ctx, const eqf_potential_options *potential,
                             const eqf_quench_options *options, size_t batch_size, const float *x, double *x_out,
                             double *energy_out, double *gradient_norm_out, eqf_quench_result *result_out,
                             eqf_quench_summary *summary_out);

/* Random starts first_start ... first_start + num_starts - 1 of the stream `seed`: particles uniform in a ball that is
 * wide enough for every minimum; x_out [num_starts, N, D], centred. Computed on the host. */
eqf_status eqf_minima_random_starts(eqf_context *ctx, const eqf_potential_options *potential, uint64_t seed,
                                    uint64_t first_start, size_t num_starts, float *x_out);

/* ---- Distinct minima -------------------------------------------------------------------------- */

typedef struct eqf_minima_group_options {
    size_t struct_size; /* set by EQF_MINIMA_GROUP_OPTIONS_INIT */
    double energy_tolerance;   /* relative to max(1, |u|); 0: 1e-4 (coarse, because the geometry is compared too) */
    double distance_tolerance; /* largest distance of matching particles; 0: 0.01 of the potential's length */
} eqf_minima_group_options;
#define EQF_MINIMA_GROUP_OPTIONS_INIT {.struct_size = sizeof(eqf_minima_group_options)}

typedef struct eqf_minimum {
    size_t struct_size;    /* set by the library */
    double energy;         /* of the representative: the lowest of its group */
    size_t count;          /* configurations in the group */
    size_t representative; /* index of a configuration */
    unsigned char reserved[32]; /* 0: see eqflow/context.h */
} eqf_minimum;

#define EQF_NO_MINIMUM ((size_t)-1)

/* Groups x [B, N, D] that are equal up to translation, rotation, reflection (mirror images count as one) and
 * permutation within the potential's species; energy [B]; result [B] or NULL: if given, only those with
 * EQF_QUENCH_MINIMUM are grouped. minima_out (eqf_free) is sorted by energy; minimum_of_out [B] or NULL: index into
 * minima_out, or EQF_NO_MINIMUM for a configuration that is not grouped. Computed on the host. Errors:
 * INVALID_ARGUMENT, OUT_OF_MEMORY. */
eqf_status eqf_minima_group(eqf_context *ctx, const eqf_potential_options *potential,
                            const eqf_minima_group_options *options, size_t batch_size, const double *x,
                            const double *energy, const eqf_quench_result *result, eqf_minimum **minima_out,
                            size_t *num_minima_out, size_t *minimum_of_out);

#ifdef __cplusplus
}
#endif
#endif
