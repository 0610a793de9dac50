/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * The other half of all.c: settings, hotplug, xenstore, events, taps, networks together, guards, parsers, advice.
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef __cplusplus
extern "C" {
#endif
void test_more(const char *state_dir, const char *store);
static void hears(void *context, uint32_t level, const char *sentence, const char *document);
#ifdef __cplusplus
}
#endif

static xennet_host *rehearsal(const xennet_settings *settings)
{
    xennet_host *host = NULL;

    accepted(xennet_host_new(settings, XENNET_BACKEND_FAKE, &host));
    return host;
}

static void test_settings(const char *state_dir)
{
    xennet_settings *settings = NULL;
    xennet_host *host = NULL, *other;
    xennet_text *text = NULL;
    xennet_error *error;

    accepted(xennet_settings_new(&settings));
    accepted(xennet_settings_lock_deadline(settings, 50));
    accepted(xennet_settings_budget(settings, 1000));
    accepted(xennet_settings_mac_binding(settings, XENNET_MAC_BINDING_WHERE_DECLARED));
    accepted(xennet_settings_mac_binding(settings, XENNET_MAC_BINDING_ALWAYS));
    refused(xennet_settings_mac_binding(settings, 7), XENNET_KIND_INVALID, "binding cannot be 7");
    refused(xennet_settings_world(settings, 7), XENNET_KIND_INVALID, "world cannot be 7");
    refused(xennet_settings_state_dir(settings, NULL, 0), XENNET_KIND_INVALID, "is empty");
    refused(xennet_settings_state_dir(settings, TEXT("a\0b")), XENNET_KIND_INVALID, "NUL");
    refused(xennet_host_new(settings, 7, &host), XENNET_KIND_INVALID, "backend cannot be 7");
    CHECK(host == NULL);

    /* Every guest is bound to its MAC: a step more. */
    host = rehearsal(settings);
    accepted(xennet_host_attach(host, 5, TEXT("bridge=xenbr0,mac=00:16:3e:01:02:03"), &text));
    holds(text, "\"steps\":3");
    xennet_host_free(host);
    other = rehearsal(NULL);
    accepted(xennet_host_attach(other, 5, TEXT("bridge=xenbr0,mac=00:16:3e:01:02:03"), &text));
    holds(text, "\"steps\":2");
    accepted(xennet_host_record(other, NULL, 0, 0, &text));
    xennet_host_free(other);

    /* An empty world has no bridge; a recorded one has what was there. */
    accepted(xennet_settings_world(settings, XENNET_WORLD_EMPTY));
    host = rehearsal(settings);
    refused(xennet_host_attach(host, 5, TEXT("bridge=xenbr0,mac=00:16:3e:01:02:03"), NULL), XENNET_KIND_BRIDGE_NOT_FOUND, "xenbr0");
    xennet_host_free(host);
    accepted(xennet_settings_recording(settings, xennet_text_data(text), xennet_text_len(text)));
    xennet_text_free(text);
    host = rehearsal(settings);
    accepted(xennet_host_show(host, &text));
    holds(text, "\"vif\":\"vif5.0\"");
    xennet_host_free(host);
    refused(xennet_host_new(settings, XENNET_BACKEND_NETLINK, &host), XENNET_KIND_INVALID, "for a rehearsal, not for the kernel");
    refused(xennet_settings_recording(settings, TEXT("{}")), XENNET_KIND_INVALID, "no recording");
    refused(xennet_settings_recording(settings, "x", (size_t)XENNET_RECORDING_MAX + 1), XENNET_KIND_INVALID, "too long");
    accepted(xennet_settings_faults(settings, TEXT("[{\"lie-once\": {\"step\": 0}}]")));
    refused(xennet_host_new(settings, XENNET_BACKEND_FAKE, &host), XENNET_KIND_INVALID, "has no faults");

    /* What goes wrong is put back, and said. */
    accepted(xennet_settings_mac_binding(settings, XENNET_MAC_BINDING_WHERE_DECLARED));
    accepted(xennet_settings_world(settings, XENNET_WORLD_EXAMPLE));
    accepted(xennet_settings_faults(settings, TEXT("[{\"fail-at\": {\"step\": 1, \"errno\": 16}}]")));
    host = rehearsal(settings);
    error = xennet_host_attach(host, 5, TEXT("bridge=xenbr0"), NULL);
    CHECK(xennet_error_errno(error) == EBUSY && xennet_error_outcome(error) == (uint32_t)XENNET_OUTCOME_RESTORED);
    refused(error, XENNET_KIND_KERNEL, "vif5.0");
    accepted(xennet_host_attach(host, 5, TEXT("bridge=xenbr0"), NULL));
    xennet_host_free(host);
    accepted(xennet_settings_faults(settings, TEXT("[{\"crash-after\": {\"step\": 0}}]")));
    host = rehearsal(settings);
    error = xennet_host_attach(host, 5, TEXT("bridge=xenbr0"), NULL);
    CHECK(xennet_error_outcome(error) == (uint32_t)XENNET_OUTCOME_INCOMPLETE);
    xennet_error_free(error);
    xennet_host_free(host);
    refused(xennet_settings_faults(settings, TEXT("[{\"rain\": {}}]")), XENNET_KIND_INVALID, "faults is not a document");
    accepted(xennet_settings_state_dir(settings, state_dir, strlen(state_dir)));
    refused(xennet_host_new(settings, XENNET_BACKEND_FAKE, &host), XENNET_KIND_INVALID, "in a directory");

    /* A rehearsal in a directory outlives its handle. */
    accepted(xennet_settings_faults(settings, TEXT("[]")));
    host = rehearsal(settings);
    accepted(xennet_host_attach(host, 9, TEXT("bridge=xenbr0"), NULL));
    xennet_host_free(host);
    host = rehearsal(settings);
    xennet_settings_free(settings);
    accepted(xennet_host_show(host, &text));
    holds(text, "\"vif\":\"vif9.0\"");
    accepted(xennet_host_detach(host, 9, 0, NULL));
    xennet_host_free(host);
    xennet_settings_free(NULL);
}

/* A network of the kernel's that nobody else sees. Who may not have one is told so. */
static void test_sandbox(void)
{
    xennet_settings *settings = NULL;
    xennet_host *host = NULL, *other = rehearsal(NULL);
    xennet_text *text = NULL;
    xennet_error *error;
    uint32_t is = 9;

    refused(xennet_host_make_cable(other, TEXT("vif5.0"), TEXT("g5")), XENNET_KIND_UNSUPPORTED, "host is no sandbox");
    xennet_host_free(other);
    accepted(xennet_settings_new(&settings));
    accepted(xennet_settings_faults(settings, TEXT("[{\"lie-once\": {\"step\": 0}}]")));
    error = xennet_host_new(settings, XENNET_BACKEND_SANDBOX, &host);
    xennet_settings_free(settings);
    if (xennet_error_kind(error) == XENNET_KIND_DENIED) {
        CHECK(xennet_error_hint(error) != NULL && xennet_error_errno(error) == EPERM);
        xennet_error_free(error);
        return;
    }
    refused(error, XENNET_KIND_INVALID, "not for the kernel");
    accepted(xennet_host_new(NULL, XENNET_BACKEND_SANDBOX, &host));
    accepted(xennet_host_make_cable(host, TEXT("vif5.0"), TEXT("g5")));
    refused(xennet_host_make_cable(host, TEXT("vif5.0"), TEXT("g6")), XENNET_KIND_KERNEL, "vif5.0");
    accepted(xennet_host_ensure_bridge(host, TEXT("{\"name\": \"br-sand\", \"mac\": \"02:00:00:00:00:01\"}"), NULL));
    accepted(xennet_host_attach(host, 5, TEXT("bridge=br-sand,mac=00:16:3e:01:02:03,ip=192.0.2.5"), NULL));
    accepted(xennet_host_show(host, &text));
    holds(text, "\"ports\":[\"vif5.0\"]");
    /* No guard is waited for: it is in another process, and cannot undo anything here. */
    refused(xennet_host_start_guarded(host, TEXT("{\"name\": \"n\", \"mode\": \"bridge\", \"bridge\": {\"name\": \"n\"}}"), 0, 0, NULL),
            XENNET_KIND_UNSUPPORTED, "network n: no guard can undo a start with a host of XENNET_BACKEND_SANDBOX");
    /* It is not where this thread is. */
    accepted(xennet_host_new(NULL, XENNET_BACKEND_NETLINK, &other));
    accepted(xennet_host_is_bridge(other, TEXT("br-sand"), &is));
    CHECK(is == 0);
    xennet_host_free(other);
    accepted(xennet_host_detach(host, 5, 0, NULL));
    xennet_host_free(host);
}

struct heard {
    xennet_host *host;
    uint32_t levels[5];
    int shows;
};

static void hears(void *context, uint32_t level, const char *sentence, const char *document)
{
    struct heard *heard = (struct heard *)context;
    xennet_text *text = NULL;

    CHECK(level >= XENNET_LOG_ERROR && level <= XENNET_LOG_DEBUG && sentence[0] != '\0');
    CHECK(has(document, "\"call\":\"xennet_") && has(document, "\"event\":"));
    heard->levels[level]++;
    if (level == XENNET_LOG_ERROR)
        CHECK(has(document, "\"kind\":\"bridge-not-found\"") && has(sentence, "xenbr9"));
    if (level == XENNET_LOG_INFO)
        CHECK(has(sentence, "vif5.0") && has(document, "\"number\":"));
    /* The host is free: the function may use it. */
    if (level == XENNET_LOG_INFO && heard->shows++ == 0) {
        accepted(xennet_host_show(heard->host, &text));
        holds(text, "\"vif\":\"vif5.0\"");
    }
}

static void test_log(void)
{
    struct heard heard;
    xennet_settings *settings = NULL;
    xennet_log function = hears;

    memset(&heard, 0, sizeof heard);
    accepted(xennet_settings_new(&settings));
    accepted(xennet_settings_log(settings, function, &heard));
    heard.host = rehearsal(settings);
    accepted(xennet_settings_log(settings, NULL, NULL));
    xennet_settings_free(settings);
    accepted(xennet_host_attach(heard.host, 5, TEXT("bridge=xenbr0,accel=1"), NULL));
    refused(xennet_host_attach(heard.host, 5, TEXT("bridge=xenbr9"), NULL), XENNET_KIND_BRIDGE_NOT_FOUND, "xenbr9");
    CHECK(heard.levels[XENNET_LOG_INFO] == 2 && heard.levels[XENNET_LOG_ERROR] == 1);
    CHECK(heard.levels[XENNET_LOG_WARNING] == 1 && heard.levels[XENNET_LOG_DEBUG] == 2);
    xennet_host_free(heard.host);
}

static void test_taps_and_links(void)
{
    xennet_host *host = rehearsal(NULL);
    xennet_text *text = NULL;
    uint32_t answer = 9;

    accepted(xennet_host_attach(host, 5, TEXT("bridge=xenbr0,type=ioemu"), NULL));
    refused(xennet_host_attach_tap(host, 5, TEXT("bridge=xenbr0,type=ioemu"), NULL), XENNET_KIND_LINK_NOT_FOUND, "vif5.0-emu");
    accepted(xennet_host_detach_tap(host, 5, 0, &text));
    holds(text, "\"steps\":0");
    accepted(xennet_host_detach_unwritten(host, 5, 0, XENNET_LINK_TAP, &text));
    holds(text, "\"steps\":0");
    accepted(xennet_host_detach_unwritten(host, 5, 0, XENNET_LINK_VIF, &text));
    CHECK(!has(xennet_text_data(text), "\"steps\":0"));
    xennet_text_free(text);
    refused(xennet_host_detach_unwritten(host, 5, 0, 2, NULL), XENNET_KIND_INVALID, "link cannot be 2");

    accepted(xennet_host_await_link(host, TEXT("eth0"), 0, &answer));
    CHECK(answer == 1);
    accepted(xennet_host_await_link(host, TEXT("eth9"), 1, &answer));
    CHECK(answer == 0);
    accepted(xennet_host_is_bridge(host, TEXT("xenbr0"), &answer));
    CHECK(answer == 1);
    accepted(xennet_host_is_bridge(host, TEXT("eth0"), &answer));
    CHECK(answer == 0);
    accepted(xennet_host_default_route_link(host, &text));
    holds(text, "xenbr0");
    accepted(xennet_host_uplink_of(host, TEXT("xenbr0"), &text));
    holds(text, "xenbr0");
    xennet_host_free(host);

    host = rehearsal(NULL);
    accepted(xennet_host_last(host, &text));
    CHECK(text == NULL);
    accepted(xennet_host_ensure_bridge(host, TEXT("{\"name\": \"br-lan\"}"), NULL));
    accepted(xennet_host_last(host, &text));
    holds(text, "br-lan");
    xennet_host_free(host);
}

static void test_networks_together(void)
{
    static const char file[] = "[network.private]\nmode = \"nat\"\nsubnets = [\"10.0.0.0/24\"]\negress = \"br-out\"\n\n"
                               "[network.out]\nmode = \"bridge\"\nbridge = \"br-out\"\n\n"
                               "[network.lost]\nmode = \"bridge\"\nbridge = \"br-lost\"\nuplink = \"eth9\"\n";
    xennet_host *host = rehearsal(NULL);
    xennet_text *networks = NULL, *text = NULL;
    const char *first, *second;

    accepted(xennet_networks_parse(TEXT(file), &networks));
    accepted(xennet_host_start_networks(host, xennet_text_data(networks), xennet_text_len(networks), &text));
    /* The bridge comes first, as the other one leaves through it. */
    first = strstr(xennet_text_data(text), "\"network\":\"out\"");
    second = strstr(xennet_text_data(text), "\"network\":\"private\"");
    CHECK(first != NULL && second != NULL && first < second);
    CHECK(has(xennet_text_data(text), "\"kind\":\"link-not-found\""));
    holds(text, "\"network\":\"lost\"");
    xennet_text_free(networks);
    accepted(xennet_host_started_networks(host, &text));
    first = strstr(xennet_text_data(text), "\"name\":\"private\"");
    second = strstr(xennet_text_data(text), "\"name\":\"out\"");
    CHECK(first != NULL && second != NULL && first < second);
    xennet_text_free(text);
    accepted(xennet_host_stop_networks(host, XENNET_GUESTS_MUST_HAVE_GONE, &text));
    CHECK(!has(xennet_text_data(text), "\"network\":\"lost\""));
    holds(text, "\"failed\":[]");
    accepted(xennet_host_started_networks(host, &text));
    holds(text, "\"networks\":[]");
    refused(xennet_host_start_networks(host, TEXT("[]"), &text), XENNET_KIND_INVALID, "networks is not a document");
    refused(xennet_host_stop_networks(host, 7, &text), XENNET_KIND_INVALID, "7 says nothing of guests");
    xennet_host_free(host);
}

/* Starts a network under a guard in a child, and confirms it or not. Gives what the guard says it came to. */
/* Waits until the library's thread that closes sockets has ended. A copy of a process has not its threads; so what they hold would be lost there,
 * which valgrind reports. */
static void wait_for_threads(void)
{
    struct dirent *entry;
    unsigned tries, threads;

    for (tries = 0; tries < 1000; tries++) {
        DIR *dir = opendir("/proc/self/task");

        CHECK(dir != NULL);
        threads = 0;
        while ((entry = readdir(dir)) != NULL)
            threads += entry->d_name[0] != '.';
        closedir(dir);
        if (threads == 1)
            return;
        poll(NULL, 0, 10);
    }
    CHECK(threads == 1);
}

static uint32_t guarded(const xennet_settings *settings, unsigned seconds, int confirms)
{
    static const char network[] = "{\"name\": \"alone\", \"mode\": \"bridge\", \"bridge\": {\"name\": \"br-alone\"}}";
    int to_guard[2], from_guard[2], status = 0;
    xennet_host *host;
    xennet_text *text = NULL;
    pid_t child;

    CHECK(pipe(to_guard) == 0 && pipe(from_guard) == 0);
    wait_for_threads();
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        uint32_t verdict = 99;

        close(to_guard[1]);
        close(from_guard[0]);
        accepted(xennet_guard(settings, XENNET_BACKEND_FAKE, TEXT("alone"), seconds, to_guard[0], from_guard[1], &verdict));
        _exit((int)verdict);
    }
    close(to_guard[0]);
    close(from_guard[1]);
    host = rehearsal(settings);
    accepted(xennet_host_start_guarded(host, TEXT(network), from_guard[0], to_guard[1], &text));
    CHECK(!has(xennet_text_data(text), "\"steps\":0"));
    holds(text, "\"notes\":[");
    close(to_guard[1]);
    close(from_guard[0]);
    accepted(xennet_host_awaited(host, &text));
    holds(text, "\"awaited\":[\"alone\"]");
    if (confirms)
        accepted(xennet_host_confirm(host, TEXT("alone")));
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
    refused(xennet_host_confirm(host, TEXT("alone")), XENNET_KIND_NOTHING_TO_UNDO, "nobody waits");
    accepted(xennet_host_awaited(host, &text));
    holds(text, "\"awaited\":[]");
    accepted(xennet_host_network_status(host, TEXT(network), &text));
    holds(text, confirms ? "\"started\":true" : "\"started\":false");
    accepted(xennet_host_stop_network(host, TEXT("alone"), XENNET_GUESTS_MUST_HAVE_GONE, NULL));
    xennet_host_free(host);
    return (uint32_t)WEXITSTATUS(status);
}

static void test_guards(const char *state_dir)
{
    xennet_settings *settings = NULL;
    xennet_host *host = NULL;
    uint32_t verdict = 0;
    int ends[2];

    accepted(xennet_settings_new(&settings));
    accepted(xennet_settings_state_dir(settings, state_dir, strlen(state_dir)));
    CHECK(guarded(settings, 60, 1) == XENNET_VERDICT_KEPT);
    CHECK(guarded(settings, 1, 0) == XENNET_VERDICT_LATE);
    CHECK(XENNET_VERDICT_DIED != XENNET_VERDICT_FAILED);

    refused(xennet_guard(settings, 7, TEXT("n"), 0, 0, 0, NULL), XENNET_KIND_INVALID, "verdict is NULL");
    refused(xennet_guard(settings, 7, NULL, 1, 0, 0, 0, &verdict), XENNET_KIND_INVALID, "name is NULL");
    refused(xennet_guard(settings, 7, TEXT("n"), 0, -1, 0, &verdict), XENNET_KIND_INVALID, "hears is -1");
    refused(xennet_guard(settings, 7, TEXT("n"), 0, 0, -1, &verdict), XENNET_KIND_INVALID, "says is -1");
    refused(xennet_guard(settings, 7, TEXT("n"), 0, 0, 0, &verdict), XENNET_KIND_INVALID, "backend cannot be 7");
    /* A guard is of no use where it cannot undo what another process has done. */
    refused(xennet_guard(settings, XENNET_BACKEND_SANDBOX, TEXT("n"), 0, 0, 0, &verdict), XENNET_KIND_UNSUPPORTED,
            "network n: no guard can undo a start with backend XENNET_BACKEND_SANDBOX");
    refused(xennet_guard(NULL, XENNET_BACKEND_FAKE, TEXT("n"), 0, 0, 0, &verdict), XENNET_KIND_UNSUPPORTED,
            "network n: a guard with backend XENNET_BACKEND_FAKE and no state directory");
    /* A guard that says nothing is none. */
    host = rehearsal(settings);
    CHECK(pipe(ends) == 0);
    close(ends[1]);
    refused(xennet_host_start_guarded(host, TEXT("{\"name\": \"n\", \"mode\": \"bridge\", \"bridge\": {\"name\": \"n\"}}"), ends[0],
                                      ends[0], NULL),
            XENNET_KIND_IO, "guard");
    close(ends[0]);
    xennet_host_free(host);
    xennet_settings_free(settings);
}

static void test_hotplug(const char *state_dir)
{
    static char program[] = "/etc/xen/scripts/vif-bridge", online[] = "online", tap[] = "type_if=tap", frob[] = "frob";
    char settings[4200];
    char *nothing[] = { program, online, tap, NULL };
    char *wrong[] = { program, frob, NULL };
    char *environment[] = { settings, NULL };
    xennet_text *text = NULL;
    FILE *file;

    /* Nothing is to be logged on this machine. */
    CHECK(snprintf(settings, sizeof settings, "XENNET_HOTPLUG_CONFIG=%s/hotplug.toml", state_dir) < (int)sizeof settings);
    file = fopen(strchr(settings, '=') + 1, "w");
    CHECK(file != NULL && fprintf(file, "log_file = \"\"\nsyslog = false\nhooks = \"\"\nstate_dir = \"%s/hotplug\"\n", state_dir) > 0);
    CHECK(fclose(file) == 0);
    CHECK(xennet_hotplug(3, nothing, environment) == 0);
    CHECK(xennet_hotplug(3, nothing, NULL) == 0);
    accepted(xennet_hotplug_call(3, nothing, environment, &text));
    CHECK(text == NULL);
    refused(xennet_hotplug_call(2, wrong, environment, NULL), XENNET_KIND_INVALID, "\"frob\" is no verb");
    refused(xennet_hotplug_call(0, NULL, environment, NULL), XENNET_KIND_INVALID, "no verb was given");
    refused(xennet_hotplug_call(-1, nothing, environment, NULL), XENNET_KIND_INVALID, "argc is -1");
    refused(xennet_hotplug_call(1, NULL, environment, NULL), XENNET_KIND_INVALID, "argv is NULL");
    accepted(xennet_hotplug_parse(TEXT("deadline = 7\n"), &text));
    holds(text, "\"deadline\":7");
}

static int is_readable(int fd)
{
    struct pollfd one;

    one.fd = fd;
    one.events = POLLIN;
    return poll(&one, 1, 10000) == 1;
}

static void test_store(const char *socket)
{
    static const char value[] = "a\0b";
    xennet_store *store = NULL, *other = NULL;
    xennet_text *text = NULL;
    uint32_t committed = 9;

    accepted(xennet_store_new(socket, strlen(socket), 5000, &store));
    accepted(xennet_store_new(socket, strlen(socket), 0, &other));
    accepted(xennet_store_domain_path(store, 5, &text));
    holds(text, "/local/domain/5");
    refused(xennet_store_domain_path(store, 65541, &text), XENNET_KIND_INVALID, "65541");
    accepted(xennet_store_read(store, TEXT("/test/none"), &text));
    CHECK(text == NULL);
    accepted(xennet_store_directory(store, TEXT("/test/none"), &text));
    CHECK(text == NULL);
    accepted(xennet_store_permissions(store, TEXT("/test/none"), &text));
    CHECK(text == NULL);
    accepted(xennet_store_write(store, TEXT("/test/bytes"), value, sizeof value - 1));
    accepted(xennet_store_read(store, TEXT("/test/bytes"), &text));
    CHECK(xennet_text_len(text) == 3 && memcmp(xennet_text_data(text), value, 4) == 0);
    xennet_text_free(text);
    accepted(xennet_store_mkdir(store, TEXT("/test/dir")));
    accepted(xennet_store_directory(store, TEXT("/test"), &text));
    holds(text, "\"children\":[\"bytes\",\"dir\"]");
    accepted(xennet_store_set_permissions(store, TEXT("/test/dir"), TEXT("[{\"domid\": 0, \"read\": true, \"write\": false}]")));
    accepted(xennet_store_permissions(store, TEXT("/test/dir"), &text));
    holds(text, "{\"domid\":0,\"read\":true,\"write\":false}");

    /* All at once, or not at all. */
    refused(xennet_store_commit(store, &committed), XENNET_KIND_INVALID, "none is open");
    accepted(xennet_store_begin(store));
    refused(xennet_store_begin(store), XENNET_KIND_INVALID, "one is open already");
    accepted(xennet_store_write(store, TEXT("/test/in"), TEXT("1")));
    accepted(xennet_store_read(other, TEXT("/test/in"), &text));
    CHECK(text == NULL);
    accepted(xennet_store_commit(store, &committed));
    CHECK(committed == 1);
    accepted(xennet_store_read(other, TEXT("/test/in"), &text));
    holds(text, "1");
    accepted(xennet_store_begin(store));
    accepted(xennet_store_read(store, TEXT("/test/in"), &text));
    xennet_text_free(text);
    accepted(xennet_store_write(other, TEXT("/test/in"), TEXT("2")));
    accepted(xennet_store_write(store, TEXT("/test/in"), TEXT("3")));
    accepted(xennet_store_commit(store, &committed));
    CHECK(committed == 0);
    accepted(xennet_store_begin(store));
    accepted(xennet_store_remove(store, TEXT("/test/in")));
    accepted(xennet_store_abort(store));
    accepted(xennet_store_read(store, TEXT("/test/in"), &text));
    holds(text, "2");

    /* A watch tells that it is there, and then of each change; the descriptor says when. */
    CHECK(xennet_store_fd(NULL) == -1 && xennet_store_fd(store) >= 0);
    accepted(xennet_store_watch(store, TEXT("/test"), TEXT("mine")));
    accepted(xennet_store_next_event(store, 5000, &text));
    holds(text, "\"path\":\"/test\",\"token\":\"mine\"");
    accepted(xennet_store_next_event(store, 0, &text));
    CHECK(text == NULL);
    accepted(xennet_store_write(other, TEXT("/test/in"), TEXT("4")));
    CHECK(is_readable(xennet_store_fd(store)));
    accepted(xennet_store_next_event(store, 5000, &text));
    holds(text, "\"path\":\"/test/in\"");
    accepted(xennet_store_unwatch(store, TEXT("/test"), TEXT("mine")));
    refused(xennet_store_unwatch(store, TEXT("/test"), TEXT("mine")), XENNET_KIND_XENSTORE, "watch");
    accepted(xennet_store_remove(store, TEXT("/test")));
    accepted(xennet_store_remove(store, TEXT("/test")));

    refused(xennet_store_read(store, TEXT("/a b"), &text), XENNET_KIND_INVALID, "/a b");
    refused(xennet_store_set_permissions(store, TEXT("/"), TEXT("{}")), XENNET_KIND_INVALID, "permissions is not a document");
    refused(xennet_store_new(TEXT("/nonexistent/socket"), 0, &other), XENNET_KIND_XENSTORE, "/nonexistent/socket");
    xennet_store_free(store);
    xennet_store_free(other);
    xennet_store_free(NULL);
}

static void test_links(void)
{
    xennet_links *links = NULL;
    xennet_text *text = NULL;

    accepted(xennet_links_new(&links));
    CHECK(xennet_links_fd(NULL) == -1 && xennet_links_fd(links) >= 0);
    /* On a machine where nothing happens; what happens is a test of its own. */
    accepted(xennet_links_next_event(links, 0, &text));
    xennet_text_free(text);
    xennet_links_free(links);
    xennet_links_free(NULL);
}

static void test_parsers(void)
{
    static char mac[] = "mac=00:16:3e:01:02:03", bridge[] = "bridge=xenbr0", bad[] = "bridge=\xff";
    char *args[] = { mac, bridge, NULL };
    char *wrong[] = { mac, bad };
    xennet_text *text = NULL;

    accepted(xennet_vif_list_parse(XENNET_DIALECT_XL, TEXT("vif = [ 'bridge=xenbr0', 'bridge=xenbr1' ]"), &text));
    holds(text, "\"bridge\":\"xenbr1\"");
    accepted(xennet_attach_parse(XENNET_DIALECT_STRICT, args, 2, &text));
    holds(text, "\"mac\":\"00:16:3e:01:02:03\"");
    text = NULL;
    refused(xennet_attach_parse(XENNET_DIALECT_STRICT, wrong, 2, &text), XENNET_KIND_INVALID, "args[1] is not UTF-8");
    refused(xennet_attach_parse(XENNET_DIALECT_STRICT, NULL, 2, &text), XENNET_KIND_INVALID, "args is NULL");
    accepted(xennet_rate_parse(XENNET_DIALECT_STRICT, TEXT("10Mb/s@20ms"), &text));
    holds(text, "\"bytes_per_interval\":25000");
    accepted(xennet_mac_parse(XENNET_DIALECT_STRICT, TEXT("00:16:3e:01:02:03"), &text));
    holds(text, "\"xen_oui\":true");
    accepted(xennet_vlan_parse(TEXT("10p/20"), &text));
    holds(text, "\"pvid\":10");
    accepted(xennet_xend_config_parse(TEXT("(network-script 'network-bridge netdev=eth1')\n(vif-script vif-bridge)\n"), &text));
    holds(text, "\"netdev=eth1\"");
    accepted(xennet_import(
        TEXT("{\"config\": {\"path\": \"x\", \"text\": \"(network-script network-bridge)\"}, \"xen\": \"4.1\", \"uplink\": \"eth1\"}"),
        &text));
    holds(text, "\"uplink\":\"eth1\"");
    text = NULL;
    refused(xennet_import(TEXT("{\"confg\": {}}"), &text), XENNET_KIND_INVALID, "confg");
    CHECK(text == NULL);
}

static void test_advice(void)
{
    xennet_text *text = NULL;

    accepted(xennet_mac_generate(TEXT("local"), NULL, 0, 0, &text));
    CHECK(xennet_text_len(text) == 17);
    xennet_text_free(text);
    accepted(xennet_mac_generate(TEXT("uuid"), TEXT("c2d1f4ee-0c8a-4f39-9b3d-0f3b8f6d2a11"), 1, &text));
    CHECK(xennet_text_len(text) == 17);
    xennet_text_free(text);
    text = NULL;
    refused(xennet_mac_generate(TEXT("uuid"), NULL, 0, 0, &text), XENNET_KIND_INVALID, "seed");
    refused(xennet_mac_generate(TEXT("dice"), NULL, 0, 0, &text), XENNET_KIND_INVALID, "dice");
    refused(xennet_mac_generate(TEXT("local"), NULL, 0, 65536, &text), XENNET_KIND_INVALID, "65536");

    accepted(xennet_advise_question(TEXT("{}"), &text));
    holds(text, "\"name\":\"lan\"");
    accepted(xennet_advise_question(TEXT("{\"lan\": \"no\", \"dhcp\": \"no\", \"subnet\": []}"), &text));
    CHECK(text == NULL);
    accepted(xennet_advise(TEXT("{\"lan\": \"yes\", \"addresses\": \"own\", \"reachable\": \"no\"}"), &text));
    holds(text, "\"mode\":\"nat\"");
    text = NULL;
    refused(xennet_advise(TEXT("{\"weather\": \"fine\"}"), &text), XENNET_KIND_INVALID, "\"weather\" is no question");
    refused(xennet_advise(TEXT("{\"lan\": \"maybe\"}"), &text), XENNET_KIND_INVALID, "maybe");
    CHECK(text == NULL);

    accepted(xennet_snippets(TEXT("[\"xenbr0\"]"), &text));
    holds(text, "Name=vif* tap* *-emu xenbr0");
    accepted(xennet_snippets(NULL, 0, &text));
    holds(text, "\"manager\":");
    accepted(xennet_managers(NULL, 0, &text));
    holds(text, "\"warnings\":[");
    text = NULL;
    refused(xennet_snippets(TEXT("[\"a*\"]"), &text), XENNET_KIND_INVALID, "a*");
    CHECK(text == NULL);
}

void test_more(const char *state_dir, const char *store)
{
    test_settings(state_dir);
    test_sandbox();
    test_log();
    test_taps_and_links();
    test_networks_together();
    test_guards(state_dir);
    test_hotplug(state_dir);
    test_store(store);
    test_links();
    test_parsers();
    test_advice();
}
