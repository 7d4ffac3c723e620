/* report_heat.c - a field of colours as SVG: the gradient by lag, as it changes over training. One path holds all places of
 * one colour, so a field of thousands of places stays small. */
#include <math.h>

#include "report.h"

/* Ten colours for shares from 1e-5 to 1, and three for what grew on its way back. */
enum { SHADES = 13, ONE = 9, LEGEND_TOP = 6, PLOT_TOP = 44 };

static int shade_of(double logarithm)
{
    if (isnan(logarithm))
        return -1;
    double shade =
        logarithm <= 0.1 ? fmin(ONE + 0.5 + 2 * logarithm, ONE) : ONE + 1 + 2 * logarithm; /* a quarter more is no growth */
    return (int)fmin(fmax(shade, 0), SHADES - 1);
}

struct plane { const struct field *field; double left, top, width, height; struct text *out; };

static double x_at(const struct plane *p, size_t column)
{
    return p->left + p->width * (double)column / (double)p->field->columns;
}

/* Lag 0 stands at the bottom. */
static double y_at(const struct plane *p, double row)
{
    return p->top + p->height * (1 - row / (double)p->field->rows);
}

/* Neighbours of one colour in a row become one place. */
static void draw_shade(const struct plane *p, int shade)
{
    const struct field *f = p->field;
    int begun = 0;
    for (size_t r = 0; r < f->rows; r++)
        for (size_t c = 0; c < f->columns; c++) {
            size_t end = c;
            while (end < f->columns && shade_of(f->value[end * f->rows + r]) == shade)
                end++;
            if (end == c)
                continue;
            if (!begun++)
                text_printf(p->out, "<path class=\"h%d\" d=\"", shade);
            text_printf(p->out, "M%.1f %.1fH%.1fV%.1fH%.1fz", x_at(p, c), y_at(p, (double)r), x_at(p, end) + 0.3,
                        y_at(p, (double)r + 1) - 0.3, x_at(p, c));
            c = end;
        }
    if (begun)
        text_add(p->out, "\"/>\n");
}

/* The row, with its share, where a lag stands. */
static double row_of(const struct field *f, double lag)
{
    size_t r = 0;
    while (r + 1 < f->rows && f->row[r + 1] <= lag)
        r++;
    double share = r + 1 < f->rows ? (lag - f->row[r]) / (f->row[r + 1] - f->row[r]) : 0.5;
    return fmin((double)r + 0.5 + fmin(fmax(share, 0), 1), (double)f->rows);
}

static void draw_line(const struct plane *p)
{
    int open = 0;
    text_add(p->out, "<path class=\"horizon\" d=\"");
    for (size_t c = 0; c < p->field->columns; c++) {
        double lag = p->field->line[c];
        if (isfinite(lag))
            text_printf(p->out, "%c%.1f %.1f", open ? 'L' : 'M', (x_at(p, c) + x_at(p, c + 1)) / 2,
                        y_at(p, row_of(p->field, lag)));
        open = isfinite(lag);
    }
    text_add(p->out, "\"/>\n");
}

static void draw_axes(const struct plane *p, const struct chart *chart)
{
    const struct field *f = p->field;
    size_t rows = 1 + (f->rows - 1) / 7, columns = 1 + (f->columns - 1) / 5;
    for (size_t r = 0; r < f->rows; r += rows)
        text_printf(p->out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n", p->left - 6,
                    y_at(p, (double)r + 0.5) + 4, say_number(f->row[r]).text);
    for (size_t c = 0; c < f->columns; c += columns)
        text_printf(p->out, "<text class=\"tick\" x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%s</text>\n",
                    (x_at(p, c) + x_at(p, c + 1)) / 2, p->top + p->height + 16, say_number(f->column[c]).text);
    text_printf(p->out,
                "<text class=\"name\" x=\"4\" y=\"%.1f\">%s</text><text class=\"name\" x=\"%.1f\" y=\"%.1f\" "
                "text-anchor=\"end\">%s</text>\n",
                p->top - 8, chart->y_name, p->left + p->width, p->top + p->height + 33, chart->x_name);
}

static void draw_legend(const struct plane *p)
{
    static const char *const name[] = {"1e-4", "1 %", "lag 0", "x10"};
    static const int at[] = {1, 5, 9, 12};
    double each = 15, left = p->left + p->width - SHADES * each;
    for (int i = 0; i < SHADES; i++)
        text_printf(p->out, "<rect class=\"h%d\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"9\"/>\n", i, left + i * each,
                    LEGEND_TOP, each);
    for (int i = 0; i < 4; i++)
        text_printf(p->out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>\n",
                    left + (at[i] + 0.5) * each, LEGEND_TOP + 22, name[i]);
}

/* Values by column, for a pointer. */
static void add_values(const struct plane *p)
{
    const struct field *f = p->field;
    text_printf(p->out, "<rect class=\"over\" x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" data-columns=\"", p->left,
                p->top, p->width, p->height);
    for (size_t c = 0; c < f->columns; c++)
        text_printf(p->out, "%.7g,", f->column[c]);
    text_add(p->out, "\" data-rows=\"");
    for (size_t r = 0; r < f->rows; r++)
        text_printf(p->out, "%.7g,", f->row[r]);
    text_add(p->out, "\" data-values=\"");
    for (size_t i = 0; i < f->rows * f->columns; i++) {
        if (!isnan(f->value[i]))
            text_printf(p->out, "%.1f", f->value[i]);
        text_add(p->out, ",");
    }
    text_add(p->out, "\"/>\n");
}

void field_svg(const struct chart *chart, int alone, struct text *out)
{
    struct plane p = {.field = chart->field, .left = CHART_LEFT, .top = PLOT_TOP, .width = CHART_WIDTH - CHART_LEFT - 12,
                      .height = CHART_HEIGHT - CHART_FOOT - PLOT_TOP, .out = out};
    chart_open(chart, alone, out);
    draw_legend(&p);
    for (int shade = 0; shade < SHADES; shade++)
        draw_shade(&p, shade);
    draw_line(&p);
    draw_axes(&p, chart);
    add_values(&p);
    text_printf(out, "%s</svg>\n", alone ? "</g>" : "");
}
