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
 * 2^-126 for zero, which the emulation does not.) A result that is stored in bfloat16 is rounded once, after all of k. */
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

/* What becomes of a product: c = ab or c += ab; c an activation, or of the type that sums have (`real`). */
enum { ACCUMULATE = 1, WIDE = 2 };

static inline void *moved(void *c, long by, int how)
{
    return (char *)c + by * (long)(how & WIDE ? sizeof(real) : sizeof(elem));
}

static inline void give(void *c, vec sum, int how)
{
    if (how & WIDE)
        v_write(c, how & ACCUMULATE ? v_read(c) + sum : sum);
    else
        v_store(c, how & ACCUMULATE ? v_load(c) + sum : sum);
}

static inline long least(long a, long b) { return a < b ? a : b; }
static inline long up(long n, long multiple) { return (n + multiple - 1) / multiple * multiple; }

typedef void tile_fn(long k, const elem *a, long lda, const elem *b, long panel_step, const elem *next, void *c, long ldc, int how);

#if KERNEL_BITS == 16

/* In x86's own words: the compiler would take the pair apart before it spreads it, or keep it for the other half and run out of
 * registers; either takes twice the time. */
static inline uvec pair_of(const elem *a)
{
    uvec pair;
#if defined(__AVX2__) && !defined(__AVX512BF16__)
    __asm__ volatile("vpbroadcastd %1, %0" : "=x"(pair) : "m"(*(const elem(*)[2])(const void *)a));
#else
    uint32_t bits;
    memcpy(&bits, a, sizeof bits);
    pair = (uvec){0} + bits;
#endif
    return pair;
}

static inline uvec first_alone(const elem *a)
{
    const elem pair[2] = {*a, 0};
    return pair_of(pair);
}

static inline uvec pairs_at(const elem *b)
{
    uvec pairs;
    memcpy(&pairs, b, sizeof pairs);
    return pairs;
}

static inline vec half_of(uvec pair, int odd) { return (vec)(odd ? pair & 0xFFFF0000 : pair << 16); }

/* Two steps of k, or with `alone` the last one, whose partner is zero in b. */
static inline __attribute__((always_inline)) void step_of_tile(int rows, int vecs, const elem *a, long a_row, const elem *b,
                                                               long panel_step, int alone, vec sum[MOST][8])
{
#if defined(__AVX512BF16__)
    UNROLL
    for (int r = 0; r < rows; r++) {
        __m512bh pair = (__m512bh)(alone ? first_alone(a + r * a_row) : pair_of(a + r * a_row));
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] = (vec)_mm512_dpbf16_ps((__m512)sum[r][v], pair,
                                              (__m512bh)pairs_at(b + v * VLEN / PANEL * panel_step + v * VLEN % PANEL * PAIR));
    }
#else
    UNROLL
    for (int odd = 1; odd >= 0; odd--) {
        vec row[8];
        UNROLL
        for (int v = 0; v < vecs; v++)
            row[v] = half_of(pairs_at(b + v * VLEN / PANEL * panel_step + v * VLEN % PANEL * PAIR), odd);
        UNROLL
        for (int r = 0; r < rows; r++) {
            vec factor = half_of(alone ? first_alone(a + r * a_row) : pair_of(a + r * a_row), odd);
            UNROLL
            for (int v = 0; v < vecs; v++)
                sum[r][v] += factor * row[v];
        }
    }
#endif
}

#else

static inline __attribute__((always_inline)) void step_of_tile(int rows, int vecs, const elem *a, long a_row, const elem *b,
                                                               long panel_step, int alone, vec sum[MOST][8])
{
    vec row[8];
    UNROLL
    for (int v = 0; v < vecs; v++)
        row[v] = v_load(b + v * VLEN / PANEL * panel_step + v * VLEN % PANEL);
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] += a[r * a_row] * row[v];
}

#endif

/* c[rows, vecs] (+)= A B over k steps. A[r][i] is a[r * a_row + i * a_step] (i: steps, in bfloat16 pairs of them); vector v of
 * B's row i lies in the panel that holds column v * VLEN. Inlined with constant rows and vecs, so that `sum` lives in registers.
 * `next`: a panel to be called into the cache meanwhile, or NULL: what the machine fetches ahead by itself ends with a page. */
static inline __attribute__((always_inline)) void tile(int rows, int vecs, long k, const elem *a, long a_row,
                                                       long a_step, const elem *b, long panel_step, const elem *next,
                                                       void *c, long ldc, int how)
{
    vec sum[MOST][8];
    UNROLL
    for (int r = 0; r < rows; r++) {
        __builtin_prefetch(moved(c, r * ldc, how), 1);  /* wanted at the end: rows far apart, which no machine foresees */
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] = v_splat(0);
    }
    for (long i = 0; i < k / PAIR; i++) {
        if (next)
            __builtin_prefetch(next + i * PANEL * PAIR);
        step_of_tile(rows, vecs, a, a_row, b, panel_step, 0, sum);
        a += a_step;
        b += PANEL * PAIR;
    }
    if (k % PAIR)
        step_of_tile(rows, vecs, a, a_row, b, panel_step, 1, sum);
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int v = 0; v < vecs; v++)
            give(moved(c, r * ldc + v * VLEN, how), sum[r][v], how);
}

#define TILE(rows, vecs)                                                                                              \
    static void tile_##rows##_##vecs(long k, const elem *a, long lda, const elem *b, long panel_step,                 \
                                     const elem *next, void *c, long ldc, int how)                                    \
    {                                                                                                                 \
        if (next)                                                                                                     \
            tile(rows, vecs, k, a, lda, PAIR, b, panel_step, next, c, ldc, how);                                      \
        else                                                                                                          \
            tile(rows, vecs, k, a, lda, PAIR, b, panel_step, NULL, c, ldc, how);                                      \
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
    long n, k;
    const elem *a;
    long lda;
    const elem *b;
    long panel_step;
    void *c;
    long ldc;
    int how, far;                            /* far: B outgrows the caches that are near */
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
        const elem *b = p->b + column / PANEL * p->panel_step + column % PANEL * PAIR;
        for (long s = 0; s < strips; s++)
            fn(p->k, p->a + s * rows * p->lda, p->lda, b, p->panel_step, p->far && s == 0 ? b + p->panel_step : NULL,
               moved(p->c, s * rows * p->ldc + column, p->how), p->ldc, p->how);
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
    p.c = moved(p.c, (strips - larger) * rows * p.ldc, p.how);
    if (larger)
        strips_times_panels(&p, larger, (int)rows + 1);
}

/* All k of a few rows and columns: the tiles of c stay in the first-level cache from one block of k to the next. */
static void blocks_times_panels(const struct product *all, long m)
{
    long depth = PAIR == 1 ? DEPTH : all->k; /* what c holds must not be rounded between */
    for (long l = 0; l < all->k; l += depth) {
        struct product p = *all;
        p.k = least(all->k - l, depth);
        p.a += l;
        p.b += l * PANEL;
        p.how = all->how | (l > 0 ? ACCUMULATE : 0);
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
static void blocks_outside(long m, long n, long k, const elem *a, long lda, const elem *packed, void *c, long ldc, int how)
{
    long columns = up(tiles[m / strips_of(m)].vecs * VLEN, PANEL);
    for (long l = 0; l < k; l += DEPTH)
        for (long j = 0; j < n; j += columns) {
            struct product p = {least(n - j, columns), least(k - l, DEPTH), a + l, lda, packed + j * k + l * PANEL, k * PANEL,
                                moved(c, j, how), ldc, how | (l > 0 ? ACCUMULATE : 0), n * k > FAR};
            rows_times_panels(p, m);
        }
}

static void gemm(long m, long n, long k, const elem *a, long lda, const elem *packed, void *c, long ldc, int how)
{
    n = padded(n);
    for (long i = 0; i < m && k == 0 && !(how & ACCUMULATE); i++)
        memset(moved(c, i * ldc, how), 0, (size_t)n * (how & WIDE ? sizeof(real) : sizeof(elem)));
    long at_once = rows_at_once(k);
    int outside = PAIR == 1 && k > LONG && at_once < m;
    at_once = outside ? ROWS_MOST : at_once;
    for (long i = 0; i < m; i += at_once) {
        long rows = least(m - i, at_once);
        if (outside) {
            blocks_outside(rows, n, k, a + i * lda, lda, packed, moved(c, i * ldc, how), ldc, how);
            continue;
        }
        long columns = up(tiles[rows / strips_of(rows)].vecs * VLEN, PANEL), panel_step = up(k, PAIR) * PANEL;
        for (long j = 0; j < n; j += columns) {
            struct product p = {least(n - j, columns), k, a + i * lda, lda, packed + j / PANEL * panel_step, panel_step,
                                moved(c, i * ldc + j, how), ldc, how, n * k > FAR};
            blocks_times_panels(&p, rows);
        }
    }
}

void NAME(gemm)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate)
{
    gemm(m, n, k, a, lda, packed, c, ldc, accumulate ? ACCUMULATE : 0);
}

void NAME(gemm_wide)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate)
{
    gemm(m, n, k, a, lda, packed, c, ldc, (accumulate ? ACCUMULATE : 0) | WIDE);
}

/* ---- one row ---- */

/* With one row there are too few sums to keep the adders busy, so even and odd steps of k (in bfloat16, pairs of steps) have
 * sums of their own. */
static inline __attribute__((always_inline)) void row_times_panels(int vecs, long k, const elem *a, const elem *b, long panel_step,
                                                                  elem *c, int how)
{
    vec sum[2][MOST][8];
    UNROLL
    for (int v = 0; v < vecs; v++)
        sum[0][0][v] = sum[1][0][v] = v_splat(0);
    long i = 0, steps = k / PAIR;
    for (; i + 1 < steps; i += 2)
        UNROLL
        for (int odd = 0; odd < 2; odd++)
            step_of_tile(1, vecs, a + (i + odd) * PAIR, 0, b + (i + odd) * PANEL * PAIR, panel_step, 0, sum[odd]);
    for (; i < steps; i++)
        step_of_tile(1, vecs, a + i * PAIR, 0, b + i * PANEL * PAIR, panel_step, 0, sum[0]);
    if (k % PAIR)
        step_of_tile(1, vecs, a + i * PAIR, 0, b + i * PANEL * PAIR, panel_step, 1, sum[i % 2]);
    UNROLL
    for (int v = 0; v < vecs; v++)
        give(c + v * VLEN, sum[0][0][v] + sum[1][0][v], how);
}

void NAME(gemv)(long n, long k, const void *a, const void *packed, void *c, int accumulate)
{
    long j = 0, panel_step = up(k, PAIR) * PANEL;
    int how = accumulate ? ACCUMULATE : 0;
    n = padded(n);
    for (; j + ROW_VECS * VLEN <= n; j += ROW_VECS * VLEN)
        row_times_panels(ROW_VECS, k, a, (const elem *)packed + j / PANEL * panel_step + j % PANEL * PAIR, panel_step, (elem *)c + j, how);
    for (; j < n; j += PANEL)
        row_times_panels(PANEL / VLEN, k, a, (const elem *)packed + j / PANEL * panel_step, panel_step, (elem *)c + j, how);
}

/* ---- c += a^T b ---- */

/* A block of a, [DEPTH rows, ROWS_MOST columns], is packed into strips [k][MOST] and one of b into panels
 * [k][PANEL]; then the same tiles run. Tiles at the edge are made in full beside c, and what is inside is added. */
enum { SQUARE_COLUMNS = SQUARE * VLEN < PANEL ? PANEL : SQUARE * VLEN };

long NAME(gemm_tn_scratch)(long m, long n, long rows)
{
    return DEPTH * (up(least(m, ROWS_MOST), MOST) + up(least(n, COLUMNS_MOST), SQUARE_COLUMNS));
}

/* Two rows as pairs; the second may be missing. */
static inline void interleave(long n, const elem *even, const elem *odd, elem *to)
{
    for (long l = 0; l < n; l++) {
        to[2 * l] = even[l];
        to[2 * l + 1] = odd ? odd[l] : 0;
    }
}

/* Columns [0, n) of `k` rows into groups of `width` columns, [k][width] each (in bfloat16 [k / 2][width][2]), the missing columns
 * zero. Eight rows at a time: a row at a time would write to too many places, a group at a time would read them. */
static inline __attribute__((always_inline)) void pack_groups(long k, long n, const elem *from, long ld, long width,
                                                              elem *to)
{
    for (long i0 = 0; i0 < k; i0 += 8) {
        long i1 = least(i0 + 8, k);
        for (long j = 0; j < n; j += width)
            for (long i = i0; i < i1; i += PAIR) {
                elem *group = to + j * up(k, PAIR) + i * width;
                long columns = least(n - j, width);
                const elem *row = from + i * ld + j;
                if (columns < width)
                    memset(group, 0, (size_t)(width * PAIR) * sizeof(elem));
                if (PAIR == 2)
                    interleave(columns, row, i + 1 < k ? row + ld : NULL, group);
                else if (columns == width)
                    memcpy(group, row, (size_t)width * sizeof(elem));
                else
                    memcpy(group, row, (size_t)columns * sizeof(elem));
            }
    }
}

static void tile_square(long k, const elem *a, const elem *b, real *c, long ldc, int how)
{
    tile(MOST, SQUARE, k, a, PAIR, MOST * PAIR, b, up(k, PAIR) * PANEL, NULL, c, ldc, how | WIDE);
}

static void tile_edge(long k, const elem *a, const elem *b, real *c, long ldc, long rows, long columns)
{
    real whole[MOST * SQUARE * VLEN];
    tile_square(k, a, b, whole, SQUARE * VLEN, 0);
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < columns; j++)
            c[r * ldc + j] += whole[r * SQUARE * VLEN + j];
}

static void strips_times_groups(long m, long n, long k, const elem *a, const elem *b, real *c, long ldc)
{
    enum { COLUMNS = SQUARE * VLEN };
    long depth = up(k, PAIR);
    for (long j = 0; j < n; j += COLUMNS) {
        const elem *panel = b + j / PANEL * PANEL * depth + j % PANEL * PAIR;
        for (long i = 0; i < m; i += MOST) {
            real *to = c + i * ldc + j;
            if (m - i >= MOST && n - j >= COLUMNS)
                tile_square(k, a + i * depth, panel, to, ldc, ACCUMULATE);
            else
                tile_edge(k, a + i * depth, panel, to, ldc, least(m - i, MOST), least(n - j, COLUMNS));
        }
    }
}

void NAME(gemm_tn)(long m, long n, long rows, const void *a, long lda, const void *b, long ldb, void *c, long ldc,
                   void *scratch)
{
    elem *pa = scratch;
    elem *pb = pa + DEPTH * up(least(m, ROWS_MOST), MOST);
    for (long l = 0; l < rows; l += DEPTH) {
        long k = least(rows - l, DEPTH), depth = up(k, PAIR);
        for (long j = 0; j < n; j += COLUMNS_MOST) {
            long columns = least(n - j, COLUMNS_MOST);
            pack_groups(k, columns, (const elem *)b + l * ldb + j, ldb, PANEL, pb);
            for (long group = up(columns, PANEL); group < up(columns, SQUARE_COLUMNS); group += PANEL)
                memset(pb + group * depth, 0, (size_t)(PANEL * depth) * sizeof(elem));
            for (long i = 0; i < m; i += ROWS_MOST) {
                long strip = least(m - i, ROWS_MOST);
                pack_groups(k, strip, (const elem *)a + l * lda + i, lda, MOST, pa);
                strips_times_groups(strip, columns, k, pa, pb, (real *)c + i * ldc + j, ldc);
            }
        }
    }
}
