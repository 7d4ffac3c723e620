/* watch.h - a look at the gradient every so many steps of training: by lag and parameter, the step Jacobian, gates, clipping;
 * and the warnings that follow. It measures on a network of its own with a few of the window's rows, so training has the same
 * bits with and without it.
 *
 *     if (watch_due(watch, step)) watch_look(watch, x, y, error);     before update number `step`
 *     ... the update ...
 *     watch_update(watch, step, loss, norm);                          after every one
 *     if (watch_due(watch, step)) watch_finish(watch);
 *
 * Then what stands in it and the warnings that watch_next gives, one after the other, say what was found. */
#ifndef BPTT_TRAIN_WATCH_H
#define BPTT_TRAIN_WATCH_H

#include "../model/activity.h"
#include "../model/jacobian.h"
#include "trainer.h"
#include "warn.h"

struct watch_layer {
    struct warn_layer facts;
    const double *norm;                    /* [lags] of dL/d(states) */
    double sigma, radius;                  /* of the step Jacobian, means over the sampled steps */
    double dead;                           /* largest share of units that one value holds saturated */
};

struct watch {
    int64_t every;
    bptt_trainer *trainer;
    struct network net;                    /* of a few rows, the whole gradient */
    struct lag_profile profile;
    struct jacobian jacobian;
    struct activity activity;
    struct tally tally;
    struct arena arena;
    double *scratch, *parameters, *state, *next, *direction, *image;
    float *rows, *before;                  /* a state of all rows; the weights before the update */
    int32_t *x, *y;
    struct watch_layer *layer;
    bptt_inspect_report values;            /* its values: gates and activations */
    double *gradient, *ratio;              /* by tensor: norms, update to weight */
    int64_t made, clipped;                 /* of the trainer, when last looked at */
    double clipped_share;                  /* since then; NaN: no updates */
    long updates_seen, clipped_seen;
    double seconds;                        /* this look took */
    int64_t step;                          /* of the last update */
    struct warn_history history;
    int64_t *said;                         /* [layers + 1][WARN_KINDS] step + 1 of the last warning, 0: none */
    int *streak;                           /* the same: looks in a row that found it */
    struct warning *pending;
    long waiting, taken;
};

int watch_new(bptt_trainer *trainer, int64_t every, struct watch **watch, bptt_error *error);
void watch_free(struct watch *watch);      /* NULL is fine */
int watch_due(const struct watch *watch, int64_t step);    /* 0 for NULL */
int watch_look(struct watch *watch, const int32_t *x, const int32_t *y, bptt_error *error);
void watch_update(struct watch *watch, int64_t step, double loss, double norm);
void watch_finish(struct watch *watch);
const struct warning *watch_next(struct watch *watch);     /* or NULL */

#endif
