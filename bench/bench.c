/* bench.c - bptt beside its peers. One row per case: results are compared first, then contenders take turns in one process, and
 * medians count. Speeds stand beside the peak that the same run measures.
 *
 *     build/bench/bench [--cases PATTERN] [--threads 1,2] [--seconds S] [--csv FILE] [--quick] */
#include <bptt.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"
#include "contest.h"
#include "machine.h"

enum { MOST_CONTENDERS = 4, MOST_TURNS = 64, LEAST_TURNS = 3 };

struct options { const char *cases, *csv; int threads[8], thread_counts; double seconds; };

struct bench { struct options options; struct machine machine; FILE *csv; };

void *take(size_t bytes)
{
    size_t whole = (bytes + 63) / 64 * 64;
    void *memory = aligned_alloc(64, whole ? whole : 64);
    if (!memory) {
        fprintf(stderr, "bench: no memory for %zu bytes\n", bytes);
        exit(1);
    }
    return memset(memory, 0, whole);
}

/* ---- problems ---- */

static float *random_floats(long count, float range)
{
    static unsigned long state = 1;
    float *x = take((size_t)count * sizeof *x);
    for (long i = 0; i < count; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = range * ((float)(state >> 40) / (float)(1 << 23) - 1);
    }
    return x;
}

static struct problem make_problem(const char *cell, long hidden, long batch, long steps, int threads)
{
    struct problem p = {.cell = cell, .gates = "", .hidden = hidden, .batch = batch, .steps = steps, .threads = threads};
    long n = hidden;
    p.x = random_floats(steps * batch * n, 1);
    p.dy = random_floats(steps * batch * n, 1);
    p.gates = !strcmp(cell, "lstm") ? "ifgo" : !strcmp(cell, "gru") ? "zrn" : "";
    p.h = random_floats(batch * n, 0.5f);
    if (!strcmp(cell, "lstm"))
        p.c = random_floats(batch * n, 0.5f);
    p.W = take((size_t)(gate_count(&p) * n * n) * sizeof(float));
    p.U = take((size_t)(gate_count(&p) * n * n) * sizeof(float));
    p.b = take((size_t)(bias_count(&p) * n) * sizeof(float));
    return p;
}

static void free_problem(struct problem *p)
{
    float *all[] = {p->x, p->dy, p->h, p->c, p->W, p->U, p->b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* Multiply-adds of the matrices counted as two: forward once, backward once for the inputs and once for the weights. */
static double operations(const struct problem *p)
{
    return 12.0 * (double)gate_count(p) * (double)p->hidden * (double)p->hidden * (double)p->batch * (double)p->steps;
}

/* ---- checking ---- */

enum { RESULTS = 7 };

static void results_of(const struct problem *p, const struct gradient *g, const float *array[RESULTS], long count[RESULTS])
{
    long n = p->hidden, rows = p->steps * p->batch * n, state = p->batch * n, matrix = gate_count(p) * n * n;
    const float *arrays[RESULTS] = {g->y, g->dx, g->dh, g->dc, g->dW, g->dU, g->db};
    const long counts[RESULTS] = {rows, rows, state, p->c ? state : 0, matrix, matrix, bias_count(p) * n};
    memcpy(array, arrays, sizeof arrays);
    memcpy(count, counts, sizeof counts);
}

static struct gradient make_gradient(const struct problem *p)
{
    long n = p->hidden, rows = p->steps * p->batch * n, state = p->batch * n, matrix = gate_count(p) * n * n;
    size_t size = sizeof(float);
    return (struct gradient){.y = take((size_t)rows * size), .dx = take((size_t)rows * size), .dh = take((size_t)state * size),
                             .dc = take((size_t)state * size), .dW = take((size_t)matrix * size),
                             .dU = take((size_t)matrix * size), .db = take((size_t)(bias_count(p) * n) * size)};
}

static void free_gradient(struct gradient *g)
{
    float *all[] = {g->y, g->dx, g->dh, g->dc, g->dW, g->dU, g->db};
    for (int i = 0; i < RESULTS; i++)
        free(all[i]);
}

/* |a - b| / |b| over an array; NaN where either is. */
static double relative_error(const float *a, const float *b, long count)
{
    double difference = 0, size = 1e-30;
    for (long i = 0; i < count; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        size += (double)b[i] * b[i];
    }
    return sqrt(difference / size);
}

/* The largest relative error of any result, after a run of each. */
static double compare_results(const struct problem *p, const struct contender *a, const struct contender *b)
{
    struct gradient of_a = make_gradient(p), of_b = make_gradient(p);
    const float *x[RESULTS], *y[RESULTS];
    long count[RESULTS];
    double worst = 0;
    a->run(a->state);
    b->run(b->state);
    a->collect(a->state, &of_a);
    b->collect(b->state, &of_b);
    results_of(p, &of_a, x, count);
    results_of(p, &of_b, y, count);
    for (int i = 0; i < RESULTS; i++) {
        double error = relative_error(x[i], y[i], count[i]);
        if (!(error <= worst))
            worst = error;
    }
    free_gradient(&of_a);
    free_gradient(&of_b);
    return worst;
}

/* Both sum in float32, in orders of their own, through up to a thousand steps: 2^-24 times a few hundred roundings of random
 * sign, and oneDNN's tanh and sigmoid are polynomials of about 1e-6. A wrong gate or sign gives 1e-1. */
static const double TOLERANCE = 2e-4;

static void check(const struct problem *p, const struct contender *a, const struct contender *b)
{
    double error = compare_results(p, a, b);
    if (error <= TOLERANCE)
        return;
    fprintf(stderr, "bench: %s H=%ld B=%ld T=%ld threads=%d: %s and %s differ by %.2g, more than %.2g\n", p->cell, p->hidden,
            p->batch, p->steps, p->threads, a->name, b->name, error, TOLERANCE);
    exit(1);
}

/* ---- timing ---- */

/* Threads of the one before may still be spinning for work: let them fall asleep. */
static void settle(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
}

static double time_runs(const struct contender *c, long runs)
{
    double start = clock_seconds();
    for (long i = 0; i < runs; i++)
        c->run(c->state);
    return (clock_seconds() - start) / (double)runs;
}

/* One turn: a run to wake up, then so many that they take about `seconds`. A run longer than that needs no waking. */
static double turn(const struct contender *c, double seconds)
{
    settle();
    double once = time_runs(c, 1);
    return once > seconds ? once : time_runs(c, 1 + (long)(seconds / once));
}

/* Medians, in seconds a run, of contenders that take turns until `seconds` are spent for each. */
static void race(const struct contender *contender, int count, double seconds, double *median)
{
    double time[MOST_CONTENDERS][MOST_TURNS], begin = clock_seconds();
    int turns = 0;
    while (turns < LEAST_TURNS || (turns < MOST_TURNS && clock_seconds() - begin < seconds * count)) {
        for (int i = 0; i < count; i++)
            time[i][turns] = turn(&contender[i], 0.04 * seconds);
        turns++;
    }
    for (int i = 0; i < count; i++)
        median[i] = clock_median(time[i], turns);
}

/* ---- forward and backward ---- */

static void run_case(struct bench *bench, const char *cell, long hidden, long batch, long steps, int threads)
{
    struct problem problem = make_problem(cell, hidden, batch, steps, threads);
    struct contender contender[MOST_CONTENDERS];
    double median[MOST_CONTENDERS] = {0}, work = operations(&problem);
    int count = ours_open(contender, &problem);
    count += onednn_open(contender + count, &problem);
    for (int i = 1; i < count; i++)
        check(&problem, &contender[0], &contender[i]);
    race(contender, count, bench->options.seconds, median);
    printf("%-6s %5ld %4ld %5ld %3d %10.3f %8.1f %5.0f %%", cell, hidden, batch, steps, threads, 1e3 * median[0],
           1e-9 * work / median[0], 100 * work / median[0] / bench->machine.peak[threads > 1]);
    if (count > 1)
        printf(" %10.3f %8.1f %6.2f", 1e3 * median[1], 1e-9 * work / median[1], median[1] / median[0]);
    else
        printf("     absent");
    printf("\n");
    fflush(stdout);
    for (int i = 0; i < count; i++)
        contender[i].close(contender[i].state);
    free_problem(&problem);
}

static void run_gradients(struct bench *bench)
{
    static const struct { long hidden, batch, steps; } size[] = {
        {32, 1, 1000}, {128, 1, 1000}, {64, 32, 100}, {256, 32, 100}, {512, 32, 100}, {512, 64, 256}, {1024, 32, 64},
    };
    static const char *const cells[] = {"rnn", "lstm", "gru"};
    printf("%-6s %5s %4s %5s %3s %10s %8s %7s %10s %8s %6s\n", "cell", "H=I", "B", "T", "thr", "ms", "GFLOP/s", "of peak",
           "oneDNN ms", "GFLOP/s", "ratio");
    for (size_t s = 0; s < sizeof size / sizeof *size; s++)
        for (int c = 0; c < 3; c++)
            for (int t = 0; t < bench->options.thread_counts; t++) {
                char name[80];
                snprintf(name, sizeof name, "%s-%ld-%ld-%ld", cells[c], size[s].hidden, size[s].batch, size[s].steps);
                if (!fnmatch(bench->options.cases, name, 0))
                    run_case(bench, cells[c], size[s].hidden, size[s].batch, size[s].steps, bench->options.threads[t]);
            }
}

/* ---- the program ---- */

static void print_machine(const struct machine *m)
{
    printf("# %s, bptt %s, %s, oneDNN %s\n", m->name, bptt_version(), m->isa, *onednn_version() ? onednn_version() : "absent");
    printf("# peak %.1f GFLOP/s on one thread, %.1f on two; reading:", 1e-9 * m->peak[0], 1e-9 * m->peak[1]);
    for (int i = 0; i < LEVELS; i++)
        printf(" %s %.1f", level_name[i], 1e-9 * m->bandwidth[i]);
    printf(" GB/s, DRAM on two threads %.1f\n", 1e-9 * m->bandwidth_two);
}

static int usage(void)
{
    fputs("usage: bench [--cases PATTERN] [--threads 1,2] [--seconds S] [--csv FILE] [--quick]\n", stderr);
    return 2;
}

static void read_threads(struct options *options, const char *text)
{
    options->thread_counts = 0;
    for (char *end; *text && options->thread_counts < 8; text = *end == ',' ? end + 1 : end) {
        long threads = strtol(text, &end, 10);
        if (end == text)
            return;
        options->threads[options->thread_counts++] = (int)threads;
    }
}

static int read_options(struct options *options, int argc, char **argv)
{
    *options = (struct options){.cases = "*", .threads = {1, 2}, .thread_counts = 2, .seconds = 2};
    for (int i = 1; i < argc; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--quick"))
            options->seconds = 0.3;
        else if (!value)
            return 0;
        else if (!strcmp(argv[i], "--cases"))
            options->cases = argv[++i];
        else if (!strcmp(argv[i], "--threads"))
            read_threads(options, argv[++i]);
        else if (!strcmp(argv[i], "--seconds"))
            options->seconds = atof(argv[++i]);
        else if (!strcmp(argv[i], "--csv"))
            options->csv = argv[++i];
        else
            return 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    struct bench bench = {0};
    if (!read_options(&bench.options, argc, argv))
        return usage();
    machine_measure(&bench.machine);
    print_machine(&bench.machine);
    run_gradients(&bench);
    return 0;
}
