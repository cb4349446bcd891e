/* Potentials on the device: kernel text, constants, and batches of energies and forces. */
#include "eqflow/potential.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "budget.h"
#include "host_reference.h"
#include "ocl.h"
#include "potential.h"
#include "program.h"

/* Constants go into kernel text as literals of the precision that the kernel computes in. */
typedef enum literal_kind { FLOAT_LITERAL, DOUBLE_LITERAL } literal_kind;

enum { LITERAL_BYTES = 64 };

/* The value as kernel text, with the nine (17) digits that fix a float (double). printf follows the locale's decimal
 * point, the kernel compiler does not: whatever stands after the first digit becomes a point. */
static void write_literal(literal_kind kind, double value, char literal[LITERAL_BYTES]) {
    char number[LITERAL_BYTES - 8];
    if (kind == FLOAT_LITERAL)
        snprintf(number, sizeof number, "%.8e", (double)(float)value);
    else
        snprintf(number, sizeof number, "%.16e", value);
    size_t lead = number[0] == '-' ? 2 : 1;
    size_t fraction = lead + strcspn(number + lead, "0123456789");
    snprintf(literal, LITERAL_BYTES, "%.*s.%s%s", (int)lead, number, number + fraction,
             kind == FLOAT_LITERAL ? "f" : "");
}

/* Appends -D name=value. */
static eqf_status append_define(eqf_context *ctx, literal_kind kind, char *buffer, size_t size, const char *name,
                                double value) {
    char number[LITERAL_BYTES];
    if (!(fabs(value) <= FLT_MAX))
        return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT,
                         "the potential's %s is %g in units of kT, beyond float32: choose other units", name, value);
    write_literal(kind, value, number);
    size_t length = strlen(buffer);
    snprintf(buffer + length, size - length, " -D %s=%s", name, number);
    return EQF_OK;
}

/* The same, but a constant that vanishes is left undefined and its term out of the kernel: 0 * inf would be NaN. */
static eqf_status append_define_unless_zero(eqf_context *ctx, literal_kind kind, char *buffer, size_t size,
                                            const char *name, double value) {
    return (float)fmin(fabs(value), FLT_MAX) > 0.0f ? append_define(ctx, kind, buffer, size, name, value) : EQF_OK;
}

static eqf_status program_defines(eqf_context *ctx, const eqf_potential_options *potential, literal_kind kind,
                                  char *buffer, size_t size) {
    EQF__TRY(eqf_potential_check(ctx, potential));
    double T = potential->temperature, r_min = potential->r_min;
    snprintf(buffer, size, "-D N=%u -D D=%u", potential->num_particles, potential->space_dim);
    if (potential->kind == EQF_POTENTIAL_DOUBLE_WELL) {
        EQF__TRY(append_define(ctx, kind, buffer, size, "DW_OFFSET", potential->distance_offset));
        EQF__TRY(append_define(ctx, kind, buffer, size, "DW_LINEAR", potential->linear / T));
        EQF__TRY(append_define(ctx, kind, buffer, size, "DW_QUADRATIC", potential->quadratic / T));
        return append_define(ctx, kind, buffer, size, "DW_QUARTIC", potential->quartic / T);
    }
    if (potential->kind == EQF_POTENTIAL_USER) return append_define(ctx, kind, buffer, size, "USER_BETA", 1.0 / T);
    double trap = potential->trap_strength / (2.0 * potential->num_particles * T);
    EQF__TRY(append_define(ctx, kind, buffer, size, "LJ_SQUARED_R_MIN", r_min * r_min));
    EQF__TRY(append_define_unless_zero(ctx, kind, buffer, size, "LJ_EPSILON", potential->epsilon / T));
    return append_define_unless_zero(ctx, kind, buffer, size, "LJ_TRAP", trap);
}

/* ---- Files ------------------------------------------------------------------------------------ */

/* The user's text with its constants as macros around it, and with its own name and lines for the compiler's messages.
 * Both precisions are written, as the text serves both. */
static eqf_status write_user_text(eqf_context *ctx, const eqf_potential_options *potential, char **text_out) {
    const size_t line_bytes = sizeof potential->constants[0].name + LITERAL_BYTES + 64;
    size_t size = strlen(potential->source) + 512 + 2 * potential->num_constants * line_bytes, length = 0;
    char *text = eqf__alloc(ctx, size, 1, "kernel text");
    *text_out = text;
    if (text == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    for (unsigned c = 0; c < potential->num_constants; c++) {
        char single[LITERAL_BYTES], twofold[LITERAL_BYTES];
        write_literal(FLOAT_LITERAL, potential->constants[c].value, single);
        write_literal(DOUBLE_LITERAL, potential->constants[c].value, twofold);
        length += (size_t)snprintf(text + length, size - length,
                                   "#ifdef USE_DOUBLE\n#define %s (%s)\n#else\n#define %s (%s)\n#endif\n",
                                   potential->constants[c].name, twofold, potential->constants[c].name, single);
    }
    char name[224];
    snprintf(name, sizeof name, "%s", potential->source_name != NULL ? potential->source_name : "potential.cl");
    for (char *c = name; *c != '\0'; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 32) *c = '_'; /* it stands in a string of the text */
    length += (size_t)snprintf(text + length, size - length, "#line 1 \"%s\"\n%s\n", name, potential->source);
    /* Buffers have the sizes that we know of. */
    length += (size_t)snprintf(text + length, size - length,
                               "#if !defined(N) || N != %u || !defined(D) || D != %u || defined(real)\n"
                               "#error N, D or real is redefined\n#endif\n",
                               potential->num_particles, potential->space_dim);
    for (unsigned c = 0; c < potential->num_constants; c++)
        length += (size_t)snprintf(text + length, size - length, "#undef %s\n", potential->constants[c].name);
    return EQF_OK;
}

/* A name that no file has stands for text that could not be kept: eqf__program_get then fails with it. */
static const char *user_file(eqf_context *ctx, const eqf_potential_options *potential) {
    char *text;
    const char *file = NULL;
    if (write_user_text(ctx, potential, &text) == EQF_OK && eqf__program_keep_text(ctx, text, &file) != EQF_OK)
        file = NULL;
    free(text);
    return file != NULL ? file : "text/none: out of memory";
}

const char *eqf__potential_kernel_file(eqf_context *ctx, const eqf_potential_options *potential) {
    if (potential->kind == EQF_POTENTIAL_USER) return user_file(ctx, potential);
    return potential->kind == EQF_POTENTIAL_LENNARD_JONES ? "potential/lennard_jones.clh" : "potential/double_well.clh";
}

const char *eqf__potential_sum_file(const eqf_potential_options *potential) {
    return potential->kind == EQF_POTENTIAL_USER ? "potential/user.clh" : "potential/pair_sum.clh";
}

eqf_status eqf__potential_program_defines(eqf_context *ctx, const eqf_potential_options *potential, char *buffer,
                                          size_t size) {
    return program_defines(ctx, potential, FLOAT_LITERAL, buffer, size);
}

eqf_status eqf__potential_program_defines_double(eqf_context *ctx, const eqf_potential_options *potential, char *buffer,
                                                 size_t size) {
    return program_defines(ctx, potential, DOUBLE_LITERAL, buffer, size);
}

/* Samples evaluated in one go: bounds the device memory. */
#define CHUNK_REALS ((size_t)1 << 23)

typedef struct evaluation {
    eqf__program *program;
    eqf__kernel pack, unpack, energy, force;
    cl_mem x, x_blocked, result, result_blocked;
} evaluation;

static void evaluation_clear(evaluation *work) {
    eqf__kernel_destroy(&work->pack);
    eqf__kernel_destroy(&work->unpack);
    eqf__kernel_destroy(&work->energy);
    eqf__kernel_destroy(&work->force);
    eqf__buffer_destroy(&work->x);
    eqf__buffer_destroy(&work->x_blocked);
    eqf__buffer_destroy(&work->result);
    eqf__buffer_destroy(&work->result_blocked);
}

/* A configuration's energy and force are a work-item's: pairs and their coordinates, and passes over all coordinates. A user's text may
 * loop otherwise, but is likely to be such a sum. */
static eqf_status check_budget(eqf_context *ctx, const eqf_potential_options *potential) {
    const uint64_t N = potential->num_particles, D = potential->space_dim;
    if (eqf__budget_units(ctx, N * (N - 1) / 2 * (2 * D + 1) + 4 * N * D, 0, 1) > 0) return EQF_OK;
    return eqf__budget_refuse(ctx, "energy", potential->num_particles, "");
}

static eqf_status evaluation_prepare(eqf_context *ctx, const eqf_potential_options *potential, size_t chunk,
                                     bool has_force, evaluation *work) {
    eqf__device *device;
    EQF__TRY(eqf__device_get(ctx, &device));
    EQF__TRY(check_budget(ctx, potential));
    char defines[EQF__POTENTIAL_DEFINES_SIZE];
    EQF__TRY(eqf__potential_program_defines(ctx, potential, defines, sizeof defines));
    const char *files[] = {"common/real.clh", EQF__POTENTIAL_FILES(ctx, potential), "potential/energy.cl",
                           "common/pack.cl", NULL};
    EQF__TRY(eqf__program_get(ctx, "potential", files, defines, &work->program));
    eqf__program *program = work->program;
    EQF__TRY(eqf__kernel_create(ctx, program, "pack", &work->pack));
    EQF__TRY(eqf__kernel_create(ctx, program, "unpack", &work->unpack));
    EQF__TRY(eqf__kernel_create(ctx, program, "evaluate_energy", &work->energy));
    EQF__TRY(eqf__kernel_create(ctx, program, "evaluate_force", &work->force));
    size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    size_t padded = (chunk + device->vector_width - 1) / device->vector_width * device->vector_width;
    size_t result_reals = padded * (has_force ? num_dof : 1);
    EQF__TRY(eqf__buffer_create(ctx, padded * num_dof * sizeof(float), NULL, "the configurations", &work->x));
    EQF__TRY(eqf__buffer_create(ctx, padded * num_dof * sizeof(float), NULL, "the configurations", &work->x_blocked));
    EQF__TRY(eqf__buffer_create(ctx, result_reals * sizeof(float), NULL, "the energies and forces", &work->result));
    return eqf__buffer_create(ctx, result_reals * sizeof(float), NULL, "the energies and forces",
                              &work->result_blocked);
}

/* x [batch_size, N*D] -> energy_out [batch_size] or NULL, force_out [batch_size, N*D] or NULL, batch_size at most a
 * chunk. */
static eqf_status evaluate_chunk(eqf_context *ctx, const evaluation *work, cl_uint batch_size, cl_uint num_dof,
                                 const float *x, float *energy_out, float *force_out) {
    unsigned V = ctx->device->vector_width;
    cl_uint num_blocks = (batch_size + V - 1) / V, one = 1;
    EQF__TRY(eqf__buffer_write(ctx, work->x, 0, (size_t)batch_size * num_dof * sizeof(float), x));
    EQF__TRY(EQF__LAUNCH(ctx, &work->pack, num_blocks, 0, EQF__ARG(work->x), EQF__ARG(work->x_blocked),
                         EQF__ARG(batch_size), EQF__ARG(num_dof)));
    if (energy_out != NULL) {
        EQF__TRY(EQF__LAUNCH(ctx, &work->energy, num_blocks, 0, EQF__ARG(work->x_blocked),
                             EQF__ARG(work->result_blocked), EQF__ARG(num_blocks)));
        EQF__TRY(EQF__LAUNCH(ctx, &work->unpack, num_blocks, 0, EQF__ARG(work->result_blocked),
                             EQF__ARG(work->result), EQF__ARG(batch_size), EQF__ARG(one)));
        EQF__TRY(eqf__buffer_read(ctx, work->result, 0, (size_t)batch_size * sizeof(float), energy_out));
    }
    if (force_out != NULL) {
        EQF__TRY(EQF__LAUNCH(ctx, &work->force, num_blocks, 0, EQF__ARG(work->x_blocked),
                             EQF__ARG(work->result_blocked), EQF__ARG(num_blocks)));
        EQF__TRY(EQF__LAUNCH(ctx, &work->unpack, num_blocks, 0, EQF__ARG(work->result_blocked),
                             EQF__ARG(work->result), EQF__ARG(batch_size), EQF__ARG(num_dof)));
        EQF__TRY(eqf__buffer_read(ctx, work->result, 0, (size_t)batch_size * num_dof * sizeof(float), force_out));
    }
    return EQF_OK;
}

/* ---- Known answers ------------------------------------------------------------------------------------------------------ */

enum { TRIAL_BATCH = 2 };

/* Energies, and forces along one direction through all coordinates, against the host's. The user's own text has been checked against
 * itself when it was loaded (verify.c). */
static eqf_status try_potential(eqf_context *ctx, const eqf_potential_options *potential, evaluation *work, double *x,
                                float *h_x, float *force) {
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    float energy[TRIAL_BATCH];
    double worst = 0, worst_force = 0;
    for (unsigned b = 0; b < TRIAL_BATCH; b++) {
        eqf__host_lattice(potential, b, x);
        for (size_t c = 0; c < num_dof; c++) h_x[b * num_dof + c] = (float)x[c];
    }
    EQF__TRY(evaluate_chunk(ctx, work, TRIAL_BATCH, (cl_uint)num_dof, h_x, energy, force));
    for (unsigned b = 0; b < TRIAL_BATCH; b++) {
        for (size_t c = 0; c < num_dof; c++) x[c] = h_x[b * num_dof + c];
        const double expected = eqf__host_energy(potential, x), step = 1e-6;
        double along = 0, norm = 0, values[2], scale = 1 + fabs(expected) + potential->num_particles;
        worst = eqf__host_worse(worst, fabs(expected - (double)energy[b]) / scale);
        for (size_t c = 0; c < num_dof; c++) {
            along += force[b * num_dof + c] * eqf__host_number((unsigned)c, 5);
            norm += (double)force[b * num_dof + c] * force[b * num_dof + c];
        }
        for (int end = 0; end < 2; end++) {
            for (size_t c = 0; c < num_dof; c++)
                x[c] = h_x[b * num_dof + c] + (end ? step : -step) * eqf__host_number((unsigned)c, 5);
            values[end] = eqf__host_energy(potential, x);
        }
        worst_force =
            eqf__host_worse(worst_force, fabs((values[0] - values[1]) / (2 * step) - along) / (sqrt(norm) + 1));
    }
    const eqf__verdict of_energies = {"energies", worst, 1e-4, eqf__plain_width(ctx)};
    const eqf__verdict of_forces = {"forces", worst_force, 1e-3, eqf__plain_width(ctx)};
    EQF__TRY(eqf__program_judge(ctx, &of_energies, 1, &work->program));
    EQF__TRY(eqf__program_judge(ctx, &of_forces, 1, &work->program));
    eqf__program_trust(ctx, work->program, EQF__ANSWERS_OF_VALUES);
    return EQF_OK;
}

static eqf_status check_answers(eqf_context *ctx, const eqf_potential_options *potential) {
    const size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    evaluation work = {0};
    double *x = eqf__alloc(ctx, num_dof, sizeof *x, "the known answers");
    float *h_x = eqf__alloc(ctx, TRIAL_BATCH * num_dof, sizeof *h_x, "the known answers");
    float *force = eqf__alloc(ctx, TRIAL_BATCH * num_dof, sizeof *force, "the known answers");
    eqf_status status = x == NULL || h_x == NULL || force == NULL
                            ? EQF_ERROR_OUT_OF_MEMORY
                            : evaluation_prepare(ctx, potential, TRIAL_BATCH, true, &work);
    if (status == EQF_OK) status = try_potential(ctx, potential, &work, x, h_x, force);
    evaluation_clear(&work);
    free(x);
    free(h_x);
    free(force);
    return status;
}

eqf_status eqf_potential_evaluate(eqf_context *ctx, const eqf_potential_options *potential, size_t batch_size,
                                  const float *x, float *energy_out, float *force_out) {
    EQF__NOT_NULL(ctx, ctx);
    EQF__TRY(eqf_potential_check(ctx, potential));
    if (batch_size == 0 || (energy_out == NULL && force_out == NULL)) return EQF_OK;
    if (x == NULL) return eqf__fail(ctx, EQF_ERROR_INVALID_ARGUMENT, "no configurations: x is NULL");
    size_t num_dof = (size_t)potential->num_particles * potential->space_dim;
    size_t chunk = num_dof < CHUNK_REALS ? CHUNK_REALS / num_dof : 1;
    if (chunk > batch_size) chunk = batch_size;

    evaluation work = {0};
    eqf_status status = evaluation_prepare(ctx, potential, chunk, force_out != NULL, &work);
    if (status == EQF_OK && potential->kind != EQF_POTENTIAL_USER && !ctx->is_in_trial &&
        !eqf__program_is_trusted(work.program, EQF__ANSWERS_OF_VALUES))
        status = check_answers(ctx, potential);
    for (size_t first = 0; status == EQF_OK && first < batch_size; first += chunk) {
        size_t count = batch_size - first < chunk ? batch_size - first : chunk;
        status = evaluate_chunk(ctx, &work, (cl_uint)count, (cl_uint)num_dof, x + first * num_dof,
                                energy_out == NULL ? NULL : energy_out + first,
                                force_out == NULL ? NULL : force_out + first * num_dof);
    }
    evaluation_clear(&work);
    return status;
}
