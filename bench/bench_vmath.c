// link: -O3 -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math
/* bench_vmath.c - what the functions of kernel/vmath.h cost: clock cycles for 8 floats, from and to the first cache, compiled
 * for this machine. A cycle is what a chain of dependent additions takes for each. The functions take turns; a figure is the
 * least of many runs, since a program beside this one can only make it larger. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <time.h>

#include "../src/kernel/vmath.h"

enum { COUNT = 2048, RUNS = 400, CHAIN = 1 << 17, LINKS = 16 };
static float input[COUNT], output[COUNT];

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

/* v_each is what a call of libm for each lane costs. */
#define PASS(name, expression)                            \
    static void name(void)                                \
    {                                                     \
        for (int i = 0; i < COUNT; i += VLEN) {           \
            vec a = v_load(input + i);                    \
            v_store(output + i, expression);              \
        }                                                 \
    }
PASS(pass_copy, a)
PASS(pass_exp, v_exp(a))
PASS(pass_log, v_log(a))
PASS(pass_sigmoid, v_sigmoid(a))
PASS(pass_tanh, v_tanh(a))
PASS(pass_softplus, v_softplus(a))
PASS(pass_divide, a / (a + 9.0f))
PASS(pass_sqrt, v_sqrt(v_abs(a)))
PASS(pass_libm, v_each(a, tanhf))

static const struct { const char *name; void (*pass)(void); } passes[] = {
    {"copy", pass_copy}, {"divide", pass_divide}, {"sqrt", pass_sqrt}, {"exp", pass_exp}, {"log", pass_log},
    {"sigmoid", pass_sigmoid}, {"tanh", pass_tanh}, {"softplus", pass_softplus}, {"libm's tanhf, lane by lane", pass_libm},
};
enum { PASSES = sizeof passes / sizeof *passes };

static double cycle(void)
{
    double best = 1;
    for (int run = 0; run < 100; run++) {
        double start = now();
        for (long i = 0, x = 0; i < CHAIN; i += LINKS)
            for (int link = 0; link < LINKS; link++) {
                x += start > 0;
                __asm__ volatile("" : "+r"(x));
            }
        double each = (now() - start) / CHAIN;
        best = each < best ? each : best;
    }
    return best;
}

int main(void)
{
    double best[PASSES];
    for (int i = 0; i < COUNT; i++)
        input[i] = 8 * (float)((i * 37) % 257 - 128) / 128;
    for (int p = 0; p < PASSES; p++)
        best[p] = 1;
    double period = cycle();
    for (int run = 0; run < RUNS; run++)
        for (int p = 0; p < PASSES; p++) {
            double start = now();
            passes[p].pass();
            double took = now() - start;
            best[p] = took < best[p] ? took : best[p];
        }
    printf("vectors of %d floats, %.2f GHz\n%-28s %16s\n", (int)VLEN, 1e-9 / period, "function", "cycles per 8");
    for (int p = 0; p < PASSES; p++)
        printf("%-28s %16.1f\n", passes[p].name, best[p] / period / COUNT * 8);
    return 0;
}
