/* influence.c - see influence.h. Rows of the batch are apart from each other: each is a task. The layers' parameters and the
 * embedding are one list of P numbers, in the model's order; the head never acts on a state. */
#include "influence.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../cell/lanes.h"
#include "step.h"

enum keeps { KEEPS_ALL, KEEPS_UNITS, KEEPS_REACH, KEEPS_RANK_ONE };

/* The states that the parameters of one row of a matrix reach: a list, and where their influence stands. */
struct reach { int *state; long count, at; };

struct worker {
    struct step step;
    double *jacobian;                      /* [n][n]: row k is dS'_k/dS */
    double **left, **right;                /* by layer and sink: [n][width], by k */
    double *dx;                            /* [n][I]: dS'_k/dx of the lowest layer */
    double *cotangent, *lane;              /* [n] */
    double **lanes;                        /* by node of the lane graph */
    double *vector;                        /* [P], or room for one row's update */
    void *natural, *packed, *product;      /* all: the Jacobian for the kernels; a chunk's credit */
    int *listed;                           /* [n] states that a pre-activation reaches within the step */
    long listed_count;
};

struct influence {
    const bptt_model *model;
    struct strategy strategy;
    enum keeps keeps;
    uint64_t seed;
    long batch, n, count, stride;          /* count: P; stride: numbers of a row of M */
    int size, workers;                     /* bytes of an element of M under KEEPS_ALL */
    char *adjoint;                         /* by node of the backward graph */
    struct graph lane_graph;
    struct reach **reach;                  /* by layer and parameter, [rows] */
    struct worker *worker;
    double *parameters, *state, *q, *final;
    void *packed_q;                        /* all: dL/dS of each row, for the kernels */
    void *m, *next;                        /* KEEPS_ALL: [B][P][stride] and the next; others: [B][stride] doubles */
    size_t m_bytes;
    int64_t steps;                         /* taken: the index of signs */
    const signed char *signs;
    struct arena arena;
};

/* ---- small helpers ---- */

static const struct graph *backward(const struct influence *f)
{
    return &f->model->cell->backward;
}

static long width_of(const struct influence *f, int layer, int node)
{
    return f->model->size[layer][backward(f)->node[node].dim];
}

static double at(const double *values, long width, long i)
{
    return values[width == 1 ? 0 : i];
}

static double *row_of(const struct influence *f, long row)
{
    return (double *)f->m + row * f->stride;
}

static void *all_row(const struct influence *f, void *m, long row)
{
    return (char *)m + (size_t)row * (size_t)f->count * (size_t)f->stride * (size_t)f->size;
}

/* ---- one row's step: Jacobian and immediate influence, all of it ---- */

static const double *input_row(const struct influence *f, const struct window *window, long step, long row, double *room)
{
    const bptt_model *model = f->model;
    long at_row = step * f->batch + row, inputs = model->inputs;
    if (window->token)
        return f->parameters + model->embed_offset + (long)window->token[at_row] * inputs;
    for (long j = 0; j < inputs; j++)
        room[j] = window->element_size == 4 ? (double)((const float *)window->x)[at_row * inputs + j]
                                            : ((const double *)window->x)[at_row * inputs + j];
    return room;
}

static void keep_factors(struct influence *f, struct worker *w, int layer, long k)
{
    const struct graph *graph = backward(f);
    double *const *value = (double *const *)w->step.layer[layer].backward;
    for (int i = 0; i < graph->sinks; i++) {
        const struct sink *sink = &graph->sink[i];
        if (sink->kind != SINK_OUTER && sink->kind != SINK_ROWS)
            continue;
        int number = layer * graph->sinks + i;
        long left = width_of(f, layer, sink->left), right = sink->kind == SINK_OUTER ? width_of(f, layer, sink->right) : 0;
        memcpy(w->left[number] + k * left, value[sink->left], (size_t)left * sizeof(double));
        if (right)
            memcpy(w->right[number] + k * right, value[sink->right], (size_t)right * sizeof(double));
    }
}

/* One vector-Jacobian product for each state: rows of J, and the factors of the rows of I. */
static void differentiate(struct influence *f, struct worker *w, const double *x, const double *state)
{
    const bptt_model *model = f->model;
    const struct sink *below = graph_find_sink(backward(f), SINK_DINPUT, 0);
    step_forward(&w->step, f->parameters, x, state);
    memset(w->jacobian, 0, (size_t)(f->n * f->n) * sizeof(double));
    for (long k = 0; k < f->n; k++) {
        int top = (int)model->layers - 1;
        while (w->step.layer[top].first > k)
            top--;
        memset(w->cotangent, 0, (size_t)f->n * sizeof(double));
        w->cotangent[k] = 1;
        step_reverse(&w->step, state, w->cotangent, top, w->jacobian + k * f->n);
        for (int l = 0; l <= top; l++)
            keep_factors(f, w, l, k);
        for (long j = 0; j < model->inputs && model->vocabulary; j++)
            w->dx[k * model->inputs + j] = below ? w->step.layer[0].backward[below->left][j] : 0;
    }
}

/* The first state that a layer's parameters can reach: the layer's own. */
static long first_state(const struct worker *w, int layer)
{
    return w->step.layer[layer].first;
}

/* Calls fn for each parameter of each sink: dS'_k/dw = left[k] * right[k]. */
struct term { int layer, param; long i, j, offset; const double *left, *right; long left_step, right_step; };
typedef void term_fn(struct influence *f, struct worker *w, const struct term *term, long row);

static void for_sink(struct influence *f, struct worker *w, int layer, int number, long row, term_fn *fn)
{
    static const double one = 1;
    const struct sink *sink = &backward(f)->sink[number];
    const struct bptt_cell *cell = f->model->cell;
    const struct parameter *param = &cell->param[sink->index];
    const long *size = f->model->size[layer];
    long rows = size[param->rows], columns = cell_param_columns(cell, param, size), block = rows / param->blocks;
    long left = width_of(f, layer, sink->left), right = sink->kind == SINK_OUTER ? width_of(f, layer, sink->right) : 0;
    int at_number = layer * backward(f)->sinks + number;
    long offset = f->model->slot[layer][sink->index].offset;
    for (long i = 0; i < rows; i++) {
        for (long j = 0; j < columns; j++) {
            long column = i / block * columns + j;
            struct term term = {.layer = layer, .param = sink->index, .i = i, .j = j, .offset = offset + i * columns + j,
                                .left = w->left[at_number] + (left == 1 ? 0 : i), .left_step = left,
                                .right = right ? w->right[at_number] + (right == 1 ? 0 : column) : &one, .right_step = right};
            fn(f, w, &term, row);
        }
    }
}

static void for_terms(struct influence *f, struct worker *w, long row, term_fn *fn)
{
    const struct graph *graph = backward(f);
    for (int l = 0; l < f->model->layers; l++)
        for (int i = 0; i < graph->sinks; i++)
            if (graph->sink[i].kind == SINK_OUTER || graph->sink[i].kind == SINK_ROWS)
                for_sink(f, w, l, i, row, fn);
}

/* ---- all of M ---- */

static void add_element(const struct influence *f, void *m, long i, double value)
{
    if (f->size == 4)
        ((float *)m)[i] += (float)value;
    else
        ((double *)m)[i] += value;
}

/* One parameter's immediate influence on the listed states. */
static void add_listed(struct influence *f, const struct term *t, const int *listed, long count, long row)
{
    char *m = (char *)all_row(f, f->next, row) + (size_t)(t->offset * f->stride) * (size_t)f->size;
    for (long a = 0; a < count; a++) {
        long k = listed[a];
        add_element(f, m, k, t->left[k * t->left_step] * t->right[k * t->right_step]);
    }
}

/* Within a step most pre-activations reach few states: those are listed once for each row of the matrix. */
static void add_immediate(struct influence *f, struct worker *w, const struct term *t, long row)
{
    if (t->j == 0) {
        w->listed_count = 0;
        for (long k = first_state(w, t->layer); k < f->n; k++)
            if (t->left[k * t->left_step] != 0)
                w->listed[w->listed_count++] = (int)k;
    }
    add_listed(f, t, w->listed, w->listed_count, row);
}

static void add_embedding(struct influence *f, struct worker *w, const struct window *window, long step, long row)
{
    const bptt_model *model = f->model;
    if (!window->token)
        return;
    long token = window->token[step * f->batch + row], offset = model->embed_offset + token * model->inputs;
    for (long j = 0; j < model->inputs; j++) {
        char *m = (char *)all_row(f, f->next, row) + (size_t)((offset + j) * f->stride) * (size_t)f->size;
        for (long k = 0; k < f->n; k++)
            add_element(f, m, k, w->dx[k * model->inputs + j]);
    }
}

static void advance_all(struct influence *f, struct worker *w, struct network *net, const struct window *window, long step, long row)
{
    const struct kernels *kernels = net->kernels;
    for (long i = 0; i < f->n * f->n; i++) {
        if (f->size == 4)
            ((float *)w->natural)[i] = (float)w->jacobian[i];
        else
            ((double *)w->natural)[i] = w->jacobian[i];
    }
    kernels->pack(f->n, f->n, w->natural, 1, f->n, w->packed);                /* M_t^T = M_{t-1}^T J^T */
    kernels->gemm(f->count, f->n, f->n, all_row(f, f->m, row), f->stride, w->packed, all_row(f, f->next, row), f->stride, 0);
    for_terms(f, w, row, add_immediate);
    add_embedding(f, w, window, step, row);
}

struct credit { const struct influence *f; const struct kernels *kernels; double *out; };
enum { CREDIT_CHUNK = 192 };               /* parameters of a task */

/* q . M for some parameters, as a product with a matrix of one column. */
static void credit_all_task(void *context, long task, int worker)
{
    const struct credit *c = context;
    const struct influence *f = c->f;
    long from = task * CREDIT_CHUNK, count = f->count - from < CREDIT_CHUNK ? f->count - from : CREDIT_CHUNK;
    void *product = f->worker[worker].product;
    for (long row = 0; row < f->batch; row++) {
        const char *m = (const char *)all_row(f, f->m, row) + (size_t)(from * f->stride) * (size_t)f->size;
        c->kernels->gemm(count, 1, f->n, m, f->stride, (char *)f->packed_q + (size_t)(row * f->n * STAGE_PAD) * (size_t)f->size, product,
                         STAGE_PAD, 0);
        for (long p = 0; p < count; p++)
            c->out[from + p] += f->size == 4 ? (double)((float *)product)[p * STAGE_PAD] : ((double *)product)[p * STAGE_PAD];
    }
}

static void credit_all(const struct influence *f, const double *q, struct network *net, double *out)
{
    struct credit credit = {f, net->kernels, out};
    for (long row = 0; row < f->batch; row++) {
        void *natural = f->worker[0].natural;
        net->kernels->load_rows(1, f->n, q + row * f->n, 8, f->n, natural, padded(f->n));
        net->kernels->pack(f->n, 1, natural, 1, f->n, (char *)f->packed_q + (size_t)(row * f->n * STAGE_PAD) * (size_t)f->size);
    }
    pool_tasks(net->pool, (f->count + CREDIT_CHUNK - 1) / CREDIT_CHUNK, credit_all_task, &credit);
}

/* ---- lists of states by row of a matrix ---- */

static void add_scaled(long n, double scale, const double *from, double *to)
{
    for (long j = 0; j < n && scale != 0; j++)
        to[j] += scale * from[j];
}

typedef void reach_fn(struct influence *f, struct worker *w, int layer, int param, long i, double *m);

static void for_reaches(struct influence *f, struct worker *w, double *m, reach_fn *fn)
{
    for (int l = 0; l < f->model->layers; l++)
        for (int p = 0; p < f->model->cell->params; p++)
            for (long i = 0; i < f->model->size[l][f->model->cell->param[p].rows]; i++)
                fn(f, w, l, p, i, m);
}

static long columns_of(const struct influence *f, int layer, int param)
{
    return cell_param_columns(f->model->cell, &f->model->cell->param[param], f->model->size[layer]);
}

/* M'_R = J[R, R] M_R for the parameters of a row: [count][columns] numbers. */
static void advance_reach(struct influence *f, struct worker *w, int layer, int param, long i, double *m)
{
    const struct reach *r = &f->reach[layer * f->model->cell->params + param][i];
    long columns = columns_of(f, layer, param);
    double *entry = m + r->at, *old = w->vector;
    memcpy(old, entry, (size_t)(r->count * columns) * sizeof *old);
    memset(entry, 0, (size_t)(r->count * columns) * sizeof *entry);
    for (long a = 0; a < r->count; a++)
        for (long b = 0; b < r->count; b++)
            add_scaled(columns, w->jacobian[(long)r->state[a] * f->n + r->state[b]], old + b * columns, entry + a * columns);
}

/* + I_R, from one sink's factors. */
static void add_row_of_sink(struct influence *f, struct worker *w, int layer, int number, long i, double *m)
{
    const struct sink *sink = &backward(f)->sink[number];
    const struct parameter *param = &f->model->cell->param[sink->index];
    const struct reach *r = &f->reach[layer * f->model->cell->params + sink->index][i];
    long rows = f->model->size[layer][param->rows], columns = columns_of(f, layer, sink->index);
    long left = width_of(f, layer, sink->left), right = sink->kind == SINK_OUTER ? width_of(f, layer, sink->right) : 0;
    int at_number = layer * backward(f)->sinks + number;
    for (long a = 0; a < r->count; a++) {
        long k = r->state[a];
        double factor = at(w->left[at_number] + k * left, left, i), *entry = m + r->at + a * columns;
        if (!right)
            entry[0] += factor;
        else
            add_scaled(columns, factor, w->right[at_number] + k * right + i / (rows / param->blocks) * columns, entry);
    }
}

static void add_sinks(struct influence *f, struct worker *w, double *m)
{
    const struct graph *graph = backward(f);
    for (int l = 0; l < f->model->layers; l++)
        for (int s = 0; s < graph->sinks; s++)
            if (graph->sink[s].kind == SINK_OUTER || graph->sink[s].kind == SINK_ROWS)
                for (long i = 0; i < f->model->size[l][f->model->cell->param[graph->sink[s].index].rows]; i++)
                    add_row_of_sink(f, w, l, s, i, m);
}

static void credit_reach(const struct influence *f, const double *q, long row, double *out)
{
    const struct bptt_cell *cell = f->model->cell;
    for (int l = 0; l < f->model->layers; l++) {
        for (int p = 0; p < cell->params; p++) {
            long columns = columns_of(f, l, p);
            for (long i = 0; i < f->model->size[l][cell->param[p].rows]; i++) {
                const struct reach *r = &f->reach[l * cell->params + p][i];
                for (long a = 0; a < r->count; a++)
                    add_scaled(columns, q[r->state[a]], row_of(f, row) + r->at + a * columns,
                               out + f->model->slot[l][p].offset + i * columns);
            }
        }
    }
}

/* ---- own units: the same lists, filled from the lane graph ---- */

static void point_lanes(struct influence *f, struct worker *w, int layer, int state, const double *diagonals)
{
    const struct graph *graph = &f->lane_graph, *from = backward(f);
    const struct step_layer *own = &w->step.layer[layer];
    for (int n = 0; n < graph->count; n++) {
        const struct node *node = &graph->node[n];
        switch (node->op) {
        case OP_RECORDED: w->lanes[n] = own->forward[node->leaf]; break;
        case OP_DOUTPUT: w->lanes[n] = w->step.zero; break;
        case OP_DSTATE: w->lanes[n] = node->leaf == state ? w->lane : w->step.zero; break;
        case OP_PARAM:
            w->lanes[n] = node->leaf < f->model->cell->params ? (double *)(uintptr_t)own->param[node->leaf]
                                                              : (double *)(uintptr_t)diagonals;
            diagonals += node->leaf < f->model->cell->params ? 0 : f->model->size[layer][node->dim];
            break;
        case OP_INPUT:
        case OP_STATE:
            for (int k = 0; k < from->count; k++)
                if (from->node[k].op == node->op && (node->op == OP_INPUT || from->node[k].leaf == node->leaf))
                    w->lanes[n] = own->backward[k];
            break;
        default: break;
        }
    }
}

/* The diagonals of a layer's matrices, in the order of the lane graph's leaves. */
static void take_diagonals(const struct influence *f, const struct worker *w, int layer, double *out)
{
    const struct bptt_cell *cell = f->model->cell;
    const long *size = f->model->size[layer];
    for (int n = 0; n < f->lane_graph.count; n++) {
        const struct node *node = &f->lane_graph.node[n];
        if (node->op != OP_PARAM || node->leaf < cell->params)
            continue;
        const struct parameter *param = &cell->param[node->leaf - cell->params];
        long columns = cell_param_columns(cell, param, size), block = size[param->rows] / param->blocks;
        for (long i = 0; i < size[param->rows]; i++)
            *out++ = w->step.layer[layer].param[node->leaf - cell->params][i * columns + i % block];
    }
}

/* One run of the lane graph for one state of a layer: its part of J and of I, at the states' own units. */
static void differentiate_lane(struct influence *f, struct worker *w, int layer, int state)
{
    const struct bptt_cell *cell = f->model->cell;
    const struct graph *graph = &f->lane_graph;
    const long *size = f->model->size[layer];
    long width = size[cell->state[state].dim], first = step_state_offset(&w->step, layer, state);
    int has_leak = f->strategy.kind == STRATEGY_RFLO && f->strategy.order;
    evaluate_graph(cell, graph, size, w->step.layer[layer].param, (double *const *)w->lanes);
    for (int i = 0; i < graph->sinks; i++) {
        const struct sink *sink = &graph->sink[i];
        long own = size[graph->node[sink->left].dim];
        const double *values = w->lanes[sink->left];
        if (sink->kind == SINK_DSTATE && size[cell->state[sink->index].dim] == width)
            for (long u = 0; u < width; u++)
                w->jacobian[(first + u) * f->n + step_state_offset(&w->step, layer, sink->index) + u] =
                    has_leak ? (sink->index == state ? f->strategy.leak : 0) : at(values, own, u);
        int fits = sink->kind == SINK_OUTER || sink->kind == SINK_ROWS ? size[cell->param[sink->index].rows] == width : 0;
        long kept = width_of(f, layer, backward(f)->sink[i].left);
        for (long u = 0; u < width && fits && kept == width; u++)
            w->left[layer * graph->sinks + i][(first + u) * kept + u] = at(values, own, u);
    }
}

static void differentiate_units(struct influence *f, struct worker *w, const double *x, const double *state)
{
    const struct bptt_cell *cell = f->model->cell;
    const struct graph *graph = backward(f);
    step_forward(&w->step, f->parameters, x, state);
    memset(w->cotangent, 0, (size_t)f->n * sizeof(double));
    step_reverse(&w->step, state, w->cotangent, (int)f->model->layers - 1, NULL);      /* the right factors, the same for all */
    for (int l = 0; l < f->model->layers; l++) {
        for (int i = 0; i < graph->sinks; i++) {
            const struct sink *sink = &graph->sink[i];
            if (sink->kind != SINK_OUTER)
                continue;
            long right = width_of(f, l, sink->right);
            for (long k = first_state(w, l); k < f->n && !f->adjoint[sink->right]; k++)
                memcpy(w->right[l * graph->sinks + i] + k * right, w->step.layer[l].backward[sink->right], (size_t)right * sizeof(double));
        }
        take_diagonals(f, w, l, w->vector);
        for (int s = 0; s < cell->states; s++) {
            point_lanes(f, w, l, s, w->vector);
            differentiate_lane(f, w, l, s);
        }
    }
}

/* ---- rank one ---- */

static void draw_signs(const struct influence *f, long row, double *out)
{
    struct random_stream stream = random_open(f->seed, RANDOM_UORO, (uint32_t)row);
    for (long k = 0; k < f->n; k++) {
        if (f->signs)
            out[k] = f->signs[(f->steps * f->batch + row) * f->n + k];
        else
            out[k] = random_uniform(&stream, (uint64_t)(f->steps * f->n + k)) < 0.5 ? -1 : 1;
    }
}

static double norm(const double *x, long n)
{
    double sum = 0;
    for (long i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sqrt(sum);
}

/* nu^T I: the parameters' gradient of one step for the cotangent nu. */
static void add_products(const struct influence *f, const struct worker *w, int layer, double *out)
{
    const struct bptt_cell *cell = f->model->cell;
    const struct graph *graph = backward(f);
    double *const *value = (double *const *)w->step.layer[layer].backward;
    const long *size = f->model->size[layer];
    for (int s = 0; s < graph->sinks; s++) {
        const struct sink *sink = &graph->sink[s];
        if (sink->kind != SINK_OUTER && sink->kind != SINK_ROWS)
            continue;
        const struct parameter *param = &cell->param[sink->index];
        long rows = size[param->rows], columns = cell_param_columns(cell, param, size), block = rows / param->blocks;
        double *to = out + f->model->slot[layer][sink->index].offset;
        for (long i = 0; i < rows; i++)
            for (long j = 0; j < columns; j++)
                to[i * columns + j] += at(value[sink->left], width_of(f, layer, sink->left), i) *
                                       (sink->kind == SINK_OUTER ? value[sink->right][i / block * columns + j] : 1);
    }
}

static void advance_rank_one(struct influence *f, struct worker *w, const struct window *window, long step, long row,
                             const double *x, const double *state)
{
    const bptt_model *model = f->model;
    const struct sink *below = graph_find_sink(backward(f), SINK_DINPUT, 0);
    const double tiny = 1e-7;
    double *s = row_of(f, row), *theta = s + f->n, *signs = w->cotangent, *moved = w->lane, *immediate = w->vector;
    step_forward(&w->step, f->parameters, x, state);
    step_tangent(&w->step, state, s, moved);
    draw_signs(f, row, signs);
    step_reverse(&w->step, state, signs, (int)model->layers - 1, NULL);
    memset(immediate, 0, (size_t)f->count * sizeof(double));
    for (int l = 0; l < model->layers; l++)
        add_products(f, w, l, immediate);
    for (long j = 0; j < model->inputs && window->token && below; j++)
        immediate[model->embed_offset + (long)window->token[step * f->batch + row] * model->inputs + j] +=
            w->step.layer[0].backward[below->left][j];
    double rho0 = sqrt((norm(theta, f->count) + tiny) / (norm(moved, f->n) + tiny));
    double rho1 = sqrt((norm(immediate, f->count) + tiny) / (norm(signs, f->n) + tiny));
    for (long k = 0; k < f->n; k++)
        s[k] = rho0 * moved[k] + rho1 * signs[k];
    for (long p = 0; p < f->count; p++)
        theta[p] = theta[p] / rho0 + immediate[p] / rho1;
}

static void credit_rank_one(const struct influence *f, const double *q, long row, double *out)
{
    const double *s = row_of(f, row), *theta = s + f->n;
    double sum = 0;
    for (long k = 0; k < f->n; k++)
        sum += q[k] * s[k];
    for (long p = 0; p < f->count; p++)
        out[p] += sum * theta[p];
}

/* ---- a step of all rows ---- */

struct advance { struct influence *f; struct network *net; const struct window *window; long step; const double *state; };

static void advance_task(void *context, long row, int worker)
{
    const struct advance *a = context;
    struct influence *f = a->f;
    struct worker *w = &f->worker[worker];
    const double *state = a->state + row * f->n, *x = input_row(f, a->window, a->step, row, w->dx);
    switch (f->keeps) {
    case KEEPS_RANK_ONE: advance_rank_one(f, w, a->window, a->step, row, x, state); return;
    case KEEPS_ALL:
        differentiate(f, w, x, state);
        advance_all(f, w, a->net, a->window, a->step, row);
        return;
    case KEEPS_UNITS: differentiate_units(f, w, x, state); break;
    default: differentiate(f, w, x, state);
    }
    for_reaches(f, w, row_of(f, row), advance_reach);
    add_sinks(f, w, row_of(f, row));
}

static void load_parameters(struct influence *f, const struct network *net)
{
    for (long p = 0; p < f->model->count; p++)
        f->parameters[p] = net->kernels->element_size == 4 ? (double)((const float *)net->parameters)[p]
                                                           : ((const double *)net->parameters)[p];
}

void influence_advance(struct influence *f, struct network *net, const struct window *window, long step, const double *state)
{
    struct advance advance = {f, net, window, step, state};
    load_parameters(f, net);
    pool_tasks(net->pool, f->batch, advance_task, &advance);
    if (f->keeps == KEEPS_ALL) {
        void *swap = f->m;
        f->m = f->next;
        f->next = swap;
    }
    f->steps++;
}

void influence_credit(const struct influence *f, const double *q, struct network *net)
{
    double *sum = f->worker[0].vector;
    memset(sum, 0, (size_t)f->count * sizeof *sum);
    if (f->keeps == KEEPS_ALL)
        credit_all(f, q, net, sum);
    for (long row = 0; row < f->batch && f->keeps == KEEPS_RANK_ONE; row++)
        credit_rank_one(f, q + row * f->n, row, sum);
    for (long row = 0; row < f->batch && (f->keeps == KEEPS_UNITS || f->keeps == KEEPS_REACH); row++)
        credit_reach(f, q + row * f->n, row, sum);
    for (long p = 0; p < f->count; p++) {
        if (net->kernels->element_size == 4)
            ((float *)net->gradients)[p] += (float)sum[p];
        else
            ((double *)net->gradients)[p] += sum[p];
    }
}

/* ---- a window ---- */

/* All states of the batch, [B][n], from or to the network's buffers. */
static void move_states(const struct influence *f, struct network *net, void ***buffers, double *rows, int set)
{
    long first = 0;
    for (int l = 0; l < f->model->layers; l++) {
        for (int i = 0; i < f->model->cell->states; i++) {
            long n = f->model->size[l][f->model->cell->state[i].dim], stride = layer_state_width(&net->layer[l], i);
            if (set)
                net->kernels->load_rows(f->batch, n, rows + first, 8, f->n, buffers[l][i], stride);
            else
                net->kernels->store_rows(f->batch, n, buffers[l][i], stride, rows + first, 8, f->n);
            first += n;
        }
    }
}

static const void *moved_by(const void *rows, long step, long bytes)
{
    return rows ? (const char *)rows + step * bytes : NULL;
}

static struct window step_window(const struct network *net, const struct window *window, long t)
{
    const bptt_model *model = net->model;
    long batch = net->config.batch, out = batch * model->outputs * window->element_size;
    long target = model->loss == BPTT_MSE ? out : batch * (long)sizeof(int32_t);
    struct window step = *window;
    step.steps = 1;
    step.x = moved_by(window->x, t, batch * model->inputs * window->element_size);
    step.token = moved_by(window->token, t, batch * (long)sizeof(int32_t));
    step.target = t < window->loss_from ? NULL : moved_by(window->target, t, target);
    step.loss_from = 0;
    step.output_gradient = moved_by(window->output_gradient, t, out);
    step.output = (void *)(uintptr_t)moved_by(window->output, t, out);
    step.input_gradient = NULL;
    step.mean_over = window->update ? 1 : window->mean_over ? window->mean_over : window->steps;
    step.update = NULL;
    return step;
}

static int one_step(struct influence *f, struct network *net, struct window *window, long t, bptt_error *error)
{
    struct window step = step_window(net, window, t);
    move_states(f, net, net->carried, f->state, 0);
    int status = network_gradient(net, &step, error);
    if (status)
        return status;
    window->loss += step.loss * (window->update ? 1 / (double)(window->steps - window->loss_from) : 1);
    move_states(f, net, net->initial_gradient, f->q, 0);
    influence_credit(f, f->q, net);
    influence_advance(f, net, window, t, f->state);
    if (!window->update)
        return BPTT_OK;
    status = window->update(window->user, error);
    network_load(net);
    return status;
}

int influence_window(struct influence *f, struct network *net, struct window *window, bptt_error *error)
{
    int status = BPTT_OK;
    window->loss = 0;
    f->steps = f->signs ? f->steps : window->index * window->steps;           /* by number: the same again when resumed */
    move_states(f, net, net->final_gradient, f->final, 0);
    network_clear_final_gradient(net);
    for (long t = 0; t < window->steps && !status; t++) {
        if (t == window->steps - 1)
            move_states(f, net, net->final_gradient, f->final, 1);
        status = one_step(f, net, window, t, error);
    }
    return status;
}

void influence_reset(struct influence *f)
{
    memset(f->m, 0, f->m_bytes);
}

const char *influence_kept(const struct influence *f)
{
    static const char *const phrase[] = {[KEEPS_ALL] = "all", [KEEPS_UNITS] = "own units", [KEEPS_REACH] = "within the steps asked",
                                         [KEEPS_RANK_ONE] = "rank one"};
    return phrase[f->keeps];
}

void *influence_memory(struct influence *f, size_t *bytes)
{
    *bytes = f->m_bytes;
    return f->m;
}

void influence_set_signs(struct influence *f, const signed char *signs)
{
    f->signs = signs;
    f->steps = 0;
}

/* ---- what to keep ---- */

/* Which states each row of a matrix reaches in one step, and states each other: by trying it at random numbers, where what is
 * not zero by structure is not zero. */
struct pattern { char *jacobian, *first; };    /* [n][n] by state after and before; [rows of all matrices][n] */

static long all_rows(const bptt_model *model)
{
    long rows = 0;
    for (int l = 0; l < model->layers; l++)
        for (int p = 0; p < model->cell->params; p++)
            rows += model->size[l][model->cell->param[p].rows];
    return rows;
}

static long row_number(const bptt_model *model, int layer, int param)
{
    long rows = 0;
    for (int l = 0; l < model->layers; l++)
        for (int p = 0; p < model->cell->params; p++) {
            if (l == layer && p == param)
                return rows;
            rows += model->size[l][model->cell->param[p].rows];
        }
    return rows;
}

static void note_sink(const struct influence *f, const struct worker *w, int layer, int number, struct pattern *pattern)
{
    const struct sink *sink = &backward(f)->sink[number];
    const struct bptt_cell *cell = f->model->cell;
    const struct parameter *param = &cell->param[sink->index];
    const long *size = f->model->size[layer];
    long rows = size[param->rows], columns = cell_param_columns(cell, param, size), block = rows / param->blocks;
    long left = width_of(f, layer, sink->left), right = sink->kind == SINK_OUTER ? width_of(f, layer, sink->right) : 0;
    int at_number = layer * backward(f)->sinks + number;
    for (long i = 0; i < rows; i++) {
        char *first = pattern->first + (row_number(f->model, layer, sink->index) + i) * f->n;
        for (long k = first_state(w, layer); k < f->n; k++) {
            int any = !right;
            for (long j = 0; j < columns && right; j++)
                any |= at(w->right[at_number] + k * right, right, i / block * columns + j) != 0;
            first[k] |= (char)(any && at(w->left[at_number] + k * left, left, i) != 0);
        }
    }
}

static void probe(struct influence *f, struct pattern *pattern, uint64_t seed)
{
    struct worker *w = &f->worker[0];
    struct random_stream stream = random_open(seed, RANDOM_CHECK, 77);
    for (long p = 0; p < f->model->count; p++)
        f->parameters[p] = random_uniform(&stream, (uint64_t)p) - 0.4;
    for (long k = 0; k < f->n; k++)
        f->state[k] = 0.2 + 0.6 * random_uniform(&stream, (uint64_t)(f->model->count + k));
    for (long j = 0; j < f->model->inputs; j++)
        w->vector[j] = random_uniform(&stream, (uint64_t)(f->model->count + f->n + j)) + 0.1;
    differentiate(f, w, w->vector, f->state);
    for (long i = 0; i < f->n * f->n; i++)
        pattern->jacobian[i] |= (char)(w->jacobian[i] != 0);
    for (int l = 0; l < f->model->layers; l++)
        for (int i = 0; i < backward(f)->sinks; i++)
            if (backward(f)->sink[i].kind == SINK_OUTER || backward(f)->sink[i].kind == SINK_ROWS)
                note_sink(f, w, l, i, pattern);
}

/* Whether state k is the same unit as row i of a matrix with so many rows, in the same layer. */
static int is_own_unit(const struct influence *f, int layer, long rows, long i, long k)
{
    const struct step *step = &f->worker[0].step;
    for (int s = 0; s < f->model->cell->states; s++)
        if (k == step_state_offset(step, layer, s) + i && f->model->size[layer][f->model->cell->state[s].dim] == rows)
            return 1;
    return 0;
}

static int layer_of(const struct influence *f, long k)
{
    int l = (int)f->model->layers - 1;
    while (f->worker[0].step.layer[l].first > k)
        l--;
    return l;
}

/* One row's list of states: own units, or the pattern after so many steps within the layer. */
static int make_reach(struct influence *f, const struct pattern *pattern, int layer, int param, long i, char *marks)
{
    const struct bptt_cell *cell = f->model->cell;
    long rows = f->model->size[layer][cell->param[param].rows], first = row_number(f->model, layer, param) + i;
    struct reach *r = &f->reach[layer * cell->params + param][i];
    for (long k = 0; k < f->n; k++)
        marks[k] = f->keeps == KEEPS_UNITS ? (char)is_own_unit(f, layer, rows, i, k)
                                           : (char)(pattern->first[first * f->n + k] && layer_of(f, k) == layer);
    for (int more = 1; more < f->strategy.order && f->keeps == KEEPS_REACH; more++) {
        int grew = 0;
        for (long k = 0; k < f->n; k++)
            for (long b = 0; b < f->n && marks[k] < 1; b++)
                if (marks[b] == 1 && pattern->jacobian[k * f->n + b] && layer_of(f, k) == layer)
                    marks[k] = -1, grew = 1;
        for (long k = 0; k < f->n; k++)
            marks[k] = marks[k] != 0;
        if (!grew)
            break;
    }
    for (long k = 0; k < f->n; k++)
        r->count += marks[k];
    r->state = arena_alloc(&f->arena, (size_t)(r->count + 1) * sizeof *r->state);
    for (long k = 0, a = 0; k < f->n && r->state; k++)
        if (marks[k])
            r->state[a++] = (int)k;
    r->at = f->stride;
    f->stride += r->count * cell_param_columns(cell, &cell->param[param], f->model->size[layer]);
    return r->state != NULL;
}

static int make_reaches(struct influence *f, const struct pattern *pattern, bptt_error *error)
{
    const struct bptt_cell *cell = f->model->cell;
    char *marks = arena_alloc(&f->arena, (size_t)f->n + 1);
    f->reach = arena_alloc(&f->arena, (size_t)(f->model->layers * cell->params + 1) * sizeof *f->reach);
    int good = marks && f->reach;
    for (int l = 0; l < f->model->layers && good; l++) {
        for (int p = 0; p < cell->params && good; p++) {
            long rows = f->model->size[l][cell->param[p].rows];
            struct reach *list = arena_alloc(&f->arena, (size_t)rows * sizeof *list);
            f->reach[l * cell->params + p] = list;
            good = list != NULL;
            for (long i = 0; i < rows && good; i++)
                good = make_reach(f, pattern, l, p, i, marks);
        }
    }
    return good ? BPTT_OK : fail_memory(error, (size_t)f->n);
}

/* Whether nothing leaves its unit: states depend on their own unit's, and parameters act on their own row's. */
static int stays_in_units(const struct influence *f, const struct pattern *pattern, int with_jacobian)
{
    const struct bptt_cell *cell = f->model->cell;
    for (int l = 0; l < f->model->layers; l++)
        for (int p = 0; p < cell->params; p++) {
            long rows = f->model->size[l][cell->param[p].rows], number = row_number(f->model, l, p);
            for (long i = 0; i < rows; i++)
                for (long k = 0; k < f->n; k++)
                    if (pattern->first[(number + i) * f->n + k] && layer_of(f, k) == l && !is_own_unit(f, l, rows, i, k))
                        return 0;
        }
    for (long k = 0; with_jacobian && k < f->n; k++)
        for (long b = 0; b < f->n; b++) {
            long own = k - step_state_offset(&f->worker[0].step, 0, 0);
            int same = 0;
            for (int s = 0; s < cell->states; s++) {
                long rows = f->model->size[0][cell->state[s].dim], unit = own - step_state_offset(&f->worker[0].step, 0, s);
                if (unit >= 0 && unit < rows)
                    same |= is_own_unit(f, 0, rows, unit, b);
            }
            if (pattern->jacobian[k * f->n + b] && !same)
                return 0;
        }
    return 1;
}

static void choose(struct influence *f, const struct pattern *pattern)
{
    switch (f->strategy.kind) {
    case STRATEGY_RFLO: f->keeps = KEEPS_UNITS; break;
    case STRATEGY_UORO: f->keeps = KEEPS_RANK_ONE; break;
    case STRATEGY_SNAP:
        f->keeps = f->strategy.order == 1 && stays_in_units(f, pattern, 0) ? KEEPS_UNITS : KEEPS_REACH;
        break;
    default: f->keeps = f->model->layers == 1 && !f->model->vocabulary && stays_in_units(f, pattern, 1) ? KEEPS_UNITS : KEEPS_ALL;
    }
}

/* ---- memory ---- */

static void *take(struct influence *f, long count, size_t size, int *good)
{
    void *memory = *good ? arena_alloc(&f->arena, size_mul((size_t)(count > 0 ? count : 1), size)) : NULL;
    *good = memory != NULL;
    return memory;
}

/* As the kernels want it. */
static void *take_aligned(struct influence *f, size_t bytes, int *good)
{
    char *memory = take(f, 1, bytes < SIZE_MAX - 64 ? bytes + 64 : SIZE_MAX, good);
    return memory ? memory + (64 - (uintptr_t)memory % 64) % 64 : NULL;
}

static int new_factors(struct influence *f, struct worker *w)
{
    const struct graph *graph = backward(f);
    int good = 1, sinks = (int)f->model->layers * graph->sinks;
    w->left = take(f, sinks, sizeof *w->left, &good);
    w->right = take(f, sinks, sizeof *w->right, &good);
    for (int l = 0; l < f->model->layers && good; l++) {
        for (int i = 0; i < graph->sinks && good; i++) {
            const struct sink *sink = &graph->sink[i];
            if (sink->kind != SINK_OUTER && sink->kind != SINK_ROWS)
                continue;
            w->left[l * graph->sinks + i] = take(f, f->n * width_of(f, l, sink->left), sizeof(double), &good);
            if (sink->kind == SINK_OUTER)
                w->right[l * graph->sinks + i] = take(f, f->n * width_of(f, l, sink->right), sizeof(double), &good);
        }
    }
    return good;
}

static int new_worker(struct influence *f, struct worker *w, bptt_error *error)
{
    int good = 1, status = step_new(&w->step, f->model, error);
    long widest = 1;
    if (status)
        return status;
    for (int l = 0; l < f->model->layers; l++)
        for (int p = 0; p < f->model->cell->params; p++)
            widest = columns_of(f, l, p) > widest ? columns_of(f, l, p) : widest;
    if (f->strategy.kind != STRATEGY_UORO) {
        w->jacobian = take(f, f->n * f->n, sizeof(double), &good);
        good = good && new_factors(f, w);
    }
    w->dx = take(f, (f->strategy.kind == STRATEGY_UORO ? 1 : f->n) * f->model->inputs, sizeof(double), &good);
    w->cotangent = take(f, f->n, sizeof(double), &good);
    w->lane = take(f, f->n, sizeof(double), &good);
    w->listed = take(f, f->n, sizeof *w->listed, &good);
    w->vector = take(f, f->model->count + f->n * (widest + 1) + f->model->inputs, sizeof(double), &good);
    for (long k = 0; k < f->n && good; k++)
        w->lane[k] = 1;
    return good ? BPTT_OK : fail_memory(error, (size_t)(f->n * f->n) * sizeof(double));
}

static int new_lanes(struct influence *f, bptt_error *error)
{
    int good = 1, status = cell_lanes(f->model->cell, f->strategy.kind == STRATEGY_RFLO, &f->arena, &f->lane_graph, error);
    long widest = f->model->inputs;
    for (int l = 0; l < f->model->layers; l++)
        for (int d = 0; d < f->model->cell->dims; d++)
            widest = f->model->size[l][d] > widest ? f->model->size[l][d] : widest;
    for (int i = 0; i < f->workers && !status && good; i++) {
        struct worker *w = &f->worker[i];
        w->lanes = take(f, f->lane_graph.count, sizeof *w->lanes, &good);
        for (int n = 0; n < f->lane_graph.count && good; n++)
            w->lanes[n] = take(f, widest, sizeof(double), &good);
    }
    return status || good ? status : fail_memory(error, (size_t)widest);
}

/* The parameters that act on states: all but the head's. */
static long acting(const bptt_model *model)
{
    long end = model->vocabulary ? model->embed_offset + model->vocabulary * model->inputs : 0;
    for (int l = 0; l < model->layers; l++)
        for (int p = 0; p < model->cell->params; p++) {
            const struct parameter *param = &model->cell->param[p];
            long to = model->slot[l][p].offset + model->size[l][param->rows] * cell_param_columns(model->cell, param, model->size[l]);
            end = to > end ? to : end;
        }
    return end;
}

static int new_memory(struct influence *f, bptt_error *error)
{
    int good = 1, all = f->keeps == KEEPS_ALL;
    size_t row = all ? size_mul((size_t)f->count, (size_t)(f->stride * f->size)) : size_mul((size_t)f->stride, sizeof(double));
    f->m_bytes = size_mul(row, (size_t)f->batch);
    int status = memory_fits(size_mul(f->m_bytes, all ? 2 : 1), error);
    if (status)
        return status;
    f->m = take_aligned(f, f->m_bytes, &good);
    f->next = all ? take_aligned(f, f->m_bytes, &good) : NULL;
    f->packed_q = all ? take_aligned(f, (size_t)(f->batch * f->n * STAGE_PAD * f->size), &good) : NULL;
    for (int i = 0; i < f->workers && good && all; i++) {
        f->worker[i].packed = take_aligned(f, (size_t)(padded(f->n) * f->n * f->size), &good);
        f->worker[i].natural = take_aligned(f, (size_t)(padded(f->n) * f->n * f->size), &good);
        f->worker[i].product = take_aligned(f, (size_t)(CREDIT_CHUNK * STAGE_PAD * f->size), &good);
    }
    return good ? BPTT_OK : fail_memory(error, f->m_bytes);
}

static int choose_and_lay_out(struct influence *f, bptt_error *error)
{
    struct pattern pattern = {0};
    int status = BPTT_OK, good = 1;
    if (f->strategy.kind != STRATEGY_UORO && f->strategy.kind != STRATEGY_RFLO) {
        pattern.jacobian = take(f, f->n * f->n, 1, &good);
        pattern.first = take(f, all_rows(f->model) * f->n, 1, &good);
        if (!good)
            return fail_memory(error, (size_t)(f->n * f->n));
        for (uint64_t seed = 1; seed <= 2; seed++)
            probe(f, &pattern, seed);
    }
    choose(f, &pattern);
    if (f->keeps == KEEPS_ALL)
        f->stride = padded(f->n);
    else if (f->keeps == KEEPS_RANK_ONE)
        f->stride = f->n + f->count;
    else
        status = make_reaches(f, &pattern, error);
    if (!status && f->keeps == KEEPS_UNITS)
        status = new_lanes(f, error);
    if (!status && f->keeps == KEEPS_UNITS)
        for (int i = 0; i < f->workers; i++)
            for (int s = 0; s < (int)f->model->layers * backward(f)->sinks; s++)
                if (f->worker[i].left[s])
                    memset(f->worker[i].left[s], 0, (size_t)(f->n * width_of(f, s / backward(f)->sinks,
                           backward(f)->sink[s % backward(f)->sinks].left)) * sizeof(double));
    if (!status && f->keeps == KEEPS_UNITS)
        memset(f->worker[0].jacobian, 0, (size_t)(f->n * f->n) * sizeof(double));
    return status ? status : new_memory(f, error);
}

int influence_new(const struct network *net, const struct strategy *strategy, uint64_t seed, struct influence **out, bptt_error *error)
{
    struct influence *f = calloc(1, sizeof *f);
    int good = 1, status = BPTT_OK;
    *out = NULL;
    if (!f)
        return fail_memory(error, sizeof *f);
    f->model = net->model;
    f->strategy = *strategy;
    f->seed = seed;
    f->batch = net->config.batch;
    f->n = model_states(net->model);
    f->count = acting(net->model);
    f->size = (int)net->kernels->element_size;
    f->workers = pool_workers(net->pool);
    f->adjoint = take(f, backward(f)->count, 1, &good);
    f->worker = take(f, f->workers, sizeof *f->worker, &good);
    f->parameters = take(f, f->model->count, sizeof(double), &good);
    f->state = take(f, f->batch * f->n, sizeof(double), &good);
    f->q = take(f, f->batch * f->n, sizeof(double), &good);
    f->final = take(f, f->batch * f->n, sizeof(double), &good);
    if (!good)
        status = fail_memory(error, (size_t)f->model->count * sizeof(double));
    for (int i = 0; i < f->workers && !status; i++)
        status = new_worker(f, &f->worker[i], error);
    if (!status) {
        cell_adjoints(f->model->cell, f->adjoint);
        status = choose_and_lay_out(f, error);
    }
    if (status)
        influence_free(f);
    else
        *out = f;
    return status;
}

void influence_free(struct influence *f)
{
    if (!f)
        return;
    for (int i = 0; f->worker && i < f->workers; i++)
        step_free(&f->worker[i].step);
    arena_free(&f->arena);
    free(f);
}

size_t influence_bytes(const bptt_model *model, long batch, const struct strategy *strategy)
{
    if (!strategy_is_forward(strategy))
        return 0;
    size_t n = (size_t)model_states(model), count = (size_t)acting(model), rows = (size_t)batch;
    size_t small = ((size_t)model->count * 2 + n * n + 3 * rows * n) * sizeof(double);
    switch (strategy->kind) {
    case STRATEGY_RTRL: return size_mul(size_mul(2 * rows * count, (size_t)padded((long)n)), sizeof(float)) + small;
    case STRATEGY_UORO: return size_mul(rows * (n + count), sizeof(double)) + small;
    default: return size_mul(size_mul(rows * count, (size_t)model->cell->states), sizeof(double)) + small;
    }
}
