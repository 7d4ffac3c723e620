/* gemm.c - matrix products. All arithmetic is in tile(): a few rows times a few vectors of columns, summed in registers
 * over at most DEPTH steps, one step after the other. The loops around it only choose the order of tiles, so that what
 * is used again is still in a cache:
 *
 *     for some rows of A                       (stay in the second-level cache)
 *       for a panel of B, or a few             (streams by, once for these rows)
 *         for DEPTH steps of k                 (this part of the panel stays in the first-level cache; blocks begin at
 *           for strips of a few rows -> tile    multiples of DEPTH always, so that sums do not depend on tiles)
 *
 * In bfloat16 two steps of k stand together, as the machine's own instruction takes them: it adds the product of the odd step,
 * then that of the even one, each with one rounding. The emulation does the same, and since products of bfloat16 are exact in
 * single precision, its sums have the same bits with and without fused multiply-adds. (The instruction takes numbers below
 * 2^-126 for zero, which the emulation does not.) To emulate is to widen what is read, once for many tiles, with the odd step
 * before the even one; the tiles are those of single precision. What is stored in bfloat16 is rounded once, after all of k. */
#include "isa.h"

enum {
    PAIR = KERNEL_BITS == 16 ? 2 : 1,        /* steps of k that stand together */
    PANEL = STAGE_PAD,
    DEPTH = 256,
    ROWS_LEAST = 48,
    ROWS_MOST = 192,
    KEPT = 65536,                            /* elements of A: half of a second-level cache of 512 KiB */
    COLUMNS_MOST = 1024,
    LONG = 8 * DEPTH,                        /* steps of k: then few rows fit, and the matrix would stream by too often */
    FAR = 2 << 20,                           /* elements of B: a part of a third-level cache that others use too */
};

/* The shape of tiles: accumulators must fit into the registers (16, or 32 with AVX-512) beside a row of B and an
 * element of A, and there should be at least 8, as a multiply-add takes 4 cycles and two can start in each. */
#if defined(__AVX512F__)
enum { MOST = 12, NARROW = 1, SQUARE = 2, ROW_VECS = 4 };
#elif defined(__AVX__)
enum { MOST = 6, NARROW = 2, SQUARE = 2, ROW_VECS = 4 };
#else
enum { MOST = 4, NARROW = 2, SQUARE = 2, ROW_VECS = PANEL / VLEN };
#endif

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

static inline long least(long a, long b) { return a < b ? a : b; }
static inline long up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }

/* What tiles take: numbers, or for the machine's own instruction pairs of bfloat16 in their place. */
#if KERNEL_BITS == 16 && defined(__AVX512BF16__)
typedef elem factor;
enum { TOGETHER = PAIR };                    /* steps of k that a tile takes at once */
#else
typedef real factor;
enum { TOGETHER = 1 };
#endif

typedef void tile_fn(long steps, const factor *a, long lda, const factor *b, long panel_step, const factor *next, real *c, long ldc,
                     int accumulate);

#if KERNEL_BITS == 16

static inline uvec pairs_at(const elem *b)
{
    uvec pairs;
    memcpy(&pairs, b, sizeof pairs);
    return pairs;
}

#endif

/* Where vector v of B's row stands. */
static inline long vector_at(int v, long panel_step) { return v * VLEN / PANEL * panel_step + v * VLEN % PANEL * TOGETHER; }

static inline __attribute__((always_inline)) void step_of_tile(int rows, int vecs, const factor *a, long a_row, const factor *b,
                                                               long panel_step, vec sum[MOST][8])
{
#if KERNEL_BITS == 16 && defined(__AVX512BF16__)
    UNROLL
    for (int r = 0; r < rows; r++) {
        uint32_t bits;
        memcpy(&bits, a + r * a_row, sizeof bits);
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] = (vec)_mm512_dpbf16_ps((__m512)sum[r][v], (__m512bh)((uvec){0} + bits),
                                              (__m512bh)pairs_at(b + vector_at(v, panel_step)));
    }
#else
    vec row[8];
    UNROLL
    for (int v = 0; v < vecs; v++)
        row[v] = v_read(b + vector_at(v, panel_step));
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] += a[r * a_row] * row[v];
#endif
}

/* c[rows, vecs] (+)= A B. A[r][i] is a[r * a_row + i * a_step] (i: steps of step_of_tile); vector v of B's row i lies in the
 * panel that holds column v * VLEN. Inlined with constant rows and vecs, so that `sum` lives in registers. `next`: a panel to be
 * called into the cache meanwhile, or NULL: what the machine fetches ahead by itself ends with a page. */
static inline __attribute__((always_inline)) void tile(int rows, int vecs, long steps, const factor *a, long a_row, long a_step,
                                                       const factor *b, long panel_step, const factor *next,
                                                       real *c, long ldc, int accumulate)
{
    vec sum[MOST][8];
    UNROLL
    for (int r = 0; r < rows; r++) {
        __builtin_prefetch(c + r * ldc, 1);  /* wanted at the end: rows far apart, which no machine foresees */
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] = v_splat(0);
    }
    for (long i = 0; i < steps; i++) {
        if (next)
            __builtin_prefetch(next + i * PANEL * TOGETHER);
        step_of_tile(rows, vecs, a, a_row, b, panel_step, sum);
        a += a_step;
        b += PANEL * TOGETHER;
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int v = 0; v < vecs; v++) {
            real *to = c + r * ldc + v * VLEN;
            v_write(to, accumulate ? v_read(to) + sum[r][v] : sum[r][v]);
        }
}

#define TILE(rows, vecs)                                                                                              \
    static void tile_##rows##_##vecs(long steps, const factor *a, long lda, const factor *b, long panel_step,         \
                                     const factor *next, real *c, long ldc, int accumulate)                           \
    {                                                                                                                 \
        if (next)                                                                                                     \
            tile(rows, vecs, steps, a, lda, TOGETHER, b, panel_step, next, c, ldc, accumulate);                       \
        else                                                                                                          \
            tile(rows, vecs, steps, a, lda, TOGETHER, b, panel_step, NULL, c, ldc, accumulate);                       \
    }

/* For each number of rows: the tile for as many columns as fill the registers, and the one for the columns left. */
struct tiles { int vecs; tile_fn *wide, *narrow; };

#if defined(__AVX512F__)
TILE(1, 8) TILE(2, 8) TILE(3, 4) TILE(4, 4) TILE(5, 4) TILE(6, 4)
TILE(7, 2) TILE(8, 2) TILE(9, 2) TILE(10, 2) TILE(11, 2) TILE(12, 2)
TILE(1, 1) TILE(2, 1) TILE(3, 1) TILE(4, 1) TILE(5, 1) TILE(6, 1)
TILE(7, 1) TILE(8, 1) TILE(9, 1) TILE(10, 1) TILE(11, 1) TILE(12, 1)
static const struct tiles tiles[MOST + 1] = {
    {0, 0, 0},
    {8, tile_1_8, tile_1_1}, {8, tile_2_8, tile_2_1}, {4, tile_3_4, tile_3_1}, {4, tile_4_4, tile_4_1},
    {4, tile_5_4, tile_5_1}, {4, tile_6_4, tile_6_1}, {2, tile_7_2, tile_7_1}, {2, tile_8_2, tile_8_1},
    {2, tile_9_2, tile_9_1}, {2, tile_10_2, tile_10_1}, {2, tile_11_2, tile_11_1}, {2, tile_12_2, tile_12_1},
};
#elif defined(__AVX__)
TILE(1, 8) TILE(2, 4) TILE(3, 4) TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2) TILE(5, 2) TILE(6, 2)
static const struct tiles tiles[MOST + 1] = {
    {0, 0, 0},
    {8, tile_1_8, tile_1_2}, {4, tile_2_4, tile_2_2}, {4, tile_3_4, tile_3_2},
    {2, tile_4_2, tile_4_2}, {2, tile_5_2, tile_5_2}, {2, tile_6_2, tile_6_2},
};
#else
TILE(1, 8) TILE(2, 4) TILE(1, 2) TILE(2, 2) TILE(3, 2) TILE(4, 2)
static const struct tiles tiles[MOST + 1] = {
    {0, 0, 0},
    {8, tile_1_8, tile_1_2}, {4, tile_2_4, tile_2_2}, {2, tile_3_2, tile_3_2}, {2, tile_4_2, tile_4_2},
};
#endif

/* ---- c = a B ---- */

/* A few columns over a few steps of k, [k][PANEL]. One of the strides is 1, as a rule, and then a line of w is read whole. */
static void pack_square(long k, long columns, const elem *from, long k_stride, long n_stride, elem *to)
{
    if (PAIR == 1 && n_stride == 1 && columns == PANEL) {
        for (long i = 0; i < k; i++)
            memcpy(to + i * PANEL, from + i * k_stride, PANEL * sizeof(elem));
        return;
    }
    for (long l = 0; l < columns; l++)
        for (long i = 0; i < k; i++)
            to[i / PAIR * PAIR * PANEL + l * PAIR + i % PAIR] = from[i * k_stride + l * n_stride];
    for (long i = 0; i < up(k, PAIR); i++)
        for (long l = i < k ? columns : 0; l < PANEL; l++)
            to[i / PAIR * PAIR * PANEL + l * PAIR + i % PAIR] = 0;
}

void NAME(pack)(long k, long n, const void *w, long k_stride, long n_stride, void *packed)
{
    enum { SQUARE_STEPS = 16 };
    const elem *from = w;
    elem *to = packed;
    for (long j = 0; j < n; j += PANEL, from += PANEL * n_stride, to += up(k, PAIR) * PANEL)
        for (long i = 0; i < k; i += SQUARE_STEPS)
            pack_square(least(k - i, SQUARE_STEPS), least(n - j, PANEL), from + i * k_stride, k_stride, n_stride, to + i * PANEL);
}

struct product {
    long n, k;                               /* k: whole pairs */
    const factor *a;
    long lda;
    const factor *b;
    long panel_step;
    real *c;
    long ldc;
    int accumulate, far;                     /* far: B outgrows the caches that are near */
};

/* `strips` strips of `rows` rows each, over all columns. */
static void strips_times_panels(const struct product *p, long strips, int rows)
{
    long left = p->n / VLEN;
    int vecs = tiles[rows].vecs;
    tile_fn *fn = tiles[rows].wide;
    for (long column = 0; left > 0; column += vecs * VLEN, left -= vecs) {
        if (left < vecs) {
            vecs = NARROW;
            fn = tiles[rows].narrow;
        }
        const factor *b = p->b + column / PANEL * p->panel_step + column % PANEL * TOGETHER;
        for (long s = 0; s < strips; s++)
            fn(p->k / TOGETHER, p->a + s * rows * p->lda, p->lda, b, p->panel_step, p->far && s == 0 ? b + p->panel_step : NULL,
               p->c + s * rows * p->ldc + column, p->ldc, p->accumulate);
    }
}

static long strips_of(long m) { return (m + MOST - 1) / MOST; }

/* Strips as even as possible: a strip of one row would run at a fraction of the speed. */
static void rows_times_panels(struct product p, long m)
{
    long strips = strips_of(m);
    long rows = m / strips;
    long larger = m % strips;
    strips_times_panels(&p, strips - larger, (int)rows);
    p.a += (strips - larger) * rows * p.lda;
    p.c += (strips - larger) * rows * p.ldc;
    if (larger)
        strips_times_panels(&p, larger, (int)rows + 1);
}

/* Columns that tiles of m rows take together: whole panels. */
static long columns_at_once(long m) { return up(tiles[m / strips_of(m)].vecs * VLEN, PANEL); }

#if KERNEL_BITS == 16

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
    (void)steps;
    return (struct product){.n = n, .b = b + from * PANEL, .panel_step = x->depth * PANEL};
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

static void sum_columns(struct narrow *x, long n, const elem *b, int far)
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
        p.far = far && TOGETHER > 1;
        rows_times_panels(p, x->m);
    }
}

/* Rows whose copies and sums fit, in parts as even as possible. */
static long rows_of_narrow(long m, long copied)
{
    long most = least(COPIED / (copied + 1), SUMS / (PANELS * PANEL)) / MOST * MOST, parts = (m + most - 1) / most;
    return parts > 1 ? up((m + parts - 1) / parts, MOST) : m;
}

/* One step for one row (in bfloat16 a pair of them). Where products are emulated B is widened on its way. */
static inline __attribute__((always_inline)) void step_of_row(int vecs, const factor *a, const elem *b, long panel_step, vec sum[MOST][8])
{
#if defined(__AVX512BF16__)
    step_of_tile(1, vecs, a, 0, b, panel_step, sum);
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
            sum_columns(&x, count, packed + j * depth, n * k > FAR);
            for (long r = 0; r < x.m; r++)
                for (long v = 0; v < count; v += VLEN)
                    give(v_read(sum + r * count + v), c, (i + r) * ldc + j + v, accumulate, is_wide);
        }
    }
}

void NAME(gemv)(long n, long k, const void *a, const void *packed, void *c, int accumulate)
{
    product(1, n, k, a, 0, packed, c, 0, accumulate, 0);
}

#else

/* All k of a few rows and columns: the tiles of c stay in the first-level cache from one block of k to the next. */
static void blocks_times_panels(const struct product *all, long m)
{
    for (long l = 0; l < all->k; l += DEPTH) {
        struct product p = *all;
        p.k = least(all->k - l, DEPTH);
        p.a += l;
        p.b += l * PANEL;
        p.accumulate = all->accumulate || l > 0;
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
                                c + j, ldc, accumulate || l > 0, n * k > FAR};
            rows_times_panels(p, m);
        }
}

static void product(long m, long n, long k, const real *a, long lda, const real *packed, real *c, long ldc, int accumulate, int is_wide)
{
    (void)is_wide;
    n = padded(n);
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
            struct product p = {least(n - j, columns), k, a + i * lda, lda, packed + j * k, k * PANEL, c + i * ldc + j, ldc, accumulate,
                                n * k > FAR};
            blocks_times_panels(&p, rows);
        }
    }
}

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
            step_of_tile(1, vecs, a + i + odd, 0, b + (i + odd) * PANEL, panel_step, sum[odd]);
    if (i < k)
        step_of_tile(1, vecs, a + i, 0, b + i * PANEL, panel_step, sum[0]);
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

#endif

void NAME(gemm)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate)
{
    product(m, n, k, a, lda, packed, c, ldc, accumulate, 0);
}

void NAME(gemm_wide)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate)
{
    product(m, n, k, a, lda, packed, c, ldc, accumulate, 1);
}

/* ---- c += a^T b ---- */

/* A block of a, [DEPTH rows, ROWS_MOST columns], is packed into strips [k][MOST] and one of b into panels
 * [k][PANEL]; then the same tiles run. Tiles at the edge are made in full beside c, and what is inside is added. */
enum { SQUARE_COLUMNS = SQUARE * VLEN < PANEL ? PANEL : SQUARE * VLEN };

static long strip_elements(long m) { return DEPTH * up(least(m, ROWS_MOST), MOST); }

long NAME(gemm_tn_scratch)(long m, long n, long rows)
{
    (void)rows;
    return (strip_elements(m) + DEPTH * up(least(n, COLUMNS_MOST), SQUARE_COLUMNS)) * (long)(sizeof(factor) / sizeof(elem));
}

/* `columns` elements of a row, in bfloat16 of two, to their places in a group of `width`, the missing ones zero; `odd`: NULL where
 * there is no second row. */
#if KERNEL_BITS != 16

static inline void put_rows(long columns, long width, const elem *row, const elem *none, factor *to)
{
    (void)none;
    if (columns == width) {
        memcpy(to, row, (size_t)width * sizeof(elem));
        return;
    }
    for (long l = 0; l < width; l++)
        to[l] = l < columns ? row[l] : 0;
}

#else

static inline void put_places(long columns, long width, const elem *even, const elem *odd, factor *to)
{
    for (long l = 0; l < width; l++) {
        elem first = l < columns ? even[l] : 0, second = odd && l < columns ? odd[l] : 0;
#if defined(__AVX512BF16__)
        to[2 * l] = first;
        to[2 * l + 1] = second;
#else
        to[l] = get(second);
        to[width + l] = get(first);
#endif
    }
}

static inline __attribute__((always_inline)) void put_rows(long columns, long width, const elem *even, const elem *odd, factor *to)
{
    if (columns == width && odd)
        put_places(width, width, even, odd, to);     /* without tests in the loop */
    else
        put_places(columns, width, even, odd, to);
}

#endif

/* Columns [0, n) of `k` rows into groups of `width` columns, [k][width] each (in bfloat16 as tiles take pairs of rows). Eight rows
 * at a time: a row at a time would write to too many places, a group at a time would read them. */
static inline __attribute__((always_inline)) void pack_groups(long k, long n, const elem *from, long ld, long width, factor *to)
{
    long depth = up(k, PAIR);
    for (long i0 = 0; i0 < k; i0 += 8) {
        long i1 = least(i0 + 8, k);
        for (long j = 0; j < n; j += width)
            for (long i = i0; i < i1; i += PAIR) {
                const elem *row = from + i * ld + j;
                put_rows(least(n - j, width), width, row, i + 1 < k ? row + ld : NULL, to + j * depth + i * width);
            }
    }
}

static void tile_square(long k, const factor *a, const factor *b, real *c, long ldc, int accumulate)
{
    tile(MOST, SQUARE, k / TOGETHER, a, TOGETHER, MOST * TOGETHER, b, k * PANEL, NULL, c, ldc, accumulate);
}

static void tile_edge(long k, const factor *a, const factor *b, real *c, long ldc, long rows, long columns)
{
    real whole[MOST * SQUARE * VLEN];
    tile_square(k, a, b, whole, SQUARE * VLEN, 0);
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < columns; j++)
            c[r * ldc + j] += whole[r * SQUARE * VLEN + j];
}

static void strips_times_groups(long m, long n, long k, const factor *a, const factor *b, real *c, long ldc)
{
    enum { COLUMNS = SQUARE * VLEN };
    for (long j = 0; j < n; j += COLUMNS) {
        const factor *panel = b + j / PANEL * PANEL * k + j % PANEL * TOGETHER;
        for (long i = 0; i < m; i += MOST) {
            real *to = c + i * ldc + j;
            if (m - i >= MOST && n - j >= COLUMNS)
                tile_square(k, a + i * k, panel, to, ldc, 1);
            else
                tile_edge(k, a + i * k, panel, to, ldc, least(m - i, MOST), least(n - j, COLUMNS));
        }
    }
}

void NAME(gemm_tn)(long m, long n, long rows, const void *a, long lda, const void *b, long ldb, void *c, long ldc,
                   void *scratch)
{
    factor *pa = scratch, *pb = pa + strip_elements(m);
    for (long l = 0; l < rows; l += DEPTH) {
        long k = least(rows - l, DEPTH), depth = up(k, PAIR);
        for (long j = 0; j < n; j += COLUMNS_MOST) {
            long columns = least(n - j, COLUMNS_MOST);
            pack_groups(k, columns, (const elem *)b + l * ldb + j, ldb, PANEL, pb);
            for (long group = up(columns, PANEL); group < up(columns, SQUARE_COLUMNS); group += PANEL)
                memset(pb + group * depth, 0, (size_t)(PANEL * depth) * sizeof(factor));
            for (long i = 0; i < m; i += ROWS_MOST) {
                long strip = least(m - i, ROWS_MOST);
                pack_groups(k, strip, (const elem *)a + l * lda + i, lda, MOST, pa);
                strips_times_groups(strip, columns, depth, pa, pb, (real *)c + i * ldc + j, ldc);
            }
        }
    }
}
