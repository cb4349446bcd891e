#include "check.h"

#include <string.h>

bool eqf__check_is_due(const eqf__checker *checker, const eqf__program *program, eqf__answers answers) {
    return checker->callback != NULL || !eqf__program_is_checked(program, answers);
}

void eqf__check_begin(eqf__checker *checker) {
    if (checker->callback != NULL) eqf__launches_note(checker->ctx);
}

/* "kernel program 'a', 'b' or 'c' gives". */
static void write_names(size_t num_programs, eqf__program *const *programs, size_t size, char *names) {
    size_t length = (size_t)snprintf(names, size, "kernel program");
    for (size_t p = 0; p < num_programs && length < size; p++)
        length += (size_t)snprintf(names + length, size - length, "%s '%.31s'",
                                   p == 0                  ? ""
                                   : p + 1 == num_programs ? " or"
                                                           : ",",
                                   eqf__program_name(programs[p]));
}

static void tell_selftest(eqf__checker *checker, const eqf__answer *answer) {
    char name[128];
    snprintf(name, sizeof name, "%s%s%s", checker->subject != NULL ? checker->subject : "",
             checker->subject != NULL ? ": " : "", answer->what);
    const eqf_selftest_result result = {.struct_size = sizeof result,
                                        .name = name,
                                        .error = answer->error,
                                        .tolerance = answer->tolerance,
                                        .has_passed = answer->error <= answer->tolerance,
                                        .kernels = eqf__launches_noted(checker->ctx)};
    if (!result.has_passed) checker->num_failed++;
    checker->callback(checker->user, &result);
}

eqf_status eqf__check_report(eqf__checker *checker, const eqf__answer *answer, size_t num_programs,
                             eqf__program *const *programs) {
    eqf_context *ctx = checker->ctx;
    const eqf_device_info *info = &ctx->device->info;
    eqf__log(ctx, EQF_LOG_DEBUG, "known answers: %s off by %.2g, allowed %.2g", answer->what, answer->error,
             answer->tolerance);
    if (checker->callback != NULL) {
        tell_selftest(checker, answer);
        return EQF_OK;
    }
    if (answer->error <= answer->tolerance) return EQF_OK;
    char names[192], advice[160] = "";
    write_names(num_programs, programs, sizeof names, names);
    if (answer->plain[0] != '\0') snprintf(advice, sizeof advice, "try %s, ", answer->plain);
    return eqf__fail(
        ctx, EQF_ERROR_SELF_TEST,
        "%s gives wrong results on %s with driver %s: %s off by %.2g, allowed %.2g; nothing was computed with it: "
        "%sanother device or another driver version; eqf_selftest shows more",
        names, info->name, info->driver_version, answer->what, answer->error, answer->tolerance, advice);
}

void eqf__check_done(const eqf__checker *checker, eqf__program *program, eqf__answers answers) {
    if (checker->num_failed == 0) eqf__program_set_checked(checker->ctx, program, answers);
}
