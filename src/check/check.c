/* Running the table of known answers, for both callers. */
#include "answers.h"

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

/* ---- The table --------------------------------------------------------------------------------------------------- */

/* A wrong answer comes from one of row->from. If all of these have passed before, they are all named. */
static eqf_status ask(eqf__checker *checker, eqf__problem *problem, const eqf__known_answer *row) {
    eqf__program *programs[EQF__MOST_PROGRAMS];
    size_t num_programs = 0;
    const bool are_known = (row->from & ~problem->known) == 0;
    for (unsigned p = 0; p < EQF__MOST_PROGRAMS; p++)
        if ((row->from & 1u << p) && (are_known || !(problem->known & 1u << p)) && problem->programs[p] != NULL)
            programs[num_programs++] = problem->programs[p];
    problem->tolerance = row->tolerance * (problem->slack > 0 ? problem->slack : 1);
    eqf__answer answer = {row->what, 0, problem->tolerance, problem->plain != NULL ? problem->plain : ""};
    EQF__TRY(row->run(problem, &answer.error));
    EQF__TRY(eqf__check_report(checker, &answer, num_programs, programs));
    if (answer.error <= answer.tolerance) problem->known |= row->shows;
    return EQF_OK;
}

static eqf_status ask_all(eqf__checker *checker, eqf__problem *problem) {
    const unsigned has = problem->has | (checker->callback != NULL ? EQF__IN_SELFTEST : 0);
    bool is_first = true; /* the first row's record of kernels includes those that made the problem */
    for (size_t r = 0; r < eqf__num_known_answers; r++) {
        const eqf__known_answer *row = &eqf__known_answers[r];
        if (row->topic != problem->topic || (row->needs & ~has) != 0) continue;
        if (!is_first && !row->goes_on) eqf__check_begin(checker);
        is_first = false;
        EQF__TRY(ask(checker, problem, row));
    }
    return EQF_OK;
}

eqf_status eqf__check(eqf__checker *checker, eqf__problem *problem) {
    bool is_due = checker->callback != NULL, can_tell = true;
    for (unsigned p = 0; p < EQF__MOST_PROGRAMS; p++) {
        const bool is_right =
            problem->programs[p] == NULL || !eqf__check_is_due(checker, problem->programs[p], problem->answers);
        if (is_right) problem->known |= 1u << p;
        is_due = is_due || !is_right;
    }
    if (!is_due) return EQF_OK;
    if (!problem->has_begun) eqf__check_begin(checker);
    if (problem->make != NULL) EQF__TRY(problem->make(problem, &can_tell));
    if (!can_tell) return EQF_OK;
    EQF__TRY(ask_all(checker, problem));
    for (unsigned p = 0; p < EQF__MOST_PROGRAMS; p++)
        if (problem->programs[p] != NULL) eqf__check_done(checker, problem->programs[p], problem->answers);
    return EQF_OK;
}
