/* narrow.c - c = a B for bfloat16. Two steps of k stand together, as the machine's own instruction takes them: it adds the product
 * of the odd step, then that of the even one, each with one rounding. The emulation does the same, and since products of bfloat16
 * are exact in single precision, its sums have the same bits with and without fused multiply-adds. (The instruction takes numbers
 * below 2^-126 for zero, which the emulation does not.) To emulate is to widen what is read, once for many tiles, with the odd
 * step before the even one; the tiles are those of single precision. What is stored in bfloat16 is rounded once, after all of k.
 *
 *     for some rows of A                       (copied to the stack, where the last step has its partner)
 *       for a panel of B, or a few
 *         for DEPTH steps of k                 (this part of the panels, widened, stays in the first-level cache)
 *           for strips of a few rows -> tile */
#include "panels.h"

enum { COPIED = 32768, COPIED_DEPTH = 8 * DEPTH, SUMS = 4096, PANELS = 2 };   /* elements, on the stack */

/* Of one product: `rows` holds the copy of A's rows, or of a part of their steps where they are longer than that; `panels` B's
 * block as tiles take it. */
struct narrow {
    long m, k, depth, copied;                /* depth: k, to whole pairs; copied: steps of a copy */
    const elem *a;
    long lda;
    factor *rows, *panels;
    real *sum;
};

#if defined(__AVX512BF16__)

static inline void copy_pairs(long pairs, const elem *a, factor *to) { memcpy(to, a, (size_t)(pairs * PAIR) * sizeof(elem)); }
static inline void copy_last(elem a, factor *to) { to[0] = a, to[1] = 0; }

/* They stand as they are wanted. */
static struct product block_of(const struct narrow *x, long n, const elem *b, long from, long steps)
{
    return (struct product){.n = n, .b = b + from * PANEL, .panel_step = x->depth * PANEL, .next = steps * PANEL};
}

#else

static inline void copy_pairs(long pairs, const elem *a, factor *to)
{
    for (long i = 0; i < pairs; i++) {
        to[2 * i] = get(a[2 * i + 1]);
        to[2 * i + 1] = get(a[2 * i]);
    }
}

static inline void copy_last(elem a, factor *to) { to[0] = 0, to[1] = get(a); }

static inline void widen_pairs(const elem *b, factor *to)
{
    v_write(to, (vec)(pairs_at(b) & 0xFFFF0000));
    v_write(to + PANEL, (vec)(pairs_at(b) << 16));
}

static struct product block_of(const struct narrow *x, long n, const elem *b, long from, long steps)
{
    for (long j = 0; j < n; j += PANEL)
        for (long i = 0; i < steps; i += PAIR)
            for (long v = 0; v < PANEL; v += VLEN)
                widen_pairs(b + (j * x->depth + (from + i) * PANEL + v * PAIR), x->panels + j * steps + i * PANEL + v);
    return (struct product){.n = n, .b = x->panels, .panel_step = steps * PANEL};
}

#endif

static void copy_rows(struct narrow *x, long from)
{
    long steps = least(x->k - from, x->copied);
    for (long r = 0; r < x->m; r++) {
        const elem *a = x->a + r * x->lda + from;
        factor *to = x->rows + r * x->copied;
        copy_pairs(steps / PAIR, a, to);
        if (steps % PAIR)
            copy_last(a[steps - 1], to + steps - 1);
    }
}

/* A vector of sums to where it belongs: c is of the sums' own type, or bfloat16. */
static inline void give(vec sum, void *c, long at, int accumulate, int is_wide)
{
    elem *to = (elem *)c + at;
    real *sums = (real *)c + at;
    if (is_wide)
        v_write(sums, accumulate ? v_read(sums) + sum : sum);
    else
        v_store(to, accumulate ? v_load(to) + sum : sum);
}

static void sum_columns(struct narrow *x, long n, const elem *b)
{
    if (x->k == 0)
        memset(x->sum, 0, (size_t)(x->m * n) * sizeof(real));
    for (long l = 0; l < x->depth; l += DEPTH) {
        if (x->depth > x->copied && l % x->copied == 0)
            copy_rows(x, l);
        long steps = least(x->depth - l, DEPTH);
        struct product p = block_of(x, n, b, l, steps);
        p.k = steps;
        p.a = x->rows + l % x->copied;
        p.lda = x->copied;
        p.c = x->sum;
        p.ldc = n;
        p.accumulate = l > 0;
        rows_times_panels(p, x->m);
    }
}

/* Rows whose copies and sums fit, in parts as even as possible. */
static long rows_of_narrow(long m, long copied)
{
    long most = least(COPIED / (copied + 1), SUMS / (PANELS * PANEL)) / MOST * MOST, parts = (m + most - 1) / most;
    return parts > 1 ? up((m + parts - 1) / parts, MOST) : m;
}

/* A pair of steps for one row. Where products are emulated B is widened on its way. */
static inline __attribute__((always_inline)) void step_of_row(int vecs, const factor *a, const elem *b, long panel_step, vec sum[MOST][8])
{
#if defined(__AVX512BF16__)
    step_of_tile(1, vecs, a, 0, b, PANEL, panel_step, sum);
#else
    UNROLL
    for (int odd = 1; odd >= 0; odd--)
        UNROLL
        for (int v = 0; v < vecs; v++) {
            uvec pairs = pairs_at(b + v * VLEN / PANEL * panel_step + v * VLEN % PANEL * PAIR);
            sum[0][v] += a[1 - odd] * (vec)(odd ? pairs & 0xFFFF0000 : pairs << 16);
        }
#endif
}

static inline __attribute__((always_inline)) void row_times_panels(int vecs, const struct narrow *x, const elem *b, void *c, long at,
                                                                  int accumulate, int is_wide)
{
    vec all[8], sum[MOST][8];
    UNROLL
    for (int v = 0; v < vecs; v++)
        all[v] = v_splat(0);
    for (long l = 0; l < x->depth; l += DEPTH) {
        long to = least(l + DEPTH, x->depth);
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[0][v] = v_splat(0);
        for (long i = l; i < to; i += PAIR)
            step_of_row(vecs, x->rows + i, b + i * PANEL, x->depth * PANEL, sum);
        UNROLL
        for (int v = 0; v < vecs; v++)
            all[v] = l ? all[v] + sum[0][v] : sum[0][v];
    }
    UNROLL
    for (int v = 0; v < vecs; v++)
        give(all[v], c, at + v * VLEN, accumulate, is_wide);
}

/* So few rows that B is not worth widening for them. The sums are those of many rows. */
static void few_rows(struct narrow *x, long m, long n, const elem *a, const elem *packed, void *c, long ldc, int accumulate, int is_wide)
{
    x->m = 1;
    for (long i = 0; i < m; i++) {
        long j = 0;
        x->a = a + i * x->lda;
        copy_rows(x, 0);
        for (; j + 8 * VLEN <= n && 8 * VLEN % PANEL == 0; j += 8 * VLEN)
            row_times_panels(8, x, packed + j * x->depth, c, i * ldc + j, accumulate, is_wide);
        for (; j < n; j += PANEL)
            row_times_panels(PANEL / VLEN, x, packed + j * x->depth, c, i * ldc + j, accumulate, is_wide);
    }
}

static void product(long m, long n, long k, const elem *a, long lda, const elem *packed, void *c, long ldc, int accumulate, int is_wide)
{
    enum { FEW = 3 };
    factor rows[COPIED], panels[TOGETHER > 1 ? 1 : DEPTH * PANELS * PANEL];
    real sum[SUMS];
    long depth = up(k, PAIR), copied = least(depth, COPIED_DEPTH), at_once = rows_of_narrow(m, copied);
    struct narrow x = {.k = k, .depth = depth, .copied = copied, .lda = lda, .rows = rows, .panels = panels, .sum = sum};
    n = padded(n);
    if (m <= FEW && depth <= copied) {
        few_rows(&x, m, n, a, packed, c, ldc, accumulate, is_wide);
        return;
    }
    for (long i = 0; i < m; i += at_once) {
        x.m = least(m - i, at_once);
        x.a = a + i * lda;
        if (depth <= copied)
            copy_rows(&x, 0);
        long columns = least(columns_at_once(x.m), PANELS * PANEL);
        for (long j = 0; j < n; j += columns) {
            long count = least(n - j, columns);
            sum_columns(&x, count, packed + j * depth);
            for (long r = 0; r < x.m; r++)
                for (long v = 0; v < count; v += VLEN)
                    give(v_read(sum + r * count + v), c, (i + r) * ldc + j + v, accumulate, is_wide);
        }
    }
}

void NAME(gemm)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate)
{
    product(m, n, k, a, lda, packed, c, ldc, accumulate, 0);
}

void NAME(gemm_wide)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate)
{
    product(m, n, k, a, lda, packed, c, ldc, accumulate, 1);
}

void NAME(gemv)(long n, long k, const void *a, const void *packed, void *c, int accumulate)
{
    product(1, n, k, a, 0, packed, c, 0, accumulate, 0);
}
