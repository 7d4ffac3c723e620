/* train.c - a character model of this project's README in a few seconds: the whole of `bptt train` in one call.
 *
 *     cc train.c $(pkg-config --cflags --libs bptt) -o train && ./train */
#include <bptt.h>
#include <stdio.h>

int main(void)
{
    bptt_error error = {0};
    bptt_train_config config = bptt_train_defaults();
    const char *files[] = {"README.md"};
    config.files = files;
    config.file_count = 1;
    config.cell = "gru";
    config.hidden = 64;
    config.steps = 200;
    config.out = "readme.safetensors";
    bptt_train_result result;
    if (bptt_train(&config, NULL, NULL, &result, &error) != BPTT_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    printf("%.3f nats per character after %lld steps\n", result.train_loss, (long long)result.step);
    return 0;
}
