/* test_file.c - files from the outside: what is written is read back bit by bit, everything that a damaged or lying
 * file could say is refused with its name in the message, and a write that fails leaves the old file and nothing
 * else. */
#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../src/file/array.h"
#include "../src/file/atomic.h"
#include "../src/file/lock.h"
#include "../src/file/metrics.h"
#include "../src/file/safetensors.h"
#include "tap.h"

/* ---- a folder of our own; every test names its files within it ---- */

struct place {
    char folder[200], path[4][256];
};

static char *in(struct place *place, int slot, const char *name)
{
    size_t length = strlen(place->folder);
    memcpy(place->path[slot], place->folder, length);
    snprintf(place->path[slot] + length, sizeof place->path[slot] - length, "/%s", name);
    return place->path[slot];
}

static void put(const char *path, const void *data, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, bytes, file) != bytes || fclose(file))
        tap_ok(0, "the test can write %s", path);
}

static size_t get(const char *path, char *data, size_t room)
{
    FILE *file = fopen(path, "rb");
    size_t got = file ? fread(data, 1, room - 1, file) : 0;
    if (file)
        fclose(file);
    data[got] = '\0';
    return got;
}

static int file_count(const char *folder)
{
    int count = 0;
    DIR *dir = opendir(folder);
    for (const struct dirent *entry; dir && (entry = readdir(dir));)
        count += strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..");
    if (dir)
        closedir(dir);
    return count;
}

static void empty(const char *folder)
{
    char path[512];
    DIR *dir = opendir(folder);
    for (const struct dirent *entry; dir && (entry = readdir(dir));) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (unlink(path))
            rmdir(path);
    }
    if (dir)
        closedir(dir);
}

/* An error must have the code, name the file, be one line and hold `part`. */
static void failed(int status, const bptt_error *error, int code, const char *path, const char *part, const char *what)
{
    int pass = status == code && error->code == code && strstr(error->text, path) && strstr(error->text, part) &&
               !strchr(error->text, '\n');
    if (!tap_ok(pass, "%s: \"%s\"", what, part))
        tap_note("status %d: %s", status, error->text);
}

/* ---- arrays ---- */

static void test_arrays(void)
{
    size_t bytes = 1;
    tap_ok(array_size(0, NULL, 4, &bytes) && bytes == 4, "a scalar has one element");
    tap_ok(array_size(3, (int64_t[]){5, 0, 7}, 4, &bytes) && bytes == 0, "no steps, no bytes");
    tap_ok(!array_size(2, (int64_t[]){5, -1}, 4, &bytes), "negative length");
    tap_ok(!array_size(2, (int64_t[]){INT64_MAX, INT64_MAX}, 4, &bytes), "overflow");
    tap_ok(!array_size(3, (int64_t[]){INT64_MAX, INT64_MAX, 0}, 4, &bytes), "overflow before a zero");
    tap_ok(!array_size(3, (int64_t[]){0, INT64_MAX, INT64_MAX}, 4, &bytes), "overflow after a zero");
    bptt_arrays set = {.count = 2, .items = calloc(2, sizeof(bptt_array))};
    snprintf(set.items[1].name, sizeof set.items[1].name, "h0");
    set.items[1].data = malloc(4);
    tap_ok(bptt_arrays_find(&set, "h0") == &set.items[1], "find by name");
    tap_ok(!bptt_arrays_find(&set, "h1") && !bptt_arrays_find(NULL, "h"), "find none");
    tap_ok(bptt_array_length(&(bptt_array){.rank = 2, .shape = {3, 4}}) == 12, "length");
    bptt_arrays_clear(&set);
    bptt_arrays_clear(&set);
    bptt_arrays_clear(NULL);
    bptt_array_clear(NULL);
    bptt_free(NULL);
    tap_ok(!set.items && !set.count, "cleared twice");
}

/* ---- atomic writing ---- */

static int write_text(const char *path, const char *text, bptt_error *error)
{
    struct atomic_file file;
    int status = atomic_open(&file, path, error);
    if (!status)
        status = atomic_write(&file, text, strlen(text), error);
    return status ? status : atomic_commit(&file, error);
}

static void test_atomic_good(struct place *place)
{
    char data[64];
    struct stat st;
    bptt_error error = {0};
    char *path = in(place, 0, "a"), *link_path = in(place, 1, "link");
    tap_ok(!write_text(path, "one", &error) && get(path, data, sizeof data) == 3, "a new file");
    chmod(path, 0640);
    tap_ok(!write_text(path, "two", &error), "replaced");
    get(path, data, sizeof data);
    tap_text(data, "two", "the new text");
    tap_ok(!stat(path, &st) && (st.st_mode & 0777) == 0640, "permissions stay");
    tap_ok(!symlink("a", link_path) && !write_text(link_path, "three", &error), "through a symbolic link");
    get(path, data, sizeof data);
    tap_text(data, "three", "its target is replaced");
    tap_ok(!lstat(link_path, &st) && S_ISLNK(st.st_mode), "and the link stays");
    struct atomic_file file;
    tap_ok(!atomic_open(&file, path, &error) && !atomic_write(&file, "x", 1, &error), "begin another");
    tap_ok(file_count(place->folder) == 3, "written aside");
    atomic_abort(&file);
    atomic_abort(&file);
    get(path, data, sizeof data);
    tap_text(data, "three", "an abort leaves the old file");
    tap_ok(file_count(place->folder) == 2, "and nothing aside");
    empty(place->folder);
}

static void test_atomic_names(struct place *place)
{
    char stale[256], data[8];
    bptt_error error = {0};
    snprintf(stale, sizeof stale, "%.190s/.bptt-%ld-0.tmp", place->folder, (long)getpid());
    put(stale, "s", 1);
    tap_ok(!write_text(in(place, 0, "a"), "new", &error) && get(stale, data, sizeof data) == 1,
           "a stale temporary file is passed by");
    char here[512];
    tap_ok(getcwd(here, sizeof here) && !chdir(place->folder), "into the folder");
    tap_ok(!write_text("plain", "new", &error) && !access("plain", F_OK), "a name without a folder");
    tap_ok(!chdir(here), "and back");
    empty(place->folder);
}

static void test_atomic_bad(struct place *place)
{
    bptt_error error = {0};
    char *path = in(place, 0, "missing/a");
    failed(write_text(path, "x", &error), &error, BPTT_ERROR_FILE, path, "folder is missing", "no folder");
    error = (bptt_error){0};
    path = in(place, 0, "sub");
    mkdir(path, 0777);
    failed(write_text(path, "x", &error), &error, BPTT_ERROR_FILE, path, "directory", "a folder as target");
    error = (bptt_error){0};
    put(in(place, 0, "a"), "x", 1);
    path = in(place, 1, "a/b");
    failed(write_text(path, "x", &error), &error, BPTT_ERROR_FILE, path, "Not a directory", "a file as folder");
    error = (bptt_error){0};
    failed(write_text("", "x", &error), &error, BPTT_ERROR_FILE, "", "cannot write", "no name");
    error = (bptt_error){0};
    failed(write_text("/dev/full", "x", &error), &error, BPTT_ERROR_FILE, "/dev/full", "No space", "a full device");
    tap_ok(!access("/dev/full", F_OK), "the device is still there");
    tap_ok(!write_text("/dev/null", "x", NULL), "/dev/null takes it");
    empty(place->folder);
}

/* A regular file under /dev is replaced as elsewhere: written through it would hold the old model and the new one. */
static void test_atomic_shared_memory(void)
{
    char folder[] = "/dev/shm/bptt-test-XXXXXX", path[64], data[16];
    if (!mkdtemp(folder)) {
        tap_skip("no /dev/shm here", "a file in shared memory is replaced");
        return;
    }
    snprintf(path, sizeof path, "%s/a", folder);
    int status = write_text(path, "first", NULL) || write_text(path, "two", NULL);
    tap_ok(!status && get(path, data, sizeof data) == 3, "a file in shared memory is replaced");
    empty(folder);
    rmdir(folder);
}

/* `bptt ... --out /dev/stdout > file`: what the program writes before and after stays. */
static void test_atomic_descriptor(struct place *place)
{
    char data[32] = "", name[32], *path = in(place, 0, "a");
    bptt_error error = {0};
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0666);
    snprintf(name, sizeof name, "/dev/fd/%d", fd);
    int well = write(fd, "<", 1) == 1 && !write_text(name, "middle", &error) && write(fd, ">", 1) == 1;
    close(fd);
    get(path, data, sizeof data);
    tap_ok(well, "written to an open file %s", error.text);
    tap_text(data, "<middle>", "in its place");
    tap_ok(file_count(place->folder) == 1, "nothing aside");
    failed(write_text(name, "x", &error), &error, BPTT_ERROR_FILE, name, "Bad file descriptor", "a closed one");
    error = (bptt_error){0};
    failed(write_text("/dev/fd/1x", "x", &error), &error, BPTT_ERROR_FILE, "/dev/fd/1x", "cannot write", "no number");
    int gate[2];
    if (pipe(gate))
        return;
    snprintf(name, sizeof name, "/dev/fd/%d", gate[1]);
    tap_ok(!write_text(name, "piped", NULL) && read(gate[0], data, sizeof data) == 5, "a pipe, which cannot be synced");
    close(gate[0]);
    close(gate[1]);
    empty(place->folder);
}

/* Permissions bind all but root. */
static void test_atomic_protected(struct place *place)
{
    char data[8], *path = in(place, 0, "a");
    bptt_error error = {0};
    if (geteuid() == 0) {
        tap_skip("root may write anywhere", "a protected folder");
        return;
    }
    put(path, "old", 3);
    chmod(path, 0444);
    failed(write_text(path, "x", &error), &error, BPTT_ERROR_FILE, path, "Permission denied", "a protected file");
    chmod(path, 0644);
    chmod(place->folder, 0555);
    error = (bptt_error){0};
    failed(write_text(path, "x", &error), &error, BPTT_ERROR_FILE, path, "Permission denied", "a protected folder");
    chmod(place->folder, 0755);
    get(path, data, sizeof data);
    tap_text(data, "old", "the old file is untouched");
    empty(place->folder);
}

/* A limit on file sizes stands for a disk that fills up half-way. */
static void test_atomic_full(struct place *place)
{
    static const char block[8192];
    char data[8], *path = in(place, 0, "a");
    put(path, "old", 3);
    fflush(stdout);
    struct rlimit old, small;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 10000;
    setrlimit(RLIMIT_FSIZE, &small);
    bptt_error error = {0};
    struct atomic_file file;
    int status = atomic_open(&file, path, &error);
    for (int i = 0; !status && i < 4; i++)
        status = atomic_write(&file, block, sizeof block, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    failed(status, &error, BPTT_ERROR_FILE, path, "File too large", "full half-way");
    get(path, data, sizeof data);
    tap_text(data, "old", "the old file is untouched");
    tap_ok(file_count(place->folder) == 1, "nothing aside");
    empty(place->folder);
}

/* ---- safetensors ---- */

static void put_tensors(const char *path, const char *header, size_t length, uint64_t said, size_t data_bytes)
{
    static const char zeros[256];
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(&said, 8, 1, file) != 1 || fwrite(header, 1, length, file) != length ||
        fwrite(zeros, 1, data_bytes, file) != data_bytes || fclose(file))
        tap_ok(0, "the test can write %s", path);
}

static int same_array(const bptt_array *a, const bptt_array *b)
{
    size_t bytes = (size_t)bptt_array_length(b) * array_type_size(b->type);
    return a && a->type == b->type && a->rank == b->rank && !memcmp(a->shape, b->shape, sizeof a->shape) && a->data &&
           (!bytes || !memcmp(a->data, b->data, bytes));
}

static void test_safetensors_round(struct place *place)
{
    float f[6] = {1.5f, -0.0f, INFINITY, NAN, 1e-40f, 6};
    double d[1] = {0.1};
    int32_t i[3] = {-1, INT32_MIN, INT32_MAX};
    bptt_array item[] = {
        {.name = "l0.U_z", .type = BPTT_F32, .rank = 2, .shape = {2, 3}, .data = f},
        {.name = "none", .type = BPTT_F32, .rank = 3, .shape = {0, 2, 3}},
        {.name = "scalar", .type = BPTT_F64, .data = d},
        {.name = "\xc3\xa4 \"quoted\" \\", .type = BPTT_I32, .rank = 4, .shape = {1, 1, 3, 1}, .data = i},
    };
    bptt_arrays set = {.count = 4, .items = item}, back;
    char *path = in(place, 0, "m"), *metadata = NULL, *text = "{\"a\":\"\\u00e4\n\"}", data[2048];
    bptt_error error = {0};
    tap_ok(!safetensors_save(path, &set, text, &error), "save %s", error.text);
    tap_ok(!safetensors_load(path, &back, &metadata, &error), "load %s", error.text);
    tap_text(metadata, text, "metadata comes back");
    tap_ok(back.count == 4, "all tensors");
    for (size_t k = 0; k < 4; k++)
        tap_ok(same_array(bptt_arrays_find(&back, item[k].name), &item[k]), "tensor %s comes back", item[k].name);
    bptt_arrays_clear(&back);
    free(metadata);
    uint64_t length = 0;
    size_t size = get(path, data, sizeof data);
    memcpy(&length, data, 8);
    tap_ok(length % 8 == 0 && size == 8 + length + 24 + 8 + 12, "the header is padded to 8");
    tap_ok(!bptt_safetensors_write(path, &set, &error) && !safetensors_load(path, &back, &metadata, &error) &&
               !metadata,
           "without metadata");
    bptt_arrays_clear(&back);
    tap_ok(!bptt_safetensors_write(path, &(bptt_arrays){0}, &error) && !bptt_safetensors_read(path, &back, &error) &&
               back.count == 0,
           "no tensors at all");
    bptt_arrays_clear(&back);
    empty(place->folder);
}

#define T(name, dtype, shape, from, to)                                                                                \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #from "," #to "]}"

struct bad_tensors {
    const char *header;
    size_t data;
    const char *part;
};
static const struct bad_tensors bad_tensors[] = {
    {"{", 0, "empty"},
    {"{ ", 0, "JSON"},
    {"[]", 0, "not a JSON object"},
    {" {}", 0, "not a JSON object"},
    {"{} x", 0, "JSON"},
    {"{\"a\":1}", 0, "not an object"},
    {"{\"a\":[]}", 0, "not an object"},
    {"{\"a\":{}}", 0, "not an object"},
    {"{\"a\":null}", 0, "not an object"},
    {"{\"a\":{\"dtype\":3,\"shape\":[],\"data_offsets\":[0,4]}}", 4, "dtype"},
    {"{\"a\":{\"kind\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4, "dtype"},
    {"{" T("a", "BF16", "[2]", 0, 4) "}", 4, "\"a\" has dtype BF16"},
    {"{" T("a", "\\n", "[2]", 0, 4) "}", 4, "(unknown)"},
    {"{" T("a", "F32", "3", 0, 12) "}", 12, "no list"},
    {"{" T("a", "F32", "[1.5]", 0, 6) "}", 6, "whole numbers"},
    {"{" T("a", "F32", "[\"1\"]", 0, 4) "}", 4, "whole numbers"},
    {"{" T("a", "F32", "[-1]", 0, 4) "}", 4, "negative"},
    {"{" T("a", "F32", "[-1,-1]", 0, 4) "}", 4, "negative"},
    {"{" T("a", "F32", "[4611686018427387904,4]", 0, 4) "}", 4, "too large"},
    {"{" T("a", "F32", "[4611686018427387904,4611686018427387904,0]", 0, 0) "}", 0, "too large"},
    {"{" T("a", "F32", "[99999999999999999999]", 0, 4) "}", 4, "JSON"},
    {"{" T("a", "F32", "[1,1,1,1,1]", 0, 4) "}", 4, "more than 4"},
    {"{" T("a", "F32", "[2]", 0, 4) "}", 4, "disagree"},
    {"{" T("a", "F64", "[1]", 0, 4) "}", 4, "disagree"},
    {"{" T("a", "F32", "[2]", 0, 8) "}", 4, "outside"},
    {"{" T("a", "F32", "[1]", 8, 4) "}", 8, "outside"},
    {"{" T("a", "F32", "[1]", -4, 0) "}", 8, "outside"},
    {"{" T("a", "F32", "[1]", 0, 4.0) "}", 4, "two whole numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "two whole numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "two whole numbers"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":{}}}", 4, "two whole numbers"},
    {"{" T("a", "F32", "[2]", 0, 8) "," T("b", "F32", "[2]", 4, 12) "}", 12, "overlaps"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 0, 4) "}", 4, "overlaps"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("b", "F32", "[1]", 8, 12) "}", 12, "unused bytes before"},
    {"{" T("a", "F32", "[1]", 4, 8) "}", 8, "unused bytes before"},
    {"{" T("a", "F32", "[1]", 0, 4) "}", 5, "unused bytes at its end"},
    {"{}", 1, "unused bytes at its end"},
    {"{" T("a", "F32", "[1]", 0, 4) "," T("a", "F32", "[1]", 4, 8) "}", 8, "twice"},
    {"{" T("a\\u0000b", "F32", "[1]", 0, 4) "}", 4, "JSON"},
    {"{" T("a\\nb", "F32", "[1]", 0, 4) "}", 4, "control"},
    {"{" T("", "F32", "[1]", 0, 4) "}", 4, "empty"},
    {"{" T("\xff", "F32", "[1]", 0, 4) "}", 4, "JSON"},
    {"{" T("0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
           "012345678901",
           "F32", "[1]", 0, 4) "}",
     4, "111"},
    {"{\"__metadata__\":[]}", 0, "metadata"},
    {"{\"__metadata__\":{\"bptt\":{}}}", 0, "metadata"},
    {"{\"__metadata__\":{\"bptt\":\"\\u0000\"}}", 0, "JSON"},
};

static void refuse_tensors(const char *path, const char *part, const char *what)
{
    bptt_error error = {0};
    bptt_arrays set = {.count = 7};
    char *metadata = NULL;
    failed(safetensors_load(path, &set, &metadata, &error), &error, BPTT_ERROR_FORMAT, path, part, what);
    tap_ok(!set.count && !set.items && !metadata, "nothing is handed out");
}

static void test_safetensors_lies(struct place *place)
{
    char *path = in(place, 0, "m");
    for (size_t k = 0; k < sizeof bad_tensors / sizeof *bad_tensors; k++) {
        const struct bad_tensors *bad = &bad_tensors[k];
        put_tensors(path, bad->header, strlen(bad->header), strlen(bad->header), bad->data);
        refuse_tensors(path, bad->part, bad->header);
    }
    put(path, "", 0);
    refuse_tensors(path, "shorter than 8", "an empty file");
    put_tensors(path, "{}", 2, 3, 0);
    refuse_tensors(path, "longer than the file", "a header one byte too long");
    put_tensors(path, "{}", 2, UINT64_MAX, 0);
    refuse_tensors(path, "longer than the file", "a header of 2^64 - 1 bytes");
    put_tensors(path, "{}", 2, 0, 0);
    refuse_tensors(path, "empty", "a header of no bytes");
    put_tensors(path, "{}\0 ", 4, 4, 0);
    refuse_tensors(path, "JSON", "a NUL in the header");
    put_tensors(path, "{}", 2, 100000001, 0);
    tap_ok(!truncate(path, 100000100), "a large file of holes");
    refuse_tensors(path, "100 MB", "a header of more than 100 MB");
    bptt_error error = {0};
    bptt_arrays set;
    failed(bptt_safetensors_read(place->folder, &set, &error), &error, BPTT_ERROR_FILE, place->folder, "folder",
           "a folder");
    error = (bptt_error){0};
    failed(bptt_safetensors_read(in(place, 0, "no"), &set, &error), &error, BPTT_ERROR_FILE, in(place, 0, "no"),
           "No such file", "no file");
    error = (bptt_error){0};
    failed(bptt_safetensors_read("/dev/null", &set, &error), &error, BPTT_ERROR_FILE, "/dev/null", "regular",
           "a device");
    empty(place->folder);
}

/* Every prefix of a good file is refused; every single changed byte is refused or read, and never read past the end. */
static void test_safetensors_damage(struct place *place)
{
    float f[3] = {1, 2, 3};
    bptt_array item = {.name = "w", .type = BPTT_F32, .rank = 1, .shape = {3}, .data = f};
    char *path = in(place, 0, "m"), data[512];
    bptt_arrays back;
    tap_ok(!safetensors_save(path, &(bptt_arrays){1, &item}, "meta", NULL), "a good file");
    size_t size = get(path, data, sizeof data);
    int refused = 0;
    for (size_t length = 0; length < size; length++) {
        put(path, data, length);
        refused += bptt_safetensors_read(path, &back, NULL) == BPTT_ERROR_FORMAT && !back.items;
    }
    tap_ok((size_t)refused == size, "every prefix is refused");
    int clean = 1;
    for (size_t at = 0; at < size * 8; at++) {
        data[at / 8] ^= (char)(1 << at % 8);
        put(path, data, size);
        data[at / 8] ^= (char)(1 << at % 8);
        int status = bptt_safetensors_read(path, &back, NULL);
        clean &= status == BPTT_OK || (status == BPTT_ERROR_FORMAT && !back.items);
        bptt_arrays_clear(&back);
    }
    tap_ok(clean, "every flipped bit is refused or harmless");
    empty(place->folder);
}

static void refuse_array(struct place *place, bptt_array array, size_t copies, const char *part)
{
    bptt_array items[2] = {array, array};
    bptt_error error = {0};
    char *path = in(place, 0, "m");
    failed(bptt_safetensors_write(path, &(bptt_arrays){copies, items}, &error), &error, BPTT_ERROR_ARGUMENT, path, part,
           "a bad array");
    tap_ok(access(path, F_OK), "no file is left");
}

static void test_safetensors_arguments(struct place *place)
{
    float f = 1;
    bptt_array good = {.name = "w", .type = BPTT_F32, .data = &f}, bad = good;
    refuse_array(place, good, 2, "same name");
    bad.type = 9;
    refuse_array(place, bad, 1, "type");
    bad = good;
    bad.rank = 5;
    refuse_array(place, bad, 1, "rank");
    bad = (bptt_array){.name = "w", .type = BPTT_F32, .rank = 1, .shape = {-2}, .data = &f};
    refuse_array(place, bad, 1, "negative");
    bad = good;
    bad.data = NULL;
    refuse_array(place, bad, 1, "no data");
    bad = good;
    bad.name[0] = '\0';
    refuse_array(place, bad, 1, "name");
    snprintf(bad.name, sizeof bad.name, "__metadata__");
    refuse_array(place, bad, 1, "name");
    snprintf(bad.name, sizeof bad.name, "\xff");
    refuse_array(place, bad, 1, "UTF-8");
    memset(bad.name, 'x', sizeof bad.name);
    refuse_array(place, bad, 1, "111");
    bptt_error error = {0};
    failed(safetensors_save("/dev/full", &(bptt_arrays){1, &good}, NULL, &error), &error, BPTT_ERROR_FILE, "/dev/full",
           "No space", "a full disk");
    error = (bptt_error){0};
    failed(safetensors_save(in(place, 0, "m"), &(bptt_arrays){1, &good}, "\xff", &error), &error, BPTT_ERROR_ARGUMENT,
           in(place, 0, "m"), "UTF-8", "metadata that is no text");
    empty(place->folder);
}

/* ---- npy ---- */

/* A file of the version with the dictionary as its header, then data. */
static void put_npy(const char *path, int version, const char *dictionary, const void *data, size_t bytes)
{
    size_t length = strlen(dictionary);
    unsigned char start[12] = {0x93,
                               'N',
                               'U',
                               'M',
                               'P',
                               'Y',
                               (unsigned char)version,
                               0,
                               (unsigned char)(length & 255),
                               (unsigned char)(length >> 8)};
    size_t prefix = version == 1 ? 10 : 12;
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(start, 1, prefix, file) != prefix || fwrite(dictionary, 1, length, file) != length ||
        fwrite(data, 1, bytes, file) != bytes || fclose(file))
        tap_ok(0, "the test can write %s", path);
}

static void npy_round(struct place *place, const bptt_array *array, const char *header)
{
    char *path = in(place, 0, "a.npy"), data[512];
    bptt_error error = {0};
    bptt_array back = {0};
    tap_ok(!bptt_npy_write(path, array, &error) && !bptt_npy_read(path, &back, &error), "%s: written and read %s",
           header, error.text);
    tap_ok(same_array(&back, array) && !back.name[0], "comes back");
    get(path, data, sizeof data);
    size_t length = (unsigned char)data[8] | (size_t)(unsigned char)data[9] << 8;
    tap_ok(!memcmp(data, "\x93NUMPY\1\0", 8) && (10 + length) % 64 == 0 && data[9 + length] == '\n',
           "version 1.0, aligned");
    tap_ok(!strncmp(data + 10, header, strlen(header)), "numpy's own header");
    bptt_array_clear(&back);
}

static void test_npy_round(struct place *place)
{
    float f[6] = {1.5f, -0.0f, INFINITY, NAN, 1e-40f, 6};
    double d = 0.1;
    int32_t i[3] = {-1, INT32_MIN, INT32_MAX};
    npy_round(place, &(bptt_array){.type = BPTT_F32, .rank = 3, .shape = {1, 2, 3}, .data = f},
              "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 3), }");
    npy_round(place, &(bptt_array){.type = BPTT_F64, .data = &d},
              "{'descr': '<f8', 'fortran_order': False, 'shape': (), }");
    npy_round(place, &(bptt_array){.type = BPTT_I32, .rank = 1, .shape = {3}, .data = i},
              "{'descr': '<i4', 'fortran_order': False, 'shape': (3,), }");
    npy_round(place, &(bptt_array){.type = BPTT_F32, .rank = 4, .shape = {0, INT32_MAX, 2, 1}},
              "{'descr': '<f4', 'fortran_order': False, 'shape': (0, 2147483647, 2, 1), }");
    empty(place->folder);
}

static void test_npy_foreign(struct place *place)
{
    int64_t wide[3] = {INT32_MIN, 0, INT32_MAX};
    unsigned char narrow[2500];
    char *path = in(place, 0, "a.npy");
    bptt_error error = {0};
    bptt_array a;
    for (int version = 1; version <= 3; version++) {
        put_npy(path, version, "{'descr': '<i8', 'fortran_order': False, 'shape': (3,), }   \n", wide, sizeof wide);
        int status = bptt_npy_read(path, &a, &error);
        tap_ok(!status && a.type == BPTT_I32 && ((int32_t *)a.data)[0] == INT32_MIN &&
                   ((int32_t *)a.data)[2] == INT32_MAX,
               "version %d, i8 narrowed", version);
        bptt_array_clear(&a);
    }
    for (size_t k = 0; k < sizeof narrow; k++)
        narrow[k] = (unsigned char)k;
    put_npy(path, 1, "{\"shape\":(50L,50,1),\"fortran_order\":False,\"descr\":\"|u1\"}", narrow, sizeof narrow);
    int right = !bptt_npy_read(path, &a, &error) && a.type == BPTT_I32 && a.rank == 3;
    for (size_t k = 0; right && k < sizeof narrow; k++)
        right = ((int32_t *)a.data)[k] == narrow[k];
    tap_ok(right, "u1 widened; keys in another order, other quotes, 50L");
    bptt_array_clear(&a);
    empty(place->folder);
}

#define D(descr, order, shape) "{'descr': " descr ", 'fortran_order': " order ", 'shape': " shape ", }\n"

struct bad_npy {
    const char *dictionary;
    size_t data;
    const char *part;
};
static const struct bad_npy bad_npy[] = {
    {D("'<f4'", "True", "(2, 2)"), 16, "ascontiguousarray"},
    {D("'>f4'", "False", "(2, 2)"), 16, "big-endian"},
    {D("'<f2'", "False", "(2, 2)"), 8, "<f2"},
    {D("'|b1'", "False", "(2, 2)"), 4, "astype"},
    {D("'|O'", "False", "(2, 2)"), 4, "astype"},
    {D("'a\nb'", "False", "(2, 2)"), 4, "(unknown)"},
    {D("[('x', '<f4')]", "False", "(2, 2)"), 16, "plain"},
    {D("'<f44444444444444444444'", "False", "(2, 2)"), 16, "plain"},
    {D("'<f4", "False", "(2, 2)"), 16, "damaged"},
    {D("'<f4'", "0", "(2, 2)"), 16, "fortran_order"},
    {D("'<f4'", "False", "(1,1,1,1,1)"), 4, "more than 4"},
    {D("'<f4'", "False", "(-1,)"), 4, "lengths"},
    {D("'<f4'", "False", "(1.5,)"), 4, "shape"},
    {D("'<f4'", "False", "(1"), 4, "shape"},
    {D("'<f4'", "False", "[1]"), 4, "tuple"},
    {D("'<f4'", "False", "(1)"), 4, "tuple"},
    {D("'<f4'", "False", "(1 1)"), 4, "tuple"},
    {D("'<f4'", "False", "(,)"), 4, "lengths"},
    {D("'<f4'", "False", "(99999999999999999999,)"), 4, "too large"},
    {D("'<f4'", "False", "(4611686018427387904,4)"), 16, "too large"},
    {D("'<f4'", "False", "(4611686018427387904,4611686018427387904,0)"), 0, "too large"},
    {D("'<f4'", "False", "(2,)"), 7, "needs 8 bytes"},
    {D("'<f4'", "False", "(2,)"), 9, "needs 8 bytes"},
    {D("'<f4'", "False", "(1000000000000,)"), 16, "cut off"},
    {D("'<f4'", "False", "(0,)"), 1, "needs 0 bytes"},
    {"", 4, "dictionary"},
    {"{}", 4, "lacks"},
    {"{'descr': '<f4', 'shape': (1,)}", 4, "lacks"},
    {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,)}", 4, "twice"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}", 4, "unknown"},
    {"{'descr': '<f4' 'fortran_order': False, 'shape': (1,)}", 4, "dictionary"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", 4, "dictionary"},
    {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)} x", 4, "goes on"},
    {"{3: 4}", 4, "dictionary"},
    {"('descr')", 4, "dictionary"},
};

static void refuse_npy(const char *path, const char *part, const char *what)
{
    bptt_error error = {0};
    bptt_array array = {.rank = 3};
    failed(bptt_npy_read(path, &array, &error), &error, BPTT_ERROR_FORMAT, path, part, what);
    tap_ok(!array.data && !array.rank, "nothing is handed out");
}

static void test_npy_lies(struct place *place)
{
    static const char zeros[16];
    char *path = in(place, 0, "a.npy");
    for (size_t k = 0; k < sizeof bad_npy / sizeof *bad_npy; k++) {
        put_npy(path, 1, bad_npy[k].dictionary, zeros, bad_npy[k].data);
        refuse_npy(path, bad_npy[k].part, bad_npy[k].dictionary);
    }
    int64_t wide[2] = {7, (int64_t)INT32_MAX + 1};
    put_npy(path, 1, D("'<i8'", "False", "(2,)"), wide, sizeof wide);
    refuse_npy(path, "element 1 is 2147483648", "an integer of more than 32 bits");
    put_npy(path, 4, D("'<f4'", "False", "(1,)"), zeros, 4);
    refuse_npy(path, "version 4", "a later version");
    put_npy(path, 0, D("'<f4'", "False", "(1,)"), zeros, 4);
    refuse_npy(path, "version 0", "no version");
    put(path, "", 0);
    refuse_npy(path, "too short", "an empty file");
    put(path, "PK\3\4 and more than that", 22);
    refuse_npy(path, "does not begin", "another kind of file");
    put(path, "\x93NUMPY\1\0\xff\xff{}", 12);
    refuse_npy(path, "longer than the file", "a header that is not there");
    put(path, "\x93NUMPY\2\0\xff\xff\xff\xff{}", 14);
    refuse_npy(path, "longer than the file", "a header of 4 GiB");
    put(path, "\x93NUMPY\1\0\4\0{}\0 ", 14);
    refuse_npy(path, "goes on", "a NUL in the header");
    empty(place->folder);
}

static void test_npy_damage(struct place *place)
{
    float f[3] = {1, 2, 3};
    bptt_array array = {.type = BPTT_F32, .rank = 1, .shape = {3}, .data = f}, back;
    char *path = in(place, 0, "a.npy"), data[512];
    tap_ok(!bptt_npy_write(path, &array, NULL), "a good file");
    size_t size = get(path, data, sizeof data);
    int refused = 0, clean = 1;
    for (size_t length = 0; length < size; length++) {
        put(path, data, length);
        refused += bptt_npy_read(path, &back, NULL) == BPTT_ERROR_FORMAT && !back.data;
    }
    tap_ok((size_t)refused == size, "every prefix is refused");
    for (size_t at = 0; at < size * 8; at++) {
        data[at / 8] ^= (char)(1 << at % 8);
        put(path, data, size);
        data[at / 8] ^= (char)(1 << at % 8);
        int status = bptt_npy_read(path, &back, NULL);
        clean &= status == BPTT_OK || (status == BPTT_ERROR_FORMAT && !back.data);
        bptt_array_clear(&back);
    }
    tap_ok(clean, "every flipped bit is refused or harmless");
    bptt_error error = {0};
    array.rank = 5;
    failed(bptt_npy_write(path, &array, &error), &error, BPTT_ERROR_ARGUMENT, path, "rank", "five dimensions");
    array.rank = 1;
    error = (bptt_error){0};
    failed(bptt_npy_write("/dev/full", &array, &error), &error, BPTT_ERROR_FILE, "/dev/full", "No space",
           "a full disk");
    empty(place->folder);
}

/* ---- the lock ---- */

static void test_lock(struct place *place)
{
    char *path = in(place, 0, "m"), *lock_path = in(place, 1, "m.lock"), pid[32];
    struct run_lock one = {0}, two = {0};
    bptt_error error = {0};
    lock_release(&one);
    tap_ok(!lock_take(&one, path, &error), "taken %s", error.text);
    snprintf(pid, sizeof pid, "(pid %ld)", (long)getpid());
    failed(lock_take(&two, path, &error), &error, BPTT_ERROR_BUSY, path, pid, "a second run");
    lock_release(&two);
    tap_ok(!access(lock_path, F_OK), "a failed take removes nothing");
    lock_release(&one);
    lock_release(&one);
    tap_ok(access(lock_path, F_OK), "released: the file is gone");
    put(lock_path, "999999\n and more", 16);
    error = (bptt_error){0};
    tap_ok(!lock_take(&two, path, &error), "a stale file is no obstacle %s", error.text);
    lock_release(&two);
    path = in(place, 0, "missing/m");
    failed(lock_take(&two, path, &error), &error, BPTT_ERROR_FILE, path, "folder is missing", "no folder");
    empty(place->folder);
}

/* Someone tidies up while a run holds the lock; the next run gets a file of its own, which the first must leave. */
static void test_lock_removed(struct place *place)
{
    char *path = in(place, 0, "m"), *lock_path = in(place, 1, "m.lock");
    struct run_lock one, two, three;
    tap_ok(!lock_take(&one, path, NULL) && !unlink(lock_path) && !lock_take(&two, path, NULL),
           "a lock file is removed");
    lock_release(&one);
    tap_ok(lock_take(&three, path, NULL) == BPTT_ERROR_BUSY, "the first run leaves the lock of the second");
    lock_release(&two);
    tap_ok(access(lock_path, F_OK), "which removes it");
    empty(place->folder);
}

static void test_lock_death(struct place *place)
{
    char *path = in(place, 0, "m");
    int gate[2];
    char ready = 0;
    struct run_lock lock = {0};
    bptt_error error = {0};
    fflush(stdout);
    if (pipe(gate))
        return;
    pid_t child = fork();
    if (child == 0) {
        ready = lock_take(&lock, path, NULL) == BPTT_OK;
        if (write(gate[1], &ready, 1) == 1)
            pause();
        _exit(1);
    }
    tap_ok(read(gate[0], &ready, 1) == 1 && ready, "another process has the lock");
    char pid[32];
    snprintf(pid, sizeof pid, "(pid %ld)", (long)child);
    failed(lock_take(&lock, path, &error), &error, BPTT_ERROR_BUSY, path, pid, "and is named");
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    error = (bptt_error){0};
    tap_ok(!lock_take(&lock, path, &error), "it dies, and its lock with it %s", error.text);
    lock_release(&lock);
    close(gate[0]);
    close(gate[1]);
    empty(place->folder);
}

/* Many processes take and release: whoever holds the lock finds the counter as the last holder left it. */
static void test_lock_race(struct place *place)
{
    enum { PROCESSES = 4, ROUNDS = 100 };
    char *path = in(place, 0, "m"), *counter = in(place, 1, "counter"), text[32];
    put(counter, "0", 1);
    fflush(stdout);
    for (int p = 0; p < PROCESSES; p++)
        if (fork() == 0) {
            for (int done = 0; done < ROUNDS;) {
                struct run_lock lock;
                if (lock_take(&lock, path, NULL))
                    continue;
                get(counter, text, sizeof text);
                int length = snprintf(text, sizeof text, "%d", atoi(text) + 1);
                put(counter, text, (size_t)length);
                lock_release(&lock);
                done++;
            }
            _exit(0);
        }
    int well = 1;
    for (int p = 0, status; p < PROCESSES; p++)
        well &= wait(&status) > 0 && status == 0;
    get(counter, text, sizeof text);
    tap_ok(well && atoi(text) == PROCESSES * ROUNDS, "one holder at a time (%s)", text);
    empty(place->folder);
}

/* ---- metrics ---- */

static void add_line(struct metrics *metrics, int64_t step, double loss)
{
    metrics_begin(metrics, step);
    metrics_number(metrics, "loss", loss);
    tap_ok(!metrics_end(metrics, NULL), "line of step %d", (int)step);
}

static void test_metrics(struct place *place)
{
    char *path = in(place, 0, "m.jsonl"), data[1024];
    struct metrics m = {0};
    bptt_error error = {0};
    metrics_close(&m);
    put(path, "old\n", 4);
    tap_ok(!metrics_open(&m, path, -1, &error), "a new file %s", error.text);
    metrics_begin(&m, 10);
    metrics_number(&m, "loss", 0.1);
    metrics_number(&m, "norm", NAN);
    metrics_number(&m, "rate", INFINITY);
    metrics_whole(&m, "tokens", INT64_MAX);
    metrics_text(&m, "reason", "\"a\"\n");
    metrics_text(&m, "broken", "\xff");
    tap_ok(!metrics_end(&m, &error), "a line %s", error.text);
    get(path, data, sizeof data);
    tap_text(data,
             "{\"step\":10,\"loss\":0.1,\"norm\":null,\"rate\":null,\"tokens\":9223372036854775807,"
             "\"reason\":\"\\\"a\\\"\\n\",\"broken\":null}\n",
             "on disk before it is closed");
    metrics_begin(&m, 11); /* and never ended */
    metrics_close(&m);
    metrics_close(&m);
    empty(place->folder);
}

static void test_metrics_resume(struct place *place)
{
    char *path = in(place, 0, "m.jsonl"), data[1024];
    struct metrics m;
    bptt_error error = {0};
    const char *before =
        "{\"step\":1,\"loss\":3.0}\n{\"note\":\"no step\"}\n{\"step\":2}\n{\"step\":3}\n{\"step\":2}\n{\"st";
    put(path, before, strlen(before));
    tap_ok(!metrics_open(&m, path, 2, &error), "resumed at step 2 %s", error.text);
    add_line(&m, 3, 2.5);
    metrics_close(&m);
    get(path, data, sizeof data);
    tap_text(
        data,
        "{\"step\":1,\"loss\":3.0}\n{\"note\":\"no step\"}\n{\"step\":2}\n{\"step\":2}\n{\"step\":3,\"loss\":2.5}\n",
        "later steps and the broken line are gone");
    put(path, "{\"step\":1}", 10);
    tap_ok(!metrics_open(&m, path, 1, &error), "a last line without its end");
    add_line(&m, 2, 1);
    metrics_close(&m);
    get(path, data, sizeof data);
    tap_text(data, "{\"step\":1}\n{\"step\":2,\"loss\":1.0}\n", "gets one");
    put(path, "\0\n[1]\n\xff\n\n", 9);
    tap_ok(!metrics_open(&m, path, 1000, &error) && get(path, data, sizeof data) == 0, "what is not JSON goes");
    metrics_close(&m);
    tap_ok(!metrics_open(&m, in(place, 1, "new"), 5, &error) && !access(in(place, 1, "new"), F_OK),
           "nothing to resume");
    metrics_close(&m);
    empty(place->folder);
}

static void test_metrics_bad(struct place *place)
{
    struct metrics m;
    bptt_error error = {0};
    char *path = in(place, 0, "missing/m");
    failed(metrics_open(&m, path, -1, &error), &error, BPTT_ERROR_FILE, path, "folder is missing", "no folder");
    metrics_close(&m);
    error = (bptt_error){0};
    failed(metrics_open(&m, place->folder, 3, &error), &error, BPTT_ERROR_FILE, place->folder, "directory", "a folder");
    error = (bptt_error){0};
    tap_ok(!metrics_open(&m, "/dev/full", 3, &error), "a full disk opens");
    metrics_begin(&m, 1);
    failed(metrics_end(&m, &error), &error, BPTT_ERROR_FILE, "/dev/full", "No space", "and says so at a line");
    metrics_close(&m);
}

int main(void)
{
    struct place place = {0};
    const char *tmp = getenv("TMPDIR");
    snprintf(place.folder, sizeof place.folder, "%.150s/bptt-test-file-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(place.folder))
        return 1;
    test_arrays();
    test_atomic_good(&place);
    test_atomic_names(&place);
    test_atomic_bad(&place);
    test_atomic_shared_memory();
    test_atomic_descriptor(&place);
    test_atomic_protected(&place);
    test_atomic_full(&place);
    test_safetensors_round(&place);
    test_safetensors_lies(&place);
    test_safetensors_damage(&place);
    test_safetensors_arguments(&place);
    test_npy_round(&place);
    test_npy_foreign(&place);
    test_npy_lies(&place);
    test_npy_damage(&place);
    test_lock(&place);
    test_lock_removed(&place);
    test_lock_death(&place);
    test_lock_race(&place);
    test_metrics(&place);
    test_metrics_resume(&place);
    test_metrics_bad(&place);
    tap_ok(!rmdir(place.folder), "nothing is left behind");
    return tap_done();
}
