/* twin.c - see twin.h. */
#include "twin.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int twin_config(bptt_model_config *config, const char *cell, int inputs, int hidden, bptt_error *error)
{
    bptt_cell *opened = NULL;
    int status = bptt_cell_open(cell, &opened, error);
    *config = bptt_model_defaults();
    config->cell = opened;
    config->inputs = inputs;
    config->hidden = hidden;
    config->head = 0;
    return status;
}

double twin_draw(struct twin *twin)
{
    twin->random = twin->random * 6364136223846793005u + 1442695040888963407u;
    return (double)(twin->random >> 11) / 4503599627370496.0 - 1;
}

void twin_fill(struct twin *twin, double *to, int n)
{
    for (int i = 0; i < n; i++)
        to[i] = twin_draw(twin);
}

static void write_parameter(struct twin *twin, int i)
{
    float *data = twin->view[i].data;
    for (int64_t k = 0; k < bptt_array_length(&twin->view[i]); k++) {
        data[k] = (float)twin->value[i][k];
        twin->value[i][k] = (double)data[k];
    }
}

void twin_write(struct twin *twin)
{
    for (int i = 0; i < twin->count; i++)
        write_parameter(twin, i);
}

static int open_parameter(struct twin *twin, int i, double reach)
{
    bptt_model_parameter(twin->model, (size_t)i, &twin->view[i]);
    int64_t n = bptt_array_length(&twin->view[i]);
    twin->value[i] = calloc((size_t)n, sizeof(double));
    if (!twin->value[i])
        return BPTT_ERROR_MEMORY;
    for (int64_t k = 0; k < n; k++)
        twin->value[i][k] = reach * twin_draw(twin);
    write_parameter(twin, i);
    return BPTT_OK;
}

int twin_open(struct twin *twin, const bptt_model_config *config, double reach, bptt_error *error)
{
    int status = bptt_model_new(config, &twin->model, error);
    bptt_cell_free((bptt_cell *)config->cell);
    if (status)
        return status;
    size_t count = bptt_model_parameter_count(twin->model);
    if (count > TWIN_PARAMETERS)
        return BPTT_ERROR_ARGUMENT;
    for (; twin->count < (int)count && !status; twin->count++)
        status = open_parameter(twin, twin->count, reach);
    return status;
}

void twin_free(struct twin *twin)
{
    for (int i = 0; i < twin->count; i++)
        free(twin->value[i]);
    bptt_model_free(twin->model);
    *twin = (struct twin){.random = twin->random};
}

double *twin_find(const struct twin *twin, const char *name)
{
    for (int i = 0; i < twin->count; i++)
        if (!strcmp(twin->view[i].name, name))
            return twin->value[i];
    return NULL;
}

double *twin_find_in(const struct twin *twin, int layer, const char *name)
{
    static const char prefix[] = "layers.0.";
    for (int i = 0; i < twin->count; i++) {
        const char *whole = twin->view[i].name;
        if (!strncmp(whole, "layers.", 7) && whole[7] == '0' + layer && !strcmp(whole + sizeof prefix - 1, name))
            return twin->value[i];
    }
    return NULL;
}

bptt_run_options twin_options(void)
{
    bptt_run_options options = bptt_run_defaults();
    options.precision = BPTT_F64;
    options.threads = 1;
    return options;
}

bptt_array twin_rows(double *data, int steps, int batch, int width)
{
    return (bptt_array){.type = BPTT_F64, .rank = 3, .shape = {steps, batch, width}, .data = data};
}

bptt_array twin_state(const char *name, double *data, int batch, int width)
{
    bptt_array array = {.type = BPTT_F64, .rank = 2, .shape = {batch, width}, .data = data};
    snprintf(array.name, sizeof array.name, "%s", name);
    return array;
}

double twin_distance(const bptt_array *got, const double *want, int n)
{
    double difference = 0, norm = 0;
    if (!got || got->type != BPTT_F64 || bptt_array_length(got) != n)
        return NAN;
    for (int i = 0; i < n; i++) {
        double off = ((const double *)got->data)[i] - want[i];
        difference += off * off;
        norm += want[i] * want[i];
    }
    return sqrt(difference) / sqrt(norm);
}
