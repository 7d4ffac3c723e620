/* units.c - see units.h. All workers go through the same list of products and stages and decide alike where to meet: before a
 * product, since it reads all units, and wherever else a value was made by another. A stage whose values all have one width and
 * meet element by element runs in parts, as if the layer had only these units: its operands' addresses are moved along. Any
 * other stage (a norm, say) is left to the first worker. */
#include "units.h"

#include <string.h>

/* Multiply-adds of a step's products that make it worth meeting (0.2 microseconds or so): a share takes ten times that. */
enum { LEAST = 8192, FEW_ROWS = 4, MANY_LATE = 4, PAUSE = 100 };

struct shared {
    struct layer *layer;
    const struct bound *bound;
    const struct block_io *io;
    struct barrier barrier;
    int workers;
};

/* What has been made since the workers last met: nothing, parts of one width, or anything. */
enum { MADE_NOTHING = -1, MADE_MIXED = -2 };

struct unit_worker {
    struct shared *shared;
    int number;
    int made;                              /* as above, or the dimension of the parts */
    struct stage_value *value;             /* by place, moved to this worker's units */
    long *size;                            /* by dimension, as this worker's stages see it */
};

static void *shift(const struct layer *layer, void *base, long elements)
{
    return (char *)base + elements * layer->kernels->element_size;
}

static long share(long width, int number, int workers)
{
    return width / STAGE_PAD * number / workers * STAGE_PAD;
}

/* ---- what may be shared out ---- */

static int any_mask(const struct layer *layer)
{
    for (int i = 0; i < layer->cell->states; i++)
        if (layer->mask[i])
            return 1;
    return 0;
}

int units_workers(struct layer *layer, const struct bound *bound, int workers)
{
    long work = 0;
    for (int i = 0; i < bound->jobs; i++)
        if (bound->job[i].phase == PHASE_SCAN)
            work += bound->job[i].n * bound->job[i].k * layer->batch;
    if (layer->alone > 0 && layer->alone--)
        return 1;
    if (workers == 1 || layer->batch >= FEW_ROWS * workers || any_mask(layer))
        return 1;
    return work / LEAST < workers ? (work >= 2 * LEAST ? (int)(work / LEAST) : 1) : workers;
}

size_t units_scratch(const struct layer *layer)
{
    int run = layer->run.program->places, back = layer->back.program->places;
    return (size_t)(run > back ? run : back) * sizeof(struct stage_value) + (size_t)layer->cell->dims * sizeof(long);
}

/* ---- meeting ---- */

static void meet(struct unit_worker *w)
{
    if (w->made == MADE_NOTHING)
        return;
    barrier_wait(&w->shared->barrier);
    w->made = MADE_NOTHING;
}

/* Before parts of a dimension are made from parts of that dimension: those of others are not looked at. */
static void meet_unless(struct unit_worker *w, int dim)
{
    if (w->made != dim)
        meet(w);
}

static void made(struct unit_worker *w, int dim)
{
    w->made = w->made == MADE_NOTHING || w->made == dim ? dim : MADE_MIXED;
}

/* ---- products ---- */

/* This worker's columns of one of a job's products. */
static void part_of_product(struct unit_worker *w, const struct matmul *job, int product, long step)
{
    const struct shared *s = w->shared;
    const struct layer *layer = s->layer;
    const struct product *first = &s->bound->program->product[job->first_product], *p = first + product;
    const struct stage_value *value = s->bound->value, *result = &value[p->result], *operand = &value[job->operand];
    int dim = s->bound->program->place[p->result].dim;
    long width = padded(layer->size[dim]), n = job->block < 0 ? width : padded(job->n), own = job->result_column;
    long from = share(width, w->number, s->workers) - own, to = share(width, w->number + 1, s->workers) - own;
    long column = ((char *)result->base - (char *)value[first->result].base) / layer->kernels->element_size;
    from = from > 0 ? from : 0;
    to = to < n ? to : n;
    if (from < to)
        layer->kernels->gemm(layer->batch, to - from, job->k,
                             shift(layer, operand->base, step * operand->step_stride + job->operand_column), operand->row_stride,
                             shift(layer, layer->packed_base, job->packed + (column + from) * job->k),
                             shift(layer, result->base, step * result->step_stride + own + from), result->row_stride,
                             job->accumulate);
    made(w, dim);
}

static void products_of_level(struct unit_worker *w, int level, long step)
{
    const struct bound *bound = w->shared->bound;
    int overwritten = 0, met = 0;
    for (int i = 0; i < bound->jobs; i++) {
        const struct matmul *job = &bound->job[i];
        if (job->phase != PHASE_SCAN || job->level != level)
            continue;
        if (!met++)
            meet(w);
        for (int k = 0; k < (job->deep ? 1 : job->product_count); k++)
            part_of_product(w, job, k, step);
        overwritten |= job->overwritten;
    }
    if (overwritten)
        meet(w);
}

/* ---- stages ---- */

static void run_part(struct unit_worker *w, int stage, struct stage_call *call)
{
    const struct shared *s = w->shared;
    if (s->bound->code)
        s->bound->code[stage](call);
    else
        interpret_stage(s->layer->cell, s->bound->program, stage, call, (int)s->layer->kernels->element_size,
                        s->layer->scratch + (size_t)w->number * s->layer->scratch_bytes);
}

static void part_of_stage(struct unit_worker *w, int stage, int dim, long step)
{
    const struct shared *s = w->shared;
    const struct program *program = s->bound->program;
    long width = padded(s->layer->size[dim]), from = share(width, w->number, s->workers);
    long to = share(width, w->number + 1, s->workers), size = s->layer->size[dim];
    for (int i = 0; i < program->places; i++) {
        w->value[i] = s->bound->value[i];
        if (program->place[i].dim == dim)
            w->value[i].base = shift(s->layer, w->value[i].base, from);
    }
    w->size[dim] = (to < size ? to : size) - from;
    if (w->size[dim] > 0)
        run_part(w, stage, &(struct stage_call){w->value, w->size, step, 0, s->layer->batch});
    w->size[dim] = size;
    made(w, dim);
}

static void stage_of_level(struct unit_worker *w, int level, long step)
{
    const struct shared *s = w->shared;
    int stage = program_stage_at(s->bound->program, PHASE_SCAN, level);
    int dim = stage < 0 ? -1 : s->bound->program->stage[stage].dim;
    if (dim >= 0) {
        meet_unless(w, dim);
        part_of_stage(w, stage, dim, step);
    } else if (stage >= 0) {
        meet(w);
        if (w->number == 0)
            run_part(w, stage, &(struct stage_call){s->bound->value, s->layer->size, step, 0, s->layer->batch});
        w->made = MADE_MIXED;
    }
}

/* ---- the walk ---- */

static void scale_links(struct unit_worker *w, long step)
{
    const struct shared *s = w->shared;
    for (int i = 0; i < s->layer->cell->states && s->io->link[step] != 1; i++) {
        int dim = s->layer->cell->state[i].dim;
        long width = layer_state_width(s->layer, i);
        meet_unless(w, dim);
        layer_scale_link(s->layer, s->io, i, step, (struct part){0, s->layer->batch, share(width, w->number, s->workers),
                                                                 share(width, w->number + 1, s->workers)});
        made(w, dim);
    }
}

static void walk(void *context, int number, int workers)
{
    (void)workers;
    struct shared *s = context;
    struct unit_worker w = {s, number, MADE_NOTHING, NULL, NULL};
    if (number >= s->workers)
        return;
    /* behind what the interpreter uses, at the end of the worker's scratch */
    char *end = s->layer->scratch + (size_t)(number + 1) * s->layer->scratch_bytes;
    w.value = (struct stage_value *)(void *)(end - units_scratch(s->layer));
    w.size = (long *)(void *)(end - (size_t)s->layer->cell->dims * sizeof(long));
    memcpy(w.size, s->layer->size, (size_t)s->layer->cell->dims * sizeof(long));
    for (long i = 0; i < s->io->steps; i++) {
        long step = s->bound->program->backward ? s->io->steps - 1 - i : i;
        for (int level = 0; level < s->bound->program->levels[PHASE_SCAN]; level++) {
            products_of_level(&w, level, step);
            stage_of_level(&w, level, step);
        }
        if (s->bound->program->backward && s->io->link)
            scale_links(&w, step);
    }
}

void units_scan(struct layer *layer, const struct bound *bound, const struct block_io *io, struct pool *pool, int workers)
{
    struct shared shared = {.layer = layer, .bound = bound, .io = io, .workers = workers};
    barrier_start(&shared.barrier, pool, workers);
    pool_run(pool, walk, &shared);
    if (atomic_load(&shared.barrier.late) >= MANY_LATE)
        layer->alone = PAUSE;              /* other programs want the processors: every meeting would wait for them */
}
