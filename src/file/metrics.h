/* metrics.h - what a run measured, as JSON Lines: one object a line, each with its "step", written when it is
 * complete. */
#ifndef BPTT_FILE_METRICS_H
#define BPTT_FILE_METRICS_H

#include "../base/error.h"

struct metrics {
    int fd;
    char *path;                            /* NULL when not open */
    struct json_t *line;                   /* being built */
    int failed;                            /* an addition ran out of memory: metrics_end reports it */
};
/* Opens for appending. keep_until_step -1 starts anew; else lines with a larger "step" go, and lines that are not JSON
 * objects (a run that died while writing one). */
int metrics_open(struct metrics *metrics, const char *path, int64_t keep_until_step, bptt_error *error);
void metrics_begin(struct metrics *metrics, int64_t step);
void metrics_number(struct metrics *metrics, const char *key, double value);   /* null when not finite */
void metrics_whole(struct metrics *metrics, const char *key, int64_t value);
void metrics_text(struct metrics *metrics, const char *key, const char *value); /* null when not UTF-8 */
void metrics_json(struct metrics *metrics, const char *key, struct json_t *value); /* takes the value; NULL: out of memory */
int metrics_end(struct metrics *metrics, bptt_error *error);
void metrics_close(struct metrics *metrics); /* fine on a zeroed struct and after a failed open */

#endif
