/*
 * qmp_option.h - the text of -qmp: where to listen for QMP clients.
 *
 * Pure. Runs in the broker, during start.
 */
#ifndef BROKER_QMP_OPTION_H
#define BROKER_QMP_OPTION_H

#include "proto/err.h"

#include <sys/un.h>

#define QMP_PATH_BYTES sizeof(((struct sockaddr_un *)0)->sun_path)

/*
 * qmp_option_parse - "unix:PATH[,server=on][,wait=off]", a doubled comma in
 * PATH being one; also "unix:PATH,server,nowait", which is warned about.
 *   path  room for QMP_PATH_BYTES; NUL-terminated on success
 *   warn  called with a short form and what to write instead
 * -EINVAL with *err for all else. There is no waiting for a client: wait=on
 * is refused, and without wait= nobody waits (QEMU would).
 */
int qmp_option_parse(const char *arg, char *path,
    void (*warn)(void *self, const char *word, const char *instead), void *self,
    struct err *err);

#endif
