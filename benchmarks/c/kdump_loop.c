/* What libkdumpfile itself reaches: kdump_loop LIBRARY DUMP SPACE PIECE START LENGTH...
 *
 * Reads LENGTH bytes in PIECEs from each START on in address space SPACE (a kdump_addrspace_t),
 * and prints MiB/s, by the clock and by CPU time. Built without libkdumpfile's headers: LIBRARY
 * is loaded at run time.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

typedef struct kdump_ctx kdump_ctx_t;

/* The part of kdump_attr_t that a string takes. */
struct attribute { int type; const char *string; };
enum { STRING = 4 };

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    void *library = argc > 6 ? dlopen(argv[1], RTLD_NOW) : NULL;
    if (!library) {
        fprintf(stderr, "kdump_loop: %s\n", argc > 6 ? dlerror() : "too few arguments");
        return 1;
    }
    kdump_ctx_t *(*new)(void) = (kdump_ctx_t *(*)(void))dlsym(library, "kdump_new");
    int (*open_files)(kdump_ctx_t *, unsigned, const int *) =
        (int (*)(kdump_ctx_t *, unsigned, const int *))dlsym(library, "kdump_open_fdset");
    int (*read_memory)(kdump_ctx_t *, int, uint64_t, void *, size_t *) =
        (int (*)(kdump_ctx_t *, int, uint64_t, void *, size_t *))dlsym(library, "kdump_read");
    int (*set_attribute)(kdump_ctx_t *, const char *, const struct attribute *) =
        (int (*)(kdump_ctx_t *, const char *, const struct attribute *))dlsym(library,
                                                                             "kdump_set_attr");
    const char *(*error)(kdump_ctx_t *) =
        (const char *(*)(kdump_ctx_t *))dlsym(library, "kdump_get_err");
    kdump_ctx_t *context = new();
    int fd = open(argv[2], O_RDONLY);
    size_t total = 0, piece = strtoull(argv[4], NULL, 0);
    void *buffer = malloc(piece);
    const struct attribute linux_kernel = {STRING, "linux"};
    if (open_files(context, 1, &fd) ||
        set_attribute(context, "addrxlat.ostype", &linux_kernel)) {
        fprintf(stderr, "kdump_loop: %s\n", error(context));
        return 1;
    }
    double start = now(CLOCK_MONOTONIC), cpu_start = now(CLOCK_PROCESS_CPUTIME_ID);
    for (char **span = argv + 5; span[0] && span[1]; span += 2) {
        uint64_t at = strtoull(span[0], NULL, 0), end = at + strtoull(span[1], NULL, 0);
        for (; at < end; at += piece, total += piece) {
            size_t size = piece;
            if (read_memory(context, atoi(argv[3]), at, buffer, &size)) {
                fprintf(stderr, "kdump_loop: %s\n", error(context));
                return 1;
            }
        }
    }
    printf("%.3f %.3f\n", total / (now(CLOCK_MONOTONIC) - start) / (1 << 20),
           total / (now(CLOCK_PROCESS_CPUTIME_ID) - cpu_start) / (1 << 20));
    return 0;
}
