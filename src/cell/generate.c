/* generate.c - a cell's programs as C, meant to be read. One function a stage; one loop over the width for values that need
 * each other element by element; each operation one line, after the equation that it comes from. */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "cell.h"

static const char *const phase_name[PHASE_COUNT] = {"before", "scan", "after"};

struct writer {
    const struct bptt_cell *cell;
    const struct program *program;
    const struct stage *stage;
    struct text *out;
};

static const struct node *at(const struct writer *w, int n)
{
    return &w->program->graph->node[n];
}

static int in_stage(const struct writer *w, int n)
{
    for (int k = 0; k < w->stage->count; k++)
        if (w->program->order[w->stage->first + k] == n)
            return 1;
    return 0;
}

/* A C name that no keyword and no other value has: the equations' name and the node's number. */
static void variable(const struct writer *w, int n, char *buffer, size_t size)
{
    const char *name = at(w, n)->name ? at(w, n)->name : "t";
    int length = (int)strcspn(name, "'");
    snprintf(buffer, size, "%.*s%s_%d", length, name, name[length] ? "_next" : "", n);
}

/* Whether the value is in a variable when node `reader` of this stage is computed. */
static int in_register(const struct writer *w, int n, int reader)
{
    if (!in_stage(w, n))
        return 0;
    return at(w, n)->dim == DIM_ONE || w->program->group[n] == w->program->group[reader];
}

/* ---- operands ---- */

static void operand_text(const struct writer *w, int n, char *buffer, size_t size)
{
    const struct node *node = at(w, n);
    if (node->op == OP_CONST)
        snprintf(buffer, size, "v_splat((real)%.17g)", node->value);
    else if (node->op == OP_SIZE)
        snprintf(buffer, size, "v_splat((real)call->dim[%d])", node->leaf);
    else
        variable(w, n, buffer, size);
}

/* The vector text of an operation with its a and b put in. */
static void expression(const struct writer *w, int n)
{
    const struct node *node = at(w, n);
    char a[96], b[96] = "";
    operand_text(w, node->a, a, sizeof a);
    if (node->b >= 0)
        operand_text(w, node->b, b, sizeof b);
    const char *text = node->op == OP_BROADCAST ? "a" : op_table[node->op].vector;
    for (int i = 0; text[i]; i++) {
        int alone = (i == 0 || (!isalnum((unsigned char)text[i - 1]) && text[i - 1] != '_')) &&
                    !isalnum((unsigned char)text[i + 1]) && text[i + 1] != '_';
        if (alone && (text[i] == 'a' || text[i] == 'b'))
            text_add(w->out, text[i] == 'a' ? a : b);
        else
            text_append(w->out, &text[i], 1);
    }
}

/* ---- declarations ---- */

static int needs_place(const struct writer *w, int place)
{
    for (int k = 0; k < w->stage->count; k++) {
        int n = w->program->order[w->stage->first + k];
        int operand[2] = {at(w, n)->a, at(w, n)->b};
        if (w->program->stored[n] && w->program->place_of[n] == place)
            return 1;
        for (int j = 0; j < 2; j++)
            if (operand[j] >= 0 && w->program->place_of[operand[j]] == place && !in_register(w, operand[j], n))
                return 1;
    }
    return 0;
}

static const char *place_comment(const struct writer *w, int place)
{
    for (int n = w->program->graph->count - 1; n >= 0; n--)
        if (w->program->place_of[n] == place && at(w, n)->name)
            return at(w, n)->name;
    return "";
}

static void declare_pointers(const struct writer *w)
{
    static const char *const kind[PLACE_KINDS] = {"parameter", "input", "state, t-1", "state, t", "recorded", "block", "step",
                                                  "dL/dy", "dL/ds, t", "dL/ds, t-1", "dL/dx"};
    for (int place = 0; place < w->program->places; place++) {
        if (!needs_place(w, place))
            continue;
        text_printf(w->out, "        elem *const at_%d = stage_row(&call->value[%d], step, row);   /* %s: %s */\n", place, place,
                    kind[w->program->place[place].kind], place_comment(w, place));
    }
}

static void load(const struct writer *w, int n, const char *indent)
{
    char name[96];
    variable(w, n, name, sizeof name);
    const char *form = at(w, n)->dim == DIM_ONE ? "%sconst vec %s = v_splat(get(at_%d[0]));\n" : "%sconst vec %s = v_load(at_%d + j);\n";
    text_printf(w->out, form, indent, name, w->program->place_of[n]);
}

/* ---- loops ---- */

struct loop { int group, dim; };

static int runs_in(const struct writer *w, int n, struct loop loop)
{
    const struct node *node = at(w, n);
    if (w->program->group[n] != loop.group)
        return 0;
    return node->op == OP_SUM ? at(w, node->a)->dim == loop.dim : node->dim == loop.dim && loop.dim != DIM_ONE;
}

/* Calls `visit` once for each operand that the loop reads from memory. */
static void load_operands(const struct writer *w, struct loop loop, int scalars, const char *indent)
{
    for (int o = 0; o < w->program->graph->count; o++) {
        enum op op = at(w, o)->op;
        if (op == OP_CONST || op == OP_SIZE || w->program->place_of[o] < 0 || (at(w, o)->dim == DIM_ONE) != scalars)
            continue;
        int wanted = 0;
        for (int k = 0; k < w->stage->count; k++) {
            int n = w->program->order[w->stage->first + k];
            int reads = at(w, n)->a == o || at(w, n)->b == o;
            wanted |= reads && !in_register(w, o, n) && (scalars || runs_in(w, n, loop));
        }
        if (wanted)
            load(w, o, indent);
    }
}

static void comment_equation(const struct writer *w, int n, const char *indent)
{
    if (!at(w, n)->name)
        return;
    text_printf(w->out, "%s/* %s = ", indent, at(w, n)->name);
    print_expression(w->program->graph, n, w->out);
    text_add(w->out, " */\n");
}

static void compute(const struct writer *w, int n, const char *indent)
{
    char name[96];
    variable(w, n, name, sizeof name);
    comment_equation(w, n, indent);
    text_printf(w->out, "%sconst vec %s = ", indent, name);
    expression(w, n);
    text_add(w->out, ";\n");
    if (w->program->stored[n] && at(w, n)->dim == DIM_ONE)
        text_printf(w->out, "%sat_%d[0] = put(%s[0]);\n", indent, w->program->place_of[n], name);
    else if (w->program->stored[n])
        text_printf(w->out, "%sv_store(at_%d + j, %s);\n", indent, w->program->place_of[n], name);
}

static void accumulate(const struct writer *w, int n, const char *indent)
{
    char operand[96];
    operand_text(w, at(w, n)->a, operand, sizeof operand);
    text_printf(w->out, "%ssum_%d += v_first(%s, call->dim[%d] - j);\n", indent, n, operand, at(w, at(w, n)->a)->dim);
}

static void finish_sum(const struct writer *w, int n)
{
    char name[96];
    variable(w, n, name, sizeof name);
    text_printf(w->out, "        const vec %s = v_splat(v_sum(sum_%d));\n", name, n);
    if (w->program->stored[n])
        text_printf(w->out, "        at_%d[0] = put(%s[0]);\n", w->program->place_of[n], name);
}

static int loop_size(const struct writer *w, struct loop loop)
{
    int count = 0;
    for (int k = 0; k < w->stage->count; k++)
        count += runs_in(w, w->program->order[w->stage->first + k], loop);
    return count;
}

static void write_loop(const struct writer *w, struct loop loop)
{
    const int *order = w->program->order + w->stage->first;
    const char *indent = "            ";
    if (!loop_size(w, loop))
        return;
    for (int k = 0; k < w->stage->count; k++)
        if (at(w, order[k])->op == OP_SUM && runs_in(w, order[k], loop))
            text_printf(w->out, "        vec sum_%d = v_splat(0);\n", order[k]);
    text_printf(w->out, "        for (long j = 0; j < call->dim[%d]; j += VLEN) {\n", loop.dim);
    load_operands(w, loop, 0, indent);
    for (int k = 0; k < w->stage->count; k++) {
        if (!runs_in(w, order[k], loop))
            continue;
        if (at(w, order[k])->op == OP_SUM)
            accumulate(w, order[k], indent);
        else
            compute(w, order[k], indent);
    }
    text_add(w->out, "        }\n");
    for (int k = 0; k < w->stage->count; k++)
        if (at(w, order[k])->op == OP_SUM && runs_in(w, order[k], loop))
            finish_sum(w, order[k]);
}

static void write_group(const struct writer *w, int group)
{
    const int *order = w->program->order + w->stage->first;
    for (int dim = DIM_ONE + 1; dim < w->cell->dims; dim++)
        write_loop(w, (struct loop){group, dim});
    for (int k = 0; k < w->stage->count; k++) {
        const struct node *node = at(w, order[k]);
        if (w->program->group[order[k]] == group && node->dim == DIM_ONE && node->op != OP_SUM)
            compute(w, order[k], "        ");
    }
}

static void write_stage(const struct bptt_cell *cell, const struct program *program, int number, struct text *out)
{
    const struct stage *stage = &program->stage[number];
    struct writer w = {cell, program, stage, out};
    int groups = 0;
    for (int k = 0; k < stage->count; k++)
        if (program->group[program->order[stage->first + k]] >= groups)
            groups = program->group[program->order[stage->first + k]] + 1;
    text_printf(out, "static void %s_%s_%d(const struct stage_call *call)\n{\n", program->backward ? "backward" : "forward",
                phase_name[stage->phase], stage->level);
    text_add(out, "    for (long step = call->step, left = call->steps; left > 0; step += call->by, left--)\n"
                  "    for (long row = call->row_from; row < call->row_to; row++) {\n");
    declare_pointers(&w);
    load_operands(&w, (struct loop){0, DIM_ONE}, 1, "        ");
    for (int group = 0; group < groups; group++)
        write_group(&w, group);
    text_add(out, "    }\n}\n\n");
}

static void write_table(const struct program *program, struct text *out)
{
    for (int i = 0; i < program->stages; i++)
        text_printf(out, "    %s_%s_%d,\n", program->backward ? "backward" : "forward", phase_name[program->stage[i].phase],
                    program->stage[i].level);
}

int cell_generate(const struct bptt_cell *cell, struct text *out)
{
    const struct program *program[2] = {&cell->run, &cell->back};
    text_printf(out, "/* Cell %s: %s\n * Written by bptt from the cell's equations. */\n\n", cell->name, "one function a stage, as stage.h says");
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < program[k]->stages; i++)
            write_stage(cell, program[k], i, out);
    text_add(out, "static stage_fn *const stages[] = {\n");
    write_table(&cell->run, out);
    write_table(&cell->back, out);
    text_printf(out, "    0\n};\nenum { STAGES = %d };\n", cell->run.stages + cell->back.stages);
    return out->failed ? BPTT_ERROR_MEMORY : BPTT_OK;
}

int cell_generate_file(const struct bptt_cell *cell, const char *prelude, const char *symbol, struct text *out)
{
    text_add(out, prelude);
    text_add(out, "\nstatic inline elem *stage_row(const struct stage_value *value, long step, long row)\n{\n"
                  "    return (elem *)value->base + step * value->step_stride + row * value->row_stride;\n}\n\n");
    int status = cell_generate(cell, out);
    text_printf(out, "\n#define TEXT_(x) #x\n#define TEXT(x) TEXT_(x)\n"
                     "extern const struct cell_code %s;\n"
                     "const struct cell_code %s = {\"%s\", 0x%llxull, TEXT(KERNEL_ISA), KERNEL_BITS / 8, STAGES, stages};\n",
                symbol, symbol, cell->name, cell->hash);
    return status || out->failed ? BPTT_ERROR_MEMORY : BPTT_OK;
}
