#include "eqflow/preset.h"

#include <math.h>
#include <string.h>

#include "base.h"

/* Training options of the presets. */
#define TRAINING(batch, steps, rate, penalty, noise, interval, cap)                                                  \
    {                                                                                                                \
        .struct_size = sizeof(eqf_training_options), .batch_size = batch, .num_steps = steps, .learning_rate = rate, \
        .data_noise = noise, .final_learning_rate_fraction = 0.02, .num_warmup_steps = 100, .clip_norm = 10.0,       \
        .average_decay = 0.995, .integration_penalty = penalty, .validation_interval = interval,                     \
        .field_evaluation = EQF_FIELD_TABLE, .nll_weight_start = 1.0, .nll_weight_end = 1.0, .num_generated = batch, \
        .energy_cap = cap, .num_held_out_generated = 16 * (batch), .adaptive = EQF_ADAPTIVE_OPTIONS_INIT             \
    }
#define TRAINING_DW2 &(const eqf_training_options)TRAINING(256, 4000, 1e-2, 10.0, 0.045, 200, (double)INFINITY)
#define TRAINING_DW4 &(const eqf_training_options)TRAINING(256, 4000, 5e-3, 1.0, 0.045, 200, (double)INFINITY)
#define TRAINING_LJ13 &(const eqf_training_options)TRAINING(256, 4000, 5e-3, 0.1, 0.005, 200, 100.0)
#define TRAINING_LJ38 &(const eqf_training_options)TRAINING(64, 2000, 5e-3, 0.1, 0.005, 100, 300.0)
#define TRAINING_LJ55 &(const eqf_training_options)TRAINING(64, 2000, 5e-3, 0.1, 0.005, 100, 500.0)

/* Training sees a small data set at most so many times, because more would fit its noise; but it takes at least this
 * many steps. */
static const double max_epochs = 1000;
static const uint64_t min_steps = 500;

/* The presets' data_noise is for so many samples and shrinks as the width of a kernel density estimate along one
 * distance does, n^(-1/5) (Silverman 1986, section 3.4). Without it the density of a flow drops steeply behind
 * the outermost sample; docs/method.md, section 4, has the measurements. */
static const double num_train_of_noise = 1000;

/* Koehler et al. 2020, section 5: 0.9 (d-4)^4 - 4 (d-4)^2, no linear term. */
#define DOUBLE_WELL(particles, dims)                                                                                 \
    {                                                                                                                \
        .struct_size = sizeof(eqf_potential_options), .kind = EQF_POTENTIAL_DOUBLE_WELL, .num_particles = particles, \
        .space_dim = dims, .temperature = 1.0, .distance_offset = 4.0, .quadratic = -4.0, .quartic = 0.9             \
    }
/* epsilon = 2: the authors' code sums every ordered pair once, and the published data follow it. */
#define LENNARD_JONES(particles)                                                                                       \
    {                                                                                                                  \
        .struct_size = sizeof(eqf_potential_options), .kind = EQF_POTENTIAL_LENNARD_JONES, .num_particles = particles, \
        .space_dim = 3, .temperature = 1.0, .epsilon = 2.0, .r_min = 1.0, .trap_strength = 1.0                         \
    }

/* width r_min = 6: at its minimum a pair is as stiff as a Lennard-Jones one, 72 depth / r_min^2 (Doye and Wales, J.
 * Chem. Soc. Faraday Trans. 93, 4233, 1997). Depth and trap are those of lj13. */
#define MORSE(particles)                                                                                       \
    {                                                                                                          \
        .struct_size = sizeof(eqf_potential_options), .kind = EQF_POTENTIAL_MORSE, .num_particles = particles, \
        .space_dim = 3, .temperature = 1.0, .depth = 2.0, .width = 6.0, .r_min = 1.0, .trap_strength = 1.0     \
    }

/* A droplet of the mixture of Kob and Andersen, Phys. Rev. E 51, 4626 (1995), at T = 1 in the trap of lj13: energies in
 * units of its pair AA, lengths with r_min in place of their sigma. */
#define BINARY(particles, of_b)                                                                                      \
    {                                                                                                                \
        .struct_size = sizeof(eqf_potential_options), .kind = EQF_POTENTIAL_BINARY_LENNARD_JONES,                    \
        .num_particles = particles, .space_dim = 3, .temperature = 1.0, .num_b = of_b, .epsilon_aa = 1.0,            \
        .epsilon_ab = 1.5, .epsilon_bb = 0.5, .r_min_aa = 1.0, .r_min_ab = 0.8, .r_min_bb = 0.88, .trap_strength = 1 \
    }

/* The authors' fields: 50 Gaussians in distance, 10 in time. The dense core has its own widths. */
#define RADIAL_FIELD(how, largest, gamma)                                                                             \
    {                                                                                                                 \
        .struct_size = sizeof(eqf_dynamics_options), .kind = EQF_DYNAMICS_RADIAL, .num_distance = 50, .num_time = 10, \
        .layout = how, .distance_max = largest, .distance_gamma = gamma, .time_gamma = 0.3, .width = 128, .depth = 2  \
    }
#define DOUBLE_WELL_FIELD RADIAL_FIELD(EQF_RADIAL_UNIFORM, 8.0, 0.5)
#define LENNARD_JONES_FIELD RADIAL_FIELD(EQF_RADIAL_DENSE_CORE, 16.0, 0.3)

/* Unit Gaussian prior, RK4 with 20 steps. */
#define MODEL(name, of_potential, field)                                                                         \
    &(const eqf_model_options) {                                                                                 \
        .struct_size = sizeof(eqf_model_options), .preset = name, .potential = of_potential, .prior_scale = 1.0, \
        .dynamics = field, .integrator = EQF_INTEGRATOR_OPTIONS_INIT                                             \
    }

static const eqf_mcmc_options default_chains = EQF_MCMC_OPTIONS_INIT;

/* For targets without independently known figures. */
#define NOTHING_KNOWN .entropy = NAN, .entropy_error = NAN, .log_z = NAN, .log_z_error = NAN, .mean_energy = NAN

/* Known figures: docs/method.md, section 6. dw2 by quadrature; dw4 and lj13 by the Bennett acceptance ratio. Minima:
 * docs/minima.md. */
static const eqf_preset presets[] = {
    {.struct_size = sizeof(eqf_preset),
     .name = "dw2",
     .title = "2 particles in a plane, double-well pair",
     .model = MODEL("dw2", DOUBLE_WELL(2, 2), DOUBLE_WELL_FIELD),
     .training = TRAINING_DW2,
     .mcmc = &default_chains,
     .default_num_train = 100000,
     .entropy = 3.38967,
     .entropy_error = 0.00001,
     .log_z = 7.26039,
     .log_z_error = 0.00001,
     .mean_energy = -3.8707,
     .minimum_energy = -40.0 / 9.0},
    {.struct_size = sizeof(eqf_preset),
     .name = "dw4",
     .title = "4 particles in a plane, double-well pairs",
     .model = MODEL("dw4", DOUBLE_WELL(4, 2), DOUBLE_WELL_FIELD),
     .training = TRAINING_DW4,
     .mcmc = &default_chains,
     .default_num_train = 100000,
     .entropy = 7.126,
     .entropy_error = 0.003,
     .log_z = 29.668,
     .log_z_error = 0.0014,
     .mean_energy = -22.542,
     .minimum_energy = -25.7922},
    {.struct_size = sizeof(eqf_preset),
     .name = "lj13",
     .title = "13 Lennard-Jones particles in a harmonic trap",
     .model = MODEL("lj13", LENNARD_JONES(13), LENNARD_JONES_FIELD),
     .training = TRAINING_LJ13,
     .mcmc = &default_chains,
     .default_num_train = 100000,
     .entropy = 16.95,
     .entropy_error = 0.03,
     .log_z = 59.892,
     .log_z_error = 0.014,
     .mean_energy = -42.945,
     .minimum_energy = -83.089644},
    {.struct_size = sizeof(eqf_preset),
     .name = "lj38",
     .title = "38 Lennard-Jones particles in a harmonic trap",
     .model = MODEL("lj38", LENNARD_JONES(38), LENNARD_JONES_FIELD),
     .training = TRAINING_LJ38,
     .mcmc = &default_chains,
     .default_num_train = 20000,
     NOTHING_KNOWN,
     .minimum_energy = -311.594627},
    {.struct_size = sizeof(eqf_preset),
     .name = "lj55",
     .title = "55 Lennard-Jones particles in a harmonic trap",
     .model = MODEL("lj55", LENNARD_JONES(55), LENNARD_JONES_FIELD),
     .training = TRAINING_LJ55,
     .mcmc = &default_chains,
     .default_num_train = 20000,
     .entropy = 58.09,
     .entropy_error = 0.15,
     .log_z = 383.89,
     .log_z_error = 0.04,
     .mean_energy = -325.8,
     .minimum_energy = -491.641269},
    {.struct_size = sizeof(eqf_preset),
     .name = "morse13",
     .title = "13 Morse particles in a harmonic trap",
     .model = MODEL("morse13", MORSE(13), LENNARD_JONES_FIELD),
     .training = TRAINING_LJ13,
     .mcmc = &default_chains,
     .default_num_train = 100000,
     NOTHING_KNOWN,
     .minimum_energy = NAN},
    {.struct_size = sizeof(eqf_preset),
     .name = "blj13",
     .title = "8 A and 5 B, binary Lennard-Jones particles in a harmonic trap",
     .model = MODEL("blj13", BINARY(13, 5), LENNARD_JONES_FIELD),
     .training = TRAINING_LJ13,
     .mcmc = &default_chains,
     .default_num_train = 100000,
     NOTHING_KNOWN,
     .minimum_energy = NAN},
};

const eqf_preset *eqf_presets(size_t *num_presets_out) {
    if (num_presets_out != NULL) *num_presets_out = sizeof presets / sizeof presets[0];
    return presets;
}

const eqf_preset *eqf_preset_find(const char *name) {
    for (size_t i = 0; name && i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(presets[i].name, name) == 0) return &presets[i];
    }
    return NULL;
}

bool eqf_preset_matches(const eqf_preset *preset, const eqf_potential_options *potential) {
    if (!preset || !potential) return false;
    const eqf_potential_options *own = &preset->model->potential;
    /* Exact comparison on purpose: known figures are valid for these constants only. */
    if (own->kind != potential->kind) return false;
    const eqf_option *option;
    for (size_t i = 0; (option = eqf_potential_common_option(i)) != NULL; i++)
        if (eqf_option_get(option, own) != eqf_option_get(option, potential)) return false;
    for (size_t i = 0; (option = eqf_potential_option(own->kind, i)) != NULL; i++)
        if (eqf_option_get(option, own) != eqf_option_get(option, potential)) return false;
    return true;
}

/* A preset and all that it points to, in one block of memory. */
typedef struct own_preset {
    eqf_preset preset;
    eqf_model_options model;
    eqf_training_options training;
} own_preset;

eqf_status eqf_preset_for_potential(eqf_context *ctx, const eqf_potential_options *potential, eqf_preset **preset_out) {
    EQF__NOT_NULL(ctx, preset_out);
    *preset_out = NULL;
    EQF__TRY(eqf_potential_check(ctx, potential));
    own_preset *own = eqf__alloc(ctx, 1, sizeof *own, "a preset");
    if (own == NULL) return EQF_ERROR_OUT_OF_MEMORY;
    own->preset = *eqf_preset_find("lj13");
    own->model = *own->preset.model;
    own->training = *own->preset.training;
    own->preset.model = &own->model;
    own->preset.training = &own->training;
    own->preset.name = "own";
    own->preset.title = "a system with a potential of its own";
    memset(own->model.preset, 0, sizeof own->model.preset);
    memcpy(own->model.preset, "own", sizeof "own");
    own->model.potential = *potential;
    const double length = eqf_potential_length(potential);
    own->training.data_noise *= length;
    /* The largest distances are those of the prior, about three standard deviations of a dense cluster's. The
     * Gaussians' width is three spacings, as for the double wells. */
    eqf_dynamics_options *field = &own->model.dynamics;
    field->layout = EQF_RADIAL_UNIFORM;
    field->distance_max = 4.0 * length * pow(potential->num_particles, 1.0 / potential->space_dim);
    field->distance_gamma = 3.0 * field->distance_max / (field->num_distance - 1);
    if (eqf_potential_kind_describe(potential->kind)->has_text) /* its scale is unknown */
        own->training.energy_cap = (double)INFINITY;
    own->preset.entropy = own->preset.entropy_error = own->preset.log_z = own->preset.log_z_error = NAN;
    own->preset.mean_energy = own->preset.minimum_energy = NAN;
    *preset_out = &own->preset;
    return EQF_OK;
}

eqf_status eqf_preset_training_options(const eqf_preset *preset, size_t num_train, eqf_training_options *options_out) {
    EQF__NOT_NULL(NULL, preset);
    eqf_training_options options = *preset->training;
    if (num_train == 0) return EQF__WRITE(NULL, EQF_TRAINING_OPTIONS_INIT, &options, options_out); /* energy only */
    if (num_train < options.batch_size) options.batch_size = num_train;
    options.data_noise *= pow((double)num_train / num_train_of_noise, -0.2);
    double steps = max_epochs * (double)num_train / (double)options.batch_size;
    if (steps < (double)min_steps) steps = (double)min_steps;
    if (steps < (double)options.num_steps) options.num_steps = (uint64_t)steps;
    if (options.num_warmup_steps > options.num_steps / 10) options.num_warmup_steps = options.num_steps / 10;
    /* With few steps validate more often, to find the best one. */
    if (options.validation_interval > options.num_steps / 20) options.validation_interval = options.num_steps / 20;
    return EQF__WRITE(NULL, EQF_TRAINING_OPTIONS_INIT, &options, options_out);
}
