/* test_cell.c - the cell compiler on cells that are wrong, its printed stages on one that is right, its cache of compiled
 * cells, and texts damaged at random, which must compile or fail with a place but never crash (under the sanitizers too). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../src/cell/cell.h"
#include "tap.h"

#define BEGIN "cell c\ninput x\nstate h\n"

/* ---- every kind of error, with its place ---- */

struct wrong { const char *text; int line, column; const char *reason; };
static const struct wrong wrongs[] = {
    {BEGIN "h' = tahn(W x + U h)\n", 4, 6, "did you mean 'tanh'"},
    {BEGIN "h' = frobnicate(W x)\n", 4, 6, "unknown function 'frobnicate'"},
    {BEGIN "h' = tanh(W x + Q)\n", 4, 17, "unknown name 'Q'"},
    {BEGIN "h' = tanh(W x + r)\nr = sigmoid(U h)\n", 4, 17, "before the line that defines it"},
    {BEGIN "a = W x\na = U h\nh' = a\n", 5, 1, "defined twice"},
    {BEGIN "h' = W x\nh' = U h\n", 5, 1, "assigned twice"},
    {"cell c\ninput x\nstate h, c\nh' = tanh(W x + c)\n", 3, 10, "state 'c' is never assigned"},
    {BEGIN "h' = tanh(W x + k')\n", 4, 17, "k' is used before it is assigned"},
    {BEGIN "q' = W x\n", 4, 1, "'q' is not a state"},
    {BEGIN "h = W x\n", 4, 1, "written with a prime"},
    {BEGIN "h' = W x + x\n", 4, 1, "shapes do not fit"},
    {BEGIN "param U[H, I]\nh' = tanh(W x + U h)\n", 5, 17, "shapes do not fit"},
    {BEGIN "y = W x\nh' = tanh(V y) * sum(y) + x * y\n", 5, 1, "shapes do not fit"},
    {BEGIN "h' = max(W x)\n", 4, 6, "takes 2 arguments, not 1"},
    {BEGIN "h' = tanh(W x, U h)\n", 4, 6, "takes 1 argument, not 2"},
    {BEGIN "h' = tanh(W x\n", 4, 14, "expected ')'"},
    {BEGIN "h' = tanh(W x + )\n", 4, 17, "expected a value"},
    {BEGIN "h' = (W x) (U h)\n", 4, 12, "side by side"},
    {BEGIN "h' = W x ) + U h\n", 4, 10, "left over"},
    {BEGIN "h' = 2x * W x\n", 4, 6, "not a number"},
    {BEGIN "h' = 1e999 * W x\n", 4, 6, "not a number"},
    {BEGIN "h' = W x $ 2\n", 4, 10, "not a number, a name or a sign"},
    {BEGIN "tanh = W x\nh' = tanh\n", 4, 1, "the name of a function"},
    {BEGIN "h' = W^2 x\n", 4, 8, "after '^' only T"},
    {BEGIN "param W[H, I] = purple\nh' = W x\n", 4, 17, "expected a start"},
    {BEGIN "param W[H, 0]\nh' = W x\n", 4, 12, "a size is a whole number"},
    {BEGIN "param W[H, Z]\nh' = W x\n", 4, 12, "'Z' is not a size"},
    {BEGIN "param W[H, I] blocks 2.5\nh' = W x\n", 4, 7, "blocks is a whole number"},
    {BEGIN "param u[H] = orthogonal\nh' = u * W x\n", 4, 14, "is a vector"},
    {BEGIN "param u[H]\nh' = W x\n", 4, 7, "never used"},
    {BEGIN "param u = uniform(2, 1)\nh' = u * W x\n", 4, 23, "a <= b"},
    {BEGIN "const a = 2 * h\nh' = a * W x\n", 4, 7, "not constant"},
    {BEGIN "output z\nh' = W x\n", 4, 8, "never defined"},
    {BEGIN "input z\nh' = W x\n", 4, 7, "one input"},
    {BEGIN "cell d\nh' = W x\n", 4, 6, "one cell"},
    {"input x\nstate h\nh' = W x\n", 1, 1, "has no name"},
    {"cell c\nstate h\nh' = W h\n", 1, 1, "no input"},
    {"cell c\ninput x\ny = W x\n", 1, 1, "no state"},
    {"", 1, 1, "has no name"},
    {BEGIN "h' = W h\n+ 2\n", 5, 1, "a line begins with a name"},
};

static void test_errors(void)
{
    for (size_t i = 0; i < sizeof wrongs / sizeof *wrongs; i++) {
        const struct wrong *w = &wrongs[i];
        bptt_error error = {0};
        bptt_cell *cell;
        int status = bptt_cell_parse(w->text, "file.cell", &cell, &error);
        char place[64];
        snprintf(place, sizeof place, "file.cell:%d:%d: ", w->line, w->column);
        int right = status == BPTT_ERROR_CELL && error.line == w->line && error.column == w->column && !cell &&
                    !strncmp(error.text, place, strlen(place)) && strstr(error.text, w->reason) && strchr(error.text, '^');
        if (!tap_ok(right, "%s", w->reason))
            tap_note("wanted %s...%s, got %s", place, w->reason, error.text);
        if (!status)
            bptt_cell_free(cell);
    }
}

static void test_limits(void)
{
    enum { LONG = 1 << 17 };
    char *text = malloc(LONG + 1);
    bptt_error error = {0};
    bptt_cell *cell;
    if (!text)
        return;
    memset(text, '(', LONG);
    text[LONG] = 0;
    tap_ok(bptt_cell_parse(text, "file.cell", &cell, &error) == BPTT_ERROR_CELL, "a text that is too long: %s", error.text);
    error = (bptt_error){0};
    snprintf(text, LONG, BEGIN "h' = %0500d", 0);
    memset(text + strlen(BEGIN "h' = "), '(', 500);
    tap_ok(bptt_cell_parse(text, "file.cell", &cell, &error) && strstr(error.text, "nested too deeply"), "nesting: %.60s", error.text);
    free(text);
}

static void test_sizes(void)
{
    bptt_cell *cell;
    bptt_cell_info info;
    bptt_error error = {0};
    bptt_cell_parse(BEGIN "dim P = H / 2\nparam V[P, H]\nparam U[H, H] blocks 4\nh' = tanh(W x + V^T V h + U h)\n", "s.cell", &cell, &error);
    long size[16];
    tap_ok(!cell_sizes(cell, 3, 8, NULL, size, &error), "sizes follow from H and I");
    tap_ok(!cell_sizes(cell, 3, 8, "P=3", size, &error), "and may be given: %s", error.text);
    const struct { long inputs, hidden; const char *dims, *reason; } wrong[] = {
        {3, 8, "Q=3", "no size 'Q'"}, {3, 8, "P=0", "NAME=NUMBER"}, {3, 8, "P", "NAME=NUMBER"}, {3, 8, "P=x", "NAME=NUMBER"},
        {3, 1, NULL, "must be between"}, {3, 6, NULL, "cannot be cut into 4 blocks"}, {0, 8, NULL, "must be between"},
        {3, 1L << 40, NULL, "must be between"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        error = (bptt_error){0};
        int status = cell_sizes(cell, wrong[i].inputs, wrong[i].hidden, wrong[i].dims, size, &error);
        tap_ok(status == BPTT_ERROR_ARGUMENT && strstr(error.text, wrong[i].reason), "%s", error.text);
    }
    tap_ok(bptt_cell_describe(cell, 3, 8, &info, NULL) == BPTT_OK && info.parameters == 8 * 3 + 4 * 8 + 8 * 2, "parameters are counted");
    bptt_cell_free(cell);
}

/* ---- stages as text ---- */

static void test_stages(void)
{
    static const struct { const char *stage, *holds; } lines[] = {
        {"equations", "h' = tanh(W x + U h + b)"}, {"graph", "TANH"},          {"phases", "product  U h  (added in place)"},
        {"phases", "before"},                      {"backward", "dL/dU += outer("}, {"backward", "dh = U^T "},
        {"tangent", "t_U h"},                      {"c", "v_tanh("},             {"c", "static void forward_scan_0"},
    };
    bptt_cell *cell;
    bptt_error error = {0};
    if (!tap_ok(!bptt_cell_parse(BEGIN "h' = tanh(W x + U h + b)\n", "s.cell", &cell, &error), "an Elman network compiles"))
        return;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        char *text = NULL;
        int status = bptt_cell_print(cell, lines[i].stage, &text, &error);
        if (!tap_ok(!status && strstr(text, lines[i].holds), "stage %s holds: %s", lines[i].stage, lines[i].holds))
            tap_note("%s", text ? text : error.text);
        free(text);
    }
    char *text;
    tap_ok(bptt_cell_print(cell, "magic", &text, &error) == BPTT_ERROR_ARGUMENT, "an unknown stage: %s", error.text);
    tap_ok(cell->run.count[PLACE_BLOCK] == 0 && cell->run.count[PLACE_STEP] == 0, "all of its values share the next state's place");
    bptt_cell_free(cell);
}

/* ---- the cache ---- */

static bptt_cell *parse_own(void)
{
    bptt_cell *cell = NULL;
    bptt_error error = {0};
    bptt_cell_parse(BEGIN "h' = 0.75 * tanh(W x + U h) + 0.25 * h\n", "own.cell", &cell, &error);
    return cell;
}

static void test_kernel(const bptt_cell *cell, const char *reason)
{
    bptt_model_config config = bptt_model_defaults();
    bptt_model *model;
    bptt_kernel kernel = {0};
    bptt_error error = {0};
    config.cell = cell;
    config.inputs = config.outputs = config.hidden = 2;
    config.loss = BPTT_MSE;
    if (bptt_model_new(&config, &model, &error))
        return;
    tap_ok(!bptt_model_kernel(model, 0, BPTT_F32, &kernel, &error) && strstr(kernel.reason, reason), "%s: %s", kernel.cell,
           kernel.reason);
    tap_ok(bptt_model_kernel(model, 1, BPTT_F32, &kernel, &error) == BPTT_ERROR_ARGUMENT, "%s", error.text);
    bptt_model_free(model);
}

static void test_cache(void)
{
    char folder[] = "/tmp/bptt-cache-XXXXXX", command[64];
    bptt_cell_info info;
    bptt_error error = {0};
    if (!mkdtemp(folder))
        return;
    setenv("BPTT_CACHE", folder, 1);
    bptt_cell *cell = parse_own();
    bptt_cell_describe(cell, 3, 4, &info, NULL);
    tap_text(info.kernel, "interpreter", "a cell of one's own is interpreted at first");
    setenv("CC", "/nonexistent/cc", 1);
    tap_ok(bptt_cell_compile(cell, &error) == BPTT_ERROR_FILE && strstr(error.text, "/nonexistent/cc"), "%s", error.text);
    test_kernel(cell, "cannot run the C compiler '/nonexistent/cc'");
    unsetenv("CC");
    chmod(folder, 0777);
    error = (bptt_error){0};
    tap_ok(bptt_cell_compile(cell, &error) == BPTT_ERROR_FILE && strstr(error.text, "others may write"), "%s", error.text);
    chmod(folder, 0700);
    error = (bptt_error){0};
    tap_ok(!bptt_cell_compile(cell, &error), "it compiles %s", error.text);
    bptt_cell_describe(cell, 3, 4, &info, NULL);
    tap_ok(!strncmp(info.kernel, "compiled", 8), "and runs compiled: %s", info.kernel);
    test_kernel(cell, "compiled just now");
    bptt_cell_free(cell);
    cell = parse_own();
    bptt_cell_describe(cell, 3, 4, &info, NULL);
    tap_ok(!strncmp(info.kernel, "compiled", 8), "the next time it is found in the cache");
    test_kernel(cell, "taken from the cache");
    bptt_check_report report = {0};
    tap_ok(!bptt_cell_check(cell, 1, &report, &error) && report.failed == 0, "%d comparisons with compiled kernels", report.passed);
    bptt_check_clear(&report);
    bptt_cell_free(cell);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command))
        tap_note("could not remove %s", folder);
}

/* ---- damage ---- */

static unsigned draw(unsigned *state, unsigned below)
{
    *state = *state * 1664525u + 1013904223u;
    return (unsigned)((unsigned long long)(*state >> 8) * below >> 24);
}

static void damage(char *text, size_t length, unsigned *state)
{
    static const char signs[] = "+-*/()[],=^'# \nxhWU0123.eT";
    for (unsigned changes = 1 + draw(state, 3); changes; changes--) {
        size_t at = draw(state, (unsigned)length);
        if (draw(state, 3))
            text[at] = signs[draw(state, sizeof signs - 1)];
        else
            memmove(text + at, text + at + 1, strlen(text + at));
    }
}

static void test_damage(void)
{
    enum { ROUNDS = 1500 };
    int compiled = 0, refused = 0, crooked = 0;
    unsigned state = 7;
    for (int i = 0; i < ROUNDS; i++) {
        char text[8192];
        snprintf(text, sizeof text, "%s", builtin_cells[i % builtin_cell_count].text);
        damage(text, strlen(text), &state);
        bptt_error error = {0};
        bptt_cell *cell;
        int status = bptt_cell_parse(text, "damaged.cell", &cell, &error);
        compiled += !status;
        refused += status == BPTT_ERROR_CELL && error.line > 0;
        crooked += status && !(status == BPTT_ERROR_CELL && error.line > 0);
        if (!status)
            bptt_cell_free(cell);
    }
    tap_ok(crooked == 0 && compiled > 50 && refused > 50, "%d damaged cells: %d compile, %d are refused with a place", ROUNDS, compiled, refused);
}

int main(void)
{
    test_errors();
    test_limits();
    test_sizes();
    test_stages();
    test_cache();
    test_damage();
    return tap_done();
}
