/* cpu.h - which instruction set the kernels use: the best that both this program and this machine have, or the one that
 * the environment variable BPTT_ISA names (generic, avx2, avx512). */
#ifndef BPTT_BASE_CPU_H
#define BPTT_BASE_CPU_H

#include "error.h"

enum isa { ISA_GENERIC, ISA_AVX2, ISA_AVX512, ISA_COUNT };
extern const char *const isa_name[ISA_COUNT];
int isa_available(enum isa isa);                          /* this machine can run it */
int cpu_multiplies_bfloat16(void);                        /* AVX-512 BF16, beside ISA_AVX512 */
enum isa isa_best(void);
int isa_is_forced(void);                                  /* BPTT_ISA is set */
int isa_choose(enum isa *isa, bptt_error *error);         /* honours BPTT_ISA: unknown or unavailable is an error */
int cpu_count(void);                                      /* processors this process may use */

#endif
