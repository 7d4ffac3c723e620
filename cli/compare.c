/* compare.c - bptt compare: what each strategy does to the gradient, what it costs, how training goes with it; as tables, as
 * JSON, and as the figure of a text cut into pieces. */
#include <bptt.h>
#include <errno.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "commands.h"
#include "interrupt.h"
#include "json.h"
#include "options.h"
#include "say.h"
#include "terminal.h"

struct compare_values {
    bptt_compare_options options;
    const char *svg;
    int by_parameter, json, quiet;
};
#define AT(field) offsetof(struct compare_values, field)

static const struct option_choice optimizers[] = {
    {"sgd", BPTT_SGD}, {"rmsprop", BPTT_RMSPROP}, {"adam", BPTT_ADAM}, {"adamw", BPTT_ADAMW}, {0}};
static const struct option_choice precisions[] = {{"auto", 0}, {"f64", BPTT_F64}, {"f32", BPTT_F32}, {0}};

static const struct option options[] = {
    {"Gradients", "strategies", OPTION_TEXT, AT(options.strategies), "LIST",
     .help = "what to compare, with semicolons between: \"full;segments:16;truncated:8,32;random:0.9;uoro\"; bf16 is full, in bfloat16",
     .zero = "some of each kind, by --length and what they cost"},
    {"Gradients", "length", OPTION_COUNT, AT(options.length), "N", .help = "steps of a window", .low = 1, .high = 1 << 20,
     .zero = "64, or what the text allows"},
    {"Gradients", "batch", OPTION_COUNT, AT(options.batch), "N", .help = "places in the text at once", .low = 1, .high = 65536},
    {"Gradients", "windows", OPTION_COUNT, AT(options.windows), "N", .help = "spread evenly over the text", .low = 1, .high = 65536},
    {"Gradients", "repeats", OPTION_COUNT, AT(options.repeats), "N", .help = "on each window, of strategies that draw numbers",
     .low = 2, .high = 1 << 20},
    {"Gradients", "precision", OPTION_CHOICE, AT(options.precision), .choices = precisions,
     .help = "of the gradients that are compared; times are those of f32"},
    {"Gradients", "memory", OPTION_BYTES, AT(options.memory), "BYTES", .help = "a strategy that needs more is left out"},
    {"Gradients", "by-parameter", OPTION_FLAG, AT(by_parameter), .help = "a table by parameter in place of the one by layer"},
    {"Training", "train", OPTION_COUNT, AT(options.train), "N", .help = "train copies of the model on so many windows by each strategy",
     .high = 1e8, .zero = "none"},
    {"Training", "lr", OPTION_NUMBER, AT(options.rate), "X", .help = "learning rate", .high = 1e6},
    {"Training", "optimizer", OPTION_CHOICE, AT(options.optimizer), .choices = optimizers, .help = "the rule"},
    {"Training", "clip", OPTION_NUMBER, AT(options.clip_norm), "X", .help = "longest gradient; longer ones are scaled down",
     .high = 1e30, .zero = "no limit"},
    {"Reports", "svg", OPTION_TEXT, AT(svg), "FILE", .help = "the text cut into pieces, as a picture in a file", .zero = "none"},
    {"Reports", "json", OPTION_FLAG, AT(json), .help = "everything as one JSON object"},
    {"Reports", "quiet", OPTION_FLAG, AT(quiet), .help = "the first table alone"},
    {"Reports", "threads", OPTION_INT, AT(options.threads), "N", .help = "workers", .high = 1024, .zero = "one per processor"},
    {"Reports", "seed", OPTION_SEED, AT(options.seed), "N", .help = "of places in the text, random links and signs"},
    {0},
};

/* ---- as JSON ---- */

static void emit_part(struct emit *emit, const bptt_compare_part *part, const char *key)
{
    emit_open(emit, key, '{');
    if (!key)
        emit_text(emit, "name", part->name);
    emit_number(emit, "norm", part->norm);
    emit_number(emit, "bias", part->bias);
    emit_number(emit, "noise", part->noise);
    emit_number(emit, "variance", part->variance);
    emit_number(emit, "cosine", part->cosine);
    emit_close(emit, '}');
}

static void emit_parts(struct emit *emit, const char *key, const bptt_compare_part *part, size_t count)
{
    emit_open(emit, key, '[');
    for (size_t i = 0; i < count; i++)
        emit_part(emit, &part[i], NULL);
    emit_close(emit, ']');
}

static void emit_numbers(struct emit *emit, const char *key, const double *values, int64_t n)
{
    emit_open(emit, key, '[');
    for (int64_t i = 0; i < n; i++)
        emit_number(emit, NULL, values[i]);
    emit_close(emit, ']');
}

static void emit_pieces(struct emit *emit, const bptt_compare_strategy *s)
{
    emit_open(emit, "pieces", '[');
    for (size_t i = 0; i < s->pieces; i++) {
        emit_open(emit, NULL, '{');
        emit_whole(emit, "from", s->piece[i].from);
        emit_whole(emit, "losses", s->piece[i].losses);
        emit_whole(emit, "to", s->piece[i].to);
        emit_close(emit, '}');
    }
    emit_close(emit, ']');
}

static void emit_strategy(struct emit *emit, const bptt_compare_report *r, const bptt_compare_strategy *s)
{
    emit_open(emit, NULL, '{');
    emit_text(emit, "name", s->name);
    emit_text(emit, "skipped", *s->skipped ? s->skipped : NULL);
    if (!*s->skipped) {
        emit_part(emit, &s->part[0], "gradient");
        emit_parts(emit, "layers", s->part + 1, r->layers);
        emit_parts(emit, "parameters", s->part + 1 + r->layers, r->parts - 1 - r->layers);
        if (s->truncation)
            emit_whole(emit, "truncation", s->truncation);
        emit_number(emit, "seconds", s->seconds);
        emit_number(emit, "ratio", s->ratio);
        emit_pieces(emit, s);
        if (s->link)
            emit_numbers(emit, "links", s->link, r->length);
    }
    emit_whole(emit, "bytes", s->bytes);
    if (r->train && !*s->skipped) {
        emit_numbers(emit, "loss", s->loss, s->trained);
        emit_numbers(emit, "second", s->second, s->trained);
        emit_text(emit, "failure", *s->failure ? s->failure : NULL);
    }
    emit_close(emit, '}');
}

static void emit_report(const bptt_compare_report *r)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_whole(&emit, "length", r->length);
    emit_whole(&emit, "batch", r->batch);
    emit_whole(&emit, "windows", r->windows);
    emit_whole(&emit, "repeats", r->repeats);
    emit_text(&emit, "precision", r->precision == BPTT_F64 ? "f64" : "f32");
    emit_whole(&emit, "train", r->train);
    emit_text(&emit, "text", r->text);
    emit_open(&emit, "strategies", '[');
    for (size_t i = 0; i < r->count; i++)
        emit_strategy(&emit, r, &r->strategy[i]);
    emit_close(&emit, ']');
    emit_close(&emit, '}');
}

/* ---- tables of gradients ---- */

static void print_number(double value, int width)
{
    if (isfinite(value))
        printf(" %*.3g", width, value);
    else
        printf(" %*s", width, "-");
}

/* In a column of NAME; one that is longer has the line to itself. */
enum { NAME = 19 };

static void print_name(const char *name)
{
    int fits = strlen(name) <= NAME;
    if (!fits)
        puts(name);
    printf("%-*s", NAME, fits ? name : "");
}

static void print_statistics(const bptt_compare_part *part, int draws)
{
    print_number(part->bias, 8);
    if (draws && isfinite(part->noise))
        printf(" %7.2g", part->noise);
    else
        printf(" %7s", draws ? "-" : "");
    print_number(part->variance, 8);
    if (isfinite(part->cosine))
        printf(" %8.5f", part->cosine);
    else
        printf(" %8s", "-");
}

static void print_gradients(const bptt_compare_report *r)
{
    printf("%-*s %8s %7s %8s %8s %8s %6s %9s\n", NAME, "strategy", "bias", "+-", "variance", "cosine", "s/window", "ratio", "bytes");
    for (size_t i = 0; i < r->count; i++) {
        const bptt_compare_strategy *s = &r->strategy[i];
        print_name(s->name);
        if (*s->skipped) {
            printf(" left out: %s\n", s->skipped);
            continue;
        }
        print_statistics(&s->part[0], s->draws);
        printf(" %8.2g %6.3g %9s\n", s->seconds, s->ratio, say_bytes(s->bytes).text);
    }
}

static void print_explanation(const bptt_compare_report *r)
{
    int drawn = 0;
    for (size_t i = 0; i < r->count; i++)
        drawn |= r->strategy[i].draws && !*r->strategy[i].skipped;
    printf("against the exact gradient: %lld windows, %lld steps, %lld rows, %s precision\n", (long long)r->windows,
           (long long)r->length, (long long)r->batch, r->precision == BPTT_F64 ? "double" : "single");
    if (drawn)
        printf("+-: standard error of the bias, of %lld repeats; no bias at all looks like that\n", (long long)r->repeats);
    for (size_t i = 0; i < r->count; i++)
        if (r->strategy[i].truncation)
            printf("%s chose a truncation of %lld steps\n", r->strategy[i].name, (long long)r->strategy[i].truncation);
}

static void print_parts(const bptt_compare_report *r, size_t from, size_t to, const char *what)
{
    printf("\n%-*s %-20s %8s %7s %8s %8s\n", NAME, "strategy", what, "bias", "+-", "variance", "cosine");
    for (size_t i = 0; i < r->count; i++) {
        const bptt_compare_strategy *s = &r->strategy[i];
        for (size_t k = from; k < to && !*s->skipped; k++) {
            print_name(k == from ? s->name : "");
            printf(" %-20s", s->part[k].name);
            print_statistics(&s->part[k], s->draws);
            putchar('\n');
        }
    }
}

/* ---- tables of training ---- */

enum { POINTS = 9 };

/* Windows behind checkpoint i. */
static int64_t point(int64_t windows, int i)
{
    return (int64_t)ceil((double)windows * (i + 1) / POINTS);
}

/* Mean loss of the windows from the checkpoint before on; NaN where training had ended. */
static double mean_loss(const bptt_compare_strategy *s, int64_t from, int64_t to)
{
    double sum = 0;
    if (to > s->trained || from >= to)
        return NAN;
    for (int64_t k = from; k < to; k++)
        sum += s->loss[k];
    return sum / (double)(to - from);
}

static void print_loss(double loss)
{
    if (isfinite(loss))
        printf(" %5.*f", loss < 100 ? 3 : 0, loss);
    else
        printf(" %5s", "-");
}

static void print_by_steps(const bptt_compare_report *r)
{
    printf("\n%-25s", "loss after window");
    for (int i = 0; i < POINTS; i++) {
        int64_t windows = point(r->train, i);
        if (windows < 100000)
            printf(" %5lld", (long long)windows);
        else
            printf(" %4lldk", (long long)windows / 1000);
    }
    putchar('\n');
    for (size_t k = 0; k < r->count; k++) {
        const bptt_compare_strategy *s = &r->strategy[k];
        if (*s->skipped)
            continue;
        printf("%-25s", s->name);
        for (int i = 0; i < POINTS; i++)
            print_loss(mean_loss(s, i ? point(r->train, i - 1) : 0, point(r->train, i)));
        putchar('\n');
    }
}

/* Windows trained within so many seconds. */
static int64_t windows_by(const bptt_compare_strategy *s, double seconds)
{
    int64_t k = 0;
    while (k < s->trained && s->second[k] <= seconds)
        k++;
    return k;
}

/* From a part of the shortest training to the longest one, each column as many times the one before. */
struct span { double low, high; };

static struct span time_span(const bptt_compare_report *r)
{
    struct span span = {INFINITY, 0};
    for (size_t i = 0; i < r->count; i++) {
        const bptt_compare_strategy *s = &r->strategy[i];
        double whole = s->trained ? s->second[s->trained - 1] : NAN;
        span.low = fmin(span.low, whole / POINTS);
        span.high = fmax(span.high, whole);
    }
    return span;
}

static double time_at(struct span span, int i)
{
    return i < POINTS - 1 ? span.low * pow(span.high / span.low, (double)i / (POINTS - 1)) : span.high;
}

/* In five columns. */
static void print_seconds(double seconds)
{
    if (seconds < 1e-3)
        printf(" %5.0e", seconds);
    else
        printf(" %5.*f", seconds < 1 ? 3 : seconds < 100 ? 2 : 0, seconds);
}

/* Over as many windows as an interval holds, the last ones of that time. */
static double loss_by(const bptt_compare_strategy *s, const bptt_compare_report *r, double seconds)
{
    int64_t to = windows_by(s, seconds), many = point(r->train, 0);
    if (s->trained == 0 || seconds > s->second[s->trained - 1] * (1 + 1e-9))
        return NAN;
    return mean_loss(s, to > many ? to - many : 0, to);
}

static void print_by_seconds(const bptt_compare_report *r)
{
    struct span span = time_span(r);
    if (span.high <= 0)
        return;
    printf("\n%-25s", "loss after seconds");
    for (int i = 0; i < POINTS; i++)
        print_seconds(time_at(span, i));
    putchar('\n');
    for (size_t k = 0; k < r->count; k++) {
        const bptt_compare_strategy *s = &r->strategy[k];
        if (*s->skipped)
            continue;
        printf("%-25s", s->name);
        for (int i = 0; i < POINTS; i++)
            print_loss(loss_by(s, r, time_at(span, i)));
        putchar('\n');
    }
}

static void print_training(const bptt_compare_report *r)
{
    print_by_steps(r);
    print_by_seconds(r);
    printf("means over the last %lld windows, each step before its update; who makes several\n"
           "updates a window makes them all\n", (long long)point(r->train, 0));
    for (size_t i = 0; i < r->count; i++)
        if (r->strategy[i].trained < r->train && !*r->strategy[i].skipped)
            printf("%s ended after %lld windows: %s\n", r->strategy[i].name, (long long)r->strategy[i].trained, r->strategy[i].failure);
}

/* ---- the figure ---- */

static int print_figure(const bptt_compare_report *r, bptt_error *error)
{
    char *text = NULL;
    int width = terminal_width(stdout);
    int status = bptt_compare_figure(r, "text", width < 80 ? width : 80, &text, error);
    if (status == BPTT_OK)
        printf("\nWhere the gradient is cut:\n%s", text);
    bptt_free(text);
    return status;
}

static int write_svg(const struct command *command, const char *path, const bptt_compare_report *r)
{
    char *text = NULL;
    bptt_error error = {0};
    if (bptt_compare_figure(r, "svg", 0, &text, &error) != BPTT_OK)
        return say_error(command, &error);
    FILE *file = fopen(path, "w");
    int good = file && fputs(text, file) >= 0;
    good = file && fclose(file) == 0 && good;
    if (!good)
        fprintf(stderr, "bptt %s: %s: cannot write the picture: %s\n", command->name, path, strerror(errno));
    bptt_free(text);
    return good ? STATUS_DONE : STATUS_FAILED;
}

/* ---- the command ---- */

/* On a terminal one line that is drawn over. */
static int show_progress(const char *what, double fraction, void *user)
{
    const struct terminal *terminal = user;
    if (terminal->present)
        fprintf(stderr, "\r\033[K%3.0f %%  %s", 100 * fraction, what);
    return interrupt_asked();
}

static int print_report(const struct command *command, const struct compare_values *values, const bptt_compare_report *r)
{
    bptt_error error = {0};
    if (values->json) {
        emit_report(r);
        return STATUS_DONE;
    }
    print_gradients(r);
    if (values->quiet)
        return STATUS_DONE;
    print_explanation(r);
    if (values->by_parameter)
        print_parts(r, 1 + r->layers, r->parts, "parameter");
    else
        print_parts(r, 1, 1 + r->layers, "layer");
    if (r->train)
        print_training(r);
    return print_figure(r, &error) == BPTT_OK ? STATUS_DONE : say_error(command, &error);
}

static int compare_files(struct compare_values *values, const struct parsed *parsed, bptt_compare_report *report, bptt_error *error)
{
    bptt_model *model = NULL;
    struct terminal terminal = terminal_look(stderr);
    values->options.on_progress = show_progress;
    values->options.user = &terminal;
    interrupt_catch();
    int status = bptt_model_load(parsed->arguments[0], &model, error);
    if (status == BPTT_OK)
        status = bptt_compare(model, (const char *const *)parsed->arguments + 1, (size_t)parsed->count - 1, &values->options, report,
                              error);
    if (terminal.present)
        fputs("\r\033[K", stderr);
    bptt_model_free(model);
    return status;
}

static int compare(const struct command *command, int argc, char **argv)
{
    struct compare_values values = {.options = bptt_compare_defaults()};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    bptt_error error = {0};
    bptt_compare_report report = {0};
    if (compare_files(&values, &parsed, &report, &error) != BPTT_OK)
        return say_error(command, &error);
    int status = print_report(command, &values, &report);
    if (values.svg && status == STATUS_DONE)
        status = write_svg(command, values.svg, &report);
    bptt_compare_clear(&report);
    return status;
}

const struct command compare_command = {
    .name = "compare",
    .arguments = "MODEL FILE...",
    .least = 2,
    .most = 1 << 20,
    .summary = "strategies for the gradient, side by side",
    .about = "For each strategy, on the same windows of a text: relative bias, variance and cosine of its gradient against the exact "
             "one, over all parameters and by layer; seconds and bytes; with --train the loss as copies of the model are trained by "
             "it; and the text cut into pieces where the gradient is cut.",
    .examples = "  bptt compare book.safetensors book.txt\n"
                "  bptt compare book.safetensors book.txt --strategies \"full;segments:16;random:0.9\" --train 500 --lr 0.002\n"
                "  bptt compare book.safetensors book.txt --length 128 --svg pieces.svg --json\n",
    .options = options,
    .run = compare,
};
