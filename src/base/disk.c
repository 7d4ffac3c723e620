/* disk.c - the loops around fallocate, pwrite and pread, once. */
#define _GNU_SOURCE 1
#include "disk.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* posix_fallocate would write a byte to each block where the file system cannot reserve any; that takes as long as the
 * run may. What was taken before there was no more is given back, or whoever asks would find it missing. */
int disk_reserve(int fd, uint64_t bytes)
{
    int status;
    do
        status = bytes ? fallocate(fd, 0, 0, (off_t)bytes) : 0;
    while (status && errno == EINTR);
    if (status && (errno == EOPNOTSUPP || errno == ENOSYS))
        return ftruncate(fd, (off_t)bytes);
    int saved = errno;
    if (status && ftruncate(fd, 0))
        return -1;
    errno = saved;
    return status;
}

int disk_write_at(int fd, const void *data, size_t bytes, uint64_t place)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t put = pwrite(fd, (const char *)data + done, bytes - done, (off_t)(place + done));
        if (put < 0 && errno != EINTR)
            return -1;
        done += put < 0 ? 0 : (size_t)put;
    }
    return 0;
}

int disk_read_at(int fd, void *data, size_t bytes, uint64_t place, size_t *missing)
{
    for (*missing = bytes; *missing;) {
        size_t done = bytes - *missing;
        ssize_t got = pread(fd, (char *)data + done, *missing, (off_t)(place + done));
        if (got == 0)
            return 0;
        if (got < 0 && errno != EINTR)
            return -1;
        *missing -= got < 0 ? 0 : (size_t)got;
    }
    return 0;
}
