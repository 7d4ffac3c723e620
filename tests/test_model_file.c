/* test_model_file.c - models come back from their files bit by bit, with everything they carry; a file that is cut,
 * damaged or lies is refused in one line with its name, before memory is taken on its word. Allocations are counted,
 * and can be made to fail. */
// link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
#define _GNU_SOURCE 1
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../src/file/model_file.h"
#include "../src/file/safetensors.h"
#include "tap.h"

/* ---- allocations ---- */

struct allocations { long left; size_t largest; };   /* left: until one fails; -1: none does */
static struct allocations allocations = {.left = -1};

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static int allowed(size_t size)
{
    if (size > allocations.largest)
        allocations.largest = size;
    if (allocations.left < 0)
        return 1;
    return allocations.left > 0 && allocations.left--;
}

void *__wrap_malloc(size_t size)
{
    return allowed(size) ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return allowed(count * size) ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
    return allowed(size) ? __real_realloc(memory, size) : NULL;
}

/* ---- files ---- */

struct scratch { char folder[64], good[96], bad[96], cache[96]; };

static struct scratch scratch_new(void)
{
    struct scratch scratch = {.folder = "/tmp/bptt-model-XXXXXX"};
    if (!mkdtemp(scratch.folder))
        tap_ok(0, "a scratch folder");
    snprintf(scratch.good, sizeof scratch.good, "%s/good.safetensors", scratch.folder);
    snprintf(scratch.bad, sizeof scratch.bad, "%s/bad.safetensors", scratch.folder);
    snprintf(scratch.cache, sizeof scratch.cache, "%s/cache", scratch.folder);
    return scratch;
}

static char *whole_file(const char *path, size_t *length)
{
    FILE *file = fopen(path, "rb");
    char *data = malloc(1 << 20);
    *length = file && data ? fread(data, 1, 1 << 20, file) : 0;
    if (file)
        fclose(file);
    return data;
}

static void write_file(const char *path, const char *data, size_t length)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, length, file) != length || fclose(file))
        tap_ok(0, "the test can write %s", path);
}

static int same_files(const char *one, const char *other)
{
    size_t a, b;
    char *x = whole_file(one, &a), *y = whole_file(other, &b);
    int same = a > 0 && a == b && !memcmp(x, y, a);
    free(x);
    free(y);
    return same;
}

/* ---- models ---- */

static bptt_model *new_model(const char *cell_name, int64_t vocabulary, const char *dims, int head, int tied)
{
    bptt_error error = {0};
    bptt_cell *cell = NULL;
    bptt_model *model = NULL;
    bptt_model_config config = bptt_model_defaults();
    config.hidden = 4;
    config.inputs = tied ? 4 : 3;
    config.layers = 2;
    config.outputs = vocabulary || !head ? 0 : 2;
    config.vocabulary = vocabulary;
    config.loss = vocabulary ? BPTT_CROSS_ENTROPY : BPTT_MSE;
    config.dims = dims;
    config.head = head;
    config.tied = tied;
    config.seed = 7;
    int status = bptt_cell_open(cell_name, &cell, &error);
    config.cell = cell;
    if (!status)
        status = bptt_model_new(&config, &model, &error);
    bptt_cell_free(cell);
    if (status)
        tap_ok(0, "a model of %s: %s", cell_name, error.text);
    return model;
}

static int same_model(const bptt_model *a, const bptt_model *b)
{
    if (a->count != b->count || memcmp(a->data, b->data, (size_t)a->count * sizeof *a->data))
        return 0;
    return a->inputs == b->inputs && a->vocabulary == b->vocabulary && a->hidden == b->hidden &&
           a->layers == b->layers && a->outputs == b->outputs && a->loss == b->loss && a->head == b->head &&
           a->tied == b->tied && a->step == b->step && !strcmp(a->symbols, b->symbols) &&
           a->cell->hash == b->cell->hash && !strcmp(a->cell->source, b->cell->source);
}

static void round_trip(const struct scratch *scratch, bptt_model *model, const char *what)
{
    bptt_error error = {0};
    bptt_model *back = NULL;
    if (!model)
        return;
    int saved = bptt_model_save(model, scratch->good, &error),
        loaded = saved ? saved : bptt_model_load(scratch->good, &back, &error);
    tap_ok(loaded == BPTT_OK && same_model(model, back), "%s: comes back with the same bits%s", what, error.text);
    if (back)
        bptt_model_save(back, scratch->bad, &error);
    tap_ok(back && same_files(scratch->good, scratch->bad), "%s: saved again it is the same file", what);
    bptt_model_free(back);
    bptt_model_free(model);
}

static void test_round_trips(const struct scratch *scratch)
{
    for (size_t i = 0; i < bptt_cell_count(); i++)
        round_trip(scratch, new_model(bptt_cell_name(i), 5, NULL, 1, 0), bptt_cell_name(i));
    round_trip(scratch, new_model("lstm_projected", 5, "R=3", 1, 0), "a cell with a size of its own");
    round_trip(scratch, new_model("gru", 5, NULL, 1, 1), "tied weights");
    round_trip(scratch, new_model("gru", 0, NULL, 1, 0), "floats in and out");
    round_trip(scratch, new_model("gru", 0, NULL, 0, 0), "no head");
}

static void test_carried(const struct scratch *scratch)
{
    bptt_error error = {0};
    bptt_model *model = new_model("gru", 2, NULL, 1, 0), *back = NULL;
    float value[6] = {1, 2, 3, 4, 5, INFINITY};
    bptt_array item = {.name = "state.layers.0.h", .type = BPTT_F32, .rank = 2, .shape = {2, 3}, .data = value};
    bptt_arrays extra = {1, &item}, got = {0};
    char *training = NULL;
    snprintf(model->symbols, sizeof model->symbols, "chars");
    model->vocabulary_json = strdup("{\"kind\":\"chars\",\"symbols\":[\"\\n\",\"\xc3\xa9\"]}");
    model->step = 1234567890123;
    model->valid_loss = 1.0 / 3;
    int status = model_file_save(model, &extra, "{\"progress\": {\"step\": 3}}", scratch->good, &error);
    if (!status)
        status = model_file_load(scratch->good, &back, &got, &training, &error);
    tap_ok(status == BPTT_OK && same_model(model, back), "a checkpoint comes back%s", error.text);
    tap_ok(back && back->valid_loss == model->valid_loss, "its validation loss has the same bits");
    tap_text(back ? back->vocabulary_json : NULL, model->vocabulary_json, "its symbols are there");
    tap_ok(got.count == 1 && !strcmp(got.items[0].name, item.name) && !memcmp(got.items[0].data, value, sizeof value),
           "and the tensors beside the model");
    tap_text(training, "{\"progress\":{\"step\":3}}", "and what it says of its training");
    bptt_arrays_clear(&got);
    free(training);
    bptt_model_free(back);
    tap_ok(bptt_model_load(scratch->good, &back, &error) == BPTT_OK && same_model(model, back),
           "a checkpoint is a model as well");
    bptt_model_free(back);
    bptt_model_free(model);
}

/* ---- lies ---- */

static void is_refused(const struct scratch *scratch, int code, const char *part, const char *what)
{
    bptt_error error = {0};
    bptt_model *model = NULL;
    allocations.largest = 0;
    int status = bptt_model_load(scratch->bad, &model, &error);
    int well =
        status == code && error.code == code && !model && strstr(error.text, scratch->bad) && strstr(error.text, part);
    tap_ok(well, "%s: refused", what);
    if (!well)
        tap_note("status %d, wanted %d and '%s'; %s", status, code, part, error.text);
    tap_ok(allocations.largest < 2 << 20, "%s: and no large memory was asked for", what);
    bptt_model_free(model);
}

struct lie { const char *key, *value, *part; };      /* value: JSON in its scratch, NULL: it is taken out */

static const struct lie lies[] = {
    {"version", NULL, "version"},
    {"version", "\"1\"", "version"},
    {"version", "2", "newer bptt"},
    {"hidden", NULL, "'hidden'"},
    {"hidden", "0", "'hidden'"},
    {"hidden", "-4", "'hidden'"},
    {"hidden", "4.0", "'hidden'"},
    {"hidden", "9223372036854775807", "'hidden'"},
    {"hidden", "1048576", "more"},
    {"hidden", "30000", "more"},
    {"hidden", "5", "more weights than the file holds"},
    {"hidden", "3", "shape"},
    {"layers", "0", "'layers'"},
    {"layers", "257", "'layers'"},
    {"layers", "256", "more"},
    {"layers", "1", "belongs to no part"},
    {"inputs", "0", "'inputs'"},
    {"inputs", "1048576", "more"},
    {"inputs", "2", "shape"},
    {"outputs", "0", "'outputs'"},
    {"outputs", "16777216", "more"},
    {"vocabulary", "16777216", "more"},
    {"vocabulary", "-1", "'vocabulary'"},
    {"vocabulary", "4", "shape"},
    {"vocabulary", "0", "belongs to no part"},
    {"loss", "\"absolute\"", "loss"},
    {"loss", NULL, "loss"},
    {"head", "false", "without a head"},
    {"tied", "true", "tied"},
    {"dims", "\"Q=3\"", "Q"},
    {"dims", "\"?\"", "?"},
    {"cell", NULL, "cell"},
    {"cell", "{}", "cell"},
    {"cell", "{\"source\": 3}", "cell"},
    {"cell", "{\"source\": \"cell gru\\ninput x\\nstate h\\nh' = q(\"}", "cell"},
    {"cell", "{\"source\": \"\"}", "cell"},
};

/* The good file again, with one thing of its description or its tensors changed. */
static void write_lie(const struct scratch *scratch, const struct lie *lie)
{
    bptt_arrays set;
    char *metadata = NULL;
    bptt_error error = {0};
    int status = safetensors_load(scratch->good, &set, &metadata, &error);
    json_t *json = status ? NULL : json_loads(metadata, 0, NULL);
    if (lie->value)
        json_object_set_new(json, lie->key, json_loads(lie->value, JSON_DECODE_ANY, NULL));
    else
        json_object_del(json, lie->key);
    char *text = json_dumps(json, JSON_COMPACT);
    if (status || safetensors_save(scratch->bad, &set, text, &error))
        tap_ok(0, "the test can write a lie: %s", error.text);
    json_decref(json);
    free(text);
    free(metadata);
    bptt_arrays_clear(&set);
}

static void save_good(const struct scratch *scratch)
{
    bptt_error error = {0};
    bptt_model *model = new_model("gru", 5, NULL, 1, 0);
    tap_ok(bptt_model_save(model, scratch->good, &error) == BPTT_OK, "a good model to begin with%s", error.text);
    bptt_model_free(model);
}

static void test_lies(const struct scratch *scratch)
{
    char what[200];
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        snprintf(what, sizeof what, "%s %s", lies[i].key, lies[i].value ? lies[i].value : "missing");
        write_lie(scratch, &lies[i]);
        int code = strcmp(lies[i].key, "cell") || strstr(lies[i].part, "missing") ? BPTT_ERROR_FORMAT : BPTT_ERROR_CELL;
        const char *source = lies[i].value ? strstr(lies[i].value, "\"source\": \"") : NULL;
        is_refused(scratch, source ? code : BPTT_ERROR_FORMAT, lies[i].part, what);
    }
}

enum { MISSING, RENAMED, DOUBLES, TRANSPOSED, FLAT, NOT_A_NUMBER, INFINITE, UNKNOWN, CHANGES };

static void change(bptt_array *array, int kind)
{
    int64_t rows = array->shape[0];
    if (kind == RENAMED)
        snprintf(array->name, sizeof array->name, "layers.9.W");
    if (kind == DOUBLES) {
        free(array->data);
        array->data = calloc((size_t)bptt_array_length(array), sizeof(double));
        array->type = BPTT_F64;
    }
    if (kind == TRANSPOSED) {
        array->shape[0] = array->shape[1];
        array->shape[1] = rows;
    }
    if (kind == FLAT) {
        array->shape[0] *= array->shape[1];
        array->rank = 1;
    }
    if (kind == NOT_A_NUMBER)
        ((float *)array->data)[3] = NAN;
    if (kind == INFINITE)
        ((float *)array->data)[0] = -INFINITY;
}

static void test_tensors(const struct scratch *scratch)
{
    static const char *const part[] = {"more weights than", "missing",    "type and shape", "type and shape",
                                       "type and shape",    "not finite", "not finite",     "belongs to no part"};
    static const char *const name[] = {"a tensor is missing",  "one has another name", "doubles",
                                       "transposed",           "of another rank",      "a weight is not a number",
                                       "a weight is infinite", "an unknown tensor"};
    for (int kind = 0; kind < CHANGES; kind++) {
        bptt_arrays set;
        char *metadata;
        bptt_error error = {0};
        if (safetensors_load(scratch->good, &set, &metadata, &error))
            return;
        bptt_array *embedding = (bptt_array *)(uintptr_t)bptt_arrays_find(&set, "head.weight"), last = {0};
        float one = 1;
        change(embedding, kind);
        if (kind == MISSING) {
            last = *embedding;
            *embedding = set.items[--set.count];
        }
        bptt_array *more = realloc(set.items, (set.count + 1) * sizeof *more);
        set.items = more;
        if (kind == UNKNOWN)
            more[set.count++] =
                (bptt_array){.name = "surplus", .type = BPTT_F32, .rank = 1, .shape = {1}, .data = &one};
        if (safetensors_save(scratch->bad, &set, metadata, &error))
            tap_ok(0, "the test can write: %s", error.text);
        set.count -= kind == UNKNOWN;
        is_refused(scratch, BPTT_ERROR_FORMAT, part[kind], name[kind]);
        if (kind != MISSING && kind != UNKNOWN && kind != RENAMED) {
            bptt_model *model;
            bptt_model_load(scratch->bad, &model, &error);
            tap_ok(strstr(error.text, "head.weight") != NULL, "%s: the tensor is named", name[kind]);
        }
        bptt_array_clear(&last);
        bptt_arrays_clear(&set);
        free(metadata);
    }
}

static void test_foreign(const struct scratch *scratch)
{
    static const struct { const char *metadata, *part, *what; } files[] = {
        {NULL, "without bptt's part", "a safetensors file of another program"},
        {"a text", "not JSON", "a description that is not JSON"},
        {"[1]", "not JSON", "a description that is no object"},
        {"{}", "version", "an empty description"}};
    bptt_arrays set;
    bptt_error error = {0};
    if (safetensors_load(scratch->good, &set, NULL, &error))
        return;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (safetensors_save(scratch->bad, &set, files[i].metadata, &error))
            tap_ok(0, "the test can write: %s", error.text);
        is_refused(scratch, BPTT_ERROR_FORMAT, files[i].part, files[i].what);
    }
    bptt_arrays_clear(&set);
}

/* ---- damage ---- */

/* 1 when loading fails as it should: a status, the file's name, no model. */
static int fails_well(const struct scratch *scratch, int may_load)
{
    bptt_error error = {0};
    bptt_model *model;
    int status = bptt_model_load(scratch->bad, &model, &error);
    int well = status ? !model && error.code == status && strstr(error.text, scratch->bad) : may_load;
    if (!well)
        tap_note("status %d: %s", status, error.text);
    bptt_model_free(model);
    return well;
}

static void test_damage(const struct scratch *scratch)
{
    size_t length;
    char *data = whole_file(scratch->good, &length);
    int cut = 1, changed = 1;
    for (size_t i = 0; i < length; i += i < 64 ? 1 : 7) {
        write_file(scratch->bad, data, i);
        cut &= fails_well(scratch, 0);
    }
    tap_ok(cut, "cut anywhere it is refused");
    for (size_t i = 0; i < length; i += i < 64 ? 1 : 3) {
        data[i] ^= (char)(i % 2 ? 0x80 : 0x01);
        write_file(scratch->bad, data, length);
        changed &= fails_well(scratch, 1);
        data[i] ^= (char)(i % 2 ? 0x80 : 0x01);
    }
    tap_ok(changed, "with a bit changed anywhere it is refused with its name, or a model");
    free(data);
}

/* ---- what cannot be written, what is never run ---- */

static void test_unwritable(const struct scratch *scratch)
{
    bptt_error error = {0};
    char path[128];
    bptt_model *model = new_model("gru", 5, NULL, 1, 0);
    snprintf(path, sizeof path, "%s/nowhere/model", scratch->folder);
    tap_ok(bptt_model_save(model, path, &error) == BPTT_ERROR_FILE && strstr(error.text, path),
           "into a folder that is not there");
    bptt_model_free(model);
}

static int entries(const char *folder)
{
    int count = 0;
    DIR *dir = opendir(folder);
    while (dir && readdir(dir))
        count++;
    if (dir)
        closedir(dir);
    return count;
}

static void test_never_compiled(const struct scratch *scratch)
{
    static const char source[] = "cell own\ninput x\nstate h\nh' = 0.5 * tanh(W x + U h + b) + 0.25 * h\n";
    bptt_error error = {0};
    bptt_cell *cell = NULL;
    bptt_model *model = NULL, *back = NULL;
    bptt_model_info info = {0};
    bptt_model_config config = bptt_model_defaults();
    float x[4] = {1, 2, 3, 4};
    bptt_array input = {.type = BPTT_F32, .rank = 3, .shape = {2, 1, 2}, .data = x}, output = {0};
    setenv("XDG_CACHE_HOME", scratch->cache, 1);
    config.inputs = 2;
    config.outputs = 1;
    config.loss = BPTT_MSE;
    config.hidden = 3;
    int status = bptt_cell_parse(source, "own.cell", &cell, &error);
    config.cell = cell;
    if (!status) status = bptt_model_new(&config, &model, &error);
    if (!status) status = bptt_model_save(model, scratch->good, &error);
    if (!status) status = bptt_model_load(scratch->good, &back, &error);
    if (!status) status = bptt_model_describe(back, &info, &error);
    if (!status) status = bptt_run(back, &input, NULL, &output, NULL, NULL, &error);
    tap_ok(status == BPTT_OK, "a model of a cell of one's own is read and runs%s", error.text);
    tap_text(info.kernel, "interpreter", "it is interpreted");
    tap_ok(entries(scratch->cache) == 0, "and nothing was compiled for it");
    bptt_array_clear(&output);
    bptt_model_free(model);
    bptt_model_free(back);
    bptt_cell_free(cell);
}

/* ---- memory that runs out ---- */

static int load_again(const struct scratch *scratch)
{
    bptt_model *model;
    bptt_arrays extra;
    char *training;
    bptt_error error = {0};
    int status = model_file_load(scratch->good, &model, &extra, &training, &error);
    bptt_model_free(model);
    bptt_arrays_clear(&extra);
    free(training);
    return status == error.code ? status : -1;
}

static void test_failing_allocations(const struct scratch *scratch)
{
    long count = 0;
    int status, good = 1;
    json_object_seed(1);                   /* outside of the count: it happens once */
    do {
        allocations.left = count++;
        status = load_again(scratch);
        good &= status >= 0;
    } while (status && count < 100000);
    allocations.left = -1;
    tap_ok(good && !status && count > 10, "each of %ld allocations may fail while a model is read", count - 1);
}

int main(void)
{
    struct scratch scratch = scratch_new();
    char command[96];
    json_set_alloc_funcs(__wrap_malloc, free);
    test_round_trips(&scratch);
    test_carried(&scratch);
    save_good(&scratch);
    test_lies(&scratch);
    test_tensors(&scratch);
    test_foreign(&scratch);
    test_damage(&scratch);
    test_failing_allocations(&scratch);
    test_unwritable(&scratch);
    test_never_compiled(&scratch);
    snprintf(command, sizeof command, "rm -rf %s", scratch.folder);
    if (system(command))
        tap_note("could not remove %s", scratch.folder);
    return tap_done();
}
