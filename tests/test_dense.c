/* test_dense.c - singular values, spectral radius and thin QR of matrices that were made so that these are known. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../src/base/random.h"
#include "../src/study/dense.h"
#include "tap.h"

enum { MOST = 60 };

static double drawn(uint64_t i)
{
    struct random_stream stream = random_open(3, RANDOM_CHECK, 1);
    return random_normal(&stream, i);
}

/* a -> H a and a -> a H for the reflection H of a drawn direction: orthogonal, so nothing that is looked at changes. */
static void turn(double *a, long n, uint64_t seed, int left, int right)
{
    double v[MOST], square = 0;
    for (long i = 0; i < n; i++) {
        v[i] = drawn(seed * 1000 + (uint64_t)i);
        square += v[i] * v[i];
    }
    for (long c = 0; left && c < n; c++) {
        double sum = 0;
        for (long i = 0; i < n; i++)
            sum += v[i] * a[i * n + c];
        for (long i = 0; i < n; i++)
            a[i * n + c] -= 2 * sum / square * v[i];
    }
    for (long r = 0; right && r < n; r++) {
        double sum = 0;
        for (long i = 0; i < n; i++)
            sum += v[i] * a[r * n + i];
        for (long i = 0; i < n; i++)
            a[r * n + i] -= 2 * sum / square * v[i];
    }
}

static double off(double value, double expected)
{
    return fabs(value - expected) / fmax(1e-300, fabs(expected));
}

/* Diagonal 1 .. n over 10^decades, turned from both sides by different reflections. */
static void test_singular(long n, double decades)
{
    double a[MOST * MOST] = {0}, work[4 * MOST], largest, smallest;
    for (long i = 0; i < n; i++)
        a[i * n + i] = (i % 2 ? -1 : 1) * pow(10, n > 1 ? -decades * (double)i / (double)(n - 1) : 0);
    for (uint64_t k = 1; k <= 4; k++) {
        turn(a, n, k, 1, 0);
        turn(a, n, k + 10, 0, 1);
    }
    dense_singular(a, n, work, &largest, &smallest);
    /* turning rounds relative to the largest value */
    double least = n > 1 ? pow(10, -decades) : 1, tolerance = 1e-14 * (double)n;
    tap_ok(off(largest, 1) <= tolerance && fabs(smallest - least) <= tolerance,
       "singular values of %ld rows over %g decades: %.17g and %.17g", n, decades, largest, smallest);
}

/* Eigenvalues in blocks of one and two above which anything stands, turned alike from both sides. */
static void test_radius(long n, int pairs)
{
    double a[MOST * MOST] = {0}, work[2 * MOST], expected = 0;
    for (long i = 0; i < n; i++)
        for (long j = i + 1; j < n; j++)
            a[i * n + j] = 0.1 * drawn((uint64_t)(i * n + j));
    for (long i = 0; i < n; i++) {
        double value = 0.3 + 1.2 * (double)((i * 11) % n) / (double)n, other = 0.5 * value;
        int pair = pairs && i % 3 == 0 && i + 1 < n;
        a[i * n + i] = i % 2 ? -value : value;
        expected = fmax(expected, pair ? hypot(value, other) : value);
        if (pair) {                        /* value +- other i */
            a[(i + 1) * n + i + 1] = a[i * n + i];
            a[i * n + i + 1] = other;
            a[(i + 1) * n + i] = -other;
            i++;
        }
    }
    for (uint64_t k = 1; k <= 4; k++)
        turn(a, n, k, 1, 1);
    double radius = dense_radius(a, n, work);
    /* eigenvalues of a matrix that is not normal move by more than it was rounded */
    tap_ok(off(radius, expected) <= 1e-11 * (double)n, "spectral radius of %ld rows%s: %.17g, expected %.17g", n,
       pairs ? " with complex pairs" : "", radius, expected);
}

static double radius_of(const double *a, long n)
{
    double copy[MOST * MOST], work[2 * MOST];
    memcpy(copy, a, (size_t)(n * n) * sizeof *copy);
    return dense_radius(copy, n, work);
}

static void test_special(void)
{
    static const double zero[16] = {0}, cycle[9] = {0, 1, 0, 0, 0, 1, 1, 0, 0}, shift[9] = {0, 1, 0, 0, 0, 1, 0, 0, 0};
    static const double turns[16] = {0, -1, 0, 0, 1, 0, 0, 0, 0, 0, 0, -1, 0, 0, 1, 0};
    double bad[4] = {1, NAN, 0, 1}, empty[16] = {0}, work[16], largest, smallest;
    tap_ok(radius_of(zero, 4) == 0, "the zero matrix has radius 0");
    tap_ok(off(radius_of(cycle, 3), 1) <= 1e-14, "a cycle of three, on which plain shifts turn round for ever: %.17g",
           radius_of(cycle, 3));
    tap_ok(radius_of(shift, 3) <= 1e-100, "a nilpotent matrix: %g", radius_of(shift, 3));
    tap_ok(off(radius_of(turns, 4), 1) <= 1e-14, "two rotations: %.17g", radius_of(turns, 4));
    dense_singular(empty, 4, work, &largest, &smallest);
    tap_ok(largest == 0 && smallest == 0, "singular values of the zero matrix: %g and %g", largest, smallest);
    dense_singular(bad, 2, work, &largest, &smallest);
    tap_ok(isnan(largest) && isnan(smallest) && isnan(radius_of((double[]){1, NAN, 0, 1}, 2)), "NaN in a matrix gives NaN");
}

static void test_orthonormal(void)
{
    enum { N = 50, COLUMNS = 5 };
    double q[COLUMNS * N], first[N], scale[COLUMNS], worst = 0;
    for (long i = 0; i < COLUMNS * N; i++)
        q[i] = drawn((uint64_t)i) + (i >= N ? 1e6 * q[i % N] : 0);     /* nearly parallel: one round would not do */
    memcpy(first, q, sizeof first);
    double norm = sqrt(dense_dot(first, first, N));
    dense_orthonormal(q, COLUMNS, N, scale);
    for (long i = 0; i < COLUMNS; i++)
        for (long k = 0; k < COLUMNS; k++)
            worst = fmax(worst, fabs(dense_dot(q + i * N, q + k * N, N) - (i == k)));
    tap_ok(worst <= 1e-14 && off(scale[0], norm) <= 1e-14, "columns nearly parallel become orthonormal to rounding: off by %g",
           worst);
}

int main(void)
{
    static const long sizes[] = {1, 2, 3, 4, 7, 20, 60};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        test_singular(sizes[i], 3);
        test_singular(sizes[i], 14);
        test_radius(sizes[i], 0);
        test_radius(sizes[i], 1);
    }
    test_special();
    test_orthonormal();
    return tap_done();
}
