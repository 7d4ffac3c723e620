/* horizon.h - how far back a gradient reaches: dL/d(states) by lag, its decay, and the truncation that keeps the relative bias
 * below a bound (Aicher, Foti and Fox 2019, arXiv 1905.07473, section 4; the state's gradient stands for the weights', which
 * a bounded dh/dw allows). */
#ifndef BPTT_MODEL_HORIZON_H
#define BPTT_MODEL_HORIZON_H

#include "network.h"

/* Of the loss of the last step of a window, or of several windows' mean. Lag k: the states after the step that lies k steps
 * before the last one, so that k kept lags are k steps back. What a layer's output carries to the layer above or the head is
 * in it; where the output is no state, as a part of its own. */
struct lag_profile {
    long lags;
    double *norm;                          /* [lags] mean over rows and windows of the norm of d(a row's loss)/d(its states) */
    double *layer;                         /* [layers][lags] the same for each layer alone */
    double *reach;                         /* [lags] norm of the rows' mean gradient summed over lags 0..k; mean over windows */
    long windows;                          /* so many have been added; 0: what stands there does not count */
};

struct horizon_estimate {
    double decay;                          /* factor per step of lag, fitted; 0: gone after one lag; >= 1 or NaN: none found */
    long truncation;                       /* lags to keep; all where none is small enough */
    double bias;                           /* its estimated relative bias, not below delta where all are kept; infinite: no bound */
};

/* Adds the window's last loss to the profile; window->steps >= profile->lags. The window is run from the carried states, which
 * stay as they are; gradients in the network are lost. scratch: horizon_scratch() doubles. */
long horizon_scratch(const struct network *net);
int horizon_measure(struct network *net, const struct window *window, struct lag_profile *profile, double *scratch,
                    bptt_error *error);

/* Keeps the carried states, or (back) puts them there again. kept: as many doubles as they have numbers. */
void horizon_carried(struct network *net, double *kept, int back);

/* Factor per step, fitted to the norms by lag; as in horizon_estimate. */
double horizon_decay(const double *norm, long lags);
/* The smallest truncation whose estimated relative bias is below delta. */
struct horizon_estimate horizon_estimate(const struct lag_profile *profile, double delta);
/* bias [lags], out: the estimated relative bias when lags 0..k are kept. */
void horizon_bias(const struct lag_profile *profile, double *bias);

/* ---- adaptive training ---- */
struct horizon;
int horizon_new(const struct network *net, double delta, struct horizon **horizon, bptt_error *error);
void horizon_free(struct horizon *horizon);                /* NULL is fine */
/* Before a training window: measures on it where that is due, and sets the network's truncation. */
int horizon_adapt(struct horizon *horizon, struct network *net, const struct window *window, bptt_error *error);
/* What was chosen and why, once after each measurement; else NULL. Borrowed until the next one. */
const char *horizon_note(struct horizon *horizon);

#endif
