/* draw.c - schedules to look at: as lines, as a picture of characters, and as SVG. */
#include "schedule.h"

#include <stdlib.h>
#include <string.h>

const char *const action_name[ACTION_KINDS] = {"advance", "keep", "restore", "record", "reverse", "cut", "update"};

/* ---- lines ---- */

int action_print(const struct action *a, char *line, size_t size)
{
    const char *name = action_name[a->kind];
    switch (a->kind) {
    case ACTION_ADVANCE: return snprintf(line, size, "%s %ld..%ld", name, a->from, a->to);
    case ACTION_KEEP:
    case ACTION_RESTORE: return snprintf(line, size, "%s %ld (slot %ld)", name, a->from, a->place);
    case ACTION_RECORD: return snprintf(line, size, "%s %ld..%ld (row %ld)", name, a->from, a->to, a->place);
    case ACTION_CUT: return snprintf(line, size, "%s %ld * %.6g", name, a->from, a->scale);
    case ACTION_UPDATE: return snprintf(line, size, "%s (%ld losses)", name, a->losses);
    default: break;
    }
    if (a->losses == a->to)
        return snprintf(line, size, "%s %ld..%ld (row %ld, no losses)", name, a->to, a->from, a->place);
    if (a->losses > a->from)
        return snprintf(line, size, "%s %ld..%ld (row %ld, losses from %ld)", name, a->to, a->from, a->place, a->losses);
    return snprintf(line, size, "%s %ld..%ld (row %ld)", name, a->to, a->from, a->place);
}

static int drawn(const struct text *out)
{
    return out->failed ? BPTT_ERROR_MEMORY : BPTT_OK;
}

int schedule_print(struct schedule *schedule, long most, struct text *out)
{
    int64_t actions = schedule_forecast(schedule).actions, lines = most > 0 && most < actions ? most - 1 : actions;
    struct action action;
    char line[160];
    for (int64_t i = 0; i < lines && schedule_next(schedule, &action); i++) {
        action_print(&action, line, sizeof line);
        text_printf(out, "%s\n", line);
    }
    if (lines < actions)
        text_printf(out, "... and %lld actions more\n", (long long)(actions - lines));
    schedule_restart(schedule);
    return drawn(out);
}

/* ---- what pictures share: the walk through a list, with the states that are kept ---- */

struct kept { long position; double since; };      /* position -1: none */

struct scene {
    struct schedule *schedule;
    struct forecast cost;
    struct kept *kept;                     /* [slots] */
    long slots, restored;                  /* the slot taken up last */
    double time, total;                    /* forward steps so far, a backward one as two; of all */
    struct text *out;
};

static double duration(const struct action *a)
{
    int is_forward = a->kind == ACTION_ADVANCE || a->kind == ACTION_RECORD;
    return (double)(a->to - a->from) * (is_forward ? 1 : a->kind == ACTION_REVERSE ? 2 : 0);
}

static int open_scene(struct scene *scene, struct schedule *schedule, struct text *out)
{
    long slots = schedule->layout.slots + schedule->layout.spilled;
    *scene = (struct scene){.schedule = schedule, .cost = schedule_forecast(schedule), .slots = slots, .out = out};
    scene->total = (double)scene->cost.advanced + (double)scene->cost.recorded + 2 * (double)scene->cost.reversed;
    scene->kept = malloc((size_t)(slots + 1) * sizeof *scene->kept);
    for (long i = 0; scene->kept && i < slots; i++)
        scene->kept[i].position = -1;
    return scene->kept ? BPTT_OK : BPTT_ERROR_MEMORY;
}

static int close_scene(struct scene *scene)
{
    free(scene->kept);
    schedule_restart(scene->schedule);
    return drawn(scene->out);
}

/* The kept state that is of no more use after an action: the stretch that it begins was reversed. */
static struct kept *ends_with(const struct scene *scene, const struct action *a)
{
    struct kept *kept = &scene->kept[scene->restored];
    return a->kind == ACTION_REVERSE && scene->slots && kept->position == a->from ? kept : NULL;
}

static void follow(struct scene *scene, const struct action *a)
{
    struct kept *ended = ends_with(scene, a);
    if (ended)
        ended->position = -1;
    scene->time += duration(a);
    if (a->kind == ACTION_KEEP)
        scene->kept[a->place] = (struct kept){a->from, scene->time};
    if (a->kind == ACTION_RESTORE)
        scene->restored = a->place;
}

/* One line on what it is, one on what it costs; `between` them. */
static void describe(const struct scene *scene, const char *between)
{
    const struct schedule *s = scene->schedule;
    char name[80];
    strategy_text(&s->strategy, name, sizeof name);
    text_printf(scene->out, "%s over %ld steps: %ld on tape, %ld states kept", name, s->steps, s->layout.rows, scene->slots);
    if (s->layout.spilled)
        text_printf(scene->out, ", %ld of them on disk", s->layout.spilled);
    if (s->steps)
        text_printf(scene->out, "%s%.2f forward steps for each, %.2f times the work of full with all on tape", between,
                    ((double)scene->cost.advanced + (double)scene->cost.recorded) / (double)s->steps, scene->cost.slow_down);
}

/* ---- characters: two lines for a run forward and what is reversed after it ---- */

enum { FORWARD, BACKWARD, RUNS_SHOWN = 20, MARGIN = 6 };

struct canvas {
    struct scene scene;
    int width;
    char *line[2];                         /* [width + 1] */
    int is_backward, is_shown, updates;
    int64_t run, runs;
    double began;                          /* time */
};

static int column(const struct canvas *c, long step)
{
    return (int)((double)step / (double)c->scene.schedule->steps * c->width);
}

static char *cell(const struct canvas *c, int line, long position)
{
    int at = column(c, position);
    return &c->line[line][at < c->width ? at : c->width - 1];
}

/* Marks stay on top. */
static void fill(struct canvas *c, int line, long from, long to, char sign)
{
    char *first = cell(c, line, from), *end = c->line[line] + column(c, to);
    for (char *at = first; at < end || at == first; at++)
        *at = strchr("ox*", *at) ? *at : sign;
}

static void show_kept(struct canvas *c, int line)
{
    for (long i = 0; c->is_shown && i < c->scene.slots; i++) {
        long position = c->scene.kept[i].position;
        if (position >= 0 && *cell(c, line, position) == ' ')
            *cell(c, line, position) = '|';
    }
}

static void clear_lines(struct canvas *c)
{
    for (int line = 0; line < 2; line++) {
        memset(c->line[line], ' ', (size_t)c->width);
        c->line[line][c->width] = '\0';
    }
}

static void add_line(struct canvas *c, int line, const char *after)
{
    int percent = (int)(100 * c->began / c->scene.total + 0.5), length = c->width;
    while (!*after && length > 0 && c->line[line][length - 1] == ' ')
        length--;
    if (line == FORWARD)
        text_printf(c->scene.out, "%*d%% %.*s%s\n", MARGIN - 2, percent, length, c->line[line], after);
    else
        text_printf(c->scene.out, "%*s%.*s%s\n", MARGIN, "", length, c->line[line], after);
}

/* Runs that are shown are spread evenly over all. */
static void end_run(struct canvas *c)
{
    show_kept(c, BACKWARD);
    if (c->is_shown) {
        add_line(c, FORWARD, "");
        add_line(c, BACKWARD, c->updates ? " update" : "");
        clear_lines(c);
    }
    int64_t at = c->run++ * RUNS_SHOWN / c->runs;
    c->is_shown = c->runs <= RUNS_SHOWN || c->run * RUNS_SHOWN / c->runs != at;
    c->is_backward = c->updates = 0;
    c->began = c->scene.time;
}

static int is_new_run(const struct canvas *c, const struct action *a)
{
    return c->is_backward && a->kind != ACTION_REVERSE && a->kind != ACTION_UPDATE;
}

static void paint(struct canvas *c, const struct action *a)
{
    switch (a->kind) {
    case ACTION_ADVANCE: fill(c, FORWARD, a->from, a->to, '-'); break;
    case ACTION_RECORD: fill(c, FORWARD, a->from, a->to, '='); break;
    case ACTION_KEEP: *cell(c, FORWARD, a->from) = 'o'; break;
    case ACTION_CUT: *cell(c, FORWARD, a->from) = a->scale > 0 ? '*' : 'x'; break;
    default: break;
    }
    if (a->kind == ACTION_REVERSE && a->from < a->losses)
        fill(c, BACKWARD, a->from, a->losses, '~');
    if (a->kind == ACTION_REVERSE && a->losses < a->to)
        fill(c, BACKWARD, a->losses, a->to, '<');
}

static void paint_next(struct canvas *c, const struct action *a)
{
    if (is_new_run(c, a))
        end_run(c);
    if (a->kind == ACTION_REVERSE && !c->is_backward)
        show_kept(c, FORWARD);
    if (c->is_shown)
        paint(c, a);
    c->is_backward |= a->kind == ACTION_REVERSE;
    c->updates |= a->kind == ACTION_UPDATE;
    follow(&c->scene, a);
}

static int64_t count_runs(struct schedule *schedule)
{
    struct canvas c = {.runs = 1};
    struct action a;
    while (schedule_next(schedule, &a)) {
        if (is_new_run(&c, &a)) {
            c.runs++;
            c.is_backward = 0;
        }
        c.is_backward |= a.kind == ACTION_REVERSE;
    }
    schedule_restart(schedule);
    return c.runs;
}

/* As wide as asked, or less, so that every step is as wide as every other. */
static int plot_width(const struct schedule *schedule, int columns)
{
    int width = columns - MARGIN - (schedule->updates ? 7 : 0);
    width = width < 10 ? 10 : width;
    return schedule->steps < width ? width / (int)schedule->steps * (int)schedule->steps : width;
}

static void draw_runs(struct canvas *c)
{
    struct schedule *schedule = c->scene.schedule;
    struct action a;
    clear_lines(c);
    c->runs = count_runs(schedule);
    c->is_shown = 1;
    describe(&c->scene, "\n");
    text_printf(c->scene.out, "\n\n%*s0%*ld\n", MARGIN, "", c->width - 1, schedule->steps);
    while (schedule_next(schedule, &a))
        paint_next(c, &a);
    end_run(c);
    if (c->runs > RUNS_SHOWN)
        text_printf(c->scene.out, "\n%d of %lld runs are shown, spread evenly.", RUNS_SHOWN, (long long)c->runs);
    text_add(c->scene.out, "\nSteps to the right, time downwards: - advance  = record  o keep  | kept\n"
                           "< reverse  ~ reverse without losses  x link cut  * link weighted\n");
}

int schedule_draw(struct schedule *schedule, int columns, struct text *out)
{
    struct canvas c = {0};
    int status = open_scene(&c.scene, schedule, out);
    if (status || !schedule->steps) {
        if (status)
            return status;
        describe(&c.scene, "");
        text_add(out, "\n");
        return close_scene(&c.scene);
    }
    c.width = plot_width(schedule, columns);
    c.line[0] = malloc((size_t)c.width + 1);
    c.line[1] = malloc((size_t)c.width + 1);
    if (c.line[0] && c.line[1])
        draw_runs(&c);
    else
        status = BPTT_ERROR_MEMORY;
    free(c.line[0]);
    free(c.line[1]);
    int closed = close_scene(&c.scene);
    return status ? status : closed;
}

/* ---- SVG: an action is a line from its first step to its last, downwards as time goes ---- */

enum { WIDTH = 960, HEIGHT = 640, LEFT = 80, TOP = 84, PLOT_WIDTH = 832, PLOT_HEIGHT = 480, TICKS = 4, APART = 8 };

/* What is drawn in one style. Actions too short to be seen are gathered to one mark for each pixel downwards. */
enum style { STYLE_ADVANCE, STYLE_RECORD, STYLE_REVERSE, STYLE_PASS, STYLES };
static const char *const style_name[STYLES] = {"advance", "record", "reverse", "pass"};

struct gathered { int row, is_open; double left, right; };

struct plot {
    struct scene scene;
    struct gathered gathered[STYLES];
    double kept_until[PLOT_WIDTH / APART + 1]; /* down to where the line of a kept state is drawn */
    double cut_until[PLOT_WIDTH + 1];
};

static double x_of(const struct plot *p, double step)
{
    return LEFT + PLOT_WIDTH * step / (double)p->scene.schedule->steps;
}

static double y_of(const struct plot *p, double time)
{
    return TOP + PLOT_HEIGHT * time / p->scene.total;
}

static void flush(struct plot *p, int style)
{
    struct gathered *g = &p->gathered[style];
    if (g->is_open)
        text_printf(p->scene.out, "<path class=\"%s\" d=\"M%.1f %dH%.1f\"/>\n", style_name[style], g->left, g->row, g->right);
    g->is_open = 0;
}

static void gather(struct plot *p, int style, double from, double to, double y)
{
    struct gathered *g = &p->gathered[style];
    double left = from < to ? from : to, right = (from < to ? to : from) + 0.5;
    if (g->is_open && g->row != (int)y)
        flush(p, style);
    if (!g->is_open)
        *g = (struct gathered){(int)y, 1, left, right};
    g->left = left < g->left ? left : g->left;
    g->right = right > g->right ? right : g->right;
}

static void draw_line(struct plot *p, enum style style, long from, long to, double begin, double end)
{
    double x = x_of(p, (double)from), y = y_of(p, begin), x_end = x_of(p, (double)to), y_end = y_of(p, end);
    if (from == to)
        return;
    if (y_end - y < 1)
        gather(p, style, x, x_end, y);
    else
        text_printf(p->scene.out, "<path class=\"%s\" d=\"M%.1f %.1fL%.1f %.1f\"/>\n", style_name[style], x, y, x_end, y_end);
}

/* Nothing close to a line that is there already: of a million kept states some are shown. */
static void draw_kept(struct plot *p, const struct kept *kept, double until)
{
    double x = x_of(p, (double)kept->position), y = y_of(p, kept->since), end = y_of(p, until);
    double *covered = &p->kept_until[(int)(x - LEFT) / APART];
    if (end - y < 1 || end - 1 < *covered)
        return;
    y = y < *covered ? *covered : y;
    *covered = end;
    text_printf(p->scene.out, "<path class=\"kept\" d=\"M%.1f %.1fV%.1f\"/>\n", x, y, end);
}

/* Random links lie before all time. */
static void draw_cut(struct plot *p, const struct action *a)
{
    double x = x_of(p, (double)a->from), y = y_of(p, p->scene.time);
    double *covered = &p->cut_until[(int)(x - LEFT)];
    if (y < *covered)
        return;
    *covered = y + 1;
    text_printf(p->scene.out, "<path class=\"%s\" d=\"M%.1f %.1fv-8\"/>\n", a->scale > 0 ? "weight" : "cut", x, y + 4);
}

static void plot_action(struct plot *p, const struct action *a)
{
    double time = p->scene.time, end = time + duration(a), middle = time + 2 * (double)(a->to - a->losses);
    const struct kept *ended = ends_with(&p->scene, a);
    switch (a->kind) {
    case ACTION_ADVANCE: draw_line(p, STYLE_ADVANCE, a->from, a->to, time, end); break;
    case ACTION_RECORD: draw_line(p, STYLE_RECORD, a->from, a->to, time, end); break;
    case ACTION_CUT: draw_cut(p, a); break;
    case ACTION_REVERSE:
        draw_line(p, STYLE_REVERSE, a->to, a->losses, time, middle);
        draw_line(p, STYLE_PASS, a->losses, a->from, middle, end);
        break;
    default: break;
    }
    if (ended)
        draw_kept(p, ended, end);
    follow(&p->scene, a);
}

static void begin_svg(const struct plot *p)
{
    text_printf(p->scene.out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" height=\"%d\" role=\"img\">\n"
                "<title>The schedule of a gradient through time</title>\n"
                "<style>\n"
                "svg { background: #fff; font: 14px system-ui, sans-serif }\n"
                "text { fill: #222 } path { fill: none; stroke-width: 2 } .axis { stroke: #999; stroke-width: 1 }\n"
                ".advance { stroke: #8a8f98 } .record { stroke: #2f6fd0 } .reverse { stroke: #c9402c }\n"
                ".pass { stroke: #e09a3e } .kept { stroke: #3b9a5f; stroke-width: 1; stroke-dasharray: 2 2 }\n"
                ".cut { stroke: #222 } .weight { stroke: #9b59c4 }\n"
                "@media (prefers-color-scheme: dark) {\n"
                "svg { background: #16181c } text { fill: #ddd } .axis { stroke: #666 } .record { stroke: #6ea3f5 }\n"
                ".reverse { stroke: #f0705c } .kept { stroke: #5fc787 } .cut { stroke: #eee } .weight { stroke: #c08be0 }\n"
                "}\n</style>\n<text x=\"%d\" y=\"24\">", WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT);
    describe(&p->scene, "; ");
    text_add(p->scene.out, "</text>\n");
}

static void draw_ticks(const struct plot *p)
{
    double units = p->scene.total / (double)p->scene.schedule->steps, apart = 1;
    while (units / apart > 6)
        apart *= 2;
    for (double unit = 0; unit <= units; unit += apart)
        text_printf(p->scene.out, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%.10g</text>\n", LEFT - 8,
                    TOP + PLOT_HEIGHT * unit / units + 5, unit);
    for (int i = 0; i <= TICKS; i++) {
        long step = p->scene.schedule->steps / TICKS * i + p->scene.schedule->steps % TICKS * i / TICKS;
        text_printf(p->scene.out, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%ld</text>\n", x_of(p, (double)step), TOP - 8, step);
    }
}

static void draw_axes(const struct plot *p)
{
    struct text *out = p->scene.out;
    int middle = LEFT + PLOT_WIDTH / 2;
    text_printf(out, "<path class=\"axis\" d=\"M%d %dV%dM%d %dH%d\"/>\n", LEFT, TOP, TOP + PLOT_HEIGHT, LEFT, TOP, LEFT + PLOT_WIDTH);
    text_printf(out, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">step of the window</text>\n", middle, TOP - 28);
    text_printf(out, "<text transform=\"translate(24 %d) rotate(-90)\" text-anchor=\"middle\">time, in forward passes over the window"
                     "</text>\n", TOP + PLOT_HEIGHT / 2);
    draw_ticks(p);
}

static void draw_legend(struct text *out)
{
    static const char *const entry[][2] = {{"advance", "advance"}, {"record", "record"}, {"reverse", "reverse"},
                                           {"pass", "reverse, no losses"}, {"kept", "state kept"}, {"cut", "link cut"},
                                           {"weight", "link weighted"}};
    static const int at[] = {0, 105, 200, 300, 470, 590, 690};
    for (int i = 0; i < 7; i++) {
        int x = LEFT + at[i], y = TOP + PLOT_HEIGHT + 40;
        text_printf(out, "<path class=\"%s\" d=\"M%d %dh24\"/><text x=\"%d\" y=\"%d\">%s</text>\n", entry[i][0], x, y, x + 30, y + 5,
                    entry[i][1]);
    }
}

static void draw_actions(struct plot *p)
{
    struct action a;
    while (schedule_next(p->scene.schedule, &a))
        plot_action(p, &a);
    for (int style = 0; style < STYLES; style++)
        flush(p, style);
}

int schedule_svg(struct schedule *schedule, struct text *out)
{
    struct plot *p = calloc(1, sizeof *p);
    int status = p ? open_scene(&p->scene, schedule, out) : BPTT_ERROR_MEMORY;
    if (!status) {
        begin_svg(p);
        if (schedule->steps) {
            draw_axes(p);
            draw_actions(p);
            draw_legend(out);
        }
        text_add(out, "</svg>\n");
        status = close_scene(&p->scene);
    }
    free(p);
    return status;
}
