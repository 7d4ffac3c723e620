/* interpret.c - runs graphs and stages as they stand, number by number: the oracle that generated code is held against, and
 * the way a cell of one's own runs without a compiler. */
#include <math.h>
#include <string.h>

#include "cell.h"

#define REAL double
#define NAME(x) x##_f64
#include "interpret.inc"
#define REAL float
#define NAME(x) x##_f32
#include "interpret.inc"
#define REAL float
#define NARROW
#define NAME(x) x##_bf16
#include "interpret.inc"

size_t interpret_scratch(const struct program *program, const long *size)
{
    size_t most = 0;
    for (int i = 0; i < program->stages; i++) {
        size_t elements = 0;
        for (int k = 0; k < program->stage[i].count; k++) {
            const struct node *node = &program->graph->node[program->order[program->stage[i].first + k]];
            size_t a = (size_t)size[program->graph->node[node->a].dim];
            size_t b = node->b >= 0 ? (size_t)size[program->graph->node[node->b].dim] : 0;
            elements += (size_t)size[node->dim] + a + b + 2;
        }
        most = elements > most ? elements : most;
    }
    return ((size_t)program->graph->count * sizeof(void *) + most * sizeof(double) + 15) / 16 * 16;
}

void interpret_stage(const struct bptt_cell *cell, const struct program *program, int stage,
                     const struct stage_call *call, int element_size, void *scratch)
{
    (void)cell;
    char *values = (char *)scratch + (size_t)program->graph->count * sizeof(void *);
    for (long step = call->step, left = call->steps; left > 0; step += call->by, left--) {
        for (long row = call->row_from; row < call->row_to; row++) {
            if (element_size == 2)
                row_bf16(program, &program->stage[stage], call, step, row, scratch, (float *)values);
            else if (element_size == 8)
                row_f64(program, &program->stage[stage], call, step, row, scratch, (double *)values);
            else
                row_f32(program, &program->stage[stage], call, step, row, scratch, (float *)values);
        }
    }
}

/* Four sums side by side, as a processor makes them. */
static double dot(const double *a, const double *b, long n)
{
    double sum[4] = {0};
    long i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        sum[0] += a[i] * b[i];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

static void add_scaled(double *restrict to, double factor, const double *restrict from, long n)
{
    for (long i = 0; i < n; i++)
        to[i] += factor * from[i];
}

/* y = A x or A^T x for a matrix stored as one column block after another of its diagonal (blocks 1: plain). */
static void product(const struct bptt_cell *cell, const struct parameter *param, const long *size, int transposed,
                    const double *matrix, const double *x, double *y)
{
    long rows = size[param->rows], columns = cell_param_columns(cell, param, size), block = rows / param->blocks;
    long all = columns * param->blocks;
    for (long i = 0; i < all && transposed; i++)
        y[i] = 0;
    for (long r = 0; r < rows; r++) {
        long first = r / block * columns;
        if (transposed && x[r] != 0)       /* mostly zeros where single rows of a Jacobian are asked for */
            add_scaled(y + first, x[r], matrix + r * columns, columns);
        else if (!transposed)
            y[r] = dot(matrix + r * columns, x + first, columns);
    }
}

void evaluate_graph(const struct bptt_cell *cell, const struct graph *graph, const long *size,
                    const double *const *param, double *const *value)
{
    for (int n = 0; n < graph->count; n++) {
        const struct node *node = &graph->node[n];
        if (op_is_product(node->op)) {
            const struct node *matrix = &graph->node[node->a];
            int number = matrix->leaf + (matrix->op == OP_TPARAM ? cell->params : 0);
            product(cell, &cell->param[matrix->leaf], size, node->op == OP_PRODUCT_T, param[number], value[node->b], value[n]);
        } else if (node->op == OP_CONST || node->op == OP_SIZE) {
            value[n][0] = node->op == OP_CONST ? node->value : (double)size[node->leaf];
        } else if (node->a >= 0) {
            int da = graph->node[node->a].dim, db = node->b >= 0 ? graph->node[node->b].dim : DIM_ONE;
            node_f64(node, size[node->dim], size[da], value[node->a], node->b >= 0 ? value[node->b] : NULL, da != DIM_ONE,
                     db != DIM_ONE, value[n]);
        }
    }
}
