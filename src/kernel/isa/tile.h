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
    CHUNK = 64,                              /* steps of a tile between two calls ahead */
    LINES = 4,                               /* lines of 64 bytes that one such call is for, or a multiple */
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

/* What a tile calls into the cache while it computes, for the tiles after it: so many lines every CHUNK steps, from here on. What
 * the machine fetches ahead by itself ends with a page, and a block called by one tile alone would come as fast as memory, not as
 * fast as the sums. */
struct ahead { const factor *from; long lines; };

/* Lines for each of so many tiles on one block of B that call the next block, which has as many steps, together. */
static inline long lines_ahead(long steps, long tiles)
{
    const long all = steps * PANEL * TOGETHER * (long)sizeof(factor) / 64, turns = tiles * ((steps + CHUNK - 1) / CHUNK);
    return turns ? up((all + turns - 1) / turns, LINES) : 0;
}

/* The share of the one that is number `tile` of them. */
static inline struct ahead share_ahead(const factor *next, long steps, long tile, long lines)
{
    const long first = tile * ((steps + CHUNK - 1) / CHUNK) * lines * (64 / (long)sizeof(factor));
    return first < steps * PANEL * TOGETHER ? (struct ahead){next + first, lines} : (struct ahead){next, 0};
}

/* c[rows, vecs] (+)= A B. A[r][i] is a[r * a_row + i * a_step] (i: steps of step_of_tile); vector v of B's row i lies in the
 * panel that holds column v * VLEN. Inlined with constant rows and vecs, so that `sum` lives in registers. Four steps stand in one
 * turn of the loop: where another program runs on the same core, instructions are what is scarce, and counting costs a sixth. */
static inline __attribute__((always_inline)) void tile(int rows, int vecs, long steps, const factor *a, long a_row, long a_step,
                                                       const factor *b, long panel_step, struct ahead ahead,
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
    for (long left = steps; left > 0; left -= CHUNK) {
        for (long l = 0; l < ahead.lines; l += LINES)
            UNROLL
            for (int line = 0; line < LINES; line++, ahead.from += 64 / sizeof(factor))
                __builtin_prefetch(ahead.from, 0, 2);
        UNROLL_STEPS
        for (long i = least(left, CHUNK); i > 0; i--) {
            step_of_tile(rows, vecs, a, a_row, b, panel_step, sum);
            a += a_step;
            b += PANEL * TOGETHER;
        }
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
