/* warn.h - early warnings of a run: each rule a short pure function of what was measured, with what was seen and what to
 * try. 1 where the rule speaks; the warning is then filled in. Nothing here keeps count of what was said (train/watch.h). */
#ifndef BPTT_TRAIN_WARN_H
#define BPTT_TRAIN_WARN_H

enum warn_kind { WARN_GROWTH, WARN_RADIUS, WARN_SPIKE, WARN_SATURATION, WARN_CLIPPING, WARN_SHORT, WARN_LONG,
                 WARN_NONFINITE, WARN_KINDS };
const char *warn_name(enum warn_kind kind);

struct warning {
    enum warn_kind kind;
    int layer;                             /* -1: the whole run */
    double value, limit;
    char text[360], advice[240];           /* a sentence each */
};

enum { WARN_HISTORY = 32, WARN_LEAST = 4 };
/* Of the last updates: the ring's newest is at (count - 1) % WARN_HISTORY. */
struct warn_history { double loss[WARN_HISTORY], norm[WARN_HISTORY]; long count; };
void warn_add(struct warn_history *history, double loss, double norm);

/* What one look at a layer found. */
struct warn_layer {
    int layer;
    long lags, horizon;                    /* looked back over; first lag below 1 %, or lags */
    long truncation;                       /* steps that the training gradient reaches */
    double decay;                          /* of the gradient's norm, a step back */
    double radius;                         /* spectral radius of the step Jacobian */
    double saturated;                      /* largest share of a value */
    const char *value;                     /* that one's name */
    int clips;                             /* the norm is clipped */
};

int warn_spike(const struct warn_history *history, struct warning *warning);
int warn_norm(const struct warn_history *history, int clips, struct warning *warning);
int warn_clipping(long updates, long clipped, double clip, struct warning *warning);
int warn_growth(const struct warn_layer *layer, struct warning *warning);
int warn_radius(const struct warn_layer *layer, struct warning *warning);
int warn_saturation(const struct warn_layer *layer, struct warning *warning);
int warn_short(const struct warn_layer *layer, struct warning *warning);
int warn_long(const struct warn_layer *layer, struct warning *warning);

#endif
