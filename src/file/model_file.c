/* model_file.c - a model file is not believed: sizes are held against the bytes that are there before anything is
 * allocated for them, every tensor against the shape that the cell's equations give, every weight against infinity. The
 * cell's text is compiled to graphs only; no file makes bptt run a C compiler. */
#include "model_file.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "safetensors.h"

enum { VERSION = 1 };

/* ---- writing ---- */

static const char *loss_name(int loss)
{
    return loss == BPTT_MSE ? "mse" : "cross-entropy";
}

static json_t *configuration(const bptt_model *m)
{
    json_t *cell = json_pack("{s:s, s:s}", "name", m->cell->name, "source", m->cell->source);
    json_t *json = json_pack("{s:i, s:o*, s:I, s:I, s:I, s:I, s:I, s:s, s:b, s:b, s:s, s:s, s:I}", "version", VERSION,
                             "cell", cell, "inputs", (json_int_t)m->inputs, "vocabulary", (json_int_t)m->vocabulary,
                             "hidden", (json_int_t)m->hidden, "layers", (json_int_t)m->layers, "outputs",
                             (json_int_t)m->outputs, "loss", loss_name(m->loss), "head", m->head, "tied", m->tied,
                             "dims", m->dims ? m->dims : "", "symbols", m->symbols, "step", (json_int_t)m->step);
    if (json && isfinite(m->valid_loss))
        json_object_set_new(json, "valid_loss", json_real(m->valid_loss));
    return json;
}

/* A text that is JSON already, under a key. */
static int set_parsed(json_t *json, const char *key, const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);
    return value ? json_object_set_new(json, key, value) : -1;
}

static char *metadata_text(const bptt_model *model, const char *training)
{
    json_t *json = configuration(model);
    int failed = !json;
    if (!failed && model->vocabulary_json)
        failed = set_parsed(json, "symbol_table", model->vocabulary_json);
    if (!failed && training)
        failed = set_parsed(json, "training", training);
    char *text = failed ? NULL : json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(17));
    json_decref(json);
    return text;
}

int model_file_save(const bptt_model *model, const bptt_arrays *extra, const char *training, const char *path,
                    bptt_error *error)
{
    size_t count = (size_t)model->tensors + (extra ? extra->count : 0);
    bptt_arrays set = {.items = calloc(count, sizeof *set.items)};
    char *metadata = metadata_text(model, training);
    int status = BPTT_OK;
    if (!set.items || !metadata)
        status = fail_memory(error, count * sizeof *set.items);
    for (int i = 0; !status && i < model->tensors; i++)
        bptt_model_parameter(model, set.count++, &set.items[i]);
    for (size_t i = 0; !status && extra && i < extra->count; i++)
        set.items[set.count++] = extra->items[i];
    if (!status)
        status = safetensors_save(path, &set, metadata, error);
    free(set.items);                       /* the data is the model's and the caller's */
    free(metadata);
    return status;
}

int bptt_model_save(const bptt_model *model, const char *path, bptt_error *error)
{
    return model_file_save(model, NULL, NULL, path, error);
}

/* ---- reading ---- */

struct reader {
    const char *path;
    json_t *json;
    bptt_arrays set;
    bptt_error *error;
};

static int wrong(const struct reader *r, const char *what)
{
    return fail_file(r->error, BPTT_ERROR_FORMAT, r->path, "this is not a model that bptt can read: %s", what);
}

static int read_whole(struct reader *r, const char *key, json_int_t low, json_int_t high, int64_t *value)
{
    json_t *item = json_object_get(r->json, key);
    char what[120];
    if (!json_is_integer(item) || json_integer_value(item) < low || json_integer_value(item) > high) {
        snprintf(what, sizeof what, "'%s' is missing or not between %lld and %lld", key, (long long)low,
                 (long long)high);
        return wrong(r, what);
    }
    *value = json_integer_value(item);
    return BPTT_OK;
}

static int read_version(struct reader *r)
{
    json_t *version = json_object_get(r->json, "version");
    if (!json_is_integer(version))
        return wrong(r, "its version is missing");
    if (json_integer_value(version) > VERSION)
        return fail_file(r->error, BPTT_ERROR_FORMAT, r->path,
                         "written by a newer bptt (format %lld; this one, %s, reads %d): update bptt",
                         (long long)json_integer_value(version), bptt_version(), VERSION);
    return BPTT_OK;
}

static const char *text_of(const struct reader *r, const char *key)
{
    const char *text = json_string_value(json_object_get(r->json, key));
    return text ? text : "";
}

static int read_config(struct reader *r, bptt_model_config *config)
{
    int status = read_version(r);
    *config = bptt_model_defaults();
    if (!status) status = read_whole(r, "inputs", 1, 1 << 20, &config->inputs);
    if (!status) status = read_whole(r, "vocabulary", 0, 1 << 24, &config->vocabulary);
    if (!status) status = read_whole(r, "hidden", 1, 1 << 20, &config->hidden);
    if (!status) status = read_whole(r, "layers", 1, 256, &config->layers);
    if (!status) status = read_whole(r, "outputs", 1, 1 << 24, &config->outputs);
    if (status)
        return status;
    const char *loss = text_of(r, "loss");
    if (strcmp(loss, "mse") && strcmp(loss, "cross-entropy"))
        return wrong(r, "its loss is neither mse nor cross-entropy");
    config->loss = strcmp(loss, "mse") ? BPTT_CROSS_ENTROPY : BPTT_MSE;
    config->head = json_is_true(json_object_get(r->json, "head"));
    config->tied = json_is_true(json_object_get(r->json, "tied"));
    config->dims = text_of(r, "dims");
    return BPTT_OK;
}

static int64_t stored_elements(const struct reader *r)
{
    int64_t count = 0;
    for (size_t i = 0; i < r->set.count; i++)
        count += bptt_array_length(&r->set.items[i]);
    return count;
}

static int is_extra(const char *name)
{
    return !strncmp(name, "optimizer.", 10) || !strncmp(name, "state.", 6);
}

static int fail_tensor(const struct reader *r, const char *name, const char *what)
{
    return fail_file(r->error, BPTT_ERROR_FORMAT, r->path, "tensor '%s' %s", name, what);
}

static int take_tensor(struct reader *r, bptt_model *model, const struct tensor *tensor)
{
    const bptt_array *array = bptt_arrays_find(&r->set, tensor->name);
    if (!array)
        return fail_tensor(r, tensor->name, "is missing");
    int fits = array->type == BPTT_F32 && array->rank == tensor->rank && array->shape[0] == tensor->shape[0] &&
               (tensor->rank == 1 || array->shape[1] == tensor->shape[1]);
    if (!fits)
        return fail_tensor(r, tensor->name, "does not have the type and shape that the model's sizes give");
    const float *data = array->data;
    for (long i = 0; i < tensor->count; i++)
        if (!isfinite(data[i]))
            return fail_tensor(r, tensor->name, "holds a value that is not finite");
    memcpy(model->data + tensor->offset, data, (size_t)tensor->count * sizeof(float));
    return BPTT_OK;
}

static int take_tensors(struct reader *r, bptt_model *model)
{
    for (int i = 0; i < model->tensors; i++) {
        int status = take_tensor(r, model, &model->tensor[i]);
        if (status)
            return status;
    }
    for (size_t i = 0; i < r->set.count; i++)
        if (!model_tensor(model, r->set.items[i].name) && !is_extra(r->set.items[i].name))
            return fail_tensor(r, r->set.items[i].name, "belongs to no part of the model");
    return BPTT_OK;
}

static int take_texts(struct reader *r, bptt_model *model, char **training)
{
    json_t *table = json_object_get(r->json, "symbol_table"), *progress = json_object_get(r->json, "training");
    snprintf(model->symbols, sizeof model->symbols, "%s", text_of(r, "symbols"));
    model->step = json_integer_value(json_object_get(r->json, "step"));
    json_t *valid = json_object_get(r->json, "valid_loss");
    model->valid_loss = json_is_number(valid) ? json_number_value(valid) : NAN;
    if (table && !(model->vocabulary_json = json_dumps(table, JSON_COMPACT | JSON_ENCODE_ANY)))
        return fail_memory(r->error, 0);
    if (training && progress && !(*training = json_dumps(progress, JSON_COMPACT | JSON_REAL_PRECISION(17))))
        return fail_memory(r->error, 0);
    return BPTT_OK;
}

/* Moves the extra tensors into *extra; what stays behind is freed with the set. */
static int take_extra(struct reader *r, bptt_arrays *extra)
{
    size_t count = 0;
    for (size_t i = 0; i < r->set.count; i++)
        count += (size_t)is_extra(r->set.items[i].name);
    extra->items = calloc(count ? count : 1, sizeof *extra->items);
    if (!extra->items)
        return fail_memory(r->error, count * sizeof *extra->items);
    for (size_t i = 0; i < r->set.count; i++) {
        if (!is_extra(r->set.items[i].name))
            continue;
        extra->items[extra->count++] = r->set.items[i];
        r->set.items[i] = (bptt_array){0};
    }
    return BPTT_OK;
}

static int parse_cell(struct reader *r, bptt_cell **cell)
{
    const char *source = json_string_value(json_object_get(json_object_get(r->json, "cell"), "source"));
    if (!source)
        return wrong(r, "its cell's text is missing");
    bptt_error why = {0};
    int status = bptt_cell_parse(source, r->path, cell, &why);
    return status ? fail_file(r->error, status, r->path, "its cell is wrong: %s", why.text) : BPTT_OK;
}

static int read_model(struct reader *r, bptt_model **model, bptt_arrays *extra, char **training)
{
    bptt_model_config config;
    bptt_cell *cell = NULL;
    int status = read_config(r, &config);
    if (!status) status = parse_cell(r, &cell);
    if (status)
        return status;
    config.cell = cell;
    bptt_error why = {0};
    status = model_shape(&config, model, &why);
    bptt_cell_free(cell);
    if (status)
        return fail_file(r->error, status == BPTT_ERROR_MEMORY ? status : BPTT_ERROR_FORMAT, r->path, "%s", why.text);
    /* a header that promises a huge model must not make us allocate one */
    if ((*model)->count > stored_elements(r))
        return wrong(r, "its sizes promise more weights than the file holds");
    status = model_allocate(*model, r->error);
    if (!status) status = take_tensors(r, *model);
    if (!status) status = take_texts(r, *model, training);
    if (!status && extra) status = take_extra(r, extra);
    return status;
}

int model_file_load(const char *path, bptt_model **model, bptt_arrays *extra, char **training, bptt_error *error)
{
    struct reader r = {.path = path, .error = error};
    char *metadata = NULL;
    *model = NULL;
    if (extra)
        *extra = (bptt_arrays){0};
    if (training)
        *training = NULL;
    int status = safetensors_load(path, &r.set, &metadata, error);
    if (status)
        return status;
    r.json = metadata ? json_loads(metadata, 0, NULL) : NULL;
    if (!metadata)
        status = fail_file(error, BPTT_ERROR_FORMAT, path,
                           "a safetensors file without bptt's part: not a model written by bptt");
    else if (!json_is_object(r.json))
        status = wrong(&r, "its description is not JSON");
    if (!status)
        status = read_model(&r, model, extra, training);
    json_decref(r.json);
    free(metadata);
    bptt_arrays_clear(&r.set);
    if (status) {
        bptt_model_free(*model);
        *model = NULL;
        if (extra)
            bptt_arrays_clear(extra);
        if (training) {
            free(*training);
            *training = NULL;
        }
    }
    return status;
}

int bptt_model_load(const char *path, bptt_model **model, bptt_error *error)
{
    return model_file_load(path, model, NULL, NULL, error);
}
