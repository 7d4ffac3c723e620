/* derive.c - the two derivatives of a cell's step, as graphs.
 *
 * Reverse: from dL/dy_t and dL/ds_t (of step t+1) to dL/ds_{t-1}, dL/dx_t and each parameter's share of this step, in one walk
 * from the last node to the first (D2L 9.7.13 and 9.7.14 in general form). A value of the forward pass that the walk needs
 * is recorded, unless it costs next to nothing to compute again from what is recorded anyway.
 * Tangent: from directions of x_t, s_{t-1} and the parameters to that of s_t and y_t (D2L 9.7.4 in general form).
 *
 * The only rules here are those of products and reductions; all others are the texts in ops.def. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"

/* ---- forward values inside a derived graph ---- */

struct values {
    const struct graph *forward;
    struct graph *to;
    int *known;                            /* by forward node: its node in `to`, or -1 */
    const char *again;                     /* by forward node: 1 to compute it again instead of recording; or NULL */
};

static int value_of(struct values *v, int n)
{
    if (v->known[n] >= 0)
        return v->known[n];
    const struct node *node = &v->forward->node[n];
    int made;
    if (node->op == OP_CONST)
        made = graph_const(v->to, node->value);
    else if (node->op == OP_SIZE || node->op == OP_INPUT || node->op == OP_STATE || node->op == OP_PARAM)
        made = graph_leaf(v->to, node->op, node->leaf, node->dim, node->name, node->place);
    else if (v->again && v->again[n] && node->op == OP_BROADCAST)
        made = graph_broadcast(v->to, value_of(v, node->a), node->dim);
    else if (v->again && v->again[n])
        made = graph_op(v->to, node->op, value_of(v, node->a), node->b < 0 ? -1 : value_of(v, node->b));
    else
        made = graph_leaf(v->to, OP_RECORDED, n, node->dim, node->name, node->place);
    v->known[n] = made;
    return made;
}

/* Whether a derivative's text has the one-letter name: what it does not mention need not be recorded. */
static int mentions(const char *text, char name)
{
    for (int i = 0; text[i]; i++)
        if (text[i] == name && (i == 0 || !isalpha((unsigned char)text[i - 1])) && !isalpha((unsigned char)text[i + 1]))
            return 1;
    return 0;
}

static int derivative_of(struct values *v, int n, int which)
{
    const struct node *node = &v->forward->node[n];
    const char *text = op_table[node->op].derivative[which];
    int is_constant = !strcmp(text, "1") || !strcmp(text, "-1") || !strcmp(text, "0");
    if (is_constant)                       /* spares recording the operands */
        return graph_const(v->to, atof(text));
    int uses_a = mentions(text, 'a'), uses_b = mentions(text, 'b'), uses_y = mentions(text, 'y');
    int zero = graph_const(v->to, 0);
    return cell_parse_derivative(v->to, text, uses_a ? value_of(v, node->a) : zero,
                                 node->b < 0 ? -1 : uses_b ? value_of(v, node->b) : zero, uses_y ? value_of(v, n) : zero);
}

/* ---- reverse ---- */

struct contribution { int target, node; };

struct reverse {
    struct bptt_cell *cell;
    struct values values;
    struct contribution *list;             /* adjoints on their way to earlier nodes */
    int count, limit;
};

static void contribute(struct reverse *r, int target, int node)
{
    struct graph *to = r->values.to;
    const struct node *t = &r->values.forward->node[target];
    if (graph_is_const(to, node, 0) || t->op == OP_CONST || t->op == OP_SIZE)
        return;
    if (t->dim == DIM_ONE)
        node = graph_sum(to, node);
    if (r->count == r->limit) {
        to->failed = 1;
        return;
    }
    r->list[r->count++] = (struct contribution){target, node};
}

/* Elementwise terms first: the products are then added to their place without a pass of their own. */
static int adjoint(struct reverse *r, int n)
{
    struct graph *to = r->values.to;
    int sum = -1;
    for (int products = 0; products < 2; products++) {
        for (int i = 0; i < r->count; i++) {
            int node = r->list[i].node;
            if (r->list[i].target != n || op_is_product(to->node[node].op) != products)
                continue;
            sum = sum < 0 ? node : graph_op(to, OP_ADD, sum, node);
        }
    }
    return sum;
}

/* Gives a derived value the name of what it is the derivative of, after a prefix. */
static void name_derived(struct values *v, int n, int derived, const char *prefix)
{
    const char *name = v->forward->node[n].name;
    struct node *node = &v->to->node[derived];
    if (!name || node->name || node->a < 0)
        return;
    size_t before = strlen(prefix), length = strlen(name);
    char *copy = arena_alloc(v->to->arena, before + length + 1);
    if (!copy) {
        v->to->failed = 1;
        return;
    }
    memcpy(copy, prefix, before);
    memcpy(copy + before, name, length);
    node->name = copy;
}

static void reverse_product(struct reverse *r, const struct node *node, int g)
{
    struct graph *to = r->values.to;
    const struct graph *forward = r->values.forward;
    int param = forward->node[node->a].leaf;
    int matrix = value_of(&r->values, node->a), v = value_of(&r->values, node->b);
    int plain = node->op == OP_PRODUCT;
    graph_sink(to, SINK_OUTER, param, plain ? g : v, plain ? v : g);
    enum op op = forward->node[node->b].op;
    if (op == OP_CONST || op == OP_SIZE)
        return;
    int back = graph_product(to, plain ? OP_PRODUCT_T : OP_PRODUCT, matrix, g, forward->node[node->b].dim);
    if (op == OP_STATE) {                  /* a node of its own, marked: dropout of the state masks it, and no other */
        struct node marked = to->node[back];
        marked.leaf = 1 + forward->node[node->b].leaf;
        back = graph_raw(to, marked);
    }
    contribute(r, node->b, back);
}

static void reverse_elementwise(struct reverse *r, int n, int g)
{
    const struct node *node = &r->values.forward->node[n];
    for (int k = 0; k < op_table[node->op].operands; k++) {
        int operand = k ? node->b : node->a;
        enum op op = r->values.forward->node[operand].op;
        if (op != OP_CONST && op != OP_SIZE)
            contribute(r, operand, graph_op(r->values.to, OP_MUL, g, derivative_of(&r->values, n, k)));
    }
}

static void reverse_node(struct reverse *r, int n, int g)
{
    struct graph *to = r->values.to;
    const struct node *node = &r->values.forward->node[n];
    switch (node->op) {
    case OP_PARAM: graph_sink(to, SINK_ROWS, node->leaf, g, -1); break;
    case OP_PRODUCT: case OP_PRODUCT_T: reverse_product(r, node, g); break;
    case OP_SUM: contribute(r, node->a, graph_broadcast(to, g, r->values.forward->node[node->a].dim)); break;
    case OP_BROADCAST: contribute(r, node->a, graph_sum(to, g)); break;
    default:
        if (op_is_elementwise(node->op))
            reverse_elementwise(r, n, g);
    }
}

/* dL/ds_{t-1} and dL/dx_t are written to places of their own, so each is a node that no other of them stores. */
static void yield(struct graph *to, enum sink_kind kind, int index, int value, int dim)
{
    if (value < 0)
        value = graph_const(to, 0);
    value = graph_broadcast(to, value, dim);
    int copy = to->node[value].a < 0;
    for (int i = 0; i < to->sinks; i++)
        copy |= to->sink[i].left == value && (to->sink[i].kind == SINK_DSTATE || to->sink[i].kind == SINK_DINPUT);
    if (copy)
        value = graph_raw(to, (struct node){.op = OP_COPY, .a = value, .b = -1, .dim = dim, .place = -1});
    graph_sink(to, kind, index, value, -1);
}

static int build_reverse(struct bptt_cell *cell, const char *again, struct graph *to, bptt_error *error)
{
    const struct graph *forward = &cell->forward;
    size_t nodes = (size_t)forward->count + 1;
    struct reverse r = {.cell = cell, .values = {forward, to, arena_alloc(&cell->arena, nodes * sizeof(int)), again}};
    r.limit = 3 * forward->count + 64;
    r.list = arena_alloc(&cell->arena, (size_t)r.limit * sizeof *r.list);
    if (!r.values.known || !r.list)
        return fail_memory(error, nodes);
    memset(r.values.known, -1, nodes * sizeof(int));
    for (int i = 0; i < forward->sinks; i++) {
        const struct sink *sink = &forward->sink[i];
        int is_state = sink->kind == SINK_NEXT, dim = forward->node[sink->left].dim;
        contribute(&r, sink->left, graph_leaf(to, is_state ? OP_DSTATE : OP_DOUTPUT, sink->index, dim, NULL, -1));
    }
    int *state_adjoint = arena_alloc(&cell->arena, ((size_t)cell->states + 1) * sizeof(int));
    if (!state_adjoint)
        return fail_memory(error, nodes);
    memset(state_adjoint, -1, ((size_t)cell->states + 1) * sizeof(int));
    int input_adjoint = -1;
    for (int n = forward->count - 1; n >= 0; n--) {
        int g = adjoint(&r, n);
        if (g < 0)
            continue;
        name_derived(&r.values, n, g, "d");
        if (forward->node[n].op == OP_STATE)
            state_adjoint[forward->node[n].leaf] = g;
        else if (forward->node[n].op == OP_INPUT)
            input_adjoint = g;
        else
            reverse_node(&r, n, g);
    }
    for (int i = 0; i < cell->states; i++)
        yield(to, SINK_DSTATE, i, state_adjoint[i], cell->state[i].dim);
    yield(to, SINK_DINPUT, 0, input_adjoint, DIM_I);
    return graph_compact(to, error);
}

/* ---- what to record ---- */

/* again[n] = 1 for values that the reverse graph wants and that follow cheaply from leaves, next states, the output and
 * other recorded values: those are there without recording more. */
static void choose_again(const struct bptt_cell *cell, const struct graph *reverse, char *again, char *available)
{
    const struct graph *forward = &cell->forward;
    for (int i = 0; i < forward->sinks; i++)
        available[forward->sink[i].left] = 1;
    for (int i = 0; i < reverse->count; i++)
        if (reverse->node[i].op == OP_RECORDED)
            available[reverse->node[i].leaf] = 1;
    for (int n = 0; n < forward->count; n++) {
        const struct node *node = &forward->node[n];
        if (op_is_leaf(node->op))
            available[n] = 1;
        int operands = node->a >= 0 && available[node->a] && (node->b < 0 || available[node->b]);
        int is_sink = 0;
        for (int i = 0; i < forward->sinks; i++)
            is_sink |= forward->sink[i].left == n;
        again[n] = !is_sink && op_is_cheap(node->op) && operands;
        available[n] |= again[n];
    }
}

/* ---- tangent ---- */

static int tangent_product(struct values *v, const struct node *node, int operand)
{
    const struct node *param = &v->forward->node[node->a];
    int direction = graph_leaf(v->to, OP_TPARAM, param->leaf, param->dim, param->name, param->place);
    int sum = graph_product(v->to, node->op, direction, value_of(v, node->b), node->dim);
    if (operand < 0)
        return sum;
    return graph_op(v->to, OP_ADD, graph_product(v->to, node->op, value_of(v, node->a), operand, node->dim), sum);
}

static int tangent_elementwise(struct values *v, int n, const int *tangent)
{
    const struct node *node = &v->forward->node[n];
    int sum = -1;
    for (int k = 0; k < op_table[node->op].operands; k++) {
        int t = tangent[k ? node->b : node->a];
        if (t < 0)
            continue;
        int part = graph_op(v->to, OP_MUL, t, derivative_of(v, n, k));
        sum = sum < 0 ? part : graph_op(v->to, OP_ADD, sum, part);
    }
    return sum;
}

static int tangent_node(struct values *v, int n, const int *tangent)
{
    const struct node *node = &v->forward->node[n];
    switch (node->op) {
    case OP_CONST: case OP_SIZE: return -1;
    case OP_INPUT: return graph_leaf(v->to, OP_TINPUT, 0, node->dim, NULL, -1);
    case OP_STATE: return graph_leaf(v->to, OP_TSTATE, node->leaf, node->dim, NULL, -1);
    case OP_PARAM: return graph_leaf(v->to, OP_TPARAM, node->leaf, node->dim, node->name, node->place);
    case OP_PRODUCT: case OP_PRODUCT_T: return tangent_product(v, node, tangent[node->b]);
    case OP_SUM: return tangent[node->a] < 0 ? -1 : graph_sum(v->to, tangent[node->a]);
    case OP_BROADCAST: return tangent[node->a] < 0 ? -1 : graph_broadcast(v->to, tangent[node->a], node->dim);
    default: return tangent_elementwise(v, n, tangent);
    }
}

static int build_tangent(struct bptt_cell *cell, bptt_error *error)
{
    const struct graph *forward = &cell->forward;
    struct graph *to = &cell->tangent;
    size_t nodes = (size_t)forward->count + 1;
    int *tangent = arena_alloc(&cell->arena, nodes * sizeof(int));
    struct values v = {forward, to, arena_alloc(&cell->arena, nodes * sizeof(int)), NULL};
    if (!tangent || !v.known)
        return fail_memory(error, nodes);
    memset(v.known, -1, nodes * sizeof(int));
    for (int n = 0; n < forward->count; n++) {
        int is_matrix = forward->node[n].op == OP_PARAM && cell->param[forward->node[n].leaf].columns != DIM_NONE;
        tangent[n] = is_matrix ? -1 : tangent_node(&v, n, tangent);
        if (tangent[n] >= 0)
            name_derived(&v, n, tangent[n], "t_");
    }
    for (int i = 0; i < forward->sinks; i++) {
        const struct sink *sink = &forward->sink[i];
        int t = tangent[sink->left] < 0 ? graph_const(to, 0) : tangent[sink->left];
        graph_sink(to, sink->kind, sink->index, graph_broadcast(to, t, forward->node[sink->left].dim), -1);
    }
    return graph_compact(to, error);
}

int cell_derive(struct bptt_cell *cell, bptt_error *error)
{
    size_t nodes = (size_t)cell->forward.count + 1;
    struct graph first = {.arena = &cell->arena};
    char *again = arena_alloc(&cell->arena, nodes), *available = arena_alloc(&cell->arena, nodes);
    if (!again || !available)
        return fail_memory(error, nodes);
    cell->backward.arena = cell->tangent.arena = &cell->arena;
    int status = build_reverse(cell, NULL, &first, error);
    if (status)
        return status;
    choose_again(cell, &first, again, available);
    status = build_reverse(cell, again, &cell->backward, error);
    return status ? status : build_tangent(cell, error);
}
