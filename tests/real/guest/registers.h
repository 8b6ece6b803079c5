/* Known values for every register that a thread can hold while it spins or sleeps.
 *
 * Each file of arch/ has
 *   prepare_registers()        to be called first;
 *   sleep_with_vectors()     sleeps in a system call, the label vectors_pc is behind it;
 *   spin()      loops for ever between the labels spin_begin and spin_end, and
 *                              touches no memory and no register there;
 *   tell_registers(out)        members of a JSON object: "registers" by name, "vectors" as hex of
 *                              "vector_bytes" bytes each in memory order, "floats" as integers.
 */
#ifndef REGISTERS_H
#define REGISTERS_H
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>

#define KNOWN_VALUE 0x1111111111110000ULL /* plus the register's number */

static inline void tell_known(FILE *out, const char *prefix, const int *numbers, int count)
{
    fprintf(out, "\"registers\": {");
    for (int i = 0; i < count; i++)
        fprintf(out, "%s\"%s%d\": %llu", i ? ", " : "", prefix, numbers[i],
                KNOWN_VALUE + (unsigned)numbers[i]);
    fprintf(out, "}");
}

static inline void tell_vectors(FILE *out, const uint8_t *bytes, int count, int stride, int size)
{
    fprintf(out, ", \"vector_bytes\": %d, \"vectors\": [", size);
    for (int i = 0; i < count; i++) {
        fprintf(out, "%s\"", i ? ", " : "");
        for (int j = 0; j < size; j++)
            fprintf(out, "%02x", bytes[i * stride + j]);
        fprintf(out, "\"");
    }
    fprintf(out, "]");
}

static inline void tell_floats(FILE *out, const uint64_t *values, int count)
{
    fprintf(out, ", \"floats\": [");
    for (int i = 0; i < count; i++)
        fprintf(out, "%s%llu", i ? ", " : "", (unsigned long long)values[i]);
    fprintf(out, "]");
}

#if defined(__x86_64__)
#include "arch/x86_64.h"
#elif defined(__aarch64__)
#include "arch/aarch64.h"
#elif defined(__riscv)
#include "arch/riscv64.h"
#elif defined(__s390x__)
#include "arch/s390x.h"
#elif defined(__powerpc64__)
#include "arch/ppc64le.h"
#endif
#endif
