/* graph.c - bptt graph: the computational graph of a cell, unrolled over steps: in the terminal, as SVG, for Graphviz. */
#include <bptt.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "say.h"
#include "terminal.h"

struct graph_values {
    bptt_graph_options options;
    const char *svg, *dot;
    int json, quiet;
};
#define AT(field) offsetof(struct graph_values, field)

static const struct option options[] = {
    {"Graph", "steps", OPTION_COUNT, AT(options.steps), "N", .help = "time steps", .low = 1, .high = BPTT_GRAPH_STEPS},
    {"Graph", "detail", OPTION_FLAG, AT(options.detail), .help = "the cell's own operations in each step, not f alone"},
    {"Graph", "gradient", OPTION_TEXT, AT(options.gradient), "STRATEGY",
     .help = "show where it cuts the gradient: segments:K, truncated:k1,k2, random:P, ...; docs/strategies.md tells them apart",
     .zero = "full"},
    {"Graph", "seed", OPTION_SEED, AT(options.seed), "N", .help = "of random links"},
    {"Reports", "svg", OPTION_TEXT, AT(svg), "FILE", .help = "the graph as a picture in a file", .zero = "none"},
    {"Reports", "dot", OPTION_TEXT, AT(dot), "FILE", .help = "the graph for Graphviz in a file", .zero = "none"},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "nodes and edges as one JSON object"},
    {"Reports", "quiet", OPTION_FLAG, AT(quiet), .help = "files alone, nothing in the terminal"},
    {0},
};

/* ---- JSON ---- */

static void emit_node(struct emit *emit, size_t number, const bptt_graph_node *node)
{
    static const char *const kind[] = {
        [BPTT_VARIABLE] = "variable", [BPTT_PARAMETER] = "parameter", [BPTT_OPERATOR] = "operator"};
    emit_open(emit, NULL, '{');
    emit_whole(emit, "id", (int64_t)number);
    emit_text(emit, "kind", kind[node->kind]);
    emit_text(emit, "name", node->name);
    emit_text(emit, "about", node->about);
    emit_whole(emit, "step", node->step);
    emit_close(emit, '}');
}

static void emit_edge(struct emit *emit, const bptt_graph_edge *edge)
{
    emit_open(emit, NULL, '{');
    emit_whole(emit, "from", (int64_t)edge->from);
    emit_whole(emit, "to", (int64_t)edge->to);
    emit_close(emit, '}');
}

static void emit_piece(struct emit *emit, const bptt_graph_piece *piece)
{
    emit_open(emit, NULL, '{');
    emit_whole(emit, "from", piece->from);
    emit_whole(emit, "losses", piece->losses);
    emit_whole(emit, "to", piece->to);
    emit_close(emit, '}');
}

static void emit_graph(const bptt_graph *graph)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_text(&emit, "cell", graph->cell);
    emit_whole(&emit, "steps", graph->steps);
    emit_text(&emit, "gradient", *graph->gradient ? graph->gradient : "full");
    emit_open(&emit, "nodes", '[');
    for (size_t i = 0; i < graph->nodes; i++)
        emit_node(&emit, i, &graph->node[i]);
    emit_close(&emit, ']');
    emit_open(&emit, "edges", '[');
    for (size_t i = 0; i < graph->edges; i++)
        emit_edge(&emit, &graph->edge[i]);
    emit_close(&emit, ']');
    emit_open(&emit, "links", '[');
    for (int64_t t = 1; t < graph->steps; t++)
        emit_number(&emit, NULL, graph->link[t - 1]);
    emit_close(&emit, ']');
    emit_open(&emit, "pieces", '[');
    for (size_t i = 0; i < graph->pieces; i++)
        emit_piece(&emit, &graph->piece[i]);
    emit_close(&emit, ']');
    emit_close(&emit, '}');
}

/* ---- the command ---- */

static int write_file(const bptt_graph *graph, const char *form, const char *path, bptt_error *error)
{
    char *text = NULL;
    int status = path ? bptt_graph_draw(graph, form, 0, &text, error) : BPTT_OK;
    if (!text)
        return status;
    FILE *file = fopen(path, "w");
    int good = file && fputs(text, file) >= 0;
    good = file && fclose(file) == 0 && good;
    if (!good)
        snprintf(error->text, sizeof error->text, "%s: cannot write the picture: %s", path, strerror(errno));
    bptt_free(text);
    return good ? BPTT_OK : (error->code = BPTT_ERROR_FILE);
}

static int print_graph(const bptt_cell *cell, const bptt_graph *graph, bptt_error *error)
{
    char *picture = NULL, *equations = NULL;
    int status = bptt_graph_draw(graph, "text", terminal_width(stdout), &picture, error);
    if (status == BPTT_OK && graph->detail)
        status = bptt_cell_print(cell, "equations", &equations, error);
    if (status == BPTT_OK)
        printf("%s%s%s", picture, equations ? "\nIn a step, f is\n" : "", equations ? equations : "");
    bptt_free(picture);
    bptt_free(equations);
    return status;
}

static int show(const bptt_cell *cell, const bptt_graph *graph, const struct graph_values *values, bptt_error *error)
{
    int status = write_file(graph, "svg", values->svg, error);
    if (status == BPTT_OK)
        status = write_file(graph, "dot", values->dot, error);
    if (status != BPTT_OK || (values->quiet && !values->json))
        return status;
    if (values->json)
        emit_graph(graph);
    else
        status = print_graph(cell, graph, error);
    return status;
}

static int graph(const struct command *command, int argc, char **argv)
{
    struct graph_values values = {.options = bptt_graph_defaults()};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    bptt_error error = {0};
    bptt_cell *cell = NULL;
    bptt_graph unrolled = {0};
    int status = bptt_cell_open(parsed.arguments[0], &cell, &error);
    if (status == BPTT_OK)
        status = bptt_graph_unroll(cell, &values.options, &unrolled, &error);
    if (status == BPTT_OK)
        status = show(cell, &unrolled, &values, &error);
    bptt_graph_clear(&unrolled);
    bptt_cell_free(cell);
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command graph_command = {
    .name = "graph",
    .arguments = "NAME|FILE",
    .least = 1,
    .most = 1,
    .summary = "the computational graph of a cell, unrolled over steps",
    .about =
        "Draws a cell unrolled over some steps, with an output layer and the loss: variables as boxes, parameters as shaded "
        "boxes that all steps share, operators as circles, and where a strategy cuts the gradient.",
    .examples = "  bptt graph rnn\n"
                "  bptt graph lstm --detail --svg lstm.svg\n"
                "  bptt graph gru --steps 6 --gradient truncated:2,4 --svg gru.svg\n"
                "  bptt graph mine.cell --quiet --dot /dev/stdout | dot -Tpdf > mine.pdf\n",
    .options = options,
    .run = graph,
};
