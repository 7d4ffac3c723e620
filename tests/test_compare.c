// threads
// link: -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc
/* test_compare.c - strategies side by side: bias, variance and cosine against gradients taken one by one through bptt_gradient
 * and against closed forms; pieces and figures; training against a trainer of one's own; what may be wrong; memory that fails. */
#define _GNU_SOURCE 1
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../src/model/model.h"
#include "tap.h"

/* Sums of the same numbers in another order, in double precision. */
static const double ROUNDING = 1e-10;

/* ---- allocations can be made to fail ---- */

static long calls, fails_at;               /* the allocation that fails; 0: none */

static int fails(void)
{
    return __atomic_add_fetch(&calls, 1, __ATOMIC_RELAXED) == fails_at;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    return fails() ? NULL : __real_realloc(memory, bytes);
}

/* ---- a model and a text ---- */

static const char symbols[] = "abcde fg";
static char text_path[64];

static void write_text(int length)
{
    FILE *file = fopen(text_path, "wb");
    for (int i = 0; file && i < length; i++)
        fputc(symbols[(i * i / 3 + i / 5) % 8], file);
    if (!file || fclose(file))
        tap_ok(0, "the test can write %s", text_path);
}

static bptt_model *new_model(const char *cell_name, long layers, double scale)
{
    bptt_cell *cell = NULL;
    bptt_model *model = NULL;
    bptt_error error = {0};
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open(cell_name, &cell, &error) == BPTT_OK) {
        config.cell = cell;
        config.vocabulary = 8;
        config.hidden = 6;
        config.layers = layers;
        config.seed = 3;
        if (bptt_model_new(&config, &model, &error) == BPTT_OK) {
            model->vocabulary_json = strdup("{\"kind\":\"chars\",\"symbols\":[\"a\",\"b\",\"c\",\"d\",\"e\",\" \",\"f\",\"g\"]}");
            snprintf(model->symbols, sizeof model->symbols, "chars");
        }
        bptt_cell_free(cell);
    }
    if (!model)
        tap_ok(0, "a model of %s: %s", cell_name, error.text);
    for (long i = 0; model && i < model->count; i++)
        model->data[i] *= (float)scale;
    return model;
}

static bptt_compare_options plain(const char *strategies, long length)
{
    bptt_compare_options o = bptt_compare_defaults();
    o.strategies = strategies;
    o.length = length;
    o.batch = 2;
    o.windows = 3;
    o.threads = 1;
    o.precision = BPTT_F64;
    return o;
}

static int compared(const bptt_model *model, const bptt_compare_options *o, bptt_compare_report *report)
{
    bptt_error error = {0};
    const char *file = text_path;
    int status = bptt_compare(model, &file, 1, o, report, &error);
    return tap_ok(status == BPTT_OK, "compared %.60s%s%s", o->strategies ? o->strategies : "the strategies of its choice",
                  status ? ": " : "", error.text);
}

/* ---- what is exact, what is biased, what is neither ---- */

static void check_exact(const bptt_compare_report *r, size_t i)
{
    const bptt_compare_strategy *s = &r->strategy[i];
    for (size_t k = 0; k < r->parts; k++) {
        int good = s->part[k].bias <= ROUNDING && s->part[k].variance == 0 && fabs(s->part[k].cosine - 1) <= ROUNDING;
        if (!good || k == 0)
            tap_ok(good, "%s, part '%s': bias %.3g, cosine 1 - %.3g", s->name, s->part[k].name, s->part[k].bias, 1 - s->part[k].cosine);
    }
    tap_ok(s->seconds > 0 && s->ratio > 0 && s->bytes > 0 && !*s->skipped, "%s has a time and bytes", s->name);
}

static void check_kinds(const char *cell)
{
    bptt_model *model = new_model(cell, 2, 2.5);
    bptt_compare_options o = plain("full;segments:24 ; truncated:4,24;truncated:3,24;rtrl;segments:1;random:0.8;random:uniform:3,6;uoro;snap1;"
                                   "rflo;adaptive:0.2", 24);
    bptt_compare_report r;
    o.repeats = 64;
    write_text(400);
    if (compared(model, &o, &r)) {
        for (size_t i = 0; i < 5; i++)
            check_exact(&r, i);
        tap_ok(!strcmp(r.strategy[1].name, "segments:24") && r.count == 12, "names without the spaces around them");
        const bptt_compare_part *one = r.strategy[5].part;
        tap_ok(one[0].bias > 0.05 && one[0].cosine < 0.999 && one[0].noise == 0, "segments:1 is biased: %.3g", one[0].bias);
        tap_ok(!strcmp(one[r.layers].name, "head") && one[r.layers].bias <= ROUNDING, "but not in the head, above all time");
        for (size_t i = 6; i <= 8; i++) {
            const bptt_compare_strategy *s = &r.strategy[i];
            /* the mean of `repeats` draws is off by a standard error of them, four of which are rare */
            tap_ok(s->part[0].bias <= 4 * s->part[0].noise && s->part[0].variance > 0 && s->draws, "%s has no bias: %.3g +- %.3g",
                   s->name, s->part[0].bias, s->part[0].noise);
        }
        for (size_t i = 9; i < 11; i++)
            tap_ok(r.strategy[i].part[0].bias > 1e-4 && r.strategy[i].part[0].bias < 1 && !r.strategy[i].draws, "%s is an approximation: %.3g",
                   r.strategy[i].name, r.strategy[i].part[0].bias);
        tap_ok(r.strategy[11].truncation >= 1 && r.strategy[11].truncation <= 24 && r.strategy[11].part[0].bias < one[0].bias,
               "adaptive chose %lld: %.3g", (long long)r.strategy[11].truncation, r.strategy[11].part[0].bias);
        bptt_compare_clear(&r);
        tap_ok(!r.count && !r.strategy && !r.text, "cleared");
    }
    bptt_model_free(model);
}

/* ---- against gradients taken one by one: a text with room for a single window ---- */

enum { STEPS = 20 };

static int32_t token_at(int i)
{
    return (int32_t)((i * i / 3 + i / 5) % 8);
}

static int one_gradient(const bptt_model *model, const char *strategy, bptt_arrays *gradients)
{
    int32_t x[STEPS], y[STEPS], before[STEPS];
    bptt_arrays state;
    bptt_run_options o = bptt_run_defaults();
    bptt_array input = {.type = BPTT_I32, .rank = 2, .shape = {STEPS, 1}, .data = before}, target = input;
    o.precision = BPTT_F64;
    o.threads = 1;
    o.gradient = strategy;
    for (int t = 0; t < STEPS; t++) {
        before[t] = token_at(t);
        x[t] = token_at(t + STEPS);
        y[t] = token_at(t + STEPS + 1);
    }
    int status = bptt_run(model, &input, NULL, NULL, &state, &o, NULL);
    input.data = x;
    target.data = y;
    if (!status) {
        status = bptt_gradient(model, &input, &target, NULL, &state, NULL, NULL, gradients, &o, NULL);
        bptt_arrays_clear(&state);
    }
    return status == BPTT_OK;
}

static void check_part(const bptt_compare_part *part, double exact, double own, double dot, double off)
{
    tap_near(part->norm, sqrt(exact), ROUNDING, "'%s': norm", part->name);
    tap_near(part->bias, sqrt(off / exact), ROUNDING, "'%s': bias", part->name);
    tap_near(part->cosine, dot / sqrt(own * exact), ROUNDING, "'%s': cosine", part->name);
}

static void check_by_hand(void)
{
    bptt_model *model = new_model("lstm", 2, 2);
    bptt_arrays full = {0}, cut = {0};
    bptt_compare_options o = plain("full;segments:4", STEPS);
    bptt_compare_report r;
    o.batch = o.windows = 1;
    write_text(2 * STEPS + 1);
    double exact = 0, own = 0, dot = 0, off = 0;
    if (tap_ok(one_gradient(model, "full", &full) && one_gradient(model, "segments:4", &cut), "two gradients") && compared(model, &o, &r)) {
        const bptt_compare_part *part = r.strategy[1].part;
        for (size_t k = 0; k < r.parts - 1 - r.layers; k++) {
            double here[4] = {0};
            const double *g = full.items[k].data, *e = cut.items[k].data;
            for (int64_t i = 0; i < bptt_array_length(&full.items[k]); i++) {
                here[0] += g[i] * g[i];
                here[1] += e[i] * e[i];
                here[2] += e[i] * g[i];
                here[3] += (e[i] - g[i]) * (e[i] - g[i]);
            }
            check_part(&part[1 + r.layers + k], here[0], here[1], here[2], here[3]);
            exact += here[0];
            own += here[1];
            dot += here[2];
            off += here[3];
        }
        check_part(&part[0], exact, own, dot, off);
        bptt_compare_clear(&r);
    }
    bptt_arrays_clear(&full);
    bptt_arrays_clear(&cut);
    bptt_model_free(model);
}

/* Two steps have one link, g' = a + xi b: the variance is that of xi, (1/p - 1) |b|^2, and b is what segments:1 leaves out. */
static void check_variance(void)
{
    bptt_model *model = new_model("gru", 1, 2);
    bptt_compare_options o = plain("segments:1;random:0.5;random:0.8", 2);
    bptt_compare_report r;
    o.repeats = 2000;
    write_text(100);
    if (compared(model, &o, &r)) {
        double b2 = pow(r.strategy[0].part[0].bias, 2);
        for (size_t i = 1; i < 3; i++) {
            double p = i == 1 ? 0.5 : 0.8;
            /* the variance of 2000 draws of two values is known to about sqrt((1/p/(1-p) - 4)/2000); here below 3 % */
            tap_near(r.strategy[i].part[0].variance / b2, 1 / p - 1, 0.1 / (1 / p), "variance of random:%g over two steps", p);
        }
        bptt_compare_clear(&r);
    }
    bptt_model_free(model);
}

/* ---- pieces and figures ---- */

static int has_pieces(const bptt_compare_strategy *s, size_t count, const bptt_compare_piece *want)
{
    int good = s->pieces == count;
    for (size_t i = 0; i < count && good; i++)
        good = s->piece[i].from == want[i].from && s->piece[i].losses == want[i].losses && s->piece[i].to == want[i].to;
    return good;
}

static void check_pieces(const bptt_compare_report *r)
{
    const bptt_compare_piece full[] = {{0, 0, 20}}, segments[] = {{0, 0, 8}, {8, 8, 16}, {16, 16, 20}};
    /* reaching back 8 steps from where a chunk of 6 would end, though the last one has 2 */
    const bptt_compare_piece truncated[] = {{0, 0, 6}, {4, 6, 12}, {10, 12, 18}, {12, 18, 20}};
    const bptt_compare_strategy *s = r->strategy, *random = &s[3];
    tap_ok(has_pieces(&s[0], 1, full), "full is one piece");
    tap_ok(has_pieces(&s[1], 3, segments), "segments");
    tap_ok(has_pieces(&s[2], 4, truncated), "truncations reach over the pieces before");
    int good = random->link != NULL, cuts = 0;
    for (int64_t t = 1; good && t < r->length; t++)
        cuts += random->link[t] == 0;
    good = good && cuts + 1 == (int)random->pieces && random->piece[0].from == 0 && random->piece[cuts].to == 20;
    for (size_t i = 1; good && i < random->pieces; i++)
        good = random->link[random->piece[i].from] == 0 && random->piece[i].from == random->piece[i - 1].to;
    for (int64_t t = 1; good && t < r->length; t++)
        good = random->link[t] == 0 || fabs(random->link[t] - 1 / 0.7) < 1e-12;
    tap_ok(good, "random pieces lie between links that were cut, and the others weigh 1/p");
    tap_ok(s[4].pieces == 0 && !s[4].link, "forward mode has none");
}

static int occurrences(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word))
        count++;
    return count;
}

static void check_figure(const bptt_compare_report *r)
{
    char *text = NULL, *svg = NULL;
    bptt_error error = {0};
    if (tap_ok(!bptt_compare_figure(r, "text", 80, &text, NULL) && !bptt_compare_figure(r, "svg", 0, &svg, NULL), "figures")) {
        tap_ok(!strncmp(text, "full: 1 piece\n  ", 16) && !strncmp(text + 16, r->text, 20), "text begins with a row for full");
        tap_ok(strstr(text, "segments:8: 3 pieces\n") && occurrences(text, "\n") == 8, "two lines for each strategy that runs backward");
        tap_ok(!strncmp(svg, "<svg ", 5) && !strcmp(svg + strlen(svg) - 7, "</svg>\n"), "SVG begins and ends");
        tap_ok(strstr(svg, "prefers-color-scheme: dark") && occurrences(svg, "class=\"cut\"") == 2 + 3 + (int)r->strategy[3].pieces - 1,
               "each cut is drawn, for dark pages too");
    }
    bptt_free(text);
    bptt_free(svg);
    tap_ok(bptt_compare_figure(r, "ascii", 80, &text, &error) == BPTT_ERROR_ARGUMENT && strstr(error.text, "text or svg"), "no other form");
}

/* Lines of the figure hold the text and bars, nothing else, whatever the width. */
static void check_widths(const bptt_compare_report *r)
{
    int good = 1;
    for (int columns = 24; columns < 40; columns++) {
        char *text = NULL, *line, *rest;
        good = good && !bptt_compare_figure(r, "text", columns, &text, NULL);
        for (line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest))
            good = good && (line[0] != ' ' || (int)strlen(line) <= columns);
        bptt_free(text);
    }
    tap_ok(good, "no line is wider than asked for");
}

static void check_pictures(void)
{
    bptt_model *model = new_model("gru", 1, 1);
    bptt_compare_options o = plain("full;segments:8;truncated:6,8;random:0.7;snap1", 20);
    bptt_compare_report r;
    write_text(200);
    o.repeats = 2;
    if (compared(model, &o, &r)) {
        tap_ok(strlen(r.text) == 20 && r.symbol[0] == 0 && r.symbol[20] == 20, "the text's first symbols");
        check_pieces(&r);
        check_figure(&r);
        check_widths(&r);
        bptt_compare_clear(&r);
    }
    bptt_model_free(model);
}

/* ---- training ---- */

static int own_training(const bptt_model *model, const bptt_compare_options *o, double *losses)
{
    bptt_model *copy = new_model("gru", 1, 1);
    bptt_trainer *trainer = NULL;
    bptt_trainer_config config = bptt_trainer_defaults();
    int32_t x[2 * STEPS], y[2 * STEPS], stretch = (int32_t)(399 / o->batch);
    memcpy(copy->data, model->data, (size_t)model->count * sizeof *model->data);
    config.batch = o->batch;
    config.length = o->length;
    config.rate = o->rate;
    config.threads = 1;
    int status = bptt_trainer_new(copy, &config, &trainer, NULL);
    for (int step = 0; step < o->train && !status; step++) {
        double norm;
        for (int t = 0; t < o->length; t++) {
            for (int b = 0; b < o->batch; b++) {
                x[t * o->batch + b] = token_at(b * stretch + step * (int)o->length + t);
                y[t * o->batch + b] = token_at(b * stretch + step * (int)o->length + t + 1);
            }
        }
        status = bptt_trainer_step(trainer, x, y, &losses[step], &norm, NULL);
    }
    bptt_trainer_free(trainer);
    bptt_model_free(copy);
    return status == BPTT_OK;
}

static void check_training(void)
{
    enum { WINDOWS = 6 };
    bptt_model *model = new_model("gru", 1, 1);
    bptt_compare_options o = plain("full;segments:5;random:0.9;uoro", STEPS);
    bptt_compare_report r;
    double losses[WINDOWS];
    float before = model->data[0];
    o.train = WINDOWS;
    o.rate = 0.01;
    write_text(400);
    if (compared(model, &o, &r)) {
        const bptt_compare_strategy *s = r.strategy;
        tap_ok(own_training(model, &o, losses) && s[0].trained == WINDOWS && !memcmp(losses, s[0].loss, sizeof losses),
               "full has the losses of a trainer of one's own, bit for bit");
        tap_ok(s[2].loss[0] == s[0].loss[0] && s[2].loss[WINDOWS - 1] != s[0].loss[WINDOWS - 1], "all begin alike and go their ways");
        tap_ok(s[1].loss[0] < s[0].loss[0], "updates within a window show in it");
        int rises = 1;
        for (size_t i = 0; i < r.count; i++)
            for (int64_t k = 0; k < s[i].trained; k++)
                rises = rises && s[i].second[k] > (k ? s[i].second[k - 1] : 0);
        tap_ok(rises && s[3].trained == WINDOWS, "seconds go up");
        tap_ok(model->data[0] == before, "the model itself is left alone");
        bptt_compare_clear(&r);
    }
    bptt_model_free(model);
}

static void check_divergence(void)
{
    bptt_model *model = new_model("rnn_relu", 1, 1);
    bptt_compare_options o = plain("segments:1;full", STEPS);
    bptt_compare_report r;
    o.train = 50;
    o.rate = 1e6;
    o.clip_norm = 0;
    o.optimizer = BPTT_SGD;
    write_text(400);
    if (compared(model, &o, &r)) {
        for (size_t i = 0; i < r.count; i++)
            tap_ok(r.strategy[i].trained < 50 && *r.strategy[i].failure, "training by %s diverges after %lld windows, and it says so: %s",
                   r.strategy[i].name, (long long)r.strategy[i].trained, r.strategy[i].failure);
        bptt_compare_clear(&r);
    }
    bptt_model_free(model);
}

/* ---- what it chooses itself ---- */

static void check_choices(void)
{
    bptt_model *model = new_model("gru", 1, 1);
    bptt_compare_report r;
    write_text(500);
    for (long length = 1; length <= 64; length = length < 4 ? length + 1 : length * 4) {
        bptt_compare_options o = plain(NULL, length);
        o.windows = 1;
        o.repeats = 2;
        if (compared(model, &o, &r)) {
            tap_ok(!strcmp(r.strategy[0].name, "full") && r.count >= 5 && r.length == length, "%zu strategies for %ld steps", r.count, length);
            bptt_compare_clear(&r);
        }
    }
    bptt_compare_options o = plain("full", 0);
    o.precision = 0;
    if (compared(model, &o, &r)) {
        tap_ok(r.length == 64 && r.precision == BPTT_F64, "64 steps, and double precision where it is affordable");
        bptt_compare_clear(&r);
    }
    o.precision = BPTT_F32;
    o.strategies = "full;truncated:1,64;segments:1";
    if (compared(model, &o, &r)) {
        tap_ok(r.strategy[0].part[0].bias == 0 && r.strategy[1].part[0].bias < 1e-4 && r.strategy[2].part[0].bias > 1e-3, "single precision");
        bptt_compare_clear(&r);
    }
    o.memory = 1000;
    if (compared(model, &o, &r)) {
        tap_ok(strstr(r.strategy[0].skipped, "more than") && r.strategy[0].bytes > 1000 && !r.strategy[0].pieces, "left out: %s",
               r.strategy[0].skipped);
        bptt_compare_clear(&r);
    }
    bptt_model_free(model);
}

/* ---- bad input ---- */

static void refused(const bptt_model *model, const char *file, bptt_compare_options o, const char *says)
{
    bptt_error error = {0};
    bptt_compare_report r;
    int status = bptt_compare(model, &file, file != NULL, &o, &r, &error);
    tap_ok(status && !r.count && !r.strategy && strstr(error.text, says) && !strchr(error.text, '\n'), "refused: %s", error.text);
}

static int stop_at_once(const char *what, double fraction, void *user)
{
    return *(int *)user = *what != 0 && fraction >= 0 && fraction < 1;
}

static void check_refused(void)
{
    bptt_model *model = new_model("gru", 1, 1);
    bptt_compare_options o = plain("full", 10);
    const struct { const char *strategies, *says; } lists[] = {
        {"", "with semicolons"}, {";", "with semicolons"}, {"full;;uoro", "with semicolons"}, {"full;half", "half"},
        {"segments:0", "segments"}, {"segments:11", "11"}, {"truncated:8,4", "truncated"}, {"random:0", "random"}, {"random:nan", "random"},
        {"adaptive:2", "adaptive"}};
    write_text(60);
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        o.strategies = lists[i].strategies;
        refused(model, text_path, o, lists[i].says);
    }
    o = plain("full", 10);
    refused(model, NULL, o, "name a file");
    refused(model, "/nonexistent/text", o, "/nonexistent/text");
    o.length = 30;
    refused(model, text_path, o, "at most --length 29");
    o.length = -1;
    refused(model, text_path, o, "length is -1");
    o = plain("full", 10);
    o.batch = 0;
    refused(model, text_path, o, "batch is 0");
    o = plain("full", 10);
    o.repeats = 1;
    refused(model, text_path, o, "repeats is 1");
    o = plain("full", 10);
    o.memory = 0;
    refused(model, text_path, o, "memory is 0");
    o = plain("full", 10);
    o.train = 3;
    o.batch = 7;
    refused(model, text_path, o, "too short");
    o.batch = 1;
    o.rate = NAN;
    refused(model, text_path, o, "learning rate");
    o = plain("full", 10);
    o.size = 3;
    refused(model, text_path, o, "bptt_compare_defaults");
    o = plain("full", 10);
    o.precision = 9;
    refused(model, text_path, o, "precision");
    int seen = 0;
    o = plain("full", 10);
    o.on_progress = stop_at_once;
    o.user = &seen;
    refused(model, text_path, o, "stopped");
    tap_ok(seen, "by the caller");
    model->data[0] = NAN;
    for (long i = 0; i < model->count; i++)
        model->data[i] = NAN;
    refused(model, text_path, plain("full", 10), "not finite");
    bptt_model_free(model);
}

static void check_memory(void)
{
    bptt_model *model = new_model("gru", 1, 1);
    bptt_compare_options o = plain("segments:2;random:0.5;adaptive:0.1;uoro", 4);
    bptt_compare_report r;
    const char *file = text_path;
    long n = 0;                            /* a smaller copy that cannot be had is no failure */
    write_text(60);
    o.windows = 1;
    o.repeats = 2;
    o.train = 1;
    do {
        bptt_error error = {0};
        __atomic_store_n(&calls, 0, __ATOMIC_RELAXED);
        fails_at = ++n;
        int status = bptt_compare(model, &file, 1, &o, &r, &error);
        fails_at = 0;
        if (status && (status != BPTT_ERROR_MEMORY || !error.text[0] || r.strategy))
            tap_ok(0, "allocation %ld fails: status %d %s", n, status, error.text);
        if (!status)
            bptt_compare_clear(&r);
    } while (calls >= n && n < 100000);
    tap_ok(n > 50 && n < 100000, "each of %ld allocations may fail", n - 1);
    bptt_model_free(model);
}

int main(void)
{
    char folder[] = "/tmp/bptt-compare-XXXXXX";
    if (!mkdtemp(folder))
        tap_ok(0, "a scratch folder");
    snprintf(text_path, sizeof text_path, "%s/text", folder);
    check_kinds("lstm");
    check_kinds("gru");
    check_by_hand();
    check_variance();
    check_pictures();
    check_training();
    check_divergence();
    check_choices();
    check_refused();
    check_memory();
    unlink(text_path);
    rmdir(folder);
    return tap_done();
}
