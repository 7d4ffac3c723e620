/* small_disk.c - mounts in a namespace of one's own: root has one for the asking, others as root of a user namespace,
 * where the system allows those. It goes with the child. */
#define _GNU_SOURCE 1
#include "small_disk.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

static int put_line(const char *path, const char *line)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    int well = fd >= 0 && write(fd, line, strlen(line)) == (ssize_t)strlen(line);
    if (fd >= 0)
        close(fd);
    return well;
}

static int own_mounts(void)
{
    char users[64], groups[64];
    if (geteuid() == 0)
        return !unshare(CLONE_NEWNS);
    snprintf(users, sizeof users, "0 %u 1", (unsigned)geteuid());
    snprintf(groups, sizeof groups, "0 %u 1", (unsigned)getegid());
    return !unshare(CLONE_NEWUSER | CLONE_NEWNS) && put_line("/proc/self/setgroups", "deny") &&
           put_line("/proc/self/uid_map", users) && put_line("/proc/self/gid_map", groups);
}

static void run_child(const char *folder, void (*try)(struct small_disk *), int to)
{
    struct small_disk report = {0};
    if (!own_mounts() || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) ||
        mount("bptt-test", folder, "tmpfs", 0, "size=64k"))
        _exit(1);
    try(&report);
    _exit(write(to, &report, sizeof report) != sizeof report);
}

int small_disk_run(const char *folder, void (*try)(struct small_disk *report), struct small_disk *report)
{
    int gate[2];
    fflush(stdout); /* or the child would print it as well */
    if (pipe2(gate, O_CLOEXEC))
        return 0;
    pid_t child = fork();
    if (child == 0)
        run_child(folder, try, gate[1]);
    close(gate[1]);
    int got = child > 0 && read(gate[0], report, sizeof *report) == sizeof *report;
    close(gate[0]);
    if (child > 0)
        waitpid(child, NULL, 0);
    return got;
}

int small_disk_protect(const char *folder)
{
    umount2(folder, MNT_DETACH);
    return !mount("bptt-test", folder, "tmpfs", MS_RDONLY, "size=64k");
}
