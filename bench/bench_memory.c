// link: bench/tasks.c
/* bench_memory.c - what each strategy can and cannot learn where the answer lies far from the question: the adding problem and
 * copy memory (tasks.h), cells of as many weights as published (Bai, Kolter and Koltun 2018: 70,000 and 16,000).
 *
 *     build/bench/bench_memory [--task adding|copy] [--length T] [--cell gru|lstm|rnn] [--strategy S] [--minutes M]
 *                              [--rate R] [--memory-bias D] [--threads N] [--seed N] [--target LOSS]
 *
 * Without --strategy, all of the table, at most M minutes each (2). T is 600 for adding; for copy it counts the blanks, 1000.
 * A row ends once the loss on fresh sequences is at most --target (adding 1e-3, copy a hundredth of no memory's). Adding:
 * only the last step's loss counts, so a piece that ends before has nothing to learn from.
 *
 * Batch 32, Adam, clipping at 1, recurrent matrices orthogonal. Gates that keep the state start open for times log-uniform in
 * 1..D steps (after Tallec and Ollivier 2018, arXiv 1804.11188, whose times are uniform in 1..T): b = log(time). D = 0:
 * as the library has them; 100 unless told. Near the target, the rate is a third.
 *
 * Read the rows of short reach with care: gates that start open hold a number for longer than the gradient reaches, and
 * sequences whose marks stand near the end teach the weights that all steps share. So a truncation may learn here; that its
 * gradient does not reach further is for `bptt compare` to show. */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tasks.h"

enum { BATCH = 32, LOOK_EVERY = 20, TEST_BATCHES = 8, FEW_WINDOWS = 100 };     /* a loss on 256 sequences */

struct options {
    const char *task, *cell, *strategy;
    long length;
    double minutes, rate, memory_bias, target;
    int threads;
    uint64_t seed;
};

struct contest {
    struct options options;
    int is_copy;
    long steps;
    double trivial;
    bptt_model *model;
    bptt_trainer *trainer;
    void *x, *y;
};

struct result { double loss, seconds; long windows; int failed; bptt_error error; };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void give_up(const char *text)
{
    fprintf(stderr, "bench_memory: %s\n", text);
    exit(1);
}

static void *room(long count, size_t size)
{
    void *memory = calloc((size_t)count, size);
    if (!memory)
        give_up("out of memory");
    return memory;
}

/* ---- the model ---- */

/* Units for about as many weights as published. */
static long units(const char *cell, int is_copy)
{
    if (!strcmp(cell, "lstm"))
        return is_copy ? 60 : 130;
    return !strcmp(cell, "gru") ? (is_copy ? 70 : 150) : (is_copy ? 118 : 260);
}

/* b_z of gru keeps the state, so do b_f of lstm, whose input gate starts as far closed. */
static int keeps_state(const char *name)
{
    const char *last = strrchr(name, '.');
    return last && (!strcmp(last, ".b_z") || !strcmp(last, ".b_f") || !strcmp(last, ".b_i"));
}

/* Spread evenly over the units: no two of them start alike anyway. */
static void open_gates(bptt_model *model, double longest)
{
    for (size_t i = 0; i < bptt_model_parameter_count(model) && longest > 1; i++) {
        bptt_array view;
        bptt_model_parameter(model, i, &view);
        double sign = strstr(view.name, ".b_i") ? -1 : 1;
        for (int64_t k = 0; keeps_state(view.name) && k < view.shape[0]; k++)
            ((float *)view.data)[k] = (float)(sign * log(longest) * (double)(k + 1) / (double)view.shape[0]);
    }
}

static void make_model(struct contest *c)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open(c->options.cell, &cell, &error))
        give_up(error.text);
    config.cell = cell;
    config.inputs = c->is_copy ? 16 : 2;
    config.vocabulary = c->is_copy ? TASK_MEMORY_SYMBOLS : 0;
    config.outputs = c->is_copy ? TASK_MEMORY_SYMBOLS : 1;
    config.loss = c->is_copy ? BPTT_CROSS_ENTROPY : BPTT_MSE;
    config.hidden = units(c->options.cell, c->is_copy);
    config.layers = 1;
    config.orthogonal = 1;
    config.seed = c->options.seed;
    if (bptt_model_new(&config, &c->model, &error))
        give_up(error.text);
    bptt_cell_free(cell);
    open_gates(c->model, c->options.memory_bias);
}

static void make_trainer(struct contest *c)
{
    bptt_error error = {0};
    bptt_trainer_config config = bptt_trainer_defaults();
    config.batch = BATCH;
    config.length = c->steps;
    config.threads = c->options.threads;
    config.optimizer = BPTT_ADAM;
    config.rate = c->options.rate;
    config.beta2 = 0.999;
    config.clip_norm = 1;
    config.carry = 0;
    config.gradient = c->options.strategy;
    config.loss_from = c->is_copy ? 0 : c->steps - 1;
    config.seed = c->options.seed;
    if (bptt_trainer_new(c->model, &config, &c->trainer, &error))
        give_up(error.text);
}

static void contest_open(struct contest *c, const struct options *options)
{
    *c = (struct contest){.options = *options, .is_copy = !strcmp(options->task, "copy")};
    c->steps = c->is_copy ? task_copy_memory_steps(options->length) : options->length;
    c->trivial = c->is_copy ? TASK_MEMORY_LENGTH * log(8) / (double)c->steps : 1.0 / 6;
    c->x = room(c->steps * BATCH * 2, sizeof(float));
    c->y = room(c->steps * BATCH, sizeof(float));
    make_model(c);
    make_trainer(c);
}

static void contest_close(struct contest *c)
{
    bptt_trainer_free(c->trainer);
    bptt_model_free(c->model);
    free(c->x);
    free(c->y);
}

/* ---- training ---- */

static void draw(struct contest *c, uint64_t seed)
{
    float answer[BATCH];
    if (c->is_copy) {
        task_copy_memory(seed, c->options.length, BATCH, c->x, c->y);
        return;
    }
    task_adding(seed, c->steps, BATCH, c->x, answer);
    memcpy((float *)c->y + (c->steps - 1) * BATCH, answer, sizeof answer);
}

/* On sequences never trained on. */
static double look(struct contest *c)
{
    bptt_error error = {0};
    double sum = 0, loss;
    for (uint64_t i = 0; i < TEST_BATCHES; i++) {
        draw(c, ((uint64_t)1 << 40) + i);
        if (bptt_trainer_loss(c->trainer, c->x, c->y, 1, &loss, &error))
            give_up(error.text);
        sum += loss / TEST_BATCHES;
    }
    return sum;
}

static double target_of(const struct contest *c)
{
    return c->options.target > 0 ? c->options.target : c->is_copy ? 0.01 * c->trivial : 1e-3;
}

/* Looking takes time as well: only where the smoothed training loss is near the target, or the end has come. */
static struct result train(struct contest *c)
{
    struct result r = {.loss = look(c)};
    double start = seconds(), loss, norm, recent = c->trivial;
    while (!r.failed && r.seconds < 60 * c->options.minutes && !(r.loss <= target_of(c))) {
        draw(c, (c->options.seed << 32) + (uint64_t)r.windows);
        r.failed = bptt_trainer_step(c->trainer, c->x, c->y, &loss, &norm, &r.error) != BPTT_OK;
        recent += 0.1 * (loss - recent);
        if (recent < 10 * target_of(c))
            bptt_trainer_set_rate(c->trainer, c->options.rate / 3);
        if (!r.failed && ++r.windows % LOOK_EVERY == 0 && recent < 3 * target_of(c))
            r.loss = look(c);
        r.seconds = seconds() - start;
    }
    r.loss = r.failed ? NAN : look(c);
    return r;
}

static const char *verdict(const struct contest *c, const struct result *r)
{
    if (r->failed)
        return r->error.code == BPTT_ERROR_NOT_FINITE ? "diverged" : r->error.text;
    if (r->loss <= target_of(c))
        return "learnt";
    if (r->windows < FEW_WINDOWS)
        return "too few windows to tell";
    return r->loss <= 0.9 * c->trivial ? "learning" : !(r->loss <= 1.5 * c->trivial) ? "worse than none" : "not learnt";
}

/* Forward mode updates at every step. Of the others some follow every piece with an update, counted as the schedule has them
 * (adaptive: as it starts), or the window. */
static long updates(struct contest *c, long windows)
{
    bptt_trainer_config config = bptt_trainer_defaults();
    bptt_plan plan;
    config.batch = BATCH;
    config.length = c->steps;
    config.gradient = c->options.strategy;
    return bptt_trainer_plan(c->model, &config, &plan, NULL) ? windows : windows * (long)plan.updates;
}

static void compete(const struct options *options)
{
    struct contest c;
    contest_open(&c, options);
    struct result r = train(&c);
    printf("%-5s %-20s %8ld %8ld %8.0f %10.2e %9.4f  %s\n", options->cell, options->strategy, r.windows,
           updates(&c, r.windows), r.seconds, r.loss, c.trivial, verdict(&c, &r));
    contest_close(&c);
}

/* ---- the table ---- */

static void take_option(struct options *o, const char *name, const char *value)
{
    const struct { const char *name; const char **text; double *number; long *whole; } known[] = {
        {"--task", &o->task, NULL, NULL},         {"--cell", &o->cell, NULL, NULL},
        {"--strategy", &o->strategy, NULL, NULL}, {"--minutes", NULL, &o->minutes, NULL},
        {"--rate", NULL, &o->rate, NULL},         {"--memory-bias", NULL, &o->memory_bias, NULL},
        {"--target", NULL, &o->target, NULL},     {"--length", NULL, NULL, &o->length},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(name, known[i].name))
            continue;
        if (known[i].text) *known[i].text = value;
        if (known[i].number) *known[i].number = atof(value);
        if (known[i].whole) *known[i].whole = atol(value);
        return;
    }
    if (!strcmp(name, "--threads"))
        o->threads = atoi(value);
    else if (!strcmp(name, "--seed"))
        o->seed = (uint64_t)atoll(value);
    else
        give_up("no such option; the first lines of bench_memory.c tell which there are");
}

/* What was not asked for. */
static void fill(struct options *o)
{
    int is_copy = !strcmp(o->task, "copy");
    o->cell = o->cell ? o->cell : "gru";
    o->length = o->length ? o->length : is_copy ? 1000 : 600;
    o->rate = o->rate > 0 ? o->rate : !strcmp(o->cell, "rnn") ? 1e-3 : 1e-2;
    o->memory_bias = o->memory_bias >= 0 ? o->memory_bias : 100;
    if (o->length < 2 || (!is_copy && strcmp(o->task, "adding")))
        give_up("--task is adding or copy, --length at least 2");
}

static void compete_all(const struct options *given)
{
    static const struct { const char *cell, *strategy; } rows[] = {
        {"gru", "full"},         {"lstm", "full"},        {"rnn", "full"},
        {"gru", "segments:100"}, {"gru", "truncated:50,200"}, {"gru", "random:power:200,2"}, {"gru", "random:0.995"},
        {"gru", "adaptive:0.1"}, {"gru", "snap1"},        {"gru", "uoro"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct options o = *given;
        if (o.cell && strcmp(o.cell, rows[i].cell))
            continue;
        o.cell = rows[i].cell;
        o.strategy = rows[i].strategy;
        fill(&o);
        compete(&o);
    }
}

int main(int argc, char **argv)
{
    struct options o = {.task = "adding", .minutes = 2, .memory_bias = -1, .seed = 1};
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc)
            give_up("every option has a value");
        take_option(&o, argv[i], argv[i + 1]);
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct options shown = o;
    fill(&shown);
    printf("%s, %s %ld, at most %g minutes a row\n", o.task, strcmp(o.task, "copy") ? "T =" : "blanks:", shown.length, o.minutes);
    printf("%-5s %-20s %8s %8s %8s %10s %9s\n", "cell", "strategy", "windows", "updates", "seconds", "loss", "no memory");
    if (o.strategy) {
        fill(&o);
        compete(&o);
    } else {
        compete_all(&o);
    }
    return 0;
}
