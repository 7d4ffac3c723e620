/* graph.h - the form that all stages of the cell compiler share: one time step of a cell as a list of operations.
 *
 * A node is a vector per batch row (or a single number, width 1, which broadcasts). Nodes stand in topological order, so an
 * index below a node's own is always computed before it. Three graphs of a cell are kept: forward (the equations),
 * backward (its reverse derivative: adjoints from adjoints and recorded values) and tangent (its forward derivative).
 * What a graph yields leaves through its sinks. */
#ifndef BPTT_CELL_GRAPH_H
#define BPTT_CELL_GRAPH_H

#include "../base/arena.h"
#include "../base/error.h"
#include "../base/text.h"

enum op {
#define STRUCTURAL(name, text) OP_##name,
#define ELEMENTWISE(name, text, operands, value, vector, da, db) OP_##name,
#include "ops.def"
#undef STRUCTURAL
#undef ELEMENTWISE
    OP_COUNT
};

struct op_row {
    const char *name, *text;
    int operands;                          /* elementwise: 1 or 2; structural: 0 */
    const char *vector, *derivative[2];    /* elementwise only */
};
extern const struct op_row op_table[OP_COUNT];
static inline int op_is_elementwise(enum op op) { return op_table[op].operands > 0; }
static inline int op_is_product(enum op op) { return op == OP_PRODUCT || op == OP_PRODUCT_T; }
/* A leaf is given to the graph, not computed by it. A cheap operation costs less than reading its result from memory. */
static inline int op_is_leaf(enum op op) { return op < OP_PRODUCT; }
int op_is_cheap(enum op op);

/* ---- sizes: H, I, numbers, named ones, and arithmetic over them ---- */
enum { DIM_ONE = 0, DIM_H = 1, DIM_I = 2, DIM_NONE = -1 };
enum dim_kind { DIM_KIND_NUMBER, DIM_KIND_SYMBOL, DIM_KIND_EXPRESSION };
struct dimension {
    enum dim_kind kind;
    const char *name;                      /* symbol: H, I, or a declared one */
    char operator;                         /* expression; a declared symbol's default is dimension a */
    int a, b;
    long value;                            /* number */
};

struct node {
    enum op op;
    int a, b;                              /* operands, or -1; of a product: a is the PARAM node */
    int leaf;                              /* which state, parameter, or recorded forward node; reverse products: derive.c */
    double value;                          /* CONST */
    int dim;                               /* width; of a matrix PARAM: its rows */
    int place;                             /* offset in the cell's text, or -1 */
    const char *name;                      /* as the text names it, or NULL */
};

enum sink_kind {
    SINK_NEXT,                             /* forward, tangent: state `index` at t */
    SINK_OUTPUT,                           /* forward, tangent: y_t */
    SINK_DSTATE,                           /* backward: dL/ds_{t-1} of state `index` */
    SINK_DINPUT,                           /* backward: dL/dx_t */
    SINK_OUTER,                            /* backward: dL/dW of matrix `index` += left right^T */
    SINK_ROWS                              /* backward: dL/db of vector `index` += left, summed over rows */
};
struct sink { enum sink_kind kind; int index, left, right; int place; };   /* place: of an assignment, or -1 */

struct graph {
    struct node *node;
    int count, capacity;
    struct sink *sink;
    int sinks, sink_capacity;
    struct arena *arena;
    int failed;                            /* out of memory: sticky, tested by graph_ok */
    struct node spare;                     /* node 0 when there was no memory for a first one */
};

enum start_kind { START_DEFAULT, START_NUMBER, START_UNIFORM, START_NORMAL, START_ORTHOGONAL, START_IDENTITY };
struct parameter {
    const char *name;
    int rows, columns;                     /* dims; columns DIM_NONE for a vector */
    int blocks;                            /* block-diagonal: number of blocks; else 1 */
    enum start_kind start;
    double low, high;                      /* UNIFORM; NUMBER: low; NORMAL: high is the deviation */
    int on_state;                          /* a matrix applied to something that depends on a state */
    int place;
};
struct state { const char *name; int dim; double start; int place; };

/* ---- building: every constructor simplifies (constants, neutral elements, equal nodes are one) and returns the node ---- */
int graph_leaf(struct graph *graph, enum op op, int leaf, int dim, const char *name, int place);
int graph_const(struct graph *graph, double value);
int graph_op(struct graph *graph, enum op op, int a, int b);       /* elementwise; b -1 with one operand */
int graph_product(struct graph *graph, enum op op, int param, int vector, int dim);
int graph_sum(struct graph *graph, int a);
int graph_broadcast(struct graph *graph, int a, int dim);          /* a itself if it has that width */
void graph_sink(struct graph *graph, enum sink_kind kind, int index, int left, int right);
int graph_raw(struct graph *graph, struct node node);              /* as given, nothing simplified: the parser's form */
int graph_is_const(const struct graph *graph, int node, double value);
int graph_ok(const struct graph *graph, bptt_error *error);
/* For each node: 1 if some sink depends on it. `live` has count entries. */
void graph_live(const struct graph *graph, char *live);

/* Takes out the nodes that no sink depends on; numbers change, order stays. */
int graph_compact(struct graph *graph, bptt_error *error);

#endif
