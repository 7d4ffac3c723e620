/* network.h - a model bound to a batch, a window length, a precision and threads: all memory in one plan, then windows run
 * through it. Nothing is allocated between network_allocate and network_free.
 *
 *     struct network net;
 *     network_new(&net, model, &config, error);     sizes known: net.plan may be read, regions added
 *     network_allocate(&net, error);
 *     network_load(&net);                           pack the model's parameters (after every update)
 *     network_reset(&net);                          states to their start
 *     network_forward(&net, &window, error)         or network_gradient(...)
 *
 * A window is run by a schedule (time/schedule.h), each of its stretches layer by layer over blocks of steps. The head and the
 * loss are computed in the backward pass, block by block, so outputs of a recorded window need no memory. Block borders are
 * those of the window whatever the schedule, so a gradient has the same bits under every memory budget. */
#ifndef BPTT_MODEL_NETWORK_H
#define BPTT_MODEL_NETWORK_H

#include "../base/threads.h"
#include "../time/schedule.h"
#include "../time/spill.h"
#include "model.h"

struct network_config {
    long steps, batch;                     /* the longest recorded window; batch rows */
    int threads;                           /* 0: as many as the machine has */
    enum precision precision;
    int gradients;                         /* 0: forward only, memory for one block */
    int input_gradient;                    /* dL/dx is wanted */
    double dropout, dropout_state;
    uint64_t seed;                         /* of the masks */
    struct strategy strategy;              /* all zero: full; one of forward mode: for windows of one step */
    int updates;                           /* the strategy's updates happen within the window (window.update) */
    size_t memory, elsewhere;              /* bytes for everything, 0: no limit; and those within it that the owner needs */
    const char *spill;                     /* directory for kept states that memory has no room for, or NULL */
    int fed;                               /* rows come and go through window.feed */
    const enum isa *isa;                   /* NULL: isa_choose decides */
    int interpret;                         /* 1: the interpreter even where there is code (to hold one against the other) */
};

/* Rows of a window that are not held in memory: fetched as they are needed, given away as they are ready. `rows` holds
 * `steps` steps from step `first`, in the window's element size. Each returns a status. */
enum feed_part { FEED_INPUT, FEED_TARGET, FEED_OUTPUT_GRADIENT, FEED_PARTS };
struct feed {
    int (*read)(void *user, enum feed_part part, long first, long steps, void *rows, bptt_error *error);
    int (*write)(void *user, long first, long steps, const void *rows, bptt_error *error);     /* dL/dx, or NULL */
    void *user;
    int has[FEED_PARTS];
};

struct network;
/* One window. Pointers to what is not there are NULL. */
struct window {
    long steps;
    const void *x;                         /* [steps, B, I], elements of `element_size` */
    const int32_t *token;                  /* [steps, B] in place of x */
    const void *target;                    /* [steps, B, O] elements of `element_size`, or [steps, B] int32 for cross-entropy */
    const void *output_gradient;           /* [steps, B, O], in place of a target */
    int element_size;                      /* 4 or 8: of x, target, output_gradient, output, input_gradient */
    void *output;                          /* out [steps, B, O] */
    void *input_gradient;                  /* out [steps, B, I] */
    int64_t index;                         /* number of this window in its run: the dropout masks' index */
    int training;                          /* 1: dropout masks are drawn */
    long mean_over;                        /* steps that the loss is the mean over; 0: this window's own */
    /* Called where the strategy updates, or NULL: then gradients gather. A status other than 0 ends the window. */
    int (*update)(void *user, bptt_error *error);
    void *user;                            /* of update and observe */
    const struct feed *feed;               /* in place of the arrays */
    long loss_from;                        /* losses of earlier steps are left out */
    /* Called after each stretch of the backward pass, from the end on, or NULL: slot i of a layer's dstate holds dL/d(state
     * before step start + i). */
    void (*observe)(void *user, const struct network *net, long start, long steps);
    double loss;                           /* out: mean over steps, batch (and outputs for mse); 0 for 0 steps */
};

struct network {
    const bptt_model *model;
    struct network_config config;
    const struct kernels *kernels;
    struct pool *pool;
    struct layer *layer;                   /* [layers] */
    struct plan plan;
    struct arena arena;
    long block;                            /* steps in a block */
    long positions;                        /* steps on tape */
    struct axis axis;
    struct schedule schedule;              /* with gradients */
    struct spill *spill;
    int table;                             /* layer 0 takes tokens through a table (time/layer.h) */
    int has_dropout;
    /* regions of the plan; pointers are made by network_allocate */
    struct network_memory *memory;
    /* by layer and state: what the next window starts from [B][width]; gradients: dL/d(that) of the last window */
    void ***carried, ***initial_gradient, ***final_gradient;
    void *parameters;                      /* the model's in this precision: f32 the model's own */
    void *gradients;                       /* model->count elements of the kernels' wide type, laid out as the parameters */
};

/* A bptt_type, or 0 for single precision. */
static inline enum precision precision_of(int type)
{
    return type == BPTT_F64 ? PRECISION_F64 : type == BPTT_BF16 ? PRECISION_BF16 : PRECISION_F32;
}

int network_new(struct network *net, const bptt_model *model, const struct network_config *config, bptt_error *error);
int network_allocate(struct network *net, bptt_error *error);
void network_free(struct network *net);

/* adaptive: the truncation from the next window on. */
void network_set_truncation(struct network *net, long steps);

void network_load(struct network *net);
void network_reset(struct network *net);               /* carried states to the cell's start values */
void network_clear_gradients(struct network *net);
void network_clear_final_gradient(struct network *net);

/* Runs the window from the carried states and leaves its last states there. Fills output and, with a target, loss. */
int network_forward(struct network *net, struct window *window, bptt_error *error);
/* Windows of one step, again and again, at less cost: prepare takes up the carried states, step goes on from there (and leaves
 * the carried ones behind). For networks of one thread without dropout; output is wanted. */
void network_prepare_steps(struct network *net);
int network_step(struct network *net, struct window *window, bptt_error *error);
/* The same by the network's strategy, and adds dL/dparameters to net->gradients; fills initial_gradient, input_gradient and
 * loss. Starts from final_gradient. window->steps <= config.steps. */
int network_gradient(struct network *net, struct window *window, bptt_error *error);

/* Natural rows [B, width] of a state, in or out, elements of element_size. */
void network_set_state(struct network *net, void *buffer, int layer, int state, const void *rows, int element_size);
void network_get_state(const struct network *net, const void *buffer, int layer, int state, void *rows, int element_size);

/* Of activations and states, in the network's precision. */
int network_are_finite(const struct network *net, const void *values, long n);
/* Name of the first layer and value (state, or gradient of a parameter) that is not finite: for messages. 1 if found. */
int network_find_not_finite(const struct network *net, char *where, size_t size);

#endif
