/* fit.c - the layout of the time axis's memory: so many steps on tape that, with the kept states that the rest has room for,
 * the fewest steps are advanced over. binomial.h knows the cost of each pair; no list of steps is ever made. */
#include "schedule.h"

#include "../base/arena.h"
#include "binomial.h"

/* What is laid out: `chunk` steps, in `units` blocks, with a state to carry over if more of them follow. */
struct fit { const struct axis *axis; size_t budget; int spill; long chunk, units, carry; };

static long round_up(long value, long to)
{
    return ((value - 1) / to + 1) * to;
}

/* A chunk that begins and ends inside blocks has a part of one more. */
static long units_of(const struct axis *axis, long chunk)
{
    int is_aligned = chunk == axis->steps || chunk % axis->block == 0;
    return is_aligned ? (chunk - 1) / axis->block + 1 : (chunk - 2 + axis->block) / axis->block + 1;
}

/* More than `reach`, as the row after a stretch takes the state at its end; a wrap at a border of blocks splits none. */
long layout_ring(const struct axis *axis, long reach)
{
    long rows = reach + 1 > axis->block ? round_up(reach + 1, axis->block) : reach + 1;
    return rows < axis->steps ? rows : axis->steps;
}

long layout_all_slots(const struct axis *axis, long chunk, long rows)
{
    if (chunk <= rows)
        return 0;
    long leaf = rows / axis->block;
    return (units_of(axis, chunk) - 1) / leaf + (chunk < axis->steps ? 1 : 0);
}

static size_t add(size_t a, size_t b)
{
    return a > SIZE_MAX - b ? SIZE_MAX : a + b;
}

static struct layout lay_out(const struct axis *axis, long chunk, long rows, long slots, long spilled)
{
    long listed = slots + spilled < layout_all_slots(axis, chunk, rows) ? slots + spilled : 0;
    size_t bytes = size_mul((size_t)rows + 1, axis->record_bytes);
    bytes = add(bytes, size_mul((size_t)slots, axis->state_bytes));
    bytes = add(bytes, size_mul((size_t)listed, sizeof(long)));
    return (struct layout){rows, slots, spilled, bytes, size_mul((size_t)spilled, axis->state_bytes)};
}

static size_t room_for(size_t bytes, size_t each, long most)
{
    return each && bytes / each < (size_t)most ? bytes / each : (size_t)most;
}

/* With `rows` on tape, all the states that there is room for and use of; 0: too few. */
static int fill(const struct fit *fit, long rows, struct layout *layout)
{
    const struct axis *axis = fit->axis;
    size_t tape = size_mul((size_t)rows + 1, axis->record_bytes);
    long all = layout_all_slots(axis, fit->chunk, rows);
    if (tape > fit->budget)
        return 0;
    long slots = (long)room_for(fit->budget - tape, axis->state_bytes, all);
    if (slots < all && !fit->spill)
        slots = (long)room_for(fit->budget - tape, axis->state_bytes + sizeof(long), all - 1);
    *layout = lay_out(axis, fit->chunk, rows, slots, fit->spill ? all - slots : 0);
    return layout->slots + layout->spilled > fit->carry;
}

/* Over many units one percent more steps is given for fewer bytes: a tape that stays in cache is faster than a model of steps
 * knows. Over few it would be more than a step. */
static double slack(const struct fit *fit)
{
    return fit->units > 4096 ? 0.01 * (double)fit->units : 0;
}

static double cost_of(const struct fit *fit, const struct layout *layout)
{
    return binomial_cost(fit->units, layout->rows / fit->axis->block, layout->slots + layout->spilled - fit->carry);
}

/* The fewest steps advanced over, and with the same number the fewest bytes. The longest tape first: no tape of l units
 * advances over less than units - l, so once that is more than the best, it is the best; it comes soon, as few states are
 * needed where they are few steps on tape apart. Negative: nothing fits. */
static double fewest_steps(const struct fit *fit, long longest, struct layout *best)
{
    double least = -1;
    for (long leaf = longest; leaf >= 1 && (least < 0 || (double)(fit->units - leaf) <= least); leaf--) {
        struct layout layout;
        if (!fill(fit, leaf * fit->axis->block, &layout))
            continue;
        double cost = cost_of(fit, &layout);
        if (least < 0 || cost < least || (!(cost > least) && layout.bytes < best->bytes)) {
            least = cost;
            *best = layout;
        }
    }
    return least;
}

static int choose(const struct fit *fit, struct layout *best)
{
    long block = fit->axis->block;
    long longest = (long)room_for(fit->budget, size_mul(fit->axis->record_bytes, (size_t)block), (fit->chunk - 1) / block);
    double least = fewest_steps(fit, longest, best), limit = least + slack(fit);
    for (long leaf = longest; least >= 0 && limit > least && leaf >= 1 && (double)(fit->units - leaf) <= limit; leaf--) {
        struct layout layout;
        if (fill(fit, leaf * block, &layout) && layout.bytes < best->bytes && cost_of(fit, &layout) <= limit)
            *best = layout;
    }
    return least >= 0;
}

static size_t smallest_bytes(const struct fit *fit)
{
    const struct axis *axis = fit->axis;
    size_t whole = lay_out(axis, fit->chunk, fit->chunk, 0, 0).bytes;
    if (fit->chunk <= axis->block)
        return whole;
    long slots = fit->carry + 1, all = layout_all_slots(axis, fit->chunk, axis->block);
    struct layout split = fit->spill ? lay_out(axis, fit->chunk, axis->block, 0, all)
                                     : lay_out(axis, fit->chunk, axis->block, slots, 0);
    return split.bytes < whole ? split.bytes : whole;
}

static int fit_chunk(const struct fit *fit, struct layout *layout, size_t *smallest)
{
    *smallest = smallest_bytes(fit);
    *layout = lay_out(fit->axis, fit->chunk, fit->chunk, 0, 0);
    if (layout->bytes <= fit->budget || choose(fit, layout))
        return BPTT_OK;
    return BPTT_ERROR_ARGUMENT;
}

/* adaptive may come to reach over the whole window. */
static long fixed_rows(const struct strategy *strategy, const struct axis *axis)
{
    long chunk = strategy_chunk(strategy, axis->steps), reach = strategy_reach(strategy, axis->steps);
    if (strategy->kind == STRATEGY_ADAPTIVE || axis->steps == 0)
        return axis->steps;
    return reach > chunk ? layout_ring(axis, reach) : -1;
}

int schedule_fit(const struct strategy *strategy, const struct axis *axis, size_t budget, int spill, struct layout *layout,
                 size_t *smallest)
{
    long rows = fixed_rows(strategy, axis), chunk = strategy_chunk(strategy, axis->steps);
    struct fit fit = {axis, budget, spill, chunk, rows < 0 ? units_of(axis, chunk) : 0, chunk < axis->steps ? 1 : 0};
    size_t least;
    int status;
    if (rows < 0) {
        status = fit_chunk(&fit, layout, &least);
    } else {
        *layout = lay_out(axis, chunk, rows, 0, 0);
        least = layout->bytes;
        status = least <= budget ? BPTT_OK : BPTT_ERROR_ARGUMENT;
    }
    if (smallest)
        *smallest = least;
    return status;
}
