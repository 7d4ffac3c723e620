/* strategy.h - the ways to compute or estimate dL/dw through time, as `--gradient` names them.
 *
 *     full                  the whole sum of D2L 9.7.7
 *     segments:K            the state is carried over, the gradient cut every K steps
 *     truncated:k1,k2       every k1 steps, the losses of those k1 steps reach back to k2 steps before (Williams and Peng 1990)
 *     random:LINKS          a link between two steps is kept with probability p and weighted 1/p, or cut: D2L 9.7.8 with the
 *                           recursion on z (Tallec and Ollivier 2017). LINKS:
 *                             P               the same for all;           P..Q   from P at the first link to Q at the last
 *                             P,Q,...         link by link, the last goes on for the rest
 *                             geometric:MEAN  lengths of pieces; the hazard 1 - p follows from the steps since the last cut
 *                             uniform:A,B     lengths from A to B; half of those that reach B go on, for no bias
 *                             power:MEAN,A    heavy-tailed lengths of that mean, P(length > t) ~ t^-A, A > 1
 *     adaptive:D            the smallest truncation whose estimated relative bias is below D (Aicher, Foti and Fox 2019)
 *     rtrl, snap1, snap:N, rflo, rflo:L, uoro      forward mode: model/influence.h */
#ifndef BPTT_TIME_STRATEGY_H
#define BPTT_TIME_STRATEGY_H

#include <stddef.h>

#include "../base/error.h"

enum strategy_kind { STRATEGY_FULL, STRATEGY_SEGMENTS, STRATEGY_TRUNCATED, STRATEGY_RANDOM, STRATEGY_ADAPTIVE, STRATEGY_RTRL,
                     STRATEGY_SNAP, STRATEGY_RFLO, STRATEGY_UORO };
enum link_kind { LINK_CONSTANT, LINK_LINEAR, LINK_LIST, LINK_GEOMETRIC, LINK_UNIFORM, LINK_POWER };
enum { LINK_MOST = 64 };                   /* probabilities in a list */

struct links { enum link_kind kind; double value[LINK_MOST]; int count; };

struct strategy {
    enum strategy_kind kind;
    long k1, k2;                           /* segments: both K; adaptive: what was chosen last, 0 before */
    struct links links;
    double delta;
    int order;                             /* snap: steps; rflo: 1 with a leak of its own */
    double leak;
};

/* From the text of `--gradient`; NULL is full. One line says what is wrong and what there is. */
int strategy_parse(const char *text, struct strategy *strategy, bptt_error *error);
/* Whether it can be followed over `steps` steps: K and k1 not beyond them. 0 steps are always fine. */
int strategy_check(const struct strategy *strategy, long steps, bptt_error *error);
/* As --gradient would take it; at most `size` characters with the end. */
void strategy_text(const struct strategy *strategy, char *text, size_t size);
int strategy_is_forward(const struct strategy *strategy);   /* mode: rtrl and its approximations */

/* Over a window of `steps`: steps from one cut to the next, and how far back from a cut the gradient reaches (>= that). */
long strategy_chunk(const struct strategy *strategy, long steps);
long strategy_reach(const struct strategy *strategy, long steps);

/* Probability that the link from step t - 1 to step t is kept (1 <= t < steps); `since`: steps since the last cut, >= 1. */
double link_probability(const struct links *links, long t, long steps, long since);

#endif
