/* portrait.c - an inspection as one picture, SVG: norms by lag, the step Jacobian against the unit line, its products over
 * lags, and the saturation of gates. Axes of sizes are logarithmic. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../base/text.h"
#include "inspect.h"

enum {
    WIDTH = 880,
    LEFT = 66,
    RIGHT = 20,
    TITLE = 44,
    PLOT = 240,
    FOOT = 44,
    BAR = 16,
    COLOURS = 6,
    LEGEND = 18,
    DECADES = 12
};

/* A field of the picture: x from 0 to last, y from 10^low to 10^high. */
struct panel { struct text *out; double top, height, last, low, high; };

static double x_of(const struct panel *p, double x)
{
    return LEFT + (WIDTH - LEFT - RIGHT) * (p->last > 0 ? x / p->last : 0.5);
}

static double y_of(const struct panel *p, double value)
{
    double share = (log10(value) - p->low) / (p->high - p->low);
    return p->top + p->height * (1 - fmin(fmax(share, 0), 1));
}

static int is_drawn(double value)
{
    return isfinite(value) && value > 0;
}

/* ---- axes ---- */

static void reach(struct panel *p, double value)
{
    if (!is_drawn(value))
        return;
    p->low = fmin(p->low, floor(log10(value)));
    p->high = fmax(p->high, ceil(log10(value)));
}

/* Whole decades, one at least, twelve at most. */
static void settle(struct panel *p)
{
    if (!(p->high >= p->low))
        p->low = p->high = 0;
    p->high += p->high <= p->low;
    p->low = fmax(p->low, p->high - DECADES);
}

static void draw_axis(const struct panel *p)
{
    int step = p->high - p->low > 6 ? 2 : 1;
    for (int d = (int)p->low; d <= (int)p->high; d += step) {
        double y = y_of(p, pow(10, d));
        text_printf(
            p->out,
            "<path class=\"%s\" d=\"M%d %.1fH%d\"/><text class=\"note\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">10<tspan "
            "dy=\"-5\" font-size=\"10\">%d</tspan></text>\n",
            d ? "grid" : "unit", LEFT, y, WIDTH - RIGHT, LEFT - 8, y + 5, d);
    }
}

static void draw_mark(const struct panel *p, double x, const char *label)
{
    text_printf(p->out, "<text class=\"note\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", x_of(p, x),
                p->top + p->height + 17, label);
}

static void draw_head(struct text *out, double top, const char *title, const char *note)
{
    text_printf(out, "<text x=\"%d\" y=\"%.1f\">%s<tspan class=\"note\" dx=\"12\">%s</tspan></text>\n", LEFT, top + 20, title,
                note);
}

/* ---- curves ---- */

typedef double member_fn(const bptt_spread *spread);
static double mean_of(const bptt_spread *s) { return s->mean; }
static double low_of(const bptt_spread *s) { return s->low; }
static double high_of(const bptt_spread *s) { return s->high; }

/* Points from one end to the other; what cannot be drawn is left out, what is too small lies on the floor. */
static void draw_points(const struct panel *p, const bptt_spread *s, int64_t n, member_fn *member, int backward, char *pen)
{
    for (int64_t i = 0; i < n; i++) {
        int64_t k = backward ? n - 1 - i : i;
        double value = member(&s[k]);
        if (!is_drawn(value))
            continue;
        text_printf(p->out, "%c%.1f %.1f", *pen, x_of(p, (double)k), y_of(p, value));
        *pen = 'L';
    }
}

static void draw_band(const struct panel *p, const bptt_spread *s, int64_t n, int colour)
{
    char pen = 'M';
    text_printf(p->out, "<path class=\"b b%d\" d=\"", colour % COLOURS);
    draw_points(p, s, n, low_of, 0, &pen);
    draw_points(p, s, n, high_of, 1, &pen);
    text_add(p->out, "\"/>\n");
}

static void draw_curve(const struct panel *p, const bptt_spread *s, int64_t n, int colour, const char *name)
{
    char pen = 'M';
    text_printf(p->out, "<path class=\"l l%d\" d=\"", colour % COLOURS);
    draw_points(p, s, n, mean_of, 0, &pen);
    text_printf(p->out, "\"><title>%s</title></path>\n", name);
}

static void draw_key(const struct panel *p, int number, const char *name)
{
    double y = p->top + 14 + LEGEND * number;
    if (y > p->top + p->height)            /* no room: the curve's own title names it */
        return;
    text_printf(p->out, "<path class=\"l l%d\" d=\"M%d %.1fh18\"/><text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                number % COLOURS, WIDTH - RIGHT - 22, y, WIDTH - RIGHT - 28, y + 5, name);
}

/* ---- the parts; each returns where the next one begins ---- */

/* States by themselves, of each layer. */
static double draw_lags(struct text *out, const bptt_inspect_report *r, double top)
{
    struct panel p = {out, top + TITLE - 10, PLOT, (double)r->lags - 1, INFINITY, -INFINITY};
    char label[32];
    int number = 0;
    for (size_t i = 0; i < r->curves; i++)
        for (int64_t k = 0; k < r->lags; k++)
            reach(&p, r->curve[i].norm[k].mean);
    settle(&p);
    draw_head(out, top, "Gradient of a loss by the states k steps before it",
              "mean norm by k; bands: 10 to 90 % of the losses");
    draw_axis(&p);
    for (int i = 0; i <= 4; i++) {
        snprintf(label, sizeof label, "%lld", (long long)((double)(r->lags - 1) * i / 4));
        draw_mark(&p, floor((double)(r->lags - 1) * i / 4), label);
    }
    for (size_t i = 0; i < r->curves; i++) {
        if (r->curve[i].state < 0)
            continue;
        draw_band(&p, r->curve[i].norm, r->lags, number);
        draw_curve(&p, r->curve[i].norm, r->lags, number, r->curve[i].name);
        draw_key(&p, number++, r->curve[i].name);
    }
    return p.top + p.height + FOOT;
}

static double draw_products(struct text *out, const bptt_inspect_report *r, double top)
{
    struct panel p = {out, top + TITLE - 10, PLOT / 2 + 30, (double)r->layer[0].products - 1, 0, 0};
    char name[32];
    if (r->layer[0].products < 2)
        return top;
    for (int64_t l = 0; l < r->layers; l++)
        for (int64_t k = 0; k < r->layer[l].products; k++)
            reach(&p, r->layer[l].product[k].mean);
    settle(&p);
    draw_head(out, top, "Products of step Jacobians", "largest singular value over so many steps");
    draw_axis(&p);
    for (int64_t k = 0; k < r->layer[0].products; k++) {
        snprintf(name, sizeof name, "%lld", (long long)r->layer[0].product_lag[k]);
        draw_mark(&p, (double)k, name);
    }
    for (int64_t l = 0; l < r->layers; l++) {
        snprintf(name, sizeof name, "layers.%lld", (long long)l);
        draw_band(&p, r->layer[l].product, r->layer[l].products, (int)l);
        draw_curve(&p, r->layer[l].product, r->layer[l].products, (int)l, name);
        draw_key(&p, (int)l, name);
    }
    return p.top + p.height + FOOT;
}

/* From the least to the most, the middle four fifths thick. */
static void draw_spread(const struct panel *p, double x, const bptt_spread *s, int colour)
{
    if (!is_drawn(s->most))
        return;
    double least = is_drawn(s->least) ? s->least : 1e-300, low = is_drawn(s->low) ? s->low : 1e-300;
    text_printf(
        p->out,
        "<path class=\"l l%d\" d=\"M%.1f %.1fV%.1f\"/><rect class=\"f%d\" x=\"%.1f\" y=\"%.1f\" width=\"14\" height=\"%.1f\" "
        "rx=\"3\"><title>%.4g to %.4g, median %.4g</title></rect>\n",
        colour, x_of(p, x), y_of(p, s->most), y_of(p, least), colour, x_of(p, x) - 7, y_of(p, s->high),
        fmax(2, y_of(p, low) - y_of(p, s->high)), s->least, s->most, s->median);
}

static double draw_jacobians(struct text *out, const bptt_inspect_report *r, double top)
{
    static const char *const names[] = {"largest", "smallest", "radius"};
    struct panel p = {out, top + TITLE - 10, PLOT - 60, 3 * (double)r->layers, 0, 0};
    char label[48];
    if (!r->layer[0].jacobians)
        return top;
    for (int64_t l = 0; l < r->layers; l++) {
        reach(&p, r->layer[l].largest.most);
        reach(&p, r->layer[l].smallest.median);
        reach(&p, r->layer[l].radius.low);
    }
    settle(&p);
    draw_head(out, top, "Step Jacobians", "singular values and spectral radius over the sampled steps, against 1");
    draw_axis(&p);
    for (int64_t l = 0; l < r->layers; l++) {
        const bptt_spread *spread[] = {&r->layer[l].largest, &r->layer[l].smallest, &r->layer[l].radius};
        for (int i = 0; i < 3; i++) {
            double x = 3 * (double)l + i + 0.5;
            draw_spread(&p, x, spread[i], (int)(l % COLOURS));
            snprintf(label, sizeof label, r->layers > 1 ? "%s %lld" : "%s", names[i], (long long)l);
            draw_mark(&p, x, label);
        }
    }
    return p.top + p.height + FOOT;
}

static void add_escaped(struct text *out, const char *name)
{
    for (const char *c = name; *c; c++) {
        if (*c == '<' || *c == '>' || *c == '&')
            text_add(out, *c == '<' ? "&lt;" : *c == '>' ? "&gt;" : "&amp;");
        else
            text_append(out, c, 1);
    }
}

/* Low from the left, high from the right. */
static double draw_values(struct text *out, const bptt_inspect_report *r, double top)
{
    enum { NAME = 200, SPAN = WIDTH - LEFT - RIGHT - NAME };
    if (r->values == 0)
        return top;
    draw_head(out, top, "Gates and activations", "share of values saturated low (left) and high (right)");
    top += TITLE - 10;
    for (size_t i = 0; i < r->values; i++, top += BAR + 6) {
        const bptt_inspect_value *v = &r->value[i];
        text_printf(out, "<text x=\"%d\" y=\"%.1f\">%lld. ", LEFT, top + 13, (long long)v->layer);
        add_escaped(out, v->name);
        text_printf(out,
                    "</text><rect class=\"empty\" x=\"%d\" y=\"%.1f\" width=\"%d\" height=\"%d\"/><rect class=\"f0\" x=\"%d\" "
                    "y=\"%.1f\" "
                    "width=\"%.1f\" height=\"%d\"/><rect class=\"f1\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%d\"/>\n",
                    LEFT + NAME, top, SPAN, BAR, LEFT + NAME, top, SPAN * v->low, BAR, LEFT + NAME + SPAN * (1 - v->high), top,
                    SPAN * v->high, BAR);
    }
    return top + FOOT / 2;
}

/* ---- the picture ---- */

static void begin(struct text *out, double height)
{
    static const char *const light[COLOURS] = {"#2266bb", "#cc7722", "#338844", "#aa3377", "#7755bb", "#667788"};
    static const char *const dark[COLOURS] = {"#77aaee", "#eeaa55", "#77cc88", "#ee77aa", "#bb99ee", "#aabbcc"};
    text_printf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %.0f\" width=\"%d\" height=\"%.0f\" role=\"img\">\n"
                "<title>What flows back through time</title>\n<style>\ntext { font: 14px system-ui, sans-serif; fill: #222 } "
                ".note { fill: #666 }\n"
                ".back { fill: #fff } .grid { stroke: #ddd } .unit { stroke: #777; stroke-dasharray: 5 4 } .l { fill: none; "
                "stroke-width: 1.8 }\n"
                ".b { opacity: 0.16 } .empty { fill: #eee }\n",
                WIDTH, height, WIDTH, height);
    for (int i = 0; i < COLOURS; i++)
        text_printf(out, ".l%d { stroke: %s } .b%d, .f%d { fill: %s }\n", i, light[i], i, i, light[i]);
    text_add(out, "@media (prefers-color-scheme: dark) {\n.back { fill: #16181c } text { fill: #eee } .note { fill: #999 } "
                  ".grid { stroke: "
                  "#333 } .unit { stroke: #999 } .empty { fill: #2a2d33 }\n");
    for (int i = 0; i < COLOURS; i++)
        text_printf(out, ".l%d { stroke: %s } .b%d, .f%d { fill: %s }\n", i, dark[i], i, i, dark[i]);
    text_add(out, "}\n</style>\n<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n");
}

int bptt_inspect_figure(const bptt_inspect_report *report, char **text, bptt_error *error)
{
    struct text body = {0}, out = {0};
    double top = 8;
    *text = NULL;
    if (!report->curve || !report->layer)
        return fail(error, BPTT_ERROR_ARGUMENT, "there is nothing to draw: the report is empty");
    top = draw_lags(&body, report, top);
    top = draw_jacobians(&body, report, top);
    top = draw_products(&body, report, top);
    top = draw_values(&body, report, top);
    begin(&out, top + 8);
    text_append(&out, body.data ? body.data : "", body.length);
    text_add(&out, "</svg>\n");
    out.failed |= body.failed;
    text_free(&body);
    *text = text_take(&out);
    return *text ? BPTT_OK : fail_memory(error, (size_t)report->lags * sizeof(double));
}
