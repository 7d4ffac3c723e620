/* test_watch.c - looking at the gradient while training: each rule of a warning on histories made up for it; a seeded run that
 * explodes and one that vanishes are warned of before it is too late; and the looks leave every bit of training as it was. */
#include <bptt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../src/train/warn.h"
#include "tap.h"

/* ---- rules ---- */

static struct warn_history history_of(const double *loss, const double *norm, long n)
{
    struct warn_history h = {0};
    for (long i = 0; i < n; i++)
        warn_add(&h, loss ? loss[i] : 1, norm ? norm[i] : 1);
    return h;
}

static void test_spike(void)
{
    const double falling[] = {3.3, 3.1, 3.0, 2.9, 2.7, 2.6, 2.5}, jump[] = {3.3, 3.1, 3.0, 2.9, 2.7, 2.6, 4.9},
                 low[] = {0.2, 0.21, 0.2, 0.19, 0.2, 0.21, 0.4},
                 noisy[] = {3, 2, 3.5, 2.2, 2.9, 1.9, 3.8}, broken[] = {3, 3, 3, 3, 3, NAN};
    struct warning w;
    struct warn_history h = history_of(falling, NULL, 7);
    tap_ok(!warn_spike(&h, &w), "a loss that falls is no spike");
    h = history_of(noisy, NULL, 7);
    tap_ok(!warn_spike(&h, &w), "neither is one that goes up and down");
    h = history_of(low, NULL, 7);
    tap_ok(!warn_spike(&h, &w), "nor a fifth of a nat where little is left");
    h = history_of(jump, NULL, 4);
    tap_ok(!warn_spike(&h, &w), "four steps are too few to judge by");
    h = history_of(jump, NULL, 7);
    tap_ok(warn_spike(&h, &w) && w.kind == WARN_SPIKE && w.layer == -1 && w.value == 4.9 && w.limit < 4.9,
           "a jump is: %s; %s", w.text, w.advice);
    h = history_of(broken, NULL, 6);
    tap_ok(warn_spike(&h, &w), "and so is what is no number");
}

static void test_norm(void)
{
    double norm[3 * WARN_HISTORY];
    struct warning w;
    for (long i = 0; i < 3 * WARN_HISTORY; i++)
        norm[i] = 1 + 0.5 * (double)(i % 3);
    struct warn_history h = history_of(NULL, norm, 3 * WARN_HISTORY);
    tap_ok(!warn_norm(&h, 0, &w), "a norm that stays");
    warn_add(&h, 1, 14);
    tap_ok(!warn_norm(&h, 0, &w), "nine times the median is within the noise of batches");
    warn_add(&h, 1, 16);
    tap_ok(warn_norm(&h, 0, &w) && w.limit == 15 && strstr(w.advice, "--clip"), "ten times is growth: %s; %s",
           w.text, w.advice);
    tap_ok(warn_norm(&h, 1, &w) && !strstr(w.advice, "--clip"), "where the norm is clipped the advice is another: %s",
           w.advice);
}

static void test_clipping(void)
{
    struct warning w;
    tap_ok(!warn_clipping(9, 9, 1, &w), "nine updates are too few");
    tap_ok(!warn_clipping(20, 10, 1, &w), "half of them clipped is fine");
    tap_ok(warn_clipping(20, 11, 1, &w) && w.value == 0.55 && w.limit == 0.5, "more is not: %s; %s", w.text, w.advice);
}

static struct warn_layer healthy(void)
{
    return (struct warn_layer){.layer = 1, .lags = 64, .horizon = 40, .truncation = 64, .decay = 0.9,
                               .radius = 0.95, .saturated = 0.3, .value = "f"};
}

static int speaks(int (*rule)(const struct warn_layer *, struct warning *), struct warn_layer l, enum warn_kind kind)
{
    struct warning w = {0};
    int found = rule(&l, &w);
    if (found)
        tap_note("%s; try: %s", w.text, w.advice);
    return found && w.kind == kind && w.layer == 1 && w.text[0] && w.advice[0];
}

static void test_layer(void)
{
    struct warning w;
    struct warn_layer l = healthy();
    tap_ok(!warn_growth(&l, &w) && !warn_radius(&l, &w) && !warn_saturation(&l, &w) && !warn_short(&l, &w) &&
               !warn_long(&l, &w),
           "a healthy layer");
    l.decay = 1.08;                        /* 1.08^64 = 138, 1.07^64 = 76 */
    tap_ok(speaks(warn_growth, l, WARN_GROWTH), "a gradient that grows by 138 over the truncation");
    l.decay = 1.07;
    tap_ok(!warn_growth(&l, &w), "by 76: not yet");
    l.truncation = 32;
    l.decay = 1.08;
    tap_ok(!warn_growth(&l, &w), "and not where it is cut after half the steps");
    l = healthy();
    l.radius = 1.16;
    tap_ok(!warn_radius(&l, &w), "a spectral radius above one that the gradient does not feel");
    l.decay = 0.96;                        /* 1.16^64 = 13,000, 1.15^64 = 7,700 */
    tap_ok(speaks(warn_radius, l, WARN_RADIUS), "a spectral radius above one");
    l.radius = 1.15;
    tap_ok(!warn_radius(&l, &w), "a little above one is not enough");
    l = healthy();
    l.saturated = 0.81;
    tap_ok(speaks(warn_saturation, l, WARN_SATURATION), "saturation");
    l = healthy();
    l.horizon = 15;
    tap_ok(speaks(warn_short, l, WARN_SHORT), "a horizon of less than a quarter of the truncation");
    l.horizon = 16;
    tap_ok(!warn_short(&l, &w), "a quarter is fine");
    l.horizon = 64;
    l.lags = 64;
    tap_ok(speaks(warn_long, l, WARN_LONG), "a horizon that is not reached within the window");
    l.horizon = 40;
    l.truncation = 32;
    tap_ok(speaks(warn_long, l, WARN_LONG), "a horizon beyond the truncation");
    l.decay = l.radius = l.saturated = NAN;
    tap_ok(!warn_growth(&l, &w) && !warn_radius(&l, &w) && !warn_saturation(&l, &w) && !warn_long(&l, &w),
           "what is not known is not said");
}

/* ---- runs ---- */

struct folder { char path[40], text[80], cell[80], out[80], other[80]; };

static void write_file(const char *path, const char *text)
{
    FILE *file = fopen(path, "wb");
    if (!file || fputs(text, file) < 0 || fclose(file))
        tap_ok(0, "the test can write %s", path);
}

static struct folder folder_new(void)
{
    struct folder f = {.path = "/tmp/bptt-watch-XXXXXX"};
    char text[8000] = "";
    if (!mkdtemp(f.path))
        tap_ok(0, "a scratch folder");
    snprintf(f.text, sizeof f.text, "%s/text", f.path);
    snprintf(f.cell, sizeof f.cell, "%s/my.cell", f.path);
    snprintf(f.out, sizeof f.out, "%s/model", f.path);
    snprintf(f.other, sizeof f.other, "%s/other", f.path);
    for (int i = 0; i < 120; i++)
        snprintf(text + strlen(text), 64, "%d squared is %d, and that is %s\n", i, i * i, i % 3 ? "no news" : "very good");
    write_file(f.text, text);
    return f;
}

static bptt_train_config config_of(const struct folder *f, const char *const *files, const char *out)
{
    bptt_train_config c = bptt_train_defaults();
    c.files = files;
    c.file_count = 1;
    c.cell = f->cell;
    c.compile = 0;
    c.hidden = 16;
    c.embedding = 8;
    c.valid = 0;
    c.trainer.batch = 6;
    c.trainer.length = 32;
    c.trainer.threads = 1;
    c.trainer.dropout = 0;
    c.trainer.clip_norm = 0;
    c.trainer.optimizer = BPTT_SGD;
    c.trainer.momentum = 0;
    c.warmup = 0;
    c.schedule = BPTT_CONSTANT;
    c.steps = 60;
    c.out = out;
    return c;
}

/* Lines of a run's metrics that hold `what`, with the step of the first and of the last one. */
static int count_lines(const char *out, const char *what, long *first, long *last)
{
    char path[128], line[1 << 14];
    int found = 0;
    snprintf(path, sizeof path, "%s.jsonl", out);
    FILE *file = fopen(path, "rb");
    *first = *last = -1;
    while (file && fgets(line, sizeof line, file)) {
        if (!strstr(line, what))
            continue;
        *last = strtol(line + strlen("{\"step\":"), NULL, 10);
        *first = found++ ? *first : *last;
    }
    if (file)
        fclose(file);
    return found;
}

static int same_files(const char *one, const char *other)
{
    FILE *x = fopen(one, "rb"), *y = fopen(other, "rb");
    int a = x && y ? 0 : 1, b = 0;
    while (a == b && a != EOF) {
        a = fgetc(x);
        b = fgetc(y);
    }
    if (x)
        fclose(x);
    if (y)
        fclose(y);
    return a == b;
}

struct heard { int warnings; char text[800]; };

static int hear(const bptt_event *event, void *user)
{
    struct heard *heard = user;
    if (event->kind == BPTT_EVENT_WARNING && !heard->warnings++)
        snprintf(heard->text, sizeof heard->text, "%s", event->text);
    return 0;
}

/* A linear network whose recurrent matrix is orthogonal: the gradient neither grows nor fades at first, and the rate is far too
 * high without a clip. */
static void test_exploding(const struct folder *f)
{
    const char *files[] = {f->text};
    bptt_error error = {0};
    struct heard heard = {0};
    long first, last, end;
    write_file(f->cell, "cell loud\ninput x\nstate h\nparam U[H, H] = orthogonal\nh' = W x + U h + b\n");
    bptt_train_config c = config_of(f, files, f->out);
    c.trainer.rate = 0.25;
    c.watch = 1;
    int status = bptt_train(&c, hear, &heard, NULL, &error);
    tap_ok(status == BPTT_ERROR_NOT_FINITE, "a run explodes: %s", error.text);
    tap_ok(heard.warnings > 0 && strstr(heard.text, "; try: "), "and has been warned: %s", heard.text);
    tap_ok(count_lines(f->out, "\"kind\":\"growth\"", &first, &last) > 0, "of growth");
    int ends = count_lines(f->out, "\"end\":\"diverged\"", &end, &last);
    tap_ok(ends == 1 && first >= 1 && first <= end, "at step %ld; the last good one was %ld", first, end);
}

/* The number after `key` in the first line that holds `what`; NaN: there is none. */
/* The number after the first `key` that comes after `what`. */
static double number_after(const char *out, const char *what, const char *key)
{
    char path[128], line[1 << 14];
    double value = NAN;
    snprintf(path, sizeof path, "%s.jsonl", out);
    FILE *file = fopen(path, "rb");
    while (file && isnan(value) && fgets(line, sizeof line, file)) {
        const char *at = strstr(line, what);
        at = at ? strstr(at, key) : NULL;
        value = at ? strtod(at + strlen(key), NULL) : NAN;
    }
    if (file)
        fclose(file);
    return value;
}

/* The window is stated where the error states it: both look at the same one, in float and in double precision. */
static void test_not_finite(const struct folder *f)
{
    const char *files[] = {f->text};
    bptt_error error = {0};
    long first, last, step = -1;
    char where[80];
    write_file(f->cell, "cell loud\ninput x\nstate h\nparam U[H, H] = normal(3)\nh' = W x + U h + b\n");
    bptt_train_config c = config_of(f, files, f->out);
    c.trainer.length = 100;
    tap_ok(bptt_train(&c, NULL, NULL, NULL, &error) == BPTT_ERROR_NOT_FINITE, "states that overflow: %s", error.text);
    const char *said = strstr(error.text, "layer 0, step ");
    step = said ? strtol(said + strlen("layer 0, step "), NULL, 10) : -1;
    snprintf(where, sizeof where, "\"time\":%ld,\"layer\":0,\"state\":\"h\",\"operation\":\"U h\"}", step);
    tap_ok(step > 0 && count_lines(f->out, where, &first, &last) == 1, "are found at step %ld, in U h", step);
    write_file(f->cell, "cell deep\ninput x\nstate h\nparam U[H, H] = normal(30)\nparam W[H, I] = zeros\n"
                        "param b[H] = zeros\nh' = W x + U h + b\n");
    error = (bptt_error){0};
    tap_ok(bptt_train(&c, NULL, NULL, NULL, &error) == BPTT_ERROR_NOT_FINITE, "a gradient that overflows: %s", error.text);
    tap_ok(count_lines(f->out, "\"state\":\"h\",\"operation\":\"dL/dh on its way back\"}", &first, &last) == 1,
           "is found on its way back");
    double time = number_after(f->out, "\"nonfinite\"", "\"time\":");
    /* of about 1e-4 at the end, times about 30 sqrt(16) a step, beyond 3e38 after twenty steps; a block has more of them */
    tap_ok(time > 75 && time < 85, "twenty steps from the end: step %g", time);
}

static void test_vanishing(const struct folder *f)
{
    const char *files[] = {f->text};
    bptt_error error = {0};
    struct heard heard = {0};
    long first, last;
    write_file(f->cell, "cell deaf\ninput x\nstate h\nparam U[H, H] = normal(0.05)\nh' = tanh(W x + U h + b)\n");
    bptt_train_config c = config_of(f, files, f->out);
    c.watch = 5;
    tap_ok(!bptt_train(&c, hear, &heard, NULL, &error), "a run vanishes%s", error.text);
    int said = count_lines(f->out, "\"kind\":\"short\"", &first, &last);
    tap_ok(said == 1 && first <= 50, "and is warned of at step %ld, once", first);
    tap_ok(strstr(heard.text, "vanishes") != NULL, "%s", heard.text);
    tap_ok(!count_lines(f->out, "\"kind\":\"growth\"", &first, &last), "not of growth");
}

/* A gate that stands at sigmoid(log 19) = 0.95: remembers 20 steps, and is always beyond 0.9. */
static void test_gates(const struct folder *f)
{
    const char *files[] = {f->text};
    bptt_error error = {0};
    long first, last;
    write_file(f->cell, "cell gate\ninput x\nstate h\nparam b_f[H] = 2.944438979166440\nf = sigmoid(b_f)\n"
                        "i = sigmoid(0 * b_f)\nh' = f * h + i * (W x)\n");
    bptt_train_config c = config_of(f, files, f->out);
    c.watch = 10;
    c.steps = 1;
    c.forget_bias = 0;
    c.trainer.rate = 0;
    tap_ok(!bptt_train(&c, NULL, NULL, NULL, &error), "a gate that stands still%s", error.text);
    tap_near(number_after(f->out, "\"saturated\":{", "\"f\":"), 1, 0, "is saturated");
    tap_near(number_after(f->out, "\"memory\":{", "\"f\":"), 20, 1e-6, "remembers 20 steps, b_f being a float");
    tap_near(number_after(f->out, "\"watch\"", "\"dead\":"), 1, 0, "in all units");
    tap_near(number_after(f->out, "\"watch\"", "\"radius\":"), 0.95, 1e-7, "with the radius of the gate");
    tap_ok(count_lines(f->out, "\"kind\":\"saturation\"", &first, &last) == 1, "and is warned of");
}

/* h' = 0.8 h + ...: each step back is a factor of 0.8 in every direction, and 0.8^21 is the first below 1 %. */
static void test_values(const struct folder *f)
{
    const char *files[] = {f->text}, 
               *parameters[] = {"embed.weight", "layers.0.U", "layers.0.W", "layers.0.b", "head.weight", "head.bias"};
    bptt_error error = {0};
    double square = 0;
    long first, last;
    char key[64];
    write_file(f->cell, "cell even\ninput x\nstate h\nparam U[H, H] = identity\nh' = W x + 0.8 * (U h) + b\n");
    bptt_train_config c = config_of(f, files, f->out);
    c.trainer.clip_norm = 0.02;
    c.trainer.rate = 0.1;
    c.watch = 10;
    c.steps = 20;
    tap_ok(!bptt_train(&c, NULL, NULL, NULL, &error), "a run of known factors%s", error.text);
    /* float32 gradients; the double ones of the Jacobian are exact */
    tap_near(number_after(f->out, "\"watch\"", "\"decay\":"), 0.8, 1e-5, "decay");
    tap_near(number_after(f->out, "\"watch\"", "\"sigma\":"), 0.8, 1e-12, "largest singular value");
    tap_near(number_after(f->out, "\"watch\"", "\"radius\":"), 0.8, 1e-12, "spectral radius");
    tap_near(number_after(f->out, "\"watch\"", "\"horizon\":"), 21, 0, "horizon");
    tap_near(number_after(f->out, "\"watch\"", "\"clipped\":"), 1, 0, "all updates clipped");
    tap_near(number_after(f->out, "\"watch\"", "\"truncation\":"), 32, 0, "truncation");
    for (int i = 0; i < 6; i++) {
        snprintf(key, sizeof key, "\"%s\":{\"norm\":", parameters[i]);
        double norm = number_after(f->out, "\"watch\"", key);
        square += norm * norm;
    }
    /* U begins as the identity, of norm 4; the clipped update is rate * clip long. Weights near 1 are rounded to 6e-8 */
    double share = number_after(f->out, "\"watch\"", "\"layers.0.U\":{\"norm\":") / sqrt(square);
    tap_near(number_after(f->out, "\"layers.0.U\":{", "\"ratio\":"), share * 0.1 * 0.02 / 4, 1e-7, "update to weight");
    tap_near(sqrt(square), number_after(f->out, "\"loss\"", "\"norm\":"), 1e-6, "norms by parameter add up to the gradient's");
    int said = count_lines(f->out, "\"kind\":\"clipping\"", &first, &last);
    tap_ok(said == 1 && first == 20, "clipping is warned of, at step %ld", first);
}

static void test_bits(const struct folder *f, const char *gradient)
{
    const char *files[] = {f->text};
    bptt_error error = {0};
    long first, last;
    bptt_train_config c = config_of(f, files, f->out);
    c.cell = "lstm";
    c.layers = 2;
    c.trainer.dropout = 0.1;
    c.trainer.optimizer = BPTT_ADAM;
    c.trainer.clip_norm = 0.5;
    c.trainer.gradient = gradient;
    if (!strcmp(gradient, "rtrl")) {
        c.trainer.dropout = 0;
        c.hidden = 4;
        c.steps = 10;
    }
    c.watch = 7;
    tap_ok(!bptt_train(&c, NULL, NULL, NULL, &error), "%s, watched%s", gradient, error.text);
    c.watch = 0;
    c.out = f->other;
    tap_ok(!bptt_train(&c, NULL, NULL, NULL, &error), "%s, not watched%s", gradient, error.text);
    tap_ok(same_files(f->out, f->other), "%s: the same bits", gradient);
    tap_ok(count_lines(f->out, "\"watch\":{\"layers\":[{\"lag\":[", &first, &last) == 1 + (int)c.steps / 7 && first == 1 &&
               last == c.steps / 7 * 7, "%s: looks at step 1 and every seventh", gradient);
    tap_ok(!count_lines(f->other, "\"watch\"", &first, &last), "%s: and none without", gradient);
}

static int stop_at_19(const bptt_event *event, void *user)
{
    (void)user;
    return event->kind == BPTT_EVENT_STEP && event->step == 19;
}

static void test_resuming(const struct folder *f)
{
    const char *files[] = {f->text};
    bptt_error error = {0};
    long first, last;
    bptt_train_config c = config_of(f, files, f->out);
    c.cell = "gru";
    c.watch = 7;
    tap_ok(!bptt_train(&c, NULL, NULL, NULL, &error), "a watched run%s", error.text);
    c.out = f->other;
    tap_ok(bptt_train(&c, stop_at_19, NULL, NULL, &error) == BPTT_INTERRUPTED, "the same, stopped at 19");
    error = (bptt_error){0};
    c.resume = 1;
    tap_ok(!bptt_train(&c, NULL, NULL, NULL, &error), "and resumed%s", error.text);
    tap_ok(same_files(f->out, f->other), "the same bits");
    tap_ok(count_lines(f->other, "\"watch\":", &first, &last) == 9 && first == 1 && last == 56, "and each look once");
    c.trainer.memory = 1 << 28;
    error = (bptt_error){0};
    tap_ok(bptt_train(&c, NULL, NULL, NULL, &error) == BPTT_ERROR_ARGUMENT, "%s", error.text);
    c.trainer.memory = 0;
    c.watch = -1;
    error = (bptt_error){0};
    tap_ok(bptt_train(&c, NULL, NULL, NULL, &error) == BPTT_ERROR_ARGUMENT, "%s", error.text);
}

int main(void)
{
    struct folder f = folder_new();
    char command[64];
    test_spike();
    test_norm();
    test_clipping();
    test_layer();
    test_exploding(&f);
    test_not_finite(&f);
    test_vanishing(&f);
    test_values(&f);
    test_gates(&f);
    test_resuming(&f);
    test_bits(&f, "full");
    test_bits(&f, "segments:8");
    test_bits(&f, "truncated:8,16");
    test_bits(&f, "adaptive:0.1");
    test_bits(&f, "rtrl");
    snprintf(command, sizeof command, "rm -rf %s", f.path);
    if (system(command))
        tap_note("could not remove %s", f.path);
    return tap_done();
}
