// isa
/* test_trainer.c - one window at a time: each optimiser against its formula in double precision, clipping to the
 * threshold, learning rates, bits for any number of threads, dropout replayed exactly, no allocation in a step, and
 * what happens when a number is not finite. */
// link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
// threads
#define _GNU_SOURCE 1
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/train/rate.h"
#include "../src/train/trainer.h"
#include "tap.h"

/* ---- allocations are counted ---- */

struct counter { long calls; };
static struct counter counter;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static void count_call(void)
{
    __atomic_add_fetch(&counter.calls, 1, __ATOMIC_RELAXED);
}

void *__wrap_malloc(size_t size)
{
    count_call();
    return __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    count_call();
    return __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    count_call();
    return __real_realloc(memory, size);
}

/* ---- a model, a trainer and data ---- */

enum { BATCH = 3, LENGTH = 7, INPUTS = 5, OUTPUTS = 2, VOCABULARY = 6, WINDOWS = 6 };

struct subject {
    bptt_model *model;
    bptt_trainer *trainer;
    float x[WINDOWS][LENGTH * BATCH * INPUTS], y[WINDOWS][LENGTH * BATCH * OUTPUTS];
    int32_t token[WINDOWS][LENGTH * BATCH], target[WINDOWS][LENGTH * BATCH];
};

static bptt_model *new_model(const char *name, int64_t vocabulary, int64_t hidden, int64_t layers, int tied)
{
    bptt_error error = {0};
    bptt_cell *cell = NULL;
    bptt_model *model = NULL;
    bptt_model_config config = bptt_model_defaults();
    config.hidden = hidden;
    config.layers = layers;
    config.vocabulary = vocabulary;
    config.inputs = vocabulary ? hidden : INPUTS;
    config.outputs = vocabulary ? 0 : OUTPUTS;
    config.loss = vocabulary ? BPTT_CROSS_ENTROPY : BPTT_MSE;
    config.tied = tied;
    config.seed = 11;
    int status = bptt_cell_open(name, &cell, &error);
    config.cell = cell;
    if (!status)
        status = bptt_model_new(&config, &model, &error);
    bptt_cell_free(cell);
    if (status)
        tap_ok(0, "a model of %s: %s", name, error.text);
    return model;
}

static void fill(struct subject *s)
{
    struct random_stream random = random_open(5, RANDOM_CHECK, 0);
    uint64_t n = 0;
    for (int w = 0; w < WINDOWS; w++) {
        for (int i = 0; i < LENGTH * BATCH * INPUTS; i++)
            s->x[w][i] = (float)random_normal(&random, n++);
        for (int i = 0; i < LENGTH * BATCH * OUTPUTS; i++)
            s->y[w][i] = (float)random_normal(&random, n++);
        for (int i = 0; i < LENGTH * BATCH; i++) {
            s->token[w][i] = (int32_t)(random_uniform(&random, n++) * VOCABULARY);
            s->target[w][i] = (int32_t)(random_uniform(&random, n++) * VOCABULARY);
        }
    }
}

static bptt_trainer_config small_config(void)
{
    bptt_trainer_config config = bptt_trainer_defaults();
    config.batch = BATCH;
    config.length = LENGTH;
    config.threads = 1;
    config.clip_norm = 0;
    config.carry = 0;
    config.rate = 0.01;
    return config;
}

static struct subject *subject_new(bptt_model *model, const bptt_trainer_config *config)
{
    struct subject *s = calloc(1, sizeof *s);
    bptt_error error = {0};
    if (!s || !model)
        exit(1);
    fill(s);
    s->model = model;
    if (bptt_trainer_new(model, config, &s->trainer, &error)) {
        tap_ok(0, "a trainer: %s", error.text);
        exit(1);
    }
    return s;
}

static void subject_free(struct subject *s)
{
    bptt_trainer_free(s->trainer);
    bptt_model_free(s->model);
    free(s);
}

static int step(struct subject *s, int window, double *loss, double *norm, bptt_error *error)
{
    const void *x = s->x[window], *y = s->y[window];
    if (s->model->vocabulary) {
        x = s->token[window];
        y = s->target[window];
    }
    return bptt_trainer_step(s->trainer, x, y, loss, norm, error);
}

static double *doubles(long count)
{
    double *values = calloc((size_t)count, sizeof *values);
    if (!values)
        exit(1);
    return values;
}

/* ---- the gradient that the trainer follows is that of the mean loss ---- */

static void test_gradient(void)
{
    bptt_trainer_config config = small_config();
    config.optimizer = BPTT_SGD;
    struct subject *s = subject_new(new_model("gru", 0, 6, 2, 0), &config);
    bptt_array x = {.type = BPTT_F32, .rank = 3, .shape = {LENGTH, BATCH, INPUTS}, .data = s->x[0]};
    bptt_array y = {.type = BPTT_F32, .rank = 3, .shape = {LENGTH, BATCH, OUTPUTS}, .data = s->y[0]};
    bptt_run_options options = bptt_run_defaults();
    bptt_arrays gradients = {0};
    bptt_error error = {0};
    double want = NAN, loss, norm, worst = 0, squares = 0;
    options.precision = BPTT_F64;
    int status = bptt_gradient(s->model, &x, &y, NULL, NULL, NULL, &want, &gradients, &options, &error);
    if (!status)
        status = step(s, 0, &loss, &norm, &error);
    tap_ok(status == BPTT_OK, "a step%s", error.text);
    for (int i = 0; !status && i < s->model->tensors; i++) {
        const struct tensor *tensor = &s->model->tensor[i];
        const double *g = bptt_arrays_find(&gradients, tensor->name)->data;
        const float *own = (const float *)s->trainer->net.gradients + tensor->offset;
        for (long j = 0; j < tensor->count; j++) {
            worst = fmax(worst, fabs(own[j] - g[j]));
            squares += g[j] * g[j];
        }
    }
    tap_near(loss, want, 1e-6, "its loss is the mean over the window");
    /* single precision: a sum of 21 rows of products of about one, 2^-24 each */
    tap_near(worst, 0, 3e-6, "its gradient is the exact one, in single precision");
    tap_near(norm, sqrt(squares), 1e-6, "its norm is that of all gradients together");
    bptt_arrays_clear(&gradients);
    subject_free(s);
}

/* ---- optimisers ---- */

struct rule { int optimizer; double momentum, weight_decay; const char *name; };

static double rule_step(const struct rule *rule, const bptt_trainer_config *c, double w, double g, double *m, double *v,
                        int t)
{
    if (rule->optimizer != BPTT_ADAMW)
        g += c->weight_decay * w;
    if (rule->optimizer == BPTT_SGD) {
        *m = c->momentum * *m + g;
        return w - c->rate * *m;
    }
    *v = c->beta2 * *v + (1 - c->beta2) * g * g;
    if (rule->optimizer == BPTT_RMSPROP)
        return w - c->rate * g / (sqrt(*v) + c->epsilon);
    *m = c->beta1 * *m + (1 - c->beta1) * g;
    double mean = *m / (1 - pow(c->beta1, t)), square = *v / (1 - pow(c->beta2, t));
    if (rule->optimizer == BPTT_ADAMW)
        w -= c->rate * c->weight_decay * w;
    return w - c->rate * mean / (sqrt(square) + c->epsilon);
}

static void test_rule(const struct rule *rule)
{
    bptt_trainer_config config = small_config();
    config.optimizer = rule->optimizer;
    config.momentum = rule->momentum;
    config.weight_decay = rule->weight_decay;
    config.epsilon = 1e-3;                 /* large enough that leaving it out would show */
    struct subject *s = subject_new(new_model("gru", 0, 6, 1, 0), &config);
    long count = s->model->count;
    double *w = doubles(count), *m = doubles(count), *v = doubles(count), worst = 0, moved = 0, loss, norm;
    for (int t = 1; t <= WINDOWS; t++) {
        for (long i = 0; i < count; i++)
            w[i] = s->model->data[i];
        if (step(s, t - 1, &loss, &norm, NULL))
            worst = NAN;
        const float *g = s->trainer->net.gradients;
        for (long i = 0; i < count; i++) {
            double want = rule_step(rule, &config, w[i], g[i], &m[i], &v[i], t);
            double error = fabs(s->model->data[i] - want);
            worst = worst >= error ? worst : error;
            moved = fmax(moved, fabs(want - w[i]));
        }
    }
    /* w is about one: its own rounding is 6e-8, and the step's relative rounding (1e-6) times at most 0.03 */
    tap_near(worst, 0, 2e-7, "%s: %d steps as by the formula", rule->name, WINDOWS);
    tap_ok(moved > 1e-4, "%s: and they move the weights", rule->name);
    free(w);
    free(m);
    free(v);
    subject_free(s);
}

static void test_rules(void)
{
    static const struct rule rules[] = {
        {BPTT_SGD, 0, 0, "sgd"}, {BPTT_SGD, 0.9, 0, "sgd with momentum"}, {BPTT_SGD, 0.5, 0.1, "sgd with weight decay"},
        {BPTT_RMSPROP, 0, 0, "rmsprop"}, {BPTT_RMSPROP, 0, 0.1, "rmsprop with weight decay"}, {BPTT_ADAM, 0, 0, "adam"},
        {BPTT_ADAM, 0, 0.1, "adam with weight decay"}, {BPTT_ADAMW, 0, 0, "adamw without weight decay"},
        {BPTT_ADAMW, 0, 0.1, "adamw"}};
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        test_rule(&rules[i]);
}

/* ---- clipping ---- */

/* The length of the step that plain SGD with rate 1 takes, and the norm that it reports. */
static double step_length(double clip_norm, double clip_value, double *norm, double *largest)
{
    bptt_trainer_config config = small_config();
    config.optimizer = BPTT_SGD;
    config.momentum = 0;
    config.rate = 1;
    config.clip_norm = clip_norm;
    config.clip_value = clip_value;
    struct subject *s = subject_new(new_model("gru", 0, 6, 1, 0), &config);
    long count = s->model->count;
    double *w = doubles(count), sum = 0, loss;
    for (long i = 0; i < count; i++)
        w[i] = s->model->data[i];
    if (step(s, 0, &loss, norm, NULL))
        sum = NAN;
    *largest = 0;
    for (long i = 0; i < count; i++) {
        double change = s->model->data[i] - w[i];
        sum += change * change;
        *largest = fmax(*largest, fabs(change));
    }
    free(w);
    subject_free(s);
    return sqrt(sum);
}

static void test_clipping(void)
{
    /* a weight of about one moves by its rounding, 6e-8, whatever the step; there are some hundred of them */
    const double rounding = 1e-6;
    double norm, largest, other, top;
    double length = step_length(0, 0, &norm, &largest);
    tap_near(length, norm, rounding, "not clipped: a step as long as the gradient");
    double half = norm / 2, clipped = step_length(half, 0, &other, &top);
    tap_near(clipped, half, rounding, "clipped to the threshold, not to 1");
    tap_near(other, norm, 0, "the norm is reported as it was before");
    tap_near(top, largest / 2, rounding, "all parts are scaled alike");
    tap_near(step_length(norm * 1.001, 0, &other, &top), norm, rounding,
             "a threshold that is not reached changes nothing");
    tap_near(step_length(norm * 30, 0, &other, &top), norm, rounding, "and nothing is scaled up to it");
    step_length(0, largest / 3, &other, &top);
    tap_near(top, largest / 3, rounding, "clipped by value");
    length = step_length(half / 100, largest / 3, &other, &top);
    tap_near(length, half / 100, rounding, "by value first, then by norm");
}

/* ---- the learning rate ---- */

static void test_rates(void)
{
    struct rate rate = {.schedule = BPTT_CONSTANT, .peak = 0.5, .warmup = 4, .steps = 104, .final_share = 0.1,
                        .decay_every = 10, .decay = 0.5, .scale = 1};
    tap_near(rate_at(&rate, 0), 0.125, 1e-15, "warm-up: the first step of four");
    tap_near(rate_at(&rate, 3), 0.5, 1e-15, "warm-up: the last");
    tap_near(rate_at(&rate, 4000), 0.5, 0, "constant");
    rate.schedule = BPTT_COSINE;
    tap_near(rate_at(&rate, 1), 0.25, 1e-15, "cosine warms up too");
    tap_near(rate_at(&rate, 4), 0.5, 1e-15, "cosine begins at the peak");
    tap_near(rate_at(&rate, 54), 0.5 * 0.55, 1e-15, "is half-way in the middle");
    tap_near(rate_at(&rate, 29), 0.5 * (0.1 + 0.9 * (1 + sqrt(0.5)) / 2), 1e-15, "and follows a cosine");
    tap_near(rate_at(&rate, 104), 0.05, 1e-15, "to the final share");
    tap_near(rate_at(&rate, 500), 0.05, 1e-15, "and stays there");
    rate.steps = 0;
    tap_near(rate_at(&rate, 50), 0.5, 0, "cosine of a run whose length is not known yet: the peak");
    rate.schedule = BPTT_STEP;
    tap_near(rate_at(&rate, 13), 0.5, 0, "step: before the first");
    tap_near(rate_at(&rate, 14), 0.25, 1e-15, "step: after one");
    tap_near(rate_at(&rate, 34), 0.0625, 1e-15, "step: after three");
    rate.decay_every = 0;
    tap_near(rate_at(&rate, 34), 0.5, 0, "step: never");
    rate.schedule = BPTT_PLATEAU;
    rate.scale = 0.25;
    tap_near(rate_at(&rate, 34), 0.125, 1e-15, "plateau: what has been decided");
    rate.warmup = 0;
    tap_near(rate_at(&rate, 0), 0.125, 1e-15, "without warm-up");
}

/* ---- bits ---- */

/* A text model large enough for several chunks, trained with everything on; its weights' hash. */
static unsigned long long trained(int threads, int losses_between, double *last)
{
    bptt_trainer_config config = small_config();
    config.threads = threads;
    config.carry = 1;
    config.dropout = 0.2;
    config.dropout_state = 0.1;
    config.clip_norm = 0.5;
    config.seed = 3;
    struct subject *s = subject_new(new_model("lstm", VOCABULARY, 72, 2, 1), &config);
    double norm, valid;
    int status = BPTT_OK;
    for (int i = 0; i < WINDOWS && !status; i++) {
        status = step(s, i, last, &norm, NULL);
        for (int j = 0; j < losses_between && !status; j++)
            status = bptt_trainer_loss(s->trainer, s->token[j], s->target[j], j == 0, &valid, NULL);
    }
    if (status)
        *last = NAN;
    unsigned long long hash = 14695981039346656037ull;
    const unsigned char *bytes = (const unsigned char *)s->model->data;
    for (size_t i = 0; i < (size_t)s->model->count * sizeof(float); i++)
        hash = (hash ^ bytes[i]) * 1099511628211ull;
    tap_ok(s->model->count > 3 << 14, "the model is more than three chunks long");
    subject_free(s);
    return hash;
}

static void test_bits(void)
{
    double one, other;
    unsigned long long want = trained(1, 0, &one);
    tap_ok(isfinite(one), "a text model trains");
    for (int threads = 2; threads <= 4; threads++)
        tap_ok(trained(threads, 0, &other) == want && other == one, "%d threads: the same bits", threads);
    tap_ok(trained(2, 3, &other) == want && other == one, "validation between steps does not touch the training");
}

/* ---- the state between windows ---- */

/* With a rate of 0 the same window has the same loss, if it starts from the same state and has the same mask. */
static void test_carry(int carry)
{
    bptt_trainer_config config = small_config();
    config.rate = 0;
    config.carry = carry;
    struct subject *s = subject_new(new_model("gru", VOCABULARY, 6, 1, 0), &config);
    double first = NAN, second = NAN, third = NAN, norm, valid[3] = {NAN, NAN, NAN};
    int status = step(s, 0, &first, &norm, NULL);
    if (!status) status = step(s, 0, &second, &norm, NULL);
    bptt_trainer_reset_state(s->trainer);
    if (!status) status = step(s, 0, &third, &norm, NULL);
    tap_ok(!status && (second != first) == carry, "carry %d: the state %s", carry, carry ? "goes on" : "starts anew");
    tap_ok(third == first, "carry %d: a reset is a new start", carry);
    for (int i = 0; i < 3 && !status; i++)
        status = bptt_trainer_loss(s->trainer, s->token[0], s->target[0], i != 1, &valid[i], NULL);
    tap_ok(!status && (valid[1] != valid[0]) == carry && valid[2] == valid[0], "carry %d: likewise for losses alone",
           carry);
    subject_free(s);
}

static void test_masks_change(void)
{
    bptt_trainer_config config = small_config();
    config.rate = 0;
    config.dropout = 0.3;
    struct subject *s = subject_new(new_model("gru", VOCABULARY, 6, 1, 0), &config);
    double first = NAN, second = NAN, norm, valid = NAN, again = NAN;
    int status = step(s, 0, &first, &norm, NULL);
    if (!status) status = step(s, 0, &second, &norm, NULL);
    if (!status) status = bptt_trainer_loss(s->trainer, s->token[0], s->target[0], 1, &valid, NULL);
    if (!status) status = bptt_trainer_loss(s->trainer, s->token[0], s->target[0], 1, &again, NULL);
    tap_ok(!status && first != second && first != valid, "a trainer's windows have masks of their own");
    tap_ok(valid == again, "losses alone have none");
    subject_free(s);
}

/* ---- nothing is allocated ---- */

static void test_no_allocation(void)
{
    bptt_trainer_config config = small_config();
    config.threads = 2;
    config.dropout = 0.1;
    config.dropout_state = 0.1;
    config.clip_norm = config.clip_value = 0.1;
    struct subject *s = subject_new(new_model("lstm", VOCABULARY, 40, 2, 0), &config);
    double loss, norm;
    long before = __atomic_load_n(&counter.calls, __ATOMIC_RELAXED);
    int status = BPTT_OK;
    for (int i = 0; i < WINDOWS && !status; i++)
        status = step(s, i, &loss, &norm, NULL);
    if (!status)
        status = bptt_trainer_loss(s->trainer, s->token[0], s->target[0], 1, &loss, NULL);
    bptt_trainer_set_rate(s->trainer, 0.1);
    bptt_trainer_reset_state(s->trainer);
    tap_ok(status == BPTT_OK && __atomic_load_n(&counter.calls, __ATOMIC_RELAXED) == before,
           "steps and losses allocate nothing");
    tap_ok(before > 0, "and allocations would have been counted");
    subject_free(s);
}

/* ---- dropout ---- */

static double dropped_loss(struct network *net, struct window *window)
{
    network_load(net);
    network_reset(net);
    network_clear_gradients(net);
    return network_gradient(net, window, NULL) ? NAN : window->loss;
}

static double slope(struct network *net, struct window *window, float *weight)
{
    float here = *weight, above = here + 0x1p-9f, below = here - 0x1p-9f;
    *weight = above;
    double up = dropped_loss(net, window);
    *weight = below;
    double down = dropped_loss(net, window);
    *weight = here;
    return (up - down) / ((double)above - (double)below);
}

static void test_dropout(const char *cell, double dropout, double dropout_state)
{
    struct subject *s = calloc(1, sizeof *s);
    bptt_model *model = new_model(cell, VOCABULARY, 5, 2, 0);
    struct network net;
    struct network_config config = {.steps = LENGTH,
                                    .batch = BATCH,
                                    .threads = 1,
                                    .precision = PRECISION_F64,
                                    .gradients = 1,
                                    .dropout = dropout,
                                    .dropout_state = dropout_state,
                                    .seed = 9};
    if (!s || !model || network_new(&net, model, &config, NULL) || network_allocate(&net, NULL))
        exit(1);
    fill(s);
    struct window window = {
        .steps = LENGTH, .token = s->token[0], .target = s->target[0], .element_size = 4, .index = 4, .training = 1};
    double loss = dropped_loss(&net, &window), worst = 0, *gradient = doubles(model->count);
    memcpy(gradient, net.gradients, (size_t)model->count * sizeof *gradient);
    tap_ok(dropped_loss(&net, &window) == loss, "%s, dropout %g, of the state %g: one window, one mask", cell, dropout,
           dropout_state);
    for (long i = 0; i < model->count; i++) {
        double error = fabs(slope(&net, &window, &model->data[i]) - gradient[i]);
        worst = worst >= error ? worst : error;
    }
    /* the step squared, 4e-6, times a third derivative over six, which is below one here */
    tap_near(worst, 0, 2e-6, "its gradient is that of the loss with the same masks");
    window.index = 5;
    tap_ok(dropped_loss(&net, &window) != loss, "another window, another mask");
    window.training = 0;
    double plain = dropped_loss(&net, &window);
    tap_ok(plain != loss, "none outside of training");
    network_reset(&net);
    tap_ok(!network_forward(&net, &window, NULL) && window.loss == plain, "and forward alone gives the same loss");
    network_free(&net);
    bptt_model_free(model);
    free(gradient);
    free(s);
}

/* ---- it learns ---- */

static void test_learning(void)
{
    bptt_trainer_config config = small_config();
    struct subject *s = subject_new(new_model("gru", VOCABULARY, 5, 1, 0), &config);
    double before, after, loss, norm;
    int status = bptt_trainer_loss(s->trainer, s->token[0], s->target[0], 1, &before, NULL);
    if (!status)
        status = step(s, 0, &loss, &norm, NULL);
    tap_ok(!status && loss == before, "without dropout training and validation see the same loss");
    for (int i = 0; i < 30 && !status; i++)
        status = step(s, 0, &loss, &norm, NULL);
    if (!status)
        status = bptt_trainer_loss(s->trainer, s->token[0], s->target[0], 1, &after, NULL);
    tap_ok(!status && after < before - 0.1, "thirty steps on one window lower its loss");
    tap_ok(s->model->step == 31, "the model counts its updates");
    subject_free(s);
}

/* ---- not finite ---- */

static void test_not_finite(void)
{
    bptt_trainer_config config = small_config();
    config.carry = 1;
    struct subject *s = subject_new(new_model("linear", 0, 4, 1, 0), &config);
    bptt_error error = {0};
    double loss, norm;
    size_t bytes = (size_t)s->model->count * sizeof(float);
    float *kept = malloc(bytes);
    if (!kept)
        exit(1);
    tap_ok(step(s, 0, &loss, &norm, &error) == BPTT_OK, "a first step");
    memcpy(kept, s->model->data, bytes);
    float x = s->x[1][4];
    s->x[1][4] = INFINITY;
    int status = step(s, 1, &loss, &norm, &error);
    tap_ok(status == BPTT_ERROR_NOT_FINITE && error.code == status, "an infinite input stops the step");
    tap_ok(strstr(error.text, "step 1") && strstr(error.text, "layer 0") && strstr(error.text, "step 0 of the window"),
           "the message has the step, the layer and the place: %s", error.text);
    tap_ok(strstr(error.text, "--clip") && strstr(error.text, "--lr"), "and what to do");
    tap_ok(!memcmp(kept, s->model->data, bytes) && s->model->step == 1, "the model is as it was");
    s->x[1][4] = x;
    tap_ok(step(s, 1, &loss, &norm, NULL) == BPTT_OK && isfinite(loss), "and the next window can go on");
    free(kept);
    subject_free(s);
}

/* ---- what may be asked for ---- */

static void refused(bptt_trainer_config config, const char *part)
{
    bptt_model *model = new_model("gru", 0, 4, 1, 0);
    bptt_trainer *trainer = NULL;
    bptt_error error = {0};
    bptt_plan plan;
    int status = bptt_trainer_new(model, &config, &trainer, &error);
    tap_ok(status == BPTT_ERROR_ARGUMENT && !trainer && strstr(error.text, part), "refused: %s", error.text);
    tap_ok(bptt_trainer_plan(model, &config, &plan, NULL) == BPTT_ERROR_ARGUMENT, "also by the plan");
    bptt_trainer_free(trainer);
    bptt_model_free(model);
}

static void test_arguments(void)
{
    bptt_trainer_config config = {0};
    refused(config, "bptt_trainer_defaults");
    config = small_config(), config.batch = 0, refused(config, "batch is 0");
    config = small_config(), config.batch = -3, refused(config, "batch is -3");
    config = small_config(), config.length = 0, refused(config, "length is 0");
    config = small_config(), config.length = INT64_MAX, refused(config, "length");
    config = small_config(), config.rate = NAN, refused(config, "learning rate");
    config = small_config(), config.rate = -1, refused(config, "learning rate");
    config = small_config(), config.dropout = 1, refused(config, "dropout");
    config = small_config(), config.clip_norm = -1, refused(config, "clip");
    config = small_config(), config.optimizer = 9, refused(config, "optimizer");
    config = small_config(), config.gradient = "half", refused(config, "half");
    config = small_config(), config.beta2 = 1, refused(config, "beta2");
    config = small_config(), config.threads = -1, refused(config, "threads");
}

static void test_bad_tokens(void)
{
    bptt_trainer_config config = small_config();
    struct subject *s = subject_new(new_model("gru", VOCABULARY, 4, 1, 0), &config);
    bptt_error error = {0};
    double loss, norm;
    s->token[0][4] = VOCABULARY;
    tap_ok(step(s, 0, &loss, &norm, &error) == BPTT_ERROR_ARGUMENT && strstr(error.text, "row 1"), "token: %s",
           error.text);
    error = (bptt_error){0};
    s->target[1][0] = -1;
    tap_ok(step(s, 1, &loss, &norm, &error) == BPTT_ERROR_ARGUMENT && strstr(error.text, "target"), "%s", error.text);
    subject_free(s);
}

static void test_plan(void)
{
    bptt_trainer_config config = small_config();
    struct subject *s = subject_new(new_model("gru", 0, 6, 1, 0), &config);
    bptt_plan plan;
    int status = bptt_trainer_plan(s->model, &config, &plan, NULL);
    int64_t sum =
        plan.parameters + plan.gradients + plan.optimizer + plan.recorded + plan.states + plan.scratch + plan.packed;
    tap_ok(status == BPTT_OK && sum == plan.total, "the plan's parts make its total");
    tap_ok(plan.total == (int64_t)s->trainer->net.plan.total + s->model->count * 4, "which is what a trainer takes");
    tap_ok(plan.optimizer >= 2 * s->model->count * 4, "adam keeps two moments");
    subject_free(s);
}

int main(void)
{
    test_gradient();
    test_rules();
    test_clipping();
    test_rates();
    test_bits();
    test_carry(0);
    test_carry(1);
    test_masks_change();
    test_no_allocation();
    test_dropout("lstm", 0.3, 0);
    test_dropout("gru", 0, 0.4);
    test_dropout("gru", 0.3, 0.2);
    test_learning();
    test_not_finite();
    test_arguments();
    test_bad_tokens();
    test_plan();
    return tap_done();
}
