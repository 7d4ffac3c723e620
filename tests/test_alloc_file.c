// link: -Wl,--wrap=malloc -Wl,--wrap=calloc -Wl,--wrap=realloc -Wl,--wrap=strdup -Wl,--wrap=strndup -Wl,--wrap=realpath
/* test_alloc_file.c - every allocation of reading and writing a file fails, alone and with all that follow: each time
 * the job ends in BPTT_ERROR_MEMORY or does without, hands nothing out, leaves the old file as it was, nothing beside
 * it, no open descriptor and (under the sanitizers) no memory. The JSON library allocates through the same count. */
#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../src/file/lock.h"
#include "../src/file/metrics.h"
#include "../src/file/safetensors.h"
#include "tap.h"

static long calls, fails_at;               /* the allocation that fails; 0: none */
static int fails_on;                       /* and all after it */

static int fails(void)
{
    calls++;
    if (!fails_at || calls < fails_at || (calls > fails_at && !fails_on))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
char *__real_strdup(const char *text);
char *__real_strndup(const char *text, size_t length);
char *__real_realpath(const char *path, char *resolved);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t length);
char *__wrap_realpath(const char *path, char *resolved);

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

/* ---- the folder: one file, which every job leaves as good as it was ---- */

static char folder[128], path[160];

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

static long file_size(void)
{
    FILE *file = fopen(path, "rb");
    long size = file && !fseek(file, 0, SEEK_END) ? ftell(file) : -1;
    if (file)
        fclose(file);
    return size;
}

/* ---- jobs ---- */

static float weights[6] = {1, 2, 3, 4, 5, 6};
static const bptt_array matrix = {.name = "w", .type = BPTT_F32, .rank = 2, .shape = {2, 3}, .data = weights};

static int write_tensors(bptt_error *error)
{
    bptt_array item[2] = {matrix, matrix};
    strcpy(item[1].name, "b");
    return safetensors_save(path, &(bptt_arrays){2, item}, "{\"version\":1}", error);
}

static int read_tensors(bptt_error *error)
{
    bptt_arrays set;
    char *metadata;
    int status = safetensors_load(path, &set, &metadata, error);
    if (status && (set.count || set.items || metadata))
        return -1;
    bptt_arrays_clear(&set);
    free(metadata);
    return status;
}

static int write_npy(bptt_error *error)
{
    return bptt_npy_write(path, &matrix, error);
}

static int read_npy(bptt_error *error)
{
    bptt_array array;
    int status = bptt_npy_read(path, &array, error);
    if (status && array.data)
        return -1;
    bptt_array_clear(&array);
    return status;
}

static int take_lock(bptt_error *error)
{
    struct run_lock lock;
    int status = lock_take(&lock, path, error);
    lock_release(&lock);
    return status;
}

/* A failure while opening keeps every line; one while writing a line keeps those before it. */
static int log_metrics(bptt_error *error)
{
    struct metrics metrics;
    int status = metrics_open(&metrics, path, 2, error);
    if (!status) {
        metrics_begin(&metrics, 3);
        metrics_number(&metrics, "loss", 1.5);
        metrics_text(&metrics, "what", "train");
        status = metrics_end(&metrics, error);
    }
    metrics_close(&metrics);
    return status;
}

/* ---- each allocation ---- */

static void fail_from(const char *what, int (*job)(bptt_error *), int keeps_file)
{
    enum { MOST = 1000 };
    long n = 1, size = file_size();
    int wrong = 0, survived = 0, descriptors = entries("/proc/self/fd"), names = entries(folder);
    for (; n < MOST; n++) {
        bptt_error error = {0};
        calls = 0;
        fails_at = n;
        int status = job(&error);
        int is_done = calls < n;
        fails_at = 0;
        if (is_done)
            break;
        if (status == BPTT_OK) {
            survived++;
            size = file_size();
        }
        int is_right = status == BPTT_OK || (status == BPTT_ERROR_MEMORY && error.text[0] && !strchr(error.text, '\n'));
        is_right &= entries("/proc/self/fd") == descriptors && entries(folder) == names;
        is_right &= !keeps_file || file_size() == size;
        if (!is_right)
            tap_note("allocation %ld: status %d: %s", n, status, error.text);
        wrong += !is_right;
    }
    tap_ok(wrong == 0 && n > 1 && n < MOST, "%s: each of %ld allocations may fail%s (%d can be done without)", what,
           n - 1, fails_on ? " with all that follow" : "", survived);
}

static void fail_each(const char *what, int (*job)(bptt_error *), int keeps_file)
{
    for (fails_on = 1; fails_on >= 0; fails_on--)
        fail_from(what, job, keeps_file);
}

static void put(const char *text)
{
    FILE *file = fopen(path, "wb");
    tap_ok(file && fputs(text, file) >= 0 && !fclose(file), "a file to begin with");
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.80s/bptt-test-alloc-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return 1;
    snprintf(path, sizeof path, "%s/file", folder);
    json_set_alloc_funcs(__wrap_malloc, free);
    put("old");
    fail_each("safetensors written over a file", write_tensors, 1);
    fail_each("safetensors read", read_tensors, 1);
    put("old");
    fail_each(".npy written over a file", write_npy, 1);
    fail_each(".npy read", read_npy, 1);
    fail_each("a run lock", take_lock, 1);
    put("{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st");
    fail_each("metrics taken up again", log_metrics, 0);
    FILE *file = fopen(path, "rb");
    char data[128] = "";
    tap_ok(file && fread(data, 1, sizeof data - 1, file) > 0 && !fclose(file), "the metrics are there");
    tap_text(data, "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"loss\":1.5,\"what\":\"train\"}\n", "and whole");
    tap_ok(!unlink(path) && !rmdir(folder), "nothing is left behind");
    return tap_done();
}
