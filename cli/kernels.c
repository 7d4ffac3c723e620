/* kernels.c - see kernels.h. */
#include "kernels.h"

#include <string.h>

const struct option_choice run_precisions[] = {{"f32", BPTT_F32}, {"f64", BPTT_F64}, {"bf16", BPTT_BF16}, {0}};
const struct option_choice training_precisions[] = {{"f32", BPTT_F32}, {"bf16", BPTT_BF16}, {0}};

static int64_t layers_of(const bptt_model *model)
{
    bptt_model_info info;
    return bptt_model_describe(model, &info, NULL) == BPTT_OK ? info.layers : 0;
}

static int alike(const bptt_kernel *a, const bptt_kernel *b)
{
    return strcmp(a->cell, b->cell) == 0 && strcmp(a->products, b->products) == 0 && strcmp(a->reason, b->reason) == 0;
}

static void say_layers(FILE *out, int64_t first, int64_t last, const bptt_kernel *kernel)
{
    if (first == last)
        fprintf(out, "layer %lld: ", (long long)first);
    else
        fprintf(out, "layers %lld to %lld: ", (long long)first, (long long)last);
    fprintf(out, "equations %s; products %s\n  %s\n", kernel->cell, kernel->products, kernel->reason);
}

void say_kernels(FILE *out, const bptt_model *model, int precision)
{
    int64_t layers = layers_of(model), first = 0;
    bptt_kernel kernel, next;
    if (layers == 0 || bptt_model_kernel(model, 0, precision, &kernel, NULL) != BPTT_OK)
        return;
    for (int64_t l = 1; l < layers; l++) {
        if (bptt_model_kernel(model, l, precision, &next, NULL) != BPTT_OK || alike(&kernel, &next))
            continue;
        say_layers(out, first, l - 1, &kernel);
        kernel = next;
        first = l;
    }
    say_layers(out, first, layers - 1, &kernel);
}

void say_scan(FILE *out, int threads, int workers, int units)
{
    if (units)
        fprintf(out, "within a step %d of %d workers share the hidden units (too few rows for each to have some)\n", workers,
                threads);
    else if (workers > 1)
        fprintf(out, "within a step %d of %d workers share the rows\n", workers, threads);
    else if (threads > 1)
        fprintf(out, "within a step one of %d workers does it all: one row, and its units are not worth sharing\n", threads);
}

void emit_kernels(struct emit *emit, const bptt_model *model, int precision)
{
    bptt_kernel kernel;
    emit_open(emit, "kernels", '[');
    for (int64_t l = 0, layers = layers_of(model); l < layers; l++) {
        if (bptt_model_kernel(model, l, precision, &kernel, NULL) != BPTT_OK)
            continue;
        emit_open(emit, NULL, '{');
        emit_text(emit, "cell", kernel.cell);
        emit_text(emit, "products", kernel.products);
        emit_text(emit, "reason", kernel.reason);
        emit_flag(emit, "faster", kernel.faster);
        emit_close(emit, '}');
    }
    emit_close(emit, ']');
}
