// link: -Wl,--wrap=open,--wrap=fallocate,--wrap=pread,--wrap=pwrite,--wrap=calloc,--wrap=malloc,--wrap=strdup
// link: tests/small_disk.c
/* test_spill.c - kept states on disk: what was written comes back; the disk's space is taken at once; a directory that
 * is missing, no directory, read-only or full is one clear line, and so is what goes wrong later; no file and no open
 * descriptor is left. System calls are made to stop short, or to be unknown, in between. */
#define _GNU_SOURCE 1
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../src/time/spill.h"
#include "small_disk.h"
#include "tap.h"

/* ---- system calls that misbehave when told to ---- */

static int no_unnamed_files, no_fallocate, is_short, is_broken;
static long allocations, fails_at;

int __real_open(const char *path, int flags, ...);
int __real_fallocate(int fd, int mode, off_t offset, off_t bytes);
ssize_t __real_pread(int fd, void *data, size_t bytes, off_t offset);
ssize_t __real_pwrite(int fd, const void *data, size_t bytes, off_t offset);
void *__real_calloc(size_t count, size_t bytes);
void *__real_malloc(size_t bytes);
char *__real_strdup(const char *text);
int __wrap_open(const char *path, int flags, ...);
int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes);
ssize_t __wrap_pread(int fd, void *data, size_t bytes, off_t offset);
ssize_t __wrap_pwrite(int fd, const void *data, size_t bytes, off_t offset);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_malloc(size_t bytes);
char *__wrap_strdup(const char *text);

static int refuse(int code)
{
    errno = code;
    return -1;
}

int __wrap_open(const char *path, int flags, ...)
{
    va_list arguments;
    va_start(arguments, flags);
    unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(arguments, unsigned) : 0;
    va_end(arguments);
    return no_unnamed_files && (flags & O_TMPFILE) == O_TMPFILE ? refuse(EOPNOTSUPP) : __real_open(path, flags, mode);
}

int __wrap_fallocate(int fd, int mode, off_t offset, off_t bytes)
{
    return no_fallocate ? refuse(EOPNOTSUPP) : __real_fallocate(fd, mode, offset, bytes);
}

/* Every other call is interrupted, those between move 7 bytes at most. */
static size_t shorten(size_t bytes, int *is_interrupted)
{
    static int turn;
    *is_interrupted = is_short && turn++ % 2 == 0;
    return is_short && bytes > 7 ? 7 : bytes;
}

ssize_t __wrap_pread(int fd, void *data, size_t bytes, off_t offset)
{
    int is_interrupted;
    bytes = shorten(bytes, &is_interrupted);
    return is_interrupted ? refuse(EINTR) : is_broken ? refuse(EIO) : __real_pread(fd, data, bytes, offset);
}

ssize_t __wrap_pwrite(int fd, const void *data, size_t bytes, off_t offset)
{
    int is_interrupted;
    bytes = shorten(bytes, &is_interrupted);
    return is_interrupted ? refuse(EINTR) : is_broken ? refuse(ESTALE) : __real_pwrite(fd, data, bytes, offset);
}

static int fails(void)
{
    return fails_at && ++allocations == fails_at;
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_malloc(size_t bytes)
{
    if (fails()) {
        errno = ENOMEM;
        return NULL;
    }
    return __real_malloc(bytes);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}

/* ---- helpers ---- */

static char folder[200];

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

/* One line that names `path` and holds `part`. */
static int is_clear(int status, const bptt_error *error, int code, const char *path, const char *part)
{
    return status == code && error->code == code && strstr(error->text, path) && strstr(error->text, part) &&
           !strchr(error->text, '\n');
}

static void failed(int status, const bptt_error *error, int code, const char *path, const char *part, const char *what)
{
    if (!tap_ok(is_clear(status, error, code, path, part), "%s: \"%s\"", what, part))
        tap_note("status %d: %s", status, error->text);
}

static unsigned char byte_at(long slot, size_t i)
{
    return (unsigned char)((size_t)slot * 31 + i * 7 + (i >> 8));
}

static int put_slot(struct spill *spill, long slot, size_t bytes, bptt_error *error)
{
    unsigned char data[4096];
    for (size_t i = 0; i < bytes; i++)
        data[i] = byte_at(slot, i);
    return spill_write(spill, slot, 0, data, bytes, error);
}

static int has_slot(const struct spill *spill, long slot, size_t bytes, bptt_error *error)
{
    unsigned char data[4096];
    int same = !spill_read(spill, slot, 0, data, bytes, error);
    for (size_t i = 0; i < bytes; i++)
        same &= data[i] == byte_at(slot, i);
    return same;
}

/* ---- what works ---- */

static void round_trip(const char *what)
{
    enum { SLOTS = 9, BYTES = 1001 };
    struct spill *spill;
    bptt_error error = {0};
    int before = descriptors(), names = entries(folder);
    if (!tap_ok(!spill_open(folder, BYTES, SLOTS, &spill, &error), "%s: opens %s", what, error.text))
        return;
    int well = 1;
    for (long slot = SLOTS; slot-- > 0;)
        well &= !put_slot(spill, slot, BYTES, &error);
    for (long slot = 0; slot < SLOTS; slot++)
        well &= has_slot(spill, slot, BYTES, &error);
    tap_ok(well, "%s: every slot comes back %s", what, error.text);
    tap_ok(spill_bytes(spill) == SLOTS * BYTES, "%s: its bytes are counted", what);
    tap_ok(entries(folder) == names, "%s: no name in the directory", what);
    spill_free(spill);
    tap_ok(descriptors() == before, "%s: no descriptor is left", what);
}

static void test_round_trips(void)
{
    round_trip("plain");
    is_short = 1;
    round_trip("interrupted and short calls");
    is_short = 0;
    no_unnamed_files = 1;
    round_trip("no files without a name");
    no_unnamed_files = 0;
    no_fallocate = 1;
    round_trip("no space in advance");
    no_fallocate = 0;
}

static void test_parts(void)
{
    struct spill *spill;
    bptt_error error = {0};
    char data[8] = "";
    tap_ok(!spill_open(folder, 8, 2, &spill, &error), "two slots of 8 bytes");
    int status = spill_write(spill, 1, 4, "efgh", 4, &error);
    status |= spill_write(spill, 1, 0, "abcd", 4, &error);
    status |= spill_write(spill, 0, 0, "01234567", 8, &error);
    tap_ok(!status && !spill_read(spill, 1, 2, data, 4, &error) && !memcmp(data, "cdef", 4), "parts of a slot");
    tap_ok(!spill_write(spill, 1, 8, data, 0, &error) && !spill_read(spill, 0, 0, NULL, 0, &error), "no bytes");
    failed(spill_write(spill, 1, 5, data, 4, &error), &error, BPTT_ERROR_ARGUMENT, folder, "slot 1", "past a slot");
    error = (bptt_error){0};
    failed(spill_read(spill, 2, 0, data, 1, &error), &error, BPTT_ERROR_ARGUMENT, folder, "of 2 slots", "no such slot");
    error = (bptt_error){0};
    failed(spill_read(spill, -1, 0, data, 1, &error), &error, BPTT_ERROR_ARGUMENT, folder, "slot -1", "a slot below 0");
    error = (bptt_error){0};
    failed(spill_read(spill, 0, 9, data, SIZE_MAX, &error), &error, BPTT_ERROR_ARGUMENT, folder, "slot 0", "overflow");
    spill_free(spill);
    spill_free(NULL);
}

static void test_none(void)
{
    struct spill *spill;
    tap_ok(!spill_open(folder, 100, 0, &spill, NULL) && spill_bytes(spill) == 0, "no slots");
    spill_free(spill);
    tap_ok(!spill_open(folder, 0, 3, &spill, NULL) && !spill_write(spill, 2, 0, NULL, 0, NULL), "slots of no bytes");
    spill_free(spill);
}

/* The space is there from the beginning, and a forked child that execs does not inherit the file. */
static void test_reserved(void)
{
    struct spill *spill;
    struct stat st = {0};
    DIR *dir = opendir("/proc/self/fd");
    int least = dirfd(dir) + 1, fd;
    tap_ok(!spill_open(folder, 1 << 16, 16, &spill, NULL), "a mebibyte");
    for (fd = least; fd < least + 10 && (fstat(fd, &st) || st.st_size != 1 << 20); fd++)
        ;
    tap_ok(st.st_size == 1 << 20 && st.st_blocks * 512 >= 1 << 20, "its space is taken at once");
    tap_ok(st.st_nlink == 0 && (st.st_mode & 0777) == 0600, "nobody else finds it");
    tap_ok(fcntl(fd, F_GETFD) & FD_CLOEXEC, "nor does a program that is started");
    spill_free(spill);
    closedir(dir);
}

static void *move_slots(void *argument)
{
    struct spill *spill = argument;
    static _Atomic long next;
    intptr_t well = 1;
    for (int i = 0; i < 25; i++) {
        long slot = next++;
        well &= !put_slot(spill, slot, 4096, NULL) && has_slot(spill, slot, 4096, NULL);
    }
    return (void *)well;
}

static void test_threads(void)
{
    enum { THREADS = 4 };
    pthread_t thread[THREADS];
    struct spill *spill;
    void *result;
    int well = !spill_open(folder, 4096, 25 * THREADS, &spill, NULL);
    for (int i = 0; i < THREADS; i++)
        well &= !pthread_create(&thread[i], NULL, move_slots, spill);
    for (int i = 0; i < THREADS; i++)
        well &= !pthread_join(thread[i], &result) && result;
    for (long slot = 0; slot < 25 * THREADS; slot++)
        well &= has_slot(spill, slot, 4096, NULL);
    tap_ok(well, "several threads at once");
    spill_free(spill);
}

/* ---- what does not ---- */

static void refused(const char *directory, size_t bytes, long slots, int code, const char *part, const char *what)
{
    struct spill *spill = (struct spill *)folder;
    bptt_error error = {0};
    int before = descriptors();
    int status = spill_open(directory, bytes, slots, &spill, &error);
    failed(status, &error, code, directory, part, what);
    tap_ok(!spill && descriptors() == before, "%s: nothing is handed out or left open", what);
}

static void test_bad_directories(void)
{
    char path[256];
    snprintf(path, sizeof path, "%s/missing", folder);
    refused(path, 8, 8, BPTT_ERROR_FILE, "No such file or directory; name a directory that exists", "a missing one");
    refused("", 8, 8, BPTT_ERROR_FILE, "No such file", "no name");
    snprintf(path, sizeof path, "%s/file", folder);
    fclose(fopen(path, "w"));
    refused(path, 8, 8, BPTT_ERROR_FILE, "Not a directory", "a file");
    no_unnamed_files = 1;
    refused(path, 8, 8, BPTT_ERROR_FILE, "Not a directory", "a file, where none is without a name");
    no_unnamed_files = 0;
    unlink(path);
    refused("/dev/full", 8, 8, BPTT_ERROR_FILE, "Not a directory", "a device");
    refused("/proc/self", 8, 8, BPTT_ERROR_FILE, "cannot keep states there", "a directory that takes no files");
    refused(folder, SIZE_MAX / 2, 3, BPTT_ERROR_ARGUMENT, "more than any disk holds", "an overflow");
    refused(folder, SIZE_MAX / 2, 2, BPTT_ERROR_ARGUMENT, "more than any disk holds", "more than a file's size");
    refused(folder, 8, -1, BPTT_ERROR_ARGUMENT, "-1 states", "fewer than none");
}

/* More than the disk has, but not more than a file may have. */
static void test_too_much(void)
{
    struct spill *spill;
    bptt_error error = {0};
    int status = spill_open(folder, (size_t)1 << 62, 1, &spill, &error);
    failed(status, &error, BPTT_ERROR_FILE, folder, folder, "4 EiB");
    spill_free(spill);
}

static void note(struct small_disk *report, int slot, int passed, const bptt_error *error)
{
    report->passed[slot] = passed;
    snprintf(report->text[slot], sizeof report->text[slot], "%.390s", error->text);
}

static void try_small_disk(struct small_disk *report)
{
    enum { TWICE = 2 * SMALL_DISK_BYTES };
    static const char zeros[TWICE];
    bptt_error error = {0};
    struct spill *spill;
    int status = spill_open(folder, TWICE, 1, &spill, &error);
    note(report, 0, is_clear(status, &error, BPTT_ERROR_FILE, folder, "131072 bytes there, of which 65536"), &error);
    error = (bptt_error){0};
    no_fallocate = 1;
    status = spill_open(folder, TWICE, 1, &spill, &error);
    status = status ? -1 : spill_write(spill, 0, 0, zeros, sizeof zeros, &error);
    note(report, 1, is_clear(status, &error, BPTT_ERROR_FILE, folder, "the disk is full"), &error);
    spill_free(spill);
    no_fallocate = 0;
    error = (bptt_error){0};
    status = spill_open(folder, 4096, 2, &spill, &error) || put_slot(spill, 1, 4096, &error);
    int is_mounted = small_disk_protect(folder);
    note(report, 2, !status && has_slot(spill, 1, 4096, &error), &error);
    spill_free(spill);
    error = (bptt_error){0};
    status = is_mounted ? spill_open(folder, 8, 8, &spill, &error) : -1;
    note(report, 3, is_clear(status, &error, BPTT_ERROR_FILE, folder, "Read-only file system"), &error);
}

static void test_small_disk(void)
{
    static const char *const what[] = {"a disk that is too small is refused at once", "without that, when it is full",
                                       "states outlive a disk that is unmounted", "a read-only disk"};
    struct small_disk report;
    if (!small_disk_run(folder, try_small_disk, &report)) {
        tap_skip("no file system may be mounted here", "a disk of 64 KiB");
        return;
    }
    for (int i = 0; i < 4; i++)
        tap_ok(report.passed[i], "%s %s", what[i], report.passed[i] ? "" : report.text[i]);
}

/* Permissions bind all but root. */
static void test_protected(void)
{
    if (geteuid() == 0) {
        tap_skip("root may write anywhere", "a protected directory");
        return;
    }
    chmod(folder, 0555);
    refused(folder, 8, 8, BPTT_ERROR_FILE, "Permission denied", "a protected directory");
    chmod(folder, 0755);
}

static void test_size_limit(void)
{
    struct rlimit old, small;
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = 10000;
    struct spill *spill;
    bptt_error error = {0};
    fflush(stdout);
    setrlimit(RLIMIT_FSIZE, &small);
    int status = spill_open(folder, 4096, 4, &spill, &error);
    setrlimit(RLIMIT_FSIZE, &old);
    signal(SIGXFSZ, handler);
    failed(status, &error, BPTT_ERROR_FILE, folder, "File too large", "a limit on the size of files");
    spill_free(spill);
}

/* The directory goes: the file stays. The disk goes, or the file is cut: a clear line. */
static void test_vanished(void)
{
    char path[256], data[8];
    struct spill *spill;
    bptt_error error = {0};
    snprintf(path, sizeof path, "%s/sub", folder);
    mkdir(path, 0700);
    int fd = open(path, O_RDONLY | O_DIRECTORY);
    tap_ok(!spill_open(path, 8, 2, &spill, &error) && !rmdir(path), "the directory is removed under the states");
    tap_ok(!spill_write(spill, 1, 0, "abcdefgh", 8, &error) && !spill_read(spill, 1, 0, data, 8, &error) &&
               !memcmp(data, "abcdefgh", 8), "which are there all the same");
    is_broken = 1;
    failed(spill_write(spill, 1, 0, data, 8, &error), &error, BPTT_ERROR_FILE, path, "write states there: Stale",
           "the disk is gone, writing");
    error = (bptt_error){0};
    failed(spill_read(spill, 1, 0, data, 8, &error), &error, BPTT_ERROR_FILE, path, "from there: Input/output",
           "the disk is gone, reading");
    is_broken = 0;
    error = (bptt_error){0};
    tap_ok(!ftruncate(fd + 1, 12), "the file is cut behind our back");
    failed(spill_read(spill, 1, 0, data, 8, &error), &error, BPTT_ERROR_FILE, path, "cut off by 4 bytes", "read then");
    spill_free(spill);
    close(fd);
}

static void test_allocations(void)
{
    int wrong = 0, before = descriptors();
    long n = 1;
    no_unnamed_files = 1; /* with a name there is one allocation more */
    for (; n < 20; n++) {
        struct spill *spill;
        bptt_error error = {0};
        allocations = 0;
        fails_at = n;
        int status = spill_open(folder, 8, 8, &spill, &error);
        int is_done = allocations < n;
        fails_at = 0;
        if (is_done) {
            spill_free(spill);
            break;
        }
        wrong += status != BPTT_ERROR_MEMORY || spill || !error.text[0] || descriptors() != before;
    }
    no_unnamed_files = 0;
    tap_ok(!wrong && n > 3 && n < 20, "each of %ld allocations may fail", n - 1);
}

int main(void)
{
    const char *tmp = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%.80s/bptt-test-spill-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return 1;
    test_round_trips();
    test_parts();
    test_none();
    test_reserved();
    test_threads();
    test_bad_directories();
    test_too_much();
    test_small_disk();
    test_protected();
    test_size_limit();
    test_vanished();
    test_allocations();
    tap_ok(!rmdir(folder), "nothing is left behind");
    return tap_done();
}
