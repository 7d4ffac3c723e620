/* torch.c - PyTorch as a contender: bench/pytorch.py in a process of its own, told by lines what to do. Tensors go by files,
 * and the script times itself, so the pipes are not in the figures. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contest.h"

struct torch {
    const struct problem *problem;
    pid_t child;
    FILE *to, *from;
    char folder[40], file[60], version[80];
};

static int read_line(struct torch *t, char *line, int size)
{
    if (!fgets(line, size, t->from))
        return 0;
    line[strcspn(line, "\n")] = 0;
    return 1;
}

static void ask(struct torch *t, const char *command, char *reply, int size)
{
    fprintf(t->to, "%s\n", command);
    fflush(t->to);
    if (read_line(t, reply, size))
        return;
    fprintf(stderr, "bench: bench/pytorch.py ended at: %s\n", command);
    exit(1);
}

/* ---- the process ---- */

static int launch(struct torch *t, const char *python)
{
    int down[2], up[2];
    if (pipe(down) || pipe(up) || (t->child = fork()) < 0)
        return 0;
    if (!t->child) {
        dup2(down[0], 0);
        dup2(up[1], 1);
        close(down[1]);
        close(up[0]);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        execlp(python, python, "bench/pytorch.py", (char *)NULL);
        _exit(1);
    }
    close(down[0]);
    close(up[1]);
    t->to = fdopen(down[1], "w");
    t->from = fdopen(up[0], "r");
    return t->to && t->from && read_line(t, t->version, sizeof t->version);
}

static void hang_up(struct torch *t)
{
    if (t->to)
        fclose(t->to);
    if (t->from)
        fclose(t->from);
    t->to = t->from = NULL;
    waitpid(t->child, NULL, 0);
}

struct torch *torch_start(void)
{
    const char *pythons[] = {getenv("PYTHON"), "python3", "/usr/bin/python3"};
    struct torch *t = take(sizeof *t);
    signal(SIGPIPE, SIG_IGN);              /* a script that ended is seen by its silence */
    strcpy(t->folder, "/tmp/bptt-bench-XXXXXX");
    for (size_t i = 0; i < sizeof pythons / sizeof *pythons; i++) {
        if (!pythons[i])
            continue;
        if (launch(t, pythons[i]) && mkdtemp(t->folder)) {
            snprintf(t->file, sizeof t->file, "%s/tensors", t->folder);
            return t;
        }
        hang_up(t);
    }
    free(t);
    return NULL;
}

void torch_stop(struct torch *t)
{
    if (!t)
        return;
    hang_up(t);
    rmdir(t->folder);
    free(t);
}

const char *torch_version(const struct torch *t)
{
    return t ? t->version : "";
}

/* ---- tensors by file ---- */

static void lost(const struct torch *t)
{
    fprintf(stderr, "bench: %s: cannot be written or read\n", t->file);
    exit(1);
}

static void write_problem(const struct torch *t, const struct problem *p)
{
    size_t n = (size_t)p->hidden, state = (size_t)p->batch * n, rows = state * (size_t)p->steps, gates = (size_t)gate_count(p);
    const struct { const float *data; size_t count; } part[] = {
        {p->x, rows}, {p->dy, rows}, {p->h, state}, {p->c, p->c ? state : 0}, {p->W, gates * n * n}, {p->U, gates * n * n},
        {p->b, (size_t)bias_count(p) * n},
    };
    FILE *file = fopen(t->file, "wb");
    if (!file)
        lost(t);
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        if (part[i].count && fwrite(part[i].data, sizeof(float), part[i].count, file) != part[i].count)
            lost(t);
    if (fclose(file))
        lost(t);
}

static void collect(void *state, struct gradient *to)
{
    struct torch *t = state;
    char command[100], reply[40];
    float *array[RESULTS];
    long count[RESULTS];
    gradient_list(t->problem, to, array, count);
    count[3] = count[2];                   /* the script writes dc for every cell */
    snprintf(command, sizeof command, "check %s", t->file);
    ask(t, command, reply, sizeof reply);
    FILE *file = fopen(t->file, "rb");
    if (!file || unlink(t->file))
        lost(t);
    for (int i = 0; i < RESULTS; i++)
        if (fread(array[i], sizeof(float), (size_t)count[i], file) != (size_t)count[i])
            lost(t);
    fclose(file);
}

/* ---- the contender ---- */

static double turn(void *state, double seconds)
{
    char command[40], reply[40];
    snprintf(command, sizeof command, "time %g", seconds);
    ask(state, command, reply, sizeof reply);
    return atof(reply);
}

int torch_open_other(struct contender *contender, struct torch *t, const char *command)
{
    char reply[40];
    if (!t)
        return 0;
    ask(t, command, reply, sizeof reply);
    *contender = (struct contender){.name = "PyTorch", .share = 1, .state = t, .turn = turn, .collect = collect};
    return 1;
}

int torch_open(struct contender *contender, struct torch *t, const struct problem *p)
{
    char command[160];
    if (!t)
        return 0;
    t->problem = p;
    write_problem(t, p);
    snprintf(command, sizeof command, "gradient %s %ld %ld %ld %d %s", p->cell, p->hidden, p->batch, p->steps, p->threads,
             t->file);
    torch_open_other(contender, t, command);
    unlink(t->file);                       /* at once: a run that is ended leaves no gigabytes */
    return 1;
}
