/* metrics.c - a line is built as JSON and written by one system call, so a reader never meets half of one while the run
 * lives. A resumed run first takes back what it is about to do again. */
#include "metrics.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/text.h"
#include "atomic.h"
#include "input.h"

/* ---- opening ---- */

/* Out of memory says nothing about a line: *failed, so that none is lost by it. It may also be reported as a fault of
 * the line, so a line is only faulty if it is so twice. */
static int is_kept(const char *line, size_t length, int64_t keep_until_step, int *failed)
{
    json_error_t error = {0};
    json_t *json = NULL;
    for (int i = 0; !json && i < 2; i++)
        json = json_loadb(line, length, 0, &error);
    *failed |= !json && !error.text[0];
    const json_t *step = json_object_get(json, "step");
    int kept = json_is_object(json) && !(json_number_value(step) > (double)keep_until_step);
    json_decref(json);
    return kept;
}

static void filter(const char *data, size_t size, int64_t keep_until_step, struct text *kept)
{
    for (size_t at = 0; at < size;) {
        const char *end = memchr(data + at, '\n', size - at);
        size_t length = end ? (size_t)(end - data) - at : size - at;
        if (is_kept(data + at, length, keep_until_step, &kept->failed)) {
            text_append(kept, data + at, length);
            text_add(kept, "\n");
        }
        at += length + 1;
    }
}

static int replace(const char *path, const struct text *text, bptt_error *error)
{
    struct atomic_file file;
    int status = atomic_open(&file, path, error);
    if (!status) /* a write that fails has cleaned up after itself */
        status = atomic_write(&file, text->data, text->length, error);
    return status ? status : atomic_commit(&file, error);
}

static int read_all(const char *path, char **data, size_t *size, bptt_error *error)
{
    struct input input;
    int status = input_open(&input, path, error);
    if (!status) {
        *size = (size_t)input.left;
        *data = malloc(*size + 1);
        status = *data ? input_read(&input, *data, *size, error) : fail_memory(error, *size + 1);
    }
    input_close(&input);
    return status;
}

static int take_back(const char *path, int64_t keep_until_step, bptt_error *error)
{
    struct stat st;
    if (stat(path, &st) || !S_ISREG(st.st_mode))
        return BPTT_OK; /* nothing there, or a pipe, which forgets by itself */
    struct text kept = {0};
    char *data = NULL;
    size_t size = 0;
    int status = read_all(path, &data, &size, error);
    if (!status)
        filter(data, size, keep_until_step, &kept);
    if (!status && kept.failed)
        status = fail_memory(error, size);
    if (!status && (kept.length != size || (size && memcmp(kept.data, data, size))))
        status = replace(path, &kept, error);
    text_free(&kept);
    free(data);
    return status;
}

int metrics_open(struct metrics *metrics, const char *path, int64_t keep_until_step, bptt_error *error)
{
    *metrics = (struct metrics){.fd = -1};
    int status = keep_until_step < 0 ? BPTT_OK : take_back(path, keep_until_step, error);
    if (status)
        return status;
    metrics->path = strdup(path);
    if (!metrics->path)
        return fail_memory(error, strlen(path) + 1);
    metrics->fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | (keep_until_step < 0 ? O_TRUNC : 0), 0666);
    if (metrics->fd >= 0)
        return BPTT_OK;
    status = fail_system(error, path, errno == ENOENT ? "write, its folder is missing" : "write");
    metrics_close(metrics);
    return status;
}

/* ---- a line ---- */

static void set(struct metrics *metrics, const char *key, json_t *value)
{
    if (json_object_set_new(metrics->line, key, value ? value : json_null()))
        metrics->failed = 1;
}

void metrics_begin(struct metrics *metrics, int64_t step)
{
    json_decref(metrics->line);
    metrics->line = json_object();
    metrics->failed = 0;
    metrics_whole(metrics, "step", step);
}

void metrics_number(struct metrics *metrics, const char *key, double value)
{
    set(metrics, key, json_real(value));
}

void metrics_whole(struct metrics *metrics, const char *key, int64_t value)
{
    set(metrics, key, json_integer(value));
}

void metrics_text(struct metrics *metrics, const char *key, const char *value)
{
    set(metrics, key, json_string(value));
}

void metrics_json(struct metrics *metrics, const char *key, json_t *value)
{
    metrics->failed |= !value;
    set(metrics, key, value);
}

static int write_line(struct metrics *metrics, const struct text *line, bptt_error *error)
{
    for (size_t done = 0; done < line->length;) {
        ssize_t put = write(metrics->fd, line->data + done, line->length - done);
        if (put < 0 && errno != EINTR)
            return fail_system(error, metrics->path, "write");
        done += put > 0 ? (size_t)put : 0;
    }
    return BPTT_OK;
}

/* 15 digits: decimal fractions come out as they went in. */
int metrics_end(struct metrics *metrics, bptt_error *error)
{
    struct text line = {0};
    char *json = metrics->failed ? NULL : json_dumps(metrics->line, JSON_COMPACT | JSON_REAL_PRECISION(15));
    if (json)
        text_printf(&line, "%s\n", json);
    int status = json && !line.failed ? write_line(metrics, &line, error) : fail_memory(error, 128);
    free(json);
    text_free(&line);
    return status;
}

void metrics_close(struct metrics *metrics)
{
    if (!metrics->path)
        return;
    if (metrics->fd >= 0)
        close(metrics->fd);
    json_decref(metrics->line);
    free(metrics->path);
    *metrics = (struct metrics){.fd = -1};
}
