/* inspect_text.c - an inspection for people: what to conclude first, then tables, each row with a plot as wide as the terminal
 * leaves room for. Below 60 columns a row becomes a few short lines. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "inspect.h"
#include "say.h"
#include "terminal.h"

enum { NARROW = 60, PLOT_LEAST = 8, PLOT_MOST = 100 };

struct page { struct terminal terminal; int width; };

/* ---- numbers in few characters ---- */

static struct said number(double value)
{
    struct said s;
    if (isnan(value))
        snprintf(s.text, sizeof s.text, "-");
    else if (isinf(value))
        snprintf(s.text, sizeof s.text, "inf");
    else if (value != 0 && (fabs(value) < 1e-3 || fabs(value) >= 1e5))
        snprintf(s.text, sizeof s.text, "%.1e", value);
    else
        snprintf(s.text, sizeof s.text, "%.3g", value);
    return s;
}

static struct said lag(int64_t value, int64_t lags)
{
    struct said s;
    if (value < 0)
        snprintf(s.text, sizeof s.text, ">%lld", (long long)lags - 1);
    else
        snprintf(s.text, sizeof s.text, "%lld", (long long)value);
    return s;
}

/* ---- a plot of one line ---- */

/* log10 of the largest value, and how many decades below it are shown. */
struct scale { double top, decades; };

static double highest(const bptt_spread *norm, int64_t lags)
{
    double most = 0;
    for (int64_t k = 0; k < lags; k++)
        most = isfinite(norm[k].mean) && norm[k].mean > most ? norm[k].mean : most;
    return most;
}

static struct scale scale_of(const bptt_inspect_report *r)
{
    double most = 0;
    for (size_t i = 0; i < r->curves; i++) {
        double own = highest(r->curve[i].norm, r->lags);
        most = own > most ? own : most;
    }
    return (struct scale){log10(most), 8};
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

/* Each column the largest of its lags. */
static void plot_norms(const struct page *page, const bptt_spread *norm, int64_t lags, struct scale scale, int columns)
{
    if (columns > lags)
        columns = (int)lags;
    for (int c = 0; c < columns; c++) {
        double most = 0;
        for (int64_t k = c * lags / columns; k < (c + 1) * lags / columns; k++)
            most = norm[k].mean > most ? norm[k].mean : most;
        spark(page, 1 + (log10(most) - scale.top) / scale.decades);
    }
    putchar('\n');
}

/* ---- gradient by lag ---- */

static const char *title_of(const bptt_inspect_lag *c)
{
    return *c->name ? c->name : "all states";
}

/* With one layer, or one state, the same curve stands there more than once: the last of them is shown. */
static int is_repeated(const bptt_inspect_report *r, size_t i)
{
    const bptt_inspect_lag *c = &r->curve[i];
    int64_t states = ((int64_t)r->curves - 1) / r->layers - 1;
    return c->state < 0 && (c->layer < 0 ? r->layers == 1 : 0) + (c->layer >= 0 && states == 1) > 0;
}

static void print_curve_wide(const struct page *page, const bptt_inspect_report *r, const bptt_inspect_lag *c, struct scale scale)
{
    enum { TABLE = 52 };
    int columns = page->width - TABLE - 2;
    printf("%-14s %8s %6s %8s %6s %6s  ", title_of(c), number(highest(c->norm, r->lags)).text, number(c->decay).text,
           number(c->half_life).text, lag(c->percent, r->lags).text, lag(c->rounding, r->lags).text);
    plot_norms(page, c->norm, r->lags, scale, columns > PLOT_MOST ? PLOT_MOST : columns < PLOT_LEAST ? PLOT_LEAST : columns);
}

static void print_curve_narrow(const struct page *page, const bptt_inspect_report *r, const bptt_inspect_lag *c, struct scale scale)
{
    printf("%s\n", title_of(c));
    plot_norms(page, c->norm, r->lags, scale, page->width - 1);
    printf(" decay %s\n half-life %s\n below 1%%: %s\n rounding: %s\n", number(c->decay).text, number(c->half_life).text,
           lag(c->percent, r->lags).text, lag(c->rounding, r->lags).text);
}

static void print_curves(const struct page *page, const bptt_inspect_report *r)
{
    struct scale scale = scale_of(r);
    int narrow = page->width < NARROW;
    if (!narrow)
        printf("%-14s %8s %6s %8s %6s %6s  %s\n", "gradient", "largest", "decay", "half", "1 %", "round",
               page->width < 84 ? "by lag (log)" : "norm by lag, eight decades");
    for (size_t i = 0; i < r->curves; i++) {
        if (is_repeated(r, i))
            continue;
        (narrow ? print_curve_narrow : print_curve_wide)(page, r, &r->curve[i], scale);
    }
}

void inspect_print(const bptt_inspect_report *r, int quiet)
{
    struct page page = {terminal_look(stdout), terminal_width(stdout)};
    (void)quiet;
    print_curves(&page, r);
}
