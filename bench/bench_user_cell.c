/* bench_user_cell.c - what a cell file of one's own costs beside the same cell built in: the cell's equations with one
 * name changed (so that the built-in code does not fit), compiled by the machine's C compiler, and without one through the
 * interpreter. The runs of the three take turns; a time is the least of its runs, a ratio the median over the turns, of
 * forward, backward and update with plain descent, one thread. It compiles into a folder of its own, which it removes.
 *
 *     build/bench/bench_user_cell                  the table
 *     build/bench/bench_user_cell CELL NAME H B T  one case; NAME: a name that the cell defines */
#define _GNU_SOURCE 1
#include <bptt.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ROUNDS = 41, WAYS = 3, BUILT_IN = 0, COMPILED = 1, INTERPRETED = 2 };
static const double RUN_SECONDS = 0.01;

struct user_case { const char *cell, *name; long hidden, batch, length; };

struct way {
    bptt_cell *cell;
    bptt_model *model;
    bptt_trainer *trainer;
    int steps;                             /* windows of one run */
    double seconds[ROUNDS];                /* of one window */
};

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void need(int status, const bptt_error *error)
{
    if (!status)
        return;
    fprintf(stderr, "bench_user_cell: %s\n", error->text);
    exit(1);
}

static int is_letter(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

/* The text with `name` made `name`q wherever it is a word of its own. */
static char *rename_word(const char *text, const char *name)
{
    size_t length = strlen(name), used = 0;
    char *out = malloc(2 * strlen(text) + 1);
    for (const char *c = text; out && *c;) {
        int word = !strncmp(c, name, length) && !is_letter(c[length]) && (c == text || !is_letter(c[-1]));
        size_t taken = word ? length : 1;
        memcpy(out + used, c, taken);
        used += taken;
        c += taken;
        if (word)
            out[used++] = 'q';
    }
    if (out)
        out[used] = 0;
    return out;
}

static bptt_cell *own_cell(const struct user_case *c, bptt_error *error)
{
    bptt_cell *original, *own;
    bptt_cell_info info;
    need(bptt_cell_open(c->cell, &original, error), error);
    need(bptt_cell_describe(original, 1, 1, &info, error), error);
    char *text = rename_word(info.source, c->name);
    need(bptt_cell_parse(text ? text : "", "own.cell", &own, error), error);
    free(text);
    bptt_cell_free(original);
    return own;
}

static void open_way(struct way *way, const struct user_case *c, bptt_error *error)
{
    bptt_model_config config = bptt_model_defaults();
    bptt_trainer_config trainer = bptt_trainer_defaults();
    config.cell = way->cell;
    config.inputs = config.hidden = c->hidden;
    config.outputs = 1;
    config.loss = BPTT_MSE;
    trainer.batch = c->batch;
    trainer.length = c->length;
    trainer.threads = 1;
    trainer.optimizer = BPTT_SGD;
    trainer.rate = 1e-6;
    need(bptt_model_new(&config, &way->model, error), error);
    need(bptt_trainer_new(way->model, &trainer, &way->trainer, error), error);
}

static double run(struct way *way, const float *x, const float *y, bptt_error *error)
{
    double loss, norm, start = now();
    for (int i = 0; i < way->steps; i++)
        need(bptt_trainer_step(way->trainer, x, y, &loss, &norm, error), error);
    return (now() - start) / way->steps;
}

static int order(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

static double least(const struct way *way)
{
    double least = way->seconds[0];
    for (int i = 1; i < ROUNDS; i++)
        least = way->seconds[i] < least ? way->seconds[i] : least;
    return least;
}

static double ratio(const struct way *way, const struct way *to)
{
    double value[ROUNDS];
    for (int i = 0; i < ROUNDS; i++)
        value[i] = way->seconds[i] / to->seconds[i];
    qsort(value, ROUNDS, sizeof *value, order);
    return value[ROUNDS / 2];
}

static void measure(struct way *way, const struct user_case *c, bptt_error *error)
{
    size_t n = (size_t)(c->batch * c->length * c->hidden);
    float *x = malloc(n * sizeof *x), *y = calloc(n, sizeof *y);
    for (size_t i = 0; x && i < n; i++)
        x[i] = (float)(i * 7 % 201) * 0.01f - 1;
    for (int w = 0; w < WAYS && x && y; w++) {
        way[w].steps = 1;
        double once = run(&way[w], x, y, error);
        way[w].steps = once < RUN_SECONDS ? (int)(RUN_SECONDS / once) : 1;
    }
    for (int round = 0; round < ROUNDS && x && y; round++)
        for (int w = 0; w < WAYS; w++)
            way[w].seconds[round] = run(&way[w], x, y, error);
    free(x);
    free(y);
}

static void run_case(const struct user_case *c)
{
    struct way way[WAYS] = {{0}};
    bptt_error error = {0};
    char folder[] = "/tmp/bptt-bench-XXXXXX", command[64];
    if (!mkdtemp(folder) || setenv("BPTT_CACHE", folder, 1))
        exit(1);
    need(bptt_cell_open(c->cell, &way[BUILT_IN].cell, &error), &error);
    way[INTERPRETED].cell = own_cell(c, &error);
    way[COMPILED].cell = own_cell(c, &error);
    need(bptt_cell_compile(way[COMPILED].cell, &error), &error);
    for (int w = 0; w < WAYS; w++)
        open_way(&way[w], c, &error);
    measure(way, c, &error);
    printf("%-8s %6ld %6ld %6ld %11.3f %11.3f %11.3f %9.3f %12.1f\n", c->cell, c->hidden, c->batch, c->length,
           1e3 * least(&way[BUILT_IN]), 1e3 * least(&way[COMPILED]), 1e3 * least(&way[INTERPRETED]),
           ratio(&way[COMPILED], &way[BUILT_IN]), ratio(&way[INTERPRETED], &way[BUILT_IN]));
    fflush(stdout);
    for (int w = 0; w < WAYS; w++) {
        bptt_trainer_free(way[w].trainer);
        bptt_model_free(way[w].model);
        bptt_cell_free(way[w].cell);
    }
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command))
        fprintf(stderr, "could not remove %s\n", folder);
}

int main(int count, char **argument)
{
    static const struct user_case cases[] = {
        {"lstm", "i", 32, 1, 1000}, {"lstm", "i", 128, 16, 100}, {"lstm", "i", 512, 32, 4},
        {"gru", "n", 128, 16, 100}, {"mingru", "z", 128, 16, 100},
    };
    printf("%-8s %6s %6s %6s %11s %11s %11s %9s %12s\n", "cell", "hidden", "batch", "length", "built in ms", "compiled ms",
           "interp. ms", "compiled", "interpreter");
    if (count == 6) {
        struct user_case own = {argument[1], argument[2], atol(argument[3]), atol(argument[4]), atol(argument[5])};
        run_case(&own);
        return 0;
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(&cases[i]);
    return 0;
}
