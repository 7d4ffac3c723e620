/* inspect.h - what flows back through time in a model. inspect.c decides what is looked at; lag.c measures gradients by lag,
 * walk.c the step Jacobian and the activities along the data; figure: portrait.c. */
#ifndef BPTT_STUDY_INSPECT_H
#define BPTT_STUDY_INSPECT_H

#include "../model/network.h"

/* Data of either kind: tokens of a text, or the rows of arrays. Step t of row b stands at index t * rows + b. */
struct source {
    long steps, rows;
    const int32_t *token;                  /* or NULL */
    const double *x;                       /* [steps][rows][I] */
    const int32_t *target_token;           /* of cross-entropy */
    const double *target;                  /* [steps][rows][O] of mse; neither: there is none */
    long inputs, outputs;
    const char *name;                      /* for messages */
};

struct inspect {
    const bptt_model *model;
    bptt_inspect_options options;          /* all chosen */
    bptt_inspect_report *report;
    struct source source;
    bptt_error *error;
};

/* A status: whether the caller wants to go on. */
int inspect_progress(const struct inspect *inspect, const char *what, double fraction);
/* Mean and quantiles of n values, which are sorted; NaN counts as infinite, none at all are NaN. */
void spread_of(double *values, long n, bptt_spread *spread);

/* Each fills its part of the report. */
int lag_measure(struct inspect *inspect);
int walk_measure(struct inspect *inspect);

#endif
