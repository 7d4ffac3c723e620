/* test_data.c - from files to windows: UTF-8, corpora, vocabularies, batches; every way not to be a text.
 * Allocations of the library can be made to fail, one after the other. */
// link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
#define _GNU_SOURCE 1
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "../src/data/batches.h"
#include "../src/data/corpus.h"
#include "../src/data/utf8.h"
#include "../src/data/vocabulary.h"
#include "../src/data/words.h"
#include "tap.h"

/* ---- UTF-8 ---- */

/* Every code point, from its bytes and back; the surrogates, and nothing else, are refused. */
static void test_utf8_all(void)
{
    int good = 1;
    for (uint32_t code = 0; code < UTF8_CODES; code++) {
        char bytes[4];
        uint32_t back = UTF8_CODES;
        int written = utf8_write(code, bytes);
        int read = utf8_read(bytes, 4, &back);
        if (code >= 0xD800 && code < 0xE000)
            good &= read == 0;
        else
            good &= read == written && back == code && utf8_read(bytes, (size_t)written - 1, &back) == 0;
    }
    tap_ok(good, "UTF-8: every code point goes there and back, cut short it is refused");
}

static void test_utf8_faults(void)
{
    static const char *const bad[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC3", "\xC3(", "\xE0\x80\x80",
                                      "\xE0\x9F\xBF", "\xE2\x82", "\xED\xA0\x80", "\xED\xBF\xBF", "\xF0\x80\x80\x80",
                                      "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xFE", "\xFF"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char text[16];
        int length = snprintf(text, sizeof text, "ab%s", bad[i]);
        tap_ok(utf8_valid(text, (size_t)length) == 2, "UTF-8: bad sequence %zu is found at its first byte", i);
    }
    const char *text = "a\xC3\xA9\nb\xE2\x82\xAC" "cd";
    int line = 0;
    int column = 0;
    utf8_place(text, 8, &line, &column);
    tap_ok(line == 2 && column == 3, "UTF-8: columns count characters (%d, %d)", line, column);
    utf8_place(text, 0, &line, &column);
    tap_ok(line == 1 && column == 1, "UTF-8: a text starts at line 1, column 1");
    utf8_place(text, 4, &line, &column);
    tap_ok(line == 2 && column == 1, "UTF-8: behind a newline a line starts");
}

/* ---- corpora ---- */

struct folder { char path[64]; };

static struct folder folder_new(void)
{
    struct folder folder = {"/tmp/bptt-data-XXXXXX"};
    if (!mkdtemp(folder.path))
        abort();
    return folder;
}

/* Writes a file into the folder; the name that it returns is good for seven more calls. */
static const char *put(const struct folder *folder, const char *name, const char *bytes, size_t length)
{
    static char names[8][128];
    static int next;
    char *path = names[next++ % 8];
    snprintf(path, sizeof names[0], "%s/%s", folder->path, name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
        abort();
    return path;
}

static void folder_remove(const struct folder *folder, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", folder->path, names[i]);
        remove(path);
    }
    tap_ok(rmdir(folder->path) == 0, "the temporary folder is empty again");
}

/* Reads one file that must be refused with this status and text behind its name. */
static void refused(const char *file, int symbols, int code, const char *want)
{
    bptt_error error = {0};
    char *text = (char *)&error;
    size_t length = 1;
    char message[400];
    snprintf(message, sizeof message, "%s: %s", file, want);
    tap_ok(corpus_read(&file, 1, symbols, &text, &length, &error) == code && error.code == code, "refused: %s", want);
    tap_text(error.text, message, "and says so: %s", want);
    tap_ok(!text && !length && strcmp(error.file, file) == 0 && !strchr(error.text, '\n'),
           "with the file's name, in one line, nothing to free");
}

static void test_corpus_good(const struct folder *folder)
{
    const char *files[] = {put(folder, "a", "h\xC3\xA9\n", 4), put(folder, "b", "\xEF\xBB\xBF" "ab", 5)};
    char *text = NULL;
    size_t length = 0;
    bptt_error error = {0};
    tap_ok(corpus_read(files, 2, BPTT_CHARS, &text, &length, &error) == BPTT_OK && length == 6, "two files are joined");
    tap_text(text, "h\xC3\xA9\nab", "as they are, without a byte order mark");
    free(text);
    tap_ok(corpus_read(files + 1, 1, BPTT_BYTES, &text, &length, &error) == BPTT_OK && length == 5, "bytes keep it");
    free(text);
    files[0] = put(folder, "zero", "a\0\xFF" "b", 4);
    tap_ok(corpus_read(files, 1, BPTT_BYTES, &text, &length, &error) == BPTT_OK && length == 4 &&
           memcmp(text, "a\0\xFF" "b", 5) == 0, "bytes may be any");
    free(text);
}

static void test_corpus_large(const struct folder *folder)
{
    size_t size = 3000017;
    char *bytes = malloc(size);
    for (size_t i = 0; bytes && i < size; i++)
        bytes[i] = (char)('a' + i * 7919 % 23);
    const char *large = put(folder, "large", bytes, size);
    const char *files[] = {large, put(folder, "b", "xyz", 3), large};
    char *text = NULL;
    size_t length = 0;
    tap_ok(corpus_read(files, 3, BPTT_WORDS, &text, &length, NULL) == BPTT_OK && length == 2 * size + 3 &&
           memcmp(text, bytes, size) == 0 && memcmp(text + size + 3, bytes, size) == 0 && text[length] == '\0',
           "files of megabytes are read whole");
    free(text);
    free(bytes);
}

static void test_corpus_pipe(const struct folder *folder)
{
    int ends[2];
    char name[64];
    if (pipe(ends) != 0 || write(ends[1], "through a pipe", 14) != 14)
        abort();
    close(ends[1]);
    snprintf(name, sizeof name, "/dev/fd/%d", ends[0]);
    const char *file = name;
    char *text = NULL;
    size_t length = 0;
    tap_ok(corpus_read(&file, 1, BPTT_CHARS, &text, &length, NULL) == BPTT_OK && length == 14,
           "a pipe is read to its end");
    free(text);
    close(ends[0]);
}

static void test_corpus_bad(const struct folder *folder)
{
    char missing[128];
    snprintf(missing, sizeof missing, "%s/missing", folder->path);
    refused(missing, BPTT_CHARS, BPTT_ERROR_FILE, "cannot open: No such file or directory");
    refused(folder->path, BPTT_CHARS, BPTT_ERROR_FILE, "is a folder; name the files in it");
    refused(put(folder, "a", "", 0), BPTT_BYTES, BPTT_ERROR_FORMAT,
            "is empty; name a file with text in it");
    refused(put(folder, "a", "\xEF\xBB\xBF", 3), BPTT_CHARS, BPTT_ERROR_FORMAT,
            "is empty; name a file with text in it");
    refused(put(folder, "a", "ab\ncd\0e\xFF", 8), BPTT_CHARS, BPTT_ERROR_FORMAT,
            "is binary, not text: 0x00 at byte 5 (line 2); --symbols bytes reads any file");
    refused(put(folder, "a", "ab\ncd\xE9 e\0", 9), BPTT_WORDS, BPTT_ERROR_FORMAT,
            "is not UTF-8 text: 0xE9 at byte 5 (line 2); --symbols bytes reads any file");
    const char *locked = put(folder, "a", "abc", 3);
    chmod(locked, 0);
    if (access(locked, R_OK) == 0)
        tap_skip("this user may read everything", "a file without permission");
    else
        refused(locked, BPTT_CHARS, BPTT_ERROR_FILE, "cannot open: Permission denied");
    chmod(locked, 0600);
}

static void test_corpus_second(const struct folder *folder)
{
    const char *files[] = {put(folder, "a", "good\n", 5), put(folder, "b", "x\n\xC3\xA9\xFF", 5)};
    char *text = NULL;
    size_t length = 0;
    bptt_error error = {0};
    tap_ok(corpus_read(files, 2, BPTT_CHARS, &text, &length, &error) == BPTT_ERROR_FORMAT && !text,
           "a fault in the second file fails the whole");
    tap_ok(error.line == 2 && error.column == 2 && strcmp(error.file, files[1]) == 0,
           "its place is that within the second file (%d, %d)", error.line, error.column);
    tap_ok(corpus_read(files, 0, BPTT_CHARS, &text, &length, NULL) == BPTT_ERROR_ARGUMENT,
           "no files at all is an error");
}

static void test_corpus(void)
{
    static const char *const names[] = {"a", "b", "zero", "large"};
    struct folder folder = folder_new();
    test_corpus_good(&folder);
    test_corpus_large(&folder);
    test_corpus_pipe(&folder);
    test_corpus_bad(&folder);
    test_corpus_second(&folder);
    folder_remove(&folder, names, 4);
}

/* ---- vocabularies ---- */

static int build(struct vocabulary *v, int kind, const char *text, int64_t most)
{
    return vocabulary_build(v, kind, text, strlen(text), most, NULL);
}

/* Whether symbol by symbol the vocabulary is `want`, joined by '|'. */
static int symbols_are(const struct vocabulary *v, const char *want)
{
    char got[256] = "";
    size_t used = 0;
    for (int32_t i = 0; i < v->count; i++) {
        size_t length;
        const char *text = vocabulary_text(v, i, &length);
        used += (size_t)snprintf(got + used, sizeof got - used, "%s%.*s", i ? "|" : "", (int)length, text);
    }
    return tap_text(got, want, "%d symbols in their order", (int)v->count);
}

/* Encodes, decodes piece by piece, compares with `want`. */
static void decodes_to(const struct vocabulary *v, const char *text, size_t length, const char *want,
                        size_t want_length)
{
    int32_t *token = NULL;
    int64_t count = 0;
    char out[512];
    size_t used = 0;
    tap_ok(vocabulary_encode(v, text, length, NULL, &token, &count, NULL) == BPTT_OK, "encoded");
    for (int64_t i = 0; i < count; i++)
        used += (size_t)vocabulary_decode_piece(v, i ? token[i - 1] : -1, token[i], out + used, sizeof out - used);
    tap_ok(used == want_length && memcmp(out, want, used) == 0, "and decoded again");
    free(token);
}

/* JSON and back gives the same symbols, and the JSON is `want` if that is given. */
static void survives_json(const struct vocabulary *v, const char *want)
{
    struct vocabulary back;
    bptt_error error = {0};
    char *json = vocabulary_to_json(v);
    if (want)
        tap_text(json, want, "JSON");
    tap_ok(json && vocabulary_from_json(&back, json, &error) == BPTT_OK, "JSON is read back %s", error.text);
    tap_ok(back.kind == v->kind && back.count == v->count &&
           memcmp(back.start, v->start, ((size_t)v->count + 1) * sizeof *v->start) == 0 &&
           memcmp(back.text, v->text, v->start[v->count]) == 0, "with the same symbols");
    vocabulary_free(&back);
    free(json);
}

static void test_chars(void)
{
    struct vocabulary v;
    const char *text = "b\xC3\xA9" "a\n\xF0\x9F\x98\x80" "ab\"";
    tap_ok(build(&v, BPTT_CHARS, text, 0) == BPTT_OK && v.count == 6, "chars: one symbol for each code point");
    symbols_are(&v, "\n|\"|a|b|\xC3\xA9|\xF0\x9F\x98\x80");
    decodes_to(&v, text, strlen(text), text, strlen(text));
    decodes_to(&v, "", 0, "", 0);
    survives_json(&v, "{\"kind\":\"chars\",\"symbols\":["
                  "\"\\n\",\"\\\"\",\"a\",\"b\",\"\xC3\xA9\",\"\xF0\x9F\x98\x80\"]}");
    vocabulary_free(&v);
    vocabulary_free(&v);
    tap_ok(v.count == 0, "a vocabulary may be freed twice");
}

static void unknown(const struct vocabulary *v, const char *text, int line, int column, const char *want)
{
    int32_t *token = NULL;
    int64_t count = 1;
    bptt_error error = {0};
    tap_ok(vocabulary_encode(v, text, strlen(text), "new.txt", &token, &count, &error) == BPTT_ERROR_FORMAT && !token &&
           !count, "unknown: %s", want);
    tap_text(error.text, want, "and says so");
    tap_ok(error.line == line && error.column == column, "with line and column");
}

static void test_unknown(void)
{
    struct vocabulary v;
    build(&v, BPTT_CHARS, "abc\n\xC3\xA9", 0);
    unknown(&v, "ab\n\xC3\xA9" "cZ", 2, 3,
            "new.txt: unknown character 'Z' (U+005A) at line 2, column 3; the model was trained without it");
    unknown(&v, "a\xE2\x82\xAC", 1, 2,
            "new.txt: unknown character '\xE2\x82\xAC' (U+20AC) at line 1, column 2; the model was trained without it");
    unknown(&v, "a\tb", 1, 2,
            "new.txt: unknown character U+0009 at line 1, column 2; the model was trained without it");
    unknown(&v, "a\xF4\x8F\xBF\xBF", 1, 2,
            "new.txt: unknown character '\xF4\x8F\xBF\xBF' (U+10FFFF) at line 1, column 2; "
            "the model was trained without it");
    unknown(&v, "a\nb\xFF", 2, 2,
            "new.txt: byte 0xFF, which is not UTF-8, at line 2, column 2; the model was trained without it");
    bptt_error error = {0};
    int32_t *token;
    int64_t count;
    vocabulary_encode(&v, "?", 1, NULL, &token, &count, &error);
    tap_ok(strncmp(error.text, "unknown character '?'", 21) == 0 && !error.file[0], "without a file, no file is named");
    vocabulary_free(&v);
}

static void test_bytes(void)
{
    struct vocabulary v;
    char all[256];
    for (int i = 0; i < 256; i++)
        all[i] = (char)(255 - i);
    tap_ok(build(&v, BPTT_BYTES, "ab", 0) == BPTT_OK && v.count == 256, "bytes: always 256");
    decodes_to(&v, all, 256, all, 256);
    survives_json(&v, "{\"kind\":\"bytes\"}");
    vocabulary_free(&v);
}

static void test_words(void)
{
    struct vocabulary v;
    const char *text = " the cat\n\n the\tdog the cat \xC3\xA9t\xC3\xA9\r\nzebra ant";
    tap_ok(build(&v, BPTT_WORDS, text, 100) == BPTT_OK, "words");
    symbols_are(&v, "<unk>|\n|the|cat|ant|dog|zebra|\xC3\xA9t\xC3\xA9");
    const char *joined = "the cat\n\nthe dog the cat \xC3\xA9t\xC3\xA9\nzebra ant";
    decodes_to(&v, text, strlen(text), joined, strlen(joined));
    decodes_to(&v, "the lion  ", 10, "the <unk>", 9);
    decodes_to(&v, " \t\r ", 4, "", 0);
    survives_json(&v, NULL);
    vocabulary_free(&v);
    build(&v, BPTT_WORDS, text, 3);
    symbols_are(&v, "<unk>|\n|the|cat");
    survives_json(&v, "{\"kind\":\"words\",\"symbols\":[\"<unk>\",\"\\n\",\"the\",\"cat\"]}");
    vocabulary_free(&v);
    build(&v, BPTT_WORDS, "<unk> a <unk> b <unk>", 3);
    symbols_are(&v, "<unk>|a|b");
    decodes_to(&v, "a <unk> c", 9, "a <unk> <unk>", 13);
    vocabulary_free(&v);
    build(&v, BPTT_WORDS, "ab abc a abcd", 10);
    symbols_are(&v, "<unk>|a|ab|abc|abcd");
    vocabulary_free(&v);
}

static void test_piece_sizes(void)
{
    struct vocabulary v;
    char out[8] = "-------";
    build(&v, BPTT_WORDS, "aaa bbb", 10);
    tap_ok(vocabulary_decode_piece(&v, 1, 2, out, 0) == 4 && out[0] == '-', "a piece of no room writes nothing");
    tap_ok(vocabulary_decode_piece(&v, 1, 2, out, 1) == 4 && memcmp(out, " -", 2) == 0, "room for the space alone");
    tap_ok(vocabulary_decode_piece(&v, 1, 2, out, 3) == 4 && memcmp(out, " bb-", 4) == 0, "a piece is cut to its room");
    tap_ok(vocabulary_decode_piece(&v, -1, 2, out, 8) == 3 && memcmp(out, "bbb-", 4) == 0, "the first has no space");
    vocabulary_free(&v);
}

/* Many words: the tables grow, and hold what they held. */
static void test_many_words(void)
{
    size_t used = 0;
    char *text = malloc(400000);
    for (int i = 0; text && i < 40000; i++)
        used += (size_t)sprintf(text + used, "w%d ", i % 20000);
    struct vocabulary v;
    int32_t *token = NULL;
    int64_t count = 0;
    tap_ok(vocabulary_build(&v, BPTT_WORDS, text, used, 20000, NULL) == BPTT_OK && v.count == 20001, "20000 words");
    vocabulary_encode(&v, text, used, NULL, &token, &count, NULL);
    int same = count == 40000;
    for (int i = 0; same && i < 40000; i++) {
        size_t length;
        char want[16];
        const char *got = vocabulary_text(&v, token[i], &length);
        snprintf(want, sizeof want, "w%d", i % 20000);
        same = length == strlen(want) && memcmp(got, want, length) == 0;
    }
    tap_ok(same, "each is found again");
    free(token);
    free(text);
    vocabulary_free(&v);
}

static void not_built(int kind, const char *text, size_t length, int64_t most, int code, const char *want)
{
    struct vocabulary v;
    bptt_error error = {0};
    tap_ok(vocabulary_build(&v, kind, text, length, most, &error) == code && v.count == 0 && !v.text,
           "refused: %s", want);
    tap_text(error.text, want, "and says so: %s", want);
}

static void test_not_built(void)
{
    static const char *const one = "nothing to learn: the text has 1 different symbol";
    static const char *const none = "nothing to learn: the text has 0 different symbols";
    not_built(BPTT_CHARS, "aaaa", 4, 0, BPTT_ERROR_FORMAT, one);
    not_built(BPTT_BYTES, "aaaa", 4, 0, BPTT_ERROR_FORMAT, one);
    not_built(BPTT_WORDS, "aaaa aaaa", 9, 9, BPTT_ERROR_FORMAT, one);
    not_built(BPTT_CHARS, "", 0, 0, BPTT_ERROR_FORMAT, none);
    not_built(BPTT_BYTES, "", 0, 0, BPTT_ERROR_FORMAT, none);
    not_built(BPTT_WORDS, " \t ", 3, 9, BPTT_ERROR_FORMAT, none);
    not_built(BPTT_CHARS, "ab\xFF", 3, 0, BPTT_ERROR_FORMAT,
              "the text is not UTF-8 at byte 2; --symbols bytes reads any");
    not_built(BPTT_CHARS, "a\0b", 3, 0, BPTT_ERROR_FORMAT, "vocabulary: symbol 0 is not UTF-8 text");
    not_built(BPTT_WORDS, "a b\xFF", 4, 9, BPTT_ERROR_FORMAT, "vocabulary: symbol 2 is not UTF-8 text");
    not_built(BPTT_WORDS, "a b", 3, 0, BPTT_ERROR_ARGUMENT, "0 words: a vocabulary has 1 to 2097151");
    not_built(BPTT_WORDS, "a b", 3, INT64_MAX, BPTT_ERROR_ARGUMENT,
              "9223372036854775807 words: a vocabulary has 1 to 2097151");
    not_built(9, "a b", 3, 1, BPTT_ERROR_ARGUMENT, "symbols 9: not chars, bytes or words");
    char *long_word = calloc(1 << 21, 1);
    memset(long_word, 'a', (1 << 21) - 3);
    strcat(long_word, " b");
    not_built(BPTT_WORDS, long_word, strlen(long_word), 9, BPTT_ERROR_FORMAT,
              "vocabulary: symbol 1 is longer than 1048576 bytes");
    free(long_word);
}

static void bad_json(const char *json, const char *want)
{
    struct vocabulary v;
    bptt_error error = {0};
    tap_ok(vocabulary_from_json(&v, json, &error) == BPTT_ERROR_FORMAT && v.count == 0 && !v.text,
           "refused as JSON");
    tap_text(error.text, want, "and says so: %s", want);
}

static void test_bad_json(void)
{
    static const char *const kind = "vocabulary: \"kind\" is not \"chars\", \"bytes\" or \"words\"";
    bad_json("", "vocabulary: not JSON, or the same key twice");
    bad_json("{\"kind\":\"chars\",", "vocabulary: not JSON, or the same key twice");
    bad_json("{\"kind\":\"chars\",\"kind\":\"bytes\"}", "vocabulary: not JSON, or the same key twice");
    bad_json("{\"kind\":\"chars\",\"symbols\":[\"\xFF\"]}", "vocabulary: not JSON, or the same key twice");
    bad_json("[]", kind);
    bad_json("{}", kind);
    bad_json("{\"kind\":1}", kind);
    bad_json("{\"kind\":\"\"}", kind);
    bad_json("{\"kind\":\"letters\"}", kind);
    bad_json("{\"kind\":\"bytes\",\"symbols\":[]}", "vocabulary: has other keys than \"kind\"");
    bad_json("{\"kind\":\"chars\",\"symbols\":[\"a\",\"b\"],\"x\":1}",
             "vocabulary: has other keys than \"kind\" and \"symbols\"");
    bad_json("{\"kind\":\"chars\"}", "vocabulary: \"symbols\" is not a list");
    bad_json("{\"kind\":\"chars\",\"symbols\":\"ab\"}", "vocabulary: \"symbols\" is not a list");
    bad_json("{\"kind\":\"chars\",\"symbols\":[]}", "vocabulary: 0 symbols, not 2 to 2097152");
    bad_json("{\"kind\":\"chars\",\"symbols\":[\"a\"]}", "vocabulary: 1 symbols, not 2 to 2097152");
    bad_json("{\"kind\":\"chars\",\"symbols\":[\"a\",7]}", "vocabulary: symbol 1 is not a string");
    bad_json("{\"kind\":\"chars\",\"symbols\":[\"a\",\"b\",\"a\"]}", "vocabulary: symbols 0 and 2 are the same");
    bad_json("{\"kind\":\"chars\",\"symbols\":[\"a\",\"bc\"]}", "vocabulary: symbol 1 is not one character");
    bad_json("{\"kind\":\"chars\",\"symbols\":[\"a\",\"\"]}", "vocabulary: symbol 1 is not UTF-8 text");
    bad_json("{\"kind\":\"words\",\"symbols\":[\"a\",\"b\"]}", "vocabulary: symbol 0 is not <unk>");
    bad_json("{\"kind\":\"words\",\"symbols\":[\"<unk>\",\"a b\"]}", "vocabulary: symbol 1 is not one word");
    bad_json("{\"kind\":\"words\",\"symbols\":[\"<unk>\",\"a\\n\"]}", "vocabulary: symbol 1 is not one word");
    bad_json("{\"kind\":\"words\",\"symbols\":[\"<unk>\",\" \"]}", "vocabulary: symbol 1 is not one word");
    bad_json("{\"kind\":\"words\",\"symbols\":[\"<unk>\",\"a\",\"<unk>\"]}",
             "vocabulary: symbols 0 and 2 are the same");
}

static void test_too_many(void)
{
    const char *head = "{\"kind\":\"chars\",\"symbols\":[1";
    size_t more = VOCABULARY_MOST;
    char *json = malloc(strlen(head) + 2 * more + 3);
    size_t at = (size_t)sprintf(json, "%s", head);
    for (size_t i = 0; i < more; i++) {
        json[at++] = ',';
        json[at++] = '1';
    }
    memcpy(json + at, "]}", 3);
    bad_json(json, "vocabulary: 2097153 symbols, more than 2097152");
    free(json);
}

/* The limit is many times what is needed, so that it holds under a sanitizer on a busy machine. */
static void test_speed(void)
{
    size_t size = 1000000;
    char *text = malloc(size);
    for (size_t i = 0; text && i < size; i++)
        text[i] = (char)(i % 6 == 5 ? ' ' : 'a' + i * 7919 % 23);
    for (int kind = BPTT_CHARS; kind <= BPTT_WORDS; kind++) {
        struct vocabulary v;
        int32_t *token;
        int64_t count;
        vocabulary_build(&v, kind, text, size, 10000, NULL);
        clock_t start = clock();
        vocabulary_encode(&v, text, size, NULL, &token, &count, NULL);
        double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
        tap_ok(seconds < 1, "%s: a million characters encode in %.0f ms", vocabulary_kind_name(kind), seconds * 1e3);
        free(token);
        vocabulary_free(&v);
    }
    free(text);
}

/* ---- out of memory ---- */

static int allocations_left = -1;          /* until one fails; -1: none does */

static int may_allocate(void)
{
    return allocations_left < 0 || allocations_left-- > 0;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

void *__wrap_malloc(size_t size)
{
    return may_allocate() ? __real_malloc(size) : NULL;
}

void *__wrap_calloc(size_t count, size_t size)
{
    return may_allocate() ? __real_calloc(count, size) : NULL;
}

void *__wrap_realloc(void *memory, size_t size)
{
    return may_allocate() ? __real_realloc(memory, size) : NULL;
}

/* The way of a text from file to tokens and to JSON and back; whatever happens, all is freed. */
static int whole_way(const char *file, int kind, bptt_error *error)
{
    struct vocabulary v = {0};
    struct vocabulary back = {0};
    char *text = NULL;
    size_t length;
    int32_t *token = NULL;
    int64_t count;
    int status = corpus_read(&file, 1, kind, &text, &length, error);
    if (status == BPTT_OK)
        status = vocabulary_build(&v, kind, text, length, 100000, error);
    if (status == BPTT_OK)
        status = vocabulary_encode(&v, text, length, NULL, &token, &count, error);
    char *json = status == BPTT_OK ? vocabulary_to_json(&v) : NULL;
    if (status == BPTT_OK)
        status = vocabulary_from_json(&back, json, error);
    free(json);
    free(token);
    free(text);
    vocabulary_free(&v);
    vocabulary_free(&back);
    return status;
}

/* One failure is survived: that of making the tokens' memory smaller. */
static void test_memory(const char *file, int kind)
{
    int good = 1;
    int survived = 0;
    int ended = 0;
    int failures = 0;
    for (; failures < 1000 && !ended; failures++) {
        bptt_error error = {0};
        allocations_left = failures;
        int status = whole_way(file, kind, &error);
        ended = allocations_left >= 0;     /* none failed */
        allocations_left = -1;
        survived += status == BPTT_OK && !ended;
        good &= status == BPTT_OK || (status == BPTT_ERROR_MEMORY && strncmp(error.text, "out of memory", 13) == 0);
    }
    tap_ok(good && ended && survived == 1, "%s: %d allocations, each may fail", vocabulary_kind_name(kind),
           failures - 1);
}

static void test_out_of_memory(void)
{
    static const char *const names[] = {"words"};
    struct folder folder = folder_new();
    size_t used = 0;
    char text[32768];
    for (int i = 0; i < 3000; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "word%d ", i);
    const char *file = put(&folder, "words", text, used);
    for (int kind = BPTT_CHARS; kind <= BPTT_WORDS; kind++)
        test_memory(file, kind);
    folder_remove(&folder, names, 1);
}

/* ---- batches ---- */

enum { MOST = 4096 };

/* Tokens that are their own positions, so that a window shows where it was read. */
static const int32_t *positions(void)
{
    static int32_t token[MOST];
    for (int32_t i = 0; i < MOST; i++)
        token[i] = i;
    return token;
}

/* Every window of two epochs is where the definition says, y one behind x, new at the start of an epoch only. */
static void test_streams(int64_t count, int64_t batch, int64_t length)
{
    struct batches b;
    int32_t x[MOST];
    int32_t y[MOST];
    int good = batches_init(&b, positions(), count, batch, length, 0, 1, "the text", NULL) == BPTT_OK;
    int64_t stretch = (count - 1) / batch;
    int64_t epoch = stretch / length;
    tap_ok(good && batches_per_epoch(&b) == epoch, "streams %d x %d of %d: %d windows", (int)batch, (int)length,
           (int)count, (int)epoch);
    for (int64_t step = 0; good && step < 2 * epoch; step++) {
        good &= batches_window(&b, step, x, y) == (step % epoch == 0);
        for (int64_t i = 0; i < batch * length; i++)
            good &= x[i] == i % batch * stretch + step % epoch * length + i / batch && y[i] == x[i] + 1 && y[i] < count;
    }
    tap_ok(good, "every window is where it should be");
}

static void test_random(void)
{
    struct batches b;
    struct batches other;
    int32_t x[64];
    int32_t y[64];
    int32_t again[64];
    int seen[91] = {0};
    int distinct = 0;
    int good = batches_init(&b, positions(), 100, 4, 10, 1, 7, "the text", NULL) == BPTT_OK;
    for (int64_t step = 0; step < 1000; step++) {
        good &= batches_window(&b, step, x, y) == 1;
        for (int i = 0; i < 40; i++)
            good &= x[i] == x[i % 4] + i / 4 && y[i] == x[i] + 1 && x[i] >= 0 && y[i] < 100;
        for (int row = 0; row < 4; row++) {
            distinct += !seen[x[row]];
            seen[x[row]] = 1;
        }
    }
    tap_ok(good, "random windows lie inside the text, each one piece of it, each a new start");
    tap_ok(distinct == 90, "and start at every place there is (%d of 90)", distinct);
    tap_ok(batches_per_epoch(&b) == 2, "an epoch of random windows");
    batches_window(&b, 500, x, y);
    batches_window(&b, 3, again, y);
    batches_window(&b, 500, again, y);
    tap_ok(memcmp(x, again, 40 * sizeof *x) == 0, "a window depends on its step alone");
    batches_init(&other, positions(), 100, 4, 10, 1, 8, "the text", NULL);
    batches_window(&other, 500, again, y);
    tap_ok(memcmp(x, again, 40 * sizeof *x) != 0, "and on the seed");
    batches_init(&other, positions(), 11, 4, 10, 1, 8, "the text", NULL);
    tap_ok(batches_window(&other, 5, x, y) == 1 && x[0] == 0 && x[3] == 0 && batches_per_epoch(&other) == 1,
           "a text of one window has one");
}

static void too_short(int64_t count, int64_t batch, int64_t length, int random, const char *want)
{
    struct batches b;
    bptt_error error = {0};
    tap_ok(batches_init(&b, positions(), count, batch, length, random, 1, "the training text", &error) ==
           BPTT_ERROR_ARGUMENT, "refused: %d symbols, %d x %d", (int)count, (int)batch, (int)length);
    tap_text(error.text, want, "and says what to do");
}

static void test_too_short(void)
{
    too_short(100, 8, 16, 0, "the training text is too short: 100 symbols, where --batch 8 --length 16 needs 129; "
              "use --batch 6 or --length 12 or less, or more text");
    too_short(20, 32, 16, 0, "the training text is too short: 20 symbols, where --batch 32 --length 16 needs 513; "
              "use --batch 1 or less, or more text");
    too_short(20, 4, 64, 0, "the training text is too short: 20 symbols, where --batch 4 --length 64 needs 257; "
              "use --length 4 or less, or more text");
    too_short(20, 32, 64, 0, "the training text is too short: 20 symbols, where --batch 32 --length 64 needs 2049; "
              "use a smaller --batch and --length, 19 steps in all, or more text");
    too_short(20, 32, 64, 1, "the training text is too short: 20 symbols, where --batch 32 --length 64 needs 65; "
              "use --length 19 or less, or more text");
    too_short(1, 1, 1, 0, "the training text is too short: 1 symbols, where --batch 1 --length 1 needs 2; "
              "nothing to predict, use more text");
    too_short(100, 0, 1, 0, "--batch 0, --length 1: both must be from 1 to 2147483647");
    too_short(100, 1, -5, 1, "--batch 1, --length -5: both must be from 1 to 2147483647");
    struct batches b;
    tap_ok(batches_init(&b, positions(), 129, 8, 16, 0, 1, "t", NULL) == BPTT_OK && batches_per_epoch(&b) == 1,
           "as many as were asked for are enough");
    tap_ok(batches_init(&b, positions(), 0, 1, 1, 0, 1, "t", NULL) != BPTT_OK, "an empty text is not");
}

static void test_split(void)
{
    static const struct { int64_t count; double share; int64_t valid; } split[] =
        {{100, 0.1, 10}, {100, 0, 0}, {100, -1, 0}, {99, 0.5, 49}, {100, 1, 100}, {100, 7, 100}, {0, 0.5, 0}};
    for (size_t i = 0; i < sizeof split / sizeof *split; i++) {
        int64_t train;
        int64_t valid;
        split_validation(split[i].count, split[i].share, &train, &valid);
        tap_ok(valid == split[i].valid && train + valid == split[i].count, "%g of %d held out: %d", split[i].share,
               (int)split[i].count, (int)valid);
    }
    int64_t train;
    int64_t valid;
    split_validation(100, 0.0 / 0.0, &train, &valid);
    tap_ok(train == 100 && valid == 0, "a share that is no number holds nothing out");
}

int main(void)
{
    test_utf8_all();
    test_utf8_faults();
    test_corpus();
    test_chars();
    test_unknown();
    test_bytes();
    test_words();
    test_piece_sizes();
    test_many_words();
    test_not_built();
    test_bad_json();
    test_too_many();
    test_speed();
    test_out_of_memory();
    test_streams(101, 1, 10);
    test_streams(100, 3, 7);
    test_streams(4096, 16, 32);
    test_streams(5, 4, 1);
    test_random();
    test_too_short();
    test_split();
    return tap_done();
}
