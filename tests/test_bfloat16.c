// isa
/* test_bfloat16.c - kernels on bfloat16: rounding against the definition, products bit by bit against fmaf() in the order of the
 * machine's own instruction (the odd step of a pair, then the even one), and against sums in double precision. A sum of k
 * exact products in single precision is off by at most k 2^-24 of the magnitudes; stored in bfloat16, by 2^-9 of itself more. */
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/base/random.h"
#include "../src/kernel/kernel.h"
#include "tap.h"

static const struct kernels *table;
static const char *title;

/* By its definition: of the two neighbours the nearer, of two as near the even one. */
static uint16_t rounded(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint16_t below = (uint16_t)(bits >> 16), above = (uint16_t)(below + 1);
    double down = fabs((double)value - bfloat16_get(below));
    double up = (above & 0x7FFF) == 0x7F80 ? 0x1p128 - fabs((double)value) : fabs((double)bfloat16_get(above) - value);
    if (down == up)
        return below % 2 ? above : below;
    return down < up ? below : above;
}

static void *room(long count, size_t size)
{
    size_t bytes = ((size_t)count * size + 63) / 64 * 64 + 64;
    void *memory = aligned_alloc(64, bytes);
    if (!memory)
        abort();
    return memset(memory, 0, bytes);
}

static float number(uint32_t purpose, long i)
{
    return (float)(2 * random_uniform(&(struct random_stream){{17, 4}, purpose, 0}, (uint64_t)i) - 1);
}

static uint16_t *halves(long count, uint32_t purpose)
{
    uint16_t *x = room(count, sizeof *x);
    for (long i = 0; i < count; i++)
        x[i] = rounded(number(purpose, i));
    return x;
}

static float *floats(long count, uint32_t purpose)
{
    float *x = room(count, sizeof *x);
    for (long i = 0; i < count; i++)
        x[i] = number(purpose, i);
    return x;
}

/* ---- rounding ---- */

static void test_rounding(void)
{
    enum { COUNT = 1 << 16, DRAWS = 1 << 18 };
    uint16_t *all = room(COUNT, sizeof *all), *back = room(DRAWS, sizeof *back);
    float *wide = room(DRAWS, sizeof *wide);
    int same = 1, nearest = 1, nan = 1;
    for (long i = 0; i < COUNT; i++)
        all[i] = (uint16_t)i;
    table->store_rows(1, COUNT, all, COUNT, wide, 4, COUNT);
    table->load_rows(1, COUNT, wide, 4, COUNT, back, COUNT);
    for (long i = 0; i < COUNT; i++) {
        same &= wide[i] != wide[i] ? isnan(bfloat16_get(back[i])) : back[i] == i;
        nan &= isnan(wide[i]) == ((i & 0x7FFF) > 0x7F80);
    }
    tap_ok(same && nan, "%s: every number of bfloat16 through single precision and back", title);
    for (long i = 0; i < DRAWS; i++) {                 /* every magnitude, and every fourth halfway between two */
        uint32_t bits = (uint32_t)(random_uniform(&(struct random_stream){{1, 2}, 3, 0}, (uint64_t)i) * 0x1p32);
        bits = i % 4 ? bits : (bits & 0xFFFF0000) | 0x8000;
        memcpy(&wide[i], &bits, sizeof bits);
    }
    table->load_rows(1, DRAWS, wide, 4, DRAWS, back, DRAWS);
    for (long i = 0; i < DRAWS; i++)
        nearest &= isfinite(wide[i]) ? back[i] == rounded(wide[i]) : isnan(wide[i]) == isnan(bfloat16_get(back[i]));
    tap_ok(nearest, "%s: numbers are rounded to the nearest, halves to even", title);
    uint32_t payload[16];
    for (int i = 0; i < 16; i++)
        payload[i] = i % 2 ? 0x7FFFFFFF : 0xFF800001;
    memcpy(wide, payload, sizeof payload);
    table->load_rows(1, 16, wide, 4, 16, back, 16);
    uint16_t *ones = room(16, sizeof *ones);
    table->fill(16, 1, ones);
    table->multiply(1, 16, ones, 16, back, 16);       /* by vectors too */
    for (int i = 0; i < 16; i++)
        nan &= isnan(bfloat16_get(back[i]));
    tap_ok(nan, "%s: NaN stays NaN, whatever its payload", title);
    free(all);
    free(back);
    free(wide);
    free(ones);
}

/* ---- products ---- */

/* The instruction's order; b: zero beyond k. */
static float by_pairs(float sum, long k, const float *a, const float *b)
{
    for (long i = 0; i < k; i += 2) {
        if (i + 1 < k)
            sum = fmaf(a[i + 1], b[i + 1], sum);
        sum = fmaf(a[i], b[i], sum);
    }
    return sum;
}

/* Blocks of 256 steps, each a sum of its own. */
static float by_blocks(float sum, long k, const float *a, const float *b)
{
    enum { BLOCK = 256 };
    for (long i = 0; i < k; i += BLOCK) {
        float block = by_pairs(0, k - i < BLOCK ? k - i : BLOCK, a + i, b + i);
        sum = sum + block;
    }
    return sum;
}

struct verdict { int bits, bound; };

static void judge(struct verdict *v, float got, float want, double exact, double size, long k, int stored)
{
    v->bits &= got == want;
    v->bound &= fabs(got - exact) <= (double)(k + 2) * 0x1p-24 * size + (stored ? 0x1p-8 * fabs(exact) : 0);
}

enum kind { GEMM, WIDE, ROW };

static void check_product(enum kind kind, long m, long n, long k, int accumulate, struct verdict *verdict)
{
    long lda = padded(k) + 16, ldc = padded(n);
    uint16_t *a = halves(m * lda, 1), *w = halves(n * k, 2), *c = halves(m * ldc, 3);
    uint16_t *packed = room(ldc * packed_depth(table, k), sizeof *packed);
    float *wide = floats(m * ldc, 4), *before = floats(m * ldc, 4), *row = room(k, 4), *column = room(k, 4);
    for (long i = 0; i < m * ldc && kind != WIDE; i++)
        before[i] = bfloat16_get(c[i]);
    table->pack(k, n, w, 1, k, packed);
    for (long i = 0; i < m; i++)               /* what follows a row must not matter */
        a[i * lda + k] = 0x7FC0;
    if (kind == GEMM)
        table->gemm(m, n, k, a, lda, packed, c, ldc, accumulate);
    else if (kind == WIDE)
        table->gemm_wide(m, n, k, a, lda, packed, wide, ldc, accumulate);
    else
        table->gemv(n, k, a, packed, c, accumulate);
    for (long i = 0; i < m; i++)
        for (long j = 0; j < n; j++) {
            double exact = accumulate ? before[i * ldc + j] : 0, size = fabs(exact);
            for (long l = 0; l < k; l++) {
                row[l] = bfloat16_get(a[i * lda + l]);
                column[l] = bfloat16_get(w[j * k + l]);
                exact += (double)row[l] * column[l];
                size += fabs((double)row[l] * column[l]);
            }
            float sum = by_blocks(0, k, row, column);
            sum = accumulate ? before[i * ldc + j] + sum : sum;
            float want = kind == WIDE ? sum : bfloat16_get(rounded(sum));
            judge(verdict, kind == WIDE ? wide[i * ldc + j] : bfloat16_get(c[i * ldc + j]), want, exact, size, k, kind != WIDE);
        }
    void *all[] = {a, w, c, packed, wide, before, row, column};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void check_outer(long m, long n, long rows, struct verdict *verdict)
{
    long lda = padded(m), ldb = padded(n) + 16, ldc = n + 3;
    uint16_t *a = halves(rows * lda, 1), *b = halves(rows * ldb, 2), *scratch = room(table->gemm_tn_scratch(m, n, rows), 2);
    float *c = floats(m * ldc, 3), *left = room(rows, 4), *right = room(rows, 4);
    table->gemm_tn(m, n, rows, a, lda, b, ldb, c, ldc, scratch);
    for (long i = 0; i < m; i++)
        for (long j = 0; j < ldc; j++) {
            float want = number(3, i * ldc + j);
            double exact = want, size = fabs(exact);
            for (long r = 0; r < rows && j < n; r++) {
                left[r] = bfloat16_get(a[r * lda + i]);
                right[r] = bfloat16_get(b[r * ldb + j]);
                exact += (double)left[r] * right[r];
                size += fabs((double)left[r] * right[r]);
            }
            want = by_blocks(want, j < n ? rows : 0, left, right);
            judge(verdict, c[i * ldc + j], want, exact, size, rows, 0);
        }
    void *all[] = {a, b, scratch, c, left, right};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

static void say(struct verdict v, const char *what)
{
    tap_ok(v.bits, "%s %s: the bits of the machine's own instruction", title, what);
    tap_ok(v.bound, "%s %s: within (k + 2) 2^-24 of the magnitudes, and a rounding where it is stored", title, what);
}

static void test_products(void)
{
    static const long sizes[] = {1, 2, 3, 5, 6, 7, 12, 13, 16, 17, 33, 64};
    enum { SIZES = sizeof sizes / sizeof *sizes };
    struct verdict gemm = {1, 1}, wide = {1, 1}, row = {1, 1}, outer = {1, 1};
    for (int m = 0; m < SIZES; m++)
        for (int n = 0; n < SIZES; n++)
            for (int k = 0; k < SIZES; k++) {
                check_product(GEMM, sizes[m], sizes[n], sizes[k], (m + n + k) % 2, &gemm);
                check_product(WIDE, sizes[m], sizes[n], sizes[k], (m + n + k) % 2, &wide);
                check_outer(sizes[m], sizes[n], sizes[k], &outer);
                if (m == 0)
                    check_product(ROW, 1, sizes[n], sizes[k], (n + k) % 2, &row);
            }
    check_product(GEMM, 200, 40, 700, 1, &gemm);
    check_product(WIDE, 20, 33, 2101, 1, &wide);
    check_product(ROW, 1, 100, 701, 1, &row);
    check_product(ROW, 1, 40, 2101, 0, &row);
    check_outer(200, 17, 600, &outer);
    for (long n = 20; n <= 60; n += 4)       /* around panels of three vectors */
        check_outer(5, n, 9, &outer);
    say(gemm, "gemm");
    say(wide, "gemm_wide");
    say(row, "gemv");
    say(outer, "gemm_tn");
}

static void test_splits(void)
{
    enum { M = 30, N = 80, K = 45, LD = 48 };
    uint16_t *a = halves(M * LD, 1), *w = halves(N * K, 2), *whole = halves(M * N, 3), *parts = halves(M * N, 3);
    uint16_t *packed = room(N * packed_depth(table, K), sizeof *packed);
    int same = 1, placed = 1;
    table->pack(K, N, w, 1, K, packed);
    for (long i = 0; i < K; i++)
        for (long j = 0; j < N; j++)
            placed &= packed[packed_at(table, K, i, j)] == w[j * K + i];
    tap_ok(placed, "%s pack: elements stand where packed_at says", title);
    table->gemm(M, N, K, a, LD, packed, whole, N, 0);
    for (long cut = 16; cut < N; cut += 16) {
        table->gemm(cut / 3, N, K, a, LD, packed, parts, N, 0);
        table->gemm(M - cut / 3, N, K, a + cut / 3 * LD, LD, packed, parts + cut / 3 * N, N, 0);
        same &= !memcmp(whole, parts, M * N * sizeof *whole);
        table->gemm(M, cut, K, a, LD, packed, parts, N, 0);
        table->gemm(M, N - cut, K, a, LD, packed + packed_at(table, K, 0, cut), parts + cut, N, 0);
        same &= !memcmp(whole, parts, M * N * sizeof *whole);
    }
    tap_ok(same, "%s gemm: the same bits however it is split", title);
    free(a);
    free(w);
    free(whole);
    free(parts);
    free(packed);
}

/* ---- rows ---- */

/* One rounding where it is stored, none where sums are wide. */
static void test_rows(void)
{
    enum { ROWS = 300, N = 37, LD = 48 };
    static int32_t index[ROWS];
    uint16_t *a = halves(ROWS * LD, 1), *c = halves(ROWS * LD, 2), *x = halves(ROWS * LD, 2), *row = halves(N, 3);
    float *y = floats(N, 4), *words = floats(5 * N, 5);
    int add = 1, multiply = 1, add_row = 1, sum = 1, scatter = 1, scale = 1;
    table->add(ROWS, N, a, LD, x, LD);
    for (long i = 0; i < ROWS * LD; i++)
        add &= i % LD >= N || x[i] == rounded(bfloat16_get(a[i]) + bfloat16_get(c[i]));
    memcpy(x, c, ROWS * LD * sizeof *c);
    table->multiply(ROWS, N, a, LD, x, LD);
    for (long i = 0; i < ROWS * LD; i++)
        multiply &= i % LD >= N || x[i] == rounded(bfloat16_get(a[i]) * bfloat16_get(c[i]));
    memcpy(x, c, ROWS * LD * sizeof *c);
    table->add_row(ROWS, N, row, x, LD);
    for (long i = 0; i < ROWS * LD; i++)
        add_row &= i % LD >= N || x[i] == rounded(bfloat16_get(c[i]) + bfloat16_get(row[i % LD]));
    memcpy(x, c, ROWS * LD * sizeof *c);
    table->scale(ROWS * LD, 0.7, x);
    for (long i = 0; i < ROWS * LD; i++)
        scale &= x[i] == rounded(bfloat16_get(c[i]) * 0.7f);
    table->column_sum(ROWS, N, a, LD, y);
    for (long r = 0; r < ROWS; r++)
        index[r] = (int32_t)(r % 5);
    table->scatter_add(ROWS, 3, N, index, a, LD, words, N);
    for (long j = 0; j < N; j++) {
        double exact = number(4, j), words_exact = number(5, 2 * N + j);
        for (long r = 0; r < ROWS; r++) {
            exact += bfloat16_get(a[r * LD + j]);
            words_exact += r % 5 == 2 && j >= 3 ? bfloat16_get(a[r * LD + j]) : 0;
        }
        sum &= fabs(y[j] - exact) <= (ROWS + 1) * 0x1p-24 * (ROWS + 1);
        scatter &= fabs(words[2 * N + j] - words_exact) <= (ROWS / 5 + 1) * 0x1p-24 * (ROWS / 5 + 1);
    }
    tap_ok(add && multiply && add_row && scale, "%s: sums and products of rows, rounded once", title);
    tap_ok(sum && scatter, "%s: sums over rows, in single precision", title);
    void *all[] = {a, c, x, row, y, words};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        free(all[i]);
}

int main(void)
{
    for (int isa = 0; isa < ISA_COUNT; isa++) {
        title = isa_name[isa];
        if (!isa_available((enum isa)isa)) {
            tap_skip("this machine does not have it", "%s", title);
            continue;
        }
        table = kernels_get((enum isa)isa, PRECISION_BF16);
        tap_ok(table->precision == PRECISION_BF16 && table->isa == (enum isa)isa && table->element_size == 2 && table->pair == 2 &&
               table->wide == kernels_get((enum isa)isa, PRECISION_F32), "%s: the table says what it is", title);
        test_rounding();
        test_products();
        test_splits();
        test_rows();
    }
    return tap_done();
}
