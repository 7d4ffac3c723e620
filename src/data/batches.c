/* batches.c - from step to window. Each target is the token that follows, so `count` tokens hold count - 1 steps; all
 * bounds are settled by batches_init, and a window needs no check. */
#include "batches.h"

#include <stdio.h>

#include "../base/random.h"

/* What would fit: fewer rows, shorter windows, or one row of all there is. */
static void advise(long long steps, long long rows, long long length, char *advice, size_t size)
{
    if (steps < 1)
        snprintf(advice, size, "nothing to predict, use more text");
    else if (rows > 1 && steps >= rows && steps >= length)
        snprintf(advice, size, "use --batch %lld or --length %lld or less, or more text", steps / length, steps / rows);
    else if (rows > 1 && steps >= length)
        snprintf(advice, size, "use --batch %lld or less, or more text", steps / length);
    else if (steps >= rows)
        snprintf(advice, size, "use --length %lld or less, or more text", steps / rows);
    else
        snprintf(advice, size, "use a smaller --batch and --length, %lld steps in all, or more text", steps);
}

static int fail_short(const struct batches *batches, const char *what, bptt_error *error)
{
    long long count = (long long)batches->count;
    long long rows = batches->random ? 1 : (long long)batches->batch;
    long long length = (long long)batches->length;
    char advice[128];
    advise(count - 1, rows, length, advice, sizeof advice);
    return fail(error, BPTT_ERROR_ARGUMENT,
                "%s is too short: %lld symbols, where --batch %lld --length %lld needs %lld; %s", what,
                count, (long long)batches->batch, length, rows * length + 1, advice);
}

int batches_init(struct batches *batches, const int32_t *token, int64_t count, int64_t batch, int64_t length,
                 int random, uint64_t seed, const char *what, bptt_error *error)
{
    if (batch < 1 || batch > INT32_MAX || length < 1 || length > INT32_MAX)
        return fail(error, BPTT_ERROR_ARGUMENT, "--batch %lld, --length %lld: both must be from 1 to %d",
                    (long long)batch, (long long)length, INT32_MAX);
    *batches = (struct batches){.token = token, .count = count, .batch = batch, .length = length, .random = random != 0,
                                .seed = seed};
    batches->stretch = count > 0 ? (count - 1) / batch : 0;
    if ((random ? count - 1 : batches->stretch) < length)
        return fail_short(batches, what, error);
    return BPTT_OK;
}

int64_t batches_per_epoch(const struct batches *batches)
{
    int64_t windows = batches->stretch / batches->length;
    return windows > 0 ? windows : 1;
}

/* Where a row of a window starts. */
static int64_t window_start(const struct batches *batches, const struct random_stream *stream, int64_t step,
                            int64_t row)
{
    if (!batches->random)
        return row * batches->stretch + step % batches_per_epoch(batches) * batches->length;
    uint64_t index = (uint64_t)step * (uint64_t)batches->batch + (uint64_t)row;
    return (int64_t)(random_uniform(stream, index) * (double)(batches->count - batches->length));
}

int batches_window(const struct batches *batches, int64_t step, int32_t *x, int32_t *y)
{
    struct random_stream stream = random_open(batches->seed, RANDOM_WINDOW, 0);
    for (int64_t row = 0; row < batches->batch; row++) {
        const int32_t *from = batches->token + window_start(batches, &stream, step, row);
        for (int64_t t = 0; t < batches->length; t++) {
            x[t * batches->batch + row] = from[t];
            y[t * batches->batch + row] = from[t + 1];
        }
    }
    return batches->random || step % batches_per_epoch(batches) == 0;
}

void split_validation(int64_t count, double share, int64_t *train, int64_t *valid)
{
    double kept = share > 0 ? (double)count * share : 0;
    *valid = share >= 1 ? count : (int64_t)kept;
    *train = count - *valid;
}
