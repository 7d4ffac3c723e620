/* panels.h - tiles over a few rows of A and a few panels of B, for at most DEPTH steps of k. */
#ifndef BPTT_KERNEL_ISA_PANELS_H
#define BPTT_KERNEL_ISA_PANELS_H

#include "tile.h"

typedef void tile_fn(long steps, const factor *a, long lda, const factor *b, long panel_step, struct ahead ahead, real *c, long ldc,
                     int accumulate);

#define TILE(rows, vecs)                                                                                              \
    static void tile_##rows##_##vecs(long steps, const factor *a, long lda, const factor *b, long panel_step,         \
                                     struct ahead ahead, real *c, long ldc, int accumulate)                           \
    {                                                                                                                 \
        tile(rows, vecs, steps, a, lda, TOGETHER, b, panel_step, ahead, c, ldc, accumulate);                          \
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

struct product {
    long n, k;                               /* k: whole pairs */
    const factor *a;
    long lda;
    const factor *b;
    long panel_step;
    real *c;
    long ldc;
    int accumulate;
    long next;                               /* from this block of B to the one that is needed after it; 0: to none */
};

/* `count` of the strips of a product, of `rows` rows each, over all columns. Together they call the next block of B ahead. */
static void strips_times_panels(const struct product *p, long first, long count, long strips, int rows)
{
    long left = p->n / VLEN, steps = p->k / TOGETHER, lines = p->next ? lines_ahead(steps, strips) : 0;
    int vecs = tiles[rows].vecs;
    tile_fn *fn = tiles[rows].wide;
    for (long column = 0; left > 0; column += vecs * VLEN, left -= vecs) {
        if (left < vecs) {
            vecs = NARROW;
            fn = tiles[rows].narrow;
        }
        const factor *b = p->b + column / PANEL * p->panel_step + column % PANEL * TOGETHER;
        for (long s = 0; s < count; s++)
            fn(steps, p->a + s * rows * p->lda, p->lda, b, p->panel_step,
               share_ahead(b + p->next, steps, first + s, lines), p->c + s * rows * p->ldc + column, p->ldc, p->accumulate);
    }
}

static long strips_of(long m) { return (m + MOST - 1) / MOST; }

/* Strips as even as possible: a strip of one row would run at a fraction of the speed. */
static void rows_times_panels(struct product p, long m)
{
    long strips = strips_of(m);
    long rows = m / strips;
    long larger = m % strips;
    strips_times_panels(&p, 0, strips - larger, strips, (int)rows);
    p.a += (strips - larger) * rows * p.lda;
    p.c += (strips - larger) * rows * p.ldc;
    if (larger)
        strips_times_panels(&p, strips - larger, larger, strips, (int)rows + 1);
}

/* Columns that tiles of m rows take together: whole panels. */
static long columns_at_once(long m) { return up(tiles[m / strips_of(m)].vecs * VLEN, PANEL); }

#endif
