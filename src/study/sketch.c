/* sketch.c - an unrolled graph for Graphviz, and as characters: what a terminal shows. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"

/* ---- for Graphviz ---- */

static void add_lowered(const char *name, size_t length, const bptt_graph_node *node, struct text *out)
{
    const char *line = memchr(name, '_', length);
    size_t base = line && line > name ? (size_t)(line - name) : length;
    int has_step = node->step || node->role == BPTT_ROLE_INITIAL;
    picture_escape(name, base, out);
    if (base == length && !has_step)
        return;
    text_add(out, "<SUB>");
    if (base < length)
        picture_escape(name + base + 1, length - base - 1, out);
    if (has_step)
        text_printf(out, "%s%lld", base < length ? "," : "", (long long)node->step);
    text_add(out, "</SUB>");
}

static void add_label(const bptt_graph_node *node, struct text *out)
{
    if (node->kind == BPTT_OPERATOR) {
        picture_escape(node->name, strlen(node->name), out);
        return;
    }
    for (const char *at = node->name; *at;) {
        size_t length = strcspn(at, ",");
        add_lowered(at, length, node, out);
        at += length + (at[length] ? 2 : 0);
        text_add(out, *at ? ", " : "");
    }
}

static void dot_node(const bptt_graph *graph, size_t n, struct text *out)
{
    static const char *const style[] = {[BPTT_VARIABLE] = "shape=box",
                                        [BPTT_PARAMETER] = "shape=box style=filled fillcolor=\"#cfe1fb\"",
                                        [BPTT_OPERATOR] = "shape=circle margin=0.02"};
    const bptt_graph_node *node = &graph->node[n];
    text_printf(out, "    n%zu [%s label=<", n, style[node->kind]);
    add_label(node, out);
    text_add(out, ">");
    if (node->kind == BPTT_OPERATOR && *node->about) {
        text_add(out, " xlabel=\"");
        picture_escape(node->about, strlen(node->about), out);
        text_add(out, "\"");
    }
    text_add(out, "];\n");
}

/* Edges through time do not lift a step above the one before it. */
static void dot_edge(const bptt_graph *graph, const bptt_graph_edge *edge, struct text *out)
{
    const bptt_graph_node *from = &graph->node[edge->from], *to = &graph->node[edge->to];
    int is_link = from->role == BPTT_ROLE_INITIAL || (from->role == BPTT_ROLE_STATE && to->step == from->step + 1);
    text_printf(out, "    n%zu -> n%zu", edge->from, edge->to);
    if (from->kind == BPTT_PARAMETER)
        text_add(out, " [color=\"#2f6fd0\"]");
    if (is_link) {
        double weight = from->step ? graph->link[from->step - 1] : 1;
        text_add(out, " [constraint=false");
        if (weight == 0)
            text_add(out, " style=dashed color=\"#c9402c\" label=\"cut\"");
        else if (weight != 1)
            text_printf(out, " label=\"×%.3g\"", weight);
        text_add(out, "]");
    }
    text_add(out, ";\n");
}

/* Steps from left to right. */
static void dot_order(const bptt_graph *graph, struct text *out)
{
    const char *before = "    { rank=same; edge [style=invis]; ";
    for (size_t n = 0; n < graph->nodes; n++)
        if (graph->node[n].role == BPTT_ROLE_STEP_LOSS) {
            text_printf(out, "%sn%zu", before, n);
            before = " -> ";
        }
    text_add(out, "; }\n");
}

static void write_dot(const bptt_graph *graph, struct text *out)
{
    text_add(out, "digraph \"");
    picture_escape(graph->cell, strlen(graph->cell), out);
    text_add(out, "\" {\n    rankdir=BT; newrank=true;\n    node [fontname=\"serif\"];\n");
    for (int64_t t = 0; t <= graph->steps; t++) {
        if (t)
            text_printf(out, "    subgraph cluster_%lld { label=\"step %lld\"; color=\"#cccccc\";\n", (long long)t,
                        (long long)t);
        for (size_t n = 0; n < graph->nodes; n++)
            if (graph->node[n].step == t)
                dot_node(graph, n, out);
        text_add(out, t ? "    }\n" : "");
    }
    for (size_t i = 0; i < graph->edges; i++)
        dot_edge(graph, &graph->edge[i], out);
    dot_order(graph, out);
    text_add(out, "}\n");
}

/* ---- as characters ---- */

/* Rows from above: L_t, line, l, line, o_t, line, g, line, states, line, rail, line, x_t. */
enum {
    ROW_LOSS = 0,
    ROW_L = 2,
    ROW_OUT = 4,
    ROW_HEAD = 6,
    ROW_STATE = 8,
    ROW_RAIL = 10,
    ROW_INPUT = 12,
    ROWS = 13,
    OPERATOR_AT = 6,
    STATE_AT = 13,
    MOST_COLUMNS = 500
};

struct sheet {
    const bptt_graph *graph;
    char line[ROWS][MOST_COLUMNS + 1];
    int columns, label, pitch,
        start; /* widths: of the sheet, of a step's states and of a step; of what stands left of step 1 */
    int64_t shown;
};

static void put(struct sheet *s, int row, int column, const char *text)
{
    for (int i = 0; text[i] && column + i < s->columns; i++)
        if (column + i >= 0)
            s->line[row][column + i] = text[i];
}

static int column_of(const struct sheet *s, int64_t step)
{
    return s->start + (int)(step - 1) * s->pitch;
}

/* "h_1 c_1"; the states before the first step are those of step 0. */
static void say_states(const bptt_graph *graph, int64_t step, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t n = 0; n < graph->nodes && used < size; n++) {
        const bptt_graph_node *node = &graph->node[n];
        int is_state = node->role == BPTT_ROLE_INITIAL || node->role == BPTT_ROLE_STATE || node->role == BPTT_ROLE_OUTPUT;
        if (is_state && node->step == step)
            used += (size_t)snprintf(text + used, size - used, "%s%s_%lld", used ? " " : "", node->name, (long long)step);
    }
}

static const char *name_of(const bptt_graph *graph, int role)
{
    for (size_t n = 0; n < graph->nodes; n++)
        if (graph->node[n].role == role)
            return graph->node[n].name;
    return NULL;
}

static void put_variable(struct sheet *s, int row, int middle, int role, int64_t step)
{
    char text[160];
    const char *name = name_of(s->graph, role);
    if (!name)
        return;
    int length = snprintf(text, sizeof text, "%s_%lld", name, (long long)step);
    put(s, row, middle - (length - 1) / 2, text);
}

static void put_step(struct sheet *s, int64_t step, int has_weights)
{
    char text[160];
    int at = column_of(s, step), operator = at + OPERATOR_AT, state = at + STATE_AT + (s->label - 1) / 2;
    double weight = step > 1 ? s->graph->link[step - 2] : 1;
    say_states(s->graph, step, text, sizeof text);
    put(s, ROW_STATE, at + 1, weight == 0 ? "-//->(f)-->" : "---->(f)-->");
    put(s, ROW_STATE, at + STATE_AT, text);
    if (has_weights)
        put(s, ROW_RAIL, operator + 1, "+");
    if (has_weights || name_of(s->graph, BPTT_ROLE_INPUT))
        put(s, ROW_RAIL - 1, operator + 1, "|");
    if (name_of(s->graph, BPTT_ROLE_INPUT)) {
        put(s, ROW_RAIL, operator + 1, has_weights ? "+" : "|");
        put(s, ROW_RAIL + 1, operator + 1, "|");
        put_variable(s, ROW_INPUT, operator + 1, BPTT_ROLE_INPUT, step);
    }
    put(s, ROW_HEAD, state - 1, "(g)");
    put_variable(s, ROW_OUT, state, BPTT_ROLE_PREDICTION, step);
    put(s, ROW_L, state - 1, "(l)");
    put_variable(s, ROW_LOSS, state, BPTT_ROLE_STEP_LOSS, step);
    for (int row = ROW_LOSS + 1; row < ROW_STATE; row += 2)
        put(s, row, state, "|");
}

static void put_rail(struct sheet *s, int row, const char *name, int last)
{
    put(s, row, 0, name);
    for (int i = (int)strlen(name); i < last; i++)
        s->line[row][i] = '-';
}

static int line_length(const struct sheet *s, int row)
{
    int length = s->columns;
    while (length > 0 && s->line[row][length - 1] == ' ')
        length--;
    return length;
}

/* Cells without parameters and inputs have nothing below their states. */
static void add_lines(const struct sheet *s, struct text *out)
{
    int rows = ROWS;
    while (line_length(s, rows - 1) == 0)
        rows--;
    for (int row = 0; row < rows; row++)
        text_printf(out, "%.*s\n", line_length(s, row), s->line[row]);
}

static int64_t widest_step(const bptt_graph *graph, char *text, size_t size)
{
    say_states(graph, graph->steps, text, size);
    return (int64_t)strlen(text);
}

/* As many steps as there is room for, at least one. */
static void lay_out(struct sheet *s, int columns)
{
    char text[160];
    s->label = (int)widest_step(s->graph, text, sizeof text);
    s->pitch = STATE_AT + 1 + s->label;
    s->start = s->label > 6 ? s->label : 6;
    s->columns = columns < s->start + s->pitch ? s->start + s->pitch : columns < MOST_COLUMNS ? columns : MOST_COLUMNS;
    s->shown = (s->columns - s->start) / s->pitch;
    s->shown = s->shown < s->graph->steps ? s->shown : s->graph->steps;
    memset(s->line, ' ', sizeof s->line);
}

static void write_notes(const struct sheet *s, struct text *out)
{
    const bptt_graph *graph = s->graph;
    if (s->shown < graph->steps)
        text_printf(out, "... and so on to step %lld\n", (long long)graph->steps);
    text_printf(out, "\n(f): a step of the cell; (g): output layer; (l): loss; L: mean of L_1 to L_%lld\n",
                (long long)graph->steps);
    if (*graph->gradient && !graph->pieces)
        text_printf(out, "gradient %s: no link is cut\n", graph->gradient);
    for (size_t i = 0; i < graph->pieces; i++) {
        const bptt_graph_piece *piece = &graph->piece[i];
        text_printf(out, "gradient of L_%lld", (long long)piece->losses);
        if (piece->losses < piece->to)
            text_printf(out, " to L_%lld", (long long)piece->to);
        text_printf(out, ": back to step %lld\n", (long long)piece->from);
    }
    for (int64_t t = 1; t < graph->steps; t++)
        if (graph->link[t - 1] != 0 && graph->link[t - 1] != 1)
            text_printf(out, "link from step %lld to %lld: gradient times %.3g\n", (long long)t, (long long)t + 1,
                        graph->link[t - 1]);
}

static int write_text(const bptt_graph *graph, int columns, struct text *out)
{
    struct sheet *s = calloc(1, sizeof *s);
    char initial[160];
    if (!s)
        return BPTT_ERROR_MEMORY;
    s->graph = graph;
    lay_out(s, columns);
    int last = column_of(s, s->shown), has_weights = name_of(graph, BPTT_ROLE_WEIGHTS) != NULL;
    put_rail(s, ROW_HEAD, "[w_o]", last + STATE_AT + (s->label - 1) / 2);
    if (has_weights)
        put_rail(s, ROW_RAIL, "[w_h]", last + OPERATOR_AT + 1);
    say_states(graph, 0, initial, sizeof initial);
    put(s, ROW_STATE, s->start - (int)strlen(initial), initial);
    for (int64_t t = 1; t <= s->shown; t++)
        put_step(s, t, has_weights);
    add_lines(s, out);
    write_notes(s, out);
    free(s);
    return BPTT_OK;
}

int bptt_graph_draw(const bptt_graph *graph, const char *form, int columns, char **text, bptt_error *error)
{
    struct text out = {0};
    int status = BPTT_OK;
    *text = NULL;
    if (!strcmp(form, "svg"))
        status = picture_svg(graph, &out, error);
    else if (!strcmp(form, "dot"))
        write_dot(graph, &out);
    else if (!strcmp(form, "text"))
        status = write_text(graph, columns, &out);
    else
        return fail(error, BPTT_ERROR_ARGUMENT, "no such form of a graph: '%s'; text, svg or dot", form);
    if (!status)
        *text = text_take(&out);
    text_free(&out);
    return *text ? BPTT_OK : status && status != BPTT_ERROR_MEMORY ? status : fail_memory(error, 0);
}
