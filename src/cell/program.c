/* program.c - from a graph to a program: phases, levels, loops, joined products, and a place for every value that needs one.
 *
 * Places are shared wherever a value dies as the next one is born: an input product is written to where the sum will
 * stand, the state's product is added there, and the activation overwrites it. So an LSTM's four gates are computed in
 * the very columns in which they are recorded. */
#include <stdlib.h>
#include <string.h>

#include "cell.h"

struct planner {
    struct bptt_cell *cell;
    struct graph *graph;
    const struct program *forward;         /* of a backward program: where recorded values stand */
    struct program *program;
    int *uses, *user;                      /* by node: how many, and the last one */
    char *depends, *feeds;                 /* on the state; the next state */
    char *joined;                          /* ADD(u, product) that is the product, accumulating into u's place */
    signed char *kind;                     /* enum place_kind wanted, or -1 */
    int *alias;                            /* node whose place is used, or the node itself */
    char *claimed;                         /* a product stands in this node's place already */
    char *recorded;                        /* forward: wanted by the backward graph */
};

static const struct node *node_at(const struct planner *p, int n)
{
    return &p->graph->node[n];
}

static int is_pointwise(const struct planner *p, int n)
{
    enum op op = node_at(p, n)->op;
    return !op_is_leaf(op) && !op_is_product(op) && !p->joined[n];
}

static int *ints(struct planner *p, int count, int value)
{
    int *array = arena_alloc(&p->cell->arena, ((size_t)count + 1) * sizeof(int));
    for (int i = 0; array && i < count; i++)
        array[i] = value;
    return array;
}

/* ---- phases ---- */

static void count_uses(struct planner *p)
{
    for (int n = 0; n < p->graph->count; n++) {
        const struct node *node = node_at(p, n);
        int operand[2] = {node->a, node->b};
        for (int k = 0; k < 2; k++) {
            if (operand[k] < 0)
                continue;
            p->uses[operand[k]]++;
            p->user[operand[k]] = n;
        }
    }
    for (int i = 0; i < p->graph->sinks; i++) {
        const struct sink *sink = &p->graph->sink[i];
        p->uses[sink->left] += 2;          /* a sink's value is never overwritten by a user */
        if (sink->right >= 0)
            p->uses[sink->right] += 2;
    }
}

static void find_phases(struct planner *p)
{
    enum op state = p->program->backward ? OP_DSTATE : OP_STATE;
    enum sink_kind next = p->program->backward ? SINK_DSTATE : SINK_NEXT;
    for (int n = 0; n < p->graph->count; n++) {
        const struct node *node = node_at(p, n);
        p->depends[n] = node->op == state || (node->a >= 0 && p->depends[node->a]) || (node->b >= 0 && p->depends[node->b]);
    }
    for (int i = 0; i < p->graph->sinks; i++)
        if (p->graph->sink[i].kind == next)
            p->feeds[p->graph->sink[i].left] = 1;
    for (int n = p->graph->count - 1; n >= 0; n--) {
        const struct node *node = node_at(p, n);
        if (p->feeds[n] && node->a >= 0) p->feeds[node->a] = 1;
        if (p->feeds[n] && node->b >= 0) p->feeds[node->b] = 1;
        p->program->phase[n] = !p->depends[n] ? PHASE_BEFORE : p->feeds[n] ? PHASE_SCAN : PHASE_AFTER;
    }
}

/* What costs less to compute than to read back is computed where it is used, not ahead for a whole block: o * (1 - o). */
static void sink_cheap(struct planner *p)
{
    char *phase = p->program->phase, *sinkable = p->feeds;     /* feeds has served */
    for (int n = 0; n < p->graph->count; n++) {
        const struct node *node = node_at(p, n);
        int a = node->a < 0 || op_is_leaf(node_at(p, node->a)->op) || sinkable[node->a];
        int b = node->b < 0 || op_is_leaf(node_at(p, node->b)->op) || sinkable[node->b];
        sinkable[n] = !op_is_leaf(node->op) && phase[n] == PHASE_BEFORE && op_is_cheap(node->op) && a && b;
    }
    for (int i = 0; i < p->graph->sinks; i++) {
        sinkable[p->graph->sink[i].left] = 0;
        if (p->graph->sink[i].right >= 0)
            sinkable[p->graph->sink[i].right] = 0;
    }
    for (int n = p->graph->count - 1; n >= 0; n--) {
        int earliest = PHASE_COUNT, into_product = 0;
        for (int m = n + 1; sinkable[n] && m < p->graph->count; m++) {
            if (node_at(p, m)->a != n && node_at(p, m)->b != n)
                continue;
            earliest = phase[m] < earliest ? phase[m] : earliest;
            into_product |= op_is_product(node_at(p, m)->op);
        }
        if (sinkable[n] && earliest < PHASE_COUNT && !into_product)
            phase[n] = (char)earliest;
    }
}

/* ---- levels: products of level k, stage k, products of level k + 1 ... ---- */

static int has_work(const struct planner *p, int n, int phase)
{
    return n >= 0 && !op_is_leaf(node_at(p, n)->op) && p->program->phase[n] == phase;
}

static int fits_join(const struct planner *p, int n)
{
    const struct node *sum = node_at(p, n);
    if (sum->op != OP_ADD || !op_is_product(node_at(p, sum->b)->op))
        return 0;
    int u = sum->a, v = sum->b, phase = p->program->phase[n];
    const struct node *left = node_at(p, u);
    int free = p->uses[u] == 1 && p->uses[v] == 1 && !p->recorded[u] && !p->recorded[v];
    if (!free || op_is_leaf(left->op) || left->dim != sum->dim || p->program->phase[v] != phase)
        return 0;
    if (p->program->phase[u] != phase)
        return 1;
    int left_is_product = op_is_product(left->op) || p->joined[u];
    return p->program->level[u] + !left_is_product <= p->program->level[v];
}

/* Of two products that are added, the one that is ready first stands first: the other is added in its place. */
static void earlier_first(struct planner *p, int n)
{
    struct node *sum = &p->graph->node[n];
    int products = sum->op == OP_ADD && op_is_product(node_at(p, sum->a)->op) && op_is_product(node_at(p, sum->b)->op);
    if (!products || p->program->level[sum->a] <= p->program->level[sum->b])
        return;
    int a = sum->a;
    sum->a = sum->b;
    sum->b = a;
}

static void find_levels(struct planner *p)
{
    struct program *program = p->program;
    for (int n = 0; n < p->graph->count; n++) {
        earlier_first(p, n);
        const struct node *node = node_at(p, n);
        int phase = program->phase[n], level = 0;
        if (op_is_product(node->op)) {
            level = has_work(p, node->b, phase) ? program->level[node->b] + 1 : 0;
        } else if (!op_is_leaf(node->op)) {
            if (has_work(p, node->a, phase)) level = program->level[node->a];
            if (has_work(p, node->b, phase) && program->level[node->b] > level) level = program->level[node->b];
        }
        program->level[n] = level;
        p->joined[n] = (char)fits_join(p, n);
    }
}

/* Loops of a stage: a value that needs a finished sum comes in a later loop than the sum. */
static void find_groups(struct planner *p)
{
    struct program *program = p->program;
    for (int n = 0; n < p->graph->count; n++) {
        if (!is_pointwise(p, n))
            continue;
        int operand[2] = {node_at(p, n)->a, node_at(p, n)->b}, group = 0;
        for (int k = 0; k < 2; k++) {
            int o = operand[k];
            if (o < 0 || !is_pointwise(p, o) || program->phase[o] != program->phase[n] || program->level[o] != program->level[n])
                continue;
            int is_reduced = node_at(p, o)->dim == DIM_ONE && node_at(p, n)->dim != DIM_ONE;
            int after = program->group[o] + is_reduced;
            group = after > group ? after : group;
        }
        program->group[n] = group;
    }
}

/* ---- places ---- */

/* STEP < BLOCK < TAPE; a place with an owner of its own (state, adjoint) stays. */
static void want(struct planner *p, int n, enum place_kind kind)
{
    int now = p->kind[n];
    int is_scratch = now == PLACE_STEP || now == PLACE_BLOCK || now == PLACE_TAPE;
    if (now < 0 || (is_scratch && (kind < PLACE_TAPE || kind > PLACE_STEP)))
        p->kind[n] = (signed char)kind;
    else if (is_scratch && kind < (enum place_kind)now)
        p->kind[n] = (signed char)kind;           /* TAPE, BLOCK, STEP stand in this order in the enum */
}

static void want_leaf(struct planner *p, int n)
{
    const struct node *node = node_at(p, n);
    int is_matrix = node->op == OP_PARAM && p->cell->param[node->leaf].columns != DIM_NONE;
    switch (node->op) {
    case OP_PARAM: p->kind[n] = is_matrix ? -1 : PLACE_PARAM; break;
    case OP_INPUT: p->kind[n] = PLACE_INPUT; break;
    case OP_STATE: p->kind[n] = PLACE_STATE; break;
    case OP_DOUTPUT: p->kind[n] = PLACE_DOUTPUT; break;
    case OP_DSTATE: p->kind[n] = PLACE_DSTATE; break;
    case OP_RECORDED: p->kind[n] = (signed char)p->forward->place[p->forward->place_of[node->leaf]].kind; break;
    default: break;
    }
}

static void want_sinks(struct planner *p)
{
    for (int i = 0; i < p->graph->sinks; i++) {
        const struct sink *sink = &p->graph->sink[i];
        int leaf = op_is_leaf(node_at(p, sink->left)->op);
        switch (sink->kind) {
        case SINK_NEXT: p->kind[sink->left] = PLACE_NEXT; break;
        case SINK_DSTATE: p->kind[sink->left] = PLACE_DPREV; break;
        case SINK_DINPUT: p->kind[sink->left] = PLACE_DINPUT; break;
        case SINK_OUTPUT: want(p, sink->left, PLACE_TAPE); break;
        case SINK_OUTER:
            if (!op_is_leaf(node_at(p, sink->right)->op))
                want(p, sink->right, PLACE_BLOCK);
            if (!leaf)
                want(p, sink->left, PLACE_BLOCK);
            break;
        case SINK_ROWS:
            if (!leaf)
                want(p, sink->left, PLACE_BLOCK);
            break;
        }
    }
}

static enum place_kind scratch_kind(const struct planner *p, int from, int to)
{
    const char *phase = p->program->phase;
    return phase[from] == PHASE_SCAN && phase[to] == PHASE_SCAN ? PLACE_STEP : PLACE_BLOCK;
}

/* A value read by another stage or loop, or by a product, must stand in memory. */
static void want_crossings(struct planner *p)
{
    const struct program *program = p->program;
    for (int n = 0; n < p->graph->count; n++) {
        const struct node *node = node_at(p, n);
        int operand[2] = {op_is_product(node->op) ? -1 : node->a, node->b};
        for (int k = 0; k < 2; k++) {
            int o = operand[k];
            if (o < 0 || op_is_leaf(node_at(p, o)->op))
                continue;
            int together = is_pointwise(p, n) && is_pointwise(p, o) && program->phase[o] == program->phase[n] &&
                           program->level[o] == program->level[n] &&
                           (program->group[o] == program->group[n] || node_at(p, o)->dim == DIM_ONE);
            if (!together)
                want(p, o, scratch_kind(p, o, n));
        }
        if (op_is_product(node->op) || p->joined[n])
            want(p, n, scratch_kind(p, n, n));
    }
}

/* Everything that ends up in one place gets the widest kind that any of it wants. */
static void share(struct planner *p, int from, int into)
{
    p->alias[from] = into;
    if (p->kind[from] >= 0)
        want(p, into, (enum place_kind)p->kind[from]);
}

/* From a product's value up through registers to the stored value it becomes, if nothing else reads it on the way. */
static int becomes(const struct planner *p, int n)
{
    const struct program *program = p->program;
    int at = n;
    if (p->recorded[n])
        return -1;
    do {
        if (p->uses[at] != 1)
            return -1;
        int up = p->user[at];
        int same = is_pointwise(p, up) && program->phase[up] == program->phase[n] && program->level[up] == program->level[n] &&
                   (at == n || program->group[up] == program->group[at]);
        if (!same || node_at(p, up)->dim != node_at(p, n)->dim || node_at(p, up)->dim == DIM_ONE)
            return -1;
        at = up;
    } while (p->kind[at] < 0);
    return at;
}

static void share_places(struct planner *p)
{
    for (int n = p->graph->count - 1; n >= 0; n--) {
        int is_product = op_is_product(node_at(p, n)->op) || p->joined[n];
        int into = is_product && p->alias[n] == n ? becomes(p, n) : -1;
        if (into >= 0 && !p->claimed[into]) {
            p->claimed[into] = 1;
            share(p, n, into);
        }
        if (p->joined[n]) {
            share(p, node_at(p, n)->a, n);
            share(p, node_at(p, n)->b, n);
        }
    }
}

static int owner(const struct planner *p, int n)
{
    while (p->alias[n] != n)
        n = p->alias[n];
    return n;
}

static int new_place(struct planner *p, int n)
{
    struct program *program = p->program;
    const struct node *node = node_at(p, n);
    struct place place = {(enum place_kind)p->kind[n], node->leaf, node->dim};
    switch (place.kind) {
    case PLACE_TAPE:
        if (node->op == OP_RECORDED)
            place = p->forward->place[p->forward->place_of[node->leaf]];
        else
            place.index = program->count[PLACE_TAPE]++;
        break;
    case PLACE_BLOCK: case PLACE_STEP: place.index = program->count[place.kind]++; break;
    case PLACE_NEXT:
        if (node->op == OP_RECORDED)
            place = p->forward->place[p->forward->place_of[node->leaf]];
        break;
    default: break;
    }
    for (int i = 0; i < p->graph->sinks; i++) {
        const struct sink *sink = &p->graph->sink[i];
        if (sink->left == n && (sink->kind == SINK_NEXT || sink->kind == SINK_DSTATE))
            place.index = sink->index;
    }
    program->place[program->places] = place;
    return program->places++;
}

static void place_node(struct planner *p, int n)
{
    struct program *program = p->program;
    int own = owner(p, n);
    if (p->kind[own] < 0)
        return;
    if (program->place_of[own] < 0)
        program->place_of[own] = new_place(p, own);
    program->place_of[n] = program->place_of[own];
}

/* ---- products in the order in which they run ---- */

static int compare_products(const void *x, const void *y)
{
    const struct product *a = x, *b = y;
    if (a->phase != b->phase) return a->phase < b->phase ? -1 : 1;
    if (a->level != b->level) return a->level < b->level ? -1 : 1;
    if (a->accumulate != b->accumulate) return a->accumulate < b->accumulate ? -1 : 1;
    if (a->operand != b->operand) return a->operand < b->operand ? -1 : 1;
    return a->node < b->node ? -1 : a->node > b->node;
}

/* `operand` holds a node here: places follow from the order of the products. */
static void list_products(struct planner *p)
{
    struct program *program = p->program;
    for (int n = 0; n < p->graph->count; n++) {
        const struct node *node = node_at(p, n);
        if (!op_is_product(node->op))
            continue;
        int up = p->uses[n] == 1 ? p->user[n] : -1;
        int accumulate = up >= 0 && p->joined[up] && node_at(p, up)->b == n;
        program->product[program->products++] = (struct product){
            .phase = (enum phase)program->phase[n], .level = program->level[n], .param = node_at(p, node->a)->leaf,
            .transposed = node->op == OP_PRODUCT_T, .operand = node->b, .accumulate = accumulate, .node = n};
    }
    qsort(program->product, (size_t)program->products, sizeof *program->product, compare_products);
}

static void place_all(struct planner *p)
{
    struct program *program = p->program;
    for (int i = 0; i < program->products; i++) {
        place_node(p, program->product[i].node);
        program->product[i].result = program->place_of[program->product[i].node];
    }
    for (int i = 0; i < program->products; i++) {
        place_node(p, program->product[i].operand);
        program->product[i].operand = program->place_of[program->product[i].operand];
    }
    for (int n = 0; n < p->graph->count; n++)
        place_node(p, n);
    for (int n = 0; n < p->graph->count; n++)
        program->stored[n] = is_pointwise(p, n) && program->place_of[n] >= 0;
    for (int i = 0; i < p->graph->sinks; i++)
        if (p->graph->sink[i].kind == SINK_OUTPUT)
            program->output = program->place_of[p->graph->sink[i].left];
}

/* ---- stages ---- */

static int reads_size(const struct planner *p, const struct node *node)
{
    return node_at(p, node->a)->op == OP_SIZE || (node->b >= 0 && node_at(p, node->b)->op == OP_SIZE);
}

static int common_dim(const struct planner *p, const struct stage *stage)
{
    int dim = -1;
    for (int k = 0; k < stage->count; k++) {
        const struct node *node = node_at(p, p->program->order[stage->first + k]);
        if (node->op == OP_SUM || node->dim == DIM_ONE || reads_size(p, node) || (dim >= 0 && node->dim != dim))
            return -1;
        dim = node->dim;
    }
    return dim;
}

static void add_stage(struct planner *p, enum phase phase, int level)
{
    struct program *program = p->program;
    int first = program->stages ? program->stage[program->stages - 1].first + program->stage[program->stages - 1].count : 0;
    struct stage stage = {.phase = phase, .level = level, .first = first};
    for (int n = 0; n < p->graph->count; n++)
        if (is_pointwise(p, n) && program->phase[n] == (char)phase && program->level[n] == level)
            program->order[first + stage.count++] = n;
    stage.dim = common_dim(p, &stage);
    if (stage.count)
        program->stage[program->stages++] = stage;
}

static void list_stages(struct planner *p)
{
    struct program *program = p->program;
    for (int n = 0; n < p->graph->count; n++)
        if (!op_is_leaf(node_at(p, n)->op) && program->level[n] >= program->levels[(int)program->phase[n]])
            program->levels[(int)program->phase[n]] = program->level[n] + 1;
    for (int phase = 0; phase < PHASE_COUNT; phase++)
        for (int level = 0; level < program->levels[phase]; level++)
            add_stage(p, (enum phase)phase, level);
}

int program_stage_at(const struct program *program, enum phase phase, int level)
{
    for (int i = 0; i < program->stages; i++)
        if (program->stage[i].phase == phase && program->stage[i].level == level)
            return i;
    return -1;
}

/* ---- all of it ---- */

static int allocate(struct planner *p)
{
    struct program *program = p->program;
    struct arena *arena = &p->cell->arena;
    int count = p->graph->count;
    size_t bytes = (size_t)count + 1;
    p->uses = ints(p, count, 0);
    p->user = ints(p, count, -1);
    p->alias = ints(p, count, 0);
    p->depends = arena_alloc(arena, bytes);
    p->feeds = arena_alloc(arena, bytes);
    p->joined = arena_alloc(arena, bytes);
    p->kind = arena_alloc(arena, bytes);
    p->claimed = arena_alloc(arena, bytes);
    program->phase = arena_alloc(arena, bytes);
    program->stored = arena_alloc(arena, bytes);
    program->level = ints(p, count, 0);
    program->group = ints(p, count, 0);
    program->place_of = ints(p, count, -1);
    program->order = ints(p, count, 0);
    program->place = arena_alloc(arena, bytes * sizeof *program->place);
    program->product = arena_alloc(arena, bytes * sizeof *program->product);
    program->stage = arena_alloc(arena, bytes * sizeof *program->stage);
    return p->uses && p->user && p->alias && p->depends && p->feeds && p->joined && p->kind && p->claimed && program->phase &&
           program->stored && program->level && program->group && program->place_of && program->order && program->place &&
           program->product && program->stage;
}

static int plan_program(struct planner *p, bptt_error *error)
{
    p->program->graph = p->graph;
    if (!allocate(p))
        return fail_memory(error, (size_t)p->graph->count);
    for (int n = 0; n < p->graph->count; n++) {
        p->alias[n] = n;
        p->kind[n] = -1;
    }
    count_uses(p);
    find_phases(p);
    sink_cheap(p);
    find_levels(p);
    find_groups(p);
    for (int n = 0; n < p->graph->count; n++)
        want_leaf(p, n);
    want_sinks(p);
    for (int n = 0; n < p->graph->count; n++)
        if (p->recorded[n] && !op_is_leaf(node_at(p, n)->op))
            want(p, n, PLACE_TAPE);
    want_crossings(p);
    share_places(p);
    list_products(p);
    place_all(p);
    list_stages(p);
    return cell_verify_program(p->cell, p->program, error);
}

int cell_plan_programs(struct bptt_cell *cell, bptt_error *error)
{
    size_t nodes = (size_t)cell->forward.count + (size_t)cell->backward.count + 2;
    char *recorded = arena_alloc(&cell->arena, nodes), *none = arena_alloc(&cell->arena, nodes);
    if (!recorded || !none)
        return fail_memory(error, nodes);
    for (int i = 0; i < cell->backward.count; i++)
        if (cell->backward.node[i].op == OP_RECORDED)
            recorded[cell->backward.node[i].leaf] = 1;
    struct planner run = {.cell = cell, .graph = &cell->forward, .program = &cell->run, .recorded = recorded};
    int status = plan_program(&run, error);
    if (status)
        return status;
    cell->back.backward = 1;
    struct planner back = {.cell = cell, .graph = &cell->backward, .program = &cell->back, .forward = &cell->run, .recorded = none};
    return plan_program(&back, error);
}
