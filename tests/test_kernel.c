/* test_kernel.c - every table of kernels that this machine can run, against plain loops in long double, over ragged
 * sizes; and that bits do not depend on how the work is split. Each comparison is |got - want| <= bound, where the
 * bound follows from the rounding of the sum in question (Higham 2002, section 3.1): n additions and products of
 * unit roundoff u leave at most about n u times the sum of the magnitudes, whatever the order. So the tolerances
 * hold for any correct kernel. */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/base/random.h"
#include "../src/kernel/kernel.h"
#include "tap.h"

/* ---- numbers of either precision ---- */

static const struct kernels *table;
static char title[64];
static double unit;                        /* unit roundoff of the table's numbers */

static double get(const void *x, long i)
{
    return table->precision == PRECISION_F32 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

static void put(void *x, long i, double value)
{
    if (table->precision == PRECISION_F32)
        ((float *)x)[i] = (float)value;
    else
        ((double *)x)[i] = value;
}

static void *at(void *x, long i) { return (char *)x + i * table->element_size; }

static void *numbers(long count)
{
    size_t bytes = (size_t)(count * table->element_size + 63) / 64 * 64 + 64;
    void *memory = aligned_alloc(64, bytes);
    if (!memory)
        abort();
    memset(memory, 0, bytes);
    return memory;
}

static void randomise(void *x, long count, uint32_t purpose)
{
    struct random_stream stream = {{17, 4}, purpose, 0};
    for (long i = 0; i < count; i++)
        put(x, i, 2 * random_uniform(&stream, (uint64_t)i) - 1);
}

static void *random_numbers(long count, uint32_t purpose)
{
    void *x = numbers(count);
    randomise(x, count, purpose);
    return x;
}

static int same_bytes(const void *a, const void *b, long count)
{
    return memcmp(a, b, (size_t)(count * table->element_size)) == 0;
}

/* ---- the worst |got - want| / bound of many comparisons: one line for all of them ---- */

static double worst;
static char worst_place[96];

static void expect(double got, long double want, long double bound, const char *what, long i, long j)
{
    double ratio = got == (double)want ? 0 : (double)(fabsl(got - want) / (bound + (long double)DBL_MIN));
    if (ratio <= worst || worst != worst) /* a NaN stays */
        return;
    worst = ratio;
    snprintf(worst_place, sizeof worst_place, "%s [%ld, %ld]: %.9g, want %.9g", what, i, j, got, (double)want);
}

static void report(const char *kernel, const char *reason)
{
    if (!tap_ok(worst <= 1, "%s %s: within %s", title, kernel, reason))
        tap_note("%.3g times the bound at %s", worst, worst_place);
    worst = 0;
}

static const long sizes[] = {1, 2, 5, 6, 7, 12, 13, 16, 17, 31, 33, 64, 100};
enum { SIZES = sizeof sizes / sizeof *sizes };

/* ---- c = a B ---- */

/* m = 1 runs twice: by gemm and by gemv, which has another order of sums. */
static void multiply(int by_row, long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc,
                     int accumulate)
{
    if (by_row)
        table->gemv(n, k, a, packed, c, accumulate);
    else
        table->gemm(m, n, k, a, lda, packed, c, ldc, accumulate);
}

static void check_gemm(int by_row, long m, long n, long k, int accumulate, int transposed)
{
    long lda = padded(k);
    long ldc = padded(n) + 16;
    void *a = random_numbers(m * lda, 1);
    void *w = random_numbers(n * k, 2);
    void *c = random_numbers(m * ldc, 3);
    void *before = random_numbers(m * ldc, 3);
    void *packed = numbers(padded(n) * k);
    long ks = transposed ? 1 : n;
    long ns = transposed ? k : 1;
    table->pack(k, n, w, ks, ns, packed);
    multiply(by_row, m, n, k, a, lda, packed, c, ldc, accumulate);
    for (long i = 0; i < m; i++)
        for (long j = 0; j < ldc; j++) {
            long double sum = accumulate ? get(before, i * ldc + j) : 0;
            long double size = fabsl(sum);
            for (long l = 0; l < k && j < n; l++) {
                long double term = (long double)get(a, i * lda + l) * get(w, l * ks + j * ns);
                sum += term;
                size += fabsl(term);
            }
            if (j < n)
                expect(get(c, i * ldc + j), sum, (double)(k + 2) * unit * size, "c", i, j);
            else if (j < padded(n))
                expect(get(c, i * ldc + j), accumulate ? get(before, i * ldc + j) : 0, 0, "padding of c", i, j);
            else
                expect(get(c, i * ldc + j), get(before, i * ldc + j), 0, "beyond c", i, j);
        }
    free(a);
    free(w);
    free(c);
    free(before);
    free(packed);
}

static void test_gemm(void)
{
    for (int m = 0; m < SIZES; m++)
        for (int n = 0; n < SIZES; n++)
            for (int k = 0; k < SIZES; k++)
                check_gemm(0, sizes[m], sizes[n], sizes[k], (m + n + k) % 2, (m + k) % 2);
    check_gemm(0, 3, 33, 513, 0, 1); /* more than one block of k, of rows, of columns */
    check_gemm(0, 200, 17, 257, 1, 0);
    check_gemm(0, 70, 20, 2100, 1, 0);
    check_gemm(0, 5, 1100, 40, 0, 0);
    report("gemm", "(k + 2) u sum |a b|, as k products are rounded and added");
    for (int n = 0; n < SIZES; n++)
        for (int k = 0; k < SIZES; k++)
            check_gemm(1, 1, sizes[n], sizes[k], (n + k) % 2, k % 2);
    report("gemv", "(k + 2) u sum |a b|, as k products are rounded and added");
}

static void test_gemm_edges(void)
{
    void *a = random_numbers(16, 1);
    void *packed = numbers(16);
    void *c = random_numbers(48, 2);
    table->gemm(2, 5, 0, a, 16, packed, c, 16, 0);
    int zero = 1;
    for (long i = 0; i < 32; i++)
        zero &= get(c, i) == 0;
    tap_ok(zero && get(c, 32) != 0, "%s gemm: a sum of nothing is zero", title);
    table->gemm(0, 5, 1, a, 16, packed, c, 16, 0);
    tap_ok(get(c, 32) != 0, "%s gemm: no rows", title);
    put(a, 0, NAN);
    table->pack(1, 1, a, 1, 1, packed);
    put(a, 0, 1);
    table->gemm(1, 1, 1, a, 16, packed, c, 16, 0);
    tap_ok(isnan(get(c, 0)), "%s gemm: NaN goes through", title);
    free(a);
    free(packed);
    free(c);
}

/* Two calls for two parts against one call for the whole. */
static void test_gemm_split(void)
{
    enum { M = 211, N = 112, K = 300, LD = 304 };
    void *a = random_numbers(M * LD, 1);
    void *w = random_numbers(N * K, 2);
    void *packed = numbers(N * K);
    void *whole = numbers(M * N);
    void *parts = numbers(M * N);
    table->pack(K, N, w, 1, K, packed);
    table->gemm(M, N, K, a, LD, packed, whole, N, 0);
    int rows_same = 1;
    int columns_same = 1;
    for (long cut = 1; cut < M; cut += cut < 20 ? 1 : 37) {
        table->gemm(cut, N, K, a, LD, packed, parts, N, 0);
        table->gemm(M - cut, N, K, at(a, cut * LD), LD, packed, at(parts, cut * N), N, 0);
        rows_same &= same_bytes(whole, parts, M * N);
    }
    for (long cut = 16; cut < N; cut += 16) {
        table->gemm(M, cut, K, a, LD, packed, parts, N, 0);
        table->gemm(M, N - cut, K, a, LD, at(packed, cut * K), at(parts, cut), N, 0);
        columns_same &= same_bytes(whole, parts, M * N);
    }
    tap_ok(rows_same, "%s gemm: the same bits however rows are split", title);
    tap_ok(columns_same, "%s gemm: the same bits however columns are split", title);
    free(a);
    free(w);
    free(packed);
    free(whole);
    free(parts);
}

/* ---- c += a^T b ---- */

static void check_gemm_tn(long m, long n, long rows)
{
    long lda = padded(m);
    long ldb = padded(n) + 16;
    long ldc = n + 3;
    void *a = random_numbers(rows * lda, 1);
    void *b = random_numbers(rows * ldb, 2);
    void *c = random_numbers(m * ldc, 3);
    void *before = random_numbers(m * ldc, 3);
    void *scratch = numbers(table->gemm_tn_scratch(m, n, rows));
    for (long r = 0; r < rows; r++) { /* what lies in the padding must not matter */
        for (long j = m; j < lda; j++)
            put(a, r * lda + j, NAN);
        for (long j = n; j < ldb; j++)
            put(b, r * ldb + j, NAN);
    }
    table->gemm_tn(m, n, rows, a, lda, b, ldb, c, ldc, scratch);
    for (long i = 0; i < m; i++)
        for (long j = 0; j < ldc; j++) {
            long double sum = get(before, i * ldc + j);
            long double size = fabsl(sum);
            for (long r = 0; r < rows && j < n; r++) {
                long double term = (long double)get(a, r * lda + i) * get(b, r * ldb + j);
                sum += term;
                size += fabsl(term);
            }
            expect(get(c, i * ldc + j), sum, j < n ? (double)(rows + 2) * unit * size : 0, "c", i, j);
        }
    free(a);
    free(b);
    free(c);
    free(before);
    free(scratch);
}

static void test_gemm_tn(void)
{
    for (int m = 0; m < SIZES; m++)
        for (int n = 0; n < SIZES; n++)
            for (int rows = 0; rows < SIZES; rows++)
                check_gemm_tn(sizes[m], sizes[n], sizes[rows]);
    check_gemm_tn(3, 33, 513);
    check_gemm_tn(200, 17, 257);
    check_gemm_tn(7, 1100, 19);
    for (long n = 20; n <= 60; n++)          /* around one and two panels of three vectors, and what is left beside them */
        check_gemm_tn(n % 5 + 3, n, 9);
    check_gemm_tn(13, 1024 + 25, 40);        /* and behind a whole block of columns */
    report("gemm_tn", "(rows + 2) u sum |a b|, as rows products are rounded and added");
}

static void test_gemm_tn_split(void)
{
    enum { M = 211, N = 112, ROWS = 300, LDA = 224 };
    void *a = random_numbers(ROWS * LDA, 1);
    void *b = random_numbers(ROWS * N, 2);
    void *scratch = numbers(table->gemm_tn_scratch(M, N, ROWS));
    void *whole = random_numbers(M * N, 3);
    void *parts = numbers(M * N);
    table->gemm_tn(M, N, ROWS, a, LDA, b, N, whole, N, scratch);
    int rows_same = 1;
    int columns_same = 1;
    for (long cut = 1; cut < M; cut += cut < 20 ? 1 : 37) {
        randomise(parts, M * N, 3);
        table->gemm_tn(cut, N, ROWS, a, LDA, b, N, parts, N, scratch);
        table->gemm_tn(M - cut, N, ROWS, at(a, cut), LDA, b, N, at(parts, cut * N), N, scratch);
        rows_same &= same_bytes(whole, parts, M * N);
    }
    for (long cut = 16; cut < N; cut += 16) {
        randomise(parts, M * N, 3);
        table->gemm_tn(M, cut, ROWS, a, LDA, b, N, parts, N, scratch);
        table->gemm_tn(M, N - cut, ROWS, a, LDA, at(b, cut), N, at(parts, cut), N, scratch);
        columns_same &= same_bytes(whole, parts, M * N);
    }
    tap_ok(rows_same, "%s gemm_tn: the same bits however rows are split", title);
    tap_ok(columns_same, "%s gemm_tn: the same bits however columns are split", title);
    free(a);
    free(b);
    free(scratch);
    free(whole);
    free(parts);
}

/* ---- rows ---- */

static void test_column_sum(void)
{
    for (int s = 0; s < SIZES; s++) {
        long n = sizes[s];
        long rows = s % 2 ? 700 : 33;
        long lda = padded(n);
        void *a = random_numbers(rows * lda, 1);
        void *y = random_numbers(n + 1, 2);
        void *before = random_numbers(n + 1, 2);
        table->column_sum(rows, n, a, lda, y);
        for (long j = 0; j < n; j++) {
            long double sum = get(before, j);
            long double size = fabsl(sum);
            for (long r = 0; r < rows; r++) {
                sum += get(a, r * lda + j);
                size += fabs(get(a, r * lda + j));
            }
            expect(get(y, j), sum, (double)(rows + 1) * unit * size, "y", 0, j);
        }
        expect(get(y, n), get(before, n), 0, "beyond y", 0, n);
        free(a);
        free(y);
        free(before);
    }
    report("column_sum", "(rows + 1) u sum |a|, as that many numbers are added");
}

static void check_elementwise(long n)
{
    enum { ROWS = 3 };
    long ld = padded(n);
    void *a = random_numbers(ROWS * ld, 1);
    void *row = random_numbers(n, 2);
    void *c = random_numbers(ROWS * ld, 3);
    void *added = random_numbers(ROWS * ld, 3);
    void *multiplied = random_numbers(ROWS * ld, 3);
    void *with_row = random_numbers(ROWS * ld, 3);
    table->add(ROWS, n, a, ld, added, ld);
    table->multiply(ROWS, n, a, ld, multiplied, ld);
    table->add_row(ROWS, n, row, with_row, ld);
    for (long r = 0; r < ROWS; r++)
        for (long j = 0; j < n; j++) {
            double x = get(a, r * ld + j);
            double y = get(c, r * ld + j);
            expect(get(added, r * ld + j), y + x, unit * fabs(x + y), "add", r, j);
            expect(get(multiplied, r * ld + j), y * x, unit * fabs(x * y), "multiply", r, j);
            expect(get(with_row, r * ld + j), y + get(row, j), unit * fabs(y + get(row, j)), "add_row", r, j);
        }
    free(a);
    free(row);
    free(c);
    free(added);
    free(multiplied);
    free(with_row);
}

static void test_elementwise(void)
{
    for (int s = 0; s < SIZES; s++)
        check_elementwise(sizes[s]);
    report("add, multiply, add_row", "u, one rounding");
}

static void check_copies(long n)
{
    enum { ROWS = 4, TABLE = 9 };
    static const int32_t index[ROWS] = {8, 0, 8, 3};
    long ld = padded(n);
    void *words = random_numbers(TABLE * n, 1);
    void *before = random_numbers(TABLE * n, 1);
    void *out = numbers(ROWS * ld);
    table->gather(ROWS, n, index, words, n, out, ld);
    for (long r = 0; r < ROWS; r++)
        for (long j = 0; j < n; j++)
            expect(get(out, r * ld + j), get(words, index[r] * n + j), 0, "gather", r, j);
    long c0 = n / 3;
    table->scatter_add(ROWS, c0, n, index, out, ld, words, n);
    for (long i = 0; i < TABLE; i++)
        for (long j = 0; j < n; j++) {
            double x = get(before, i * n + j);
            int times = j < c0 ? 0 : (index[0] == i) + (index[1] == i) + (index[2] == i) + (index[3] == i);
            expect(get(words, i * n + j), x * (1 + times), times * unit * 3 * fabs(x), "scatter_add", i, j);
        }
    float *single = numbers(ROWS * (n + 1));
    double *whole = numbers(2 * ROWS * (n + 1));
    table->store_rows(ROWS, n, out, ld, single, 4, n + 1);
    table->store_rows(ROWS, n, out, ld, whole, 8, n + 1);
    void *from_single = random_numbers(ROWS * ld, 5);
    void *from_whole = random_numbers(ROWS * ld, 5);
    table->load_rows(ROWS, n, single, 4, n + 1, from_single, ld);
    table->load_rows(ROWS, n, whole, 8, n + 1, from_whole, ld);
    for (long r = 0; r < ROWS; r++)
        for (long j = 0; j < ld; j++) {
            double x = j < n ? get(out, r * ld + j) : 0;
            expect(get(from_single, r * ld + j), (float)x, 0, "through float", r, j);
            expect(get(from_whole, r * ld + j), x, 0, "through double", r, j);
        }
    expect(single[n] + whole[n], 0, 0, "beyond a row", 0, n);
    table->fill(n - 1, 2.5, out);
    expect(n > 1 ? get(out, n - 2) : 2.5, 2.5, 0, "fill", 0, n - 2);
    expect(get(out, n - 1) == 2.5, 0, 0, "beyond fill", 0, n - 1);
    free(words);
    free(before);
    free(out);
    free(single);
    free(whole);
    free(from_single);
    free(from_whole);
}

static void test_copies(void)
{
    for (int s = 0; s < SIZES; s++)
        check_copies(sizes[s]);
    report("gather, scatter_add, load_rows, store_rows, fill", "nothing: copies are exact (scatter_add rounds)");
}

/* The mask against its definition by random_block, which has known answers in test_base.c. */
static void test_dropout(void)
{
    enum { ROWS = 50, N = 70, LD = 80 };
    struct random_stream stream = random_open(99, RANDOM_DROPOUT, 3);
    const uint32_t key[4] = {stream.key[0], stream.key[1], stream.purpose, stream.layer};
    const uint64_t first = 0xfffffff0;
    void *mask = numbers(ROWS * LD);
    table->dropout_mask(key, first, ROWS, N, 0.8, mask, LD);
    long kept = 0;
    for (long r = 0; r < ROWS; r++)
        for (long j = 0; j < N; j++) {
            uint32_t word[4];
            struct random_stream block = stream;
            block.purpose += 256 * (uint32_t)(j / 4);
            random_block(&block, first + (uint64_t)r, word);
            int keep = word[j % 4] * 0x1p-32 < 0.8;
            kept += keep;
            expect(get(mask, r * LD + j), keep ? 1.25 : 0, unit, "mask", r, j);
        }
    report("dropout_mask", "u: only 1 / keep is rounded");
    tap_near((double)kept / (ROWS * N), 0.8, 0.02, "%s dropout_mask: the share kept (standard error 0.007)", title);
    table->dropout_mask(key, first, ROWS, N, 1, mask, LD);
    for (long r = 0; r < ROWS; r++)
        for (long j = 0; j < N; j++)
            expect(get(mask, r * LD + j), 1, 0, "mask", r, j);
    report("dropout_mask", "nothing: with keep = 1 all is kept");
    free(mask);
}

/* ---- losses ---- */

static void check_softmax(long n)
{
    enum { ROWS = 5 };
    long ld = padded(n);
    void *o = numbers(ROWS * ld);
    double x[128];
    double loss[ROWS];
    int32_t target[ROWS];
    for (long r = 0; r < ROWS; r++) {
        target[r] = (int32_t)(r * 7 % n);
        for (long j = 0; j < ld; j++)
            put(o, r * ld + j, j < n ? sin((double)(3 * r + j)) * (r == 2 ? 80 : 4) + (r == 3 ? 1e4 : 0) : NAN);
    }
    void *before = numbers(ROWS * ld);
    memcpy(before, o, (size_t)(ROWS * ld * table->element_size));
    table->softmax_cross_entropy(ROWS, n, o, ld, target, 0.125, loss);
    for (long r = 0; r < ROWS; r++) {
        double top = -INFINITY;
        double sum = 0;
        for (long j = 0; j < n; j++)
            top = fmax(top, x[j] = get(before, r * ld + j));
        for (long j = 0; j < n; j++)
            sum += exp(x[j] - top);
        double right = x[target[r]] - top;
        expect(loss[r], log(sum) - right, 4 * unit * (1 + fabs(right)), "loss", r, target[r]);
        for (long j = 0; j < n; j++) {
            double gradient = 0.125 * (exp(x[j] - top) / sum - (j == target[r]));
            expect(get(o, r * ld + j), gradient, 0.125 * (5 + fabs(x[j] - top)) * unit, "gradient", r, j);
        }
    }
    free(o);
    free(before);
}

static void test_softmax(void)
{
    for (int s = 0; s < SIZES; s++)
        check_softmax(sizes[s]);
    report("softmax_cross_entropy", "a few u: exp to 1.7 ulp, its argument and the products rounded");
    void *o = numbers(16);
    double loss[1];
    const int32_t target[1] = {1};
    put(o, 2, NAN);
    table->softmax_cross_entropy(1, 5, o, 16, target, 1, loss);
    tap_ok(isnan(loss[0]) && isnan(get(o, 0)), "%s softmax_cross_entropy: NaN goes through", title);
    free(o);
}

static void test_squared_error(void)
{
    enum { ROWS = 3 };
    for (int s = 0; s < SIZES; s++) {
        long n = sizes[s];
        long ld = padded(n);
        double loss[ROWS];
        void *o = random_numbers(ROWS * ld, 1);
        void *before = random_numbers(ROWS * ld, 1);
        void *target = random_numbers(ROWS * n, 2);
        for (long r = 0; r < ROWS; r++)
            for (long j = n; j < ld; j++)
                put(o, r * ld + j, NAN);
        table->squared_error(ROWS, n, o, ld, target, n, 0.25, loss);
        for (long r = 0; r < ROWS; r++) {
            double sum = 0;
            for (long j = 0; j < n; j++) {
                double d = get(before, r * ld + j) - get(target, r * n + j);
                sum += d * d;
                expect(get(o, r * ld + j), 0.5 * d, 2 * unit * fabs(d), "gradient", r, j);
            }
            expect(loss[r], sum, 4 * unit * sum, "loss", r, 0);
        }
        free(o);
        free(before);
        free(target);
    }
    report("squared_error", "4 u: a difference and its square are rounded, the sum is in double precision");
}

/* ---- optimisers ---- */

static void test_norm_and_clamp(void)
{
    for (int s = 0; s < SIZES; s++) {
        long n = sizes[s];
        void *g = random_numbers(n + 1, 1);
        void *before = random_numbers(n + 1, 1);
        long double sum = 0;
        for (long i = 0; i < n; i++)
            sum += (long double)get(g, i) * get(g, i);
        expect(table->sum_of_squares(n, g), sum, (double)n * DBL_EPSILON * sum, "sum", n, 0);
        put(g, n / 2, NAN);
        table->clamp(n, 0.5, g);
        for (long i = 0; i < n; i++)
            if (i != n / 2)
                expect(get(g, i), fmax(-0.5, fmin(0.5, get(before, i))), 0, "clamp", n, i);
        expect(get(g, n), get(before, n), 0, "beyond clamp", n, n);
        expect(isnan(get(g, n / 2)) && isnan(table->sum_of_squares(n, g)), 1, 0, "NaN", n, n / 2);
        free(g);
        free(before);
    }
    report("sum_of_squares, clamp", "n double-precision roundings; clamping is exact");
}

enum rule { SGD, MOMENTUM, RMSPROP, ADAM, ADAMW, RULES };
static const char *const rule_name[RULES] = {"sgd", "sgd with momentum", "rmsprop", "adam", "adamw"};

static void apply(enum rule rule, long n, void *w, void *g, void *m, void *v)
{
    if (rule == SGD)
        table->sgd(n, w, g, NULL, 0.5, 0.1, 0, 0.01);
    if (rule == MOMENTUM)
        table->sgd(n, w, g, m, 0.5, 0.1, 0.9, 0.01);
    if (rule == RMSPROP)
        table->rmsprop(n, w, g, v, 0.5, 0.1, 0.99, 0.125, 0.01);
    if (rule == ADAM || rule == ADAMW)
        table->adam(n, w, g, m, v, 0.5, 0.1, 0.9, 0.999, 0.19, 0.002, 0.125, 0.01, rule == ADAMW);
}

/* The rules of the papers as PyTorch has them, one number at a time. */
static void follow(enum rule rule, double *w, double g, double *m, double *v)
{
    g *= 0.5;
    if (rule == ADAMW)
        *w -= 0.1 * 0.01 * *w;
    else
        g += 0.01 * *w;
    switch (rule) {
    case SGD:
        *w -= 0.1 * g;
        break;
    case MOMENTUM:
        *m = 0.9 * *m + g;
        *w -= 0.1 * *m;
        break;
    case RMSPROP:
        *v = 0.99 * *v + 0.01 * g * g;
        *w -= 0.1 * g / (sqrt(*v) + 0.125);
        break;
    default:
        *m = 0.9 * *m + 0.1 * g;
        *v = 0.999 * *v + 0.001 * g * g;
        *w -= 0.1 / 0.19 * *m / (sqrt(*v / 0.002) + 0.125);
    }
}

static void check_rule(enum rule rule, long n)
{
    void *x[4];
    double want[3];
    for (uint32_t i = 0; i < 4; i++)
        x[i] = random_numbers(n + 1, i + 1);
    for (long i = 0; i <= n; i++)
        put(x[3], i, fabs(get(x[3], i)));
    void *before[4];
    for (int i = 0; i < 4; i++) {
        before[i] = numbers(n + 1);
        memcpy(before[i], x[i], (size_t)((n + 1) * table->element_size));
    }
    apply(rule, n, x[0], x[1], x[2], x[3]);
    for (long i = 0; i < n; i++) {
        want[0] = get(before[0], i);
        want[1] = get(before[2], i);
        want[2] = get(before[3], i);
        follow(rule, &want[0], get(before[1], i), &want[1], &want[2]);
        double moved = fabs(want[0] - get(before[0], i));
        expect(get(x[0], i), want[0], 4 * unit * fabs(get(before[0], i)) + 12 * unit * moved + 4 * unit, "w", n, i);
        expect(get(x[2], i), want[1], 8 * unit, "m", n, i);
        expect(get(x[3], i), want[2], 8 * unit, "v", n, i);
    }
    for (int i = 0; i < 4; i++)
        expect(get(x[i], n), get(before[i], n), 0, "beyond", n, n);
    expect(same_bytes(x[1], before[1], n), 1, 0, "g", n, 0);
    for (int i = 0; i < 4; i++) {
        free(x[i]);
        free(before[i]);
    }
}

/* The same numbers, updated in one call and in two. */
static void check_rule_split(enum rule rule)
{
    enum { N = 101 };
    void *x[4], *y[4];
    int same = 1;
    for (long cut = 1; cut < N; cut += 9) {
        for (uint32_t i = 0; i < 4; i++) {
            x[i] = random_numbers(N, i + 5);
            y[i] = random_numbers(N, i + 5);
        }
        for (long i = 0; i < N; i++) {
            put(x[3], i, fabs(get(x[3], i)));
            put(y[3], i, fabs(get(y[3], i)));
        }
        apply(rule, N, x[0], x[1], x[2], x[3]);
        apply(rule, cut, y[0], y[1], y[2], y[3]);
        apply(rule, N - cut, at(y[0], cut), at(y[1], cut), at(y[2], cut), at(y[3], cut));
        for (int i = 0; i < 4; i++) {
            same &= same_bytes(x[i], y[i], N);
            free(x[i]);
            free(y[i]);
        }
    }
    tap_ok(same, "%s %s: the same bits however it is split", title, rule_name[rule]);
}

static void test_optimisers(void)
{
    for (int rule = 0; rule < RULES; rule++) {
        for (int s = 0; s < SIZES; s++)
            check_rule((enum rule)rule, sizes[s]);
        report(rule_name[rule], "a few u of what is added: about ten roundings, on numbers up to 1");
        check_rule_split((enum rule)rule);
    }
}

static void test_table(enum isa isa, enum precision precision)
{
    table = kernels_get(isa, precision);
    unit = precision == PRECISION_F32 ? 0x1p-24 : 0x1p-53;
    snprintf(title, sizeof title, "%s %s", isa_name[isa], precision == PRECISION_F32 ? "float" : "double");
    tap_ok(table->precision == precision && table->element_size == (precision == PRECISION_F32 ? 4 : 8) &&
           table->isa == (precision == PRECISION_F32 ? isa : ISA_GENERIC), "%s: the table says what it is", title);
    test_gemm();
    test_gemm_edges();
    test_gemm_split();
    test_gemm_tn();
    test_gemm_tn_split();
    test_column_sum();
    test_elementwise();
    test_copies();
    test_dropout();
    test_softmax();
    test_squared_error();
    test_norm_and_clamp();
    test_optimisers();
}

int main(void)
{
    for (int isa = 0; isa < ISA_COUNT; isa++) {
        if (isa_available((enum isa)isa))
            test_table((enum isa)isa, PRECISION_F32);
        else
            tap_skip("this machine does not have it", "%s float", isa_name[isa]);
    }
    test_table(ISA_GENERIC, PRECISION_F64);
    return tap_done();
}
