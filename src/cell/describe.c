/* describe.c - what a cell costs, and how it would run here. */
#include <stdlib.h>

#include "../base/cpu.h"
#include "cell.h"

static const char *kernel_name(const bptt_cell *cell)
{
    static const char *const built_in[ISA_COUNT] = {"built in, generic", "built in, avx2", "built in, avx512"};
    static const char *const compiled[ISA_COUNT] = {"compiled, generic", "compiled, avx2", "compiled, avx512"};
    enum isa isa;
    if (isa_choose(&isa, NULL))
        isa = ISA_GENERIC;
    const struct cell_code *code = cell_code_for(cell, isa_name[isa], 4);
    if (!code)
        return "interpreter";
    return cell_is_compiled(cell, code) ? compiled[isa] : built_in[isa];
}

static int64_t count_parameters(const bptt_cell *cell, const long *size)
{
    int64_t count = 0;
    for (int i = 0; i < cell->params; i++)
        count += (int64_t)size[cell->param[i].rows] * cell_param_columns(cell, &cell->param[i], size);
    return count;
}

/* A multiplication and an addition for each weight of a product; one operation for each element otherwise. */
static int64_t count_flops(const bptt_cell *cell, const long *size)
{
    int64_t flops = 0;
    for (int n = 0; n < cell->forward.count; n++) {
        const struct node *node = &cell->forward.node[n];
        if (op_is_product(node->op)) {
            const struct parameter *param = &cell->param[cell->forward.node[node->a].leaf];
            flops += 2 * (int64_t)size[param->rows] * cell_param_columns(cell, param, size);
        } else if (!op_is_leaf(node->op)) {
            flops += size[node->op == OP_SUM ? cell->forward.node[node->a].dim : node->dim];
        }
    }
    return flops;
}

static int64_t count_recorded(const bptt_cell *cell, const long *size)
{
    int64_t count = 0;
    for (int i = 0; i < cell->run.places; i++)
        if (cell->run.place[i].kind == PLACE_TAPE)
            count += size[cell->run.place[i].dim];
    for (int i = 0; i < cell->states; i++)
        count += size[cell->state[i].dim];
    return count;
}

static int elementwise_recurrence(const bptt_cell *cell)
{
    for (int i = 0; i < cell->params; i++)
        if (cell->param[i].on_state && cell->param[i].columns != DIM_NONE)
            return 0;
    return 1;
}

int bptt_cell_describe(const bptt_cell *cell, int64_t inputs, int64_t hidden, bptt_cell_info *info, bptt_error *error)
{
    long *size = malloc((size_t)cell->dims * sizeof *size);
    if (!size)
        return fail_memory(error, (size_t)cell->dims * sizeof *size);
    int status = cell_sizes(cell, (long)inputs, (long)hidden, NULL, size, error);
    if (!status)
        *info = (bptt_cell_info){.name = cell->name, .summary = cell->summary, .source = cell->source, .kernel = kernel_name(cell),
                                 .state_count = cell->states, .elementwise_recurrence = elementwise_recurrence(cell),
                                 .parameters = count_parameters(cell, size), .flops = count_flops(cell, size),
                                 .recorded = count_recorded(cell, size)};
    free(size);
    return status;
}
