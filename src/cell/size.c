/* size.c - the sizes of a cell: H, I, numbers, declared ones and arithmetic over them. Equal sizes are one dimension, so
 * widths fit exactly when their numbers are equal. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"

enum { SIZE_LIMIT = 1 << 24 };             /* elements in one row: beyond any use, and products of two still fit a long */

static int add_dim(struct bptt_cell *cell, struct dimension dim)
{
    struct dimension *data = arena_grow(&cell->arena, cell->dim, cell->dims, &cell->dim_capacity, sizeof dim);
    if (!data)
        return -1;
    cell->dim = data;
    cell->dim[cell->dims] = dim;
    return cell->dims++;
}

int cell_dim_number(struct bptt_cell *cell, long value)
{
    for (int i = 0; i < cell->dims; i++)
        if (cell->dim[i].kind == DIM_KIND_NUMBER && cell->dim[i].value == value)
            return i;
    return add_dim(cell, (struct dimension){.kind = DIM_KIND_NUMBER, .value = value, .a = -1, .b = -1});
}

int cell_dim_symbol(struct bptt_cell *cell, const char *name, int initial)
{
    return add_dim(cell, (struct dimension){.kind = DIM_KIND_SYMBOL, .name = name, .a = initial, .b = -1});
}

int cell_dim_expression(struct bptt_cell *cell, char operator, int a, int b)
{
    for (int i = 0; i < cell->dims; i++) {
        const struct dimension *dim = &cell->dim[i];
        if (dim->kind == DIM_KIND_EXPRESSION && dim->operator == operator && dim->a == a && dim->b == b)
            return i;
    }
    return add_dim(cell, (struct dimension){.kind = DIM_KIND_EXPRESSION, .operator = operator, .a = a, .b = b});
}

const char *cell_dim_text(const struct bptt_cell *cell, int dim, char *buffer, size_t size)
{
    char left[64], right[64];
    if (dim < 0)
        return "?";
    const struct dimension *d = &cell->dim[dim];
    switch (d->kind) {
    case DIM_KIND_NUMBER: snprintf(buffer, size, "%ld", d->value); break;
    case DIM_KIND_SYMBOL: snprintf(buffer, size, "%s", d->name); break;
    case DIM_KIND_EXPRESSION:
        snprintf(buffer, size, "%s %c %s", cell_dim_text(cell, d->a, left, sizeof left), d->operator,
                 cell_dim_text(cell, d->b, right, sizeof right));
        break;
    }
    return buffer;
}

static long computed(char operator, long a, long b)
{
    switch (operator) {
    case '+': return a + b;
    case '-': return a - b;
    case '*': return a * b;
    default: return b ? a / b : 0;
    }
}

/* "P=64,R=8": the number given for `name`, or -1. */
static long override(const char *overrides, const char *name)
{
    size_t length = strlen(name);
    for (const char *at = overrides; at && *at;) {
        if (!strncmp(at, name, length) && at[length] == '=')
            return strtol(at + length + 1, NULL, 10);
        at = strchr(at, ',');
        at = at ? at + 1 : NULL;
    }
    return -1;
}

static int check_overrides(const struct bptt_cell *cell, const char *overrides, bptt_error *error)
{
    for (const char *at = overrides; at && *at;) {
        size_t length = strcspn(at, "=");
        char *end;
        long value = at[length] ? strtol(at + length + 1, &end, 10) : 0;
        if (!at[length] || end == at + length + 1 || (*end && *end != ',') || value < 1 || value > SIZE_LIMIT)
            return fail(error, BPTT_ERROR_ARGUMENT, "size '%s': expected NAME=NUMBER", at);
        int known = 0;
        for (int i = DIM_I + 1; i < cell->dims; i++)
            known |= cell->dim[i].kind == DIM_KIND_SYMBOL && strlen(cell->dim[i].name) == length &&
                     !strncmp(cell->dim[i].name, at, length);
        if (!known)
            return fail(error, BPTT_ERROR_ARGUMENT, "cell %s has no size '%.*s'", cell->name, (int)length, at);
        at = *end ? end + 1 : NULL;
    }
    return BPTT_OK;
}

static int check_blocks(const struct bptt_cell *cell, const long *size, bptt_error *error)
{
    for (int i = 0; i < cell->params; i++) {
        const struct parameter *param = &cell->param[i];
        if (param->columns == DIM_NONE || (size[param->rows] % param->blocks == 0 && size[param->columns] % param->blocks == 0))
            continue;
        return fail(error, BPTT_ERROR_ARGUMENT, "cell %s: %s [%ld, %ld] cannot be cut into %d blocks", cell->name,
                    param->name, size[param->rows], size[param->columns], param->blocks);
    }
    return BPTT_OK;
}

int cell_sizes(const struct bptt_cell *cell, long inputs, long hidden, const char *overrides, long *size,
               bptt_error *error)
{
    int status = check_overrides(cell, overrides, error);
    if (status)
        return status;
    for (int i = 0; i < cell->dims; i++) {
        const struct dimension *dim = &cell->dim[i];
        long given = i > DIM_I && dim->kind == DIM_KIND_SYMBOL ? override(overrides, dim->name) : -1;
        if (i == DIM_H || i == DIM_I)
            size[i] = i == DIM_H ? hidden : inputs;
        else if (dim->kind == DIM_KIND_NUMBER)
            size[i] = dim->value;
        else if (dim->kind == DIM_KIND_SYMBOL)
            size[i] = given > 0 ? given : size[dim->a];
        else
            size[i] = computed(dim->operator, size[dim->a], size[dim->b]);
        if (size[i] >= 1 && size[i] <= SIZE_LIMIT)
            continue;
        char text[96];
        return fail(error, BPTT_ERROR_ARGUMENT, "cell %s: size %s would be %ld; it must be between 1 and %d", cell->name,
                    cell_dim_text(cell, i, text, sizeof text), size[i], SIZE_LIMIT);
    }
    return check_blocks(cell, size, error);
}

long cell_param_columns(const struct bptt_cell *cell, const struct parameter *param, const long *size)
{
    (void)cell;
    return param->columns == DIM_NONE ? 1 : size[param->columns] / param->blocks;
}
