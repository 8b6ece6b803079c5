/* Many threads, each blocked in a system call of its own at a known depth of calls.
 *
 * Argument: file for the facts.
 */
#include "common.h"
#include "registers.h"
#include <poll.h>
#include <time.h>

#define HUGE_BYTES (4UL << 20)
#define HUGE_KEY 0x5a5a000000000000ULL

enum work { READ, SLEEP, CONDITION, POLL, VECTORS, WORKS };
static const char *const names[WORKS] = {"reader", "sleeper", "waiter", "poller", "vectors"};

struct worker {
    enum work work;
    int tid;
    unsigned long long tls, error;
};

extern const char vectors_pc[];
struct node *head;
struct worker workers[WORKS];
static __thread int tls_number = -1;
static __thread char tls_text[16] = "initial";
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t never = PTHREAD_COND_INITIALIZER;
static int pipe_ends[2];

__attribute__((noinline)) static int level3(struct worker *self, long tag)
{
    volatile long local3 = tag * 1000 + 3;
    struct pollfd watched = {.fd = pipe_ends[0], .events = POLLIN};
    struct timespec long_time = {.tv_sec = 100000};
    char byte;
    /* The last store to errno before the thread blocks: visible through its TLS. */
    errno = 40 + (int)self->work;
    switch (self->work) {
    case READ:
        return (int)read(pipe_ends[0], &byte, 1) + (int)local3;
    case SLEEP:
        return nanosleep(&long_time, NULL) + (int)local3;
    case CONDITION:
        pthread_mutex_lock(&mutex);
        return pthread_cond_wait(&never, &mutex) + (int)local3;
    case POLL:
        return poll(&watched, 1, -1) + (int)local3;
    default:
        sleep_with_vectors();
        return (int)local3;
    }
}

__attribute__((noinline)) static int level2(struct worker *self, long tag)
{
    volatile long local2 = tag * 1000 + 2;
    return level3(self, tag) + (int)local2;
}

__attribute__((noinline)) static int level1(struct worker *self, long tag)
{
    volatile long local1 = tag * 1000 + 1;
    return level2(self, tag) + (int)local1;
}

static void *run(void *arg)
{
    struct worker *self = arg;
    prctl(PR_SET_NAME, names[self->work]);
    tls_number = 700 + (int)self->work;
    snprintf(tls_text, sizeof tls_text, "tls-%s", names[self->work]);
    self->tls = ptr(&tls_number);
    self->error = ptr(&errno);
    __atomic_store_n(&self->tid, my_tid(), __ATOMIC_RELEASE);
    level1(self, 10 + self->work);
    return NULL;
}

/* Memory that the kernel may back with 2 MiB pages; word 0 of small page i is HUGE_KEY + i. */
static uint64_t *make_huge(void)
{
    char *area = mmap(NULL, HUGE_BYTES + (2UL << 20), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    uint64_t *aligned = (uint64_t *)(((uintptr_t)area + (2UL << 20) - 1) & -(2UL << 20));
    madvise(aligned, HUGE_BYTES, MADV_HUGEPAGE);
    for (unsigned long i = 0; i < HUGE_BYTES / SMALL_PAGE; i++)
        aligned[i * (SMALL_PAGE / sizeof *aligned)] = HUGE_KEY + i;
    return aligned;
}

static void tell(const char *path, uint64_t *huge)
{
    FILE *out = facts_open(path);
    fprintf(out, "{\"pid\": %d, \"threads\": [", getpid());
    for (int i = 0; i < WORKS; i++)
        fprintf(out, "%s{\"tid\": %d, \"name\": \"%s\", \"tag\": %d, \"tls_number_address\": %llu, "
                "\"tls_number\": %d, \"errno_address\": %llu, \"errno\": %d}", i ? ", " : "",
                workers[i].tid, names[i], 10 + i, workers[i].tls, 700 + i, workers[i].error, 40 + i);
    fprintf(out, "], \"symbols\": {\"main_list\": %llu, \"level1\": %llu, \"level2\": %llu, "
            "\"level3\": %llu, \"workers\": %llu, \"vectors_pc\": %llu}, ", ptr(&head),
            ptr((void *)level1), ptr((void *)level2), ptr((void *)level3), ptr(workers),
            ptr(vectors_pc));
    fprintf(out, "\"huge\": {\"address\": %llu, \"bytes\": %lu, \"key\": %llu}, ", ptr(huge),
            HUGE_BYTES, HUGE_KEY);
    tell_list(out, head, &head);
    fprintf(out, ", \"vectors_tid\": %d, ", workers[VECTORS].tid);
    tell_registers(out);
    fprintf(out, "}\n");
    facts_publish(out, path);
}

int main(int argc, char **argv)
{
    pthread_t ids[WORKS];
    if (argc < 2 || pipe(pipe_ends))
        return 2;
    prepare_registers();
    head = make_list(100);
    uint64_t *huge = make_huge();
    for (int i = 0; i < WORKS; i++) {
        workers[i].work = i;
        pthread_create(&ids[i], NULL, run, &workers[i]);
    }
    for (int i = 0; i < WORKS; i++) {
        while (!__atomic_load_n(&workers[i].tid, __ATOMIC_ACQUIRE))
            usleep(1000);
        settle(getpid(), workers[i].tid, 'S');
    }
    tell(argv[1], huge);
    pthread_join(ids[0], NULL);
    return 0;
}
