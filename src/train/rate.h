/* rate.h - the learning rate as a function of the step. */
#ifndef BPTT_TRAIN_RATE_H
#define BPTT_TRAIN_RATE_H

#include <stdint.h>

struct rate {
    int schedule;                          /* a bptt_schedule */
    double peak;
    int64_t warmup;                        /* steps over which it rises in a straight line */
    int64_t steps;                         /* the run's length; 0: not known yet */
    double final_share;                    /* cosine: what is left at the end */
    int64_t decay_every;                   /* step */
    double decay;                          /* step, plateau */
    double scale;                          /* plateau and backtracking have multiplied it so far */
};

/* The rate of the update after `step` updates. */
double rate_at(const struct rate *rate, int64_t step);

#endif
