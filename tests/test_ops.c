/* test_ops.c - every operation of the cell compiler, from the table in tests/ops.def: its derivative texts against central
 * differences of its value, and a cell that uses it against everything `bptt check` compares. tests/mutations.sh plants a
 * sign error in each derivative and expects this program to fail. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../src/cell/cell.h"
#include "tap.h"

enum kink { NO_KINK, AT_ZERO, AT_EQUAL };
struct op_test { const char *cell; double a_low, a_high, b_low, b_high; enum kink kink; };

#define STRUCTURAL_ROW(name, cell) static const struct op_test row_##name = {cell, 0, 0, 0, 0, NO_KINK};
#define ELEMENTWISE_ROW(name, a0, a1, b0, b1, kink) static const struct op_test row_##name = {NULL, a0, a1, b0, b1, kink};
#include "ops.def"
#undef STRUCTURAL_ROW
#undef ELEMENTWISE_ROW

static const struct op_test *const rows[OP_COUNT] = {
#define STRUCTURAL(name, text) [OP_##name] = &row_##name,
#define ELEMENTWISE(name, text, operands, value, vector, da, db) [OP_##name] = &row_##name,
#include "../src/cell/ops.def"
#undef STRUCTURAL
#undef ELEMENTWISE
};

/* ---- elementwise: y = op(a, b) and its two partial derivatives as one small graph ---- */

struct formula {
    struct arena arena;
    struct graph graph;
    int a, b, y, derivative[2];
    double number[64][1], *value[64];
};

static const long ones[3] = {1, 1, 1};
enum { GRID = 41 };
static const double STEP = 1e-6;
/* Central differences: step^2 / 6 of the third derivative (about 1e-12) and 1e-16 / step of rounding (1e-10 of the value). */
static const double TOLERANCE = 1e-8;

static int build(struct formula *f, enum op op)
{
    *f = (struct formula){.graph = {.arena = &f->arena}};
    f->graph.arena = &f->arena;
    f->a = graph_leaf(&f->graph, OP_STATE, 0, DIM_H, "a", -1);
    f->b = graph_leaf(&f->graph, OP_STATE, 1, DIM_H, "b", -1);
    int two = op_table[op].operands == 2;
    f->y = graph_raw(&f->graph, (struct node){.op = op, .a = f->a, .b = two ? f->b : -1, .dim = DIM_H, .place = -1});
    for (int k = 0; k < op_table[op].operands; k++)
        f->derivative[k] = cell_parse_derivative(&f->graph, op_table[op].derivative[k], f->a, two ? f->b : -1, f->y);
    for (int n = 0; n < 64; n++)
        f->value[n] = f->number[n];
    return !f->graph.failed && f->graph.count <= 64;
}

static void evaluate(struct formula *f, double a, double b)
{
    static const double *const none[1] = {NULL};
    f->number[f->a][0] = a;
    f->number[f->b][0] = b;
    evaluate_graph(NULL, &f->graph, ones, none, f->value);
}

static double difference(struct formula *f, double a, double b, int k)
{
    evaluate(f, a + (k ? 0 : STEP), b + (k ? STEP : 0));
    double up = f->number[f->y][0];
    evaluate(f, a - (k ? 0 : STEP), b - (k ? STEP : 0));
    return (up - f->number[f->y][0]) / (2 * STEP);
}

static int at_kink(const struct op_test *row, double a, double b)
{
    return (row->kink == AT_ZERO && fabs(a) < 1e-3) || (row->kink == AT_EQUAL && fabs(a - b) < 1e-3);
}

/* The largest error over the grid, relative to 1 + |derivative|; NaN if any is. */
static double worst_error(struct formula *f, const struct op_test *row, int k)
{
    double worst = 0;
    for (int i = 0; i < GRID * GRID; i++) {
        double a = row->a_low + (row->a_high - row->a_low) * (i % GRID) / (GRID - 1);
        double b = row->b_low + (row->b_high - row->b_low) * (i / GRID) / (GRID - 1);
        if (at_kink(row, a, b))
            continue;
        double want = difference(f, a, b, k);
        evaluate(f, a, b);
        double error = fabs(f->number[f->derivative[k]][0] - want) / (1 + fabs(want));
        if (!(error <= worst) && !isnan(worst))
            worst = error;
    }
    return worst;
}

static void test_elementwise(enum op op)
{
    static struct formula f;
    if (!tap_ok(build(&f, op), "%s: its derivative texts can be read", op_table[op].name))
        return;
    for (int k = 0; k < op_table[op].operands; k++) {
        double error = worst_error(&f, rows[op], k);
        if (!tap_ok(error <= TOLERANCE, "%s: derivative by operand %d", op_table[op].name, k + 1))
            tap_note("%s is off by %g", op_table[op].derivative[k], error);
    }
    arena_free(&f.arena);
}

/* ---- structural ---- */

static int holds(const struct graph *graph, enum op op)
{
    for (int n = 0; n < graph->count; n++)
        if (graph->node[n].op == op)
            return 1;
    return 0;
}

static void test_structural(enum op op)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_check_report report;
    if (!tap_ok(!bptt_cell_parse(rows[op]->cell, "test.cell", &cell, &error), "%s: the cell compiles %s", op_table[op].name, error.text))
        return;
    int there = holds(&cell->forward, op) || holds(&cell->backward, op) || holds(&cell->tangent, op);
    tap_ok(there, "%s: the cell's graphs hold it", op_table[op].name);
    if (tap_ok(!bptt_cell_check(cell, 3, &report, &error), "%s: the check runs %s", op_table[op].name, error.text)) {
        tap_ok(report.failed == 0 && report.passed > 20, "%s: %d comparisons, none fails", op_table[op].name, report.passed);
        bptt_check_clear(&report);
    }
    bptt_cell_free(cell);
}

int main(void)
{
    for (int op = 0; op < OP_COUNT; op++) {
        if (op_is_elementwise((enum op)op))
            test_elementwise((enum op)op);
        else
            test_structural((enum op)op);
    }
    return tap_done();
}
