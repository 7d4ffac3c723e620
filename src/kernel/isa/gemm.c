/* gemm.c - c = a B for float and double:
 *
 *     for some rows of A                       (stay in the second-level cache)
 *       for a panel of B, or a few             (streams by, once for these rows)
 *         for DEPTH steps of k                 (this part of the panel stays in the first-level cache)
 *           for strips of a few rows -> tile */
#include "panels.h"

enum {
    ROWS_LEAST = 48,
    ROWS_MOST = 192,
    KEPT = 65536,                            /* elements of A: half of a second-level cache of 512 KiB */
    LONG = 8 * DEPTH,                        /* steps of k: then few rows fit, and the matrix would stream by too often */
};

/* All k of a few rows and columns: the tiles of c stay in the first-level cache from one block of k to the next. */
static void blocks_times_panels(const struct product *all, long m)
{
    for (long l = 0; l < all->k; l += DEPTH) {
        struct product p = *all;
        p.k = least(all->k - l, DEPTH);
        p.a += l;
        p.b += l * PANEL;
        p.accumulate = all->accumulate || l > 0;
        p.next = p.k * PANEL;                /* the panels stand one behind the other */
        rows_times_panels(p, m);
    }
}

/* Rows of A that stay in the cache: whole strips. */
static long rows_at_once(long k)
{
    long rows = KEPT / (k + 1) / MOST * MOST;
    return rows < ROWS_LEAST ? ROWS_LEAST : least(rows, ROWS_MOST);
}

/* Rows so long that few of them fit into the cache: DEPTH steps of k for many rows at a time, so that B streams by for these
 * many; c is read and written once for each DEPTH steps. Every element has the same sums as in the other order. */
static void blocks_outside(long m, long n, long k, const real *a, long lda, const real *packed, real *c, long ldc, int accumulate)
{
    long columns = columns_at_once(m);
    for (long l = 0; l < k; l += DEPTH)
        for (long j = 0; j < n; j += columns) {
            struct product p = {least(n - j, columns), least(k - l, DEPTH), a + l, lda, packed + j * k + l * PANEL, k * PANEL,
                                c + j, ldc, accumulate || l > 0, k * PANEL};
            rows_times_panels(p, m);
        }
}

/* One row and one block of steps: the loops around the tile would take as long as it. */
static void one_row(long n, long k, const real *a, const real *packed, real *c, int accumulate)
{
    struct strips s = {.count = 1, .steps = k, .a = a, .panel_step = k * PANEL, .accumulate = accumulate};
    long j = 0, columns = tiles[1].vecs * VLEN;
    for (; j + columns <= n && columns % PANEL == 0; j += columns) {
        s.b = s.next = packed + j * k;
        s.c = c + j;
        tiles[1].wide(&s, 0);
    }
    for (; j < n; j += NARROW * VLEN) {
        s.b = s.next = packed + j / PANEL * PANEL * k + j % PANEL;
        s.c = c + j;
        tiles[1].narrow(&s, 0);
    }
}

static void product(long m, long n, long k, const real *a, long lda, const real *packed, real *c, long ldc, int accumulate)
{
    n = padded(n);
    if (m == 1 && k > 0 && k <= DEPTH) {
        one_row(n, k, a, packed, c, accumulate);
        return;
    }
    for (long i = 0; i < m && k == 0 && !accumulate; i++)
        memset(c + i * ldc, 0, (size_t)n * sizeof(real));
    long at_once = rows_at_once(k);
    int outside = k > LONG && at_once < m;
    at_once = outside ? ROWS_MOST : at_once;
    for (long i = 0; i < m; i += at_once) {
        long rows = least(m - i, at_once);
        if (outside) {
            blocks_outside(rows, n, k, a + i * lda, lda, packed, c + i * ldc, ldc, accumulate);
            continue;
        }
        long columns = columns_at_once(rows);
        for (long j = 0; j < n; j += columns) {
            struct product p = {least(n - j, columns), k, a + i * lda, lda, packed + j * k, k * PANEL, c + i * ldc + j, ldc, accumulate, 0};
            blocks_times_panels(&p, rows);
        }
    }
}

void NAME(gemm)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate)
{
    product(m, n, k, a, lda, packed, c, ldc, accumulate);
}

/* ---- one row ---- */

/* With one row there are too few sums to keep the adders busy, so even and odd steps of k have sums of their own. */
static inline __attribute__((always_inline)) void row_times_panels(int vecs, long k, const real *a, const real *b, long panel_step,
                                                                  real *c, int accumulate)
{
    vec sum[2][MOST][8];
    UNROLL
    for (int v = 0; v < vecs; v++)
        sum[0][0][v] = sum[1][0][v] = v_splat(0);
    long i = 0;
    for (; i + 1 < k; i += 2)
        UNROLL
        for (int odd = 0; odd < 2; odd++)
            step_of_tile(1, vecs, a + i + odd, 0, b + (i + odd) * PANEL, PANEL, panel_step, sum[odd]);
    if (i < k)
        step_of_tile(1, vecs, a + i, 0, b + i * PANEL, PANEL, panel_step, sum[0]);
    UNROLL
    for (int v = 0; v < vecs; v++) {
        vec all = sum[0][0][v] + sum[1][0][v];
        v_store(c + v * VLEN, accumulate ? v_load(c + v * VLEN) + all : all);
    }
}

void NAME(gemv)(long n, long k, const void *a, const void *packed, void *c, int accumulate)
{
    const real *b = packed;
    long j = 0;
    n = padded(n);
    for (; j + ROW_VECS * VLEN <= n; j += ROW_VECS * VLEN)
        row_times_panels(ROW_VECS, k, a, b + j / PANEL * PANEL * k + j % PANEL, k * PANEL, (real *)c + j, accumulate);
    for (; j < n; j += PANEL)
        row_times_panels(PANEL / VLEN, k, a, b + j * k, k * PANEL, (real *)c + j, accumulate);
}
