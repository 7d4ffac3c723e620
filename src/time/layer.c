/* layer.c - binds a cell's programs to sizes (layouts, joined products, packing) and runs them over blocks of steps.
 *
 * Rows never mix inside a step, so all of a block's work is split by rows: phases before and after over steps and batch
 * together, the scan by batch rows, each worker walking its rows through all steps of the block without meeting another; or,
 * where there are too few, by units (units.h). */
#include "layer.h"

#include <stdlib.h>
#include <string.h>

#include "part.h"
#include "units.h"

enum {
    CHUNK = 96,                            /* most rows that a worker takes at once in before and after */
    POINTWISE = 8,                         /* multiply-adds that one pointwise operation costs, roughly */
    SMALL = 200000,                        /* multiply-adds that one worker has done before it has woken another */
};

static void *shift(const struct layer *layer, void *base, long elements)
{
    return (char *)base + elements * layer->kernels->element_size;
}

static const void *shift_const(const struct layer *layer, const void *base, long elements)
{
    return (const char *)base + elements * layer->kernels->element_size;
}

/* In gradients, whose numbers are of the kernels' wide type. */
static void *shift_wide(const struct layer *layer, void *base, long elements)
{
    return (char *)base + elements * layer->kernels->wide->element_size;
}

/* ---- layouts ---- */

static int lay_out(struct layer *layer, const struct program *program, enum place_kind kind, struct placed *placed)
{
    placed->column = arena_alloc(&layer->arena, ((size_t)program->count[kind] + 1) * sizeof(long));
    if (!placed->column)
        return 0;
    for (int i = 0; i < program->places; i++)
        if (program->place[i].kind == kind)
            placed->column[program->place[i].index] = padded(layer->size[program->place[i].dim]);
    for (int i = 0; i < program->count[kind]; i++) {
        long width = placed->column[i];
        placed->column[i] = placed->width;
        placed->width += width;
    }
    return 1;
}

/* The column of a place within its buffer's row, or -1 if it has a buffer of its own. */
static long column_of(const struct layer *layer, const struct bound *bound, int place)
{
    const struct place *p = &bound->program->place[place];
    switch (p->kind) {
    case PLACE_TAPE: return layer->run.tape.column[p->index];
    case PLACE_BLOCK: return bound->block.column[p->index];
    case PLACE_STEP: return bound->step.column[p->index];
    default: return -1;
    }
}

static enum place_kind kind_of(const struct bound *bound, int place)
{
    return bound->program->place[place].kind;
}

static int are_adjacent(const struct layer *layer, const struct bound *bound, int a, int b, long distance)
{
    return kind_of(bound, a) == kind_of(bound, b) && column_of(layer, bound, a) >= 0 &&
           column_of(layer, bound, b) - column_of(layer, bound, a) == distance;
}

/* ---- jobs ---- */

/* The state whose products these are: forward by the operand, backward by the mark that derive.c left. Or -1. */
static int is_state_product(const struct bound *bound, const struct product *product)
{
    const struct place *operand = &bound->program->place[product->operand];
    if (bound->program->backward)
        return bound->program->graph->node[product->node].leaf - 1;
    return operand->kind == PLACE_STATE ? operand->index : -1;
}

/* Whole blocks of a block-diagonal matrix run by themselves where their borders fall on vector borders; otherwise the matrix
 * is packed with its zeros. */
static int runs_by_block(const struct layer *layer, const struct product *product)
{
    const struct parameter *param = &layer->cell->param[product->param];
    const struct slot *slot = &layer->slot[product->param];
    return param->blocks > 1 && slot->rows / param->blocks % STAGE_PAD == 0 && slot->columns % STAGE_PAD == 0;
}

static struct matmul plain_job(const struct layer *layer, const struct bound *bound, int number, int block)
{
    const struct product *product = &bound->program->product[number];
    const struct parameter *param = &layer->cell->param[product->param];
    const struct slot *slot = &layer->slot[product->param];
    int by_block = runs_by_block(layer, product);
    long rows = by_block ? slot->rows / param->blocks : slot->rows;
    long columns = by_block ? slot->columns : slot->columns * param->blocks;
    struct matmul job = {.phase = product->phase, .level = product->level, .operand = product->operand, .result = product->result,
                      .k = product->transposed ? rows : columns, .n = product->transposed ? columns : rows,
                      .accumulate = product->accumulate, .on_state = is_state_product(bound, product),
                      .first_product = number, .product_count = 1, .block = by_block ? block : -1};
    if (by_block) {
        job.operand_column = (int)(block * job.k);
        job.result_column = (int)(block * job.n);
    }
    return job;
}

/* Same operand, results side by side: one wider product. */
static int joins_wide(const struct layer *layer, const struct bound *bound, const struct matmul *last, const struct matmul *next)
{
    int same = last->phase == next->phase && last->level == next->level && last->operand == next->operand &&
               last->accumulate == next->accumulate && last->on_state == next->on_state && last->k == next->k;
    return same && last->block < 0 && next->block < 0 &&
           are_adjacent(layer, bound, last->result, next->result, padded(last->n));
}

/* Same result, operands side by side, matrices one under the other in memory: one deeper product. */
static int joins_deep(const struct layer *layer, const struct bound *bound, const struct matmul *last, const struct matmul *next)
{
    const struct product *a = &bound->program->product[last->first_product], *b = &bound->program->product[next->first_product];
    const struct slot *first = &layer->slot[a->param], *second = &layer->slot[b->param];
    int same = last->phase == next->phase && last->level == next->level && last->result == next->result && next->accumulate &&
               last->on_state == next->on_state && last->n == next->n;
    int dense = layer->cell->param[a->param].blocks == 1 && layer->cell->param[b->param].blocks == 1;
    return same && dense && a->transposed && b->transposed && last->k % STAGE_PAD == 0 &&
           second->offset == first->offset + last->k * first->columns &&
           are_adjacent(layer, bound, last->operand, next->operand, last->k);
}

static int is_deep(const struct layer *layer, const struct bound *bound, const struct matmul *job)
{
    const struct product *product = &bound->program->product[job->first_product];
    return job->product_count > 1 && product->transposed && job->k != layer->slot[product->param].rows;
}

static void add_job(struct layer *layer, struct bound *bound, struct matmul next)
{
    struct matmul *last = bound->jobs ? &bound->job[bound->jobs - 1] : NULL;
    if (last && !is_deep(layer, bound, last) && joins_wide(layer, bound, last, &next)) {
        last->n = padded(last->n) + next.n;
        last->product_count++;
    } else if (last && (last->product_count == 1 || is_deep(layer, bound, last)) && joins_deep(layer, bound, last, &next)) {
        last->k += next.k;
        last->product_count++;
    } else {
        bound->job[bound->jobs++] = next;
    }
}

/* Whether the operand's place takes a later value of the same step, or one of the next. */
static int is_overwritten(const struct program *program, const struct matmul *job)
{
    int found = program->place[job->operand].kind == PLACE_STEP;
    for (int i = 0; i < program->stages; i++) {
        const struct stage *stage = &program->stage[i];
        for (int k = 0; k < stage->count && stage->phase == job->phase && stage->level >= job->level; k++) {
            int n = program->order[stage->first + k];
            found |= program->stored[n] && program->place_of[n] == job->operand;
        }
    }
    return found;
}

static int make_jobs(struct layer *layer, struct bound *bound)
{
    const struct program *program = bound->program;
    size_t most = 1;
    for (int i = 0; i < program->products; i++)
        most += (size_t)layer->cell->param[program->product[i].param].blocks;
    bound->job = arena_alloc(&layer->arena, most * sizeof *bound->job);
    if (!bound->job)
        return 0;
    for (int i = 0; i < program->products; i++) {
        int blocks = runs_by_block(layer, &program->product[i]) ? layer->cell->param[program->product[i].param].blocks : 1;
        for (int b = 0; b < blocks; b++)
            add_job(layer, bound, plain_job(layer, bound, i, b));
    }
    for (int i = 0; i < bound->jobs; i++) {
        bound->cost[bound->job[i].phase] += bound->job[i].n * bound->job[i].k;
        bound->job[i].deep = is_deep(layer, bound, &bound->job[i]);
        bound->job[i].overwritten = is_overwritten(program, &bound->job[i]);
        bound->job[i].packed = layer->packed;
        layer->packed += padded(bound->job[i].n) * packed_depth(layer->kernels, bound->job[i].k);
    }
    return 1;
}

/* ---- weight gradients ---- */

static struct outer plain_outer(const struct layer *layer, const struct sink *sink, int block)
{
    const struct program *back = layer->back.program;
    const struct parameter *param = &layer->cell->param[sink->index];
    const struct slot *slot = &layer->slot[sink->index];
    struct outer outer = {.left = back->place_of[sink->left], .right = -1, .m = slot->rows, .n = 1, .offset = slot->offset,
                          .param = sink->index};
    if (sink->kind == SINK_ROWS)
        return outer;
    outer.right = back->place_of[sink->right];
    outer.m = slot->rows / param->blocks;
    outer.n = slot->columns;
    outer.left_column = (int)(block * outer.m);
    outer.right_column = (int)(block * outer.n);
    outer.offset += block * outer.m * outer.n;
    return outer;
}

static int compare_outers(const void *x, const void *y)
{
    const struct outer *a = x, *b = y;
    if ((a->right < 0) != (b->right < 0)) return a->right < 0 ? 1 : -1;
    if (a->right != b->right) return a->right < b->right ? -1 : 1;
    return a->offset < b->offset ? -1 : a->offset > b->offset;
}

static int joins_outer(const struct layer *layer, const struct outer *last, const struct outer *next)
{
    int same = last->right == next->right && last->right >= 0 && last->n == next->n && last->m % STAGE_PAD == 0;
    int whole = layer->cell->param[last->param].blocks == 1 && layer->cell->param[next->param].blocks == 1;
    return same && whole && next->offset == last->offset + last->m * last->n &&
           are_adjacent(layer, &layer->back, last->left, next->left, last->m);
}

static int overlap(const struct outer *a, const struct outer *b)
{
    return a->offset < b->offset + b->m * b->n && b->offset < a->offset + a->m * a->n;
}

/* A matrix that stands twice in a cell has two outers, which add to the same numbers: one after the other. */
static void set_waves(struct layer *layer)
{
    for (int i = 0; i < layer->outers; i++)
        for (int j = 0; j < i; j++)
            if (overlap(&layer->outer[i], &layer->outer[j]) && layer->outer[i].wave <= layer->outer[j].wave)
                layer->outer[i].wave = layer->outer[j].wave + 1;
}

static int make_outers(struct layer *layer)
{
    const struct graph *graph = layer->back.program->graph;
    size_t most = 1;
    for (int i = 0; i < graph->sinks; i++)
        if (graph->sink[i].kind == SINK_OUTER || graph->sink[i].kind == SINK_ROWS)
            most += (size_t)layer->cell->param[graph->sink[i].index].blocks;
    struct outer *all = arena_alloc(&layer->arena, most * sizeof *all);
    layer->outer = arena_alloc(&layer->arena, most * sizeof *all);
    if (!all || !layer->outer)
        return 0;
    int count = 0;
    for (int i = 0; i < graph->sinks; i++) {
        const struct sink *sink = &graph->sink[i];
        int blocks = sink->kind == SINK_OUTER ? layer->cell->param[sink->index].blocks : sink->kind == SINK_ROWS;
        for (int b = 0; b < blocks; b++)
            all[count++] = plain_outer(layer, sink, b);
    }
    qsort(all, (size_t)count, sizeof *all, compare_outers);
    for (int i = 0; i < count; i++) {
        struct outer *last = layer->outers ? &layer->outer[layer->outers - 1] : NULL;
        if (last && joins_outer(layer, last, &all[i]))
            last->m += all[i].m;
        else
            layer->outer[layer->outers++] = all[i];
    }
    set_waves(layer);
    return 1;
}

/* ---- making a layer ---- */

static int bind_program(struct layer *layer, struct bound *bound, const struct program *program)
{
    bound->program = program;
    bound->value = arena_alloc(&layer->arena, ((size_t)program->places + 1) * sizeof *bound->value);
    bound->scratch = (long)interpret_scratch(program, layer->size);
    for (int i = 0; i < program->stages; i++)
        for (int k = 0; k < program->stage[i].count; k++)
            bound->cost[program->stage[i].phase] +=
                POINTWISE * layer->size[program->graph->node[program->order[program->stage[i].first + k]].dim];
    return bound->value && (program->backward || lay_out(layer, program, PLACE_TAPE, &bound->tape)) &&
           lay_out(layer, program, PLACE_BLOCK, &bound->block) && lay_out(layer, program, PLACE_STEP, &bound->step) &&
           make_jobs(layer, bound);
}

static int place_vectors(struct layer *layer)
{
    layer->vector = arena_alloc(&layer->arena, ((size_t)layer->cell->params + 1) * sizeof(long));
    if (!layer->vector)
        return 0;
    for (int i = 0; i < layer->cell->params; i++) {
        int is_vector = layer->cell->param[i].columns == DIM_NONE;
        layer->vector[i] = is_vector ? layer->packed : -1;
        layer->packed += is_vector ? padded(layer->slot[i].rows) : 0;
    }
    return 1;
}

/* BPTT_ISA and the machine decide; a cell without code for them is interpreted. */
static void choose_code(struct layer *layer)
{
    const struct kernels *kernels = layer->kernels;
    const struct cell_code *code = cell_code_for(layer->cell, isa_name[kernels->isa], (int)kernels->element_size);
    layer->code_isa = code ? code->isa : NULL;
    layer->run.code = code ? code->stage : NULL;
    layer->back.code = code ? code->stage + layer->cell->run.stages : NULL;
}

void layer_interpret(struct layer *layer)
{
    layer->code_isa = NULL;
    layer->run.code = layer->back.code = NULL;
}

static int allocate_pointers(struct layer *layer)
{
    size_t bytes = ((size_t)layer->cell->states + 1) * sizeof(void *);
    layer->state = arena_alloc(&layer->arena, bytes);
    layer->dstate = arena_alloc(&layer->arena, bytes);
    layer->mask = arena_alloc(&layer->arena, bytes);
    layer->masked = arena_alloc(&layer->arena, bytes);
    layer->dmasked = arena_alloc(&layer->arena, bytes);
    return layer->state && layer->dstate && layer->mask && layer->masked && layer->dmasked;
}

static int allocate_calls(struct layer *layer)
{
    int run = layer->run.jobs + layer->run.program->stages, back = layer->back.jobs + layer->back.program->stages;
    layer->call = arena_alloc(&layer->arena, ((size_t)(run > back ? run : back) + 1) * sizeof *layer->call);
    return layer->call != NULL;
}

int layer_new(struct layer *layer, const bptt_cell *cell, const long *size, long batch, const struct kernels *kernels,
              const struct slot *slot, bptt_error *error)
{
    *layer = (struct layer){.kernels = kernels, .batch = batch};
    layer->cell = cell_keep(cell);
    layer->size = arena_alloc(&layer->arena, (size_t)cell->dims * sizeof(long));
    layer->slot = arena_alloc(&layer->arena, ((size_t)cell->params + 1) * sizeof *slot);
    if (layer->size && layer->slot) {
        memcpy(layer->size, size, (size_t)cell->dims * sizeof(long));
        if (cell->params)
            memcpy(layer->slot, slot, (size_t)cell->params * sizeof *slot);
        choose_code(layer);
        layer->input_width = padded(size[DIM_I]);
        layer->output_width = padded(size[cell->output_dim]);
        if (bind_program(layer, &layer->run, &cell->run) && bind_program(layer, &layer->back, &cell->back) &&
            make_outers(layer) && place_vectors(layer) && allocate_pointers(layer) && allocate_calls(layer))
            return BPTT_OK;
    }
    layer_free(layer);
    return fail_memory(error, sizeof *layer);
}

int layer_is_masked(const struct layer *layer)
{
    for (int i = 0; i < layer->cell->states; i++)
        if (layer->mask[i])
            return 1;
    return 0;
}

void layer_free(struct layer *layer)
{
    bptt_cell_free(layer->cell);
    arena_free(&layer->arena);
    *layer = (struct layer){0};
}

long layer_tape_width(const struct layer *layer)
{
    return layer->run.tape.width;
}

long layer_state_width(const struct layer *layer, int state)
{
    return padded(layer->size[layer->cell->state[state].dim]);
}

size_t layer_scratch(const struct layer *layer, long block)
{
    long most = (layer->run.scratch > layer->back.scratch ? layer->run.scratch : layer->back.scratch) + (long)view_scratch(layer);
    for (int i = 0; i < layer->outers; i++) {
        const struct outer *outer = &layer->outer[i];
        long bytes = outer->right < 0 ? 0 : layer->kernels->gemm_tn_scratch(outer->m, outer->n, block * layer->batch) *
                                            layer->kernels->element_size;
        most = bytes > most ? bytes : most;
    }
    return (size_t)padded(most);
}

/* ---- packing ---- */

/* A block-diagonal matrix with its zeros, packed column by column of the panels. */
static void pack_with_zeros(const struct layer *layer, const struct product *product, const void *w, void *packed)
{
    const struct slot *slot = &layer->slot[product->param];
    const struct kernels *kernels = layer->kernels;
    long blocks = layer->cell->param[product->param].blocks, rows = slot->rows / blocks, columns = slot->columns;
    long k = product->transposed ? slot->rows : columns * blocks, n = product->transposed ? columns * blocks : slot->rows;
    long k_block = product->transposed ? rows : columns;
    memset(packed, 0, (size_t)(padded(n) * packed_depth(kernels, k) * kernels->element_size));
    for (long j = 0; j < n; j++) {
        long block = j / (product->transposed ? columns : rows);
        for (long i = 0; i < k_block; i++) {
            long r = product->transposed ? block * rows + i : j, c = product->transposed ? j - block * columns : i;
            memcpy(shift(layer, packed, packed_at(kernels, k, block * k_block + i, j)), shift_const(layer, w, r * columns + c), (size_t)kernels->element_size);
        }
    }
}

static void pack_product(const struct layer *layer, const struct matmul *job, const struct product *product, long k,
                         const void *parameters, void *packed)
{
    const struct slot *slot = &layer->slot[product->param];
    const void *w = shift_const(layer, parameters, slot->offset);
    long columns = slot->columns, n = product->transposed ? columns : slot->rows;
    if (job->block >= 0) {
        w = shift_const(layer, w, job->block * slot->rows / layer->cell->param[product->param].blocks * columns);
        n = job->n;
    } else if (layer->cell->param[product->param].blocks > 1) {
        pack_with_zeros(layer, product, w, packed);
        return;
    }
    layer->kernels->pack(k, n, w, product->transposed ? columns : 1, product->transposed ? 1 : columns, packed);
}

static void pack_job(const struct layer *layer, const struct bound *bound, const struct matmul *job, const void *parameters)
{
    const struct product *first = &bound->program->product[job->first_product];
    void *packed = shift(layer, layer->packed_base, job->packed);
    if (is_deep(layer, bound, job)) {
        pack_product(layer, job, first, job->k, parameters, packed);
        return;
    }
    for (int i = 0; i < job->product_count; i++) {
        const struct product *product = &bound->program->product[job->first_product + i];
        long column = i ? column_of(layer, bound, product->result) - column_of(layer, bound, first->result) : 0;
        pack_product(layer, job, product, job->k, parameters, shift(layer, packed, column * packed_depth(layer->kernels, job->k)));
    }
}

struct packing { struct layer *layer; const void *parameters; };

static void pack_task(void *context, long task, int worker)
{
    (void)worker;
    struct packing *p = context;
    const struct bound *bound = task < p->layer->run.jobs ? &p->layer->run : &p->layer->back;
    long number = task < p->layer->run.jobs ? task : task - p->layer->run.jobs;
    pack_job(p->layer, bound, &bound->job[number], p->parameters);
}

void layer_pack(struct layer *layer, const void *parameters, struct pool *pool)
{
    struct packing packing = {layer, parameters};
    pool_tasks(pool, layer->run.jobs + layer->back.jobs, pack_task, &packing);
    long size = layer->kernels->element_size;
    for (int i = 0; i < layer->cell->params; i++) {
        long n = layer->slot[i].rows;
        void *copy = shift(layer, layer->packed_base, layer->vector[i]);
        if (layer->vector[i] < 0)
            continue;
        memcpy(copy, shift_const(layer, parameters, layer->slot[i].offset), (size_t)(n * size));
        memset(shift(layer, copy, n), 0, (size_t)((padded(n) - n) * size));
    }
}

/* ---- where values stand in a block ---- */

static struct stage_value value_at(const struct layer *layer, const struct bound *bound, const struct place *place,
                                   const struct block_io *io)
{
    int back = bound->program->backward;
    long batch = layer->batch;
    long state = place->kind == PLACE_STATE || place->kind == PLACE_NEXT || place->kind == PLACE_DSTATE || place->kind == PLACE_DPREV
                     ? layer_state_width(layer, place->index) : 0;
    void *base = NULL;
    long stride = state;
    switch (place->kind) {
    case PLACE_PARAM: return (struct stage_value){shift(layer, layer->packed_base, layer->vector[place->index]), 0, 0};
    case PLACE_INPUT: base = io->x; stride = io->x_stride; break;
    case PLACE_STATE: base = shift(layer, layer->state[place->index], io->first * batch * state); break;
    case PLACE_NEXT: base = shift(layer, layer->state[place->index], (io->first + 1) * batch * state); break;
    case PLACE_TAPE:
        stride = layer->run.tape.width;
        base = shift(layer, layer->tape, io->first * batch * stride + layer->run.tape.column[place->index]);
        break;
    case PLACE_BLOCK:
        stride = bound->block.width;
        base = shift(layer, back ? layer->back_block : layer->run_block, bound->block.column[place->index]);
        break;
    case PLACE_STEP:
        stride = bound->step.width;
        base = shift(layer, back ? layer->back_step : layer->run_step, bound->step.column[place->index]);
        return (struct stage_value){base, stride, 0};
    case PLACE_DOUTPUT: base = (void *)(uintptr_t)io->dy; stride = io->dy_stride; break;
    case PLACE_DSTATE: base = shift(layer, layer->dstate[place->index], batch * state); break;
    case PLACE_DPREV: base = layer->dstate[place->index]; break;
    case PLACE_DINPUT: base = io->dx; stride = io->dx_stride; break;
    default: break;
    }
    return (struct stage_value){base, stride, batch * stride};
}

static void bind_block(const struct layer *layer, struct bound *bound, const struct block_io *io)
{
    for (int i = 0; i < bound->program->places; i++)
        bound->value[i] = value_at(layer, bound, &bound->program->place[i], io);
}

void *layer_output(const struct layer *layer, long first, long *stride)
{
    struct block_io io = {.first = first};
    struct stage_value value = value_at(layer, &layer->run, &layer->run.program->place[layer->run.program->output], &io);
    *stride = value.row_stride;
    return value.base;
}

/* ---- rows through one phase of one step (or of a whole block: step 0, rows counted over it) ---- */

struct work {
    struct layer *layer;
    struct bound *bound;
    const struct block_io *io;
    enum phase phase;
    long group;                            /* batch rows of one worker in the scan */
    long chunk;                            /* rows of a task in before and after */
    long units;                            /* of a task, where a scan needs no other units */
};

/* At most `most` at a time, and each worker as many as the others. */
static long even_chunk(long all, long most, long workers)
{
    long rounds = (all + most * workers - 1) / (most * workers), parts = rounds * workers;
    return rounds ? (all + parts - 1) / parts : 1;
}

static void run_rows(struct view *view, enum phase phase, struct part rows)
{
    const struct bound *bound = view->bound;
    for (int level = 0; level < bound->program->levels[phase]; level++) {
        if (part_fused(view, phase, level, rows))
            continue;
        for (int i = 0; i < bound->jobs; i++)
            if (bound->job[i].phase == phase && bound->job[i].level == level)
                part_job(view, &bound->job[i], rows);
        int stage = program_stage_at(bound->program, phase, level);
        if (stage >= 0)
            part_whole_stage(view, stage, rows);
    }
}

static void block_task(void *context, long task, int worker)
{
    const struct work *w = context;
    struct view view = view_open(w->layer, w->bound, w->io, worker);
    long all = w->io->steps * w->layer->batch, to = (task + 1) * w->chunk;
    run_rows(&view, w->phase, (struct part){.row_from = task * w->chunk, .row_to = to < all ? to : all});
}

/* masked = state * mask, for the products that see a dropped-out state. */
static void mask_rows(const struct layer *layer, const struct block_io *io, long step, long from, long to)
{
    const struct kernels *kernels = layer->kernels;
    for (int i = 0; i < layer->cell->states; i++) {
        if (!layer->mask[i])
            continue;
        long width = layer_state_width(layer, i), at = (step * layer->batch + from) * width, n = to - from;
        const void *state = shift(layer, layer->state[i], ((io->first + step) * layer->batch + from) * width);
        void *out = shift(layer, layer->masked[i], at);
        memcpy(out, state, (size_t)(n * width * kernels->element_size));
        kernels->multiply(n, width, shift(layer, layer->mask[i], from * width), width, out, width);
    }
}

static void links(const struct view *view, struct part rows)
{
    for (int i = 0; i < view->layer->cell->states && view->bound->program->backward && view->io->link; i++) {
        rows.unit_to = layer_state_width(view->layer, i);
        part_link(view, i, rows);
    }
}

/* A small step is over sooner than it is found out what it consists of: listed once for the block. */
static void scan_one_row(const struct work *w)
{
    const int back = w->bound->program->backward;
    struct view view = view_open(w->layer, w->bound, w->io, 0);
    int calls = part_list(&view, PHASE_SCAN, w->layer->call);
    for (long i = 0; i < w->io->steps; i++) {
        long step = back ? w->io->steps - 1 - i : i;
        part_run_list(w->layer, w->bound, w->layer->call, calls, step, NULL);
        links(&view, (struct part){.step = step, .row_to = 1});
    }
}

static void scan_task(void *context, long task, int worker)
{
    const struct work *w = context;
    long from = task * w->group, to = from + w->group < w->layer->batch ? from + w->group : w->layer->batch;
    int back = w->bound->program->backward;
    struct view view = view_open(w->layer, w->bound, w->io, worker);
    for (long i = 0; i < w->io->steps; i++) {
        long step = back ? w->io->steps - 1 - i : i;
        mask_rows(w->layer, w->io, step, from, to);
        run_rows(&view, PHASE_SCAN, (struct part){.step = step, .row_from = from, .row_to = to});
        links(&view, (struct part){.step = step, .row_from = from, .row_to = to});
    }
}

/* ---- a scan of one stage and nothing else (no matrix on the state): one loop over time, by rows, or by units of few rows ---- */

static int scan_stage(const struct bound *bound)
{
    for (int i = 0; i < bound->jobs; i++)
        if (bound->job[i].phase == PHASE_SCAN)
            return -1;
    int stage = bound->program->levels[PHASE_SCAN] == 1 ? program_stage_at(bound->program, PHASE_SCAN, 0) : -1;
    return stage >= 0 && bound->program->stage[stage].dim >= 0 ? stage : -1;
}

/* Between its steps nothing happens: no link is cut or weighted, no state is dropped out. */
static int runs_through(const struct layer *layer, const struct block_io *io)
{
    if (layer_is_masked(layer))
        return 0;
    for (long i = 0; io->link && i < io->steps; i++)
        if (io->link[i] != 1)
            return 0;
    return 1;
}

static void over_time_task(void *context, long task, int worker)
{
    const struct work *w = context;
    const struct program *program = w->bound->program;
    struct view view = view_open(w->layer, w->bound, w->io, worker);
    long last = w->io->steps - 1, batch = w->layer->batch, row_tasks = (batch + w->group - 1) / w->group;
    int stage = scan_stage(w->bound);
    long from = task % row_tasks * w->group, unit = task / row_tasks * w->units, width = padded(w->layer->size[program->stage[stage].dim]);
    struct part part = {program->backward ? last : 0, from, from + w->group < batch ? from + w->group : batch, unit,
                        unit + w->units < width ? unit + w->units : width};
    part_stage_over_time(&view, stage, part, (struct steps){w->io->steps, program->backward ? -1 : 1});
}

static void run_over_time(struct work *w, struct pool *pool)
{
    long workers = pool_workers(pool), width = padded(w->layer->size[w->bound->program->stage[scan_stage(w->bound)].dim]);
    long by_units = w->layer->batch >= workers ? 1 : workers / w->layer->batch;
    w->units = (width / STAGE_PAD + by_units - 1) / by_units * STAGE_PAD;
    pool_tasks(pool, (w->layer->batch + w->group - 1) / w->group * ((width + w->units - 1) / w->units), over_time_task, w);
}

/* ---- all phases of a block ---- */

static struct pool *pool_for(struct pool *pool, long cost)
{
    return cost > SMALL ? pool : NULL;
}

static void run_phases(struct layer *layer, struct bound *bound, const struct block_io *io, struct pool *pool)
{
    long rows = io->steps * layer->batch, workers = pool_workers(pool);
    struct work work = {.layer = layer, .bound = bound, .io = io, .group = (layer->batch + workers - 1) / workers,
                        .chunk = even_chunk(rows, CHUNK, workers)};
    bind_block(layer, bound, io);
    for (int phase = 0; phase < PHASE_COUNT; phase++) {
        struct pool *workers_for = pool_for(pool, bound->cost[phase] * rows);
        int sharing = phase == PHASE_SCAN ? units_workers(layer, bound, pool_workers(workers_for)) : 1;
        work.phase = (enum phase)phase;
        if (phase == PHASE_SCAN && scan_stage(bound) >= 0 && runs_through(layer, io))
            run_over_time(&work, workers_for);
        else if (sharing > 1)
            units_scan(layer, bound, io, pool, sharing);
        else if (phase == PHASE_SCAN && layer->batch == 1 && !layer_is_masked(layer))
            scan_one_row(&work);
        else if (phase == PHASE_SCAN)
            pool_tasks(workers_for, (layer->batch + work.group - 1) / work.group, scan_task, &work);
        else if (bound->program->levels[phase])
            pool_tasks(workers_for, (rows + work.chunk - 1) / work.chunk, block_task, &work);
    }
}

int layer_scan_workers(const struct layer *layer, int workers, int *by_units)
{
    int sharing = scan_stage(&layer->run) >= 0 && layer->batch < workers ? workers : units_worth(layer, &layer->run, workers);
    *by_units = sharing > 1;
    return sharing > 1 ? sharing : layer->batch < workers ? (int)layer->batch : workers;
}

void layer_forward(struct layer *layer, const struct block_io *io, struct pool *pool)
{
    run_phases(layer, &layer->run, io, pool);
}

void layer_prepare_step(struct layer *layer, const struct block_io *io)
{
    bind_block(layer, &layer->run, io);
    struct view view = view_open(layer, &layer->run, io, 0);
    layer->calls = 0;
    for (int phase = 0; phase < PHASE_COUNT && layer->batch == 1; phase++)
        layer->calls += part_list(&view, (enum phase)phase, layer->call + layer->calls);
}

void layer_step(struct layer *layer, const struct block_io *io)
{
    if (layer->batch == 1) {
        part_run_list(layer, &layer->run, layer->call, layer->calls, 0, io->token);
        return;
    }
    struct view view = view_open(layer, &layer->run, io, 0);
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        run_rows(&view, (enum phase)phase, (struct part){.row_to = layer->batch});
}

/* ---- weight gradients of a block ---- */

struct gradient_work { struct layer *layer; const struct block_io *io; void *gradients; long workers; int wave; };

/* Rows of the gradient that one task computes: split by what is written, never by the rows that are summed. */
static long gradient_chunk(const struct outer *outer, long workers)
{
    long chunk = (outer->m + workers - 1) / workers;
    return (chunk + 11) / 12 * 12;         /* whole tiles */
}

static const void *outer_operand(const struct layer *layer, int place, long column, long *stride)
{
    const struct stage_value *value = &layer->back.value[place];
    const struct place *p = &layer->back.program->place[place];
    int masks = p->kind == PLACE_STATE && layer->mask[p->index];
    *stride = value->row_stride;
    return shift(layer, masks ? layer->masked[p->index] : value->base, column);
}

static void outer_part(const struct gradient_work *g, const struct outer *outer, long from, long to, int worker)
{
    const struct layer *layer = g->layer;
    long rows = g->io->steps * layer->batch, left_stride, right_stride;
    const void *left = outer_operand(layer, outer->left, outer->left_column + from, &left_stride);
    void *gradient = shift_wide(layer, g->gradients, outer->offset + from * outer->n);
    if (outer->right < 0) {
        layer->kernels->column_sum(rows, to - from, left, left_stride, gradient);
        return;
    }
    if (g->io->table && kind_of(&layer->back, outer->right) == PLACE_INPUT)
        return;                            /* layer_table_scatter has it */
    const void *right = outer_operand(layer, outer->right, outer->right_column, &right_stride);
    layer->kernels->gemm_tn(to - from, outer->n, rows, left, left_stride, right, right_stride, gradient, outer->n,
                            layer->scratch + (size_t)worker * layer->scratch_bytes);
}

static void outer_task(void *context, long task, int worker)
{
    const struct gradient_work *g = context;
    for (int i = 0; i < g->layer->outers; i++) {
        const struct outer *outer = &g->layer->outer[i];
        long chunk = gradient_chunk(outer, g->workers), parts = (outer->m + chunk - 1) / chunk;
        if (outer->wave != g->wave)
            continue;
        if (task < parts) {
            long from = task * chunk, to = from + chunk < outer->m ? from + chunk : outer->m;
            outer_part(g, outer, from, to, worker);
            return;
        }
        task -= parts;
    }
}

static long wave_tasks(const struct gradient_work *g)
{
    long tasks = 0;
    for (int i = 0; i < g->layer->outers; i++) {
        const struct outer *outer = &g->layer->outer[i];
        long chunk = gradient_chunk(outer, g->workers);
        tasks += outer->wave == g->wave ? (outer->m + chunk - 1) / chunk : 0;
    }
    return tasks;
}

void layer_backward(struct layer *layer, const struct block_io *io, void *gradients, struct pool *pool)
{
    long cost = 0;
    run_phases(layer, &layer->back, io, pool);
    for (int i = 0; i < layer->outers; i++)
        cost += layer->outer[i].m * layer->outer[i].n * io->steps * layer->batch;
    pool = pool_for(pool, cost);
    struct gradient_work work = {layer, io, gradients, pool_workers(pool), 0};
    for (long tasks; (tasks = wave_tasks(&work)) > 0; work.wave++)
        pool_tasks(pool, tasks, outer_task, &work);
}

/* ---- tokens ---- */

static int stages_read_input(const struct program *program)
{
    const struct graph *graph = program->graph;
    for (int i = 0; i < program->stages; i++) {
        for (int k = 0; k < program->stage[i].count; k++) {
            const struct node *node = &graph->node[program->order[program->stage[i].first + k]];
            if (graph->node[node->a].op == OP_INPUT || (node->b >= 0 && graph->node[node->b].op == OP_INPUT))
                return 1;
        }
    }
    return 0;
}

int layer_takes_table(const struct layer *layer)
{
    if (stages_read_input(layer->run.program) || stages_read_input(layer->back.program))
        return 0;
    for (int i = 0; i < layer->run.program->products; i++) {
        const struct product *product = &layer->run.program->product[i];
        if (kind_of(&layer->run, product->operand) != PLACE_INPUT)
            continue;
        int plain = product->phase == PHASE_BEFORE && product->level == 0 && !product->accumulate && !product->transposed &&
                    layer->cell->param[product->param].blocks == 1;
        if (!plain)
            return 0;
    }
    return 1;
}

long layer_table_width(const struct layer *layer)
{
    long width = 0;
    for (int i = 0; i < layer->run.jobs; i++)
        width += kind_of(&layer->run, layer->run.job[i].operand) == PLACE_INPUT ? padded(layer->run.job[i].n) : 0;
    return width;
}

/* The first table column of the products of a parameter. */
static long table_column(const struct layer *layer, int param)
{
    long column = 0;
    for (int i = 0; i < layer->run.jobs; i++) {
        const struct matmul *job = &layer->run.job[i];
        if (kind_of(&layer->run, job->operand) != PLACE_INPUT)
            continue;
        const struct product *first = &layer->run.program->product[job->first_product];
        for (int k = 0; k < job->product_count; k++)
            if (first[k].param == param)
                return column + (k ? column_of(layer, &layer->run, first[k].result) - column_of(layer, &layer->run, first->result) : 0);
        column += padded(job->n);
    }
    return -1;
}

void layer_fill_table(struct layer *layer, const void *embedding, long symbols, long stride, void *table, struct pool *pool)
{
    (void)pool;                            /* a few rows: not worth waking workers for */
    long column = 0, width = layer_table_width(layer);
    for (int i = 0; i < layer->run.jobs; i++) {
        const struct matmul *job = &layer->run.job[i];
        if (kind_of(&layer->run, job->operand) != PLACE_INPUT)
            continue;
        layer->kernels->gemm(symbols, job->n, job->k, embedding, stride, shift(layer, layer->packed_base, job->packed),
                             shift(layer, table, column), width, 0);
        column += padded(job->n);
    }
}

struct scatter_work { struct layer *layer; const struct block_io *io; void *dtable; };
enum { SCATTER_CHUNK = 128 };              /* columns a worker takes: each sums its own in the order of the rows */

static void scatter_task(void *context, long task, int worker)
{
    (void)worker;
    const struct scatter_work *s = context;
    const struct layer *layer = s->layer;
    for (int i = 0; i < layer->cell->back.graph->sinks; i++) {
        const struct sink *sink = &layer->cell->back.graph->sink[i];
        if (sink->kind != SINK_OUTER || kind_of(&layer->back, layer->cell->back.place_of[sink->right]) != PLACE_INPUT)
            continue;
        long n = layer->slot[sink->index].rows, parts = (n + SCATTER_CHUNK - 1) / SCATTER_CHUNK;
        if (task >= parts) {
            task -= parts;
            continue;
        }
        long stride, from = task * SCATTER_CHUNK, to = from + SCATTER_CHUNK < n ? from + SCATTER_CHUNK : n;
        const void *left = outer_operand(layer, layer->cell->back.place_of[sink->left], 0, &stride);
        layer->kernels->scatter_add(s->io->steps * layer->batch, from, to, s->io->token, left, stride,
                                    shift_wide(layer, s->dtable, table_column(layer, sink->index)), layer_table_width(layer));
        return;
    }
}

void layer_table_scatter(struct layer *layer, const struct block_io *io, void *dtable, struct pool *pool)
{
    struct scatter_work work = {layer, io, dtable};
    long tasks = 0;
    for (int i = 0; i < layer->cell->back.graph->sinks; i++) {
        const struct sink *sink = &layer->cell->back.graph->sink[i];
        if (sink->kind == SINK_OUTER && kind_of(&layer->back, layer->cell->back.place_of[sink->right]) == PLACE_INPUT)
            tasks += (layer->slot[sink->index].rows + SCATTER_CHUNK - 1) / SCATTER_CHUNK;
    }
    pool_tasks(pool, tasks, scatter_task, &work);
}

void layer_table_backward(struct layer *layer, const void *embedding, long symbols, long stride, const void *parameters,
                          const void *dtable, void *gradients, void *dembedding, void *work, void *work_packed)
{
    const struct kernels *kernels = layer->kernels;
    const struct program *run = layer->run.program;
    long width = layer_table_width(layer), ld = padded(stride);
    int products = 0;
    for (int i = 0; i < run->products; i++) {
        if (kind_of(&layer->run, run->product[i].operand) != PLACE_INPUT)
            continue;
        int param = run->product[i].param;
        const struct slot *slot = &layer->slot[param];
        const void *d = shift_const(layer, dtable, table_column(layer, param));
        kernels->gemm_tn(slot->rows, slot->columns, symbols, d, width, embedding, stride, shift_wide(layer, gradients, slot->offset),
                         slot->columns, layer->scratch);
        kernels->pack(slot->rows, slot->columns, shift_const(layer, parameters, slot->offset), slot->columns, 1, work_packed);
        kernels->gemm_wide(symbols, slot->columns, slot->rows, d, width, work_packed, work, ld, products++ > 0);
    }
    if (products)
        kernels->wide->add(symbols, stride, work, ld, dembedding, stride);
}
