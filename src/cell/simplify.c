/* simplify.c - the raw graph again, through the simplifying constructors; then sums regrouped by phase.
 *
 * A sum such as W x + U h + b is reordered so that what is known early is added early: (W x + b) + U h. Then one value
 * carries all of it into the scan. */
#include <string.h>

#include "cell.h"

/* ---- copy ---- */

static int copy_node(struct bptt_cell *cell, struct graph *to, const struct node *node, const int *map)
{
    switch (node->op) {
    case OP_CONST: return graph_const(to, node->value);
    case OP_INPUT: case OP_STATE: case OP_PARAM: return graph_leaf(to, node->op, node->leaf, node->dim, node->name, node->place);
    case OP_SIZE: return graph_leaf(to, OP_SIZE, node->a >= 0 ? cell->raw.node[node->a].dim : node->leaf, DIM_ONE, NULL, node->place);
    case OP_PRODUCT: case OP_PRODUCT_T: return graph_product(to, node->op, map[node->a], map[node->b], node->dim);
    case OP_SUM: return graph_sum(to, map[node->a]);
    case OP_BROADCAST: return graph_broadcast(to, map[node->a], node->dim);
    default: return graph_op(to, node->op, map[node->a], node->b < 0 ? -1 : map[node->b]);
    }
}

static void keep_name(struct graph *to, int index, const struct node *from)
{
    struct node *node = &to->node[index];
    if (from->name && !node->name && node->op != OP_CONST) {
        node->name = from->name;
        node->place = from->place;
    }
}

/* ---- sums by phase ---- */

struct regroup {
    struct bptt_cell *cell;
    const struct graph *from;
    struct graph *to;
    char *needs_state;                     /* by node of `from` */
    int *uses;
    int *map;
    int *addend, *sign;                    /* the sum at hand, flattened */
    int addends;
};

static int is_sum(const struct node *node)
{
    return node->op == OP_ADD || node->op == OP_SUB;
}

static void count_uses(struct regroup *r)
{
    for (int i = 0; i < r->from->count; i++) {
        const struct node *node = &r->from->node[i];
        if (node->a >= 0) r->uses[node->a]++;
        if (node->b >= 0) r->uses[node->b]++;
        r->needs_state[i] = node->op == OP_STATE || (node->a >= 0 && r->needs_state[node->a]) ||
                            (node->b >= 0 && r->needs_state[node->b]);
    }
    for (int i = 0; i < r->from->sinks; i++)
        r->uses[r->from->sink[i].left] += 2;
}

static void flatten(struct regroup *r, int index, int sign, int outermost)
{
    const struct node *node = &r->from->node[index];
    int opened = outermost || (r->uses[index] == 1 && !node->name);
    if (is_sum(node) && opened && r->needs_state[index]) {
        flatten(r, node->a, sign, 0);
        flatten(r, node->b, node->op == OP_ADD ? sign : -sign, 0);
        return;
    }
    r->addend[r->addends] = index;
    r->sign[r->addends++] = sign;
}

static int plus(struct graph *to, int sum, int addend, int sign)
{
    if (sum < 0)
        return sign > 0 ? addend : graph_op(to, OP_NEG, addend, -1);
    return graph_op(to, sign > 0 ? OP_ADD : OP_SUB, sum, addend);
}

static int regrouped_sum(struct regroup *r, int index)
{
    r->addends = 0;
    flatten(r, index, 1, 1);
    int sum = -1;
    for (int late = 0; late < 2; late++)
        for (int i = 0; i < r->addends; i++)
            if (r->needs_state[r->addend[i]] == late)
                sum = plus(r->to, sum, r->map[r->addend[i]], r->sign[i]);
    return sum;
}

static int regroup(struct regroup *r)
{
    count_uses(r);
    for (int i = 0; i < r->from->count; i++) {
        const struct node *node = &r->from->node[i];
        if (is_sum(node) && r->needs_state[i])
            r->map[i] = regrouped_sum(r, i);
        else
            r->map[i] = copy_node(r->cell, r->to, node, r->map);
        keep_name(r->to, r->map[i], node);
    }
    return BPTT_OK;
}

/* ---- sinks ---- */

/* Every sink gets a node of its own with the full width: a next state that is also another one, the last state or the
 * input is copied, so that each place is written once and by a stage. */
static int sink_value(struct graph *graph, int value, int dim, char *taken)
{
    value = graph_broadcast(graph, value, dim);
    if (op_is_leaf(graph->node[value].op) || taken[value]) {
        struct node copy = {.op = OP_COPY, .a = value, .b = -1, .dim = dim, .place = graph->node[value].place};
        value = graph_raw(graph, copy);
    }
    taken[value] = 1;
    return value;
}

static int copy_sinks(struct bptt_cell *cell, const struct graph *from, const int *map, struct graph *to, bptt_error *error)
{
    char *taken = arena_alloc(&cell->arena, (size_t)to->count + 2 * (size_t)from->sinks + 8);
    if (!taken)
        return fail_memory(error, (size_t)to->count);
    int output = -1;
    for (int i = 0; i < from->sinks; i++) {
        const struct sink *sink = &from->sink[i];
        if (sink->kind == SINK_NEXT)
            graph_sink(to, SINK_NEXT, sink->index,
                       sink_value(to, map[sink->left], cell->state[sink->index].dim, taken), -1);
        else
            output = map[sink->left];
    }
    if (op_is_leaf(to->node[output].op))
        output = graph_raw(to, (struct node){.op = OP_COPY, .a = output, .b = -1, .dim = to->node[output].dim, .place = -1});
    graph_sink(to, SINK_OUTPUT, 0, output, -1);
    cell->output_dim = to->node[output].dim;
    return graph_ok(to, error);
}

int cell_simplify(struct bptt_cell *cell, bptt_error *error)
{
    struct graph plain = {.arena = &cell->arena};
    cell->forward.arena = &cell->arena;
    size_t limit = (size_t)cell->raw.count * 2 + 16;      /* NEG and SUB rewrites may add nodes */
    int *map = arena_alloc(&cell->arena, limit * sizeof(int));
    if (!map)
        return fail_memory(error, limit * sizeof(int));
    for (int i = 0; i < cell->raw.count; i++) {
        map[i] = copy_node(cell, &plain, &cell->raw.node[i], map);
        keep_name(&plain, map[i], &cell->raw.node[i]);
    }
    for (int i = 0; i < cell->raw.sinks; i++)
        graph_sink(&plain, cell->raw.sink[i].kind, cell->raw.sink[i].index, map[cell->raw.sink[i].left], -1);
    int status = graph_ok(&plain, error);
    if (status)
        return status;
    size_t nodes = (size_t)plain.count + 1;
    struct regroup r = {
        .cell = cell, .from = &plain, .to = &cell->forward,
        .needs_state = arena_alloc(&cell->arena, nodes), .uses = arena_alloc(&cell->arena, nodes * sizeof(int)),
        .map = arena_alloc(&cell->arena, nodes * sizeof(int)), .addend = arena_alloc(&cell->arena, nodes * sizeof(int)),
        .sign = arena_alloc(&cell->arena, nodes * sizeof(int)),
    };
    if (!r.needs_state || !r.uses || !r.map || !r.addend || !r.sign)
        return fail_memory(error, nodes * sizeof(int));
    status = regroup(&r);
    if (!status)
        status = copy_sinks(cell, &plain, r.map, &cell->forward, error);
    return status ? status : graph_compact(&cell->forward, error);
}
