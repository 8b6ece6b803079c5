/* A thread that spins in user space for ever on one CPU, with known values in its registers.
 *
 * Arguments: file for the facts, CPU number. The first thread waits for the spinning one.
 */
#include "common.h"
#include "registers.h"

extern const char spin_begin[], spin_end[];
static volatile int spinner_tid;
static int cpu;

static void *run(void *unused)
{
    cpu_set_t only;
    (void)unused;
    CPU_ZERO(&only);
    CPU_SET(cpu, &only);
    if (sched_setaffinity(0, sizeof only, &only))
        perror("sched_setaffinity");
    prctl(PR_SET_NAME, "spin-user");
    spinner_tid = my_tid();
    spin();
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t thread;
    if (argc < 3)
        return 2;
    cpu = atoi(argv[2]);
    prepare_registers();
    pthread_create(&thread, NULL, run, NULL);
    while (!spinner_tid)
        usleep(1000);
    settle(getpid(), spinner_tid, 'R');

    FILE *out = facts_open(argv[1]);
    fprintf(out, "{\"pid\": %d, \"cpu\": %d, \"spinner_tid\": %d, \"spin_begin\": %llu, "
            "\"spin_end\": %llu, ", getpid(), cpu, spinner_tid, ptr(spin_begin), ptr(spin_end));
    tell_registers(out);
    fprintf(out, "}\n");
    facts_publish(out, argv[1]);
    pthread_join(thread, NULL);
    return 0;
}
