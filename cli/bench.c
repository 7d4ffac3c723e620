/* bench.c - bptt bench: what a cell of one's own sizes reaches on this machine, which kernel runs it, and what a faster choice
 * would be. The choices are neighbours of the case (another batch, width, number of threads, precision, a compiled cell),
 * measured in turns with it. */
#include <bptt.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "json.h"
#include "kernels.h"
#include "options.h"
#include "say.h"

struct bench_values {
    bptt_speed_case config;
    const char *cell;
    double seconds;
    int interpret, json, quiet;
};
#define AT(field) offsetof(struct bench_values, field)

static const struct option options[] = {
    {"Sizes", "cell", OPTION_TEXT, AT(cell), "NAME|FILE", .help = "a cell that `bptt cells` lists, or a .cell file"},
    {"Sizes", "inputs", OPTION_COUNT, AT(config.inputs), "N", .help = "inputs of a step", .high = 65536, .zero = "as --hidden"},
    {"Sizes", "hidden", OPTION_COUNT, AT(config.hidden), "N", .help = "units of each layer", .low = 1, .high = 65536},
    {"Sizes", "layers", OPTION_COUNT, AT(config.layers), "N", .help = "layers", .low = 1, .high = 64},
    {"Sizes", "dim", OPTION_TEXT, AT(config.dims), "P=64,...", .help = "further sizes of the cell", .zero = "the cell's own"},
    {"Sizes", "batch", OPTION_COUNT, AT(config.batch), "N", .help = "rows side by side", .low = 1, .high = 65536},
    {"Sizes", "length", OPTION_COUNT, AT(config.length), "N", .help = "steps of a window", .low = 1, .high = 1e7},
    {"Circumstances", "threads", OPTION_INT, AT(config.threads), "N", .help = "workers", .high = 1024,
     .zero = "one per processor"},
    {"Circumstances", "precision", OPTION_CHOICE, AT(config.precision), .choices = run_precisions, .help = "of the computation"},
    {"Circumstances", "interpret", OPTION_FLAG, AT(interpret), .help = "do not compile a cell file"},
    {"Circumstances", "seconds", OPTION_NUMBER, AT(seconds), "X", .help = "that each case is measured for", .low = 0.001,
     .high = 3600},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "all figures as one JSON object"},
    {"Reports", "quiet", OPTION_FLAG, AT(quiet), .help = "the time of forward and backward alone, in milliseconds"},
    {0},
};

/* ---- the case and its neighbours ---- */

enum { CHOICES = 6 };
static const double WORTH = 1.05;          /* what is less faster than that may be chance */

struct bench {
    bptt_cell *cell, *compiled;            /* the other one, where the first is interpreted */
    size_t count;
    bptt_speed_case config[CHOICES];       /* the first is what was asked */
    bptt_speed speed[CHOICES];
    char change[CHOICES][64];              /* what differs in the command line */
};

static bptt_speed_case *add_choice(struct bench *bench)
{
    bench->config[bench->count] = bench->config[0];
    return &bench->config[bench->count++];
}

static void choose_sizes(struct bench *bench)
{
    const bptt_speed_case *own = &bench->config[0];
    int64_t batch = 2 * own->batch, hidden = (own->hidden + 15) / 16 * 16;
    snprintf(bench->change[bench->count], sizeof bench->change[0], "--batch %lld", (long long)batch);
    add_choice(bench)->batch = batch;
    if (hidden == own->hidden)
        return;
    snprintf(bench->change[bench->count], sizeof bench->change[0], "--hidden %lld", (long long)hidden);
    bptt_speed_case *wider = add_choice(bench);
    wider->inputs = own->inputs ? own->inputs : own->hidden;
    wider->hidden = hidden;
}

static void choose_circumstances(struct bench *bench)
{
    const bptt_speed_case *own = &bench->config[0];
    int one = own->threads != 1;
    snprintf(bench->change[bench->count], sizeof bench->change[0], one ? "--threads 1" : "--threads 0 (one per processor)");
    add_choice(bench)->threads = one;
    if (own->precision == BPTT_F64) {
        snprintf(bench->change[bench->count], sizeof bench->change[0], "--precision f32");
        add_choice(bench)->precision = BPTT_F32;
    }
    if (bench->compiled) {
        snprintf(bench->change[bench->count], sizeof bench->change[0], "without --interpret, compiled");
        add_choice(bench)->cell = bench->compiled;
    }
}

/* How many times as many steps a second a choice makes; a wider layer does more with each. */
static double gain(const struct bench *bench, size_t choice)
{
    double own = bench->speed[0].gradient.seconds / (double)bench->config[0].batch;
    double other = bench->speed[choice].gradient.seconds / (double)bench->config[choice].batch;
    return own / other;
}

static int is_worth(const struct bench *bench, size_t choice)
{
    double least = bench->config[choice].hidden > bench->config[0].hidden ? 0.99 : WORTH;
    return gain(bench, choice) >= least;
}

static int open_cells(struct bench *bench, const struct bench_values *values, bptt_error *error)
{
    bptt_error why = {0};
    int status = bptt_cell_open(values->cell, &bench->cell, error);
    if (status != BPTT_OK)
        return status;
    if (!values->interpret) {
        bptt_cell_compile(bench->cell, &why); /* where that fails, the reason stands beside the kernel */
        return BPTT_OK;
    }
    bptt_cell_info info;
    status = bptt_cell_describe(bench->cell, 1, 1, &info, error);
    if (status == BPTT_OK && strcmp(info.kernel, "interpreter") == 0)
        status = bptt_cell_open(values->cell, &bench->compiled, error);
    if (status == BPTT_OK && bench->compiled && bptt_cell_compile(bench->compiled, &why) != BPTT_OK) {
        bptt_cell_free(bench->compiled);
        bench->compiled = NULL;
    }
    return status;
}

/* ---- what is said ---- */

static double speed_of(const bptt_speed_figure *figure)
{
    return figure->operations / figure->seconds;
}

static void emit_figure(struct emit *emit, const char *key, const bptt_speed_figure *figure, double peak, double steps)
{
    emit_open(emit, key, '{');
    emit_number(emit, "ms", 1e3 * figure->seconds);
    emit_number(emit, "gflops", 1e-9 * speed_of(figure));
    emit_number(emit, "fraction", speed_of(figure) / peak);
    emit_number(emit, "steps_per_second", steps / figure->seconds);
    emit_close(emit, '}');
}

static void emit_kernel(struct emit *emit, const bptt_kernel *kernel)
{
    emit_open(emit, "kernel", '{');
    emit_text(emit, "cell", kernel->cell);
    emit_text(emit, "products", kernel->products);
    emit_text(emit, "reason", kernel->reason);
    emit_flag(emit, "faster", kernel->faster);
    emit_close(emit, '}');
}

static void emit_case(struct emit *emit, const struct bench *bench, size_t i)
{
    const bptt_speed_case *c = &bench->config[i];
    const bptt_speed *speed = &bench->speed[i];
    double steps = (double)c->batch * (double)c->length, one = speed->peak / speed->threads;
    emit_whole(emit, "inputs", c->inputs ? c->inputs : c->hidden);
    emit_whole(emit, "hidden", c->hidden);
    emit_whole(emit, "layers", c->layers);
    emit_whole(emit, "batch", c->batch);
    emit_whole(emit, "length", c->length);
    emit_whole(emit, "threads", speed->threads);
    emit_text(emit, "precision", c->precision == BPTT_F64 ? "f64" : c->precision == BPTT_BF16 ? "bf16" : "f32");
    emit_number(emit, "peak_gflops", 1e-9 * speed->peak);
    emit_kernel(emit, &speed->kernel);
    emit_whole(emit, "scan_workers", speed->scan_workers);
    emit_flag(emit, "scan_units", speed->scan_units);
    emit_figure(emit, "forward", &speed->forward, speed->peak, steps);
    emit_figure(emit, "gradient", &speed->gradient, speed->peak, steps);
    emit_figure(emit, "step", &speed->step, one, 1);
}

static void emit_bench(const struct bench *bench, const struct bench_values *values)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_text(&emit, "cell", values->cell);
    emit_case(&emit, bench, 0);
    emit_open(&emit, "choices", '[');
    for (size_t i = 1; i < bench->count; i++) {
        emit_open(&emit, NULL, '{');
        emit_text(&emit, "change", bench->change[i]);
        emit_number(&emit, "gain", gain(bench, i));
        emit_flag(&emit, "worth", is_worth(bench, i));
        emit_case(&emit, bench, i);
        emit_close(&emit, '}');
    }
    emit_close(&emit, ']');
    emit_close(&emit, '}');
}

static void print_figure(const char *name, const bptt_speed_figure *figure, double peak, double steps)
{
    printf("  %-22s %12.4g ms %10.1f GFLOP/s %7.1f %% %14s steps/s\n", name, 1e3 * figure->seconds, 1e-9 * speed_of(figure),
           100 * speed_of(figure) / peak, say_count((int64_t)(steps / figure->seconds)).text);
}

static void print_choices(const struct bench *bench)
{
    size_t best = 0;
    printf("other choices, measured in turns with it, by steps a second of forward and backward:\n");
    for (size_t i = 1; i < bench->count; i++) {
        printf("  %-32s %6.2fx%s\n", bench->change[i], gain(bench, i), is_worth(bench, i) ? "  faster" : "");
        if (is_worth(bench, i) && (best == 0 || gain(bench, i) > gain(bench, best)))
            best = i;
    }
    if (bench->config[best].hidden > bench->config[0].hidden)
        printf("%s takes no longer, and has more units\n", bench->change[best]);
    else if (best)
        printf("%s would run %.2fx as fast for each step\n", bench->change[best], gain(bench, best));
    else
        printf("none of these is faster by more than 5 %%\n");
}

static void print_bench(const struct bench *bench, const struct bench_values *values)
{
    const bptt_speed_case *c = &bench->config[0];
    const bptt_speed *speed = &bench->speed[0];
    double steps = (double)c->batch * (double)c->length, one = speed->peak / speed->threads;
    printf("%s: %lld inputs, %lld units, layers %lld; windows of %lld steps and %lld rows; threads %d\n", values->cell,
           (long long)(c->inputs ? c->inputs : c->hidden), (long long)c->hidden, (long long)c->layers, (long long)c->length,
           (long long)c->batch, speed->threads);
    printf("equations %s; products %s\n  %s\n", speed->kernel.cell, speed->kernel.products, speed->kernel.reason);
    say_scan(stdout, speed->threads, speed->scan_workers, speed->scan_units);
    printf("peak of multiply-adds measured here: %.1f GFLOP/s, of one thread %.1f\n", 1e-9 * speed->peak, 1e-9 * one);
    print_figure("forward", &speed->forward, speed->peak, steps);
    print_figure("forward and backward", &speed->gradient, speed->peak, steps);
    print_figure("streaming, 1 row", &speed->step, one, 1);
    print_choices(bench);
}

static int bench_cell(const struct command *command, int argc, char **argv)
{
    struct bench_values values = {.config = bptt_speed_defaults(), .cell = "lstm", .seconds = 0.5};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    struct bench bench = {.count = 1};
    bptt_error error = {0};
    int status = open_cells(&bench, &values, &error);
    bench.config[0] = values.config;
    bench.config[0].cell = bench.cell;
    if (!values.quiet) {
        choose_sizes(&bench);
        choose_circumstances(&bench);
    }
    if (status == BPTT_OK)
        status = bptt_measure(bench.config, bench.count, values.seconds, bench.speed, &error);
    if (status == BPTT_OK && values.json)
        emit_bench(&bench, &values);
    else if (status == BPTT_OK && values.quiet)
        printf("%.6g\n", 1e3 * bench.speed[0].gradient.seconds);
    else if (status == BPTT_OK)
        print_bench(&bench, &values);
    bptt_cell_free(bench.compiled);
    bptt_cell_free(bench.cell);
    return status == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

const struct command bench_command = {
    .name = "bench",
    .arguments = "",
    .summary = "the speed of a cell of one's own sizes, and faster choices",
    .about = "Measures one cell: a window forward, forward and backward with all gradients, and a streaming step, beside the "
             "peak of this machine, with the kernel that runs it. Then its neighbours: twice the batch, a width that is a "
             "multiple of 16, other threads, single precision, a compiled cell. Operations are those of the equations, three "
             "times as many with the gradient.",
    .examples = "  bptt bench --cell gru --hidden 256 --batch 16 --length 100\n"
                "  bptt bench --cell mine.cell --hidden 100 --batch 1 --threads 1\n"
                "  bptt bench --hidden 128 --batch 32 --length 100 --json\n",
    .options = options,
    .run = bench_cell,
};
