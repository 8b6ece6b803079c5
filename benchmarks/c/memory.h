/* The same bytes at the same places, for the programs that are measured beside the server. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Maps FILE at ADDRESS for each argument ADDRESS=FILE, so that every page is in memory. */
static void map_files(int count, char **arguments)
{
    for (int i = 0; i < count; i++) {
        char *file;
        void *address = (void *)(uintptr_t)strtoull(arguments[i], &file, 0);
        struct stat about;
        int fd = *file == '=' ? open(file + 1, O_RDONLY) : -1;
        if (fd < 0 || fstat(fd, &about) ||
            mmap(address, about.st_size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_FIXED | MAP_POPULATE, fd, 0) == MAP_FAILED) {
            perror(arguments[i]);
            exit(1);
        }
        close(fd);
    }
}
