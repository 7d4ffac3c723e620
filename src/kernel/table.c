/* table.c - finds the table of kernels. Double precision is for proofs, not for speed: only the generic one exists. */
#include "kernel.h"

extern const struct kernels kernels_generic_32;
extern const struct kernels kernels_generic_64;
#ifdef __x86_64__
extern const struct kernels kernels_avx2_32;
extern const struct kernels kernels_avx512_32;
#endif

const struct kernels *kernels_get(enum isa isa, enum precision precision)
{
    if (precision == PRECISION_F64)
        return &kernels_generic_64;
#ifdef __x86_64__
    if (isa == ISA_AVX2)
        return &kernels_avx2_32;
    if (isa == ISA_AVX512)
        return &kernels_avx512_32;
#endif
    return &kernels_generic_32;
}
