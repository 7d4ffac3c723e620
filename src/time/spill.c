/* spill.c - slots of equal size one after the other in an unnamed file, moved with pread and pwrite, which keep no
 * place in the file. Nothing is synced: what a process that died had kept is of no use to anybody. */
#define _GNU_SOURCE 1
#include "spill.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "../base/disk.h"

struct spill {
    int fd;
    char *directory;                       /* for messages */
    size_t slot_bytes, bytes;
    long slots;
};

/* ---- opening ---- */

static int create_and_unlink(const char *directory)
{
    static const char name[] = "/.bptt-spill-XXXXXX";
    size_t length = strlen(directory);
    char *path = malloc(length + sizeof name);
    if (!path)
        return -1;
    memcpy(path, directory, length);
    memcpy(path + length, name, sizeof name);
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        unlink(path);
    free(path);
    return fd;
}

/* Network file systems and old ones know no files without a name. */
static int open_unnamed(const char *directory)
{
    int fd = open(directory, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
    int is_unknown = fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL);
    return is_unknown ? create_and_unlink(directory) : fd;
}

static int refuse_full(const struct spill *spill, bptt_error *error)
{
    struct statvfs fs;
    char available[64] = "";
    if (!fstatvfs(spill->fd, &fs))
        snprintf(available, sizeof available, ", of which %llu are free",
                 (unsigned long long)fs.f_bavail * fs.f_frsize);
    return fail_file(error, BPTT_ERROR_FILE, spill->directory,
                     "the disk is full: states need %zu bytes there%s; free some, name a directory on another disk, or "
                     "allow more memory", spill->bytes, available);
}

static int fail_disk(const struct spill *spill, const char *action, bptt_error *error)
{
    if (errno == ENOSPC || errno == EDQUOT)
        return refuse_full(spill, error);
    int code = errno == ENOMEM ? BPTT_ERROR_MEMORY : BPTT_ERROR_FILE;
    return fail_file(error, code, spill->directory, "cannot %s: %s", action, strerror(errno));
}

static int open_file(struct spill *spill, bptt_error *error)
{
    spill->fd = open_unnamed(spill->directory);
    if (spill->fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return fail_file(error, BPTT_ERROR_FILE, spill->directory,
                         "cannot keep states there: %s; name a directory that exists", strerror(errno));
    if (spill->fd < 0)
        return fail_disk(spill, "keep states there", error);
    if (disk_reserve(spill->fd, spill->bytes))
        return fail_disk(spill, "take room for states there", error);
    return BPTT_OK;
}

int spill_open(const char *directory, size_t slot_bytes, long slots, struct spill **out, bptt_error *error)
{
    size_t bytes;
    *out = NULL;
    if (slots < 0 || __builtin_mul_overflow(slot_bytes, (size_t)slots, &bytes) || bytes > INT64_MAX)
        return fail_file(error, BPTT_ERROR_ARGUMENT, directory, "%ld states of %zu bytes are more than any disk holds",
                         slots, slot_bytes);
    struct spill *spill = calloc(1, sizeof *spill);
    if (!spill)
        return fail_memory(error, sizeof *spill);
    *spill = (struct spill){.fd = -1, .directory = strdup(directory), .slot_bytes = slot_bytes, .bytes = bytes,
                            .slots = slots};
    int status = spill->directory ? open_file(spill, error) : fail_memory(error, strlen(directory) + 1);
    if (status)
        spill_free(spill);
    else
        *out = spill;
    return status;
}

void spill_free(struct spill *spill)
{
    if (!spill)
        return;
    if (spill->fd >= 0)
        close(spill->fd);
    free(spill->directory);
    free(spill);
}

size_t spill_bytes(const struct spill *spill)
{
    return spill->bytes;
}

/* ---- moving ---- */

static int find_place(const struct spill *spill, long slot, size_t offset, size_t bytes, uint64_t *place,
                      bptt_error *error)
{
    if (slot < 0 || slot >= spill->slots || offset > spill->slot_bytes || bytes > spill->slot_bytes - offset)
        return fail_file(error, BPTT_ERROR_ARGUMENT, spill->directory,
                         "no bytes %zu to %zu in slot %ld of %ld slots of %zu bytes", offset, offset + bytes, slot,
                         spill->slots, spill->slot_bytes);
    *place = (uint64_t)slot * spill->slot_bytes + offset;
    return BPTT_OK;
}

int spill_write(struct spill *spill, long slot, size_t offset, const void *data, size_t bytes, bptt_error *error)
{
    uint64_t place = 0;
    int status = find_place(spill, slot, offset, bytes, &place, error);
    if (!status && disk_write_at(spill->fd, data, bytes, place))
        return fail_disk(spill, "write states there", error);
    return status;
}

int spill_read(const struct spill *spill, long slot, size_t offset, void *data, size_t bytes, bptt_error *error)
{
    uint64_t place = 0;
    size_t missing = 0;
    int status = find_place(spill, slot, offset, bytes, &place, error);
    if (!status && disk_read_at(spill->fd, data, bytes, place, &missing))
        return fail_disk(spill, "read states back from there", error);
    if (missing)
        return fail_file(error, BPTT_ERROR_FILE, spill->directory,
                         "states kept there were cut off by %zu bytes; the run cannot go on", missing);
    return status;
}
