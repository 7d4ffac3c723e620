/* stream.c - a model step by step, as a program does that meets its input as it comes: the state is kept between calls and
 * nothing is allocated after the start. The same inputs given at once to bptt_run must yield the same outputs.
 *
 *     cc stream.c $(pkg-config --cflags --libs bptt) -o stream && ./stream */
#include <bptt.h>
#include <stdio.h>

enum { STEPS = 50, INPUTS = 2, OUTPUTS = 1 };

static int give_up(const bptt_error *error)
{
    fprintf(stderr, "%s\n", error->text);
    return 1;
}

int main(void)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_model *model;
    bptt_stream *stream;
    bptt_model_config config = bptt_model_defaults();
    if (bptt_cell_open("gru", &cell, &error))
        return give_up(&error);
    config.cell = cell;
    config.inputs = INPUTS;
    config.outputs = OUTPUTS;
    config.hidden = 32;
    config.loss = BPTT_MSE;
    if (bptt_model_new(&config, &model, &error) || bptt_stream_new(model, 1, &stream, &error))
        return give_up(&error);

    float x[STEPS][INPUTS], y[STEPS][OUTPUTS];
    for (int t = 0; t < STEPS; t++) {
        x[t][0] = (float)(t % 7) / 7;      /* two sawtooths */
        x[t][1] = (float)(t % 11) / 11;
        if (bptt_stream_step(stream, x[t], y[t], &error))
            return give_up(&error);
    }

    bptt_array input = {.type = BPTT_F32, .rank = 3, .shape = {STEPS, 1, INPUTS}, .data = x}, output;
    if (bptt_run(model, &input, NULL, &output, NULL, NULL, &error))
        return give_up(&error);
    float largest = 0;
    for (int t = 0; t < STEPS; t++) {
        float difference = y[t][0] - ((float *)output.data)[t];
        difference = difference < 0 ? -difference : difference;
        largest = difference > largest ? difference : largest;
    }
    printf("last output %.6f; step by step and at once differ by at most %g\n", y[STEPS - 1][0], largest);

    bptt_array_clear(&output);
    bptt_stream_free(stream);
    bptt_model_free(model);
    bptt_cell_free(cell);
    return largest <= 1e-6f ? 0 : 1;
}
