/* The least that debuggers take for a remote target: as fast as a server can be.
 *
 *   stub [ready] PACKET_SIZE ADDRESS=FILE...
 *
 * Prints its port. Memory is what the files hold; it answers m and LLDB's form of x, has one
 * thread whose registers are zero, and knows nothing else. Nothing is run-length encoded.
 *
 * ready: m replies are run-length encoded as short as can be and kept; when the same is asked
 * again, they need only be sent. No server can be quicker then.
 */
#include "memory.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { REQUEST = 1 << 16, MOST_KEPT = 1 << 14, GENERAL_REGISTERS = 16 * 8 + 8 + 7 * 4 };

static uint16_t hex_of[256];
static const uint8_t is_special[256] = {['#'] = 1, ['$'] = 1, ['}'] = 1, ['*'] = 1};
static size_t packet_size;
static int parts, ready, kept_count;
static struct { char *request, *reply; size_t length; } kept[MOST_KEPT];
static struct { uintptr_t start, end; } part[16];

static size_t available(uintptr_t address, size_t length)
{
    for (int i = 0; i < parts; i++)
        if (address >= part[i].start && address < part[i].end)
            return length < part[i].end - address ? length : part[i].end - address;
    return 0;
}

static char *hex(char *to, const uint8_t *from, size_t length)
{
    for (size_t i = 0; i < length; i++, to += 2)
        memcpy(to, &hex_of[from[i]], 2);
    return to;
}

/* Run-length encodes the text from `at` to `end` in place and returns its end (GDB manual,
 * "Overview"): X*N stands for N - 28 times X, and N may be none of # $ + -. */
static char *run_length_encoded(char *at, char *end)
{
    char *to = at;
    while (at < end) {
        char digit = *at;
        int repeats = 0;
        while (repeats < 97 && at + 1 + repeats < end && at[1 + repeats] == digit)
            repeats++;
        while (repeats > 2 && strchr("#$+-", repeats + 29))
            repeats--;
        *to++ = digit;
        at++;
        if (repeats > 2) {
            *to++ = '*';
            *to++ = repeats + 29;
            at += repeats;
        }
    }
    return to;
}

static char *escaped(char *to, const uint8_t *from, size_t length)
{
    for (const uint8_t *end = from + length; from < end; from++) {
        int special = is_special[*from]; /* no branch: in random bytes it is hard to foresee */
        *to = '}';
        to += special;
        *to++ = *from ^ special << 5;
    }
    return to;
}

/* Writes the reply to `request` and returns its end. */
static char *answer(const char *request, char *to, int *acknowledge)
{
    const char *text = "";
    if (*request == 'm' || *request == 'x') {
        char *comma;
        uintptr_t address = strtoull(request + 1, &comma, 16);
        size_t length = strtoull(comma + 1, NULL, 16);
        const uint8_t *from = (const uint8_t *)address;
        if (*request == 'x' && !length)
            return stpcpy(to, "OK");
        if (length > packet_size / 2)
            length = packet_size / 2;
        length = available(address, length);
        if (!length)
            return stpcpy(to, "E0e");
        if (*request == 'x')
            return escaped(to, from, length);
        char *end = hex(to, from, length);
        return ready ? run_length_encoded(to, end) : end;
    }
    if (!strncmp(request, "qSupported", 10))
        return to + sprintf(to, "PacketSize=%zx;QStartNoAckMode+", packet_size);
    if (*request == 'g')
        return (char *)memset(to, '0', 2 * GENERAL_REGISTERS) + 2 * GENERAL_REGISTERS;
    if (!strcmp(request, "QStartNoAckMode")) {
        *acknowledge = 0;
        text = "OK";
    } else if (*request == '?')
        text = "T05thread:1;";
    else if (*request == 'H' || *request == 'T' || *request == 'D')
        text = "OK";
    else if (!strcmp(request, "qC"))
        text = "QC1";
    else if (!strcmp(request, "qfThreadInfo"))
        text = "m1";
    else if (!strcmp(request, "qsThreadInfo"))
        text = "l";
    else if (!strncmp(request, "qAttached", 9))
        text = "1";
    return stpcpy(to, text);
}

static void send_all(int to, const char *from, size_t length)
{
    while (length) {
        ssize_t sent = send(to, from, length, MSG_NOSIGNAL);
        if (sent <= 0)
            exit(0);
        from += sent;
        length -= sent;
    }
}

/* Sends the reply kept for a request, if there is one. */
static int send_kept(int client, const char *request)
{
    for (int i = 0; i < kept_count; i++)
        if (!strcmp(kept[i].request, request)) {
            send_all(client, kept[i].reply, kept[i].length);
            return 1;
        }
    return 0;
}

static void keep(const char *request, const char *reply, size_t length)
{
    if (*request != 'm' || kept_count == MOST_KEPT)
        return;
    kept[kept_count].request = strdup(request);
    kept[kept_count].reply = memcpy(malloc(length), reply, length);
    kept[kept_count++].length = length;
}

static void converse(int client)
{
    static char request[REQUEST];
    char *reply = malloc(2 * packet_size + 4096);
    size_t have = 0;
    int acknowledge = 1;
    for (;;) {
        ssize_t got = recv(client, request + have, sizeof request - 1 - have, 0);
        if (got <= 0)
            break;
        have += got;
        char *start, *end;
        while ((start = memchr(request, '$', have)) &&
               (end = memchr(start, '#', have - (start - request))) &&
               end + 3 <= request + have) {
            char *to = reply;
            if (acknowledge)
                *to++ = '+';
            *to++ = '$';
            char *first = to;
            *end = 0;
            if (acknowledge || !ready || !send_kept(client, start + 1)) {
                int in_ack_mode = acknowledge;
                to = answer(start + 1, to, &acknowledge);
                uint8_t sum = 0;
                for (char *at = first; at < to; at++)
                    sum += (uint8_t)*at;
                to += sprintf(to, "#%02x", sum);
                if (ready && !in_ack_mode)
                    keep(start + 1, reply, to - reply);
                send_all(client, reply, to - reply);
            }
            have -= end + 3 - request;
            memmove(request, end + 3, have);
        }
        if (!start)
            have = 0;
    }
    free(reply);
    close(client);
}

int main(int argc, char **argv)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    ready = !strcmp(argv[1], "ready");
    argc -= ready;
    argv += ready;
    packet_size = strtoul(argv[1], NULL, 0);
    map_files(argc - 2, argv + 2);
    for (parts = 0; parts < argc - 2; parts++) {
        struct stat about;
        char *file;
        part[parts].start = strtoull(argv[parts + 2], &file, 0);
        stat(file + 1, &about);
        part[parts].end = part[parts].start + about.st_size;
    }
    for (int i = 0; i < 256; i++) {
        char two[3];
        sprintf(two, "%02x", i);
        memcpy(&hex_of[i], two, 2);
    }
    if (bind(listener, (struct sockaddr *)&address, size) || listen(listener, 1) ||
        getsockname(listener, (struct sockaddr *)&address, &size)) {
        perror("stub");
        return 1;
    }
    printf("%d\n", ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        int client = accept(listener, NULL, NULL);
        setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        converse(client);
    }
}
