/* unroll.c - the computational graph of a cell over several steps, with the output layer and the loss: D2L 9.7.2's figure as
 * nodes and edges. Parameters are one node for all steps. Where a strategy cuts the gradient comes from its schedule. */
#include <stdlib.h>
#include <string.h>

#include "../time/schedule.h"
#include "compare.h"
#include "fold.h"

struct unrolling {
    bptt_graph *graph;
    struct arena arena;
    struct fold fold;
    size_t node_capacity, edge_capacity;
    size_t *operator, *state, *before;     /* nodes: operators of the step at hand; states after it, and before it */
    size_t *weights;                       /* [params] node */
    size_t head_weights, input;
    int failed;                            /* out of memory for a name */
    bptt_error *error;
};

bptt_graph_options bptt_graph_defaults(void)
{
    return (bptt_graph_options){.size = sizeof(bptt_graph_options), .steps = 3, .seed = 1};
}

/* ---- nodes and edges: there is room, counted before; names outlive the cell ---- */

static const char *keep(struct unrolling *u, const char *text)
{
    const char *kept = arena_string(&u->arena, text, strlen(text));
    u->failed |= !kept;
    return kept;
}

static size_t add_node(struct unrolling *u, int role, int64_t step, const char *name, const char *about)
{
    int kind = role <= BPTT_ROLE_HEAD_WEIGHTS ? BPTT_PARAMETER : role < BPTT_ROLE_OPERATION ? BPTT_VARIABLE : BPTT_OPERATOR;
    u->graph->node[u->graph->nodes] = (bptt_graph_node){kind, role, step, keep(u, name), keep(u, about)};
    return u->graph->nodes++;
}

/* Once, where several parameters are one node: edges to a node follow each other. */
static void add_edge(struct unrolling *u, size_t from, size_t to)
{
    for (size_t i = u->graph->edges; i-- > 0 && u->graph->edge[i].to == to;)
        if (u->graph->edge[i].from == from)
            return;
    u->graph->edge[u->graph->edges++] = (bptt_graph_edge){from, to};
}

static int make_room(struct unrolling *u, int64_t steps)
{
    const struct fold *fold = &u->fold;
    size_t sources = 0, operators = (size_t)fold->operators, states = (size_t)fold->cell->states,
           params = (size_t)fold->cell->params;
    for (size_t i = 0; i < operators; i++)
        sources += (size_t)fold->operator[i].sources;
    size_t nodes = params + states + 3 + (size_t)steps * (operators + states + 8);
    size_t edges = 1 + (size_t)steps * (sources + states + 12), numbers = operators + 2 * states + params;
    bptt_graph *g = u->graph;
    g->node = arena_alloc(&u->arena, nodes * sizeof *g->node);
    g->edge = arena_alloc(&u->arena, edges * sizeof *g->edge);
    g->link = arena_alloc(&u->arena, (size_t)steps * sizeof *g->link);
    u->operator = arena_alloc(&u->arena, numbers * sizeof *u->operator);
    if (!g->node || !g->edge || !g->link || !u->operator)
        return fail_memory(u->error, nodes * sizeof *g->node + edges * sizeof *g->edge);
    u->state = u->operator + operators;
    u->before = u->state + states;
    u->weights = u->before + states;
    return BPTT_OK;
}

/* ---- parameters: those that enter the same operators are one node ---- */

static int enters(const struct operator *o, int param)
{
    for (int i = 0; i < o->sources; i++)
        if (o->source[i].kind == SOURCE_PARAM && o->source[i].index == param)
            return 1;
    return 0;
}

static int same_uses(const struct fold *fold, int a, int b)
{
    for (int i = 0; i < fold->operators; i++)
        if (enters(&fold->operator[i], a) != enters(&fold->operator[i], b))
            return 0;
    return 1;
}

static int first_like(const struct fold *fold, int param)
{
    int first = 0;
    while (!same_uses(fold, first, param))
        first++;
    return first;
}

static int is_used(const struct fold *fold, int param)
{
    for (int i = 0; i < fold->operators; i++)
        if (enters(&fold->operator[i], param))
            return 1;
    return 0;
}

/* "W, U, b" */
static const char *names_like(struct unrolling *u, int first)
{
    const struct fold *fold = &u->fold;
    struct text names = {0};
    for (int p = first; p < fold->cell->params; p++)
        if (same_uses(fold, first, p))
            text_printf(&names, "%s%s", names.length ? ", " : "", fold->cell->param[p].name);
    const char *kept = names.failed ? NULL : arena_string(&u->arena, names.data, names.length);
    text_free(&names);
    return kept;
}

static int add_weights(struct unrolling *u)
{
    const struct fold *fold = &u->fold;
    for (int p = 0; p < fold->cell->params; p++) {
        int first = first_like(fold, p);
        if (!is_used(fold, p))
            continue;
        u->weights[p] = u->weights[first];
        if (first < p)
            continue;
        const char *names = names_like(u, p);
        if (!names)
            return fail_memory(u->error, 0);
        u->weights[p] = add_node(u, BPTT_ROLE_WEIGHTS, 0, u->graph->detail ? names : "w_h", names);
    }
    u->head_weights = add_node(u, BPTT_ROLE_HEAD_WEIGHTS, 0, "w_o", "head.weight, head.bias");
    return BPTT_OK;
}

/* ---- a step ---- */

static size_t node_of(const struct unrolling *u, const struct source *source)
{
    switch (source->kind) {
    case SOURCE_INPUT: return u->input;
    case SOURCE_STATE: return u->before[source->index];
    case SOURCE_PARAM: return u->weights[source->index];
    default: return u->operator[source->index];
    }
}

static const char *input_name(const bptt_cell *cell)
{
    for (int n = 0; n < cell->forward.count; n++)
        if (cell->forward.node[n].op == OP_INPUT && cell->forward.node[n].name)
            return cell->forward.node[n].name;
    return "x";
}

static int has_input(const struct fold *fold)
{
    for (int i = 0; i < fold->operators; i++)
        for (int k = 0; k < fold->operator[i].sources; k++)
            if (fold->operator[i].source[k].kind == SOURCE_INPUT)
                return 1;
    return 0;
}

static int is_taken(const struct fold *fold, const char *name)
{
    for (int i = 0; i < fold->cell->states; i++)
        if (!strcmp(fold->cell->state[i].name, name))
            return 1;
    return !strcmp(input_name(fold->cell), name) || !strcmp(fold->operator[fold->output].name, name);
}

static void add_operators(struct unrolling *u, int64_t step)
{
    const struct fold *fold = &u->fold;
    for (int i = 0; i < fold->operators; i++) {
        const struct operator *o = &fold->operator[i];
        int is_output = i == fold->output && fold->output_state < 0;       /* then a variable bears its name */
        u->operator[i] = add_node(u, BPTT_ROLE_OPERATION, step, o->sign, is_output ? "" : o->name);
        for (int k = 0; k < o->sources; k++)
            add_edge(u, node_of(u, &o->source[k]), u->operator[i]);
    }
}

static size_t add_states(struct unrolling *u, int64_t step)
{
    const struct fold *fold = &u->fold;
    for (int s = 0; s < fold->cell->states; s++) {
        u->state[s] = add_node(u, BPTT_ROLE_STATE, step, fold->cell->state[s].name, "");
        add_edge(u, u->operator[fold->next[s]], u->state[s]);
    }
    if (fold->output_state >= 0)
        return u->state[fold->output_state];
    const char *name = fold->operator[fold->output].name;
    size_t output = add_node(u, BPTT_ROLE_OUTPUT, step, *name ? name : "output", "");
    add_edge(u, u->operator[fold->output], output);
    return output;
}

/* Output layer and loss; the loss of the step is returned. */
static size_t add_head(struct unrolling *u, int64_t step, size_t output)
{
    const struct fold *fold = &u->fold;
    size_t head = add_node(u, BPTT_ROLE_HEAD, step, "g", "");
    size_t prediction = add_node(u, BPTT_ROLE_PREDICTION, step, is_taken(fold, "o") ? "out" : "o", "");
    size_t target = add_node(u, BPTT_ROLE_TARGET, step, is_taken(fold, "y") ? "target" : "y", "");
    size_t loss = add_node(u, BPTT_ROLE_LOSS, step, "l", ""), value = add_node(u, BPTT_ROLE_STEP_LOSS, step, "L", "");
    add_edge(u, output, head);
    add_edge(u, u->head_weights, head);
    add_edge(u, head, prediction);
    add_edge(u, prediction, loss);
    add_edge(u, target, loss);
    add_edge(u, loss, value);
    return value;
}

static size_t add_step(struct unrolling *u, int64_t step)
{
    if (has_input(&u->fold))
        u->input = add_node(u, BPTT_ROLE_INPUT, step, input_name(u->fold.cell), "");
    add_operators(u, step);
    size_t output = add_states(u, step), loss = add_head(u, step, output);
    for (int s = 0; s < u->fold.cell->states; s++)
        u->before[s] = u->state[s];
    return loss;
}

static int add_steps(struct unrolling *u, int64_t steps)
{
    size_t loss[BPTT_GRAPH_STEPS];
    int status = add_weights(u);
    if (status)
        return status;
    for (int s = 0; s < u->fold.cell->states; s++)
        u->before[s] = add_node(u, BPTT_ROLE_INITIAL, 0, u->fold.cell->state[s].name, "");
    for (int64_t t = 1; t <= steps; t++)
        loss[t - 1] = add_step(u, t);
    size_t mean = add_node(u, BPTT_ROLE_MEAN, 0, "mean", ""), total = add_node(u, BPTT_ROLE_TOTAL, 0, "L", "");
    for (int64_t t = 0; t < steps; t++)
        add_edge(u, loss[t], mean);
    add_edge(u, mean, total);
    return BPTT_OK;
}

/* ---- cuts ---- */

static int walk(struct unrolling *u, const struct strategy *strategy, long steps, uint64_t seed, bptt_compare_strategy *pieces)
{
    struct axis axis = {.steps = steps, .block = 1, .record_bytes = 1, .state_bytes = 1};
    struct schedule schedule = {0};
    struct layout layout;
    size_t smallest;
    int status = schedule_fit(strategy, &axis, SIZE_MAX, 0, &layout, &smallest);
    if (!status)
        status = schedule_new(&schedule, strategy, &axis, &layout, u->error);
    if (!status) {
        schedule_start(&schedule, steps, random_open(seed, RANDOM_TRUNCATION, 0), 0);
        status = figure_walk(&schedule, pieces, u->error);
    }
    schedule_free(&schedule);
    return status;
}

/* Whether the gradient of some loss crosses the link before step t. */
static int is_crossed(const bptt_graph *graph, int64_t t)
{
    for (size_t i = 0; i < graph->pieces; i++)
        if (graph->piece[i].from <= t && t < graph->piece[i].to)
            return 1;
    return 0;
}

/* Steps of pieces count from 1 and their last one belongs to them. */
static int keep_pieces(struct unrolling *u, const bptt_compare_strategy *from)
{
    bptt_graph *g = u->graph;
    g->piece = arena_alloc(&u->arena, (from->pieces + 1) * sizeof *g->piece);
    if (!g->piece)
        return fail_memory(u->error, from->pieces * sizeof *g->piece);
    g->pieces = from->pieces;
    for (size_t i = 0; i < from->pieces; i++)
        g->piece[i] = (bptt_graph_piece){from->piece[i].from + 1, from->piece[i].losses + 1, from->piece[i].to};
    for (int64_t t = 1; t < g->steps; t++)
        g->link[t - 1] = from->link ? from->link[t] : is_crossed(g, t);
    return BPTT_OK;
}

static int find_cuts(struct unrolling *u, const bptt_graph_options *options)
{
    enum { STRATEGY_TEXT = 1600 };
    char text[STRATEGY_TEXT];
    bptt_compare_strategy pieces = {0};
    struct strategy strategy;
    long steps = (long)options->steps;
    for (long t = 0; t < steps; t++)
        u->graph->link[t] = 1;
    u->graph->gradient = "";
    int status = strategy_parse(options->gradient, &strategy, u->error);
    if (!status)
        status = strategy_check(&strategy, steps, u->error);
    if (status || strategy.kind == STRATEGY_FULL)
        return status;
    strategy_text(&strategy, text, sizeof text);
    u->graph->gradient = keep(u, text);
    if (!strategy_is_forward(&strategy))
        status = walk(u, &strategy, steps, options->seed, &pieces);
    if (!status && pieces.pieces)
        status = keep_pieces(u, &pieces);
    free(pieces.piece);
    free(pieces.link);
    return status;
}

int bptt_graph_unroll(const bptt_cell *cell, const bptt_graph_options *options, bptt_graph *graph, bptt_error *error)
{
    struct unrolling u = {.graph = graph, .error = error};
    *graph = (bptt_graph){.steps = options->steps, .detail = options->detail};
    if (options->steps < 1 || options->steps > BPTT_GRAPH_STEPS)
        return fail(error, BPTT_ERROR_ARGUMENT, "a graph is unrolled over 1 to %d steps, not %lld", BPTT_GRAPH_STEPS,
                    (long long)options->steps);
    graph->cell = keep(&u, cell->name);
    int status = fold_cell(cell, options->detail, &u.arena, &u.fold, error);
    if (!status)
        status = make_room(&u, options->steps);
    if (!status)
        status = add_steps(&u, options->steps);
    if (!status)
        status = find_cuts(&u, options);
    if (!status && u.failed)
        status = fail_memory(error, 0);
    graph->memory = u.arena.last;
    if (status)
        bptt_graph_clear(graph);
    return status;
}

void bptt_graph_clear(bptt_graph *graph)
{
    struct arena arena = {.last = graph->memory};
    arena_free(&arena);
    *graph = (bptt_graph){0};
}
