/* fold.c - operations of a cell gathered into operators. A sum of products, of other terms and of parameters is one weighted
 * sum; where one operation alone uses it, it is part of that: sigmoid(W x + U h + b) is one operator, into which x, h, W, U
 * and b go. Numbers stand in the operator's sign, "1-". */
#include "fold.h"

#include <stdio.h>
#include <string.h>

enum { ALONE = -1 };

struct folding {
    struct fold *fold;
    const struct graph *graph;
    int *alias;                            /* [nodes] what stands for a node: a copy's operand, else itself */
    int *uses;                             /* [nodes] */
    int *home;                             /* [nodes] the node whose operator takes this one in, or ALONE */
    int *number;                           /* [nodes] of the operator, for those that are their own */
    int failed;
};

/* ---- what nodes are ---- */

static const struct node *at(const struct folding *f, int node)
{
    return &f->graph->node[node];
}

static int operand(const struct folding *f, int node, int which)
{
    int a = which ? at(f, node)->b : at(f, node)->a;
    return a < 0 ? -1 : f->alias[a];
}

static int is_number(const struct folding *f, int node)
{
    return node >= 0 && (at(f, node)->op == OP_CONST || at(f, node)->op == OP_SIZE);
}

static int is_param(const struct folding *f, int node)
{
    return node >= 0 && at(f, node)->op == OP_PARAM;
}

static int is_sum(const struct folding *f, int node)
{
    enum op op = at(f, node)->op;
    return (op == OP_ADD || op == OP_SUB) && !is_number(f, operand(f, node, 0)) && !is_number(f, operand(f, node, 1));
}

static int is_weighted(const struct folding *f, int node)
{
    int a = operand(f, node, 0), b = operand(f, node, 1);
    if (op_is_product(at(f, node)->op))
        return 1;
    if (at(f, node)->op == OP_MUL)
        return is_param(f, a) != is_param(f, b) && !is_number(f, a) && !is_number(f, b);
    return is_sum(f, node) && (is_param(f, a) || is_param(f, b) || f->home[a] == node || f->home[b] == node);
}

/* An operand that nothing else uses is taken in: a weighted sum by what is done to it, a sum by a sum. */
static int takes_in(const struct folding *f, int node, int term)
{
    if (term < 0 || op_is_leaf(at(f, term)->op) || f->uses[term] != 1)
        return 0;
    int other = operand(f, node, 0) == term ? operand(f, node, 1) : operand(f, node, 0);
    if (is_weighted(f, term))
        return op_is_product(at(f, node)->op) || is_sum(f, node) || other < 0 || is_number(f, other);
    return at(f, node)->op == OP_ADD && is_sum(f, node) && at(f, term)->op == OP_ADD && is_sum(f, term);
}

static void count_uses(struct folding *f)
{
    const struct graph *g = f->graph;
    for (int n = 0; n < g->count; n++) {
        int is_copy = at(f, n)->op == OP_COPY || at(f, n)->op == OP_BROADCAST;
        f->alias[n] = is_copy ? f->alias[at(f, n)->a] : n;
        for (int i = 0; i < 2 && !is_copy && !op_is_leaf(at(f, n)->op); i++)
            if (operand(f, n, i) >= 0)
                f->uses[operand(f, n, i)]++;
    }
    for (int i = 0; i < g->sinks; i++)
        f->uses[f->alias[g->sink[i].left]] += 2;       /* never part of another */
}

static void find_homes(struct folding *f)
{
    for (int n = 0; n < f->graph->count; n++) {
        f->home[n] = ALONE;
        for (int i = 0; i < 2 && f->alias[n] == n && !op_is_leaf(at(f, n)->op); i++)
            if (takes_in(f, n, operand(f, n, i)))
                f->home[operand(f, n, i)] = n;
    }
}

/* ---- operators ---- */

static void add_source(struct folding *f, struct operator *o, struct source source)
{
    for (int i = 0; i < o->sources; i++)
        if (o->source[i].kind == source.kind && o->source[i].index == source.index)
            return;
    struct source *grown = arena_grow(f->fold->arena, o->source, o->sources, &o->capacity, sizeof source);
    if (!grown) {
        f->failed = 1;
        return;
    }
    o->source = grown;
    o->source[o->sources++] = source;
}

/* What enters an operator through a node: the node itself, or where that is part of the operator, its operands. */
static void add_term(struct folding *f, struct operator *o, int node, int user)
{
    if (node < 0 || is_number(f, node))
        return;
    switch (at(f, node)->op) {
    case OP_INPUT: add_source(f, o, (struct source){SOURCE_INPUT, 0}); return;
    case OP_STATE: add_source(f, o, (struct source){SOURCE_STATE, at(f, node)->leaf}); return;
    case OP_PARAM: add_source(f, o, (struct source){SOURCE_PARAM, at(f, node)->leaf}); return;
    default: break;
    }
    if (f->home[node] != user) {
        add_source(f, o, (struct source){SOURCE_OPERATOR, f->number[node]});
        return;
    }
    add_term(f, o, operand(f, node, 0), node);
    add_term(f, o, operand(f, node, 1), node);
}

static const char *plain_sign(const char *text)
{
    static const char *const sign[][2] = {{"*", "×"},         {"-", "−"},    {"/", "÷"},    {"sigmoid", "σ"},
                                          {"square", "( )²"}, {"sqrt", "√"}, {"abs", "| |"}};
    for (size_t i = 0; i < sizeof sign / sizeof *sign; i++)
        if (!strcmp(sign[i][0], text))
            return sign[i][1];
    return text;
}

static const char *number_text(const struct folding *f, int node, char *text, size_t size)
{
    if (at(f, node)->op == OP_SIZE)
        return cell_dim_text(f->fold->cell, at(f, node)->leaf, text, size);
    snprintf(text, size, "%.3g", at(f, node)->value);
    return text;
}

static const char *sign_of(struct folding *f, int node)
{
    char number[64], text[160];
    int a = operand(f, node, 0), b = operand(f, node, 1);
    const char *sign = plain_sign(op_table[at(f, node)->op].text);
    if (is_weighted(f, node))
        return "Σ";
    if (is_number(f, a) && b >= 0)
        snprintf(text, sizeof text, "%s%s", number_text(f, a, number, sizeof number), sign);
    else if (is_number(f, b))
        snprintf(text, sizeof text, "%s%s", sign, number_text(f, b, number, sizeof number));
    else
        return sign;
    sign = arena_string(f->fold->arena, text, strlen(text));
    f->failed |= !sign;
    return sign ? sign : "";
}

/* The names of next states are told by the states themselves. */
static const char *name_of(const struct node *node)
{
    return node->name && !strchr(node->name, '\'') ? node->name : "";
}

static void add_operator(struct folding *f, int node)
{
    struct operator *o = &f->fold->operator[f->fold->operators];
    *o = (struct operator){.sign = sign_of(f, node), .name = name_of(at(f, node))};
    add_term(f, o, operand(f, node, 0), node);
    add_term(f, o, operand(f, node, 1), node);
    f->number[node] = f->fold->operators++;
}

/* What a sink takes: a leaf (a delay line) gets an operator that does nothing. */
static int maker_of(struct folding *f, int node)
{
    if (!op_is_leaf(at(f, node)->op))
        return f->number[node];
    struct operator *o = &f->fold->operator[f->fold->operators];
    *o = (struct operator){.sign = "=", .name = ""};
    add_term(f, o, node, ALONE);
    return f->fold->operators++;
}

static void find_results(struct folding *f)
{
    struct fold *fold = f->fold;
    int output = -1;
    for (int i = 0; i < f->graph->sinks; i++)
        if (f->graph->sink[i].kind == SINK_OUTPUT)
            output = f->alias[f->graph->sink[i].left];
    for (int i = 0; i < f->graph->sinks; i++) {
        const struct sink *sink = &f->graph->sink[i];
        if (sink->kind != SINK_NEXT)
            continue;
        fold->next[sink->index] = maker_of(f, f->alias[sink->left]);
        if (f->alias[sink->left] == output && fold->output_state < 0)
            fold->output_state = sink->index;
    }
    fold->output = fold->output_state < 0 ? maker_of(f, output) : fold->next[fold->output_state];
}

/* ---- one operator for all ---- */

static void fold_all(struct folding *f)
{
    struct fold *fold = f->fold;
    struct operator *all = &fold->operator[fold->operators], *own = fold->operator;
    *all = (struct operator){.sign = "f", .name = ""};
    for (int i = 0; i < fold->operators; i++)
        for (int k = 0; k < own[i].sources; k++)
            if (own[i].source[k].kind != SOURCE_OPERATOR)
                add_source(f, all, own[i].source[k]);
    own[0] = *all;
    fold->operators = 1;
    fold->output = 0;
    memset(fold->next, 0, (size_t)fold->cell->states * sizeof *fold->next);
}

int fold_cell(const bptt_cell *cell, int detail, struct arena *arena, struct fold *fold, bptt_error *error)
{
    struct folding f = {.fold = fold, .graph = &cell->forward};
    size_t nodes = (size_t)cell->forward.count, most = nodes + (size_t)cell->states + 2, bytes = 4 * nodes * sizeof(int);
    *fold = (struct fold){.cell = cell, .output_state = -1, .arena = arena};
    fold->operator = arena_alloc(arena, most * sizeof *fold->operator);
    fold->next = arena_alloc(arena, (size_t)cell->states * sizeof *fold->next);
    f.alias = arena_alloc(arena, bytes);
    if (!fold->operator || !fold->next || !f.alias)
        return fail_memory(error, most * sizeof *fold->operator);
    f.uses = f.alias + nodes;
    f.home = f.uses + nodes;
    f.number = f.home + nodes;
    count_uses(&f);
    find_homes(&f);
    for (int n = 0; n < f.graph->count; n++)
        if (f.alias[n] == n && !op_is_leaf(at(&f, n)->op) && f.home[n] == ALONE && f.uses[n])
            add_operator(&f, n);
    find_results(&f);
    if (!detail)
        fold_all(&f);
    return f.failed ? fail_memory(error, bytes) : BPTT_OK;
}
