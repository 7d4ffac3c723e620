/* grad.c - bptt grad: the gradient of a model's loss, or a vector-Jacobian product, as a file. */
#include <bptt.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>

#include "commands.h"
#include "interrupt.h"
#include "json.h"
#include "kernels.h"
#include "options.h"
#include "say.h"

struct grad_values {
    bptt_run_options options;
    bptt_gradient_files files;
    int json, quiet, verbose;
};
#define AT(field) offsetof(struct grad_values, field)

static const struct option options[] = {
    {"Files", "input", OPTION_TEXT, AT(files.input), "FILE.npy", .help = "inputs: [T, B, I] numbers, or [T, B] tokens"},
    {"Files", "target", OPTION_TEXT, AT(files.target), "FILE.npy",
     .help = "targets: [T, B, O] numbers for mse, [T, B] tokens for cross-entropy"},
    {"Files", "output-gradient", OPTION_TEXT, AT(files.output_gradient), "FILE.npy",
     .help = "in place of a target: dL/dy [T, B, O], which makes it a vector-Jacobian product"},
    {"Files", "initial-state", OPTION_TEXT, AT(files.initial_state), "FILE",
     .help = "states to begin with, layers.N.STATE [B, width]", .zero = "the cell's own"},
    {"Files", "final-gradient", OPTION_TEXT, AT(files.final_gradient), "FILE",
     .help = "add dL/d(final state), layers.N.STATE [B, width]", .zero = "none"},
    {"Files", "out", OPTION_TEXT, AT(files.out), "FILE",
     .help = "the gradient of each parameter under its name; `input`; `initial.layers.N.STATE`"},
    {"Computation", "gradient", OPTION_TEXT, AT(options.gradient), "STRATEGY",
     .help = "full, segments:K, truncated:k1,k2, random:P, rtrl, snap1, rflo or uoro; docs/strategies.md tells them apart"},
    {"Computation", "memory", OPTION_BYTES, AT(options.memory), "BYTES",
     .help = "of the whole process, as 64M; the gradient keeps its bits, a small budget costs forward steps",
     .zero = "no limit"},
    {"Computation", "spill", OPTION_TEXT, AT(options.spill), "DIR", .help = "with --memory: kept states may lie on disk there",
     .zero = "none"},
    {"Computation", "seed", OPTION_SEED, AT(options.seed), "N", .help = "of random links and signs"},
    {"Computation", "precision", OPTION_CHOICE, AT(options.precision), .choices = run_precisions,
     .help = "of the computation and the results"},
    {"Computation", "threads", OPTION_INT, AT(options.threads), "N",
     .help = "workers; the result has the same bits for any number", .high = 1024, .zero = "one per processor"},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "the loss and the norm of each gradient as one JSON object"},
    {"Reports", "quiet", OPTION_FLAG, AT(quiet), .help = "errors alone"},
    {"Reports", "verbose", OPTION_FLAG, AT(verbose), .help = "what each layer runs on, on standard error"},
    {0},
};

/* What a gradient is computed with, and what comes out; cleared together. */
struct grad {
    bptt_model *model;
    bptt_arrays gradients;
    double loss;
};

static int compute(struct grad *grad, const char *model, const struct grad_values *values, bptt_error *error)
{
    int status = bptt_model_load(model, &grad->model, error);
    if (status == BPTT_OK && values->verbose)
        say_kernels(stderr, grad->model, values->options.precision);
    if (status == BPTT_OK)
        status = bptt_gradient_stream(grad->model, &values->files, &grad->loss, &grad->gradients, &values->options, error);
    return status;
}

static double norm_of(const bptt_array *array)
{
    double sum = 0;
    int64_t length = bptt_array_length(array);
    for (int64_t i = 0; i < length; i++) {
        double value = array->type == BPTT_F64 ? ((const double *)array->data)[i] : ((const float *)array->data)[i];
        sum += value * value;
    }
    return sqrt(sum);
}

static void emit_grad(const struct grad *grad, const struct grad_values *values)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_number(&emit, "loss", values->files.target ? grad->loss : NAN);
    emit_text(&emit, "out", values->files.out);
    emit_open(&emit, "gradients", '{');
    for (size_t i = 0; i < grad->gradients.count; i++) {
        const bptt_array *array = &grad->gradients.items[i];
        emit_open(&emit, array->name, '{');
        emit_open(&emit, "shape", '[');
        for (int axis = 0; axis < array->rank; axis++)
            emit_whole(&emit, NULL, array->shape[axis]);
        emit_close(&emit, ']');
        emit_number(&emit, "norm", norm_of(array));
        emit_close(&emit, '}');
    }
    emit_close(&emit, '}');
    emit_close(&emit, '}');
}

static void print_grad(const struct grad *grad, const struct grad_values *values)
{
    if (values->files.target)
        printf("loss %.9g\n", grad->loss);
    printf("%-32s %-20s %s\n", "gradient of", "shape", "norm");
    for (size_t i = 0; i < grad->gradients.count; i++) {
        const bptt_array *array = &grad->gradients.items[i];
        char shape[96] = "";
        int used = 0;
        for (int axis = 0; axis < array->rank; axis++)
            used += snprintf(shape + used, sizeof shape - (size_t)used, "%s%lld", axis ? " x " : "",
                             (long long)array->shape[axis]);
        printf("%-32s %-20s %.6g\n", array->name, shape, norm_of(array));
    }
    if (values->files.out)
        printf("wrote %s\n", values->files.out);
}

static void clear(struct grad *grad)
{
    bptt_model_free(grad->model);
    bptt_arrays_clear(&grad->gradients);
}

static int check_files(const struct command *command, const struct grad_values *values)
{
    if (!values->files.input)
        return usage_error(command, "needs --input FILE.npy");
    if (values->files.target && values->files.output_gradient)
        return usage_error(command, "--target and --output-gradient exclude each other: a loss, or dL/dy in its place");
    if (!values->files.target && !values->files.output_gradient)
        return usage_error(command, "needs --target FILE.npy, or --output-gradient FILE.npy in its place");
    return STATUS_DONE;
}

static int asked_to_stop(void *user)
{
    (void)user;
    return interrupt_asked();
}

static int grad_model(const struct command *command, int argc, char **argv)
{
    struct grad_values values = {.options = bptt_run_defaults(), .files = bptt_gradient_files_defaults()};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    int status = check_files(command, &values);
    if (status != STATUS_DONE)
        return status;
    struct grad grad = {0};
    bptt_error error = {0};
    values.options.stop = asked_to_stop;
    interrupt_catch();
    status = compute(&grad, parsed.arguments[0], &values, &error);
    if (status == BPTT_OK && values.json)
        emit_grad(&grad, &values);
    else if (status == BPTT_OK && !values.quiet)
        print_grad(&grad, &values);
    clear(&grad);
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command grad_command = {
    .name = "grad",
    .arguments = "MODEL",
    .least = 1,
    .most = 1,
    .summary = "the gradient of a model's loss, as a file",
    .about = "The gradient of the loss by every parameter, the inputs and the initial states; with --output-gradient "
             "in place of a target, and --final-gradient, a vector-Jacobian product. Letters: T steps, B rows, "
             "I inputs, O outputs.",
    .examples = "  bptt grad m.safetensors --input x.npy --target y.npy --out g.safetensors\n"
                "  bptt grad m.safetensors --input x.npy --output-gradient dy.npy --out g.safetensors\n",
    .options = options,
    .run = grad_model,
};
