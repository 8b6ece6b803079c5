/* s390x: f0 to f15 and general registers 6 to 10. */

#define FLOAT_COUNT 16

/* Register fI holds KNOWN_VALUE + 0x100 + I as bits of a double. */
static uint64_t float_pattern[FLOAT_COUNT];

static inline void prepare_registers(void)
{
    for (int i = 0; i < FLOAT_COUNT; i++)
        float_pattern[i] = KNOWN_VALUE + 0x100 + (unsigned)i;
}

/* r0 to r5 belong to calls and system calls, r11 to r15 to the frame. */
#define FILL_REGISTERS \
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n" \
    "ld %%f\\n, 8*\\n(%%r2)\n" \
    ".endr\n" \
    ".irp n, 6,7,8,9,10\n" \
    "llihf %%r\\n, 0x11111111\n" \
    "iilf %%r\\n, 0x11110000 + \\n\n" \
    ".endr\n"
#define CLOBBERS "r1", "r3", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "f0", "f1", "f2", "f3", \
    "f4", "f5", "f6", "f7", "f8", "f9", "f10", "f11", "f12", "f13", "f14", "f15", "memory", "cc"

static inline void sleep_with_vectors(void)
{
    register void *first __asm__("r2") = float_pattern;
    __asm__ volatile(FILL_REGISTERS
                     "svc %1\n"
                     ".globl vectors_pc\n"
                     "vectors_pc: nopr\n" : "+r"(first) : "i"(SYS_pause) : CLOBBERS);
}

static inline void spin(void)
{
    register void *first __asm__("r2") = float_pattern;
    __asm__ volatile(FILL_REGISTERS
                     ".globl spin_begin, spin_end\n"
                     "spin_begin: nopr\n"
                     "j spin_begin\n"
                     "spin_end: nopr\n" : "+r"(first) : : CLOBBERS);
}

static inline void tell_registers(FILE *out)
{
    static const int numbers[] = {6, 7, 8, 9, 10};
    tell_known(out, "r", numbers, sizeof numbers / sizeof *numbers);
    tell_floats(out, float_pattern, FLOAT_COUNT);
}
