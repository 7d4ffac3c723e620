/* step.c - see step.h. Leaves are pointed at what they stand for; evaluate_graph does the rest. */
#include "step.h"

#include <string.h>

const struct sink *graph_find_sink(const struct graph *graph, enum sink_kind kind, int index)
{
    for (int i = 0; i < graph->sinks; i++)
        if (graph->sink[i].kind == kind && graph->sink[i].index == index)
            return &graph->sink[i];
    return NULL;
}

/* ---- memory ---- */

static double *numbers(struct step *s, long n)
{
    return arena_alloc(&s->arena, (size_t)(n + 1) * sizeof(double));
}

static double **node_values(struct step *s, const struct graph *graph, const long *size)
{
    double **value = arena_alloc(&s->arena, ((size_t)graph->count + 1) * sizeof *value);
    for (int n = 0; value && n < graph->count; n++)
        if (!op_is_leaf(graph->node[n].op) || graph->node[n].op == OP_CONST || graph->node[n].op == OP_SIZE)
            if (!(value[n] = numbers(s, size[graph->node[n].dim])))
                return NULL;
    return value;
}

static int new_layer(struct step *s, int l)
{
    const bptt_model *model = s->model;
    const struct bptt_cell *cell = model->cell;
    const long *size = model->size[l];
    struct step_layer *layer = &s->layer[l];
    layer->first = s->states;
    layer->forward = node_values(s, &cell->forward, size);
    layer->backward = node_values(s, &cell->backward, size);
    layer->tangent = node_values(s, &cell->tangent, size);
    layer->param = arena_alloc(&s->arena, ((size_t)cell->params * 2 + 1) * sizeof *layer->param);
    for (int i = 0; i < cell->states; i++)
        s->states += size[cell->state[i].dim];
    return layer->forward && layer->backward && layer->tangent && layer->param;
}

static long widest_parameter(const bptt_model *model)
{
    long most = 1;
    for (int i = 0; i < model->tensors; i++)
        most = model->tensor[i].count > most ? model->tensor[i].count : most;
    return most;
}

int step_new(struct step *s, const bptt_model *model, bptt_error *error)
{
    *s = (struct step){.model = model};
    s->layer = arena_alloc(&s->arena, (size_t)model->layers * sizeof *s->layer);
    s->zero = numbers(s, widest_parameter(model));
    int good = s->layer && s->zero;
    for (int l = 0; l < model->layers && good; l++)
        good = new_layer(s, l);
    if (good)
        return BPTT_OK;
    step_free(s);
    return fail_memory(error, (size_t)model->layers * sizeof *s->layer);
}

void step_free(struct step *s)
{
    arena_free(&s->arena);
    *s = (struct step){0};
}

long step_state_offset(const struct step *s, int layer, int state)
{
    long at = s->layer[layer].first;
    for (int i = 0; i < state; i++)
        at += s->model->size[layer][s->model->cell->state[i].dim];
    return at;
}

long model_states(const bptt_model *model)
{
    long n = 0;
    for (int l = 0; l < model->layers; l++)
        for (int i = 0; i < model->cell->states; i++)
            n += model->size[l][model->cell->state[i].dim];
    return n;
}

/* ---- leaves ---- */

/* What a leaf stands for; leaves are only read. */
static double *leaf(const double *values)
{
    return (double *)(uintptr_t)values;
}

static void point_shared(const struct step *s, int l, const struct graph *graph, const double *x, const double *state, double **value)
{
    for (int n = 0; n < graph->count; n++) {
        const struct node *node = &graph->node[n];
        switch (node->op) {
        case OP_INPUT: value[n] = leaf(x); break;
        case OP_STATE: value[n] = leaf(state + step_state_offset(s, l, node->leaf)); break;
        case OP_PARAM: value[n] = leaf(s->layer[l].param[node->leaf]); break;
        case OP_RECORDED: value[n] = s->layer[l].forward[node->leaf]; break;
        default: break;
        }
    }
}

/* The input of a layer: the given one, or the output below. */
static const double *input_of(const struct step *s, int l, const double *x)
{
    const struct graph *forward = &s->model->cell->forward;
    return l == 0 ? x : s->layer[l - 1].forward[graph_find_sink(forward, SINK_OUTPUT, 0)->left];
}

static const double *input_leaf(const struct step *s, int l)
{
    const struct graph *forward = &s->model->cell->forward;
    for (int n = 0; n < forward->count; n++)
        if (forward->node[n].op == OP_INPUT)
            return s->layer[l].forward[n];
    return s->zero;
}

void step_point(const struct step *s, int l, const struct graph *graph, const double *state, double **value)
{
    point_shared(s, l, graph, input_leaf(s, l), state, value);
}

static void evaluate(const struct step *s, int l, const struct graph *graph, double **value)
{
    evaluate_graph(s->model->cell, graph, s->model->size[l], s->layer[l].param, (double *const *)value);
}

/* ---- the three ways ---- */

void step_forward(struct step *s, const double *parameters, const double *x, const double *state)
{
    const struct bptt_cell *cell = s->model->cell;
    for (int l = 0; l < s->model->layers; l++) {
        struct step_layer *layer = &s->layer[l];
        for (int i = 0; i < cell->params; i++) {
            layer->param[i] = parameters + s->model->slot[l][i].offset;
            layer->param[cell->params + i] = s->zero;
        }
        point_shared(s, l, &cell->forward, input_of(s, l, x), state, layer->forward);
        evaluate(s, l, &cell->forward, layer->forward);
    }
}

static void take_states(const struct step *s, int l, const struct graph *graph, enum sink_kind kind, double *const *value, double *out)
{
    for (int i = 0; i < s->model->cell->states; i++) {
        const struct sink *sink = graph_find_sink(graph, kind, i);
        long n = s->model->size[l][s->model->cell->state[i].dim];
        double *to = out + step_state_offset(s, l, i);
        if (sink)
            memcpy(to, value[sink->left], (size_t)n * sizeof *to);
        else
            memset(to, 0, (size_t)n * sizeof *to);
    }
}

void step_reverse(struct step *s, const double *state, const double *dnext, int top, double *dstate)
{
    const struct bptt_cell *cell = s->model->cell;
    const struct graph *graph = &cell->backward;
    const double *dy = s->zero;
    for (int l = top; l >= 0; l--) {
        double **value = s->layer[l].backward;
        step_point(s, l, graph, state, value);
        for (int n = 0; n < graph->count; n++) {
            if (graph->node[n].op == OP_DOUTPUT)
                value[n] = leaf(dy);
            else if (graph->node[n].op == OP_DSTATE)
                value[n] = leaf(dnext + step_state_offset(s, l, graph->node[n].leaf));
        }
        evaluate(s, l, graph, value);
        if (dstate)
            take_states(s, l, graph, SINK_DSTATE, value, dstate);
        const struct sink *below = graph_find_sink(graph, SINK_DINPUT, 0);
        dy = below ? value[below->left] : s->zero;
    }
}

void step_tangent(struct step *s, const double *state, const double *tstate, double *tnext)
{
    const struct bptt_cell *cell = s->model->cell;
    const struct graph *graph = &cell->tangent;
    const double *tx = s->zero;
    for (int l = 0; l < s->model->layers; l++) {
        double **value = s->layer[l].tangent;
        step_point(s, l, graph, state, value);
        for (int n = 0; n < graph->count; n++) {
            switch (graph->node[n].op) {
            case OP_TINPUT: value[n] = leaf(tx); break;
            case OP_TSTATE: value[n] = leaf(tstate + step_state_offset(s, l, graph->node[n].leaf)); break;
            case OP_TPARAM: value[n] = s->zero; break;
            default: break;
            }
        }
        evaluate(s, l, graph, value);
        take_states(s, l, graph, SINK_NEXT, value, tnext);
        tx = value[graph_find_sink(graph, SINK_OUTPUT, 0)->left];
    }
}
