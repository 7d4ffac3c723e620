/* report_run.c - a run's metrics, line by line. Whatever is wrong with a line is counted and told on the page, and costs
 * that line alone: a run that was killed in the middle of writing, or is writing now, can be looked at. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "../file/input.h"
#include "report.h"

double json_value(const json_t *number)
{
    return json_is_number(number) ? json_number_value(number) : NAN;
}

int64_t line_step(const json_t *line)
{
    const json_t *step = json_object_get(line, "step");
    double value = json_value(step);
    return value >= 0 && value < 9e15 ? (int64_t)value : 0;
}

double run_setting(const struct run *run, const char *key)
{
    return json_value(json_object_get(run->about, key));
}

/* ---- growing lists: rooms double ---- */

static int grow(void **items, size_t count, size_t bytes)
{
    if (count & (count + 1))               /* not 0, 1, 3, 7, ...: there is room */
        return 1;
    void *grown = count < SIZE_MAX / bytes / 4 ? realloc(*items, (2 * count + 1) * bytes) : NULL;
    if (grown)
        *items = grown;
    return grown != NULL;
}

static int keep_line(struct run_lines *lines, json_t *line)
{
    if (!grow((void **)&lines->line, lines->count, sizeof *lines->line))
        return 0;
    lines->line[lines->count++] = json_incref(line);
    return 1;
}

static void drop_lines(struct run_lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        json_decref(lines->line[i]);
    free(lines->line);
}

/* ---- lines by what they hold ---- */

/* A run that did steps again, for it began again from a checkpoint: what was done later counts. */
static void take_back(struct run *run, int64_t step)
{
    while (run->rows && run->row[run->rows - 1].step >= step) {
        run->rows--;
        run->again++;
    }
}

static int add_row(struct run *run, const json_t *line, double *offset)
{
    int64_t step = line_step(line);
    take_back(run, step);
    if (!grow((void **)&run->row, run->rows, sizeof *run->row))
        return 0;
    double before = run->rows ? run->row[run->rows - 1].seconds : NAN, seconds = json_value(json_object_get(line, "seconds"));
    seconds = seconds >= 0 && seconds < 1e12 ? seconds : NAN;
    if (seconds + *offset < before)        /* the clock began anew with a resumed run */
        *offset = before;
    struct run_row row = {.step = step, .seconds = seconds + *offset, .loss = json_value(json_object_get(line, "loss")),
                          .norm = json_value(json_object_get(line, "norm")), .rate = json_value(json_object_get(line, "rate"))};
    run->unfinished += !isfinite(row.loss) || (json_object_get(line, "norm") && !isfinite(row.norm));
    run->row[run->rows++] = row;
    return 1;
}

static int add_valid(struct run *run, const json_t *line)
{
    int64_t step = line_step(line);
    while (run->valids && run->valid[run->valids - 1].step >= step)
        run->valids--;
    if (!grow((void **)&run->valid, run->valids, sizeof *run->valid))
        return 0;
    double seconds = run->rows ? run->row[run->rows - 1].seconds : NAN;
    run->valid[run->valids++] = (struct run_valid){step, seconds, json_value(json_object_get(line, "valid_loss"))};
    return 1;
}

static void begin_run(struct run *run, json_t *about)
{
    json_decref(run->about);
    run->about = json_incref(about);
    run->starts++;
    run->end[0] = '\0';
    double version = run_setting(run, "version");
    run->version = version > 0 && version < 1e6 ? (int)version : 0;
}

static void end_run(struct run *run, const json_t *end)
{
    const char *text = json_string_value(end);
    snprintf(run->end, sizeof run->end, "%s", text ? text : "");
}

static int take_line(struct run *run, json_t *line, double *offset)
{
    json_t *about = json_object_get(line, "run");
    int64_t step = line_step(line);
    run->last_step = step > run->last_step ? step : run->last_step;
    if (json_is_object(about))
        begin_run(run, about);
    if (json_object_get(line, "end"))
        end_run(run, json_object_get(line, "end"));
    return (!json_object_get(line, "loss") || add_row(run, line, offset)) &&
           (!json_object_get(line, "valid_loss") || add_valid(run, line)) &&
           (!json_is_object(json_object_get(line, "watch")) || keep_line(&run->watch, line)) &&
           (!json_is_object(json_object_get(line, "warning")) || keep_line(&run->warnings, line)) &&
           (!json_is_string(json_object_get(line, "sample")) || keep_line(&run->samples, line));
}

static void note_broken(struct run *run, int is_last)
{
    if (is_last) {
        run->half_written = 1;
        return;
    }
    if (!run->broken++)
        run->first_broken = run->lines;
}

static int is_blank(const char *line, size_t length)
{
    return strspn(line, " \t\r") >= length;
}

/* Out of memory says nothing about a line: jansson then has no words. */
static int read_lines(struct run *run, const char *data, size_t size, bptt_error *error)
{
    double offset = 0;
    for (size_t at = 0; at < size;) {
        const char *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at : size - at;
        json_error_t fault = {0};
        json_t *line = NULL;
        run->lines++;
        if (!is_blank(data + at, length)) {
            line = json_loadb(data + at, length, 0, &fault);
            if (!line && !fault.text[0])
                return fail_memory(error, length);
            if (!json_is_object(line))
                note_broken(run, !end);
            else if (!take_line(run, line, &offset)) {
                json_decref(line);
                return fail_memory(error, sizeof *run->row * run->rows);
            }
        }
        json_decref(line);
        at += length + 1;
    }
    return BPTT_OK;
}

/* ---- a file ---- */

static char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *name = strdup(slash ? slash + 1 : path);
    static const char *const endings[] = {".jsonl", ".safetensors"};
    for (int i = 0; name && i < 2; i++) {
        size_t length = strlen(name), ending = strlen(endings[i]);
        if (length > ending && !strcmp(name + length - ending, endings[i]))
            name[length - ending] = '\0';
    }
    return name;
}

static int check(const struct run *run, bptt_error *error)
{
    if (run->lines - run->broken - run->half_written <= 0)
        return fail_file(error, BPTT_ERROR_FORMAT, run->path,
                         run->lines ? "no line of it is a JSON object: these are no metrics of a run (bptt train writes them)"
                                    : "empty: the run has not measured anything yet");
    if (!run->rows && !run->valids && !run->watch.count && !run->warnings.count && !run->samples.count && !run->about)
        return fail_file(error, BPTT_ERROR_FORMAT, run->path,
                         "no line of it tells of a run: these are no metrics that bptt train wrote");
    return BPTT_OK;
}

int run_read(const char *path, struct run *run, bptt_error *error)
{
    struct input input;
    *run = (struct run){.path = strdup(path), .name = name_of(path)};
    if (!run->path || !run->name)
        return fail_memory(error, strlen(path));
    int status = input_open(&input, path, error);
    char *data = NULL;
    size_t size = status ? 0 : (size_t)input.left;
    if (!status && !(data = malloc(size + 1)))
        status = fail_memory(error, size);
    if (!status)
        data[size] = '\0';
    if (!status)
        status = input_read(&input, data, size, error);
    if (!status)
        status = read_lines(run, data, size, error);
    input_close(&input);
    free(data);
    return status ? status : check(run, error);
}

void run_clear(struct run *run)
{
    json_decref(run->about);
    drop_lines(&run->watch);
    drop_lines(&run->warnings);
    drop_lines(&run->samples);
    free(run->row);
    free(run->valid);
    free(run->path);
    free(run->name);
}
