/* Known values for every register that a thread can hold while it spins or sleeps (x86_64). */
#ifndef REGISTERS_H
#define REGISTERS_H
#include <stdint.h>
#include <stdio.h>

#define VECTOR_COUNT 16
#define VECTOR_BYTES 32

/* Byte j of vector register i is i * 16 + j (mod 256): every byte tells where it belongs. */
static uint8_t vector_pattern[VECTOR_COUNT][VECTOR_BYTES];

static inline int fill_pattern(void)
{
    for (int i = 0; i < VECTOR_COUNT; i++)
        for (int j = 0; j < VECTOR_BYTES; j++)
            vector_pattern[i][j] = (uint8_t)(i * 16 + j);
    return __builtin_cpu_supports("avx");
}

#define LOAD_SSE(i) "movups " #i "*32(%%rax), %%xmm" #i "\n"
#define LOAD_AVX(i) "vmovups " #i "*32(%%rax), %%ymm" #i "\n"
#define ALL(LOAD) LOAD(0) LOAD(1) LOAD(2) LOAD(3) LOAD(4) LOAD(5) LOAD(6) LOAD(7) \
    LOAD(8) LOAD(9) LOAD(10) LOAD(11) LOAD(12) LOAD(13) LOAD(14) LOAD(15)

/* rax and rcx, r11 are left out: a system call uses them. rbp and rsp belong to the frame. */
#define FILL_GPRS \
    "movabs $0x1111111111110003, %%rbx\n" \
    "movabs $0x1111111111110002, %%rdx\n" \
    "movabs $0x1111111111110004, %%rsi\n" \
    "movabs $0x1111111111110005, %%rdi\n" \
    "movabs $0x1111111111110008, %%r8\n" \
    "movabs $0x1111111111110009, %%r9\n" \
    "movabs $0x111111111111000a, %%r10\n" \
    "movabs $0x111111111111000c, %%r12\n" \
    "movabs $0x111111111111000d, %%r13\n" \
    "movabs $0x111111111111000e, %%r14\n" \
    "movabs $0x111111111111000f, %%r15\n"
#define FILL_X87 "fninit\nfld1\nfldpi\n"
#define CLOBBERS "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", \
    "r14", "r15", "memory", "cc"

static inline void tell_registers(FILE *out, int avx)
{
    static const char *const names[] = {"rdx", "rbx", "rsi", "rdi", "r8", "r9", "r10",
                                        "r12", "r13", "r14", "r15"};
    static const int numbers[] = {2, 3, 4, 5, 8, 9, 10, 12, 13, 14, 15};
    fprintf(out, "\"registers\": {");
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        fprintf(out, "%s\"%s\": %llu", i ? ", " : "", names[i], 0x1111111111110000ULL + numbers[i]);
    fprintf(out, "}, \"vector_bytes\": %d, \"vectors\": [", avx ? 32 : 16);
    for (int i = 0; i < VECTOR_COUNT; i++) {
        fprintf(out, "%s\"", i ? ", " : "");
        for (int j = 0; j < (avx ? 32 : 16); j++)
            fprintf(out, "%02x", vector_pattern[i][j]);
        fprintf(out, "\"");
    }
    fprintf(out, "], \"x87\": {\"st0\": \"pi\", \"st1\": 1.0}");
}
#endif
