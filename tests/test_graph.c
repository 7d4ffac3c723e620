// link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
/* test_graph.c - cells unrolled: what is counted as an operator, edges through time and from parameters, cuts; and the
 * drawing: every line one level high, no two nodes on one spot, all within the picture; for every cell of the zoo. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/study/picture.h"
#include "../src/study/place.h"
#include "tap.h"

/* ---- allocations that fail when told to ---- */

static long calls, fails_at;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

static int fails(void) { return ++calls == fails_at; }

void *__wrap_malloc(size_t bytes) { return fails() ? NULL : __real_malloc(bytes); }

void *__wrap_calloc(size_t count, size_t bytes) { return fails() ? NULL : __real_calloc(count, bytes); }

void *__wrap_realloc(void *memory, size_t bytes) { return fails() ? NULL : __real_realloc(memory, bytes); }

/* ---- graphs to look at; the cell does not outlive its unrolling ---- */

static bptt_graph unrolled(const char *name, int64_t steps, int detail, const char *gradient)
{
    bptt_graph_options options = bptt_graph_defaults();
    bptt_graph graph = {0};
    bptt_cell *cell = NULL;
    bptt_error error = {0};
    options.steps = steps;
    options.detail = detail;
    options.gradient = gradient;
    int status = strchr(name, '\n') ? bptt_cell_parse(name, "text", &cell, &error) : bptt_cell_open(name, &cell, &error);
    if (status || bptt_graph_unroll(cell, &options, &graph, &error))
        tap_ok(0, "%s is unrolled: %s", name, error.text);
    bptt_cell_free(cell);
    return graph;
}

static size_t count_role(const bptt_graph *graph, int role, int64_t step)
{
    size_t count = 0;
    for (size_t n = 0; n < graph->nodes; n++)
        count += graph->node[n].role == role && graph->node[n].step == step;
    return count;
}

static size_t count_edges(const bptt_graph *graph, int from, int to)
{
    size_t count = 0;
    for (size_t i = 0; i < graph->edges; i++)
        count += graph->node[graph->edge[i].from].role == from && graph->node[graph->edge[i].to].role == to;
    return count;
}

/* The signs of a step's operators and what each parameter node holds, in their order. */
static void describe(const bptt_graph *graph, char *text, size_t size)
{
    size_t used = 0;
    text[0] = '\0';
    for (size_t n = 0; n < graph->nodes && used < size; n++) {
        const bptt_graph_node *node = &graph->node[n];
        if (node->role == BPTT_ROLE_WEIGHTS || (node->role == BPTT_ROLE_OPERATION && node->step == 1))
            used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " | " : "", node->name);
    }
}

/* ---- what is in a graph ---- */

static void test_chapter(void)
{
    bptt_graph graph = unrolled("rnn", 3, 0, NULL);
    tap_ok(count_role(&graph, BPTT_ROLE_WEIGHTS, 0) == 1 && count_role(&graph, BPTT_ROLE_HEAD_WEIGHTS, 0) == 1,
           "rnn: w_h and w_o, once");
    tap_ok(count_edges(&graph, BPTT_ROLE_WEIGHTS, BPTT_ROLE_OPERATION) == 3, "w_h enters every f");
    tap_ok(count_edges(&graph, BPTT_ROLE_HEAD_WEIGHTS, BPTT_ROLE_HEAD) == 3, "w_o enters every g");
    tap_ok(count_edges(&graph, BPTT_ROLE_INITIAL, BPTT_ROLE_OPERATION) == 1, "the first state enters the first f");
    tap_ok(count_edges(&graph, BPTT_ROLE_STATE, BPTT_ROLE_OPERATION) == 2, "the others the next one");
    tap_ok(count_edges(&graph, BPTT_ROLE_STEP_LOSS, BPTT_ROLE_MEAN) == 3, "all losses make the mean");
    tap_ok(graph.nodes == 3 + 3 * 8 + 2 && graph.edges == 3 * 10 + 3 + 1, "27 nodes more and no edge twice: %zu, %zu",
           graph.nodes, graph.edges);
    for (size_t i = 0; i < graph.edges; i++)
        if (graph.edge[i].to != graph.nodes - 1 && graph.edge[i].from >= graph.nodes - 1)
            tap_ok(0, "edge %zu leaves L", i);
    bptt_graph_clear(&graph);
}

static void test_folding(void)
{
    static const char *const want[][2] = {
        {"rnn", "W, U, b | tanh"},
        {"lstm", "W_i, U_i, b_i | W_f, U_f, b_f | W_g, U_g, b_g | W_o, U_o, b_o | σ | σ | tanh | σ | × | × | + | tanh | ×"},
        {"gru", "W_r, b_r, U_r, c_r | W_z, b_z, U_z, c_z | W_n, b_n | U_n, c_n | σ | σ | Σ | × | tanh | 1− | × | × | +"},
        {"indrnn", "u, W, b | relu"},
        {"cell d\ninput x\nstate h, p\np' = h\nh' = 2 * tanh(W x + p)\n", "W | tanh | 2× | ="},
    };
    char text[400];
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        bptt_graph graph = unrolled(want[i][0], 1, 1, NULL);
        describe(&graph, text, sizeof text);
        tap_text(text, want[i][1], "operators of %.6s", want[i][0]);
        bptt_graph_clear(&graph);
    }
}

static void test_output(void)
{
    bptt_graph graph = unrolled("sru", 2, 1, NULL);
    tap_ok(count_role(&graph, BPTT_ROLE_OUTPUT, 2) == 1 && count_edges(&graph, BPTT_ROLE_OUTPUT, BPTT_ROLE_HEAD) == 2,
           "an output that is no state enters the output layer");
    bptt_graph_clear(&graph);
    graph = unrolled("lem", 2, 0, NULL);
    tap_ok(count_edges(&graph, BPTT_ROLE_STATE, BPTT_ROLE_HEAD) == 2, "one that is a state is not drawn twice");
    int is_renamed = 0;
    for (size_t n = 0; n < graph.nodes; n++)
        is_renamed |= graph.node[n].role == BPTT_ROLE_TARGET && !strcmp(graph.node[n].name, "target");
    tap_ok(is_renamed, "a state y takes its name from the target");
    bptt_graph_clear(&graph);
}

static void test_cuts(void)
{
    bptt_graph graph = unrolled("rnn", 5, 0, "segments:2");
    tap_ok(graph.link[0] == 1 && graph.link[1] == 0 && graph.link[2] == 1 && graph.link[3] == 0,
           "segments:2 cuts after steps 2 and 4");
    tap_ok(graph.pieces == 3 && graph.piece[2].from == 5 && graph.piece[2].to == 5, "three pieces");
    bptt_graph_clear(&graph);
    graph = unrolled("rnn", 3, 0, "truncated:1,2");
    tap_ok(graph.pieces == 3 && graph.piece[2].losses == 3 && graph.piece[2].from == 2,
           "truncated:1,2: the last loss reaches back to step 2");
    tap_ok(graph.link[0] == 1 && graph.link[1] == 1, "and every link is crossed by some loss");
    bptt_graph_clear(&graph);
    graph = unrolled("rnn", 32, 0, "random:0.5");
    int kept = 0, cut = 0;
    for (int t = 0; t < 31; t++) {
        kept += graph.link[t] == 2;
        cut += graph.link[t] == 0;
    }
    tap_ok(kept + cut == 31 && kept && cut, "random:0.5: links cut or doubled (%d, %d)", cut, kept);
    bptt_graph_clear(&graph);
    graph = unrolled("rnn", 3, 0, "rtrl");
    tap_ok(graph.pieces == 0 && graph.link[0] == 1 && !strcmp(graph.gradient, "rtrl"), "forward mode cuts nothing");
    bptt_graph_clear(&graph);
}

/* ---- how it is drawn ---- */

static double half_width(const bptt_graph *graph, const struct placing *p, size_t n)
{
    return graph->node[n].kind == BPTT_OPERATOR ? OPERATOR_RADIUS : p->spot[n].width / 2;
}

static double half_height(const bptt_graph *graph, size_t n)
{
    return graph->node[n].kind == BPTT_OPERATOR ? OPERATOR_RADIUS : BOX_HEIGHT / 2.0;
}

static int overlaps(const bptt_graph *graph, const struct placing *p)
{
    int count = 0;
    for (size_t a = 0; a < graph->nodes; a++)
        for (size_t b = 0; b < a; b++) {
            double wide = half_width(graph, p, a) + half_width(graph, p, b),
                   high = half_height(graph, a) + half_height(graph, b);
            count += fabs(p->spot[a].x - p->spot[b].x) < wide && fabs(p->spot[a].y - p->spot[b].y) < high;
        }
    return count;
}

static int outside(const bptt_graph *graph, const struct placing *p)
{
    int count = 0;
    for (size_t n = 0; n < graph->nodes; n++) {
        double wide = half_width(graph, p, n), high = half_height(graph, n);
        count += !(p->spot[n].x - wide > 0 && p->spot[n].x + wide < p->width && p->spot[n].y - high > 0 &&
                   p->spot[n].y + high <= p->height);
    }
    return count;
}

static int wrong_lines(const struct placing *p)
{
    int count = 0;
    for (int i = 0; i < p->lines; i++) {
        const struct line *line = &p->line[i];
        count += p->item[line->to].level != p->item[line->from].level + 1 || !(fabs(line->turn) <= 80);
    }
    return count;
}

/* Bends are items too: a line does not run through a node. Feet of states are outside of the block. */
static int crowded(const struct placing *p)
{
    int count = 0;
    for (int a = 0; a < p->items; a++)
        for (int b = 0; b < a; b++) {
            const struct item *i = &p->item[a], *k = &p->item[b];
            int is_outside = (i->foot && p->graph->node[i->node].role == BPTT_ROLE_INITIAL) ||
                             (k->foot && p->graph->node[k->node].role == BPTT_ROLE_INITIAL);
            count += i->level == k->level && !is_outside && fabs(i->x - k->x) < i->half + k->half;
        }
    return count;
}

/* Whether a node other than an edge's ends lies on the straight way from (x, y) to (to_x, to_y), one of both being the same. */
static int is_blocked(const bptt_graph *graph, const struct placing *p, const bptt_graph_edge *edge, struct spot from, struct spot to)
{
    double left = fmin(from.x, to.x), right = fmax(from.x, to.x), top = fmin(from.y, to.y), bottom = fmax(from.y, to.y);
    for (size_t n = 0; n < graph->nodes; n++) {
        double wide = half_width(graph, p, n), high = half_height(graph, n);
        if (n != edge->from && n != edge->to && p->spot[n].x + wide > left && p->spot[n].x - wide < right &&
            p->spot[n].y + high > top && p->spot[n].y - high < bottom)
            return 1;
    }
    return 0;
}

/* In detail: from an operator to the state beside it, and from a state down to the level of an operator of the next step. */
static int blocked(const bptt_graph *graph, const struct placing *p)
{
    int count = 0;
    for (size_t i = 0; i < graph->edges && graph->detail; i++) {
        const bptt_graph_edge *edge = &graph->edge[i];
        const struct spot from = p->spot[edge->from], to = p->spot[edge->to];
        int left = graph->node[edge->from].role, right = graph->node[edge->to].role;
        if (right == BPTT_ROLE_STATE || right == BPTT_ROLE_OUTPUT)
            count += is_blocked(graph, p, edge, (struct spot){.x = from.x, .y = to.y}, to);
        if ((left == BPTT_ROLE_STATE || left == BPTT_ROLE_INITIAL) && right == BPTT_ROLE_OPERATION)
            count += is_blocked(graph, p, edge, from, (struct spot){.x = from.x, .y = to.y});
    }
    return count;
}

/* Differences and quotients of operators whose first operand's line ends right of the second's. */
static int wrong_way(const struct placing *p)
{
    int count = 0;
    for (int i = 0; i + 1 < p->lines; i++) {
        const struct line *first = &p->line[i];
        const char *sign = p->graph->node[p->item[first->to].node].name;
        int reads = !p->item[first->to].is_bend && !p->item[first->from].foot && (!strcmp(sign, "−") || !strcmp(sign, "÷"));
        for (int k = i + 1; k < p->lines && reads; k++)
            count += p->line[k].to == first->to && p->line[k].turn < first->turn;
    }
    return count;
}

static void look_at(const char *name, int64_t steps, int detail)
{
    bptt_graph graph = unrolled(name, steps, detail, NULL);
    struct arena arena = {0};
    struct placing p;
    bptt_error error = {0};
    int status = place_graph(&graph, &arena, &p, &error);
    int bad = status ? 1 : overlaps(&graph, &p) + outside(&graph, &p) + wrong_lines(&p) + crowded(&p) + blocked(&graph, &p) + wrong_way(&p);
    tap_ok(!bad, "%.8s over %lld steps%s: nodes and lines have room", name, (long long)steps, detail ? ", in detail" : "");
    if (bad && !status)
        tap_note("%d overlaps, %d outside, %d wrong lines, %d crowded, %d blocked, %d reversed", overlaps(&graph, &p), outside(&graph, &p),
                 wrong_lines(&p), crowded(&p), blocked(&graph, &p), wrong_way(&p));
    arena_free(&arena);
    bptt_graph_clear(&graph);
}

static void test_places(void)
{
    for (size_t i = 0; i < bptt_cell_count(); i++) {
        look_at(bptt_cell_name(i), 3, 0);
        look_at(bptt_cell_name(i), 2, 1);
    }
    look_at("rnn", 1, 0);
    look_at("cell k\ninput x\nstate h\nh' = 1\n", 3, 1);
    look_at("cell d\ninput x\nstate a, b, c\nb' = a\nc' = b\na' = tanh(W x + c)\n", 3, 1);
}

/* The best order is found where one without crossings exists. */
static void test_straight(void)
{
    bptt_graph graph = unrolled("rnn", 3, 0, NULL);
    struct arena arena = {0};
    struct placing p;
    if (!tap_ok(place_graph(&graph, &arena, &p, NULL) == BPTT_OK, "rnn is placed"))
        return;
    const struct spot *x = NULL, *f = NULL;
    for (size_t n = 0; n < graph.nodes; n++) {
        x = graph.node[n].role == BPTT_ROLE_INPUT ? &p.spot[n] : x;
        f = graph.node[n].role == BPTT_ROLE_OPERATION ? &p.spot[n] : f;
    }
    tap_ok(x && f && fabs(x->x - f->x) < 1, "x stands below f"); /* the tap beside it has a small weight */
    arena_free(&arena);
    bptt_graph_clear(&graph);
}

/* ---- texts ---- */

static void test_escape(void)
{
    struct text out = {0};
    picture_escape("a<b>&\"c", 7, &out);
    tap_text(out.data, "a&lt;b&gt;&amp;&quot;c", "names are escaped");
    text_free(&out);
}

static void test_bad(void)
{
    bptt_graph graph = unrolled("rnn", 2, 0, NULL), none;
    bptt_graph_options options = bptt_graph_defaults();
    bptt_cell *cell = NULL;
    bptt_error error = {0};
    char *text = NULL;
    tap_ok(bptt_graph_draw(&graph, "png", 0, &text, &error) == BPTT_ERROR_ARGUMENT && !text, "no such form: %s", error.text);
    bptt_graph_clear(&graph);
    bptt_graph_clear(&graph);
    tap_ok(bptt_cell_open("rnn", &cell, NULL) == BPTT_OK, "a cell");
    for (int64_t steps = -1; steps < 100; steps += 33 + (steps < 0) * 33) {
        options.steps = steps;
        int good = steps >= 1 && steps <= BPTT_GRAPH_STEPS;
        tap_ok((bptt_graph_unroll(cell, &options, &none, NULL) == BPTT_OK) == good, "%lld steps", (long long)steps);
        bptt_graph_clear(&none);
    }
    options = bptt_graph_defaults();
    options.gradient = "segments:4";
    error = (bptt_error){0};
    tap_ok(bptt_graph_unroll(cell, &options, &none, &error) == BPTT_ERROR_ARGUMENT && !none.memory, "a cut beyond the end: %s",
           error.text);
    bptt_cell_free(cell);
}

static int draw_all(const bptt_cell *cell)
{
    static const char *const form[] = {"svg", "dot", "text"};
    bptt_graph_options options = bptt_graph_defaults();
    bptt_graph graph = {0};
    options.detail = 1;
    options.gradient = "truncated:1,2";
    int status = bptt_graph_unroll(cell, &options, &graph, NULL);
    for (int i = 0; i < 3 && !status; i++) {
        char *text = NULL;
        status = bptt_graph_draw(&graph, form[i], 80, &text, NULL);
        bptt_free(text);
    }
    bptt_graph_clear(&graph);
    return status;
}

static void test_memory(void)
{
    bptt_cell *cell = NULL;
    long failures = 0;
    int status = bptt_cell_open("lstm", &cell, NULL);
    for (int done = 0; !status && !done; failures++) {
        calls = 0;
        fails_at = failures + 1;
        int drawn = draw_all(cell);
        done = calls < fails_at;
        status = done ? drawn : drawn == BPTT_ERROR_MEMORY ? BPTT_OK : BPTT_ERROR_ARGUMENT;
    }
    fails_at = 0;
    tap_ok(status == BPTT_OK && failures > 5, "each of %ld allocations may fail", failures - 1);
    bptt_cell_free(cell);
}

int main(void)
{
    test_chapter();
    test_folding();
    test_output();
    test_cuts();
    test_places();
    test_straight();
    test_escape();
    test_bad();
    test_memory();
    return tap_done();
}
