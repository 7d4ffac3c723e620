/* tasks.c - the data of published experiments. Each lane is made by itself, in order of time, by a small state that
 * steps; what is random in it is drawn by number from a stream of the task. */
#include "tasks.h"

#include <math.h>
#include <stdio.h>

#include "../src/base/random.h"

/* ---- Random numbers: by task, seed, lane and draw ---- */

enum task { MACKEY_GLASS = 1, LORENZ, SUNSPOTS, COPY, COPY_SHIFT, COPY_MEMORY, ADDING };

struct draws {
    struct random_stream stream;
    uint64_t next;
};

static struct draws draws_open(uint64_t seed, enum task task, int64_t lane)
{
    return (struct draws){random_open(seed, RANDOM_SAMPLE, (uint32_t)task), (uint64_t)lane << 32};
}

static double draw(struct draws *draws)
{
    return random_uniform(&draws->stream, draws->next++);
}

static double draw_normal(struct draws *draws)
{
    return random_normal(&draws->stream, draws->next++);
}

/* one of from..to-1, all as likely */
static int64_t draw_between(struct draws *draws, int64_t from, int64_t to)
{
    return from + (int64_t)(draw(draws) * (double)(to - from));
}

/* ---- Series ---- */

enum { DELAY = 17 }; /* values that the next one depends on: the one 16 steps back up to the last */

static double mackey_glass_next(double now, double past)
{
    return now + 0.2 * past / (1 + pow(past, 10)) - 0.1 * now;
}

static void mackey_glass_lane(struct draws *draws, int64_t T, int64_t B, float *lane)
{
    double history[DELAY]; /* a ring: step t is written over step t - DELAY */
    for (int i = 0; i < DELAY; i++)
        history[i] = 1.2 + 0.2 * draw(draws);
    double now = history[DELAY - 1];
    for (int64_t t = 0; t < T; t++) {
        double *oldest = &history[t % DELAY];
        now = mackey_glass_next(now, *oldest);
        *oldest = now;
        lane[t * B] = (float)now;
    }
}

void task_mackey_glass(uint64_t seed, int64_t T, int64_t B, float *series)
{
    for (int64_t b = 0; b < B; b++) {
        struct draws draws = draws_open(seed, MACKEY_GLASS, b);
        mackey_glass_lane(&draws, T, B, series + b);
    }
}

struct lorenz { double x, y, z; };

static struct lorenz lorenz_next(struct lorenz s)
{
    const double dt = 0.01;
    double dx = 10 * (s.y - s.x);
    double dy = s.x * (28 - s.z) - s.y;
    double dz = s.x * s.y - 8.0 / 3 * s.z;
    return (struct lorenz){s.x + dt * dx, s.y + dt * dy, s.z + dt * dz};
}

static struct lorenz lorenz_start(struct draws *draws)
{
    double x = 1 + 0.1 * draw_normal(draws);
    double y = 1 + 0.1 * draw_normal(draws);
    double z = 1 + 0.1 * draw_normal(draws);
    struct lorenz state = {x, y, z};
    for (int i = 0; i <= 100; i++)
        state = lorenz_next(state);
    return state;
}

void task_lorenz(uint64_t seed, int64_t T, int64_t B, float *series)
{
    for (int64_t b = 0; b < B; b++) {
        struct draws draws = draws_open(seed, LORENZ, b);
        struct lorenz state = lorenz_start(&draws);
        for (int64_t t = 0; t < T; t++) {
            series[t * B + b] = (float)state.x;
            state = lorenz_next(lorenz_next(state));
        }
    }
}

enum { MOST_YEARS = 1024 };

/* Lines that are not two numbers (the heading) do not count. */
static int64_t read_years(const char *path, float value[MOST_YEARS])
{
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    int64_t count = 0;
    char line[128];
    while (count < MOST_YEARS && fgets(line, sizeof line, file))
        if (sscanf(line, "%*d,%f", &value[count]) == 1)
            count++;
    fclose(file);
    return count;
}

int64_t task_sunspots(const char *path, uint64_t seed, int64_t T, int64_t B, float *series)
{
    float value[MOST_YEARS];
    int64_t years = read_years(path, value);
    if (years == 0)
        return 0;
    struct draws draws = draws_open(seed, SUNSPOTS, 0);
    int64_t start = draw_between(&draws, 0, years);
    for (int64_t b = 0; b < B; b++)
        for (int64_t t = 0; t < T; t++)
            series[t * B + b] = value[(start + b * years / B + t) % years];
    return years;
}

static void normalise_lane(int64_t T, int64_t B, int64_t from, int64_t to, float *lane)
{
    double sum = 0;
    for (int64_t t = from; t < to; t++)
        sum += lane[t * B];
    double mean = sum / (double)(to - from);
    double squares = 0;
    for (int64_t t = from; t < to; t++)
        squares += (lane[t * B] - mean) * (lane[t * B] - mean);
    double scale = squares > 0 ? 1 / sqrt(squares / (double)(to - from)) : 1;
    for (int64_t t = 0; t < T; t++)
        lane[t * B] = (float)((lane[t * B] - mean) * scale);
}

void task_normalise(int64_t T, int64_t B, int64_t from, int64_t to, float *series)
{
    for (int64_t b = 0; b < B; b++)
        normalise_lane(T, B, from, to, series + b);
}

/* ---- Copy: blocks end to end ---- */

struct blocks {
    struct draws draws;
    int shortest, longest;
    int length, place;                        /* of the block that stands now; place runs to twice the length */
    int32_t symbol[TASK_COPY_LONGEST];
};

static void block_begin(struct blocks *blocks)
{
    blocks->length = (int)draw_between(&blocks->draws, blocks->shortest, blocks->longest + 1);
    blocks->place = 0;
    blocks->symbol[0] = 1;
    for (int i = 1; i < blocks->length; i++)
        blocks->symbol[i] = (int32_t)draw_between(&blocks->draws, 2, TASK_COPY_SYMBOLS);
}

static void block_step(struct blocks *blocks, int32_t *input, int32_t *target)
{
    if (blocks->place == 2 * blocks->length)
        block_begin(blocks);
    int place = blocks->place++;
    int shown = place < blocks->length;
    *input = shown ? blocks->symbol[place] : 0;
    *target = shown ? 0 : blocks->symbol[place - blocks->length];
}

/* Drops the first `by` rows of a lane; the rows left empty at its end come from the start of `tail`. */
static void shift_lane(int64_t T, int64_t B, int64_t by, int32_t *lane, const int32_t *tail)
{
    for (int64_t t = 0; t < T; t++)
        lane[t * B] = t + by < T ? lane[(t + by) * B] : tail[t + by - T];
}

static int64_t shift_of(uint64_t seed, int64_t lane, int longest)
{
    struct draws draws = draws_open(seed, COPY_SHIFT, lane);
    return draw_between(&draws, 0, 2 * longest);
}

void task_copy(uint64_t seed, int shortest, int longest, int spliced, int64_t T, int64_t B, int32_t *input,
               int32_t *target)
{
    for (int64_t b = 0; b < B; b++) {
        struct blocks blocks = {.draws = draws_open(seed, COPY, b), .shortest = shortest, .longest = longest};
        int32_t tail_input[2 * TASK_COPY_LONGEST];
        int32_t tail_target[2 * TASK_COPY_LONGEST];
        for (int64_t t = 0; t < T; t++)
            block_step(&blocks, &input[t * B + b], &target[t * B + b]);
        for (int t = 0; t < 2 * longest; t++)
            block_step(&blocks, &tail_input[t], &tail_target[t]);
        for (int64_t i = b; i < (spliced ? B : b + 1); i++) {
            shift_lane(T, B, shift_of(seed, i, longest), input + b, tail_input);
            shift_lane(T, B, shift_of(seed, i, longest), target + b, tail_target);
        }
    }
}

/* ---- Copy memory ---- */

int64_t task_copy_memory_steps(int64_t blank)
{
    return blank + 2 * TASK_MEMORY_LENGTH;
}

void task_copy_memory(uint64_t seed, int64_t blank, int64_t B, int32_t *input, int32_t *target)
{
    int64_t T = task_copy_memory_steps(blank);
    int64_t ask = T - TASK_MEMORY_LENGTH;
    for (int64_t b = 0; b < B; b++) {
        struct draws draws = draws_open(seed, COPY_MEMORY, b);
        for (int64_t t = 0; t < T; t++) {
            input[t * B + b] = t < ask - 1 ? 0 : 9;
            target[t * B + b] = 0;
        }
        for (int64_t i = 0; i < TASK_MEMORY_LENGTH; i++)
            input[i * B + b] = target[(ask + i) * B + b] = (int32_t)draw_between(&draws, 1, 9);
    }
}

/* ---- Adding ---- */

void task_adding(uint64_t seed, int64_t T, int64_t B, float *input, float *target)
{
    for (int64_t b = 0; b < B; b++) {
        struct draws draws = draws_open(seed, ADDING, b);
        int64_t first = draw_between(&draws, 0, T);
        int64_t second = draw_between(&draws, 0, T - 1);
        second += second >= first; /* any place but the first */
        for (int64_t t = 0; t < T; t++) {
            float *x = input + (t * B + b) * 2;
            x[0] = (float)draw_between(&draws, 0, 1 << 24) * 0x1p-24f; /* exact in single precision, and below 1 */
            x[1] = t == first || t == second;
        }
        target[b] = input[(first * B + b) * 2] + input[(second * B + b) * 2];
    }
}
