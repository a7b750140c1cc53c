// Mounting and serving of a peer daemon; see serve.h. Called from main() of noop.c and
// passthrough.c on the main thread.

#include "serve.h"

#include <stdio.h>

void NegotiatePeer(struct fuse_conn_info* connection) {
  connection->max_write = kIoBytesMax;
  connection->max_readahead = kIoBytesMax;
  // Splice was measured and gains nothing. AUTO_INVAL_DATA turns an expired attribute into a
  // GETATTR before a read, which would charge the peer for requests that are not the job's.
  connection->want &= ~(unsigned)(FUSE_CAP_SPLICE_READ | FUSE_CAP_SPLICE_WRITE |
                                  FUSE_CAP_SPLICE_MOVE | FUSE_CAP_AUTO_INVAL_DATA);
}

static int Serve(struct fuse_session* session, int threads) {
  if (threads == 1) return fuse_session_loop(session);
  struct fuse_loop_config* config = fuse_loop_cfg_create();
  fuse_loop_cfg_set_max_threads(config, (unsigned)threads);
  fuse_loop_cfg_set_idle_threads(config, (unsigned)threads);
  fuse_loop_cfg_set_clone_fd(config, 1);
  int result = fuse_session_loop_mt(session, config);
  fuse_loop_cfg_destroy(config);
  return result;
}

int ServePeer(const struct fuse_lowlevel_ops* operations, const char* type, const char* directory,
              int threads) {
  char options[128];
  snprintf(options, sizeof options, "default_permissions,fsname=%s,subtype=%s", type, type);
  char* words[] = {(char*)type, "-o", options, NULL};
  struct fuse_args arguments = FUSE_ARGS_INIT(3, words);
  struct fuse_session* session = fuse_session_new(&arguments, operations, sizeof *operations, NULL);
  int status = 1;
  if (session == NULL) goto free_arguments;
  if (fuse_set_signal_handlers(session) != 0) goto destroy;
  if (fuse_session_mount(session, directory) != 0) goto remove_handlers;
  int result = Serve(session, threads);
  // A signal that asked for the end is an ordinary end; libfuse returns its number.
  status = result < 0 ? 1 : 0;
  fuse_session_unmount(session);
remove_handlers:
  fuse_remove_signal_handlers(session);
destroy:
  fuse_session_destroy(session);
free_arguments:
  fuse_opt_free_args(&arguments);
  return status;
}
