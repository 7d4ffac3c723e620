/* batches.h - windows [T, B] of a long sequence of tokens, each a pure function of its step, so that a run can be
 * stopped and resumed anywhere.
 *
 *     streams (random 0):  row b reads its own stretch of floor((count - 1) / B) tokens, one window after the other, so
 *                          the state can be carried from window to window; a rest behind the last window is not read
 *     random (random 1):   each row of each window starts anywhere
 */
#ifndef BPTT_DATA_BATCHES_H
#define BPTT_DATA_BATCHES_H

#include <stdint.h>

#include "../base/error.h"

struct batches {
    const int32_t *token;                  /* borrowed */
    int64_t count, batch, length;          /* tokens; B; T */
    int64_t stretch;                       /* tokens of one row's stream */
    int random;
    uint64_t seed;                         /* of random windows */
};

/* `what` names the text in messages: "the training text". */
int batches_init(struct batches *batches, const int32_t *token, int64_t count, int64_t batch, int64_t length,
                 int random, uint64_t seed, const char *what, bptt_error *error);

/* Windows until every token was read once, but for a rest that fills none (random: as many tokens as there are). */
int64_t batches_per_epoch(const struct batches *batches);

/* Fills x and y, each [T, B]; y is x one token later. Returns 1 when the rows do not go on where the step before ended,
 * so that a carried state has to start anew: the first window of an epoch, and every random one. */
int batches_window(const struct batches *batches, int64_t step, int32_t *x, int32_t *y);

/* Keeps the last `share` (0..1) of `count` tokens for validation. */
void split_validation(int64_t count, double share, int64_t *train, int64_t *valid);

#endif
