/* kernels.c - the table of one instruction set and precision. */
#include "isa.h"

#define ISA_generic ISA_GENERIC
#define ISA_avx2 ISA_AVX2
#define ISA_avx512 ISA_AVX512
#define ISA_avx512bf16 ISA_AVX512
#define THIS_ISA(isa) THIS_ISA_JOINED(isa)
#define THIS_ISA_JOINED(isa) ISA_##isa

/* The table that sums belong to: in bfloat16 the one of single precision. */
#ifndef WIDE_ISA
#define WIDE_ISA KERNEL_ISA
#endif
#if KERNEL_BITS == 16
#define WIDE_BITS 32
#else
#define WIDE_BITS KERNEL_BITS
#endif

extern const struct kernels NAME_EXPANDED(kernels, WIDE_ISA, WIDE_BITS);

const struct kernels NAME(kernels) = {
    .isa = THIS_ISA(KERNEL_ISA),
    .precision = KERNEL_BITS == 16 ? PRECISION_BF16 : KERNEL_BITS == 32 ? PRECISION_F32 : PRECISION_F64,
    .element_size = sizeof(elem),
    .pair = KERNEL_BITS == 16 ? 2 : 1,
    .wide = &NAME_EXPANDED(kernels, WIDE_ISA, WIDE_BITS),
    .pack = NAME(pack),
    .gemm = NAME(gemm),
    .gemm_tn = NAME(gemm_tn),
    .gemv = NAME(gemv),
    .gemm_tn_scratch = NAME(gemm_tn_scratch),
    .column_sum = NAME(column_sum),
    .add_row = NAME(add_row),
    .gather = NAME(gather),
    .scatter_add = NAME(scatter_add),
    .add = NAME(add),
    .multiply = NAME(multiply),
    .fill = NAME(fill),
    .scale = NAME(scale),
    .load_rows = NAME(load_rows),
    .store_rows = NAME(store_rows),
    .dropout_mask = NAME(dropout_mask),
#if KERNEL_BITS == 16
    .gemm_wide = NAME(gemm_wide),
#else
    .gemm_wide = NAME(gemm),
    .softmax_cross_entropy = NAME(softmax_cross_entropy),
    .squared_error = NAME(squared_error),
    .sum_of_squares = NAME(sum_of_squares),
    .clamp = NAME(clamp),
    .sgd = NAME(sgd),
    .rmsprop = NAME(rmsprop),
    .adam = NAME(adam),
    .multiply_adds = NAME(multiply_adds),
#endif
};
