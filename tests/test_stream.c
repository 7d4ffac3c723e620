// link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=strdup,--wrap=strndup,--wrap=realpath,--wrap=pread
// link: tests/small_disk.c
/* test_stream.c - long arrays a stretch at a time: rows of a .npy file in any order and as either kind of float are
 * those of reading it whole, and every bad file is refused as then; tensors put in any order make the file that saving
 * them at once makes; a file that changes meanwhile, a full disk, a lack of memory are one clear line, after which
 * nothing is left. */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/file/safetensors.h"
#include "../src/file/stream.h"
#include "small_disk.h"
#include "tap.h"

/* ---- allocations and reads that fail when told to ---- */

static long allocations, fails_at;
static int is_short, is_broken;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t length);
char *__real_realpath(const char *path, char *resolved);
ssize_t __real_pread(int fd, void *data, size_t bytes, off_t offset);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t length);
char *__wrap_realpath(const char *path, char *resolved);
ssize_t __wrap_pread(int fd, void *data, size_t bytes, off_t offset);

static int fails(void)
{
    if (!fails_at || ++allocations != fails_at)
        return 0;
    errno = ENOMEM;
    return 1;
}

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    return fails() ? NULL : __real_realloc(memory, bytes);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

char *__wrap_strndup(const char *text, size_t length)
{
    return fails() ? NULL : __real_strndup(text, length);
}

char *__wrap_realpath(const char *path, char *resolved)
{
    return fails() ? NULL : __real_realpath(path, resolved);
}

ssize_t __wrap_pread(int fd, void *data, size_t bytes, off_t offset)
{
    errno = EIO;
    return is_broken ? -1 : __real_pread(fd, data, is_short && bytes > 11 ? 11 : bytes, offset);
}

/* ---- files ---- */

static char folder[128], path[160], other[160];

static int entries(const char *name)
{
    int count = 0;
    DIR *dir = opendir(name);
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

static int descriptors(void)
{
    return entries("/proc/self/fd");
}

static void put(const char *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file))
        tap_ok(0, "the test can write %s", path);
}

static size_t get(const char *name, char *data, size_t room)
{
    FILE *file = fopen(name, "rb");
    size_t got = file ? fread(data, 1, room, file) : 0;
    if (file)
        fclose(file);
    return got;
}

/* A .npy file of version 1 with this type and shape, and with `bytes` bytes of `data`. */
static void put_npy(const char *descr, const char *shape, const void *data, size_t bytes)
{
    char file[8192] = "\x93NUMPY\1\0\x76";
    int used = snprintf(file + 10, 128, "{'descr': '%s', 'fortran_order': False, 'shape': %s, }", descr, shape);
    memset(file + 10 + used, ' ', (size_t)(117 - used));
    file[127] = '\n';
    if (bytes)
        memcpy(file + 128, data, bytes);
    put(file, 128 + bytes);
}

/* One line that names `name` and holds `part`. */
static int is_clear(int status, const bptt_error *error, int code, const char *name, const char *part)
{
    return status == code && error->code == code && strstr(error->text, name) && strstr(error->text, part) &&
           !strchr(error->text, '\n');
}

static void failed(int status, const bptt_error *error, int code, const char *part, const char *what)
{
    if (!tap_ok(is_clear(status, error, code, path, part), "%s: \"%s\"", what, part))
        tap_note("status %d: %s", status, error->text);
}

/* ---- rows ---- */

enum { STEPS = 1000, ROW = 6 };            /* [1000, 2, 3] */
static double f64[STEPS * ROW];
static float f32[STEPS * ROW];
static int32_t i32[STEPS * ROW];

static void fill(void)
{
    for (int i = 0; i < STEPS * ROW; i++) {
        f64[i] = (i - 500) / 3.0;
        f32[i] = (float)f64[i];
        i32[i] = i * 7919 - 20000000;
    }
}

static void write_rows(int type, void *data)
{
    bptt_array array = {.type = type, .rank = 3, .shape = {STEPS, 2, 3}, .data = data};
    bptt_error error = {0};
    if (bptt_npy_write(path, &array, &error))
        tap_ok(0, "the test can write rows: %s", error.text);
}

/* Reads all rows in stretches of `stretch`, forwards or backwards, and compares with `want`. */
static int reads(int type, size_t size, int64_t stretch, int is_backward, const void *want)
{
    struct npy_stream *stream;
    bptt_error error = {0};
    char *got = calloc(STEPS * ROW, size);
    int status = npy_stream_open(path, &stream, &error);
    for (int64_t done = 0; !status && done < STEPS; done += stretch) {
        int64_t count = STEPS - done < stretch ? STEPS - done : stretch;
        int64_t first = is_backward ? STEPS - done - count : done;
        status = npy_stream_rows(stream, first, count, type, got + (size_t)first * ROW * size, &error);
    }
    npy_stream_close(stream);
    int same = !status && !memcmp(got, want, STEPS * ROW * size);
    if (!same)
        tap_note("status %d: %s", status, error.text);
    free(got);
    return same;
}

static void read_both_ways(int type, size_t size, const void *want, const char *what)
{
    static const int64_t stretches[] = {1, 7, 250, 999, 1000};
    int same = 1;
    for (int i = 0; i < 5; i++)
        same &= reads(type, size, stretches[i], 0, want) && reads(type, size, stretches[i], 1, want);
    is_short = 1;
    same &= reads(type, size, 100, 1, want);
    is_short = 0;
    tap_ok(same, "%s, in stretches of 1 to all rows, both ways, and where reads stop short", what);
}

static void test_rows(void)
{
    static double widened[STEPS * ROW];
    for (int i = 0; i < STEPS * ROW; i++)
        widened[i] = f32[i];
    write_rows(BPTT_F32, f32);
    read_both_ways(BPTT_F32, 4, f32, "float32");
    read_both_ways(BPTT_F64, 8, widened, "float32 as float64");
    write_rows(BPTT_F64, f64);
    read_both_ways(BPTT_F64, 8, f64, "float64");
    read_both_ways(BPTT_F32, 4, f32, "float64 as float32");
    write_rows(BPTT_I32, i32);
    read_both_ways(BPTT_I32, 4, i32, "int32");
}

static void test_narrow(void)
{
    int64_t wide[6] = {0, -1, INT32_MAX, INT32_MIN, 5, (int64_t)INT32_MAX + 1};
    int32_t got[6];
    struct npy_stream *stream;
    bptt_error error = {0};
    put_npy("<i8", "(3, 2)", wide, sizeof wide);
    tap_ok(!npy_stream_open(path, &stream, &error), "int64 %s", error.text);
    tap_ok(!npy_stream_rows(stream, 1, 1, BPTT_I32, got, &error) && got[0] == INT32_MAX && got[1] == INT32_MIN,
           "int64 rows that fit");
    failed(npy_stream_rows(stream, 0, 3, BPTT_I32, got, &error), &error, BPTT_ERROR_FORMAT,
           "element 5 is 2147483648, which does not fit", "one that does not");
    npy_stream_close(stream);
    put_npy("|u1", "(3,)", "\0\177\377", 3);
    tap_ok(!npy_stream_open(path, &stream, NULL) && !npy_stream_rows(stream, 0, 3, BPTT_I32, got, NULL) &&
               got[1] == 127 && got[2] == 255, "bytes");
    npy_stream_close(stream);
}

/* Long enough that parts of it are dropped from the system's cache and asked for again, in stretches that no page and
 * no chunk divides. */
static void test_long(void)
{
    enum { LONG = 1000003, STRETCH = 30011 };
    static int32_t stretch[STRETCH];
    int32_t *token = malloc(LONG * sizeof *token);
    for (int i = 0; i < LONG; i++)
        token[i] = i * 31 % 1009;
    bptt_array array = {.type = BPTT_I32, .rank = 2, .shape = {LONG, 1}, .data = token};
    struct npy_stream *stream;
    int status = bptt_npy_write(path, &array, NULL) || npy_stream_open(path, &stream, NULL), same = 1;
    for (int64_t first = 0, n; !status && first < LONG; first += n) {
        n = LONG - first < STRETCH ? LONG - first : STRETCH;
        status = npy_stream_rows(stream, first, n, BPTT_I32, stretch, NULL);
        same &= !memcmp(stretch, token + first, (size_t)n * 4);
    }
    for (int64_t end = LONG, n; !status && end > 0; end -= n) {
        n = end < STRETCH ? end : STRETCH;
        status = npy_stream_rows(stream, end - n, n, BPTT_I32, stretch, NULL);
        same &= !memcmp(stretch, token + end - n, (size_t)n * 4);
    }
    tap_ok(!status && same, "a million tokens forwards and back");
    npy_stream_close(stream);
    free(token);
}

static void test_shapes(void)
{
    struct npy_stream *stream;
    write_rows(BPTT_F32, f32);
    tap_ok(!npy_stream_open(path, &stream, NULL), "an array");
    const bptt_array *array = npy_stream_array(stream);
    tap_ok(array->type == BPTT_F32 && array->rank == 3 && array->shape[0] == STEPS && array->shape[1] == 2 &&
               array->shape[2] == 3 && !array->data, "says its type and shape, and has no data");
    npy_stream_close(stream);
    put_npy("<f4", "(0, 2, 3)", NULL, 0);
    float none[1] = {7};
    tap_ok(!npy_stream_open(path, &stream, NULL) && npy_stream_array(stream)->shape[0] == 0, "no steps");
    tap_ok(!npy_stream_rows(stream, 0, 0, BPTT_F32, none, NULL) && none[0] == 7, "no rows are read of them");
    bptt_error error = {0};
    failed(npy_stream_rows(stream, 0, 1, BPTT_F32, none, &error), &error, BPTT_ERROR_ARGUMENT, "has 0 rows", "one row");
    npy_stream_close(stream);
    put_npy("<f4", "(3, 0)", NULL, 0);
    tap_ok(!npy_stream_open(path, &stream, NULL) && !npy_stream_rows(stream, 1, 2, BPTT_F32, none, NULL) &&
               none[0] == 7, "rows without elements");
    npy_stream_close(stream);
    npy_stream_close(NULL);
}

static void refuse_rows(struct npy_stream *stream, int64_t first, int64_t count, int type, const char *part,
                        const char *what)
{
    static double rows[STEPS * ROW];
    bptt_error error = {0};
    failed(npy_stream_rows(stream, first, count, type, rows, &error), &error, BPTT_ERROR_ARGUMENT, part, what);
}

static void test_bad_rows(void)
{
    struct npy_stream *stream;
    write_rows(BPTT_F32, f32);
    if (!tap_ok(!npy_stream_open(path, &stream, NULL), "a thousand rows"))
        return;
    refuse_rows(stream, 1000, 1, BPTT_F32, "has 1000 rows, not 1 from row 1000", "past the end");
    refuse_rows(stream, 999, 2, BPTT_F32, "has 1000 rows", "over the end");
    refuse_rows(stream, -1, 1, BPTT_F32, "from row -1", "before the beginning");
    refuse_rows(stream, 5, -1, BPTT_F32, "not -1", "fewer than none");
    refuse_rows(stream, INT64_MAX, INT64_MAX, BPTT_F32, "has 1000 rows", "an overflow");
    refuse_rows(stream, 1, INT64_MAX, BPTT_F32, "has 1000 rows", "another");
    refuse_rows(stream, 0, 1, BPTT_I32, "holds floats; whole numbers are needed", "floats as tokens");
    refuse_rows(stream, 0, 1, 17, "", "as nothing known");
    npy_stream_close(stream);
    write_rows(BPTT_I32, i32);
    tap_ok(!npy_stream_open(path, &stream, NULL), "a thousand rows of tokens");
    refuse_rows(stream, 0, 1, BPTT_F64, "holds whole numbers; floats are needed", "tokens as floats");
    npy_stream_close(stream);
}

/* Refused, and in the words in which reading it whole is. */
static void refuse_npy(const char *part, const char *what)
{
    struct npy_stream *stream = (struct npy_stream *)folder;
    bptt_array whole;
    bptt_error error = {0}, same = {0};
    int before = descriptors(), status = npy_stream_open(path, &stream, &error);
    bptt_npy_read(path, &whole, &same);
    bptt_array_clear(&whole);
    failed(status, &error, same.code, part, what);
    tap_ok(!strcmp(error.text, same.text) && !stream && descriptors() == before, "%s: as when it is read whole", what);
}

static void test_bad_files(void)
{
    static const char zeros[64];
    put("", 0);
    refuse_npy("too short", "an empty file");
    put("\x93NUMPZ\1\0\x76   ", 12);
    refuse_npy("does not begin as one", "a wrong magic");
    put_npy("<f4", "(4, 2)", zeros, 31);
    refuse_npy("its shape needs 32 bytes of elements, the file has 31", "cut off");
    put_npy("<f4", "(4, 2)", zeros, 33);
    refuse_npy("its shape needs 32 bytes of elements, the file has 33", "too long");
    put_npy("<f4", "(4294967296, 4294967296, 0)", NULL, 0);
    refuse_npy("shape is too large", "a shape that overflows");
    put_npy("<f4", "(99999999999999999999,)", NULL, 0);
    refuse_npy("shape is too large", "a length that overflows");
    put_npy("<f4", "(4000000000000,)", zeros, 4);
    refuse_npy("16000000000000 bytes", "a length beyond the file");
    put_npy(">f4", "(2,)", zeros, 8);
    refuse_npy("big-endian", "big-endian elements");
    put_npy("<c8", "(2,)", zeros, 16);
    refuse_npy("elements of type <c8", "complex numbers");
    unlink(path);
    refuse_npy("No such file", "a missing file");
    mkdir(path, 0777);
    refuse_npy("is a folder", "a folder");
    rmdir(path);
    mkfifo(path, 0666);
    refuse_npy("not a regular file", "a pipe");
    unlink(path);
    put_npy("<f4", "()", zeros, 4);
    struct npy_stream *stream;
    bptt_error error = {0};
    failed(npy_stream_open(path, &stream, &error), &error, BPTT_ERROR_FORMAT, "not an array", "one number");
}

static void test_changed(void)
{
    static float rows[STEPS * ROW];
    struct npy_stream *stream;
    bptt_error error = {0};
    write_rows(BPTT_F32, f32);
    tap_ok(!npy_stream_open(path, &stream, NULL) && !truncate(path, 12000), "cut while it is open");
    failed(npy_stream_rows(stream, 990, 10, BPTT_F32, rows, &error), &error, BPTT_ERROR_FORMAT,
           "became shorter while it was read: 240 bytes are missing", "what is gone");
    error = (bptt_error){0};
    failed(npy_stream_rows(stream, 495, 10, BPTT_F64, rows, &error), &error, BPTT_ERROR_FORMAT, "became shorter",
           "what is gone in part, converted");
    error = (bptt_error){0};
    failed(npy_stream_rows(stream, 0, 10, BPTT_F32, rows, &error), &error, BPTT_ERROR_FILE, "was changed",
           "what is left");
    npy_stream_close(stream);
    write_rows(BPTT_F32, f32);
    tap_ok(!npy_stream_open(path, &stream, NULL) && !npy_stream_rows(stream, 0, 10, BPTT_F32, rows, NULL), "another");
    struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    error = (bptt_error){0};
    utimensat(AT_FDCWD, path, times, 0);
    failed(npy_stream_rows(stream, 0, 10, BPTT_F32, rows, &error), &error, BPTT_ERROR_FILE, "was changed",
           "written to while it is open");
    npy_stream_close(stream);
    write_rows(BPTT_F32, f32);
    tap_ok(!npy_stream_open(path, &stream, NULL) && !unlink(path), "a third");
    tap_ok(!npy_stream_rows(stream, 0, 1000, BPTT_F32, rows, NULL) && !memcmp(rows, f32, sizeof f32),
           "removed while it is open it is there all the same");
    is_broken = 1;
    error = (bptt_error){0};
    failed(npy_stream_rows(stream, 0, 10, BPTT_F32, rows, &error), &error, BPTT_ERROR_FILE, "cannot read: Input/output",
           "a disk that is gone");
    is_broken = 0;
    npy_stream_close(stream);
}

/* ---- tensors ---- */

static const bptt_array items[] = {
    {.name = "layers.0.U", .type = BPTT_F32, .rank = 2, .shape = {2, 3}},
    {.name = "input", .type = BPTT_F64, .rank = 3, .shape = {STEPS, 2, 3}},
    {.name = "none", .type = BPTT_F32, .rank = 3, .shape = {0, 2, 3}},
    {.name = "tokens", .type = BPTT_I32, .rank = 2, .shape = {STEPS, ROW}},
};
static const bptt_arrays shapes = {4, (bptt_array *)items};

static int put_all(struct safetensors_writer *writer, bptt_error *error)
{
    int status = safetensors_put(writer, 3, 0, STEPS * ROW, i32, error);
    for (int64_t end = STEPS; !status && end > 0; end -= 8) /* dL/dx comes backwards */
        status = safetensors_put(writer, 1, (end - 8) * ROW, 8 * ROW, f64 + (end - 8) * ROW, error);
    if (!status)
        status = safetensors_put(writer, 2, 0, 0, NULL, error);
    return status ? status : safetensors_put(writer, 0, 0, 6, f32, error);
}

static int write_tensors(bptt_error *error)
{
    struct safetensors_writer *writer;
    int status = safetensors_begin(path, &shapes, "{\"a\":1}", &writer, error);
    if (status)
        return writer ? -1 : status;
    status = put_all(writer, error);
    if (!status)
        return safetensors_commit(writer, error);
    safetensors_abandon(writer);
    return status;
}

static void test_tensors(void)
{
    static char ours[100000], theirs[100000];
    bptt_array whole[4];
    bptt_error error = {0};
    memcpy(whole, items, sizeof whole);
    whole[0].data = f32;
    whole[1].data = f64;
    whole[3].data = i32;
    int before = descriptors();
    tap_ok(!write_tensors(&error), "tensors in any order %s", error.text);
    tap_ok(!safetensors_save(other, &(bptt_arrays){4, whole}, "{\"a\":1}", &error), "and at once %s", error.text);
    size_t size = get(path, ours, sizeof ours);
    tap_ok(size > 72000 && size == get(other, theirs, sizeof theirs) && !memcmp(ours, theirs, size), "the same bytes");
    tap_ok(descriptors() == before, "no descriptor is left");
    struct safetensors_writer *writer;
    bptt_arrays back;
    tap_ok(!safetensors_begin(path, &shapes, NULL, &writer, NULL) && !safetensors_commit(writer, NULL) &&
               !bptt_safetensors_read(path, &back, &error), "nothing put %s", error.text);
    const bptt_array *input = bptt_arrays_find(&back, "input");
    tap_ok(input && ((double *)input->data)[0] == 0 && ((double *)input->data)[STEPS * ROW - 1] == 0, "is zeros");
    bptt_arrays_clear(&back);
    tap_ok(!safetensors_begin(path, &(bptt_arrays){0}, NULL, &writer, NULL) && !safetensors_commit(writer, NULL) &&
               !bptt_safetensors_read(path, &back, &error) && back.count == 0, "no tensors at all %s", error.text);
    bptt_arrays_clear(&back);
    unlink(path);
    unlink(other);
}

static void test_abandoned(void)
{
    char data[8] = "";
    struct safetensors_writer *writer;
    put("old", 3);
    int names = entries(folder);
    tap_ok(!safetensors_begin(path, &shapes, NULL, &writer, NULL) && entries(folder) == names + 1, "written aside");
    tap_ok(!put_all(writer, NULL) && get(path, data, sizeof data) == 3, "the old file stays meanwhile");
    safetensors_abandon(writer);
    safetensors_abandon(NULL);
    tap_ok(get(path, data, sizeof data) == 3 && entries(folder) == names, "and after that is abandoned, alone");
    tap_ok(!safetensors_begin(path, &shapes, NULL, &writer, NULL), "begun again");
    bptt_error error = {0};
    int status = safetensors_put(writer, 4, 0, 1, f32, &error);
    tap_ok(is_clear(status, &error, BPTT_ERROR_ARGUMENT, "", "in tensor 4 of 4"), "no such tensor");
    error = (bptt_error){0};
    status = safetensors_put(writer, 0, 5, 2, f32, &error);
    tap_ok(is_clear(status, &error, BPTT_ERROR_ARGUMENT, "", "no 2 elements from 5 on"), "past its end");
    tap_ok(safetensors_put(writer, 0, -1, 1, f32, NULL) == BPTT_ERROR_ARGUMENT, "before its beginning");
    tap_ok(safetensors_put(writer, 0, INT64_MAX, INT64_MAX, f32, NULL) == BPTT_ERROR_ARGUMENT, "an overflow");
    safetensors_abandon(writer);
    unlink(path);
}

static void refuse_target(const char *target, const char *part, const char *what)
{
    struct safetensors_writer *writer = (struct safetensors_writer *)folder;
    bptt_error error = {0};
    int before = descriptors(), names = entries(folder);
    int status = safetensors_begin(target, &shapes, NULL, &writer, &error);
    if (!tap_ok(is_clear(status, &error, BPTT_ERROR_FILE, target, part), "%s: \"%s\"", what, part))
        tap_note("status %d: %s", status, error.text);
    tap_ok(!writer && descriptors() == before && entries(folder) == names, "%s: nothing is left", what);
}

static void test_targets(void)
{
    char name[256];
    snprintf(name, sizeof name, "%s/missing/file", folder);
    refuse_target(name, "its folder is missing", "a missing folder");
    refuse_target(folder, "directory", "a folder");
    refuse_target("/dev/full", "No space", "/dev/full");
    struct safetensors_writer *writer;
    tap_ok(!safetensors_begin("/dev/null", &shapes, NULL, &writer, NULL) && !put_all(writer, NULL) &&
               !safetensors_commit(writer, NULL), "/dev/null takes it");
    int gate[2], fd = open(path, O_RDWR | O_CREAT, 0666);
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    refuse_target(name, "cannot be written in any order, as is needed here; name a file", "somebody's open file");
    close(fd);
    unlink(path);
    if (pipe(gate))
        return;
    snprintf(name, sizeof name, "/dev/fd/%d", gate[1]);
    refuse_target(name, "in any order", "a pipe");
    close(gate[0]);
    close(gate[1]);
}

static void test_bad_tensors(void)
{
    struct safetensors_writer *writer;
    bptt_array item[2] = {items[0], items[0]};
    bptt_error error = {0};
    failed(safetensors_begin(path, &(bptt_arrays){2, item}, NULL, &writer, &error), &error, BPTT_ERROR_ARGUMENT,
           "the same name", "a name twice");
    item[0].shape[0] = INT64_MAX / 4;
    error = (bptt_error){0};
    failed(safetensors_begin(path, &(bptt_arrays){1, item}, NULL, &writer, &error), &error, BPTT_ERROR_ARGUMENT,
           "negative or too large", "a shape that overflows");
    item[0].shape[0] = INT64_MAX / 32;
    error = (bptt_error){0};
    failed(safetensors_begin(path, &(bptt_arrays){1, item}, NULL, &writer, &error), &error, BPTT_ERROR_FILE,
           "cannot take the 34587", "more than there is");
    item[0] = items[0];
    error = (bptt_error){0};
    failed(safetensors_save(path, &(bptt_arrays){1, item}, NULL, &error), &error, BPTT_ERROR_ARGUMENT, "no data",
           "saved at once it must be there");
    tap_ok(entries(folder) == 2, "nothing is left");
}

/* A limit on file sizes stands for a disk that is full. */
static void test_size_limit(void)
{
    char data[8] = "";
    struct rlimit old, small;
    struct safetensors_writer *writer;
    bptt_error error = {0};
    put("old", 3);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 10000;
    fflush(stdout);
    setrlimit(RLIMIT_FSIZE, &small);
    int status = safetensors_begin(path, &shapes, NULL, &writer, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    failed(status, &error, BPTT_ERROR_FILE, "bytes that it needs: File too large", "a limit on the size of files");
    tap_ok(!writer && get(path, data, sizeof data) == 3 && entries(folder) == 3, "the old file stays, nothing else");
    unlink(path);
}

static void try_small_disk(struct small_disk *report)
{
    bptt_error error = {0};
    put("old", 3);
    int status = write_tensors(&error);
    report->passed[0] = is_clear(status, &error, BPTT_ERROR_FILE, path, "bytes that it needs: No space left");
    report->passed[1] = entries(folder) == 3;
    snprintf(report->text[0], sizeof report->text[0], "%.390s", error.text);
}

static void test_small_disk(void)
{
    struct small_disk report;
    if (!small_disk_run(folder, try_small_disk, &report)) {
        tap_skip("no file system may be mounted here", "a disk of 64 KiB");
        return;
    }
    tap_ok(report.passed[0], "a disk that is too small is refused at once %s", report.passed[0] ? "" : report.text[0]);
    tap_ok(report.passed[1], "and nothing is left on it");
}

/* Permissions bind all but root. */
static void test_protected(void)
{
    if (geteuid() == 0) {
        tap_skip("root may write anywhere", "a protected folder");
        return;
    }
    chmod(folder, 0555);
    refuse_target(path, "Permission denied", "a protected folder");
    chmod(folder, 0755);
}

/* Somebody removes the folder while the gradient is computed. */
static void test_vanished(void)
{
    char name[256];
    struct safetensors_writer *writer;
    bptt_error error = {0};
    int before = descriptors();
    snprintf(name, sizeof name, "%s/sub", folder);
    mkdir(name, 0777);
    strcat(name, "/file");
    tap_ok(!safetensors_begin(name, &shapes, NULL, &writer, NULL), "begun in a folder");
    snprintf(other, sizeof other, "%.100s/sub/.bptt-%ld-0.tmp", folder, (long)getpid());
    *strrchr(name, '/') = '\0';
    tap_ok(!unlink(other) && !rmdir(name), "which is removed");
    tap_ok(!put_all(writer, &error), "the tensors can be put");
    int status = safetensors_commit(writer, &error);
    tap_ok(is_clear(status, &error, BPTT_ERROR_FILE, name, "cannot write: No such file"), "but not kept");
    tap_ok(descriptors() == before, "nothing is left");
}

/* ---- allocations ---- */

static int read_rows(bptt_error *error)
{
    float rows[ROW];
    struct npy_stream *stream;
    int status = npy_stream_open(path, &stream, error);
    if (status)
        return stream ? -1 : status;
    status = npy_stream_rows(stream, 3, 1, BPTT_F32, rows, error);
    npy_stream_close(stream);
    return status;
}

static void fail_each(const char *what, int (*job)(bptt_error *))
{
    enum { MOST = 500 };
    int wrong = 0, before = descriptors(), names = entries(folder);
    long n = 1;
    for (; n < MOST; n++) {
        bptt_error error = {0};
        allocations = 0;
        fails_at = n;
        int status = job(&error), is_done = allocations < n;
        fails_at = 0;
        if (is_done)
            break;
        int is_right = !status || is_clear(status, &error, BPTT_ERROR_MEMORY, "", "");
        is_right &= descriptors() == before && entries(folder) == names;
        if (!is_right)
            tap_note("allocation %ld: status %d: %s", n, status, error.text);
        wrong += !is_right;
    }
    tap_ok(!wrong && n > 1 && n < MOST, "%s: each of %ld allocations may fail", what, n - 1);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.80s/bptt-test-stream-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/file", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    json_set_alloc_funcs(__wrap_malloc, free);
    fill();
    test_rows();
    test_narrow();
    test_long();
    test_shapes();
    test_bad_rows();
    test_bad_files();
    test_changed();
    test_tensors();
    test_abandoned();
    test_targets();
    test_bad_tensors();
    test_size_limit();
    test_small_disk();
    test_protected();
    test_vanished();
    write_rows(BPTT_F64, f64);
    fail_each("rows", read_rows);
    fail_each("tensors", write_tensors);
    tap_ok(!unlink(path) && !rmdir(folder), "nothing is left behind");
    return tap_done();
}
