/* print.c - every form of a cell as text. Named values are written as equations in the cell language's own notation; a value
 * without a name stands inside the equation that uses it. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cell.h"

/* ---- expressions ---- */

enum { LEVEL_SUM = 1, LEVEL_TERM = 2, LEVEL_FACTOR = 3, LEVEL_APPLY = 4 };

static void write_node(const struct graph *graph, int n, int level, int top, struct text *out);

static void write_binary(const struct graph *graph, const struct node *node, int level, struct text *out)
{
    int own = node->op == OP_ADD || node->op == OP_SUB ? LEVEL_SUM : LEVEL_TERM;
    int right = node->op == OP_SUB || node->op == OP_DIV ? own + 1 : own;
    if (own < level)
        text_add(out, "(");
    write_node(graph, node->a, own, 0, out);
    text_printf(out, " %s ", op_table[node->op].text);
    write_node(graph, node->b, right, 0, out);
    if (own < level)
        text_add(out, ")");
}

static void write_call(const struct graph *graph, const char *name, const struct node *node, struct text *out)
{
    text_printf(out, "%s(", name);
    write_node(graph, node->a, LEVEL_SUM, 0, out);
    if (node->b >= 0) {
        text_add(out, ", ");
        write_node(graph, node->b, LEVEL_SUM, 0, out);
    }
    text_add(out, ")");
}

static void write_product(const struct graph *graph, const struct node *node, struct text *out)
{
    const struct node *matrix = &graph->node[node->a];
    text_printf(out, "%s%s%s ", matrix->op == OP_TPARAM ? "t_" : "", matrix->name, node->op == OP_PRODUCT_T ? "^T" : "");
    write_node(graph, node->b, LEVEL_APPLY, 0, out);
}

static void write_leaf(const struct node *node, struct text *out)
{
    static const struct { enum op op; const char *form; } forms[] = {
        {OP_DOUTPUT, "dy"}, {OP_DSTATE, "ds%d"}, {OP_TINPUT, "t_x"}, {OP_TSTATE, "t_s%d"},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (node->op != forms[i].op)
            continue;
        const char *mark = strchr(forms[i].form, '%');
        text_printf(out, "%.*s", mark ? (int)(mark - forms[i].form) : 10, forms[i].form);
        if (mark)
            text_printf(out, "%d", node->leaf);
        return;
    }
    text_printf(out, "%s%s", node->op == OP_TPARAM ? "t_" : "", node->name ? node->name : "?");
}

static void write_node(const struct graph *graph, int n, int level, int top, struct text *out)
{
    const struct node *node = &graph->node[n];
    if (!top && node->name && node->op != OP_TPARAM) {
        text_add(out, node->name);
        return;
    }
    switch (node->op) {
    case OP_CONST: text_printf(out, node->value < 0 && level > LEVEL_SUM ? "(%.9g)" : "%.9g", node->value); break;
    case OP_SIZE: text_printf(out, "size(%d)", node->leaf); break;
    case OP_PRODUCT: case OP_PRODUCT_T: write_product(graph, node, out); break;
    case OP_SUM: write_call(graph, "sum", node, out); break;
    case OP_BROADCAST: write_node(graph, node->a, level, 0, out); break;
    case OP_COPY: write_node(graph, node->a, level, 0, out); break;
    case OP_NEG:
        text_add(out, level > LEVEL_TERM ? "(-" : "-");
        write_node(graph, node->a, LEVEL_FACTOR, 0, out);
        if (level > LEVEL_TERM) text_add(out, ")");
        break;
    case OP_ADD: case OP_SUB: case OP_MUL: case OP_DIV: write_binary(graph, node, level, out); break;
    case OP_RECORDED: text_printf(out, "%s%d", node->name ? node->name : "v", node->leaf); break;
    default:
        if (op_is_elementwise(node->op))
            write_call(graph, op_table[node->op].text, node, out);
        else
            write_leaf(node, out);
    }
}

void print_expression(const struct graph *graph, int node, struct text *out)
{
    write_node(graph, node, LEVEL_SUM, 1, out);
}

/* ---- graphs as equations ---- */

static const char *node_title(const struct graph *graph, int n, char *buffer, size_t size)
{
    const struct node *node = &graph->node[n];
    if (node->name)
        snprintf(buffer, size, "%s", node->name);
    else
        snprintf(buffer, size, "%%%d", n);
    return buffer;
}

static void write_sink(const struct bptt_cell *cell, const struct graph *graph, const struct sink *sink, struct text *out)
{
    switch (sink->kind) {
    case SINK_NEXT: text_printf(out, "%s' = ", cell->state[sink->index].name); break;
    case SINK_OUTPUT: text_add(out, "output = "); break;
    case SINK_DSTATE: text_printf(out, "dL/d%s[t-1] = ", cell->state[sink->index].name); break;
    case SINK_DINPUT: text_add(out, "dL/dx = "); break;
    case SINK_OUTER: text_printf(out, "dL/d%s += outer(", cell->param[sink->index].name); break;
    case SINK_ROWS: text_printf(out, "dL/d%s += ", cell->param[sink->index].name); break;
    }
    write_node(graph, sink->left, LEVEL_SUM, graph->node[sink->left].op != OP_RECORDED && !graph->node[sink->left].name, out);
    if (sink->kind == SINK_OUTER) {
        text_add(out, ", ");
        write_node(graph, sink->right, LEVEL_SUM, 0, out);
        text_add(out, ")");
    }
    text_add(out, "\n");
}

void print_equations(const struct bptt_cell *cell, const struct graph *graph, struct text *out)
{
    for (int n = 0; n < graph->count; n++) {
        const struct node *node = &graph->node[n];
        int leaf = node->a < 0;
        if (!node->name || leaf)
            continue;
        text_printf(out, "%s = ", node->name);
        print_expression(graph, n, out);
        text_add(out, "\n");
    }
    for (int i = 0; i < graph->sinks; i++)
        write_sink(cell, graph, &graph->sink[i], out);
}

/* One node a line: number, operation, operands, width, name. */
static void print_graph(const struct bptt_cell *cell, const struct graph *graph, struct text *out)
{
    char dim[96];
    for (int n = 0; n < graph->count; n++) {
        const struct node *node = &graph->node[n];
        text_printf(out, "%%%-3d = %-10s", n, op_table[node->op].name);
        if (node->op == OP_CONST)
            text_printf(out, " %.9g", node->value);
        else if (node->op == OP_SIZE)
            text_printf(out, " %s", cell_dim_text(cell, node->leaf, dim, sizeof dim));
        if (node->a >= 0)
            text_printf(out, " %%%d", node->a);
        if (node->b >= 0)
            text_printf(out, " %%%d", node->b);
        text_printf(out, "   [%s]%s%s\n", cell_dim_text(cell, node->dim, dim, sizeof dim), node->name ? "  " : "",
                    node->name ? node->name : "");
    }
    for (int i = 0; i < graph->sinks; i++)
        write_sink(cell, graph, &graph->sink[i], out);
}

/* ---- programs ---- */

static void print_products(const struct bptt_cell *cell, const struct program *program, int phase, int level, struct text *out)
{
    char title[96];
    for (int i = 0; i < program->products; i++) {
        const struct product *product = &program->product[i];
        if ((int)product->phase != phase || product->level != level)
            continue;
        const struct product *last = i ? &program->product[i - 1] : NULL;
        int joins = last && last->phase == product->phase && last->level == product->level && last->operand == product->operand &&
                    last->accumulate == product->accumulate && last->transposed == product->transposed;
        text_printf(out, "  %s product  %s%s %s%s\n", joins ? "  with" : "      ", cell->param[product->param].name,
                    product->transposed ? "^T" : "",
                    node_title(program->graph, program->graph->node[product->node].b, title, sizeof title),
                    product->accumulate ? "  (added in place)" : "");
    }
}

static void print_stage(const struct program *program, const struct stage *stage, struct text *out)
{
    for (int k = 0; k < stage->count; k++) {
        int n = program->order[stage->first + k];
        char title[96];
        if (!program->graph->node[n].name && !program->stored[n])
            continue;
        text_printf(out, "         compute  %s = ", node_title(program->graph, n, title, sizeof title));
        print_expression(program->graph, n, out);
        if (program->stored[n]) {
            static const char *const mark[PLACE_KINDS] = {"", "", "", "next state", "recorded", "block", "step", "", "", "dL/dstate", "dL/dx"};
            text_printf(out, "   -> %s", mark[program->place[program->place_of[n]].kind]);
        }
        text_add(out, "\n");
    }
}

void print_phases(const struct bptt_cell *cell, const struct program *program, const char *title, struct text *out)
{
    static const char *const name[PHASE_COUNT] = {"before (a block of steps at once)", "scan (step by step)",
                                                  "after (a block of steps at once)"};
    text_printf(out, "%s: %d values recorded, %d for a block, %d for a step\n", title, program->count[PLACE_TAPE],
                program->count[PLACE_BLOCK], program->count[PLACE_STEP]);
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        if (program->levels[phase])
            text_printf(out, "  %s\n", name[phase]);
        for (int level = 0; level < program->levels[phase]; level++) {
            print_products(cell, program, phase, level, out);
            int stage = program_stage_at(program, (enum phase)phase, level);
            if (stage >= 0)
                print_stage(program, &program->stage[stage], out);
        }
    }
}

/* ---- the public entry ---- */

static void print_parameters(const struct bptt_cell *cell, struct text *out)
{
    char rows[96], columns[96];
    text_add(out, "parameters\n");
    for (int i = 0; i < cell->params; i++) {
        const struct parameter *param = &cell->param[i];
        text_printf(out, "  %s [%s", param->name, cell_dim_text(cell, param->rows, rows, sizeof rows));
        if (param->columns != DIM_NONE)
            text_printf(out, ", %s", cell_dim_text(cell, param->columns, columns, sizeof columns));
        text_add(out, "]");
        if (param->blocks > 1)
            text_printf(out, " in %d blocks", param->blocks);
        text_add(out, "\n");
    }
}

static void stage_equations(const struct bptt_cell *cell, struct text *out)
{
    text_add(out, cell->source);
    if (out->length && out->data[out->length - 1] != '\n')
        text_add(out, "\n");
}

static void stage_graph(const struct bptt_cell *cell, struct text *out)
{
    print_graph(cell, &cell->forward, out);
    print_parameters(cell, out);
}

static void stage_phases(const struct bptt_cell *cell, struct text *out)
{
    print_phases(cell, &cell->run, "forward", out);
    print_phases(cell, &cell->back, "backward", out);
}

static void stage_backward(const struct bptt_cell *cell, struct text *out)
{
    print_equations(cell, &cell->backward, out);
}

static void stage_tangent(const struct bptt_cell *cell, struct text *out)
{
    print_equations(cell, &cell->tangent, out);
}

static void stage_c(const struct bptt_cell *cell, struct text *out)
{
    cell_generate(cell, out);
}

int bptt_cell_print(const bptt_cell *cell, const char *stage, char **text, bptt_error *error)
{
    static const struct { const char *name; void (*print)(const struct bptt_cell *, struct text *); } stages[] = {
        {"equations", stage_equations}, {"graph", stage_graph},     {"phases", stage_phases},
        {"backward", stage_backward},   {"tangent", stage_tangent}, {"c", stage_c},
    };
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        if (strcmp(stages[i].name, stage))
            continue;
        struct text out = {0};
        stages[i].print(cell, &out);
        *text = text_take(&out);
        return *text ? BPTT_OK : fail_memory(error, out.length);
    }
    return fail(error, BPTT_ERROR_ARGUMENT, "unknown stage '%s': equations, graph, phases, backward, tangent or c", stage);
}
