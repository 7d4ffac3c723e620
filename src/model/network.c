/* network.c - the memory of a run in one plan: what every window needs, then as much tape and as many kept states as the
 * strategy wants or the budget allows. */
#include "stretch.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK_ROWS = 512, BLOCK_STEPS = 32 };   /* of a block: its values stay in cache, and few steps are a small leaf */

static size_t add_region(struct network *net, enum plan_kind kind, long elements)
{
    return plan_add(&net->plan, kind, (size_t)(elements > 0 ? elements : 1), (size_t)net->kernels->element_size);
}

static size_t add_wide_region(struct network *net, enum plan_kind kind, long elements)
{
    return plan_add(&net->plan, kind, (size_t)(elements > 0 ? elements : 1), (size_t)net->kernels->wide->element_size);
}

/* ---- memory ---- */

static int state_regions(struct network *net, size_t **list, int states)
{
    *list = arena_alloc(&net->arena, ((size_t)states + 1) * sizeof **list);
    for (int i = 0; *list && i < states; i++)
        (*list)[i] = NO_REGION;
    return *list != NULL;
}

static int add_state_regions(struct network *net, int l)
{
    struct layer_memory *m = &net->memory->layer[l];
    int states = net->model->cell->states, gradients = net->config.gradients;
    size_t **lists[] = {&m->state, &m->dstate, &m->mask, &m->masked, &m->dmasked, &m->carried, &m->initial_gradient, &m->final_gradient};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (!state_regions(net, lists[i], states))
            return 0;
    for (int i = 0; i < states; i++) {
        long one = state_elements(net, l, i);
        m->carried[i] = add_region(net, PLAN_STATES, one);
        if (gradients) {
            m->dstate[i] = add_region(net, PLAN_SCRATCH, (net->block + 1) * one);
            m->initial_gradient[i] = add_region(net, PLAN_STATES, one);
            m->final_gradient[i] = add_region(net, PLAN_STATES, one);
        }
        if (gradients && net->config.dropout_state > 0) {
            m->mask[i] = add_region(net, PLAN_SCRATCH, one);
            m->masked[i] = add_region(net, PLAN_SCRATCH, net->block * one);
            m->dmasked[i] = add_region(net, PLAN_SCRATCH, net->block * one);
        }
    }
    return 1;
}

static int add_layer_regions(struct network *net, int l)
{
    struct layer *layer = &net->layer[l];
    struct layer_memory *m = &net->memory->layer[l];
    long batch = net->config.batch, block_rows = net->block * batch;
    int gradients = net->config.gradients;
    *m = (struct layer_memory){.back_block = NO_REGION, .back_step = NO_REGION, .dropped = NO_REGION, .dy = NO_REGION};
    m->packed = add_region(net, PLAN_PACKED, layer->packed);
    m->run_block = add_region(net, PLAN_SCRATCH, block_rows * layer->run.block.width);
    m->run_step = add_region(net, PLAN_SCRATCH, batch * layer->run.step.width);
    if (gradients) {
        m->back_block = add_region(net, PLAN_SCRATCH, block_rows * layer->back.block.width);
        m->back_step = add_region(net, PLAN_SCRATCH, batch * layer->back.step.width);
        m->dy = add_region(net, PLAN_SCRATCH, block_rows * layer->output_width);
    }
    return add_state_regions(net, l);
}

/* What a step on tape holds, and a kept state. */
static size_t record_bytes(const struct network *net)
{
    long width = net->table ? 0 : net->layer[0].input_width;
    for (int l = 0; l < net->model->layers; l++) {
        width += layer_tape_width(&net->layer[l]) + (net->has_dropout ? net->layer[l].output_width : 0);
        for (int i = 0; i < net->model->cell->states; i++)
            width += layer_state_width(&net->layer[l], i);
    }
    return size_mul((size_t)(width * net->config.batch), (size_t)net->kernels->element_size);
}

static size_t state_bytes(const struct network *net)
{
    long elements = 0;
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            elements += state_elements(net, l, i);
    return (size_t)elements * (size_t)net->kernels->element_size;
}

/* What there is one of for every step on tape. */
static void add_tape(struct network *net, long positions)
{
    struct network_memory *m = net->memory;
    long rows = positions * net->config.batch;
    net->positions = positions;
    m->input = net->table ? NO_REGION : add_region(net, PLAN_RECORDED, rows * net->layer[0].input_width);
    for (int l = 0; l < net->model->layers; l++) {
        struct layer_memory *own = &m->layer[l];
        own->tape = add_region(net, PLAN_RECORDED, rows * layer_tape_width(&net->layer[l]));
        own->dropped = net->has_dropout ? add_region(net, PLAN_RECORDED, rows * net->layer[l].output_width) : NO_REGION;
        for (int i = 0; i < net->model->cell->states; i++)
            own->state[i] = add_region(net, PLAN_STATES, (positions + 1) * state_elements(net, l, i));
    }
}

static void add_head_regions(struct network *net)
{
    const bptt_model *model = net->model;
    struct network_memory *m = net->memory;
    long rows = net->block * net->config.batch, o = padded(model->outputs);
    m->logits = add_wide_region(net, PLAN_SCRATCH, rows * o);
    m->dlogits = is_narrow(net) && net->config.gradients ? add_region(net, PLAN_SCRATCH, rows * o) : m->logits;
    m->target = model->loss == BPTT_MSE ? add_wide_region(net, PLAN_SCRATCH, rows * o) : NO_REGION;
    m->loss_rows = plan_add(&net->plan, PLAN_SCRATCH, (size_t)rows + 1, sizeof(double));
    m->head = model->head ? add_region(net, PLAN_PACKED, o * packed_depth(net->kernels, model->top)) : NO_REGION;
    m->head_back = model->head && net->config.gradients ? 
                   add_region(net, PLAN_PACKED, padded(model->top) * packed_depth(net->kernels, model->outputs)) : NO_REGION;
    long widest = 0;
    for (int l = 0; l < model->layers; l++)
        widest = net->layer[l].output_width > widest ? net->layer[l].output_width : widest;
    m->drop_mask = net->has_dropout ? add_region(net, PLAN_SCRATCH, rows * widest) : NO_REGION;
}

static void add_input_regions(struct network *net)
{
    const bptt_model *model = net->model;
    struct network_memory *m = net->memory;
    struct layer *first = &net->layer[0];
    long batch = net->config.batch, v = model->vocabulary, table = net->table ? layer_table_width(first) : 0;
    int gradients = net->config.gradients;
    m->dinput = gradients ? add_region(net, PLAN_SCRATCH, net->block * batch * first->input_width) : NO_REGION;
    m->dsum = gradients && net->config.input_gradient ? add_region(net, PLAN_SCRATCH, net->block * batch * first->input_width) : NO_REGION;
    m->table = net->table ? add_region(net, PLAN_PACKED, v * table) : NO_REGION;
    m->dtable = net->table && gradients ? add_wide_region(net, PLAN_GRADIENTS, v * table) : NO_REGION;
    m->table_given = net->table && gradients && is_narrow(net) ? add_region(net, PLAN_SCRATCH, v * table) : m->dtable;
    m->table_work = net->table && gradients ? add_wide_region(net, PLAN_SCRATCH, v * first->input_width) : NO_REGION;
    long widest = 0;
    for (int i = 0; i < model->cell->params; i++)
        widest = model->slot[0][i].rows > widest ? model->slot[0][i].rows : widest;
    m->table_packed = net->table && gradients ? add_region(net, PLAN_SCRATCH, first->input_width * packed_depth(net->kernels, widest)) : NO_REGION;
}

static long gradient_scratch(const struct network *net)
{
    const bptt_model *model = net->model;
    long rows = net->block * net->config.batch, most = 0;
    if (!net->config.gradients)
        return 0;
    if (model->head)
        most = net->kernels->gemm_tn_scratch(model->outputs, model->top, rows);
    for (int i = 0; net->table && i < model->cell->params; i++) {
        long own = net->kernels->gemm_tn_scratch(model->slot[0][i].rows, model->inputs, model->vocabulary);
        most = own > most ? own : most;
    }
    return most * net->kernels->element_size;
}

static void add_shared_regions(struct network *net)
{
    struct network_memory *m = net->memory;
    long count = net->model->count;
    m->scratch_bytes = (size_t)gradient_scratch(net);
    for (int l = 0; l < net->model->layers; l++) {
        size_t own = layer_scratch(&net->layer[l], net->block);
        m->scratch_bytes = own > m->scratch_bytes ? own : m->scratch_bytes;
    }
    m->scratch_bytes = (m->scratch_bytes + 63) / 64 * 64;
    m->scratch = plan_add(&net->plan, PLAN_SCRATCH, m->scratch_bytes + 64, (size_t)pool_workers(net->pool));
    m->parameters = net->kernels->element_size == 4 ? NO_REGION : add_region(net, PLAN_PARAMETERS, padded(count));
    m->gradients = net->config.gradients ? add_wide_region(net, PLAN_GRADIENTS, padded(count)) : NO_REGION;
}

static int pointer_lists(struct network *net)
{
    size_t layers = (size_t)net->model->layers, states = (size_t)net->model->cell->states;
    void ****lists[] = {&net->carried, &net->initial_gradient, &net->final_gradient};
    for (size_t k = 0; k < 3; k++) {
        void ***list = arena_alloc(&net->arena, layers * sizeof *list);
        for (size_t l = 0; list && l < layers; l++)
            if (!(list[l] = arena_alloc(&net->arena, (states + 1) * sizeof **list)))
                return 0;
        if (!list)
            return 0;
        *lists[k] = list;
    }
    return 1;
}

static int make_layers(struct network *net, bptt_error *error)
{
    const bptt_model *model = net->model;
    net->layer = arena_alloc(&net->arena, (size_t)model->layers * sizeof *net->layer);
    net->memory = arena_alloc(&net->arena, sizeof *net->memory);
    struct layer_memory *memory = arena_alloc(&net->arena, (size_t)model->layers * sizeof *memory);
    if (!net->layer || !net->memory || !memory || !pointer_lists(net))
        return fail_memory(error, (size_t)model->layers * sizeof *net->layer);
    net->memory->layer = memory;
    for (int l = 0; l < model->layers; l++) {
        int status = layer_new(&net->layer[l], model->cell, model->size[l], net->config.batch, net->kernels, model->slot[l], error);
        if (status)
            return status;
        if (net->config.interpret)
            layer_interpret(&net->layer[l]);
    }
    return BPTT_OK;
}

/* Few enough steps that a leaf of a small budget holds some; not shortened to the window, whose length borders must not
 * depend on, unless it is one block. */
static void choose_block(struct network *net)
{
    long block = BLOCK_ROWS / net->config.batch, steps = net->config.steps > 0 ? net->config.steps : 1;
    block = block > BLOCK_STEPS ? BLOCK_STEPS : block < 1 ? 1 : block;
    net->block = block < steps ? block : steps;
}

static void add_feed_regions(struct network *net)
{
    struct network_memory *m = net->memory;
    const bptt_model *model = net->model;
    long rows = net->block * net->config.batch, widest = model->inputs > model->outputs ? model->inputs : model->outputs;
    for (int i = 0; i < FEED_PARTS; i++)
        m->fed[i] = net->config.fed ? add_region(net, PLAN_DATA, rows * widest) : NO_REGION;
    m->fed_gradient = net->config.fed && net->config.gradients ? add_region(net, PLAN_DATA, rows * model->inputs) : NO_REGION;
}

/* One line that names the smallest budget that works. */
static int budget_too_small(const struct network *net, size_t least, bptt_error *error)
{
    size_t fixed = net->plan.total + net->config.elsewhere, whole = fixed + least;
    return fail(error, BPTT_ERROR_ARGUMENT, "a memory budget of %zu bytes is too small: this run needs at least %zuK (%zuK for the "
                "model, its gradients and buffers, %zuK for one stretch of steps and the states kept)", net->config.memory,
                (whole + 1023) / 1024, (fixed + 1023) / 1024, (least + 1023) / 1024);
}

/* Tape and kept states by the strategy and what is left of the budget, and the schedule that uses them. */
static int add_schedule(struct network *net, bptt_error *error)
{
    struct network_memory *m = net->memory;
    struct layout layout;
    const struct strategy *strategy = &net->config.strategy;
    if (strategy->kind == STRATEGY_RANDOM)
        m->links = plan_add(&net->plan, PLAN_SCRATCH, (size_t)net->axis.steps + 1, sizeof(double));
    if (net->config.spill)
        m->staging = plan_add(&net->plan, PLAN_SCRATCH, net->axis.state_bytes, 1);
    size_t fixed = net->plan.total + net->config.elsewhere, least = 0, budget = SIZE_MAX;
    if (net->config.memory)
        budget = net->config.memory > fixed ? net->config.memory - fixed : 0;
    int status = schedule_fit(strategy, &net->axis, budget, net->config.spill != NULL, &layout, &least);
    if (status)
        return budget_too_small(net, least, error);
    add_tape(net, layout.rows > 0 ? layout.rows : 1);
    m->slots = layout.slots ? plan_add(&net->plan, PLAN_STATES, (size_t)layout.slots, net->axis.state_bytes) : NO_REGION;
    status = schedule_new(&net->schedule, strategy, &net->axis, &layout, error);
    net->schedule.updates = net->config.updates;
    return status;
}

static int add_time(struct network *net, bptt_error *error)
{
    struct network_memory *m = net->memory;
    m->links = m->slots = m->staging = NO_REGION;
    if (!net->config.gradients) {
        add_tape(net, net->block);
        return BPTT_OK;
    }
    net->axis = (struct axis){.steps = net->config.steps, .block = net->block, .record_bytes = record_bytes(net),
                              .state_bytes = state_bytes(net)};
    return add_schedule(net, error);
}

int network_new(struct network *net, const bptt_model *model, const struct network_config *config, bptt_error *error)
{
    enum isa isa;
    *net = (struct network){.model = model, .config = *config};
    if (strategy_is_forward(&config->strategy)) {
        net->config.strategy = (struct strategy){.kind = STRATEGY_FULL};
        net->config.steps = 1;             /* model/influence.h takes them one by one */
    }
    int status = config->isa ? (isa = *config->isa, BPTT_OK) : isa_choose(&isa, error);
    if (status)
        return status;
    net->kernels = kernels_get(isa, config->precision);
    status = pool_new(config->threads, &net->pool, error);
    if (!status)
        status = make_layers(net, error);
    if (status) {
        network_free(net);
        return status;
    }
    choose_block(net);
    net->has_dropout = config->gradients && config->dropout > 0;
    /* once per symbol pays where a window has more rows than there are symbols */
    net->table = model->vocabulary && !config->input_gradient && model->vocabulary <= net->config.steps * config->batch &&
                 layer_takes_table(&net->layer[0]);
    for (int l = 0; l < model->layers; l++) {
        if (!add_layer_regions(net, l)) {
            network_free(net);
            return fail_memory(error, sizeof *net);
        }
    }
    add_head_regions(net);
    add_input_regions(net);
    add_shared_regions(net);
    add_feed_regions(net);
    status = add_time(net, error);
    if (status)
        network_free(net);
    return status;
}

static void point_states(struct network *net, int l)
{
    struct layer *layer = &net->layer[l];
    const struct layer_memory *m = &net->memory->layer[l];
    for (int i = 0; i < net->model->cell->states; i++) {
        layer->state[i] = region(net, m->state[i]);
        layer->dstate[i] = region(net, m->dstate[i]);
        layer->masked[i] = region(net, m->masked[i]);
        layer->dmasked[i] = region(net, m->dmasked[i]);
        net->carried[l][i] = region(net, m->carried[i]);
        net->initial_gradient[l][i] = region(net, m->initial_gradient[i]);
        net->final_gradient[l][i] = region(net, m->final_gradient[i]);
    }
}

/* Also where no state needs it: a directory that cannot be used is said now, not when the model has grown. */
static int open_spill(struct network *net, bptt_error *error)
{
    long spilled = net->schedule.layout.spilled;
    if (!net->config.spill || !net->config.gradients)
        return BPTT_OK;
    return spill_open(net->config.spill, net->axis.state_bytes, spilled ? spilled : 1, &net->spill, error);
}

int network_allocate(struct network *net, bptt_error *error)
{
    int status = plan_allocate(&net->plan, error);
    if (!status)
        status = open_spill(net, error);
    if (status)
        return status;
    for (int l = 0; l < net->model->layers; l++) {
        struct layer *layer = &net->layer[l];
        const struct layer_memory *m = &net->memory->layer[l];
        layer->packed_base = region(net, m->packed);
        layer->tape = region(net, m->tape);
        layer->run_block = region(net, m->run_block);
        layer->run_step = region(net, m->run_step);
        layer->back_block = region(net, m->back_block);
        layer->back_step = region(net, m->back_step);
        layer->scratch = region(net, net->memory->scratch);
        layer->scratch_bytes = net->memory->scratch_bytes;
        point_states(net, l);
    }
    net->parameters = net->kernels->element_size == 4 ? net->model->data : region(net, net->memory->parameters);
    net->gradients = region(net, net->memory->gradients);
    network_reset(net);
    return BPTT_OK;
}

void network_free(struct network *net)
{
    for (int l = 0; net->layer && l < net->model->layers; l++)
        if (net->layer[l].cell)
            layer_free(&net->layer[l]);
    schedule_free(&net->schedule);
    spill_free(net->spill);
    pool_free(net->pool);
    plan_free(&net->plan);
    arena_free(&net->arena);
    *net = (struct network){0};
}

/* ---- parameters and states ---- */

void network_load(struct network *net)
{
    const bptt_model *model = net->model;
    const struct kernels *k = net->kernels;
    struct network_memory *m = net->memory;
    if (k->element_size != 4)
        k->load_rows(1, model->count, model->data, 4, model->count, net->parameters, padded(model->count));
    for (int l = 0; l < model->layers; l++)
        layer_pack(&net->layer[l], net->parameters, net->pool);
    const void *head = shift_const(net, net->parameters, model->head ? model->head_offset : 0);
    if (model->head)
        k->pack(model->top, model->outputs, head, 1, model->top, region(net, m->head));
    if (m->head_back != NO_REGION)
        k->pack(model->outputs, model->top, head, model->top, 1, region(net, m->head_back));
    if (net->table)
        layer_fill_table(&net->layer[0], shift(net, net->parameters, model->embed_offset), model->vocabulary, model->inputs,
                         region(net, m->table), net->pool);
}

void network_reset(struct network *net)
{
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            net->kernels->fill(state_elements(net, l, i), net->model->cell->state[i].start, net->carried[l][i]);
}

void network_clear_gradients(struct network *net)
{
    memset(net->gradients, 0, (size_t)(net->model->count * net->kernels->wide->element_size));
}

void network_clear_final_gradient(struct network *net)
{
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            memset(net->final_gradient[l][i], 0, (size_t)(state_elements(net, l, i) * net->kernels->element_size));
}

void network_set_state(struct network *net, void *buffer, int layer, int state, const void *rows, int element_size)
{
    long n = net->model->size[layer][net->model->cell->state[state].dim];
    net->kernels->load_rows(net->config.batch, n, rows, element_size, n, buffer, padded(n));
}

void network_get_state(const struct network *net, const void *buffer, int layer, int state, void *rows, int element_size)
{
    long n = net->model->size[layer][net->model->cell->state[state].dim];
    net->kernels->store_rows(net->config.batch, n, buffer, padded(n), rows, element_size, n);
}

void network_set_truncation(struct network *net, long steps)
{
    net->schedule.strategy.k1 = steps;
}

/* ---- diagnosis ---- */

static int is_finite(const struct network *net, const void *values, long n)
{
    return isfinite(net->kernels->wide->sum_of_squares(n, values));
}

int network_are_finite(const struct network *net, const void *values, long n)
{
    const uint16_t *bits = values;
    if (!is_narrow(net))
        return is_finite(net, values, n);
    for (long i = 0; i < n; i++)
        if ((bits[i] & 0x7F80) == 0x7F80)
            return 0;
    return 1;
}

static int find_in_states(const struct network *net, char *where, size_t size)
{
    for (long t = 0; t < net->positions; t++) {
        for (int l = 0; l < net->model->layers; l++) {
            for (int i = 0; i < net->model->cell->states; i++) {
                long one = state_elements(net, l, i);
                if (network_are_finite(net, shift_const(net, net->layer[l].state[i], (t + 1) * one), one))
                    continue;
                snprintf(where, size, "state %s of layer %d, step %ld of the window", net->model->cell->state[i].name, l, t);
                return 1;
            }
        }
    }
    return 0;
}

int network_find_not_finite(const struct network *net, char *where, size_t size)
{
    if (find_in_states(net, where, size))
        return 1;
    for (int i = net->model->tensors - 1; net->gradients && i >= 0; i--) {
        const struct tensor *tensor = &net->model->tensor[i];
        if (is_finite(net, shift_wide(net, net->gradients, tensor->offset), tensor->count))
            continue;
        snprintf(where, size, "gradient of %s", tensor->name);
        return 1;
    }
    return 0;
}
