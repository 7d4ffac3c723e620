/* inspect_text.c - an inspection for people: the verdict first, then tables. A row that is wider than the terminal becomes a
 * name and, below it, what each column says. Plots of one line are as wide as there is room for; colour is for terminals. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "inspect.h"
#include "say.h"
#include "terminal.h"

enum { NAME = 14, CELL = 9, PLOT_LEAST = 12, PLOT_MOST = 64, LINE_MOST = 96, DECADES = 8 };

struct page { struct terminal terminal; int width; };

enum tone { PLAIN, BOLD, GOOD, WARN, BAD };

static const char *tone_code(const struct page *page, enum tone tone)
{
    static const char *const codes[] = {"", "\033[1m", "\033[32m", "\033[33m", "\033[31m"};
    return page->terminal.colour ? codes[tone] : "";
}

static const char *tone_end(const struct page *page, enum tone tone)
{
    return page->terminal.colour && tone != PLAIN ? "\033[0m" : "";
}

/* ---- words ---- */

/* Broken between words where the line ends. */
static void paragraph(const struct page *page, enum tone tone, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static void paragraph(const struct page *page, enum tone tone, const char *format, ...)
{
    char text[1024];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    int width = page->width < LINE_MOST ? page->width : LINE_MOST, at = 0;
    fputs(tone_code(page, tone), stdout);
    for (const char *word = text; *word;) {
        int length = (int)strcspn(word, " ");
        if (at && at + 1 + length > width) {
            putchar('\n');
            at = 0;
        }
        printf("%s%.*s", at ? " " : "", length, word);
        at += length + (at > 0);
        word += length;
        word += *word == ' ';
    }
    printf("%s\n", tone_end(page, tone));
}

static struct said number(double value)
{
    struct said s;
    if (isnan(value))
        snprintf(s.text, sizeof s.text, "-");
    else if (isinf(value))
        snprintf(s.text, sizeof s.text, value > 0 ? "inf" : "-inf");
    else if (value != 0 && (fabs(value) < 1e-3 || fabs(value) >= 1e5))
        snprintf(s.text, sizeof s.text, "%.1e", value);
    else
        snprintf(s.text, sizeof s.text, "%.3g", value);
    return s;
}

static struct said percent(double share)
{
    struct said s;
    snprintf(s.text, sizeof s.text, share > 0 && share < 0.005 ? "<1 %%" : "%.0f %%", 100 * share);
    return s;
}

static struct said lag(int64_t value, int64_t lags)
{
    struct said s;
    snprintf(s.text, sizeof s.text, value < 0 ? ">%lld" : "%lld", (long long)(value < 0 ? lags - 1 : value));
    return s;
}

/* ---- rows ---- */

struct row { const char *name; const char *const *label; struct said cell[8]; int cells; enum tone tone; };

static int fits(const struct page *page, int cells)
{
    return NAME + cells * CELL <= page->width;
}

static void print_head(const struct page *page, const char *const *label, int cells, const char *plot)
{
    if (!fits(page, cells))
        return;
    printf("%-*s", NAME, "");
    for (int i = 0; i < cells; i++)
        printf("%*s", CELL, label[i]);
    int room = page->width - NAME - cells * CELL - 2;
    if (plot && room >= PLOT_LEAST)
        printf("  %.*s", room, plot);
    putchar('\n');
}

static void print_wide(const struct page *page, const struct row *row)
{
    printf("%s%-*s%s", tone_code(page, row->tone), NAME, row->name, tone_end(page, row->tone));
    for (int i = 0; i < row->cells; i++)
        printf("%*s", CELL, row->cell[i].text);
}

static void print_narrow(const struct page *page, const struct row *row)
{
    int at = 0;
    printf("%s%.*s%s\n", tone_code(page, row->tone), page->width, row->name, tone_end(page, row->tone));
    for (int i = 0; i < row->cells; i++) {
        int length = (int)(strlen(row->label[i]) + strlen(row->cell[i].text)) + 2;
        if (at && at + length > page->width) {
            putchar('\n');
            at = 0;
        }
        at += printf(" %s %s", row->label[i], row->cell[i].text);
    }
    putchar('\n');
}

/* Without a plot. */
static void print_row(const struct page *page, const struct row *row)
{
    if (!fits(page, row->cells)) {
        print_narrow(page, row);
        return;
    }
    print_wide(page, row);
    putchar('\n');
}

/* Columns for a plot behind the cells, or in a line of its own. */
static int plot_room(const struct page *page, int cells)
{
    int room = fits(page, cells) ? page->width - NAME - cells * CELL - 2 : page->width - 1;
    return room > PLOT_MOST ? PLOT_MOST : room;
}

static void spark(const struct page *page, double share)
{
    static const char *const block[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char plain[] = " .,:;+*%#";
    int eighths = share > 0 ? (int)ceil(fmin(share, 1) * 8) : 0;
    if (page->terminal.unicode)
        fputs(block[eighths], stdout);
    else
        putchar(plain[eighths]);
}

/* ---- the verdict ---- */

static enum tone verdict_tone(int verdict)
{
    return verdict == BPTT_STABLE ? GOOD : verdict == BPTT_VANISHING ? WARN : verdict ? BAD : PLAIN;
}

static void print_verdict(const struct page *page, const bptt_inspect_report *r, int l)
{
    const bptt_inspect_layer *a = &r->layer[l];
    enum tone tone = verdict_tone(a->verdict);
    double e = a->exponent[0], fold = log(2) / fabs(e);
    const char *name = bptt_verdict_name(a->verdict), *sign = page->terminal.unicode ? "±" : "+-";
    char error[40] = "";
    if (isfinite(a->error[0]))
        snprintf(error, sizeof error, " %s %.1g", sign, a->error[0]);
    if (a->overflow >= 0)
        paragraph(page, tone, "layers.%d: %s. Its states are no longer finite at step %lld of the data.", l, name,
                  (long long)a->overflow);
    else if (a->verdict == BPTT_STABLE)
        paragraph(page, tone,
                  "layers.%d: %s. The largest Lyapunov exponent is %.3g%s a step: over %lld lags a gradient changes by less "
                  "than a factor e.",
                  l, name, e, error, (long long)r->lags);
    else if (a->verdict == BPTT_VANISHING && isfinite(e))
        paragraph(page, tone,
                  "layers.%d: %s. The largest Lyapunov exponent is %.3g%s a step: whatever the direction, in the long run "
                  "a gradient halves every %.3g steps or faster.",
                  l, name, e, error, fold);
    else if (a->verdict == BPTT_VANISHING)
        paragraph(page, tone, "layers.%d: %s. After some steps nothing is left of a gradient.", l, name);
    else if (a->verdict == BPTT_EXPLODING && isnan(a->growth))
        paragraph(page, tone,
                  "layers.%d: %s. The largest Lyapunov exponent is %.3g%s a step: gradients double every %.3g steps. The "
                  "states were zero throughout: what would happen to others is not seen.",
                  l, name, e, error, fold);
    else if (a->verdict == BPTT_EXPLODING)
        paragraph(page, tone,
                  "layers.%d: %s. The largest Lyapunov exponent is %.3g%s a step: gradients double every %.3g steps, and "
                  "the states grow with them (by %.3g a step).",
                  l, name, e, error, fold, exp(a->growth));
    else if (a->verdict == BPTT_CHAOTIC)
        paragraph(page, tone,
                  "layers.%d: %s. The largest Lyapunov exponent is %.3g%s a step while the states stay bounded: states that "
                  "start close drift apart, and gradients double every %.3g steps.",
                  l, name, e, error, fold);
    else
        paragraph(page, tone, "layers.%d: the exponents could not be told.", l);
}

/* ---- gradient by lag ---- */

static double highest(const bptt_spread *norm, int64_t lags)
{
    double most = 0;
    for (int64_t k = 0; k < lags; k++)
        most = isfinite(norm[k].mean) && norm[k].mean > most ? norm[k].mean : most;
    return most;
}

/* Each column the largest of its lags, DECADES below the top. */
static void plot_norms(const struct page *page, const bptt_spread *norm, int64_t lags, double top, int columns)
{
    if (columns > lags)
        columns = (int)lags;
    for (int c = 0; c < columns; c++) {
        double most = 0;
        for (int64_t k = c * lags / columns; k < (c + 1) * lags / columns; k++)
            most = norm[k].mean > most ? norm[k].mean : most;
        spark(page, 1 + log10(most / top) / DECADES);
    }
    putchar('\n');
}

/* With one layer, or one state, the same curve stands there more than once: the last of them is shown. */
static int is_repeated(const bptt_inspect_report *r, const bptt_inspect_lag *c)
{
    int64_t states = ((int64_t)r->curves - 1) / r->layers - 1;
    return c->state < 0 && (c->layer < 0 ? r->layers == 1 : states == 1);
}

static void print_curve(const struct page *page, const bptt_inspect_report *r, const bptt_inspect_lag *c, double top)
{
    static const char *const label[] = {"largest", "decay", "half", "1 %", "rounding"};
    enum { CELLS = 5 };
    struct row row = {*c->name ? c->name : "all",
                      label,
                      {number(highest(c->norm, r->lags)), number(c->decay), number(isinf(c->half_life) ? NAN : c->half_life),
                       lag(c->percent, r->lags), lag(c->rounding, r->lags)},
                      CELLS,
                      PLAIN};
    int room = plot_room(page, CELLS);
    if (!c->name[0])
        print_head(page, label, CELLS, "by lag, logarithmic");
    if (is_repeated(r, c))
        return;
    if (!fits(page, CELLS)) {
        print_narrow(page, &row);
        plot_norms(page, c->norm, r->lags, top, room);
        return;
    }
    print_wide(page, &row);
    printf("  ");
    if (room >= PLOT_LEAST)
        plot_norms(page, c->norm, r->lags, top, room);
    else
        putchar('\n');
}

static void print_curves(const struct page *page, const bptt_inspect_report *r)
{
    double top = 0;
    for (size_t i = 0; i < r->curves; i++)
        top = fmax(top, highest(r->curve[i].norm, r->lags));
    putchar('\n');
    paragraph(page, BOLD, "Gradient of a loss by the states k steps before it");
    paragraph(page, PLAIN,
              "Mean norm over %lld losses, lags 0 to %lld: the largest, the factor per step, steps until half is left, the "
              "lags below 1 %% and below rounding (2^-24) of the largest.",
              (long long)r->samples, (long long)r->lags - 1);
    for (size_t i = 0; i < r->curves; i++)
        print_curve(page, r, &r->curve[i], top);
}

/* ---- the step Jacobian ---- */

static void print_spread(const struct page *page, const char *name, const bptt_spread *s)
{
    static const char *const label[] = {"least", "10 %", "median", "90 %", "most"};
    print_row(page, &(struct row){name, label,
              {number(s->least), number(s->low), number(s->median), number(s->high), number(s->most)}, 5, PLAIN});
}

static void print_products(const struct page *page, const bptt_inspect_layer *a)
{
    static const char *const label[] = {"largest", "per step", "aligned"};
    if (a->products == 0)
        return;
    print_head(page, label, 3, NULL);
    for (int64_t k = 0; k < a->products; k++) {
        char name[32];
        double value = a->product[k].median, step = pow(value, 1 / (double)a->product_lag[k]);
        snprintf(name, sizeof name, "%lld step%s", (long long)a->product_lag[k], k ? "s" : "");
        print_row(page, &(struct row){name, label, {number(value), number(step), number(a->alignment[k])}, 3, PLAIN});
    }
}

static void print_exponents(const struct page *page, const bptt_inspect_layer *a)
{
    char text[1000];
    int at = snprintf(text, sizeof text, "Lyapunov exponents:");
    for (int64_t i = 0; i < a->exponents && at < 900; i++)
        at += snprintf(text + at, sizeof text - (size_t)at, " %.4g", a->exponent[i]);
    paragraph(page, PLAIN, "%s", text);
}

static void print_jacobian(const struct page *page, const bptt_inspect_layer *a, int l)
{
    static const char *const label[] = {"least", "10 %", "median", "90 %", "most"};
    putchar('\n');
    paragraph(page, BOLD, "layers.%d: step Jacobian ds_t/ds_{t-1}, %lld x %lld", l, (long long)a->states, (long long)a->states);
    if (a->jacobians) {
        paragraph(page, PLAIN, "Singular values and spectral radius at %lld steps.", (long long)a->jacobians);
        print_head(page, label, 5, NULL);
        print_spread(page, "largest", &a->largest);
        print_spread(page, "smallest", &a->smallest);
        print_spread(page, "radius", &a->radius);
    } else {
        paragraph(page, PLAIN, "Too large to be taken apart; --jacobians 1 does it all the same.");
    }
    if (a->products)
        paragraph(page, PLAIN,
                  "Products over several steps: largest singular value, its root per step, and how much random gradients "
                  "carried back point one way (mean |cos|).");
    print_products(page, a);
    print_exponents(page, a);
}

/* ---- activities ---- */

static void print_value(const struct page *page, const bptt_inspect_report *r, const bptt_inspect_value *v)
{
    static const char *const label[] = {"mean", "low", "high", "dead", "memory", "longest"};
    char name[130];
    if (v == r->value)
        print_head(page, label, 6, NULL);
    if (r->layers > 1)
        snprintf(name, sizeof name, "%lld.%s", (long long)v->layer, v->name);
    else
        snprintf(name, sizeof name, "%s", v->name);
    if (strlen(name) > NAME - 1)
        snprintf(name + NAME - 3, sizeof name - NAME, "..");
    enum tone tone = v->dead > 0 || v->low + v->high > 0.9 ? WARN : PLAIN;
    print_row(page, &(struct row){name,
                                  label,
                                  {number(v->mean), percent(v->low), percent(v->high), percent(v->dead), number(v->memory),
                                   number(v->longest)},
                                  6,
                                  tone});
}

static void print_values(const struct page *page, const bptt_inspect_report *r)
{
    if (r->values == 0)
        return;
    putchar('\n');
    paragraph(page, BOLD, "Gates and activations");
    paragraph(page, PLAIN,
              "Over %lld steps: the mean; shares of values saturated low and high; units that were never anything else; "
              "of a gate on a state, its memory in steps, 1/(1 - f).",
              (long long)r->walked);
    for (size_t i = 0; i < r->values; i++)
        print_value(page, r, &r->value[i]);
}

static void print_parameters(const struct page *page, const bptt_inspect_report *r)
{
    static const char *const label[] = {"gradient", "weight", "ratio", "update"};
    if (r->parameters == 0)
        return;
    int columns = isfinite(r->clipped) ? 4 : 3;
    putchar('\n');
    paragraph(page, BOLD, "Gradient by parameter");
    paragraph(page, PLAIN, "Norms, of the mean loss over %lld steps.", (long long)r->lags);
    if (columns == 4)
        paragraph(page, PLAIN, "Update: how far the last watched one went, as a share of the weight; about 0.001 is usual. Of the run's "
                  "updates %.3g %% were clipped.", 100 * r->clipped);
    print_head(page, label, columns, NULL);
    for (size_t i = 0; i < r->parameters; i++) {
        const bptt_inspect_parameter *p = &r->parameter[i];
        struct row row = {p->name, label, {number(p->gradient), number(p->weight), number(p->gradient / p->weight), number(p->update)},
                          columns, PLAIN};
        print_row(page, &row);
    }
}

void inspect_print(const bptt_inspect_report *r)
{
    struct page page = {terminal_look(stdout), terminal_width(stdout)};
    for (int l = 0; l < r->layers; l++)
        print_verdict(&page, r, l);
    print_curves(&page, r);
    for (int l = 0; l < r->layers; l++)
        print_jacobian(&page, &r->layer[l], l);
    print_values(&page, r);
    print_parameters(&page, r);
}
