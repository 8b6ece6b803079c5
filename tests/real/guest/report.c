/* Writes what the running kernel says about itself to a raw disk.
 *
 * Arguments: the disk's device, then the name of each symbol wanted of /proc/kallsyms. Each
 * piece is a line "FILE path length" followed by so many raw bytes and a newline; the last is
 * "END". The host side (facts.py) makes facts.json of it.
 */
#include "common.h"
#include <dirent.h>
#include <sys/klog.h>

static FILE *out;
static char big[1 << 20];

static void send(const char *path, const char *bytes, size_t length)
{
    fprintf(out, "FILE %s %zu\n", path, length);
    fwrite(bytes, 1, length, out);
    fputc('\n', out);
}

static void send_file(const char *path)
{
    size_t length = 0;
    ssize_t got;
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return;
    while (length < sizeof big && (got = read(fd, big + length, sizeof big - length)) > 0)
        length += (size_t)got;
    close(fd);
    send(path, big, length);
}

static void send_symbols(int count, char **names)
{
    char address[32], kind[8], name[512], rest[512];
    size_t length = 0;
    FILE *all = fopen("/proc/kallsyms", "r");
    while (all && fgets(rest, sizeof rest, all)) {
        if (sscanf(rest, "%31s %7s %511s", address, kind, name) != 3)
            continue;
        for (int i = 0; i < count; i++)
            if (!strcmp(name, names[i]) && length < sizeof big - sizeof rest)
                length += (size_t)sprintf(big + length, "%s", rest);
    }
    if (all)
        fclose(all);
    send("/proc/kallsyms", big, length);
}

/* Each entry of `folder` that is a number is a process or a thread. */
static void each_number(const char *folder, void (*visit)(const char *path))
{
    struct dirent *entry;
    char path[300];
    DIR *dir = opendir(folder);
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        visit(path);
    }
    if (dir)
        closedir(dir);
}

static void send_some(const char *folder, const char *const *names)
{
    char path[400];
    for (; *names; names++) {
        snprintf(path, sizeof path, "%s/%s", folder, *names);
        send_file(path);
    }
}

static void send_thread(const char *path)
{
    static const char *const files[] = {"status", "stat", "syscall", "wchan", "stack", "comm", NULL};
    send_some(path, files);
}

static void send_process(const char *path)
{
    static const char *const files[] = {"maps", "auxv", "cmdline", NULL};
    char below[320], target[256];
    if (atoi(path + strlen("/proc/")) == getpid())
        return; /* this program is gone when the crash comes */
    send_some(path, files);
    snprintf(below, sizeof below, "%s/exe", path);
    ssize_t length = readlink(below, target, sizeof target);
    if (length > 0)
        send(below, target, (size_t)length);
    snprintf(below, sizeof below, "%s/task", path);
    each_number(below, send_thread);
}

int main(int argc, char **argv)
{
    static const char *const system_files[] = {
        "/proc/version", "/proc/cmdline", "/proc/modules", "/proc/iomem", "/proc/sys/kernel/osrelease",
        "/sys/devices/system/cpu/online", "/sys/devices/system/cpu/present", "/sys/kernel/vmcoreinfo",
        "/sys/kernel/kexec_crash_size", "/proc/cpuinfo", NULL};
    if (argc < 2 || !(out = fopen(argv[1], "w"))) {
        perror("report");
        return 2;
    }
    for (int i = 0; system_files[i]; i++)
        send_file(system_files[i]);
    send_symbols(argc - 2, argv + 2);
    send("page_size", big, (size_t)sprintf(big, "%ld", sysconf(_SC_PAGESIZE)));
    int length = klogctl(3, big, sizeof big);
    send("dmesg", big, length > 0 ? (size_t)length : 0);
    DIR *told = opendir("/run/facts");
    struct dirent *entry;
    while (told && (entry = readdir(told))) {
        char path[300];
        snprintf(path, sizeof path, "/run/facts/%s", entry->d_name);
        if (entry->d_name[0] != '.')
            send_file(path);
    }
    each_number("/proc", send_process);
    fprintf(out, "END\n");
    return fflush(out) || fsync(fileno(out));
}
