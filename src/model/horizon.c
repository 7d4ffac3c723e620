/* horizon.c - see horizon.h. One full backward pass from the last step's loss passes every lag; an observer reads the gradient
 * of the states as it comes by. */
#include "horizon.h"
#include "stretch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEASURE_EVERY = 100 };              /* windows: a measurement costs about one more of them. The first hundred are
                                              whole: a model that has learnt nothing shows no long influence */
static const double TAIL = 0.8;            /* share of the lags after which the fitted decay stands for the measured norms */
static const double GONE = -50;            /* log of a norm beside the largest one: rounding, or nothing */

/* ---- measuring ---- */

struct measurement { struct lag_profile *profile; double *sum, *square; long last; };

static long state_count(const struct network *net)
{
    long n = 0;
    for (int l = 0; l < net->model->layers; l++)
        for (int i = 0; i < net->model->cell->states; i++)
            n += layer_state_width(&net->layer[l], i);
    return n;
}

/* The state that a layer's output is, or -1. */
static int output_state(const struct network *net)
{
    const struct program *run = &net->model->cell->run;
    return run->place[run->output].kind == PLACE_NEXT ? run->place[run->output].index : -1;
}

/* Of one row's gradient: states, and outputs that are none. */
static long part_count(const struct network *net)
{
    long n = state_count(net);
    for (int l = 0; l < net->model->layers && output_state(net) < 0; l++)
        n += net->layer[l].output_width;
    return n;
}

/* Carried states, the gradient summed over lags, and by layer the squares of one row and the mean
 * norm. */
long horizon_scratch(const struct network *net)
{
    return state_count(net) * net->config.batch + part_count(net) + 2 * net->model->layers;
}

static double element(const struct network *net, const void *values, long i)
{
    if (net->kernels->element_size == 2)
        return bfloat16_get(((const uint16_t *)values)[i]);
    return net->kernels->element_size == 4 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

/* One part of a row: a gradient from the step after and one from the output, either of which may be missing. The loss is the
 * rows' mean: times their number, a row's own. */
static double *take_part(const struct network *net, const void *state, const void *output, long n, double *sum, double *square)
{
    double batch = (double)net->config.batch;
    for (long j = 0; j < n; j++) {
        double g = (state ? element(net, state, j) : 0) + (output ? element(net, output, j) : 0);
        *square += g * batch * g * batch;
        sum[j] += g;
    }
    return sum + n;
}

/* One row of dL/d(states after the step in `slot`): its squares by layer, and its share of the mean added to the sum. */
static void take_row(const struct network *net, long slot, long row, struct measurement *m)
{
    const struct bptt_cell *cell = net->model->cell;
    int shown = output_state(net);
    double *sum = m->sum;
    long batch = net->config.batch;
    for (int l = 0; l < net->model->layers; l++) {
        const long *size = net->model->size[l];
        const void *dy = shift(net, region(net, net->memory->layer[l].dy), (slot * batch + row) * net->layer[l].output_width);
        m->square[l] = 0;
        for (int i = 0; i < cell->states; i++) {
            long at = ((slot + 1) * batch + row) * layer_state_width(&net->layer[l], i);
            sum = take_part(net, shift(net, net->layer[l].dstate[i], at), i == shown ? dy : NULL, size[cell->state[i].dim], sum,
                            &m->square[l]);
        }
        if (shown < 0)
            sum = take_part(net, NULL, dy, size[cell->output_dim], sum, &m->square[l]);
    }
}

/* A mean over windows, as the next one comes. */
static void average(const struct lag_profile *p, double *mean, double value)
{
    *mean = p->windows == 1 ? value : *mean + (value - *mean) / (double)p->windows;
}

static void take_lag(const struct network *net, long slot, long lag, struct measurement *m)
{
    struct lag_profile *p = m->profile;
    double share = 1 / (double)net->config.batch, norm = 0, reach = 0;
    double *layer = m->square + net->model->layers;
    memset(layer, 0, (size_t)net->model->layers * sizeof *layer);
    for (long row = 0; row < net->config.batch; row++) {
        double all = 0;
        take_row(net, slot, row, m);
        for (int l = 0; l < net->model->layers; l++) {
            layer[l] += share * sqrt(m->square[l]);
            all += m->square[l];
        }
        norm += share * sqrt(all);
    }
    for (long j = 0; j < part_count(net); j++)
        reach += m->sum[j] * m->sum[j];
    average(p, &p->norm[lag], norm);
    average(p, &p->reach[lag], sqrt(reach));
    for (int l = 0; l < net->model->layers; l++)
        average(p, &p->layer[l * p->lags + lag], layer[l]);
}

/* Blocks come from the end: lags in their order. */
static void observe(void *user, const struct network *net, long start, long steps)
{
    struct measurement *m = user;
    for (long slot = steps - 1; slot >= 0; slot--)
        if (m->last - start - slot < m->profile->lags)
            take_lag(net, slot, m->last - start - slot, m);
}

void horizon_carried(struct network *net, double *kept, int back)
{
    char *at = (char *)kept;
    for (int l = 0; l < net->model->layers; l++) {
        for (int i = 0; i < net->model->cell->states; i++) {
            size_t bytes = (size_t)(net->config.batch * layer_state_width(&net->layer[l], i) * net->kernels->element_size);
            memcpy(back ? net->carried[l][i] : (void *)at, back ? (void *)at : net->carried[l][i], bytes);
            at += bytes;
        }
    }
}

int horizon_measure(struct network *net, const struct window *window, struct lag_profile *profile, double *scratch,
                    bptt_error *error)
{
    long n = part_count(net), truncation = net->schedule.strategy.k1;
    double *kept = scratch, *sum = scratch + state_count(net) * net->config.batch;
    struct measurement m = {.profile = profile, .sum = sum, .square = sum + n, .last = window->steps - 1};
    struct window own = *window;
    own.loss_from = window->steps - 1;
    own.mean_over = 1;
    own.update = NULL;
    own.observe = observe;
    own.user = &m;
    profile->windows++;
    memset(sum, 0, (size_t)n * sizeof *sum);
    horizon_carried(net, kept, 0);
    network_set_truncation(net, 0);
    int status = network_gradient(net, &own, error);
    network_set_truncation(net, truncation);
    horizon_carried(net, kept, 1);
    network_clear_gradients(net);
    return status;
}

/* ---- decay and bias ---- */

/* Least squares of log norm over the lag. Lags after which nothing but rounding is left, beside the largest one before, say
 * nothing about how it goes. */
double horizon_decay(const double *norm, long lags)
{
    double n = 0, x = 0, y = 0, xx = 0, xy = 0, most = 0;
    for (long k = 0; k < lags; k++) {
        most = isfinite(norm[k]) && norm[k] > most ? norm[k] : most;
        double value = log(norm[k]);
        if (!isfinite(value) || !(value > log(most) + GONE))
            continue;
        n++;
        x += (double)k;
        y += value;
        xx += (double)k * (double)k;
        xy += (double)k * value;
    }
    if (n < 2)
        return lags > 1 && norm[lags - 1] <= most ? 0 : NAN;
    return exp((n * xy - x * y) / (n * xx - x * x));
}

/* What lies beyond `kept` lags: measured up to the tail, the fitted decay from there. further: beyond one more. */
static double beyond(const struct lag_profile *p, long kept, double decay, double further)
{
    long tail = (long)(TAIL * (double)p->lags);
    return kept < tail ? p->norm[kept] + further : p->norm[tail] / (1 - decay) * pow(decay, (double)(kept - tail));
}

/* At least so long is the whole gradient: its part within some reach less what can lie beyond. 0: no bound. */
static double least_norm(const struct lag_profile *p, double decay)
{
    double most = 0, rest = 0;
    for (long k = p->lags; k > 0 && decay < 1; k--) {
        rest = beyond(p, k, decay, rest);
        double least = p->reach[k - 1] - rest;
        most = least > most ? least : most;
    }
    return most;
}

void horizon_bias(const struct lag_profile *p, double *bias)
{
    double decay = horizon_decay(p->norm, p->lags), whole = least_norm(p, decay), rest = 0;
    for (long k = p->lags; k > 0; k--) {
        rest = beyond(p, k, decay, rest);
        bias[k - 1] = whole > 0 ? rest / whole : INFINITY;
    }
}

/* From all lags down: the bias grows with each one less. */
struct horizon_estimate horizon_estimate(const struct lag_profile *p, double delta)
{
    struct horizon_estimate e = {.decay = horizon_decay(p->norm, p->lags), .truncation = p->lags, .bias = INFINITY};
    double whole = least_norm(p, e.decay), rest = 0;
    for (long k = p->lags; k > 0 && whole > 0; k--) {
        rest = beyond(p, k, e.decay, rest);
        if (k < p->lags && !(rest / whole < delta))
            break;
        e.truncation = k;
        e.bias = rest / whole;
    }
    return e;
}

/* ---- adaptive training ---- */

struct horizon {
    double delta;
    struct lag_profile profile;
    double *memory, *scratch;
    int has_note;
    char note[256];
};

int horizon_new(const struct network *net, double delta, struct horizon **out, bptt_error *error)
{
    long lags = net->config.steps, profile = lags * (net->model->layers + 2), scratch = horizon_scratch(net);
    struct horizon *h = calloc(1, sizeof *h);
    *out = h;
    if (h)
        h->memory = calloc((size_t)(profile + scratch), sizeof *h->memory);
    if (!h || !h->memory) {
        horizon_free(h);
        *out = NULL;
        return fail_memory(error, (size_t)(profile + scratch) * sizeof *h->memory);
    }
    h->delta = delta;
    h->profile = (struct lag_profile){.lags = lags, .norm = h->memory, .reach = h->memory + lags, .layer = h->memory + 2 * lags};
    h->scratch = h->memory + profile;
    return BPTT_OK;
}

void horizon_free(struct horizon *h)
{
    if (h)
        free(h->memory);
    free(h);
}

static void choose(struct horizon *h, struct network *net)
{
    struct horizon_estimate e = horizon_estimate(&h->profile, h->delta);
    network_set_truncation(net, e.truncation);
    h->has_note = 1;
    if (e.bias < h->delta)
        snprintf(h->note, sizeof h->note, "adaptive: the gradient decays by %.4f a step; truncation %ld has an estimated relative bias "
                 "of %.3f (below %g)", e.decay, e.truncation, e.bias, h->delta);
    else
        snprintf(h->note, sizeof h->note, "adaptive: no truncation within %ld steps has an estimated relative bias below %g (factor %.4f "
                 "a step); the whole window is kept: a longer --length would show more", h->profile.lags, h->delta, e.decay);
}

int horizon_adapt(struct horizon *h, struct network *net, const struct window *window, bptt_error *error)
{
    if (window->steps < h->profile.lags || (window->index + 1) % MEASURE_EVERY)   /* by number: the same when resumed */
        return BPTT_OK;
    h->profile.windows = 0;                /* the model has moved on: nothing of the last measurement stays */
    int status = horizon_measure(net, window, &h->profile, h->scratch, error);
    if (!status)
        choose(h, net);
    return status;
}

const char *horizon_note(struct horizon *h)
{
    int had = h->has_note;
    h->has_note = 0;
    return had ? h->note : NULL;
}
