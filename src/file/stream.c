/* stream.c - what has been read is dropped from the system's cache again, so that a file of any length leaves there
 * what others need; read backwards, which systems do not expect, the next part is asked for ahead. */
#include "stream.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../base/disk.h"
#include "array.h"
#include "atomic.h"
#include "npy.h"
#include "safetensors.h"

/* ---- a .npy file, by rows of its first axis ---- */

enum { CHUNK = 1 << 20 };                  /* bytes of the file that are dropped together: whole pages */

struct npy_stream {
    struct input input;                    /* its path is ours */
    struct npy_layout layout;
    struct stat opened;
    uint64_t begin;                        /* of the elements in the file */
    size_t row;                            /* elements */
    uint64_t last, chunk;                  /* where the last stretch began, and the chunk in which it goes on */
};

static int open_npy(struct npy_stream *s, bptt_error *error)
{
    int status = input_open(&s->input, s->input.path, error);
    if (!status && fstat(s->input.fd, &s->opened))
        status = fail_system(error, s->input.path, "open");
    if (!status)
        status = npy_begin(&s->input, &s->layout, error);
    if (!status && s->layout.array.rank == 0)
        status = fail_file(error, BPTT_ERROR_FORMAT, s->input.path, "holds one number, not an array with a first axis");
    if (status)
        return status;
    s->begin = (uint64_t)s->opened.st_size - s->layout.bytes;
    s->row = 1;
    for (int i = 1; i < s->layout.array.rank; i++)
        s->row *= (size_t)s->layout.array.shape[i];
    return BPTT_OK;
}

int npy_stream_open(const char *path, struct npy_stream **out, bptt_error *error)
{
    *out = NULL;
    struct npy_stream *s = calloc(1, sizeof *s);
    char *own = s ? strdup(path) : NULL;
    if (!own) {
        free(s);
        return fail_memory(error, sizeof *s + strlen(path) + 1);
    }
    s->input = (struct input){.fd = -1, .path = own};
    int status = open_npy(s, error);
    if (status)
        npy_stream_close(s);
    else
        *out = s;
    return status;
}

void npy_stream_close(struct npy_stream *s)
{
    if (!s)
        return;
    input_close(&s->input);
    free((char *)s->input.path);
    free(s);
}

const bptt_array *npy_stream_array(const struct npy_stream *s)
{
    return &s->layout.array;
}

static int read_at(struct npy_stream *s, void *data, size_t first, size_t count, bptt_error *error)
{
    size_t missing;
    if (disk_read_at(s->input.fd, data, count * s->layout.element, s->begin + first * s->layout.element, &missing))
        return fail_system(error, s->input.path, "read");
    if (missing)
        return fail_file(error, BPTT_ERROR_FORMAT, s->input.path,
                         "became shorter while it was read: %zu bytes are missing", missing);
    return BPTT_OK;
}

static void widen(const float *from, size_t count, double *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = from[i];
}

static void round_off(const double *from, size_t count, float *to)
{
    for (size_t i = 0; i < count; i++)
        to[i] = (float)from[i];
}

/* A piece at a time: the file's bytes and the rows are not in memory together. */
static int read_converted(struct npy_stream *s, size_t first, size_t count, int type, void *rows, bptt_error *error)
{
    enum { PIECE = 1024 };
    union { double f64[PIECE]; float f32[PIECE]; int64_t i64[PIECE]; } piece;
    size_t element = s->layout.element;
    int status = BPTT_OK;
    for (size_t done = 0, n; !status && done < count; done += n) {
        n = count - done < PIECE ? count - done : PIECE;
        status = read_at(s, &piece, first + done, n, error);
        if (!status && type == BPTT_I32)
            status = npy_narrow(s->input.path, &piece, element, first + done, n, (int32_t *)rows + done, error);
        else if (!status && type == BPTT_F64)
            widen(piece.f32, n, (double *)rows + done);
        else if (!status)
            round_off(piece.f64, n, (float *)rows + done);
    }
    return status;
}

static int check_rows(const struct npy_stream *s, int64_t first, int64_t count, int type, bptt_error *error)
{
    const bptt_array *array = &s->layout.array;
    if (first < 0 || count < 0 || first > array->shape[0] || count > array->shape[0] - first)
        return fail_file(error, BPTT_ERROR_ARGUMENT, s->input.path, "has %lld rows, not %lld from row %lld on",
                         (long long)array->shape[0], (long long)count, (long long)first);
    int is_float = type == BPTT_F32 || type == BPTT_F64;
    if (array->type == BPTT_I32 ? type != BPTT_I32 : !is_float)
        return fail_file(error, BPTT_ERROR_ARGUMENT, s->input.path, "holds %s; %s are needed",
                         array->type == BPTT_I32 ? "whole numbers" : "floats", is_float ? "floats" : "whole numbers");
    return BPTT_OK;
}

/* After the reading: what was changed before it is seen, and what is changed after it is no matter. */
static int check_unchanged(const struct npy_stream *s, bptt_error *error)
{
    struct stat now;
    if (fstat(s->input.fd, &now))
        return fail_system(error, s->input.path, "read");
    if (now.st_size == s->opened.st_size && now.st_mtim.tv_sec == s->opened.st_mtim.tv_sec &&
        now.st_mtim.tv_nsec == s->opened.st_mtim.tv_nsec)
        return BPTT_OK;
    return fail_file(error, BPTT_ERROR_FILE, s->input.path, "was changed while it was read; start again");
}

/* Hints, so nothing depends on whether they are taken. Chunks that lie between where the last stretch went on and where
 * this one does are done with, and so is the first of them. */
static void advise(struct npy_stream *s, size_t first, size_t count)
{
    uint64_t begin = s->begin + first * s->layout.element, end = begin + count * s->layout.element;
    int is_backward = end == s->last;
    uint64_t next = (is_backward ? begin : end) / CHUNK, old = s->chunk;
    s->last = begin;
    s->chunk = next;
    if (next == old)
        return;
    uint64_t from = next > old ? old : next + 1, chunks = next > old ? next - old : old - next;
    posix_fadvise(s->input.fd, (off_t)(from * CHUNK), (off_t)(chunks * CHUNK), POSIX_FADV_DONTNEED);
    /* Backwards the system would read on forwards, into what was just dropped. */
    posix_fadvise(s->input.fd, 0, 0, is_backward ? POSIX_FADV_RANDOM : POSIX_FADV_SEQUENTIAL);
    if (is_backward && next > 0)
        posix_fadvise(s->input.fd, (off_t)((next - 1) * CHUNK), CHUNK, POSIX_FADV_WILLNEED);
}

int npy_stream_rows(struct npy_stream *s, int64_t first, int64_t count, int type, void *rows, bptt_error *error)
{
    int status = check_rows(s, first, count, type, error);
    if (status)
        return status;
    size_t from = (size_t)first * s->row, elements = (size_t)count * s->row;
    if (type == s->layout.array.type && s->layout.element == array_type_size(type))
        status = read_at(s, rows, from, elements, error);
    else
        status = read_converted(s, from, elements, type, rows, error);
    if (!status)
        status = check_unchanged(s, error);
    if (!status)
        advise(s, from, elements);
    return status;
}

/* ---- a safetensors file ---- */

struct tensor { int64_t length; size_t element; uint64_t begin; };

struct safetensors_writer {
    struct atomic_file file;
    size_t count;
    struct tensor tensor[];
};

/* Returns the size of the file. */
static uint64_t lay_out(struct safetensors_writer *writer, const bptt_arrays *set, uint64_t begin)
{
    for (; writer->count < set->count; writer->count++) {
        const bptt_array *array = &set->items[writer->count];
        struct tensor *tensor = &writer->tensor[writer->count];
        *tensor = (struct tensor){bptt_array_length(array), array_type_size(array->type), begin};
        begin += (uint64_t)tensor->length * tensor->element;
    }
    return begin;
}

static int open_tensors(struct safetensors_writer *writer, const char *path, const bptt_arrays *set,
                        const char *metadata, bptt_error *error)
{
    struct text header = {0};
    int status = safetensors_header(path, set, metadata, &header, error);
    if (!status)
        status = atomic_open(&writer->file, path, error);
    if (!status) /* what fails from here on has cleaned up after itself */
        status = atomic_reserve(&writer->file, lay_out(writer, set, header.length), error);
    if (!status)
        status = atomic_write_at(&writer->file, header.data, header.length, 0, error);
    text_free(&header);
    return status;
}

int safetensors_begin(const char *path, const bptt_arrays *set, const char *metadata,
                      struct safetensors_writer **out, bptt_error *error)
{
    *out = NULL;
    struct safetensors_writer *writer = calloc(1, sizeof *writer + set->count * sizeof *writer->tensor);
    if (!writer)
        return fail_memory(error, set->count * sizeof *writer->tensor);
    int status = open_tensors(writer, path, set, metadata, error);
    if (status)
        free(writer);
    else
        *out = writer;
    return status;
}

int safetensors_put(struct safetensors_writer *writer, size_t tensor, int64_t first, int64_t count, const void *data,
                    bptt_error *error)
{
    const struct tensor *t = tensor < writer->count ? &writer->tensor[tensor] : NULL;
    if (!t || first < 0 || count < 0 || first > t->length || count > t->length - first)
        return fail(error, BPTT_ERROR_ARGUMENT, "no %lld elements from %lld on in tensor %zu of %zu", (long long)count,
                    (long long)first, tensor, writer->count);
    return atomic_write_at(&writer->file, data, (size_t)count * t->element, t->begin + (uint64_t)first * t->element,
                           error);
}

int safetensors_commit(struct safetensors_writer *writer, bptt_error *error)
{
    int status = atomic_commit(&writer->file, error);
    free(writer);
    return status;
}

void safetensors_abandon(struct safetensors_writer *writer)
{
    if (writer)
        atomic_abort(&writer->file);
    free(writer);
}
