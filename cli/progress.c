/* progress.c - see progress.h. What is shown when follows the time that the run itself reports: no clock is asked. */
#include "progress.h"

#include <math.h>
#include <string.h>

#include "kernels.h"
#include "say.h"

enum { RIGHT_MAX = 512, BAR_LEAST = 12, BAR_MOST = 40 };
static const double draw_every = 0.1;   /* seconds between two drawings of the bar */
static const double line_every = 5;     /* and between two plain lines */

void progress_open(struct progress *progress, FILE *out, int verbose, int precision)
{
    *progress = (struct progress){
        .out = out, .terminal = terminal_look(out), .verbose = verbose, .precision = precision, .shown_at = -1e9, .valid = NAN};
}

static void erase(struct progress *progress)
{
    if (progress->drawn)
        fputs("\r\033[K", progress->out);
    progress->drawn = 0;
}

static const char *colour(const struct progress *progress, const char *code)
{
    return progress->terminal.colour ? code : "";
}

/* `width` columns of bar, of which `fraction` is done; in eighths of a column where the terminal can show them. */
static void bar_text(const struct progress *progress, double fraction, int width, char *text)
{
    static const char *const eighths[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
    int whole = (int)(fraction * width * 8);
    *text = 0;
    for (int i = 0; i < width; i++) {
        int part = whole - 8 * i;
        part = part < 0 ? 0 : part > 8 ? 8 : part;
        const char *cell = progress->terminal.unicode ? eighths[part] : part >= 4 ? "#" : ".";
        memcpy(text, cell, strlen(cell) + 1);
        text += strlen(cell);
    }
}

/* The pieces to the right of the bar, the most wanted first; as many as fit are shown. */
static int right_text(const struct progress *progress, const bptt_event *event, int room, char *text, size_t size)
{
    char piece[5][64];
    snprintf(piece[0], sizeof piece[0], " loss %.3f", event->loss);
    double left = event->seconds_left > 0 ? event->seconds_left : NAN;
    snprintf(piece[1], sizeof piece[1], "  %s left", say_time(left).text);
    snprintf(piece[2], sizeof piece[2], "  %.2f bits", nats_to_bits(event->loss));
    snprintf(piece[3], sizeof piece[3], "  %s tokens/s", say_count((int64_t)progress->speed).text);
    snprintf(piece[4], sizeof piece[4], "  valid %.3f", progress->valid);
    int pieces = isnan(progress->valid) ? 4 : 5;
    int used = 0;
    text[0] = 0;
    for (int i = 0; i < pieces; i++) {
        int length = (int)strlen(piece[i]);
        if (used + length > room || (size_t)(used + length) >= size)
            break;
        memcpy(text + used, piece[i], (size_t)length + 1);
        used += length;
    }
    return used;
}

static void draw(struct progress *progress, const bptt_event *event)
{
    char right[RIGHT_MAX];
    char left[64];
    char bar[BAR_MOST * 4 + 1];
    int width = terminal_width(progress->out) - 1;
    snprintf(left, sizeof left, event->steps > 0 ? "%lld/%lld " : "%lld ", (long long)event->step,
             (long long)event->steps);
    int room = width - (int)strlen(left);
    if (room < 0)
        left[0] = 0;
    int reserved = room >= BAR_LEAST + 20 ? BAR_LEAST : 0;
    int columns = room - right_text(progress, event, room - reserved, right, sizeof right);
    columns = columns > BAR_MOST ? BAR_MOST : columns < 4 ? 0 : columns;
    bar_text(progress, fmin(fmax(event->fraction, 0), 1), columns, bar);
    fprintf(progress->out, "\r%s%s%s%s%s\033[K", left, colour(progress, "\033[36m"), bar, colour(progress, "\033[0m"),
            right);
    fflush(progress->out);
    progress->drawn = 1;
}

static void print_step(struct progress *progress, const bptt_event *event)
{
    fprintf(progress->out, "step %lld", (long long)event->step);
    if (event->steps > 0)
        fprintf(progress->out, " of %lld", (long long)event->steps);
    fprintf(progress->out, ": loss %.4f, %.3f bits, %s tokens/s", event->loss, nats_to_bits(event->loss),
            say_count((int64_t)progress->speed).text);
    if (progress->verbose)
        fprintf(progress->out, ", rate %.3g, gradient norm %.3g, epoch %.2f", event->rate, event->norm, event->epoch);
    if (event->seconds_left > 0)
        fprintf(progress->out, ", %s left", say_time(event->seconds_left).text);
    fputc('\n', progress->out);
}

static void show_step(struct progress *progress, const bptt_event *event)
{
    if (isfinite(event->tokens_per_second) && event->tokens_per_second > 0)
        progress->speed += (progress->speed > 0 ? 0.1 : 1) * (event->tokens_per_second - progress->speed);
    double every = progress->terminal.present ? draw_every : line_every;
    if (event->seconds - progress->shown_at < every)
        return;
    progress->shown_at = event->seconds;
    if (progress->terminal.present)
        draw(progress, event);
    else
        print_step(progress, event);
}

static void show_valid(struct progress *progress, const bptt_event *event)
{
    progress->valid = event->loss;
    fprintf(progress->out, "step %lld, epoch %.2f: %svalidation loss %.4f%s, %.3f bits%s\n", (long long)event->step,
            event->epoch, colour(progress, event->best ? "\033[1;32m" : "\033[1m"), event->loss,
            colour(progress, "\033[0m"), nats_to_bits(event->loss), event->best ? ", the best so far" : "");
}

/* The sample between two rules, so that its own empty lines do not confuse. */
static void show_sample(struct progress *progress, const bptt_event *event)
{
    const char *rule = progress->terminal.unicode ? "────" : "----";
    size_t length = event->text ? strlen(event->text) : 0;
    fprintf(progress->out, "%s%s sample at step %lld%s\n", colour(progress, "\033[2m"), rule, (long long)event->step,
            colour(progress, "\033[0m"));
    if (length > 0)
        fwrite(event->text, 1, length, progress->out);
    fprintf(progress->out, "%s%s%s%s\n", length > 0 && event->text[length - 1] == '\n' ? "" : "\n",
            colour(progress, "\033[2m"), rule, colour(progress, "\033[0m"));
}

void progress_show(struct progress *progress, const bptt_event *event)
{
    if (event->kind == BPTT_EVENT_STEP) {
        show_step(progress, event);
        return;
    }
    erase(progress);
    switch (event->kind) {
    case BPTT_EVENT_START:
        fprintf(progress->out, "%s\n", event->text ? event->text : "");
        if (progress->verbose && event->model)
            say_kernels(progress->out, event->model, progress->precision);
        break;
    case BPTT_EVENT_WARNING:
        fflush(progress->out);
        fprintf(stderr, "bptt train: warning: %s\n", event->text ? event->text : "");
        break;
    case BPTT_EVENT_NOTE: fprintf(progress->out, "%s\n", event->text ? event->text : ""); break;
    case BPTT_EVENT_VALID: show_valid(progress, event); break;
    case BPTT_EVENT_SAMPLE: show_sample(progress, event); break;
    case BPTT_EVENT_SAVED:
        if (progress->verbose)
            fprintf(progress->out, "saved %s at step %lld\n", event->text ? event->text : "", (long long)event->step);
        break;
    default: break;
    }
    fflush(progress->out);
}

void progress_close(struct progress *progress)
{
    erase(progress);
    fflush(progress->out);
}
