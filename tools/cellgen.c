/* cellgen - writes the C of the built-in cells when bptt is built: FOLDER/cell_NAME.c for each, to be compiled for every
 * instruction set, and FOLDER/builtin.c with their texts and the table of their code.
 *
 *     cellgen FOLDER cells/NAME.cell ...                  (from the root of the sources) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../src/cell/cell.h"

/* The library's table is what this program writes; here there are no built-in cells yet. */
const struct builtin_cell builtin_cells[1];
const int builtin_cell_count = 0;
const char *const builtin_prelude[] = {NULL};

static int give_up(const char *what, const char *detail)
{
    fprintf(stderr, "cellgen: %s%s%s\n", what, detail ? ": " : "", detail ? detail : "");
    return 1;
}

static int write_file(const char *folder, const char *name, const struct text *text)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "w");
    if (!file)
        return give_up("cannot write", path);
    size_t written = fwrite(text->data, 1, text->length, file);
    return fclose(file) || written != text->length ? give_up("cannot write", path) : 0;
}

static int write_cell(const char *folder, const char *path)
{
    static const char prelude[] = "#include \"base/stage.h\"\n#include \"kernel/vmath.h\"\n#define JOIN_(a, b, c, d) a##b##_##c##_##d\n"
                                  "#define JOIN(a, b, c, d) JOIN_(a, b, c, d)\n";
    bptt_error error = {0};
    bptt_cell *cell;
    if (bptt_cell_open(path, &cell, &error))
        return give_up(error.text, NULL);
    struct text text = {0};
    char symbol[160], name[80];
    snprintf(symbol, sizeof symbol, "JOIN(cell_code_, %s, KERNEL_ISA, KERNEL_BITS)", cell->name);
    snprintf(name, sizeof name, "cell_%s.c", cell->name);
    int failed = cell_generate_file(cell, prelude, symbol, &text) || write_file(folder, name, &text);
    text_free(&text);
    bptt_cell_free(cell);
    return failed;
}

static int append_literal(struct text *out, const char *path)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return give_up("cannot read", path);
    char line[4096];
    while (fgets(line, sizeof line, file)) {
        text_add(out, "    \"");
        for (const char *c = line; *c; c++) {
            if (*c == '\n')
                text_add(out, "\\n");
            else
                text_printf(out, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        }
        text_add(out, "\"\n");
    }
    fclose(file);
    return 0;
}

static void cell_name(const char *path, char *name, size_t size)
{
    const char *slash = strrchr(path, '/');
    snprintf(name, size, "%s", slash ? slash + 1 : path);
    name[strcspn(name, ".")] = 0;
}

/* The same kernels as in the Makefile (KERNELS). */
static void write_code_table(struct text *out, const char *name)
{
    static const char *const always[] = {"generic_16", "generic_32", "generic_64"};
    static const char *const x86[] = {"avx2_16", "avx2_32", "avx512_16", "avx512_32"};
    for (int i = 0; i < 3; i++)
        text_printf(out, "extern const struct cell_code cell_code_%s_%s;\n", name, always[i]);
    text_add(out, "#if defined(__x86_64__)\n");
    for (int i = 0; i < 4; i++)
        text_printf(out, "extern const struct cell_code cell_code_%s_%s;\n", name, x86[i]);
    text_printf(out, "#endif\nstatic const struct cell_code *const code_%s[] = {\n", name);
    for (int i = 0; i < 3; i++)
        text_printf(out, "    &cell_code_%s_%s,\n", name, always[i]);
    text_add(out, "#if defined(__x86_64__)\n");
    for (int i = 0; i < 4; i++)
        text_printf(out, "    &cell_code_%s_%s,\n", name, x86[i]);
    text_add(out, "#endif\n};\n");
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int write_table(const char *folder, char **paths, int count)
{
    struct text out = {0};
    int failed = 0;
    text_add(&out, "/* The built-in cells. Written by cellgen. */\n#include \"cell/cell.h\"\n\n");
    for (int i = 0; i < count; i++) {
        char name[80];
        cell_name(paths[i], name, sizeof name);
        write_code_table(&out, name);
    }
    text_add(&out, "\nconst struct builtin_cell builtin_cells[] = {\n");
    for (int i = 0; i < count && !failed; i++) {
        char name[80];
        cell_name(paths[i], name, sizeof name);
        text_printf(&out, "    {\"%s\",\n", name);
        failed = append_literal(&out, paths[i]);
        text_printf(&out, "    , code_%s, sizeof code_%s / sizeof *code_%s},\n", name, name, name);
    }
    text_printf(&out, "};\nconst int builtin_cell_count = %d;\n\nconst char *const builtin_prelude[] = {\n", count);
    failed = failed || append_literal(&out, "src/base/stage.h");
    text_add(&out, "    ,\n");
    failed = failed || append_literal(&out, "src/kernel/vmath.h");
    text_add(&out, "    , NULL\n};\n");
    failed = failed || out.failed || write_file(folder, "builtin.c", &out);
    text_free(&out);
    return failed;
}

int main(int count, char **argument)
{
    if (count < 3)
        return give_up("usage: cellgen FOLDER CELL...", NULL);
    qsort(argument + 2, (size_t)count - 2, sizeof *argument, compare_paths);
    for (int i = 2; i < count; i++)
        if (write_cell(argument[1], argument[i]))
            return 1;
    return write_table(argument[1], argument + 2, count - 2);
}
