/* gradient_files.c - bptt_gradient_stream: the gradient of arrays in files, into a file. Rows are read, and dL/dx is written, a
 * block of steps at a time, so a sequence may be longer than memory. What cannot be walked so (a strategy that visits steps
 * twice, or forward mode) takes the arrays whole. */
#include <stdlib.h>
#include <string.h>

#include "../model/run.h"
#include "safetensors.h"
#include "stream.h"

bptt_gradient_files bptt_gradient_files_defaults(void)
{
    return (bptt_gradient_files){.size = sizeof(bptt_gradient_files)};
}

struct files {
    struct gradient_request request;
    struct npy_stream *stream[FEED_PARTS];
    bptt_array whole[FEED_PARTS];          /* what could not be streamed */
    const bptt_array *array[FEED_PARTS];
    bptt_arrays initial, final_gradient, headers;
    struct safetensors_writer *writer;
    size_t input_tensor;                   /* number of `input` among the results */
    struct feed feed;
};

/* ---- rows in and out ---- */

static int read_rows(void *user, enum feed_part part, long first, long steps, void *rows, bptt_error *error)
{
    struct files *f = user;
    const bptt_run_options *options = f->request.r.options;
    if (options->stop && options->stop(options->user))
        return fail(error, BPTT_INTERRUPTED, "interrupted at step %ld; nothing was written", first);
    int type = f->array[part]->type == BPTT_I32 ? BPTT_I32 : f->request.r.type;
    return npy_stream_rows(f->stream[part], first, steps, type, rows, error);
}

static int write_rows(void *user, long first, long steps, const void *rows, bptt_error *error)
{
    struct files *f = user;
    int64_t step = f->request.r.batch * f->request.r.model->inputs;
    return safetensors_put(f->writer, f->input_tensor, first * step, steps * step, rows, error);
}

/* ---- opening ---- */

static int may_stream(const bptt_run_options *options)
{
    struct strategy strategy;
    if (strategy_parse(options->gradient, &strategy, NULL))
        return 1;                          /* the request's own check says what is wrong */
    return !strategy_is_forward(&strategy) && !(strategy.kind == STRATEGY_TRUNCATED && strategy.k2 > strategy.k1);
}

static int open_part(struct files *f, enum feed_part part, const char *path, int streams, bptt_error *error)
{
    int status = BPTT_OK;
    if (!path)
        return status;
    if (streams) {
        status = npy_stream_open(path, &f->stream[part], error);
        f->array[part] = status ? NULL : npy_stream_array(f->stream[part]);
    } else {
        status = bptt_npy_read(path, &f->whole[part], error);
        f->array[part] = &f->whole[part];
    }
    return status;
}

static int open_set(const char *path, bptt_arrays *set, bptt_error *error)
{
    return path ? bptt_safetensors_read(path, set, error) : BPTT_OK;
}

static int open_all(struct files *f, const bptt_gradient_files *files, int streams, bptt_error *error)
{
    const char *paths[FEED_PARTS] = {files->input, files->target, files->output_gradient};
    int status = BPTT_OK;
    for (int i = 0; i < FEED_PARTS && !status; i++)
        status = open_part(f, (enum feed_part)i, paths[i], streams, error);
    if (!status) status = open_set(files->initial_state, &f->initial, error);
    if (!status) status = open_set(files->final_gradient, &f->final_gradient, error);
    struct gradient_request *g = &f->request;
    g->r.input = f->array[FEED_INPUT];
    g->target = f->array[FEED_TARGET];
    g->output_gradient = f->array[FEED_OUTPUT_GRADIENT];
    g->initial = files->initial_state ? &f->initial : NULL;
    g->final_gradient = files->final_gradient ? &f->final_gradient : NULL;
    return status;
}

/* ---- results ---- */

static int begin_out(struct files *f, const char *path, bptt_error *error)
{
    int status = gradient_headers(&f->request, &f->headers, error);
    for (size_t i = 0; i < f->headers.count; i++)
        if (!strcmp(f->headers.items[i].name, "input"))
            f->input_tensor = i;
    return status || !path ? status : safetensors_begin(path, &f->headers, NULL, &f->writer, error);
}

static int finish_out(struct files *f, bptt_error *error)
{
    const bptt_arrays *set = f->request.gradients;
    int status = BPTT_OK;
    for (size_t i = 0; i < set->count && !status; i++)
        if (set->items[i].data)
            status = safetensors_put(f->writer, i, 0, bptt_array_length(&set->items[i]), set->items[i].data, error);
    struct safetensors_writer *writer = f->writer;
    f->writer = status ? writer : NULL;
    return status ? status : safetensors_commit(writer, error);
}

/* Results without data are in the file alone. */
static void drop_headers(bptt_arrays *set)
{
    size_t count = 0;
    for (size_t i = 0; i < set->count; i++)
        if (set->items[i].data)
            set->items[count++] = set->items[i];
    set->count = count;
}

static int run(struct files *f, const bptt_gradient_files *files, bptt_error *error)
{
    int streams = may_stream(f->request.r.options);
    int status = open_all(f, files, streams, error);
    if (!status)
        status = gradient_check(&f->request, error);
    if (!status)
        status = begin_out(f, files->out, error);
    if (status)
        return status;
    f->feed = (struct feed){.read = read_rows, .write = f->writer && !f->request.r.model->vocabulary ? write_rows : NULL, .user = f,
                            .has = {1, f->array[FEED_TARGET] != NULL, f->array[FEED_OUTPUT_GRADIENT] != NULL}};
    f->request.feed = streams ? &f->feed : NULL;
    f->request.r.fed = streams;
    status = gradient_run(&f->request, error);
    return status || !f->writer ? status : finish_out(f, error);
}

static void close_all(struct files *f)
{
    for (int i = 0; i < FEED_PARTS; i++) {
        npy_stream_close(f->stream[i]);
        bptt_array_clear(&f->whole[i]);
    }
    bptt_arrays_clear(&f->initial);
    bptt_arrays_clear(&f->final_gradient);
    bptt_arrays_clear(&f->headers);
    safetensors_abandon(f->writer);
}

int bptt_gradient_stream(const bptt_model *model, const bptt_gradient_files *files, double *loss, bptt_arrays *gradients,
                         const bptt_run_options *options, bptt_error *error)
{
    bptt_run_options defaults = bptt_run_defaults();
    bptt_arrays own = {0};
    struct files f = {.request = {.r = {.model = model, .options = options ? options : &defaults}, .loss = loss, .gradients = &own}};
    if (gradients)
        *gradients = (bptt_arrays){0};
    if (files->size != sizeof *files)
        return fail(error, BPTT_ERROR_ARGUMENT, "the files do not come from bptt_gradient_files_defaults");
    if (!files->input)
        return fail(error, BPTT_ERROR_ARGUMENT, "the gradient needs an input");
    int status = run(&f, files, error);
    close_all(&f);
    drop_headers(&own);
    if (status || !gradients)
        bptt_arrays_clear(&own);
    else
        *gradients = own;
    return status;
}
