/* report.c - the interface: runs are read once, and drawn as a page or picture by picture. */
#include <stdlib.h>
#include <string.h>

#include "../file/atomic.h"
#include "report.h"

struct bptt_report { struct run *run; size_t count; struct charts charts; };

enum { POINTS = 400, FEWEST_POINTS = 24, MOST_BYTES = 1000000, MOST_RUNS = 32 };

static int find_all(const char *const *paths, size_t count, struct names *names, bptt_error *error)
{
    int status = BPTT_OK;
    for (size_t i = 0; i < count && !status; i++)
        status = report_find(paths[i], names, error);
    if (!status && names->count > MOST_RUNS)
        return fail(error, BPTT_ERROR_ARGUMENT, "%zu runs are too many for one page; name at most %d", names->count, MOST_RUNS);
    return status;
}

static int read_all(struct bptt_report *report, const struct names *names, bptt_error *error)
{
    int status = BPTT_OK;
    report->run = calloc(names->count + 1, sizeof *report->run);
    if (!report->run)
        return fail_memory(error, names->count * sizeof *report->run);
    for (size_t i = 0; i < names->count && !status; i++)
        status = run_read(names->name[i], &report->run[report->count++], error);
    return status;
}

static int draw_all(struct bptt_report *report, bptt_error *error)
{
    struct charts *charts = &report->charts;
    curves_of_runs(report->run, report->count, charts);
    watch_of_runs(report->run, report->count, charts);
    schedule_of_run(&report->run[0], charts);
    int failed = charts->failed;
    for (size_t i = 0; i < charts->count; i++)
        failed |= charts->chart[i].failed;
    return failed ? fail_memory(error, charts->count * sizeof *charts->chart) : BPTT_OK;
}

int bptt_report_read(const char *const *runs, size_t count, bptt_report **report, bptt_error *error)
{
    struct names names = {0};
    bptt_report *made = calloc(1, sizeof *made);
    *report = NULL;
    int status = made ? find_all(runs, count, &names, error) : fail_memory(error, sizeof *made);
    if (!status)
        status = read_all(made, &names, error);
    if (!status)
        status = draw_all(made, error);
    names_clear(&names);
    if (status)
        bptt_report_free(made);
    else
        *report = made;
    return status;
}

void bptt_report_free(bptt_report *report)
{
    if (!report)
        return;
    for (size_t i = 0; i < report->count; i++)
        run_clear(&report->run[i]);
    charts_clear(&report->charts);
    free(report->run);
    free(report);
}

/* ---- one by one ---- */

size_t bptt_report_picture_count(const bptt_report *report)
{
    return report->charts.count;
}

const char *bptt_report_picture_name(const bptt_report *report, size_t index)
{
    return report->charts.chart[index].id;
}

const char *bptt_report_picture_missing(const bptt_report *report, size_t index)
{
    const struct chart *chart = &report->charts.chart[index];
    return chart_is_empty(chart) ? chart->missing : NULL;
}

int bptt_report_picture(const bptt_report *report, size_t index, char **svg, bptt_error *error)
{
    struct text out = {0};
    chart_svg(&report->charts.chart[index], 1, POINTS, &out);
    *svg = text_take(&out);
    return *svg ? BPTT_OK : fail_memory(error, 1);
}

int bptt_report_verdict(const bptt_report *report, size_t run, bptt_report_run *about, bptt_error *error)
{
    struct findings findings;
    const struct run *of = &report->run[run];
    findings_of(of, &findings);
    *about = (bptt_report_run){.name = of->name,
                               .verdict = findings_verdict(&findings),
                               .level = findings.level,
                               .step = of->last_step,
                               .broken_lines = of->broken + of->half_written};
    int failed = findings.failed;
    findings_clear(&findings);
    return failed ? fail_memory(error, 1) : BPTT_OK;
}

size_t bptt_report_run_count(const bptt_report *report)
{
    return report->count;
}

/* ---- the page ---- */

/* With fewer points of each curve until it is small enough. */
int bptt_report_page(const bptt_report *report, char **html, bptt_error *error)
{
    struct text out = {0};
    for (size_t points = POINTS; points >= FEWEST_POINTS; points /= 2) {
        text_free(&out);
        out = (struct text){0};
        page_write(report->run, report->count, &report->charts, points, &out);
        if (out.failed || out.length <= MOST_BYTES)
            break;
    }
    *html = text_take(&out);
    return *html ? BPTT_OK : fail_memory(error, MOST_BYTES);
}

int bptt_report_write(const char *const *runs, size_t count, const char *path, bptt_error *error)
{
    bptt_report *report = NULL;
    struct atomic_file file;
    char *html = NULL;
    int status = bptt_report_read(runs, count, &report, error);
    if (!status)
        status = bptt_report_page(report, &html, error);
    if (!status)
        status = atomic_open(&file, path, error);
    if (!status && !(status = atomic_write(&file, html, strlen(html), error)))
        status = atomic_commit(&file, error);
    free(html);
    bptt_report_free(report);
    return status;
}
