/* riscv64: f0 to f31 and the general registers but for those of calls and system calls. */

#define FLOAT_COUNT 32

/* Register fI holds KNOWN_VALUE + 0x100 + I as bits of a double. */
static uint64_t float_pattern[FLOAT_COUNT];

static inline void prepare_registers(void)
{
    for (int i = 0; i < FLOAT_COUNT; i++)
        float_pattern[i] = KNOWN_VALUE + 0x100 + (unsigned)i;
}

/* x5 to x7, x9 (s1), x18 to x31; x10 to x17 are the system call's, x8 (s0) is the frame pointer. */
#define FILL_REGISTERS \
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n" \
    "fld f\\n, (8 * \\n)(a0)\n" \
    ".endr\n" \
    ".irp n, 5,6,7,9,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n" \
    "li x\\n, 0x1111111111110000 + \\n\n" \
    ".endr\n"
#define CLOBBERS "t0", "t1", "t2", "s1", "a1", "a2", "a3", "a4", "a7", "s2", "s3", "s4", "s5", \
    "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6", \
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1", "fa0", "fa1", "fa2", \
    "fa3", "fa4", "fa5", "fa6", "fa7", "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", \
    "fs10", "fs11", "ft8", "ft9", "ft10", "ft11", "memory"

static inline void sleep_with_vectors(void)
{
    register void *first __asm__("a0") = float_pattern;
    __asm__ volatile(FILL_REGISTERS
                     "li a0, 0\nli a1, 0\nli a2, 0\nli a3, 0\nli a4, 0\n"
                     "li a7, %1\n" /* ppoll() of nothing: there is no pause() here */
                     "ecall\n"
                     ".globl vectors_pc\n"
                     "vectors_pc: nop\n" : "+r"(first) : "i"(SYS_ppoll) : CLOBBERS);
}

static inline void spin(void)
{
    register void *first __asm__("a0") = float_pattern;
    __asm__ volatile(FILL_REGISTERS
                     ".globl spin_begin, spin_end\n"
                     "spin_begin: nop\n"
                     "j spin_begin\n"
                     "spin_end: nop\n" : "+r"(first) : : CLOBBERS);
}

static inline void tell_registers(FILE *out)
{
    static const int numbers[] = {5, 6, 7, 9, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31};
    tell_known(out, "x", numbers, sizeof numbers / sizeof *numbers);
    tell_floats(out, float_pattern, FLOAT_COUNT);
}
