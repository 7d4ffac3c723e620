/* cell.c - a cell of one's own as five equations: proven against finite differences, then its exact gradient.
 *
 *     cc cell.c $(pkg-config --cflags --libs bptt) -o cell && ./cell */
#include <bptt.h>
#include <stdio.h>

static const char text[] =
    "# Leaky integrator with a gate of its own\n"
    "cell leaky\n"
    "input x\n"
    "state h\n"
    "a  = sigmoid(W_a x + U_a h + b_a)\n"
    "h' = (1 - a) * h + a * tanh(W x + b)\n";

static int give_up(const bptt_error *error)
{
    fprintf(stderr, "%s\n", error->text);
    return 1;
}

int main(void)
{
    bptt_error error = {0};
    bptt_cell *cell;
    bptt_check_report report;
    if (bptt_cell_parse(text, "leaky.cell", &cell, &error) || bptt_cell_check(cell, 1, &report, &error))
        return give_up(&error);
    printf("%d comparisons passed, %d failed\n", report.passed, report.failed);
    int failed = report.failed;
    bptt_check_clear(&report);

    bptt_model *model;
    bptt_model_config config = bptt_model_defaults();
    config.cell = cell;
    config.inputs = 1;
    config.hidden = 4;
    config.head = 0;                       /* the state itself is the output */
    config.loss = BPTT_MSE;
    if (bptt_model_new(&config, &model, &error))
        return give_up(&error);

    float x[3] = {1, 0, -1}, target[3][4] = {{0}};
    bptt_array input = {.type = BPTT_F32, .rank = 3, .shape = {3, 1, 1}, .data = x};
    bptt_array wanted = {.type = BPTT_F32, .rank = 3, .shape = {3, 1, 4}, .data = target};
    bptt_arrays gradients;
    double loss;
    if (bptt_gradient(model, &input, &wanted, NULL, NULL, NULL, &loss, &gradients, NULL, &error))
        return give_up(&error);
    printf("loss %.6f\n", loss);
    for (size_t i = 0; i < gradients.count; i++)
        printf("  dL/d %-22s first element %+.6f\n", gradients.items[i].name, (double)((float *)gradients.items[i].data)[0]);

    bptt_arrays_clear(&gradients);
    bptt_model_free(model);
    bptt_cell_free(cell);
    return failed ? 1 : 0;
}
