/* kernel.h - the table of kernels: one per instruction set and precision, all compiled from the same sources. Every kernel
 * runs on the calling thread; callers split work by giving ranges. An element of a result depends only on its own operands
 * in a fixed order, never on how the work was split, so bits do not depend on the number of threads or on tile edges.
 *
 * Matrices are row-major with a leading dimension (ld) in elements. Activations have ld a multiple of 16 and rows aligned to
 * 64 bytes, and their padding columns may be overwritten; parameters and gradients have their natural ld and may not be
 * written past their columns. `void *` points to float, double or bfloat16 according to the table, and to the `wide` table's type
 * where it is a sum that grows: gradients, what gemm_wide writes. */
#ifndef BPTT_KERNEL_KERNEL_H
#define BPTT_KERNEL_KERNEL_H

#include <stdint.h>

#include "../base/cpu.h"
#include "../base/stage.h"

enum precision { PRECISION_F32, PRECISION_F64, PRECISION_BF16, PRECISION_COUNT };

static inline long padded(long n) { return (n + STAGE_PAD - 1) / STAGE_PAD * STAGE_PAD; }

struct kernels {
    enum isa isa;
    enum precision precision;
    long element_size;
    long pair;                             /* steps of k that stand together in packed panels: 2 in bfloat16, else 1 */
    const struct kernels *wide;            /* of gradients, losses and optimisers, which are NULL below in bfloat16; else itself */

    /* ---- matrix products ---- */

    /* Packs B [k rows, n columns], B[i][j] = w[i * k_stride + j * n_stride], into panels of 16 columns: padded(n) *
     * packed_depth(k) elements, the missing ones zero; packed_at says which is where. (A weight W [n, k] applied as x W^T: k_stride 1, n_stride k.) */
    void (*pack)(long k, long n, const void *w, long k_stride, long n_stride, void *packed);

    /* c[m, padded(n)] = a[m, k] B (+ c if accumulate). c is an activation: its padding columns are written (zero times). */
    void (*gemm)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate);

    /* The same with c of the wide type. */
    void (*gemm_wide)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate);

    /* The same as gemm for one row, faster, with another order of sums: for rows that are never part of a larger product. */
    void (*gemv)(long n, long k, const void *a, const void *packed, void *c, int accumulate);

    /* c[m, n] += a[rows, m]^T b[rows, n], the sum over time and batch of outer products (D2L 9.7.16). c wide, natural, ldc >= n.
     * scratch: gemm_tn_scratch elements. Sums over fixed blocks of rows counted from row 0. */
    void (*gemm_tn)(long m, long n, long rows, const void *a, long lda, const void *b, long ldb, void *c, long ldc,
                    void *scratch);
    long (*gemm_tn_scratch)(long m, long n, long rows);

    /* ---- rows ---- */
    void (*column_sum)(long rows, long n, const void *a, long lda, void *y);                 /* y[n] += sum_r a[r, n]; y wide */
    void (*add_row)(long rows, long n, const void *row, void *c, long ldc);                  /* c[r, :] += row (n natural) */
    void (*gather)(long rows, long n, const int32_t *index, const void *table, long ldt, void *out, long ldo);
    /* table[index[r], c0:c1] += a[r, c0:c1], in the order of r; table wide */
    void (*scatter_add)(long rows, long c0, long c1, const int32_t *index, const void *a, long lda, void *table, long ldt);
    void (*add)(long rows, long n, const void *a, long lda, void *c, long ldc);              /* c += a */
    void (*multiply)(long rows, long n, const void *a, long lda, void *c, long ldc);         /* c *= a */
    void (*fill)(long n, double value, void *y);
    void (*scale)(long n, double value, void *y);                                            /* y *= value */
    /* float (or double: from_size 8) rows with stride ldx to activations, and back */
    void (*load_rows)(long rows, long n, const void *x, int from_size, long ldx, void *out, long ldo);
    void (*store_rows)(long rows, long n, const void *a, long lda, void *x, int to_size, long ldx);
    /* Dropout masks: out[r, j] = u < keep ? 1 / keep : 0. With `key` a random_stream (key[0], key[1], purpose, layer), u is
     * word j % 4, over 2^32, of the Philox block with this key and counter (64 bits of first_index + r; purpose + 256 *
     * (j / 4); layer): for j < 4 that is random_block(stream, first_index + r). */
    void (*dropout_mask)(const uint32_t key[4], uint64_t first_index, long rows, long n, double keep, void *out, long ldo);

    /* ---- losses: loss[r] (double) of each row; the gradient times `scale` replaces o ----
     *     softmax_cross_entropy: loss[r] = log sum_j exp(o[r, j]) - o[r, target[r]];  o = scale * (softmax(o) - onehot)
     *     squared_error: loss[r] = sum_j (o[r, j] - target[r, j])^2;  o = scale * 2 * (o - target); target natural */
    void (*softmax_cross_entropy)(long rows, long n, void *o, long ldo, const int32_t *target, double scale, double *loss);
    void (*squared_error)(long rows, long n, void *o, long ldo, const void *target, long ldt, double scale, double *loss);

    /* ---- optimisers, elementwise over n; g is multiplied by `scale` first (clipping) and stays as it was; the rules are
     * PyTorch's. m of sgd may be NULL where momentum is 0. ---- */
    double (*sum_of_squares)(long n, const void *g);            /* in double, in a fixed order; NaN and inf propagate */
    void (*clamp)(long n, double limit, void *g);               /* to [-limit, limit]; NaN stays */
    /* g += decay w;  m = momentum m + g;  w -= rate m */
    void (*sgd)(long n, void *w, void *g, void *m, double scale, double rate, double momentum, double decay);
    /* g += decay w;  v = alpha v + (1 - alpha) g^2;  w -= rate g / (sqrt(v) + eps) */
    void (*rmsprop)(long n, void *w, void *g, void *v, double scale, double rate, double alpha, double eps, double decay);
    /* g += decay w (decoupled, AdamW: w -= rate decay w);  m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;
     * w -= rate / correction1 * m / (sqrt(v / correction2) + eps), correction_i = 1 - beta_i^step */
    void (*adam)(long n, void *w, void *g, void *m, void *v, double scale, double rate, double beta1, double beta2,
                 double correction1, double correction2, double eps, double decay, int decoupled);

    /* ---- the machine: some microseconds of multiply-adds on registers; returns how many operations these were. result: 64
     * bytes, read and written, so that the compiler cannot leave them out ---- */
    double (*multiply_adds)(void *result);
};

static inline long packed_depth(const struct kernels *kernels, long k) { return (k + kernels->pair - 1) / kernels->pair * kernels->pair; }

/* Where element [i][j] of a packed matrix of k rows stands. */
static inline long packed_at(const struct kernels *kernels, long k, long i, long j)
{
    long pair = kernels->pair, panel = j / STAGE_PAD * packed_depth(kernels, k) * STAGE_PAD;
    return panel + i / pair * pair * STAGE_PAD + j % STAGE_PAD * pair + i % pair;
}

/* The table for an instruction set (which must be available) and precision; never NULL. */
const struct kernels *kernels_get(enum isa isa, enum precision precision);

#endif
