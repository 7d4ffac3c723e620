/* verify.c - what each stage of the compiler promises to the next, tested after it. A failure here is a defect of bptt, not
 * of the cell, and says so. */
#include <string.h>

#include "cell.h"

static int defect(const struct bptt_cell *cell, const char *stage, int node, const char *what, bptt_error *error)
{
    return fail(error, BPTT_ERROR_CELL, "cell %s: the compiler broke its own rule after %s, node %d: %s (please report this)",
                cell->name, stage, node, what);
}

static const char *node_fault(const struct graph *graph, int n)
{
    const struct node *node = &graph->node[n];
    int operands = op_table[node->op].operands;
    if (node->a >= n || node->b >= n)
        return "an operand comes later";
    if (operands >= 1 && node->a < 0)
        return "an operand is missing";
    if (operands == 2 && node->b < 0)
        return "the second operand is missing";
    if (node->dim < 0)
        return "it has no width";
    if (op_is_product(node->op) && graph->node[node->a].op != OP_PARAM && graph->node[node->a].op != OP_TPARAM)
        return "a product without a matrix";
    if (operands == 0)
        return NULL;
    int da = graph->node[node->a].dim, db = node->b >= 0 ? graph->node[node->b].dim : da;
    if ((da != node->dim && da != DIM_ONE) || (db != node->dim && db != DIM_ONE))
        return "operands of another width";
    return NULL;
}

int cell_verify_graph(const struct bptt_cell *cell, const struct graph *graph, const char *stage, bptt_error *error)
{
    for (int n = 0; n < graph->count; n++) {
        const char *fault = node_fault(graph, n);
        if (fault)
            return defect(cell, stage, n, fault, error);
    }
    for (int i = 0; i < graph->sinks; i++) {
        const struct sink *sink = &graph->sink[i];
        if (sink->left < 0 || sink->left >= graph->count || sink->right >= graph->count)
            return defect(cell, stage, sink->left, "a result that does not exist", error);
        int is_state = sink->kind == SINK_NEXT || sink->kind == SINK_DSTATE;
        if (is_state && graph->node[sink->left].dim != cell->state[sink->index].dim)
            return defect(cell, stage, sink->left, "a state of another width", error);
    }
    return BPTT_OK;
}

/* Every pointwise node stands in exactly one stage, and each operand is ready when its stage runs. */
int cell_verify_program(const struct bptt_cell *cell, const struct program *program, bptt_error *error)
{
    const struct graph *graph = program->graph;
    const char *stage = program->backward ? "planning the backward program" : "planning the forward program";
    for (int i = 0; i < program->products; i++) {
        const struct product *product = &program->product[i];
        if (product->operand < 0 || product->result < 0)
            return defect(cell, stage, product->node, "a product without a place", error);
    }
    for (int i = 0; i < program->stages; i++) {
        for (int k = 0; k < program->stage[i].count; k++) {
            int n = program->order[program->stage[i].first + k];
            int operand[2] = {graph->node[n].a, graph->node[n].b};
            for (int j = 0; j < 2; j++) {
                int o = operand[j];
                if (o < 0)
                    continue;
                int later = program->phase[o] > program->phase[n] ||
                            (program->phase[o] == program->phase[n] && program->level[o] > program->level[n]);
                if (later)
                    return defect(cell, stage, n, "it runs before its operand", error);
                enum op op = graph->node[o].op;
                int same = program->phase[o] == program->phase[n] && program->level[o] == program->level[n];
                if (!same && op != OP_CONST && op != OP_SIZE && program->place_of[o] < 0)
                    return defect(cell, stage, o, "it is read by another stage and has no place", error);
            }
        }
    }
    return BPTT_OK;
}
