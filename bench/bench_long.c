// link: bench/tasks.c
/* bench_long.c - long memory: the adding problem and copy memory (tasks.h), by any strategy. What each can and cannot learn, beside
 * the loss of answering without memory.
 *
 *     build/bench/bench_long                        the table: adding at T = 600 by the backward strategies and cells (an hour)
 *     build/bench/bench_long adding CELL STRATEGY T HIDDEN UPDATES RATE     one row; also: copy ... (T counts the blanks)
 *
 * A row ends after its updates, or once the loss on fresh sequences is at most a hundredth of what no memory costs. */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tasks.h"

enum { BATCH = 32, LOOK_EVERY = 50, TEST_BATCHES = 8 };

struct row { const char *task, *cell, *strategy; long length, hidden, windows; double rate; };

struct contest { struct row row; int is_copy; long steps; bptt_model *model; bptt_trainer *trainer; void *x, *y; };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void give_up(const bptt_error *error)
{
    fprintf(stderr, "bench_long: %s\n", error->text);
    exit(1);
}

static void *room(long count, size_t size)
{
    void *memory = calloc((size_t)count, size);
    if (!memory)
        exit(1);
    return memory;
}

static void make_model(struct contest *c)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open(c->row.cell, &cell, &error))
        give_up(&error);
    config.cell = cell;
    config.inputs = c->is_copy ? 16 : 2;
    config.vocabulary = c->is_copy ? TASK_MEMORY_SYMBOLS : 0;
    config.outputs = c->is_copy ? TASK_MEMORY_SYMBOLS : 1;
    config.loss = c->is_copy ? BPTT_CROSS_ENTROPY : BPTT_MSE;
    config.hidden = c->row.hidden;
    config.layers = 1;
    config.orthogonal = 1;
    config.forget_bias = 1;
    config.seed = 1;
    if (bptt_model_new(&config, &c->model, &error))
        give_up(&error);
    bptt_cell_free(cell);
}

static void make_trainer(struct contest *c)
{
    bptt_error error = {0};
    bptt_trainer_config config = bptt_trainer_defaults();
    config.batch = BATCH;
    config.length = c->steps;
    config.optimizer = BPTT_ADAM;
    config.rate = c->row.rate;
    config.beta2 = 0.999;
    config.clip_norm = 1;
    config.carry = 0;
    config.gradient = c->row.strategy;
    config.loss_from = c->is_copy ? 0 : c->steps - 1;
    config.seed = 1;
    if (bptt_trainer_new(c->model, &config, &c->trainer, &error))
        give_up(&error);
}

static void draw(struct contest *c, uint64_t seed)
{
    float answer[BATCH];
    if (c->is_copy) {
        task_copy_memory(seed, c->row.length, BATCH, c->x, c->y);
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
            give_up(&error);
        sum += loss / TEST_BATCHES;
    }
    return sum;
}

static double no_memory(const struct contest *c)
{
    return c->is_copy ? TASK_MEMORY_LENGTH * log(8) / (double)c->steps : 1.0 / 6;
}

static const char *verdict(double loss, double trivial)
{
    return !(loss < 10 * trivial) ? "diverged" : loss <= 0.01 * trivial ? "learnt" : loss <= 0.5 * trivial ? "learning" : "not learnt";
}

static void contest_open(struct contest *c, const struct row *row)
{
    *c = (struct contest){.row = *row, .is_copy = !strcmp(row->task, "copy")};
    c->steps = c->is_copy ? task_copy_memory_steps(row->length) : row->length;
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

static void compete(const struct row *row)
{
    struct contest c;
    bptt_error error = {0};
    double loss = 0, norm, best = INFINITY, start = seconds();
    long done = 0;
    contest_open(&c, row);
    double trivial = no_memory(&c);
    for (; done < row->windows && !(best <= 0.005 * trivial); done++) {
        draw(&c, (uint64_t)done);
        if (bptt_trainer_step(c.trainer, c.x, c.y, &loss, &norm, &error))
            break;
        if ((done + 1) % LOOK_EVERY == 0)
            best = look(&c);
    }
    bptt_model_info info;
    bptt_model_describe(c.model, &info, &error);
    printf("%-7s %-5s %-20s %6ld %5ld %8lld %8ld %8.0f %10.2e %9.2e  %s\n", row->task, row->cell, row->strategy, c.steps, row->hidden,
           (long long)info.parameters, done, seconds() - start, best, trivial, verdict(best, trivial));
    contest_close(&c);
}

int main(int argc, char **argv)
{
    static const struct row rows[] = {
        {"adding", "gru", "full", 600, 150, 4000, 2e-3},
        {"adding", "lstm", "full", 600, 130, 2000, 2e-3},
        {"adding", "rnn", "full", 600, 260, 500, 1e-3},
        {"adding", "gru", "segments:100", 600, 150, 500, 2e-3},
        {"adding", "gru", "random:0.995", 600, 150, 1500, 2e-3},
        {"adding", "gru", "random:power:200,2", 600, 150, 1500, 2e-3},
        {"adding", "gru", "full", 50, 32, 4000, 5e-3},
        {"adding", "gru", "segments:25", 50, 32, 2000, 5e-3},
        {"adding", "gru", "truncated:10,50", 50, 32, 4000, 5e-3},
        {"adding", "gru", "random:0.98", 50, 32, 4000, 5e-3},
        {"adding", "gru", "snap1", 50, 32, 1000, 2e-3},
        {"adding", "gru", "uoro", 50, 32, 1000, 1e-3},
        {"copy", "gru", "full", 1000, 70, 300, 5e-4},
    };
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%-7s %-5s %-20s %6s %5s %8s %8s %8s %10s %9s\n", "task", "cell", "strategy", "steps", "units", "weights", "windows", "seconds",
           "loss", "no memory");
    if (argc == 8) {
        compete(&(struct row){argv[1], argv[2], argv[3], atol(argv[4]), atol(argv[5]), atol(argv[6]), atof(argv[7])});
        return 0;
    }
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        compete(&rows[i]);
    return 0;
}
