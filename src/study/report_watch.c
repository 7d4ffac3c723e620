/* report_watch.c - the pictures of what --watch measures: the gradient over training step and lag, the step Jacobian, gates,
 * the horizon, updates. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

static const char without[] = "Train with --watch 100 to measure it every 100 updates.";

static const json_t *watch_of(const struct run *run, size_t i)
{
    return json_object_get(run->watch.line[i], "watch");
}

static const json_t *layer_of(const struct run *run, size_t i, size_t layer)
{
    return json_array_get(json_object_get(watch_of(run, i), "layers"), layer);
}

static size_t layers_of(const struct run *run)
{
    size_t most = 0;
    for (size_t i = 0; i < run->watch.count; i++) {
        size_t layers = json_array_size(json_object_get(watch_of(run, i), "layers"));
        most = layers > most ? layers : most;
    }
    return most;
}

static struct chart *add_chart(struct charts *charts, const char *id, const char *title, const char *about)
{
    struct chart *chart = charts_add(charts, id, title);
    if (!chart)
        return NULL;
    snprintf(chart->about, sizeof chart->about, "%s", about);
    snprintf(chart->missing, sizeof chart->missing, "%s", without);
    return chart;
}

/* "run, layer 1 f": what tells this curve from the others. */
struct label { char text[64]; };
static struct label label_of(const struct run *runs, size_t count, size_t r, size_t layers, size_t layer, const char *what)
{
    struct label label;
    char place[32] = "";
    if (layers > 1)
        snprintf(place, sizeof place, "layer %zu%s", layer, *what ? " " : "");
    snprintf(label.text, sizeof label.text, "%.24s%s%s%.26s", count > 1 ? runs[r].name : "",
             count > 1 && (*place || *what) ? ": " : "", place, what);
    return label;
}

/* ---- one number of each layer ---- */

/* Of one run a colour for each layer, else for each kind; of several, for each run. */
static void add_number(struct chart *chart, const struct run *runs, size_t count, size_t r, size_t layer, size_t kind,
                       const char *key, const char *what)
{
    const struct run *run = &runs[r];
    size_t layers = layers_of(run);
    struct label label = label_of(runs, count, r, layers, layer, what);
    struct curve *curve = chart_curve(chart, CURVE_DOTS, (int)(count > 1 ? r : layers > 1 ? layer : kind),
                                      (int)(count > 1 ? layer : layers > 1 ? kind : 0), "%s", label.text);
    for (size_t i = 0; i < run->watch.count; i++)
        curve_point(chart, curve, (double)line_step(run->watch.line[i]),
                    json_value(json_object_get(layer_of(run, i, layer), key)));
}

static void drop_empty(struct chart *chart)
{
    size_t kept = 0;
    for (size_t i = 0; i < chart->curves; i++) {
        struct curve *curve = &chart->curve[i];
        int is_drawn = 0;
        for (size_t k = 0; k < curve->count; k++)
            is_drawn |= isfinite(curve->y[k]);
        if (is_drawn)
            chart->curve[kept++] = *curve;
        else {
            free(curve->x);
            free(curve->y);
        }
    }
    chart->curves = kept;
}

static void draw_jacobian(const struct run *runs, size_t count, struct charts *charts)
{
    static const char *const key[] = {"radius", "sigma", "smallest"};
    static const char *const name[] = {"spectral radius", "largest singular value", "smallest singular value"};
    struct chart *chart = add_chart(charts, "jacobian", "The step Jacobian against 1",
                                    "What one step back does to the gradient. A spectral radius near 1 keeps it; well above, "
                                    "gradients explode; well below, they vanish.");
    if (!chart)
        return;
    chart->log_y = 1;
    chart->rule = 1;
    snprintf(chart->rule_name, sizeof chart->rule_name, "1: kept as it is");
    for (size_t r = 0; r < count; r++)
        for (size_t layer = 0; layer < layers_of(&runs[r]); layer++)
            for (size_t k = 0; k < (count > 1 ? 1 : 3); k++)       /* of several runs the one that tells most */
                add_number(chart, runs, count, r, layer, k, key[k], name[k]);
    drop_empty(chart);
    chart_warn(chart, runs, count, "radius growth nonfinite");
}

static void draw_horizon(const struct run *runs, size_t count, struct charts *charts)
{
    struct chart *chart = add_chart(charts, "horizon", "Horizon against truncation",
                                    "How many steps back 1 % of the gradient still arrives, and where it is cut. Far below "
                                    "the cut: wasted work or a vanishing gradient; at the cut: lost signal.");
    if (!chart)
        return;
    snprintf(chart->y_name, sizeof chart->y_name, "steps back");
    chart->log_y = 1;
    for (size_t r = 0; r < count; r++) {
        size_t layers = layers_of(&runs[r]);
        for (size_t layer = 0; layer < layers; layer++)
            add_number(chart, runs, count, r, layer, 0, "horizon", "horizon");
        if (!layers)
            continue;
        struct label label = label_of(runs, count, r, 0, 0, "truncation");
        struct curve *cut = chart_curve(chart, CURVE_LINE, count > 1 ? (int)r : CHART_COLOURS - 1, 2, "%s", label.text);
        for (size_t i = 0; i < runs[r].watch.count; i++)
            curve_point(chart, cut, (double)line_step(runs[r].watch.line[i]),
                        json_value(json_object_get(watch_of(&runs[r], i), "truncation")));
    }
    drop_empty(chart);
    chart_warn(chart, runs, count, "short long");
}

/* ---- one number of each gate ---- */

/* Gates are known by the last line that has the layer: a cell's gates do not change. */
static void add_gates(struct chart *chart, const struct run *runs, size_t count, size_t r, const char *group, double factor)
{
    const struct run *run = &runs[r];
    size_t layers = layers_of(run);
    for (size_t layer = 0; layer < layers; layer++) {
        json_t *gates = json_object_get(layer_of(run, run->watch.count - 1, layer), group), *value;
        const char *gate;
        size_t order = 0;
        json_object_foreach(gates, gate, value) {
            struct label label = label_of(runs, count, r, layers, layer, gate);
            struct curve *curve = chart_curve(chart, CURVE_LINE, run_colour(runs, count, r, order),
                                              (int)(count > 1 ? order : layer), "%s", label.text);
            order++;
            for (size_t i = 0; i < run->watch.count; i++)
                curve_point(chart, curve, (double)line_step(run->watch.line[i]),
                            factor * json_value(json_object_get(json_object_get(layer_of(run, i, layer), group), gate)));
        }
    }
}

static void draw_gates(const struct run *runs, size_t count, struct charts *charts)
{
    struct chart *saturation = add_chart(charts, "saturation", "Saturated gates and activations",
                                         "Share that stands at an end of its range, where no gradient passes. Some is normal "
                                         "for gates; most of them, and growing, is not.");
    if (saturation) {
        saturation->percent = 1;
        for (size_t r = 0; r < count; r++)
            add_gates(saturation, runs, count, r, "saturated", 100);
        drop_empty(saturation);
        chart_warn(saturation, runs, count, "saturation");
    }
    struct chart *memory = add_chart(charts, "memory", "Memory of gates",
                                     "Mean of 1/(1-f): over how many steps a gate holds what it keeps. It should come near "
                                     "the distances that matter in the data.");
    if (!memory)
        return;
    memory->log_y = 1;
    snprintf(memory->y_name, sizeof memory->y_name, "steps");
    snprintf(memory->missing, sizeof memory->missing, "It needs a cell with gates that keep (lstm, gru) and --watch 100.");
    for (size_t r = 0; r < count; r++)
        add_gates(memory, runs, count, r, "memory", 1);
    drop_empty(memory);
}

/* ---- updates ---- */

static void draw_clipped(const struct run *runs, size_t count, struct charts *charts)
{
    struct chart *chart = add_chart(charts, "clipped", "Clipped updates",
                                    "Share of updates that clipping shortened. Now and then is its purpose; above one half "
                                    "it is a lower learning rate in disguise.");
    if (!chart)
        return;
    chart->percent = 1;
    for (size_t r = 0; r < count; r++) {
        struct curve *curve =
            chart_curve(chart, CURVE_LINE, run_colour(runs, count, r, 0), 0, "%s", count > 1 ? runs[r].name : "clipped");
        for (size_t i = 0; i < runs[r].watch.count; i++)
            curve_point(chart, curve, (double)line_step(runs[r].watch.line[i]),
                        100 * json_value(json_object_get(watch_of(&runs[r], i), "clipped")));
    }
    drop_empty(chart);
    chart_warn(chart, runs, count, "clipping");
}

static const json_t *parameters_of(const struct run *run, size_t i)
{
    return json_object_get(watch_of(run, i), "parameters");
}

/* "layers.0.U_f" stands in "layers.0", "head.bias" in "head". */
static size_t group_length(const char *name)
{
    return (size_t)(strrchr(name, '.') ? strrchr(name, '.') - name : (long)strlen(name));
}

static int same_group(const char *x, const char *y)
{
    size_t length = group_length(x);
    return length == group_length(y) && !strncmp(x, y, length);
}

/* Norms of parts add up as squares; of ratios the largest tells most. */
static double group_value(const json_t *parameters, const char *member, const char *key)
{
    double squares = NAN, most = NAN;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)parameters, name, value) {
        double number = json_value(json_object_get(value, key));
        if (!same_group(name, member) || isnan(number))
            continue;
        squares = (isnan(squares) ? 0 : squares) + number * number;
        most = fmax(most, number);
    }
    return strcmp(key, "norm") ? most : sqrt(squares);
}

static int is_first_of_group(json_t *parameters, const char *member)
{
    const char *name;
    json_t *value;
    json_object_foreach(parameters, name, value)
        if (same_group(name, member))
            return !strcmp(name, member);
    return 1;
}

/* Each parameter, or where they are many all of a layer as one. */
static void add_parameters(struct chart *chart, const struct run *runs, size_t count, size_t r, const char *key)
{
    enum { MOST = 8 };
    const struct run *run = &runs[r];
    json_t *parameters = (json_t *)(run->watch.count ? parameters_of(run, run->watch.count - 1) : NULL), *value;
    const char *name;
    size_t order = 0, most = count > 1 ? MOST / 2 : MOST;
    int by_group = json_object_size(parameters) > most;
    json_object_foreach(parameters, name, value) {
        if (order == MOST || (by_group && !is_first_of_group(parameters, name)))
            continue;
        char short_name[64];
        const char *rest = strncmp(name, "layers.", 7) ? name : name + 7;
        snprintf(short_name, sizeof short_name, "%s%.*s", by_group && rest != name ? "layer " : "",
                 (int)(by_group ? group_length(rest) : strlen(rest)), rest);
        struct label label = label_of(runs, count, r, 0, 0, short_name);
        struct curve *curve =
            chart_curve(chart, CURVE_LINE, run_colour(runs, count, r, order), run_dash(count, order), "%s", label.text);
        order++;
        for (size_t i = 0; i < run->watch.count; i++) {
            const json_t *then = parameters_of(run, i);
            double own = json_value(json_object_get(json_object_get(then, name), key));
            curve_point(chart, curve, (double)line_step(run->watch.line[i]), by_group ? group_value(then, name, key) : own);
        }
    }
}

static void draw_parameters(const struct run *runs, size_t count, struct charts *charts)
{
    struct chart *ratio = add_chart(charts, "ratio", "Update-to-weight ratio",
                                    "How far one update moves a parameter, as a share of its size. About 0.001 is usual; "
                                    "above 0.01 the rate is high, below 0.00001 hardly anything moves. Of a layer: its "
                                    "largest.");
    struct chart *norms;
    if (ratio) {
        ratio->log_y = 1;
        ratio->rule = 1e-3;
        snprintf(ratio->rule_name, sizeof ratio->rule_name, "usual");
    }
    for (size_t r = 0; ratio && r < count; r++)
        add_parameters(ratio, runs, count, r, "ratio");
    if (ratio)
        drop_empty(ratio);
    norms = add_chart(charts, "parameters", "Gradient norm by parameter",
                      "Which weights the gradient arrives at. One that lies far below the others hardly learns.");
    if (!norms)
        return;
    norms->log_y = 1;
    for (size_t r = 0; r < count; r++)
        add_parameters(norms, runs, count, r, "norm");
    drop_empty(norms);
}

/* ---- the gradient over training step and lag ---- */

enum { COLUMNS = 90, ROWS = 40 };

/* The line with the most lags says which rows there are. */
static const json_t *fullest(const struct run *run, size_t layer)
{
    const json_t *best = NULL;
    for (size_t i = 0; i < run->watch.count; i++) {
        const json_t *one = layer_of(run, i, layer);
        if (json_array_size(json_object_get(one, "lag")) > json_array_size(json_object_get(best, "lag")))
            best = one;
    }
    return best;
}

static double lag_at(const json_t *layer, size_t i)
{
    double at = json_value(json_array_get(json_object_get(layer, "at"), i));
    return isnan(at) ? (double)i : at;
}

/* log10 of the norm at a lag as a share of the first; what has become 0 is far below all colours. */
static double share_at(const json_t *layer, double lag)
{
    const json_t *norms = json_object_get(layer, "lag");
    double first = json_value(json_array_get(norms, 0));
    for (size_t i = 0; i < json_array_size(norms); i++)
        if (lag_at(layer, i) == lag) {
            double share = json_value(json_array_get(norms, i)) / first;
            return share > 0 ? fmin(log10(share), 9.9) : share == 0 ? -9.9 : NAN;
        }
    return NAN;
}

static struct field *new_field(size_t columns, size_t rows)
{
    struct field *field = calloc(1, sizeof *field);
    if (!field)
        return NULL;
    *field = (struct field){.columns = columns,
                            .rows = rows,
                            .value = calloc(columns * rows, sizeof(double)),
                            .column = calloc(columns, sizeof(double)),
                            .row = calloc(rows, sizeof(double)),
                            .line = calloc(columns, sizeof(double))};
    return field;
}

static void fill(struct field *f, const struct run *run, size_t layer, const json_t *rows, size_t all)
{
    for (size_t r = 0; r < f->rows; r++)
        f->row[r] = lag_at(rows, f->rows > 1 ? r * (all - 1) / (f->rows - 1) : 0);
    for (size_t c = 0; c < f->columns; c++) {
        size_t i = f->columns > 1 ? c * (run->watch.count - 1) / (f->columns - 1) : 0;
        const json_t *one = layer_of(run, i, layer);
        double horizon = json_value(json_object_get(one, "horizon"));
        f->column[c] = (double)line_step(run->watch.line[i]);
        f->line[c] = horizon <= f->row[f->rows - 1] ? horizon : NAN;
        for (size_t r = 0; r < f->rows; r++)
            f->value[c * f->rows + r] = share_at(one, f->row[r]);
    }
}

static void draw_lags(const struct run *run, size_t layer, struct chart *chart)
{
    const json_t *rows = fullest(run, layer);
    size_t all = json_array_size(json_object_get(rows, "lag"));
    if (!all)
        return;
    struct field *field = new_field(run->watch.count < COLUMNS ? run->watch.count : COLUMNS, all < ROWS ? all : ROWS);
    chart->field = field;
    if (field && field->value && field->column && field->row && field->line)
        fill(field, run, layer, rows, all);
    else
        chart->failed = 1;
}

/* A field for each layer of each run, as many as can be looked at. */
static void draw_fields(const struct run *runs, size_t count, struct charts *charts)
{
    enum { FIELDS = 6 };
    char id[48], title[96];
    size_t drawn = 0;
    for (size_t r = 0; r < count; r++)
        for (size_t layer = 0; layer < layers_of(&runs[r]) && drawn < FIELDS; layer++, drawn++) {
            struct label label = label_of(runs, count, r, layers_of(&runs[r]), layer, "");
            snprintf(id, sizeof id, drawn ? "lags-%zu" : "lags", drawn + 1);
            snprintf(title, sizeof title, "Gradient by lag%s%s", *label.text ? ": " : "", label.text);
            struct chart *chart = add_chart(charts, id, title,
                                            "How much of a loss's gradient arrives so many steps earlier. Blue that reaches "
                                            "high is a long memory; a thin foot is a vanishing gradient, orange an exploding "
                                            "one. The line is at 1 per cent.");
            if (!chart)
                return;
            snprintf(chart->y_name, sizeof chart->y_name, "lag (steps back)");
            draw_lags(&runs[r], layer, chart);
        }
    if (!drawn)
        add_chart(charts, "lags", "Gradient by training step and lag", "");
}

void watch_of_runs(const struct run *runs, size_t count, struct charts *charts)
{
    draw_fields(runs, count, charts);
    draw_jacobian(runs, count, charts);
    draw_horizon(runs, count, charts);
    draw_gates(runs, count, charts);
    draw_clipped(runs, count, charts);
    draw_parameters(runs, count, charts);
}
