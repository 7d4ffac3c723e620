/* terminal.c - see terminal.h. */
#define _GNU_SOURCE
#include "terminal.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* The first of the locale's variables that is set decides; setlocale is not called, so numbers keep their point. */
static int locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return 0;
}

struct terminal terminal_look(FILE *stream)
{
    const char *kind = getenv("TERM");
    const char *no_colour = getenv("NO_COLOR");
    int dumb = !kind || !*kind || strcmp(kind, "dumb") == 0;
    struct terminal terminal = {.present = isatty(fileno(stream)) && !dumb};
    terminal.colour = terminal.present && !(no_colour && *no_colour);
    terminal.unicode = locale_is_utf8();
    return terminal;
}

int terminal_width(FILE *stream)
{
    struct winsize size;
    if (ioctl(fileno(stream), TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    return 80;
}
