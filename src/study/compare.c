/* compare.c - bptt_compare: which strategies, which windows, in which order; and the report's memory. */
#define _POSIX_C_SOURCE 200809L
#include "compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../base/text.h"
#include "../model/influence.h"
#include "../train/symbols.h"

enum { LENGTH = 64, LENGTH_MOST = 1 << 20, BATCH_MOST = 1 << 16, WINDOWS_MOST = 1 << 16, REPEATS_MOST = 1 << 20,
       STRATEGIES_MOST = 64 };
static const double AFFORDABLE = 1e11;     /* operations in double precision: about a minute */
static const double SLOW = 100;            /* operations in such time that a step of forward mode takes a parameter */
static const int64_t TRAIN_MOST = 100000000;

bptt_compare_options bptt_compare_defaults(void)
{
    return (bptt_compare_options){.size = sizeof(bptt_compare_options), .batch = 4, .windows = 8, .repeats = 16,
                                  .memory = (int64_t)2 << 30, .optimizer = BPTT_ADAM, .rate = 2e-3, .clip_norm = 1, .seed = 1};
}

double clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int compare_progress(struct compare *c, const char *what)
{
    if (!c->options.on_progress || !c->options.on_progress(what, c->done / c->all, c->options.user))
        return BPTT_OK;
    return fail(c->error, BPTT_INTERRUPTED, "stopped before all was compared");
}

/* ---- options ---- */

static int check_range(const char *name, double value, double low, double high, bptt_error *error)
{
    if (value >= low && value <= high)
        return BPTT_OK;
    return fail(error, BPTT_ERROR_ARGUMENT, "%s is %.9g; it must be between %.9g and %.9g", name, value, low, high);
}

static int check_options(const bptt_compare_options *o, size_t files, bptt_error *error)
{
    if (o->size != sizeof *o)
        return fail(error, BPTT_ERROR_ARGUMENT, "the options do not come from bptt_compare_defaults()");
    if (files == 0)
        return fail(error, BPTT_ERROR_ARGUMENT, "no text to compare on: name a file");
    if (o->precision != 0 && o->precision != BPTT_F32 && o->precision != BPTT_F64)
        return fail(error, BPTT_ERROR_ARGUMENT, "unknown precision: BPTT_F32 or BPTT_F64");
    const struct { const char *name; double value, low, high; } ranges[] = {
        {"length", (double)o->length, 0, LENGTH_MOST},   {"batch", (double)o->batch, 1, BATCH_MOST},
        {"windows", (double)o->windows, 1, WINDOWS_MOST}, {"repeats", (double)o->repeats, 2, REPEATS_MOST},
        {"memory", (double)o->memory, 1, 1e18},           {"train", (double)o->train, 0, (double)TRAIN_MOST},
        {"threads", o->threads, 0, 1024},
    };
    int status = BPTT_OK;
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges && !status; i++)
        status = check_range(ranges[i].name, ranges[i].value, ranges[i].low, ranges[i].high, error);
    return status;
}

/* A window and as much before it, and the symbol behind. */
static int choose_length(struct compare *c, const char *file)
{
    int64_t most = (c->tokens - 1) / 2;
    if (most < 1)
        return fail_file(c->error, BPTT_ERROR_ARGUMENT, file, "%lld symbols are too few: a window of one step needs 3",
                         (long long)c->tokens);
    if (c->options.length > most)
        return fail_file(c->error, BPTT_ERROR_ARGUMENT, file, "%lld symbols are too few for windows of %lld steps and as many before "
                         "them: at most --length %lld", (long long)c->tokens, (long long)c->options.length, (long long)most);
    if (c->options.length == 0)
        c->options.length = most < LENGTH ? most : LENGTH;
    return BPTT_OK;
}

/* ---- strategies ---- */

/* Forward mode where it takes no longer than the rest may: a step and row cost some operations a parameter in code that knows
 * no cell, rtrl one for each of its numbers and states. */
static int is_affordable(const struct compare *c, enum strategy_kind kind)
{
    const bptt_compare_options *o = &c->options;
    struct strategy strategy = {.kind = kind, .order = 1};
    double bytes = (double)influence_bytes(c->model, (long)o->batch, &strategy), steps = (double)(o->length * o->windows);
    double states = (double)c->model->hidden * c->model->cell->states * (double)c->model->layers;
    double work = (double)c->model->count * (double)o->batch * (kind == STRATEGY_UORO ? (double)o->repeats : 1) * SLOW;
    if (kind == STRATEGY_RTRL)
        work += bytes / sizeof(float) * states;
    return bytes <= (double)o->memory && work * steps <= AFFORDABLE;
}

static char *default_strategies(const struct compare *c)
{
    static const struct { const char *name; enum strategy_kind kind; } forward[] = {
        {";rtrl", STRATEGY_RTRL}, {";snap1", STRATEGY_SNAP}, {";rflo", STRATEGY_RFLO}, {";uoro", STRATEGY_UORO}};
    struct text list = {0};
    long long t = c->options.length, piece = t >= 8 ? t / 8 : 1, half = t / 2;
    text_add(&list, "full;bf16");
    if (t > 1)
        text_printf(&list, ";segments:%lld", piece);
    if (half > piece)
        text_printf(&list, ";segments:%lld;truncated:%lld,%lld", half, piece, half);
    if (t > 1)
        text_printf(&list, ";random:%.3g", t > 8 ? 1 - 4.0 / (double)t : 0.5);
    for (size_t i = 0; i < sizeof forward / sizeof *forward; i++)
        if (is_affordable(c, forward[i].kind))
            text_add(&list, forward[i].name);
    return text_take(&list);
}

/* The items of a list, in place; their number, or -1 where one is empty or there are too many. */
static int split(char *list, char *item[STRATEGIES_MOST])
{
    int count = 0;
    for (char *at = list; at; ) {
        char *next = strchr(at, ';');
        if (next)
            *next++ = 0;
        at += strspn(at, " \t\n");
        size_t length = strlen(at);
        while (length && strchr(" \t\n", at[length - 1]))
            at[--length] = 0;
        if (length == 0 || count == STRATEGIES_MOST)
            return -1;
        item[count++] = at;
        at = next && next[strspn(next, " \t\n")] ? next : NULL;
    }
    return count;
}

static int draws(const struct strategy *strategy)
{
    return strategy->kind == STRATEGY_RANDOM || strategy->kind == STRATEGY_UORO;
}

static int read_strategy(struct compare *c, size_t number)
{
    struct strategy *strategy = &c->strategy[number];
    bptt_compare_strategy *out = &c->report->strategy[number];
    int is_narrow = !strcmp(c->text[number], "bf16");
    c->type[number] = is_narrow ? BPTT_BF16 : 0;
    int status = strategy_parse(is_narrow ? "full" : c->text[number], strategy, c->error);
    if (!status)
        status = strategy_check(strategy, (long)c->options.length, c->error);
    if (status)
        return status;
    strategy_text(strategy, out->name, sizeof out->name);
    if (is_narrow)
        snprintf(out->name, sizeof out->name, "bf16");
    out->draws = draws(strategy);
    return BPTT_OK;
}

static int read_strategies(struct compare *c)
{
    char *item[STRATEGIES_MOST];
    const char *given = c->options.strategies;
    c->list = given ? strdup(given) : default_strategies(c);
    if (!c->list)
        return fail_memory(c->error, 1);
    int count = split(c->list, item), status = BPTT_OK;
    if (count < 1)
        return fail(c->error, BPTT_ERROR_ARGUMENT, "strategies: 1 to %d of them with semicolons between, as \"full;segments:16;random:0.9\"",
                    STRATEGIES_MOST);
    size_t n = (size_t)count;
    c->text = malloc(n * sizeof *c->text);
    c->strategy = calloc(n, sizeof *c->strategy);
    c->type = calloc(n, sizeof *c->type);
    c->report->strategy = calloc(n, sizeof *c->report->strategy);
    if (!c->text || !c->strategy || !c->type || !c->report->strategy)
        return fail_memory(c->error, n * sizeof *c->report->strategy);
    c->report->count = n;
    memcpy(c->text, item, n * sizeof *c->text);
    for (size_t i = 0; i < n && !status; i++)
        status = read_strategy(c, i);
    return status;
}

/* Double precision unless that takes too long: code for it uses no vectors of the machine's. */
static void choose_precision(struct compare *c)
{
    const bptt_compare_options *o = &c->options;
    double runs = 0, window = 6 * (double)c->model->count * (double)(o->length * o->batch);
    for (size_t i = 0; i < c->report->count; i++)
        runs += (double)(o->windows * (c->report->strategy[i].draws ? o->repeats : 1));
    if (o->precision == 0)
        c->options.precision = runs * window <= AFFORDABLE ? BPTT_F64 : BPTT_F32;
    c->precision = c->options.precision == BPTT_F64 ? PRECISION_F64 : PRECISION_F32;
}

/* ---- parts of the gradient ---- */

/* Where a parameter's layer ends in its name: at the last point. */
static size_t layer_length(const struct tensor *tensor)
{
    const char *point = strrchr(tensor->name, '.');
    return point ? (size_t)(point - tensor->name) : strlen(tensor->name);
}

static int same_layer(const struct tensor *a, const struct tensor *b)
{
    return layer_length(a) == layer_length(b) && !memcmp(a->name, b->name, layer_length(a));
}

static void number_layers(struct compare *c)
{
    const struct tensor *tensor = c->model->tensor;
    for (int i = 0; i < c->model->tensors; i++) {
        int before = 0;
        while (!same_layer(&tensor[before], &tensor[i]))
            before++;
        c->layer[i] = before < i ? c->layer[before] : (int)c->report->layers++;
    }
}

static int name_parts(struct compare *c)
{
    bptt_compare_report *r = c->report;
    c->layer = malloc((size_t)c->model->tensors * sizeof *c->layer);
    if (!c->layer)
        return fail_memory(c->error, (size_t)c->model->tensors * sizeof *c->layer);
    number_layers(c);
    r->parts = 1 + r->layers + (size_t)c->model->tensors;
    for (size_t s = 0; s < r->count; s++) {
        bptt_compare_part *part = calloc(r->parts, sizeof *part);
        if (!part)
            return fail_memory(c->error, r->parts * sizeof *part);
        r->strategy[s].part = part;
        for (int i = 0; i < c->model->tensors; i++) {
            const struct tensor *tensor = &c->model->tensor[i];
            char *layer = part[1 + c->layer[i]].name, *own = part[1 + r->layers + (size_t)i].name;
            snprintf(layer, sizeof part->name, "%.*s", (int)layer_length(tensor), tensor->name);
            snprintf(own, sizeof part->name, "%s", tensor->name);
        }
    }
    return BPTT_OK;
}

/* ---- the figure's text ---- */

/* As it can be shown: white space as one space, a byte that is no ASCII as a point, words with a space behind. */
static void add_symbol(struct text *out, const struct vocabulary *vocabulary, int32_t token)
{
    size_t length;
    const char *symbol = vocabulary_text(vocabulary, token, &length);
    unsigned char first = (unsigned char)*symbol;
    if (length == 1 && (first <= 0x20 || first == 0x7f))
        text_add(out, " ");
    else if (length == 1 && first > 0x7f)
        text_add(out, ".");
    else
        text_append(out, symbol, length);
    if (vocabulary->kind == BPTT_WORDS)
        text_add(out, " ");
}

static int keep_text(struct compare *c)
{
    struct vocabulary vocabulary;
    struct text text = {0};
    bptt_compare_report *r = c->report;
    int64_t length = c->options.length;
    size_t bytes = size_mul((size_t)length + 1, sizeof *r->symbol);
    r->symbol = malloc(bytes);
    int status = r->symbol ? symbols_open(c->model, &vocabulary, c->error) : fail_memory(c->error, bytes);
    if (status)
        return status;
    for (int64_t t = 0; t < length; t++) {
        r->symbol[t] = text.length;
        add_symbol(&text, &vocabulary, c->token[t]);
    }
    r->symbol[length] = text.length;
    r->text = text_take(&text);
    vocabulary_free(&vocabulary);
    return r->text ? BPTT_OK : fail_memory(c->error, 1);
}

/* ---- the comparison ---- */

static int allocate(struct compare *c)
{
    const bptt_compare_options *o = &c->options;
    size_t windows = (size_t)o->windows, tokens = size_mul(size_mul(windows, (size_t)(o->length * o->batch)), sizeof *c->x);
    size_t exact = size_mul(size_mul(windows, (size_t)c->model->count), c->precision == PRECISION_F64 ? sizeof(double) : sizeof(float));
    c->states = 0;
    for (int l = 0; l < c->model->layers; l++)
        for (int i = 0; i < c->model->cell->states; i++)
            c->states += (size_t)(o->batch * c->model->size[l][c->model->cell->state[i].dim]);
    size_t states = size_mul(size_mul(windows, c->states), sizeof *c->state);
    int status = memory_fits(exact, c->error);
    if (status)
        return status;
    c->x = malloc(tokens);
    c->y = malloc(tokens);
    c->state = malloc(states ? states : 1);
    c->exact = malloc(exact);
    return c->x && c->y && c->state && c->exact ? BPTT_OK : fail_memory(c->error, tokens + states + exact);
}

static void describe(struct compare *c)
{
    const bptt_compare_options *o = &c->options;
    bptt_compare_report *r = c->report;
    r->length = o->length;
    r->batch = o->batch;
    r->windows = o->windows;
    r->repeats = o->repeats;
    r->train = o->train;
    r->precision = o->precision;
    c->all = (double)r->count * (o->train ? 2 : 1);
}

static int compare(struct compare *c, const char *file)
{
    int status = choose_length(c, file);
    if (!status) status = read_strategies(c);
    if (!status) status = name_parts(c);
    if (!status) status = keep_text(c);
    if (status)
        return status;
    choose_precision(c);
    describe(c);
    status = allocate(c);
    if (!status) status = estimate_all(c);
    if (!status) status = contest_run(c);
    return status;
}

static void release(struct compare *c)
{
    free(c->list);
    free(c->text);
    free(c->strategy);
    free(c->type);
    free(c->token);
    free(c->layer);
    free(c->x);
    free(c->y);
    free(c->state);
    free(c->exact);
}

int bptt_compare(const bptt_model *model, const char *const *files, size_t file_count, const bptt_compare_options *options,
                 bptt_compare_report *report, bptt_error *error)
{
    struct compare c = {.model = model, .options = options ? *options : bptt_compare_defaults(), .report = report, .error = error};
    *report = (bptt_compare_report){0};
    int status = check_options(&c.options, file_count, error);
    if (!status)
        status = symbols_read(model, files, file_count, &c.token, &c.tokens, error);
    if (!status)
        status = compare(&c, files[0]);
    release(&c);
    if (status)
        bptt_compare_clear(report);
    return status;
}

void bptt_compare_clear(bptt_compare_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        bptt_compare_strategy *s = &report->strategy[i];
        free(s->part);
        free(s->piece);
        free(s->link);
        free(s->loss);
        free(s->second);
    }
    free(report->strategy);
    free(report->text);
    free(report->symbol);
    *report = (bptt_compare_report){0};
}
