/* cpu.c - what this machine can run. Only x86-64 has kernels beyond the generic ones. */
#define _GNU_SOURCE 1
#include "cpu.h"

#include <stdlib.h>
#include <string.h>
#ifdef __linux__
#include <sched.h>
#endif
#include <unistd.h>

const char *const isa_name[ISA_COUNT] = {[ISA_GENERIC] = "generic", [ISA_AVX2] = "avx2", [ISA_AVX512] = "avx512"};

int isa_available(enum isa isa)
{
#ifdef __x86_64__
    __builtin_cpu_init();
    if (isa == ISA_AVX2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (isa == ISA_AVX512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("fma");
#endif
    return isa == ISA_GENERIC;
}

int cpu_multiplies_bfloat16(void)
{
#if defined(__x86_64__) && defined(HAVE_AVX512BF16)
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512bf16");
#else
    return 0;
#endif
}

static int isa_named(const char *name, enum isa *isa, bptt_error *error)
{
    for (int i = 0; i < ISA_COUNT; i++) {
        if (strcmp(name, isa_name[i]) != 0)
            continue;
        if (!isa_available((enum isa)i))
            return fail(error, BPTT_ERROR_ARGUMENT, "BPTT_ISA=%s: this machine does not have it; unset BPTT_ISA to use "
                        "the best it has", name);
        *isa = (enum isa)i;
        return BPTT_OK;
    }
    return fail(error, BPTT_ERROR_ARGUMENT, "BPTT_ISA=%s: unknown instruction set; the known ones are %s, %s and %s",
                name, isa_name[ISA_GENERIC], isa_name[ISA_AVX2], isa_name[ISA_AVX512]);
}

enum isa isa_best(void)
{
    enum isa best = ISA_GENERIC;
    for (int i = 0; i < ISA_COUNT; i++)
        if (isa_available((enum isa)i))
            best = (enum isa)i;
    return best;
}

int isa_is_forced(void)
{
    const char *name = getenv("BPTT_ISA");
    return name && *name;
}

int isa_choose(enum isa *isa, bptt_error *error)
{
    if (isa_is_forced())
        return isa_named(getenv("BPTT_ISA"), isa, error);
    *isa = isa_best();
    return BPTT_OK;
}

int cpu_count(void)
{
#ifdef __linux__
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        return CPU_COUNT(&set);
#endif
    long count = sysconf(_SC_NPROCESSORS_ONLN);
    return count > 0 ? (int)count : 1;
}
