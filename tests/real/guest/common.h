/* What every guest program shares: known data, known call chain, and how it tells facts. */
#ifndef COMMON_H
#define COMMON_H
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

struct node {
    int id;
    char label[12];
    double weight;
    struct node *next;
};

#define NODE_COUNT 3
#define SMALL_PAGE 4096

static inline int my_tid(void) { return (int)syscall(SYS_gettid); }
static inline unsigned long long ptr(const volatile void *p) { return (uintptr_t)p; }

/* A list of NODE_COUNT heap nodes with ids first, first + 1, ... */
static inline struct node *make_list(int first)
{
    struct node *head = NULL;
    for (int i = NODE_COUNT - 1; i >= 0; i--) {
        struct node *node = calloc(1, sizeof *node);
        node->id = first + i;
        snprintf(node->label, sizeof node->label, "node-%d", node->id);
        node->weight = node->id * 0.5;
        node->next = head;
        head = node;
    }
    return head;
}

/* The state letter of a thread of this process, as /proc shows it; 0 if it is gone. */
static inline char thread_state(int pid, int tid)
{
    char path[64], text[512] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%d/stat", pid, tid);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, text, sizeof text - 1);
    close(fd);
    char *end = got > 0 ? strrchr(text, ')') : NULL;
    return end ? end[2] : 0;
}

/* Wait until the thread has the given state, for example 'S' for blocked in its system call. */
static inline void settle(int pid, int tid, char state)
{
    while (thread_state(pid, tid) != state)
        usleep(2000);
}

/* Facts are written beside their final name and renamed, so a reader never sees half of them. */
static inline FILE *facts_open(const char *path)
{
    char part[256];
    snprintf(part, sizeof part, "%s.part", path);
    FILE *out = fopen(part, "w");
    if (!out) {
        perror(part);
        exit(1);
    }
    return out;
}

static inline void facts_publish(FILE *out, const char *path)
{
    char part[256];
    snprintf(part, sizeof part, "%s.part", path);
    if (fclose(out) || rename(part, path)) {
        perror(path);
        exit(1);
    }
}

static inline void tell_list(FILE *out, const struct node *head, struct node **variable)
{
    fprintf(out, "\"head_variable\": %llu, \"nodes\": [", ptr(variable));
    for (; head; head = head->next)
        fprintf(out, "{\"address\": %llu, \"id\": %d, \"label\": \"%s\", \"weight\": %g}%s",
                ptr(head), head->id, head->label, head->weight, head->next ? ", " : "");
    fprintf(out, "]");
}
#endif
