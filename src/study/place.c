/* place.c - a layered drawing of one step: levels by longest paths, order within a level by barycentres (Sugiyama et al. 1981),
 * the order with the fewest crossings kept and improved by single moves; then places as near to those of neighbours as
 * widths allow, by isotonic regression. The rest of the picture is rows above and below. */
#include "place.h"

#include <string.h>

enum { SWEEPS = 24, WRONG_WAY = 5, MOVE = 4, MOST_ITEMS = 3000, MOST_MOVED = 1000, ROUNDS = 60, SPACE = 8, BEND_HALF = 7, RAIL = 34, FAN = 24 };

static const double TAP_WEIGHT = 0.001;    /* a rail's tap makes way for whatever is not one */

/* ---- items and lines ---- */

static const bptt_graph_node *node_at(const struct placing *p, long node)
{
    return &p->graph->node[node];
}

static size_t length_of(const char *name)
{
    size_t length = 0;
    for (; *name; name++)
        length += (*name & 0xC0) != 0x80;
    return length;
}

double box_width(const bptt_graph_node *node)
{
    size_t length = length_of(node->name) + (node->step || node->role == BPTT_ROLE_INITIAL ? 1 : 0);
    double width = 8.0 * (double)length + 16;
    return width < LEAST_BOX ? LEAST_BOX : width;
}

static double half_of(const struct placing *p, long node)
{
    const bptt_graph_node *n = node_at(p, node);
    if (n->kind != BPTT_OPERATOR)
        return box_width(n) / 2;
    return OPERATOR_RADIUS + 4 + 4.0 * (double)length_of(n->about);
}

static int add_item(struct placing *p, struct item item)
{
    if (p->items == MOST_ITEMS) {
        p->is_too_large = 1;
        return 0;
    }
    struct item *grown = arena_grow(p->arena, p->item, p->items, &p->item_capacity, sizeof item);
    p->failed |= !grown;
    if (!grown)
        return 0;
    p->item = grown;
    p->item[p->items] = item;
    p->levels = item.level >= p->levels ? item.level + 1 : p->levels;
    return p->items++;
}

static void add_line(struct placing *p, int from, int to)
{
    for (int i = 0; i < p->lines; i++)
        if (p->line[i].from == from && p->line[i].to == to)
            return;
    struct line *grown = arena_grow(p->arena, p->line, p->lines, &p->line_capacity, sizeof *grown);
    p->failed |= !grown;
    if (!grown)
        return;
    p->line = grown;
    p->line[p->lines++] = (struct line){.from = from, .to = to};
}

/* The item in `level` that a line from a node passes; bends are shared by all lines from there. */
static int item_of(struct placing *p, long node, int level, int is_bend)
{
    for (int i = 0; i < p->items; i++)
        if (p->item[i].node == node && p->item[i].level == level)
            return i;
    return add_item(
        p, (struct item){.level = level, .node = node, .is_bend = is_bend, .half = is_bend ? BEND_HALF : half_of(p, node)});
}

static int is_in_block(const struct placing *p, long node)
{
    int role = node_at(p, node)->role;
    return node >= p->first_node && node < p->first_node + p->step_nodes &&
           (role == BPTT_ROLE_OPERATION || role == BPTT_ROLE_INPUT);
}

static int enters_block(const struct placing *p, const bptt_graph_edge *edge)
{
    return is_in_block(p, (long)edge->to) && node_at(p, (long)edge->to)->role == BPTT_ROLE_OPERATION;
}

/* Levels of operators, which stand in the order of their computation, as do the edges into them. */
static void find_levels(struct placing *p, int *level)
{
    for (size_t i = 0; i < p->graph->edges; i++) {
        const bptt_graph_edge *edge = &p->graph->edge[i];
        if (!enters_block(p, edge))
            continue;
        int from = is_in_block(p, (long)edge->from) ? level[edge->from] : 0;
        level[edge->to] = level[edge->to] > from ? level[edge->to] : from + 1;
    }
}

/* A state's line begins below the first operator that it enters. */
static void find_feet(struct placing *p, int *level)
{
    for (long n = 0; n < p->first_node; n++)
        level[n] = -1;
    for (size_t i = 0; i < p->graph->edges; i++) {
        const bptt_graph_edge *edge = &p->graph->edge[i];
        if (!enters_block(p, edge) || is_in_block(p, (long)edge->from))
            continue;
        int below = node_at(p, (long)edge->from)->role == BPTT_ROLE_INITIAL ? level[edge->to] - 1 : 0;
        if (level[edge->from] < 0 || below < level[edge->from])
            level[edge->from] = below;
    }
}

static void add_items(struct placing *p, const int *level)
{
    for (long n = 0; n < p->first_node + p->step_nodes; n++) {
        if (is_in_block(p, n))
            item_of(p, n, level[n], 0);
        else if (n < p->first_node && level[n] >= 0)
            add_item(p, (struct item){.level = level[n], .foot = 1, .node = n, .half = BEND_HALF});
    }
    for (size_t i = 0; i < p->graph->edges; i++) {
        const bptt_graph_edge *edge = &p->graph->edge[i];
        if (!enters_block(p, edge))
            continue;
        int from = item_of(p, (long)edge->from, level[edge->from], 0);
        for (int l = level[edge->from] + 1; l < level[edge->to]; l++) {
            int bend = item_of(p, (long)edge->from, l, 1);
            add_line(p, from, bend);
            from = bend;
        }
        add_line(p, from, item_of(p, (long)edge->to, level[edge->to], 0));
    }
}

static int is_state_foot(const struct placing *p, const struct item *item)
{
    return item->foot && node_at(p, item->node)->role == BPTT_ROLE_INITIAL;
}

/* ---- order within levels ---- */

static void fill_order(struct placing *p)
{
    int count = 0;
    for (int l = 0; l < p->levels; l++) {
        p->first[l] = count;
        for (int pass = 0; pass < 2; pass++)               /* feet of states are leftmost, and stay there */
            for (int i = 0; i < p->items; i++)
                if (p->item[i].level == l && is_state_foot(p, &p->item[i]) == !pass)
                    p->order[count++] = i;
    }
    p->first[p->levels] = count;
}

static void number_items(struct placing *p)
{
    for (int l = 0; l < p->levels; l++)
        for (int k = p->first[l]; k < p->first[l + 1]; k++)
            p->item[p->order[k]].x = k - p->first[l] - (p->first[l + 1] - p->first[l]) / 2.0;
}

/* A difference or quotient reads from left to right: its first operand should come from the left of the second. */
static int is_reversed(const struct placing *p, const struct line *first, const struct line *second)
{
    const struct item *to = &p->item[first->to];
    if (first->to != second->to || to->is_bend || p->item[first->from].x <= p->item[second->from].x)
        return 0;
    return !strcmp(node_at(p, to->node)->name, "−") || !strcmp(node_at(p, to->node)->name, "÷");
}

/* What is bad in an order: lines that cross, and operands the wrong way round, which is worse. */
static int crossings(const struct placing *p)
{
    int count = 0;
    for (int a = 0; a < p->lines; a++)
        for (int b = 0; b < a; b++) {
            const struct item *af = &p->item[p->line[a].from], *at = &p->item[p->line[a].to];
            const struct item *bf = &p->item[p->line[b].from], *bt = &p->item[p->line[b].to];
            count += af->level == bf->level && (af->x - bf->x) * (at->x - bt->x) < 0;
            count += WRONG_WAY * is_reversed(p, &p->line[b], &p->line[a]);
        }
    return count;
}

/* To another place of its level, those between moving up. */
static void move_item(struct placing *p, int from, int to)
{
    int moved = p->order[from], way = from < to ? 1 : -1;
    for (int k = from; k != to; k += way)
        p->order[k] = p->order[k + way];
    p->order[to] = moved;
    number_items(p);
}

static int may_move(const struct placing *p, int from, int to)
{
    if (from == to || to < 0 || to >= p->items)
        return 0;
    const struct item *moved = &p->item[p->order[from]], *there = &p->item[p->order[to]];
    return moved->level == there->level && !is_state_foot(p, moved) && !is_state_foot(p, there);
}

/* Items move a few places within their levels wherever that helps. */
static void move_items(struct placing *p)
{
    int fewest = crossings(p), before = fewest + 1;
    while (fewest < before && p->lines <= MOST_MOVED) {
        before = fewest;
        for (int k = 0; k < p->items; k++)
            for (int to = k - MOVE; to <= k + MOVE; to++) {
                if (!may_move(p, k, to))
                    continue;
                move_item(p, k, to);
                int now = crossings(p);
                if (now >= fewest)
                    move_item(p, to, k);
                fewest = now < fewest ? now : fewest;
            }
    }
}

/* The mean place of an item's neighbours below (side 1), above (side 2) or both (3). Feet of states are
 * outside of the block. */
static double mean_place(const struct placing *p, int item, int side, int with_feet)
{
    double sum = 0, weight = 0;
    for (int i = 0; i < p->lines; i++) {
        const struct line *line = &p->line[i];
        int other = line->to == item && (side & 1) ? line->from : line->from == item && (side & 2) ? line->to : -1;
        if (other < 0 || (!with_feet && is_state_foot(p, &p->item[other])))
            continue;
        double share = p->item[other].foot && !with_feet ? TAP_WEIGHT : 1;
        sum += share * p->item[other].x;
        weight += share;
    }
    return weight > 0 ? sum / weight : p->item[item].x;
}

static void sort_level(struct placing *p, int level, int side, double *key)
{
    int first = p->first[level], end = p->first[level + 1];
    for (int k = first; k < end; k++)
        key[p->order[k]] = is_state_foot(p, &p->item[p->order[k]]) ? -1e9 : mean_place(p, p->order[k], side, 1);
    for (int k = first + 1; k < end; k++) {
        int moved = p->order[k], to = k;
        for (; to > first && key[p->order[to - 1]] > key[moved]; to--)
            p->order[to] = p->order[to - 1];
        p->order[to] = moved;
    }
}

static void order_items(struct placing *p, double *key, int *best)
{
    size_t bytes = (size_t)p->items * sizeof *best;
    fill_order(p);
    number_items(p);
    int fewest = crossings(p);
    memcpy(best, p->order, bytes);
    for (int sweep = 0; sweep < SWEEPS && fewest; sweep++) {
        for (int k = 0; k < p->levels; k++) {
            int up = sweep % 2 == 1;
            sort_level(p, up ? k : p->levels - 1 - k, up ? 1 : 2, key);
            number_items(p);
        }
        if (crossings(p) >= fewest)
            continue;
        fewest = crossings(p);
        memcpy(best, p->order, bytes);
    }
    memcpy(p->order, best, bytes);
    number_items(p);
    move_items(p);
}

/* ---- places within levels ---- */

struct pool { double sum, weight; int count; };

static double pool_mean(const struct pool *pool)
{
    return pool->sum / pool->weight;
}

/* As near as can be to the wished places, in squares, in this order and with the distances that widths ask for: without those,
 * neighbours that would change places are pooled at their mean. */
static void place_level(struct placing *p, int level, double *wish, struct pool *pool)
{
    int pools = 0;
    double offset = 0;
    int first = p->first[level], end = p->first[level + 1];
    while (first < end && is_state_foot(p, &p->item[p->order[first]]))
        first++;
    for (int k = first; k < end; k++) {
        const struct item *item = &p->item[p->order[k]];
        offset += k > first ? p->item[p->order[k - 1]].half + SPACE + item->half : 0;
        double weight = item->foot ? TAP_WEIGHT : 1;
        pool[pools++] = (struct pool){weight * (wish[p->order[k]] - offset), weight, 1};
        while (pools > 1 && pool_mean(&pool[pools - 2]) > pool_mean(&pool[pools - 1])) {
            pool[pools - 2].sum += pool[pools - 1].sum;
            pool[pools - 2].weight += pool[pools - 1].weight;
            pool[pools - 2].count += pool[pools - 1].count;
            pools--;
        }
    }
    offset = 0;
    for (int i = 0, k = first; i < pools; i++)
        for (int j = 0; j < pool[i].count; j++, k++) {
            struct item *item = &p->item[p->order[k]];
            offset += k > first ? p->item[p->order[k - 1]].half + SPACE + item->half : 0;
            item->x = pool_mean(&pool[i]) + offset;
        }
}

static void place_items(struct placing *p, double *wish, struct pool *pool)
{
    double left = 1e9, right = -1e9;
    for (int round = 0; round < ROUNDS; round++)
        for (int k = 0; k < p->levels; k++) {
            int level = round % 2 ? k : p->levels - 1 - k;
            for (int i = p->first[level]; i < p->first[level + 1]; i++)
                wish[p->order[i]] = mean_place(p, p->order[i], round < ROUNDS / 2 ? (round % 2 ? 1 : 2) : 3, 0);
            place_level(p, level, wish, pool);
        }
    for (int i = 0; i < p->items; i++) {
        const struct item *item = &p->item[i];
        if (is_state_foot(p, item))
            continue;
        left = item->x - item->half < left ? item->x - item->half : left;
        right = item->x + item->half > right ? item->x + item->half : right;
    }
    for (int i = 0; i < p->items; i++)
        p->item[i].x -= left;
    p->block = right - left;
}

/* ---- where lines end ---- */

static double start_x(const struct placing *p, const struct line *line)
{
    const struct item *from = &p->item[line->from];
    return is_state_foot(p, from) ? -1e6 + from->node : from->x;
}

/* Lines that end where this one does: those left of it, and all. */
static int count_ends(const struct placing *p, int line, int *all)
{
    int before = 0;
    *all = 0;
    for (int k = 0; k < p->lines; k++) {
        const struct line *other = &p->line[k];
        if (other->to != p->line[line].to || other->aside)
            continue;
        double way = start_x(p, other) - start_x(p, &p->line[line]);
        before += way < 0 || (way == 0 && k < line);
        ++*all;
    }
    return before;
}

/* The place among them that ends straight below: that of a line which comes from there, or the middle. */
static double middle_end(const struct placing *p, int to, int all)
{
    int ignored;
    for (int k = 0; k < p->lines; k++) {
        double way = start_x(p, &p->line[k]) - p->item[to].x;
        if (p->line[k].to == to && !p->line[k].aside && way > -BEND_HALF && way < BEND_HALF)
            return count_ends(p, k, &ignored);
    }
    return (all - 1) / 2.0;
}

/* Ends at one operator share its lower half, from left to right as they come. */
static void spread_ends(struct placing *p)
{
    for (int i = 0; i < p->lines; i++) {
        int all, before = count_ends(p, i, &all), to = p->line[i].to;
        double middle = middle_end(p, to, all), most = middle > all - 1 - middle ? middle : all - 1 - middle;
        double apart = most > 2 ? 66 / most : 32;
        p->line[i].turn = p->item[to].is_bend ? 0 : apart * (before - middle);
    }
}

/* A state's line may go straight to the left of the first operator of a level, if it is the only one that does; all of
 * them go to the operator that is the whole cell. */
static void find_sides(struct placing *p)
{
    for (int i = 0; i < p->lines; i++) {
        struct line *line = &p->line[i];
        const struct item *from = &p->item[line->from], *to = &p->item[line->to];
        int first = p->first[to->level], taken = to->is_bend || !is_state_foot(p, from);
        while (is_state_foot(p, &p->item[p->order[first]]))
            first++;
        for (int k = 0; k < i && p->graph->detail; k++)
            taken |= p->line[k].to == line->to && p->line[k].aside;
        line->aside = !taken && p->order[first] == line->to;
    }
}

/* ---- rows ---- */

double block_left(const struct placing *p, int64_t step)
{
    return p->left + (double)(step - 1) * p->pitch;
}

double level_y(const struct placing *p, int level)
{
    return p->foot - ROW * (double)level - (level && p->graph->detail ? FAN : 0);
}

long state_before(const struct placing *p, long initial, int64_t step)
{
    long state = initial - (p->first_node - p->states), seen = 0;
    for (long n = p->first_node; step > 1 && n < p->first_node + p->step_nodes; n++)
        if (node_at(p, n)->role == BPTT_ROLE_STATE && seen++ == state)
            return n + (long)(step - 2) * p->step_nodes;
    return initial;
}

/* Above the block: rows of the output layer and the loss, from the top of what is below them. */
enum { HEAD_RAIL = 30, HEAD_UP = 66, ROW_UP = 58, TOTAL_UP = 74, TITLE = 52, TARGET_LEFT = 58, BOX_SPACE = 20, ARROW = 34 };

/* Variables that stand in the gap behind a block: next states, and an output that is none. */
struct behind { long node; int maker; double x, y; };

static int maker_of(const struct placing *p, long node)
{
    for (size_t i = 0; i < p->graph->edges; i++)
        for (int k = 0; p->graph->edge[i].to == (size_t)node && k < p->items; k++)
            if (p->item[k].node == (long)p->graph->edge[i].from && !p->item[k].is_bend)
                return k;
    return 0;
}

static int list_behind(const struct placing *p, struct behind *behind)
{
    int count = 0;
    for (long n = p->first_node; n < p->first_node + p->step_nodes; n++) {
        if (node_at(p, n)->role != BPTT_ROLE_STATE && node_at(p, n)->role != BPTT_ROLE_OUTPUT)
            continue;
        struct behind new = {.node = n, .maker = maker_of(p, n)};
        int at = count++;
        for (; at > 0 && p->item[behind[at - 1].maker].level > p->item[new.maker].level; at--)
            behind[at] = behind[at - 1];
        behind[at] = new;
    }
    return count;
}

static int is_last(const struct placing *p, int item)
{
    int level = p->item[item].level;
    for (int k = p->first[level]; k < p->first[level + 1]; k++)
        if (!p->item[p->order[k]].is_bend && !p->item[p->order[k]].foot && p->item[p->order[k]].x > p->item[item].x)
            return 0;
    return 1;
}

/* The node whose value the output layer takes. */
static int is_output(const struct placing *p, long node)
{
    for (size_t i = 0; i < p->graph->edges; i++)
        if (p->graph->edge[i].from == (size_t)node && node_at(p, (long)p->graph->edge[i].to)->role == BPTT_ROLE_HEAD)
            return 1;
    return 0;
}

/* One column each, the highest last, so that few lines cross; the way there is free, or goes above its level. */
static double place_in_columns(const struct placing *p, struct behind *behind, int count)
{
    double x = ARROW;
    for (int i = 0; i < count; i++) {
        struct behind *b = &behind[i];
        double half = box_width(node_at(p, b->node)) / 2;
        b->x = x + half;
        b->y = level_y(p, p->item[b->maker].level) - (is_last(p, b->maker) ? 0 : ROW / 2.0);
        for (int k = 0; k < i; k++)
            if (behind[k].y - b->y < BOX_HEIGHT && b->y - behind[k].y < BOX_HEIGHT)
                b->y = behind[k].y - ROW / 2.0;
        x += 2 * half + BOX_SPACE;
    }
    return x - BOX_SPACE + ARROW;
}

/* One above the other beside the only operator, the output on top. */
static double place_in_stack(const struct placing *p, struct behind *behind, int count)
{
    double widest = 0, y = level_y(p, 1) + (count - 1) * (BOX_HEIGHT + 14) / 2.0;
    for (int i = 0; i < count; i++)
        if (is_output(p, behind[i].node)) {
            struct behind output = behind[i];
            behind[i] = behind[count - 1];
            behind[count - 1] = output;
        }
    for (int i = 0; i < count; i++)
        widest = box_width(node_at(p, behind[i].node)) > widest ? box_width(node_at(p, behind[i].node)) : widest;
    for (int i = 0; i < count; i++) {
        behind[i].x = ARROW + widest / 2;
        behind[i].y = y;
        y -= BOX_HEIGHT + 14;
    }
    return widest + 2 * ARROW;
}

static void set_spot(struct placing *p, long node, double x, double y)
{
    p->spot[node] = (struct spot){x, y, box_width(node_at(p, node))};
}

/* Returns the top of all that stands beside the blocks, and the output's place behind its block. */
static double set_behind(struct placing *p, const struct behind *behind, int count, double *out)
{
    double top = level_y(p, p->levels - 1) - OPERATOR_RADIUS;
    for (int i = 0; i < count; i++) {
        top = behind[i].y - BOX_HEIGHT / 2.0 < top ? behind[i].y - BOX_HEIGHT / 2.0 : top;
        *out = is_output(p, behind[i].node) ? behind[i].x : *out;
        for (int64_t t = 1; t <= p->graph->steps; t++)
            set_spot(p, behind[i].node + (long)(t - 1) * p->step_nodes, block_left(p, t) + p->block + behind[i].x, behind[i].y);
    }
    for (long n = p->first_node - p->states; n < p->first_node; n++) {
        const struct spot *like = &p->spot[state_before(p, n, 2)];
        set_spot(p, n, like->x - p->pitch, like->y);
    }
    return top;
}

/* Rows above the output layer, for what stands above the output; or -1. */
static int row_above(int role)
{
    switch (role) {
    case BPTT_ROLE_HEAD: return 0;
    case BPTT_ROLE_PREDICTION: return 1;
    case BPTT_ROLE_TARGET:
    case BPTT_ROLE_LOSS: return 2;
    case BPTT_ROLE_STEP_LOSS: return 3;
    default: return -1;
    }
}

static void set_above(struct placing *p, double top, double out)
{
    for (long n = p->first_node; n < p->first_node + p->step_nodes; n++) {
        int row = row_above(node_at(p, n)->role);
        double aside = node_at(p, n)->role == BPTT_ROLE_TARGET ? TARGET_LEFT + (box_width(node_at(p, n)) - LEAST_BOX) / 2 : 0;
        for (int64_t t = 1; t <= p->graph->steps && row >= 0; t++)
            set_spot(p, n + (long)(t - 1) * p->step_nodes, block_left(p, t) + p->block + out - aside,
                     top - HEAD_UP - ROW_UP * row);
    }
    double middle = block_left(p, 1) + p->block + out + (double)(p->graph->steps - 1) * p->pitch / 2;
    double above = top - HEAD_UP - 3 * ROW_UP - TOTAL_UP;
    set_spot(p, (long)p->graph->nodes - 2, middle, above);
    set_spot(p, (long)p->graph->nodes - 1, middle, above - ROW_UP);
    for (long n = 0; n < p->first_node; n++)
        if (node_at(p, n)->role == BPTT_ROLE_HEAD_WEIGHTS)
            set_spot(p, n, MARGIN + box_width(node_at(p, n)) / 2, top - HEAD_RAIL);
}

static void set_block(struct placing *p)
{
    int rail = 0;
    for (int64_t t = 1; t <= p->graph->steps; t++)
        for (int i = 0; i < p->items; i++)
            if (!p->item[i].is_bend && !p->item[i].foot)
                set_spot(p, p->item[i].node + (long)(t - 1) * p->step_nodes, block_left(p, t) + p->item[i].x,
                         level_y(p, p->item[i].level));
    for (long n = 0; n < p->first_node; n++)
        if (node_at(p, n)->role == BPTT_ROLE_WEIGHTS)
            set_spot(p, n, MARGIN + box_width(node_at(p, n)) / 2, p->rails + RAIL * rail++);
    p->height = p->rails + RAIL * (rail - 1) + BOX_HEIGHT;
}

/* All that was counted from the block's foot, moved down so that the highest node has room above it. */
static void move_down(struct placing *p)
{
    double down = TITLE + BOX_HEIGHT - p->spot[p->graph->nodes - 1].y;
    for (size_t n = 0; n < p->graph->nodes; n++)
        p->spot[n].y += down;
    p->foot += down;
    p->rails += down;
    p->height += down;
}

static void set_rows(struct placing *p, struct behind *behind)
{
    double widest = 0;
    int count = list_behind(p, behind);
    for (long n = 0; n < p->first_node; n++)
        if (node_at(p, n)->kind == BPTT_PARAMETER && box_width(node_at(p, n)) > widest)
            widest = box_width(node_at(p, n));
    p->rails = p->foot + 48;
    p->gap = p->graph->detail ? place_in_columns(p, behind, count) : place_in_stack(p, behind, count);
    p->pitch = p->block + p->gap;
    p->left = MARGIN + widest + 8 + p->gap;
    p->width = p->left + (double)p->graph->steps * p->pitch;
    set_block(p);
    double out = 0, top = set_behind(p, behind, count, &out);
    set_above(p, top, out);
    move_down(p);
}

/* ---- all of it ---- */

static void count_nodes(struct placing *p)
{
    while (node_at(p, p->first_node)->step == 0)
        p->states += node_at(p, p->first_node++)->role == BPTT_ROLE_INITIAL;
    while (node_at(p, p->first_node + p->step_nodes)->step == 1)
        p->step_nodes++;
}

int place_graph(const bptt_graph *graph, struct arena *arena, struct placing *p, bptt_error *error)
{
    *p = (struct placing){.graph = graph, .arena = arena};
    count_nodes(p);
    size_t ends = (size_t)(p->first_node + p->step_nodes), bytes = (graph->nodes + ends) * sizeof(struct behind);
    int *level = arena_alloc(arena, ends * sizeof *level);
    struct behind *behind = arena_alloc(arena, bytes);
    p->spot = arena_alloc(arena, graph->nodes * sizeof *p->spot);
    if (!level || !behind || !p->spot)
        return fail_memory(error, bytes);
    find_levels(p, level);
    find_feet(p, level);
    add_items(p, level);
    if (p->is_too_large)
        return fail(error, BPTT_ERROR_ARGUMENT, "%s in detail is too large for a picture; leave out the detail, or take DOT", graph->cell);
    size_t items = (size_t)p->items;
    p->order = arena_alloc(arena, items * 2 * sizeof *p->order);
    p->first = arena_alloc(arena, ((size_t)p->levels + 1) * sizeof *p->first);
    double *wish = arena_alloc(arena, items * sizeof *wish);
    struct pool *pool = arena_alloc(arena, items * sizeof *pool);
    if (p->failed || !p->order || !p->first || !wish || !pool)
        return fail_memory(error, items * sizeof *pool);
    order_items(p, wish, p->order + items);
    place_items(p, wish, pool);
    find_sides(p);
    spread_ends(p);
    set_rows(p, behind);
    return BPTT_OK;
}
