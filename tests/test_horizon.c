// link: -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
/* test_horizon.c - how far back a gradient reaches: norms by lag against closed forms of linear networks and against the
 * gradients of shorter windows, the fitted decay, the estimated bias and the truncation against sums by hand; gradients
 * that vanish, explode and overflow; then the same from a text, and all that may be wrong with it. */
#define _GNU_SOURCE 1
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../src/model/horizon.h"
#include "tap.h"

/* ---- allocations can be made to fail ---- */

static long calls, fails_at;               /* the allocation that fails; 0: none */

static int fails(void)
{
    return ++calls == fails_at;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    return fails() ? NULL : __real_realloc(memory, bytes);
}

/* ---- a network to look at ---- */

enum { STEPS_MOST = 300, BATCH_MOST = 4, LAYERS_MOST = 3, WIDTH_MOST = 8 };

struct look {
    bptt_model *model;
    struct network net;
    struct window window;
    struct lag_profile profile;
    double *scratch;
    double x[STEPS_MOST * BATCH_MOST * WIDTH_MOST], y[STEPS_MOST * BATCH_MOST * WIDTH_MOST];
    float x32[STEPS_MOST * BATCH_MOST * WIDTH_MOST], y32[STEPS_MOST * BATCH_MOST * WIDTH_MOST];
    double norm[STEPS_MOST], reach[STEPS_MOST], layer[LAYERS_MOST * STEPS_MOST];
};

struct kind { const char *cell; long steps, batch, hidden, layers; enum precision precision; const char *strategy; };

static bptt_model *open_model(const struct kind *k, int64_t vocabulary)
{
    bptt_error error = {0};
    bptt_cell *cell = NULL;
    bptt_model *model = NULL;
    bptt_model_config config = bptt_model_defaults();
    int status = strchr(k->cell, '\n') ? bptt_cell_parse(k->cell, "test.cell", &cell, &error)
                                       : bptt_cell_open(k->cell, &cell, &error);
    config.cell = cell;
    config.inputs = k->hidden;
    config.vocabulary = vocabulary;
    config.hidden = k->hidden;
    config.layers = k->layers;
    config.head = vocabulary > 0;
    config.outputs = vocabulary;
    config.loss = vocabulary ? BPTT_CROSS_ENTROPY : BPTT_MSE;
    config.seed = 5;
    if (!status)
        status = bptt_model_new(&config, &model, &error);
    bptt_cell_free(cell);
    tap_ok(!status, "a model of %s %s", strchr(k->cell, '\n') ? "a cell of one's own" : k->cell, error.text);
    return model;
}

static void set(bptt_model *model, const char *name, double value)
{
    const struct tensor *tensor = model_tensor(model, name);
    for (long i = 0; tensor && i < tensor->count; i++)
        model->data[tensor->offset + i] = (float)value;
    if (!tensor)
        tap_ok(0, "the model has %s", name);
}

static double noise(long i)
{
    return (double)((uint64_t)(i + 1) * 0x9e3779b97f4a7c15u >> 33) / 1073741824.0 - 1;
}

static struct look *look_open(const struct kind *k)
{
    bptt_error error = {0};
    struct look *l = calloc(1, sizeof *l);
    struct network_config config = {.steps = k->steps, .batch = k->batch, .threads = 1, .gradients = 1, .precision = k->precision};
    if (!l || strategy_parse(k->strategy, &config.strategy, &error))
        abort();
    l->model = open_model(k, 0);
    for (long i = 0; i < k->steps * k->batch * k->hidden; i++) {
        l->x[i] = l->x32[i] = (float)noise(i);
        l->y[i] = l->y32[i] = (float)noise(i + 7777);
    }
    int status = network_new(&l->net, l->model, &config, &error);
    if (!status)
        status = network_allocate(&l->net, &error);
    tap_ok(!status, "a network %s", error.text);
    l->scratch = malloc((size_t)horizon_scratch(&l->net) * sizeof *l->scratch);
    l->profile = (struct lag_profile){.lags = k->steps, .norm = l->norm, .reach = l->reach, .layer = l->layer};
    int wide = k->precision == PRECISION_F64;
    l->window = (struct window){.steps = k->steps, .x = wide ? (void *)l->x : (void *)l->x32, .element_size = wide ? 8 : 4,
                                .target = wide ? (void *)l->y : (void *)l->y32};
    return l;
}

static void look_close(struct look *l)
{
    network_free(&l->net);
    bptt_model_free(l->model);
    free(l->scratch);
    free(l);
}

static int look(struct look *l)
{
    network_load(&l->net);
    return horizon_measure(&l->net, &l->window, &l->profile, l->scratch, NULL);
}

/* ---- one linear unit: dL/dh_{T-k} = 2 e w^k ---- */

static const char scalar[] = "cell scalar\ninput x\nstate h\nparam w[H]\nh' = w * h + W x\n";

static void set_scalar(struct look *l, double w)
{
    set(l->model, "layers.0.W", 1);
    set(l->model, "layers.0.w", w);
}

/* The last step's error of a row, run in double precision. */
static double scalar_error(const struct look *l, double w, long row)
{
    double h = 0;
    long batch = l->net.config.batch, steps = l->window.steps;
    for (long t = 0; t < steps; t++)
        h = w * h + l->x[t * batch + row];
    return h - l->y[(steps - 1) * batch + row];
}

/* Rows that begin anywhere add up to this: the mean size, and the size of the mean. */
static void scalar_errors(const struct look *l, double w, double *size, double *mean)
{
    long batch = l->net.config.batch;
    *size = *mean = 0;
    for (long b = 0; b < batch; b++) {
        *size += fabs(2 * scalar_error(l, w, b)) / (double)batch;
        *mean += 2 * scalar_error(l, w, b) / (double)batch;
    }
    *mean = fabs(*mean);
}

/* A weight w of a binary fraction is exact in a file's single precision; sums of T terms round at T eps. */
static void check_scalar(enum precision precision, double w, long steps, long batch)
{
    struct kind k = {scalar, steps, batch, 1, 1, precision, "full"};
    struct look *l = look_open(&k);
    double size, mean, worst = 0, sum = 0, sizes = 0, tolerance = precision == PRECISION_F64 ? 1e-12 : 1e-4;
    char what[80];
    snprintf(what, sizeof what, "w %g, T %ld, B %ld, %s", w, steps, batch, precision == PRECISION_F64 ? "f64" : "f32");
    set_scalar(l, w);
    network_reset(&l->net);
    tap_ok(!look(l) && l->profile.windows == 1, "%s: measured", what);
    scalar_errors(l, w, &size, &mean);
    for (long j = 0; j < steps; j++) {
        sum += pow(w, (double)j);
        sizes += size * pow(fabs(w), (double)j);
        double norm = fabs(l->norm[j] / (size * pow(fabs(w), (double)j)) - 1), reach = fabs(l->reach[j] - fabs(mean * sum)) / sizes;
        if (w == 0 && j > 0)
            norm = l->norm[j];
        worst = norm <= worst ? worst : norm;
        worst = reach <= worst ? worst : reach;
        worst = l->layer[j] == l->norm[j] ? worst : NAN;
    }
    tap_near(worst, 0, tolerance, "%s: norm and reach of every lag are the closed form's", what);
    struct horizon_estimate e = horizon_estimate(&l->profile, 0.1);
    if (steps == 1)
        tap_ok(isnan(e.decay) && isinf(e.bias) && e.truncation == 1, "%s: one lag tells no decay", what);
    else
        tap_near(e.decay, fabs(w), precision == PRECISION_F64 ? 1e-9 : 1e-4, "%s: the decay is |w|", what);
    if (fabs(w) >= 1)
        tap_ok(isinf(e.bias) && e.truncation == steps, "%s: no bound, all is kept", what);
    look_close(l);
}

/* With one row and w > 0 the sums are geometric: bias(K) = w^K / (1 - 2 w^T), from the longest reach. */
static void check_bias(double w, long steps)
{
    struct kind k = {scalar, steps, 1, 1, 1, PRECISION_F64, "full"};
    struct look *l = look_open(&k);
    double bias[STEPS_MOST], worst = 0, all = 1 - 2 * pow(w, (double)steps);
    set_scalar(l, w);
    network_reset(&l->net);
    look(l);
    horizon_bias(&l->profile, bias);
    for (long j = 0; j < steps; j++) {
        double off = fabs(bias[j] / (pow(w, (double)(j + 1)) / all) - 1);
        worst = off <= worst ? worst : off;
    }
    /* the fit's decay of 1e-13 comes to T times that in w^T */
    tap_near(worst, 0, 1e-10, "w %g, T %ld: the bias of every truncation is the closed form's", w, steps);
    static const double deltas[] = {0.5, 0.1, 0.01};
    for (int i = 0; i < 3; i++) {
        struct horizon_estimate e = horizon_estimate(&l->profile, deltas[i]);
        long want = 1;
        while (want < steps && !(pow(w, (double)want) / all < deltas[i]))
            want++;
        tap_ok(e.truncation == want, "w %g, T %ld: for %g the smallest truncation is %ld, found %ld", w, steps, deltas[i], want,
               e.truncation);
        tap_near(e.bias, bias[want - 1], 0, "and its bias is told");
    }
    look_close(l);
}

/* ---- layers: what reaches the lower one has come by both ---- */

static void check_layers(enum precision precision)
{
    struct kind k = {"linear", 40, 2, 1, 2, precision, "full"};
    struct look *l = look_open(&k);
    const double below = 0.75, above = 0.5, between = -1.5;
    double worst = 0, first = 0;
    set(l->model, "layers.0.W_hx", 1);
    set(l->model, "layers.0.W_hh", below);
    set(l->model, "layers.1.W_hx", between);
    set(l->model, "layers.1.W_hh", above);
    network_reset(&l->net);
    look(l);
    for (long j = 0; j < 40; j++) {
        double lower = 0, upper = pow(above, (double)j);
        for (long i = 0; i <= j; i++)
            lower += pow(above, (double)i) * pow(below, (double)(j - i));
        first = j ? first : l->norm[0] / sqrt(1 + between * between);
        double norms[] = {l->layer[j] / (first * fabs(between) * lower), l->layer[40 + j] / (first * upper),
                          l->norm[j] / (first * hypot(between * lower, upper))};
        for (int i = 0; i < 3; i++)
            worst = fabs(norms[i] - 1) <= worst ? worst : fabs(norms[i] - 1);
    }
    tap_near(worst, 0, precision == PRECISION_F64 ? 1e-12 : 1e-5, "two layers: each one's norms, and both together's");
    look_close(l);
}

/* ---- any cell: the gradient of a window that begins k steps later is the one that reaches back so far ---- */

static double initial_size(const struct look *l, long row)
{
    const struct network *net = &l->net;
    double square = 0, rows[BATCH_MOST * WIDTH_MOST];
    for (int i = 0; i < l->model->cell->states; i++) {
        long n = l->model->size[0][l->model->cell->state[i].dim];
        network_get_state(net, net->initial_gradient[0][i], 0, i, rows, 8);
        for (long j = 0; j < n; j++)
            square += rows[row * n + j] * rows[row * n + j];
    }
    return (double)net->config.batch * sqrt(square);
}

static void check_cell(const char *cell)
{
    enum { STEPS = 21, BATCH = 3, WIDTH = 4 };
    struct kind k = {cell, STEPS, BATCH, WIDTH, 1, PRECISION_F64, "full"};
    struct look *l = look_open(&k);
    double worst = 0, carried[BATCH * WIDTH_MOST], after[BATCH * WIDTH_MOST];
    struct window window = l->window;
    network_reset(&l->net);
    network_load(&l->net);
    network_forward(&l->net, &l->window, NULL);
    network_get_state(&l->net, l->net.carried[0][0], 0, 0, carried, 8);
    look(l);
    network_get_state(&l->net, l->net.carried[0][0], 0, 0, after, 8);
    tap_ok(!memcmp(carried, after, sizeof(double) * BATCH * (size_t)l->model->size[0][l->model->cell->state[0].dim]),
           "%s: the carried states stay as they are", cell);
    for (long lag = 1; lag < STEPS; lag++) {
        double want = 0;
        long start = STEPS - lag;
        network_reset(&l->net);
        network_load(&l->net);
        network_forward(&l->net, &l->window, NULL);
        window.steps = start;
        window.x = l->x;
        window.target = NULL;
        network_forward(&l->net, &window, NULL);
        window = (struct window){.steps = lag, .x = l->x + start * BATCH * WIDTH, .target = l->y + start * BATCH * l->model->outputs,
                                 .element_size = 8, .loss_from = lag - 1, .mean_over = 1};
        network_gradient(&l->net, &window, NULL);
        for (long b = 0; b < BATCH; b++)
            want += initial_size(l, b) / BATCH;
        worst = fabs(l->norm[lag] / want - 1) <= worst ? worst : fabs(l->norm[lag] / want - 1);
        window = l->window;
    }
    /* sums of four terms over 21 steps */
    tap_near(worst, 0, 1e-11, "%s: each lag's norm is that of a window which begins there", cell);
    tap_ok(l->norm[0] > 0, "%s: the loss itself is lag 0", cell);
    look_close(l);
}

/* ---- several windows ---- */

static void check_windows(void)
{
    struct kind k = {scalar, 30, 2, 1, 1, PRECISION_F64, "full"};
    struct look *l = look_open(&k);
    double want = 0, reach = 0, worst = 0;
    set_scalar(l, 0.875);
    for (int i = 0; i < 3; i++) {
        double size, mean;
        l->y[58] = i - 1.25;
        l->y[59] = 2.5 * i;
        network_reset(&l->net);
        look(l);
        scalar_errors(l, 0.875, &size, &mean);
        want += size / 3;
        reach += mean / 3;
    }
    tap_ok(l->profile.windows == 3, "three windows");
    for (long j = 0; j < 30; j++) {
        double off = fabs(l->norm[j] / (want * pow(0.875, (double)j)) - 1);
        worst = off <= worst ? worst : off;
    }
    tap_near(worst, 0, 1e-12, "the norms are the mean over three windows");
    tap_near(l->reach[0], reach, 1e-12, "and so is how far they add up");
    tap_near(horizon_estimate(&l->profile, 0.1).decay, 0.875, 1e-9, "the decay is still w");
    look_close(l);
}

/* ---- profiles by hand ---- */

static double by_hand(const struct lag_profile *p, double decay, long kept)
{
    double rest = 0;
    long tail = (long)(0.8 * (double)p->lags);
    for (long k = kept; k < tail + 4000; k++)          /* 0.9^4000 is nothing */
        rest += k < tail ? p->norm[k] : p->norm[tail] * pow(decay, (double)(k - tail));
    return rest;
}

static void check_by_hand(void)
{
    double norm[] = {3, 4, 1, 2, 0.5, 0.25, 0.2, 0.1, 0.06, 0.04}, reach[] = {3, 6, 7, 8, 8.5, 8.6, 8.7, 8.75, 8.7, 8.7}, bias[10];
    struct lag_profile p = {.lags = 10, .norm = norm, .reach = reach, .windows = 1};
    double x = 0, y = 0, xx = 0, xy = 0, whole = 0;
    for (int k = 0; k < 10; k++) {
        x += k / 10.0;
        y += log(norm[k]) / 10;
        xx += k * k / 10.0;
        xy += k * log(norm[k]) / 10;
    }
    double decay = exp((xy - x * y) / (xx - x * x));
    for (long k = 1; k <= 10; k++)
        whole = fmax(whole, reach[k - 1] - by_hand(&p, decay, k));
    horizon_bias(&p, bias);
    tap_near(horizon_estimate(&p, 0.1).decay, decay, 1e-12, "by hand: the decay is the least squares' one");
    for (long k = 1; k <= 10; k++)
        tap_near(bias[k - 1], by_hand(&p, decay, k) / whole, 1e-12, "by hand: the bias of truncation %ld", k);
    struct horizon_estimate e = horizon_estimate(&p, 1e-9);
    tap_ok(e.truncation == 10 && e.bias == bias[9], "a delta that is too small keeps all, and tells the bias");
    e = horizon_estimate(&p, 100);
    tap_ok(e.truncation == 1 && e.bias == bias[0], "a large one keeps a single lag");
}

static void check_odd_profile(const char *what, double *norm, long lags, double decay, long truncation, int bounded)
{
    double reach[8] = {0}, sum = 0, bias[8];
    for (long k = 0; k < lags; k++)
        reach[k] = sum += norm[k];
    struct lag_profile p = {.lags = lags, .norm = norm, .reach = reach, .windows = 1};
    struct horizon_estimate e = horizon_estimate(&p, 0.1);
    horizon_bias(&p, bias);
    tap_ok(isnan(decay) ? isnan(e.decay) : fabs(e.decay - decay) <= 1e-12 * (1 + decay), "%s: the decay is %g, found %g", what, decay,
           e.decay);
    tap_ok(e.truncation == truncation && (isfinite(e.bias) != 0) == bounded, "%s: truncation %ld, bias %g", what, e.truncation,
           e.bias);
    for (long k = 0; k < lags; k++)
        if (isnan(bias[k]) || (k + 1 == truncation && bias[k] != e.bias))
            tap_ok(0, "%s: the bias of %ld is a number", what, k + 1);
}

static void check_odd_profiles(void)
{
    check_odd_profile("all but lag 0 gone", (double[]){1, 0, 0, 0, 0}, 5, 0, 1, 1);
    check_odd_profile("gone in rounding", (double[]){1, 1e-30, 1e-32, 0, 0}, 5, 0, 1, 1);
    check_odd_profile("two lags", (double[]){1, 0.01}, 2, 0.01, 1, 1);
    check_odd_profile("underflow", (double[]){1e-290, 1e-300, 1e-310, 0, 0, 0, 0, 0}, 8, 1e-10, 1, 1);
    check_odd_profile("no gradient at all", (double[]){0, 0, 0}, 3, 0, 3, 0);
    check_odd_profile("one lag", (double[]){1}, 1, NAN, 1, 0);
    check_odd_profile("a constant", (double[]){2, 2, 2, 2}, 4, 1, 4, 0);
    check_odd_profile("growth", (double[]){1, 2, 4, 8}, 4, 2, 4, 0);
    check_odd_profile("overflow", (double[]){1, 1e150, 1e300, INFINITY, INFINITY}, 5, 1e150, 5, 0);
    check_odd_profile("not a number", (double[]){NAN, NAN, NAN}, 3, NAN, 3, 0);
}

/* ---- vanishing, exploding, overflow ---- */

static void check_overflow(void)
{
    struct kind k = {scalar, 200, 2, 1, 1, PRECISION_F32, "full"};
    struct look *l = look_open(&k);
    double bias[STEPS_MOST];
    int odd = 0;
    memset(l->x32, 0, sizeof l->x32);      /* the state stays 0; its gradient does not */
    set_scalar(l, 2);
    network_reset(&l->net);
    tap_ok(!look(l) && isfinite(l->norm[100]) && isinf(l->norm[150]), "w 2 in single precision overflows after lag 100");
    tap_near(horizon_estimate(&l->profile, 0.5).decay, 2, 1e-9, "the decay is that of the lags before");
    horizon_bias(&l->profile, bias);
    for (int j = 0; j < 200; j++)
        odd += !isinf(bias[j]);
    tap_ok(!odd, "and no bias is bounded");
    set_scalar(l, 0.5);
    network_reset(&l->net);
    l->profile.windows = 0;
    look(l);
    tap_ok(isfinite(l->norm[150]) && l->reach[199] < INFINITY, "a profile begun anew forgets it");
    look_close(l);
}

/* ---- adaptive training ---- */

static void check_adaptive(void)
{
    struct kind k = {scalar, 60, 1, 1, 1, PRECISION_F64, "adaptive:0.1"};
    struct look *l = look_open(&k);
    struct horizon *horizon = NULL;
    set_scalar(l, 0.5);
    network_load(&l->net);
    network_reset(&l->net);
    tap_ok(!horizon_new(&l->net, 0.1, &horizon, NULL), "adaptive: opened");
    tap_ok(horizon_note(horizon) == NULL, "nothing is noted before the first window");
    struct window shorter = l->window;
    tap_ok(!horizon_adapt(horizon, &l->net, &l->window, NULL) && !horizon_note(horizon) && !l->net.schedule.strategy.k1,
           "the first hundred windows are whole");
    l->window.index = shorter.index = 99;
    shorter.steps = 7;
    tap_ok(!horizon_adapt(horizon, &l->net, &shorter, NULL) && !horizon_note(horizon), "a shorter window is not measured on");
    tap_ok(!horizon_adapt(horizon, &l->net, &l->window, NULL), "the hundredth window is");
    tap_ok(l->net.schedule.strategy.k1 == 4, "0.5^4 is the first below 0.1: truncation %ld", l->net.schedule.strategy.k1);
    const char *note = horizon_note(horizon);
    tap_ok(note && strstr(note, "truncation 4 ") && strstr(note, "0.5000") && !horizon_note(horizon), "said once: %s", note);
    set_scalar(l, 1.25);
    network_load(&l->net);
    for (l->window.index = 100; l->window.index < 199; l->window.index++)
        horizon_adapt(horizon, &l->net, &l->window, NULL);
    tap_ok(l->net.schedule.strategy.k1 == 4, "kept for a hundred windows: truncation %ld", l->net.schedule.strategy.k1);
    horizon_adapt(horizon, &l->net, &l->window, NULL);
    note = horizon_note(horizon);
    tap_ok(l->net.schedule.strategy.k1 == 60 && note && strstr(note, "whole window"), "then measured again: %s", note);
    horizon_free(horizon);
    look_close(l);
}

/* ---- from a text ---- */

struct files { char folder[40], text[60], other[60]; };

static void write_file(const char *path, const char *text, int times)
{
    FILE *file = fopen(path, "wb");
    for (int i = 0; file && i < times; i++)
        fputs(text, file);
    if (!file || fclose(file))
        tap_ok(0, "the test can write %s", path);
}

static bptt_model *text_model(const char *cell, const char *json, const char *symbols)
{
    struct kind k = {cell, 0, 0, 4, 1, PRECISION_F32, NULL};
    bptt_model *model = open_model(&k, json ? (strstr(json, "bytes") ? 256 : 4) : 4);
    model->vocabulary_json = json ? strdup(json) : NULL;
    snprintf(model->symbols, sizeof model->symbols, "%s", symbols);
    return model;
}

static void refused(const bptt_model *model, const char *file, bptt_horizon_options options, const char *says)
{
    bptt_error error = {0};
    bptt_horizon_report report;
    int status = bptt_horizon(model, &file, file != NULL, &options, &report, &error);
    tap_ok(status && !report.norm && !report.lags && strstr(error.text, says) && !strchr(error.text, '\n'), "refused: %s",
           error.text);
}

static void check_refused(const struct files *f)
{
    bptt_model *model = text_model("lstm", "{\"kind\":\"chars\",\"symbols\":[\"a\",\"b\",\"c\",\"\\n\"]}", "chars");
    bptt_model *mute = text_model("lstm", NULL, "");
    bptt_horizon_options o = bptt_horizon_defaults();
    write_file(f->text, "abcacb\n", 10);
    write_file(f->other, "", 1);
    refused(model, NULL, o, "name a file");
    refused(model, "/nonexistent/text", o, "/nonexistent/text");
    refused(model, f->other, o, "empty");
    refused(mute, f->text, o, "not a model of text");
    write_file(f->other, "abz\n", 5);
    refused(model, f->other, o, "z");
    write_file(f->other, "ab", 1);
    refused(model, f->other, o, "2 symbols are too few");
    o.lags = 35;
    refused(model, f->text, o, "at most --lags 34");
    o.lags = -1;
    refused(model, f->text, o, "lags must be");
    o.lags = INT64_MAX;
    refused(model, f->text, o, "lags must be");
    o = bptt_horizon_defaults();
    o.batch = 0;
    refused(model, f->text, o, "batch must be");
    o = bptt_horizon_defaults();
    o.windows = 0;
    refused(model, f->text, o, "windows must be");
    o.size = 3;
    refused(model, f->text, o, "bptt_horizon_defaults");
    set(model, "layers.0.W_i", NAN);
    refused(model, f->text, bptt_horizon_defaults(), "not finite");
    bptt_model_free(model);
    bptt_model_free(mute);
}

/* The only window that a text of 2 * lags + 1 symbols has, looked at through a network directly. */
static void check_one_window(const bptt_model *model, const struct files *f)
{
    enum { LAGS = 10 };
    int32_t token[2 * LAGS + 1];
    double norm[LAGS], reach[LAGS], layer[LAGS], worst = 0;
    struct network net;
    struct network_config config = {.steps = LAGS, .batch = 1, .threads = 1, .gradients = 1};
    struct lag_profile p = {.lags = LAGS, .norm = norm, .reach = reach, .layer = layer};
    struct window before = {.steps = LAGS, .token = token, .element_size = 4}, window = before;
    bptt_horizon_options o = bptt_horizon_defaults();
    bptt_horizon_report report = {0};
    const char *file = f->other;
    char text[2 * LAGS + 2] = {0};
    for (int i = 0; i <= 2 * LAGS; i++)
        text[i] = (char)(token[i] = 97 + i * i % 26);
    write_file(file, text, 1);
    o.batch = 3;
    o.windows = 2;
    int status = bptt_horizon(model, &file, 1, &o, &report, NULL);
    tap_ok(!status && report.lags == LAGS && report.layers == 1 && report.windows == 2 && report.batch == 3,
           "a text of %d symbols has %d lags", 2 * LAGS + 1, LAGS);
    window.token = token + LAGS;
    window.target = token + LAGS + 1;
    status = network_new(&net, model, &config, NULL) || network_allocate(&net, NULL);
    double *scratch = calloc((size_t)horizon_scratch(&net), sizeof *scratch);
    network_load(&net);
    network_reset(&net);
    status = status || network_forward(&net, &before, NULL) || horizon_measure(&net, &window, &p, scratch, NULL);
    for (long k = 0; k < LAGS && !status && report.norm; k++) {
        double off = fabs(report.norm[k] / norm[k] - 1);
        worst = off <= worst ? worst : off;
    }
    /* the same numbers, but summed over three rows */
    tap_near(status ? NAN : worst, 0, 1e-6, "and its one window is run from where as many steps before it lead");
    network_free(&net);
    free(scratch);
    bptt_horizon_clear(&report);
}

static void check_text(const struct files *f)
{
    bptt_model *model = text_model("lstm", "{\"kind\":\"bytes\"}", "bytes");
    bptt_horizon_options o = bptt_horizon_defaults();
    bptt_horizon_report one = {0}, two = {0}, other = {0};
    const char *file = f->text;
    write_file(f->text, "Some text, and then some more of it.\n", 40);
    o.threads = 1;
    tap_ok(!bptt_horizon(model, &file, 1, &o, &one, NULL) && one.lags == 256, "256 lags unless asked otherwise");
    o.threads = 2;
    tap_ok(!bptt_horizon(model, &file, 1, &o, &two, NULL) && !memcmp(one.norm, two.norm, 256 * sizeof(double)) &&
               !memcmp(one.bias, two.bias, 256 * sizeof(double)) && one.decay == two.decay,
           "the same bits from two threads");
    o.seed = 1;
    tap_ok(!bptt_horizon(model, &file, 1, &o, &other, NULL) && memcmp(one.norm, other.norm, 256 * sizeof(double)),
           "other places with another seed");
    int right = one.decay > 0 && one.decay < 1;
    for (int i = 0; i < 3; i++) {
        int64_t k = one.choice[i].truncation;
        right = right && k > 0 && one.bias[k - 1] < one.choice[i].delta && one.choice[i].bias == one.bias[k - 1] &&
                (k == 1 || one.bias[k - 2] >= one.choice[i].delta);
    }
    tap_ok(right, "each truncation is the first with a bias below its delta");
    check_one_window(model, f);
    bptt_horizon_clear(&one);
    bptt_horizon_clear(&two);
    bptt_horizon_clear(&other);
    tap_ok(!one.norm && !one.lags, "cleared");
    bptt_model_free(model);
}

static void check_memory(const struct files *f)
{
    bptt_model *model = text_model("lstm", "{\"kind\":\"bytes\"}", "bytes");
    bptt_horizon_options o = bptt_horizon_defaults();
    bptt_horizon_report report;
    const char *file = f->text;
    long n = 0;                            /* a smaller copy that cannot be had is no failure */
    o.lags = 4;
    o.threads = 1;
    do {
        bptt_error error = {0};
        calls = 0;
        fails_at = ++n;
        int status = bptt_horizon(model, &file, 1, &o, &report, &error);
        fails_at = 0;
        if (status && (status != BPTT_ERROR_MEMORY || !error.text[0] || report.norm))
            tap_ok(0, "allocation %ld fails: status %d %s", n, status, error.text);
        if (!status)
            bptt_horizon_clear(&report);
    } while (calls >= n && n < 10000);
    tap_ok(n > 5 && n < 10000, "each of %ld allocations may fail", n - 1);
    bptt_model_free(model);
}

int main(void)
{
    static const double weights[] = {0.875, -0.5, 0.984375, 1.2000000476837158, -1, 0};
    for (int i = 0; i < 6; i++) {
        check_scalar(PRECISION_F64, weights[i], 100, 3);
        check_scalar(PRECISION_F32, weights[i], 100, 3);
        check_scalar(PRECISION_F64, weights[i], 2, 1);
    }
    check_scalar(PRECISION_F64, 0.5, 1, 2);
    check_scalar(PRECISION_F32, 0.5, 1, 2);
    check_bias(0.5, 20);
    check_bias(0.96875, 256);
    check_bias(0.96875, 300);
    check_layers(PRECISION_F64);
    check_layers(PRECISION_F32);
    check_cell("lstm");
    check_cell("gru");
    check_cell("lstm_projected");
    check_cell("sru");
    check_windows();
    check_by_hand();
    check_odd_profiles();
    check_overflow();
    check_adaptive();
    struct files f = {.folder = "/tmp/bptt-horizon-XXXXXX"};
    if (!mkdtemp(f.folder))
        tap_ok(0, "a scratch folder");
    snprintf(f.text, sizeof f.text, "%s/text", f.folder);
    snprintf(f.other, sizeof f.other, "%s/other", f.folder);
    check_refused(&f);
    check_text(&f);
    check_memory(&f);
    unlink(f.text);
    unlink(f.other);
    rmdir(f.folder);
    return tap_done();
}
