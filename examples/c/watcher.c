/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Tells what happens to vifs, as it happens: in the kernel, and in xenstore where there is one. Nothing is polled by time.
 *
 *   cc watcher.c $(pkg-config --cflags --libs xennet) -o watcher
 *   ./watcher [SECONDS]      a line of JSON for each event; ends after so many seconds, or never
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xennet.h>

/* Tells an error and frees it. Gives the exit code that the command `xennet` has for it; 0 if there was none. */
static int told(xennet_error *error)
{
    int code = (int)xennet_error_kind(error);

    if (error != NULL)
        fprintf(stderr, "%s\n", xennet_error_report(error));
    xennet_error_free(error);
    return code;
}

/* Prints the events that are there. */
static int print_links(const xennet_links *links)
{
    xennet_text *event = NULL;
    int code;

    while ((code = told(xennet_links_next_event(links, 0, &event))) == 0 && event != NULL) {
        printf("{\"link\": %s}\n", xennet_text_data(event));
        xennet_text_free(event);
    }
    return code;
}

/* The same of xenstore. Where some were lost, everything is to be looked at anew: a watch tells of what is there, not of what was. */
static int print_store(const xennet_store *store)
{
    xennet_text *event = NULL;
    xennet_error *error;

    for (;;) {
        error = xennet_store_next_event(store, 0, &event);
        if (error != NULL && xennet_error_errno(error) != ENOBUFS)
            return told(error);
        xennet_error_free(error);
        if (error == NULL && event == NULL)
            return 0;
        if (error == NULL)
            printf("{\"xenstore\": %s}\n", xennet_text_data(event));
        else
            printf("{\"xenstore\": \"lost\"}\n");
        xennet_text_free(error == NULL ? event : NULL);
    }
}

int main(int argc, char **argv)
{
    time_t end = argc > 1 ? time(NULL) + atol(argv[1]) : 0;
    xennet_links *links = NULL;
    xennet_store *store = NULL;
    struct pollfd fds[2];
    xennet_error *error;
    int code;

    code = told(xennet_links_new(&links));
    /* Without a xenstored there are links all the same. */
    error = xennet_store_new(NULL, 0, 0, &store);
    if (error != NULL)
        fprintf(stderr, "no xenstore: %s\n", xennet_error_message(error));
    xennet_error_free(error);
    if (code == 0 && store != NULL)
        code = told(xennet_store_watch(store, "backend/vif", strlen("backend/vif"), "vifs", strlen("vifs")));

    fds[0].fd = xennet_links_fd(links);
    fds[1].fd = xennet_store_fd(store); /* -1, which poll passes over, if there is none */
    fds[0].events = fds[1].events = POLLIN;
    while (code == 0 && (end == 0 || time(NULL) < end)) {
        /* What was read along with something else is not in the descriptor any more, so it is fetched first. */
        code = print_links(links);
        if (code == 0 && store != NULL)
            code = print_store(store);
        fflush(stdout);
        if (code == 0 && poll(fds, 2, end == 0 ? -1 : (int)(end - time(NULL)) * 1000) < 0 && errno != EINTR) {
            perror("poll");
            code = XENNET_KIND_IO;
        }
    }
    xennet_store_free(store);
    xennet_links_free(links);
    return code;
}
