/* SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Connects the first vif of a domain, shows what that means, and disconnects it: what a hotplug helper or a toolstack
 * starts from.
 *
 *   cc attach.c -lxennet -o attach
 *   ./attach                                a rehearsal in memory: needs no root and no Xen
 *   ./attach DOMID VIF-LINE [STATE-DIR]     the kernel, on which netback has made vifDOMID.0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

int main(int argc, char **argv)
{
    const char *vif = argc > 2 ? argv[2] : "mac=00:16:3e:01:02:03,bridge=xenbr0";
    const char *state_dir = argc > 3 ? argv[3] : "";
    uint32_t domid = 5;
    xennet_host *host = NULL;
    xennet_plan *plan = NULL;
    xennet_text *shown = NULL;
    xennet_text *done = NULL;
    int code, later = 0;

    if (argc == 2 || argc > 4) {
        fprintf(stderr, "usage: attach [DOMID VIF-LINE [STATE-DIR]]\n");
        return XENNET_KIND_INVALID;
    }
    if (argc > 2) {
        char *rest = NULL;
        unsigned long number = strtoul(argv[1], &rest, 10);

        /* A number that no domain has is for the library to refuse. */
        if (argv[1][0] < '0' || argv[1][0] > '9' || *rest != '\0' || number > UINT32_MAX) {
            fprintf(stderr, "%s is no domain id\n", argv[1]);
            return XENNET_KIND_INVALID;
        }
        domid = (uint32_t)number;
    }
    if (argc > 2)
        code = told(xennet_host_new_netlink(state_dir, strlen(state_dir), &host));
    else
        code = told(xennet_host_new_fake(&host));

    /* Nothing happens yet. */
    if (code == 0)
        code = told(xennet_host_plan_attach(host, domid, vif, strlen(vif), &plan));
    if (code == 0)
        printf("%s\n", xennet_plan_text(plan));
    xennet_plan_free(plan);

    /* Either the vif is connected, and that was read back, or everything is as before and the error says so. */
    if (code == 0)
        code = told(xennet_host_attach(host, domid, vif, strlen(vif), &done));
    if (code == 0)
        code = told(xennet_host_show(host, &shown));
    if (code == 0)
        printf("%s\n", xennet_text_data(shown));
    xennet_text_free(shown);

    /* One that was connected before stays so: there was nothing to do. */
    if (done != NULL && strstr(xennet_text_data(done), "\"steps\":0") == NULL)
        later = told(xennet_host_detach(host, domid, 0, NULL));
    code = code != 0 ? code : later;
    if ((fflush(stdout) != 0 || ferror(stdout)) && code == 0) {
        perror("standard output");
        code = XENNET_KIND_IO;
    }
    xennet_text_free(done);
    xennet_host_free(host);
    return code;
}
