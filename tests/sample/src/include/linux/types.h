/* Basic types of the toy kernel. */
#ifndef _LINUX_TYPES_H
#define _LINUX_TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long loff_t;
typedef unsigned long size_t;
typedef long ssize_t;
typedef int pid_t;
typedef _Bool bool;
typedef struct { int counter; } atomic_t;
typedef struct { u64 pgd; } pgd_t;

struct list_head {
	struct list_head *next, *prev;
};

#define NULL ((void *)0)
#define true 1
#define false 0
#define __user
#define noinline __attribute__((noinline, noclone))
#define __init __attribute__((section(".init.text")))
#define __noreturn __attribute__((noreturn))
#define __page_aligned __attribute__((aligned(4096)))
#define offsetof(type, member) __builtin_offsetof(type, member)
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define PAGE_SIZE 4096UL
#define THREAD_SIZE 16384UL
#define NR_CPUS 2

/* A value the compiler must not see through, so that calls stay calls. */
#define opaque(x) ({ __typeof__(x) _v = (x); asm volatile("" : "+r"(_v)); _v; })

/* After a call: keeps it a call, with a frame of its own. */
#define barrier() asm volatile("" : : : "memory")
/* Uses a value at this point, so that a debugger can see it in the frames of calls above. */
#define keep(x) asm volatile("" : : "r"(x) : "memory")

void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
size_t strlen(const char *s);
size_t strscpy(char *to, const char *from, size_t size);

#endif
