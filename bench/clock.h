/* clock.h - time and order statistics for benches. */
#ifndef BPTT_BENCH_CLOCK_H
#define BPTT_BENCH_CLOCK_H

#include <stdlib.h>
#include <time.h>

static inline double clock_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static inline int clock_compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return a < b ? -1 : a > b;
}

/* Sorts the values. */
static inline double clock_median(double *value, int count)
{
    qsort(value, (size_t)count, sizeof *value, clock_compare);
    return count % 2 ? value[count / 2] : 0.5 * (value[count / 2 - 1] + value[count / 2]);
}

#endif
