/* bench_text.c - how many symbols of text a second are learned from: forward, full backpropagation through time, clipping and
 * Adam, on windows of random symbols (their values do not change the work). Prints the machine, then one line a case; each
 * figure is the median of several runs.
 *
 *     build/bench/bench_text                    the table
 *     build/bench/bench_text CELL H B T THREADS [LAYERS]     one case */
#include <bptt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SYMBOLS = 65, RUNS = 7 };
static const double RUN_SECONDS = 0.4;

struct text_case { const char *cell; int hidden, batch, length, threads, layers; };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

static void give_up(const bptt_error *error)
{
    fprintf(stderr, "bench_text: %s\n", error->text);
    exit(1);
}

static bptt_model *make_model(const struct text_case *c)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model *model;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open(c->cell, &cell, &error))
        give_up(&error);
    config.cell = cell;
    config.vocabulary = SYMBOLS;
    config.hidden = c->hidden;
    config.layers = c->layers;
    if (bptt_model_new(&config, &model, &error))
        give_up(&error);
    bptt_cell_free(cell);
    return model;
}

static double median_rate(const struct text_case *c, bptt_trainer *trainer, const int32_t *x, const int32_t *y)
{
    bptt_error error = {0};
    double rate[RUNS], loss, norm;
    for (int run = 0; run < RUNS; run++) {
        double start = seconds(), spent;
        int steps = 0;
        do {
            if (bptt_trainer_step(trainer, x, y, &loss, &norm, &error))
                give_up(&error);
            steps++;
        } while ((spent = seconds() - start) < RUN_SECONDS);
        rate[run] = (double)steps * c->batch * c->length / spent;
    }
    qsort(rate, RUNS, sizeof *rate, compare);
    return rate[RUNS / 2];
}

static void run_case(const struct text_case *c)
{
    bptt_error error = {0};
    bptt_model *model = make_model(c);
    bptt_trainer_config config = bptt_trainer_defaults();
    bptt_trainer *trainer;
    size_t n = (size_t)c->batch * (size_t)c->length;
    int32_t *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
    config.batch = c->batch;
    config.length = c->length;
    config.threads = c->threads;
    if (!x || !y || bptt_trainer_new(model, &config, &trainer, &error))
        give_up(&error);
    for (size_t i = 0; i < n; i++) {
        x[i] = rand() % SYMBOLS;
        y[i] = rand() % SYMBOLS;
    }
    printf("%-8s %6d %6d %6d %7d %7d %12.0f\n", c->cell, c->hidden, c->layers, c->batch, c->length, c->threads,
           median_rate(c, trainer, x, y));
    fflush(stdout);
    bptt_trainer_free(trainer);
    bptt_model_free(model);
    free(x);
    free(y);
}

static void print_machine(void)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "model name", 10))
            continue;
        printf("# %s", strchr(line, ':') + 2);
        break;
    }
    if (file)
        fclose(file);
    printf("# bptt %s, BPTT_ISA=%s\n", bptt_version(), getenv("BPTT_ISA") ? getenv("BPTT_ISA") : "(best)");
}

int main(int count, char **argument)
{
    static const struct text_case cases[] = {
        {"lstm", 128, 32, 100, 1, 1}, {"lstm", 128, 32, 100, 2, 1}, {"lstm", 512, 32, 64, 1, 1}, {"lstm", 512, 32, 64, 2, 1},
        {"gru", 512, 32, 64, 2, 1},   {"lstm", 512, 32, 64, 2, 2},  {"mingru", 512, 32, 64, 2, 1},
    };
    print_machine();
    printf("%-8s %6s %6s %6s %7s %7s %12s\n", "cell", "hidden", "layers", "batch", "length", "threads", "symbols/s");
    if (count >= 6) {
        struct text_case own = {argument[1], atoi(argument[2]), atoi(argument[3]), atoi(argument[4]), atoi(argument[5]),
                                count > 6 ? atoi(argument[6]) : 1};
        run_case(&own);
        return 0;
    }
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(&cases[i]);
    return 0;
}
