/* bench_products.c - which matrix product should serve the large blocks? Ours beside OpenBLAS, BLIS and oneDNN's (those that this
 * machine has, found when the program runs), one thread each, float32, in turns, on the shapes of a block of 512 rows: the input
 * product of all gates, dL/dx, and a weight gradient. The weights of ours are packed once, as they are for many blocks; the
 * others pack at each call, as their interface has it. (libxsmm is for small products: larger ones it hands to a BLAS.) Prints GFLOP/s: the median of the turns.
 *
 *     build/bench/bench_products [TURNS]                                    (21) */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/kernel/kernel.h"
#include "clock.h"

enum { ROWS = 512, MOST_TURNS = 1001 };

/* Column-major, as Fortran has it: a row-major C = A B is C^T = B^T A^T. */
typedef void fortran_sgemm(const char *ta, const char *tb, const int *m, const int *n, const int *k, const float *alpha, const float *a,
                           const int *lda, const float *b, const int *ldb, const float *beta, float *c, const int *ldc);
typedef int dnnl_sgemm_fn(char ta, char tb, int64_t m, int64_t n, int64_t k, float alpha, const float *a, int64_t lda, const float *b,
                          int64_t ldb, float beta, float *c, int64_t ldc);

enum { OURS, OPENBLAS, BLIS, ONEDNN, CONTENDERS };
static const char *const contender_name[CONTENDERS] = {"bptt", "OpenBLAS", "BLIS", "oneDNN"};

/* c[m, n] (+)= op(a) op(b): an input product x W^T, or a weight gradient d^T x. */
struct shape { const char *what; long m, n, k; int gradient; };

struct arena_of_case { float *a, *b, *c, *packed, *scratch; };
struct contest { const struct kernels *kernels; fortran_sgemm *blas[CONTENDERS]; dnnl_sgemm_fn *dnnl; };

static float *numbers(long n)
{
    float *x = aligned_alloc(64, (size_t)(n + 16) / 16 * 64);
    if (!x)
        exit(1);
    for (long i = 0; i < n; i++)
        x[i] = (float)((i * 7919) % 1999) / 1999 - 0.5f;
    return x;
}

static void by_blas(fortran_sgemm *sgemm, const struct shape *s, const struct arena_of_case *m)
{
    int rows = (int)s->m, columns = (int)s->n, k = (int)s->k;
    float one = 1, beta = s->gradient ? 1 : 0;
    if (s->gradient)                       /* a [k, m], b [k, n] */
        sgemm("N", "T", &columns, &rows, &k, &one, m->b, &columns, m->a, &rows, &beta, m->c, &columns);
    else                                   /* a [m, k], b [n, k] */
        sgemm("T", "N", &columns, &rows, &k, &one, m->b, &k, m->a, &k, &beta, m->c, &columns);
}

static void run(const struct contest *t, int who, const struct shape *s, const struct arena_of_case *m)
{
    switch (who) {
    case OURS:
        if (s->gradient)
            t->kernels->gemm_tn(s->m, s->n, s->k, m->a, s->m, m->b, s->n, m->c, s->n, m->scratch);
        else
            t->kernels->gemm(s->m, s->n, s->k, m->a, s->k, m->packed, m->c, s->n, 0);
        break;
    case ONEDNN:
        if (s->gradient)
            t->dnnl('T', 'N', s->m, s->n, s->k, 1, m->a, s->m, m->b, s->n, 1, m->c, s->n);
        else
            t->dnnl('N', 'T', s->m, s->n, s->k, 1, m->a, s->k, m->b, s->k, 0, m->c, s->n);
        break;
    default: by_blas(t->blas[who], s, m);
    }
}

static int is_here(const struct contest *t, int who)
{
    return who == OURS || (who == ONEDNN ? t->dnnl != NULL : t->blas[who] != NULL);
}

/* What each makes of the same numbers, before anything is timed. */
static void compare(const struct contest *t, const struct shape *s, const struct arena_of_case *m)
{
    float *want = numbers(s->m * s->n);
    for (int who = 0; who < CONTENDERS; who++) {
        if (!is_here(t, who))
            continue;
        memset(m->c, 0, (size_t)(s->m * s->n) * sizeof(float));
        run(t, who, s, m);
        if (who == OURS)
            memcpy(want, m->c, (size_t)(s->m * s->n) * sizeof(float));
        for (long i = 0; i < s->m * s->n; i++) {
            float difference = m->c[i] - want[i];
            if (!(difference <= 1e-3f && difference >= -1e-3f)) {        /* sums of up to 2048 terms below 0.25, in two orders */
                printf("%s: %s differs by %g at %ld\n", s->what, contender_name[who], (double)difference, i);
                exit(1);
            }
        }
    }
    free(want);
}

static void measure(const struct contest *t, const struct shape *s, int turns)
{
    static double seconds[CONTENDERS][MOST_TURNS];
    struct arena_of_case m = {numbers(s->m * s->k), numbers(s->n * s->k), numbers(s->m * s->n), numbers(s->n * s->k),
                              numbers(t->kernels->gemm_tn_scratch(s->m, s->n, s->k))};
    if (!s->gradient)
        t->kernels->pack(s->k, s->n, m.b, 1, s->k, m.packed);
    compare(t, s, &m);
    for (int turn = 0; turn < turns; turn++)
        for (int who = 0; who < CONTENDERS; who++) {
            double start = clock_seconds();
            if (is_here(t, who))
                run(t, who, s, &m);
            seconds[who][turn] = clock_seconds() - start;
        }
    printf("%-18s %6ld %6ld %6ld", s->what, s->m, s->n, s->k);
    for (int who = 0; who < CONTENDERS; who++)
        if (is_here(t, who))
            printf(" %9.1f", 2e-9 * (double)s->m * (double)s->n * (double)s->k / clock_median(seconds[who], turns));
        else
            printf(" %9s", "-");
    printf("\n");
    fflush(stdout);
    free(m.a);
    free(m.b);
    free(m.c);
    free(m.packed);
    free(m.scratch);
}

static void *symbol(const char *library, const char *name)
{
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    return handle ? dlsym(handle, name) : NULL;
}

int main(int count, char **argument)
{
    static const char *const one_thread[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "BLIS_NUM_THREADS", "DNNL_NUM_THREADS"};
    static const long hidden[] = {64, 128, 256, 512, 1024};
    int turns = count > 1 ? atoi(argument[1]) : 21;
    for (size_t i = 0; i < sizeof one_thread / sizeof *one_thread; i++)
        setenv(one_thread[i], "1", 1);
    struct contest contest = {.kernels = kernels_get(isa_best(), PRECISION_F32), .dnnl = (dnnl_sgemm_fn *)symbol("libdnnl.so.2", "dnnl_sgemm")};
    contest.blas[OPENBLAS] = (fortran_sgemm *)symbol("libopenblas.so.0", "sgemm_");
    contest.blas[BLIS] = (fortran_sgemm *)symbol("libblis.so.4", "sgemm_");
    if (turns < 1 || turns > MOST_TURNS) {
        fprintf(stderr, "bench_products: turns from 1 to %d\n", MOST_TURNS);
        return 2;
    }
    printf("# one thread, float32, %s; GFLOP/s, medians of %d turns\n", isa_name[isa_best()], turns);
    printf("%-18s %6s %6s %6s", "product", "m", "n", "k");
    for (int who = 0; who < CONTENDERS; who++)
        printf(" %9s", contender_name[who]);
    printf("\n");
    for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++) {
        long h = hidden[i];
        measure(&contest, &(struct shape){"input, 4 gates", ROWS, 4 * h, h, 0}, turns);
        measure(&contest, &(struct shape){"dL/dx", ROWS, h, 4 * h, 0}, turns);
        measure(&contest, &(struct shape){"weight gradient", 4 * h, h, ROWS, 1}, turns);
    }
    return 0;
}
