/* lanes.h - the part of a backward graph that stays within a unit: every matrix product replaced by its diagonal (or dropped),
 * every sum by the unit's own share. Run with ones for dL/d(a state), it yields for each unit how that state depends on the
 * unit's own states and pre-activations: the diagonal that SnAp-1 keeps (Menick et al. 2021, section 3), or with products
 * dropped what RFLO keeps (Murray 2019). */
#ifndef BPTT_CELL_LANES_H
#define BPTT_CELL_LANES_H

#include "cell.h"

/* Leaves OP_PARAM with numbers from cell->params on stand for diagonals: number - params is the matrix. `arena` keeps it. */
int cell_lanes(const struct bptt_cell *cell, int drop_products, struct arena *arena, struct graph *lanes, bptt_error *error);

/* By node of the backward graph: 1 if it depends on what comes from later steps or from above. */
void cell_adjoints(const struct bptt_cell *cell, char *is_adjoint);

#endif
