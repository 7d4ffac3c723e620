/* cell.c - a cell from its text to its programs, and its life. The stages run in the order of cell.h. */
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"

enum { TEXT_LIMIT = 1 << 16 };

/* ---- errors with a place ---- */

static int line_start(const char *text, int place)
{
    while (place > 0 && text[place - 1] != '\n')
        place--;
    return place;
}

int cell_fail(const struct bptt_cell *cell, int place, bptt_error *error, const char *format, ...)
{
    if (!error || error->code)
        return BPTT_ERROR_CELL;
    place = place < 0 ? 0 : place;
    int start = line_start(cell->source, place), line = 1;
    for (int i = 0; i < start; i++)
        line += cell->source[i] == '\n';
    char reason[400];
    va_list list;
    va_start(list, format);
    vsnprintf(reason, sizeof reason, format, list);
    va_end(list);
    int length = (int)strcspn(cell->source + start, "\n");
    length = length > 160 ? 160 : length;
    int column = place - start + 1;
    char caret[180];
    int indent = column > 170 ? 170 : column - 1;
    for (int i = 0; i < indent; i++)
        caret[i] = cell->source[start + i] == '\t' ? '\t' : ' ';
    caret[indent] = '^';
    caret[indent + 1] = 0;
    fail(error, BPTT_ERROR_CELL, "%s:%d:%d: %s\n  %.*s\n  %s", cell->file, line, column, reason, length, cell->source + start, caret);
    snprintf(error->file, sizeof error->file, "%s", cell->file);
    error->line = line;
    error->column = column;
    return BPTT_ERROR_CELL;
}

/* ---- compiling ---- */

static int compute_hash(struct bptt_cell *cell, bptt_error *error)
{
    struct text code = {0};
    if (cell_generate(cell, &code)) {
        text_free(&code);
        return fail_memory(error, code.length);
    }
    cell->hash = text_hash(TEXT_HASH, code.data, code.length);
    text_free(&code);
    return BPTT_OK;
}

static void mark_state_matrices(struct bptt_cell *cell, char *needs_state)
{
    const struct graph *graph = &cell->forward;
    for (int n = 0; n < graph->count; n++) {
        const struct node *node = &graph->node[n];
        needs_state[n] = node->op == OP_STATE || (node->a >= 0 && needs_state[node->a]) || (node->b >= 0 && needs_state[node->b]);
        if (op_is_product(node->op) && needs_state[node->b])
            cell->param[graph->node[node->a].leaf].on_state = 1;
    }
}

static int compile(struct bptt_cell *cell, bptt_error *error)
{
    int status = cell_parse(cell, error);
    if (!status) status = cell_infer_shapes(cell, error);
    if (!status) status = cell_simplify(cell, error);
    if (!status) status = cell_verify_graph(cell, &cell->forward, "simplification", error);
    if (!status) status = cell_derive(cell, error);
    if (!status) status = cell_verify_graph(cell, &cell->backward, "the reverse derivative", error);
    if (!status) status = cell_verify_graph(cell, &cell->tangent, "the tangent derivative", error);
    if (!status) status = cell_plan_programs(cell, error);
    if (!status) status = compute_hash(cell, error);
    if (status)
        return status;
    char *needs_state = arena_alloc(&cell->arena, (size_t)cell->forward.count + 1);
    if (!needs_state)
        return fail_memory(error, (size_t)cell->forward.count);
    mark_state_matrices(cell, needs_state);
    return BPTT_OK;
}

static int start(struct bptt_cell *cell, const char *text, size_t length, const char *file)
{
    cell->references = 1;
    cell->source = arena_string(&cell->arena, text, length);
    cell->file = arena_string(&cell->arena, file, strlen(file));
    int one = cell_dim_number(cell, 1), h = cell_dim_symbol(cell, "H", DIM_ONE), i = cell_dim_symbol(cell, "I", DIM_ONE);
    return cell->source && cell->file && one == DIM_ONE && h == DIM_H && i == DIM_I;
}

int bptt_cell_parse(const char *text, const char *file, bptt_cell **out, bptt_error *error)
{
    *out = NULL;
    size_t length = strlen(text);
    if (length > TEXT_LIMIT)
        return fail_file(error, BPTT_ERROR_CELL, file, "a cell has at most %d bytes; this has %zu", TEXT_LIMIT, length);
    struct bptt_cell *cell = calloc(1, sizeof *cell);
    if (!cell)
        return fail_memory(error, sizeof *cell);
    bptt_error own = {0};                  /* the stages stop at the first error, whatever the caller's held before */
    int status = start(cell, text, length, file ? file : "cell") ? compile(cell, &own) : fail_memory(&own, length);
    if (status) {
        bptt_cell_free(cell);
        if (error && !error->code)
            *error = own;
        return status;
    }
    cell_find_compiled(cell);
    *out = cell;
    return BPTT_OK;
}

struct bptt_cell *cell_keep(const bptt_cell *cell)
{
    struct bptt_cell *kept = (struct bptt_cell *)cell;     /* the count is the one thing that changes in a shared cell */
    kept->references++;
    return kept;
}

void bptt_cell_free(bptt_cell *cell)
{
    if (!cell || --cell->references > 0)
        return;
    if (cell->library)
        dlclose(cell->library);
    arena_free(&cell->arena);
    free(cell);
}

/* ---- opening ---- */

static const struct builtin_cell *builtin(const char *name)
{
    for (int i = 0; i < builtin_cell_count; i++)
        if (!strcmp(builtin_cells[i].name, name))
            return &builtin_cells[i];
    return NULL;
}

static int is_path(const char *name)
{
    size_t length = strlen(name);
    return strchr(name, '/') || (length > 5 && !strcmp(name + length - 5, ".cell"));
}

static int open_file(const char *path, bptt_cell **cell, bptt_error *error)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return fail_file(error, BPTT_ERROR_FILE, path, "cannot open this cell file: %m");
    char *text = malloc(TEXT_LIMIT + 2);
    size_t length = text ? fread(text, 1, TEXT_LIMIT + 1, file) : 0;
    int broken = ferror(file);
    fclose(file);
    int status;
    if (!text) {
        status = fail_memory(error, TEXT_LIMIT);
    } else if (broken) {
        status = fail_file(error, BPTT_ERROR_FILE, path, "cannot read this cell file");
    } else if (memchr(text, 0, length)) {
        status = fail_file(error, BPTT_ERROR_FORMAT, path, "this is not a cell file: it holds binary data");
    } else {
        text[length] = 0;
        status = bptt_cell_parse(text, path, cell, error);
    }
    free(text);
    return status;
}

static int unknown(const char *name, bptt_error *error)
{
    const char *near = NULL;
    int distance = 4;
    for (int i = 0; i < builtin_cell_count; i++) {
        int d = text_distance(name, builtin_cells[i].name);
        near = d < distance ? builtin_cells[i].name : near;
        distance = d < distance ? d : distance;
    }
    return fail(error, BPTT_ERROR_ARGUMENT, near ? "unknown cell '%s'; did you mean '%s'?" :
                "unknown cell '%s' (a file's name ends in .cell)%.0s", name, near ? near : "");
}

int bptt_cell_open(const char *name, bptt_cell **cell, bptt_error *error)
{
    *cell = NULL;
    if (is_path(name))
        return open_file(name, cell, error);
    const struct builtin_cell *found = builtin(name);
    if (!found)
        return unknown(name, error);
    char file[80];
    snprintf(file, sizeof file, "%s.cell", name);
    return bptt_cell_parse(found->text, file, cell, error);
}

size_t bptt_cell_count(void)
{
    return (size_t)builtin_cell_count;
}

const char *bptt_cell_name(size_t index)
{
    return index < (size_t)builtin_cell_count ? builtin_cells[index].name : NULL;
}

/* ---- code ---- */

static int fits(const struct cell_code *code, const bptt_cell *cell, const char *isa, int element_size)
{
    return code->hash == cell->hash && code->element_size == element_size && !strcmp(code->isa, isa);
}

const struct cell_code *cell_code_for(const bptt_cell *cell, const char *isa, int element_size)
{
    for (int i = 0; i < builtin_cell_count; i++)
        for (int k = 0; k < builtin_cells[i].codes; k++)
            if (fits(builtin_cells[i].code[k], cell, isa, element_size))
                return builtin_cells[i].code[k];
    for (int i = 0; i < 2; i++)
        if (cell->compiled[i] && fits(cell->compiled[i], cell, isa, element_size))
            return cell->compiled[i];
    return NULL;
}

int cell_is_compiled(const bptt_cell *cell, const struct cell_code *code)
{
    return code == cell->compiled[0] || code == cell->compiled[1];
}
