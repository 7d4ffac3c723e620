/* nonfinite.h - where a window first met a value that is not finite: it is run again, operation by operation. */
#ifndef BPTT_TRAIN_NONFINITE_H
#define BPTT_TRAIN_NONFINITE_H

#include "trainer.h"

struct nonfinite {
    long time, row;                        /* step of the window; row of the batch, -1: of no single one */
    int layer;                             /* -1: embedding, head, loss */
    char state[64];                        /* that the operation leads to, or "" */
    char operation[240];                   /* its equation, or which part of the backward pass */
};

/* The states that a window begins with, kept before it and put back: as many doubles. */
long nonfinite_kept(const bptt_trainer *trainer);
void nonfinite_keep(bptt_trainer *trainer, double *kept);

/* After a window whose loss or gradient was not finite: 1 if the place was found. The trainer's carried states and
 * gradients are lost. */
int nonfinite_find(bptt_trainer *trainer, double *kept, const int32_t *x, const int32_t *y, struct nonfinite *found);

#endif
