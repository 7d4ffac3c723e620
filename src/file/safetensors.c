/* safetensors.c - reading believes nothing: the header's length is held against the file, every entry against the
 * format, and all entries together must cover the data exactly once. Only then is memory taken, never more than the
 * file has. */
#include "safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "array.h"
#include "atomic.h"
#include "input.h"

static const uint64_t header_limit = 100000000; /* bytes; the format's own limit */
static const char metadata_key[] = "__metadata__";

static const char *type_name(int type)
{
    return type == BPTT_F64 ? "F64" : type == BPTT_F32 ? "F32" : "I32";
}

/* Names go into messages and onto terminals. */
static int is_printable(const char *name)
{
    for (; *name; name++)
        if ((unsigned char)*name < 32 || *name == 127)
            return 0;
    return 1;
}

/* ---- reading ---- */

struct entry {
    bptt_array array;
    uint64_t begin, end;
};

struct reader {
    struct input input;
    bptt_error *error;
    json_t *header;
    struct entry *entry;
    size_t count;
};

static int bad(struct reader *r, const char *name, const char *what)
{
    return fail_file(r->error, BPTT_ERROR_FORMAT, r->input.path, "tensor \"%s\": %s", name, what);
}

static int bad_header(struct reader *r, const char *what)
{
    return fail_file(r->error, BPTT_ERROR_FORMAT, r->input.path, "not a safetensors file, or a damaged one: %s", what);
}

/* Out of memory may be reported as a fault of the text, so a text is only faulty if it is so twice. */
static int parse_header(struct reader *r, const char *text, size_t length)
{
    json_error_t where;
    if (text[0] != '{')
        return bad_header(r, "its header is not a JSON object");
    for (int i = 0; !r->header && i < 2; i++)
        r->header = json_loadb(text, length, JSON_REJECT_DUPLICATES, &where);
    if (!r->header && !where.text[0])
        return fail_memory(r->error, length);
    if (!r->header && json_error_code(&where) == json_error_duplicate_key)
        return bad_header(r, "a name appears twice");
    if (!r->header)
        return fail_file(r->error, BPTT_ERROR_FORMAT, r->input.path,
                         "the safetensors header is not valid JSON near its byte %d", where.position);
    return BPTT_OK;
}

static int read_header(struct reader *r)
{
    uint64_t length;
    if (r->input.left < sizeof length)
        return bad_header(r, "it is shorter than 8 bytes");
    int status = input_read(&r->input, &length, sizeof length, r->error);
    if (status)
        return status;
    if (length > r->input.left)
        return bad_header(r, "its header would be longer than the file");
    if (length > header_limit)
        return bad_header(r, "its header is longer than 100 MB");
    if (length < 2)
        return bad_header(r, "its header is empty");
    char *text = malloc(length);
    if (!text)
        return fail_memory(r->error, length);
    status = input_read(&r->input, text, length, r->error);
    if (!status)
        status = parse_header(r, text, length);
    free(text);
    return status;
}

static int read_type(struct reader *r, bptt_array *array, const json_t *dtype)
{
    const char *name = json_string_value(dtype);
    if (!name)
        return bad(r, array->name, "\"dtype\" is missing or no string");
    for (int type = BPTT_F32; type <= BPTT_I32; type++)
        if (!strcmp(name, type_name(type)))
            array->type = type;
    if (!array->type)
        return fail_file(r->error, BPTT_ERROR_FORMAT, r->input.path,
                         "tensor \"%s\" has dtype %s; bptt reads F32, F64 and I32", array->name,
                         strlen(name) < 16 && is_printable(name) ? name : "(unknown)");
    return BPTT_OK;
}

static int read_shape(struct reader *r, bptt_array *array, const json_t *shape, size_t *bytes)
{
    if (!json_is_array(shape))
        return bad(r, array->name, "\"shape\" is missing or no list");
    if (json_array_size(shape) > ARRAY_RANK)
        return bad(r, array->name, "has more than 4 dimensions");
    for (; array->rank < (int)json_array_size(shape); array->rank++) {
        const json_t *length = json_array_get(shape, (size_t)array->rank);
        if (!json_is_integer(length))
            return bad(r, array->name, "\"shape\" holds something other than whole numbers");
        array->shape[array->rank] = json_integer_value(length);
    }
    if (!array_size(array->rank, array->shape, array_type_size(array->type), bytes))
        return bad(r, array->name, "\"shape\" is negative or too large");
    return BPTT_OK;
}

static int read_offsets(struct reader *r, struct entry *entry, const json_t *offsets, size_t bytes)
{
    const char *name = entry->array.name;
    const json_t *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return bad(r, name, "\"data_offsets\" are not two whole numbers");
    json_int_t from = json_integer_value(begin), to = json_integer_value(end);
    if (from < 0 || to < from || (uint64_t)to > r->input.left)
        return bad(r, name, "\"data_offsets\" lie outside the file");
    if ((uint64_t)(to - from) != bytes)
        return bad(r, name, "\"data_offsets\" and \"shape\" disagree about its bytes");
    entry->begin = (uint64_t)from;
    entry->end = (uint64_t)to;
    return BPTT_OK;
}

static int read_entry(struct reader *r, const char *name, const json_t *json)
{
    struct entry *entry = &r->entry[r->count++];
    if (strlen(name) >= sizeof entry->array.name)
        return bad_header(r, "a tensor's name is longer than 111 bytes");
    if (!*name || !is_printable(name))
        return bad_header(r, "a tensor's name is empty or holds control characters");
    memcpy(entry->array.name, name, strlen(name) + 1);
    if (!json_is_object(json) || json_object_size(json) != 3)
        return bad(r, name, "its entry is not an object of \"dtype\", \"shape\" and \"data_offsets\"");
    size_t bytes = 0;
    int status = read_type(r, &entry->array, json_object_get(json, "dtype"));
    if (!status)
        status = read_shape(r, &entry->array, json_object_get(json, "shape"), &bytes);
    return status ? status : read_offsets(r, entry, json_object_get(json, "data_offsets"), bytes);
}

static int by_place(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->end != y->end)
        return x->end < y->end ? -1 : 1;
    return strcmp(x->array.name, y->array.name);
}

/* One after the other, from the first byte to the last. */
static int check_cover(struct reader *r)
{
    uint64_t at = 0;
    qsort(r->entry, r->count, sizeof *r->entry, by_place);
    for (size_t i = 0; i < r->count; i++) {
        if (r->entry[i].begin != at)
            return bad(r, r->entry[i].array.name,
                       r->entry[i].begin < at ? "overlaps another" : "unused bytes before it");
        at = r->entry[i].end;
    }
    return at == r->input.left ? BPTT_OK : bad_header(r, "unused bytes at its end");
}

static int check_metadata(struct reader *r, json_t *json)
{
    const char *key;
    json_t *value;
    if (!json_is_object(json))
        return bad_header(r, "its metadata is not a JSON object");
    json_object_foreach(json, key, value) {
        if (!json_is_string(value))
            return bad_header(r, "its metadata holds something other than strings");
    }
    return BPTT_OK;
}

static int read_entries(struct reader *r)
{
    size_t count = json_object_size(r->header);
    r->entry = calloc(count + 1, sizeof *r->entry); /* one more, so that none is no special case */
    if (!r->entry)
        return fail_memory(r->error, (count + 1) * sizeof *r->entry);
    const char *name;
    json_t *json;
    json_object_foreach(r->header, name, json) {
        int status = strcmp(name, metadata_key) ? read_entry(r, name, json) : check_metadata(r, json);
        if (status)
            return status;
    }
    return check_cover(r);
}

static int read_data(struct reader *r, bptt_arrays *set)
{
    set->items = calloc(r->count + 1, sizeof *set->items);
    if (!set->items)
        return fail_memory(r->error, (r->count + 1) * sizeof *set->items);
    for (size_t i = 0; i < r->count; i++) {
        size_t bytes = (size_t)(r->entry[i].end - r->entry[i].begin);
        bptt_array *array = &set->items[set->count++];
        *array = r->entry[i].array;
        array->data = malloc(bytes ? bytes : 1);
        if (!array->data)
            return fail_memory(r->error, bytes);
        int status = input_read(&r->input, array->data, bytes, r->error);
        if (status)
            return status;
    }
    return BPTT_OK;
}

static int copy_metadata(struct reader *r, char **metadata)
{
    const char *text = json_string_value(json_object_get(json_object_get(r->header, metadata_key), "bptt"));
    if (!text)
        return BPTT_OK;
    *metadata = strdup(text);
    return *metadata ? BPTT_OK : fail_memory(r->error, strlen(text) + 1);
}

int safetensors_load(const char *path, bptt_arrays *set, char **metadata, bptt_error *error)
{
    struct reader r = {.error = error};
    *set = (bptt_arrays){0};
    if (metadata)
        *metadata = NULL;
    int status = input_open(&r.input, path, error);
    if (!status)
        status = read_header(&r);
    if (!status)
        status = read_entries(&r);
    if (!status)
        status = read_data(&r, set);
    if (!status && metadata)
        status = copy_metadata(&r, metadata);
    input_close(&r.input);
    json_decref(r.header);
    free(r.entry);
    if (status)
        bptt_arrays_clear(set);
    return status;
}

int bptt_safetensors_read(const char *path, bptt_arrays *set, bptt_error *error)
{
    return safetensors_load(path, set, NULL, error);
}

/* ---- writing ---- */

static int bad_argument(const char *path, const bptt_array *array, const char *what, bptt_error *error)
{
    return fail_file(error, BPTT_ERROR_ARGUMENT, path, "cannot write tensor \"%.*s\": %s", (int)sizeof array->name - 1,
                     is_printable(array->name) ? array->name : "?", what);
}

static json_t *describe(const bptt_array *array, size_t begin, size_t end)
{
    json_t *shape = json_array();
    for (int i = 0; shape && i < array->rank; i++)
        if (json_array_append_new(shape, json_integer(array->shape[i]))) {
            json_decref(shape);
            return NULL;
        }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_name(array->type), "shape", shape, "data_offsets",
                     (json_int_t)begin, (json_int_t)end);
}

/* Adds one tensor's entry at *offset, which moves on by its bytes. */
static int add_entry(json_t *header, const char *path, const bptt_array *array, size_t *offset, bptt_error *error)
{
    size_t bytes = 0;
    const char *fault = memchr(array->name, 0, sizeof array->name) ? NULL : "its name is longer than 111 bytes";
    if (fault)
        return fail_file(error, BPTT_ERROR_ARGUMENT, path, "cannot write a tensor: %s", fault);
    if (!array->name[0] || !is_printable(array->name) || !strcmp(array->name, metadata_key))
        fault = "a tensor needs a name of printable characters, not __metadata__";
    else if (json_object_get(header, array->name))
        fault = "another has the same name";
    else
        fault = array_shape_fault(array, &bytes);
    if (fault)
        return bad_argument(path, array, fault, error);
    if (bytes > (size_t)INT64_MAX - *offset)
        return bad_argument(path, array, "too large", error);
    json_error_t why = {0};
    json_t *name = json_pack_ex(&why, 0, "s", array->name);
    if (!name && json_error_code(&why) == json_error_invalid_utf8)
        return bad_argument(path, array, "its name is not UTF-8", error);
    int is_added = name && !json_object_set_new(header, array->name, describe(array, *offset, *offset + bytes));
    json_decref(name);
    *offset += bytes;
    return is_added ? BPTT_OK : fail_memory(error, sizeof *array);
}

static int add_metadata(json_t *header, const char *path, const char *metadata, bptt_error *error)
{
    json_error_t why = {0};
    if (!metadata)
        return BPTT_OK;
    json_t *json = json_pack_ex(&why, 0, "{s:s}", "bptt", metadata);
    if (!json && json_error_code(&why) == json_error_invalid_utf8)
        return fail_file(error, BPTT_ERROR_ARGUMENT, path, "cannot write the metadata: not UTF-8");
    return json && !json_object_set_new(header, metadata_key, json) ? BPTT_OK : fail_memory(error, strlen(metadata));
}

/* The header's length is a multiple of 8, and with it the data's place. */
int safetensors_header(const char *path, const bptt_arrays *set, const char *metadata, struct text *out,
                       bptt_error *error)
{
    json_t *header = json_object();
    int status = header ? add_metadata(header, path, metadata, error) : fail_memory(error, sizeof *set);
    size_t offset = 0;
    for (size_t i = 0; !status && i < set->count; i++)
        status = add_entry(header, path, &set->items[i], &offset, error);
    char *json = status ? NULL : json_dumps(header, JSON_COMPACT);
    json_decref(header);
    if (status)
        return status;
    uint64_t length = json ? (strlen(json) + 7) / 8 * 8 : 0;
    if (length > header_limit)
        status = fail_file(error, BPTT_ERROR_ARGUMENT, path, "cannot write: the header would be longer than 100 MB");
    text_append(out, (const char *)&length, sizeof length);
    if (json && !status)
        text_printf(out, "%-*s", (int)length, json);
    if (!status && (!json || out->failed))
        status = fail_memory(error, json ? length : (set->count + 1) * sizeof *set->items);
    free(json);
    return status;
}

static int check_data(const char *path, const bptt_arrays *set, bptt_error *error)
{
    size_t bytes;
    for (size_t i = 0; i < set->count; i++) {
        const char *fault = array_fault(&set->items[i], &bytes);
        if (fault)
            return bad_argument(path, &set->items[i], fault, error);
    }
    return BPTT_OK;
}

int safetensors_save(const char *path, const bptt_arrays *set, const char *metadata, bptt_error *error)
{
    struct text header = {0};
    struct atomic_file file;
    int status = safetensors_header(path, set, metadata, &header, error);
    if (!status)
        status = check_data(path, set, error);
    if (!status)
        status = atomic_open(&file, path, error);
    if (!status) /* a write that fails has cleaned up after itself */
        status = atomic_write(&file, header.data, header.length, error);
    for (size_t i = 0; !status && i < set->count; i++) {
        const bptt_array *array = &set->items[i];
        size_t bytes = (size_t)bptt_array_length(array) * array_type_size(array->type);
        status = atomic_write(&file, array->data, bytes, error);
    }
    text_free(&header);
    return status ? status : atomic_commit(&file, error);
}

int bptt_safetensors_write(const char *path, const bptt_arrays *set, bptt_error *error)
{
    return safetensors_save(path, set, NULL, error);
}
