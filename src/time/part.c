/* part.c - see part.h. A stage of some units runs as if the layer had only these: the addresses of its operands are moved along
 * and its width is cut, so generated code and interpreter know nothing of it. */
#include "part.h"

#include <string.h>

enum {
    NEAR = 1 << 17,                        /* bytes that a group of units may write: a part of a second-level cache */
    GROUP = 64,                            /* units: groups are multiples, whatever the shape of a kernel's tiles */
};

static void *shift(const struct layer *layer, void *base, long elements)
{
    return (char *)base + elements * layer->kernels->element_size;
}

static void *row_at(const struct layer *layer, const struct stage_value *value, long step, long row)
{
    return shift(layer, value->base, step * value->step_stride + row * value->row_stride);
}

static enum place_kind kind_of(const struct bound *bound, int place)
{
    return bound->program->place[place].kind;
}

/* ---- views ---- */

size_t view_scratch(const struct layer *layer)
{
    int run = layer->run.program->places, back = layer->back.program->places;
    return (size_t)(run > back ? run : back) * sizeof(struct stage_value) + (size_t)layer->cell->dims * sizeof(long);
}

struct view view_open(const struct layer *layer, const struct bound *bound, const struct block_io *io, int worker)
{
    size_t sizes = (size_t)layer->cell->dims * sizeof(long);
    char *end = layer->scratch + (size_t)(worker + 1) * layer->scratch_bytes;
    struct view view = {layer, bound, io, worker, (struct stage_value *)(void *)(end - view_scratch(layer)),
                        (long *)(void *)(end - sizes), -1, 0};
    memcpy(view.size, layer->size, sizes);
    return view;
}

/* ---- products ---- */

static int is_masked(const struct layer *layer, const struct matmul *job)
{
    return job->on_state >= 0 && layer->mask[job->on_state];
}

/* Backward, the mask is on the result. Rows of a block in the phase after are all of its steps, so a row's mask is found by its
 * batch row. */
static void masked_job(const struct view *v, const struct matmul *job, struct part rows)
{
    const struct layer *layer = v->layer;
    const struct kernels *kernels = layer->kernels;
    const struct stage_value *operand = &v->bound->value[job->operand], *value = &v->bound->value[job->result];
    long width = layer_state_width(layer, job->on_state), batch = layer->batch, count = rows.row_to - rows.row_from;
    void *product = shift(layer, layer->dmasked[job->on_state], (rows.step * batch + rows.row_from) * width);
    void *result = shift(layer, row_at(layer, value, rows.step, rows.row_from), job->result_column);
    kernels->gemm(count, job->n, job->k, shift(layer, row_at(layer, operand, rows.step, rows.row_from), job->operand_column),
                  operand->row_stride, shift(layer, layer->packed_base, job->packed), product, width, 0);
    for (long r = 0; r < count; r++)
        kernels->multiply(1, job->n,
                          shift(layer, layer->mask[job->on_state], (rows.row_from + r) % batch * width + job->result_column),
                          width, shift(layer, product, r * width), width);
    for (long r = 0; r < count && !job->accumulate; r++)
        memset(shift(layer, result, r * value->row_stride), 0, (size_t)(job->n * kernels->element_size));
    kernels->add(count, job->n, product, width, result, value->row_stride);
}

/* The table's first column for the products of a job. */
static long table_column(const struct view *v, const struct matmul *job)
{
    long column = 0;
    for (const struct matmul *j = v->layer->run.job; j < job; j++)
        column += kind_of(v->bound, j->operand) == PLACE_INPUT ? padded(j->n) : 0;
    return column;
}

/* Columns [from, to) of a job, counted from its first, to c. */
static struct call product_call(const struct view *v, const struct matmul *job, struct part rows, long from, long to, void *c, long ldc)
{
    const struct layer *layer = v->layer;
    const struct stage_value *operand = &v->bound->value[job->operand];
    struct call call = {CALL_GEMM, rows.row_to - rows.row_from, to - from, job->k, row_at(layer, operand, rows.step, rows.row_from),
                        operand->row_stride, NULL, c, ldc, job->accumulate, .stage = -1};
    if (v->io->table && kind_of(v->bound, job->operand) == PLACE_INPUT) {
        call.kind = CALL_GATHER;
        call.n = padded(call.n);
        call.a = v->io->token + rows.step * layer->batch + rows.row_from;
        call.lda = v->io->table_stride;
        call.matrix = (const char *)v->io->table + (table_column(v, job) + from) * layer->kernels->element_size;
        return call;
    }
    if (is_masked(layer, job)) {
        call.lda = layer_state_width(layer, job->on_state);
        call.a = shift(layer, layer->masked[job->on_state], (rows.step * layer->batch + rows.row_from) * call.lda);
    }
    call.a = (const char *)call.a + job->operand_column * layer->kernels->element_size;
    call.matrix = shift(layer, layer->packed_base, job->packed + from * packed_depth(layer->kernels, job->k));
    call.kind = job->phase == PHASE_SCAN && layer->batch == 1 ? CALL_GEMV : CALL_GEMM;
    return call;
}

static void run_product(const struct layer *layer, const struct call *call)
{
    const struct kernels *kernels = layer->kernels;
    switch (call->kind) {
    case CALL_GATHER: kernels->gather(call->m, call->n, call->a, call->matrix, call->lda, call->c, call->ldc); break;
    case CALL_GEMV: kernels->gemv(call->n, call->k, call->a, call->matrix, call->c, call->accumulate); break;
    default:
        kernels->gemm(call->m, call->n, call->k, call->a, call->lda, call->matrix, call->c, call->ldc, call->accumulate);
    }
}

static void columns(const struct view *v, const struct matmul *job, struct part rows, long from, long to, void *c, long ldc)
{
    struct call call = product_call(v, job, rows, from, to, c, ldc);
    run_product(v->layer, &call);
}

static int is_unwanted(const struct view *v, const struct matmul *job)
{
    return kind_of(v->bound, job->result) == PLACE_DINPUT && !v->io->wants_dx;
}

void part_job(const struct view *v, const struct matmul *job, struct part rows)
{
    const struct stage_value *result = &v->bound->value[job->result];
    if (is_unwanted(v, job))
        return;
    if (is_masked(v->layer, job) && v->bound->program->backward)
        masked_job(v, job, rows);
    else
        columns(v, job, rows, 0, job->n, shift(v->layer, row_at(v->layer, result, rows.step, rows.row_from), job->result_column),
                result->row_stride);
}

void part_product(const struct view *v, const struct matmul *job, int product, struct part part)
{
    const struct product *first = &v->bound->program->product[job->first_product], *p = first + product;
    const struct stage_value *value = v->bound->value, *result = &value[p->result];
    long width = padded(v->layer->size[v->bound->program->place[p->result].dim]), n = job->block < 0 ? width : padded(job->n);
    long own = job->result_column, from = part.unit_from > own ? part.unit_from - own : 0;
    long to = part.unit_to - own < n ? part.unit_to - own : n;
    long column = ((char *)result->base - (char *)value[first->result].base) / v->layer->kernels->element_size;
    if (from < to && !is_unwanted(v, job))
        columns(v, job, part, column + from, column + to,
                shift(v->layer, row_at(v->layer, result, part.step, part.row_from), own + from), result->row_stride);
}

/* ---- stages ---- */

static void run_stage_of(const struct layer *layer, const struct bound *bound, int worker, int stage, const struct stage_call *call)
{
    if (bound->code)
        bound->code[stage](call);
    else
        interpret_stage(layer->cell, bound->program, stage, call, (int)layer->kernels->element_size,
                        layer->scratch + (size_t)worker * layer->scratch_bytes);
}

static void run_stage(const struct view *v, int stage, const struct stage_call *call)
{
    run_stage_of(v->layer, v->bound, v->worker, stage, call);
}

void part_whole_stage(const struct view *v, int stage, struct part rows)
{
    run_stage(v, stage, &(struct stage_call){v->bound->value, v->layer->size, rows.step, 1, 1, rows.row_from, rows.row_to});
}

static void move_values(struct view *v, int dim, long unit_from)
{
    const struct program *program = v->bound->program;
    if (v->dim == dim && v->unit_from == unit_from)
        return;                            /* as the step before left them */
    for (int i = 0; i < program->places; i++) {
        v->value[i] = v->bound->value[i];
        if (program->place[i].dim == dim)
            v->value[i].base = shift(v->layer, v->value[i].base, unit_from);
    }
    v->dim = dim;
    v->unit_from = unit_from;
}

void part_stage(struct view *v, int stage, struct part part)
{
    part_stage_over_time(v, stage, part, (struct steps){1, 1});
}

void part_stage_over_time(struct view *v, int stage, struct part part, struct steps steps)
{
    const struct program *program = v->bound->program;
    int dim = program->stage[stage].dim;
    long size = v->layer->size[dim];
    move_values(v, dim, part.unit_from);
    v->size[dim] = (part.unit_to < size ? part.unit_to : size) - part.unit_from;
    if (v->size[dim] > 0)
        run_stage(v, stage, &(struct stage_call){v->value, v->size, part.step, steps.count, steps.by, part.row_from, part.row_to});
    v->size[dim] = size;
}

/* ---- links ---- */

void part_link(const struct view *v, int state, struct part part)
{
    const struct layer *layer = v->layer;
    double link = v->io->link[part.step];
    long width = layer_state_width(layer, state), n = part.unit_to - part.unit_from;
    for (long row = part.row_from; row < part.row_to && link != 1; row++) {
        void *units = shift(layer, layer->dstate[state], (part.step * layer->batch + row) * width + part.unit_from);
        if (link == 0)
            memset(units, 0, (size_t)(n * layer->kernels->element_size));
        else
            layer->kernels->scale(n, link, units);
    }
}

/* ---- products and stage together ---- */

/* A stage must not write what products of later units read. */
static int stores_to(const struct program *program, const struct stage *stage, int place)
{
    for (int k = 0; k < stage->count; k++) {
        int n = program->order[stage->first + k];
        if (program->stored[n] && program->place_of[n] == place)
            return 1;
    }
    return 0;
}

static int goes_with(const struct view *v, const struct matmul *job, const struct stage *stage)
{
    const struct program *program = v->bound->program;
    for (int k = 0; k < job->product_count; k++)
        if (program->place[program->product[job->first_product + k].result].dim != stage->dim)
            return 0;
    return !(is_masked(v->layer, job) && program->backward) && !stores_to(program, stage, job->operand);
}

/* Units at a time; 0: the level is not to be fused. */
static long units_at_once(const struct view *v, enum phase phase, int level, int stage, long rows)
{
    const struct bound *bound = v->bound;
    long products = 0;
    for (int i = 0; i < bound->jobs; i++) {
        const struct matmul *job = &bound->job[i];
        if (job->phase != phase || job->level != level)
            continue;
        if (!goes_with(v, job, &bound->program->stage[stage]))
            return 0;
        products += job->deep ? 1 : job->product_count;
    }
    long units = products ? NEAR / v->layer->kernels->element_size / (rows * products) / GROUP * GROUP : 0;
    return products && units < GROUP ? GROUP : units;
}

int part_fused(struct view *v, enum phase phase, int level, struct part rows)
{
    const struct bound *bound = v->bound;
    int stage = program_stage_at(bound->program, phase, level);
    if (stage < 0 || bound->program->stage[stage].dim < 0)
        return 0;
    long width = padded(v->layer->size[bound->program->stage[stage].dim]);
    long units = width > GROUP ? units_at_once(v, phase, level, stage, rows.row_to - rows.row_from) : 0;
    if (units == 0 || units >= width)
        return 0;
    for (long from = 0; from < width; from += units) {
        struct part part = {rows.step, rows.row_from, rows.row_to, from, from + units < width ? from + units : width};
        for (int i = 0; i < bound->jobs; i++)
            if (bound->job[i].phase == phase && bound->job[i].level == level)
                for (int k = 0; k < (bound->job[i].deep ? 1 : bound->job[i].product_count); k++)
                    part_product(v, &bound->job[i], k, part);
        part_stage(v, stage, part);
    }
    return 1;
}

/* ---- one row, step by step ---- */

/* With what an address grows by from step to step. */
static struct call whole_job(const struct view *v, const struct matmul *job)
{
    const struct stage_value *operand = &v->bound->value[job->operand], *result = &v->bound->value[job->result];
    struct call call = product_call(v, job, (struct part){.row_to = 1}, 0, job->n,
                                    shift(v->layer, result->base, job->result_column), result->row_stride);
    call.a_step = call.kind == CALL_GATHER ? 0 : operand->step_stride * v->layer->kernels->element_size;
    call.c_step = result->step_stride * v->layer->kernels->element_size;
    return call;
}

int part_list(const struct view *v, enum phase phase, struct call *list)
{
    const struct bound *bound = v->bound;
    int count = 0;
    for (int level = 0; level < bound->program->levels[phase]; level++) {
        for (int i = 0; i < bound->jobs; i++)
            if (bound->job[i].phase == phase && bound->job[i].level == level && !is_unwanted(v, &bound->job[i]))
                list[count++] = whole_job(v, &bound->job[i]);
        int stage = program_stage_at(bound->program, phase, level);
        if (stage >= 0)
            list[count++] = (struct call){.kind = CALL_STAGE, .stage = stage};
    }
    return count;
}

void part_run_list(const struct layer *layer, const struct bound *bound, const struct call *list, int count, long step,
                   const int32_t *token)
{
    const struct stage_call whole = {bound->value, layer->size, step, 1, 1, 0, 1};
    for (int i = 0; i < count; i++) {
        struct call call = list[i];
        if (call.kind == CALL_STAGE) {
            run_stage_of(layer, bound, 0, call.stage, &whole);
            continue;
        }
        call.a = call.kind == CALL_GATHER ? (const void *)token : (const char *)call.a + step * call.a_step;
        call.c = (char *)call.c + step * call.c_step;
        run_product(layer, &call);
    }
}
