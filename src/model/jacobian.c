/* jacobian.c - see jacobian.h. A derived graph is built again with zeros for the directions of input and parameters, and the
 * graph's constructors let vanish what follows from them. */
#include "jacobian.h"

#include <string.h>

/* ---- graphs of the states alone ---- */

static int is_held(enum op op)
{
    return op == OP_TINPUT || op == OP_TPARAM || op == OP_DOUTPUT;
}

static int copy_node(struct graph *to, const struct node *node, const int *map)
{
    if (is_held(node->op) || node->op == OP_CONST)
        return graph_const(to, node->op == OP_CONST ? node->value : 0);
    if (op_is_leaf(node->op))
        return graph_leaf(to, node->op, node->leaf, node->dim, node->name, node->place);
    if (op_is_product(node->op) && graph_is_const(to, map[node->a], 0))
        return map[node->a];
    if ((node->op == OP_SUM || node->op == OP_BROADCAST) && graph_is_const(to, map[node->a], 0))
        return map[node->a];
    switch (node->op) {
    case OP_PRODUCT: case OP_PRODUCT_T: return graph_product(to, node->op, map[node->a], map[node->b], node->dim);
    case OP_SUM: return graph_sum(to, map[node->a]);
    case OP_BROADCAST: return graph_broadcast(to, map[node->a], node->dim);
    default: return graph_op(to, node->op, map[node->a], node->b < 0 ? -1 : map[node->b]);
    }
}

static int keep_states(const struct bptt_cell *cell, const struct graph *from, enum sink_kind kind, struct graph *to,
                       struct arena *arena, bptt_error *error)
{
    to->arena = arena;
    int *map = arena_alloc(arena, ((size_t)from->count + 1) * sizeof *map);
    if (!map)
        return fail_memory(error, (size_t)from->count * sizeof *map);
    for (int i = 0; i < from->count; i++)
        map[i] = copy_node(to, &from->node[i], map);
    for (int i = 0; i < from->sinks; i++) {
        const struct sink *sink = &from->sink[i];
        if (sink->kind == kind)
            graph_sink(to, kind, sink->index, graph_broadcast(to, map[sink->left], cell->state[sink->index].dim), -1);
    }
    int status = graph_ok(to, error);
    return status ? status : graph_compact(to, error);
}

/* ---- memory ---- */

static double **node_values(struct jacobian *j, const struct graph *graph, const long *size)
{
    double **value = arena_alloc(&j->arena, ((size_t)graph->count + 1) * sizeof *value);
    for (int n = 0; value && n < graph->count; n++)
        if (!op_is_leaf(graph->node[n].op) || graph->node[n].op == OP_CONST || graph->node[n].op == OP_SIZE)
            if (!(value[n] = arena_alloc(&j->arena, (size_t)(size[graph->node[n].dim] + 1) * sizeof **value)))
                return NULL;
    return value;
}

static int allocate(struct jacobian *j, const bptt_model *model)
{
    size_t layers = (size_t)model->layers;
    long most = 1;
    j->tangent_value = arena_alloc(&j->arena, layers * sizeof *j->tangent_value);
    j->reverse_value = arena_alloc(&j->arena, layers * sizeof *j->reverse_value);
    for (size_t l = 0; l < layers; l++) {
        if (!j->tangent_value || !j->reverse_value)
            return 0;
        j->tangent_value[l] = node_values(j, &j->tangent, model->size[l]);
        j->reverse_value[l] = node_values(j, &j->reverse, model->size[l]);
        if (!j->tangent_value[l] || !j->reverse_value[l])
            return 0;
        long n = jacobian_states(j, (int)l);
        most = n > most ? n : most;
    }
    j->unit = arena_alloc(&j->arena, (size_t)most * sizeof *j->unit);
    return j->unit != NULL;
}

int jacobian_new(struct jacobian *j, const bptt_model *model, bptt_error *error)
{
    const struct bptt_cell *cell = model->cell;
    *j = (struct jacobian){0};
    int status = step_new(&j->step, model, error);
    if (!status)
        status = keep_states(cell, &cell->tangent, SINK_NEXT, &j->tangent, &j->arena, error);
    if (!status)
        status = keep_states(cell, &cell->backward, SINK_DSTATE, &j->reverse, &j->arena, error);
    if (!status && !allocate(j, model))
        status = fail_memory(error, (size_t)j->step.states * sizeof(double));
    if (status)
        jacobian_free(j);
    return status;
}

void jacobian_free(struct jacobian *j)
{
    step_free(&j->step);
    arena_free(&j->arena);
    *j = (struct jacobian){0};
}

long jacobian_states(const struct jacobian *j, int layer)
{
    return step_state_offset(&j->step, layer, j->step.model->cell->states) - j->step.layer[layer].first;
}

/* ---- products ---- */

void jacobian_at(struct jacobian *j, const double *parameters, const double *x, const double *state)
{
    step_forward(&j->step, parameters, x, state);
    j->state = state;
}

static void take(const struct jacobian *j, int l, const struct graph *graph, enum sink_kind kind, double *const *value,
                 double *out)
{
    const bptt_model *model = j->step.model;
    for (int i = 0; i < model->cell->states; i++) {
        const struct sink *sink = graph_find_sink(graph, kind, i);
        size_t bytes = (size_t)model->size[l][model->cell->state[i].dim] * sizeof *out;
        double *to = out + step_state_offset(&j->step, l, i) - j->step.layer[l].first;
        if (sink)
            memcpy(to, value[sink->left], bytes);
        else
            memset(to, 0, bytes);
    }
}

void jacobian_next(const struct jacobian *j, double *next)
{
    for (int l = 0; l < j->step.model->layers; l++)
        take(j, l, &j->step.model->cell->forward, SINK_NEXT, j->step.layer[l].forward, next + j->step.layer[l].first);
}

static void apply(struct jacobian *j, int l, const struct graph *graph, enum op leaf, double **value, const double *v)
{
    const struct step_layer *layer = &j->step.layer[l];
    step_point(&j->step, l, graph, j->state, value);
    for (int n = 0; n < graph->count; n++)
        if (graph->node[n].op == leaf)     /* leaves are only read */
            value[n] = (double *)(uintptr_t)v + step_state_offset(&j->step, l, graph->node[n].leaf) - layer->first;
    evaluate_graph(j->step.model->cell, graph, j->step.model->size[l], layer->param, (double *const *)value);
}

void jacobian_tangent(struct jacobian *j, int l, const double *v, double *out)
{
    apply(j, l, &j->tangent, OP_TSTATE, j->tangent_value[l], v);
    take(j, l, &j->tangent, SINK_NEXT, j->tangent_value[l], out);
}

void jacobian_reverse(struct jacobian *j, int l, const double *u, double *out)
{
    apply(j, l, &j->reverse, OP_DSTATE, j->reverse_value[l], u);
    take(j, l, &j->reverse, SINK_DSTATE, j->reverse_value[l], out);
}

/* Row by row: products with transposed matrices run along rows. */
void jacobian_dense(struct jacobian *j, int l, double *a)
{
    long n = jacobian_states(j, l);
    for (long i = 0; i < n; i++) {
        j->unit[i] = 1;
        jacobian_reverse(j, l, j->unit, a + i * n);
        j->unit[i] = 0;
    }
}
