/* One source for several kinds of executables: non-PIE, static, static PIE, 32-bit.
 *
 * Arguments: file for the facts, and optionally a user id to become. Two threads: the first
 * blocks in pause() below level3 <- level2 <- level1 <- main, the second in sigsuspend().
 */
#include "common.h"
#include <signal.h>

#ifdef WITH_LIBRARY
int shared_level2(int (*next)(long), long tag);
extern int shared_counter;
#endif

struct node *head;
volatile int number = 0x1234567;
static __thread int tls_number = 77;
static volatile int second_tid;

static void *second(void *unused)
{
    sigset_t none;
    (void)unused;
    prctl(PR_SET_NAME, "second");
    tls_number = 78;
    sigemptyset(&none);
    second_tid = my_tid();
    for (;;)
        sigsuspend(&none);
    return NULL;
}

__attribute__((noinline)) static int level3(long tag)
{
    volatile long local3 = tag * 1000 + 3;
    errno = 99;
    return pause() + (int)local3;
}

__attribute__((noinline)) static int level2(long tag)
{
    volatile long local2 = tag * 1000 + 2;
#ifdef WITH_LIBRARY
    return shared_level2(level3, tag) + (int)local2;
#else
    return level3(tag) + (int)local2;
#endif
}

__attribute__((noinline)) static int level1(long tag)
{
    volatile long local1 = tag * 1000 + 1;
    return level2(tag) + (int)local1;
}

/* Told by a helper process once the first thread is blocked: then nothing can change any more. */
static void tell_when_blocked(const char *path, int pid, unsigned char *pages, int *tls, int *error)
{
    settle(pid, pid, 'S');
    FILE *out = facts_open(path);
    fprintf(out, "{\"pid\": %d, \"second_tid\": %d, \"tag\": 5, \"tls_number_address\": %llu, "
            "\"tls_number\": 77, \"errno_address\": %llu, \"errno\": 99, \"number_address\": %llu, "
            "\"number\": %d, ", pid, second_tid, ptr(tls), ptr(error), ptr(&number), number);
    fprintf(out, "\"touched_page\": %llu, \"touched_byte\": 165, \"untouched_page\": %llu, ",
            ptr(pages), ptr(pages + sysconf(_SC_PAGESIZE)));
#ifdef WITH_LIBRARY
    fprintf(out, "\"shared_counter_address\": %llu, \"shared_counter\": %d, ",
            ptr(&shared_counter), shared_counter);
#endif
    fprintf(out, "\"symbols\": {\"level1\": %llu, \"level2\": %llu, \"level3\": %llu}, ",
            ptr((void *)level1), ptr((void *)level2), ptr((void *)level3));
    tell_list(out, head, &head);
    fprintf(out, "}\n");
    facts_publish(out, path);
}

int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc < 2)
        return 2;
    head = make_list(200);
#ifdef WITH_LIBRARY
    shared_counter = 4242;
#endif
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    unsigned char *pages = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memset(pages, 165, page);
    pthread_create(&thread, NULL, second, NULL);
    while (!second_tid)
        usleep(1000);
    settle(getpid(), second_tid, 'S');
    if (argc > 2 && (setgid(atoi(argv[2])) || setuid(atoi(argv[2]))))
        perror("setuid");
    int pid = getpid();
    int *error = &errno, *tls = &tls_number;
    if (fork() == 0) {
        prctl(PR_SET_NAME, "teller");
        tell_when_blocked(argv[1], pid, pages, tls, error);
        _exit(0);
    }
    signal(SIGCHLD, SIG_IGN); /* the teller leaves no zombie */
    level1(5);
    return 0;
}
