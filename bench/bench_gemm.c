/* bench_gemm.c - speed of the matrix products on one thread, in every instruction set this machine has, beside the
 * peak: the multiply-adds that registers alone allow, measured here too. A line: kernel, instruction set, m n k, GFLOP/s
 * and share of the peak of the best of many short runs, and of the median one. The best is what the kernel can do; a median far
 * below it says that another program runs on the same core, or in the same caches (the peak hardly feels that: it needs neither
 * a cache nor half of the instructions that a core can start). Arguments: kernel m n k, to see one shape. */
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/kernel/kernel.h"
#include "clock.h"

/* ---- the peak: twelve independent chains in registers, enough to fill every multiplier and adder ---- */

enum { ROUNDS = 20000, CHAINS = 12 };

#ifdef __x86_64__
#define CHAIN_SSE(n) "mulps %%xmm1, %%xmm" #n "\n\t"
#define CHAIN_SSE_ADD(n) "addps %%xmm1, %%xmm" #n "\n\t"
#define CHAIN_AVX2(n) "vfmadd231ps %%ymm0, %%ymm1, %%ymm" #n "\n\t"
#define CHAIN_AVX512(n) "vfmadd231ps %%zmm0, %%zmm1, %%zmm" #n "\n\t"
#define ROUNDS_OF(name, even, odd, clear)                                                                              \
    static void name(void)                                                                                             \
    {                                                                                                                  \
        long i = ROUNDS;                                                                                               \
        __asm__ volatile(clear "1:\n\t" even(2) odd(3) even(4) odd(5) even(6) odd(7) even(8) odd(9) even(10) odd(11)   \
                         even(12) odd(13) "dec %0\n\tjnz 1b\n\t" clear                                                \
                         : "+r"(i)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8",      \
                           "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");                              \
    }
ROUNDS_OF(generic_rounds, CHAIN_SSE, CHAIN_SSE_ADD, "xorps %%xmm1, %%xmm1\n\t")
ROUNDS_OF(avx2_rounds, CHAIN_AVX2, CHAIN_AVX2, "vzeroall\n\t")
ROUNDS_OF(avx512_rounds, CHAIN_AVX512, CHAIN_AVX512, "vzeroall\n\t")
static const struct { void (*rounds)(void); double operations; } peaks[ISA_COUNT] = {
    {generic_rounds, 4}, {avx2_rounds, 16}, {avx512_rounds, 32}, /* of one instruction: a product or a sum; both */
};
#else
static const struct { void (*rounds)(void); double operations; } peaks[ISA_COUNT];
#endif

/* 0 where it is not known how to measure it */
static double peak(enum isa isa)
{
    double best = 0;
    for (int run = 0; run < 200 && peaks[isa].rounds; run++) {
        double start = clock_seconds();
        peaks[isa].rounds();
        double speed = peaks[isa].operations * ROUNDS * CHAINS / (clock_seconds() - start);
        best = speed > best ? speed : best;
    }
    return best * 1e-9;
}

/* ---- the products ---- */

enum { MOST_RUNS = 100000 };
struct shape { const char *kernel; long m, n, k; };

static float *floats(long count)
{
    float *x = aligned_alloc(64, (size_t)(count + 15) / 16 * 64);
    if (!x) {
        fputs("out of memory\n", stderr);
        exit(1);
    }
    for (long i = 0; i < count; i++)
        x[i] = (float)(i % 101) * 0.01f - 0.5f;
    return x;
}

struct speed { double best, median; };

/* GFLOP/s of runs that take 0.3 seconds together. */
static struct speed measure(const struct kernels *table, const struct shape *s)
{
    static double seconds[MOST_RUNS];
    int runs = 0;
    int transposed = strcmp(s->kernel, "gemm_tn") == 0;
    long lda = padded(transposed ? s->m : s->k);
    float *a = floats((transposed ? s->k : s->m) * lda);
    float *b = floats(padded(s->n) * s->k);
    float *c = floats(s->m * padded(s->n));
    float *scratch = floats(table->gemm_tn_scratch(s->m, s->n, s->k));
    for (double begin = clock_seconds(); clock_seconds() - begin < 0.3 && runs < MOST_RUNS; runs++) {
        long calls = 1 + (long)(2e6 / ((double)s->m * (double)s->n * (double)s->k));
        double start = clock_seconds();
        for (long i = 0; i < calls; i++) {
            if (transposed)
                table->gemm_tn(s->m, s->n, s->k, a, lda, b, padded(s->n), c, s->n, scratch);
            else
                table->gemm(s->m, s->n, s->k, a, lda, b, c, padded(s->n), 0);
        }
        seconds[runs] = (clock_seconds() - start) / (double)calls;
    }
    free(a);
    free(b);
    free(c);
    free(scratch);
    double work = 2e-9 * (double)s->m * (double)s->n * (double)s->k, median = clock_median(seconds, runs);
    return (struct speed){work / seconds[0], work / median};
}

int main(int argc, char **argv)
{
    struct shape shapes[] = {
        {"gemm", 1, 512, 128},      {"gemm", 1, 2048, 512},     {"gemm", 4, 512, 128},      {"gemm", 32, 512, 128},
        {"gemm", 32, 2048, 512},    {"gemm", 32, 4096, 1024},   {"gemm", 100, 384, 96},     {"gemm", 3200, 512, 128},
        {"gemm", 3200, 2048, 512},  {"gemm", 3000, 4096, 1024}, {"gemm_tn", 128, 128, 100}, {"gemm_tn", 512, 128, 3200},
        {"gemm_tn", 2048, 512, 3200}, {"gemm_tn", 2048, 2048, 1024},
    };
    size_t count = sizeof shapes / sizeof *shapes;
    if (argc == 5) {
        shapes[0] = (struct shape){argv[1], atol(argv[2]), atol(argv[3]), atol(argv[4])};
        count = 1;
    }
    for (int isa = 0; isa < ISA_COUNT; isa++) {
        if (!isa_available((enum isa)isa))
            continue;
        const struct kernels *table = kernels_get((enum isa)isa, PRECISION_F32);
        double top = peak((enum isa)isa);
        printf("%s: peak of one thread %.1f GFLOP/s\n", isa_name[isa], top);
        for (size_t i = 0; i < count; i++) {
            struct speed speed = measure(table, &shapes[i]);
            printf("%-8s %-7s %5ld %5ld %5ld  %7.1f GFLOP/s  %3.0f %%   median %7.1f  %3.0f %%\n", shapes[i].kernel, isa_name[isa],
                   shapes[i].m, shapes[i].n, shapes[i].k, speed.best, 100 * speed.best / top, speed.median, 100 * speed.median / top);
        }
    }
    return 0;
}
