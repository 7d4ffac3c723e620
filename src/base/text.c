/* text.c - a growing string, always closed by a NUL once it holds anything; and two small functions on words. */
#include "text.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for `more` bytes and a NUL, growing by doubling. */
static int reserve(struct text *text, size_t more)
{
    if (text->failed)
        return 0;
    if (more < text->capacity - text->length)
        return 1;
    size_t capacity = text->capacity ? text->capacity : 64;
    while (capacity <= SIZE_MAX / 2 && capacity - text->length <= more)
        capacity *= 2;
    char *data = capacity - text->length > more ? realloc(text->data, capacity) : NULL;
    if (!data) {
        text->failed = 1;
        return 0;
    }
    text->data = data;
    text->capacity = capacity;
    return 1;
}

void text_append(struct text *text, const char *bytes, size_t length)
{
    if (!reserve(text, length))
        return;
    if (length)
        memcpy(text->data + text->length, bytes, length);
    text->length += length;
    text->data[text->length] = '\0';
}

void text_add(struct text *text, const char *string)
{
    text_append(text, string, strlen(string));
}

void text_printf(struct text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0) {
        text->failed = 1;
        return;
    }
    if (!reserve(text, (size_t)length))
        return;
    va_start(arguments, format);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, arguments);
    va_end(arguments);
    text->length += (size_t)length;
}

char *text_take(struct text *text)
{
    text_append(text, "", 0);
    char *data = text->data;
    if (text->failed) {
        free(data);
        data = NULL;
    }
    *text = (struct text){0};
    return data;
}

void text_free(struct text *text)
{
    free(text->data);
    *text = (struct text){0};
}

/* The cheapest of replacing (free if the letters agree), inserting and deleting. */
static int cheapest(const int *row, const int *above, size_t j, int differ)
{
    int best = above[j] + differ;
    if (row[j] + 1 < best)
        best = row[j] + 1;
    if (above[j + 1] + 1 < best)
        best = above[j + 1] + 1;
    return best;
}

int text_distance(const char *a, const char *b)
{
    enum { LONGEST = 96 }; /* of a word that someone would type; longer ones are simply far apart */
    int rows[3][LONGEST + 1];
    size_t na = strlen(a);
    size_t nb = strlen(b);
    if (na > LONGEST || nb > LONGEST)
        return strcmp(a, b) == 0 ? 0 : LONGEST + 1;
    int *back = rows[0];
    int *above = rows[1];
    int *row = rows[2];
    for (size_t j = 0; j <= nb; j++)
        row[j] = (int)j;
    for (size_t i = 0; i < na; i++) {
        int *free_row = back;
        back = above;
        above = row;
        row = free_row;
        row[0] = (int)i + 1;
        for (size_t j = 0; j < nb; j++) {
            row[j + 1] = cheapest(row, above, j, a[i] != b[j]);
            int swapped = i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j];
            if (swapped && back[j - 1] + 1 < row[j + 1])
                row[j + 1] = back[j - 1] + 1;
        }
    }
    return row[nb];
}

unsigned long long text_hash(unsigned long long hash, const void *bytes, size_t length)
{
    const unsigned char *byte = bytes;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ byte[i]) * 1099511628211ull;
    return hash;
}
