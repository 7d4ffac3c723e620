/* nonfinite.c - see nonfinite.h. The forward pass is evaluated again on the cell's graph in double precision, where what is too
 * large for a float is the fault; if all is well there, the gradient is run again and watched on its way back. */
#include "nonfinite.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/step.h"

long nonfinite_kept(const bptt_trainer *t)
{
    long n = 0;
    for (int l = 0; l < t->model->layers; l++)
        for (int i = 0; i < t->model->cell->states; i++)
            n += layer_state_width(&t->net.layer[l], i) * t->net.config.batch;
    return n;
}

void nonfinite_keep(bptt_trainer *t, double *kept)
{
    horizon_carried(&t->net, kept, 0);
}

static int is_bad(const double *value, long n)
{
    for (long i = 0; i < n; i++)
        if (!(fabs(value[i]) <= FLT_MAX))
            return 1;
    return 0;
}

/* ---- parameters ---- */

static int find_in_parameters(const bptt_trainer *t, const double *parameters, struct nonfinite *found)
{
    for (int i = 0; i < t->model->tensors; i++) {
        const struct tensor *tensor = &t->model->tensor[i];
        if (!is_bad(parameters + tensor->offset, tensor->count))
            continue;
        *found = (struct nonfinite){.row = -1, .layer = tensor->layer};
        snprintf(found->operation, sizeof found->operation, "the last update of %.100s", tensor->name);
        return 1;
    }
    return 0;
}

/* ---- forward ---- */

struct rerun {
    const bptt_trainer *trainer;
    struct step step;
    double *parameters, *state, *next;     /* state: [rows][states of the stack] */
    float *rows;
    long states;
};

/* The first state that node n leads to; operands stand before what uses them. */
static void name_state(const struct bptt_cell *cell, int n, char *reached, struct nonfinite *found)
{
    const struct graph *graph = &cell->forward;
    memset(reached, 0, (size_t)graph->count);
    reached[n] = 1;
    for (int m = n + 1; m < graph->count; m++) {
        const struct node *node = &graph->node[m];
        reached[m] = !op_is_leaf(node->op) && ((node->a >= 0 && reached[node->a]) || (node->b >= 0 && reached[node->b]));
    }
    for (int i = 0; i < graph->sinks && !found->state[0]; i++)
        if (graph->sink[i].kind == SINK_NEXT && reached[graph->sink[i].left])
            snprintf(found->state, sizeof found->state, "%s", cell->state[graph->sink[i].index].name);
}

static void name_operation(const struct bptt_cell *cell, int n, struct nonfinite *found)
{
    struct text text = {0};
    const char *name = cell->forward.node[n].name;
    if (name)
        text_printf(&text, "%s = ", name);
    print_expression(&cell->forward, n, &text);
    char *own = text_take(&text);
    char *reached = malloc((size_t)cell->forward.count + 1);
    snprintf(found->operation, sizeof found->operation, "%s", own ? own : "");
    if (reached)
        name_state(cell, n, reached, found);
    free(reached);
    free(own);
}

static int find_in_step(const struct rerun *r, long time, long row, struct nonfinite *found)
{
    const bptt_model *model = r->trainer->model;
    const struct graph *graph = &model->cell->forward;
    for (int l = 0; l < model->layers; l++) {
        for (int n = 0; n < graph->count; n++) {
            if (op_is_leaf(graph->node[n].op) || !is_bad(r->step.layer[l].forward[n], model->size[l][graph->node[n].dim]))
                continue;
            *found = (struct nonfinite){.time = time, .row = row, .layer = l};
            name_operation(model->cell, n, found);
            return 1;
        }
    }
    return 0;
}

static int find_in_head(const struct rerun *r, long time, long row, struct nonfinite *found)
{
    const bptt_model *model = r->trainer->model;
    const struct graph *graph = &model->cell->forward;
    const double *y = r->step.layer[model->layers - 1].forward[graph_find_sink(graph, SINK_OUTPUT, 0)->left];
    for (long o = 0; o < model->outputs && model->head; o++) {
        const double *w = r->parameters + model->head_offset + o * model->top;
        double sum = model->bias_offset < 0 ? 0 : r->parameters[model->bias_offset + o];
        for (long j = 0; j < model->top; j++)
            sum += w[j] * y[j];
        if (!is_bad(&sum, 1))
            continue;
        *found = (struct nonfinite){.time = time, .row = row, .layer = -1, .operation = "o = head.weight y + head.bias"};
        return 1;
    }
    return 0;
}

static void take_states(struct rerun *r)
{
    const struct network *net = &r->trainer->net;
    const bptt_model *model = r->trainer->model;
    for (int l = 0; l < model->layers; l++) {
        for (int i = 0; i < model->cell->states; i++) {
            long n = model->size[l][model->cell->state[i].dim], at = step_state_offset(&r->step, l, i);
            network_get_state(net, net->carried[l][i], l, i, r->rows, sizeof *r->rows);
            for (long row = 0; row < net->config.batch; row++)
                for (long j = 0; j < n; j++)
                    r->state[row * r->states + at + j] = (double)r->rows[row * n + j];
        }
    }
}

static void take_next(struct rerun *r, double *state)
{
    const bptt_model *model = r->trainer->model;
    for (int l = 0; l < model->layers; l++) {
        for (int i = 0; i < model->cell->states; i++) {
            const struct sink *sink = graph_find_sink(&model->cell->forward, SINK_NEXT, i);
            memcpy(r->next + step_state_offset(&r->step, l, i), r->step.layer[l].forward[sink->left],
                   (size_t)model->size[l][model->cell->state[i].dim] * sizeof *r->next);
        }
    }
    memcpy(state, r->next, (size_t)r->states * sizeof *state);
}

static int find_forward(struct rerun *r, const int32_t *x, struct nonfinite *found)
{
    const bptt_model *model = r->trainer->model;
    long batch = r->trainer->net.config.batch;
    take_states(r);
    for (long t = 0; t < (long)r->trainer->config.length; t++) {
        for (long row = 0; row < batch; row++) {
            double *state = r->state + row * r->states;
            const double *input = r->parameters + model->embed_offset + (long)x[t * batch + row] * model->inputs;
            step_forward(&r->step, r->parameters, input, state);
            if (find_in_step(r, t, row, found) || find_in_head(r, t, row, found))
                return 1;
            take_next(r, state);
        }
    }
    return 0;
}

static int forward_again(const bptt_trainer *t, const int32_t *x, struct nonfinite *found)
{
    struct rerun r = {.trainer = t, .states = model_states(t->model)};
    size_t rows = (size_t)t->config.batch, count = (size_t)t->model->count;
    int good = !step_new(&r.step, t->model, NULL), is_found = 0;
    r.parameters = malloc(count * sizeof(double));
    r.state = malloc(size_mul(rows, (size_t)r.states * sizeof(double)));
    r.next = malloc((size_t)r.states * sizeof(double));
    r.rows = malloc((size_t)nonfinite_kept(t) * sizeof(float));
    if (good && r.parameters && r.state && r.next && r.rows) {
        for (size_t i = 0; i < count; i++)
            r.parameters[i] = (double)t->model->data[i];
        is_found = find_in_parameters(t, r.parameters, found) || find_forward(&r, x, found);
    }
    free(r.parameters);
    free(r.state);
    free(r.next);
    free(r.rows);
    step_free(&r.step);
    return is_found;
}

/* ---- backward ---- */

struct backward { struct nonfinite *found; int is_found; };

/* Stretches and their slots come from the end: the first fault is where the gradient was last well. */
static void observe(void *user, const struct network *net, long start, long steps)
{
    struct backward *b = user;
    for (long slot = steps - 1; slot >= 0 && !b->is_found; slot--) {
        for (int l = (int)net->model->layers - 1; l >= 0 && !b->is_found; l--) {
            for (int i = 0; i < net->model->cell->states && !b->is_found; i++) {
                long n = layer_state_width(&net->layer[l], i) * net->config.batch;
                const char *gradient = (const char *)net->layer[l].dstate[i] + slot * n * net->kernels->element_size;
                if (network_are_finite(net, gradient, n))
                    continue;
                const char *name = net->model->cell->state[i].name;
                b->is_found = 1;
                *b->found = (struct nonfinite){.time = start + slot, .row = -1, .layer = l};
                snprintf(b->found->state, sizeof b->found->state, "%s", name);
                snprintf(b->found->operation, sizeof b->found->operation, "dL/d%.60s on its way back", name);
            }
        }
    }
}

static int backward_again(bptt_trainer *t, const int32_t *x, const int32_t *y, struct nonfinite *found)
{
    struct backward b = {.found = found};
    struct window window = {.steps = (long)t->config.length, .token = x, .target = y, .element_size = 4, .index = t->window,
                            .training = 1, .observe = observe, .user = &b};
    if (t->influence)
        return 0;
    network_load(&t->net);
    network_clear_gradients(&t->net);
    if (network_gradient(&t->net, &window, NULL) || b.is_found)
        return b.is_found;
    *found = (struct nonfinite){.row = -1, .layer = -1};
    return network_find_not_finite(&t->net, found->operation, sizeof found->operation);
}

int nonfinite_find(bptt_trainer *t, double *kept, const int32_t *x, const int32_t *y, struct nonfinite *found)
{
    if (t->config.carry)
        horizon_carried(&t->net, kept, 1);
    else
        network_reset(&t->net);
    return forward_again(t, x, found) || backward_again(t, x, y, found);
}
