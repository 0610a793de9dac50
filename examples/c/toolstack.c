/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A toolstack in small: starts the networks of a file, attaches a guest's vifs, shows what there is, and takes all of it back. If a vif cannot be
 * attached, those before it are detached again. Networks that were started before stay. It reads the few members of JSON that it needs by itself; a
 * program with a JSON library uses that.
 *
 *   cc toolstack.c $(pkg-config --cflags --libs xennet) -o toolstack
 *   ./toolstack                                         a rehearsal in memory: needs no root and no Xen
 *   ./toolstack NETWORKS.TOML DOMID DOMAIN.CFG [DIR]    the kernel; DIR is the state directory
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xennet.h>

static const char EXAMPLE_NETWORKS[] = "[network.private]\n"
                                       "mode = \"nat\"\n"
                                       "subnets = [\"10.0.0.0/24\"]\n"
                                       "bridge = \"natbr0\"\n";
static const char EXAMPLE_DOMAIN[] = "vif = [ 'mac=00:16:3e:01:02:03,bridge=xenbr0,ip=192.0.2.6',\n"
                                     "        'mac=00:16:3e:01:02:04,bridge=natbr0,ip=10.0.0.6' ]\n";

/* Prints an error and frees it. Returns the exit code that the command `xennet` has for it; 0 if there was none. */
static int told(xennet_error *error)
{
    int code = (int)xennet_error_kind(error);

    if (error != NULL)
        fprintf(stderr, "%s\n", xennet_error_report(error));
    xennet_error_free(error);
    return code;
}

/* What the library does, step by step; what the reader should know, and what went wrong. */
static void log_to_stderr(void *context, uint32_t level, const char *sentence, const char *document)
{
    static const char *const names[] = { "", "error", "warning", "info" };

    (void)context;
    (void)document;
    if (level < sizeof names / sizeof names[0])
        fprintf(stderr, "[%s] %s\n", names[level], sentence);
}

/* A file's text, which the caller frees; NULL if it cannot be read, which is said. */
static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long size;

    *len = 0;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0 &&
        (text = (char *)malloc((size_t)size + 1)) != NULL) {
        *len = fread(text, 1, (size_t)size, file);
        if (ferror(file)) {
            free(text);
            text = NULL;
        }
    }
    if (text == NULL)
        perror(path);
    if (file != NULL)
        fclose(file);
    return text;
}

/* Where a reader of JSON is: within how many objects, and whether within a string. */
struct scan {
    int depth, in_string;
};

/* Reads one character, with the one that a backslash is for. Returns where the next one is. */
static const char *past(struct scan *scan, const char *at)
{
    if (scan->in_string && *at == '\\' && at[1] != '\0')
        return at + 2;
    if (*at == '"')
        scan->in_string = !scan->in_string;
    else if (!scan->in_string)
        scan->depth += (*at == '{') - (*at == '}');
    return at + 1;
}

/* The end of the JSON object that begins here. */
static const char *end_of_object(const char *at)
{
    struct scan scan = { 0, 0 };

    do {
        if (*at == '\0')
            return at;
        at = past(&scan, at);
    } while (scan.depth > 0);
    return at;
}

/* The objects of a list in a JSON document: where its first one begins; "" if there is none. `start` is like "\"nics\":[". */
static const char *first_object(const char *document, const char *start)
{
    const char *at = strstr(document, start);

    return at == NULL ? "" : at + strlen(start);
}

/* Where the one behind an object's end begins. */
static const char *next_object(const char *end)
{
    return *end == ',' ? end + 1 : end;
}

/* The value of an object's own member, `key` like "\"name\":"; NULL if it has none. */
static const char *member_of(const char *object, const char *key)
{
    struct scan scan = { 0, 0 };
    const char *at = object;

    do {
        if (!scan.in_string && scan.depth == 1 && strncmp(at, key, strlen(key)) == 0)
            return at + strlen(key);
        if (*at == '\0')
            return NULL;
        at = past(&scan, at);
    } while (scan.depth > 0);
    return NULL;
}

/* The index of a vif in its domain, from its object. */
static uint32_t devid_of(const char *nic)
{
    const char *devid = member_of(nic, "\"devid\":");

    return devid != NULL ? (uint32_t)strtoul(devid, NULL, 10) : 0;
}

/* Attaches the vifs of a domain's configuration. Counts those that are attached: the first of the list. */
static int attach_all(const xennet_host *host, uint32_t domid, const char *nics, size_t *count)
{
    const char *at, *end;
    int code = 0;

    for (at = first_object(nics, "\"nics\":["); code == 0 && *at == '{'; at = next_object(end)) {
        end = end_of_object(at);
        code = told(xennet_host_attach(host, domid, at, (size_t)(end - at), NULL));
        *count += code == 0;
    }
    return code;
}

/* Detaches the first `count` of them. One that cannot be detached does not keep the others. */
static int detach_all(const xennet_host *host, uint32_t domid, const char *nics, size_t count)
{
    const char *at, *end;
    int code = 0, one;

    for (at = first_object(nics, "\"nics\":["); count > 0 && *at == '{'; at = next_object(end), count--) {
        end = end_of_object(at);
        one = told(xennet_host_detach(host, domid, devid_of(at), NULL));
        code = code != 0 ? code : one;
    }
    return code;
}

/* The longest name of a network, as JSON, with the quotes and a final zero: a quote or backslash in it takes two bytes. */
#define NAME_MAX_JSON (2 * 15 + 3)

/* A member of an object that is a name, as JSON, with its quotes. */
static int name_of(const char *object, const char *key, char name[NAME_MAX_JSON])
{
    const char *at = member_of(object, key);
    size_t len = 1;

    if (at == NULL || *at != '"')
        return 0;
    while (at[len] != '"' && at[len] != '\0')
        len += at[len] == '\\' && at[len + 1] != '\0' ? 2 : 1;
    if (at[len] == '\0' || len + 2 > NAME_MAX_JSON)
        return 0;
    memcpy(name, at, len + 1);
    name[len + 1] = '\0';
    return 1;
}

/* Whether the list of a document has an object with this name. */
static int lists(const char *document, const char *start, const char *key, const char *name)
{
    char other[NAME_MAX_JSON];
    const char *at;

    for (at = first_object(document, start); *at == '{'; at = next_object(end_of_object(at)))
        if (name_of(at, key, other) && strcmp(other, name) == 0)
            return 1;
    return 0;
}

/* Stops what this program has started, and not what was started before (`before`, of xennet_host_started_networks). `started` is what
 * xennet_host_start_networks gave. */
static int stop_all(const xennet_host *host, const char *before, const char *started)
{
    xennet_text *now = NULL;
    char name[NAME_MAX_JSON];
    const char *at;
    size_t i, len;
    int one, code = told(xennet_host_started_networks(host, &now));

    /* In the order in which they can be stopped. */
    for (at = first_object(code == 0 ? xennet_text_data(now) : "", "\"networks\":["); *at == '{'; at = next_object(end_of_object(at))) {
        if (!name_of(at, "\"name\":", name) || lists(before, "\"networks\":[", "\"name\":", name) ||
            !lists(started, "\"networks\":[", "\"network\":", name))
            continue;
        /* The name itself: without its quotes, and without the backslashes that JSON has in it. */
        for (i = 1, len = 0; name[i + 1] != '\0'; name[len++] = name[i++])
            i += name[i] == '\\';
        one = told(xennet_host_stop_network(host, name, len, XENNET_GUESTS_MUST_HAVE_GONE, NULL));
        if (one == 0)
            printf("stopped %.*s\n", (int)len, name);
        code = code != 0 ? code : one;
    }
    xennet_text_free(now);
    return code;
}

/* A domain's number; what is too large is for the library to refuse. */
static int read_domid(const char *text, uint32_t *domid)
{
    char *rest = NULL;
    unsigned long number = strtoul(text, &rest, 10);

    if (text[0] < '0' || text[0] > '9' || *rest != '\0' || number > UINT32_MAX) {
        fprintf(stderr, "%s is no domain id\n", text);
        return XENNET_KIND_INVALID;
    }
    *domid = (uint32_t)number;
    return 0;
}

int main(int argc, char **argv)
{
    int is_real = argc > 3, code = 0, later = 0;
    uint32_t domid = 5;
    size_t networks_len = sizeof EXAMPLE_NETWORKS - 1, domain_len = sizeof EXAMPLE_DOMAIN - 1, vifs = 0;
    char *networks_file = NULL, *domain_file = NULL;
    xennet_settings *settings = NULL;
    xennet_host *host = NULL;
    xennet_text *networks = NULL, *before = NULL, *started = NULL, *nics = NULL, *shown = NULL;

    if ((argc > 1 && !is_real) || argc > 5) {
        fprintf(stderr, "usage: toolstack [NETWORKS.TOML DOMID DOMAIN.CFG [DIR]]\n");
        return XENNET_KIND_INVALID;
    }
    if (is_real)
        code = read_domid(argv[2], &domid);
    if (code == 0 && is_real && ((networks_file = read_file(argv[1], &networks_len)) == NULL ||
                                 (domain_file = read_file(argv[3], &domain_len)) == NULL))
        code = XENNET_KIND_IO;
    /* Nothing is touched before both texts are understood. */
    if (code == 0)
        code = told(xennet_networks_parse(is_real ? networks_file : EXAMPLE_NETWORKS, networks_len, &networks));
    if (code == 0)
        code = told(xennet_vif_list_parse(XENNET_DIALECT_STRICT, is_real ? domain_file : EXAMPLE_DOMAIN, domain_len, &nics));

    /* No call waits longer than ten seconds in all, also where several locks are to be waited for. */
    if (code == 0)
        code = told(xennet_settings_new(&settings));
    if (code == 0)
        code = told(xennet_settings_budget(settings, 10000));
    if (code == 0)
        code = told(xennet_settings_log(settings, log_to_stderr, NULL));
    if (code == 0 && argc > 4)
        code = told(xennet_settings_state_dir(settings, argv[4], strlen(argv[4])));
    if (code == 0)
        code = told(xennet_host_new(settings, is_real ? XENNET_BACKEND_NETLINK : XENNET_BACKEND_FAKE, &host));

    if (code == 0)
        code = told(xennet_host_started_networks(host, &before));
    if (code == 0)
        code = told(xennet_host_start_networks(host, xennet_text_data(networks), xennet_text_len(networks), &started));
    if (code == 0) {
        printf("%s\n", xennet_text_data(started));
        /* Networks that cannot be started are in the document; the log has said why. */
        if (strstr(xennet_text_data(started), "\"failed\":[]") == NULL)
            code = XENNET_KIND_CONFLICT;
    }
    if (code == 0)
        code = attach_all(host, domid, xennet_text_data(nics), &vifs);
    if (code == 0)
        code = told(xennet_host_show(host, &shown));
    if (code == 0)
        printf("%s\n", xennet_text_data(shown));

    /* As when the domain ends, or could not be made: the vifs go, and then the networks. */
    if (vifs > 0)
        later = detach_all(host, domid, xennet_text_data(nics), vifs);
    code = code != 0 ? code : later;
    if (started != NULL) {
        later = stop_all(host, xennet_text_data(before), xennet_text_data(started));
        code = code != 0 ? code : later;
    }
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
        perror("standard output");
        code = XENNET_KIND_IO;
    }

    xennet_text_free(shown);
    xennet_text_free(nics);
    xennet_text_free(started);
    xennet_text_free(before);
    xennet_text_free(networks);
    xennet_host_free(host);
    xennet_settings_free(settings);
    free(networks_file);
    free(domain_file);
    return code;
}
