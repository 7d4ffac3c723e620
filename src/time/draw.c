/* draw.c - schedules to look at: as lines, as a picture of characters, and as SVG. */
#include "schedule.h"

const char *const action_name[ACTION_KINDS] = {"advance", "keep", "restore", "record", "reverse", "cut", "update"};

/* ---- lines ---- */

int action_print(const struct action *a, char *line, size_t size)
{
    const char *name = action_name[a->kind];
    switch (a->kind) {
    case ACTION_ADVANCE: return snprintf(line, size, "%s %ld..%ld", name, a->from, a->to);
    case ACTION_KEEP:
    case ACTION_RESTORE: return snprintf(line, size, "%s %ld (slot %ld)", name, a->from, a->place);
    case ACTION_RECORD: return snprintf(line, size, "%s %ld..%ld (row %ld)", name, a->from, a->to, a->place);
    case ACTION_CUT: return snprintf(line, size, "%s %ld * %.6g", name, a->from, a->scale);
    case ACTION_UPDATE: return snprintf(line, size, "%s (%ld losses)", name, a->losses);
    default: break;
    }
    if (a->losses == a->to)
        return snprintf(line, size, "%s %ld..%ld (row %ld, no losses)", name, a->to, a->from, a->place);
    if (a->losses > a->from)
        return snprintf(line, size, "%s %ld..%ld (row %ld, losses from %ld)", name, a->to, a->from, a->place, a->losses);
    return snprintf(line, size, "%s %ld..%ld (row %ld)", name, a->to, a->from, a->place);
}

static int drawn(const struct text *out)
{
    return out->failed ? BPTT_ERROR_MEMORY : BPTT_OK;
}

int schedule_print(struct schedule *schedule, long most, struct text *out)
{
    int64_t actions = schedule_forecast(schedule).actions, lines = most > 0 && most < actions ? most - 1 : actions;
    struct action action;
    char line[160];
    for (int64_t i = 0; i < lines && schedule_next(schedule, &action); i++) {
        action_print(&action, line, sizeof line);
        text_printf(out, "%s\n", line);
    }
    if (lines < actions)
        text_printf(out, "... and %lld actions more\n", (long long)(actions - lines));
    schedule_restart(schedule);
    return drawn(out);
}
