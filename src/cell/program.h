/* program.h - a graph made ready to run over time: every value typed by when it can be known, and given a place.
 *
 *     before   from inputs and parameters only: for a whole block of steps at once
 *     scan     from the state: step by step
 *     after    from the new state, feeding nothing back: for a whole block at once
 *
 * Within a phase work alternates: products of level k, then the pointwise stage k that reads them, products of level k + 1,
 * ... A stage is one generated function. Values that one stage alone sees stay in registers; all others have a place. */
#ifndef BPTT_CELL_PROGRAM_H
#define BPTT_CELL_PROGRAM_H

#include "graph.h"

enum phase { PHASE_BEFORE, PHASE_SCAN, PHASE_AFTER, PHASE_COUNT };

/* Where a value stands; t is the step. Buffers of a kind hold all their values side by side in one row per (t, batch row),
 * in the order of their numbers, so values with neighbouring numbers form one matrix. */
enum place_kind {
    PLACE_PARAM,                           /* vector parameter `index`, the same for all rows */
    PLACE_INPUT,                           /* x_t */
    PLACE_STATE,                           /* state `index` at t-1 */
    PLACE_NEXT,                            /* state `index` at t */
    PLACE_TAPE,                            /* recorded by the forward program, read by the backward one */
    PLACE_BLOCK,                           /* lives for one block of steps */
    PLACE_STEP,                            /* lives for one step of the scan */
    PLACE_DOUTPUT,                         /* dL/dy_t */
    PLACE_DSTATE,                          /* dL/ds_t of state `index`, from step t+1 */
    PLACE_DPREV,                           /* dL/ds_{t-1} of state `index` */
    PLACE_DINPUT,                          /* dL/dx_t */
    PLACE_KINDS
};
struct place { enum place_kind kind; int index, dim; };

/* result (+)= matrix operand. Joined products (same operand, neighbouring results) run as one. */
struct product {
    enum phase phase;
    int level;
    int param, transposed;
    int operand, result;                   /* places */
    int accumulate;                        /* adds to what the result's place holds already */
    int node;
};

/* Nodes order[first .. first + count). `dim`: the one width of its values, where they meet element by element and parts of the
 * width may run apart; else -1. */
struct stage { enum phase phase; int level; int first, count; int dim; };

struct program {
    const struct graph *graph;
    int backward;                          /* steps run from last to first */
    char *phase;                           /* enum phase by node */
    int *level;                            /* by node, within its phase */
    int *group;                            /* by node: number of the loop within its stage */
    int *place_of;                         /* by node: its place, or -1 */
    char *stored;                          /* by node: 1 if the stage writes it to its place */
    struct place *place;
    int places;
    int count[PLACE_KINDS];                /* TAPE, BLOCK, STEP: number of values; dims through `place` */
    struct product *product;
    int products;
    int *order;                            /* pointwise nodes, stage by stage */
    struct stage *stage;
    int stages;
    int levels[PHASE_COUNT];               /* products and stages have levels below this */
    int output;                            /* forward: place of y_t */
};

int program_stage_at(const struct program *program, enum phase phase, int level);    /* stage number or -1 */

#endif
