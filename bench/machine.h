/* machine.h - the machine under a bench: its name, and what it can do at most, measured. */
#ifndef BPTT_BENCH_MACHINE_H
#define BPTT_BENCH_MACHINE_H

enum level { LEVEL_L1, LEVEL_L2, LEVEL_L3, LEVEL_DRAM, LEVELS };
extern const char *const level_name[LEVELS];

struct machine {
    char name[128];                        /* the processor */
    const char *isa;                       /* the widest instruction set that the peak was measured with */
    double peak[2];                        /* float32, operations a second, with one thread and with two */
    long bytes[LEVELS];                    /* read again and again to measure */
    double bandwidth[LEVELS];              /* bytes a second, read by one thread */
    double bandwidth_two;                  /* DRAM, two threads */
};

void machine_measure(struct machine *machine);
/* The peak again, for clocks change: the better of the two is kept. */
void machine_remeasure(struct machine *machine);

#endif
