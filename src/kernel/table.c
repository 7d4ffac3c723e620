/* table.c - finds the table of kernels. Double precision is for proofs, not for speed: only the generic one exists. */
#include "kernel.h"

extern const struct kernels kernels_generic_16;
extern const struct kernels kernels_generic_32;
extern const struct kernels kernels_generic_64;
#ifdef __x86_64__
extern const struct kernels kernels_avx2_16;
extern const struct kernels kernels_avx2_32;
extern const struct kernels kernels_avx512_16;
extern const struct kernels kernels_avx512_32;
#ifdef HAVE_AVX512BF16                     /* the compiler knows the instructions */
extern const struct kernels kernels_avx512bf16_16;
#endif
#endif

static const struct kernels *in_bfloat16(enum isa isa)
{
#ifdef __x86_64__
#ifdef HAVE_AVX512BF16
    if (isa == ISA_AVX512 && cpu_multiplies_bfloat16())
        return &kernels_avx512bf16_16;
#endif
    if (isa == ISA_AVX512)
        return &kernels_avx512_16;
    if (isa == ISA_AVX2)
        return &kernels_avx2_16;
#endif
    return &kernels_generic_16;
}

const struct kernels *kernels_get(enum isa isa, enum precision precision)
{
    if (precision == PRECISION_F64)
        return &kernels_generic_64;
    if (precision == PRECISION_BF16)
        return in_bfloat16(isa);
#ifdef __x86_64__
    if (isa == ISA_AVX2)
        return &kernels_avx2_32;
    if (isa == ISA_AVX512)
        return &kernels_avx512_32;
#endif
    return &kernels_generic_32;
}
