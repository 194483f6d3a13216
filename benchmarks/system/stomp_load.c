// A load generator for STOMP 1.2: SENDs with receipts in a window, or what a queue holds taken with ack:auto; one thread, one poll set.
//
//   stomp_load publish --host H --port P --queue Q [--connections N] [--window N] [--size N] [--seconds S]
//   stomp_load consume --host H --port P --queue Q --count N [--connections N]     N messages of so many publishing connections
//
// A body is "CONNECTION SEQUENCE " and padding. RECEIPTs must come in the order of their SENDs, each once; consumed messages in the order of each connection.
// One line of JSON; exit status 0: all well; 1: a connection failed, or was closed by the broker; 2: wrong usage; 3: something was lost, repeated or reordered.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { IN_SIZE = 1 << 20, OUT_SIZE = 1 << 20, CONNECTIONS_MAX = 1000, BUCKETS = 4096 };

struct connection {
    int fd;
    char *in, *out;
    size_t in_end, out_start, out_end;
    uint64_t sent, confirmed;
    double *times; // of what is not confirmed, by sequence modulo the window
};

static const char *host = "127.0.0.1", *queue = "load";
static int port = 61613, connections = 1, size = 100, consumes;
static uint64_t window = 200, count;
static double seconds = 5.0;
static struct connection *all;
static uint64_t wrong_order, histogram[BUCKETS], next_of[CONNECTIONS_MAX];
static double latency_max;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec * 1e-9;
}

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, errno ? strerror(errno) : "the broker closed the connection");
    exit(1);
}

// Buckets 1.6 % wide from 1 us on.
static int bucket(double us) {
    int at = 0;
    double edge = 1.0;
    if (us < 1.0) return 0;
    while (edge * 2 <= us) edge *= 2, at += 44;
    at += (int)((us / edge - 1.0) * 44);
    return at < BUCKETS ? at : BUCKETS - 1;
}

static double percentile(double part, uint64_t total) {
    uint64_t wanted = (uint64_t)(part * total), seen = 0;
    for (int at = 0; at < BUCKETS; at++)
        if ((seen += histogram[at]) > wanted) return (1.0 + (at % 44) / 44.0) * (double)(1ull << (at / 44));
    return latency_max;
}

static void say(struct connection *one, const char *text, size_t length) {
    if (OUT_SIZE - one->out_end < length) {
        memmove(one->out, one->out + one->out_start, one->out_end - one->out_start);
        one->out_end -= one->out_start;
        one->out_start = 0;
        if (OUT_SIZE - one->out_end < length) { errno = ENOBUFS; fail("output"); }
    }
    memcpy(one->out + one->out_end, text, length);
    one->out_end += length;
}

static void flush_out(struct connection *one) {
    while (one->out_start < one->out_end) {
        ssize_t done = write(one->fd, one->out + one->out_start, one->out_end - one->out_start);
        if (done < 0) {
            if (errno == EAGAIN || errno == EINTR) return;
            fail("write");
        }
        one->out_start += done;
    }
    one->out_start = one->out_end = 0;
}

// A SEND: `head` is all before the receipt's number, and `sent` becomes one more.
static void send_one(struct connection *one, int number, const char *head, size_t head_size, const char *padding, double time) {
    char text[256], body[64];
    int body_size = snprintf(body, sizeof body, "%d %llu ", number, (unsigned long long)one->sent);
    int length = snprintf(text, sizeof text, "%llu\n\n", (unsigned long long)one->sent);
    say(one, head, head_size);
    say(one, text, length);
    if (body_size > size) body_size = size;
    say(one, body, body_size);
    say(one, padding, size - body_size);
    say(one, "", 1);
    one->times[one->sent % window] = time;
    one->sent++;
}

static void on_receipt(struct connection *one, const char *frame, double time) {
    const char *found = strstr(frame, "\nreceipt-id:");
    if (!found || strtoull(found + 12, NULL, 10) != one->confirmed) { wrong_order++; return; }
    double us = (time - one->times[one->confirmed % window]) * 1e6;
    histogram[bucket(us)]++;
    if (us > latency_max) latency_max = us;
    one->confirmed++;
}

static void on_message(struct connection *one, const char *frame) {
    const char *body = strstr(frame, "\n\n");
    char *end;
    long number = body ? strtol(body + 2, &end, 10) : -1;
    if (number < 0 || number >= CONNECTIONS_MAX || strtoull(end, NULL, 10) != next_of[number]) { wrong_order++; return; }
    next_of[number]++;
    one->confirmed++;
}

static void on_frame(struct connection *one, char *frame, double time) {
    if (!strncmp(frame, "RECEIPT", 7)) on_receipt(one, frame, time);
    else if (!strncmp(frame, "MESSAGE", 7)) on_message(one, frame);
    else if (!strncmp(frame, "ERROR", 5)) { fprintf(stderr, "%.400s\n", frame); exit(1); }
}

// All that has come; false: nothing had.
static int take_in(struct connection *one) {
    ssize_t got = read(one->fd, one->in + one->in_end, IN_SIZE - one->in_end);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) return 0;
    if (got <= 0) { if (!got) errno = 0; fail("read"); }
    one->in_end += got;
    double time = now();
    size_t start = 0;
    for (;;) {
        while (start < one->in_end && (one->in[start] == '\n' || one->in[start] == '\r')) start++;
        char *end = memchr(one->in + start, 0, one->in_end - start);
        if (!end) break;
        on_frame(one, one->in + start, time);
        start = end + 1 - one->in;
    }
    memmove(one->in, one->in + start, one->in_end - start);
    one->in_end -= start;
    if (one->in_end == IN_SIZE) { errno = EMSGSIZE; fail("a frame"); }
    return 1;
}

static void open_one(struct connection *one) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    inet_pton(AF_INET, host, &address.sin_addr);
    one->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (one->fd < 0 || connect(one->fd, (struct sockaddr *)&address, sizeof address)) fail("connect");
    int yes = 1;
    setsockopt(one->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    one->in = malloc(IN_SIZE);
    one->out = malloc(OUT_SIZE);
    one->times = calloc(window, sizeof *one->times);
    static const char hello[] = "CONNECT\naccept-version:1.2\nhost:/\nlogin:guest\npasscode:guest\nheart-beat:0,0\n\n";
    if (write(one->fd, hello, sizeof hello) != sizeof hello) fail("CONNECT");
    for (;;) {
        ssize_t got = read(one->fd, one->in + one->in_end, IN_SIZE - one->in_end);
        if (got <= 0) { if (!got) errno = 0; fail("CONNECT"); }
        one->in_end += got;
        if (memchr(one->in, 0, one->in_end)) break;
    }
    if (strncmp(one->in, "CONNECTED", 9)) { fprintf(stderr, "%.400s\n", one->in); exit(1); }
    one->in_end = 0;
    fcntl(one->fd, F_SETFL, O_NONBLOCK);
}

int main(int argc, char **argv) {
    if (argc < 2 || (strcmp(argv[1], "publish") && strcmp(argv[1], "consume"))) { fprintf(stderr, "publish or consume is wanted\n"); return 2; }
    consumes = !strcmp(argv[1], "consume");
    for (int at = 2; at + 1 < argc; at += 2) {
        const char *name = argv[at], *value = argv[at + 1];
        if (!strcmp(name, "--host")) host = value;
        else if (!strcmp(name, "--port")) port = atoi(value);
        else if (!strcmp(name, "--queue")) queue = value;
        else if (!strcmp(name, "--connections")) connections = atoi(value);
        else if (!strcmp(name, "--window")) window = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--size")) size = atoi(value);
        else if (!strcmp(name, "--count")) count = strtoull(value, NULL, 10);
        else if (!strcmp(name, "--seconds")) seconds = atof(value);
        else { fprintf(stderr, "no option %s\n", name); return 2; }
    }
    if (connections < 1 || connections > CONNECTIONS_MAX || window < 1 || size < 1 || size > 100000 || (consumes && !count)) { fprintf(stderr, "out of range\n"); return 2; }
    int used = consumes ? 1 : connections;
    all = calloc(used, sizeof *all);
    struct pollfd *polls = calloc(used, sizeof *polls);
    char head[512], *padding = malloc(size);
    memset(padding, 'x', size);
    size_t head_size = snprintf(head, sizeof head, "SEND\ndestination:/queue/%s\npersistent:true\ncontent-length:%d\nreceipt:", queue, size);
    for (int at = 0; at < used; at++) {
        open_one(&all[at]);
        polls[at].fd = all[at].fd;
    }
    if (consumes) {
        char text[512];
        int length = snprintf(text, sizeof text, "SUBSCRIBE\nid:0\nack:auto\ndestination:/queue/%s\n\n", queue);
        say(&all[0], text, length + 1);
    }
    double begun = now(), cpu_begun = cpu(), last = begun, until = begun + seconds;
    uint64_t batch = window / 8 ? window / 8 : 1, done = 0, published = 0;
    for (;;) {
        double time = now();
        int sends = !consumes && time < until;
        done = published = 0;
        for (int at = 0; at < used; at++) {
            struct connection *one = &all[at];
            uint64_t room = window - (one->sent - one->confirmed);
            if (sends && room >= batch)
                while (room-- && OUT_SIZE - (one->out_end - one->out_start) > (size_t)size + 1024) send_one(one, at, head, head_size, padding, time);
            flush_out(one);
            done += one->confirmed;
            published += one->sent;
            polls[at].events = POLLIN | (one->out_end > one->out_start ? POLLOUT : 0);
        }
        if (consumes ? done >= count : !sends && done >= published) break;
        if (time - last > 10.0) break; // nothing comes any more
        poll(polls, used, 100);
        for (int at = 0; at < used; at++)
            if (polls[at].revents & (POLLIN | POLLHUP | POLLERR) && take_in(&all[at])) last = now();
    }
    double lasted = last - begun, spent = cpu() - cpu_begun;
    uint64_t lost = consumes ? (done < count ? count - done : 0) : published - done;
    printf("{\"published\": %llu, \"consumed\": %llu, \"size\": %d, \"seconds\": %.3f, \"publish_per_s\": %.1f, \"consume_per_s\": %.1f, "
           "\"client_cpu_us_per_message\": %.3f, \"errors\": {\"lost\": %llu, \"wrong\": %llu}, \"confirm_us\": ",
           (unsigned long long)(consumes ? 0 : published), (unsigned long long)(consumes ? done : 0), size, lasted,
           consumes ? 0.0 : done / lasted, consumes ? done / lasted : 0.0, spent * 1e6 / (done ? done : 1), (unsigned long long)lost, (unsigned long long)wrong_order);
    if (consumes) printf("null");
    else printf("{\"p50\": %.0f, \"p99\": %.0f, \"p99.9\": %.0f, \"max\": %.0f}", percentile(0.5, done), percentile(0.99, done), percentile(0.999, done), latency_max);
    printf(", \"end_to_end_us\": null}\n");
    return lost || wrong_order ? 3 : 0;
}
