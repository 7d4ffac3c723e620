/* losses.c - the losses and their gradients, a row at a time. Losses and normalisers are summed in double precision. */
#include "isa.h"

/* The largest lane. A NaN may be passed over: its own exponential will be NaN, and so the sum. */
static real largest(vec a)
{
    real top = a[0];
    for (int i = 1; i < VLEN; i++)
        top = a[i] > top ? a[i] : top;
    return top;
}

/* x[0, n) becomes exp(x - its maximum); returns the sum, and the maximum in *top. Lanes beyond n count as exp(-inf). */
static double exponentials(long n, real *x, real *top)
{
    for (long j = n; j < vectors(n); j++)
        x[j] = (real)-INFINITY;
    vec most = v_load(x);
    for (long j = VLEN; j < n; j += VLEN)
        most = v_max(most, v_load(x + j));
    *top = largest(most);
    wide sum = {0};
    for (long j = 0; j < n; j += VLEN) {
        vec e = v_exp(v_load(x + j) - *top);
        v_store(x + j, e);
        add_wide(&sum, e);
    }
    return sum_wide(&sum);
}

void NAME(softmax_cross_entropy)(long rows, long n, void *o, long ldo, const int32_t *target, double scale,
                                 double *loss)
{
    for (long r = 0; r < rows; r++) {
        real *x = (real *)o + r * ldo;
        double right = x[target[r]];
        real top;
        double sum = exponentials(n, x, &top);
        loss[r] = log(sum) - (right - top);
        real factor = (real)(scale / sum);
        for (long j = 0; j < n; j += VLEN)
            v_store(x + j, v_load(x + j) * factor);
        x[target[r]] -= (real)scale;
    }
}

void NAME(squared_error)(long rows, long n, void *o, long ldo, const void *target, long ldt, double scale,
                         double *loss)
{
    real factor = (real)(2 * scale);
    for (long r = 0; r < rows; r++) {
        real *x = (real *)o + r * ldo;
        const real *want = (const real *)target + r * ldt;
        wide sum = {0};
        for (long j = 0; j < n; j += VLEN) {
            vec d = n - j < VLEN ? v_first(v_load(x + j) - v_load_first(want + j, n - j), n - j)
                                 : v_load(x + j) - v_load(want + j);
            v_store(x + j, d * factor);
            add_wide(&sum, d * d);
        }
        loss[r] = sum_wide(&sum);
    }
}
