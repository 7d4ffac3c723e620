/* symbols.c - see symbols.h. */
#include "symbols.h"

#include <stdlib.h>
#include <string.h>

#include "../data/corpus.h"

int symbols_kind(const bptt_model *model)
{
    return !strcmp(model->symbols, "bytes") ? BPTT_BYTES : !strcmp(model->symbols, "words") ? BPTT_WORDS : BPTT_CHARS;
}

int symbols_open(const bptt_model *model, struct vocabulary *vocabulary, bptt_error *error)
{
    *vocabulary = (struct vocabulary){0};
    if (!model->vocabulary_json || !model->vocabulary || model->loss != BPTT_CROSS_ENTROPY ||
        model->outputs != model->vocabulary)
        return fail(error, BPTT_ERROR_ARGUMENT,
                    "this is not a model of text: it carries no symbols (bptt train makes one)");
    int status = vocabulary_from_json(vocabulary, model->vocabulary_json, error);
    if (!status && vocabulary->count != model->vocabulary) {
        vocabulary_free(vocabulary);
        status =
            fail(error, BPTT_ERROR_FORMAT, "the model has %ld symbols, its table another number", model->vocabulary);
    }
    return status;
}

int symbols_read(const bptt_model *model, const char *const *files, size_t count, int32_t **token, int64_t *tokens,
                 bptt_error *error)
{
    struct vocabulary vocabulary;
    char *text;
    size_t length;
    int status = symbols_open(model, &vocabulary, error);
    if (status)
        return status;
    status = corpus_read(files, count, symbols_kind(model), &text, &length, error);
    if (!status) {
        status = vocabulary_encode(&vocabulary, text, length, files[0], token, tokens, error);
        free(text);
    }
    vocabulary_free(&vocabulary);
    return status;
}
