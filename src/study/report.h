/* report.h - a training run as pictures and as one page. A run is read from its metrics (report_run.c); what is wrong with
 * it becomes findings in words (report_verdict.c); a picture is described as data (struct chart: curves, marks, a field of
 * colours) by report_curves.c and report_watch.c, and drawn as SVG by report_chart.c and report_heat.c, the same for the
 * page (report_page.c) and for a file of its own. report.c holds the interface. */
#ifndef BPTT_STUDY_REPORT_H
#define BPTT_STUDY_REPORT_H

#include <jansson.h>

#include "../base/error.h"
#include "../base/text.h"

/* ---- what a run left ---- */

struct run_row { int64_t step; double seconds, loss, norm, rate; };     /* NaN where nothing stands */
struct run_valid { int64_t step; double seconds, loss; };
struct run_lines { json_t **line; size_t count; };                      /* whole lines, each with "step" */

struct run {
    char *path, *name;                     /* of the metrics; for people */
    json_t *about;                         /* the last "run" object, or NULL */
    struct run_row *row;
    struct run_valid *valid;
    size_t rows, valids;
    struct run_lines watch, warnings, samples;
    int64_t last_step;                     /* of any line */
    int64_t lines, broken, first_broken;   /* lines that are no JSON objects; the first one's number */
    int half_written;                      /* the last line is, and is not among the broken */
    int64_t starts, again, unfinished;     /* "run" lines; rows replaced by later ones; values that were not finite */
    int version;                           /* of the file, 0 where it does not say */
    char end[16];                          /* "done", "interrupted", "diverged" or "" */
};
int run_read(const char *path, struct run *run, bptt_error *error);
void run_clear(struct run *run);
double run_setting(const struct run *run, const char *key);              /* a number of `about`; NaN if absent */
double json_value(const json_t *number);                                 /* NaN if it is none */
int64_t line_step(const json_t *line);

/* The metrics that a path stands for: itself, those beside a model file, or all of a folder. Owned: names_clear. */
struct names { char **name; size_t count; };
int report_find(const char *path, struct names *names, bptt_error *error);
void names_clear(struct names *names);

/* ---- what to say of it ---- */

enum { FINDING_NOTE, FINDING_LOOK, FINDING_BAD };
struct finding { int level; int64_t step; char kind[16]; char text[320], advice[320]; };
struct findings { struct finding *item; size_t count; int level; int failed; };   /* level: the highest */
void findings_of(const struct run *run, struct findings *findings);
void findings_clear(struct findings *findings);
const char *findings_verdict(const struct findings *findings);

/* ---- pictures as data ---- */

enum { CURVE_LINE, CURVE_FAINT, CURVE_DOTS };
struct curve { char name[64]; int style, colour, dash; double *x, *y; size_t count, room; };
struct mark { double x; char text[320]; };                               /* a warning at a step */

struct field {                             /* colours over columns and rows: log10 of shares, NaN where unknown */
    size_t columns, rows;
    double *value;                         /* [columns][rows] */
    double *column, *row;                  /* step; lag */
    double *line;                          /* [columns] a lag to draw, NaN: none */
};

struct chart {
    char id[48], title[80], about[320];    /* about: one sentence on how to read it */
    char x_name[32], y_name[32];
    int log_y, percent, bits;              /* bits: a second axis at the right, nats / ln 2 */
    double rule;                           /* a level line, NaN: none */
    char rule_name[48];
    struct curve *curve;
    size_t curves;
    struct mark *mark;
    size_t marks;
    struct field *field;                   /* in place of curves */
    char *svg;                             /* in place of both: a picture from elsewhere */
    char missing[320];                     /* why there is nothing to draw, and how to get it */
    int failed;                            /* out of memory */
};
struct charts { struct chart *chart; size_t count; int failed; };

struct chart *charts_add(struct charts *charts, const char *id, const char *title);   /* NULL when out of memory */
void charts_clear(struct charts *charts);
struct curve *chart_curve(struct chart *chart, int style, int colour, int dash, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
void curve_point(struct chart *chart, struct curve *curve, double x, double y);
int chart_is_empty(const struct chart *chart);

void curves_of_runs(const struct run *runs, size_t count, struct charts *charts);     /* report_curves.c */
void watch_of_runs(const struct run *runs, size_t count, struct charts *charts);      /* report_watch.c */
void schedule_of_run(const struct run *run, struct charts *charts);                   /* report_schedule.c */
int run_colour(const struct run *runs, size_t count, size_t run, size_t curve);
int run_dash(size_t count, size_t curve);
void chart_warn(struct chart *chart, const struct run *runs, size_t count, const char *kinds);

/* ---- pictures as SVG ---- */

struct axis_range { double low, high; int log; };
double axis_share(const struct axis_range *range, double value);          /* 0 at low, 1 at high */
int axis_ticks(const struct axis_range *range, int most, double *tick);   /* at most AXIS_TICKS of them */
enum { AXIS_TICKS = 12 };
struct said_number { char text[24]; };
struct said_number say_number(double value);                              /* 1500000 as 1.5M */

enum {
    CHART_WIDTH = 440, CHART_HEIGHT = 280, CHART_LEFT = 52, CHART_RIGHT = 44, CHART_TOP = 40, CHART_FOOT = 40,
    CHART_COLOURS = 8
};
/* alone: with its style and title, as a file of its own; points: at most so many of a curve. */
void chart_svg(const struct chart *chart, int alone, size_t points, struct text *out);
void chart_open(const struct chart *chart, int alone, struct text *out);
void field_svg(const struct chart *chart, int alone, struct text *out);

extern const char report_page_style[], report_script[];
void chart_style(int alone, struct text *out);      /* CSS of pictures: report_style.c */

/* ---- the page ---- */

void page_write(const struct run *runs, size_t count, const struct charts *charts, size_t points, struct text *out);

#endif
