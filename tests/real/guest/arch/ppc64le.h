/* ppc64le: f0 to f31 and general registers 14 to 30. */

#define FLOAT_COUNT 32

/* Register fI holds KNOWN_VALUE + 0x100 + I as bits of a double. */
static uint64_t float_pattern[FLOAT_COUNT];

static inline void prepare_registers(void)
{
    for (int i = 0; i < FLOAT_COUNT; i++)
        float_pattern[i] = KNOWN_VALUE + 0x100 + (unsigned)i;
}

/* r0 to r13 belong to calls, system calls and the ABI, r31 is the frame pointer. */
#define FILL_REGISTERS \
    ".irp n, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31\n" \
    "lfd \\n, (8*\\n)(%0)\n" \
    ".endr\n" \
    ".irp n, 14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30\n" \
    "lis \\n, 0x1111\n" \
    "ori \\n, \\n, 0x1111\n" \
    "sldi \\n, \\n, 32\n" \
    "oris \\n, \\n, 0x1111\n" \
    "ori \\n, \\n, \\n\n" \
    ".endr\n"
#define CLOBBERS "r0", "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "r14", "r15", \
    "r16", "r17", "r18", "r19", "r20", "r21", "r22", "r23", "r24", "r25", "r26", "r27", "r28", \
    "r29", "r30", "fr0", "fr1", "fr2", "fr3", "fr4", "fr5", "fr6", "fr7", "fr8", "fr9", "fr10", \
    "fr11", "fr12", "fr13", "fr14", "fr15", "fr16", "fr17", "fr18", "fr19", "fr20", "fr21", \
    "fr22", "fr23", "fr24", "fr25", "fr26", "fr27", "fr28", "fr29", "fr30", "fr31", "memory", \
    "cr0", "ctr", "xer"

static inline void sleep_with_vectors(void)
{
    register void *first __asm__("r3") = float_pattern;
    __asm__ volatile(FILL_REGISTERS
                     "li 0, %1\n"
                     "sc\n"
                     ".globl vectors_pc\n"
                     "vectors_pc: nop\n" : "+r"(first) : "i"(SYS_pause) : CLOBBERS);
}

static inline void spin(void)
{
    register void *first __asm__("r3") = float_pattern;
    __asm__ volatile(FILL_REGISTERS
                     ".globl spin_begin, spin_end\n"
                     "spin_begin: nop\n"
                     "b spin_begin\n"
                     "spin_end: nop\n" : "+r"(first) : : CLOBBERS);
}

static inline void tell_registers(FILE *out)
{
    static const int numbers[] = {14, 15, 16, 17, 18, 19, 20, 21, 22,
                                  23, 24, 25, 26, 27, 28, 29, 30};
    tell_known(out, "r", numbers, sizeof numbers / sizeof *numbers);
    tell_floats(out, float_pattern, FLOAT_COUNT);
}
