/* For tests only, put before every file of a test program by the compiler: each document that the program looks at is also added to the
 * file that the variable XENNET_TEST_DOCUMENTS names, where the test checks it against its schema. Texts that are no documents, as
 * reports, are among them. */
#ifndef XENNET_TEST_DOCUMENTS_H
#define XENNET_TEST_DOCUMENTS_H

#include "xennet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A line is the length of the text; the text follows it. */
static inline const char *documents_seen(const char *text)
{
    const char *path = getenv("XENNET_TEST_DOCUMENTS");
    FILE *file;

    if (text == NULL || path == NULL)
        return text;
    file = fopen(path, "a");
    if (file == NULL || fprintf(file, "%lu\n%s\n", (unsigned long) strlen(text), text) < 0 || fclose(file) != 0)
        abort();
    return text;
}

#define xennet_text_data(text) documents_seen(xennet_text_data(text))
#define xennet_error_json(error) documents_seen(xennet_error_json(error))
#define xennet_plan_json(plan) documents_seen(xennet_plan_json(plan))

#endif
