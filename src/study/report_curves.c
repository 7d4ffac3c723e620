/* report_curves.c - the pictures that every run has data for: loss, rate and norm. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

int run_colour(const struct run *runs, size_t count, size_t run, size_t curve)
{
    (void)runs;
    return (int)(count > 1 ? run : curve) % CHART_COLOURS;
}

int run_dash(size_t count, size_t curve)
{
    return count > 1 ? (int)(curve % 4) : 0;
}

/* Marks one warning for each kind and stretch: the next of its kind counts when it comes a fiftieth of the run later. */
static void warn(struct chart *chart, const struct run *run, const json_t *line)
{
    const json_t *warning = json_object_get(line, "warning");
    const char *text = json_string_value(json_object_get(warning, "text"));
    double step = (double)line_step(line), apart = (double)run->last_step / 50;
    for (size_t i = 0; i < chart->marks; i++)
        if (fabs(chart->mark[i].x - step) < apart && text && !strncmp(strstr(chart->mark[i].text, ": ") + 2, text, 12))
            return;
    struct mark *grown = realloc(chart->mark, (chart->marks + 1) * sizeof *grown);
    if (!grown) {
        chart->failed = 1;
        return;
    }
    chart->mark = grown;
    grown[chart->marks].x = step;
    snprintf(grown[chart->marks++].text, sizeof grown->text, "step %.0f: %s", step, text ? text : "a warning");
}

void chart_warn(struct chart *chart, const struct run *runs, size_t count, const char *kinds)
{
    enum { MARKS = 24 };
    for (size_t r = 0; chart && r < count; r++)
        for (size_t i = 0; i < runs[r].warnings.count && chart->marks < MARKS; i++) {
            const json_t *warning = json_object_get(runs[r].warnings.line[i], "warning");
            const char *kind = json_string_value(json_object_get(warning, "kind"));
            if (!*kinds || (kind && strstr(kinds, kind)))
                warn(chart, &runs[r], runs[r].warnings.line[i]);
        }
}

/* ---- loss ---- */

static double x_of(const struct run_row *row, double unit)
{
    return unit > 0 ? row->seconds / unit : (double)row->step;
}

static double loss_of(const struct run_row *row)
{
    return row->loss;
}

static double norm_of(const struct run_row *row)
{
    return row->norm > 0 ? log(row->norm) : NAN;
}

/* Means of stretches of a 120th of the run, then of three neighbours: no value far off spreads beyond them. */
static void add_smooth(struct chart *chart, struct curve *curve, const struct run *run, double unit,
                       double (*value)(const struct run_row *), double (*back)(double))
{
    enum { FEW = 40 };                     /* rows that are shown as they are */
    size_t piece = run->rows / 120 + 1, back_to = run->rows < FEW ? 0 : piece, on_to = piece + back_to;
    for (size_t at = 0; at < run->rows; at += piece) {
        size_t from = at >= back_to ? at - back_to : 0, to = at + on_to < run->rows ? at + on_to : run->rows, count = 0;
        double sum = 0;
        for (size_t i = from; i < to; i++)
            if (isfinite(value(&run->row[i]))) {
                sum += value(&run->row[i]);
                count++;
            }
        size_t middle = at + piece / 2 < run->rows ? at + piece / 2 : run->rows - 1;
        double mean = count ? sum / (double)count : NAN;
        curve_point(chart, curve, x_of(&run->row[middle], unit), back ? back(mean) : mean);
    }
}

static const char *prefix(const struct run *run, size_t count)
{
    return count > 1 ? run->name : "";
}

static void add_losses(struct chart *chart, const struct run *runs, size_t count, size_t r, double unit)
{
    const struct run *run = &runs[r];
    const char *name = prefix(run, count), *between = count > 1 ? " " : "";
    struct curve *raw = chart_curve(chart, CURVE_FAINT, run_colour(runs, count, r, 0), 0, "%s%sone update", name, between);
    for (size_t i = 0; i < run->rows; i++)
        curve_point(chart, raw, x_of(&run->row[i], unit), run->row[i].loss);
    struct curve *smooth = chart_curve(chart, CURVE_LINE, run_colour(runs, count, r, 0), 0, "%s%straining", name, between);
    add_smooth(chart, smooth, run, unit, loss_of, NULL);
    if (!run->valids)
        return;
    struct curve *valid =
        chart_curve(chart, CURVE_DOTS, run_colour(runs, count, r, 1), run_dash(count, 1), "%s%svalidation", name, between);
    for (size_t i = 0; i < run->valids; i++)
        curve_point(chart, valid, unit > 0 ? run->valid[i].seconds / unit : (double)run->valid[i].step, run->valid[i].loss);
}

/* A loss that flew away would press all else flat on an even axis. */
static int wants_log(const struct run *runs, size_t count)
{
    double low = INFINITY, high = 0;
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < runs[r].rows; i++)
            if (runs[r].row[i].loss > 0) {
                low = fmin(low, runs[r].row[i].loss);
                high = fmax(high, runs[r].row[i].loss);
            }
    return high > 12 * low;
}

static struct chart *loss_chart(const struct run *runs, size_t count, const char *id, const char *title, double unit,
                                struct charts *charts)
{
    struct chart *chart = charts_add(charts, id, title);
    if (!chart)
        return NULL;
    snprintf(chart->y_name, sizeof chart->y_name, "nats per symbol");
    chart->log_y = wants_log(runs, count);
    chart->bits = 1;
    for (size_t r = 0; r < count; r++)
        add_losses(chart, runs, count, r, unit);
    return chart;
}

static void draw_loss(const struct run *runs, size_t count, struct charts *charts)
{
    struct chart *chart = loss_chart(runs, count, "loss", "Loss", 0, charts);
    if (!chart)
        return;
    chart_warn(chart, runs, count, "");
    snprintf(chart->about, sizeof chart->about,
             "Both curves should fall. Validation that rises while training falls is memorising; a curve that stays flat "
             "from the start is not learning.");
    snprintf(chart->missing, sizeof chart->missing, "No loss has been measured yet: it comes with the first lines of the run.");
}

static double longest(const struct run *runs, size_t count)
{
    double seconds = 0;
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < runs[r].rows; i++)
            seconds = runs[r].row[i].seconds > seconds ? runs[r].row[i].seconds : seconds;
    return seconds;
}

static void draw_time(const struct run *runs, size_t count, struct charts *charts)
{
    double most = longest(runs, count), unit = most > 3 * 3600 ? 3600 : most > 180 ? 60 : 1;
    struct chart *chart = loss_chart(runs, count, "loss-time", "Loss against time", unit, charts);
    if (!chart)
        return;
    snprintf(chart->x_name, sizeof chart->x_name, "%s", unit > 60 ? "hours" : unit > 1 ? "minutes" : "seconds");
    snprintf(chart->about, sizeof chart->about, "The same by the clock, which is what two settings are fairly compared by.");
    snprintf(chart->missing, sizeof chart->missing,
             "These metrics hold no times: runs of this version of bptt train write \"seconds\" with each loss.");
}

/* ---- rate and norm ---- */

static void draw_rate(const struct run *runs, size_t count, struct charts *charts)
{
    struct chart *chart = charts_add(charts, "rate", "Learning rate");
    for (size_t r = 0; chart && r < count; r++) {
        struct curve *curve =
            chart_curve(chart, CURVE_LINE, run_colour(runs, count, r, 0), 0, "%s", count > 1 ? runs[r].name : "rate");
        for (size_t i = 0; i < runs[r].rows; i++)
            curve_point(chart, curve, (double)runs[r].row[i].step, runs[r].row[i].rate);
    }
    if (!chart)
        return;
    snprintf(chart->about, sizeof chart->about, "How far one update goes. --lr sets it, --schedule and --warmup shape it.");
    snprintf(chart->missing, sizeof chart->missing, "No rates in these metrics.");
}

static void draw_norm(const struct run *runs, size_t count, struct charts *charts)
{
    struct chart *chart = charts_add(charts, "norm", "Gradient norm");
    if (!chart)
        return;
    chart->log_y = 1;
    for (size_t r = 0; r < count; r++) {
        const char *name = count > 1 ? runs[r].name : "norm before clipping";
        struct curve *raw = chart_curve(chart, CURVE_FAINT, run_colour(runs, count, r, 0), 0, "%s%sone update",
                                        prefix(&runs[r], count), count > 1 ? " " : "");
        for (size_t i = 0; i < runs[r].rows; i++)
            curve_point(chart, raw, (double)runs[r].row[i].step, runs[r].row[i].norm);
        struct curve *smooth = chart_curve(chart, CURVE_LINE, run_colour(runs, count, r, 0), 0, "%s", name);
        add_smooth(chart, smooth, &runs[r], 0, norm_of, exp);
    }
    double clip = run_setting(&runs[0], "clip");
    if (clip > 0) {
        chart->rule = clip;
        snprintf(chart->rule_name, sizeof chart->rule_name, "clipped above %.4g", clip);
    }
    chart_warn(chart, runs, count, "growth spike nonfinite clipping");
    snprintf(chart->about, sizeof chart->about,
             "Level or slowly falling is well. Peaks far above the rest are explosions: clipping (--clip) shortens them; a "
             "steady climb asks for a lower rate.");
    snprintf(chart->missing, sizeof chart->missing, "No gradient norms in these metrics.");
}

void curves_of_runs(const struct run *runs, size_t count, struct charts *charts)
{
    draw_loss(runs, count, charts);
    draw_time(runs, count, charts);
    draw_norm(runs, count, charts);
    draw_rate(runs, count, charts);
}
