/* cell.c - bptt cell: one cell, as equations and as what the compiler makes of them. */
#include <bptt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "say.h"

struct cell_values {
    int stage;
    int64_t inputs, hidden;
    int compile, json, quiet;
};
#define AT(field) offsetof(struct cell_values, field)

enum { OVERVIEW = -1 };
static const struct option_choice stages[] = {{"equations", 0}, {"graph", 1},   {"phases", 2},
                                              {"backward", 3},  {"tangent", 4}, {"c", 5}, {0}};

static const struct option options[] = {
    {"Options", "stage", OPTION_CHOICE, AT(stage), .choices = stages, .help = "print this stage of the compiler alone"},
    {"Options", "inputs", OPTION_COUNT, AT(inputs), "N", .help = "inputs, for the cost", .low = 1, .high = 1e6},
    {"Options", "hidden", OPTION_COUNT, AT(hidden), "N", .help = "units, for the cost", .low = 1, .high = 65536},
    {"Options", "compile", OPTION_FLAG, AT(compile), .help = "compile a cell file's kernels with the C compiler"},
    {"Options", "json", OPTION_FLAG, AT(json), .help = "a description, and the stage, as one JSON object"},
    {"Options", "quiet", OPTION_FLAG, AT(quiet), .help = "nothing but errors: does the cell compile?"},
    {0},
};

static void emit_cell(const bptt_cell_info *info, const struct cell_values *values, const char *text)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_text(&emit, "name", info->name);
    emit_text(&emit, "summary", info->summary);
    emit_text(&emit, "kernel", info->kernel);
    emit_whole(&emit, "states", info->state_count);
    emit_flag(&emit, "elementwise_recurrence", info->elementwise_recurrence);
    emit_whole(&emit, "inputs", values->inputs);
    emit_whole(&emit, "hidden", values->hidden);
    emit_whole(&emit, "parameters", info->parameters);
    emit_whole(&emit, "flops", info->flops);
    emit_whole(&emit, "recorded", info->recorded);
    emit_text(&emit, "source", info->source);
    if (values->stage != OVERVIEW) {
        emit_text(&emit, "stage", stages[values->stage].name);
        emit_text(&emit, "text", text);
    }
    emit_close(&emit, '}');
}

static void print_text(const char *text)
{
    size_t length = strlen(text);
    fwrite(text, 1, length, stdout);
    if (length == 0 || text[length - 1] != '\n')
        putchar('\n');
}

static void print_cost(const bptt_cell_info *info, const struct cell_values *values)
{
    printf("With %lld inputs and %lld units:\n", (long long)values->inputs, (long long)values->hidden);
    printf("  parameters            %s\n", say_count(info->parameters).text);
    printf("  operations forward    %s per step and row\n", say_count(info->flops).text);
    printf("  recorded values       %s per step and row, for the backward pass\n", say_count(info->recorded).text);
    printf("  recurrence            %s\n", info->elementwise_recurrence ? "elementwise: rtrl costs what snap1 costs"
                                                                         : "a matrix product at every step");
    printf("  runs here             %s\n", info->kernel);
}

/* Equations, phases and cost: what one wants to see first. */
static int print_overview(const bptt_cell *cell, const bptt_cell_info *info, const struct cell_values *values,
                          bptt_error *error)
{
    static const char *const shown[] = {"equations", "phases"};
    int status = BPTT_OK;
    for (int i = 0; i < 2 && status == BPTT_OK; i++) {
        char *text = NULL;
        status = bptt_cell_print(cell, shown[i], &text, error);
        if (status == BPTT_OK) {
            print_text(text);
            putchar('\n');
        }
        bptt_free(text);
    }
    if (status == BPTT_OK)
        print_cost(info, values);
    return status;
}

static int show(const bptt_cell *cell, const struct cell_values *values, bptt_error *error)
{
    bptt_cell_info info = {0};
    char *text = NULL;
    int status = bptt_cell_describe(cell, values->inputs, values->hidden, &info, error);
    if (status != BPTT_OK || (values->quiet && !values->json))
        return status;
    if (values->stage == OVERVIEW && !values->json)
        return print_overview(cell, &info, values, error);
    if (values->stage != OVERVIEW)
        status = bptt_cell_print(cell, stages[values->stage].name, &text, error);
    if (status == BPTT_OK && values->json)
        emit_cell(&info, values, text);
    else if (status == BPTT_OK)
        print_text(text);
    bptt_free(text);
    return status;
}

static int cell(const struct command *command, int argc, char **argv)
{
    int64_t size = bptt_train_defaults().hidden;
    struct cell_values values = {.stage = OVERVIEW, .inputs = size, .hidden = size};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    bptt_error error = {0};
    bptt_cell *opened = NULL;
    int status = bptt_cell_open(parsed.arguments[0], &opened, &error);
    if (status == BPTT_OK && values.compile)
        status = bptt_cell_compile(opened, &error);
    if (status == BPTT_OK)
        status = show(opened, &values, &error);
    bptt_cell_free(opened);
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command cell_command = {
    .name = "cell",
    .arguments = "NAME|FILE",
    .least = 1,
    .most = 1,
    .summary = "show a cell: equations, phases, cost, generated C",
    .about = "Shows a cell: its equations, when each value is computed, and what it costs; with --stage, one stage of "
             "the compiler alone.",
    .examples = "  bptt cell gru\n"
                "  bptt cell lstm --stage backward\n"
                "  bptt cell mine.cell --stage c\n",
    .options = options,
    .run = cell,
};
