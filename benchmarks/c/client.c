/* A plain socket client that asks and counts, and does nothing with what it gets.
 *
 *   client PORT latency ADDRESSES            ADDRESSES is a file with a hex address a line
 *   client PORT m|x START LENGTH...
 *   client PORT M|X FILE START LENGTH...
 *
 * latency: 8-byte reads at all addresses, one after another; prints microseconds for each.
 * m, x: LENGTH bytes from each START on in the largest pieces that the server's PacketSize
 * allows; prints MiB/s. M and X decode what comes and write it to FILE; then the speed says
 * nothing. Exit status 3: the server does not know the packet.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 24 };

static int server;
static char buffer[ROOM];
static int prefix; /* bytes before the data of an x reply: gdb's form has one, LLDB's none */

static void fail(const char *what)
{
    fprintf(stderr, "client: %s: %.80s\n", what, buffer);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

static int packet(char *to, const char *text)
{
    uint8_t sum = 0;
    for (const char *at = text; *at; at++)
        sum += (uint8_t)*at;
    return sprintf(to, "$%s#%02x", text, sum);
}

/* Sends a packet and returns the reply's payload and length. */
static char *exchange(const char *request, int length, size_t *reply_length)
{
    size_t have = 0, searched = 0;
    char *end = NULL, *start;
    if (send(server, request, length, 0) != length)
        fail("send");
    while (!end || end + 3 > buffer + have) {
        ssize_t got = recv(server, buffer + have, ROOM - have, 0);
        if (got <= 0)
            fail("the server hung up");
        have += got;
        if (!end)
            end = memchr(buffer + searched, '#', have - searched);
        searched = have;
    }
    start = *buffer == '$' ? buffer : memchr(buffer, '$', have);
    if (!start)
        fail("no reply");
    *end = 0;
    *reply_length = end - start - 1;
    return start + 1;
}

static char *ask(const char *text, size_t *length)
{
    char request[200];
    return exchange(request, packet(request, text), length);
}

/* How many characters a reply stands for: "*" and a count repeat the one before. */
static size_t expanded_length(const char *reply, size_t length)
{
    size_t expanded = length;
    const char *end = reply + length, *star = reply;
    while ((star = memchr(star, '*', end - star))) {
        expanded += (uint8_t)star[1] - 29 - 2;
        star += 2;
    }
    return expanded;
}

static size_t bytes_of_hex(const char *reply, size_t length)
{
    return expanded_length(reply, length) / 2;
}

/* The same for an x reply, in which "}" escapes what follows. */
static size_t bytes_of_binary(const char *reply, size_t length)
{
    size_t escapes = 0;
    for (size_t i = 0; i < length; i++) /* a loop that compilers vectorise */
        escapes += reply[i] == '}';
    return expanded_length(reply, length) - escapes;
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : c - 'a' + 10;
}

static void write_decoded(FILE *to, char kind, const char *reply, size_t length)
{
    static char text[2 * ROOM];
    size_t size = 0;
    for (size_t i = 0; i < length; i++)
        if (reply[i] == '*') {
            int repeats = (uint8_t)reply[++i] - 29;
            memset(text + size, text[size - 1], repeats);
            size += repeats;
        } else if (kind == 'x' && reply[i] == '}')
            text[size++] = reply[++i] ^ 0x20;
        else
            text[size++] = reply[i];
    if (kind == 'm')
        for (size_t i = 0; i < size; i += 2)
            putc_unlocked(digit(text[i]) << 4 | digit(text[i + 1]), to);
    else
        fwrite(text, 1, size, to);
}

static void latency(const char *path)
{
    enum { MOST = 1 << 20, EACH = 40 };
    static char requests[MOST][EACH];
    static int lengths[MOST];
    char text[EACH];
    int count = 0;
    unsigned long long address;
    FILE *file = fopen(path, "r");
    while (file && count < MOST && fscanf(file, "%llx", &address) == 1) {
        snprintf(text, sizeof text, "m%llx,8", address);
        lengths[count] = packet(requests[count], text);
        count++;
    }
    if (!count)
        fail("no addresses");
    double start = now();
    for (int i = 0; i < count; i++) {
        size_t length;
        char *reply = exchange(requests[i], lengths[i], &length);
        if (*reply == 'E' || bytes_of_hex(reply, length) != 8)
            fail(requests[i]);
    }
    printf("%.3f\n", (now() - start) / count * 1e6);
}

static void stream(char kind, unsigned long long at, size_t left, size_t piece, FILE *to)
{
    size_t length;
    char text[64];
    while (left) {
        snprintf(text, sizeof text, "%c%llx,%zx", kind, at, left < piece ? left : piece);
        char *reply = ask(text, &length);
        if (!length)
            exit(3);
        if (kind == 'x') {
            if (prefix && *reply != 'b')
                fail(text);
            reply += prefix;
            length -= prefix;
        }
        size_t got = kind == 'm' ? bytes_of_hex(reply, length) : bytes_of_binary(reply, length);
        if (got < 2 || got > left || (got < 8 && *reply == 'E'))
            fail(text);
        if (to)
            write_decoded(to, kind, reply, length);
        at += got;
        left -= got;
    }
}

static void streams(char kind, size_t packet_size, char **spans, FILE *to)
{
    size_t total = 0, piece = kind == 'm' ? packet_size / 2 : packet_size - 64;
    double start = now();
    for (; spans[0] && spans[1]; spans += 2) {
        size_t length = strtoull(spans[1], NULL, 0);
        stream(kind, strtoull(spans[0], NULL, 0), length, piece, to);
        total += length;
    }
    printf("%.3f\n", total / (now() - start) / (1 << 20));
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    size_t length, size;
    if (argc < 4) {
        fprintf(stderr, "client: too few arguments\n");
        return 2;
    }
    address.sin_port = htons(atoi(argv[1]));
    server = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(server, (struct sockaddr *)&address, sizeof address)) {
        perror("client");
        return 1;
    }
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    char *announced = strstr(ask("qSupported:swbreak+", &length), "PacketSize=");
    if (!announced)
        fail("no PacketSize");
    size = strtoul(announced + 11, NULL, 16);
    prefix = strstr(announced, "binary-upload+") != NULL;
    send(server, "+", 1, 0);
    if (strcmp(ask("QStartNoAckMode", &length), "OK"))
        fail("QStartNoAckMode");
    send(server, "+", 1, 0);
    ask("Hg0", &length); /* gdbserver reads no memory before a thread is selected */
    char kind = *argv[2];
    if (kind == 'l')
        latency(argv[3]);
    else if (kind == 'm' || kind == 'x')
        streams(kind, size, argv + 3, NULL);
    else
        streams(kind | 0x20, size, argv + 4, fopen(argv[3], "w"));
    return 0;
}
