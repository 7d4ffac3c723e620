/* compile.c - kernels for a user's own cell: the same generator as for the built-in ones, the machine's C compiler, and a
 * cache in the user's own folder. What is compiled is written from the validated graph; no text of the cell reaches the
 * compiler but its names, which are letters, digits and underscores. Opening a model file never starts a compiler; code
 * that this user had compiled before is taken from the cache. */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../base/cpu.h"
#include "cell.h"

extern char **environ;

enum { PATH_SIZE = 1024, SOURCE_SIZE = PATH_SIZE + 64, KINDS = 2 };
/* What one library holds: the cell once for every kind of number that is worth its compilation. */
static const struct { const char *symbol, *bits; int element_size; } kinds[KINDS] = {{"cell_code_f32", "32", 4}, {"cell_code_bf16", "16", 2}};

/* ---- the cache folder: the user's own, and nobody else's to write ---- */

static int cache_path(char *path)
{
    const char *own = getenv("BPTT_CACHE"), *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = -1;
    if (own && *own)
        length = snprintf(path, PATH_SIZE, "%s", own);
    else if (cache && *cache == '/')
        length = snprintf(path, PATH_SIZE, "%s/bptt", cache);
    else if (home && *home == '/')
        length = snprintf(path, PATH_SIZE, "%s/.cache/bptt", home);
    return length > 0 && length < PATH_SIZE - 100;
}

static int is_safe(const char *path)
{
    struct stat status;
    return !stat(path, &status) && S_ISDIR(status.st_mode) && status.st_uid == geteuid() && !(status.st_mode & (S_IWGRP | S_IWOTH));
}

static int make_folder(char *path)
{
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int failed = mkdir(path, 0700) && errno != EEXIST;
        *slash = '/';
        if (failed)
            return 0;
    }
    return !mkdir(path, 0700) || errno == EEXIST;
}

static void library_path(const bptt_cell *cell, const char *folder, const char *isa, char *path)
{
    snprintf(path, PATH_SIZE, "%.*s/%016llx-%s-%s.so", PATH_SIZE - 90, folder, cell->hash, isa, BPTT_VERSION);
}

/* ---- taking from it ---- */

static int stages_of(const bptt_cell *cell)
{
    return cell->run.stages + cell->back.stages;
}

static const struct cell_code *code_in(void *library, int kind, const bptt_cell *cell, const char *isa)
{
    const struct cell_code *code = library ? dlsym(library, kinds[kind].symbol) : NULL;
    int fits = code && code->hash == cell->hash && code->count == stages_of(cell) && !strcmp(code->isa, isa) &&
               code->element_size == kinds[kind].element_size;
    return fits ? code : NULL;
}

static int load(bptt_cell *cell, const char *path, const char *isa)
{
    struct stat status;
    if (stat(path, &status) || status.st_uid != geteuid())
        return 0;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    const struct cell_code *code[KINDS];
    int found = 0;
    for (int i = 0; i < KINDS; i++)
        found += (code[i] = code_in(library, i, cell, isa)) != NULL;
    if (found < KINDS) {
        if (library)
            dlclose(library);
        return 0;
    }
    cell->library = library;
    memcpy(cell->compiled, code, sizeof code);
    return 1;
}

void cell_find_compiled(bptt_cell *cell)
{
    char folder[PATH_SIZE], path[PATH_SIZE];
    enum isa isa;
    if (isa_choose(&isa, NULL) || cell_code_for(cell, isa_name[isa], 4) || !cache_path(folder) || !is_safe(folder))
        return;
    library_path(cell, folder, isa_name[isa], path);
    load(cell, path, isa_name[isa]);
}

/* ---- compiling ---- */

static int write_source(const bptt_cell *cell, int kind, const char *path, bptt_error *error)
{
    struct text text = {0};
    text_printf(&text, "#define KERNEL_BITS %s\n", kinds[kind].bits);
    for (int i = 0; builtin_prelude[i]; i++)
        text_add(&text, builtin_prelude[i]);
    int status = cell_generate_file(cell, "", kinds[kind].symbol, &text) ? fail_memory(error, text.length) : BPTT_OK;
    FILE *file = status ? NULL : fopen(path, "w");
    if (!status && !file)
        status = fail_file(error, BPTT_ERROR_FILE, path, "cannot write: %m");
    if (file) {
        size_t written = fwrite(text.data, 1, text.length, file);
        if (fclose(file) || written != text.length)
            status = fail_file(error, BPTT_ERROR_FILE, path, "cannot write: %m");
    }
    text_free(&text);
    return status;
}

static void first_line(const char *path, char *line, int size)
{
    FILE *file = fopen(path, "r");
    line[0] = 0;
    while (file && fgets(line, size, file) && !strstr(line, "rror"))
        continue;
    if (file)
        fclose(file);
    line[strcspn(line, "\n")] = 0;
}

static int run_compiler(enum isa isa, char source[KINDS][SOURCE_SIZE], const char *library, const char *log, bptt_error *error)
{
    static const char *const flags[ISA_COUNT][5] = {
        {NULL}, {"-mavx2", "-mfma", NULL}, {"-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mfma"}};
    char define[64];
    snprintf(define, sizeof define, "-DKERNEL_ISA=%s", isa_name[isa]);
    const char *cc = getenv("CC");
    const char *argument[24] = {cc && *cc ? cc : "cc", "-std=gnu17", "-O3", "-ffp-contract=fast", "-fno-math-errno",
                                "-fno-trapping-math", "-fPIC", "-shared", "-w", define};
    int count = 10;
    for (int i = 0; i < 5 && flags[isa][i]; i++)
        argument[count++] = flags[isa][i];
    argument[count++] = "-o";
    argument[count++] = library;
    for (int i = 0; i < KINDS; i++)
        argument[count++] = source[i];
    argument[count++] = "-lm";
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions))
        return fail_memory(error, sizeof actions);
    posix_spawn_file_actions_addopen(&actions, 1, log, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    posix_spawn_file_actions_adddup2(&actions, 1, 2);
    pid_t child;
    int failed = posix_spawnp(&child, argument[0], &actions, NULL, (char *const *)argument, environ), result = 0;
    posix_spawn_file_actions_destroy(&actions);
    if (failed)
        return fail(error, BPTT_ERROR_FILE, "cannot run the C compiler '%s': %s (set CC, or go on without: the interpreter runs "
                    "the cell)", argument[0], strerror(failed));
    while (waitpid(child, &result, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(result) && WEXITSTATUS(result) == 0)
        return BPTT_OK;
    char line[300];
    first_line(log, line, sizeof line);
    return fail(error, BPTT_ERROR_FILE, "the C compiler '%s' failed: %s", argument[0], line[0] ? line : "no message");
}

static int build(bptt_cell *cell, enum isa isa, const char *folder, const char *path, bptt_error *error)
{
    char work[PATH_SIZE + 16], source[KINDS][SOURCE_SIZE], library[PATH_SIZE + 32], log[PATH_SIZE + 32];
    snprintf(work, sizeof work, "%s/build-XXXXXX", folder);
    if (!mkdtemp(work))
        return fail_file(error, BPTT_ERROR_FILE, folder, "cannot make a folder to compile in: %m");
    for (int i = 0; i < KINDS; i++)
        snprintf(source[i], sizeof source[i], "%s/%s.c", work, kinds[i].symbol);
    snprintf(library, sizeof library, "%s/cell.so", work);
    snprintf(log, sizeof log, "%s/log", work);
    int status = BPTT_OK;
    for (int i = 0; i < KINDS && !status; i++)
        status = write_source(cell, i, source[i], error);
    if (!status)
        status = run_compiler(isa, source, library, log, error);
    if (!status && rename(library, path))
        status = fail_file(error, BPTT_ERROR_FILE, path, "cannot put the compiled cell here: %m");
    for (int i = 0; i < KINDS; i++)
        unlink(source[i]);
    unlink(library);
    unlink(log);
    rmdir(work);
    return status;
}

static int compile(bptt_cell *cell, enum isa isa, bptt_error *error)
{
    char folder[PATH_SIZE], path[PATH_SIZE];
    if (!cache_path(folder) || !make_folder(folder))
        return fail(error, BPTT_ERROR_FILE, "there is no folder to keep compiled cells in: set BPTT_CACHE");
    if (!is_safe(folder))
        return fail_file(error, BPTT_ERROR_FILE, folder, "not used for compiled cells: others may write to it (chmod go-w)");
    library_path(cell, folder, isa_name[isa], path);
    int status = build(cell, isa, folder, path, error);
    if (!status && !load(cell, path, isa_name[isa]))
        status = fail_file(error, BPTT_ERROR_FILE, path, "the compiled cell does not load: %s", dlerror());
    return status;
}

int bptt_cell_compile(bptt_cell *cell, bptt_error *error)
{
    enum isa isa;
    bptt_error own = {0};
    int status = isa_choose(&isa, error);
    if (status || cell_code_for(cell, isa_name[isa], 4))
        return status;
    status = compile(cell, isa, &own);
    cell->compiled_now = status == BPTT_OK;
    snprintf(cell->not_compiled, sizeof cell->not_compiled, "%.*s", (int)sizeof cell->not_compiled - 1, own.text);
    if (status && error && !error->code)
        *error = own;
    return status;
}
