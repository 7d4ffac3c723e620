/* input.h - a regular file being read, which knows how many bytes are left, so that whatever a file says of itself
 * can be held against that before memory is taken. */
#ifndef BPTT_FILE_INPUT_H
#define BPTT_FILE_INPUT_H

#include "../base/error.h"

struct input {
    int fd;
    const char *path;                      /* borrowed, for messages */
    uint64_t left;                         /* bytes not read yet */
};
int input_open(struct input *input, const char *path, bptt_error *error);
int input_read(struct input *input, void *data, size_t bytes, bptt_error *error); /* all of them, or an error */
void input_close(struct input *input);                                            /* also after a failed open */

/* "PATH: cannot DO: reason", the reason from errno. */
int fail_system(bptt_error *error, const char *path, const char *action);

#endif
