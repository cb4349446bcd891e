/* Any bytes as the checkpoint of a small training in two stages: it is restored whole, with what belongs to it in
 * range, or refused with a message. The device is one that a file describes: buffers hold what is written into them,
 * and nothing is computed. */
#define _XOPEN_SOURCE 700

#include "repair_tensors.h"

#include <math.h>
#include <unistd.h>

#include "described.h"
#include "eqflow/train.h"
#include "tensor_file.h"
#include "train_internal.h"

enum { NUM_TRAIN = 8, NUM_DOF = 4 };
static eqf_context *ctx;
static eqf_model *model;
static eqf_trainer *trainer; /* as new */
static float x[NUM_TRAIN * NUM_DOF];

static void make_trainer(void) {
    eqf_training_options stage = EQF_TRAINING_OPTIONS_INIT;
    stage.batch_size = 4;
    stage.num_steps = 10;
    eqf_training_options other = stage;
    other.optimizer = EQF_OPTIMIZER_SOAP;
    const eqf_training_options *const stages[] = {&stage, &other};
    FUZZ_REQUIRE(eqf_trainer_create_stages(ctx, model, 2, stages, NUM_TRAIN, x, NUM_TRAIN, x, &trainer) == EQF_OK);
}

static void make_all(void) {
    static const char device[] = EQF_TEST_PLATFORMS "/nvidia/h200.device";
    eqf_context_options options = EQF_CONTEXT_OPTIONS_INIT;
    options.cache_path = "";
    FUZZ_REQUIRE(eqf_context_create(&options, &ctx) == EQF_OK);
    FUZZ_REQUIRE(eqf__device_open_described(ctx, device, "/nowhere") == EQF_OK);
    eqf_model_options model_options = EQF_MODEL_OPTIONS_INIT;
    model_options.dynamics.num_distance = 2;
    model_options.dynamics.num_time = 1;
    model_options.integrator.num_steps = 2;
    FUZZ_REQUIRE(eqf_model_create(ctx, &model_options, &model) == EQF_OK);
    for (size_t i = 0; i < sizeof x / sizeof *x; i++)
        x[i] = (i / 2 % 2 == 0 ? 1.0f : -1.0f) * (0.5f + 0.01f * (float)(i / 4));
    make_trainer();
}

/* As it was made: what is refused leaves nothing behind. */
static void require_new(void) {
    const float *params = eqf_model_params(trainer->model), *start = eqf_model_params(model);
    size_t num_rows;
    eqf_model_history(trainer->model, &num_rows);
    FUZZ_REQUIRE(trainer->stage == 0 && trainer->step == 0 && num_rows == 0);
    FUZZ_REQUIRE(memcmp(params, start, trainer->num_params * sizeof *params) == 0);
    FUZZ_REQUIRE(memcmp(trainer->best_params, start, trainer->num_params * sizeof *params) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t num_bytes) {
    if (ctx == NULL) make_all();
    ctx->error[0] = '\0';
    const eqf_status status = eqf__trainer_restore_bytes(trainer, "input", bytes, num_bytes);
    if (status == EQF_OK) {
        FUZZ_REQUIRE(trainer->stage < 2 && trainer->step <= trainer->num_steps);
        FUZZ_REQUIRE(trainer->flow->field->resolution <= 1u << 20);
        for (size_t n = 0; n < trainer->num_params; n++) FUZZ_REQUIRE(isfinite(trainer->best_params[n]));
        const float *params = eqf__described_memory(trainer->flow->field->d_params);
        for (size_t n = 0; n < trainer->num_params; n++) FUZZ_REQUIRE(isfinite(params[n]));
        size_t num_rows;
        const eqf_history_row *rows = eqf_model_history(trainer->model, &num_rows);
        for (size_t r = 0; r < num_rows; r++) FUZZ_REQUIRE(rows[r].step <= trainer->num_steps);
        eqf_training_state state = EQF_TRAINING_STATE_INIT;
        eqf_model *best = NULL;
        (void)eqf_trainer_advance(trainer, 0, &state);
        (void)eqf_trainer_best_model(trainer, &best);
        eqf_model_destroy(&best);
        eqf_trainer_destroy(&trainer);
        make_trainer();
    } else {
        FUZZ_REQUIRE(status == EQF_ERROR_FORMAT || status == EQF_ERROR_INVALID_ARGUMENT ||
                     status == EQF_ERROR_UNSUPPORTED || status == EQF_ERROR_OUT_OF_MEMORY);
        FUZZ_REQUIRE(ctx->error[0] != '\0');
        require_new();
    }
    return 0;
}

/* Length, fingerprint, and the checksum over counts, numbers, vectors and history (docs/file-formats.md). */
size_t fuzz_repair(uint8_t *bytes, size_t num_bytes, size_t capacity) {
    (void)capacity;
    static const char *const vectors[] = {"params", "optimizer", "average", "best_params"};
    if (ctx == NULL) make_all();
    const size_t data = fuzz_repair_header(bytes, num_bytes);
    if (data == 0) return num_bytes;
    eqf_context scratch = {.log = NULL};
    eqf__tensor_file file;
    if (eqf__tensor_file_parse(&scratch, "input", bytes, num_bytes, &file) != EQF_OK) return num_bytes;
    const eqf__tensor *counts = eqf__tensor_file_find(&file, "counts"),
                      *numbers = eqf__tensor_file_find(&file, "numbers"),
                      *history = eqf__tensor_file_find(&file, "history");
    const size_t place = fuzz_tensor_place(bytes, data, "counts");
    if (counts != NULL && counts->type == EQF__TENSOR_U64 && counts->num_dims == 1 && counts->shape[0] == 6 &&
        numbers != NULL && numbers->type == EQF__TENSOR_F64 && numbers->num_dims == 1 && place != 0 &&
        place + 48 <= num_bytes) {
        uint64_t values[6];
        memcpy(values, counts->data, sizeof values);
        values[0] = eqf__trainer_fingerprint(trainer, x);
        if (num_bytes % 4 != 0) { /* mostly a stage and a step that there are */
            values[1] %= 2;
            values[2] %= 21;
            values[4] %= 4097;
        }
        uint64_t hash = eqf__hash(EQF__HASH_START, values, 5 * sizeof *values);
        hash = eqf__hash(hash, numbers->data, numbers->shape[0] * sizeof(double));
        for (size_t v = 0; v < sizeof vectors / sizeof vectors[0]; v++) {
            const eqf__tensor *vector = eqf__tensor_file_find(&file, vectors[v]);
            if (vector != NULL && vector->type == EQF__TENSOR_F32 && vector->num_dims == 1)
                hash = eqf__hash(hash, vector->data, vector->shape[0] * sizeof(float));
        }
        if (history != NULL && history->type == EQF__TENSOR_F64 && history->num_dims == 2)
            hash = eqf__hash(hash, history->data, history->shape[0] * history->shape[1] * sizeof(double));
        values[5] = hash;
        memcpy(bytes + place, values, sizeof values);
    }
    eqf__tensor_file_clear(&file);
    return num_bytes;
}

size_t fuzz_seed(uint8_t *bytes, size_t capacity) {
    static uint8_t kept[1 << 16];
    static size_t num_kept;
    if (ctx == NULL) make_all();
    if (num_kept == 0) {
        char path[] = "/tmp/eqflow-fuzz-XXXXXX";
        const int fd = mkstemp(path);
        FUZZ_REQUIRE(fd >= 0);
        close(fd);
        const eqf_history_row row = {.struct_size = sizeof row, .step = 1, .loss = 1.5, .nll = 2.0};
        FUZZ_REQUIRE(eqf_model_add_history(ctx, trainer->model, &row) == EQF_OK);
        FUZZ_REQUIRE(eqf_trainer_save_checkpoint(trainer, path) == EQF_OK);
        eqf_trainer_destroy(&trainer);
        make_trainer();
        FILE *stream = fopen(path, "rb");
        FUZZ_REQUIRE(stream != NULL);
        num_kept = fread(kept, 1, sizeof kept, stream);
        fclose(stream);
        remove(path);
    }
    if (num_kept > capacity) return 0;
    memcpy(bytes, kept, num_kept);
    return num_kept;
}
