// What both peers share: mounting a libfuse3 low-level session, serving it, unmounting it.
//
// A peer stays in the foreground; the runner starts it, waits for the mount to appear and ends it
// with SIGTERM, which unmounts. One serving thread unless asked for more.

#ifndef BENCH_PEERS_SERVE_H
#define BENCH_PEERS_SERVE_H

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

enum {
  kPageBytes = 4096,
  kIoBytesMax = 1 << 20,  // max_write and the largest read, as fauxdax negotiates
  kThreadsMax = 16,
};

/**
 * Mounts `operations` on `directory` and serves until SIGTERM, SIGINT or an unmount.
 *
 * @param type mount type shown as fuse.TYPE
 * @param threads 1 serves on the calling thread; more uses libfuse's thread pool
 * @return process exit status
 */
int ServePeer(const struct fuse_lowlevel_ops* operations, const char* type, const char* directory,
              int threads);

/** Asks for 1 MiB requests and turns off what would add requests or copies: see README.md. */
void NegotiatePeer(struct fuse_conn_info* connection);

#endif
