/* progress.h - how a training run is shown to people: on a terminal one line that is drawn over (bar, loss, speed, time
 * left) with validations and samples scrolling above it; in a pipe plain lines now and then. */
#ifndef BPTT_CLI_PROGRESS_H
#define BPTT_CLI_PROGRESS_H

#include <bptt.h>
#include <stdio.h>

#include "terminal.h"

struct progress {
    FILE *out;
    struct terminal terminal;
    int verbose;
    int precision;          /* a bptt_type: what kernels are told of */
    int drawn;              /* the bar stands in the last line */
    double shown_at;        /* seconds of the run when the last bar or line was shown */
    double speed;           /* smoothed, so that the number can be read */
    double valid;           /* the last validation loss; NaN before the first */
};
void progress_open(struct progress *progress, FILE *out, int verbose, int precision);
void progress_show(struct progress *progress, const bptt_event *event);
void progress_close(struct progress *progress);

#endif
