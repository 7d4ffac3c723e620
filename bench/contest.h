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
    int precision;                         /* ours: 0 for single, BPTT_BF16 */
    double record_share;                   /* ours: of the memory that recording all steps takes; 0: no limit */
    float *x, *dy;                         /* [T][B][H] */
    float *h, *c;                          /* initial states [B][H]; c: lstm's */
    float *W, *U;                          /* [G][H][H] */
    float *b;                              /* [G][H], and for gru one more [H]: the bias beside U_n h */
};

struct gradient { float *y, *dx, *dh, *dc, *dW, *dU, *db; };       /* shapes as in struct problem; y as dy */

struct contender {
    const char *name;
    double share;                          /* of the problem's steps that one run does */
    double bytes;                          /* ours: all that it takes */
    void *state;
    void (*run)(void *state);              /* here, or: */
    double (*turn)(void *state, double seconds);                   /* runs elsewhere for about so long; seconds a run */
    void (*collect)(void *state, struct gradient *gradient);       /* of the last run, into the problem's layouts */
    void (*close)(void *state);            /* NULL: nothing to free */
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

/* ---- contenders: each fills the contender and returns 1, or 0 where it cannot run the problem ---- */

/* Reads the problem's data and writes its own start weights into W, U and b for the others, where the problem has them. */
int ours_open(struct contender *contender, struct problem *problem);
/* A run is a step of one row on x; for a problem of T = B = 1 with states at zero. */
int ours_open_stream(struct contender *contender, struct problem *problem);
/* A run is a window of random symbols: embedding, LSTM, head, clipping, Adam. */
int ours_open_text(struct contender *contender, long hidden, long batch, long steps, long symbols, int threads);
int onednn_open(struct contender *contender, const struct problem *problem);
int onednn_open_forward(struct contender *contender, const struct problem *problem);    /* outputs alone */
int naive_open(struct contender *contender, const struct problem *problem);
const char *onednn_version(void);          /* "" where bench was built without it */

struct torch;
/* NULL where there is no Python with PyTorch. It serves all cases, one at a time. */
struct torch *torch_start(void);
void torch_stop(struct torch *torch);
const char *torch_version(const struct torch *torch);              /* "" for NULL */
int torch_open(struct contender *contender, struct torch *torch, const struct problem *problem);
/* Any other of the script's commands. */
int torch_open_other(struct contender *contender, struct torch *torch, const char *command);

/* ---- problems ---- */

/* rnn, lstm and gru with weights, initial states; any other cell with inputs and output gradients alone. */
struct problem problem_make(const char *cell, long hidden, long batch, long steps, int threads);
void problem_zero_states(struct problem *problem);
void problem_free(struct problem *problem);
struct gradient gradient_make(const struct problem *problem);
void gradient_free(struct gradient *gradient);
enum { RESULTS = 7 };
/* A gradient as a list, in the structure's order; a count of 0: not there. */
void gradient_list(const struct problem *problem, const struct gradient *gradient, float *array[RESULTS], long count[RESULTS]);

/* ---- the contest ---- */

/* One run of each; ends the program with a line that says what differs where a result does. */
void contest_check(const struct problem *problem, const struct contender *a, const struct contender *b);
/* Seconds for the whole problem, medians of turns in which all contenders take part until `seconds` are spent for each. */
void contest_race(const struct contender *contender, int count, double seconds, double *median);

/* 64-byte aligned, zeroed; ends the program where there is no memory: a bench has nothing better to do. */
void *take(size_t bytes);

#endif
