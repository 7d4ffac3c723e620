/* report_schedule.c - what a run does along the time axis of a window: the schedule's own picture, from the strategy and the
 * sizes that the run wrote down. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../time/schedule.h"
#include "report.h"

/* Without a budget, which metrics do not hold: everything is recorded. Blocks are as the network makes them. */
static int draw(const struct run *run, const char *gradient, struct text *out)
{
    double length = run_setting(run, "length"), batch = run_setting(run, "batch");
    struct strategy strategy;
    struct layout layout;
    struct schedule schedule;
    size_t smallest;
    if (!(length >= 1 && length <= 1e7) || strategy_parse(gradient, &strategy, NULL) ||
        strategy_check(&strategy, (long)length, NULL))
        return BPTT_ERROR_ARGUMENT;
    long block = batch > 16 ? (long)fmax(512 / batch, 1) : 32;
    struct axis axis = {.steps = (long)length, .block = block, .record_bytes = 1, .state_bytes = 1};
    int status = schedule_fit(&strategy, &axis, SIZE_MAX, 0, &layout, &smallest);
    if (!status)
        status = schedule_new(&schedule, &strategy, &axis, &layout, NULL);
    if (status)
        return status;
    double seed = run_setting(run, "seed");
    schedule.updates = 1;
    schedule_start(&schedule, axis.steps, random_open(seed >= 0 && seed < 9e15 ? (uint64_t)seed : 0, RANDOM_TRUNCATION, 0), 0);
    status = schedule_svg(&schedule, out);
    schedule_free(&schedule);
    return status;
}

void schedule_of_run(const struct run *run, struct charts *charts)
{
    struct chart *chart = charts_add(charts, "schedule", "The schedule of a window");
    const char *gradient = json_string_value(json_object_get(run->about, "gradient"));
    struct text svg = {0};
    if (!chart)
        return;
    snprintf(chart->about, sizeof chart->about,
             "Time runs downwards, the steps of the window to the right: where it goes forward, what it records, where the "
             "gradient flows back and where it is cut (%.60s). bptt plan --svg draws it for any budget.",
             gradient ? gradient : "full");
    snprintf(chart->missing, sizeof chart->missing,
             "These metrics do not hold the strategy; bptt plan TEXT --svg FILE draws the schedule of any settings.");
    int status = run->about ? draw(run, gradient ? gradient : "full", &svg) : BPTT_ERROR_ARGUMENT;
    if (!status)
        chart->svg = text_take(&svg);
    chart->failed = status == BPTT_ERROR_MEMORY || (!status && !chart->svg);
    text_free(&svg);
}
