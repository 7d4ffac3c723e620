/* input.c - reading with system calls: nothing is buffered, because headers are short and the rest is read in one
 * piece. */
#include "input.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int fail_system(bptt_error *error, const char *path, const char *action)
{
    int code = errno == ENOMEM ? BPTT_ERROR_MEMORY : BPTT_ERROR_FILE;
    return fail_file(error, code, path, "cannot %s: %s", action, strerror(errno));
}

int input_open(struct input *input, const char *path, bptt_error *error)
{
    *input = (struct input){.path = path};
    /* Not blocking: a pipe must not hang before it is refused. */
    input->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    if (input->fd < 0 || fstat(input->fd, &st))
        return fail_system(error, path, "open");
    if (S_ISDIR(st.st_mode))
        return fail_file(error, BPTT_ERROR_FILE, path, "is a folder, not a file");
    if (!S_ISREG(st.st_mode))
        return fail_file(error, BPTT_ERROR_FILE, path, "not a regular file; save it to one and name that");
    input->left = (uint64_t)st.st_size;
    return BPTT_OK;
}

int input_read(struct input *input, void *data, size_t bytes, bptt_error *error)
{
    for (size_t done = 0; done < bytes;) {
        ssize_t got = read(input->fd, (char *)data + done, bytes - done);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_system(error, input->path, "read");
        if (got == 0)
            return fail_file(error, BPTT_ERROR_FORMAT, input->path, "ends %zu bytes too early", bytes - done);
        done += (size_t)got;
        input->left -= (uint64_t)got < input->left ? (uint64_t)got : input->left;
    }
    return BPTT_OK;
}

void input_close(struct input *input)
{
    if (input->fd >= 0)
        close(input->fd);
    input->fd = -1;
}
