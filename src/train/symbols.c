/* symbols.c - see symbols.h. */
#include "symbols.h"

#include <string.h>

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
