// isa
// threads
// link: tests/subject.c
/* test_strategies.c - schedules through the executor. Exact gradients under every memory budget have the bits of `full`;
 * truncations are what their definition says, computed by other means: sub-windows whose first state is a constant; and the
 * expectation of randomised truncation, over every outcome with its probability, is the full gradient. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "subject.h"
#include "tap.h"

/* Sums of the same few hundred terms in another order, in double precision. */
static const double ROUNDING = 1e-12;

/* ---- a gradient with all that comes with it ---- */

struct result { double loss, *gradient, *dx, *dinitial; float *single; long count; };

static void result_free(struct result *r)
{
    free(r->gradient);
    free(r->dx);
    free(r->dinitial);
    free(r->single);
    *r = (struct result){0};
}

static int take(struct result *out, struct run *r, const struct subject *s)
{
    long n = s->model->count;
    int size = (int)r->net.kernels->wide->element_size;
    *out = (struct result){.loss = r->window.loss, .count = n, .gradient = calloc((size_t)n, 8), .dx = calloc((size_t)s->inputs + 1, 8),
                           .dinitial = calloc((size_t)s->states + 1, 8), .single = calloc((size_t)n, 4)};
    if (!out->gradient || !out->dx || !out->dinitial || !out->single)
        return 0;
    for (long i = 0; i < n; i++)
        out->gradient[i] = size == 8 ? ((double *)r->net.gradients)[i] : ((float *)r->net.gradients)[i];
    if (!s->shape.vocabulary)
        memcpy(out->dx, r->dx, (size_t)(s->inputs * size));
    each_state(r, s, r->net.initial_gradient, out->dinitial, 0);
    return 1;
}

static int gradient(struct result *out, const struct subject *s, struct network_config config, const double *xi)
{
    struct run r;
    bptt_error error = {0};
    int good = run_open(&r, s, config);
    if (good) {
        run_begin(&r, s);
        r.net.schedule.xi = xi;
        good = network_gradient(&r.net, &r.window, &error) == BPTT_OK && take(out, &r, s);
        if (!good)
            tap_note("%s", error.text);
    }
    run_close(&r);
    return good;
}

static double difference(const struct result *a, const struct result *b)
{
    double most = fabs(a->loss - b->loss), scale = 1;
    for (long i = 0; i < a->count; i++) {
        double d = fabs(a->gradient[i] - b->gradient[i]);
        scale = fabs(b->gradient[i]) > scale ? fabs(b->gradient[i]) : scale;
        most = d <= most ? most : d;       /* so that NaN stays */
    }
    return most / scale;
}

static int same_bits(const struct result *a, const struct result *b, const struct subject *s)
{
    return a->loss == b->loss && !memcmp(a->gradient, b->gradient, (size_t)a->count * 8) &&
           !memcmp(a->dx, b->dx, (size_t)s->inputs * 8) && !memcmp(a->dinitial, b->dinitial, (size_t)s->states * 8);
}

static struct strategy strategy_of(const char *text)
{
    struct strategy strategy = {0};
    bptt_error error = {0};
    if (strategy_parse(text, &strategy, &error))
        tap_ok(0, "%s: %s", text, error.text);
    return strategy;
}

static struct network_config config_of(const struct subject *s, const char *strategy, enum precision precision)
{
    struct network_config config = plain_config(s, precision, 2);
    config.strategy = strategy_of(strategy);
    return config;
}

/* ---- budgets ---- */

/* The smallest budget, as the refusal of one byte names it. */
static size_t smallest(const struct subject *s, struct network_config config)
{
    struct network net;
    bptt_error error = {0};
    config.memory = 1;
    int status = network_new(&net, s->model, &config, &error);
    const char *at = strstr(error.text, "at least ");
    if (!status)
        network_free(&net);
    return status && at ? strtoul(at + 9, NULL, 10) * 1024 : 0;
}

static size_t whole(const struct subject *s, struct network_config config)
{
    struct network net;
    bptt_error error = {0};
    if (network_new(&net, s->model, &config, &error))
        return 0;
    size_t total = net.plan.total;
    network_free(&net);
    return total;
}

static void walk_budgets(const struct subject *s, const char *strategy, const char *spill, enum precision precision)
{
    struct network_config config = config_of(s, strategy, precision);
    struct result want, got;
    int same = 1, within = 1, budgets = 0;
    config.spill = spill;
    if (!gradient(&want, s, config, NULL))
        return;
    size_t least = smallest(s, config), most = whole(s, config);
    for (double budget = (double)least; least && budget < 1.3 * (double)most; budget = budget * 1.1 + 512, budgets++) {
        config.memory = (size_t)budget;
        within &= whole(s, config) && whole(s, config) <= config.memory;
        int good = gradient(&got, s, config, NULL);
        same &= good && same_bits(&want, &got, s);
        if (good)
            result_free(&got);
    }
    tap_ok(budgets > 1 && same, "%s %s%s%s: the bits of an unlimited run under %d budgets from %zu to %zu bytes", title_of(&s->shape).text,
           strategy, precision == PRECISION_BF16 ? " in bfloat16" : "", spill ? " with states on disk" : "", budgets, least, most);
    tap_ok(within, "%s %s: each within its budget", title_of(&s->shape).text, strategy);
    result_free(&want);
}

static void test_budgets(const struct shape *shape)
{
    struct subject s;
    if (subject_open(&s, shape)) {
        walk_budgets(&s, "full", NULL, PRECISION_F32);
        walk_budgets(&s, "full", "/tmp", PRECISION_F32);
        walk_budgets(&s, "full", "/tmp", PRECISION_BF16);
        if (shape->steps > 60) {
            walk_budgets(&s, "segments:60", NULL, PRECISION_F32);
            walk_budgets(&s, "random:0.9", NULL, PRECISION_F64);
            walk_budgets(&s, "random:0.9", NULL, PRECISION_BF16);
        }
    }
    subject_free(&s);
}

/* ---- truncation by its definition ---- */

/* Adds the gradient of the losses of steps [losses, to), each with the states before step `from` as constants. */
static int add_piece(struct result *sum, const struct subject *s, long from, long losses, long to)
{
    struct subject part = *s;
    struct run forward, r;
    struct result got;
    bptt_error error = {0};
    long batch = s->shape.batch, rows = from * batch;
    part.shape.steps = from;
    if (!run_open(&forward, &part, plain_config(&part, PRECISION_F64, 1)))
        return 0;
    run_begin(&forward, s);
    int good = network_forward(&forward.net, &forward.window, &error) == BPTT_OK;
    part.shape.steps = to - from;
    good = good && run_open(&r, &part, plain_config(&part, PRECISION_F64, 1));
    if (!good)
        return 0;
    run_begin(&r, s);
    double *states = calloc((size_t)s->states + 1, 8);
    each_state(&forward, s, forward.net.carried, states, 0);
    each_state(&r, s, r.net.carried, states, 1);
    if (to < s->shape.steps)
        network_clear_final_gradient(&r.net);
    r.window.loss_from = losses - from;
    r.window.mean_over = s->shape.steps;
    if (s->shape.vocabulary)
        r.window.token = s->token + rows;
    else
        r.window.x = s->x + rows * s->model->inputs;
    r.window.target = s->shape.loss == BPTT_MSE ? (void *)(s->y + rows * s->model->outputs) : (void *)(s->target + rows);
    good = network_gradient(&r.net, &r.window, &error) == BPTT_OK && take(&got, &r, &part);
    for (long i = 0; good && i < got.count; i++)
        sum->gradient[i] += got.gradient[i];
    sum->loss += good ? got.loss : NAN;
    if (good)
        result_free(&got);
    free(states);
    run_close(&r);
    run_close(&forward);
    return good;
}

static void truncation(const struct subject *s, long k1, long k2)
{
    char text[64];
    struct result want = {.count = s->model->count, .gradient = calloc((size_t)s->model->count, 8)}, got = {0};
    int good = 1;
    for (long from = 0; from < s->shape.steps && good; from += k1) {
        long to = from + k1 < s->shape.steps ? from + k1 : s->shape.steps, reach = k2 > k1 ? to - k2 : from;
        good = add_piece(&want, s, reach > 0 ? reach : 0, from, to);
    }
    snprintf(text, sizeof text, "truncated:%ld,%ld", k1, k2);
    good = good && gradient(&got, s, config_of(s, text, PRECISION_F64), NULL);
    tap_ok(good && difference(&got, &want) <= ROUNDING, "%s %s is the explicit sum (%.2g)", title_of(&s->shape).text, text,
           good ? difference(&got, &want) : NAN);
    result_free(&want);
    result_free(&got);
}

static void same_as(const struct subject *s, const char *one, const char *other)
{
    struct result a = {0}, b = {0};
    int good = gradient(&a, s, config_of(s, one, PRECISION_F64), NULL) && gradient(&b, s, config_of(s, other, PRECISION_F64), NULL);
    tap_ok(good && difference(&a, &b) <= ROUNDING, "%s: %s is %s", title_of(&s->shape).text, one, other);
    result_free(&a);
    result_free(&b);
}

static void test_truncation(const struct shape *shape)
{
    static const long pairs[][2] = {{1, 1}, {1, 2}, {1, 5}, {2, 2}, {2, 3}, {3, 7}, {5, 5}, {4, 9}, {7, 100}, {1, 1000}};
    struct subject s;
    char text[64];
    if (subject_open(&s, shape)) {
        for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
            if (pairs[i][0] <= shape->steps)
                truncation(&s, pairs[i][0], pairs[i][1]);
        snprintf(text, sizeof text, "truncated:1,%ld", shape->steps);
        same_as(&s, text, "full");
        snprintf(text, sizeof text, "truncated:%ld,%ld", shape->steps, shape->steps + 5);
        same_as(&s, text, "full");
        snprintf(text, sizeof text, "segments:%ld", shape->steps);
        same_as(&s, text, "full");
        if (shape->steps >= 3) {
            same_as(&s, "truncated:3,3", "segments:3");
            same_as(&s, "random:1", "full");
        }
    }
    subject_free(&s);
}

/* The forum's counter-example: h_t = w h_{t-1}, w = 0.2, h_0 = 0.9, the third state's derivative is 3 w^2 h_0 = 0.108. A
 * recipe that runs backward once for each of the last states, over a graph that was kept, gives 0.288. */
static void test_forum(void)
{
    static const char scalar[] = "cell scalar\ninput x\nstate h\nh' = w * h + 0 * (V x)\n";
    struct shape shape = {.cell = scalar, .steps = 3, .batch = 1, .inputs = 1, .hidden = 1, .layers = 1, .loss = BPTT_MSE};
    struct subject s;
    struct run r;
    bptt_error error = {0};
    double one = 1, start = 0.9;
    if (!subject_open(&s, &shape))
        return;
    for (long i = 0; i < s.model->count; i++)
        s.model->data[i] = 0;
    long w = -1;
    for (int i = 0; i < s.model->tensors; i++)
        if (!strcmp(s.model->tensor[i].name, "layers.0.w"))
            w = s.model->tensor[i].offset;
    if (tap_ok(w >= 0, "the scalar network has its weight") && run_open(&r, &s, config_of(&s, "truncated:1,3", PRECISION_F64))) {
        s.model->data[w] = 0.2f;
        run_begin(&r, &s);
        network_set_state(&r.net, r.net.carried[0][0], 0, 0, &start, 8);
        network_set_state(&r.net, r.net.final_gradient[0][0], 0, 0, &one, 8);
        memset(s.y, 0, 3 * sizeof *s.y);
        r.window.target = NULL;
        int good = network_gradient(&r.net, &r.window, &error) == BPTT_OK;
        /* 0.2 is rounded to single precision: 6e-8 of 3 w^2 h_0 */
        tap_near(good ? ((double *)r.net.gradients)[w] : NAN, 0.108, 1e-8, "dh_3/dw is 0.108");
        run_close(&r);
    }
    subject_free(&s);
}

/* ---- randomised truncation: every outcome ---- */

static void add_outcome(struct result *mean, double *square, const struct result *got, double probability)
{
    mean->loss += probability * got->loss;
    for (long i = 0; i < got->count; i++) {
        mean->gradient[i] += probability * got->gradient[i];
        *square += probability * got->gradient[i] * got->gradient[i];
    }
}

/* The links of one outcome (bits: 1 is kept) and its probability. */
static double outcome(const struct links *links, long steps, unsigned bits, double *xi)
{
    double probability = 1;
    long since = 1;
    xi[0] = 1;
    for (long t = 1; t < steps; t++, since++) {
        double p = link_probability(links, t, steps, since);
        int kept = (int)(bits >> (t - 1) & 1);
        xi[t] = kept ? 1 / p : 0;
        probability *= kept ? p : 1 - p;
        if (!kept)
            since = 0;
    }
    return probability;
}

static void expectation(const struct subject *s, const char *text)
{
    struct network_config config = config_of(s, text, PRECISION_F64);
    struct result full = {0}, got, mean = {.count = s->model->count, .gradient = calloc((size_t)s->model->count, 8)};
    double xi[16], all = 0, square = 0, norm = 0;
    int good = gradient(&full, s, config_of(s, "full", PRECISION_F64), NULL);
    for (unsigned bits = 0; good && bits < 1u << (s->shape.steps - 1); bits++) {
        double probability = outcome(&config.strategy.links, s->shape.steps, bits, xi);
        all += probability;
        if (probability == 0)
            continue;                      /* its links may be infinite */
        good = gradient(&got, s, config, xi);
        if (good)
            add_outcome(&mean, &square, &got, probability);
        if (good)
            result_free(&got);
    }
    for (long i = 0; good && i < full.count; i++)
        norm += full.gradient[i] * full.gradient[i];
    tap_near(all, 1, ROUNDING, "%s: the probabilities of all outcomes add up to 1", text);
    tap_ok(good && difference(&mean, &full) <= ROUNDING, "%s: the expectation over every outcome is the full gradient (%.2g)", text,
           good ? difference(&mean, &full) : NAN);
    tap_note("%s: relative variance %.4g", text, (square - norm) / norm);
    tap_ok(square - norm >= -ROUNDING * norm, "%s: the variance is not negative: %.4g of the square of the norm", text, (square - norm) / norm);
    result_free(&full);
    result_free(&mean);
}

static void test_random(const struct shape *shape)
{
    static const char *const links[] = {"random:0.5", "random:0.9", "random:1", "random:0.2..0.9", "random:0.5,0.9,0.3",
                                        "random:geometric:3", "random:uniform:1,4", "random:power:3,2"};
    struct subject s;
    if (subject_open(&s, shape))
        for (size_t i = 0; i < sizeof links / sizeof *links; i++)
            expectation(&s, links[i]);
    subject_free(&s);
}

int main(void)
{
    static const struct shape budgets[] = {
        {.cell = "lstm", .steps = 200, .batch = 1, .inputs = 3, .hidden = 7, .layers = 1, .outputs = 2, .loss = BPTT_MSE},
        {.cell = "gru", .steps = 150, .batch = 3, .vocabulary = 11, .inputs = 5, .hidden = 6, .layers = 2, .outputs = 11,
         .loss = BPTT_CROSS_ENTROPY, .dropout = 0.3, .dropout_state = 0.2},
        {.cell = "mingru", .steps = 130, .batch = 2, .vocabulary = 5, .inputs = 4, .hidden = 20, .layers = 2, .outputs = 5,
         .loss = BPTT_CROSS_ENTROPY, .dropout = 0.5},
        {.cell = "rnn", .steps = 1, .batch = 1, .inputs = 3, .hidden = 7, .layers = 1, .outputs = 2, .loss = BPTT_MSE},
        {.cell = "rnn", .steps = 40, .batch = 60, .inputs = 3, .hidden = 7, .layers = 1, .outputs = 2, .loss = BPTT_MSE},
    };
    static const struct shape truncations[] = {
        {.cell = "rnn", .steps = 1, .batch = 2, .inputs = 3, .hidden = 4, .layers = 1, .outputs = 2, .loss = BPTT_MSE},
        {.cell = "gru", .steps = 2, .batch = 1, .inputs = 3, .hidden = 4, .layers = 1, .outputs = 2, .loss = BPTT_MSE},
        {.cell = "lstm", .steps = 7, .batch = 2, .inputs = 3, .hidden = 4, .layers = 2, .outputs = 3, .loss = BPTT_CROSS_ENTROPY},
        {.cell = "rnn", .steps = 23, .batch = 1, .vocabulary = 6, .inputs = 3, .hidden = 5, .layers = 2, .outputs = 6,
         .loss = BPTT_CROSS_ENTROPY},
    };
    static const struct shape randoms[] = {
        {.cell = "rnn", .steps = 7, .batch = 2, .inputs = 2, .hidden = 3, .layers = 1, .outputs = 2, .loss = BPTT_MSE},
        {.cell = "lstm", .steps = 6, .batch = 1, .inputs = 2, .hidden = 3, .layers = 2, .outputs = 2, .loss = BPTT_MSE},
    };
    for (size_t i = 0; i < sizeof truncations / sizeof *truncations; i++)
        test_truncation(&truncations[i]);
    test_forum();
    for (size_t i = 0; i < sizeof randoms / sizeof *randoms; i++)
        test_random(&randoms[i]);
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++)
        test_budgets(&budgets[i]);
    return tap_done();
}
