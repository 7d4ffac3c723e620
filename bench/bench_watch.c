/* bench_watch.c - what `bptt train --watch N` costs: a run with a look at every fifth step, so that steps with and without come
 * in turns and what else the machine does meets both. A look is what a step with one, and the step after it (which begins with
 * the writing), take longer than the median of the others. Prints one line a case.
 *
 *     build/bench/bench_watch                            the table
 *     build/bench/bench_watch CELL H LAYERS B T THREADS  one case */
#include <bptt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"

enum { STEPS = 42, EVERY = 5, SYMBOLS = 40000 };

struct watch_case { const char *cell; int hidden, layers, batch, length, threads; };

static void write_text(const char *path)
{
    FILE *file = fopen(path, "wb");
    unsigned seed = 1;
    for (int i = 0; file && i < SYMBOLS * 4; i++) {
        seed = seed * 1664525u + 1013904223u;
        fputc(' ' + (int)(seed >> 16) % 64, file);
    }
    if (!file || fclose(file)) {
        fprintf(stderr, "bench_watch: cannot write %s\n", path);
        exit(1);
    }
}

/* The clock at the end of each step. */
static int on_event(const bptt_event *event, void *user)
{
    double *end = user;
    if (event->kind == BPTT_EVENT_STEP)
        end[event->step] = clock_seconds();
    return 0;
}

static void take(const double *end, double *step, double *look)
{
    double plain[STEPS], extra[STEPS];
    int plains = 0, looks = 0;
    for (int s = 4; s <= STEPS; s++)
        if (s % EVERY > 1)
            plain[plains++] = end[s] - end[s - 1];
    *step = clock_median(plain, plains);
    for (int s = EVERY; s + 1 <= STEPS; s += EVERY)
        extra[looks++] = end[s + 1] - end[s - 1] - 2 * *step;
    *look = clock_median(extra, looks);
}

static void measure(const struct watch_case *c, const char *folder)
{
    char text[80], out[80];
    double end[STEPS + 1] = {0}, step, look;
    bptt_error error = {0};
    bptt_train_config config = bptt_train_defaults();
    const char *files[] = {text};
    snprintf(text, sizeof text, "%s/text", folder);
    snprintf(out, sizeof out, "%s/model", folder);
    config.files = files;
    config.file_count = 1;
    config.cell = c->cell;
    config.hidden = c->hidden;
    config.layers = c->layers;
    config.trainer.batch = c->batch;
    config.trainer.length = c->length;
    config.trainer.threads = c->threads;
    config.valid = 0;
    config.steps = STEPS;
    config.watch = EVERY;
    config.out = out;
    if (bptt_train(&config, on_event, end, NULL, &error)) {
        fprintf(stderr, "bench_watch: %s\n", error.text);
        exit(1);
    }
    take(end, &step, &look);
    printf("%-10s %6d %3d %5d %5d %3d  %9.2f ms %9.2f ms  %5.2f steps  %5.2f %%\n", c->cell, c->hidden, c->layers, c->batch, c->length,
           c->threads, 1e3 * step, 1e3 * look, look / step, look / step);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const struct watch_case table[] = {
        {"lstm", 128, 1, 32, 64, 2}, {"lstm", 256, 1, 32, 64, 2}, {"lstm", 512, 1, 32, 64, 2}, {"gru", 256, 2, 32, 64, 2},
        {"rnn", 128, 1, 32, 64, 2},  {"lstm", 128, 1, 1, 32, 1}};
    char folder[] = "/tmp/bptt-bench-watch-XXXXXX", command[64];
    if (!mkdtemp(folder))
        return 1;
    snprintf(command, sizeof command, "%s/text", folder);
    write_text(command);
    printf("cell       hidden  layers batch length threads     a step       a look        look = cost of --watch 100\n");
    if (argc == 7) {
        struct watch_case one = {argv[1], atoi(argv[2]), atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), atoi(argv[6])};
        measure(&one, folder);
    }
    for (size_t i = 0; argc == 1 && i < sizeof table / sizeof *table; i++)
        measure(&table[i], folder);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) != 0;
}
