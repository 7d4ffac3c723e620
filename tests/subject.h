/* subject.h - a small model with its data, and one window of it through a network: what the tests of networks and strategies
 * share. */
#ifndef BPTT_TESTS_SUBJECT_H
#define BPTT_TESTS_SUBJECT_H

#include "../src/model/network.h"

struct shape {
    const char *cell;                      /* a name, or (with a line break) a text */
    long steps, batch, inputs, hidden, layers;
    long vocabulary, outputs;              /* outputs 0: no head */
    int tied, loss;
    double dropout, dropout_state;
};

struct subject {
    struct shape shape;
    bptt_model *model;
    double *x, *y, *initial, *final;       /* states: by layer and state one after the other, [B][width] */
    int32_t *token, *target;
    long inputs, targets, states;          /* how many numbers */
};

struct title { char text[160]; };

struct run {
    struct network net;
    struct window window;
    double *dx, *state, *dinitial;         /* state: the last ones */
    float *x, *y;                          /* single precision's copies */
};

struct title title_of(const struct shape *shape);
int subject_open(struct subject *subject, const struct shape *shape);
void subject_free(struct subject *subject);
long state_width(const bptt_model *model, int layer, int state);
double draw(uint64_t *random);                             /* -1 to 1 */
double *draw_doubles(uint64_t *random, long n);            /* owned */

/* The configuration of the subject's own window, to be changed; then a network with all that it needs. */
struct network_config plain_config(const struct subject *subject, enum precision precision, int threads);
int run_open(struct run *run, const struct subject *subject, struct network_config config);
void run_close(struct run *run);
void run_begin(struct run *run, const struct subject *subject);  /* loads weights, initial states and final gradients */
/* All states of the network's buffers from or to [B][width] rows one after the other. */
void each_state(struct run *run, const struct subject *subject, void ***buffers, double *rows, int set);

#endif
