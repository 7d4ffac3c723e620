/* inspect.c - bptt inspect: what flows back through time in a model, measured on data. */
#include <bptt.h>
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "inspect.h"
#include "interrupt.h"
#include "options.h"
#include "say.h"
#include "terminal.h"

struct inspect_values {
    bptt_inspect_options options;
    const char *target, *svg;
    int json;
};
#define AT(field) offsetof(struct inspect_values, field)

static const struct option options[] = {
    {"Gradient by lag", "lags", OPTION_COUNT, AT(options.lags), "N", .help = "how many steps back to look", .low = 1,
     .high = 1 << 24, .zero = "256, or as many as the data allow"},
    {"Gradient by lag", "batch", OPTION_COUNT, AT(options.batch), "N", .help = "losses looked back from at once", .low = 1,
     .high = 65536},
    {"Gradient by lag", "windows", OPTION_COUNT, AT(options.windows), "N", .help = "so often, spread evenly over the data",
     .low = 1, .high = 1 << 20},
    {"Step Jacobian", "steps", OPTION_COUNT, AT(options.steps), "N", .help = "walked, with exponents and activities",
     .zero = "as many as a few seconds allow"},
    {"Step Jacobian", "jacobians", OPTION_COUNT, AT(options.jacobians), "N", .help = "of each layer, taken apart",
     .zero = "up to 64, by size"},
    {"Step Jacobian", "exponents", OPTION_COUNT, AT(options.exponents), "N", .help = "of each layer, the largest", .low = 1,
     .high = 1024},
    {"Data", "target", OPTION_TEXT, AT(target), "FILE.npy", .help = "of an input that is no text",
     .zero = "none: the loss is the sum of the outputs"},
    {"Data", "seed", OPTION_SEED, AT(options.seed), "N", .help = "of the places in the data"},
    {"Data", "threads", OPTION_INT, AT(options.threads), "N", .help = "workers", .high = 1024, .zero = "one per processor"},
    {"Data", "memory", OPTION_BYTES, AT(options.memory), "BYTES", .help = "stay below it", .low = 1, .zero = "no limit"},
    {"Reports", "svg", OPTION_TEXT, AT(svg), "FILE", .help = "also as a picture in a file", .zero = "none"},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "everything as one JSON object"},
    {0},
};

/* On a terminal one line that is drawn over. */
static int show_progress(const char *what, double fraction, void *user)
{
    const struct terminal *terminal = user;
    if (terminal->present)
        fprintf(stderr, "\r\033[K%3.0f %%  %s", 100 * fraction, what);
    return interrupt_asked();
}

static int is_array(const char *path)
{
    size_t n = strlen(path);
    return n > 4 && !strcmp(path + n - 4, ".npy");
}

static int inspect_array(const struct inspect_values *values, const bptt_model *model, const char *path,
                         bptt_inspect_report *report, bptt_error *error)
{
    bptt_array input = {0}, target = {0};
    int status = bptt_npy_read(path, &input, error);
    if (!status && values->target)
        status = bptt_npy_read(values->target, &target, error);
    if (!status)
        status = bptt_inspect_arrays(model, &input, values->target ? &target : NULL, &values->options, report, error);
    bptt_array_clear(&input);
    bptt_array_clear(&target);
    return status;
}

static int inspect_files(struct inspect_values *values, const struct parsed *parsed, bptt_inspect_report *report,
                         bptt_error *error)
{
    bptt_model *model = NULL;
    struct terminal terminal = terminal_look(stderr);
    char **files = parsed->arguments + 1;
    values->options.on_progress = show_progress;
    values->options.user = &terminal;
    interrupt_catch();
    int status = bptt_model_load(parsed->arguments[0], &model, error);
    if (!status && is_array(files[0]))
        status = inspect_array(values, model, files[0], report, error);
    else if (!status)
        status = bptt_inspect(model, (const char *const *)files, (size_t)parsed->count - 1, &values->options, report, error);
    if (terminal.present)
        fputs("\r\033[K", stderr);
    bptt_model_free(model);
    return status;
}

static int write_svg(const struct command *command, const char *path, const bptt_inspect_report *r)
{
    char *text = NULL;
    bptt_error error = {0};
    if (bptt_inspect_figure(r, &text, &error) != BPTT_OK)
        return say_error(command, &error);
    FILE *file = fopen(path, "w");
    int good = file && fputs(text, file) >= 0;
    good = file && fclose(file) == 0 && good;
    if (!good)
        fprintf(stderr, "bptt %s: %s: cannot write the picture: %s\n", command->name, path, strerror(errno));
    bptt_free(text);
    return good ? STATUS_DONE : STATUS_FAILED;
}

static int inspect(const struct command *command, int argc, char **argv)
{
    struct inspect_values values = {.options = bptt_inspect_defaults()};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    if (is_array(parsed.arguments[1]) && parsed.count > 2)
        return usage_error(command, "%s: one array is all that is looked at", parsed.arguments[2]);
    if (values.target && !is_array(parsed.arguments[1]))
        return usage_error(command, "--target %s: a text is its own target", values.target);
    bptt_error error = {0};
    bptt_inspect_report report = {0};
    if (inspect_files(&values, &parsed, &report, &error) != BPTT_OK)
        return say_error(command, &error);
    bptt_inspect_run(parsed.arguments[0], &report, NULL);      /* a model without metrics has none to tell of */
    if (values.json)
        inspect_emit(&report);
    else
        inspect_print(&report);
    int status = values.svg ? write_svg(command, values.svg, &report) : STATUS_DONE;
    bptt_inspect_clear(&report);
    return status;
}

const struct command inspect_command = {
    .name = "inspect",
    .arguments = "MODEL FILE...",
    .least = 2,
    .most = 1 << 20,
    .summary = "what flows back through time, and how far",
    .about = "Measured on a text (or an input x.npy), layer by layer and state by state: the norm of a loss's gradient by the "
             "states "
             "before it, lag by lag; singular values, spectral radius and products of the step Jacobian; Lyapunov exponents; "
             "what gates "
             "do; gradients by parameter; and the verdict: vanishing, stable, exploding or chaotic.",
    .examples = "  bptt inspect book.safetensors book.txt\n"
                "  bptt inspect book.safetensors book.txt --lags 1000 --svg inspect.svg --json\n"
                "  bptt inspect sensor.safetensors x.npy --target y.npy\n",
    .options = options,
    .run = inspect,
};
