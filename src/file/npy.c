/* npy.c - numpy's file of one array: magic, version, a Python dictionary as text, the elements. The dictionary is
 * parsed for the three keys it must have and nothing else; the elements must fill the file exactly. */
#include "npy.h"

#include <stdlib.h>
#include <string.h>

#include "../base/text.h"
#include "array.h"
#include "atomic.h"

enum { HEADER_LIMIT = 65536, ALIGN = 64 };
enum { SEEN_DESCR = 1, SEEN_ORDER = 2, SEEN_SHAPE = 4, SEEN_ALL = 7 };
static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};

struct header {
    const char *at; /* in text closed by a NUL, which matches nothing */
    char descr[16];
    int is_fortran, rank, seen;
    int64_t shape[ARRAY_RANK];
    const char *fault;
};

/* ---- the dictionary ---- */

static void skip_space(struct header *h)
{
    h->at += strspn(h->at, " \t\n\r");
}

static int take(struct header *h, char c)
{
    skip_space(h);
    if (*h->at != c)
        return 0;
    h->at++;
    return 1;
}

static int fault(struct header *h, const char *what)
{
    if (!h->fault)
        h->fault = what;
    return 0;
}

static int take_string(struct header *h, char *out, size_t room)
{
    skip_space(h);
    char quote = *h->at;
    const char *end = quote == '\'' || quote == '"' ? strchr(h->at + 1, quote) : NULL;
    if (!end || (size_t)(end - h->at) > room)
        return 0;
    memcpy(out, h->at + 1, (size_t)(end - h->at) - 1);
    out[end - h->at - 1] = '\0';
    h->at = end + 1;
    return 1;
}

static int take_word(struct header *h, const char *word)
{
    skip_space(h);
    size_t length = strlen(word);
    if (strncmp(h->at, word, length))
        return 0;
    h->at += length;
    return 1;
}

static int take_length(struct header *h, int64_t *value)
{
    skip_space(h);
    if (*h->at < '0' || *h->at > '9')
        return fault(h, "its shape holds something other than lengths");
    for (*value = 0; *h->at >= '0' && *h->at <= '9'; h->at++)
        if (__builtin_mul_overflow(*value, 10, value) || __builtin_add_overflow(*value, *h->at - '0', value))
            return fault(h, "its shape is too large");
    take(h, 'L'); /* Python 2 wrote 3L */
    return 1;
}

/* A tuple: () or (3,) or (3, 4), with or without a comma at the end. */
static int take_shape(struct header *h)
{
    int comma = 1;
    if (!take(h, '('))
        return fault(h, "its shape is no tuple");
    while (!take(h, ')')) {
        if (!comma)
            return fault(h, "its shape is no tuple");
        if (h->rank == ARRAY_RANK)
            return fault(h, "it has more than 4 dimensions");
        if (!take_length(h, &h->shape[h->rank++]))
            return 0;
        comma = take(h, ',');
    }
    return h->rank != 1 || comma ? 1 : fault(h, "its shape is no tuple");
}

static int take_order(struct header *h)
{
    h->is_fortran = take_word(h, "True");
    return h->is_fortran || take_word(h, "False") ? 1 : fault(h, "fortran_order is neither True nor False");
}

static int take_descr(struct header *h)
{
    return take_string(h, h->descr, sizeof h->descr) ? 1 : fault(h, "its type is not a plain one (a structure?)");
}

static int key_bit(const char *key)
{
    if (!strcmp(key, "descr"))
        return SEEN_DESCR;
    if (!strcmp(key, "fortran_order"))
        return SEEN_ORDER;
    return !strcmp(key, "shape") ? SEEN_SHAPE : 0;
}

static int take_entry(struct header *h)
{
    char key[16];
    if (!take_string(h, key, sizeof key) || !take(h, ':'))
        return fault(h, "its header is not the dictionary that it should be");
    int bit = key_bit(key);
    if (!bit || h->seen & bit)
        return fault(h, "its header has an unknown key, or one twice");
    h->seen |= bit;
    return bit == SEEN_DESCR ? take_descr(h) : bit == SEEN_ORDER ? take_order(h) : take_shape(h);
}

static int take_dictionary(struct header *h, const char *end)
{
    int comma = 1;
    if (!take(h, '{'))
        return fault(h, "its header is not a dictionary");
    while (!take(h, '}')) {
        if (!comma)
            return fault(h, "its header is not the dictionary that it should be");
        if (!take_entry(h))
            return 0;
        comma = take(h, ',');
    }
    skip_space(h);
    if (h->at != end)
        return fault(h, "its header goes on after the dictionary");
    return h->seen == SEEN_ALL ? 1 : fault(h, "its header lacks descr, fortran_order or shape");
}

/* ---- reading ---- */

static int bad(const struct input *input, const char *what, bptt_error *error)
{
    return fail_file(error, BPTT_ERROR_FORMAT, input->path, "not a .npy file, or a damaged one: %s", what);
}

static int parse_header(struct input *input, size_t length, struct header *h, bptt_error *error)
{
    char *text = malloc(length + 1);
    if (!text)
        return fail_memory(error, length + 1);
    text[length] = '\0';
    int status = input_read(input, text, length, error);
    h->at = text;
    if (!status && !take_dictionary(h, text + length))
        status = bad(input, h->fault, error);
    free(text);
    return status;
}

static int read_header(struct input *input, struct header *h, bptt_error *error)
{
    unsigned char start[12];
    if (input->left < sizeof start)
        return bad(input, "it is too short", error);
    int status = input_read(input, start, 10, error);
    if (status)
        return status;
    if (memcmp(start, magic, sizeof magic))
        return bad(input, "it does not begin as one", error);
    if (start[6] < 1 || start[6] > 3)
        return fail_file(error, BPTT_ERROR_FORMAT, input->path, ".npy version %d; bptt reads versions 1 to 3",
                         start[6]);
    size_t length = start[8] | (size_t)start[9] << 8;
    if (start[6] > 1) {
        status = input_read(input, start + 10, 2, error);
        length |= (size_t)start[10] << 16 | (size_t)start[11] << 24;
    }
    if (status)
        return status;
    if (length > input->left || length > HEADER_LIMIT)
        return bad(input, "its header would be longer than the file, or than 64 KiB", error);
    return parse_header(input, length, h, error);
}

struct conversion {
    const char *descr;
    int type;
    size_t element;
};
static const struct conversion conversions[] = {
    {"<f4", BPTT_F32, 4}, {"<f8", BPTT_F64, 8}, {"<i4", BPTT_I32, 4}, {"<i8", BPTT_I32, 8}, {"|u1", BPTT_I32, 1},
};

static const struct conversion *find_conversion(const char *descr)
{
    for (size_t i = 0; i < sizeof conversions / sizeof *conversions; i++)
        if (!strcmp(conversions[i].descr, descr))
            return &conversions[i];
    return NULL;
}

static int is_plain(const char *descr)
{
    for (; *descr; descr++)
        if (*descr <= 32 || *descr >= 127)
            return 0;
    return 1;
}

/* Hints are what numpy's user would type. */
static int refuse_type(const struct input *input, const char *descr, bptt_error *error)
{
    const char *shown = is_plain(descr) ? descr : "(unknown)";
    if (*descr == '>')
        return fail_file(error, BPTT_ERROR_FORMAT, input->path,
                         "big-endian elements (%s); save x.astype(x.dtype.newbyteorder('<'))", shown);
    return fail_file(
        error, BPTT_ERROR_FORMAT, input->path,
        "elements of type %s; bptt reads <f4, <f8, <i4, <i8, |u1: save x.astype('float32') or x.astype('int32')",
        shown);
}

static int measure(const struct input *input, struct npy_layout *layout, bptt_error *error)
{
    if (!array_size(layout->array.rank, layout->array.shape, layout->element, &layout->bytes))
        return bad(input, "its shape is too large", error);
    if (layout->bytes != input->left)
        return fail_file(error, BPTT_ERROR_FORMAT, input->path,
                         "its shape needs %zu bytes of elements, the file has %llu (cut off, or damaged)",
                         layout->bytes, (unsigned long long)input->left);
    return BPTT_OK;
}

int npy_begin(struct input *input, struct npy_layout *layout, bptt_error *error)
{
    struct header h = {0};
    int status = read_header(input, &h, error);
    if (status)
        return status;
    const struct conversion *conversion = find_conversion(h.descr);
    if (!conversion)
        return refuse_type(input, h.descr, error);
    if (h.is_fortran)
        return fail_file(error, BPTT_ERROR_FORMAT, input->path, "in Fortran order; save numpy.ascontiguousarray(x)");
    *layout = (struct npy_layout){.array = {.type = conversion->type, .rank = h.rank}, .element = conversion->element};
    memcpy(layout->array.shape, h.shape, sizeof h.shape);
    return measure(input, layout, error);
}

int npy_narrow(const char *path, const void *from, size_t element, size_t first, size_t count, int32_t *to,
               bptt_error *error)
{
    for (size_t i = 0; i < count; i++) {
        int64_t value = element == 8 ? ((const int64_t *)from)[i] : ((const unsigned char *)from)[i];
        if (value < INT32_MIN || value > INT32_MAX)
            return fail_file(error, BPTT_ERROR_FORMAT, path, "element %zu is %lld, which does not fit 32 bits",
                             first + i, (long long)value);
        to[i] = (int32_t)value;
    }
    return BPTT_OK;
}

/* Integers of other widths, a piece at a time: the file's bytes and the array are not in memory together. */
static int read_integers(struct input *input, int32_t *out, size_t count, size_t element, bptt_error *error)
{
    int64_t piece[1024];
    int status = BPTT_OK;
    for (size_t done = 0, n; !status && done < count; done += n) {
        n = count - done < 1024 ? count - done : 1024;
        status = input_read(input, piece, n * element, error);
        if (!status)
            status = npy_narrow(input->path, piece, element, done, n, out + done, error);
    }
    return status;
}

static int read_array(struct input *input, bptt_array *array, bptt_error *error)
{
    struct npy_layout layout;
    int status = npy_begin(input, &layout, error);
    if (status)
        return status;
    *array = layout.array;
    size_t count = layout.bytes / layout.element, size = array_type_size(array->type);
    array->data = calloc(count ? count : 1, size);
    if (!array->data)
        return fail_memory(error, count * size);
    if (layout.element == size)
        return input_read(input, array->data, layout.bytes, error);
    return read_integers(input, array->data, count, layout.element, error);
}

int bptt_npy_read(const char *path, bptt_array *array, bptt_error *error)
{
    struct input input;
    *array = (bptt_array){0};
    int status = input_open(&input, path, error);
    if (!status)
        status = read_array(&input, array, error);
    input_close(&input);
    if (status)
        bptt_array_clear(array);
    return status;
}

/* ---- writing ---- */

/* Version 1.0; spaces and a newline end the header so that the elements begin at a multiple of 64. */
static void build_header(const bptt_array *array, struct text *out)
{
    const char *descr = array->type == BPTT_F64 ? "<f8" : array->type == BPTT_F32 ? "<f4" : "<i4";
    text_append(out, magic, sizeof magic);
    text_append(out, "\1\0\0\0", 4);
    text_printf(out, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < array->rank; i++)
        text_printf(out, i ? ", %lld" : "%lld", (long long)array->shape[i]);
    text_add(out, array->rank == 1 ? ",), }" : "), }");
    size_t length = (out->length + 1 + ALIGN - 1) / ALIGN * ALIGN;
    text_printf(out, "%*s", (int)(length - out->length), "\n");
    if (out->failed)
        return;
    out->data[8] = (char)((length - 10) & 255);
    out->data[9] = (char)((length - 10) >> 8);
}

int bptt_npy_write(const char *path, const bptt_array *array, bptt_error *error)
{
    size_t bytes = 0;
    const char *wrong = array_fault(array, &bytes);
    if (wrong)
        return fail_file(error, BPTT_ERROR_ARGUMENT, path, "cannot write: %s", wrong);
    struct text header = {0};
    struct atomic_file file;
    build_header(array, &header);
    int status = header.failed ? fail_memory(error, 2 * ALIGN) : atomic_open(&file, path, error);
    if (!status) /* a write that fails has cleaned up after itself */
        status = atomic_write(&file, header.data, header.length, error);
    if (!status)
        status = atomic_write(&file, array->data, bytes, error);
    text_free(&header);
    return status ? status : atomic_commit(&file, error);
}
