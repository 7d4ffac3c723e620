/* test_base.c - the ground floor: errors, the arena and the plan, text, random numbers, threads, instruction sets. */
#define _GNU_SOURCE 1
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/base/arena.h"
#include "../src/base/cpu.h"
#include "../src/base/error.h"
#include "../src/base/random.h"
#include "../src/base/text.h"
#include "../src/base/threads.h"
#include "tap.h"

static void test_errors(void)
{
    bptt_error error = {0};
    tap_ok(fail(&error, BPTT_ERROR_FORMAT, "bad %d", 7) == BPTT_ERROR_FORMAT, "fail returns its code");
    tap_ok(fail(&error, BPTT_ERROR_FILE, "later") == BPTT_ERROR_FILE, "a later failure still returns its own code");
    tap_ok(error.code == BPTT_ERROR_FORMAT && strcmp(error.text, "bad 7") == 0, "the first error wins");
    tap_ok(fail(NULL, BPTT_ERROR_MEMORY, "nobody listens") == BPTT_ERROR_MEMORY, "an error may be NULL");
    bptt_error other = {0};
    fail_file(&other, BPTT_ERROR_FILE, "a.txt", "cannot open: %s", "why");
    tap_text(other.text, "a.txt: cannot open: why", "a file's name stands before the text");
    tap_text(other.file, "a.txt", "and beside it");
    bptt_error longest = {0};
    char name[600];
    memset(name, 'x', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    fail_file(&longest, BPTT_ERROR_FILE, name, "%s%s%s", name, name, name);
    tap_ok(strlen(longest.file) == sizeof longest.file - 1 && strlen(longest.text) == sizeof longest.text - 1,
           "what is too long is cut");
    bptt_error memory = {0};
    fail_memory(&memory, 123);
    tap_text(memory.text, "out of memory: 123 bytes", "out of memory says how many bytes");
}

static int all_zero(const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (bytes[i])
            return 0;
    return 1;
}

static void test_arena(void)
{
    struct arena arena = {0};
    int aligned = 1;
    int zero = 1;
    for (size_t i = 0; i < 3000; i++) {
        size_t bytes = i % 97 * (i % 13) + (i == 1500 ? 5000000 : 0);
        char *memory = arena_alloc(&arena, bytes);
        aligned &= memory && (uintptr_t)memory % 16 == 0;
        zero &= memory && all_zero(memory, bytes);
        if (memory)
            memset(memory, 0xA5, bytes);
    }
    tap_ok(aligned, "arena: memory aligned to 16");
    tap_ok(zero, "arena: memory is zero and is not handed out twice");
    tap_text(arena_string(&arena, "word and more", 4), "word", "arena: a copied string is closed");
    tap_ok(!arena_alloc(&arena, SIZE_MAX) && !arena_alloc(&arena, SIZE_MAX - 64), "arena: an absurd size is refused");
    tap_ok(!arena_string(&arena, "x", SIZE_MAX), "arena: an absurd string is refused");
    arena_free(&arena);
    arena_free(&arena);
    tap_ok(arena.last == NULL, "arena: may be freed twice");
    tap_ok(size_mul(3, 5) == 15 && size_mul(0, 5) == 0 && size_mul(SIZE_MAX, 1) == SIZE_MAX &&
           size_mul(SIZE_MAX / 2, 3) == SIZE_MAX, "size_mul");
}

static void test_plan(void)
{
    struct plan plan = {0};
    size_t region[100];
    for (size_t i = 0; i < 100; i++)
        region[i] = plan_add(&plan, i % 2 ? PLAN_SCRATCH : PLAN_PARAMETERS, i * 7, sizeof(float));
    tap_ok(plan.bytes[PLAN_SCRATCH] + plan.bytes[PLAN_PARAMETERS] == plan.total, "plan: the kinds add up to the total");
    tap_ok(plan_allocate(&plan, NULL) == BPTT_OK, "plan: allocates");
    int good = 1;
    for (size_t i = 0; i < 100; i++) {
        char *memory = plan_at(&plan, region[i]);
        good &= (uintptr_t)memory % 64 == 0 && all_zero(memory, i * 28) && memory + i * 28 <= plan.base + plan.total;
        memset(memory, 0x5A, i * 28);
    }
    tap_ok(good, "plan: regions are zero, aligned to 64 and apart");
    plan_add(&plan, PLAN_DATA, 1, 1);
    tap_ok(plan.failed, "plan: adding after the allocation is an error");
    plan_free(&plan);
    tap_ok(!plan.base && !plan.total, "plan: freed");
    tap_ok(plan_allocate(&plan, NULL) == BPTT_OK, "plan: an empty one allocates");
    plan_free(&plan);
}

static void test_plan_failure(void)
{
    struct plan plan = {0};
    bptt_error error = {0};
    plan_add(&plan, PLAN_DATA, SIZE_MAX / 2, 4);
    tap_ok(plan.failed && plan_allocate(&plan, &error) == BPTT_ERROR_MEMORY, "plan: an overflow is found");
    plan_free(&plan);
    error = (bptt_error){0};
    plan_add(&plan, PLAN_DATA, (size_t)1 << 62, 1);
    tap_ok(plan_allocate(&plan, &error) == BPTT_ERROR_MEMORY, "plan: more than there is");
    tap_ok(strstr(error.text, "needs 4294967296.0 GiB") != NULL, "plan: says how much: %s", error.text);
    plan_free(&plan);
    int named = 1;
    for (int kind = 0; kind < PLAN_KINDS; kind++)
        named &= plan_kind_name[kind] != NULL;
    tap_ok(named, "plan: every kind has a name");
}

static void test_text(void)
{
    struct text text = {0};
    for (int i = 0; i < 1000; i++)
        text_printf(&text, "%d,", i);
    text_add(&text, "end");
    text_append(&text, "+++", 1);
    tap_ok(text.length == 3890 + 4 && strcmp(text.data + 3890, "end+") == 0, "text: grows");
    char *taken = text_take(&text);
    tap_ok(taken && strncmp(taken, "0,1,2,", 6) == 0 && !text.data, "text: is taken");
    free(taken);
    taken = text_take(&text);
    tap_text(taken, "", "text: an empty one is an empty string");
    free(taken);
    text.failed = 1;
    text_add(&text, "x");
    tap_ok(text.length == 0 && !text_take(&text), "text: a failure sticks until it is taken");
    tap_ok(!text.failed, "text: and is gone then");
    text_append(&text, "x", SIZE_MAX);
    tap_ok(text.failed, "text: an absurd length fails");
    text_free(&text);
    tap_ok(text_hash(TEXT_HASH, "", 0) == 0xcbf29ce484222325ull, "FNV-1a of nothing");
    tap_ok(text_hash(TEXT_HASH, "foobar", 6) == 0x85944171f73967e8ull, "FNV-1a of \"foobar\"");
}

static void test_distance(void)
{
    static const struct { const char *a, *b; int distance; } rows[] = {
        {"", "", 0}, {"gru", "gru", 0}, {"", "abc", 3}, {"abc", "", 3}, {"lstm", "lsmt", 1}, {"hidden", "hiden", 1},
        {"hiden", "hidden", 1}, {"kitten", "sitting", 3}, {"ab", "ba", 1},
        {"sigmiod", "sigmoid", 1}, {"abcd", "badc", 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        tap_ok(text_distance(rows[i].a, rows[i].b) == rows[i].distance, "distance of \"%s\" and \"%s\" is %d",
               rows[i].a, rows[i].b, rows[i].distance);
    char word[200];
    memset(word, 'w', sizeof word - 1);
    word[sizeof word - 1] = '\0';
    tap_ok(text_distance(word, "w") > 90 && text_distance(word, word) == 0, "distance of absurdly long words");
}

/* The known answers published with the authors' Random123 library (kat_vectors, philox4x32 10). */
static void test_philox(void)
{
    static const struct { struct random_stream stream; uint64_t index; uint32_t want[4]; } rows[] = {
        {{{0, 0}, 0, 0}, 0, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{{0xffffffff, 0xffffffff}, 0xffffffff, 0xffffffff}, UINT64_MAX,
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{{0xa4093822, 0x299f31d0}, 0x13198a2e, 0x03707344}, 0x85a308d3243f6a88,
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint32_t got[4];
        random_block(&rows[i].stream, rows[i].index, got);
        tap_ok(memcmp(got, rows[i].want, sizeof got) == 0, "Philox 4x32-10, known answer %d", (int)i + 1);
    }
    struct random_stream stream = random_open(0x1122334455667788, RANDOM_CHECK, 9);
    tap_ok(stream.key[0] == 0x55667788 && stream.key[1] == 0x11223344 && stream.purpose == RANDOM_CHECK &&
           stream.layer == 9, "a stream keeps its seed, purpose and layer");
}

/* Over 10^5 draws a mean's standard error is sigma / 316; the tolerances below are at least five of them. The draws are
 * fixed, so these cannot fail by chance. */
static void test_distributions(void)
{
    enum { DRAWS = 100000 };
    struct random_stream stream = random_open(1, RANDOM_INIT, 0);
    double mean = 0, square = 0, normal_mean = 0, normal_square = 0;
    int inside = 1;
    for (uint64_t i = 0; i < DRAWS; i++) {
        double u = random_uniform(&stream, i);
        double g = random_normal(&stream, i);
        inside &= u >= 0 && u < 1 && isfinite(g);
        mean += u / DRAWS;
        square += u * u / DRAWS;
        normal_mean += g / DRAWS;
        normal_square += g * g / DRAWS;
    }
    tap_ok(inside, "uniform numbers lie in [0, 1), normal ones are finite");
    tap_near(mean, 0.5, 0.005, "uniform: mean");
    tap_near(square, 1.0 / 3, 0.005, "uniform: mean square");
    tap_near(normal_mean, 0, 0.016, "normal: mean");
    tap_near(normal_square, 1, 0.012, "normal: mean square");
}

struct count { atomic_int calls; atomic_int seen[8]; int workers_wrong; int plain[8]; };

static void count_call(void *context, int worker, int workers)
{
    struct count *count = context;
    atomic_fetch_add(&count->calls, 1);
    atomic_fetch_add(&count->seen[worker], 1);
    count->plain[worker] += workers; /* plain memory: the pool must order it between runs */
}

struct tasks { int done[1000]; int offset; };

static void do_task(void *context, long task, int worker)
{
    (void)worker;
    struct tasks *tasks = context;
    tasks->done[task] += tasks->offset;
}

static void test_pool(int workers)
{
    struct pool *pool = NULL;
    tap_ok(pool_new(workers, &pool, NULL) == BPTT_OK && pool_workers(pool) == workers, "a pool of %d", workers);
    struct count count = {0};
    enum { RUNS = 5000 };
    for (int run = 0; run < RUNS; run++)
        pool_run(pool, count_call, &count);
    int good = atomic_load(&count.calls) == RUNS * workers;
    for (int i = 0; i < workers; i++)
        good &= atomic_load(&count.seen[i]) == RUNS && count.plain[i] == RUNS * workers;
    tap_ok(good, "pool of %d: every run calls every worker once, and ends before the next", workers);
    struct tasks tasks = {.offset = 1};
    for (int run = 0; run < 200; run++)
        pool_tasks(pool, run % 2 ? 1000 : 3, do_task, &tasks);
    good = 1;
    for (int i = 0; i < 1000; i++)
        good &= tasks.done[i] == (i < 3 ? 200 : 100);
    tap_ok(good, "pool of %d: every task is done once", workers);
    pool_tasks(pool, 0, do_task, &tasks);
    pool_free(pool);
}

static void test_threads(void)
{
    test_pool(1);
    test_pool(2);
    test_pool(5);
    struct tasks tasks = {.offset = 1};
    pool_tasks(NULL, 7, do_task, &tasks);
    tap_ok(tasks.done[6] == 1 && pool_workers(NULL) == 1, "no pool is one worker");
    struct pool *pool = NULL;
    bptt_error error = {0};
    tap_ok(pool_new(-1, &pool, &error) == BPTT_ERROR_ARGUMENT && !pool && strstr(error.text, "-1"), "-1 threads");
    tap_ok(pool_new(1 << 20, &pool, NULL) == BPTT_ERROR_ARGUMENT && !pool, "absurdly many threads");
    tap_ok(pool_new(0, &pool, NULL) == BPTT_OK && pool_workers(pool) == cpu_count(), "0 threads: as many as there are");
    pool_free(pool);
    pool_free(NULL);
}

static void test_isa(void)
{
    enum isa isa;
    enum isa best;
    unsetenv("BPTT_ISA");
    tap_ok(isa_choose(&best, NULL) == BPTT_OK && isa_available(best), "the instruction set chosen is there (%s)",
           isa_name[best]);
    tap_ok(isa_available(ISA_GENERIC) && cpu_count() >= 1, "generic kernels and a processor are always there");
    for (int i = 0; i < ISA_COUNT; i++) {
        bptt_error error = {0};
        setenv("BPTT_ISA", isa_name[i], 1);
        int status = isa_choose(&isa, &error);
        int good = isa_available((enum isa)i) ? status == BPTT_OK && isa == (enum isa)i
                                              : status == BPTT_ERROR_ARGUMENT && strstr(error.text, isa_name[i]);
        tap_ok(good, "BPTT_ISA=%s", isa_name[i]);
    }
    bptt_error error = {0};
    setenv("BPTT_ISA", "sse9", 1);
    tap_ok(isa_choose(&isa, &error) == BPTT_ERROR_ARGUMENT, "an unknown instruction set is an error");
    tap_ok(strstr(error.text, "sse9") && strstr(error.text, "generic") && strstr(error.text, "avx512"),
           "which names it and the known ones");
    setenv("BPTT_ISA", "", 1);
    tap_ok(isa_choose(&isa, NULL) == BPTT_OK && isa == best, "an empty BPTT_ISA is none");
    unsetenv("BPTT_ISA");
}

int main(void)
{
    test_errors();
    test_arena();
    test_plan();
    test_plan_failure();
    test_text();
    test_distance();
    test_philox();
    test_distributions();
    test_threads();
    test_isa();
    return tap_done();
}
