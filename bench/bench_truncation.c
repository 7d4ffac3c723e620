// link: bench/tasks.c
/* bench_truncation.c - the Copy tables of adaptive truncation (Aicher, Foti and Fox 2019, arXiv 1905.07473): an LSTM of 2 x 50 units,
 * fixed truncations K and adaptive ones with a relative bias below delta, test perplexity beside the published one.
 *
 *     build/bench/bench_truncation [fixed|variable] [EPOCHS] [clean|spliced] [the rows whose names begin so]
 *
 * As published: 64 lanes, K = truncated:K,2K-1, plain SGD at rate sqrt(K), weight decay 1e-5, the gradient's norm clipped at 1/K, matrices
 * uniform within sqrt(3 / larger side), the state carried; test at the best validation. Different: windows of 120 steps (the first K steps
 * of each do not reach back into the one before), EPOCHS passes of 4,000 steps in place of 210, one start in place of nine, no bias on
 * the encoder, adaptive measures every hundredth window over its 120 steps. Published data have answers that were never shown
 * (tasks.h); `spliced` makes such, else the data are clean. */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../src/train/trainer.h"
#include "tasks.h"

enum { LANES = 64, WINDOW = 120, UNITS = 50, TRAIN = 33 * WINDOW, TEST = 8 * WINDOW, MOST_ROWS = 8 };

struct copies { int32_t *x, *y; long steps; };
struct row { const char *strategy; long k; double published[2]; };      /* fixed, variable */
struct data { struct copies train, valid, test; };

static const struct row rows[MOST_ROWS] = {
    {"truncated:5,9", 5, {1.646, 1.47}},      {"truncated:10,19", 10, {1.036, 1.39}}, {"truncated:15,29", 15, {1.039, 1.37}},
    {"truncated:20,39", 20, {1.040, 1.35}},   {"truncated:30,59", 30, {1.043, 1.31}}, {"adaptive:0.9", 0, {1.022, 1.35}},
    {"adaptive:0.5", 0, {1.027, 1.32}},       {"adaptive:0.1", 0, {1.030, 1.29}},
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void give_up(const bptt_error *error)
{
    fprintf(stderr, "bench_truncation: %s\n", error->text);
    exit(1);
}

static struct copies make_text(uint64_t seed, int shortest, int spliced, long steps)
{
    struct copies text = {malloc((size_t)(steps * LANES) * sizeof(int32_t)), malloc((size_t)(steps * LANES) * sizeof(int32_t)), steps};
    if (!text.x || !text.y)
        exit(1);
    task_copy(seed, shortest, 10, spliced, steps, LANES, text.x, text.y);
    return text;
}

/* ---- the model ---- */

static void start_uniform(const bptt_model *model)
{
    struct random_stream stream = random_open(1, RANDOM_INIT, 9);
    uint64_t at = 0;
    for (size_t i = 0; i < bptt_model_parameter_count(model); i++) {
        bptt_array view;
        bptt_model_parameter(model, i, &view);
        int is_gate = !strncmp(view.name, "layers.", 7);
        double side = is_gate ? 4 * UNITS : UNITS, bound = view.rank == 2 ? sqrt(3 / side) : 0;
        for (int64_t k = 0; k < bptt_array_length(&view); k++)
            ((float *)view.data)[k] = (float)(bound * (2 * random_uniform(&stream, at++) - 1));
    }
}

static bptt_model *make_model(void)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model *model;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open("lstm", &cell, &error))
        give_up(&error);
    config.cell = cell;
    config.vocabulary = config.outputs = TASK_COPY_SYMBOLS;
    config.inputs = config.hidden = UNITS;
    config.layers = 2;
    if (bptt_model_new(&config, &model, &error))
        give_up(&error);
    bptt_cell_free(cell);
    start_uniform(model);
    return model;
}

static bptt_trainer *make_trainer(bptt_model *model, const char *strategy)
{
    bptt_error error = {0};
    bptt_trainer *trainer;
    bptt_trainer_config config = bptt_trainer_defaults();
    config.batch = LANES;
    config.length = WINDOW;
    config.threads = 1;
    config.optimizer = BPTT_SGD;
    config.momentum = 0;
    config.weight_decay = 1e-5;
    config.gradient = strategy;
    if (bptt_trainer_new(model, &config, &trainer, &error))
        give_up(&error);
    return trainer;
}

/* ---- training ---- */

static void set_rate(bptt_trainer *trainer, long k)
{
    trainer->config.rate = sqrt((double)k);
    trainer->config.clip_norm = 1 / (double)k;
}

static double perplexity(bptt_trainer *trainer, const struct copies *text)
{
    bptt_error error = {0};
    double sum = 0, loss;
    for (long at = 0; at < text->steps; at += WINDOW) {
        if (bptt_trainer_loss(trainer, text->x + at * LANES, text->y + at * LANES, at == 0, &loss, &error))
            give_up(&error);
        sum += loss;
    }
    return exp(sum / (double)(text->steps / WINDOW));
}

/* One pass; the mean of the truncations in force. */
static double epoch(bptt_trainer *trainer, const struct row *row, const struct copies *text)
{
    bptt_error error = {0};
    double loss, norm, sum = 0;
    bptt_trainer_reset_state(trainer);
    for (long at = 0; at < text->steps; at += WINDOW) {
        long chosen = trainer->net.schedule.strategy.k1, k = row->k ? row->k : chosen > 0 ? chosen : WINDOW;
        set_rate(trainer, k);
        if (bptt_trainer_step(trainer, text->x + at * LANES, text->y + at * LANES, &loss, &norm, &error))
            give_up(&error);
        sum += (double)k;
    }
    return sum / (double)(text->steps / WINDOW);
}

static void compete(const struct row *row, int table, const struct data *data, int epochs)
{
    bptt_model *model = make_model();
    bptt_trainer *trainer = make_trainer(model, row->strategy);
    double best = INFINITY, at_best = NAN, start = seconds(), k = 0;
    for (int i = 0; i < epochs; i++) {
        k = epoch(trainer, row, &data->train);
        double valid = perplexity(trainer, &data->valid);
        if (valid < best) {
            best = valid;
            at_best = perplexity(trainer, &data->test);
        }
    }
    printf("%-16s %8.1f %10.3f %10.3f %9.0f\n", row->strategy, k, at_best, row->published[table], seconds() - start);
    bptt_trainer_free(trainer);
    bptt_model_free(model);
}

int main(int argc, char **argv)
{
    int table = argc > 1 && !strcmp(argv[1], "variable"), epochs = argc > 2 ? atoi(argv[2]) : 20;
    int spliced = argc > 3 && !strcmp(argv[3], "spliced"), shortest = table ? 5 : 10;
    struct data data = {make_text(1, shortest, spliced, TRAIN), make_text(2, shortest, spliced, TEST), make_text(3, shortest, spliced, TEST)};
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("Copy, blocks of %s, %s data, %d epochs of %d steps\n", table ? "5 to 10" : "10", spliced ? "spliced" : "clean", epochs, TRAIN);
    printf("%-16s %8s %10s %10s %9s\n", "strategy", "last K", "test", "published", "seconds");
    for (int i = 0; i < MOST_ROWS; i++)
        if (argc <= 4 || !strncmp(rows[i].strategy, argv[4], strlen(argv[4])))
            compete(&rows[i], table, &data, epochs);
    struct copies *all[] = {&data.train, &data.valid, &data.test};
    for (int i = 0; i < 3; i++) {
        free(all[i]->x);
        free(all[i]->y);
    }
    return 0;
}
