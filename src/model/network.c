/* network.c - the memory of a run, and windows through it: forward over blocks, then head, loss and layers backward over the
 * same blocks in reverse. */
#include "network.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_ROWS = 512, CHUNK = 96 };     /* rows of a block: its values stay in cache; rows of a task */
static const size_t NO_REGION = (size_t)-1;

struct layer_memory {
    size_t packed, tape, run_block, run_step, back_block, back_step, dropped, dy;
    size_t *state, *dstate, *mask, *masked, *dmasked, *carried, *initial_gradient, *final_gradient;    /* by state */
};

struct network_memory {
    struct layer_memory *layer;
    size_t scratch, scratch_bytes;
    size_t input, dinput;                  /* layer 0's x and dx */
    size_t logits, target, loss_rows, head, head_back;
    size_t drop_mask;
    size_t table, dtable, table_work, table_packed;
    size_t parameters, gradients;
};

/* ---- small helpers ---- */

static void *shift(const struct network *net, void *base, long elements)
{
    return (char *)base + elements * net->kernels->element_size;
}

static const void *shift_const(const struct network *net, const void *base, long elements)
{
    return (const char *)base + elements * net->kernels->element_size;
}

static void *region(const struct network *net, size_t number)
{
    return number == NO_REGION ? NULL : plan_at(&net->plan, number);
}

static size_t add_region(struct network *net, enum plan_kind kind, long elements)
{
    return plan_add(&net->plan, kind, (size_t)(elements > 0 ? elements : 1), (size_t)net->kernels->element_size);
}

static struct layer *top_layer(const struct network *net)
{
    return &net->layer[net->model->layers - 1];
}

static long state_elements(const struct network *net, int layer, int state)
{
    return net->config.batch * layer_state_width(&net->layer[layer], state);
}

static int has_loss(const struct window *window)
{
    return window->target != NULL;
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
        m->state[i] = add_region(net, PLAN_STATES, (net->positions + 1) * one);
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
    long batch = net->config.batch, block_rows = net->block * batch, rows = net->positions * batch;
    int gradients = net->config.gradients;
    *m = (struct layer_memory){.back_block = NO_REGION, .back_step = NO_REGION, .dropped = NO_REGION, .dy = NO_REGION};
    m->packed = add_region(net, PLAN_PACKED, layer->packed);
    m->tape = add_region(net, PLAN_RECORDED, rows * layer_tape_width(layer));
    m->run_block = add_region(net, PLAN_SCRATCH, block_rows * layer->run.block.width);
    m->run_step = add_region(net, PLAN_SCRATCH, batch * layer->run.step.width);
    if (gradients) {
        m->back_block = add_region(net, PLAN_SCRATCH, block_rows * layer->back.block.width);
        m->back_step = add_region(net, PLAN_SCRATCH, batch * layer->back.step.width);
        m->dy = add_region(net, PLAN_SCRATCH, block_rows * layer->output_width);
    }
    if (net->has_dropout)
        m->dropped = add_region(net, PLAN_RECORDED, rows * layer->output_width);
    return add_state_regions(net, l);
}

static void add_head_regions(struct network *net)
{
    const bptt_model *model = net->model;
    struct network_memory *m = net->memory;
    long rows = net->block * net->config.batch, o = padded(model->outputs);
    m->logits = add_region(net, PLAN_SCRATCH, rows * o);
    m->target = model->loss == BPTT_MSE ? add_region(net, PLAN_SCRATCH, rows * o) : NO_REGION;
    m->loss_rows = plan_add(&net->plan, PLAN_SCRATCH, (size_t)rows + 1, sizeof(double));
    m->head = model->head ? add_region(net, PLAN_PACKED, o * model->top) : NO_REGION;
    m->head_back = model->head && net->config.gradients ? add_region(net, PLAN_PACKED, padded(model->top) * model->outputs) : NO_REGION;
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
    m->input = net->table ? NO_REGION : add_region(net, PLAN_RECORDED, net->positions * batch * first->input_width);
    m->dinput = gradients ? add_region(net, PLAN_SCRATCH, net->block * batch * first->input_width) : NO_REGION;
    m->table = net->table ? add_region(net, PLAN_PACKED, v * table) : NO_REGION;
    m->dtable = net->table && gradients ? add_region(net, PLAN_GRADIENTS, v * table) : NO_REGION;
    m->table_work = net->table && gradients ? add_region(net, PLAN_SCRATCH, v * first->input_width) : NO_REGION;
    long widest = 0;
    for (int i = 0; i < model->cell->params; i++)
        widest = model->slot[0][i].rows > widest ? model->slot[0][i].rows : widest;
    m->table_packed = net->table && gradients ? add_region(net, PLAN_SCRATCH, first->input_width * widest) : NO_REGION;
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
    m->gradients = net->config.gradients ? add_region(net, PLAN_GRADIENTS, padded(count)) : NO_REGION;
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

int network_new(struct network *net, const bptt_model *model, const struct network_config *config, bptt_error *error)
{
    enum isa isa;
    *net = (struct network){.model = model, .config = *config};
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
    long block = BLOCK_ROWS / config->batch, steps = config->steps > 0 ? config->steps : 1;
    net->block = block < 1 ? 1 : block;    /* not shortened to the window: borders must not depend on its length */
    if (net->block > steps)
        net->block = steps;                /* one block: there are no borders */
    net->positions = config->gradients ? steps : net->block;
    net->has_dropout = config->gradients && config->dropout > 0;
    /* once per symbol pays where a window has more rows than there are symbols */
    net->table = model->vocabulary && !config->input_gradient && model->vocabulary <= steps * config->batch &&
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
    return BPTT_OK;
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

int network_allocate(struct network *net, bptt_error *error)
{
    int status = plan_allocate(&net->plan, error);
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
    memset(net->gradients, 0, (size_t)(net->model->count * net->kernels->element_size));
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

static void copy_state(const struct network *net, int l, int i, void *to, long to_slot, const void *from, long from_slot)
{
    long one = state_elements(net, l, i);
    memmove(shift(net, to, to_slot * one), shift_const(net, from, from_slot * one), (size_t)(one * net->kernels->element_size));
}

static void move_states(struct network *net, long from_slot)
{
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->layer[l].state[i], 0, net->layer[l].state[i], from_slot);
}

/* ---- the stretch of a window at hand ---- */

struct stretch {
    struct network *net;
    struct window *window;
    long start;                            /* its first step in the window */
    long first;                            /* and on tape */
    long steps, rows;
    int backward;
    int layer;                             /* dropout: of which output */
};

typedef void row_fn(struct stretch *s, long from, long to);
struct row_work { struct stretch *stretch; row_fn *fn; };

static void row_task(void *context, long task, int worker)
{
    (void)worker;
    struct row_work *w = context;
    long to = (task + 1) * CHUNK;
    w->fn(w->stretch, task * CHUNK, to < w->stretch->rows ? to : w->stretch->rows);
}

static void for_rows(struct stretch *s, row_fn *fn)
{
    struct row_work work = {s, fn};
    pool_tasks(s->net->pool, (s->rows + CHUNK - 1) / CHUNK, row_task, &work);
}

/* ---- dropout on a layer's output ---- */

static struct stretch stretch_of_layer(const struct stretch *s, int layer)
{
    struct stretch own = *s;
    own.layer = layer;
    return own;
}

static void *dropped_rows(const struct stretch *s)
{
    const struct network *net = s->net;
    return shift(net, region(net, net->memory->layer[s->layer].dropped),
                 s->first * net->config.batch * net->layer[s->layer].output_width);
}

/* The mask of these rows, drawn by their index: the backward pass draws the same one again. */
static void *draw_mask(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    long width = net->layer[s->layer].output_width;
    struct random_stream stream = random_open(net->config.seed, RANDOM_DROPOUT, (uint32_t)s->layer);
    const uint32_t key[4] = {stream.key[0], stream.key[1], stream.purpose, stream.layer};
    uint64_t index = ((uint64_t)s->window->index * (uint64_t)net->config.steps + (uint64_t)s->start) * (uint64_t)net->config.batch +
                     (uint64_t)from;
    void *mask = shift(net, region(net, net->memory->drop_mask), from * width);
    net->kernels->dropout_mask(key, index, to - from, width, 1 - net->config.dropout, mask, width);
    return mask;
}

static void drop_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    struct layer *layer = &net->layer[s->layer];
    long stride, width = layer->output_width, n = to - from;
    const void *y = layer_output(layer, s->first, &stride);
    void *out = shift(net, dropped_rows(s), from * width);
    for (long r = 0; r < n; r++)
        memcpy(shift(net, out, r * width), shift_const(net, y, (from + r) * stride), (size_t)(width * net->kernels->element_size));
    if (s->window->training)
        net->kernels->multiply(n, width, draw_mask(s, from, to), width, out, width);
}

static void drop_gradient_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    long width = net->layer[s->layer].output_width;
    void *dy = shift(net, region(net, net->memory->layer[s->layer].dy), from * width);
    net->kernels->multiply(to - from, width, draw_mask(s, from, to), width, dy, width);
}

/* What the layer above, or the head, sees of a layer: with dropout a masked copy. */
static void *seen_output(const struct stretch *s, int layer, long *stride)
{
    struct stretch own = stretch_of_layer(s, layer);
    if (!s->net->has_dropout)
        return layer_output(&s->net->layer[layer], s->first, stride);
    *stride = s->net->layer[layer].output_width;
    return dropped_rows(&own);
}

static void draw_state_masks(struct network *net, const struct window *window)
{
    for (int l = 0; l < net->model->layers; l++) {
        for (int i = 0; i < net->model->cell->states; i++) {
            size_t mask = net->memory->layer[l].mask[i];
            net->layer[l].mask[i] = window->training ? region(net, mask) : NULL;
            if (!net->layer[l].mask[i])
                continue;
            struct random_stream stream = random_open(net->config.seed, RANDOM_DROPOUT_STATE, (uint32_t)(l * 64 + i));
            const uint32_t key[4] = {stream.key[0], stream.key[1], stream.purpose, stream.layer};
            long width = layer_state_width(&net->layer[l], i);
            net->kernels->dropout_mask(key, (uint64_t)(window->index * net->config.batch), net->config.batch, width,
                                       1 - net->config.dropout_state, net->layer[l].mask[i], width);
        }
    }
}

/* ---- input ---- */

static void input_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    const bptt_model *model = net->model;
    long width = net->layer[0].input_width, at = s->start * net->config.batch + from;
    void *x = shift(net, region(net, net->memory->input), (s->first * net->config.batch + from) * width);
    if (s->window->token) {
        net->kernels->gather(to - from, model->inputs, s->window->token + at,
                             shift(net, net->parameters, model->embed_offset), model->inputs, x, width);
    } else {
        const char *given = (const char *)s->window->x + at * model->inputs * s->window->element_size;
        net->kernels->load_rows(to - from, model->inputs, given, s->window->element_size, model->inputs, x, width);
    }
}

static struct block_io layer_io(const struct stretch *s, int l)
{
    const struct network *net = s->net;
    struct block_io io = {.first = s->first, .steps = s->steps};
    if (l > 0) {
        io.x = seen_output(s, l - 1, &io.x_stride);
    } else if (net->table) {
        io.token = s->window->token + s->start * net->config.batch;
        io.table = region(net, net->memory->table);
        io.table_stride = layer_table_width(&net->layer[0]);
    } else {
        io.x_stride = net->layer[0].input_width;
        io.x = shift(net, region(net, net->memory->input), s->first * net->config.batch * io.x_stride);
    }
    return io;
}

static void forward_stretch(struct stretch *s)
{
    struct network *net = s->net;
    if (!net->table)
        for_rows(s, input_rows);
    for (int l = 0; l < net->model->layers; l++) {
        struct block_io io = layer_io(s, l);
        layer_forward(&net->layer[l], &io, net->pool);
        struct stretch own = stretch_of_layer(s, l);
        if (net->has_dropout)
            for_rows(&own, drop_rows);
    }
}

/* ---- head and loss ---- */

static void *logit_rows(const struct stretch *s, long from)
{
    return shift(s->net, region(s->net, s->net->memory->logits), from * padded(s->net->model->outputs));
}

static void apply_head(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    const bptt_model *model = net->model;
    const struct kernels *k = net->kernels;
    long stride, o = padded(model->outputs);
    const void *seen = seen_output(s, (int)model->layers - 1, &stride), *y = shift_const(net, seen, from * stride);
    void *out = logit_rows(s, from);
    if (!model->head) {
        for (long r = 0; r < to - from; r++)
            memcpy(shift(net, out, r * o), shift_const(net, y, r * stride), (size_t)(o * k->element_size));
        return;
    }
    k->gemm(to - from, model->outputs, model->top, y, stride, region(net, net->memory->head), out, o, 0);
    k->add_row(to - from, model->outputs, shift(net, net->parameters, model->bias_offset), out, o);
}

static double loss_scale(const struct stretch *s)
{
    const bptt_model *model = s->net->model;
    long steps = s->window->mean_over ? s->window->mean_over : s->window->steps;
    double count = (double)steps * (double)s->net->config.batch;
    return 1 / (model->loss == BPTT_MSE ? count * (double)model->outputs : count);
}

static void apply_loss(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    const bptt_model *model = net->model;
    long o = padded(model->outputs), at = s->start * net->config.batch + from;
    double *loss = (double *)region(net, net->memory->loss_rows) + from;
    if (model->loss == BPTT_CROSS_ENTROPY) {
        net->kernels->softmax_cross_entropy(to - from, model->outputs, logit_rows(s, from), o,
                                            (const int32_t *)s->window->target + at, loss_scale(s), loss);
        return;
    }
    void *target = shift(net, region(net, net->memory->target), from * o);
    const char *given = (const char *)s->window->target + at * model->outputs * s->window->element_size;
    net->kernels->load_rows(to - from, model->outputs, given, s->window->element_size, model->outputs, target, o);
    net->kernels->squared_error(to - from, model->outputs, logit_rows(s, from), o, target, o, loss_scale(s), loss);
}

static void head_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    const bptt_model *model = net->model;
    const struct kernels *k = net->kernels;
    struct window *window = s->window;
    long o = padded(model->outputs), at = s->start * net->config.batch + from;
    apply_head(s, from, to);
    if (window->output)
        k->store_rows(to - from, model->outputs, logit_rows(s, from), o, (char *)window->output + at * model->outputs * window->element_size,
                      window->element_size, model->outputs);
    if (has_loss(window))
        apply_loss(s, from, to);
    if (!s->backward)
        return;
    if (window->output_gradient)
        k->load_rows(to - from, model->outputs, (const char *)window->output_gradient + at * model->outputs * window->element_size,
                     window->element_size, model->outputs, logit_rows(s, from), o);
    else if (!has_loss(window))            /* only a final gradient */
        memset(logit_rows(s, from), 0, (size_t)((to - from) * o * k->element_size));
    long width = top_layer(net)->output_width;
    void *dy = shift(net, region(net, net->memory->layer[model->layers - 1].dy), from * width);
    if (model->head)
        k->gemm(to - from, model->top, model->outputs, logit_rows(s, from), o, region(net, net->memory->head_back), dy, width, 0);
    else
        memcpy(dy, logit_rows(s, from), (size_t)((to - from) * width * k->element_size));
}

static void head_gradient_task(void *context, long task, int worker)
{
    struct stretch *s = context;
    struct network *net = s->net;
    const bptt_model *model = net->model;
    long o = padded(model->outputs), stride, from = task * 48, to = from + 48 < model->outputs ? from + 48 : model->outputs;
    const void *y = seen_output(s, (int)model->layers - 1, &stride);
    const void *d = shift(net, logit_rows(s, 0), from);
    net->kernels->gemm_tn(to - from, model->top, s->rows, d, o, y, stride,
                          shift(net, net->gradients, model->head_offset + from * model->top), model->top,
                          top_layer(net)->scratch + (size_t)worker * net->memory->scratch_bytes);
    net->kernels->column_sum(s->rows, to - from, d, o, shift(net, net->gradients, model->bias_offset + from));
}

static void run_head(struct stretch *s)
{
    struct network *net = s->net;
    const double *loss = region(net, net->memory->loss_rows);
    for_rows(s, head_rows);
    double sum = 0;
    for (long r = 0; has_loss(s->window) && r < s->rows; r++)
        sum += loss[r];
    s->window->loss += sum * (has_loss(s->window) ? loss_scale(s) : 0);
    if (s->backward && net->model->head)
        pool_tasks(net->pool, (net->model->outputs + 47) / 48, head_gradient_task, s);
}

/* ---- backward ---- */

static void embed_gradient_task(void *context, long task, int worker)
{
    (void)worker;
    struct stretch *s = context;
    struct network *net = s->net;
    long inputs = net->model->inputs, from = task * 64, to = from + 64 < inputs ? from + 64 : inputs;
    net->kernels->scatter_add(s->rows, from, to, s->window->token + s->start * net->config.batch, region(net, net->memory->dinput),
                              net->layer[0].input_width, shift(net, net->gradients, net->model->embed_offset), inputs);
}

static void input_gradient_rows(struct stretch *s, long from, long to)
{
    struct network *net = s->net;
    long inputs = net->model->inputs, width = net->layer[0].input_width, at = s->start * net->config.batch + from;
    net->kernels->store_rows(to - from, inputs, shift(net, region(net, net->memory->dinput), from * width), width,
                             (char *)s->window->input_gradient + at * inputs * s->window->element_size, s->window->element_size, inputs);
}

static void give_input_gradient(struct stretch *s)
{
    struct network *net = s->net;
    if (s->window->token && !net->table)
        pool_tasks(net->pool, (net->model->inputs + 63) / 64, embed_gradient_task, s);
    if (s->window->input_gradient)
        for_rows(s, input_gradient_rows);
}

static void backward_stretch(struct stretch *s)
{
    struct network *net = s->net;
    run_head(s);
    for (int l = (int)net->model->layers - 1; l >= 0; l--) {
        struct stretch own = stretch_of_layer(s, l);
        if (net->has_dropout && s->window->training)
            for_rows(&own, drop_gradient_rows);
        struct block_io io = layer_io(s, l);
        io.dy = region(net, net->memory->layer[l].dy);
        io.dy_stride = net->layer[l].output_width;
        io.dx = l > 0 ? region(net, net->memory->layer[l - 1].dy) : region(net, net->memory->dinput);
        io.dx_stride = net->layer[l].input_width;
        io.wants_dx = l > 0 || s->window->input_gradient || (s->window->token && !net->table);
        layer_backward(&net->layer[l], &io, net->gradients, net->pool);
        if (l == 0 && net->table)
            layer_table_scatter(&net->layer[0], &io, region(net, net->memory->dtable), net->pool);
    }
    give_input_gradient(s);
}

static void clear_table_gradient(struct network *net)
{
    if (net->table)
        memset(region(net, net->memory->dtable), 0,
               (size_t)(net->model->vocabulary * layer_table_width(&net->layer[0]) * net->kernels->element_size));
}

static void finish_table_gradient(struct network *net)
{
    const bptt_model *model = net->model;
    if (!net->table)
        return;
    layer_table_backward(&net->layer[0], shift(net, net->parameters, model->embed_offset), model->vocabulary, model->inputs,
                         net->parameters, region(net, net->memory->dtable), net->gradients,
                         shift(net, net->gradients, model->embed_offset), region(net, net->memory->table_work),
                         region(net, net->memory->table_packed));
}

/* ---- windows ---- */

static int check_tokens(const struct network *net, const int32_t *token, long steps, long limit, const char *what, bptt_error *error)
{
    long batch = net->config.batch;
    for (long i = 0; i < steps * batch; i++)
        if (token[i] < 0 || token[i] >= limit)
            return fail(error, BPTT_ERROR_ARGUMENT, "%s %d at step %ld, row %ld is not between 0 and %ld", what, (int)token[i], i / batch,
                        i % batch, limit - 1);
    return BPTT_OK;
}

static int check_window(const struct network *net, const struct window *window, bptt_error *error)
{
    int status = BPTT_OK;
    if (window->token)
        status = check_tokens(net, window->token, window->steps, net->model->vocabulary, "input token", error);
    if (!status && window->target && net->model->loss == BPTT_CROSS_ENTROPY)
        status = check_tokens(net, window->target, window->steps, net->model->outputs, "target", error);
    return status;
}

static void begin(struct network *net, struct window *window)
{
    window->loss = 0;
    draw_state_masks(net, window);
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->layer[l].state[i], 0, net->carried[l][i], 0);
}

static void carry(struct network *net, long slot)
{
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->carried[l][i], 0, net->layer[l].state[i], slot);
}

static struct stretch stretch_at(struct network *net, struct window *window, long start, int on_tape, int backward)
{
    long steps = window->steps - start < net->block ? window->steps - start : net->block;
    return (struct stretch){.net = net, .window = window, .start = start, .first = on_tape ? start : 0, .steps = steps,
                            .rows = steps * net->config.batch, .backward = backward};
}

int network_forward(struct network *net, struct window *window, bptt_error *error)
{
    int status = check_window(net, window, error);
    if (status)
        return status;
    begin(net, window);
    for (long start = 0; start < window->steps; start += net->block) {
        struct stretch s = stretch_at(net, window, start, 0, 0);
        forward_stretch(&s);
        if (window->output || has_loss(window))
            run_head(&s);
        move_states(net, s.steps);
    }
    carry(net, 0);
    return BPTT_OK;
}

int network_gradient(struct network *net, struct window *window, bptt_error *error)
{
    int status = check_window(net, window, error);
    if (status)
        return status;
    begin(net, window);
    clear_table_gradient(net);
    for (long start = 0; start < window->steps; start += net->block) {
        struct stretch s = stretch_at(net, window, start, 1, 0);
        forward_stretch(&s);
    }
    carry(net, window->steps);
    long last = window->steps > 0 ? (window->steps - 1) / net->block * net->block : 0, slot = window->steps - last;
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->layer[l].dstate[i], slot, net->final_gradient[l][i], 0);
    for (long start = last; window->steps > 0 && start >= 0; start -= net->block) {
        struct stretch s = stretch_at(net, window, start, 1, 1);
        backward_stretch(&s);
        for (int l = 0; start > 0 && l < net->model->layers; l++)
            for (int i = 0; i < net->model->cell->states; i++)
                copy_state(net, l, i, net->layer[l].dstate[i], net->block, net->layer[l].dstate[i], 0);
    }
    finish_table_gradient(net);
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->initial_gradient[l][i], 0, net->layer[l].dstate[i], 0);
    return BPTT_OK;
}

/* ---- diagnosis ---- */

static int is_finite(const struct network *net, const void *values, long n)
{
    return isfinite(net->kernels->sum_of_squares(n, values));
}

static int find_in_states(const struct network *net, char *where, size_t size)
{
    for (long t = 0; t < net->positions; t++) {
        for (int l = 0; l < net->model->layers; l++) {
            for (int i = 0; i < net->model->cell->states; i++) {
                long one = state_elements(net, l, i);
                if (is_finite(net, shift_const(net, net->layer[l].state[i], (t + 1) * one), one))
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
        if (is_finite(net, shift_const(net, net->gradients, tensor->offset), tensor->count))
            continue;
        snprintf(where, size, "gradient of %s", tensor->name);
        return 1;
    }
    return 0;
}
