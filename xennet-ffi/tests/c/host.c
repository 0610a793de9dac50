/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A host in programs that do what programs do: threads, forks, children that nobody or everybody waits for.
 *
 *   ./host WHAT STATE-DIR        in a network namespace with the bridge xenbr0 and the links vif1.0 and vif2.0
 *
 * Silent and 0 if all is well.
 */
#define _DEFAULT_SOURCE
#include <xennet.h>

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(truth)                                                                                                   \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #truth);                                        \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)

#define TEXT(literal) (literal), (sizeof(literal) - 1)

static const char *state_dir;

static void accepted(xennet_error *error)
{
    if (error != NULL) {
        fprintf(stderr, "%s\n", xennet_error_report(error));
        _exit(1);
    }
}

/* An error of a host that is another process's. */
static void refused(xennet_error *error)
{
    CHECK(error != NULL);
    if (xennet_error_kind(error) != XENNET_KIND_INVALID || strstr(xennet_error_message(error), "(fork)") == NULL) {
        fprintf(stderr, "%s\n", xennet_error_report(error));
        _exit(1);
    }
    xennet_error_free(error);
}

static xennet_host *opened(void)
{
    xennet_host *host = NULL;

    accepted(xennet_host_new_netlink(state_dir, strlen(state_dir), &host));
    return host;
}

static void ended_well(pid_t child)
{
    int status = 0;

    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static atomic_int stop;

/* Attaches and detaches a vif until it is told to stop. */
static void *works(void *host)
{
    int rounds = 0;

    while (!atomic_load(&stop) || rounds == 0) {
        accepted(xennet_host_attach((xennet_host *)host, 1, TEXT("bridge=xenbr0"), NULL));
        accepted(xennet_host_detach((xennet_host *)host, 1, 0, NULL));
        rounds++;
    }
    return NULL;
}

/* Children that know nothing of the library: none of them may keep a lock that a call had when it was forked. */
static void children_hold_no_lock(void)
{
    xennet_host *host = opened(), *other;
    pthread_t thread;
    pid_t children[60];
    size_t i;

    CHECK(pthread_create(&thread, NULL, works, host) == 0);
    for (i = 0; i < 60; i++) {
        children[i] = fork();
        CHECK(children[i] >= 0);
        if (children[i] == 0) {
            /* Not to be left behind when something is not so. */
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            for (;;)
                pause();
        }
        usleep(1000);
    }
    atomic_store(&stop, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    other = opened();
    works(other);
    xennet_host_free(other);
    xennet_host_free(host);
    for (i = 0; i < 60; i++) {
        CHECK(kill(children[i], SIGKILL) == 0);
        CHECK(waitpid(children[i], NULL, 0) == children[i]);
    }
}

/* A child does not get at its parent's host, not even while a thread of the parent's is in a call; it opens its own. */
static void a_child_opens_its_own(void)
{
    xennet_host *host = opened();
    pthread_t thread;
    pid_t child;
    int i;

    CHECK(pthread_create(&thread, NULL, works, host) == 0);
    for (i = 0; i < 40; i++) {
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            xennet_plan *plan = NULL;
            xennet_host *own;

            alarm(60);
            refused(xennet_host_attach(host, 2, TEXT("bridge=xenbr0"), NULL));
            refused(xennet_host_plan_detach(host, 2, 0, &plan));
            CHECK(plan == NULL);
            own = opened();
            accepted(xennet_host_attach(own, 2, TEXT("bridge=xenbr0,mac=00:16:3e:00:00:02,ip=192.0.2.2"), NULL));
            accepted(xennet_host_detach(own, 2, 0, NULL));
            xennet_host_free(own);
            xennet_host_free(host);
            _exit(0);
        }
        ended_well(child);
    }
    atomic_store(&stop, 1);
    CHECK(pthread_join(thread, NULL) == 0);
    works(host);
    xennet_host_free(host);
}

static void *attaches_often(void *host)
{
    static atomic_uint next;
    unsigned domid = 100 + atomic_fetch_add(&next, 1);
    int i;

    for (i = 0; i < 100; i++) {
        xennet_plan *plan = NULL;
        xennet_text *document = NULL;

        accepted(xennet_host_plan_attach((const xennet_host *)host, domid, TEXT("bridge=xenbr0"), &plan));
        CHECK(xennet_plan_len(plan) > 0);
        xennet_plan_free(plan);
        accepted(xennet_host_attach((const xennet_host *)host, domid, TEXT("bridge=xenbr0"), &document));
        CHECK(strstr(xennet_text_data(document), "\"steps\":0") == NULL);
        xennet_text_free(document);
        accepted(xennet_host_detach((const xennet_host *)host, domid, 0, NULL));
    }
    return NULL;
}

/* Sixteen threads on one host. */
static void threads_share_a_host(void)
{
    xennet_host *host = NULL;
    pthread_t threads[16];
    int i;

    accepted(xennet_host_new_fake(&host));
    for (i = 0; i < 16; i++)
        CHECK(pthread_create(&threads[i], NULL, attaches_often, host) == 0);
    for (i = 0; i < 16; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    xennet_host_free(host);
}

static void a_network_is_served(void)
{
    static const char file[] = "[network.lan]\nmode = \"nat\"\nsubnets = [\"10.9.0.0/24\"]\nbridge = \"br-lan\"\n"
                               "dhcp = true\n";
    xennet_host *host = opened();
    xennet_text *network = NULL, *status = NULL;
    const char *document;
    size_t len;

    accepted(xennet_networks_get(TEXT(file), TEXT("lan"), &network));
    document = xennet_text_data(network);
    len = xennet_text_len(network);
    accepted(xennet_host_start_network(host, document, len, NULL));
    accepted(xennet_host_network_status(host, document, len, &status));
    CHECK(strstr(xennet_text_data(status), "\"started\":true") != NULL);
    CHECK(strstr(xennet_text_data(status), "\"missing\":[]") != NULL);
    accepted(xennet_host_stop_network(host, TEXT("lan"), XENNET_GUESTS_MUST_HAVE_GONE, NULL));
    xennet_text_free(status);
    xennet_text_free(network);
    xennet_host_free(host);
}

/* The kernel tells nobody how a child ended. */
static void children_are_ignored(void)
{
    CHECK(signal(SIGCHLD, SIG_IGN) != SIG_ERR);
    a_network_is_served();
}

static void *waits_for_everybody(void *nothing)
{
    while (!atomic_load(&stop))
        if (waitpid(-1, NULL, 0) < 0)
            usleep(100);
    return nothing;
}

/* Another thread waits for every child, and mostly comes first. */
static void children_are_another_thread_s(void)
{
    pthread_t thread;

    CHECK(pthread_create(&thread, NULL, waits_for_everybody, NULL) == 0);
    a_network_is_served();
    atomic_store(&stop, 1);
    CHECK(pthread_join(thread, NULL) == 0);
}

static size_t entries(const char *path)
{
    DIR *dir = opendir(path);
    size_t count = 0;

    CHECK(dir != NULL);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}

/* What the kernel takes its time for is closed by a thread, which ends; so does a program that does not wait for that. */
static void closing_is_not_waited_for(void)
{
    size_t files, threads = entries("/proc/self/task");
    xennet_host *host;
    int round, tries, seen = 0;
    pid_t child;

    CHECK((child = fork()) >= 0);
    if (child == 0) {
        host = opened();
        accepted(xennet_host_attach(host, 1, TEXT("bridge=xenbr0,mac=00:16:3e:00:00:01,ip=192.0.2.9"), NULL));
        accepted(xennet_host_detach(host, 1, 0, NULL));
        xennet_host_free(host);
        exit(0);
    }
    ended_well(child);
    files = entries("/proc/self/fd");
    for (round = 0; round < 100; round++) {
        host = opened();
        accepted(xennet_host_attach(host, 1, TEXT("bridge=xenbr0,mac=00:16:3e:00:00:01,ip=192.0.2.9"), NULL));
        accepted(xennet_host_detach(host, 1, 0, NULL));
        xennet_host_free(host);
        CHECK(entries("/proc/self/task") <= threads + 1);
        seen |= entries("/proc/self/task") == threads + 1;
    }
    CHECK(seen);
    for (tries = 0; tries < 1000 && entries("/proc/self/task") > threads; tries++)
        usleep(10000);
    CHECK(entries("/proc/self/task") == threads);
    CHECK(entries("/proc/self/fd") == files);
}

struct start {
    const xennet_host *host;
    int said;
};

/* Starts a network under a guard that says nothing until its pipe is closed. */
static void *starts_guarded(void *start)
{
    const struct start *it = (const struct start *)start;
    xennet_error *error = xennet_host_start_guarded(
        it->host, TEXT("{\"name\": \"n\", \"mode\": \"bridge\", \"bridge\": {\"name\": \"n\"}}"), it->said, it->said, NULL);

    CHECK(xennet_error_kind(error) == XENNET_KIND_IO);
    xennet_error_free(error);
    return NULL;
}

/* A guard is a process that somebody starts, which takes its time: the host is free meanwhile. */
static void a_guard_is_waited_for_alone(void)
{
    struct start start;
    xennet_host *host = opened();
    xennet_text *text = NULL;
    pthread_t thread;
    int ends[2];

    CHECK(pipe(ends) == 0);
    start.host = host;
    start.said = ends[0];
    CHECK(pthread_create(&thread, NULL, starts_guarded, &start) == 0);
    /* Long enough for the thread to be at the pipe; where it is not, nothing is refuted. */
    usleep(200000);
    /* It ends this program if the call waits for the other one. */
    alarm(30);
    accepted(xennet_host_show(host, &text));
    alarm(0);
    xennet_text_free(text);
    close(ends[1]);
    CHECK(pthread_join(thread, NULL) == 0);
    close(ends[0]);
    xennet_host_free(host);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {
        { "locks", children_hold_no_lock },       { "child", a_child_opens_its_own },
        { "threads", threads_share_a_host },      { "ignored", children_are_ignored },
        { "reaped", children_are_another_thread_s }, { "close", closing_is_not_waited_for },
        { "guard", a_guard_is_waited_for_alone },
    };
    size_t i;

    CHECK(argc == 3);
    state_dir = argv[2];
    for (i = 0; i < sizeof all / sizeof all[0]; i++)
        if (strcmp(argv[1], all[i].name) == 0) {
            all[i].run();
            return 0;
        }
    fprintf(stderr, "nothing is called %s\n", argv[1]);
    return 2;
}
