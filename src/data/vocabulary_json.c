/* vocabulary_json.c - a vocabulary as it stands in a model file. What is read may come from anyone: the symbols pass
 * the same checks as those of a text (vocabulary_fill), and nothing but the known keys is taken. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "vocabulary.h"

static json_t *symbol_list(const struct vocabulary *vocabulary)
{
    json_t *list = json_array();
    for (int32_t i = 0; list && i < vocabulary->count; i++) {
        size_t length;
        const char *text = vocabulary_text(vocabulary, i, &length);
        if (json_array_append_new(list, json_stringn(text, length)) != 0) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

char *vocabulary_to_json(const struct vocabulary *vocabulary)
{
    json_t *json = json_pack("{s:s}", "kind", vocabulary_kind_name(vocabulary->kind));
    if (json && vocabulary->kind != BPTT_BYTES && json_object_set_new(json, "symbols", symbol_list(vocabulary)) != 0) {
        json_decref(json);
        return NULL;
    }
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return text;
}

static int kind_of(const json_t *json)
{
    const char *name = json_string_value(json_object_get(json, "kind"));
    for (int kind = BPTT_CHARS; name && kind <= BPTT_WORDS; kind++)
        if (strcmp(name, vocabulary_kind_name(kind)) == 0)
            return kind;
    return 0;
}

static int take_symbols(struct vocabulary *vocabulary, int kind, const json_t *list, struct symbol *symbol,
                        size_t count, bptt_error *error)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_array_get(list, i);
        if (!json_is_string(item))
            return fail(error, BPTT_ERROR_FORMAT, "vocabulary: symbol %zu is not a string", i);
        symbol[i] = (struct symbol){json_string_value(item), json_string_length(item)};
    }
    return vocabulary_fill(vocabulary, kind, symbol, count, error);
}

static int read_symbols(struct vocabulary *vocabulary, int kind, const json_t *list, bptt_error *error)
{
    size_t count = json_array_size(list);
    if (!json_is_array(list))
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: \"symbols\" is not a list");
    if (count > VOCABULARY_MOST)
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: %zu symbols, more than %d", count, VOCABULARY_MOST);
    struct symbol *symbol = malloc((count + 1) * sizeof *symbol);
    if (!symbol)
        return fail_memory(error, (count + 1) * sizeof *symbol);
    int status = take_symbols(vocabulary, kind, list, symbol, count, error);
    free(symbol);
    return status;
}

static int read_vocabulary(struct vocabulary *vocabulary, const json_t *json, bptt_error *error)
{
    const json_t *list = json_object_get(json, "symbols");
    int kind = kind_of(json);
    if (!json_is_object(json) || !kind)
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: \"kind\" is not \"chars\", \"bytes\" or \"words\"");
    if (json_object_size(json) > (size_t)(kind == BPTT_BYTES ? 1 : 2))
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: has other keys than \"kind\"%s",
                    kind == BPTT_BYTES ? "" : " and \"symbols\"");
    if (kind == BPTT_BYTES)                /* always the same 256; any text with two different bytes makes them */
        return vocabulary_build(vocabulary, BPTT_BYTES, "ab", 2, 0, error);
    return read_symbols(vocabulary, kind, list, error);
}

int vocabulary_from_json(struct vocabulary *vocabulary, const char *json, bptt_error *error)
{
    *vocabulary = (struct vocabulary){0};
    json_error_t why = {0};
    json_t *value = NULL;
    for (int i = 0; !value && i < 2; i++)  /* out of memory may be reported as a fault of the text, but not twice */
        value = json_loads(json, JSON_REJECT_DUPLICATES, &why);
    if (!value && !why.text[0])
        return fail_memory(error, strlen(json));
    if (!value)
        return fail(error, BPTT_ERROR_FORMAT, "vocabulary: not JSON, or the same key twice");
    int status = read_vocabulary(vocabulary, value, error);
    json_decref(value);
    return status;
}
