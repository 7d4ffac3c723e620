/* estimate.c - what a strategy does to the gradient, and what it costs. Every strategy sees the same windows, begun from the
 * same states, and is held against the exact gradient of each; sums are in double precision whatever the gradients are in. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../model/horizon.h"
#include "../model/influence.h"
#include "compare.h"

enum { ROUNDS = 5 };                       /* of a strategy and the full gradient in turns */
static const double LONG_ENOUGH = 2;       /* seconds after which no further round begins */

/* ---- a strategy that is ready for windows ---- */

struct runner {
    struct network net;
    struct influence *influence;           /* forward mode, or NULL */
    struct strategy strategy;
};

static int lay_out(struct runner *r, const struct compare *c, const struct strategy *strategy, enum precision precision)
{
    struct network_config config = {.steps = (long)c->options.length, .batch = (long)c->options.batch, .threads = c->options.threads,
                                    .gradients = 1, .precision = precision, .strategy = *strategy, .seed = c->options.seed};
    *r = (struct runner){.strategy = *strategy};
    return network_new(&r->net, c->model, &config, c->error);
}

static void close_runner(struct runner *r)
{
    influence_free(r->influence);
    r->influence = NULL;
    if (r->net.model)
        network_free(&r->net);
}

static int allocate(struct runner *r, const struct compare *c)
{
    int status = network_allocate(&r->net, c->error);
    if (!status && strategy_is_forward(&r->strategy))
        status = influence_new(&r->net, &r->strategy, c->options.seed, &r->influence, c->error);
    if (!status)
        network_load(&r->net);
    return status;
}

static int open_runner(struct runner *r, const struct compare *c, const struct strategy *strategy, enum precision precision)
{
    int status = lay_out(r, c, strategy, precision);
    if (!status)
        status = allocate(r, c);
    if (status)
        close_runner(r);
    return status;
}

static size_t bytes_of(const struct runner *r, const struct compare *c)
{
    size_t bytes = r->net.plan.total + size_mul((size_t)c->model->count, sizeof(float));
    size_t influence = influence_bytes(c->model, (long)c->options.batch, &r->strategy);
    return influence < SIZE_MAX - bytes ? bytes + influence : SIZE_MAX;
}

/* ---- windows ---- */

/* Where a row of a window begins to run up: at a drawn place of its own share of the text. */
static int64_t row_start(const struct compare *c, int64_t window, int64_t row)
{
    const bptt_compare_options *o = &c->options;
    struct random_stream stream = random_open(o->seed, RANDOM_WINDOW, 2);
    int64_t number = window * o->batch + row, places = c->tokens - 2 * o->length;
    double share = ((double)number + random_uniform(&stream, (uint64_t)number)) / ((double)o->windows * (double)o->batch);
    int64_t start = (int64_t)(share * (double)places);
    return start < places ? start : places - 1;
}

/* The steps of a window, `ahead` steps from where its rows begin. */
static void fill(const struct compare *c, int64_t number, int64_t ahead, int32_t *x, int32_t *y)
{
    int64_t batch = c->options.batch;
    for (int64_t b = 0; b < batch; b++) {
        const int32_t *at = c->token + row_start(c, number, b) + ahead;
        for (int64_t t = 0; t < c->options.length; t++) {
            x[t * batch + b] = at[t];
            y[t * batch + b] = at[t + 1];
        }
    }
}

static struct window window_of(const struct compare *c, const struct runner *r, int64_t number, int64_t draw)
{
    int64_t size = c->options.length * c->options.batch;
    return (struct window){.steps = (long)c->options.length, .token = c->x + number * size, .target = c->y + number * size,
                           .element_size = (int)r->net.kernels->wide->element_size, .index = draw};
}

/* States as natural rows in double precision, so that networks of either precision take them. */
static void each_state(const struct compare *c, struct network *net, int64_t number, int out)
{
    double *at = c->state + (size_t)number * c->states;
    for (int l = 0; l < c->model->layers; l++) {
        for (int i = 0; i < c->model->cell->states; i++) {
            if (out)
                network_get_state(net, net->carried[l][i], l, i, at, sizeof *at);
            else
                network_set_state(net, net->carried[l][i], l, i, at, sizeof *at);
            at += net->config.batch * c->model->size[l][c->model->cell->state[i].dim];
        }
    }
}

/* The gradient of a window, in net.gradients. */
static int run(struct runner *r, const struct compare *c, int64_t number, int64_t draw)
{
    struct window window = window_of(c, r, number, draw);
    each_state(c, &r->net, number, 0);
    network_clear_gradients(&r->net);
    if (!strategy_is_forward(&r->strategy))
        return network_gradient(&r->net, &window, c->error);
    influence_reset(r->influence);
    return influence_window(r->influence, &r->net, &window, c->error);
}

/* ---- the exact gradients ---- */

static int check_exact(const struct compare *c, const struct runner *full)
{
    char where[160] = "no single value";
    if (isfinite(full->net.kernels->wide->sum_of_squares(c->model->count, full->net.gradients)))
        return BPTT_OK;
    network_find_not_finite(&full->net, where, sizeof where);
    return fail(c->error, BPTT_ERROR_NOT_FINITE, "the exact gradient is not finite, first in %s: the model's weights have run away", where);
}

static int run_up(struct compare *c, struct runner *full, int64_t number)
{
    int64_t size = c->options.length * c->options.batch;
    fill(c, number, 0, c->x + number * size, c->y + number * size);
    struct window before = window_of(c, full, number, 0);
    before.target = NULL;
    network_reset(&full->net);
    int status = network_forward(&full->net, &before, c->error);
    each_state(c, &full->net, number, 1);
    fill(c, number, c->options.length, c->x + number * size, c->y + number * size);
    return status;
}

static int prepare(struct compare *c)
{
    struct runner full;
    struct strategy strategy = {.kind = STRATEGY_FULL};
    int status = open_runner(&full, c, &strategy, c->precision);
    if (status)
        return status;
    size_t bytes = (size_t)c->model->count * (size_t)full.net.kernels->element_size;
    for (int64_t w = 0; w < c->options.windows && !status; w++) {
        status = compare_progress(c, "the exact gradient");
        if (!status) status = run_up(c, &full, w);
        if (!status) status = run(&full, c, w, 0);
        if (!status) status = check_exact(c, &full);
        memcpy(c->exact + (size_t)w * bytes, full.net.gradients, bytes);
    }
    close_runner(&full);
    return status;
}

/* ---- statistics ---- */

/* Of one part of the gradient. */
struct tally {
    double exact, own, dot, off;           /* of a window: |g|^2; of a repeat: |g'|^2, g'.g; over the repeats: |g' - g|^2 */
    double mean_off;                       /* |mean of g' - g|^2 */
    double exact_sum, mean_sum, spread_sum, cosine_sum;    /* over the windows */
};

struct judge {
    const struct compare *c;
    struct tally *tally;                   /* [parts] */
    double *sum;                           /* [parameters] of g' - g over the repeats */
    int64_t repeats;
    enum precision own;                    /* of the estimates */
};

static double value_at(const void *values, long i, enum precision precision)
{
    return precision == PRECISION_F64 ? ((const double *)values)[i] : (double)((const float *)values)[i];
}

/* A parameter belongs to the whole, to a layer, and to itself. */
static void parts_of(const struct compare *c, int tensor, size_t part[3])
{
    part[0] = 0;
    part[1] = 1 + (size_t)c->layer[tensor];
    part[2] = 1 + c->report->layers + (size_t)tensor;
}

static void see_parameter(struct judge *j, int number, const void *estimate, const void *exact)
{
    const struct tensor *tensor = &j->c->model->tensor[number];
    double squares = 0, own = 0, dot = 0, off = 0;
    for (long i = tensor->offset; i < tensor->offset + tensor->count; i++) {
        double e = value_at(estimate, i, j->own), g = value_at(exact, i, j->c->precision);
        squares += g * g;
        own += e * e;
        dot += e * g;
        off += (e - g) * (e - g);
        j->sum[i] += e - g;
    }
    size_t part[3];
    parts_of(j->c, number, part);
    for (int i = 0; i < 3; i++) {
        struct tally *t = &j->tally[part[i]];
        t->exact += squares;
        t->own += own;
        t->dot += dot;
        t->off += off;
    }
}

static void see(struct judge *j, const void *estimate, const void *exact)
{
    for (size_t i = 0; i < j->c->report->parts; i++)
        j->tally[i].exact = j->tally[i].own = j->tally[i].dot = 0;
    for (int i = 0; i < j->c->model->tensors; i++)
        see_parameter(j, i, estimate, exact);
    for (size_t i = 0; i < j->c->report->parts; i++) {
        struct tally *t = &j->tally[i];
        t->cosine_sum += t->own == 0 && t->exact > 0 ? 0 : t->dot / (sqrt(t->own) * sqrt(t->exact));
    }
}

static void begin_window(struct judge *j)
{
    memset(j->sum, 0, (size_t)j->c->model->count * sizeof *j->sum);
    for (size_t i = 0; i < j->c->report->parts; i++)
        j->tally[i].off = j->tally[i].mean_off = 0;
}

static void end_window(struct judge *j)
{
    double n = (double)j->repeats;
    for (int k = 0; k < j->c->model->tensors; k++) {
        const struct tensor *tensor = &j->c->model->tensor[k];
        size_t part[3];
        double squares = 0;
        for (long i = tensor->offset; i < tensor->offset + tensor->count; i++)
            squares += j->sum[i] / n * (j->sum[i] / n);
        parts_of(j->c, k, part);
        for (int i = 0; i < 3; i++)
            j->tally[part[i]].mean_off += squares;
    }
    for (size_t i = 0; i < j->c->report->parts; i++) {
        struct tally *t = &j->tally[i];
        t->exact_sum += t->exact;
        t->mean_sum += t->mean_off;
        t->spread_sum += n > 1 ? (t->off - n * t->mean_off) / (n - 1) : 0;
    }
}

static void conclude(const struct judge *j, bptt_compare_strategy *out)
{
    double windows = (double)j->c->options.windows, n = (double)j->repeats;
    for (size_t i = 0; i < j->c->report->parts; i++) {
        const struct tally *t = &j->tally[i];
        bptt_compare_part *part = &out->part[i];
        part->norm = sqrt(t->exact_sum / windows);
        part->bias = sqrt(t->mean_sum / t->exact_sum);
        part->variance = t->spread_sum / t->exact_sum;
        part->noise = sqrt(fmax(part->variance, 0) / n);
        part->cosine = t->cosine_sum / (windows * n);
    }
}

static int watch(struct judge *j, struct runner *r)
{
    const struct compare *c = j->c;
    size_t bytes = (size_t)c->model->count * (c->precision == PRECISION_F64 ? sizeof(double) : sizeof(float));
    int status = BPTT_OK;
    for (int64_t w = 0; w < c->options.windows && !status; w++) {
        begin_window(j);
        for (int64_t i = 0; i < j->repeats && !status; i++) {
            status = run(r, c, w, w * j->repeats + i);
            if (!status)
                see(j, r->net.gradients, c->exact + (size_t)w * bytes);
        }
        end_window(j);
    }
    return status;
}

static int judge(struct compare *c, const struct strategy *strategy, size_t number)
{
    struct runner runner;
    bptt_compare_strategy *out = &c->report->strategy[number];
    struct judge j = {.c = c, .repeats = out->draws ? c->options.repeats : 1,
                      .own = c->type[number] ? precision_of(c->type[number]) : c->precision};
    int status = open_runner(&runner, c, strategy, j.own);
    if (status)
        return status;
    j.tally = calloc(c->report->parts, sizeof *j.tally);
    j.sum = calloc((size_t)c->model->count, sizeof *j.sum);
    status = j.tally && j.sum ? watch(&j, &runner) : fail_memory(c->error, (size_t)c->model->count * sizeof *j.sum);
    if (!status)
        conclude(&j, out);
    free(j.tally);
    free(j.sum);
    close_runner(&runner);
    return status;
}

/* ---- time ---- */

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static double median(double *values, int n)
{
    qsort(values, (size_t)n, sizeof *values, ascending);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static int time_one(struct runner *r, const struct compare *c, int round, double *seconds)
{
    double start = clock_now();
    int status = run(r, c, round % c->options.windows, round);
    *seconds = clock_now() - start;
    return status;
}

/* In turns, so that what else the machine does meets both. */
static int measure_time(const struct compare *c, struct runner *r, struct runner *full, bptt_compare_strategy *out)
{
    double own[ROUNDS], other[ROUNDS], start = clock_now();
    int rounds = 0, status = time_one(r, c, 0, &own[0]);
    while (!status && rounds < ROUNDS && (rounds == 0 || clock_now() - start < LONG_ENOUGH)) {
        status = time_one(full, c, rounds, &other[rounds]);
        if (!status)
            status = time_one(r, c, rounds, &own[rounds]);
        rounds++;
    }
    if (status)
        return status;
    out->seconds = median(own, rounds);
    out->ratio = out->seconds / median(other, rounds);
    return BPTT_OK;
}

/* ---- one strategy ---- */

/* adaptive: from the losses of the windows' last steps, as in training. */
static int choose_truncation(struct compare *c, struct runner *r, bptt_compare_strategy *out)
{
    long lags = (long)c->options.length, scratch = horizon_scratch(&r->net);
    size_t count = (size_t)(scratch + lags * (c->model->layers + 2));
    double *memory = calloc(count, sizeof *memory);
    int status = memory ? BPTT_OK : fail_memory(c->error, count * sizeof *memory);
    struct lag_profile profile = {.lags = lags};
    if (memory) {
        profile.norm = memory + scratch;
        profile.reach = profile.norm + lags;
        profile.layer = profile.reach + lags;
    }
    for (int64_t w = 0; w < c->options.windows && !status; w++) {
        struct window window = window_of(c, r, w, 0);
        each_state(c, &r->net, w, 0);
        status = horizon_measure(&r->net, &window, &profile, memory, c->error);
    }
    if (!status)
        out->truncation = horizon_estimate(&profile, r->strategy.delta).truncation;
    free(memory);
    return status;
}

static int too_large(const struct compare *c, const struct runner *r, bptt_compare_strategy *out)
{
    size_t bytes = bytes_of(r, c), most = (size_t)c->options.memory;
    out->bytes = (int64_t)bytes;
    if (bytes > most)
        snprintf(out->skipped, sizeof out->skipped, "it needs %.1f MiB, more than the %.1f MiB allowed", (double)bytes / (1 << 20),
                 (double)most / (1 << 20));
    return bytes > most;
}

/* The schedule of the first window as it ran. */
static int keep_pieces(const struct compare *c, struct runner *r, bptt_compare_strategy *out)
{
    if (strategy_is_forward(&r->strategy))
        return BPTT_OK;
    schedule_start(&r->net.schedule, (long)c->options.length, random_open(c->options.seed, RANDOM_TRUNCATION, 0), 0);
    return figure_walk(&r->net.schedule, out, c->error);
}

static int compare_one(struct compare *c, struct runner *full, size_t number)
{
    bptt_compare_strategy *out = &c->report->strategy[number];
    struct strategy strategy = c->strategy[number];
    struct runner r;
    int status = compare_progress(c, out->name);
    if (!status)
        status = lay_out(&r, c, &strategy, precision_of(c->type[number]));
    if (status)
        return status;
    if (too_large(c, &r, out)) {
        close_runner(&r);
        return BPTT_OK;
    }
    status = allocate(&r, c);
    if (!status && strategy.kind == STRATEGY_ADAPTIVE) {
        status = choose_truncation(c, &r, out);
        network_set_truncation(&r.net, (long)out->truncation);
        strategy.k1 = (long)out->truncation;
    }
    if (!status) status = measure_time(c, &r, full, out);
    if (!status && !c->type[number]) status = keep_pieces(c, &r, out);
    close_runner(&r);
    return status ? status : judge(c, &strategy, number);
}

int estimate_all(struct compare *c)
{
    struct runner full;
    struct strategy strategy = {.kind = STRATEGY_FULL};
    int status = prepare(c);
    if (!status)
        status = open_runner(&full, c, &strategy, PRECISION_F32);
    if (status)
        return status;
    for (size_t i = 0; i < c->report->count && !status; i++) {
        status = compare_one(c, &full, i);
        c->done++;
    }
    close_runner(&full);
    return status;
}
