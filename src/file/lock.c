/* lock.c - flock, because its locks belong to the open file: they die with the process, and two runs within one process
 * exclude each other as well. The file is removed while the lock is held; who opened it before that and gets the lock
 * afterwards holds a file without a name, notices, and tries again. */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "input.h"

enum { ATTEMPTS = 100 };

/* The holder's process number, which it writes after it has the lock: 0 if not there yet. */
static long holder(int fd)
{
    char text[32] = "";
    ssize_t got = pread(fd, text, sizeof text - 1, 0);
    return got > 0 ? strtol(text, NULL, 10) : 0;
}

static int busy(const char *path, int fd, bptt_error *error)
{
    long pid = holder(fd);
    if (pid > 0)
        return fail_file(error, BPTT_ERROR_BUSY, path, "another run (pid %ld) is writing this model", pid);
    return fail_file(error, BPTT_ERROR_BUSY, path, "another run is writing this model");
}

static int is_named(int fd, const char *path)
{
    struct stat open_one, named;
    return !fstat(fd, &open_one) && !stat(path, &named) && open_one.st_dev == named.st_dev &&
           open_one.st_ino == named.st_ino;
}

/* The number is for people only: if it cannot be written (disk full), the lock holds all the same. */
static void sign(int fd)
{
    char text[32];
    int length = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, text, (size_t)length, 0) != length)
        return;
}

/* BPTT_OK with fd -1: the file was removed meanwhile, try again. */
static int try_lock(struct run_lock *lock, const char *path, bptt_error *error)
{
    lock->fd = open(lock->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0666);
    if (lock->fd < 0)
        return fail_system(error, lock->path, errno == ENOENT ? "create, its folder is missing" : "create");
    int status = BPTT_OK;
    if (flock(lock->fd, LOCK_EX | LOCK_NB))
        status = errno == EWOULDBLOCK ? busy(path, lock->fd, error) : fail_system(error, lock->path, "lock");
    else if (is_named(lock->fd, lock->path))
        return BPTT_OK;
    close(lock->fd);
    lock->fd = -1;
    return status;
}

int lock_take(struct run_lock *lock, const char *path, bptt_error *error)
{
    size_t room = strlen(path) + sizeof ".lock";
    *lock = (struct run_lock){.fd = -1, .path = malloc(room)};
    if (!lock->path)
        return fail_memory(error, room);
    snprintf(lock->path, room, "%s.lock", path);
    int status = BPTT_OK;
    for (int i = 0; !status && lock->fd < 0 && i < ATTEMPTS; i++)
        status = try_lock(lock, path, error);
    if (lock->fd >= 0) {
        sign(lock->fd);
        return BPTT_OK;
    }
    free(lock->path);
    lock->path = NULL;
    return status ? status : fail_file(error, BPTT_ERROR_BUSY, path, "other runs keep taking its lock; try again");
}

/* If someone removed the file meanwhile, another run may hold a new one under its name. */
void lock_release(struct run_lock *lock)
{
    if (!lock->path)
        return;
    if (is_named(lock->fd, lock->path))
        unlink(lock->path);
    close(lock->fd);
    free(lock->path);
    *lock = (struct run_lock){.fd = -1};
}
