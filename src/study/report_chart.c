/* report_chart.c - curves as SVG. Each curve carries its values beside its path (data-v), so that a page's script can tell
 * them where a pointer is; without a script the picture is complete. Long curves are thinned to the least and the greatest
 * of each stretch, so no peak is lost. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "picture.h"
#include "report.h"

/* ---- building ---- */

struct chart *charts_add(struct charts *charts, const char *id, const char *title)
{
    struct chart *grown = realloc(charts->chart, (charts->count + 1) * sizeof *grown);
    if (!grown) {
        charts->failed = 1;
        return NULL;
    }
    charts->chart = grown;
    struct chart *chart = &grown[charts->count++];
    *chart = (struct chart){.rule = NAN};
    snprintf(chart->id, sizeof chart->id, "%s", id);
    snprintf(chart->title, sizeof chart->title, "%s", title);
    snprintf(chart->x_name, sizeof chart->x_name, "step");
    return chart;
}

static void clear_chart(struct chart *chart)
{
    for (size_t i = 0; i < chart->curves; i++) {
        free(chart->curve[i].x);
        free(chart->curve[i].y);
    }
    if (chart->field) {
        free(chart->field->value);
        free(chart->field->column);
        free(chart->field->row);
        free(chart->field->line);
    }
    free(chart->field);
    free(chart->curve);
    free(chart->mark);
    free(chart->svg);
}

void charts_clear(struct charts *charts)
{
    for (size_t i = 0; i < charts->count; i++)
        clear_chart(&charts->chart[i]);
    free(charts->chart);
    *charts = (struct charts){0};
}

struct curve *chart_curve(struct chart *chart, int style, int colour, int dash, const char *format, ...)
{
    struct curve *grown = realloc(chart->curve, (chart->curves + 1) * sizeof *grown);
    if (!grown) {
        chart->failed = 1;
        return NULL;
    }
    chart->curve = grown;
    struct curve *curve = &grown[chart->curves++];
    *curve = (struct curve){.style = style, .colour = colour % CHART_COLOURS, .dash = dash};
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(curve->name, sizeof curve->name, format, arguments);
    va_end(arguments);
    return curve;
}

void curve_point(struct chart *chart, struct curve *curve, double x, double y)
{
    if (!curve || chart->failed)
        return;
    if (curve->count == curve->room) {
        size_t room = 2 * curve->room + 16;
        double *xs = realloc(curve->x, room * sizeof *xs);
        curve->x = xs ? xs : curve->x;
        double *ys = realloc(curve->y, room * sizeof *ys);
        curve->y = ys ? ys : curve->y;
        if (!xs || !ys) {
            chart->failed = 1;
            return;
        }
        curve->room = room;
    }
    curve->x[curve->count] = x;
    curve->y[curve->count++] = y;
}

/* Beyond what a float32 can hold no axis is needed. */
static int is_drawn(const struct chart *chart, double x, double y)
{
    return fabs(x) < 1e16 && fabs(y) < 1e45 && (!chart->log_y || y > 1e-45);
}

int chart_is_empty(const struct chart *chart)
{
    if (chart->field || chart->svg)
        return 0;
    for (size_t i = 0; i < chart->curves; i++)
        for (size_t k = 0; k < chart->curve[i].count; k++)
            if (is_drawn(chart, chart->curve[i].x[k], chart->curve[i].y[k]))
                return 0;
    return 1;
}

/* ---- scales ---- */

struct plot { const struct chart *chart; struct axis_range x, y; double top, bottom, right; struct text *out; };

static void cover(struct axis_range *r, double value)
{
    r->low = fmin(r->low, value);
    r->high = fmax(r->high, value);
}

/* Room above and below; on a logarithmic axis 12 decades at most. What differs by less than ticks can say is level. */
static void settle(struct axis_range *r, int percent)
{
    if (r->log) {
        r->low = fmax(r->low, r->high * 1e-12);
        double more = pow(10, fmax(0.04 * log10(r->high / r->low), 0.05));
        r->low /= more;
        r->high *= more;
        return;
    }
    double span = r->high - r->low, more = span > 2e-3 * fabs(r->high) ? 0.05 * span : fmax(fabs(r->high) * 0.1, 1e-12);
    r->low = percent || (r->low >= 0 && r->low < 0.25 * r->high) ? 0 : r->low - more;
    r->high = percent ? fmin(fmax(r->high * 1.05, 10), 100) : r->high + more;
}

static void scale(struct plot *p)
{
    const struct chart *c = p->chart;
    p->x = (struct axis_range){INFINITY, -INFINITY, 0};
    p->y = (struct axis_range){INFINITY, -INFINITY, c->log_y};
    for (size_t i = 0; i < c->curves; i++)
        for (size_t k = 0; k < c->curve[i].count; k++) {
            double x = c->curve[i].x[k], y = c->curve[i].y[k];
            if (!is_drawn(c, x, y))
                continue;
            cover(&p->x, x);
            cover(&p->y, y);
        }
    if (isfinite(c->rule) && (!c->log_y || c->rule > 0))
        cover(&p->y, c->rule);
    if (!(p->x.high > p->x.low)) {
        p->x.low -= 1;
        p->x.high += 1;
    }
    settle(&p->y, c->percent);
}

static double x_at(const struct plot *p, double x)
{
    return CHART_LEFT + (p->right - CHART_LEFT) * axis_share(&p->x, x);
}

static double y_at(const struct plot *p, double y)
{
    double share = axis_share(&p->y, y);
    return p->bottom - (p->bottom - p->top) * fmin(fmax(share, 0), 1);
}

/* ---- axes ---- */

static void draw_ticks(const struct plot *p)
{
    double tick[AXIS_TICKS];
    int count = axis_ticks(&p->y, 5, tick);
    for (int i = 0; i < count; i++) {
        double y = y_at(p, tick[i]);
        text_printf(p->out,
                    "<path class=\"grid\" d=\"M%d %.1fH%.1f\"/><text class=\"tick\" x=\"%d\" y=\"%.1f\" "
                    "text-anchor=\"end\">%s%s</text>\n",
                    CHART_LEFT, y, p->right, CHART_LEFT - 6, y + 4, say_number(tick[i]).text, p->chart->percent ? "%" : "");
    }
    count = axis_ticks(&p->x, 5, tick);
    for (int i = 0; i < count; i++)
        text_printf(p->out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n", x_at(p, tick[i]),
                    p->bottom + 16, say_number(tick[i]).text);
}

/* The second axis: the same heights in bits. */
static void draw_bits(const struct plot *p)
{
    double tick[AXIS_TICKS];
    struct axis_range bits = {p->y.low / M_LN2, p->y.high / M_LN2, p->y.log};
    int count = axis_ticks(&bits, 5, tick);
    for (int i = 0; i < count; i++)
        text_printf(p->out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\">%s</text>\n", p->right + 6,
                    y_at(p, tick[i] * M_LN2) + 4, say_number(tick[i]).text);
    text_printf(p->out, "<text class=\"name\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">bits</text>\n", CHART_WIDTH - 4,
                p->top - 8);
}

static void draw_axes(const struct plot *p)
{
    const struct chart *c = p->chart;
    draw_ticks(p);
    text_printf(p->out, "<text class=\"name\" x=\"4\" y=\"%.1f\">%s</text>\n", p->top - 8, c->y_name);
    text_printf(p->out, "<text class=\"name\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", p->right,
                p->bottom + 33, c->x_name);
    text_printf(p->out, "<path class=\"axis\" d=\"M%d %.1fH%.1f\"/>\n", CHART_LEFT, p->bottom, p->right);
    if (c->bits)
        draw_bits(p);
    if (isfinite(c->rule) && (!c->log_y || c->rule > 0))
        text_printf(p->out,
                    "<path class=\"rule\" d=\"M%d %.1fH%.1f\"/><text class=\"rule-name\" x=\"%.1f\" y=\"%.1f\" "
                    "text-anchor=\"end\">%s</text>\n",
                    CHART_LEFT, y_at(p, c->rule), p->right, p->right - 3, y_at(p, c->rule) - 4, c->rule_name);
}

/* ---- curves ---- */

/* What a thinned curve keeps, in order. */
struct thin { size_t *index, count; };

static void keep_extremes(const struct chart *chart, const struct curve *curve, size_t from, size_t to, struct thin *thin)
{
    size_t low = to, high = to;
    for (size_t i = from; i < to; i++) {
        if (!is_drawn(chart, curve->x[i], curve->y[i]))
            continue;
        low = low == to || curve->y[i] < curve->y[low] ? i : low;
        high = high == to || curve->y[i] > curve->y[high] ? i : high;
    }
    if (low == to)
        thin->index[thin->count++] = from; /* a gap stays a gap */
    else if (low == high)
        thin->index[thin->count++] = low;
    else {
        thin->index[thin->count++] = low < high ? low : high;
        thin->index[thin->count++] = low < high ? high : low;
    }
}

static int thin_curve(const struct chart *chart, const struct curve *curve, size_t points, struct thin *thin)
{
    size_t stretches = points / 2, n = curve->count;
    *thin = (struct thin){.index = malloc((n < points ? n + 1 : points + 2) * sizeof *thin->index)};
    if (!thin->index)
        return 0;
    if (n <= points)
        for (size_t i = 0; i < n; i++)
            thin->index[thin->count++] = i;
    for (size_t s = 0; n > points && s < stretches; s++)
        keep_extremes(chart, curve, s * n / stretches, (s + 1) * n / stretches, thin);
    return 1;
}

static void draw_path(const struct plot *p, const struct curve *curve, const struct thin *thin)
{
    int open = 0;
    for (size_t i = 0; i < thin->count; i++) {
        double x = curve->x[thin->index[i]], y = curve->y[thin->index[i]];
        if (is_drawn(p->chart, x, y))
            text_printf(p->out, "%c%.1f %.1f", open ? 'L' : 'M', x_at(p, x), y_at(p, y));
        open = is_drawn(p->chart, x, y);
    }
}

static void add_values(const struct plot *p, const struct curve *curve, const struct thin *thin)
{
    text_add(p->out, "\" data-v=\"");
    for (size_t i = 0; i < thin->count; i++) {
        double x = curve->x[thin->index[i]], y = curve->y[thin->index[i]];
        if (is_drawn(p->chart, x, y))
            text_printf(p->out, "%.7g %.4g,", x, y);
    }
}

static void draw_dots(const struct plot *p, const struct curve *curve, const struct thin *thin)
{
    text_printf(p->out, "<path class=\"dots c%d\" d=\"", curve->colour);
    for (size_t i = 0; i < thin->count; i++) {
        double x = curve->x[thin->index[i]], y = curve->y[thin->index[i]];
        if (is_drawn(p->chart, x, y))
            text_printf(p->out, "M%.1f %.1fh0", x_at(p, x), y_at(p, y));
    }
    text_add(p->out, "\"/>\n");
}

static void draw_curve(const struct plot *p, const struct curve *curve, size_t points)
{
    struct thin thin;
    static const char *const style[] = {"line", "line faint", "line"};
    if (!thin_curve(p->chart, curve, points, &thin)) {
        p->out->failed = 1;
        return;
    }
    text_printf(p->out, "<path class=\"%s c%d d%d\" d=\"", style[curve->style], curve->colour, curve->dash % 4);
    draw_path(p, curve, &thin);
    add_values(p, curve, &thin);
    text_add(p->out, "\" data-n=\"");
    picture_escape(curve->name, strlen(curve->name), p->out);
    text_add(p->out, "\"/>\n");
    if (curve->style == CURVE_DOTS || thin.count == 1)
        draw_dots(p, curve, &thin);
    free(thin.index);
}

/* ---- names of curves and marks ---- */

static size_t letters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += (*text & 0xC0) != 0x80;
    return count;
}

/* Where the names of curves stand: in lines from the top. */
struct place { double x, y; };
static int next_place(const struct curve *curve, struct place *at, struct place *next)
{
    if (curve->style == CURVE_FAINT || !curve->count || !curve->name[0])
        return 0;
    double width = 36 + 7.2 * (double)letters(curve->name);
    *at = next->x > CHART_LEFT && next->x + width > CHART_WIDTH ? (struct place){CHART_LEFT, next->y + 16} : *next;
    *next = (struct place){at->x + width, at->y};
    return 1;
}

/* What more than one line of names takes, beyond the usual height. */
static int names_height(const struct chart *chart)
{
    struct place at, next = {CHART_LEFT, 0};
    for (size_t i = 0; i < chart->curves; i++)
        next_place(&chart->curve[i], &at, &next);
    return (int)next.y;
}

static void draw_names(const struct plot *p)
{
    struct place at, next = {CHART_LEFT, 12};
    for (size_t i = 0; i < p->chart->curves; i++) {
        const struct curve *curve = &p->chart->curve[i];
        if (!next_place(curve, &at, &next))
            continue;
        text_printf(p->out, "<path class=\"line c%d d%d\" d=\"M%.1f %.1fh16\"/><text class=\"key\" x=\"%.1f\" y=\"%.1f\">",
                    curve->colour, curve->dash % 4, at.x, at.y - 4, at.x + 20, at.y);
        picture_escape(curve->name, strlen(curve->name), p->out);
        text_add(p->out, "</text>\n");
    }
}

static void draw_marks(const struct plot *p)
{
    for (size_t i = 0; i < p->chart->marks; i++) {
        const struct mark *mark = &p->chart->mark[i];
        double x = x_at(p, mark->x);
        if (!(x >= CHART_LEFT && x <= p->right))
            continue;
        text_printf(p->out,
                    "<g class=\"mark\"><path class=\"warn\" d=\"M%.1f %.1fV%.1f\"/><path class=\"flag\" d=\"M%.1f %.1fl5 "
                    "-8h-10z\"/><title>",
                    x, p->top, p->bottom, x, p->top);
        picture_escape(mark->text, strlen(mark->text), p->out);
        text_add(p->out, "</title></g>\n");
    }
}

void chart_open(const struct chart *c, int alone, struct text *out)
{
    text_printf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"chart%s\" id=\"%s\" data-x=\"%s\" viewBox=\"0 0 %d %d\" "
                "role=\"img\"%s>\n<title>",
                c->field ? " heat" : "", c->id, c->x_name, CHART_WIDTH, CHART_HEIGHT + names_height(c) + (alone ? 24 : 0),
                alone ? " width=\"880\"" : "");
    picture_escape(c->title, strlen(c->title), out);
    text_add(out, "</title>\n");
    if (!alone)
        return;
    text_add(out, "<style>");
    chart_style(1, out);
    text_add(out, "</style>\n<rect class=\"back\" width=\"100%\" height=\"100%\"/>\n<text class=\"title\" x=\"4\" y=\"18\">");
    picture_escape(c->title, strlen(c->title), out);
    text_add(out, "</text>\n<g transform=\"translate(0 24)\">\n");
}

void chart_svg(const struct chart *chart, int alone, size_t points, struct text *out)
{
    struct plot p = {.chart = chart, .out = out, .top = CHART_TOP + names_height(chart)};
    p.bottom = CHART_HEIGHT - CHART_FOOT + names_height(chart);
    if (chart->svg) {
        text_add(out, chart->svg);
        return;
    }
    if (chart->field) {
        field_svg(chart, alone, out);
        return;
    }
    chart_open(chart, alone, out);
    p.right = CHART_WIDTH - (chart->bits ? CHART_RIGHT : 18);
    draw_names(&p);
    scale(&p);
    draw_axes(&p);
    for (size_t i = 0; i < chart->curves; i++)
        draw_curve(&p, &chart->curve[i], points);
    draw_marks(&p);
    text_printf(out, "%s</svg>\n", alone ? "</g>" : "");
}
