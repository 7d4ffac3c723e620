/* units.h - the scan shared out by hidden units. Where a batch has too few rows to give each worker some, every worker
 * computes some units of all rows instead: its part of each product and then its part of the pointwise equations, meeting the
 * others at a barrier where it needs theirs. Its part of the weights stays in its own core's cache. An element is computed by
 * the same operations in the same order wherever it is computed, so bits are those of one worker. */
#ifndef BPTT_TIME_UNITS_H
#define BPTT_TIME_UNITS_H

#include "layer.h"

/* Workers among whom a program's scan is worth sharing out by units; 1: it is not. */
int units_worth(const struct layer *layer, const struct bound *bound, int workers);
/* The same for the next block: 1 also for some time after the workers waited for each other in vain. */
int units_workers(struct layer *layer, const struct bound *bound, int workers);
/* The scan of a block whose values are bound, by that many of the pool's workers. */
void units_scan(struct layer *layer, const struct bound *bound, const struct block_io *io, struct pool *pool, int workers);

#endif
