/* Holds files in its memory and waits, for gdbserver to serve: holder ADDRESS=FILE... */
#include "memory.h"
#include <sys/prctl.h>

int main(int argc, char **argv)
{
    map_files(argc - 1, argv + 1);
    prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
    puts("ready");
    fflush(stdout);
    for (;;)
        pause();
}
