/* check.c - bptt check: the proof of a cell, or of all of them. */
#include <bptt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "say.h"
#include "terminal.h"

struct check_values {
    uint64_t seed;
    int all, verbose, json, quiet;
};
#define AT(field) offsetof(struct check_values, field)

static const struct option options[] = {
    {"Options", "all", OPTION_FLAG, AT(all), .help = "every cell that is built in"},
    {"Options", "seed", OPTION_SEED, AT(seed), "N", .help = "of the weights and inputs"},
    {"Options", "verbose", OPTION_FLAG, AT(verbose), .help = "every comparison in a line of its own"},
    {"Options", "json", OPTION_FLAG, AT(json), .help = "every comparison as one JSON object"},
    {"Options", "quiet", OPTION_FLAG, AT(quiet), .help = "only what did not pass"},
    {0},
};

struct check {
    const struct check_values *values;
    struct emit emit;
    int passed, failed;
};

static const char *verdict(int passed)
{
    int colour = terminal_look(stdout).colour;
    if (passed)
        return colour ? "\033[32mok\033[0m" : "ok";
    return colour ? "\033[1;31mFAILED\033[0m" : "FAILED";
}

static void print_line(const bptt_check_line *line)
{
    printf("  %-26s %-24s %10.2e  of %8.1e  %s\n", line->what, line->subject, line->error, line->tolerance,
           verdict(line->passed));
}

/* One kind of comparison in one line: how many, and the worst of them. */
static void print_kind(const bptt_check_report *report, const char *what)
{
    const bptt_check_line *worst = NULL;
    int count = 0;
    int passed = 1;
    for (size_t i = 0; i < report->count; i++) {
        const bptt_check_line *line = &report->lines[i];
        if (strcmp(line->what, what) != 0)
            continue;
        count++;
        passed &= line->passed;
        if (!worst || !(line->error / line->tolerance <= worst->error / worst->tolerance))
            worst = line;
    }
    printf("  %-26s %3d compared, worst %9.2e  of %8.1e  %s\n", what, count, worst->error, worst->tolerance,
           verdict(passed));
}

static int is_first_of_kind(const bptt_check_report *report, size_t index)
{
    for (size_t i = 0; i < index; i++) {
        if (strcmp(report->lines[i].what, report->lines[index].what) == 0)
            return 0;
    }
    return 1;
}

static void print_report(const char *name, const bptt_check_report *report, const struct check_values *values)
{
    if (values->quiet && report->failed == 0)
        return;
    printf("%s: %d comparisons, %d failed (finite differences with a step of %.1e)\n", name,
           report->passed + report->failed, report->failed, report->step);
    for (size_t i = 0; i < report->count; i++) {
        const bptt_check_line *line = &report->lines[i];
        if (values->verbose || !line->passed)
            print_line(line);
        else if (!values->quiet && is_first_of_kind(report, i))
            print_kind(report, line->what);
    }
}

static void emit_report(struct emit *emit, const char *name, const bptt_check_report *report)
{
    emit_open(emit, NULL, '{');
    emit_text(emit, "cell", name);
    emit_whole(emit, "passed", report->passed);
    emit_whole(emit, "failed", report->failed);
    emit_number(emit, "step", report->step);
    emit_open(emit, "lines", '[');
    for (size_t i = 0; i < report->count; i++) {
        const bptt_check_line *line = &report->lines[i];
        emit_open(emit, NULL, '{');
        emit_text(emit, "what", line->what);
        emit_text(emit, "subject", line->subject);
        emit_number(emit, "error", line->error);
        emit_number(emit, "tolerance", line->tolerance);
        emit_flag(emit, "passed", line->passed);
        emit_close(emit, '}');
    }
    emit_close(emit, ']');
    emit_close(emit, '}');
}

/* A report that did not pass is a result, not an error; anything else that goes wrong is. */
static int check_one(struct check *check, const char *name, bptt_error *error)
{
    bptt_cell *cell = NULL;
    bptt_check_report report = {0};
    int status = bptt_cell_open(name, &cell, error);
    if (status == BPTT_OK)
        bptt_cell_compile(cell, NULL); /* without a compiler there are no kernels of a cell file to check */
    if (status == BPTT_OK)
        status = bptt_cell_check(cell, check->values->seed, &report, error);
    if (status == BPTT_OK) {
        check->passed += report.passed;
        check->failed += report.failed;
        if (check->values->json)
            emit_report(&check->emit, name, &report);
        else
            print_report(name, &report, check->values);
    }
    bptt_check_clear(&report);
    bptt_cell_free(cell);
    return status;
}

static int check_each(struct check *check, const struct parsed *parsed, bptt_error *error)
{
    int status = BPTT_OK;
    for (size_t i = 0; check->values->all && i < bptt_cell_count() && status == BPTT_OK; i++)
        status = check_one(check, bptt_cell_name(i), error);
    for (int i = 0; i < parsed->count && status == BPTT_OK; i++)
        status = check_one(check, parsed->arguments[i], error);
    return status;
}

static int check_cells(const struct command *command, int argc, char **argv)
{
    struct check_values values = {.seed = bptt_model_defaults().seed};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    if (!values.all && parsed.count == 0)
        return usage_error(command, "needs a cell: a name, a .cell file, or --all");
    struct check check = {.values = &values, .emit = {.out = stdout}};
    bptt_error error = {0};
    if (values.json) {
        emit_open(&check.emit, NULL, '{');
        emit_open(&check.emit, "cells", '[');
    }
    int status = check_each(&check, &parsed, &error);
    if (values.json) {
        emit_close(&check.emit, ']');
        emit_whole(&check.emit, "passed", check.passed);
        emit_whole(&check.emit, "failed", check.failed);
        emit_close(&check.emit, '}');
    } else if (status == BPTT_OK && !values.quiet) {
        printf("%d passed, %d failed\n", check.passed, check.failed);
    }
    if (status != BPTT_OK)
        return say_error(command, &error);
    return check.failed == 0 && check.passed > 0 ? STATUS_DONE : STATUS_FAILED;
}

const struct command check_command = {
    .name = "check",
    .arguments = "[CELL...]",
    .most = 1 << 20,
    .summary = "prove a cell's gradient and kernels",
    .about = "Proves a cell: its derivative against finite differences in double precision, its kernels against the "
             "interpreter. Exit status 1 when a comparison does not pass.",
    .examples = "  bptt check gru\n"
                "  bptt check mine.cell --verbose\n"
                "  bptt check --all\n",
    .options = options,
    .run = check_cells,
};
