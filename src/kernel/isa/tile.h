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

#endif
