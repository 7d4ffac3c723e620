/* machine.c - peak and bandwidths by plain experiments: chains of multiply-adds on registers; sums over a buffer that fits a
 * cache. The best of many short runs counts, as other programs may be running. */
#include "machine.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "clock.h"
#include "contest.h"

const char *const level_name[LEVELS] = {"L1", "L2", "L3", "DRAM"};

/* ---- loops: compiled for the instruction set in their attribute, called only where the machine has it ---- */

enum { CHAINS = 12, ROUNDS = 20000 };

#ifdef __x86_64__
#define FOR_ISA(isa) __attribute__((target(isa), noinline))
typedef float floats8 __attribute__((vector_size(32)));
typedef float floats16 __attribute__((vector_size(64)));

/* Twelve chains fill both multipliers for the five cycles at most that a multiply-add takes. */
#define LOOPS(name, attribute, vector, fma)                                                                                \
    attribute static double name##_flops(void)                                                                              \
    {                                                                                                                      \
        vector sum[CHAINS] = {{0}}, factor = {0};                                                                          \
        for (long i = 0; i < ROUNDS; i++)                                                                                  \
            _Pragma("GCC unroll 12") for (int k = 0; k < CHAINS; k++)                                                      \
                __asm__ volatile(fma " %1, %1, %0" : "+v"(sum[k]) : "v"(factor));                                          \
        return 2.0 * ROUNDS * CHAINS * (double)(sizeof(vector) / sizeof(float));                                           \
    }                                                                                                                      \
    attribute static void name##_read(const float *from, long count)                                                       \
    {                                                                                                                      \
        const long width = sizeof(vector) / sizeof(float);                                                                 \
        vector sum[8] = {{0}};                                                                                             \
        for (long i = 0; i + 8 * width <= count; i += 8 * width)                                                           \
            _Pragma("GCC unroll 8") for (int k = 0; k < 8; k++)                                                            \
                sum[k] += *(const vector *)(from + i + k * width);                                                         \
        for (int k = 0; k < 8; k++)                                                                                        \
            __asm__ volatile("" : : "v"(sum[k]));                                                                          \
    }
LOOPS(avx2, FOR_ISA("avx2,fma"), floats8, "vfmadd231ps")
LOOPS(avx512, FOR_ISA("avx512f"), floats16, "vfmadd231ps")
#endif

/* Where nothing better is known: four lanes that any compiler finds. */
static double plain_flops(void)
{
    float sum[CHAINS][4] = {{0}};
    volatile float given = 0.5f;
    float factor = given;
    for (long i = 0; i < ROUNDS; i++)
        for (int k = 0; k < CHAINS; k++)
            for (int lane = 0; lane < 4; lane++)
                sum[k][lane] = sum[k][lane] * factor + factor;
    for (int k = 0; k < CHAINS; k++)
        given = sum[k][0] + sum[k][1] + sum[k][2] + sum[k][3];
    return 8.0 * ROUNDS * CHAINS;
}

static void plain_read(const float *from, long count)
{
    float sum[16] = {0};
    volatile float result;
    for (long i = 0; i + 16 <= count; i += 16)
        for (int k = 0; k < 16; k++)
            sum[k] += from[i + k];
    for (int k = 0; k < 16; k++)
        result = sum[k];
    (void)result;
}

struct loops { const char *isa; double (*flops)(void); void (*read)(const float *from, long count); };

static struct loops best_loops(void)
{
#ifdef __x86_64__
    if (__builtin_cpu_supports("avx512f"))
        return (struct loops){"avx512", avx512_flops, avx512_read};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct loops){"avx2", avx2_flops, avx2_read};
#endif
    return (struct loops){"generic", plain_flops, plain_read};
}

/* ---- experiments, alone or on two threads at once: each thread counts its own best ---- */

struct experiment { struct loops loops; const float *data; long count; double seconds, best; };

static void *measure(void *argument)
{
    struct experiment *e = argument;
    e->best = 0;
    for (double begin = clock_seconds(); clock_seconds() - begin < e->seconds;) {
        double start = clock_seconds(), work = 0;
        if (!e->data)
            work = e->loops.flops();
        for (long done = 0; e->data && done < 1 << 22; done += e->count, work += 4.0 * (double)e->count)
            e->loops.read(e->data, e->count);
        double rate = work / (clock_seconds() - start);
        e->best = rate > e->best ? rate : e->best;
    }
    return NULL;
}

static double alone(struct experiment e)
{
    measure(&e);
    return e.best;
}

static double together(struct experiment e)
{
    struct experiment other = e;
    pthread_t thread;
    if (e.data)
        other.data += other.count;
    if (pthread_create(&thread, NULL, measure, &other))
        return alone(e);
    measure(&e);
    pthread_join(thread, NULL);
    return e.best + other.best;
}

/* ---- the machine ---- */

static void read_name(char *name, size_t size)
{
    char line[256];
    FILE *file = fopen("/proc/cpuinfo", "r");
    snprintf(name, size, "unknown processor");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "model name", 10) || !strchr(line, ':'))
            continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(name, size, "%s", strchr(line, ':') + 2);
        break;
    }
    if (file)
        fclose(file);
}

static long cache_bytes(int which, long otherwise)
{
    long bytes = sysconf(which);
    return bytes > 0 ? bytes : otherwise;
}

/* Half of a cache, so that nothing else pushes it out; of L3, which others share, not more than 8 MiB. */
static void choose_sizes(long *bytes)
{
    long third = cache_bytes(_SC_LEVEL3_CACHE_SIZE, 8 << 20);
    bytes[LEVEL_L1] = cache_bytes(_SC_LEVEL1_DCACHE_SIZE, 32 << 10) / 2;
    bytes[LEVEL_L2] = cache_bytes(_SC_LEVEL2_CACHE_SIZE, 512 << 10) / 2;
    bytes[LEVEL_L3] = third / 2 < 8 << 20 ? third / 2 : 8 << 20;
    bytes[LEVEL_DRAM] = 192 << 20;
}

void machine_remeasure(struct machine *machine)
{
    struct experiment e = {.loops = best_loops(), .seconds = 0.1};
    double one = alone(e), two = together(e);
    machine->peak[0] = one > machine->peak[0] ? one : machine->peak[0];
    machine->peak[1] = two > machine->peak[1] ? two : machine->peak[1];
}

void machine_measure(struct machine *machine)
{
    struct experiment e = {.loops = best_loops(), .seconds = 0.15};
    memset(machine, 0, sizeof *machine);
    read_name(machine->name, sizeof machine->name);
    machine->isa = e.loops.isa;
    machine_remeasure(machine);
    choose_sizes(machine->bytes);
    float *data = take(2 * (size_t)machine->bytes[LEVEL_DRAM]);
    memset(data, 0, 2 * (size_t)machine->bytes[LEVEL_DRAM]);   /* pages that were never written are all one page */
    e.data = data;
    for (int level = 0; level < LEVELS; level++) {
        e.count = machine->bytes[level] / 4;
        machine->bandwidth[level] = alone(e);
    }
    machine->bandwidth_two = together(e);
    free(data);
}
