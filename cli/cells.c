/* cells.c - bptt cells: the cells that are built in. */
#include <bptt.h>
#include <stddef.h>
#include <stdio.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "say.h"

struct cells_values { int json, quiet; };
#define AT(field) offsetof(struct cells_values, field)

static const struct option options[] = {
    {"Options", "json", OPTION_FLAG, AT(json), .help = "the list as one JSON object"},
    {"Options", "quiet", OPTION_FLAG, AT(quiet), .help = "the names alone"},
    {0},
};

static void emit_cell(struct emit *emit, const bptt_cell_info *info)
{
    emit_open(emit, NULL, '{');
    emit_text(emit, "name", info->name);
    emit_text(emit, "summary", info->summary);
    emit_text(emit, "kernel", info->kernel);
    emit_whole(emit, "states", info->state_count);
    emit_flag(emit, "elementwise_recurrence", info->elementwise_recurrence);
    emit_close(emit, '}');
}

/* The sizes do not matter here: what is shown holds for all of them. */
static int show_cell(const char *name, const struct cells_values *values, struct emit *emit, bptt_error *error)
{
    bptt_cell *cell = NULL;
    bptt_cell_info info = {0};
    int status = bptt_cell_open(name, &cell, error);
    if (status == BPTT_OK)
        status = bptt_cell_describe(cell, 16, 16, &info, error);
    if (status == BPTT_OK && values->json)
        emit_cell(emit, &info);
    else if (status == BPTT_OK && values->quiet)
        puts(info.name);
    else if (status == BPTT_OK)
        printf("%-16s %s\n", info.name, info.summary);
    bptt_cell_free(cell);
    return status;
}

static int cells(const struct command *command, int argc, char **argv)
{
    struct cells_values values = {0};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    struct emit emit = {.out = stdout};
    bptt_error error = {0};
    int status = BPTT_OK;
    if (values.json) {
        emit_open(&emit, NULL, '{');
        emit_open(&emit, "cells", '[');
    }
    for (size_t i = 0; i < bptt_cell_count() && status == BPTT_OK; i++)
        status = show_cell(bptt_cell_name(i), &values, &emit, &error);
    if (values.json) {
        emit_close(&emit, ']');
        emit_close(&emit, '}');
    }
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command cells_command = {
    .name = "cells",
    .arguments = "",
    .summary = "list the cells that are built in",
    .examples = "  bptt cells\n",
    .options = options,
    .run = cells,
};
