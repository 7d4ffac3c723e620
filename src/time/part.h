/* part.h - the work of a block in its smallest pieces: a product, or a pointwise stage, for some rows and some units. Which
 * pieces follow which is for layer.c and units.c to say. */
#ifndef BPTT_TIME_PART_H
#define BPTT_TIME_PART_H

#include "layer.h"

/* A block at hand, seen by one worker. `value` and `size` are room of its own for stages of some units. */
struct view {
    const struct layer *layer;
    const struct bound *bound;
    const struct block_io *io;
    int worker;
    struct stage_value *value;
    long *size;
    int dim;                               /* what `value` is moved for now: units of this dimension, from this one on; or -1 */
    long unit_from;
};

/* Rows [row_from, row_to) of a step (in the phases before and after: of the whole block, step 0), units [unit_from, unit_to),
 * multiples of STAGE_PAD, of whatever dimension the piece has. */
struct part { long step, row_from, row_to, unit_from, unit_to; };
struct steps { long count, by; };          /* one after another, by 1 or -1 */

struct view view_open(const struct layer *layer, const struct bound *bound, const struct block_io *io, int worker);
size_t view_scratch(const struct layer *layer);            /* bytes of each worker's scratch that a view takes, at its end */

void part_job(const struct view *view, const struct matmul *job, struct part rows);            /* all of a job's columns */
/* The part's units of one product of a job (of a deep one: product 0 is all). Not with a dropped-out state, backward. */
void part_product(const struct view *view, const struct matmul *job, int product, struct part part);
void part_whole_stage(const struct view *view, int stage, struct part rows);
void part_stage(struct view *view, int stage, struct part part);                         /* stages with a dim */
void part_stage_over_time(struct view *view, int stage, struct part part, struct steps steps);

/* dL/d(state before the part's step) on its way to the step before: cut, or weighted (D2L 9.7.8). */
void part_link(const struct view *view, int state, struct part part);

/* A level's products and then its stage, so many units at a time that what the products write is still in a near cache when the
 * stage reads it; 0 where they do not go together and nothing was done. */
int part_fused(struct view *view, enum phase phase, int level, struct part rows);

/* A phase of a step of one row as a list of calls, with their addresses at step 0: what would be found out again at each step.
 * part_list returns its length, at most as long as layer->call. The first worker's scratch serves; tokens come anew with each run. */
int part_list(const struct view *view, enum phase phase, struct call *list);
void part_run_list(const struct layer *layer, const struct bound *bound, const struct call *list, int count, long step,
                   const int32_t *token);

#endif
