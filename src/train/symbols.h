/* symbols.h - text into a model's symbols and back: what eval, horizon and sample share. */
#ifndef BPTT_TRAIN_SYMBOLS_H
#define BPTT_TRAIN_SYMBOLS_H

#include "../data/vocabulary.h"
#include "../model/model.h"

/* The vocabulary that a text model carries; an error for any other model. vocabulary_free it. */
int symbols_open(const bptt_model *model, struct vocabulary *vocabulary, bptt_error *error);
/* The bptt_symbols of such a model. */
int symbols_kind(const bptt_model *model);

/* Text files, joined, as such a model's tokens; *token is owned (free). */
int symbols_read(const bptt_model *model, const char *const *files, size_t count, int32_t **token, int64_t *tokens,
                 bptt_error *error);

#endif
