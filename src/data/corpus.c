/* corpus.c - text files, read whole and joined. Files are read to their end rather than by their size, so pipes serve
 * as well; what is no text is refused here, with its place, so that nothing behind needs to doubt the encoding. */
#include "corpus.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "utf8.h"

enum { CHUNK = 1 << 16 };

struct corpus { char *text; size_t length, capacity; };

/* Room for `more` bytes and a NUL. */
static int reserve(struct corpus *corpus, size_t more, bptt_error *error)
{
    if (more < corpus->capacity - corpus->length)
        return BPTT_OK;
    if (more >= SIZE_MAX / 2 - corpus->length)
        return fail_memory(error, more);
    size_t capacity = corpus->length + more + 1;
    if (capacity < corpus->capacity + corpus->capacity / 2)
        capacity = corpus->capacity + corpus->capacity / 2;
    char *text = realloc(corpus->text, capacity);
    if (!text)
        return fail_memory(error, capacity);
    corpus->text = text;
    corpus->capacity = capacity;
    return BPTT_OK;
}

static int fail_line(const char *file, const char *text, size_t offset, const char *what, bptt_error *error)
{
    int line;
    int column;
    utf8_place(text, offset, &line, &column);
    int status = fail_file(error, BPTT_ERROR_FORMAT, file,
                           "%s 0x%02X at byte %zu (line %d); --symbols bytes reads any file", what,
                           (unsigned char)text[offset], offset, line);
    if (error && error->line == 0) {
        error->line = line;
        error->column = column;
    }
    return status;
}

static int check_text(const char *file, const char *text, size_t length, bptt_error *error)
{
    const char *zero = memchr(text, 0, length);
    size_t valid = utf8_valid(text, length);
    if (zero && (size_t)(zero - text) < valid)
        return fail_line(file, text, (size_t)(zero - text), "is binary, not text:", error);
    if (valid < length)
        return fail_line(file, text, valid, "is not UTF-8 text:", error);
    return BPTT_OK;
}

/* Checks what was read since `start`. */
static int take_text(struct corpus *corpus, size_t start, const char *file, int symbols, bptt_error *error)
{
    char *text = corpus->text + start;
    if (symbols == BPTT_BYTES)
        return BPTT_OK;
    int status = check_text(file, text, corpus->length - start, error);
    if (status == BPTT_OK && corpus->length - start >= 3 && memcmp(text, "\xEF\xBB\xBF", 3) == 0) {
        corpus->length -= 3;
        memmove(text, text + 3, corpus->length - start);
    }
    return status;
}

static int read_to_end(struct corpus *corpus, int handle, const char *file, bptt_error *error)
{
    for (;;) {
        int status = reserve(corpus, CHUNK, error);
        if (status != BPTT_OK)
            return status;
        ssize_t bytes = read(handle, corpus->text + corpus->length, CHUNK);
        if (bytes == 0)
            return BPTT_OK;
        if (bytes > 0)
            corpus->length += (size_t)bytes;
        else if (errno != EINTR)
            return fail_file(error, BPTT_ERROR_FILE, file, "cannot read: %s", strerror(errno));
    }
}

static int read_open(struct corpus *corpus, int handle, const char *file, int symbols, bptt_error *error)
{
    struct stat info;
    if (fstat(handle, &info) != 0)
        return fail_file(error, BPTT_ERROR_FILE, file, "cannot read: %s", strerror(errno));
    if (S_ISDIR(info.st_mode))
        return fail_file(error, BPTT_ERROR_FILE, file, "is a folder; name the files in it");
    size_t start = corpus->length;
    int status = BPTT_OK;
    if (S_ISREG(info.st_mode) && info.st_size > 0)
        status = reserve(corpus, (size_t)info.st_size + CHUNK, error);
    if (status == BPTT_OK)
        status = read_to_end(corpus, handle, file, error);
    if (status == BPTT_OK)
        status = take_text(corpus, start, file, symbols, error);
    if (status == BPTT_OK && corpus->length == start)
        status = fail_file(error, BPTT_ERROR_FORMAT, file, "is empty; name a file with text in it");
    return status;
}

static int read_file(struct corpus *corpus, const char *file, int symbols, bptt_error *error)
{
    int handle = open(file, O_RDONLY | O_CLOEXEC);
    if (handle < 0)
        return fail_file(error, BPTT_ERROR_FILE, file, "cannot open: %s", strerror(errno));
    int status = read_open(corpus, handle, file, symbols, error);
    close(handle);
    return status;
}

int corpus_read(const char *const *files, size_t count, int symbols, char **text, size_t *length, bptt_error *error)
{
    struct corpus corpus = {0};
    *text = NULL;
    *length = 0;
    int status = count ? BPTT_OK : fail(error, BPTT_ERROR_ARGUMENT, "no text file given");
    for (size_t i = 0; i < count && status == BPTT_OK; i++)
        status = read_file(&corpus, files[i], symbols, error);
    if (status != BPTT_OK) {
        free(corpus.text);
        return status;
    }
    corpus.text[corpus.length] = '\0';
    *text = corpus.text;
    *length = corpus.length;
    return BPTT_OK;
}
