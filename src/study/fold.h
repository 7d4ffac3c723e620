/* fold.h - a cell's operations as a reader counts them: a gate is one operator, not a product, a product, two sums and a
 * sigmoid. What comes out are operators, and for each what enters it. */
#ifndef BPTT_STUDY_FOLD_H
#define BPTT_STUDY_FOLD_H

#include "../cell/cell.h"

enum source_kind { SOURCE_OPERATOR, SOURCE_INPUT, SOURCE_STATE, SOURCE_PARAM };
struct source { enum source_kind kind; int index; };

struct operator {
    const char *sign, *name;               /* what is done; the value's name in the cell's text, or "" */
    struct source *source;
    int sources, capacity;
};

struct fold {
    const bptt_cell *cell;
    struct operator *operator;             /* in the order of their computation */
    int operators;
    int *next, output;                     /* [states], operators that make the next state and the output */
    int output_state;                      /* the state that is the output, or -1 */
    struct arena *arena;
};

/* Into one operator f, or with `detail` into the cell's own. All memory is the arena's. */
int fold_cell(const bptt_cell *cell, int detail, struct arena *arena, struct fold *fold, bptt_error *error);

#endif
