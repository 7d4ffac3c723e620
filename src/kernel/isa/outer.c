/* outer.c - c += a^T b, the sum over time and batch of outer products (D2L 9.7.16). */
#include "tile.h"

/* Both operands are copied, so their layout is free: blocks of a, [DEPTH rows, ROWS_MOST columns], become strips [k][STRIP], those
 * of b panels as wide as a tile, [k][WIDE] as far as its columns go, then [k][NARROWER]. Tiles at the edge are made beside c, and
 * what is inside is added.
 *
 * With 16 registers the tile that takes the fewest instructions is four rows by three vectors: 19 for 12 multiply-adds, where six
 * by two takes 20. */
enum { ROWS_MOST = 192, COLUMNS_MOST = 1024 };
#if defined(__AVX__) && !defined(__AVX512F__)
enum { STRIP = 4, NARROWER = 2 * VLEN, WIDE = 3 * VLEN };
#else
enum { STRIP = MOST, NARROWER = 2 * VLEN, WIDE = NARROWER };
#endif

static long strip_elements(long m) { return DEPTH * up(least(m, ROWS_MOST), STRIP); }

/* Of n columns those in wide panels. What is left fills panels of two vectors, if need be for one wide panel less: one vector
 * would keep the multipliers half idle. */
static long wide_columns(long n)
{
    long whole = n / WIDE * WIDE, left = n - whole;
    return WIDE > NARROWER && whole && left > 0 && left <= VLEN ? whole - WIDE : whole;
}

long NAME(gemm_tn_scratch)(long m, long n, long rows)
{
    (void)rows;
    return (strip_elements(m) + DEPTH * up(least(n, COLUMNS_MOST) + NARROWER, VLEN)) * (long)(sizeof(factor) / sizeof(elem));
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

static void strips_of_panel(int width, const struct strips *s)
{
    if (width == WIDE)
        tiles_of_strips(STRIP, WIDE / VLEN, WIDE, s, TOGETHER, STRIP * TOGETHER);
    else
        tiles_of_strips(STRIP, NARROWER / VLEN, NARROWER, s, TOGETHER, STRIP * TOGETHER);
}

/* The columns of a panel, fewer in the last one: whole strips as they are, what sticks out beside it. */
static void strips_times_panel(int width, long m, long columns, long k, const factor *a, const factor *b, real *c, long ldc)
{
    const long whole = columns < width ? 0 : m / STRIP, strips = (m + STRIP - 1) / STRIP, steps = k / TOGETHER;
    struct strips s = {whole, steps, a, STRIP * k, b, 0, c, ldc, 1, b + k * width, 0, lines_ahead(steps, width, strips)};
    strips_of_panel(width, &s);
    for (long i = whole; i < strips; i++) {
        real beside[STRIP * WIDE];
        strips_of_panel(width, &(struct strips){1, steps, a + i * s.a_strip, 0, b, 0, beside, width, 0, s.next, i, s.lines});
        for (long r = 0; r < least(m - i * STRIP, STRIP); r++)
            for (long j = 0; j < least(columns, width); j++)
                c[(i * STRIP + r) * ldc + j] += beside[r * width + j];
    }
}

static void strips_times_panels(long m, long n, long k, const factor *a, const factor *b, real *c, long ldc)
{
    const long broad = wide_columns(n);
    for (long j = 0; j < broad; j += WIDE)
        strips_times_panel(WIDE, m, WIDE, k, a, b + j * k, c + j, ldc);
    for (long j = broad; j < n; j += NARROWER)
        strips_times_panel(NARROWER, m, n - j, k, a, b + j * k, c + j, ldc);
}

void NAME(gemm_tn)(long m, long n, long rows, const void *a, long lda, const void *b, long ldb, void *c, long ldc,
                   void *scratch)
{
    factor *pa = scratch, *pb = pa + strip_elements(m);
    for (long l = 0; l < rows; l += DEPTH) {
        long k = least(rows - l, DEPTH), depth = up(k, PAIR);
        for (long j = 0; j < n; j += COLUMNS_MOST) {
            const elem *block = (const elem *)b + l * ldb + j;
            long columns = least(n - j, COLUMNS_MOST), broad = wide_columns(columns);
            pack_groups(k, broad, block, ldb, WIDE, pb);
            pack_groups(k, columns - broad, block + broad, ldb, NARROWER, pb + broad * depth);
            for (long i = 0; i < m; i += ROWS_MOST) {
                long strip = least(m - i, ROWS_MOST);
                pack_groups(k, strip, (const elem *)a + l * lda + i, lda, STRIP, pa);
                strips_times_panels(strip, columns, depth, pa, pb, (real *)c + i * ldc + j, ldc);
            }
        }
    }
}
