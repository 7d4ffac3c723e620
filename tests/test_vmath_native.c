// link: -march=native -ffp-contract=fast -fno-math-errno -fno-trapping-math
/* test_vmath_native.c - test_vmath.c with the vectors and the fused multiply-add of this machine. */
#include "test_vmath.c"
