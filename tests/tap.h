/* tap.h - the least that a test program needs to speak the Test Anything Protocol: one line for each thing tested, the
 * plan at the end (so a program that dies half-way has none, and fails). A tolerance is relative and absolute at once,
 * and every comparison is written so that NaN fails. */
#ifndef BPTT_TESTS_TAP_H
#define BPTT_TESTS_TAP_H

/* "ok" or "not ok" with the formatted name; returns `pass`, so that a test can add diagnostics or stop. */
int tap_ok(int pass, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Passes when |got - want| <= tolerance * (1 + |want|); prints both values when not. */
int tap_near(double got, double want, double tolerance, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Passes when both are the same string (or both NULL); prints both when not. */
int tap_text(const char *got, const char *want, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* A test that cannot run here: counted and listed by the runner, never as a pass. */
void tap_skip(const char *reason, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line of explanation, shown when the test program fails. */
void tap_note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints the plan; returns main's exit status: 0 when everything passed. */
int tap_done(void);

#endif
