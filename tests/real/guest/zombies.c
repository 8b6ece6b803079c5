/* Tasks without memory of their own: a zombie child, and a process whose first thread ended.
 *
 * Argument: file for the facts.
 */
#include "common.h"
#include <signal.h>
#include <sys/wait.h>

static void *live_on(void *unused)
{
    (void)unused;
    prctl(PR_SET_NAME, "orphan-thread");
    for (;;)
        pause();
    return NULL;
}

static int start_leaderless(void)
{
    int pid = fork();
    if (pid == 0) {
        pthread_t thread;
        prctl(PR_SET_NAME, "leaderless");
        pthread_create(&thread, NULL, live_on, NULL);
        syscall(SYS_exit, 0); /* the thread alone: pthread_exit() would load libgcc_s */
    }
    settle(pid, pid, 'Z');
    return pid;
}

int main(int argc, char **argv)
{
    siginfo_t info;
    if (argc < 2)
        return 2;
    int leaderless = start_leaderless();
    int zombie = fork();
    if (zombie == 0) {
        prctl(PR_SET_NAME, "zombie-child");
        _exit(7);
    }
    waitid(P_PID, zombie, &info, WEXITED | WNOWAIT);
    settle(zombie, zombie, 'Z');
    FILE *out = facts_open(argv[1]);
    fprintf(out, "{\"pid\": %d, \"zombie_pid\": %d, \"zombie_status\": 7, \"leaderless_pid\": %d}\n",
            getpid(), zombie, leaderless);
    facts_publish(out, argv[1]);
    for (;;)
        pause();
}
