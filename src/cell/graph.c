/* graph.c - nodes are only made here. A constructor first simplifies: constants are folded, neutral elements vanish, and a
 * node that exists already is returned again, so common subexpressions need no pass of their own. */
#include "graph.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const struct op_row op_table[OP_COUNT] = {
#define STRUCTURAL(name, text) {#name, text, 0, "", {"", ""}},
#define ELEMENTWISE(name, text, operands, value, vector, da, db) {#name, text, operands, vector, {da, db}},
#include "ops.def"
#undef STRUCTURAL
#undef ELEMENTWISE
};

int op_is_cheap(enum op op)
{
    switch (op) {
    case OP_COPY: case OP_ADD: case OP_SUB: case OP_MUL: case OP_NEG: case OP_SQUARE: case OP_RELU: case OP_ABS: case OP_SIGN:
    case OP_LESS: case OP_MAX: case OP_MIN: case OP_BROADCAST:
        return 1;
    default:
        return 0;
    }
}

int graph_raw(struct graph *graph, struct node node)
{
    struct node *data = arena_grow(graph->arena, graph->node, graph->count, &graph->capacity, sizeof node);
    if (!data) {
        graph->failed = 1;
        if (!graph->node)
            graph->node = &graph->spare;
        return 0;                          /* a valid index: building goes on, graph_ok reports */
    }
    graph->node = data;
    graph->node[graph->count] = node;
    return graph->count++;
}

static int same(const struct node *x, const struct node *y)
{
    return x->op == y->op && x->a == y->a && x->b == y->b && x->leaf == y->leaf && x->dim == y->dim &&
           memcmp(&x->value, &y->value, sizeof x->value) == 0;
}

static int interned(struct graph *graph, struct node node)
{
    for (int i = 0; i < graph->count; i++)
        if (same(&graph->node[i], &node))
            return i;
    return graph_raw(graph, node);
}

int graph_leaf(struct graph *graph, enum op op, int leaf, int dim, const char *name, int place)
{
    return interned(graph, (struct node){.op = op, .a = -1, .b = -1, .leaf = leaf, .dim = dim, .name = name, .place = place});
}

int graph_const(struct graph *graph, double value)
{
    return interned(graph, (struct node){.op = OP_CONST, .a = -1, .b = -1, .value = value, .dim = DIM_ONE, .place = -1});
}

int graph_is_const(const struct graph *graph, int node, double value)
{
    return graph->node[node].op == OP_CONST && graph->node[node].value == value;
}

static double fold(enum op op, double a, double b)
{
    (void)b;
    switch (op) {
#define STRUCTURAL(name, text)
#define ELEMENTWISE(name, text, operands, value, vector, da, db) case OP_##name: return value;
#include "ops.def"
#undef STRUCTURAL
#undef ELEMENTWISE
    default: return NAN;
    }
}

/* a op b without the operation, or -1. Zero times a value is zero: adjoints that vanish by rule must vanish as text. */
static int simplified(struct graph *graph, enum op op, int a, int b)
{
    switch (op) {
    case OP_ADD:
        if (graph_is_const(graph, a, 0)) return b;
        if (graph_is_const(graph, b, 0)) return a;
        if (graph->node[b].op == OP_NEG) return graph_op(graph, OP_SUB, a, graph->node[b].a);
        if (graph->node[a].op == OP_NEG) return graph_op(graph, OP_SUB, b, graph->node[a].a);
        return -1;
    case OP_SUB:
        if (graph_is_const(graph, b, 0)) return a;
        if (graph_is_const(graph, a, 0)) return graph_op(graph, OP_NEG, b, -1);
        if (graph->node[b].op == OP_NEG) return graph_op(graph, OP_ADD, a, graph->node[b].a);
        return -1;
    case OP_MUL:
        if (graph_is_const(graph, a, 0) || graph_is_const(graph, b, 0)) return graph_const(graph, 0);
        if (graph_is_const(graph, a, 1)) return b;
        if (graph_is_const(graph, b, 1)) return a;
        if (graph_is_const(graph, a, -1)) return graph_op(graph, OP_NEG, b, -1);
        if (graph_is_const(graph, b, -1)) return graph_op(graph, OP_NEG, a, -1);
        if (graph->node[a].op == OP_NEG) return graph_op(graph, OP_NEG, graph_op(graph, OP_MUL, graph->node[a].a, b), -1);
        if (graph->node[b].op == OP_NEG) return graph_op(graph, OP_NEG, graph_op(graph, OP_MUL, a, graph->node[b].a), -1);
        return -1;
    case OP_DIV:
        return graph_is_const(graph, b, 1) ? a : -1;
    case OP_NEG:
        return graph->node[a].op == OP_NEG ? graph->node[a].a : -1;
    default:
        return -1;
    }
}

int graph_op(struct graph *graph, enum op op, int a, int b)
{
    const struct node *node = graph->node;
    int constant = node[a].op == OP_CONST && (b < 0 || node[b].op == OP_CONST);
    if (constant)
        return graph_const(graph, fold(op, node[a].value, b < 0 ? 0 : node[b].value));
    int simple = simplified(graph, op, a, b);
    if (simple >= 0)
        return simple;
    int dim = graph->node[a].dim != DIM_ONE || b < 0 ? graph->node[a].dim : graph->node[b].dim;
    return interned(graph, (struct node){.op = op, .a = a, .b = b, .dim = dim, .place = graph->node[a].place});
}

int graph_product(struct graph *graph, enum op op, int param, int vector, int dim)
{
    if (graph_is_const(graph, vector, 0))
        return graph_const(graph, 0);
    enum op operand = graph->node[vector].op;
    if (operand == OP_CONST || operand == OP_SIZE)         /* numbers have no place in memory; a copy has */
        vector = graph_raw(graph, (struct node){.op = OP_COPY, .a = vector, .b = -1, .dim = DIM_ONE, .place = -1});
    return interned(graph, (struct node){.op = op, .a = param, .b = vector, .dim = dim, .place = graph->node[param].place});
}

int graph_sum(struct graph *graph, int a)
{
    if (graph->node[a].dim == DIM_ONE)
        return a;
    return interned(graph, (struct node){.op = OP_SUM, .a = a, .b = -1, .dim = DIM_ONE, .place = graph->node[a].place});
}

int graph_broadcast(struct graph *graph, int a, int dim)
{
    if (graph->node[a].dim == dim)
        return a;
    return interned(graph, (struct node){.op = OP_BROADCAST, .a = a, .b = -1, .dim = dim, .place = graph->node[a].place});
}

void graph_sink(struct graph *graph, enum sink_kind kind, int index, int left, int right)
{
    struct sink *data = arena_grow(graph->arena, graph->sink, graph->sinks, &graph->sink_capacity, sizeof *data);
    if (!data) {
        graph->failed = 1;
        return;
    }
    graph->sink = data;
    graph->sink[graph->sinks++] = (struct sink){kind, index, left, right, -1};
}

int graph_ok(const struct graph *graph, bptt_error *error)
{
    return graph->failed ? fail(error, BPTT_ERROR_MEMORY, "out of memory while compiling a cell") : BPTT_OK;
}

void graph_live(const struct graph *graph, char *live)
{
    memset(live, 0, (size_t)graph->count);
    for (int i = 0; i < graph->sinks; i++) {
        if (graph->sink[i].left >= 0)
            live[graph->sink[i].left] = 1;
        if (graph->sink[i].right >= 0)
            live[graph->sink[i].right] = 1;
    }
    for (int i = graph->count - 1; i >= 0; i--) {
        if (!live[i])
            continue;
        if (graph->node[i].a >= 0)
            live[graph->node[i].a] = 1;
        if (graph->node[i].b >= 0)
            live[graph->node[i].b] = 1;
    }
}

int graph_compact(struct graph *graph, bptt_error *error)
{
    char *live = arena_alloc(graph->arena, (size_t)graph->count + 1);
    int *map = arena_alloc(graph->arena, ((size_t)graph->count + 1) * sizeof *map);
    if (!live || !map)
        return fail_memory(error, (size_t)graph->count);
    graph_live(graph, live);
    int count = 0;
    for (int i = 0; i < graph->count; i++) {
        if (!live[i])
            continue;
        struct node node = graph->node[i];
        node.a = node.a < 0 ? -1 : map[node.a];
        node.b = node.b < 0 ? -1 : map[node.b];
        map[i] = count;
        graph->node[count++] = node;
    }
    graph->count = count;
    for (int i = 0; i < graph->sinks; i++) {
        struct sink *sink = &graph->sink[i];
        sink->left = sink->left < 0 ? -1 : map[sink->left];
        sink->right = sink->right < 0 ? -1 : map[sink->right];
    }
    return graph_ok(graph, error);
}
