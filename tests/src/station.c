/*
 * One end of a cable: sends frames as they are given, byte by byte, and counts what arrives. C, because packet sockets
 * need calls that safe Rust has no words for.
 *
 *   station LINK      in the network namespace that the link is in
 *
 * It reads lines from standard input and answers each with one line. FRAME is in hexadecimal digits.
 *
 *   send COUNT FRAME    "ok" when the kernel has taken it COUNT times
 *   count FRAME         how often exactly this frame has arrived
 *   wait MS FRAME       the same, as soon as it has arrived once or the time is over
 *   burst COUNT FRAME   sends it so often at once: the processor's time that it took, in nanoseconds
 *   forget              forgets what has arrived; "ok"
 *   lost                how many frames have arrived and could not be counted
 *   flood FRAME...      sends these in turn, for ever, until there is another line; "ok" at once
 *   quiet               ends a flood: how many frames it has sent
 *
 * Every station runs on the same processor. Then the kernel hands frames on in the order in which they were sent, one
 * queue for all of them: when a later frame has arrived, an earlier one has arrived or never will.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <net/if.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { FRAME_MAX = 2048, SLOTS = 1 << 18, FLOOD_MAX = 64 };

struct frame {
    size_t length;
    unsigned char bytes[FRAME_MAX];
};

static int sock;
static struct { uint64_t hash; unsigned long count; } seen[SLOTS];
static unsigned long used;
static struct frame flood[FLOOD_MAX];
static size_t flooding;
static unsigned long flooded;

static void die(const char *what)
{
    fprintf(stderr, "station: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void stay_on_one_processor(void)
{
    cpu_set_t all, one;
    CPU_ZERO(&all);
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof all, &all) < 0)
        die("sched_getaffinity");
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &all)) {
            CPU_SET(cpu, &one);
            break;
        }
    }
    if (sched_setaffinity(0, sizeof one, &one) < 0)
        die("sched_setaffinity");
}

/* FNV-1a: 64 bits are enough to tell some thousand frames apart. Never 0, which marks a free slot. */
static uint64_t hash(const unsigned char *bytes, size_t length)
{
    uint64_t h = 14695981039346656037u;
    for (size_t i = 0; i < length; i++)
        h = (h ^ bytes[i]) * 1099511628211u;
    return h ? h : 1;
}

static size_t slot(uint64_t h)
{
    size_t i = (size_t)h & (SLOTS - 1);
    while (seen[i].hash && seen[i].hash != h)
        i = (i + 1) & (SLOTS - 1);
    return i;
}

static unsigned long arrived(const struct frame *f)
{
    return seen[slot(hash(f->bytes, f->length))].count;
}

static void note(const unsigned char *bytes, size_t length)
{
    uint64_t h = hash(bytes, length);
    size_t i = slot(h);
    if (!seen[i].hash) {
        /* Full: a test that sends so much has to count less. */
        if (++used > SLOTS / 2) {
            errno = ENOSPC;
            die("frames");
        }
        seen[i].hash = h;
    }
    seen[i].count++;
}

/* Counts what waits in the socket. The kernel takes the outer VLAN tag out of a frame; it is put back. */
static void drain(void)
{
    for (;;) {
        unsigned char raw[FRAME_MAX + 4], *bytes = raw + 4;
        union { char buffer[CMSG_SPACE(sizeof(struct tpacket_auxdata))]; struct cmsghdr align; } control;
        struct iovec io = { bytes, FRAME_MAX };
        struct sockaddr_ll from;
        struct msghdr msg = { 0 };
        msg.msg_name = &from;
        msg.msg_namelen = sizeof from;
        msg.msg_iov = &io;
        msg.msg_iovlen = 1;
        msg.msg_control = control.buffer;
        msg.msg_controllen = sizeof control.buffer;
        ssize_t length = recvmsg(sock, &msg, MSG_DONTWAIT);
        if (length < 0) {
            if (errno == EINTR)
                continue;
            /* A link that goes down says so once. */
            if (errno == EAGAIN || errno == ENETDOWN)
                return;
            die("recvmsg");
        }
        if (from.sll_pkttype == PACKET_OUTGOING)
            continue;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
            struct tpacket_auxdata aux;
            if (c->cmsg_level != SOL_PACKET || c->cmsg_type != PACKET_AUXDATA)
                continue;
            memcpy(&aux, CMSG_DATA(c), sizeof aux);
            if (aux.tp_status & TP_STATUS_VLAN_VALID && length >= 12) {
                uint16_t tag[2] = { htons(aux.tp_vlan_tpid), htons(aux.tp_vlan_tci) };
                memmove(raw, bytes, 12);
                memcpy(raw + 12, tag, 4);
                bytes = raw;
                length += 4;
            }
        }
        note(bytes, (size_t)length);
    }
}

static int digit(int c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Reads the next word as a frame; 0 if there is none. */
static int frame(char **rest, struct frame *f)
{
    char *word = strsep(rest, " \n");
    if (!word || !*word)
        return 0;
    f->length = 0;
    for (; digit(word[0]) >= 0 && digit(word[1]) >= 0 && f->length < FRAME_MAX; word += 2)
        f->bytes[f->length++] = (unsigned char)(digit(word[0]) << 4 | digit(word[1]));
    if (*word) {
        errno = EINVAL;
        die("frame");
    }
    return 1;
}

/* Whether the kernel took it. It may have no room, or the link may be down or without a peer that is up. */
static int transmit(const struct frame *f)
{
    if (send(sock, f->bytes, f->length, 0) == (ssize_t)f->length)
        return 1;
    if (errno != ENOBUFS && errno != ENETDOWN && errno != EINTR && errno != EAGAIN && errno != ENXIO)
        die("send");
    return 0;
}

static long milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000L + now.tv_nsec / 1000000L;
}

static void command(char *line)
{
    static struct frame f;
    char *rest = line, *word = strsep(&rest, " \n");
    if (!strcmp(word, "send")) {
        long count = atol(strsep(&rest, " "));
        if (!frame(&rest, &f))
            die("send what");
        for (long i = 0; i < count;)
            i += transmit(&f);
        puts("ok");
    } else if (!strcmp(word, "count")) {
        frame(&rest, &f);
        drain();
        printf("%lu\n", arrived(&f));
    } else if (!strcmp(word, "wait")) {
        long end = milliseconds() + atol(strsep(&rest, " "));
        frame(&rest, &f);
        for (drain(); !arrived(&f) && milliseconds() < end; drain()) {
            struct pollfd p = { sock, POLLIN, 0 };
            poll(&p, 1, 10);
        }
        printf("%lu\n", arrived(&f));
    } else if (!strcmp(word, "burst")) {
        enum { AT_ONCE = 64 };
        static struct mmsghdr all[AT_ONCE];
        struct iovec io = { f.bytes, 0 };
        struct timespec from, to;
        long count = atol(strsep(&rest, " "));
        if (!frame(&rest, &f))
            die("burst of what");
        io.iov_len = f.length;
        for (int i = 0; i < AT_ONCE; i++) {
            all[i].msg_hdr.msg_iov = &io;
            all[i].msg_hdr.msg_iovlen = 1;
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &from);
        for (long i = 0; i < count;) {
            int sent = sendmmsg(sock, all, (unsigned)(count - i < AT_ONCE ? count - i : AT_ONCE), 0);
            if (sent < 0 && errno != ENOBUFS && errno != EINTR && errno != EAGAIN)
                die("sendmmsg");
            i += sent < 0 ? 0 : sent;
        }
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &to);
        printf("%ld\n", (to.tv_sec - from.tv_sec) * 1000000000L + to.tv_nsec - from.tv_nsec);
    } else if (!strcmp(word, "forget")) {
        drain();
        memset(seen, 0, sizeof seen);
        used = 0;
        puts("ok");
    } else if (!strcmp(word, "lost")) {
        struct tpacket_stats stats;
        socklen_t size = sizeof stats;
        if (getsockopt(sock, SOL_PACKET, PACKET_STATISTICS, &stats, &size) < 0)
            die("PACKET_STATISTICS");
        printf("%u\n", stats.tp_drops);
    } else if (!strcmp(word, "flood")) {
        flooded = 0;
        for (flooding = 0; flooding < FLOOD_MAX && frame(&rest, &flood[flooding]);)
            flooding++;
        puts("ok");
    } else if (!strcmp(word, "quiet")) {
        flooding = 0;
        printf("%lu\n", flooded);
    } else {
        errno = EINVAL;
        die(word);
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct sockaddr_ll to = { 0 };
    char *line = NULL;
    size_t room = 0;
    int on = 1;
    if (argc != 2)
        return 2;
    stay_on_one_processor();
    to.sll_family = AF_PACKET;
    to.sll_protocol = htons(ETH_P_ALL);
    to.sll_ifindex = (int)if_nametoindex(argv[1]);
    if (!to.sll_ifindex)
        die(argv[1]);
    /* Nothing is received before the socket is bound to the link. */
    sock = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (sock < 0)
        die("socket");
    if (setsockopt(sock, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on) < 0)
        die("PACKET_AUXDATA");
    if (bind(sock, (struct sockaddr *)&to, sizeof to) < 0)
        die("bind");
    setvbuf(stdin, NULL, _IONBF, 0);
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd p[2] = { { STDIN_FILENO, POLLIN, 0 }, { sock, POLLIN, 0 } };
        if (poll(p, 2, flooding ? 0 : -1) < 0 && errno != EINTR)
            die("poll");
        if (p[1].revents)
            drain();
        if (p[0].revents) {
            /* The end of input is the end of the test. */
            if (getline(&line, &room, stdin) <= 0)
                return 0;
            command(line);
        }
        for (size_t i = 0; i < flooding; i++)
            flooded += (unsigned long)transmit(&flood[i]);
    }
}
