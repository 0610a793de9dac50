/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What takes long, for tests/c-long: many calls in the same memory, and threads for tools that look for races.
 *
 *   ./long calls NUMBER SOCKET     so many rounds of calls; the memory does not grow behind the first tenth of them
 *   ./long threads ROUNDS SOCKET   sixteen threads on one of each handle, and on sixteen
 *   ./long speed ROUNDS SOCKET     nanoseconds a call, a line of JSON
 *   ./long attach ROUNDS DIR       attaching and detaching vif5.0 on the kernel, microseconds a call; DIR is the state directory
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "check.h"

#include <pthread.h>
#include <time.h>
#include <unistd.h>

static const char *store_socket;

/* The memory that the process has in use, in pages. */
static long resident(void)
{
    FILE *file = fopen("/proc/self/statm", "r");
    long all, used;

    CHECK(file != NULL && fscanf(file, "%ld %ld", &all, &used) == 2);
    fclose(file);
    return used;
}

struct handles {
    xennet_host *host;
    xennet_store *store;
    xennet_links *links;
};

static void open_all(struct handles *handles)
{
    accepted(xennet_host_new(NULL, XENNET_BACKEND_FAKE, &handles->host));
    accepted(xennet_store_new(store_socket, strlen(store_socket), 60000, &handles->store));
    accepted(xennet_links_new(&handles->links));
}

static void close_all(struct handles *handles)
{
    xennet_links_free(handles->links);
    xennet_store_free(handles->store);
    xennet_host_free(handles->host);
}

/* Ten calls and what they give, of each kind: done, refused, looked at. */
static void round_of_calls(const struct handles *handles, uint32_t domid)
{
    char path[64];
    xennet_plan *plan = NULL;
    xennet_text *text = NULL;
    xennet_error *error;

    accepted(xennet_vif_parse(XENNET_DIALECT_STRICT, TEXT("mac=00:16:3e:01:02:03,bridge=xenbr0,rate=1Mb/s"), &text));
    xennet_text_free(text);
    refused(xennet_vif_parse(XENNET_DIALECT_STRICT, TEXT("mac=00:16:3e:01:02,bridge=xenbr0"), &text), XENNET_KIND_INVALID, "");
    accepted(xennet_host_plan_attach(handles->host, domid, TEXT("bridge=xenbr0"), &plan));
    xennet_plan_free(plan);
    accepted(xennet_host_attach(handles->host, domid, TEXT("bridge=xenbr0"), &text));
    xennet_text_free(text);
    refused(xennet_host_attach(handles->host, domid, TEXT("bridge=xenbr9"), NULL), XENNET_KIND_BRIDGE_NOT_FOUND, "xenbr9");
    accepted(xennet_host_detach(handles->host, domid, 0, NULL));
    snprintf(path, sizeof path, "/long/%u", (unsigned)domid);
    accepted(xennet_store_write(handles->store, path, strlen(path), TEXT("value")));
    accepted(xennet_store_read(handles->store, path, strlen(path), &text));
    holds(text, "value");
    accepted(xennet_links_next_event(handles->links, 0, &text));
    xennet_text_free(text);
    error = xennet_store_read(handles->store, TEXT("/a b"), &text);
    refused(error, XENNET_KIND_INVALID, "/a b");
}

static void many_calls(unsigned long number)
{
    struct handles handles;
    unsigned long i, tenth = number / 100 + 1;
    long before = 0, after;

    open_all(&handles);
    for (i = 0; i * 10 < number; i++) {
        round_of_calls(&handles, 5);
        /* Handles come and go, too. */
        if (i % 100 == 0) {
            struct handles others;

            open_all(&others);
            close_all(&others);
        }
        if (i == tenth)
            before = resident();
    }
    after = resident();
    close_all(&handles);
    printf("%lu calls: %ld KiB in use after a tenth of them, %ld at their end\n", number, before * 4, after * 4);
    CHECK(after - before < 256);
}

static pthread_mutex_t counting = PTHREAD_MUTEX_INITIALIZER;
static unsigned next_domid = 100;
static unsigned long rounds;

static void *works(void *handles)
{
    struct handles own;
    unsigned long i;
    unsigned domid;

    CHECK(pthread_mutex_lock(&counting) == 0);
    domid = next_domid++;
    CHECK(pthread_mutex_unlock(&counting) == 0);
    if (handles == NULL)
        open_all(&own);
    for (i = 0; i < rounds; i++)
        round_of_calls(handles != NULL ? (const struct handles *)handles : &own, domid);
    if (handles == NULL)
        close_all(&own);
    return NULL;
}

static void sixteen_threads(struct handles *handles)
{
    pthread_t threads[16];
    int i;

    for (i = 0; i < 16; i++)
        CHECK(pthread_create(&threads[i], NULL, works, handles) == 0);
    for (i = 0; i < 16; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
}

static double now(void)
{
    struct timespec time;

    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (double)time.tv_sec * 1e9 + (double)time.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    const double *one = (const double *)a, *other = (const double *)b;

    return (*one > *other) - (*one < *other);
}

/* The median of so many times, each of a hundred calls. */
static double median(void (*call)(const xennet_host *), const xennet_host *host)
{
    double *times = (double *)malloc(rounds * sizeof *times), result, begin;
    unsigned long i;
    int j;

    CHECK(times != NULL && rounds > 0);
    for (i = 0; i < rounds; i++) {
        begin = now();
        for (j = 0; j < 100; j++)
            call(host);
        times[i] = (now() - begin) / 100;
    }
    qsort(times, rounds, sizeof *times, compare);
    result = times[rounds / 2];
    free(times);
    return result;
}

static void parses(const xennet_host *host)
{
    xennet_text *text = NULL;

    (void)host;
    accepted(xennet_vif_parse(XENNET_DIALECT_STRICT, TEXT("mac=00:16:3e:01:02:03,bridge=xenbr0,rate=1Mb/s"), &text));
    xennet_text_free(text);
}

static void plans(const xennet_host *host)
{
    xennet_plan *plan = NULL;

    accepted(xennet_host_plan_attach(host, 5, TEXT("bridge=xenbr0"), &plan));
    xennet_plan_free(plan);
}

static void asks(const xennet_host *host)
{
    uint32_t is = 0;

    accepted(xennet_host_is_bridge(host, TEXT("xenbr0"), &is));
    CHECK(is == 1);
}

/* What takes the core next to nothing: so this is what the boundary takes, and a little more. */
static void looks_up(const xennet_host *host)
{
    xennet_text *text = NULL;

    accepted(xennet_host_last(host, &text));
    xennet_text_free(text);
}

static void speed(void)
{
    struct handles handles;

    open_all(&handles);
    printf("{\"parse_ns\": %.0f, \"plan_attach_ns\": %.0f, \"is_bridge_ns\": %.0f", median(parses, handles.host),
           median(plans, handles.host), median(asks, handles.host));
    accepted(xennet_host_attach(handles.host, 5, TEXT("bridge=xenbr0"), NULL));
    printf(", \"last_ns\": %.0f}\n", median(looks_up, handles.host));
    close_all(&handles);
}

/* Attaching and detaching on the kernel: tests/faces-speed makes the link vif5.0 and the bridge xenbr0, and the state directory. */
static void attaches(const char *state_dir)
{
    double *times = (double *)malloc(2 * rounds * sizeof *times), begin, middle;
    xennet_settings *settings = NULL;
    xennet_host *host = NULL;
    unsigned long i;

    CHECK(times != NULL && rounds > 0);
    accepted(xennet_settings_new(&settings));
    accepted(xennet_settings_state_dir(settings, state_dir, strlen(state_dir)));
    accepted(xennet_host_new(settings, XENNET_BACKEND_NETLINK, &host));
    for (i = 0; i < rounds; i++) {
        begin = now();
        accepted(xennet_host_attach(host, 5, TEXT("bridge=xenbr0"), NULL));
        middle = now();
        accepted(xennet_host_detach(host, 5, 0, NULL));
        times[i] = middle - begin;
        times[rounds + i] = now() - middle;
    }
    qsort(times, rounds, sizeof *times, compare);
    qsort(times + rounds, rounds, sizeof *times, compare);
    printf("attach %.1f detach %.1f\n", times[rounds / 2] / 1000, times[rounds + rounds / 2] / 1000);
    xennet_host_free(host);
    xennet_settings_free(settings);
    free(times);
}

int main(int argc, char **argv)
{
    struct handles shared;

    CHECK(argc == 4);
    rounds = strtoul(argv[2], NULL, 10);
    store_socket = argv[3];
    if (strcmp(argv[1], "calls") == 0) {
        many_calls(rounds);
    } else if (strcmp(argv[1], "speed") == 0) {
        speed();
    } else if (strcmp(argv[1], "attach") == 0) {
        attaches(argv[3]);
    } else {
        CHECK(strcmp(argv[1], "threads") == 0);
        open_all(&shared);
        sixteen_threads(&shared);
        close_all(&shared);
        sixteen_threads(NULL);
        printf("16 threads on one of each handle, and on 16: %lu rounds each\n", rounds);
    }
    return 0;
}
