/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Starts a network of networks.toml, shows what that means and how it is, and stops it again.
 *
 *   cc network.c -lxennet -o network
 *   ./network                               a rehearsal in memory: needs no root and no Xen
 *   ./network FILE NAME [STATE-DIR]         the kernel, and the network of this name in the file
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xennet.h>

static const char EXAMPLE[] = "[network.private]\n"
                              "mode = \"nat\"\n"
                              "subnets = [\"10.0.0.0/24\"]\n"
                              "bridge = \"natbr0\"\n";

/* Prints an error and frees it. Returns the exit code that the command `xennet` has for it; 0 if there was none. */
static int told(xennet_error *error)
{
    int code = (int)xennet_error_kind(error);

    if (error != NULL)
        fprintf(stderr, "%s\n", xennet_error_report(error));
    xennet_error_free(error);
    return code;
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

int main(int argc, char **argv)
{
    const char *name = argc > 2 ? argv[2] : "private";
    const char *state_dir = argc > 3 ? argv[3] : "";
    char *file = NULL;
    size_t len = sizeof EXAMPLE - 1;
    xennet_host *host = NULL;
    xennet_text *network = NULL;
    xennet_plan *plan = NULL;
    xennet_text *done = NULL;
    xennet_text *status = NULL;
    int was_started = 0;
    int code, later = 0;

    if (argc == 2 || argc > 4) {
        fprintf(stderr, "usage: network [FILE NAME [STATE-DIR]]\n");
        return XENNET_KIND_INVALID;
    }
    if (argc > 2 && (file = read_file(argv[1], &len)) == NULL)
        return XENNET_KIND_IO;
    code = told(xennet_networks_get(file != NULL ? file : EXAMPLE, len, name, strlen(name), &network));
    free(file);
    if (code == 0 && argc > 2)
        code = told(xennet_host_new_netlink(state_dir, strlen(state_dir), &host));
    else if (code == 0)
        code = told(xennet_host_new_fake(&host));

    /* Nothing happens yet. */
    if (code == 0)
        code = told(xennet_host_plan_start(host, xennet_text_data(network), xennet_text_len(network), &plan));
    if (code == 0)
        printf("%s\n", xennet_plan_text(plan));
    xennet_plan_free(plan);

    /* One that is started already stays as it is. */
    if (code == 0)
        code = told(xennet_host_network_status(host, xennet_text_data(network), xennet_text_len(network), &status));
    was_started = code == 0 && strstr(xennet_text_data(status), "\"started\":true") != NULL;
    xennet_text_free(status);
    status = NULL;

    /* Either the network is started, and that was read back, or everything is as before and the error says so. */
    if (code == 0)
        code = told(xennet_host_start_network(host, xennet_text_data(network), xennet_text_len(network), &done));
    if (code == 0)
        printf("%s\n", xennet_text_data(done));
    if (code == 0)
        code = told(xennet_host_network_status(host, xennet_text_data(network), xennet_text_len(network), &status));
    if (code == 0)
        printf("%s\n", xennet_text_data(status));
    xennet_text_free(status);

    /* Also where the status could not be had. It is refused while guests are on its bridge. */
    if (done != NULL && !was_started)
        later = told(xennet_host_stop_network(host, name, strlen(name), XENNET_GUESTS_MUST_HAVE_GONE, NULL));
    code = code != 0 ? code : later;
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
        perror("standard output");
        code = XENNET_KIND_IO;
    }
    xennet_text_free(done);
    xennet_host_free(host);
    xennet_text_free(network);
    return code;
}
