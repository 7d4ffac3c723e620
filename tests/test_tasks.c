// link: bench/tasks.c
/* test_tasks.c - the data of the experiments: every generator against what defines it, read back from its arrays. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../bench/tasks.h"
#include "tap.h"

enum { ROWS = 4000, LANES = 8 };

static void *need(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        exit(2);
    return memory;
}

static double least(const float *x, int64_t count)
{
    double value = x[0];
    for (int64_t i = 1; i < count; i++)
        value = fmin(value, x[i]);
    return value;
}

static double most(const float *x, int64_t count)
{
    double value = x[0];
    for (int64_t i = 1; i < count; i++)
        value = fmax(value, x[i]);
    return value;
}

/* ---- series ---- */

typedef void series_task(uint64_t seed, int64_t T, int64_t B, float *series);

/* The same seed gives the same numbers, another seed others; a lane does not depend on the lanes beside it. */
static void series_by_number(series_task *task, const char *name)
{
    float *a = need(ROWS * LANES, sizeof *a);
    float *b = need(ROWS * LANES, sizeof *b);
    task(1, ROWS, LANES, a);
    task(1, ROWS, LANES, b);
    tap_ok(!memcmp(a, b, sizeof *a * ROWS * LANES), "%s: the same numbers again", name);
    task(2, ROWS, LANES, b);
    tap_ok(memcmp(a, b, sizeof *a * ROWS * LANES) != 0, "%s: others of another seed", name);
    task(1, ROWS, 1, b);
    int same = 1;
    for (int64_t t = 0; t < ROWS; t++)
        same &= a[t * LANES] == b[t];
    tap_ok(same, "%s: lane 0 of %d is lane 0 of 1", name, LANES);
    free(a);
    free(b);
}

/* Every value follows from two earlier ones. The tolerance: all three were rounded to single precision (at most 6e-8
 * each below 2), and the delayed term's slope is at most 0.2 * 2.03 in size: 1.4e-7, and twice as much again. */
static void mackey_glass_equation(void)
{
    float *x = need(ROWS * LANES, sizeof *x);
    task_mackey_glass(3, ROWS, LANES, x);
    double worst = 0;
    for (int64_t i = 17 * LANES; i < ROWS * LANES; i++) {
        double now = x[i - LANES];
        double past = x[i - 17 * LANES];
        worst = fmax(worst, fabs(x[i] - (0.9 * now + 0.2 * past / (1 + pow(past, 10)))));
    }
    tap_ok(worst <= 4e-7, "mackey-glass: the difference equation holds (%.1e)", worst);
    /* u / (1 + u^10) is at most 0.7225, so what starts below 0.2 * 0.7225 / 0.1 = 1.445 stays there; 0.2 is seen */
    tap_ok(least(x, ROWS * LANES) > 0.2 && most(x, ROWS * LANES) < 1.445, "mackey-glass: in (0.2, 1.445)");
    double far = 0;
    for (int64_t t = ROWS / 2; t < ROWS; t++)
        far = fmax(far, fabs((double)x[t * LANES] - x[t * LANES + 1]));
    tap_ok(far > 0.2, "mackey-glass: lanes are different series (%.2f apart)", far);
    free(x);
}

/* The two wings lie around x = +-sqrt(72); the attractor's x stays within 20. */
static void lorenz_attractor(void)
{
    float *x = need(ROWS * LANES, sizeof *x);
    task_lorenz(3, ROWS, LANES, x);
    tap_ok(least(x, ROWS * LANES) > -25 && most(x, ROWS * LANES) < 25, "lorenz: within 25");
    tap_ok(least(x, ROWS * LANES) < -sqrt(72) && most(x, ROWS * LANES) > sqrt(72), "lorenz: round both fixed points");
    double step = 0;
    for (int64_t i = LANES; i < ROWS * LANES; i++)
        step = fmax(step, fabs((double)x[i] - x[i - LANES]));
    tap_ok(step < 5, "lorenz: no step above 5 (%.2f)", step);
    double squares = 0;
    for (int64_t i = 0; i < ROWS * LANES; i++)
        squares += (double)x[i] * x[i];
    /* 67.9 in long runs with steps of this length; 65 with 27 in place of 28 */
    tap_ok(fabs(squares / (ROWS * LANES) - 67.9) < 1, "lorenz: mean square %.2f", squares / (ROWS * LANES));
    free(x);
}

/* Mean and variance to rounding of single precision, over the rows that they are taken from and only those. */
static void normalised(void)
{
    enum { FROM = 64, TO = 1064 };
    float *x = need(ROWS * LANES, sizeof *x);
    float *raw = need(ROWS * LANES, sizeof *raw);
    task_lorenz(4, ROWS, LANES, raw);
    memcpy(x, raw, sizeof *x * ROWS * LANES);
    task_normalise(ROWS, LANES, FROM, TO, x);
    for (int lane = 0; lane < LANES; lane += LANES - 1) {
        double sum = 0;
        double squares = 0;
        for (int64_t t = FROM; t < TO; t++) {
            sum += x[t * LANES + lane];
            squares += (double)x[t * LANES + lane] * x[t * LANES + lane];
        }
        tap_near(sum / (TO - FROM), 0, 1e-6, "normalised: mean of lane %d", lane);
        tap_near(squares / (TO - FROM), 1, 1e-6, "normalised: variance of lane %d", lane);
    }
    double slope = (x[LANES] - x[0]) / (raw[LANES] - raw[0]);
    double last = (x[(ROWS - 1) * LANES] - x[0]) / (raw[(ROWS - 1) * LANES] - raw[0]);
    tap_near(last, slope, 1e-3, "normalised: rows outside are scaled alike");
    float constant[4] = {7, 7, 7, 7};
    task_normalise(4, 1, 0, 4, constant);
    tap_ok(constant[0] == 0 && constant[3] == 0, "normalised: a constant becomes 0");
    free(x);
    free(raw);
}

static void sunspots(void)
{
    enum { T = 700, B = 3 };
    float x[T * B] = {0};
    tap_ok(task_sunspots("/nowhere/at/all.csv", 1, T, B, x) == 0 && x[0] == 0, "sunspots: no file, no numbers");
    int64_t years = task_sunspots("../shared/data/sunspots_yearly.csv", 1, T, B, x);
    if (!years) {
        tap_skip("../shared/data/sunspots_yearly.csv is not there", "sunspots: the yearly numbers");
        return;
    }
    tap_ok(years == 309, "sunspots: 309 years, 1700 to 2008 (%lld)", (long long)years);
    int again = 1;
    int shifted = 1;
    for (int64_t t = 0; t + years < T; t++)
        again &= x[t * B] == x[(t + years) * B];
    for (int64_t t = 0; t < years; t++)
        shifted &= x[t * B + 1] == x[(t + years / B) * B];
    tap_ok(again, "sunspots: from the start again after the last");
    tap_ok(shifted, "sunspots: lanes a third apart");
    tap_ok(least(x, T * B) == 0 && fabs(most(x, T * B) - 190.2) < 0.01, "sunspots: none in 1711, 190.2 in 1957");
}

/* ---- copying ---- */

/* How many answers a machine that repeats what it was shown gets wrong, in a lane. */
static int64_t repeat_errors(int64_t T, int64_t B, const int32_t *input, const int32_t *target)
{
    int32_t shown[2 * ROWS];
    int64_t count = 0;
    int64_t place = 0;
    int64_t errors = 0;
    for (int64_t t = 0; t < T; t++) {
        int32_t answer = 0;
        if (input[t * B] != 0) {
            count = input[t * B] == 1 || place ? 0 : count;
            place = 0;
            shown[count++] = input[t * B];
        } else {
            answer = place < count ? shown[place] : -1;
            place++;
        }
        errors += answer != target[t * B];
    }
    return errors;
}

/* Counts the blocks of a lane that stand in it from their marker to the last blank, by length; 0 where one is odd. */
static int count_lengths(int64_t T, int64_t B, const int32_t *input, int64_t count[TASK_COPY_LONGEST + 1])
{
    int64_t begin = -1;
    for (int64_t t = 0; t < T; t++) {
        if (input[t * B] != 1)
            continue;
        int64_t length = t - begin;
        if (begin >= 0 && (length % 2 || length > 2 * TASK_COPY_LONGEST))
            return 0;
        if (begin >= 0)
            count[length / 2]++;
        begin = t;
    }
    return 1;
}

/* Every length asked for, and no other. */
static int lengths_are(const int64_t count[TASK_COPY_LONGEST + 1], int shortest, int longest)
{
    for (int length = 0; length <= TASK_COPY_LONGEST; length++)
        if ((count[length] > 0) != (length >= shortest && length <= longest))
            return 0;
    return 1;
}

/* Only the lane's first block may be seen in part: at most `longest` answers of it were not shown. */
static void copy_answers(int shortest, int longest)
{
    enum { B = 16 };
    int32_t *input = need(ROWS * B, sizeof *input);
    int32_t *target = need(ROWS * B, sizeof *target);
    task_copy(5, shortest, longest, 0, ROWS, B, input, target);
    int64_t worst = 0;
    int64_t count[TASK_COPY_LONGEST + 1] = {0};
    int whole = 1;
    int symbols = 1;
    for (int b = 0; b < B; b++) {
        int64_t errors = repeat_errors(ROWS, B, input + b, target + b);
        worst = errors > worst ? errors : worst;
        whole &= count_lengths(ROWS, B, input + b, count);
    }
    for (int64_t i = 0; i < ROWS * B; i++)
        symbols &= input[i] >= 0 && input[i] < TASK_COPY_SYMBOLS && (input[i] == 0 || target[i] == 0);
    tap_ok(worst <= longest, "copy %d..%d: answers are what was shown (%lld before)", shortest, longest,
           (long long)worst);
    tap_ok(whole && lengths_are(count, shortest, longest), "copy %d..%d: these lengths", shortest, longest);
    tap_ok(symbols, "copy %d..%d: symbols below %d, an answer only to a blank", shortest, longest, TASK_COPY_SYMBOLS);
    free(input);
    free(target);
}

/* Of the answers of the published test sets (1000 steps, 64 lanes) 8.7 % were never shown with lengths 5..10, 0.7 %
 * with length 10; the bounds leave room for another draw of the 64 tails. The last lane is shifted once only: whole. */
static void copy_spliced(void)
{
    enum { T = 1000, B = 64 };
    int32_t *input = need(T * B, sizeof *input);
    int32_t *target = need(T * B, sizeof *target);
    for (int shortest = 5; shortest <= 10; shortest += 5) {
        task_copy(6, shortest, 10, 1, T, B, input, target);
        int64_t errors = 0;
        for (int b = 0; b < B; b++)
            errors += repeat_errors(T, B, input + b, target + b);
        double share = (double)errors / (T * B);
        double low = shortest == 5 ? 0.04 : 0.002;
        double high = shortest == 5 ? 0.14 : 0.02;
        tap_ok(share > low && share < high, "copy %d..10 spliced: %.1f %% were never shown", shortest, 100 * share);
        int64_t last = repeat_errors(T, B, input + B - 1, target + B - 1);
        tap_ok(last <= 10, "copy %d..10 spliced: the last lane is whole", shortest);
    }
    free(input);
    free(target);
}

/* Blocks of a lane differ, and lanes start at different places. */
static void copy_draws(void)
{
    enum { T = 400, B = 32 };
    int32_t input[T * B];
    int32_t target[T * B];
    int64_t count[TASK_COPY_SYMBOLS] = {0};
    task_copy(7, 10, 10, 0, T, B, input, target);
    for (int64_t i = 0; i < T * B; i++)
        count[input[i]]++;
    tap_ok(count[0] == T * B / 2 && count[1] == T * B / 20, "copy: half blank, one marker in twenty");
    for (int symbol = 2; symbol < TASK_COPY_SYMBOLS; symbol++) /* 1440 expected; five standard deviations are 165 */
        tap_ok(llabs(count[symbol] - 1440) < 165, "copy: symbol %d %lld times", symbol, (long long)count[symbol]);
    int starts = 0;
    for (int b = 1; b < B; b++)
        starts += (input[b] == 1) != (input[0] == 1) || (input[b] == 0) != (input[0] == 0);
    tap_ok(starts > 0, "copy: lanes start at different places");
}

static void copy_memory(int64_t blank)
{
    enum { B = 4 };
    int64_t T = task_copy_memory_steps(blank);
    int32_t *input = need((size_t)(T * B), sizeof *input);
    int32_t *target = need((size_t)(T * B), sizeof *target);
    task_copy_memory(8, blank, B, input, target);
    int right = 1;
    for (int64_t t = 0; t < T; t++) {
        for (int64_t b = 0; b < B; b++) {
            int32_t x = input[t * B + b];
            int32_t y = target[t * B + b];
            int32_t told = t < T - 10 ? 0 : input[(t - (T - 10)) * B + b];
            right &= t < 10 ? x >= 1 && x <= 8 : x == (t < T - 11 ? 0 : 9);
            right &= y == told;
        }
    }
    tap_ok(T == blank + 20 && right, "copy memory: %lld blanks, then the digits are asked for", (long long)blank);
    free(input);
    free(target);
}

/* ---- adding ---- */

static int adding_lane(int64_t T, int64_t B, const float *input, float target)
{
    int marks = 0;
    float sum = 0;
    for (int64_t t = 0; t < T; t++) {
        const float *x = input + t * B * 2;
        if (!(x[0] >= 0 && x[0] < 1) || (x[1] != 0 && x[1] != 1))
            return 0;
        marks += x[1] == 1;
        sum += x[0] * x[1];
    }
    return marks == 2 && sum == target;
}

/* Always answering 1 costs the variance of a sum of two uniform numbers, 1/6, to five standard errors (the fourth
 * moment is 1/15). */
static void adding(int64_t T)
{
    enum { B = 2000 };
    float *input = need((size_t)(T * B * 2), sizeof *input);
    float target[B];
    task_adding(9, T, B, input, target);
    int right = 1;
    double squares = 0;
    double places = 0;
    for (int64_t b = 0; b < B; b++) {
        right &= adding_lane(T, B, input + 2 * b, target[b]);
        squares += (target[b] - 1.0) * (target[b] - 1.0);
        for (int64_t t = 0; t < T; t++)
            places += input[(t * B + b) * 2 + 1] * (double)t;
    }
    double error = sqrt((1.0 / 15 - 1.0 / 36) / B);
    tap_ok(right, "adding %lld: two marks in each lane, their sum is the target", (long long)T);
    tap_ok(fabs(squares / B - 1.0 / 6) < 5 * error, "adding %lld: answering 1 costs %.4f", (long long)T, squares / B);
    tap_ok(fabs(places / (2 * B) - (double)(T - 1) / 2) <= (double)T / 20, "adding %lld: places are spread evenly",
           (long long)T);
    free(input);
}

int main(void)
{
    series_by_number(task_mackey_glass, "mackey-glass");
    series_by_number(task_lorenz, "lorenz");
    mackey_glass_equation();
    lorenz_attractor();
    normalised();
    sunspots();
    copy_answers(10, 10);
    copy_answers(5, 10);
    copy_answers(1, TASK_COPY_LONGEST);
    copy_spliced();
    copy_draws();
    copy_memory(10);
    copy_memory(1000);
    adding(2);
    adding(200);
    return tap_done();
}
