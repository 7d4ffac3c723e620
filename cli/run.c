/* run.c - bptt run: a model forward over a file of inputs. */
#include <bptt.h>
#include <stddef.h>
#include <stdio.h>

#include "commands.h"
#include "json.h"
#include "kernels.h"
#include "options.h"
#include "say.h"

struct run_values {
    bptt_run_options options;
    const char *input, *out, *initial_state, *final_state;
    int json, quiet, verbose;
};
#define AT(field) offsetof(struct run_values, field)

static const struct option options[] = {
    {"Files", "input", OPTION_TEXT, AT(input), "FILE.npy", .help = "inputs: [T, B, I] numbers, or [T, B] tokens"},
    {"Files", "out", OPTION_TEXT, AT(out), "FILE.npy",
     .help = "outputs [T, B, O]: what the head gives, before any softmax"},
    {"Files", "initial-state", OPTION_TEXT, AT(initial_state), "FILE",
     .help = "states to begin with, layers.N.STATE [B, width]",
     .zero = "the cell's own"},
    {"Files", "final-state", OPTION_TEXT, AT(final_state), "FILE", .help = "write the states after the last step"},
    {"Circumstances", "precision", OPTION_CHOICE, AT(options.precision), .choices = run_precisions,
     .help = "of the computation and the results"},
    {"Circumstances", "threads", OPTION_INT, AT(options.threads), "N",
     .help = "workers; the result has the same bits for any number", .high = 1024, .zero = "one per processor"},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "what was computed as one JSON object"},
    {"Reports", "quiet", OPTION_FLAG, AT(quiet), .help = "errors alone"},
    {"Reports", "verbose", OPTION_FLAG, AT(verbose), .help = "what each layer runs on, on standard error"},
    {0},
};

/* Everything a run reads and gives; cleared together. */
struct run {
    bptt_model *model;
    bptt_array input, output;
    bptt_arrays initial, final;
};

static int read_inputs(struct run *run, const char *model, const struct run_values *values, bptt_error *error)
{
    int status = bptt_model_load(model, &run->model, error);
    if (status == BPTT_OK && values->verbose)
        say_kernels(stderr, run->model, values->options.precision);
    if (status == BPTT_OK)
        status = bptt_npy_read(values->input, &run->input, error);
    if (status == BPTT_OK && values->initial_state)
        status = bptt_safetensors_read(values->initial_state, &run->initial, error);
    return status;
}

static int compute(struct run *run, const struct run_values *values, bptt_error *error)
{
    int status = bptt_run(run->model, &run->input, values->initial_state ? &run->initial : NULL, &run->output,
                          values->final_state ? &run->final : NULL, &values->options, error);
    if (status == BPTT_OK && values->out)
        status = bptt_npy_write(values->out, &run->output, error);
    if (status == BPTT_OK && values->final_state)
        status = bptt_safetensors_write(values->final_state, &run->final, error);
    return status;
}

static void report(const struct run *run, const struct run_values *values)
{
    const bptt_array *output = &run->output;
    if (values->json) {
        struct emit emit = {.out = stdout};
        emit_open(&emit, NULL, '{');
        emit_open(&emit, "shape", '[');
        for (int i = 0; i < output->rank; i++)
            emit_whole(&emit, NULL, output->shape[i]);
        emit_close(&emit, ']');
        emit_text(&emit, "type", output->type == BPTT_F64 ? "f64" : "f32");
        emit_text(&emit, "out", values->out);
        emit_text(&emit, "final_state", values->final_state);
        emit_close(&emit, '}');
    } else if (!values->quiet) {
        printf("ran %lld steps of %lld rows", (long long)output->shape[0], (long long)output->shape[1]);
        if (values->out)
            printf("; wrote %s, %lld outputs a step", values->out, (long long)output->shape[2]);
        if (values->final_state)
            printf("; wrote %s", values->final_state);
        putchar('\n');
    }
}

static void clear(struct run *run)
{
    bptt_model_free(run->model);
    bptt_array_clear(&run->input);
    bptt_array_clear(&run->output);
    bptt_arrays_clear(&run->initial);
    bptt_arrays_clear(&run->final);
}

static int run_model(const struct command *command, int argc, char **argv)
{
    struct run_values values = {.options = bptt_run_defaults()};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    if (!values.input)
        return usage_error(command, "needs --input FILE.npy");
    if (!values.out && !values.final_state)
        return usage_error(command, "needs --out FILE.npy or --final-state FILE: else there is nothing to keep");
    struct run run = {0};
    bptt_error error = {0};
    int status = read_inputs(&run, parsed.arguments[0], &values, &error);
    if (status == BPTT_OK)
        status = compute(&run, &values, &error);
    if (status == BPTT_OK)
        report(&run, &values);
    clear(&run);
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command run_command = {
    .name = "run",
    .arguments = "MODEL",
    .least = 1,
    .most = 1,
    .summary = "run a model forward over a file of inputs",
    .about = "Runs a model forward: inputs from a .npy file, outputs to one. Letters: T steps, B rows, I inputs, "
             "O outputs.",
    .examples = "  bptt run m.safetensors --input x.npy --out y.npy\n"
                "  bptt run m.safetensors --input x.npy --initial-state s0.safetensors --final-state s1.safetensors\n",
    .options = options,
    .run = run_model,
};
