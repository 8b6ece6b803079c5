/* Memory and strings. */
#include <linux/types.h>

void *memcpy(void *to, const void *from, size_t len)
{
	void *start = to;

	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
	return start;
}

void *memset(void *to, int byte, size_t len)
{
	void *start = to;

	asm volatile("rep stosb" : "+D"(to), "+c"(len) : "a"(byte) : "memory");
	return start;
}

size_t strlen(const char *s)
{
	size_t len = 0;

	while (opaque(s)[len])
		len++;
	return len;
}

/* Copy at most size - 1 characters and end with NUL; returns the length copied. */
size_t strscpy(char *to, const char *from, size_t size)
{
	size_t len = strlen(from);

	if (len >= size)
		len = size - 1;
	memcpy(to, from, len);
	to[len] = 0;
	return len;
}
