/* activity.h - what a cell's sigmoids, tanhs and relus do along the data: shares saturated, dead units, how long a gate
 * remembers. Counted apart for each stretch of the data, so that stretches may be walked side by side, and added up in their
 * order. */
#ifndef BPTT_MODEL_ACTIVITY_H
#define BPTT_MODEL_ACTIVITY_H

#include "step.h"

struct activity {
    const bptt_model *model;
    int *node;                             /* [functions] of the cell's forward graph; the same in every layer */
    int *memory;                           /* [functions] 1: a state is multiplied by it on its way to a next one, 2: by 1 - it; 0 */
    int functions;
    long *first;                           /* [layers * functions] of its units in a tally */
    long units;                            /* of all layers */
};
struct tally { double *sum; long *low, *high; long steps; };   /* [units] */

int activity_new(struct activity *activity, const bptt_model *model, bptt_error *error);
void activity_free(struct activity *activity);         /* also of a zeroed struct */
int tally_new(const struct activity *activity, struct tally *tally, bptt_error *error);
void tally_free(struct tally *tally);
/* After step_forward. */
void tally_add(const struct activity *activity, struct tally *tally, const struct step *step);
int activity_report(const struct activity *activity, const struct tally *tallies, long count, bptt_inspect_report *report,
                    bptt_error *error);

#endif
