/* dense.c - see dense.h. Golub and Van Loan, Matrix Computations, 4th edition: Householder reflections (5.1), bidiagonal form
 * (5.4.8), Hessenberg form (7.4.3), the implicit double-shift QR step (7.5.1); singular values of the bidiagonal matrix by
 * Sturm counts (8.4) on the symmetric tridiagonal one that has them with both signs (8.6.1), which keeps small ones exact. */
#include "dense.h"

#include <float.h>
#include <math.h>
#include <string.h>

/* Four sums side by side: what one processor does at once. */
double dense_dot(const double *a, const double *b, long n)
{
    double sum[4] = {0};
    long i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++)
            sum[k] += a[i + k] * b[i + k];
    for (; i < n; i++)
        sum[0] += a[i] * b[i];
    return sum[0] + sum[1] + (sum[2] + sum[3]);
}

static void add_scaled(double *restrict to, double factor, const double *restrict from, long n)
{
    for (long i = 0; i < n; i++)
        to[i] += factor * from[i];
}

static int is_finite(const double *a, long n)
{
    int good = 1;
    for (long i = 0; i < n; i++)
        good &= isfinite(a[i]);
    return good;
}

/* The reflection I - beta v v^T that takes x [n] to a multiple of its first axis, which is returned; v takes x's place. */
static double reflect(double *x, long n, double *beta)
{
    double most = 0;
    for (long i = 0; i < n; i++)
        most = fabs(x[i]) > most ? fabs(x[i]) : most;
    *beta = 0;
    if (n < 2 || most == 0)
        return n ? x[0] : 0;
    double square = 0;
    for (long i = 0; i < n; i++) {
        x[i] /= most;                      /* no square may overflow or vanish */
        square += x[i] * x[i];
    }
    double length = x[0] > 0 ? -sqrt(square) : sqrt(square), first = x[0];
    x[0] = first - length;
    *beta = 1 / (square - first * length);
    return length * most;
}

/* a [rows][n..] -= beta v (v^T a), on `columns` columns from a on. */
static void reflect_rows(double *a, long stride, long rows, long columns, const double *v, double beta, double *work)
{
    memset(work, 0, (size_t)columns * sizeof *work);
    for (long i = 0; i < rows; i++)
        add_scaled(work, v[i], a + i * stride, columns);
    for (long i = 0; i < rows; i++)
        add_scaled(a + i * stride, -beta * v[i], work, columns);
}

/* a -= beta (a v) v^T */
static void reflect_columns(double *a, long stride, long rows, long columns, const double *v, double beta)
{
    for (long i = 0; i < rows; i++)
        add_scaled(a + i * stride, -beta * dense_dot(a + i * stride, v, columns), v, columns);
}

/* ---- singular values ---- */

/* a to the diagonal and what stands above it, one behind the other: d_0 e_0 d_1 e_1 .. d_{n-1}, into b. */
static void bidiagonal(double *a, long n, double *b, double *v, double *work)
{
    for (long k = 0; k < n; k++) {
        double beta;
        for (long i = k; i < n; i++)
            v[i] = a[i * n + k];
        b[2 * k] = reflect(v + k, n - k, &beta);
        reflect_rows(a + k * n + k + 1, n, n - k, n - k - 1, v + k, beta, work);
        if (k + 1 == n)
            return;
        double *row = a + k * n + k + 1;
        b[2 * k + 1] = reflect(row, n - k - 1, &beta);
        reflect_columns(row + n, n, n - k - 1, n - k - 1, row, beta);
    }
}

/* How many singular values lie below x: of the tridiagonal matrix with zero diagonal and b beside it the eigenvalues are the
 * singular values with both signs. */
static long count_below(const double *b, long n, double x)
{
    double q = -x;
    long negative = q < 0;
    for (long i = 0; i < 2 * n - 1; i++) {
        double divisor = fabs(q) < DBL_MIN ? -DBL_MIN : q;
        q = -x - b[i] * (b[i] / divisor);
        negative += q < 0;
    }
    return negative - n;
}

/* The one that `below` lie below. */
static double bisect(const double *b, long n, long below, double high)
{
    double low = 0;
    for (int i = 0; i < 1100 && high - low > 2 * DBL_EPSILON * high; i++) {
        double middle = low + (high - low) / 2;
        if (middle <= low || middle >= high)
            break;
        if (count_below(b, n, middle) > below)
            high = middle;
        else
            low = middle;
    }
    return high > DBL_MIN ? high : 0;
}

void dense_singular(double *a, long n, double *work, double *largest, double *smallest)
{
    double *b = work, bound = 0;
    *largest = *smallest = NAN;
    if (!is_finite(a, n * n))
        return;
    bidiagonal(a, n, b, work + 2 * n, work + 3 * n);
    for (long k = 0; k < n; k++)
        bound = fmax(bound, fabs(b[2 * k]) + (k ? fabs(b[2 * k - 1]) : 0) + (k + 1 < n ? fabs(b[2 * k + 1]) : 0));
    bound = bound * (1 + 1e-12) + DBL_MIN;
    *largest = bisect(b, n, n - 1, bound);
    *smallest = bisect(b, n, 0, bound);
}

/* ---- spectral radius ---- */

static void hessenberg(double *a, long n, double *work)
{
    for (long k = 0; k + 2 < n; k++) {
        double beta, *column = work;
        for (long i = k + 1; i < n; i++)
            column[i] = a[i * n + k];
        double below = reflect(column + k + 1, n - k - 1, &beta);
        reflect_columns(a + k + 1, n, n, n - k - 1, column + k + 1, beta);
        reflect_rows(a + (k + 1) * n + k + 1, n, n - k - 1, n - k - 1, column + k + 1, beta, work + n);
        a[(k + 1) * n + k] = below;
        for (long i = k + 2; i < n; i++)
            a[i * n + k] = 0;
    }
}

/* Of [a b; c d]. */
static double pair_radius(double a, double b, double c, double d)
{
    double half = (a - d) / 2, middle = (a + d) / 2, square = half * half + b * c;
    if (square < 0)
        return sqrt(fabs(middle * middle - square));
    return fabs(middle) + sqrt(square);
}

/* v [size] reflects rows and columns k, k + 1, .. of the block lo .. hi. */
static void chase(double *h, long n, long k, long size, long lo, long hi, const double *v, double beta)
{
    for (long j = k > lo ? k - 1 : lo; j <= hi; j++) {
        double sum = 0;
        for (long i = 0; i < size; i++)
            sum += v[i] * h[(k + i) * n + j];
        for (long i = 0; i < size; i++)
            h[(k + i) * n + j] -= beta * sum * v[i];
    }
    long last = k + 3 < hi ? k + 3 : hi;
    for (long i = lo; i <= last; i++) {
        double sum = 0, *row = h + i * n + k;
        for (long j = 0; j < size; j++)
            sum += row[j] * v[j];
        for (long j = 0; j < size; j++)
            row[j] -= beta * sum * v[j];
    }
}

/* One double-shift step on the block lo .. hi of three rows or more; shifts are the eigenvalues of [y . ; . x] whose other two
 * elements have the product w. Their differences from the diagonal, not the shifts, keep what is small where eigenvalues are
 * nearly multiple. */
static void francis(double *h, long n, long lo, long hi, double x, double y, double w)
{
    const double *r0 = h + lo * n + lo, *r1 = r0 + n, *r2 = r1 + n;
    double dx = x - r0[0], dy = y - r0[0], beta;
    double v[3] = {(dx * dy - w) / r1[0] + r0[1], r1[1] - r0[0] - dx - dy, r2[1]};
    for (long k = lo; k < hi; k++) {
        long size = hi - k + 1 < 3 ? hi - k + 1 : 3;
        if (k > lo)
            for (long i = 0; i < size; i++)
                v[i] = h[(k + i) * n + k - 1];
        reflect(v, size, &beta);
        chase(h, n, k, size, lo, hi, v, beta);
        for (long i = 1; k > lo && i < size; i++)
            h[(k + i) * n + k - 1] = 0;
    }
}

/* The first row of the block that ends with row hi: above it a subdiagonal element is nothing beside what reflections have
 * rounded anyway. A finer measure, beside its neighbours, may never be met where an eigenvalue is multiple. */
static long block_start(double *h, long n, long hi, double rounding)
{
    long lo = hi;
    while (lo > 0 && fabs(h[lo * n + lo - 1]) > rounding)
        lo--;
    if (lo > 0)
        h[lo * n + lo - 1] = 0;
    return lo;
}

double dense_radius(double *a, long n, double *work)
{
    double most = 0, norm = 0;
    if (!is_finite(a, n * n))
        return NAN;
    for (long i = 0; i < n; i++)
        norm = hypot(norm, sqrt(dense_dot(a + i * n, a + i * n, n)));
    hessenberg(a, n, work);
    int tries = 0;
    for (long hi = n - 1; hi >= 0;) {
        long lo = block_start(a, n, hi, (double)n * DBL_EPSILON * norm);
        const double *last = a + hi * n + hi, *before = last - n;
        if (lo == hi || lo + 1 == hi) {
            most = fmax(most, lo == hi ? fabs(*last) : pair_radius(before[-1], before[0], last[-1], last[0]));
            hi = lo - 1;
            tries = 0;
            continue;
        }
        if (tries++ == 300)
            return NAN;
        double x = last[0], y = before[-1], w = last[-1] * before[0];
        if (tries % 10 == 0) {             /* a step out of a circle */
            double size = fabs(last[-1]) + fabs(before[-2]);
            x = y = 0.75 * size;
            w = -0.4375 * size * size;
        }
        francis(a, n, lo, hi, x, y, w);
    }
    return most;
}

/* ---- products ---- */

/* Gram-Schmidt, modified, and once more where cancellation took much away. */
void dense_orthonormal(double *q, long columns, long n, double *scale)
{
    for (long c = 0; c < columns; c++) {
        double *v = q + c * n, before = sqrt(dense_dot(v, v, n)), after = before;
        for (int round = 0; round < 2 && (round == 0 || after < 0.7 * before); round++) {
            for (long k = 0; k < c; k++)
                add_scaled(v, -dense_dot(q + k * n, v, n), q + k * n, n);
            after = sqrt(dense_dot(v, v, n));
        }
        scale[c] = after;
        for (long i = 0; i < n && after > 0; i++)
            v[i] /= after;
    }
}

void dense_multiply(const double *a, const double *b, long n, double *c)
{
    for (long i = 0; i < n; i++) {
        memset(c + i * n, 0, (size_t)n * sizeof *c);
        for (long k = 0; k < n; k++)
            if (a[i * n + k] != 0)
                add_scaled(c + i * n, a[i * n + k], b + k * n, n);
    }
}

void dense_apply(const double *a, long n, int transposed, const double *x, double *y)
{
    if (transposed)
        memset(y, 0, (size_t)n * sizeof *y);
    for (long i = 0; i < n; i++) {
        if (transposed)
            add_scaled(y, x[i], a + i * n, n);
        else
            y[i] = dense_dot(a + i * n, x, n);
    }
}
