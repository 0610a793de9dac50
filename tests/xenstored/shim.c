/*
 * Lets a real xenstored run where there is no Xen: preloaded, it stands in for event channels, grant tables and the
 * hypervisor's answers. No guest can be connected; who is connected by the socket is dom0, as on a real host.
 *
 * The names and types are those of the public headers xenevtchn.h, xengnttab.h and xenctrl.h.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

static int channel = -1; /* never becomes readable */
static int handle;       /* what opaque pointers point to */
static int port = 16;

void *xenevtchn_open(void *log, unsigned flags) { (void)log; (void)flags; channel = eventfd(0, EFD_CLOEXEC); return &handle; }
void *xenevtchn_fdopen(void *log, int fd, unsigned flags) { (void)log; (void)flags; channel = fd; return &handle; }
int xenevtchn_fd(void *xce) { (void)xce; return channel; }
int xenevtchn_bind_virq(void *xce, unsigned virq) { (void)xce; (void)virq; return ++port; }
int xenevtchn_bind_interdomain(void *xce, uint32_t domid, uint32_t remote) { (void)xce; (void)domid; (void)remote; return ++port; }
int xenevtchn_pending(void *xce) { (void)xce; return -1; }
int xenevtchn_unmask(void *xce, uint32_t p) { (void)xce; (void)p; return 0; }
int xenevtchn_unbind(void *xce, uint32_t p) { (void)xce; (void)p; return 0; }
int xenevtchn_notify(void *xce, uint32_t p) { (void)xce; (void)p; return 0; }

void *xengnttab_open(void *log, unsigned flags) { (void)log; (void)flags; return &handle; }
int xengnttab_close(void *x) { (void)x; return 0; }
int xengnttab_set_max_grants(void *x, uint32_t n) { (void)x; (void)n; return 0; }
int xengnttab_unmap(void *x, void *at, uint32_t n) { (void)x; return munmap(at, n * 4096ul); }
void *xengnttab_map_grant_ref(void *x, uint32_t domid, uint32_t ref, int prot)
{
    (void)x; (void)domid; (void)ref; (void)prot;
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

void *xc_interface_open(void *a, void *b, unsigned flags) { (void)a; (void)b; (void)flags; return &handle; }
int xc_interface_close(void *x) { (void)x; return 0; }
/* Every domain that is asked for exists and is well: a number, a label, and flags of which none is set. */
int xc_domain_getinfo(void *x, uint32_t first, unsigned max, uint32_t *info)
{
    (void)x; (void)max;
    info[0] = first; info[1] = 0; info[2] = 0;
    return 1;
}

/* /proc/xen is a folder of the test ($XEN_PROC). */
static const char *moved(const char *path, char *room, size_t size)
{
    const char *to = getenv("XEN_PROC");
    if (!to || strncmp(path, "/proc/xen/", 10) != 0) return path;
    snprintf(room, size, "%s/%s", to, path + 10);
    return room;
}
int open(const char *path, int flags, ...)
{
    char room[4096];
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return openat(AT_FDCWD, moved(path, room, sizeof room), flags, mode);
}
int open64(const char *path, int flags, ...)
{
    va_list rest;
    va_start(rest, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    return open(path, flags, mode);
}
