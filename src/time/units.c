/* units.c - see units.h. All workers go through the same list of products and stages and decide alike where to meet: before a
 * product, since it reads all units, and wherever else a value was made by another. A stage whose values do not meet element by
 * element (a norm, say) is left to the first worker. */
#include "units.h"

#include "part.h"

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
    struct view view;
    int made;                              /* as above, or the dimension of the parts */
};

/* This worker's units of a dimension, of all rows. */
static struct part share(const struct unit_worker *w, int dim, long step)
{
    const struct layer *layer = w->view.layer;
    long groups = padded(layer->size[dim]) / STAGE_PAD, number = w->view.worker, workers = w->shared->workers;
    return (struct part){step, 0, layer->batch, groups * number / workers * STAGE_PAD, groups * (number + 1) / workers * STAGE_PAD};
}

/* ---- what may be shared out ---- */

int units_worth(const struct layer *layer, const struct bound *bound, int workers)
{
    long work = 0;
    for (int i = 0; i < bound->jobs; i++)
        if (bound->job[i].phase == PHASE_SCAN)
            work += bound->job[i].n * bound->job[i].k * layer->batch;
    if (workers == 1 || layer->batch >= FEW_ROWS * workers || layer_is_masked(layer))
        return 1;
    return work / LEAST < workers ? (work >= 2 * LEAST ? (int)(work / LEAST) : 1) : workers;
}

int units_workers(struct layer *layer, const struct bound *bound, int workers)
{
    if (layer->alone > 0 && layer->alone--)
        return 1;
    return units_worth(layer, bound, workers);
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

/* ---- the walk ---- */

static void products_of_level(struct unit_worker *w, int level, long step)
{
    const struct bound *bound = w->view.bound;
    int overwritten = 0, met = 0;
    for (int i = 0; i < bound->jobs; i++) {
        const struct matmul *job = &bound->job[i];
        if (job->phase != PHASE_SCAN || job->level != level)
            continue;
        if (!met++)
            meet(w);
        for (int k = 0; k < (job->deep ? 1 : job->product_count); k++) {
            int dim = bound->program->place[bound->program->product[job->first_product + k].result].dim;
            part_product(&w->view, job, k, share(w, dim, step));
            made(w, dim);
        }
        overwritten |= job->overwritten;
    }
    if (overwritten)
        meet(w);
}

static void stage_of_level(struct unit_worker *w, int level, long step)
{
    const struct program *program = w->view.bound->program;
    int stage = program_stage_at(program, PHASE_SCAN, level), dim = stage < 0 ? -1 : program->stage[stage].dim;
    if (dim >= 0) {
        meet_unless(w, dim);
        part_stage(&w->view, stage, share(w, dim, step));
        made(w, dim);
    } else if (stage >= 0) {
        meet(w);
        if (w->view.worker == 0)
            part_whole_stage(&w->view, stage, (struct part){.step = step, .row_to = w->view.layer->batch});
        w->made = MADE_MIXED;
    }
}

static void links(struct unit_worker *w, long step)
{
    const struct layer *layer = w->view.layer;
    for (int i = 0; i < layer->cell->states && w->view.io->link[step] != 1; i++) {
        int dim = layer->cell->state[i].dim;
        meet_unless(w, dim);
        part_link(&w->view, i, share(w, dim, step));
        made(w, dim);
    }
}

static void walk(void *context, int number, int workers)
{
    (void)workers;
    struct shared *s = context;
    if (number >= s->workers)
        return;
    const struct program *program = s->bound->program;
    struct unit_worker w = {s, view_open(s->layer, s->bound, s->io, number), MADE_NOTHING};
    for (long i = 0; i < s->io->steps; i++) {
        long step = program->backward ? s->io->steps - 1 - i : i;
        for (int level = 0; level < program->levels[PHASE_SCAN]; level++) {
            products_of_level(&w, level, step);
            stage_of_level(&w, level, step);
        }
        if (program->backward && s->io->link)
            links(&w, step);
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
