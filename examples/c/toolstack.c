/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * A toolstack in small: starts the networks of a file, attaches a guest's vifs, shows what there is, and takes all of it back. If a vif cannot be
 * attached, those before it are detached again.
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

static char *read_file(const char *path, size_t *len)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    long size;

    *len = 0;
    if (file != NULL && fseek(file, 0, SEEK_END) == 0 && (size = ftell(file)) >= 0 && fseek(file, 0, SEEK_SET) == 0) {
        text = (char *)malloc((size_t)size + 1);
        if (text != NULL)
            *len = fread(text, 1, (size_t)size, file);
    }
    if (file != NULL)
        fclose(file);
    if (text == NULL)
        perror(path);
    return text;
}

/* The end of the JSON object that begins here: braces count, but for those within strings. */
static const char *end_of_object(const char *at)
{
    int depth = 0, in_string = 0;

    for (; *at != '\0'; at++) {
        if (in_string && *at == '\\' && at[1] != '\0')
            at++;
        else if (*at == '"')
            in_string = !in_string;
        else if (!in_string && *at == '{')
            depth++;
        else if (!in_string && *at == '}' && --depth == 0)
            return at + 1;
    }
    return at;
}

#define MOST 64

/* Attaches the vifs of a domain's configuration, each an item of "nics" in its document. Notes the indexes of those that are attached. */
static int attach_all(const xennet_host *host, uint32_t domid, const char *nics, uint32_t devids[MOST], uint32_t *count)
{
    const char *at = strstr(nics, "\"nics\":["), *devid;
    int code = 0;

    *count = 0;
    for (at = at == NULL ? "" : at + strlen("\"nics\":["); code == 0 && *at == '{' && *count < MOST; at += *at == ',') {
        const char *end = end_of_object(at);

        devid = strstr(at, "\"devid\":");
        code = told(xennet_host_attach(host, domid, at, (size_t)(end - at), NULL));
        if (code == 0 && devid != NULL && devid < end)
            devids[(*count)++] = (uint32_t)strtoul(devid + strlen("\"devid\":"), NULL, 10);
        at = end;
    }
    return code;
}

int main(int argc, char **argv)
{
    uint32_t domid = argc > 3 ? (uint32_t)strtoul(argv[2], NULL, 10) : 5, vifs = 0, devids[MOST];
    size_t networks_len = sizeof EXAMPLE_NETWORKS - 1, domain_len = sizeof EXAMPLE_DOMAIN - 1;
    char *networks_file = NULL, *domain_file = NULL;
    xennet_settings *settings = NULL;
    xennet_host *host = NULL;
    xennet_text *networks = NULL, *started = NULL, *nics = NULL, *shown = NULL, *stopped = NULL;
    int code, later = 0;

    if (argc > 3 && ((networks_file = read_file(argv[1], &networks_len)) == NULL ||
                     (domain_file = read_file(argv[3], &domain_len)) == NULL))
        return XENNET_KIND_IO;
    /* Nothing is touched before both texts are understood. */
    code = told(xennet_networks_parse(networks_file != NULL ? networks_file : EXAMPLE_NETWORKS, networks_len, &networks));
    if (code == 0)
        code = told(xennet_vif_list_parse(XENNET_DIALECT_STRICT, domain_file != NULL ? domain_file : EXAMPLE_DOMAIN,
                                          domain_len, &nics));

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
        code = told(xennet_host_new(settings, argc > 3 ? XENNET_BACKEND_NETLINK : XENNET_BACKEND_FAKE, &host));

    if (code == 0)
        code = told(xennet_host_start_networks(host, xennet_text_data(networks), xennet_text_len(networks), &started));
    if (code == 0) {
        printf("%s\n", xennet_text_data(started));
        code = attach_all(host, domid, xennet_text_data(nics), devids, &vifs);
    }
    if (code == 0)
        code = told(xennet_host_show(host, &shown));
    if (code == 0)
        printf("%s\n", xennet_text_data(shown));

    /* As when the domain ends, or could not be made: the vifs go, and then the networks. */
    while (vifs-- > 0)
        if ((later = told(xennet_host_detach(host, domid, devids[vifs], NULL))) != 0 && code == 0)
            code = later;
    if (host != NULL && (later = told(xennet_host_stop_networks(host, XENNET_GUESTS_MUST_HAVE_GONE, &stopped))) == 0)
        printf("%s\n", xennet_text_data(stopped));
    else if (code == 0)
        code = later;

    xennet_text_free(stopped);
    xennet_text_free(shown);
    xennet_text_free(nics);
    xennet_text_free(started);
    xennet_text_free(networks);
    xennet_host_free(host);
    xennet_settings_free(settings);
    free(networks_file);
    free(domain_file);
    return code;
}
