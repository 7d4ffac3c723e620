// link: -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc
/* test_schedule.c - strategies read and written; every list of actions proven by the verifier, and the verifier by lists that
 * are wrong; the splitting held against an exhaustive search over everything that could be done with so much memory, and
 * against Griewank's closed form; budgets; the distributions of random links; pictures. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../src/time/schedule.h"
#include "tap.h"

/* ---- allocations that fail when told to ---- */

static long calls, fails_at;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

static int fails(void)
{
    return ++calls == fails_at;
}

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    return fails() ? NULL : __real_realloc(memory, bytes);
}

/* ---- schedules to test with ---- */

enum { RECORD_BYTES = 100, STATE_BYTES = 30 };

static struct strategy parsed(const char *text)
{
    struct strategy strategy;
    if (strategy_parse(text, &strategy, NULL))
        tap_ok(0, "%s is a strategy", text);
    return strategy;
}

static struct axis axis_of(long steps, long block)
{
    long most = steps > 0 ? steps : 1;
    return (struct axis){steps, block < most ? block : most, RECORD_BYTES, STATE_BYTES};
}

static size_t least_bytes(const char *text, const struct axis *axis, int spill)
{
    struct strategy strategy = parsed(text);
    struct layout layout;
    size_t least = 0;
    schedule_fit(&strategy, axis, 0, spill, &layout, &least);
    return least;
}

static int start_laid_out(struct schedule *s, const char *text, const struct axis *axis, const struct layout *layout, int updates)
{
    struct strategy strategy = parsed(text);
    if (schedule_new(s, &strategy, axis, layout, NULL))
        return 0;
    s->updates = updates;
    schedule_start(s, axis->steps, random_open(5, RANDOM_TRUNCATION, 0), 0);
    return 1;
}

static int start(struct schedule *s, const char *text, const struct axis *axis, size_t budget, int spill)
{
    struct strategy strategy = parsed(text);
    struct layout layout;
    if (schedule_fit(&strategy, axis, budget, spill, &layout, NULL))
        return 0;
    return start_laid_out(s, text, axis, &layout, 1);
}

static int64_t planned(const char *text, const struct axis *axis, size_t budget, int spill)
{
    struct schedule s;
    int64_t advanced = -1;
    if (start(&s, text, axis, budget, spill)) {
        advanced = schedule_forecast(&s).advanced;
        schedule_free(&s);
    }
    return advanced;
}

/* ---- strategies ---- */

static const char *const good_texts[] = {
    "full", "segments:1", "segments:50", "truncated:1,1", "truncated:3,7", "truncated:5,1000000", "random:1", "random:0.5",
    "random:0.9..0.3", "random:1,0.5,0.25", "random:geometric:20", "random:uniform:3,9", "random:uniform:4,4",
    "random:power:20,1.5", "adaptive:0.1", "rtrl", "snap1", "snap:3", "rflo", "uoro"};
enum { GOOD_TEXTS = sizeof good_texts / sizeof good_texts[0] };

static void good_strategies(void)
{
    struct strategy strategy;
    char text[80];
    for (int i = 0; i < GOOD_TEXTS; i++) {
        strategy = parsed(good_texts[i]);
        strategy_text(&strategy, text, sizeof text);
        tap_text(text, good_texts[i], "%s is read and written", good_texts[i]);
    }
    tap_ok(!strategy_parse(NULL, &strategy, NULL) && strategy.kind == STRATEGY_FULL, "none is full");
    tap_ok(!strategy_parse("snap:1", &strategy, NULL) && strategy.order == 1, "snap:1 is snap1");
    strategy = parsed("random:0.125,0.25,0.5");
    strategy_text(&strategy, text, 12);
    tap_text(text, "random:0.12", "a text is cut to the room there is");
    tap_ok(strategy_is_forward(&(struct strategy){.kind = STRATEGY_SNAP}), "snap is forward mode");
    tap_ok(!strategy_is_forward(&(struct strategy){.kind = STRATEGY_ADAPTIVE}), "adaptive is not");
}

/* What the line must name: the offending text, and a word of what to do. */
static void bad_strategies(void)
{
    static const char *const bad[][2] = {
        {"", "there are full"}, {"foo", "there are full"}, {"Full", "there are full"}, {"fullness", "there are full"},
        {"full:3", "give full alone"}, {"full ", "there are full"}, {"rtrl:2", "give rtrl alone"}, {"segments", "segments:K"},
        {"segments:", "from 1 on"}, {"segments:0", "from 1 on"}, {"segments:-1", "from 1 on"}, {"segments:+1", "from 1 on"},
        {"segments:1e3", "from 1 on"}, {"segments:1e9999", "from 1 on"}, {"segments:5x", "from 1 on"}, {"segments: 5", "from 1 on"},
        {"segments:99999999999999999999", "from 1 on"}, {"truncated:5", "from 1 on"}, {"truncated:0,1", "from 1 on"},
        {"truncated:1,", "from 1 on"}, {"truncated:1,2,3", "from 1 on"}, {"truncated:5,2", "give k2 of at least k1"},
        {"random:", "above 0"}, {"random:0", "above 0"}, {"random:-0.5", "above 0"}, {"random:1.5", "above 0"},
        {"random:nan", "above 0"}, {"random:inf", "above 0"}, {"random:0x1p-1", "above 0"}, {"random:1e-300", "above 0"},
        {"random:0.5,", "above 0"}, {"random:0.5..", "above 0"}, {"random:0.5..0", "above 0"}, {"random:..0.5", "above 0"},
        {"random:0.5....5", "above 0"}, {"random:geometric:1", "above 1"}, {"random:geometric:nan", "above 1"},
        {"random:geometric:", "above 1"}, {"random:uniform:5", "from 1 on"}, {"random:uniform:5,2", "B of at least A"},
        {"random:uniform:0,2", "from 1 on"}, {"random:power:20", "above 1"}, {"random:power:1,2", "above 1"},
        {"random:power:20,1", "above 1"}, {"random:power:1e300,1e300", "above 1"}, {"random:zipf:3", "above 0"},
        {"adaptive:0", "between 0 and 1"}, {"adaptive:1", "between 0 and 1"}, {"adaptive:nan", "between 0 and 1"},
        {"adaptive:", "between 0 and 1"}, {"adaptive:0.1x", "between 0 and 1"}, {"snap:0", "from 1 to"}, {"snap:-1", "from 1 to"},
        {"snap:2.5", "from 1 to"}, {"snap2", "there are full"}, {"uoro,", "there are full"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct strategy strategy;
        bptt_error error = {0};
        int status = strategy_parse(bad[i][0], &strategy, &error);
        int says = strstr(error.text, bad[i][0]) && strstr(error.text, bad[i][1]) && !strchr(error.text, '\n');
        tap_ok(status == BPTT_ERROR_ARGUMENT && says, "'%s' is refused: %s", bad[i][0], error.text);
    }
    char many[400] = "random:0.5";
    struct strategy strategy;
    for (int i = 1; i < LINK_MOST; i++)
        strcat(many, ",0.5");
    tap_ok(!strategy_parse(many, &strategy, NULL), "%d probabilities are read", LINK_MOST);
    strcat(many, ",0.5");
    tap_ok(strategy_parse(many, &strategy, NULL) == BPTT_ERROR_ARGUMENT, "one more is refused");
}

static void lengths_of_windows(void)
{
    bptt_error error = {0};
    struct strategy strategy = parsed("segments:50");
    tap_ok(!strategy_check(&strategy, 50, NULL) && !strategy_check(&strategy, 0, NULL), "50 steps, and 0, can be cut every 50");
    tap_ok(strategy_check(&strategy, 49, &error) && strstr(error.text, "segments:50") && strstr(error.text, "at most 49"),
           "49 cannot: %s", error.text);
    strategy = parsed("truncated:5,1000000");
    tap_ok(!strategy_check(&strategy, 5, NULL), "k2 may be longer than the window");
    tap_ok(strategy_check(&strategy, 4, NULL), "k1 may not");
    tap_ok(strategy_chunk(&strategy, 20) == 5 && strategy_reach(&strategy, 20) == 20, "it reaches over the window");
    strategy = parsed("adaptive:0.1");
    tap_ok(strategy_chunk(&strategy, 20) == 20 && strategy_reach(&strategy, 20) == 20, "adaptive begins with the whole window");
    strategy.k1 = 4;
    tap_ok(strategy_chunk(&strategy, 20) == 4 && strategy_reach(&strategy, 20) == 7, "then every K steps back 2K - 1");
}

/* ---- every list is right ---- */

/* Where a stretch may begin and end: the gradient's bits depend on it. */
static int borders_are_blocks(struct schedule *s)
{
    struct action a;
    int ok = 1;
    schedule_restart(s);
    while (schedule_next(s, &a)) {
        int is_stretch = a.kind == ACTION_ADVANCE || a.kind == ACTION_RECORD || (a.kind == ACTION_REVERSE && !s->ring);
        int is_from = a.from % s->chunk == 0 || a.from % s->axis.block == 0 || s->ring;
        int is_to = a.to % s->chunk == 0 || a.to == s->steps || a.to % s->axis.block == 0 || s->ring;
        ok &= !is_stretch || (is_from && is_to);
    }
    schedule_restart(s);
    return ok;
}

static int is_right(struct schedule *s, const char *what, size_t budget)
{
    bptt_error error = {0};
    int ok = s->layout.bytes <= budget && !schedule_verify(s, &error) && borders_are_blocks(s);
    struct forecast f = schedule_forecast(s);
    ok = ok && f.recorded == s->steps && (s->ring || f.reversed == s->steps);
    if (!ok)
        tap_note("%s, %ld of %ld steps, block %ld, %zu bytes, %ld rows, %ld + %ld slots: %s", what, s->steps, s->axis.steps,
                 s->axis.block, budget, s->layout.rows, s->layout.slots, s->layout.spilled, error.text);
    return ok;
}

/* Also for the shorter window at the end of a stream, with random links of another index. */
static int budget_is_right(const char *text, const struct axis *axis, size_t budget, int spill)
{
    struct schedule s;
    int ok = start(&s, text, axis, budget, spill);
    if (!ok)
        return 0;
    ok = is_right(&s, text, budget);
    s.updates = 0;
    schedule_start(&s, axis->steps * 2 / 3, random_open(5, RANDOM_TRUNCATION, 0), 1);
    ok &= is_right(&s, text, budget);
    schedule_start(&s, axis->steps / 2, random_open(5, RANDOM_TRUNCATION, 0), 2);
    ok &= is_right(&s, text, budget);
    schedule_free(&s);
    return ok;
}

static int budgets_are_right(const char *text, const struct axis *axis, int spill)
{
    enum { BUDGETS = 24 };
    size_t least = least_bytes(text, axis, spill), all = ((size_t)axis->steps + 1) * RECORD_BYTES;
    int ok = budget_is_right(text, axis, SIZE_MAX, spill);
    for (size_t i = 0; i < BUDGETS && ok; i++)             /* denser where they are small */
        ok = budget_is_right(text, axis, least + (all > least ? (all - least) * i * i / (BUDGETS * BUDGETS) : 0), spill);
    return ok;
}

static void every_list(void)
{
    static const char *const texts[] = {"full", "segments:1", "segments:7", "segments:33", "segments:90", "truncated:1,5",
                                        "truncated:3,7", "truncated:5,5", "truncated:8,16", "truncated:10,64", "truncated:2,10000",
                                        "random:0.5", "random:power:10,1.5", "adaptive:0.5", "rtrl", "snap1"};
    static const long lengths[] = {0, 1, 2, 7, 33, 100, 1000}, blocks[] = {1, 2, 8, 32};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        for (size_t j = 0; j < sizeof lengths / sizeof lengths[0]; j++) {
            int ok = 1;
            for (size_t b = 0; b < 4 && ok; b++) {
                struct axis axis = axis_of(lengths[j], blocks[b]);
                ok = budgets_are_right(texts[i], &axis, 0) && budgets_are_right(texts[i], &axis, 1);
            }
            tap_ok(ok, "%s over %ld steps, in every block and budget", texts[i], lengths[j]);
        }
    }
}

static void adaptive_lists(void)
{
    struct axis axis = axis_of(100, 8);
    struct schedule s;
    struct action a, last = {0};
    int ok = start(&s, "adaptive:0.5", &axis, SIZE_MAX, 0), updates = 0;
    for (long k = 0; k <= 101 && ok; k++) {
        s.strategy.k1 = k;
        schedule_start(&s, 100, random_open(5, RANDOM_TRUNCATION, 0), 0);
        ok = is_right(&s, "adaptive", SIZE_MAX);
    }
    s.strategy.k1 = 9;
    schedule_start(&s, 100, random_open(5, RANDOM_TRUNCATION, 0), 0);
    for (; schedule_next(&s, &a); last = a)
        updates += a.kind == ACTION_UPDATE;
    tap_ok(ok, "adaptive: every truncation, in the same layout");
    tap_ok(updates == 12 && last.kind == ACTION_UPDATE && last.losses == 1, "adaptive: an update after every 9 steps and the last one");
    schedule_free(&s);
}

static void layouts_that_cannot_be(void)
{
    struct axis axis = axis_of(100, 8);
    struct strategy full = parsed("full"), segments = parsed("segments:50"), truncated = parsed("truncated:5,20");
    struct schedule s;
    bptt_error error = {0};
    tap_ok(schedule_new(&s, &full, &axis, &(struct layout){.rows = 7, .slots = 9}, &error), "a tape below a block: %s", error.text);
    tap_ok(schedule_new(&s, &full, &axis, &(struct layout){.rows = 8}, NULL), "no slot for the start");
    tap_ok(schedule_new(&s, &segments, &axis, &(struct layout){.rows = 8, .slots = 1}, NULL), "no slot for the next segment");
    tap_ok(schedule_new(&s, &truncated, &axis, &(struct layout){.rows = 20}, NULL), "a ring without its spare row");
}

/* ---- lists that are wrong ---- */

struct list { struct action action[4000]; long count, at; };

static int next_in_list(void *user, struct action *action)
{
    struct list *list = user;
    if (list->at == list->count)
        return 0;
    *action = list->action[list->at++];
    return 1;
}

static void take_list(struct schedule *s, struct list *list)
{
    schedule_restart(s);
    for (list->count = list->at = 0; schedule_next(s, &list->action[list->count]);)
        list->count++;
    schedule_restart(s);
}

static int is_noticed(const struct schedule *s, struct list *list)
{
    list->at = 0;
    return schedule_verify_list(s, next_in_list, list, NULL) != BPTT_OK;
}

static void drop(struct list *list, long i)
{
    memmove(&list->action[i], &list->action[i + 1], (size_t)(list->count-- - i - 1) * sizeof list->action[0]);
}

static void repeat(struct list *list, long i)
{
    memmove(&list->action[i + 1], &list->action[i], (size_t)(list->count++ - i) * sizeof list->action[0]);
}

/* One change of an action; 0: this one does not have it, or it does no harm. */
struct planted { const char *what; int (*plant)(struct list *list, long i); };

static int plant_drop(struct list *list, long i)
{
    drop(list, i);
    return 1;
}

static int plant_repeat(struct list *list, long i)
{
    int is_harmless = list->action[i].kind == ACTION_CUT || list->action[i].kind == ACTION_RESTORE;
    repeat(list, i);
    return !is_harmless;
}

static int plant_other_slot(struct list *list, long i)
{
    struct action *a = &list->action[i];
    a->place = a->place ? 0 : 1;
    return a->kind == ACTION_KEEP || a->kind == ACTION_RESTORE;
}

static int plant_slot_outside(struct list *list, long i)
{
    list->action[i].place = i % 2 ? -1 : 1000000;
    return list->action[i].kind != ACTION_ADVANCE && list->action[i].kind != ACTION_CUT && list->action[i].kind != ACTION_UPDATE;
}

static int plant_other_row(struct list *list, long i)
{
    list->action[i].place++;
    return list->action[i].kind == ACTION_REVERSE;
}

static int plant_shorter(struct list *list, long i)
{
    struct action *a = &list->action[i];
    if (a->to - a->from < 2)
        return 0;
    a->to--;
    return 1;
}

static int plant_later(struct list *list, long i)
{
    struct action *a = &list->action[i];
    a->from++;
    a->to++;
    return a->kind != ACTION_UPDATE;
}

static int plant_fewer_losses(struct list *list, long i)
{
    struct action *a = &list->action[i];
    int has_losses = a->kind == ACTION_REVERSE && a->losses < a->to;
    a->losses++;
    return has_losses || a->kind == ACTION_UPDATE;
}

static int plant_more_losses(struct list *list, long i)
{
    struct action *a = &list->action[i];
    a->losses--;
    return a->kind == ACTION_REVERSE || a->kind == ACTION_UPDATE;
}

static int plant_scale(struct list *list, long i)
{
    list->action[i].scale = 0.5;
    return list->action[i].kind == ACTION_CUT;
}

static int plant_cut(struct list *list, long i)
{
    long t = list->action[i].from + 1;
    repeat(list, i);
    list->action[i] = (struct action){ACTION_CUT, .from = t, .to = t};
    return t % 10 != 0;
}

static int plant_update(struct list *list, long i)
{
    repeat(list, i);
    list->action[i] = (struct action){ACTION_UPDATE, .losses = 1};
    return 1;
}

static void planted_faults(const char *text, long steps, size_t budget)
{
    static const struct planted all[] = {
        {"an action is missing", plant_drop}, {"an action comes twice", plant_repeat}, {"another slot", plant_other_slot},
        {"a slot or row outside", plant_slot_outside}, {"another row", plant_other_row}, {"a shorter stretch", plant_shorter},
        {"a later stretch", plant_later}, {"a loss less", plant_fewer_losses}, {"a loss twice", plant_more_losses},
        {"a link that is weighted", plant_scale}, {"a cut", plant_cut}, {"an update", plant_update}};
    static struct list list, wrong;
    struct axis axis = axis_of(steps, 2);
    struct schedule s;
    if (!tap_ok(start(&s, text, &axis, budget, 0), "%s over %ld steps in %zu bytes", text, steps, budget))
        return;
    take_list(&s, &list);
    tap_ok(!is_noticed(&s, &list), "%s: the list itself is right", text);
    for (size_t f = 0; f < sizeof all / sizeof all[0]; f++) {
        int ok = 1;
        for (long i = 0; i < list.count; i++) {
            wrong = list;
            if (all[f].plant(&wrong, i) && !is_noticed(&s, &wrong)) {
                char line[160];
                action_print(&list.action[i], line, sizeof line);
                tap_note("not noticed at action %ld: %s", i + 1, line);
                ok = 0;
            }
        }
        tap_ok(ok, "%s: %s, anywhere, is noticed", text, all[f].what);
    }
    schedule_free(&s);
}

static void faults_are_named(void)
{
    static struct list list;
    struct axis axis = axis_of(20, 1);
    struct schedule s;
    bptt_error error = {0};
    start(&s, "full", &axis, SIZE_MAX, 0);
    take_list(&s, &list);
    drop(&list, 0);
    tap_ok(schedule_verify_list(&s, next_in_list, &list, &error) == BPTT_ERROR_ARGUMENT, "a fault is an error");
    tap_text(error.text, "schedule, action 1, reverse 20..0 (row 0): step 0 is not recorded on row 0; please report this",
             "it names the action and what is missing");
    schedule_free(&s);
}

/* ---- the fewest forward steps ---- */

/* All that can be done with `leaf` rows for any steps and `slots` for any states, over n steps: run a step forward, with or
 * without a record; drop anything; keep, restore; reverse the last step left if it is recorded. A state of the search is
 * (position at hand, kept positions, recorded steps, steps left); what is looked for: all reversed with the fewest forward
 * steps. */
struct search {
    int n, leaf, slots;
    unsigned char *seen;
    unsigned *now, *later;
    long now_count, later_count;
};

enum { MOST_UNITS = 7, SEARCH_BITS = 2 * MOST_UNITS + 6, SEARCH_STATES = 1 << SEARCH_BITS };

static unsigned pack(unsigned hand, unsigned kept, unsigned recorded, unsigned left)
{
    return ((hand << 3 | left) << MOST_UNITS | kept) << MOST_UNITS | recorded;
}

static void visit(struct search *s, int costs, unsigned hand, unsigned kept, unsigned recorded, unsigned left)
{
    unsigned below = (1u << left) - 1;
    unsigned state = pack(hand, kept & below, recorded & below, left);
    if (s->seen[state])
        return;
    if (costs)
        s->later[s->later_count++] = state;
    else
        s->now[s->now_count++] = state;
}

static void expand(struct search *s, unsigned state)
{
    unsigned mask = (1u << MOST_UNITS) - 1, recorded = state & mask, kept = state >> MOST_UNITS & mask;
    unsigned left = state >> (2 * MOST_UNITS) & 7, hand = state >> (2 * MOST_UNITS + 3);
    if (recorded & 1u << (left - 1))
        visit(s, 0, hand, kept, recorded, left - 1);
    if (hand < left) {
        visit(s, 1, hand + 1, kept, recorded, left);
        if (__builtin_popcount(recorded) < s->leaf)
            visit(s, 1, hand + 1, kept, recorded | 1u << hand, left);
        if (__builtin_popcount(kept) < s->slots)
            visit(s, 0, hand, kept | 1u << hand, recorded, left);
    }
    for (unsigned i = 0; i < left; i++) {
        if (kept & 1u << i) {
            visit(s, 0, i, kept, recorded, left);
            visit(s, 0, hand, kept & ~(1u << i), recorded, left);
        }
        if (recorded & 1u << i)
            visit(s, 0, hand, kept, recorded & ~(1u << i), left);
    }
}

static int search_level(struct search *s)
{
    while (s->now_count) {
        unsigned state = s->now[--s->now_count];
        if (s->seen[state]++)
            continue;
        if ((state >> (2 * MOST_UNITS) & 7) == 0)
            return 1;
        expand(s, state);
    }
    return 0;
}

static int fewest_forward_steps(struct search *s)
{
    memset(s->seen, 0, SEARCH_STATES);
    s->now_count = s->later_count = 0;
    visit(s, 0, 0, 0, 0, (unsigned)s->n);
    for (int cost = 0; s->now_count; cost++) {
        if (search_level(s))
            return cost;
        unsigned *swap = s->now;
        s->now = s->later;
        s->later = swap;
        s->now_count = s->later_count;
        s->later_count = 0;
    }
    return -1;
}

static int advanced_with(long units, long leaf, long slots)
{
    struct axis axis = axis_of(units, 1);
    struct schedule s;
    if (!start_laid_out(&s, "full", &axis, &(struct layout){.rows = leaf, .slots = slots}, 0))
        return -1;
    int advanced = (int)schedule_forecast(&s).advanced;
    schedule_free(&s);
    return advanced;
}

static int fewest[MOST_UNITS + 1][MOST_UNITS + 1][MOST_UNITS + 1];     /* [n][rows][slots]: advanced */

static void splitting_is_optimal(void)
{
    struct search s = {.seen = malloc(SEARCH_STATES), .now = malloc(SEARCH_STATES * 16 * sizeof(unsigned)),
                       .later = malloc(SEARCH_STATES * 16 * sizeof(unsigned))};
    for (int n = 1; n <= MOST_UNITS; n++) {
        int ok = 1;
        for (int leaf = 1; leaf <= n; leaf++) {
            for (int slots = leaf < n ? 1 : 0; slots < n; slots++) {
                s.n = n;
                s.leaf = leaf;
                s.slots = slots;
                fewest[n][leaf][slots] = fewest_forward_steps(&s) - n;
                int got = advanced_with(n, leaf, slots);
                if (got != fewest[n][leaf][slots])
                    tap_note("%d steps, %d rows, %d slots: %d, and %d would do", n, leaf, slots, got, fewest[n][leaf][slots]);
                ok &= got == fewest[n][leaf][slots];
            }
        }
        tap_ok(ok, "%d steps: no other way has fewer forward steps, whatever the rows and slots", n);
    }
    free(s.seen);
    free(s.now);
    free(s.later);
}

static size_t bytes_of(int n, int rows, int slots)
{
    int is_listed = slots < (n - 1) / rows;
    return (size_t)(rows + 1) * RECORD_BYTES + (size_t)slots * (STATE_BYTES + (is_listed ? sizeof(long) : 0));
}

static int fewest_within(int n, size_t budget)
{
    int best = -1;
    for (int rows = 1; rows <= n; rows++)
        for (int slots = rows < n ? 1 : 0; slots < n; slots++)
            if (bytes_of(n, rows, slots) <= budget && (best < 0 || fewest[n][rows][slots] < best))
                best = fewest[n][rows][slots];
    return best;
}

static void fitting_is_optimal(void)
{
    for (int n = 1; n <= MOST_UNITS; n++) {
        struct axis axis = axis_of(n, 1);
        int ok = 1;
        for (size_t budget = 100; budget <= 1000 && ok; budget++)
            ok = planned("full", &axis, budget, 0) == fewest_within(n, budget);
        tap_ok(ok, "%d steps: every budget is shared out between tape and states in the best way", n);
    }
}

/* Griewank's closed form: forward steps with m kept states, the tape holding one step. */
static double griewank(double steps, double m)
{
    double ways = 1, r = 0, sum = 1;                       /* binom(m + r, m); binom(m + r, m + 1) = ways r / (m + 1) */
    for (; ways < steps; ways = ways * (m + r) / r)
        r++;
    sum = ways * r / (m + 1);
    return steps + r * steps - sum;
}

static void closed_form(void)
{
    static const long lengths[] = {2, 3, 10, 100, 1000, 10000};
    tap_ok(griewank(1000, 50) == 2948 && advanced_with(1000, 1, 50) + 1000 == 2948, "C(1000, 50) = 2948");
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        int ok = 1;
        for (long m = lengths[i] > 1000 ? 4 : 1; m < 60; m++)
            ok &= advanced_with(lengths[i], 1, m) + (double)lengths[i] == griewank((double)lengths[i], (double)m);
        tap_ok(ok, "%ld steps: forward steps by the closed form", lengths[i]);
    }
}

/* ---- budgets ---- */

static int cost_falls(const char *text, const struct axis *axis, int spill)
{
    size_t least = least_bytes(text, axis, spill);
    int64_t before = INT64_MAX;
    for (size_t budget = least; budget < ((size_t)axis->steps + 2) * RECORD_BYTES; budget += 1 + budget / 50) {
        int64_t now = planned(text, axis, budget, spill);
        if (now < 0 || now > before)
            return 0;
        before = now;
    }
    return planned(text, axis, SIZE_MAX, spill) == 0;
}

static int least_is_least(const char *text, const struct axis *axis, int spill)
{
    struct strategy strategy = parsed(text);
    struct layout layout;
    size_t least = least_bytes(text, axis, spill), named = 0;
    int refused = schedule_fit(&strategy, axis, least - 1, spill, &layout, &named) == BPTT_ERROR_ARGUMENT;
    return refused && named == least && !schedule_fit(&strategy, axis, least, spill, &layout, NULL) && layout.bytes <= least;
}

static void budgets(void)
{
    static const long lengths[] = {0, 1, 2, 3, 31, 32, 33, 34, 64, 65, 100, 1000}, blocks[] = {1, 8, 32};
    for (int i = 0; i < GOOD_TEXTS; i++) {
        int ok = 1;
        for (int j = 0; j < 12 * 3; j++) {
            struct axis axis = axis_of(lengths[j / 3], blocks[j % 3]);
            ok &= least_is_least(good_texts[i], &axis, 0) && least_is_least(good_texts[i], &axis, 1);
        }
        tap_ok(ok, "%s: the smallest budget is named, and one byte less is refused", good_texts[i]);
    }
    for (int j = 0; j < 3; j++) {
        struct axis axis = axis_of(1000, blocks[j]);
        tap_ok(cost_falls("full", &axis, 0), "block %ld: more bytes never cost more steps", blocks[j]);
        tap_ok(cost_falls("segments:300", &axis, 0), "block %ld: nor with segments", blocks[j]);
        tap_ok(cost_falls("full", &axis, 1), "block %ld: nor with a disk", blocks[j]);
    }
}

static void spilling(void)
{
    struct axis axis = axis_of(1000, 8);
    struct schedule s;
    start(&s, "full", &axis, least_bytes("full", &axis, 1), 1);
    struct forecast f = schedule_forecast(&s);
    tap_ok(s.layout.rows == 8 && s.layout.slots == 0 && s.layout.spilled == 124 && s.layout.disk == 124 * STATE_BYTES,
           "with a disk all states may lie there");
    tap_ok(f.advanced == 1000 - 8 && f.kept == 124, "and no step is advanced over twice");
    schedule_free(&s);
    start(&s, "full", &axis, 8000, 1);
    tap_ok(s.layout.spilled == 0 && s.layout.bytes <= 8000, "what fits into memory is not spilled");
    schedule_free(&s);
}

static void long_windows(void)
{
    struct axis axis = {10000000, 32, 3584, 1024};
    clock_t begin = clock();
    size_t budgets_of[] = {1 << 20, 8 << 20, 64 << 20, (size_t)10 << 30};
    struct strategy full = parsed("full");
    struct layout layout;
    int ok = 1;
    for (int i = 0; i < 4; i++)
        for (int spill = 0; spill < 2; spill++)
            ok &= !schedule_fit(&full, &axis, budgets_of[i], spill, &layout, NULL) && layout.bytes <= budgets_of[i];
    double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    tap_ok(ok && seconds < 1, "ten million steps: eight layouts in well below a second");  /* a table of steps would take one */
    tap_ok(planned("full", &axis, 64 << 20, 0) < 2 * axis.steps, "at 64 MiB each of them is advanced over less than twice");
    tap_ok(planned("full", &axis, 1 << 20, 1) < axis.steps, "at 1 MiB and a disk less than once");
}

/* ---- random links ---- */

/* Lengths of pieces, most and more in the last; and whether every other link is weighted by 1 / p. */
static long count_lengths(const char *text, long steps, long *lengths, long most)
{
    struct axis axis = axis_of(steps, 32);
    struct schedule s;
    struct action a;
    long last = 0, pieces = 0;
    memset(lengths, 0, (size_t)(most + 1) * sizeof *lengths);
    start(&s, text, &axis, SIZE_MAX, 0);
    while (schedule_next(&s, &a) && a.kind == ACTION_CUT) {
        double p = link_probability(&s.strategy.links, a.from, steps, a.from - last);
        if (a.scale > 0) {
            if (!(fabs(a.scale * p - 1) <= 1e-15))         /* rounding of one division and one product */
                return -1;
            continue;
        }
        lengths[a.from - last < most ? a.from - last : most]++;
        last = a.from;
        pieces++;
    }
    schedule_free(&s);
    return pieces;
}

/* Five standard deviations: the seed is fixed, so this passes always or never. */
static int is_share(long count, long all, double share)
{
    return fabs((double)count - share * (double)all) <= 5 * sqrt(share * (1 - share) * (double)all) + 1;
}

static void lengths_match(const char *text, double (*share)(long length))
{
    enum { MOST = 40 };
    long lengths[MOST + 1], pieces = count_lengths(text, 200000, lengths, MOST);
    double left = 1;
    int ok = pieces > 1000;
    for (long length = 1; length < MOST; length++) {
        ok &= is_share(lengths[length], pieces, share(length));
        left -= share(length);
    }
    tap_ok(ok && is_share(lengths[MOST], pieces, left < 0 ? 0 : left), "%s: %ld pieces, as long as they should be", text, pieces);
}

static double share_geometric(long length)
{
    return pow(1 - 1 / 8.0, (double)(length - 1)) / 8;
}

static double share_uniform(long length)
{
    if (length < 3)
        return 0;
    return length < 12 ? 0.1 : 0.1 * pow(0.5, (double)(length - 12 + 1));
}

/* P(length > t) = prod over s <= t of (s + c - A) / (s + c), c = MEAN (A - 1), by the gamma function. */
static double more_than(long t)
{
    double a = 2.5, c = 8 * (a - 1), x = (double)t + 1;
    return exp(lgamma(x + c - a) + lgamma(1 + c) - lgamma(1 + c - a) - lgamma(x + c));
}

static double share_power(long length)
{
    return more_than(length - 1) - more_than(length);
}

static void links(void)
{
    lengths_match("random:geometric:8", share_geometric);
    lengths_match("random:0.875", share_geometric);
    lengths_match("random:uniform:3,12", share_uniform);
    lengths_match("random:power:8,2.5", share_power);
    double mean = 0;
    for (long t = 0; t < 1000000; t++)
        mean += more_than(t);
    tap_near(mean, 8, 1e-4, "power: the mean");            /* the tail beyond a million is below 1e-5 */
    struct strategy s = parsed("random:0.9..0.5");
    tap_near(link_probability(&s.links, 1, 5, 1), 0.9, 1e-15, "linear: the first link");
    tap_near(link_probability(&s.links, 4, 5, 1), 0.5, 1e-15, "the last");
    tap_near(link_probability(&s.links, 2, 5, 1), 0.9 - 0.4 / 3, 1e-15, "between");
    tap_near(link_probability(&s.links, 1, 2, 1), 0.9, 1e-15, "the only one");
    s = parsed("random:0.9,0.5,0.25");
    tap_ok(link_probability(&s.links, 2, 99, 1) == 0.5 && link_probability(&s.links, 50, 99, 1) == 0.25, "a list, and its end");
}

static void links_are_probabilities(void)
{
    static const char *const texts[] = {"random:1", "random:1e-9..1", "random:geometric:1.5", "random:geometric:1e9",
                                        "random:uniform:1,1", "random:uniform:5,5", "random:uniform:1,1000000",
                                        "random:power:1.01,1.01", "random:power:1000000,50", "random:power:2,1.001"};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct strategy s = parsed(texts[i]);
        int ok = 1;
        for (long since = 1; since < 100000000; since += 1 + since / 7) {
            double p = link_probability(&s.links, since, 100000000, since);
            ok &= p > 0 && p <= 1;
        }
        tap_ok(ok, "%s: always above 0 and at most 1", texts[i]);
    }
}

static void links_given(void)
{
    const double xi[] = {7, 1, 0, 2, 1, 1};
    struct axis axis = axis_of(6, 2);
    struct schedule s;
    struct text text = {0};
    start(&s, "random:0.5", &axis, SIZE_MAX, 0);
    s.xi = xi;
    schedule_print(&s, 0, &text);
    tap_text(text.data, "cut 2 * 0\ncut 3 * 2\nrecord 0..6 (row 0)\nreverse 6..0 (row 0)\nupdate (6 losses)\n", "links of the caller");
    text_free(&text);
    schedule_free(&s);
}

static void links_again(void)
{
    static struct list first, again, other;
    struct axis axis = axis_of(300, 8);
    struct schedule s;
    start(&s, "random:0.7", &axis, 5000, 0);
    take_list(&s, &first);
    take_list(&s, &again);
    schedule_start(&s, 300, random_open(5, RANDOM_TRUNCATION, 0), 1);
    take_list(&s, &other);
    size_t bytes = (size_t)first.count * sizeof first.action[0];
    tap_ok(first.count == again.count && !memcmp(first.action, again.action, bytes), "the same window has the same links");
    tap_ok(first.count != other.count || memcmp(first.action, other.action, bytes), "another has others");
    schedule_free(&s);
}

/* ---- to read ---- */

static void printed(const char *strategy, long steps, size_t budget, long most, const char *want)
{
    struct axis axis = axis_of(steps, 2);
    struct schedule s;
    struct text text = {0};
    start(&s, strategy, &axis, budget, 0);
    tap_ok(!schedule_print(&s, most, &text), "%s is printed", strategy);
    tap_text(text.data, want, "%s over %ld steps", strategy, steps);
    text_free(&text);
    schedule_free(&s);
}

static void prints(void)
{
    printed("full", 5, 350, 0, "keep 0 (slot 0)\nadvance 0..4\nrecord 4..5 (row 0)\nreverse 5..4 (row 0)\nrestore 0 (slot 0)\n"
            "advance 0..2\nrecord 2..4 (row 0)\nreverse 4..2 (row 0)\nrestore 0 (slot 0)\nrecord 0..2 (row 0)\n"
            "reverse 2..0 (row 0)\nupdate (5 losses)\n");
    printed("truncated:2,3", 5, SIZE_MAX, 0, "record 0..2 (row 0)\ncut 2 * 0\nreverse 2..0 (row 0)\nupdate (2 losses)\n"
            "record 2..4 (row 2)\ncut 4 * 0\nreverse 4..1 (row 1, losses from 2)\nupdate (2 losses)\nrecord 4..5 (row 0)\n"
            "reverse 5..4 (row 0)\nreverse 4..2 (row 2, no losses)\nupdate (1 losses)\n");
    printed("full", 100, 350, 3, "keep 0 (slot 0)\nadvance 0..98\n... and 198 actions more\n");
    printed("full", 5, SIZE_MAX, 1, "... and 3 actions more\n");
}

static void drawn(const char *strategy, long steps, size_t budget, int columns, const char *want)
{
    struct axis axis = axis_of(steps, 2);
    struct schedule s;
    struct text text = {0};
    start(&s, strategy, &axis, budget, 0);
    tap_ok(!schedule_draw(&s, columns, &text), "%s is drawn", strategy);
    const char *from = strstr(text.data, "\n\n"), *to = from ? strstr(from + 2, "\n\n") : NULL;
    char *picture = to ? strndup(from + 2, (size_t)(to - from - 1)) : NULL;
    tap_text(picture, want, "%s over %ld steps, in %d columns", strategy, steps, columns);
    free(picture);
    text_free(&text);
    schedule_free(&s);
}

static void pictures(void)
{
    drawn("full", 10, 450, 34,
          "      0                 10\n"
          "   0% o---o---o---o---====\n"
          "      |   |   |   |   <<<<\n"
          "  37% |   |   |   ====\n"
          "      |   |   |   <<<<\n"
          "  53% |   |   ====\n"
          "      |   |   <<<<\n"
          "  68% |   ====\n"
          "      |   <<<<\n"
          "  84% ====\n"
          "      <<<<                 update\n");
    drawn("truncated:2,4", 6, SIZE_MAX, 25,
          "      0          6\n"
          "   0% ====x\n"
          "      <<<<         update\n"
          "  23%     ====x\n"
          "      ~~~~<<<<     update\n"
          "  62%         ====\n"
          "          ~~~~<<<< update\n");
}

/* Any list in any room: lines no longer than asked, few of them, an SVG that is not larger than its pixels. */
static int fits_the_room(const char *strategy, const struct axis *axis, size_t budget, int columns)
{
    struct schedule s;
    struct text text = {0}, svg = {0};
    int ok = start(&s, strategy, axis, budget, 0) && !schedule_draw(&s, columns, &text) && !schedule_svg(&s, &svg), lines = 0;
    for (char *line = strtok(text.data, "\n"); line && ok; line = strtok(NULL, "\n"), lines++)
        ok &= lines < 2 || (long)strlen(line) <= (columns < 80 ? 80 : columns);
    ok &= lines < 60 && !strncmp(svg.data, "<svg ", 5) && !strcmp(svg.data + svg.length - 7, "</svg>\n") && svg.length < 300000;
    ok &= !strstr(svg.data, "nan") && !strstr(svg.data, "inf");
    text_free(&text);
    text_free(&svg);
    schedule_free(&s);
    return ok;
}

static void pictures_of_all(void)
{
    static const long lengths[] = {0, 1, 2, 33, 1000, 30000};
    static const int widths[] = {0, 80, 200};
    for (int i = 0; i < GOOD_TEXTS; i++) {
        int ok = 1;
        for (int j = 0; j < 6 * 3; j++) {
            struct axis axis = axis_of(lengths[j / 3], 8);
            ok &= fits_the_room(good_texts[i], &axis, least_bytes(good_texts[i], &axis, 0) + 1500, widths[j % 3]);
            ok &= fits_the_room(good_texts[i], &axis, SIZE_MAX, widths[j % 3]);
        }
        tap_ok(ok, "%s: pictures of any length in any room", good_texts[i]);
    }
    struct axis axis = {10000000, 32, 3584, 1024};
    tap_ok(fits_the_room("full", &axis, 64 << 20, 80), "ten million steps are one picture");
}

/* ---- out of memory ---- */

static int ran_out(int (*job)(struct schedule *s, bptt_error *error), struct schedule *s)
{
    bptt_error error = {0};
    calls = 0;
    fails_at = 1;
    int status = job(s, &error), count = 0;
    for (; status; count++, fails_at = count + 1, calls = 0, status = job(s, NULL))
        if (status != BPTT_ERROR_MEMORY)
            return 0;
    fails_at = 0;
    return count > 0;
}

static int job_new(struct schedule *s, bptt_error *error)
{
    struct axis axis = axis_of(100, 2);
    struct strategy full = parsed("full");
    return schedule_new(s, &full, &axis, &(struct layout){.rows = 2, .slots = 3}, error);
}

static int job_print(struct schedule *s, bptt_error *error)
{
    struct text text = {0};
    int status = schedule_print(s, 0, &text);
    text_free(&text);
    return status;
}

static int job_draw(struct schedule *s, bptt_error *error)
{
    struct text text = {0};
    int status = schedule_draw(s, 80, &text);
    text_free(&text);
    return status;
}

static int job_svg(struct schedule *s, bptt_error *error)
{
    struct text text = {0};
    int status = schedule_svg(s, &text);
    text_free(&text);
    return status;
}

static void out_of_memory(void)
{
    struct schedule s;
    tap_ok(ran_out(job_new, &s), "a list of starts that cannot be had is an error");
    schedule_start(&s, 100, random_open(5, RANDOM_TRUNCATION, 0), 0);
    tap_ok(ran_out(schedule_verify, &s), "so is the verifier's memory");
    tap_ok(ran_out(job_print, &s) && ran_out(job_draw, &s) && ran_out(job_svg, &s), "and that of texts and pictures");
    schedule_free(&s);
}

int main(void)
{
    good_strategies();
    bad_strategies();
    lengths_of_windows();
    every_list();
    adaptive_lists();
    layouts_that_cannot_be();
    planted_faults("full", 41, 700);
    planted_faults("full", 41, 5000);
    planted_faults("segments:10", 41, 500);
    planted_faults("truncated:10,20", 45, SIZE_MAX);
    planted_faults("truncated:10,25", 45, SIZE_MAX);
    faults_are_named();
    splitting_is_optimal();
    fitting_is_optimal();
    closed_form();
    budgets();
    spilling();
    long_windows();
    links();
    links_are_probabilities();
    links_given();
    links_again();
    prints();
    pictures();
    pictures_of_all();
    out_of_memory();
    return tap_done();
}
