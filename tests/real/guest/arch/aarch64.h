/* aarch64: v0 to v31 and the general registers but for those of calls and system calls. */

#define VECTOR_COUNT 32
#define VECTOR_BYTES 16

/* Byte j of vector register i is i * 8 + j (mod 256). */
static uint8_t vector_pattern[VECTOR_COUNT][VECTOR_BYTES];

static inline void prepare_registers(void)
{
    for (int i = 0; i < VECTOR_COUNT; i++)
        for (int j = 0; j < VECTOR_BYTES; j++)
            vector_pattern[i][j] = (uint8_t)(i * 8 + j);
}

/* x0 to x8 are left out: the system call uses them. x18, x29, x30 and sp belong to the ABI. */
#define FILL_REGISTERS \
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n" \
    "ldr q\\n, [x0, #(16 * \\n)]\n" \
    ".endr\n" \
    ".irp n, 9,10,11,12,13,14,15,16,17,19,20,21,22,23,24,25,26,27,28\n" \
    "movz x\\n, #\\n\n" \
    "movk x\\n, #0x1111, lsl #16\n" \
    "movk x\\n, #0x1111, lsl #32\n" \
    "movk x\\n, #0x1111, lsl #48\n" \
    ".endr\n"
#define CLOBBERS "x1", "x2", "x3", "x4", "x8", "x9", "x10", "x11", "x12", "x13", "x14", "x15", \
    "x16", "x17", "x19", "x20", "x21", "x22", "x23", "x24", "x25", "x26", "x27", "x28", \
    "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13", \
    "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", \
    "v27", "v28", "v29", "v30", "v31", "memory", "cc"

static inline void sleep_with_vectors(void)
{
    register void *first __asm__("x0") = vector_pattern;
    __asm__ volatile(FILL_REGISTERS
                     "mov x0, xzr\nmov x1, xzr\nmov x2, xzr\nmov x3, xzr\nmov x4, xzr\n"
                     "mov x8, %1\n" /* ppoll() of nothing: there is no pause() here */
                     "svc #0\n"
                     ".globl vectors_pc\n"
                     "vectors_pc: nop\n" : "+r"(first) : "i"(SYS_ppoll) : CLOBBERS);
}

static inline void spin(void)
{
    register void *first __asm__("x0") = vector_pattern;
    __asm__ volatile(FILL_REGISTERS
                     ".globl spin_begin, spin_end\n"
                     "spin_begin: nop\n"
                     "b spin_begin\n"
                     "spin_end: nop\n" : "+r"(first) : : CLOBBERS);
}

static inline void tell_registers(FILE *out)
{
    static const int numbers[] = {9, 10, 11, 12, 13, 14, 15, 16, 17,
                                  19, 20, 21, 22, 23, 24, 25, 26, 27, 28};
    tell_known(out, "x", numbers, sizeof numbers / sizeof *numbers);
    tell_vectors(out, vector_pattern[0], VECTOR_COUNT, VECTOR_BYTES, VECTOR_BYTES);
}
