/* inspect_run.c - what the training run of a model adds to its inspection: how many updates were clipped, and how far an update
 * moved each parameter. From the watch lines of its metrics, where it was watched. */
#include <math.h>
#include <string.h>

#include "../../include/bptt.h"
#include "report.h"

/* The mean over the run; a line speaks for the updates since the one before. */
static double share_clipped(const struct run *run)
{
    double sum = 0, updates = 0;
    int64_t last = 0;
    for (size_t i = 0; i < run->watch.count; i++) {
        const json_t *line = run->watch.line[i];
        double share = json_value(json_object_get(json_object_get(line, "watch"), "clipped"));
        int64_t step = line_step(line);
        if (isfinite(share) && step > last) {
            sum += share * (double)(step - last);
            updates += (double)(step - last);
        }
        last = step;
    }
    return updates > 0 ? sum / updates : NAN;
}

/* Of the last line: that is what the model that lies there has been through last. */
static void take_updates(const struct run *run, bptt_inspect_report *report)
{
    const json_t *line = run->watch.count ? run->watch.line[run->watch.count - 1] : NULL;
    const json_t *parameters = json_object_get(json_object_get(line, "watch"), "parameters");
    for (size_t i = 0; i < report->parameters; i++)
        report->parameter[i].update = json_value(json_object_get(json_object_get(parameters, report->parameter[i].name), "ratio"));
}

int bptt_inspect_run(const char *path, bptt_inspect_report *report, bptt_error *error)
{
    struct names names = {0};
    struct run run = {0};
    int status = report_find(path, &names, error);
    if (!status)
        status = run_read(names.name[0], &run, error);
    if (!status) {
        report->clipped = share_clipped(&run);
        take_updates(&run, report);
        run_clear(&run);
    }
    names_clear(&names);
    return status;
}
