/* shape.c - finds the width of every value by unification: each value starts with an unknown width, each operation says
 * which widths are equal, and what stays unknown at the end is H. */
#include <string.h>

#include "cell.h"

/* A width variable: a link to another one, or a dimension once known. */
struct width { int link, dim; };

struct shapes {
    struct bptt_cell *cell;
    struct width *width;
    int count;
    int *node_width;                       /* by raw node */
    int *rows, *columns;                   /* by parameter: width variables */
    bptt_error *error;
};

static int root(struct shapes *s, int w)
{
    while (s->width[w].link != w)
        w = s->width[w].link;
    return w;
}

static int known(struct shapes *s, int w)
{
    return s->width[root(s, w)].dim;
}

static int fresh(struct shapes *s, int dim)
{
    s->width[s->count] = (struct width){s->count, dim};
    return s->count++;
}

static int unify(struct shapes *s, int a, int b, int place, const char *what)
{
    a = root(s, a);
    b = root(s, b);
    if (a == b)
        return BPTT_OK;
    int da = s->width[a].dim, db = s->width[b].dim;
    if (da >= 0 && db >= 0 && da != db) {
        char left[96], right[96];
        return cell_fail(s->cell, place, s->error, "shapes do not fit: %s [%s] and [%s]", what,
                         cell_dim_text(s->cell, da, left, sizeof left), cell_dim_text(s->cell, db, right, sizeof right));
    }
    s->width[a].link = b;
    if (da >= 0)
        s->width[b].dim = da;
    return BPTT_OK;
}

static int infer_elementwise(struct shapes *s, int i)
{
    const struct node *node = &s->cell->raw.node[i];
    int a = s->node_width[node->a], b = node->b >= 0 ? s->node_width[node->b] : a;
    s->node_width[i] = known(s, a) == DIM_ONE ? b : a;
    if (known(s, a) == DIM_ONE || known(s, b) == DIM_ONE)
        return BPTT_OK;
    return unify(s, a, b, node->place, "this takes two values of the same width, not");
}

static int infer_product(struct shapes *s, int i)
{
    const struct node *node = &s->cell->raw.node[i];
    int param = s->cell->raw.node[node->a].leaf, forward = node->op == OP_PRODUCT;
    s->node_width[i] = forward ? s->rows[param] : s->columns[param];
    return unify(s, forward ? s->columns[param] : s->rows[param], s->node_width[node->b], node->place,
                 "the matrix meets a value of another width,");
}

static int infer_node(struct shapes *s, int i)
{
    const struct node *node = &s->cell->raw.node[i];
    switch (node->op) {
    case OP_INPUT: s->node_width[i] = fresh(s, DIM_I); return BPTT_OK;
    case OP_STATE: s->node_width[i] = fresh(s, node->dim); return BPTT_OK;
    case OP_PARAM: s->node_width[i] = s->rows[node->leaf]; return BPTT_OK;
    case OP_PRODUCT: case OP_PRODUCT_T: return infer_product(s, i);
    case OP_CONST: case OP_SIZE: case OP_SUM: s->node_width[i] = fresh(s, DIM_ONE); return BPTT_OK;
    default: return infer_elementwise(s, i);
    }
}

static int infer_sinks(struct shapes *s)
{
    const struct graph *raw = &s->cell->raw;
    for (int i = 0; i < raw->sinks; i++) {
        const struct sink *sink = &raw->sink[i];
        int w = s->node_width[sink->left];
        if (sink->kind != SINK_NEXT || known(s, w) == DIM_ONE)
            continue;                      /* a single number is spread over the state */
        int state = fresh(s, s->cell->state[sink->index].dim);
        int status = unify(s, w, state, sink->place, "the state and its next value,");
        if (status)
            return status;
    }
    return BPTT_OK;
}

static int resolved(struct shapes *s, int w)
{
    return known(s, w) < 0 ? DIM_H : known(s, w);
}

static void store(struct shapes *s)
{
    struct bptt_cell *cell = s->cell;
    for (int i = 0; i < cell->raw.count; i++)
        cell->raw.node[i].dim = resolved(s, s->node_width[i]);
    for (int i = 0; i < cell->params; i++) {
        cell->param[i].rows = resolved(s, s->rows[i]);
        cell->param[i].columns = s->columns[i] < 0 ? DIM_NONE : resolved(s, s->columns[i]);
    }
}

/* A declared matrix has its columns; an inferred one has DIM_ONE there and no rows yet (see parse.c). */
static void start_parameters(struct shapes *s)
{
    for (int i = 0; i < s->cell->params; i++) {
        const struct parameter *param = &s->cell->param[i];
        int inferred = param->rows == DIM_NONE;
        s->rows[i] = fresh(s, param->rows);
        s->columns[i] = param->columns == DIM_NONE ? -1 : fresh(s, inferred ? DIM_NONE : param->columns);
    }
}

int cell_infer_shapes(struct bptt_cell *cell, bptt_error *error)
{
    size_t variables = (size_t)cell->raw.count + 2 * (size_t)cell->params + (size_t)cell->raw.sinks;
    struct shapes s = {
        .cell = cell,
        .error = error,
        .width = arena_alloc(&cell->arena, variables * sizeof(struct width)),
        .node_width = arena_alloc(&cell->arena, (size_t)cell->raw.count * sizeof(int)),
        .rows = arena_alloc(&cell->arena, (size_t)cell->params * sizeof(int) + 1),
        .columns = arena_alloc(&cell->arena, (size_t)cell->params * sizeof(int) + 1),
    };
    if (!s.width || !s.node_width || !s.rows || !s.columns)
        return fail_memory(error, variables * sizeof(struct width));
    start_parameters(&s);
    for (int i = 0; i < cell->raw.count; i++) {
        int status = infer_node(&s, i);
        if (status)
            return status;
    }
    int status = infer_sinks(&s);
    if (!status)
        store(&s);
    return status;
}
