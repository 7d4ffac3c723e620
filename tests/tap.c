/* tap.c - see tap.h. Output is flushed line by line, so that what a dying program said before stays in order; one lock
 * makes the functions fit for tests that run threads. */
#include "tap.h"

#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int tests;
static int failures;

/* A name may hold neither '#' (it would begin a directive) nor a line's end. */
static void print_name(const char *format, va_list arguments)
{
    char name[1024];
    vsnprintf(name, sizeof name, format, arguments);
    for (char *c = name; *c; c++) {
        if (*c == '#')
            *c = ':';
        if (*c == '\n' || *c == '\r')
            *c = ' ';
    }
    fputs(name, stdout);
}

static void print_result(int pass, const char *format, va_list arguments)
{
    tests++;
    failures += !pass;
    printf("%s %d - ", pass ? "ok" : "not ok", tests);
    print_name(format, arguments);
}

/* Every line of a diagnostic needs its own '#'. */
static void print_note(const char *text)
{
    fputs("#   ", stdout);
    for (; *text; text++) {
        putchar(*text);
        if (*text == '\n' && text[1])
            fputs("#   ", stdout);
    }
    putchar('\n');
}

int tap_ok(int pass, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&lock);
    print_result(pass, format, arguments);
    putchar('\n');
    fflush(stdout);
    pthread_mutex_unlock(&lock);
    va_end(arguments);
    return pass;
}

int tap_near(double got, double want, double tolerance, const char *format, ...)
{
    double difference = fabs(got - want);
    double allowed = tolerance * (1 + fabs(want));
    int pass = difference <= allowed || got == want; /* the second for infinities */
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&lock);
    print_result(pass, format, arguments);
    putchar('\n');
    if (!pass)
        printf("#   got %.17g, want %.17g: they differ by %.3g, allowed %.3g\n", got, want, difference, allowed);
    fflush(stdout);
    pthread_mutex_unlock(&lock);
    va_end(arguments);
    return pass;
}

int tap_text(const char *got, const char *want, const char *format, ...)
{
    int pass = got && want ? strcmp(got, want) == 0 : got == want;
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&lock);
    print_result(pass, format, arguments);
    putchar('\n');
    if (!pass) {
        puts("# got:");
        print_note(got ? got : "(none)");
        puts("# want:");
        print_note(want ? want : "(none)");
    }
    fflush(stdout);
    pthread_mutex_unlock(&lock);
    va_end(arguments);
    return pass;
}

void tap_skip(const char *reason, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    pthread_mutex_lock(&lock);
    print_result(1, format, arguments);
    printf(" # SKIP %s\n", reason);
    fflush(stdout);
    pthread_mutex_unlock(&lock);
    va_end(arguments);
}

void tap_note(const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    pthread_mutex_lock(&lock);
    print_note(text);
    fflush(stdout);
    pthread_mutex_unlock(&lock);
}

int tap_done(void)
{
    printf("1..%d\n", tests);
    if (failures > 0)
        printf("# %d of %d failed\n", failures, tests);
    fflush(stdout);
    return failures > 0 || tests == 0;
}
