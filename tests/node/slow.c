// SPDX-License-Identifier: Apache-2.0
// A file system that answers late, for a process that is started with it as LD_PRELOAD: opening anything named
// vhost_sockets takes five seconds, as on a mount whose server does not answer.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int late(const char *name, int directory, const char *path, int flags, mode_t mode)
{
    int (*real)(int, const char *, int, ...) = dlsym(RTLD_NEXT, name);
    if (strstr(path, "vhost_sockets"))
        sleep(5);
    return real(directory, path, flags, mode);
}

#define LATE(name)                                                                                                     \
    int name(int directory, const char *path, int flags, ...)                                                          \
    {                                                                                                                  \
        va_list more;                                                                                                  \
        va_start(more, flags);                                                                                         \
        mode_t mode = va_arg(more, mode_t);                                                                            \
        va_end(more);                                                                                                  \
        return late(#name, directory, path, flags, mode);                                                              \
    }

LATE(openat)
LATE(openat64)
