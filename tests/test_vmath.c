/* test_vmath.c - the vector functions of kernel/vmath.h against libm in double precision, over all magnitudes. This
 * program has the compiler's plain instruction set; test_vmath_native.c is the same text with all that this machine
 * has.
 *
 *     build/tests/test_vmath_native 1 tanh         every float there is, of one function: a minute */
#include <float.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/kernel/vmath.h"
#include "tap.h"

typedef vec unary(vec a);

static vec fn_exp(vec a) { return v_exp(a); }
static vec fn_log(vec a) { return v_log(a); }
static vec fn_tanh(vec a) { return v_tanh(a); }
static vec fn_sigmoid(vec a) { return v_sigmoid(a); }
static vec fn_softplus(vec a) { return v_softplus(a); }
static vec fn_sqrt(vec a) { return v_sqrt(a); }
static vec fn_sin(vec a) { return v_sin(a); }
static vec fn_cos(vec a) { return v_cos(a); }
static vec fn_abs(vec a) { return v_abs(a); }
static vec fn_square(vec a) { return v_square(a); }
static vec fn_relu(vec a) { return v_relu(a); }
static vec fn_sign(vec a) { return v_sign(a); }

static double ref_sigmoid(double x) { return x < 0 ? exp(x) / (1 + exp(x)) : 1 / (1 + exp(-x)); }
static double ref_softplus(double x) { return (x > 0 ? x : 0) + log1p(exp(-fabs(x))); }
static double ref_square(double x) { return x * x; }
static double ref_relu(double x) { return x > 0 ? x : x == x ? 0 : x; }
static double ref_sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : x; }

/* The limits are those of the comment in vmath.h; those of exp, sigmoid and tanh from every float there is, with and without
 * fused multiply-adds, the others from every 61st, and half a unit for those that only round. */
static const struct row { const char *name; unary *fn; double (*reference)(double); double limit; } rows[] = {
    {"exp", fn_exp, exp, 2.8},          {"log", fn_log, log, 0.9},    {"tanh", fn_tanh, tanh, 2.6},
    {"sigmoid", fn_sigmoid, ref_sigmoid, 2.6}, {"softplus", fn_softplus, ref_softplus, 1.8},
    {"sqrt", fn_sqrt, sqrt, 0.5001},    {"sin", fn_sin, sin, 0.6},    {"cos", fn_cos, cos, 0.6},
    {"abs", fn_abs, fabs, 0},           {"square", fn_square, ref_square, 0.5001},
    {"relu", fn_relu, ref_relu, 0},     {"sign", fn_sign, ref_sign, 0},
};

/* Error in units of the last place of `want` as a float; 0 if both are NaN or both overflow alike. */
static double ulps(float got, double want)
{
    if (want != want || got != got)
        return (want != want) == (got != got) ? 0 : INFINITY;
    if (fabs(want) >= 0x1.ffffffp127)
        return got == (want > 0 ? INFINITY : -INFINITY) ? 0 : INFINITY;
    uint64_t bits;
    memcpy(&bits, &want, sizeof bits);
    int exponent = (int)(bits >> 52 & 2047) - 1023;
    uint64_t per_unit = (uint64_t)(1023 + 23 - (exponent < -126 ? -126 : exponent)) << 52;
    double scale;
    memcpy(&scale, &per_unit, sizeof scale);
    return fabs(got - want) * scale;
}

static double worst;
static float worst_at;

static void try(const struct row *row, const float *x)
{
    vec y = row->fn(v_load(x));
    for (int i = 0; i < VLEN; i++) {
        double error = ulps(y[i], row->reference(x[i]));
        if (error > worst || error != error) {
            worst = error;
            worst_at = x[i];
        }
    }
}

/* Every stride-th of all floats, and in each lane the special ones among ordinary ones. */
static void sweep(const struct row *row, uint32_t stride)
{
    static const float special[] = {
        0.0f, -0.0f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX, FLT_MIN, -FLT_MIN, 0x1p-149f, -0x1p-149f, 1, -1,
        88.722839f, 88.72284f, -87.33655f, -103.97208f, -103.9721f, 0.5f, -0.5f, 1.5707964f, 3.1415927f, 1e6f,
        1048576.0f, 1048577.0f, 0.41421357f, 0.70710677f, 0.7071068f, 1.4142135f, 9.0f, -9.0109f, 10.0f, -16.6f, -17.4f,
    };
    float x[VLEN];
    for (uint64_t bits = 0; bits < (uint64_t)1 << 32;) {
        for (int i = 0; i < VLEN; i++, bits += stride) {
            uint32_t pattern = (uint32_t)bits;
            memcpy(&x[i], &pattern, sizeof x[i]);
        }
        try(row, x);
    }
    for (size_t s = 0; s < sizeof special / sizeof *special; s++)
        for (int lane = 0; lane < VLEN; lane++) {
            for (int i = 0; i < VLEN; i++)
                x[i] = 0.3f * (float)i - 0.7f;
            x[lane] = special[s];
            try(row, x);
        }
}

/* Numbers as activations have them, close together. */
static void sweep_middle(const struct row *row)
{
    float x[VLEN];
    for (float at = -24; at < 24;)
        for (int n = 0; n < 1024 && at < 24; n++) {
            for (int i = 0; i < VLEN; i++, at += 0x1.8p-13f)
                x[i] = at;
            try(row, x);
        }
}

static void test_functions(uint32_t stride, const char *only)
{
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        if (only && strcmp(only, rows[r].name))
            continue;
        worst = 0;
        sweep(&rows[r], stride);
        sweep_middle(&rows[r]);
        tap_ok(worst <= rows[r].limit, "%s: at most %.4g ulp (found %.4g at %.9g)", rows[r].name, rows[r].limit, worst,
               (double)worst_at);
    }
}

static int same(float a, float b) { return a == b || (a != a && b != b); }

static void test_comparisons(void)
{
    static const float value[] = {-INFINITY, -2, -0.0f, 0, 1e-45f, 3, INFINITY, NAN};
    enum { COUNT = sizeof value / sizeof *value };
    int max = 1, min = 1, less = 1, step = 1;
    for (int i = 0; i < COUNT; i++)
        for (int j = 0; j < COUNT; j++) {
            float a = value[i];
            float b = value[j];
            int nan = a != a || b != b;
            max &= same(v_max(v_splat(a), v_splat(b))[0], nan ? NAN : a < b ? b : a);
            min &= same(v_min(v_splat(a), v_splat(b))[VLEN - 1], nan ? NAN : b < a ? b : a);
            less &= v_less(v_splat(a), v_splat(b))[0] == (a < b ? 1 : 0);
            step &= v_step(v_splat(a))[0] == (a > 0 ? 1 : 0);
        }
    tap_ok(max, "max, NaN included");
    tap_ok(min, "min, NaN included");
    tap_ok(less, "less");
    tap_ok(step, "step");
}

static void test_memory(void)
{
    float from[VLEN + 1];
    float to[VLEN + 2];
    for (int i = 0; i <= VLEN; i++)
        from[i] = (float)(1 << i);
    int loads = 1, stores = 1, sums = 1;
    for (int n = 0; n <= VLEN; n++) {
        vec first = v_load_first(from + 1, n);
        vec cut = v_first(v_load(from + 1), n);
        for (int i = 0; i < VLEN; i++)
            loads &= first[i] == (i < n ? from[i + 1] : 0) && cut[i] == first[i];
        memset(to, 0, sizeof to);
        v_write_first(to + 1, v_splat(7), n);
        for (int i = 0; i < VLEN + 2; i++)
            stores &= to[i] == (i >= 1 && i <= n ? 7 : 0);
        sums &= v_sum_first(v_load(from + 1), n) == (float)((1 << (n + 1)) - 2);
    }
    tap_ok(loads, "loading the first lanes");
    tap_ok(stores, "storing the first lanes touches no others");
    tap_ok(sums && v_sum(v_splat(1)) == VLEN, "sums of lanes");
    tap_ok(isnan(v_sum(v_splat(NAN))) && v_sum_first(v_splat(NAN), 0) == 0, "sums of NaN");
}

int main(int argc, char **argv)
{
    tap_note("vectors of %d floats", (int)VLEN);
    int stride = argc > 1 ? atoi(argv[1]) : 4001;
    test_functions(stride > 0 ? (uint32_t)stride : 1, argc > 2 ? argv[2] : NULL);
    test_comparisons();
    test_memory();
    return tap_done();
}
