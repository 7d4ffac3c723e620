/* contest.c - problems made, results compared, turns taken. */
#include "contest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "clock.h"

enum { MOST_CONTENDERS = 8, MOST_TURNS = 64, LEAST_TURNS = 3 };

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

struct problem problem_make(const char *cell, long hidden, long batch, long steps, int threads)
{
    struct problem p = {.cell = cell, .gates = "", .hidden = hidden, .batch = batch, .steps = steps, .threads = threads};
    long n = hidden;
    p.x = random_floats(steps * batch * n, 1);
    p.dy = random_floats(steps * batch * n, 1);
    p.gates = !strcmp(cell, "lstm") ? "ifgo" : !strcmp(cell, "gru") ? "zrn" : "";
    if (!*p.gates && strcmp(cell, "rnn"))
        return p;
    p.h = random_floats(batch * n, 0.5f);
    if (!strcmp(cell, "lstm"))
        p.c = random_floats(batch * n, 0.5f);
    p.W = take((size_t)(gate_count(&p) * n * n) * sizeof(float));
    p.U = take((size_t)(gate_count(&p) * n * n) * sizeof(float));
    p.b = take((size_t)(bias_count(&p) * n) * sizeof(float));
    return p;
}

void problem_zero_states(struct problem *p)
{
    size_t bytes = (size_t)(p->batch * p->hidden) * sizeof(float);
    memset(p->h, 0, bytes);
    if (p->c)
        memset(p->c, 0, bytes);
}

void problem_free(struct problem *p)
{
    float *all[] = {p->x, p->dy, p->h, p->c, p->W, p->U, p->b};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

/* ---- checking ---- */

void gradient_list(const struct problem *p, const struct gradient *g, float *array[RESULTS], long count[RESULTS])
{
    long n = p->hidden, rows = p->steps * p->batch * n, state = p->batch * n, matrix = gate_count(p) * n * n;
    float *arrays[RESULTS] = {g->y, g->dx, g->dh, g->dc, g->dW, g->dU, g->db};
    const long counts[RESULTS] = {rows, rows, state, p->c ? state : 0, matrix, matrix, bias_count(p) * n};
    memcpy(array, arrays, sizeof arrays);
    memcpy(count, counts, sizeof counts);
}

struct gradient gradient_make(const struct problem *p)
{
    long n = p->hidden, rows = p->steps * p->batch * n, state = p->batch * n, matrix = gate_count(p) * n * n;
    size_t size = sizeof(float);
    return (struct gradient){.y = take((size_t)rows * size), .dx = take((size_t)rows * size), .dh = take((size_t)state * size),
                             .dc = take((size_t)state * size), .dW = take((size_t)matrix * size),
                             .dU = take((size_t)matrix * size), .db = take((size_t)(bias_count(p) * n) * size)};
}

void gradient_free(struct gradient *g)
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
    struct gradient of_a = gradient_make(p), of_b = gradient_make(p);
    float *x[RESULTS], *y[RESULTS];
    long count[RESULTS];
    double worst = 0;
    if (a->run)
        a->run(a->state);
    if (b->run)
        b->run(b->state);
    a->collect(a->state, &of_a);
    b->collect(b->state, &of_b);
    gradient_list(p, &of_a, x, count);
    gradient_list(p, &of_b, y, count);
    for (int i = 0; i < RESULTS; i++) {
        double error = relative_error(x[i], y[i], count[i]);
        if (!(error <= worst))
            worst = error;
    }
    gradient_free(&of_a);
    gradient_free(&of_b);
    return worst;
}

/* Both sum in float32, in orders of their own, through up to a thousand steps: 2^-24 times a few hundred roundings of random
 * sign, and oneDNN's tanh and sigmoid are polynomials of about 1e-6. A wrong gate or sign gives 1e-1. */
static const double TOLERANCE = 2e-4;
/* bfloat16 rounds to 2^-9, a few times a step. */
static const double HALF_TOLERANCE = 5e-2;

void contest_check(const struct problem *p, const struct contender *a, const struct contender *b)
{
    double error = compare_results(p, a, b), tolerance = p->precision ? HALF_TOLERANCE : TOLERANCE;
    if (error <= tolerance)
        return;
    fprintf(stderr, "bench: %s H=%ld B=%ld T=%ld threads=%d: %s and %s differ by %.2g, more than %.2g\n", p->cell, p->hidden,
            p->batch, p->steps, p->threads, a->name, b->name, error, tolerance);
    exit(1);
}

/* ---- timing ---- */

/* Threads of the one before may still be spinning for work: let them fall asleep. Those of PyTorch, which has three kinds of
 * them, were seen to spin for 110 ms. */
static void settle(long milliseconds)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000 * milliseconds}, NULL);
}

static double time_runs(const struct contender *c, long runs)
{
    double start = clock_seconds();
    for (long i = 0; i < runs; i++)
        c->run(c->state);
    return (clock_seconds() - start) / (double)runs;
}

/* Processors that slept while another process had its turn need a while until they are fast again. */
static double wake(const struct contender *c)
{
    double begin = clock_seconds(), once;
    do
        once = time_runs(c, 1);
    while (clock_seconds() - begin < 0.1);
    return once;
}

/* One turn: woken up, then so many runs that they take about `seconds`. A run longer than that needs no waking. */
static double turn(const struct contender *c, double seconds)
{
    settle(20);
    if (c->turn) {
        double elsewhere = c->turn(c->state, seconds);
        settle(250);
        return elsewhere;
    }
    double once = wake(c);
    return once > seconds ? once : time_runs(c, 1 + (long)(seconds / once));
}

/* Medians, in seconds a run, of contenders that take turns until `seconds` are spent for each. */
void contest_race(const struct contender *contender, int count, double seconds, double *median)
{
    double time[MOST_CONTENDERS][MOST_TURNS], begin = clock_seconds();
    int turns = 0;
    while (turns < LEAST_TURNS || (turns < MOST_TURNS && clock_seconds() - begin < seconds * count)) {
        for (int i = 0; i < count; i++)
            time[i][turns] = turn(&contender[i], 0.04 * seconds) / contender[i].share;
        turns++;
    }
    for (int i = 0; i < count; i++)
        median[i] = clock_median(time[i], turns);
}

