/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Prints what happens to vifs, as it happens: in the kernel, and in xenstore where there is one. It sleeps in poll(2) in between.
 *
 *   cc watcher.c $(pkg-config --cflags --libs xennet) -o watcher
 *   ./watcher [SECONDS]      a line of JSON for each event; ends after so many seconds, or never
 */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <xennet.h>

/* Prints an error and frees it. Returns the exit code that the command `xennet` has for it; 0 if there was none. */
static int told(xennet_error *error)
{
    int code = (int)xennet_error_kind(error);

    if (error != NULL)
        fprintf(stderr, "%s\n", xennet_error_report(error));
    xennet_error_free(error);
    return code;
}

/* Prints the events of links that are there. */
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

/* Prints the events of xenstore that are there. After a lost one, read everything again: a watch says what exists now, not what existed. */
static int print_store(const xennet_store *store)
{
    for (;;) {
        xennet_text *event = NULL;
        xennet_error *error = xennet_store_next_event(store, 0, &event);

        if (error != NULL) {
            if (xennet_error_errno(error) != ENOBUFS)
                return told(error);
            xennet_error_free(error);
            printf("{\"xenstore\": \"lost\"}\n");
        } else if (event != NULL) {
            printf("{\"xenstore\": %s}\n", xennet_text_data(event));
            xennet_text_free(event);
        } else {
            return 0;
        }
    }
}

/* Milliseconds of a clock that nobody sets. */
static long long now(void)
{
    struct timespec time;

    if (clock_gettime(CLOCK_MONOTONIC, &time) != 0) {
        perror("clock_gettime");
        exit(XENNET_KIND_IO);
    }
    return (long long)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* A timeout for poll(2), to which a negative number means "for ever": 0 if the time is over. */
static int until(long long end)
{
    long long left = end - now();

    return left < 0 ? 0 : left > INT_MAX ? INT_MAX : (int)left;
}

int main(int argc, char **argv)
{
    int has_end = argc > 1, code;
    long long end = 0;
    xennet_links *links = NULL;
    xennet_store *store = NULL;
    struct pollfd fds[2];
    xennet_error *error;

    if (has_end) {
        char *rest = NULL;
        long seconds = strtol(argv[1], &rest, 10);

        if (argc > 2 || rest == argv[1] || *rest != '\0' || seconds < 0 || seconds > INT_MAX) {
            fprintf(stderr, "usage: watcher [SECONDS]\n");
            return XENNET_KIND_INVALID;
        }
        end = now() + (long long)seconds * 1000;
    }
    code = told(xennet_links_new(&links));
    /* Without a xenstored there are links all the same. */
    if (code == 0) {
        error = xennet_store_new(NULL, 0, 0, &store);
        if (error != NULL)
            fprintf(stderr, "no xenstore: %s\n", xennet_error_message(error));
        xennet_error_free(error);
    }
    if (code == 0 && store != NULL)
        code = told(xennet_store_watch(store, "backend/vif", strlen("backend/vif"), "vifs", strlen("vifs")));

    fds[0].fd = xennet_links_fd(links);
    fds[1].fd = xennet_store_fd(store); /* -1 if there is none: poll ignores it */
    fds[0].events = fds[1].events = POLLIN;
    while (code == 0) {
        /* Events that the library has read already do not make the descriptor readable: fetch them before each poll. */
        code = print_links(links);
        if (code == 0 && store != NULL)
            code = print_store(store);
        if (code == 0 && (fflush(stdout) != 0 || ferror(stdout))) {
            perror("standard output");
            code = XENNET_KIND_IO;
        }
        if (code != 0 || (has_end && until(end) == 0))
            break;
        if (poll(fds, 2, has_end ? until(end) : -1) < 0 && errno != EINTR) {
            perror("poll");
            code = XENNET_KIND_IO;
        }
    }
    xennet_store_free(store);
    xennet_links_free(links);
    return code;
}
