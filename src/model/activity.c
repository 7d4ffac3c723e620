/* activity.c - see activity.h. */
#include "activity.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Karpathy, Johnson and Fei-Fei 2015, arXiv 1506.02078, section 4.2; tanh(x) = 2 sigmoid(2 x) - 1 at the same points. */
static const double SIGMOID_LOW = 0.1, SIGMOID_HIGH = 0.9, TANH_EDGE = 0.8;

/* ---- which values ---- */

static int is_watched(enum op op)
{
    return op == OP_SIGMOID || op == OP_TANH || op == OP_RELU;
}

/* Whether node n is the gate itself (1) or 1 - gate (2). */
static int gate_form(const struct graph *graph, int n, int gate)
{
    const struct node *node = &graph->node[n];
    if (n == gate)
        return 1;
    return node->op == OP_SUB && node->b == gate && graph_is_const(graph, node->a, 1) ? 2 : 0;
}

/* How `gate` multiplies a state among the addends of node n. */
static int keeps(const struct graph *graph, int n, int gate)
{
    const struct node *node = &graph->node[n];
    if (node->op == OP_ADD || node->op == OP_SUB || node->op == OP_COPY) {
        int form = keeps(graph, node->a, gate);
        return form || node->b < 0 ? form : keeps(graph, node->b, gate);
    }
    if (node->op != OP_MUL)
        return 0;
    if (graph->node[node->b].op == OP_STATE)
        return gate_form(graph, node->a, gate);
    return graph->node[node->a].op == OP_STATE ? gate_form(graph, node->b, gate) : 0;
}

static int memory_form(const struct graph *graph, int gate)
{
    int form = 0;
    for (int i = 0; i < graph->sinks && !form && graph->node[gate].op == OP_SIGMOID; i++)
        if (graph->sink[i].kind == SINK_NEXT)
            form = keeps(graph, graph->sink[i].left, gate);
    return form;
}

static void number_units(struct activity *a)
{
    const struct graph *graph = &a->model->cell->forward;
    for (int l = 0; l < a->model->layers; l++) {
        for (int f = 0; f < a->functions; f++) {
            a->first[l * a->functions + f] = a->units;
            a->units += a->model->size[l][graph->node[a->node[f]].dim];
        }
    }
}

int activity_new(struct activity *a, const bptt_model *model, bptt_error *error)
{
    const struct graph *graph = &model->cell->forward;
    *a = (struct activity){.model = model};
    size_t nodes = (size_t)graph->count + 1;
    a->node = malloc(nodes * sizeof *a->node);
    a->memory = malloc(nodes * sizeof *a->memory);
    a->first = malloc(size_mul((size_t)model->layers, nodes * sizeof *a->first));
    if (!a->node || !a->memory || !a->first) {
        activity_free(a);
        return fail_memory(error, nodes * sizeof *a->first);
    }
    for (int n = 0; n < graph->count; n++) {
        if (!is_watched(graph->node[n].op))
            continue;
        a->memory[a->functions] = memory_form(graph, n);
        a->node[a->functions++] = n;
    }
    number_units(a);
    return BPTT_OK;
}

void activity_free(struct activity *a)
{
    free(a->node);
    free(a->memory);
    free(a->first);
    *a = (struct activity){0};
}

/* ---- counting ---- */

int tally_new(const struct activity *a, struct tally *tally, bptt_error *error)
{
    size_t units = (size_t)a->units + 1;
    *tally = (struct tally){.sum = calloc(units, sizeof *tally->sum), .low = calloc(units, sizeof *tally->low),
                            .high = calloc(units, sizeof *tally->high)};
    if (tally->sum && tally->low && tally->high)
        return BPTT_OK;
    tally_free(tally);
    return fail_memory(error, units * sizeof *tally->sum);
}

void tally_free(struct tally *tally)
{
    free(tally->sum);
    free(tally->low);
    free(tally->high);
    *tally = (struct tally){0};
}

static void add_values(enum op op, const double *value, long n, double *sum, long *low, long *high)
{
    double bottom = op == OP_SIGMOID ? SIGMOID_LOW : op == OP_TANH ? -TANH_EDGE : DBL_TRUE_MIN;
    double top = op == OP_SIGMOID ? SIGMOID_HIGH : op == OP_TANH ? TANH_EDGE : INFINITY;
    for (long i = 0; i < n; i++) {
        sum[i] += value[i];
        low[i] += value[i] < bottom;
        high[i] += value[i] > top;
    }
}

void tally_add(const struct activity *a, struct tally *tally, const struct step *step)
{
    const struct graph *graph = &a->model->cell->forward;
    for (int l = 0; l < a->model->layers; l++) {
        for (int f = 0; f < a->functions; f++) {
            const struct node *node = &graph->node[a->node[f]];
            long at = a->first[l * a->functions + f];
            add_values(node->op, step->layer[l].forward[a->node[f]], a->model->size[l][node->dim], tally->sum + at,
                       tally->low + at, tally->high + at);
        }
    }
    tally->steps++;
}

/* ---- the report ---- */

struct unit { double mean; long low, high, steps; };

static struct unit add_up(const struct tally *tallies, long count, long at)
{
    struct unit u = {0};
    for (long i = 0; i < count; i++) {
        u.mean += tallies[i].sum[at];
        u.low += tallies[i].low[at];
        u.high += tallies[i].high[at];
        u.steps += tallies[i].steps;
    }
    u.mean /= (double)u.steps;
    return u;
}

static void describe(bptt_inspect_value *v, const struct tally *tallies, long count, long first, int memory)
{
    double longest = 0, sum = 0;
    for (long i = 0; i < v->units; i++) {
        struct unit u = add_up(tallies, count, first + i);
        double steps = 1 / (memory == 2 ? u.mean : 1 - u.mean);
        v->mean += u.mean / (double)v->units;
        v->low += (double)u.low / (double)u.steps / (double)v->units;
        v->high += (double)u.high / (double)u.steps / (double)v->units;
        v->dead += (double)(u.low + u.high == u.steps) / (double)v->units;
        sum += steps;
        longest = steps > longest ? steps : longest;
    }
    v->memory = memory ? sum / (double)v->units : NAN;
    v->longest = memory ? longest : NAN;
}

static int name_value(const struct graph *graph, int n, char *name, size_t size, bptt_error *error)
{
    struct text text = {0};
    if (graph->node[n].name)
        text_add(&text, graph->node[n].name);
    else
        print_expression(graph, n, &text);
    char *own = text_take(&text);
    if (!own)
        return fail_memory(error, size);
    snprintf(name, size, "%s", own);
    free(own);
    return BPTT_OK;
}

int activity_report(const struct activity *a, const struct tally *tallies, long count, bptt_inspect_report *r,
                    bptt_error *error)
{
    const struct graph *graph = &a->model->cell->forward;
    size_t values = (size_t)a->model->layers * (size_t)a->functions;
    r->value = calloc(values + 1, sizeof *r->value);
    if (!r->value)
        return fail_memory(error, values * sizeof *r->value);
    r->values = values;
    int status = BPTT_OK;
    for (size_t i = 0; i < values && !status; i++) {
        bptt_inspect_value *v = &r->value[i];
        int f = (int)(i % (size_t)a->functions);
        const struct node *node = &graph->node[a->node[f]];
        v->layer = (int64_t)(i / (size_t)a->functions);
        v->units = a->model->size[v->layer][node->dim];
        snprintf(v->function, sizeof v->function, "%s", op_table[node->op].text);
        describe(v, tallies, count, a->first[i], a->memory[f]);
        status = name_value(graph, a->node[f], v->name, sizeof v->name, error);
    }
    return status;
}
