// threads
// link: tests/subject.c
/* test_influence.c - forward mode against the backward one: rtrl is the gradient of full for every cell; what the others keep
 * is what their definition says, or in expectation over every outcome of their signs the gradient itself. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/model/influence.h"
#include "subject.h"
#include "tap.h"

/* Sums over a few dozen steps in another order, in double precision, of numbers near one. */
static const double ROUNDING = 1e-12;

static struct strategy strategy_of(const char *text)
{
    struct strategy strategy = {0};
    bptt_error error = {0};
    if (strategy_parse(text, &strategy, &error))
        tap_ok(0, "%s: %s", text, error.text);
    return strategy;
}

/* The parameters' gradient by a strategy, owned; NULL after a failure that was told. */
static double *gradient(const struct subject *s, const char *text, int threads, const signed char *signs, double *loss, char *kept)
{
    struct run r;
    bptt_error error = {0};
    struct influence *influence = NULL;
    struct network_config config = plain_config(s, PRECISION_F64, threads);
    double *out = calloc((size_t)s->model->count, 8);
    config.strategy = strategy_of(text);
    config.input_gradient = 0;
    int forward = strategy_is_forward(&config.strategy), good = run_open(&r, s, config);
    r.window.steps = s->shape.steps;
    r.window.input_gradient = NULL;
    if (good) {
        run_begin(&r, s);
        int status = forward ? influence_new(&r.net, &config.strategy, 5, &influence, &error) : BPTT_OK;
        if (!status && signs)
            influence_set_signs(influence, signs);
        if (!status)
            status = forward ? influence_window(influence, &r.net, &r.window, &error) : network_gradient(&r.net, &r.window, &error);
        good = status == BPTT_OK;
        if (good)
            memcpy(out, r.net.gradients, (size_t)s->model->count * 8);
        else
            tap_note("%s", error.text);
        *loss = r.window.loss;
        if (kept)
            snprintf(kept, 64, "%s", influence ? influence_kept(influence) : "");
    }
    influence_free(influence);
    run_close(&r);
    if (good)
        return out;
    free(out);
    return NULL;
}

static double difference(const double *a, const double *b, long n)
{
    double most = 0, scale = 1;
    for (long i = 0; i < n; i++) {
        double d = fabs(a[i] - b[i]);
        scale = fabs(b[i]) > scale ? fabs(b[i]) : scale;
        most = d <= most ? most : d;       /* so that NaN stays */
    }
    return most / scale;
}

static void is_exact(const struct subject *s, const char *text, const char *wanted)
{
    double loss = NAN, full_loss = NAN;
    char kept[64] = "";
    double *full = gradient(s, "full", 1, NULL, &full_loss, NULL), *got = gradient(s, text, 2, NULL, &loss, kept);
    double error = full && got ? difference(got, full, s->model->count) : NAN;
    tap_ok(error <= ROUNDING && fabs(loss - full_loss) <= ROUNDING, "%s: %s (keeps %s) is the gradient of full (%.2g)",
           title_of(&s->shape).text, text, kept, error);
    if (wanted)
        tap_text(kept, wanted, "%s: what %s keeps", title_of(&s->shape).text, text);
    free(full);
    free(got);
}

static void differs(const struct subject *s, const char *text)
{
    double loss;
    double *full = gradient(s, "full", 1, NULL, &loss, NULL), *got = gradient(s, text, 1, NULL, &loss, NULL);
    double error = full && got ? difference(got, full, s->model->count) : NAN;
    tap_ok(error > 1e-9, "%s: %s is not, by %.2g", title_of(&s->shape).text, text, error);
    free(full);
    free(got);
}

static void same_bits(const struct subject *s, const char *text)
{
    double loss;
    double *one = gradient(s, text, 1, NULL, &loss, NULL), *two = gradient(s, text, 2, NULL, &loss, NULL);
    tap_ok(one && two && !memcmp(one, two, (size_t)s->model->count * 8), "%s: %s has the same bits with two threads", title_of(&s->shape).text, text);
    free(one);
    free(two);
}

static void test_shape(const struct shape *shape)
{
    struct subject s;
    if (subject_open(&s, shape)) {
        is_exact(&s, "rtrl", NULL);
        is_exact(&s, "snap:1000", NULL);
    }
    subject_free(&s);
}

/* ---- uoro: every outcome of its signs ---- */

static void expectation(const struct shape *shape)
{
    struct subject s;
    double loss, square = 0, size = 0;
    if (!subject_open(&s, shape))
        return;
    long n = s.states * shape->steps, count = s.model->count;
    double *mean = calloc((size_t)count, 8), *full = gradient(&s, "full", 1, NULL, &loss, NULL);
    for (long outcome = 0; outcome < 1l << n; outcome++) {
        signed char signs[24];
        for (long i = 0; i < n; i++)
            signs[i] = outcome >> i & 1 ? 1 : -1;
        double *got = gradient(&s, "uoro", 1, signs, &loss, NULL);
        for (long i = 0; got && i < count; i++) {
            mean[i] += got[i] / (double)(1l << n);
            square += (got[i] - full[i]) * (got[i] - full[i]) / (double)(1l << n);
        }
        free(got);
    }
    for (long i = 0; i < count; i++)
        size += full[i] * full[i];
    tap_ok(difference(mean, full, count) <= ROUNDING, "%s: uoro over all %ld outcomes of its signs is the gradient of full (%.2g)",
           title_of(shape).text, 1l << n, difference(mean, full, count));
    tap_note("%s: uoro's variance is %.3g times the square of the gradient", title_of(shape).text, square / size);
    free(mean);
    free(full);
    subject_free(&s);
}

/* ---- rflo by hand: a leaky tanh network with one input, whose trace decays by the leak alone ---- */

static long offset_of(const bptt_model *model, const char *name)
{
    for (int i = 0; i < model->tensors; i++)
        if (!strcmp(model->tensor[i].name, name))
            return model->tensor[i].offset;
    return 0;
}

static void test_rflo(void)
{
    enum { H = 4, T = 9 };
    static const char leaky[] = "cell leaky\ninput x\nstate h\nh' = 0.75 * h + 0.25 * tanh(W x + U h)\n";
    struct shape shape = {.cell = leaky, .steps = T, .batch = 1, .inputs = 1, .hidden = H, .layers = 1, .outputs = 1, .loss = BPTT_MSE};
    struct subject s;
    double loss, h[H], trace[H][H] = {{0}}, want[H][H] = {{0}};
    if (!subject_open(&s, &shape))
        return;
    memset(s.final, 0, (size_t)s.states * sizeof *s.final);
    double *got = gradient(&s, "rflo", 1, NULL, &loss, NULL);
    const float *w = s.model->data + offset_of(s.model, "layers.0.W"), *u = s.model->data + offset_of(s.model, "layers.0.U");
    const float *head = s.model->data + s.model->head_offset, *bias = s.model->data + s.model->bias_offset;
    memcpy(h, s.initial, sizeof h);
    for (int t = 0; t < T; t++) {
        double next[H], o = bias[0];
        for (int i = 0; i < H; i++) {
            double a = w[i] * s.x[t];
            for (int j = 0; j < H; j++)
                a += u[i * H + j] * h[j];
            next[i] = 0.75 * h[i] + 0.25 * tanh(a);
            o += head[i] * next[i];
            for (int j = 0; j < H; j++)
                trace[i][j] = 0.75 * trace[i][j] + 0.25 * (1 - tanh(a) * tanh(a)) * h[j];
        }
        /* What reaches a unit's trace through the recurrent matrix within this step is exact: dL/dh_{t-1} M_{t-1}. */
        for (int i = 0; i < H; i++)
            for (int j = 0; j < H; j++)
                want[i][j] += 2 * (o - s.y[t]) / T * head[i] * trace[i][j];
        for (int k = 0; k < H; k++) {
            double a = (next[k] - 0.75 * h[k]) / 0.25, through = 2 * (o - s.y[t]) / T * head[k] * 0.25 * (1 - a * a);
            for (int i = 0; i < H; i++)
                for (int j = 0; j < H; j++) {
                    double before = (trace[i][j] - 0.25 * (1 - pow((next[i] - 0.75 * h[i]) / 0.25, 2)) * h[j]) / 0.75;
                    want[i][j] += through * u[k * H + i] * before;
                }
        }
        memcpy(h, next, sizeof h);
    }
    tap_ok(got && difference(got + offset_of(s.model, "layers.0.U"), &want[0][0], H * H) <= 1e-10, "rflo is the trace that decays by the leak (%.2g)",
           got ? difference(got + offset_of(s.model, "layers.0.U"), &want[0][0], H * H) : NAN);
    free(got);
    subject_free(&s);
}

int main(void)
{
    for (size_t i = 0; i < bptt_cell_count(); i++) {
        struct shape shape = {.cell = bptt_cell_name(i), .steps = 7, .batch = 2, .inputs = 4, .hidden = 4, .layers = 1, .outputs = 3, .loss = BPTT_MSE};
        test_shape(&shape);
        shape = (struct shape){.cell = bptt_cell_name(i), .steps = 5, .batch = 1, .vocabulary = 5, .inputs = 4, .hidden = 4, .layers = 2,
                               .outputs = 5, .loss = BPTT_CROSS_ENTROPY};
        struct subject s;
        if (subject_open(&s, &shape))
            is_exact(&s, "rtrl", "all");
        subject_free(&s);
    }
    static const long lengths[] = {0, 1, 2, 100};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct shape shape = {.cell = "lstm", .steps = lengths[i], .batch = 3, .inputs = 3, .hidden = 5, .layers = 1, .outputs = 2, .loss = BPTT_MSE};
        struct subject s;
        if (subject_open(&s, &shape))
            is_exact(&s, "rtrl", "all");
        subject_free(&s);
    }
    static const char *const elementwise[] = {"mingru", "minlstm", "sru", "indrnn"};
    for (size_t i = 0; i < 4; i++) {
        struct shape shape = {.cell = elementwise[i], .steps = 20, .batch = 2, .inputs = 6, .hidden = 6, .layers = 1, .outputs = 3, .loss = BPTT_MSE};
        struct subject s;
        if (subject_open(&s, &shape)) {
            is_exact(&s, "rtrl", "own units");
            is_exact(&s, "snap1", "own units");
        }
        subject_free(&s);
    }
    struct shape gru = {.cell = "gru", .steps = 12, .batch = 3, .inputs = 3, .hidden = 6, .layers = 2, .outputs = 3, .loss = BPTT_MSE};
    struct subject s;
    if (subject_open(&s, &gru)) {
        static const char *const biased[] = {"snap1", "rflo", "uoro"};
        for (size_t i = 0; i < 3; i++) {
            differs(&s, biased[i]);
            same_bits(&s, biased[i]);
        }
        same_bits(&s, "rtrl");
    }
    subject_free(&s);
    test_rflo();
    expectation(&(struct shape){.cell = "rnn", .steps = 4, .batch = 1, .inputs = 2, .hidden = 2, .layers = 1, .outputs = 2, .loss = BPTT_MSE});
    expectation(&(struct shape){.cell = "lstm", .steps = 3, .batch = 1, .inputs = 2, .hidden = 1, .layers = 2, .outputs = 2, .loss = BPTT_MSE});
    expectation(&(struct shape){.cell = "rnn", .steps = 3, .batch = 2, .vocabulary = 3, .inputs = 2, .hidden = 2, .layers = 1, .outputs = 3,
                                .loss = BPTT_CROSS_ENTROPY});
    return tap_done();
}
