/* atomic.c - the new file's permissions are the old one's, or what the umask leaves of 0666; a write-protected
 * target is refused, although renaming over it would succeed, because somebody meant it. */
#include "atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../base/disk.h"
#include "input.h"

enum { ATTEMPTS = 1000 }; /* names tried; those taken were left by processes that died */

/* Bytes of `path` up to and with its last slash. */
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* Errors keep errno for the caller's message. */
static void discard(struct atomic_file *file)
{
    int saved = errno;
    if (file->fd >= 0)
        close(file->fd);
    if (file->temporary)
        unlink(file->temporary);
    free(file->path);
    free(file->target);
    free(file->temporary);
    *file = (struct atomic_file){.fd = -1};
    errno = saved;
}

static int give_up(struct atomic_file *file, const char *action, bptt_error *error)
{
    int status = fail_system(error, file->path, action);
    discard(file);
    return status;
}

static int create_beside(struct atomic_file *file)
{
    size_t folder = folder_length(file->target);
    size_t room = folder + 64;
    file->temporary = malloc(room);
    if (!file->temporary)
        return -1;
    for (unsigned i = 0; i < ATTEMPTS; i++) {
        snprintf(file->temporary, room, "%.*s.bptt-%ld-%u.tmp", (int)folder, file->target, (long)getpid(), i);
        file->fd = open(file->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (file->fd >= 0 || errno != EEXIST)
            break;
    }
    if (file->fd >= 0)
        return 0;
    free(file->temporary); /* not ours: must not be unlinked */
    file->temporary = NULL;
    return -1;
}

/* The open descriptor that a name such as /dev/stdout stands for, or -1. It may well be a regular file, which its owner
 * opened and goes on writing; other regular files under /dev (/dev/shm/model) are files like any. */
static int open_descriptor(const char *path)
{
    static const char *const standard[] = {"/dev/stdin", "/dev/stdout", "/dev/stderr"};
    for (int i = 0; i < 3; i++)
        if (!strcmp(path, standard[i]))
            return i;
    char *end;
    if (strncmp(path, "/dev/fd/", 8) || path[8] < '0' || path[8] > '9')
        return -1;
    long descriptor = strtol(path + 8, &end, 10);
    return *end || descriptor > INT_MAX ? -1 : (int)descriptor;
}

/* A duplicate shares the place in the file with whoever else writes there. */
static int open_through(struct atomic_file *file, int descriptor, bptt_error *error)
{
    file->fd = descriptor < 0 ? open(file->path, O_WRONLY | O_APPEND | O_CLOEXEC)
                              : fcntl(descriptor, F_DUPFD_CLOEXEC, 0);
    return file->fd >= 0 ? BPTT_OK : give_up(file, "write", error);
}

/* What the target is now decides how it is written. */
int atomic_open(struct atomic_file *file, const char *path, bptt_error *error)
{
    *file = (struct atomic_file){.fd = -1, .path = strdup(path)};
    if (!file->path)
        return fail_memory(error, strlen(path) + 1);
    int descriptor = open_descriptor(path);
    if (descriptor >= 0)
        return open_through(file, descriptor, error);
    struct stat st;
    int exists = !stat(path, &st);
    if (!exists && errno != ENOENT)
        return give_up(file, "write", error);
    if (exists && S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return give_up(file, "write", error);
    }
    if (exists && !S_ISREG(st.st_mode))
        return open_through(file, -1, error);
    if (exists && access(path, W_OK))
        return give_up(file, "write", error);
    file->target = exists ? realpath(path, NULL) : strdup(path);
    if (!file->target || create_beside(file))
        return give_up(file, errno == ENOENT ? "write, its folder is missing" : "write beside it", error);
    if (exists && fchmod(file->fd, st.st_mode & 07777) && errno != EPERM)
        return give_up(file, "keep its permissions", error);
    return BPTT_OK;
}

int atomic_write(struct atomic_file *file, const void *data, size_t bytes, bptt_error *error)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t put = write(file->fd, (const char *)data + done, bytes - done);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0)
            return give_up(file, "write", error);
        done += (size_t)put;
    }
    return BPTT_OK;
}

static int refuse_order(struct atomic_file *file, bptt_error *error)
{
    int status = fail_file(error, BPTT_ERROR_FILE, file->path,
                           "cannot be written in any order, as is needed here; name a file");
    discard(file);
    return status;
}

/* Of what is written straight through, devices such as /dev/null take bytes for any place. */
int atomic_reserve(struct atomic_file *file, uint64_t bytes, bptt_error *error)
{
    struct stat st;
    if (!file->temporary) {
        int is_device = !fstat(file->fd, &st) && S_ISCHR(st.st_mode) && lseek(file->fd, 0, SEEK_CUR) >= 0;
        return is_device ? BPTT_OK : refuse_order(file, error);
    }
    if (!disk_reserve(file->fd, bytes))
        return BPTT_OK;
    char action[64];
    snprintf(action, sizeof action, "take the %llu bytes that it needs", (unsigned long long)bytes);
    return give_up(file, action, error);
}

int atomic_write_at(struct atomic_file *file, const void *data, size_t bytes, uint64_t place, bptt_error *error)
{
    return disk_write_at(file->fd, data, bytes, place) ? give_up(file, "write", error) : BPTT_OK;
}

/* The rename itself reaches the disk with its folder. A folder that cannot be opened or synced (network file
 * systems) is no error: the file is complete under its name, only a power cut could still undo the rename. */
static void sync_folder(const char *path)
{
    size_t length = folder_length(path);
    char *folder = length ? strndup(path, length) : strdup(".");
    int fd = folder ? open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(folder);
}

/* Pipes and devices have nothing to sync and say so. */
static int sync_data(const struct atomic_file *file)
{
    int is_refused = fsync(file->fd) && (file->temporary || (errno != EINVAL && errno != ENOTSUP && errno != EROFS));
    return is_refused ? -1 : 0;
}

int atomic_commit(struct atomic_file *file, bptt_error *error)
{
    if (sync_data(file))
        return give_up(file, "write", error);
    int fd = file->fd;
    file->fd = -1;
    if (close(fd))
        return give_up(file, "write", error);
    if (file->temporary && rename(file->temporary, file->target))
        return give_up(file, "write", error);
    if (file->temporary)
        sync_folder(file->target);
    free(file->temporary); /* it is the target now */
    file->temporary = NULL;
    discard(file);
    return BPTT_OK;
}

void atomic_abort(struct atomic_file *file)
{
    discard(file);
}
