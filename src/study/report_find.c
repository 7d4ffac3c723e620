/* report_find.c - which metrics a person means: FILE.jsonl itself, those beside a model, or all that lie in a folder. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "../file/input.h"
#include "report.h"

void names_clear(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->name[i]);
    free(names->name);
    *names = (struct names){0};
}

static int add(struct names *names, const char *folder, const char *between, const char *file, bptt_error *error)
{
    struct text path = {0};
    char **grown = realloc(names->name, (names->count + 1) * sizeof *grown);
    names->name = grown ? grown : names->name;
    text_printf(&path, "%s%s%s", folder, between, file);
    char *name = text_take(&path);
    if (!grown || !name) {
        free(name);
        return fail_memory(error, strlen(folder) + strlen(file));
    }
    names->name[names->count++] = name;
    return BPTT_OK;
}

static int has_ending(const char *name, const char *ending)
{
    size_t length = strlen(name), tail = strlen(ending);
    return length > tail && !strcmp(name + length - tail, ending);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int find_in_folder(const char *path, struct names *names, bptt_error *error)
{
    DIR *folder = opendir(path);
    size_t before = names->count;
    int status = BPTT_OK;
    if (!folder)
        return fail_system(error, path, "read");
    for (struct dirent *entry; !status && (entry = readdir(folder));)
        if (has_ending(entry->d_name, ".jsonl") && entry->d_name[0] != '.')
            status = add(names, path, has_ending(path, "/") ? "" : "/", entry->d_name, error);
    closedir(folder);
    if (!status && names->count == before)
        return fail_file(error, BPTT_ERROR_FILE, path,
                         "no run in this folder: bptt train --out FOLDER/NAME.safetensors leaves NAME.safetensors.jsonl there");
    if (names->count > before)
        qsort(names->name + before, names->count - before, sizeof *names->name, compare);
    return status;
}

int report_find(const char *path, struct names *names, bptt_error *error)
{
    struct stat st, beside;
    int known = stat(path, &st) == 0;
    if (!known && errno != ENOENT)
        return fail_system(error, path, "read");
    if (known && S_ISDIR(st.st_mode))
        return find_in_folder(path, names, error);
    if (has_ending(path, ".jsonl"))
        return add(names, path, "", "", error);
    int status = add(names, path, ".jsonl", "", error);
    if (!status && stat(names->name[names->count - 1], &beside))
        return fail_file(error, BPTT_ERROR_FILE, path,
                         known ? "no metrics beside it (%s.jsonl): bptt train writes them as it goes"
                               : "no such run: give a model file, its %s.jsonl or a folder of them",
                         path);
    return status;
}
