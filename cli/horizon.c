/* horizon.c - bptt horizon: how far back a model's gradient reaches on a text, and how short a truncation may be. */
#include <bptt.h>
#include <math.h>
#include <stddef.h>
#include <stdio.h>

#include "commands.h"
#include "json.h"
#include "options.h"
#include "say.h"
#include "terminal.h"

struct horizon_values {
    bptt_horizon_options options;
    int64_t truncation;
    int json, quiet;
};
#define AT(field) offsetof(struct horizon_values, field)

static const struct option options[] = {
    {"Options", "lags", OPTION_COUNT, AT(options.lags), "N", .help = "how many steps back to look", .low = 1, .high = 1 << 24,
     .zero = "256, or as many as the text allows"},
    {"Options", "batch", OPTION_COUNT, AT(options.batch), "N", .help = "places in the text at once", .low = 1, .high = 65536},
    {"Options", "windows", OPTION_COUNT, AT(options.windows), "N", .help = "so often, spread evenly over the text", .low = 1,
     .high = 1 << 20},
    {"Options", "truncation", OPTION_COUNT, AT(truncation), "K", .help = "also: what lies beyond K steps", .low = 1,
     .high = 1 << 24, .zero = "none asked about"},
    {"Options", "threads", OPTION_INT, AT(options.threads), "N", .help = "workers", .high = 1024, .zero = "one per processor"},
    {"Options", "seed", OPTION_SEED, AT(options.seed), "N", .help = "of the places in the text"},
    {"Options", "json", OPTION_FLAG, AT(json), .help = "everything as one JSON object"},
    {"Options", "quiet", OPTION_FLAG, AT(quiet), .help = "the decay per step alone, as a number"},
    {0},
};

/* Steps after which the gradient is half as large; NaN where it does not decay, 0 where one step ends it. */
static double half_life(double decay)
{
    return decay <= 0 ? 0 : decay < 1 ? log(0.5) / log(decay) : NAN;
}

/* ---- as JSON ---- */

static void emit_numbers(struct emit *emit, const char *key, const double *values, int64_t n)
{
    emit_open(emit, key, '[');
    for (int64_t i = 0; i < n; i++)
        emit_number(emit, NULL, values[i]);
    emit_close(emit, ']');
}

static void emit_choices(struct emit *emit, const bptt_horizon_report *r)
{
    emit_open(emit, "choice", '[');
    for (int i = 0; i < 3; i++) {
        emit_open(emit, NULL, '{');
        emit_number(emit, "delta", r->choice[i].delta);
        if (r->choice[i].truncation)
            emit_whole(emit, "truncation", r->choice[i].truncation);
        else
            emit_number(emit, "truncation", NAN);
        emit_number(emit, "bias", r->choice[i].bias);
        emit_close(emit, '}');
    }
    emit_close(emit, ']');
}

static void emit_report(const bptt_horizon_report *r, int64_t truncation)
{
    struct emit emit = {.out = stdout};
    emit_open(&emit, NULL, '{');
    emit_whole(&emit, "lags", r->lags);
    emit_whole(&emit, "windows", r->windows);
    emit_whole(&emit, "batch", r->batch);
    emit_number(&emit, "decay", r->decay);
    emit_number(&emit, "half_life", half_life(r->decay));
    emit_choices(&emit, r);
    if (truncation) {
        emit_whole(&emit, "truncation", truncation);
        emit_number(&emit, "beyond", r->bias[truncation - 1]);
    }
    emit_numbers(&emit, "norm", r->norm, r->lags);
    emit_open(&emit, "layers", '[');
    for (int64_t l = 0; l < r->layers; l++)
        emit_numbers(&emit, NULL, r->layer + l * r->lags, r->lags);
    emit_close(&emit, ']');
    emit_numbers(&emit, "bias", r->bias, r->lags);
    emit_close(&emit, '}');
}

/* ---- as a table and a chart ---- */

static void print_bias(double bias)
{
    if (isfinite(bias))
        printf(" %10.3g", bias);
    else
        printf(" %10s", "-");
}

/* Lags 0, 1, 2, 4, ... and the last. */
static int64_t next_lag(int64_t lag, int64_t lags)
{
    int64_t next = lag ? 2 * lag : 1;
    return lag < lags - 1 && next > lags - 1 ? lags - 1 : next;
}

static void print_table(const bptt_horizon_report *r)
{
    printf("%8s %11s", "lag", "norm");
    for (int64_t l = 0; l < r->layers && r->layers > 1; l++)
        printf("     layer %-2lld", (long long)l);
    printf(" %10s\n", "bias");
    for (int64_t k = 0; k < r->lags; k = next_lag(k, r->lags)) {
        printf("%8lld %11.3e", (long long)k, r->norm[k]);
        for (int64_t l = 0; l < r->layers && r->layers > 1; l++)
            printf(" %12.3e", r->layer[l * r->lags + k]);
        print_bias(r->bias[k]);
        putchar('\n');
    }
    puts("bias: estimated and relative, when this lag and those before it are kept (lag 7: truncation 8)");
}

struct span { double top, bottom; };       /* decimal logarithms of the largest and the smallest norm */

static struct span span_of(const double *values, int64_t n)
{
    struct span s = {-INFINITY, INFINITY};
    for (int64_t i = 0; i < n; i++) {
        double value = log10(values[i]);
        if (!isfinite(value))
            continue;
        s.top = value > s.top ? value : s.top;
        s.bottom = value < s.bottom ? value : s.bottom;
    }
    s.bottom = s.bottom < s.top - 12 ? s.top - 12 : s.bottom;
    return s;
}

/* One line of the chart: how high each column's norm (the largest of its lags) stands above the line, in quarters. */
static void print_line(const double *values, int64_t lags, int columns, struct span span, int line, int lines, int unicode)
{
    static const char *const block[] = {" ", "▂", "▄", "▆", "█"};
    static const char plain[] = " .:|#";
    for (int c = 0; c < columns; c++) {
        double most = 0;
        for (int64_t k = c * lags / columns; k < (c + 1) * lags / columns; k++)
            most = values[k] > most ? values[k] : most;
        double height = (log10(most) - span.bottom) / (span.top - span.bottom) * (lines - 0.25) + 0.25 - (lines - 1 - line);
        int quarters = most > 0 && height > 0 ? (int)(fmin(height, 1) * 4 + 0.5) : 0;
        if (unicode)
            fputs(block[quarters], stdout);
        else
            putchar(plain[quarters]);
    }
    putchar('\n');
}

static void print_chart(const char *title, const double *values, int64_t lags, int lines)
{
    enum { MARGIN = 10 };
    struct terminal terminal = terminal_look(stdout);
    struct span span = span_of(values, lags);
    int width = terminal_width(stdout) - MARGIN, columns = width < 16 ? 16 : width > 100 ? 100 : width;
    if (columns > lags)
        columns = (int)lags;
    if (!(span.top > span.bottom))
        return;
    printf("\n%s by lag, 0 to %lld, logarithmic\n", title, (long long)lags - 1);
    for (int line = 0; line < lines; line++) {
        double mark = line == 0 ? span.top : span.bottom;
        if (line == 0 || line == lines - 1)
            printf("%8.1e  ", pow(10, mark));
        else
            printf("%*s", MARGIN, "");
        print_line(values, lags, columns, span, line, lines, terminal.unicode);
    }
}

static void print_charts(const bptt_horizon_report *r)
{
    if (!terminal_look(stdout).present)
        return;
    print_chart("Norm", r->norm, r->lags, 8);
    for (int64_t l = 0; l < r->layers && r->layers > 1; l++) {
        char title[32];
        snprintf(title, sizeof title, "Layer %lld", (long long)l);
        print_chart(title, r->layer + l * r->lags, r->lags, 4);
    }
}

static void print_decay(const bptt_horizon_report *r)
{
    if (r->decay <= 0)
        puts("The gradient is gone after one step.");
    else if (r->decay < 1)
        printf("The gradient decays by %.6g a step: half of it is left after %.3g steps.\n", r->decay, half_life(r->decay));
    else if (r->decay >= 1)
        printf("The gradient does not decay: it changes by %.6g a step.\n", r->decay);
    else
        puts("No decay can be told from these lags.");
}

static void print_choices(const bptt_horizon_report *r)
{
    int missing = 0;
    for (int i = 0; i < 3; i++) {
        if (r->choice[i].truncation)
            printf("truncation %-6lld has an estimated relative bias of %.3g (below %g)\n", (long long)r->choice[i].truncation,
                   r->choice[i].bias, r->choice[i].delta);
        else
            printf("no truncation up to %lld has an estimated relative bias below %g\n", (long long)r->lags, r->choice[i].delta);
        missing += !r->choice[i].truncation;
    }
    if (missing && !isfinite(r->bias[r->lags - 1]))
        printf("No decay bounds the bias within %lld lags: look further with --lags %lld, or train with --gradient full.\n",
               (long long)r->lags, 4 * (long long)r->lags);
    else if (missing)
        printf("The gradient reaches further than %lld lags: look further with --lags %lld.\n", (long long)r->lags,
               4 * (long long)r->lags);
}

static void print_truncation(const bptt_horizon_report *r, int64_t truncation)
{
    double bias = r->bias[truncation - 1];
    if (isfinite(bias))
        printf("Beyond %lld steps lies, as estimated, %.3g of the gradient (relative bias).\n", (long long)truncation, bias);
    else
        printf("How much of the gradient lies beyond %lld steps cannot be told: no decay bounds it.\n", (long long)truncation);
}

static void print_report(const bptt_horizon_report *r, int64_t truncation)
{
    print_table(r);
    print_charts(r);
    putchar('\n');
    print_decay(r);
    print_choices(r);
    if (truncation)
        print_truncation(r, truncation);
}

/* ---- the command ---- */

static int measure(struct horizon_values *values, const struct parsed *parsed, bptt_horizon_report *report, bptt_error *error)
{
    bptt_model *model = NULL;
    int status = bptt_model_load(parsed->arguments[0], &model, error);
    if (status == BPTT_OK)
        status = bptt_horizon(model, (const char *const *)parsed->arguments + 1, (size_t)parsed->count - 1, &values->options,
                              report, error);
    bptt_model_free(model);
    return status;
}

static int horizon(const struct command *command, int argc, char **argv)
{
    struct horizon_values values = {.options = bptt_horizon_defaults()};
    struct parsed parsed = options_parse(command, argc, argv, &values);
    if (parsed.stop)
        return parsed.status;
    bptt_error error = {0};
    bptt_horizon_report report = {0};
    if (measure(&values, &parsed, &report, &error) != BPTT_OK)
        return say_error(command, &error);
    int status = STATUS_DONE;
    if (values.truncation > report.lags)
        status = usage_error(command, "--truncation %lld: only %lld lags were measured; ask for more with --lags",
                             (long long)values.truncation, (long long)report.lags);
    else if (values.json)
        emit_report(&report, values.truncation);
    else if (values.quiet)
        printf("%.6g\n", report.decay);
    else
        print_report(&report, values.truncation);
    bptt_horizon_clear(&report);
    return status;
}

const struct command horizon_command = {
    .name = "horizon",
    .arguments = "MODEL FILE...",
    .least = 2,
    .most = 1 << 20,
    .summary = "how far back a model's gradient reaches",
    .about = "The gradient of a step's loss by the states before it, lag by lag: its norm, how it decays, and the "
             "shortest truncation (`bptt train --gradient truncated:K,K`) that keeps an estimated relative bias small.",
    .examples = "  bptt horizon book.safetensors book.txt\n"
                "  bptt horizon book.safetensors book.txt --lags 1000 --truncation 64 --json\n",
    .options = options,
    .run = horizon,
};
