/* figure.c - a text cut into pieces where the gradient is cut: what the chapter draws first, from the schedules that ran. A
 * piece is a run of steps whose losses share one way back; that way may reach over earlier pieces. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../base/text.h"
#include "compare.h"

/* ---- pieces from a schedule ---- */

static int add_piece(bptt_compare_strategy *out, int64_t from, int64_t losses, int64_t to, bptt_error *error)
{
    size_t bytes = size_mul(out->pieces + 1, 2 * sizeof *out->piece);
    bptt_compare_piece *grown = out->piece;
    if ((out->pieces & (out->pieces + 1)) == 0)        /* 1, 2, 4, ...: no room left */
        grown = realloc(out->piece, bytes);
    if (!grown)
        return fail_memory(error, bytes);
    out->piece = grown;
    out->piece[out->pieces++] = (bptt_compare_piece){from, losses, to};
    return BPTT_OK;
}

/* A piece of random links: from one cut to the next. */
static int split_at_cuts(bptt_compare_strategy *out, long steps, bptt_error *error)
{
    int status = BPTT_OK;
    long from = 0;
    for (long t = 1; t <= steps && !status; t++) {
        if (t < steps && out->link[t] != 0)
            continue;
        status = add_piece(out, from, from, t, error);
        from = t;
    }
    return status;
}

static int walk_links(struct schedule *schedule, bptt_compare_strategy *out, bptt_error *error)
{
    struct action a;
    size_t bytes = size_mul((size_t)schedule->steps, sizeof *out->link);
    out->link = malloc(bytes);
    if (!out->link)
        return fail_memory(error, bytes);
    for (long t = 0; t < schedule->steps; t++)
        out->link[t] = 1;
    while (schedule_next(schedule, &a))
        if (a.kind == ACTION_CUT)
            out->link[a.from] = a.scale;
    return split_at_cuts(out, schedule->steps, error);
}

/* A reverse goes on with the piece where that one has come to, unless a cut lies between. */
static int reverse(const struct action *a, int cut, bptt_compare_strategy *out, bptt_error *error)
{
    bptt_compare_piece *piece = out->pieces ? &out->piece[out->pieces - 1] : NULL;
    if (cut || !piece || piece->from != a->to)
        return add_piece(out, a->from, a->losses, a->to, error);
    piece->from = a->from;
    piece->losses = a->losses < a->to ? a->losses : piece->losses;
    return BPTT_OK;
}

int figure_walk(struct schedule *schedule, bptt_compare_strategy *out, bptt_error *error)
{
    struct action a;
    int status = BPTT_OK, cut = 0;
    if (schedule->strategy.kind == STRATEGY_RANDOM)
        return walk_links(schedule, out, error);
    while (!status && schedule_next(schedule, &a)) {
        if (a.kind == ACTION_REVERSE)
            status = reverse(&a, cut, out, error);
        cut = a.kind == ACTION_CUT || (cut && a.kind != ACTION_REVERSE);
    }
    return status;
}

/* ---- what is said of a strategy beside its pieces ---- */

static void weights_of(const bptt_compare_strategy *s, int64_t steps, double *low, double *high)
{
    *low = *high = 0;
    for (int64_t t = 1; s->link && t < steps; t++) {
        double w = s->link[t];
        if (w == 0)
            continue;
        *low = *low == 0 || w < *low ? w : *low;
        *high = w > *high ? w : *high;
    }
}

static int64_t longest_reach(const bptt_compare_strategy *s)
{
    int64_t most = 0;
    for (size_t i = 0; i < s->pieces; i++) {
        const bptt_compare_piece *p = &s->piece[i];
        if (p->losses > p->from && p->to - p->from > most)
            most = p->to - p->from;
    }
    return most;
}

static void describe(const bptt_compare_report *r, const bptt_compare_strategy *s, char *note, size_t size)
{
    double low, high;
    int64_t reach = longest_reach(s);
    weights_of(s, r->length, &low, &high);
    int used = snprintf(note, size, "%zu piece%s", s->pieces, s->pieces == 1 ? "" : "s");
    if (used < 0 || (size_t)used >= size)
        return;
    if (high > 0 && high - low < 1e-9 * high)
        snprintf(note + used, size - (size_t)used, ", links within them weighted by %.4g", low);
    else if (high > 0)
        snprintf(note + used, size - (size_t)used, ", links within them weighted by %.4g to %.4g", low, high);
    else if (reach > 0)
        snprintf(note + used, size - (size_t)used, ", each reaching back %lld steps from its end", (long long)reach);
}

/* ---- where symbols stand: in lines of cells ---- */

enum { LINES = 4 };

/* Code points. */
static int width_of(const bptt_compare_report *r, int64_t symbol)
{
    int width = 0;
    for (size_t i = r->symbol[symbol]; i < r->symbol[symbol + 1]; i++)
        width += (r->text[i] & 0xC0) != 0x80;
    return width;
}

struct spot { int line, column; };

/* The first symbols that fit into LINES lines, and the place of each: place[shown] is behind the last. */
static int64_t arrange(const bptt_compare_report *r, int columns, struct spot *place)
{
    struct spot at = {0, 0};
    for (int64_t t = 0; t < r->length; t++) {
        int width = width_of(r, t);
        if (at.column && at.column + width > columns)
            at = (struct spot){at.line + 1, 0};
        place[t] = at;
        if (at.line == LINES)
            return t;
        at.column += width;
    }
    place[r->length] = at;
    return r->length;
}

/* ---- as characters ---- */

static int loss_begins(const bptt_compare_strategy *s, int64_t step)
{
    for (size_t i = 0; i < s->pieces; i++)
        if (s->piece[i].losses == step)
            return 1;
    return 0;
}

static void write_row(const bptt_compare_report *r, const bptt_compare_strategy *s, int columns, struct text *out)
{
    int line = 0, column = 0;
    text_add(out, "  ");
    for (int64_t t = 0; t < r->length; t++) {
        int width = width_of(r, t), bar = t > 0 && loss_begins(s, t);
        if (column && column + bar + width > columns - 2) {
            if (++line == LINES) {
                text_add(out, "...");
                break;
            }
            text_add(out, "\n  ");
            column = 0;
        }
        text_add(out, bar ? "|" : "");
        text_append(out, r->text + r->symbol[t], r->symbol[t + 1] - r->symbol[t]);
        column += bar + width;
    }
    text_add(out, "\n");
}

static void write_text(const bptt_compare_report *r, int columns, struct text *out)
{
    char note[160];
    for (size_t i = 0; i < r->count; i++) {
        const bptt_compare_strategy *s = &r->strategy[i];
        if (s->pieces == 0)
            continue;
        describe(r, s, note, sizeof note);
        text_printf(out, "%s: %s\n", s->name, note);
        write_row(r, s, columns < 24 ? 24 : columns, out);
    }
}

/* ---- as SVG ---- */

enum { CELL = 11, CELLS = 84, LEFT = 18, WIDTH = LEFT * 2 + CELL * CELLS, TITLE = 30, BAND = 24, LINE = 42, HEAD = 24, GAP = 14 };

struct drawing {
    const bptt_compare_report *r;
    struct spot *place;
    int64_t shown;
    int lines, top;                        /* of a row; top of the row at hand */
    struct text *out;
};

static double x_of(int column)
{
    return LEFT + CELL * (double)column;
}

static int y_of(const struct drawing *d, int line)
{
    return d->top + HEAD + LINE * line;
}

/* The column behind a step. */
static int end_of(const struct drawing *d, int64_t step)
{
    return d->place[step].column + width_of(d->r, step);
}

/* Steps [from, to) as rectangles, one for each line they stand in. */
static void draw_span(const struct drawing *d, const char *style, int64_t from, int64_t to, int down, int height)
{
    to = to < d->shown ? to : d->shown;
    while (from < to) {
        int64_t last = from;
        while (last + 1 < to && d->place[last + 1].line == d->place[from].line)
            last++;
        double left = x_of(d->place[from].column), right = x_of(end_of(d, last));
        text_printf(d->out, "<rect class=\"%s\" x=\"%.1f\" y=\"%d\" width=\"%.1f\" height=\"%d\"/>\n", style, left, y_of(d, d->place[from].line) + down,
                    right - left, height);
        from = last + 1;
    }
}

static void draw_pieces(const struct drawing *d, const bptt_compare_strategy *s)
{
    static const char *const colour[3] = {"p0", "p1", "p2"};
    for (size_t i = 0; i < s->pieces && s->piece[i].losses < d->shown; i++) {
        const bptt_compare_piece *p = &s->piece[i];
        draw_span(d, colour[i % 3], p->losses, p->to, 0, BAND);
        if (p->losses > 0)
            text_printf(d->out, "<path class=\"cut\" d=\"M%.1f %dv%d\"/>\n", x_of(d->place[p->losses].column),
                        y_of(d, d->place[p->losses].line) - 3, BAND + 6);
    }
}

/* How far back pieces reach, where they reach over others: of as many as fit side by side. */
static void draw_reaches(const struct drawing *d, const bptt_compare_strategy *s)
{
    int64_t reach = longest_reach(s), end = 0;
    for (size_t i = 0; i < s->pieces && s->piece[i].to <= d->shown; i++) {
        const bptt_compare_piece *p = &s->piece[i];
        if (p->to - p->from != reach || p->from < end)
            continue;
        draw_span(d, "reach", p->from, p->to, BAND + 4, 3);
        text_printf(d->out, "<path class=\"end\" d=\"M%.1f %dv9\"/>\n", x_of(d->place[p->from].column) + 1,
                    y_of(d, d->place[p->from].line) + BAND + 2);
        end = p->to;
    }
}

/* A kept link's weight, below it. */
static void draw_links(const struct drawing *d, const bptt_compare_strategy *s)
{
    for (int64_t t = 1; s->link && t < d->shown; t++) {
        if (s->link[t] != 0 && s->link[t] != 1)
            text_printf(d->out, "<path class=\"weight\" d=\"M%.1f %dv7\"><title>link to step %lld, times %.4g</title></path>\n",
                        x_of(d->place[t].column), y_of(d, d->place[t].line) + BAND - 2, (long long)t, s->link[t]);
    }
}

static int character_length(const char *at)
{
    int length = 1;
    while (((unsigned char)at[length] & 0xC0) == 0x80)
        length++;
    return length;
}

/* Each character has its own place, so that fonts of any width will do. */
static void draw_characters(const struct drawing *d, int64_t symbol)
{
    const bptt_compare_report *r = d->r;
    double x = x_of(d->place[symbol].column) + CELL / 2.0;
    for (size_t at = r->symbol[symbol]; at < r->symbol[symbol + 1]; x += CELL) {
        const char *character = r->text + at;
        int length = character_length(character);
        const char *name = *character == '<' ? "&lt;" : *character == '>' ? "&gt;" : *character == '&' ? "&amp;" : NULL;
        if (*character != ' ')
            text_printf(d->out, "<tspan x=\"%.1f\">%.*s</tspan>", x, name ? (int)strlen(name) : length, name ? name : character);
        at += (size_t)length;
    }
}

static void draw_text(const struct drawing *d)
{
    for (int64_t t = 0; t < d->shown; ) {
        int line = d->place[t].line;
        text_printf(d->out, "<text class=\"symbols\" y=\"%d\">", y_of(d, line) + 17);
        for (; t < d->shown && d->place[t].line == line; t++)
            draw_characters(d, t);
        text_add(d->out, "</text>\n");
    }
}

static void begin_svg(const struct drawing *d, int rows)
{
    const bptt_compare_report *r = d->r;
    int height = TITLE + rows * (HEAD + LINE * d->lines + GAP) + GAP;
    text_printf(d->out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n"
                "<title>Where strategies cut the gradient</title>\n<style>\n"
                "text { font: 14px system-ui, sans-serif; fill: #222 } .symbols { font: 15px monospace; text-anchor: middle }\n"
                ".back { fill: #fff } .note { fill: #666 } .cut { stroke: #222; stroke-width: 1.5 } .weight { stroke: #8e3fc0; stroke-width: 2 }\n"
                ".p0 { fill: #cfe1fb } .p1 { fill: #fbe0bd } .p2 { fill: #cfeccf } .reach { fill: #777 } "
                ".end { stroke: #777; stroke-width: 2 }\n"
                "@media (prefers-color-scheme: dark) {\n"
                ".back { fill: #16181c } text { fill: #eee } .note { fill: #999 } .cut { stroke: #eee } .reach { fill: #aaa } .end { stroke: #aaa } .weight { stroke: #c08be0 }\n"
                ".p0 { fill: #24426e } .p1 { fill: #6b4617 } .p2 { fill: #235031 }\n"
                "}\n</style>\n<rect class=\"back\" width=\"100%%\" height=\"100%%\"/>\n"
                "<text x=\"%d\" y=\"20\">Where the gradient is cut: %lld of %lld steps</text>\n",
                WIDTH, height, WIDTH, height, LEFT, (long long)d->shown, (long long)r->length);
}

static void draw_row(struct drawing *d, const bptt_compare_strategy *s)
{
    char note[160];
    describe(d->r, s, note, sizeof note);
    text_printf(d->out, "<text x=\"%d\" y=\"%d\">%s<tspan class=\"note\" dx=\"12\">%s</tspan></text>\n", LEFT, d->top + 15, s->name, note);
    draw_pieces(d, s);
    draw_reaches(d, s);
    draw_links(d, s);
    draw_text(d);
    d->top += HEAD + LINE * d->lines + GAP;
}

static void write_svg(const bptt_compare_report *r, struct spot *place, struct text *out)
{
    struct drawing d = {.r = r, .place = place, .top = TITLE, .out = out};
    int rows = 0;
    d.shown = arrange(r, CELLS, place);
    d.lines = d.shown ? place[d.shown - 1].line + 1 : 1;
    for (size_t i = 0; i < r->count; i++)
        rows += r->strategy[i].pieces > 0;
    begin_svg(&d, rows);
    for (size_t i = 0; i < r->count; i++)
        if (r->strategy[i].pieces)
            draw_row(&d, &r->strategy[i]);
    text_add(out, "</svg>\n");
}

int bptt_compare_figure(const bptt_compare_report *report, const char *form, int columns, char **text, bptt_error *error)
{
    struct text out = {0};
    size_t bytes = size_mul((size_t)report->length + 1, sizeof(struct spot));
    *text = NULL;
    if (strcmp(form, "text") && strcmp(form, "svg"))
        return fail(error, BPTT_ERROR_ARGUMENT, "no such form of a figure: '%s'; text or svg", form);
    struct spot *place = malloc(bytes);
    if (!place)
        return fail_memory(error, bytes);
    if (!strcmp(form, "text"))
        write_text(report, columns, &out);
    else
        write_svg(report, place, &out);
    free(place);
    *text = text_take(&out);
    return *text ? BPTT_OK : fail_memory(error, bytes);
}
