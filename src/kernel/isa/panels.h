/* panels.h - tiles over a few rows of A and a few panels of B, for at most DEPTH steps of k. */
#ifndef BPTT_KERNEL_ISA_PANELS_H
#define BPTT_KERNEL_ISA_PANELS_H

#include "tile.h"

typedef void strips_fn(const struct strips *s, long lda);

#define STRIPS(rows, vecs)                                                                                             \
    static void strips_##rows##_##vecs(const struct strips *s, long lda)                                               \
    {                                                                                                                  \
        tiles_of_strips(rows, vecs, PANEL, s, lda, TOGETHER);                                                          \
    }

/* For each number of rows: the tile for as many columns as fill the registers, and the one for the columns left. */
struct tiles { int vecs; strips_fn *wide, *narrow; };

#if defined(__AVX512F__)
STRIPS(1, 8) STRIPS(2, 8) STRIPS(3, 4) STRIPS(4, 4) STRIPS(5, 4) STRIPS(6, 4)
STRIPS(7, 2) STRIPS(8, 2) STRIPS(9, 2) STRIPS(10, 2) STRIPS(11, 2) STRIPS(12, 2)
STRIPS(1, 1) STRIPS(2, 1) STRIPS(3, 1) STRIPS(4, 1) STRIPS(5, 1) STRIPS(6, 1)
STRIPS(7, 1) STRIPS(8, 1) STRIPS(9, 1) STRIPS(10, 1) STRIPS(11, 1) STRIPS(12, 1)
static const struct tiles tiles[MOST + 1] = {
    {0, 0, 0},
    {8, strips_1_8, strips_1_1}, {8, strips_2_8, strips_2_1}, {4, strips_3_4, strips_3_1}, {4, strips_4_4, strips_4_1},
    {4, strips_5_4, strips_5_1}, {4, strips_6_4, strips_6_1}, {2, strips_7_2, strips_7_1}, {2, strips_8_2, strips_8_1},
    {2, strips_9_2, strips_9_1}, {2, strips_10_2, strips_10_1}, {2, strips_11_2, strips_11_1}, {2, strips_12_2, strips_12_1},
};
#elif defined(__AVX__)
STRIPS(1, 8) STRIPS(2, 4) STRIPS(3, 4) STRIPS(1, 2) STRIPS(2, 2) STRIPS(3, 2) STRIPS(4, 2) STRIPS(5, 2) STRIPS(6, 2)
static const struct tiles tiles[MOST + 1] = {
    {0, 0, 0},
    {8, strips_1_8, strips_1_2}, {4, strips_2_4, strips_2_2}, {4, strips_3_4, strips_3_2},
    {2, strips_4_2, strips_4_2}, {2, strips_5_2, strips_5_2}, {2, strips_6_2, strips_6_2},
};
#else
STRIPS(1, 8) STRIPS(2, 4) STRIPS(1, 2) STRIPS(2, 2) STRIPS(3, 2) STRIPS(4, 2)
static const struct tiles tiles[MOST + 1] = {
    {0, 0, 0},
    {8, strips_1_8, strips_1_2}, {4, strips_2_4, strips_2_2}, {2, strips_3_2, strips_3_2}, {2, strips_4_2, strips_4_2},
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

/* `count` of the strips of a product, from strip `first` on, of `rows` rows each, over all columns. */
static void strips_times_panels(const struct product *p, long first, long count, long strips, int rows)
{
    long left = p->n / VLEN;
    int vecs = tiles[rows].vecs;
    strips_fn *fn = tiles[rows].wide;
    struct strips s = {count, p->k / TOGETHER, p->a, rows * p->lda, p->b, p->panel_step, p->c, p->ldc, p->accumulate, p->b, first, 0};
    s.lines = p->next ? lines_ahead(s.steps, PANEL, strips) : 0;
    for (long column = 0; left > 0; column += vecs * VLEN, left -= vecs) {
        if (left < vecs) {
            vecs = NARROW;
            fn = tiles[rows].narrow;
        }
        s.b = p->b + column / PANEL * p->panel_step + column % PANEL * TOGETHER;
        s.next = s.b + p->next;
        s.c = p->c + column;
        fn(&s, p->lda);
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
