/* kernel.c - what a model's layers run on, and why on nothing faster. It asks the same two questions as layer_new (which
 * instruction set, which code of the cell) and puts the answers into words; it decides nothing. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "../base/cpu.h"
#include "../kernel/kernel.h"
#include "network.h"

static void because(bptt_kernel *kernel, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void because(bptt_kernel *kernel, const char *format, ...)
{
    size_t used = strlen(kernel->reason);
    if (used)
        used += (size_t)snprintf(kernel->reason + used, sizeof kernel->reason - used, "; ");
    va_list list;
    va_start(list, format);
    if (used < sizeof kernel->reason)
        vsnprintf(kernel->reason + used, sizeof kernel->reason - used, format, list);
    va_end(list);
}

static void explain_isa(bptt_kernel *kernel, enum isa isa, int precision)
{
    const char *best = isa_name[isa_best()];
    if (precision == BPTT_F64 && isa_best() != ISA_GENERIC) {
        kernel->faster = 1;
        because(kernel, "double precision was asked for, which has plain code alone; single precision runs on %s here", best);
    } else if (isa != isa_best()) {
        kernel->faster = 1;
        because(kernel, "BPTT_ISA=%s asks for less than this machine has: %s is faster", isa_name[isa], best);
    } else if (isa == ISA_GENERIC) {
        because(kernel, "this machine has none of the instruction sets with kernels of their own (%s, %s)", isa_name[ISA_AVX2],
                isa_name[ISA_AVX512]);
    } else {
        because(kernel, "%s is the best instruction set of this machine%s", best,
                isa_is_forced() ? ", and BPTT_ISA names it" : isa == ISA_AVX2 ? " (no avx512)" : "");
    }
}

static void explain_products(bptt_kernel *kernel, enum isa isa)
{
    if (isa == ISA_AVX512 && cpu_multiplies_bfloat16())
        because(kernel, "products in bfloat16 by the machine's own instruction (AVX-512 BF16)");
    else
        because(kernel, "products in bfloat16 are emulated to the bit, for lack of AVX-512 BF16: half the bytes, but single "
                "precision is as fast or faster");
}

static void explain_interpreter(bptt_kernel *kernel, const bptt_cell *cell, int precision)
{
    kernel->faster = 1;
    if (precision == BPTT_F64)
        because(kernel, "a cell of one's own is not compiled for double precision, so the interpreter runs its equations");
    else if (cell->not_compiled[0])
        because(kernel, "the interpreter runs its equations: %s", cell->not_compiled);
    else
        because(kernel, "the interpreter runs its equations, for nobody compiled the cell for this instruction set: "
                "`bptt cell FILE --compile` does, once, with the machine's C compiler");
}

static void explain_code(bptt_kernel *kernel, const bptt_cell *cell, const struct cell_code *code, int precision)
{
    if (!code)
        explain_interpreter(kernel, cell, precision);
    else if (!cell_is_compiled(cell, code))
        because(kernel, "the cell's code was generated when bptt was built");
    else if (cell->compiled_now)
        because(kernel, "the cell's code was compiled just now");
    else
        because(kernel, "the cell's code was compiled before and is taken from the cache");
}

int bptt_model_kernel(const bptt_model *model, int64_t layer, int precision, bptt_kernel *kernel, bptt_error *error)
{
    enum isa isa;
    *kernel = (bptt_kernel){0};
    if (layer < 0 || layer >= model->layers)
        return fail(error, BPTT_ERROR_ARGUMENT, "there is no layer %lld; the model has %lld", (long long)layer,
                    (long long)model->layers);
    if (precision != BPTT_F32 && precision != BPTT_F64 && precision != BPTT_BF16)
        return fail(error, BPTT_ERROR_ARGUMENT, "unknown precision: BPTT_F32, BPTT_F64 or BPTT_BF16");
    int status = isa_choose(&isa, error);
    if (status)
        return status;
    const struct kernels *table = kernels_get(isa, precision_of(precision));
    const struct cell_code *code = cell_code_for(model->cell, isa_name[table->isa], (int)table->element_size);
    snprintf(kernel->products, sizeof kernel->products, "micro-kernels, %s%s", isa_name[table->isa],
             precision == BPTT_BF16 ? ", bf16" : "");
    if (code)
        snprintf(kernel->cell, sizeof kernel->cell, "%s, %s", cell_is_compiled(model->cell, code) ? "compiled" : "built in",
                 code->isa);
    else
        snprintf(kernel->cell, sizeof kernel->cell, "interpreter");
    explain_code(kernel, model->cell, code, precision);
    explain_isa(kernel, table->isa, precision);
    if (precision == BPTT_BF16)
        explain_products(kernel, table->isa);
    return BPTT_OK;
}
