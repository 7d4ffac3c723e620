/* parse.c - tokens to the raw graph. A function is named after the grammar symbol it reads:
 *
 *     cell       = { statement newline }
 *     statement  = "cell" NAME | "input" NAME | "output" NAME | "state" state { "," state } | "const" NAME "=" expr
 *                | "dim" NAME "=" size | "param" NAME [ "[" size [ "," size ] "]" ] [ "blocks" NUMBER ] [ "=" start ]
 *                | NAME "=" expr | NAME' "=" expr
 *     state      = NAME [ "[" size "]" ] [ "=" [ "-" ] NUMBER ]
 *     expr       = term { ("+" | "-") term }
 *     term       = factor { ("*" | "/") factor }
 *     factor     = "-" factor | apply
 *     apply      = NAME [ "^" "T" ] apply | primary              a matrix stands before what it multiplies
 *     primary    = NUMBER | NAME | NAME' | FUNCTION "(" expr { "," expr } ")" | "(" expr ")"
 *     size       = the same arithmetic over H, I, integers and declared sizes
 *
 * A name that nothing defines is a parameter: a matrix where it is applied, a vector elsewhere. */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cell.h"
#include "lex.h"

enum symbol_kind { SYMBOL_VALUE, SYMBOL_NEXT, SYMBOL_MATRIX, SYMBOL_VECTOR, SYMBOL_DIM };
struct symbol { const char *name; enum symbol_kind kind; int index; int place; };   /* node, parameter or dimension */

enum { DEPTH_LIMIT = 200, NAME_LIMIT = 40 };

struct parser {
    struct bptt_cell *cell;                /* NULL for a derivative's text */
    struct graph *graph;
    const char *text;
    bptt_error *error;
    struct token token;                    /* the current one */
    int end;                               /* where it ends */
    int failed, depth;
    struct symbol *symbol;
    int symbols, symbol_capacity;
    const char *output;                    /* the name in an output statement */
    int output_place;
};

static int expr(struct parser *p);

/* ---- tokens ---- */

static void advance(struct parser *p)
{
    p->token = lex_next(p->text, p->end);
    p->end = p->token.place + p->token.length;
}

static int error_at(struct parser *p, int place, const char *format, const char *name)
{
    if (!p->failed && p->cell)
        cell_fail(p->cell, place, p->error, format, name);
    p->failed = 1;
    return 0;                              /* a valid node: callers unwind without testing each step */
}

static int out_of_memory(struct parser *p)
{
    p->failed = 1;
    fail(p->error, BPTT_ERROR_MEMORY, "out of memory while compiling a cell");
    return 0;
}

static int is_symbol(const struct parser *p, char c)
{
    return p->token.kind == TOKEN_SYMBOL && p->text[p->token.place] == c;
}

static int accept(struct parser *p, char c)
{
    if (!is_symbol(p, c))
        return 0;
    advance(p);
    return 1;
}

static void expect(struct parser *p, char c, const char *message)
{
    if (!accept(p, c))
        error_at(p, p->token.place, "%s", message);
}

static int word_is(const struct parser *p, const char *word)
{
    return p->token.kind == TOKEN_NAME && (int)strlen(word) == p->token.length &&
           !memcmp(p->text + p->token.place, word, (size_t)p->token.length);
}

/* The current token's name (a prime left off), kept in the arena. */
static const char *token_name(struct parser *p)
{
    size_t length = (size_t)p->token.length - (p->token.kind == TOKEN_PRIMED);
    if (length > NAME_LIMIT)
        error_at(p, p->token.place, "%s", "names have at most 40 characters");
    const char *name = arena_string(p->graph->arena, p->text + p->token.place, length);
    if (!name)
        out_of_memory(p);
    return name ? name : "";
}

static const char *expect_name(struct parser *p, const char *message)
{
    if (p->token.kind != TOKEN_NAME) {
        error_at(p, p->token.place, "%s", message);
        return "";
    }
    const char *name = token_name(p);
    advance(p);
    return name;
}

/* ---- symbols ---- */

static struct symbol *find(struct parser *p, const char *name, int next)
{
    for (int i = 0; i < p->symbols; i++)
        if ((p->symbol[i].kind == SYMBOL_NEXT) == next && !strcmp(p->symbol[i].name, name))
            return &p->symbol[i];
    return NULL;
}

static void define(struct parser *p, const char *name, enum symbol_kind kind, int index, int place)
{
    struct symbol *data = arena_grow(p->graph->arena, p->symbol, p->symbols, &p->symbol_capacity, sizeof *data);
    if (!data) {
        out_of_memory(p);
        return;
    }
    p->symbol = data;
    p->symbol[p->symbols++] = (struct symbol){name, kind, index, place};
}

/* A new name: not a function's, not a size's, not used before. */
static void define_new(struct parser *p, const char *name, enum symbol_kind kind, int index, int place);

/* ---- nodes: raw as written, or simplified at once in a derivative ---- */

static int make_op(struct parser *p, enum op op, int a, int b, int place)
{
    if (p->failed)
        return 0;
    if (!p->cell)
        return graph_op(p->graph, op, a, b);
    return graph_raw(p->graph, (struct node){.op = op, .a = a, .b = b, .dim = DIM_NONE, .place = place});
}

static int make_const(struct parser *p, double value, int place)
{
    if (!p->cell)
        return graph_const(p->graph, value);
    return graph_raw(p->graph, (struct node){.op = OP_CONST, .a = -1, .b = -1, .value = value, .dim = DIM_ONE, .place = place});
}

static int make_sum(struct parser *p, int a, int place)
{
    return graph_raw(p->graph, (struct node){.op = OP_SUM, .a = a, .b = -1, .dim = DIM_ONE, .place = place});
}

static int make_size(struct parser *p, int a, int dim, int place)
{
    return graph_raw(p->graph, (struct node){.op = OP_SIZE, .a = a, .b = -1, .leaf = dim, .dim = DIM_ONE, .place = place});
}

/* ---- parameters ---- */

static int add_parameter(struct parser *p, struct parameter param)
{
    struct bptt_cell *cell = p->cell;
    struct parameter *data = arena_grow(&cell->arena, cell->param, cell->params, &cell->param_capacity, sizeof param);
    if (!data)
        return out_of_memory(p);
    cell->param = data;
    cell->param[cell->params] = param;
    return cell->params++;
}

static int param_node(struct parser *p, int param, int place)
{
    return graph_raw(p->graph, (struct node){.op = OP_PARAM, .a = -1, .b = -1, .leaf = param, .dim = DIM_NONE,
                                             .name = p->cell->param[param].name, .place = place});
}

static int free_parameter(struct parser *p, const char *name, enum symbol_kind kind, int place)
{
    /* shape.c finds rows and columns; DIM_ONE in columns only says "a matrix" until then */
    struct parameter param = {.name = name, .rows = DIM_NONE, .columns = kind == SYMBOL_MATRIX ? DIM_ONE : DIM_NONE,
                              .blocks = 1, .place = place};
    int index = add_parameter(p, param);
    define(p, name, kind, index, place);
    return index;
}

/* ---- functions ---- */

static int call_elementwise(struct parser *p, enum op op, const int *argument, int place)
{
    return make_op(p, op, argument[0], op_table[op].operands == 2 ? argument[1] : -1, place);
}

static int mean(struct parser *p, int v, int place)
{
    return make_op(p, OP_DIV, make_sum(p, v, place), make_size(p, v, 0, place), place);
}

/* v / sqrt(mean(v^2) + 1e-5), the centre taken off by the caller */
static int normalised(struct parser *p, int v, int place)
{
    int variance = mean(p, make_op(p, OP_SQUARE, v, -1, place), place);
    int safe = make_op(p, OP_ADD, variance, make_const(p, 1e-5, place), place);
    return make_op(p, OP_DIV, v, make_op(p, OP_SQRT, safe, -1, place), place);
}

static int call_rmsnorm(struct parser *p, const int *argument, int place)
{
    return make_op(p, OP_MUL, normalised(p, argument[0], place), argument[1], place);
}

static int call_layernorm(struct parser *p, const int *argument, int place)
{
    int centred = make_op(p, OP_SUB, argument[0], mean(p, argument[0], place), place);
    return make_op(p, OP_ADD, call_rmsnorm(p, (int[]){centred, argument[1]}, place), argument[2], place);
}

static int call_sum(struct parser *p, const int *argument, int place)
{
    return make_sum(p, argument[0], place);
}

static int call_mean(struct parser *p, const int *argument, int place)
{
    return mean(p, argument[0], place);
}

struct composed { const char *name; int arguments; int (*call)(struct parser *, const int *, int); };
static const struct composed composed_functions[] = {
    {"layernorm", 3, call_layernorm},      /* Ba, Kiros and Hinton 2016: (v - mean) / sqrt(var + 1e-5) * gain + bias */
    {"rmsnorm", 2, call_rmsnorm},          /* Zhang and Sennrich 2019: v / sqrt(mean v^2 + 1e-5) * gain */
    {"sum", 1, call_sum},
    {"mean", 1, call_mean},
};
enum { COMPOSED = sizeof composed_functions / sizeof *composed_functions };

/* The number of an elementwise function's operation, or -1. */
static int function_op(const char *name)
{
    for (int op = 0; op < OP_COUNT; op++)
        if (op_is_elementwise((enum op)op) && isalpha((unsigned char)op_table[op].text[0]) && !strcmp(op_table[op].text, name))
            return op;
    return -1;
}

static const struct composed *composed_function(const char *name)
{
    for (int i = 0; i < COMPOSED; i++)
        if (!strcmp(composed_functions[i].name, name))
            return &composed_functions[i];
    return NULL;
}

static int is_function(const char *name)
{
    return function_op(name) >= 0 || composed_function(name) != NULL;
}

static const char *nearest_function(const char *name)
{
    const char *best = NULL;
    int distance = 3;
    for (int i = 0; i < OP_COUNT + COMPOSED; i++) {
        const char *known = i < OP_COUNT ? op_table[i].text : composed_functions[i - OP_COUNT].name;
        int is_known = i >= OP_COUNT || (op_is_elementwise((enum op)i) && isalpha((unsigned char)known[0]));
        if (is_known && text_distance(name, known) < distance) {
            distance = text_distance(name, known);
            best = known;
        }
    }
    return best;
}

static void define_new(struct parser *p, const char *name, enum symbol_kind kind, int index, int place)
{
    if (is_function(name) && kind != SYMBOL_NEXT)
        error_at(p, place, "'%s' is the name of a function", name);
    const struct symbol *known = find(p, name, kind == SYMBOL_NEXT);
    if (known && (known->kind == SYMBOL_MATRIX || known->kind == SYMBOL_VECTOR) && kind == SYMBOL_VALUE)
        error_at(p, known->place, "'%s' is used here before the line that defines it", name);
    else if (known)
        error_at(p, place, kind == SYMBOL_NEXT ? "state '%s' is assigned twice" : "'%s' is defined twice", name);
    define(p, name, kind, index, place);
}

static int call(struct parser *p, const char *name, int place)
{
    const struct composed *composed = composed_function(name);
    int wanted = composed ? composed->arguments : op_table[function_op(name)].operands;
    int argument[3] = {0, 0, 0}, count = 0;
    expect(p, '(', "a function is followed by '('");
    do {
        int value = expr(p);
        if (count < 3)
            argument[count] = value;
        count++;
    } while (!p->failed && accept(p, ','));
    expect(p, ')', "expected ')'");
    if (count != wanted) {
        char message[80];
        snprintf(message, sizeof message, "'%%s' takes %d argument%s, not %d", wanted, wanted == 1 ? "" : "s", count);
        return error_at(p, place, message, name);
    }
    return composed ? composed->call(p, argument, place) : call_elementwise(p, (enum op)function_op(name), argument, place);
}

/* ---- expressions ---- */

static int begins_primary(const struct parser *p)
{
    return p->token.kind == TOKEN_NAME || p->token.kind == TOKEN_PRIMED || p->token.kind == TOKEN_NUMBER || is_symbol(p, '(');
}

static int vector_name(struct parser *p, const char *name, int place)
{
    struct symbol *symbol = find(p, name, 0);
    if (!symbol && !p->cell)
        return error_at(p, place, "unknown name '%s'", name);
    if (!symbol && isupper((unsigned char)name[0]) && p->token.kind == TOKEN_WRONG)
        return error_at(p, p->token.place, "%s", "this is not a number, a name or a sign of the language");
    if (!symbol && isupper((unsigned char)name[0]))
        return error_at(p, place, "unknown name '%s' (a matrix stands before what it multiplies; vectors are lower case)", name);
    if (!symbol)
        return param_node(p, free_parameter(p, name, SYMBOL_VECTOR, place), place);
    switch (symbol->kind) {
    case SYMBOL_VALUE: return symbol->index;
    case SYMBOL_VECTOR: return param_node(p, symbol->index, place);
    case SYMBOL_DIM: return make_size(p, -1, symbol->index, place);
    default: return error_at(p, place, "'%s' is a matrix: it stands before what it multiplies", name);
    }
}

static int next_name(struct parser *p)
{
    int place = p->token.place;
    const char *name = token_name(p);
    advance(p);
    struct symbol *symbol = find(p, name, 1);
    return symbol ? symbol->index : error_at(p, place, "%s' is used before it is assigned", name);
}

static int primary(struct parser *p)
{
    int place = p->token.place;
    if (p->token.kind == TOKEN_NUMBER) {
        double value = p->token.value;
        advance(p);
        return make_const(p, value, place);
    }
    if (p->token.kind == TOKEN_PRIMED)
        return next_name(p);
    if (p->token.kind == TOKEN_NAME) {
        const char *name = expect_name(p, "expected a name");
        return is_function(name) ? call(p, name, place) : vector_name(p, name, place);
    }
    if (accept(p, '(')) {
        int value = expr(p);
        expect(p, ')', "expected ')'");
        return value;
    }
    if (p->token.kind == TOKEN_WRONG)
        return error_at(p, place, "%s", "this is not a number, a name or a sign of the language");
    return error_at(p, place, "%s", "expected a value");
}

static int apply(struct parser *p);

static int matrix(struct parser *p, const char *name, int place)
{
    struct symbol *symbol = find(p, name, 0);
    if (symbol && symbol->kind == SYMBOL_MATRIX)
        return symbol->index;
    if (symbol)
        return error_at(p, place, "'%s' is not a matrix; write * between values to multiply them", name);
    if (!isupper((unsigned char)name[0])) {
        const char *near = nearest_function(name);
        char message[120];
        snprintf(message, sizeof message, near ? "unknown function '%%s'; did you mean '%s'?" :
                 "unknown function '%%s' (matrices begin with a capital, or are declared with param)", near ? near : "");
        return error_at(p, place, message, name);
    }
    return free_parameter(p, name, SYMBOL_MATRIX, place);
}

static int product(struct parser *p, const char *name, int place)
{
    enum op op = OP_PRODUCT;
    if (accept(p, '^')) {
        if (!word_is(p, "T"))
            return error_at(p, p->token.place, "%s", "after '^' only T, the transpose, is known");
        advance(p);
        op = OP_PRODUCT_T;
    }
    int param = matrix(p, name, place);
    int operand = apply(p);
    if (p->failed)
        return 0;
    int node = param_node(p, param, place);
    return graph_raw(p->graph, (struct node){.op = op, .a = node, .b = operand, .dim = DIM_NONE, .place = place});
}

static int apply(struct parser *p)
{
    if (++p->depth > DEPTH_LIMIT)
        return error_at(p, p->token.place, "%s", "this is nested too deeply");
    struct token name_token = p->token;
    int value;
    if (p->token.kind == TOKEN_NAME && p->cell) {
        const char *name = token_name(p);
        struct parser before = *p;
        advance(p);
        if (!is_function(name) && (begins_primary(p) || is_symbol(p, '^'))) {
            value = product(p, name, name_token.place);
            p->depth--;
            return value;
        }
        p->token = before.token;
        p->end = before.end;
    }
    value = primary(p);
    if (!p->failed && p->cell && begins_primary(p))
        error_at(p, p->token.place, "%s", "two values side by side: write an operator between them");
    p->depth--;
    return value;
}

static int factor(struct parser *p)
{
    int place = p->token.place, minus = 0;
    while (accept(p, '-'))
        minus = !minus;
    int value = apply(p);
    return minus ? make_op(p, OP_NEG, value, -1, place) : value;
}

static int term(struct parser *p)
{
    int left = factor(p);
    while (!p->failed && (is_symbol(p, '*') || is_symbol(p, '/'))) {
        int place = p->token.place;
        enum op op = is_symbol(p, '*') ? OP_MUL : OP_DIV;
        advance(p);
        left = make_op(p, op, left, factor(p), place);
    }
    return left;
}

static int expr(struct parser *p)
{
    if (++p->depth > DEPTH_LIMIT)
        return error_at(p, p->token.place, "%s", "this is nested too deeply");
    int left = term(p);
    while (!p->failed && (is_symbol(p, '+') || is_symbol(p, '-'))) {
        int place = p->token.place;
        enum op op = is_symbol(p, '+') ? OP_ADD : OP_SUB;
        advance(p);
        left = make_op(p, op, left, term(p), place);
    }
    p->depth--;
    return left;
}

/* ---- sizes ---- */

static int size_expr(struct parser *p);

static int size_primary(struct parser *p)
{
    int place = p->token.place;
    if (p->token.kind == TOKEN_NUMBER) {
        long value = (long)p->token.value;
        if ((double)value != p->token.value || value < 1 || value > 1 << 20)
            return error_at(p, place, "%s", "a size is a whole number from 1 to 1048576");
        advance(p);
        return cell_dim_number(p->cell, value);
    }
    if (accept(p, '(')) {
        int dim = size_expr(p);
        expect(p, ')', "expected ')'");
        return dim;
    }
    const char *name = expect_name(p, "expected a size: H, I, a whole number or a declared dim");
    struct symbol *symbol = p->failed ? NULL : find(p, name, 0);
    if (!symbol || symbol->kind != SYMBOL_DIM)
        return error_at(p, place, "'%s' is not a size (H, I, a whole number or a declared dim)", name);
    return symbol->index;
}

static int size_chain(struct parser *p, int (*operand)(struct parser *), char one, char other)
{
    if (++p->depth > DEPTH_LIMIT)
        return error_at(p, p->token.place, "%s", "this is nested too deeply");
    int left = operand(p);
    while (!p->failed && (is_symbol(p, one) || is_symbol(p, other))) {
        char operator = p->text[p->token.place];
        advance(p);
        int right = operand(p);
        left = p->failed ? 0 : cell_dim_expression(p->cell, operator, left, right);
        if (left < 0)
            return out_of_memory(p);
    }
    p->depth--;
    return left;
}

static int size_term(struct parser *p)
{
    return size_chain(p, size_primary, '*', '/');
}

static int size_expr(struct parser *p)
{
    return size_chain(p, size_term, '+', '-');
}

/* ---- statements ---- */

static int bracketed_size(struct parser *p, int otherwise)
{
    if (!accept(p, '['))
        return otherwise;
    int dim = size_expr(p);
    expect(p, ']', "expected ']'");
    return dim;
}

static double signed_number(struct parser *p)
{
    int minus = accept(p, '-');
    double value = p->token.value;
    if (p->token.kind != TOKEN_NUMBER)
        error_at(p, p->token.place, "%s", "expected a number");
    advance(p);
    return minus ? -value : value;
}

static void statement_cell(struct parser *p)
{
    int place = p->token.place;
    const char *name = expect_name(p, "expected the cell's name");
    if (p->cell->name)
        error_at(p, place, "%s", "a file holds one cell");
    p->cell->name = name;
}

static void statement_input(struct parser *p)
{
    int place = p->token.place;
    const char *name = expect_name(p, "expected the input's name");
    for (int i = 0; i < p->graph->count; i++)
        if (p->graph->node[i].op == OP_INPUT)
            error_at(p, place, "%s", "a cell has one input");
    int node = graph_raw(p->graph, (struct node){.op = OP_INPUT, .a = -1, .b = -1, .dim = DIM_I, .name = name, .place = place});
    define_new(p, name, SYMBOL_VALUE, node, place);
}

static void one_state(struct parser *p)
{
    struct bptt_cell *cell = p->cell;
    int place = p->token.place;
    struct state state = {.name = expect_name(p, "expected a state's name"), .place = place};
    state.dim = bracketed_size(p, DIM_H);
    state.start = accept(p, '=') ? signed_number(p) : 0;
    struct state *data = arena_grow(&cell->arena, cell->state, cell->states, &cell->state_capacity, sizeof state);
    if (!data) {
        out_of_memory(p);
        return;
    }
    cell->state = data;
    cell->state[cell->states] = state;
    int node = graph_raw(p->graph, (struct node){.op = OP_STATE, .a = -1, .b = -1, .leaf = cell->states++,
                                                 .dim = state.dim, .name = state.name, .place = place});
    define_new(p, state.name, SYMBOL_VALUE, node, place);
}

static void statement_state(struct parser *p)
{
    do
        one_state(p);
    while (!p->failed && accept(p, ','));
}

static void statement_output(struct parser *p)
{
    if (p->output)
        error_at(p, p->token.place, "%s", "a cell has one output");
    p->output_place = p->token.place;
    if (p->token.kind != TOKEN_NAME && p->token.kind != TOKEN_PRIMED)
        error_at(p, p->token.place, "%s", "expected the output's name");
    p->output = p->text + p->token.place;  /* resolved at the end: the value may be defined below */
    advance(p);
}

static int is_constant(const struct graph *graph, int n)
{
    const struct node *node = &graph->node[n];
    if (node->op == OP_CONST || (node->op == OP_SIZE && node->a < 0))
        return 1;
    return op_is_elementwise(node->op) && is_constant(graph, node->a) && (node->b < 0 || is_constant(graph, node->b));
}

static void statement_const(struct parser *p)
{
    int place = p->token.place;
    const char *name = expect_name(p, "expected the constant's name");
    expect(p, '=', "expected '='");
    int value = expr(p);
    if (!p->failed && !is_constant(p->graph, value))
        error_at(p, place, "'%s' is not constant: a const is made of numbers and sizes", name);
    define_new(p, name, SYMBOL_VALUE, value, place);
}

static void statement_dim(struct parser *p)
{
    int place = p->token.place;
    const char *name = expect_name(p, "expected the size's name");
    expect(p, '=', "expected '='");
    int initial = p->failed ? 0 : size_expr(p);
    define_new(p, name, SYMBOL_DIM, p->failed ? 0 : cell_dim_symbol(p->cell, name, initial), place);
}

struct start_row { const char *name; enum start_kind kind; int numbers; double low, high; };
static const struct start_row start_rows[] = {
    {"zeros", START_NUMBER, 0, 0, 0},      {"ones", START_NUMBER, 0, 1, 1},     {"uniform", START_UNIFORM, 2, 0, 0},
    {"normal", START_NORMAL, 1, 0, 0},     {"orthogonal", START_ORTHOGONAL, 0, 0, 0},
    {"identity", START_IDENTITY, 0, 0, 0},
};

static void start_numbers(struct parser *p, const struct start_row *row, struct parameter *param)
{
    expect(p, '(', "expected '('");
    param->low = signed_number(p);
    param->high = param->low;
    if (row->numbers == 2) {
        expect(p, ',', "expected ','");
        param->high = signed_number(p);
    }
    if (!p->failed && (row->numbers == 2 ? param->low > param->high : param->low < 0))
        error_at(p, p->token.place, "%s", row->numbers == 2 ? "uniform(a, b) needs a <= b" : "a deviation is not negative");
    expect(p, ')', "expected ')'");
}

static void start(struct parser *p, struct parameter *param)
{
    int place = p->token.place;
    if (p->token.kind == TOKEN_NUMBER || is_symbol(p, '-')) {
        param->start = START_NUMBER;
        param->low = signed_number(p);
        return;
    }
    for (size_t i = 0; i < sizeof start_rows / sizeof *start_rows; i++) {
        if (!word_is(p, start_rows[i].name))
            continue;
        advance(p);
        param->start = start_rows[i].kind;
        param->low = start_rows[i].low;
        param->high = start_rows[i].high;
        if (start_rows[i].numbers)
            start_numbers(p, &start_rows[i], param);
        int is_square = param->start == START_ORTHOGONAL || param->start == START_IDENTITY;
        if (!p->failed && is_square && param->columns == DIM_NONE)
            error_at(p, place, "'%s' is a vector: only a matrix starts so", param->name);
        return;
    }
    error_at(p, p->token.place, "%s",
             "expected a start: a number, zeros, ones, uniform(a, b), normal(s), orthogonal or identity");
}

static void statement_param(struct parser *p)
{
    int place = p->token.place;
    struct parameter param = {.name = expect_name(p, "expected the parameter's name"), .rows = DIM_NONE,
                              .columns = DIM_NONE, .blocks = 1, .place = place};
    enum symbol_kind kind = SYMBOL_VECTOR;
    if (accept(p, '[')) {
        param.rows = size_expr(p);
        if (accept(p, ',')) {
            param.columns = size_expr(p);
            kind = SYMBOL_MATRIX;
        }
        expect(p, ']', "expected ']'");
    } else if (isupper((unsigned char)param.name[0])) {
        param.columns = DIM_ONE;           /* shape.c finds both */
        kind = SYMBOL_MATRIX;
    }
    if (word_is(p, "blocks")) {
        advance(p);
        double blocks = signed_number(p);
        if (!(blocks >= 1 && blocks <= 4096) || blocks != (int)blocks || kind != SYMBOL_MATRIX)
            error_at(p, place, "%s", "blocks is a whole number from 1 to 4096 and needs a matrix");
        else
            param.blocks = (int)blocks;
    }
    if (accept(p, '='))
        start(p, &param);
    if (!p->failed)
        define_new(p, param.name, kind, add_parameter(p, param), place);
}

static int state_number(const struct bptt_cell *cell, const char *name)
{
    for (int i = 0; i < cell->states; i++)
        if (!strcmp(cell->state[i].name, name))
            return i;
    return -1;
}

static void statement_assign(struct parser *p)
{
    int place = p->token.place, primed = p->token.kind == TOKEN_PRIMED;
    const char *name = token_name(p);
    advance(p);
    expect(p, '=', "expected '=' after the name");
    if (p->failed)
        return;
    int state = state_number(p->cell, name);
    if (primed && state < 0) {
        error_at(p, place, "'%s' is not a state", name);
        return;
    }
    if (!primed && state >= 0) {
        error_at(p, place, "'%s' is a state: its next value is written with a prime", name);
        return;
    }
    int value = expr(p);
    if (p->failed)
        return;
    if (!p->graph->node[value].name && p->graph->node[value].op != OP_CONST)
        p->graph->node[value].name = primed ? arena_string(p->graph->arena, p->text + place, strlen(name) + 1) : name;
    define_new(p, name, primed ? SYMBOL_NEXT : SYMBOL_VALUE, value, place);
    if (!primed)
        return;
    graph_sink(p->graph, SINK_NEXT, state, value, -1);
    if (p->graph->sinks)
        p->graph->sink[p->graph->sinks - 1].place = place;
}

struct keyword { const char *word; void (*read)(struct parser *); };
static const struct keyword keywords[] = {
    {"cell", statement_cell},   {"input", statement_input}, {"state", statement_state}, {"output", statement_output},
    {"const", statement_const}, {"dim", statement_dim},     {"param", statement_param},
};

static void statement(struct parser *p)
{
    if (p->token.kind != TOKEN_NAME && p->token.kind != TOKEN_PRIMED) {
        error_at(p, p->token.place, "%s", "a line begins with a name");
        return;
    }
    struct token following = lex_next(p->text, p->end);
    int has_word = following.kind == TOKEN_NAME || following.kind == TOKEN_PRIMED;
    for (size_t i = 0; has_word && i < sizeof keywords / sizeof *keywords; i++) {
        if (word_is(p, keywords[i].word)) {
            advance(p);
            keywords[i].read(p);
            return;
        }
    }
    statement_assign(p);
}

/* ---- the whole ---- */

static int output_node(struct parser *p)
{
    struct bptt_cell *cell = p->cell;
    if (!p->output) {
        struct symbol *first = find(p, cell->state[0].name, 1);
        return first ? first->index : 0;
    }
    p->token = lex_next(p->text, p->output_place);
    const char *name = token_name(p);
    int primed = p->token.kind == TOKEN_PRIMED;
    struct symbol *symbol = find(p, name, primed);
    if (!symbol || (symbol->kind != SYMBOL_VALUE && symbol->kind != SYMBOL_NEXT))
        return error_at(p, p->output_place, "output '%s' is never defined", name);
    return symbol->index;
}

static int is_used(const struct graph *graph, int param)
{
    for (int i = 0; i < graph->count; i++)
        if (graph->node[i].op == OP_PARAM && graph->node[i].leaf == param)
            return 1;
    return 0;
}

static void finish(struct parser *p)
{
    struct bptt_cell *cell = p->cell;
    if (!cell->name)
        error_at(p, 0, "%s", "the cell has no name: begin with 'cell NAME'");
    if (!cell->states)
        error_at(p, 0, "%s", "the cell has no state: add 'state h'");
    int inputs = 0;
    for (int i = 0; i < p->graph->count; i++)
        inputs += p->graph->node[i].op == OP_INPUT;
    if (!inputs)
        error_at(p, 0, "%s", "the cell has no input: add 'input x'");
    for (int i = 0; i < cell->params && !p->failed; i++)
        if (!is_used(p->graph, i))
            error_at(p, cell->param[i].place, "parameter '%s' is declared and never used", cell->param[i].name);
    for (int i = 0; i < cell->states && !p->failed; i++)
        if (!find(p, cell->state[i].name, 1))
            error_at(p, cell->state[i].place, "state '%s' is never assigned", cell->state[i].name);
    if (!p->failed)
        graph_sink(p->graph, SINK_OUTPUT, 0, output_node(p), -1);
}

/* The first comment block's first line, without its mark. */
static const char *summary(struct bptt_cell *cell)
{
    const char *text = cell->source;
    while (*text == '#' || *text == ' ')
        text++;
    const char *end = strchr(text, '\n');
    size_t length = cell->source[0] == '#' ? (end ? (size_t)(end - text) : strlen(text)) : 0;
    return arena_string(&cell->arena, text, length);
}

int cell_parse(struct bptt_cell *cell, bptt_error *error)
{
    struct parser p = {.cell = cell, .graph = &cell->raw, .text = cell->source, .error = error};
    cell->raw.arena = &cell->arena;
    cell->summary = summary(cell);
    define(&p, "H", SYMBOL_DIM, DIM_H, -1);
    define(&p, "I", SYMBOL_DIM, DIM_I, -1);
    advance(&p);
    while (!p.failed && p.token.kind != TOKEN_END) {
        if (p.token.kind != TOKEN_LINE) {
            statement(&p);
            if (!p.failed && p.token.kind != TOKEN_LINE && p.token.kind != TOKEN_END)
                error_at(&p, p.token.place, "%s", p.token.kind == TOKEN_WRONG ?
                         "this is not a number, a name or a sign of the language" : "one statement a line: this is left over");
        } else {
            advance(&p);
        }
    }
    if (!p.failed)
        finish(&p);
    if (p.failed)
        return error && error->code ? error->code : BPTT_ERROR_CELL;
    return cell->summary ? graph_ok(&cell->raw, error) : fail_memory(error, 0);
}

int cell_parse_derivative(struct graph *graph, const char *text, int a, int b, int y)
{
    struct parser p = {.graph = graph, .text = text};
    define(&p, "a", SYMBOL_VALUE, a, 0);
    if (b >= 0)
        define(&p, "b", SYMBOL_VALUE, b, 0);
    define(&p, "y", SYMBOL_VALUE, y, 0);
    advance(&p);
    int node = expr(&p);
    if (p.failed)
        graph->failed = 1;
    return node;
}
