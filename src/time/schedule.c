/* schedule.c - the list of actions, made while it is read. The window is a row of chunks, each run forward and then reversed:
 *
 *     whole         record it all, reverse it
 *     split         more than fits on tape: states are kept at borders that binomial.h chooses, and the stretch after the latest
 *                   of them is recorded and reversed, until the chunk's own first state is the latest
 *     ring          reversed further back than it is long: step t is on row t mod `ring` of the tape, and stays there until
 *                   nothing reaches it
 *
 * Borders inside a chunk are multiples of axis.block of the window, so that a gradient has the same bits however it is split. */
#include "schedule.h"

#include <stdlib.h>

#include "binomial.h"

enum stage { STAGE_LINKS, STAGE_BEGIN, STAGE_SPLIT, STAGE_RING, STAGE_END };

static void queue(struct schedule *s, struct action action)
{
    s->queue[s->queued++] = action;
}

static long smaller(long a, long b)
{
    return a < b ? a : b;
}

static long larger(long a, long b)
{
    return a > b ? a : b;
}

static long all_slots(const struct schedule *s)
{
    return s->layout.slots + s->layout.spilled;
}

/* ---- what every chunk ends with ---- */

static void queue_cut(struct schedule *s)
{
    if (s->chunk_to < s->steps)
        queue(s, (struct action){ACTION_CUT, .from = s->chunk_to, .to = s->chunk_to, .scale = 0});
}

static void queue_reverse(struct schedule *s, long from, long to, long place)
{
    long losses = smaller(larger(s->chunk_from, from), to);
    queue(s, (struct action){ACTION_REVERSE, .from = from, .to = to, .place = place, .losses = losses});
}

static void end_chunk(struct schedule *s)
{
    int is_last = s->chunk_to == s->steps;
    if (s->updates)
        queue(s, (struct action){ACTION_UPDATE, .losses = s->chunk_to - s->chunk_from});
    s->chunk_from = s->chunk_to;
    s->chunk_to = smaller(s->chunk_from + s->chunk, s->steps);
    s->stage = is_last ? STAGE_END : s->ring ? STAGE_RING : STAGE_BEGIN;
}

/* ---- ring ---- */

static void record_in_ring(struct schedule *s)
{
    for (long from = s->chunk_from, to; from < s->chunk_to; from = to) {
        to = smaller(s->chunk_to, (from / s->ring + 1) * s->ring);
        queue(s, (struct action){ACTION_RECORD, .from = from, .to = to, .place = from % s->ring});
    }
}

static void next_in_ring(struct schedule *s)
{
    long back = larger(0, s->chunk_to - s->reach);
    record_in_ring(s);
    queue_cut(s);
    for (long to = s->chunk_to, from; to > back; to = from) {
        from = larger(back, (to - 1) / s->ring * s->ring);
        queue_reverse(s, from, to, from % s->ring);
    }
    end_chunk(s);
}

/* ---- whole and split ---- */

static int has_carry(const struct schedule *s)
{
    return s->chunk_to < s->steps && s->chunk_to - s->chunk_from > s->layout.rows;
}

static long slot_of(const struct schedule *s, long start)
{
    return start == 0 ? s->first_slot : start;
}

/* Where all the states that could be needed are kept, they stand at equal distances, and need no list. */
static long start_at(const struct schedule *s, long start)
{
    if (s->start)
        return s->start[start];
    long block = s->axis.block;
    return start == 0 ? s->chunk_from : (s->chunk_from / block + start * (s->layout.rows / block)) * block;
}

static void keep(struct schedule *s, long position)
{
    if (s->start)
        s->start[s->starts] = position;
    queue(s, (struct action){ACTION_KEEP, .from = position, .to = position, .place = slot_of(s, s->starts++)});
}

static void restore(struct schedule *s)
{
    long position = start_at(s, s->starts - 1);
    queue(s, (struct action){ACTION_RESTORE, .from = position, .to = position, .place = slot_of(s, s->starts - 1)});
}

static void begin(struct schedule *s)
{
    s->position = s->chunk_to;
    s->starts = 0;
    s->stage = STAGE_SPLIT;
    if (s->carried) {
        s->starts = 1;
        if (s->start)
            s->start[0] = s->chunk_from;
        restore(s);
    } else if (s->chunk_to - s->chunk_from > s->layout.rows) {
        keep(s, s->chunk_from);
    }
}

/* Where the right part of from..position begins: at `from` if that fits on tape. */
static long border(const struct schedule *s, long from)
{
    long block = s->axis.block, first = from / block, units = (s->position - 1) / block + 1 - first;
    if (s->position - from <= s->layout.rows)
        return from;
    long free_slots = all_slots(s) - (s->chunk < s->steps ? 1 : 0) - (s->starts - 1);
    return (first + binomial_split(units, s->layout.rows / block, free_slots)) * block;
}

/* The state at the chunk's end is at hand once: when the chunk's last stretch was recorded. */
static void carry(struct schedule *s)
{
    s->carried = has_carry(s);
    if (s->carried)
        queue(s, (struct action){ACTION_KEEP, .from = s->chunk_to, .to = s->chunk_to, .place = s->carry_slot});
}

static void swap_carry(struct schedule *s)
{
    long slot = s->first_slot;
    if (!s->carried)
        return;
    s->first_slot = s->carry_slot;
    s->carry_slot = slot;
}

static void record_and_reverse(struct schedule *s, long from)
{
    queue(s, (struct action){ACTION_RECORD, .from = from, .to = s->position});
    if (s->position == s->chunk_to) {
        carry(s);
        queue_cut(s);
    }
    queue_reverse(s, from, s->position, 0);
    s->position = from;
}

/* The state at the latest start is at hand. */
static void next_split(struct schedule *s)
{
    long from = s->starts ? start_at(s, s->starts - 1) : s->chunk_from, right = border(s, from);
    if (right > from)
        queue(s, (struct action){ACTION_ADVANCE, .from = from, .to = right});
    if (s->position - right > s->layout.rows) {
        keep(s, right);
        return;
    }
    record_and_reverse(s, right);
    if (right == from && s->starts)
        s->starts--;
    if (s->position > s->chunk_from) {
        restore(s);
        return;
    }
    swap_carry(s);
    end_chunk(s);
}

/* ---- random links ---- */

static double draw(struct schedule *s, long t)
{
    if (s->xi)
        return s->xi[t];
    double p = link_probability(&s->strategy.links, t, s->steps, t - s->last_cut);
    int is_kept = random_uniform(&s->stream, (s->index << 32) + (uint64_t)t) < p;
    s->last_cut = is_kept ? s->last_cut : t;
    return is_kept ? 1 / p : 0;
}

static void next_link(struct schedule *s)
{
    while (s->link < s->steps) {
        long t = s->link++;
        double xi = draw(s, t);
        if (xi != 1) {
            queue(s, (struct action){ACTION_CUT, .from = t, .to = t, .scale = xi});
            return;
        }
    }
    s->stage = STAGE_BEGIN;
}

/* ---- the list ---- */

static int check_layout(const struct schedule *s, bptt_error *error)
{
    const struct axis *axis = &s->axis;
    const struct layout *layout = &s->layout;
    long chunk = strategy_chunk(&s->strategy, axis->steps), reach = strategy_reach(&s->strategy, axis->steps);
    long rows = reach > chunk ? layout_ring(axis, reach) : smaller(chunk, axis->block);
    rows = s->strategy.kind == STRATEGY_ADAPTIVE ? axis->steps : rows;
    long slots = reach > chunk || chunk <= layout->rows ? 0 : chunk < axis->steps ? 2 : 1;
    if (axis->steps < 0 || axis->block < 1 || layout->rows < rows || layout->slots + layout->spilled < slots)
        return fail(error, BPTT_ERROR_ARGUMENT, "%ld steps cannot be run with %ld on tape and %ld kept states; %ld and %ld "
                    "are needed", axis->steps, layout->rows, layout->slots + layout->spilled, rows, slots);
    return BPTT_OK;
}

int schedule_new(struct schedule *schedule, const struct strategy *strategy, const struct axis *axis,
                 const struct layout *layout, bptt_error *error)
{
    *schedule = (struct schedule){.strategy = *strategy, .axis = *axis, .layout = *layout, .stage = STAGE_END};
    int status = check_layout(schedule, error);
    long slots = all_slots(schedule), chunk = strategy_chunk(strategy, axis->steps);
    if (status || !slots || slots >= layout_all_slots(axis, chunk, layout->rows))
        return status;
    schedule->start = malloc((size_t)slots * sizeof *schedule->start);
    return schedule->start ? BPTT_OK : fail_memory(error, (size_t)slots * sizeof *schedule->start);
}

void schedule_free(struct schedule *schedule)
{
    free(schedule->start);
    schedule->start = NULL;
}

void schedule_start(struct schedule *s, long steps, struct random_stream stream, uint64_t index)
{
    s->steps = steps;
    s->stream = stream;
    s->index = index;
    s->link = 1;
    s->last_cut = 0;
    s->chunk = strategy_chunk(&s->strategy, steps);
    s->reach = strategy_reach(&s->strategy, steps);
    s->ring = s->reach > s->chunk ? layout_ring(&s->axis, s->reach) : 0;
    s->chunk_from = 0;
    s->chunk_to = s->chunk;
    s->first_slot = 0;
    s->carry_slot = all_slots(s) - 1;
    s->starts = s->carried = s->queued = s->taken = 0;
    s->stage = steps == 0 ? STAGE_END : s->strategy.kind == STRATEGY_RANDOM ? STAGE_LINKS : s->ring ? STAGE_RING : STAGE_BEGIN;
}

void schedule_restart(struct schedule *s)
{
    schedule_start(s, s->steps, s->stream, s->index);
}

static void make_more(struct schedule *s)
{
    s->queued = s->taken = 0;
    switch (s->stage) {
    case STAGE_LINKS: next_link(s); break;
    case STAGE_BEGIN: begin(s); break;
    case STAGE_SPLIT: next_split(s); break;
    case STAGE_RING: next_in_ring(s); break;
    default: break;
    }
}

int schedule_next(struct schedule *s, struct action *action)
{
    while (s->taken == s->queued && s->stage != STAGE_END)
        make_more(s);
    if (s->taken == s->queued)
        return 0;
    *action = s->queue[s->taken++];
    return 1;
}
