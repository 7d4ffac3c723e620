/* tile.h - all arithmetic of matrix products: a few rows times a few vectors of columns, summed in registers, one step of k after
 * the other. What is around it (gemm.c, narrow.c, outer.c) only chooses the order of tiles, so that what is used again is
 * still in a cache. */
#ifndef BPTT_KERNEL_ISA_TILE_H
#define BPTT_KERNEL_ISA_TILE_H

#include "isa.h"

enum {
    PAIR = KERNEL_BITS == 16 ? 2 : 1,        /* steps of k that stand together in packed matrices */
    PANEL = STAGE_PAD,
    DEPTH = 256,                             /* steps of k that one sum goes over: blocks begin at multiples of it always, so that
                                                sums do not depend on tiles */
    CHUNK = 32,                              /* steps of a tile between two calls ahead */
    LINES = 4,                               /* lines of 64 bytes that one such call is for, or a multiple */
};

/* The shape of tiles: accumulators must fit into the registers (16, or 32 with AVX-512) beside a row of B and an
 * element of A, and there should be at least 8, as a multiply-add takes 4 cycles and two can start in each. */
#if defined(__AVX512F__)
enum { MOST = 12, NARROW = 1, ROW_VECS = 4 };
#elif defined(__AVX__)
enum { MOST = 6, NARROW = 2, ROW_VECS = 4 };
#else
enum { MOST = 4, NARROW = 2, ROW_VECS = PANEL / VLEN };
#endif

#ifdef __clang__
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_STEPS _Pragma("clang loop unroll_count(4)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#define UNROLL_STEPS _Pragma("GCC unroll 4")
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

#if KERNEL_BITS == 16

static inline uvec pairs_at(const elem *b)
{
    uvec pairs;
    memcpy(&pairs, b, sizeof pairs);
    return pairs;
}

#endif

/* Where vector v of B's row stands, in panels of so many columns. */
static inline long vector_at(int v, int panel, long panel_step)
{
    return v * VLEN / panel * panel_step + v * VLEN % panel * TOGETHER;
}

static inline __attribute__((always_inline)) void step_of_tile(int rows, int vecs, const factor *a, long a_row, const factor *b,
                                                               int panel, long panel_step, vec sum[MOST][8])
{
#if KERNEL_BITS == 16 && defined(__AVX512BF16__)
    UNROLL
    for (int r = 0; r < rows; r++) {
        uint32_t bits;
        memcpy(&bits, a + r * a_row, sizeof bits);
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] = (vec)_mm512_dpbf16_ps((__m512)sum[r][v], (__m512bh)((uvec){0} + bits),
                                              (__m512bh)pairs_at(b + vector_at(v, panel, panel_step)));
    }
#else
    vec row[8];
    UNROLL
    for (int v = 0; v < vecs; v++)
        row[v] = v_read(b + vector_at(v, panel, panel_step));
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] += a[r * a_row] * row[v];
#endif
}

/* Tiles one under the other, on the same steps and columns of B: strip i begins at a + i * a_strip.
 *
 * While they compute they call what is wanted after them into the cache: a block of B of the same number of steps, `next`; each
 * tile its share of `lines` lines every CHUNK steps, and these are tiles number `first` and on of those that share it. (What the
 * machine fetches ahead by itself ends with a page, and a block called by one tile alone would come as fast as memory, not as
 * fast as the sums.) */
struct strips {
    long count, steps;
    const factor *a;
    long a_strip;
    const factor *b;
    long panel_step;
    real *c;
    long ldc;
    int accumulate;
    const factor *next;
    long first, lines;
};

/* Lines for each of so many tiles that call a block of as many steps together. Small blocks are in a near cache anyway, and one or
 * two tiles use up theirs so fast that calls for the next one only stand in their way: what the machine fetches by itself is
 * better there (four rows of LSTM-512: 73 GFLOP/s with calls, 92 without). */
static inline long lines_ahead(long steps, int panel, long tiles)
{
    const long all = steps * panel * TOGETHER * (long)sizeof(factor) / 64, turns = tiles * ((steps + CHUNK - 1) / CHUNK);
    return steps >= 2 * CHUNK && tiles > 2 ? up((all + turns - 1) / turns, LINES) : 0;
}

/* c[rows, vecs] (+)= A B, of one strip. A[r][i] is a[r * a_row + i * a_step] (i: steps of step_of_tile); vector v of B's row i lies
 * in the panel, of `panel` columns, that holds column v * VLEN. Inlined with constant rows, vecs and panel, so that `sum` lives in
 * registers. Four steps stand in one turn of the loop: where another program runs on the same core, instructions are what is
 * scarce, and counting costs a sixth. */
static inline __attribute__((always_inline)) void tile(int rows, int vecs, int panel, const struct strips *s, const factor *a,
                                                       long a_row, long a_step, const factor *next, long lines, real *c)
{
    const factor *b = s->b;
    const long ldc = s->ldc;
    vec sum[MOST][8];
    UNROLL
    for (int r = 0; r < rows; r++) {
        __builtin_prefetch(c + r * ldc, 1);  /* wanted at the end: rows far apart, which no machine foresees */
        UNROLL
        for (int v = 0; v < vecs; v++)
            sum[r][v] = v_splat(0);
    }
    for (long left = s->steps; left > 0; left -= CHUNK) {
        for (long l = 0; l < lines; l += LINES)
            UNROLL
            for (int line = 0; line < LINES; line++, next += 64 / sizeof(factor))
                __builtin_prefetch(next, 0, 2);
        UNROLL_STEPS
        for (long i = least(left, CHUNK); i > 0; i--) {
            step_of_tile(rows, vecs, a, a_row, b, panel, s->panel_step, sum);
            a += a_step;
            b += panel * TOGETHER;
        }
    }
    UNROLL
    for (int r = 0; r < rows; r++)
        UNROLL
        for (int v = 0; v < vecs; v++) {
            real *to = c + r * ldc + v * VLEN;
            v_write(to, s->accumulate ? v_read(to) + sum[r][v] : sum[r][v]);
        }
}

static inline __attribute__((always_inline)) void tiles_of_strips(int rows, int vecs, int panel, const struct strips *s,
                                                                  long a_row, long a_step)
{
    const factor *a = s->a, *end = s->next + s->steps * panel * TOGETHER;
    const long share = (s->steps + CHUNK - 1) / CHUNK * s->lines * (64 / (long)sizeof(factor));
    const factor *next = s->next + s->first * share;
    real *c = s->c;
    for (long i = s->count; i > 0; i--) {
        tile(rows, vecs, panel, s, a, a_row, a_step, next, next < end ? s->lines : 0, c);
        a += s->a_strip;
        c += rows * s->ldc;
        next += share;
    }
}

#endif
