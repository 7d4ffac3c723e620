/* rows.c - work on rows that is not a product: sums of columns, gathering, conversion, dropout masks. Rows of
 * activations are done in whole vectors, their padding included; parameters and gradients end where they end. */
#include "isa.h"

/* ---- activations with parameters ---- */

enum { COLUMN_VECTORS = 4, COLUMN_ROWS = 256 };

/* y[0, n) += the sum of `rows` rows; n is at most COLUMN_VECTORS vectors. */
static void column_sum_block(long rows, long n, const elem *a, long lda, real *y)
{
    vec sum[COLUMN_VECTORS] = {{0}};
    for (long r = 0; r < rows; r++)
        for (int v = 0; v < COLUMN_VECTORS && v * VLEN < n; v++)
            sum[v] += v_load(a + r * lda + v * VLEN);
    for (int v = 0; v * VLEN < n; v++) {
        long count = n - v * VLEN < VLEN ? n - v * VLEN : VLEN;
        real *to = y + v * VLEN;
        v_write_first(to, v_read_first(to, count) + sum[v], count);
    }
}

/* Rows are summed in blocks of COLUMN_ROWS, counted from row 0, which keeps the rounding of long sums small. */
void NAME(column_sum)(long rows, long n, const void *a, long lda, void *y)
{
    enum { WIDTH = COLUMN_VECTORS * VLEN };
    for (long r = 0; r < rows; r += COLUMN_ROWS) {
        long count = rows - r < COLUMN_ROWS ? rows - r : COLUMN_ROWS;
        for (long j = 0; j < n; j += WIDTH)
            column_sum_block(count, n - j < WIDTH ? n - j : WIDTH, (const elem *)a + r * lda + j, lda, (real *)y + j);
    }
}

void NAME(add_row)(long rows, long n, const void *row, void *c, long ldc)
{
    const elem *from = row;
    long whole = n / VLEN * VLEN;
    vec last = v_load_first(from + whole, n - whole);
    for (long r = 0; r < rows; r++) {
        elem *to = (elem *)c + r * ldc;
        for (long j = 0; j < whole; j += VLEN)
            v_store(to + j, v_load(to + j) + v_load(from + j));
        if (whole < n)
            v_store(to + whole, v_load(to + whole) + last);
    }
}

void NAME(gather)(long rows, long n, const int32_t *index, const void *table, long ldt, void *out, long ldo)
{
    for (long r = 0; r < rows; r++)
        memcpy((elem *)out + r * ldo, (const elem *)table + index[r] * ldt, (size_t)n * sizeof(elem));
}

void NAME(scatter_add)(long rows, long c0, long c1, const int32_t *index, const void *a, long lda, void *table,
                       long ldt)
{
    for (long r = 0; r < rows; r++) {
        const elem *from = (const elem *)a + r * lda;
        real *to = (real *)table + index[r] * ldt;
        for (long j = c0; j < c1; j++)
            to[j] += get(from[j]);
    }
}

/* ---- activations with activations ---- */

void NAME(add)(long rows, long n, const void *a, long lda, void *c, long ldc)
{
    for (long r = 0; r < rows; r++) {
        const elem *from = (const elem *)a + r * lda;
        elem *to = (elem *)c + r * ldc;
        for (long j = 0; j < n; j += VLEN)
            v_store(to + j, v_load(to + j) + v_load(from + j));
    }
}

void NAME(multiply)(long rows, long n, const void *a, long lda, void *c, long ldc)
{
    for (long r = 0; r < rows; r++) {
        const elem *from = (const elem *)a + r * lda;
        elem *to = (elem *)c + r * ldc;
        for (long j = 0; j < n; j += VLEN)
            v_store(to + j, v_load(to + j) * v_load(from + j));
    }
}

void NAME(fill)(long n, double value, void *y)
{
    for (long i = 0; i < n; i++)
        ((elem *)y)[i] = put((real)value);
}

void NAME(scale)(long n, double value, void *y)
{
    elem *to = y;
    for (long i = 0; i < n; i++)
        to[i] = put(get(to[i]) * (real)value);
}

/* ---- the caller's rows, float or double ---- */

void NAME(load_rows)(long rows, long n, const void *x, int from_size, long ldx, void *out, long ldo)
{
    for (long r = 0; r < rows; r++) {
        elem *to = (elem *)out + r * ldo;
        const float *single = (const float *)x + r * ldx;
        const double *whole = (const double *)x + r * ldx;
        if (from_size == (int)sizeof(elem))  /* never of bfloat16 */
            memcpy(to, from_size == (int)sizeof(float) ? (const void *)single : whole, (size_t)n * sizeof(elem));
        else if (from_size == (int)sizeof(float))
            for (long j = 0; j < n; j++)
                to[j] = put(single[j]);
        else
            for (long j = 0; j < n; j++)
                to[j] = put((real)whole[j]);
        memset(to + n, 0, (size_t)(padded(n) - n) * sizeof(elem));
    }
}

void NAME(store_rows)(long rows, long n, const void *a, long lda, void *x, int to_size, long ldx)
{
    for (long r = 0; r < rows; r++) {
        const elem *from = (const elem *)a + r * lda;
        float *single = (float *)x + r * ldx;
        double *whole = (double *)x + r * ldx;
        if (to_size == (int)sizeof(elem))
            memcpy(to_size == (int)sizeof(float) ? (void *)single : whole, from, (size_t)n * sizeof(elem));
        else if (to_size == (int)sizeof(float))
            for (long j = 0; j < n; j++)
                single[j] = (float)get(from[j]);
        else
            for (long j = 0; j < n; j++)
                whole[j] = get(from[j]);
    }
}

/* ---- dropout ---- */

/* Philox 4x32-10, as in base/random.c (Salmon et al. 2011); here again so that it is inlined for each instruction
 * set. The test of dropout_mask holds one against the other. */
static inline void philox(uint32_t k0, uint32_t k1, uint32_t counter[4])
{
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * counter[0];
        uint64_t p1 = (uint64_t)0xCD9E8D57u * counter[2];
        counter[0] = (uint32_t)(p1 >> 32) ^ counter[1] ^ k0;
        counter[1] = (uint32_t)p1;
        counter[2] = (uint32_t)(p0 >> 32) ^ counter[3] ^ k1;
        counter[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

void NAME(dropout_mask)(const uint32_t key[4], uint64_t first_index, long rows, long n, double keep, void *out,
                        long ldo)
{
    uint64_t below = (uint64_t)ceil(keep * 0x1p32); /* word / 2^32 < keep, in integers */
    elem kept = put((real)(1 / keep));
    for (long r = 0; r < rows; r++) {
        uint64_t index = first_index + (uint64_t)r;
        elem *to = (elem *)out + r * ldo;
        for (long j = 0; j < n; j += 4) {
            uint32_t word[4] = {(uint32_t)index, (uint32_t)(index >> 32), key[2] + 64 * (uint32_t)j, key[3]};
            philox(key[0], key[1], word);
            for (int l = 0; l < 4; l++)
                to[j + l] = word[l] < below ? kept : 0;
        }
    }
}
