/* reference.c - see reference.h. A step's leaves are pointed at what they stand for, then evaluate_graph does the rest. */
#include "reference.h"

#include <stdlib.h>
#include <string.h>

static long width_of(const struct reference *r, const struct node *node)
{
    return r->size[node->dim];
}

static double *numbers(struct reference *r, long n)
{
    return arena_alloc(&r->arena, (size_t)(n + 1) * sizeof(double));
}

/* Room for the value of every node; leaves are pointed elsewhere later. */
static double **node_values(struct reference *r, const struct graph *graph)
{
    double **value = arena_alloc(&r->arena, ((size_t)graph->count + 1) * sizeof *value);
    for (int n = 0; value && n < graph->count; n++) {
        value[n] = numbers(r, width_of(r, &graph->node[n]));
        if (!value[n])
            return NULL;
    }
    return value;
}

/* Zeros of each state's width. */
static double **state_values(struct reference *r)
{
    double **value = arena_alloc(&r->arena, ((size_t)r->cell->states + 1) * sizeof *value);
    for (int i = 0; value && i < r->cell->states; i++)
        if (!(value[i] = numbers(r, r->size[r->cell->state[i].dim])))
            return NULL;
    return value;
}

static const struct sink *sink_of(const struct graph *graph, enum sink_kind kind, int index)
{
    for (int i = 0; i < graph->sinks; i++)
        if (graph->sink[i].kind == kind && graph->sink[i].index == index)
            return &graph->sink[i];
    return NULL;
}

static double *state_after(const struct reference *r, long t, int state)
{
    const struct graph *graph = &r->cell->forward;
    return r->value[t][sink_of(graph, SINK_NEXT, state)->left];
}

static double *state_before(const struct reference *r, long t, int state)
{
    return t > 0 ? state_after(r, t - 1, state) : (double *)(uintptr_t)r->initial[state];
}

/* What the leaves that all graphs share stand for at step t. */
static void point_leaves(const struct reference *r, const struct graph *graph, long t, double **value)
{
    for (int n = 0; n < graph->count; n++) {
        const struct node *node = &graph->node[n];
        switch (node->op) {
        case OP_INPUT: value[n] = (double *)(uintptr_t)r->x + t * r->size[DIM_I]; break;
        case OP_STATE: value[n] = state_before(r, t, node->leaf); break;
        case OP_PARAM: value[n] = r->param[node->leaf]; break;
        case OP_RECORDED: value[n] = r->value[t][node->leaf]; break;
        default: break;
        }
    }
}

static void copy(double *to, const double *from, long n)
{
    memcpy(to, from, (size_t)n * sizeof(double));
}

int reference_forward(struct reference *r, bptt_error *error)
{
    const struct graph *graph = &r->cell->forward;
    r->value = arena_alloc(&r->arena, ((size_t)r->steps + 1) * sizeof *r->value);
    if (!r->value)
        return fail_memory(error, (size_t)r->steps);
    int output = sink_of(graph, SINK_OUTPUT, 0)->left;
    long width = width_of(r, &graph->node[output]);
    for (long t = 0; t < r->steps; t++) {
        r->value[t] = node_values(r, graph);
        if (!r->value[t])
            return fail_memory(error, (size_t)graph->count);
        point_leaves(r, graph, t, r->value[t]);
        evaluate_graph(r->cell, graph, r->size, (const double *const *)r->param, r->value[t]);
        copy(r->y + t * width, r->value[t][output], width);
    }
    for (int i = 0; i < r->cell->states; i++)
        copy(r->final[i], state_before(r, r->steps, i), r->size[r->cell->state[i].dim]);
    return BPTT_OK;
}

/* dW[r][c] += left[r] right[c]; of a block-diagonal matrix the blocks alone. */
static void add_outer(const struct reference *r, int param, const double *left, const double *right)
{
    const struct parameter *p = &r->cell->param[param];
    long rows = r->size[p->rows], columns = cell_param_columns(r->cell, p, r->size), block = rows / p->blocks;
    for (long i = 0; i < rows; i++)
        for (long j = 0; j < columns; j++)
            r->dparam[param][i * columns + j] += left[i] * right[i / block * columns + j];
}

static void take_sink(struct reference *r, const struct sink *sink, double **value, long t, double **dstate)
{
    const double *left = value[sink->left];
    long n = width_of(r, &r->cell->backward.node[sink->left]);
    switch (sink->kind) {
    case SINK_OUTER: add_outer(r, sink->index, left, value[sink->right]); break;
    case SINK_ROWS:
        for (long i = 0; i < n; i++)
            r->dparam[sink->index][i] += left[i];
        break;
    case SINK_DINPUT: copy(r->dx + t * n, left, n); break;
    case SINK_DSTATE: copy(dstate[sink->index], left, n); break;
    default: break;
    }
}

int reference_reverse(struct reference *r, bptt_error *error)
{
    const struct graph *graph = &r->cell->backward;
    int states = r->cell->states;
    double **value = node_values(r, graph), **dstate = state_values(r), **next = state_values(r);
    if (!value || !dstate || !next)
        return fail_memory(error, (size_t)graph->count);
    for (int i = 0; i < states; i++)
        copy(dstate[i], r->dfinal[i], r->size[r->cell->state[i].dim]);
    long width = r->size[r->cell->output_dim];
    for (long t = r->steps - 1; t >= 0; t--) {
        point_leaves(r, graph, t, value);
        for (int n = 0; n < graph->count; n++) {
            if (graph->node[n].op == OP_DOUTPUT)
                value[n] = (double *)(uintptr_t)r->dy + t * width;
            else if (graph->node[n].op == OP_DSTATE)
                value[n] = dstate[graph->node[n].leaf];
        }
        evaluate_graph(r->cell, graph, r->size, (const double *const *)r->param, value);
        for (int i = 0; i < graph->sinks; i++)
            take_sink(r, &graph->sink[i], value, t, next);
        double **swap = dstate;
        dstate = next;
        next = swap;
    }
    for (int i = 0; i < states; i++)
        copy(r->dinitial[i], dstate[i], r->size[r->cell->state[i].dim]);
    return BPTT_OK;
}

static double dot(const double *a, const double *b, long n)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += a[i] * b[i];
    return sum;
}

static const double **both_parameters(struct reference *r)
{
    size_t params = (size_t)r->cell->params;
    const double **all = arena_alloc(&r->arena, (2 * params + 1) * sizeof *all);
    for (size_t i = 0; all && i < params; i++) {
        all[i] = r->param[i];
        all[params + i] = r->tparam[i];
    }
    return all;
}

int reference_tangent(struct reference *r, bptt_error *error)
{
    const struct graph *graph = &r->cell->tangent;
    int states = r->cell->states;
    double **value = node_values(r, graph), **t_state = state_values(r), **next = state_values(r);
    double *t_input = numbers(r, r->size[DIM_I]);
    const double **all = both_parameters(r);
    if (!value || !t_state || !next || !t_input || !all)
        return fail_memory(error, (size_t)graph->count);
    long width = r->size[r->cell->output_dim];
    r->tangent = 0;
    for (long t = 0; t < r->steps; t++) {
        point_leaves(r, graph, t, value);
        for (int n = 0; n < graph->count; n++) {
            const struct node *node = &graph->node[n];
            if (node->op == OP_TINPUT) value[n] = t_input;
            if (node->op == OP_TSTATE) value[n] = t_state[node->leaf];
            if (node->op == OP_TPARAM) value[n] = r->tparam[node->leaf];
        }
        evaluate_graph(r->cell, graph, r->size, all, value);
        r->tangent += dot(value[sink_of(graph, SINK_OUTPUT, 0)->left], r->dy + t * width, width);
        for (int i = 0; i < states; i++)
            copy(next[i], value[sink_of(graph, SINK_NEXT, i)->left], r->size[r->cell->state[i].dim]);
        double **swap = t_state;
        t_state = next;
        next = swap;
    }
    for (int i = 0; i < states; i++)
        r->tangent += dot(t_state[i], r->dfinal[i], r->size[r->cell->state[i].dim]);
    return BPTT_OK;
}

void reference_free(struct reference *r)
{
    arena_free(&r->arena);
    r->value = NULL;
}
