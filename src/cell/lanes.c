/* lanes.c - see lanes.h: the backward graph rebuilt node by node through the constructors. */
#include "lanes.h"

static int diagonal_times(const struct bptt_cell *cell, struct graph *to, const struct node *node, int operand)
{
    int number = cell->backward.node[node->a].leaf;
    const struct parameter *param = &cell->param[number];
    if (param->rows != param->columns)     /* no diagonal: no way from a unit to itself */
        return graph_const(to, 0);
    int diagonal = graph_leaf(to, OP_PARAM, cell->params + number, param->rows, param->name, -1);
    return graph_op(to, OP_MUL, diagonal, operand);
}

static int broadcast(struct graph *to, int operand, int dim)
{
    int own = to->node[operand].dim;
    if (own == dim)
        return operand;
    return own == DIM_ONE ? graph_broadcast(to, operand, dim) : graph_const(to, 0);
}

static int rebuilt(const struct bptt_cell *cell, const struct node *node, const int *made, int drop, struct graph *to)
{
    switch (node->op) {
    case OP_CONST: return graph_const(to, node->value);
    case OP_PRODUCT:
    case OP_PRODUCT_T: return drop ? graph_const(to, 0) : diagonal_times(cell, to, node, made[node->b]);
    case OP_SUM: return made[node->a];
    case OP_BROADCAST: return broadcast(to, made[node->a], node->dim);
    default: break;
    }
    if (op_is_leaf(node->op))
        return graph_leaf(to, node->op, node->leaf, node->dim, node->name, node->place);
    return graph_op(to, node->op, made[node->a], node->b >= 0 ? made[node->b] : -1);
}

int cell_lanes(const struct bptt_cell *cell, int drop_products, struct arena *arena, struct graph *lanes, bptt_error *error)
{
    const struct graph *from = &cell->backward;
    int *made = arena_alloc(arena, ((size_t)from->count + 1) * sizeof *made);
    *lanes = (struct graph){.arena = arena};
    if (!made)
        return fail_memory(error, (size_t)from->count * sizeof *made);
    for (int n = 0; n < from->count; n++)
        made[n] = rebuilt(cell, &from->node[n], made, drop_products, lanes);
    for (int i = 0; i < from->sinks; i++) {
        const struct sink *sink = &from->sink[i];
        graph_sink(lanes, sink->kind, sink->index, made[sink->left], sink->right >= 0 ? made[sink->right] : -1);
    }
    return graph_ok(lanes, error);
}

void cell_adjoints(const struct bptt_cell *cell, char *is_adjoint)
{
    const struct graph *graph = &cell->backward;
    for (int n = 0; n < graph->count; n++) {
        const struct node *node = &graph->node[n];
        is_adjoint[n] = node->op == OP_DOUTPUT || node->op == OP_DSTATE;
        if (!op_is_leaf(node->op))
            is_adjoint[n] = (char)((node->a >= 0 && is_adjoint[node->a]) || (node->b >= 0 && is_adjoint[node->b]));
    }
}
