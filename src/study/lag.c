/* lag.c - the gradient of a step's loss by the states before it, lag by lag and state by state. One full backward pass from
 * the last loss of a window passes every lag; an observer reads what comes by. Each row of each window is one t: from all of
 * them come means and quantiles. The same windows, with all their losses, give the gradient by parameter. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/horizon.h"
#include "../model/stretch.h"
#include "inspect.h"

static const double AFFORDABLE = 1e11;     /* operations in double precision, whose code uses fewer of the machine's vectors */

struct survey {
    struct inspect *inspect;
    struct network net;
    long lags, batch, samples;
    int element_size;
    int32_t *token, *target_token;         /* [lags][batch]: a window */
    double *x, *target;
    double *kept;                          /* carried states */
    double *norm;                          /* [curves][lags][samples] */
    long window;                           /* at hand */
    double scale;                          /* what a row's own gradient is multiplied by: the loss is the rows' mean */
    int shown;                             /* the state that a layer's output is, or -1 */
};

/* ---- windows ---- */

/* Where a row of a window begins to run up: at a drawn place of its own share of the data. */
static long row_start(const struct survey *s, long number, long *row)
{
    const struct source *d = &s->inspect->source;
    struct random_stream stream = random_open(s->inspect->options.seed, RANDOM_WINDOW, 1);
    long places = d->steps - 2 * s->lags + 1;
    double share = ((double)number + random_uniform(&stream, (uint64_t)number)) / (double)s->samples;
    double at = share * (double)(places * d->rows);
    long index = at < (double)(places * d->rows) ? (long)at : places * d->rows - 1;
    *row = index / places;
    return index % places;
}

static void fill_row(struct survey *s, long b, long first, long row)
{
    const struct source *d = &s->inspect->source;
    for (long t = 0; t < s->lags; t++) {
        long from = (first + t) * d->rows + row, to = t * s->batch + b;
        if (d->token)
            s->token[to] = d->token[from];
        else
            memcpy(s->x + to * d->inputs, d->x + from * d->inputs, (size_t)d->inputs * sizeof *s->x);
        if (d->target_token)
            s->target_token[to] = d->target_token[from];
        if (d->target)
            memcpy(s->target + to * d->outputs, d->target + from * d->outputs, (size_t)d->outputs * sizeof *s->target);
    }
}

/* Without targets the loss is the sum of the outputs: its gradient by them is 1, at the last step or at all. */
static void fill_ones(struct survey *s, long from)
{
    const struct source *d = &s->inspect->source;
    for (long i = 0; i < s->lags * s->batch * d->outputs; i++)
        s->target[i] = i >= from * s->batch * d->outputs;
}

static struct window fill(struct survey *s, long ahead)
{
    const struct source *d = &s->inspect->source;
    for (long b = 0; b < s->batch; b++) {
        long row, start = row_start(s, s->window * s->batch + b, &row);
        fill_row(s, b, start + ahead, row);
    }
    struct window w = {.steps = s->lags, .element_size = 8, .token = d->token ? s->token : NULL, .x = d->token ? NULL : s->x};
    return w;
}

static void give_losses(struct survey *s, struct window *w, long from)
{
    const struct source *d = &s->inspect->source;
    w->loss_from = from;
    if (d->target_token || d->target) {
        w->target = d->target_token ? (const void *)s->target_token : s->target;
        return;
    }
    fill_ones(s, from);
    w->output_gradient = s->target;
}

/* ---- norms ---- */

static double element(const struct network *net, const void *values, long i)
{
    return net->kernels->element_size == 4 ? (double)((const float *)values)[i] : ((const double *)values)[i];
}

/* The gradient by a state comes from the step after and, where the state is the layer's output, from what reads it. */
static double state_square(const struct survey *s, long slot, long row, int l, int i)
{
    const struct network *net = &s->net;
    const struct layer *layer = &net->layer[l];
    long n = net->model->size[l][net->model->cell->state[i].dim], at = (slot + 1) * s->batch + row,
         before = slot * s->batch + row;
    const void *state = shift(net, layer->dstate[i], at * layer_state_width(layer, i));
    const void *dy = shift(net, region(net, net->memory->layer[l].dy), before * layer->output_width);
    double square = 0;
    for (long j = 0; j < n; j++) {
        double g = s->scale * (element(net, state, j) + (i == s->shown ? element(net, dy, j) : 0));
        square += g * g;
    }
    return square;
}

static void put(struct survey *s, size_t curve, long lag, long row, double square)
{
    long sample = s->window * s->batch + row;
    s->norm[((long)curve * s->lags + lag) * s->samples + sample] = sqrt(square);
}

/* Curves in the order of the report: all, each layer, each layer's states. */
static void take_row(struct survey *s, long slot, long lag, long row)
{
    const bptt_model *model = s->net.model;
    int states = model->cell->states;
    double all = 0;
    for (int l = 0; l < model->layers; l++) {
        double layer = 0;
        for (int i = 0; i < states; i++) {
            double square = state_square(s, slot, row, l, i);
            put(s, (size_t)(1 + model->layers + l * states + i), lag, row, square);
            layer += square;
        }
        put(s, (size_t)(1 + l), lag, row, layer);
        all += layer;
    }
    put(s, 0, lag, row, all);
}

static void observe(void *user, const struct network *net, long start, long steps)
{
    struct survey *s = user;
    (void)net;
    for (long slot = steps - 1; slot >= 0; slot--)
        for (long row = 0; row < s->batch; row++)
            take_row(s, slot, s->lags - 1 - start - slot, row);
}

/* ---- measuring ---- */

static void add_parameters(struct survey *s)
{
    bptt_inspect_report *r = s->inspect->report;
    for (size_t i = 0; i < r->parameters; i++) {
        const struct tensor *tensor = &s->net.model->tensor[i];
        double square = 0;
        for (long j = 0; j < tensor->count; j++) {
            double g = element(&s->net, s->net.gradients, tensor->offset + j);
            square += g * g;
        }
        r->parameter[i].gradient += sqrt(square) / (double)s->inspect->options.windows;
    }
}

static int measure_window(struct survey *s)
{
    bptt_error *error = s->inspect->error;
    struct window before = fill(s, 0);
    network_reset(&s->net);
    int status = network_forward(&s->net, &before, error);
    if (status)
        return status;
    horizon_carried(&s->net, s->kept, 0);
    struct window last = fill(s, s->lags), whole = last;
    give_losses(s, &last, s->lags - 1);
    last.mean_over = 1;
    last.observe = observe;
    last.user = s;
    s->scale = last.target ? (double)s->batch : 1;
    network_clear_gradients(&s->net);
    status = network_gradient(&s->net, &last, error);
    if (status)
        return status;
    horizon_carried(&s->net, s->kept, 1);
    give_losses(s, &whole, 0);
    network_clear_gradients(&s->net);
    status = network_gradient(&s->net, &whole, error);
    if (!status)
        add_parameters(s);
    return status;
}

static int measure(struct survey *s)
{
    int status = BPTT_OK;
    network_load(&s->net);
    for (s->window = 0; s->window < s->inspect->options.windows && !status; s->window++) {
        status = inspect_progress(s->inspect, "gradients by lag", (double)s->window / (double)s->inspect->options.windows);
        if (!status)
            status = measure_window(s);
    }
    return status;
}

/* ---- the report ---- */

/* The lag from which on the mean stays below a share of its largest. */
static int64_t stays_below(const double *mean, long lags, double share)
{
    double most = 0;
    for (long k = 0; k < lags; k++)
        most = mean[k] > most ? mean[k] : most;
    long k = lags;
    while (k > 0 && mean[k - 1] < share * most)
        k--;
    return k < lags ? k : -1;
}

static double half_life(double decay)
{
    return decay <= 0 ? 0 : decay < 1 ? log(0.5) / log(decay) : isnan(decay) ? NAN : INFINITY;
}

static void name_curve(const struct survey *s, size_t number, bptt_inspect_lag *curve)
{
    const bptt_model *model = s->net.model;
    int states = model->cell->states, layers = (int)model->layers, at = (int)number - 1 - layers;
    curve->layer = number == 0 ? -1 : at < 0 ? (int)number - 1 : at / states;
    curve->state = at < 0 ? -1 : at % states;
    if (at >= 0)
        snprintf(curve->name, sizeof curve->name, "layers.%d.%s", (int)curve->layer, model->cell->state[at % states].name);
    else if (number > 0)
        snprintf(curve->name, sizeof curve->name, "layers.%d", (int)curve->layer);
}

static int make_curve(struct survey *s, size_t number, double *values, double *mean)
{
    bptt_inspect_lag *curve = &s->inspect->report->curve[number];
    name_curve(s, number, curve);
    curve->norm = calloc((size_t)s->lags, sizeof *curve->norm);
    if (!curve->norm)
        return fail_memory(s->inspect->error, (size_t)s->lags * sizeof *curve->norm);
    for (long k = 0; k < s->lags; k++) {
        for (long i = 0; i < s->samples; i++)
            values[i] = s->norm[((long)number * s->lags + k) * s->samples + i];
        spread_of(values, s->samples, &curve->norm[k]);
        mean[k] = curve->norm[k].mean;
    }
    curve->decay = horizon_decay(mean, s->lags);
    curve->half_life = half_life(curve->decay);
    curve->percent = stays_below(mean, s->lags, 0.01);
    curve->rounding = stays_below(mean, s->lags, 0x1p-24);
    return BPTT_OK;
}

static int make_report(struct survey *s)
{
    bptt_inspect_report *r = s->inspect->report;
    size_t bytes = (size_t)(s->samples + s->lags) * sizeof(double);
    double *values = malloc(bytes);
    int status = values ? BPTT_OK : fail_memory(s->inspect->error, bytes);
    for (size_t i = 0; i < r->curves && !status; i++)
        status = make_curve(s, i, values, values + s->samples);
    free(values);
    if (!status && !isfinite(r->curve[0].norm[0].mean))
        status = fail(s->inspect->error, BPTT_ERROR_NOT_FINITE,
                      "the gradient of a single step is not finite: the model's weights have run away");
    return status;
}

/* ---- memory ---- */

static int allocate(struct survey *s)
{
    const struct source *d = &s->inspect->source;
    const bptt_model *model = s->inspect->model;
    size_t cells = size_mul((size_t)s->lags, (size_t)s->batch);
    size_t curves = 1 + (size_t)(model->layers * (1 + model->cell->states));
    size_t norms = size_mul(size_mul(curves, (size_t)s->lags), size_mul((size_t)s->samples, sizeof *s->norm));
    long states = 0;
    for (int l = 0; l < model->layers; l++)
        for (int i = 0; i < model->cell->states; i++)
            states += layer_state_width(&s->net.layer[l], i);
    s->token = malloc(size_mul(cells, sizeof *s->token));
    s->target_token = malloc(size_mul(cells, sizeof *s->target_token));
    s->x = malloc(size_mul(cells, (size_t)(d->inputs + 1) * sizeof *s->x));
    s->target = malloc(size_mul(cells, (size_t)(d->outputs + 1) * sizeof *s->target));
    s->kept = malloc(size_mul((size_t)(states * s->batch), sizeof *s->kept));
    s->norm = calloc(1, norms);
    s->inspect->report->curve = calloc(curves, sizeof *s->inspect->report->curve);
    s->inspect->report->parameter = calloc((size_t)model->tensors, sizeof *s->inspect->report->parameter);
    if (!s->token || !s->target_token || !s->x || !s->target || !s->kept || !s->norm || !s->inspect->report->curve ||
        !s->inspect->report->parameter)
        return fail_memory(s->inspect->error, norms);
    s->inspect->report->curves = curves;
    s->inspect->report->parameters = (size_t)model->tensors;
    return network_allocate(&s->net, s->inspect->error);
}

/* Besides the network: the process as it is, norms, a window, the report, a margin. */
static size_t bytes_elsewhere(const struct survey *s)
{
    const struct source *d = &s->inspect->source;
    size_t curves = 1 + (size_t)(s->inspect->model->layers * (1 + s->inspect->model->cell->states)), lags = (size_t)s->lags;
    size_t norms = size_mul(size_mul(curves, lags), (size_t)s->samples * sizeof(double) + sizeof(bptt_spread));
    size_t window = size_mul(size_mul(lags, (size_t)s->batch), (size_t)(d->inputs + d->outputs + 3) * sizeof(double));
    return memory_resident() + norms + window + (2 << 20);
}

static void name_parameters(const bptt_model *model, bptt_inspect_report *r)
{
    for (size_t i = 0; i < r->parameters; i++) {
        const struct tensor *tensor = &model->tensor[i];
        double square = 0;
        for (long j = 0; j < tensor->count; j++)
            square += (double)model->data[tensor->offset + j] * (double)model->data[tensor->offset + j];
        snprintf(r->parameter[i].name, sizeof r->parameter[i].name, "%s", tensor->name);
        r->parameter[i].weight = sqrt(square);
        r->parameter[i].update = NAN;
    }
}

static void release(struct survey *s)
{
    free(s->token);
    free(s->target_token);
    free(s->x);
    free(s->target);
    free(s->kept);
    free(s->norm);
    network_free(&s->net);
}

int lag_measure(struct inspect *inspect)
{
    const bptt_inspect_options *o = &inspect->options;
    struct survey s = {
        .inspect = inspect, .lags = (long)o->lags, .batch = (long)o->batch, .samples = (long)(o->batch * o->windows)};
    double work = 15.0 * (double)inspect->model->count * (double)(s.lags * s.samples);
    int exact = work <= AFFORDABLE;
    struct network_config config = {.steps = s.lags, .batch = s.batch, .threads = o->threads, .gradients = 1,
                                    .precision = exact ? PRECISION_F64 : PRECISION_F32, .memory = (size_t)o->memory,
                                    .elsewhere = bytes_elsewhere(&s)};
    int status = network_new(&s.net, inspect->model, &config, inspect->error);
    if (status)
        return status;
    const struct program *run = &inspect->model->cell->run;
    s.shown = run->place[run->output].kind == PLACE_NEXT ? run->place[run->output].index : -1;
    inspect->report->precision = exact ? BPTT_F64 : BPTT_F32;
    status = allocate(&s);
    if (!status) {
        name_parameters(inspect->model, inspect->report);
        status = measure(&s);
    }
    if (!status)
        status = make_report(&s);
    release(&s);
    return status;
}
