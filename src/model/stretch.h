/* stretch.h - a few steps of a window through all layers, forward and backward: what the executor's actions are made of. For
 * network.c, stretch.c and execute.c, and for horizon.c, which looks at what passes between layers. */
#ifndef BPTT_MODEL_STRETCH_H
#define BPTT_MODEL_STRETCH_H

#include "network.h"

static const size_t NO_REGION = (size_t)-1;

struct layer_memory {
    size_t packed, tape, run_block, run_step, back_block, back_step, dropped, dy;
    size_t *state, *dstate, *mask, *masked, *dmasked, *carried, *initial_gradient, *final_gradient;    /* by state */
};

struct network_memory {
    struct layer_memory *layer;
    size_t scratch, scratch_bytes;
    size_t input, dinput, dsum;            /* layer 0's x and dx; room to add to a dx that is there already */
    size_t logits, target, loss_rows, head, head_back;
    size_t dlogits;                        /* logits, or where these are wider than what products take, a copy for products */
    size_t drop_mask;
    size_t table, dtable, table_work, table_packed;
    size_t table_given;                    /* dtable, or a copy for products */
    size_t parameters, gradients;
    size_t slots, staging;                 /* kept states [slots][state_bytes]; one on its way to or from disk */
    size_t links;                          /* [steps + 1] double: what the gradient that crosses each position is scaled by */
    size_t fed[FEED_PARTS], fed_gradient;
};

/* ---- addresses ---- */
static inline void *shift(const struct network *net, void *base, long elements)
{
    return (char *)base + elements * net->kernels->element_size;
}

static inline const void *shift_const(const struct network *net, const void *base, long elements)
{
    return (const char *)base + elements * net->kernels->element_size;
}

/* In gradients, logits and targets, whose numbers are of the kernels' wide type. */
static inline void *shift_wide(const struct network *net, void *base, long elements)
{
    return (char *)base + elements * net->kernels->wide->element_size;
}

static inline int is_narrow(const struct network *net)
{
    return net->kernels->wide != net->kernels;
}

static inline void *region(const struct network *net, size_t number)
{
    return number == NO_REGION ? NULL : plan_at(&net->plan, number);
}

static inline long state_elements(const struct network *net, int layer, int state)
{
    return net->config.batch * layer_state_width(&net->layer[layer], state);
}

struct stretch {
    struct network *net;
    struct window *window;
    long start;                            /* its first step in the window */
    long first;                            /* and on tape */
    long steps, rows;
    int backward;
    int losses;                            /* these steps' losses come in */
    int add;                               /* backward: to the input gradient that is there already */
    long mean_over;                        /* steps that the loss is the mean over */
    const double *link;                    /* backward: by step of the stretch, or NULL: all 1 */
    int layer;                             /* dropout: of which output */
    /* its rows of the window, or of what was fetched */
    const void *x, *target, *output_gradient;
    const int32_t *token;
    void *input_gradient;
};

/* Each returns a status: rows may come from a file. */
int stretch_forward(struct stretch *stretch, bptt_error *error);
void stretch_prepare_step(const struct stretch *stretch);             /* its one step will be run again and again */
int stretch_step(struct stretch *stretch, bptt_error *error);         /* forward and outputs */
int stretch_outputs(struct stretch *stretch, bptt_error *error);      /* after forward: outputs and losses, no gradient */
int stretch_backward(struct stretch *stretch, bptt_error *error);
void stretch_draw_state_masks(struct network *net, const struct window *window);
int stretch_check_window(const struct network *net, const struct window *window, bptt_error *error);
void stretch_clear_table_gradient(struct network *net);
void stretch_finish_table_gradient(struct network *net);

#endif
