/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * What the test programs share. C99, and C++ as well.
 */
#ifndef XENNET_TEST_CHECK_H
#define XENNET_TEST_CHECK_H

#include <xennet.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(truth)                                                                                                   \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #truth);                                        \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)

#define TEXT(literal) (literal), (sizeof(literal) - 1)

static inline int same(const char *a, const char *b)
{
    return a != NULL && b != NULL && strcmp(a, b) == 0;
}

static inline int has(const char *text, const char *part)
{
    return text != NULL && strstr(text, part) != NULL;
}

/* An error of this kind with this in its message; it is freed. */
static inline void refused(xennet_error *error, uint32_t kind, const char *message)
{
    CHECK(error != NULL);
    if (xennet_error_kind(error) != kind || !has(xennet_error_message(error), message)) {
        fprintf(stderr, "wanted kind %u and \"%s\", not %s\n", (unsigned)kind, message, xennet_error_json(error));
        exit(1);
    }
    xennet_error_free(error);
}

static inline void accepted(xennet_error *error)
{
    if (error != NULL) {
        fprintf(stderr, "%s\n", xennet_error_report(error));
        exit(1);
    }
}

/* A text that has this in it; it is freed. */
static inline void holds(xennet_text *text, const char *part)
{
    if (!has(xennet_text_data(text), part)) {
        fprintf(stderr, "wanted \"%s\" in %s\n", part, text != NULL ? xennet_text_data(text) : "NULL");
        exit(1);
    }
    xennet_text_free(text);
}

#endif
