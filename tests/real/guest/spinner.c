/* A thread that spins in user space for ever on one CPU, with known values in its registers.
 *
 * Arguments: file for the facts, CPU number. The first thread waits for the spinning one.
 */
#include "common.h"
#include "registers.h"

extern const char spin_begin[], spin_end[];
static volatile int spinner_tid;
static int has_avx;
static int cpu;

/* The loop touches no memory and no register, so whatever moment the crash hits, they hold. */
__attribute__((noinline)) static void spin(void)
{
    if (has_avx)
        __asm__ volatile(ALL(LOAD_AVX) : : "a"(vector_pattern) : "memory");
    else
        __asm__ volatile(ALL(LOAD_SSE) : : "a"(vector_pattern) : "memory");
    __asm__ volatile(FILL_X87 FILL_GPRS
                     ".globl spin_begin, spin_end\n"
                     "spin_begin: pause\n"
                     "jmp spin_begin\n"
                     "spin_end: nop\n" : : : CLOBBERS);
}

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
    has_avx = fill_pattern();
    pthread_create(&thread, NULL, run, NULL);
    while (!spinner_tid)
        usleep(1000);
    settle(getpid(), spinner_tid, 'R');

    FILE *out = facts_open(argv[1]);
    fprintf(out, "{\"pid\": %d, \"cpu\": %d, \"spinner_tid\": %d, \"spin_begin\": %llu, "
            "\"spin_end\": %llu, ", getpid(), cpu, spinner_tid, ptr(spin_begin), ptr(spin_end));
    tell_registers(out, has_avx);
    fprintf(out, "}\n");
    facts_publish(out, argv[1]);
    pthread_join(thread, NULL);
    return 0;
}
