/* x86_64: vector registers as wide as the CPU has them, x87, general registers. */

#define VECTOR_COUNT 16
#define VECTOR_BYTES 32

/* Byte j of vector register i is i * 16 + j (mod 256): every byte tells where it belongs. */
static uint8_t vector_pattern[VECTOR_COUNT][VECTOR_BYTES];
static int has_avx;

static inline void prepare_registers(void)
{
    for (int i = 0; i < VECTOR_COUNT; i++)
        for (int j = 0; j < VECTOR_BYTES; j++)
            vector_pattern[i][j] = (uint8_t)(i * 16 + j);
    has_avx = __builtin_cpu_supports("avx") != 0;
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

static inline void load_vectors(void)
{
    if (has_avx)
        __asm__ volatile(ALL(LOAD_AVX) : : "a"(vector_pattern) : "memory");
    else
        __asm__ volatile(ALL(LOAD_SSE) : : "a"(vector_pattern) : "memory");
}

static inline void sleep_with_vectors(void)
{
    long number = SYS_pause;
    load_vectors();
    __asm__ volatile(FILL_X87 FILL_GPRS "syscall\n"
                     ".globl vectors_pc\n"
                     "vectors_pc: nop\n" : "+a"(number) : : CLOBBERS);
}

static inline void spin(void)
{
    load_vectors();
    __asm__ volatile(FILL_X87 FILL_GPRS
                     ".globl spin_begin, spin_end\n"
                     "spin_begin: pause\n"
                     "jmp spin_begin\n"
                     "spin_end: nop\n" : : : CLOBBERS);
}

static inline void tell_registers(FILE *out)
{
    static const char *const names[] = {"rdx", "rbx", "rsi", "rdi", "r8", "r9", "r10",
                                        "r12", "r13", "r14", "r15"};
    static const int numbers[] = {2, 3, 4, 5, 8, 9, 10, 12, 13, 14, 15};
    fprintf(out, "\"registers\": {");
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        fprintf(out, "%s\"%s\": %llu", i ? ", " : "", names[i], KNOWN_VALUE + (unsigned)numbers[i]);
    fprintf(out, "}");
    tell_vectors(out, vector_pattern[0], VECTOR_COUNT, VECTOR_BYTES, has_avx ? 32 : 16);
    fprintf(out, ", \"x87\": {\"st0\": \"pi\", \"st1\": 1.0}");
}
