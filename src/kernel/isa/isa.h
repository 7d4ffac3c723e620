/* isa.h - what the files of this folder share. Each is compiled once per instruction set and precision; NAME(x)
 * makes the names of the copies differ (gemm_avx2_32), and kernels.c puts them into a table. */
#ifndef BPTT_KERNEL_ISA_H
#define BPTT_KERNEL_ISA_H

#include "../kernel.h"
#include "../vmath.h"

#define NAME(name) NAME_EXPANDED(name, KERNEL_ISA, KERNEL_BITS)
#define NAME_EXPANDED(name, isa, bits) NAME_JOINED(name, isa, bits)
#define NAME_JOINED(name, isa, bits) name##_##isa##_##bits

/* Columns up to the end of the last vector: loops over an activation's rows need no tail, its padding serves as one. */
static inline long vectors(long n) { return (n + VLEN - 1) / VLEN * VLEN; }

/* Vectors of doubles in the order of a vector's lanes, for sums in double precision. */
typedef double wide __attribute__((vector_size(VBYTES / sizeof(real) * sizeof(double))));
static inline void add_wide(wide *sum, vec a) { *sum += __builtin_convertvector(a, wide); }

static inline double sum_wide(const wide *a)
{
    double sum = 0;
    for (int i = 0; i < VLEN; i++)
        sum += (*a)[i];
    return sum;
}

/* pack.c */
void NAME(pack)(long k, long n, const void *w, long k_stride, long n_stride, void *packed);

/* gemm.c, or in bfloat16 narrow.c, which alone has gemm_wide */
void NAME(gemm)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate);
void NAME(gemm_wide)(long m, long n, long k, const void *a, long lda, const void *packed, void *c, long ldc, int accumulate);
void NAME(gemv)(long n, long k, const void *a, const void *packed, void *c, int accumulate);

/* outer.c */
void NAME(gemm_tn)(long m, long n, long rows, const void *a, long lda, const void *b, long ldb, void *c, long ldc,
                   void *scratch);
long NAME(gemm_tn_scratch)(long m, long n, long rows);

/* rows.c */
void NAME(column_sum)(long rows, long n, const void *a, long lda, void *y);
void NAME(add_row)(long rows, long n, const void *row, void *c, long ldc);
void NAME(gather)(long rows, long n, const int32_t *index, const void *table, long ldt, void *out, long ldo);
void NAME(scatter_add)(long rows, long c0, long c1, const int32_t *index, const void *a, long lda, void *table,
                       long ldt);
void NAME(add)(long rows, long n, const void *a, long lda, void *c, long ldc);
void NAME(multiply)(long rows, long n, const void *a, long lda, void *c, long ldc);
void NAME(fill)(long n, double value, void *y);
void NAME(scale)(long n, double value, void *y);
void NAME(load_rows)(long rows, long n, const void *x, int from_size, long ldx, void *out, long ldo);
void NAME(store_rows)(long rows, long n, const void *a, long lda, void *x, int to_size, long ldx);
void NAME(dropout_mask)(const uint32_t key[4], uint64_t first_index, long rows, long n, double keep, void *out,
                        long ldo);

/* losses.c */
void NAME(softmax_cross_entropy)(long rows, long n, void *o, long ldo, const int32_t *target, double scale,
                                 double *loss);
void NAME(squared_error)(long rows, long n, void *o, long ldo, const void *target, long ldt, double scale,
                         double *loss);

/* optimisers.c */
double NAME(sum_of_squares)(long n, const void *g);
void NAME(clamp)(long n, double limit, void *g);
void NAME(sgd)(long n, void *w, void *g, void *m, double scale, double rate, double momentum, double decay);
void NAME(rmsprop)(long n, void *w, void *g, void *v, double scale, double rate, double alpha, double eps,
                   double decay);
void NAME(adam)(long n, void *w, void *g, void *m, void *v, double scale, double rate, double beta1, double beta2,
                double correction1, double correction2, double eps, double decay, int decoupled);

/* peak.c */
double NAME(multiply_adds)(void *result);

extern const struct kernels NAME(kernels);

#endif
