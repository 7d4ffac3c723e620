/* outer.c - c += a^T b, the sum over time and batch of outer products (D2L 9.7.16). */
#include "tile.h"

enum { ROWS_MOST = 192, COLUMNS_MOST = 1024 };

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

static void tile_square(long k, const factor *a, const factor *b, struct ahead ahead, real *c, long ldc, int accumulate)
{
    tile(MOST, SQUARE, k / TOGETHER, a, TOGETHER, MOST * TOGETHER, b, k * PANEL, ahead, c, ldc, accumulate);
}

static void tile_edge(long k, const factor *a, const factor *b, real *c, long ldc, long rows, long columns)
{
    real whole[MOST * SQUARE * VLEN];
    tile_square(k, a, b, (struct ahead){NULL, 0}, whole, SQUARE * VLEN, 0);
    for (long r = 0; r < rows; r++)
        for (long j = 0; j < columns; j++)
            c[r * ldc + j] += whole[r * SQUARE * VLEN + j];
}

static void strips_times_groups(long m, long n, long k, const factor *a, const factor *b, real *c, long ldc)
{
    enum { COLUMNS = SQUARE * VLEN };
    long lines = lines_ahead(k / TOGETHER, (m + MOST - 1) / MOST);
    for (long j = 0; j < n; j += COLUMNS) {
        const factor *panel = b + j / PANEL * PANEL * k + j % PANEL * TOGETHER;
        for (long i = 0; i < m; i += MOST) {
            real *to = c + i * ldc + j;
            if (m - i >= MOST && n - j >= COLUMNS)
                tile_square(k, a + i * k, panel, share_ahead(panel + k * PANEL, k / TOGETHER, i / MOST, lines), to, ldc, 1);
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
