/* execute.c - windows through a network: one executor that follows a schedule's actions, whatever the strategy.
 *
 * Between two actions a state is at hand (at a position of the window, in a row of the tape's states), and a gradient is at
 * rest in slot 0 of dstate: dL/d(state before some position). */
#include "stretch.h"

#include <string.h>

struct executor {
    struct network *net;
    struct window *window;
    long position, row;                    /* of the state at hand: in the window, and on tape */
    int fresh;                             /* an update was made: weights must be packed again */
    int reached_start;                     /* a reverse came down to position 0 before */
    bptt_error *error;
};

/* ---- states and gradients between stretches ---- */

static void copy_state(const struct network *net, int l, int i, void *to, long to_slot, const void *from, long from_slot)
{
    long one = state_elements(net, l, i);
    memmove(shift(net, to, to_slot * one), shift_const(net, from, from_slot * one), (size_t)(one * net->kernels->element_size));
}

static void take_states(struct network *net, long row)
{
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->layer[l].state[i], row, net->carried[l][i], 0);
}

static void carry_states(struct network *net, long row)
{
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->carried[l][i], 0, net->layer[l].state[i], row);
}

static void move_states(struct network *net, long to, long from)
{
    for (int l = 0; l < net->model->layers && to != from; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->layer[l].state[i], to, net->layer[l].state[i], from);
}

static void move_gradient(struct network *net, long to, long from)
{
    for (int l = 0; l < net->model->layers && to != from; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->layer[l].dstate[i], to, net->layer[l].dstate[i], from);
}

static void take_final_gradient(struct network *net)
{
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            copy_state(net, l, i, net->layer[l].dstate[i], 0, net->final_gradient[l][i], 0);
}

static void clear_gradient(struct network *net)
{
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            memset(net->layer[l].dstate[i], 0, (size_t)(state_elements(net, l, i) * net->kernels->element_size));
}

/* What comes out at position 0; several truncated gradients may, and add up. */
static void give_initial_gradient(struct executor *e)
{
    struct network *net = e->net;
    for (int l = 0; l < net->model->layers; l++) {
        for (int i = 0; i < net->model->cell->states; i++) {
            long width = layer_state_width(&net->layer[l], i);
            if (e->reached_start)
                net->kernels->add(net->config.batch, width, net->layer[l].dstate[i], width, net->initial_gradient[l][i], width);
            else
                copy_state(net, l, i, net->initial_gradient[l][i], 0, net->layer[l].dstate[i], 0);
        }
    }
    e->reached_start = 1;
}

/* ---- kept states ---- */

static void copy_slot(struct executor *e, char *slot, int keep)
{
    struct network *net = e->net;
    for (int l = 0; l < net->model->layers; l++) {
        for (int i = 0; i < net->model->cell->states; i++) {
            long one = state_elements(net, l, i);
            size_t bytes = (size_t)(one * net->kernels->element_size);
            void *state = shift(net, net->layer[l].state[i], e->row * one);
            memcpy(keep ? (void *)slot : state, keep ? state : (void *)slot, bytes);
            slot += bytes;
        }
    }
}

static char *slot_in_memory(const struct network *net, long slot)
{
    return (char *)region(net, net->memory->slots) + (size_t)slot * net->axis.state_bytes;
}

static int keep(struct executor *e, const struct action *a)
{
    struct network *net = e->net;
    long beyond = a->place - net->schedule.layout.slots;
    if (beyond < 0) {
        copy_slot(e, slot_in_memory(net, a->place), 1);
        return BPTT_OK;
    }
    char *staging = region(net, net->memory->staging);
    copy_slot(e, staging, 1);
    return spill_write(net->spill, beyond, 0, staging, net->axis.state_bytes, e->error);
}

static int restore(struct executor *e, const struct action *a)
{
    struct network *net = e->net;
    long beyond = a->place - net->schedule.layout.slots;
    char *slot = beyond < 0 ? slot_in_memory(net, a->place) : region(net, net->memory->staging);
    int status = beyond < 0 ? BPTT_OK : spill_read(net->spill, beyond, 0, slot, net->axis.state_bytes, e->error);
    e->position = a->from;
    e->row = 0;
    if (!status)
        copy_slot(e, slot, 0);
    return status;
}

/* ---- forward ---- */

static struct stretch stretch_at(struct network *net, struct window *window, long start, long end, long first)
{
    return (struct stretch){.net = net, .window = window, .start = start, .first = first, .steps = end - start,
                            .rows = (end - start) * net->config.batch};
}

/* The end of the block of the window that holds a step. */
static long block_end(const struct network *net, long start, long end)
{
    long border = (start / net->block + 1) * net->block;
    return border < end ? border : end;
}

static void reach(struct executor *e, long position, long row)
{
    e->position = position;
    e->row = row;
    if (position == e->window->steps)
        carry_states(e->net, row);
}

/* Forward over a..b from the state at hand; its steps stand on tape from `place`, or with place -1 nowhere: each block over
 * the one before. */
static int go_forward(struct executor *e, long from, long to, long place)
{
    struct network *net = e->net;
    move_states(net, place < 0 ? 0 : place, e->row);
    for (long start = from, end; start < to; start = end) {
        end = block_end(net, start, to);
        if (place < 0 && end - start > net->positions)
            end = start + net->positions;
        long first = place < 0 ? 0 : place + start - from;
        struct stretch s = stretch_at(net, e->window, start, end, first);
        int status = stretch_forward(&s, e->error);
        if (status)
            return status;
        if (place < 0)
            move_states(net, 0, s.steps);
        reach(e, end, place < 0 ? 0 : first + s.steps);
    }
    return BPTT_OK;
}

/* ---- backward ---- */

/* The mean of an update's losses is over its own steps; without updates, over the window. */
static long mean_over(const struct executor *e, const struct action *a)
{
    const struct window *w = e->window;
    const struct strategy *strategy = &e->net->schedule.strategy;
    long chunk = strategy->kind == STRATEGY_SEGMENTS || strategy->kind == STRATEGY_TRUNCATED ||
                         strategy->kind == STRATEGY_ADAPTIVE ? strategy->k1 : w->steps;
    if (w->mean_over || !w->update || chunk <= 0)
        return w->mean_over ? w->mean_over : w->steps;
    long start = a->losses < a->to ? a->losses / chunk * chunk : 0;
    return start + chunk < w->steps ? chunk : w->steps - start;
}

static int reverse_block(struct executor *e, const struct action *a, long start, long end, long losses)
{
    struct network *net = e->net;
    struct stretch s = stretch_at(net, e->window, start, end, a->place + start - a->from);
    const double *link = region(net, net->memory->links);
    s.backward = 1;
    s.losses = start >= losses;
    s.add = start < a->losses;
    s.link = link ? link + start : NULL;
    s.mean_over = mean_over(e, a);
    move_gradient(net, s.steps, 0);
    int status = stretch_backward(&s, e->error);
    if (!status && e->window->observe)
        e->window->observe(e->window->user, net, start, s.steps);
    return status;
}

/* Blocks of the window in reverse, split also where the losses begin. */
static int reverse(struct executor *e, const struct action *a)
{
    struct network *net = e->net;
    long losses = a->losses > e->window->loss_from ? a->losses : e->window->loss_from;
    if (a->to == e->window->steps)
        take_final_gradient(net);
    for (long end = a->to, start; end > a->from; end = start) {
        start = (end - 1) / net->block * net->block;
        start = start > a->from ? start : a->from;
        if (start < a->losses && a->losses < end)
            start = a->losses;
        if (start < losses && losses < end)
            start = losses;
        int status = reverse_block(e, a, start, end, losses);
        if (status)
            return status;
    }
    if (a->from == 0)
        give_initial_gradient(e);
    return BPTT_OK;
}

/* Before the reverse that crosses it: noted. Where no links are, the gradient begins anew. */
static void cut(struct executor *e, const struct action *a)
{
    double *link = region(e->net, e->net->memory->links);
    if (link) {
        link[a->from] = a->scale;
        return;
    }
    clear_gradient(e->net);
}

static int update(struct executor *e)
{
    if (!e->window->update)
        return BPTT_OK;
    stretch_finish_table_gradient(e->net);
    int status = e->window->update(e->window->user, e->error);
    stretch_clear_table_gradient(e->net);
    e->fresh = 1;
    return status;
}

/* ---- windows ---- */

static int act(struct executor *e, const struct action *a)
{
    if (e->fresh)
        network_load(e->net);
    e->fresh = 0;
    switch (a->kind) {
    case ACTION_ADVANCE: return go_forward(e, a->from, a->to, -1);
    case ACTION_KEEP: return keep(e, a);
    case ACTION_RESTORE: return restore(e, a);
    case ACTION_RECORD: return go_forward(e, a->from, a->to, a->place);
    case ACTION_REVERSE: return reverse(e, a);
    case ACTION_CUT: cut(e, a); return BPTT_OK;
    default: return update(e);
    }
}

static void begin(struct network *net, struct window *window)
{
    window->loss = 0;
    stretch_draw_state_masks(net, window);
    take_states(net, 0);
}

int network_forward(struct network *net, struct window *window, bptt_error *error)
{
    int status = stretch_check_window(net, window, error);
    if (status)
        return status;
    begin(net, window);
    for (long start = 0, end; start < window->steps && !status; start = end) {
        end = block_end(net, start, window->steps);
        if (end - start > net->positions)
            end = start + net->positions;
        if (start < window->loss_from && window->loss_from < end)
            end = window->loss_from;
        struct stretch s = stretch_at(net, window, start, end, 0);
        s.mean_over = window->steps;
        s.losses = start >= window->loss_from;
        status = stretch_forward(&s, error);
        if (!status && (window->output || window->target || window->feed))
            status = stretch_outputs(&s, error);
        move_states(net, 0, s.steps);
    }
    carry_states(net, 0);
    return status;
}

void network_prepare_steps(struct network *net)
{
    struct window window = {.steps = 1};
    struct stretch s = stretch_at(net, &window, 0, 1, 0);
    take_states(net, 0);
    stretch_prepare_step(&s);
}

int network_step(struct network *net, struct window *window, bptt_error *error)
{
    struct stretch s = stretch_at(net, window, 0, 1, 0);
    int status = stretch_check_window(net, window, error);
    if (!status)
        status = stretch_step(&s, error);
    if (!status)
        move_states(net, 0, 1);
    return status;
}

static void begin_links(struct network *net)
{
    double *link = region(net, net->memory->links);
    for (long t = 0; link && t <= net->axis.steps; t++)
        link[t] = 1;
}

/* No step: what comes in at the end comes out at the beginning. */
static void pass_through(struct executor *e)
{
    take_final_gradient(e->net);
    give_initial_gradient(e);
}

int network_gradient(struct network *net, struct window *window, bptt_error *error)
{
    struct executor e = {.net = net, .window = window, .error = error};
    struct action action;
    int status = stretch_check_window(net, window, error);
    if (status)
        return status;
    begin(net, window);
    begin_links(net);
    stretch_clear_table_gradient(net);
    schedule_start(&net->schedule, window->steps, random_open(net->config.seed, RANDOM_TRUNCATION, 0), (uint64_t)window->index);
    if (window->steps == 0)
        pass_through(&e);
    while (!status && schedule_next(&net->schedule, &action))
        status = act(&e, &action);
    if (!status && !window->update)
        stretch_finish_table_gradient(net);
    return status;
}
