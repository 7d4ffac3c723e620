/* contest.h - what the contenders of bench.c agree on: one layer of a recurrent network over one window, forward, and backward
 * from a gradient of every output. Each contender packs the weights before it is timed, as a training step packs them once;
 * a run computes the outputs and all gradients: of weights, biases, inputs and initial states.
 *
 * Letters as in bptt.h (T, B, I = H, H); G gates in the order of `gates`; matrices [G][H][H], rows are outputs. */
#ifndef BPTT_BENCH_CONTEST_H
#define BPTT_BENCH_CONTEST_H

#include <stddef.h>

struct problem {
    const char *cell;                      /* "rnn", "lstm", "gru", or any other that only ours can run */
    const char *gates;                     /* the suffixes of the cell's parameters, in oneDNN's order: "ifgo", "zrn", "" */
    long hidden, batch, steps;
    int threads;
    float *x, *dy;                         /* [T][B][H] */
    float *h, *c;                          /* initial states [B][H]; c: lstm's */
    float *W, *U;                          /* [G][H][H] */
    float *b;                              /* [G][H], and for gru one more [H]: the bias beside U_n h */
};

struct gradient { float *y, *dx, *dh, *dc, *dW, *dU, *db; };       /* shapes as in struct problem; y as dy */

struct contender {
    const char *name;
    void *state;
    void (*run)(void *state);
    void (*collect)(void *state, struct gradient *gradient);       /* of the last run, into the problem's layouts */
    void (*close)(void *state);
};

static inline long gate_count(const struct problem *p)
{
    long n = 0;
    while (p->gates[n])
        n++;
    return n ? n : 1;
}

static inline long bias_count(const struct problem *p)
{
    return gate_count(p) + (p->gates[0] == 'z');
}

/* Each fills the contender and returns 1, or 0 where it cannot run the problem. ours_open reads the problem's data and writes
 * its own start weights into W, U and b for the others, where the problem has gates. */
int ours_open(struct contender *contender, struct problem *problem);
int onednn_open(struct contender *contender, const struct problem *problem);
const char *onednn_version(void);          /* "" where bench was built without it */

/* 64-byte aligned, zeroed; ends the program where there is no memory: a bench has nothing better to do. */
void *take(size_t bytes);

#endif
