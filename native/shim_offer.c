// A child of fork attaches although it may be another user by then, or in a root folder without the
// daemon's socket, /dev and /proc: it keeps what its parent had, as with mappings of the kernel's.
// Before the fork the parent asks the daemon for a connection, and puts that into its end of a pair
// of sockets (shim_fork.c). The child's helper finds it in the other end.
//
// Our threads have no descriptor of the program's: they fetch what they need by pidfd_getfd.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#include "shim.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL
#endif

enum { kOfferedMax = 2 };

struct offer_job {
  struct shim_job job;
  long tid;  // of who has the descriptor
  int end;
};

union control {
  struct cmsghdr header;
  char bytes[CMSG_SPACE(kOfferedMax * sizeof(int))];
};

// A descriptor of a thread's table; before Linux 6.9 of the process's first thread.
static long Fetch(long tid, int fd) {
  long thread = Sys3(SYS_pidfd_open, tid, PIDFD_THREAD, 0);
  if (thread < 0) thread = Sys3(SYS_pidfd_open, Sys3(SYS_getpid, 0, 0, 0), 0, 0);
  if (thread < 0) return thread;
  const long fetched = Sys3(SYS_pidfd_getfd, thread, fd, 0);
  SysClose(thread);
  return fetched;
}

static void Send(long end, const int* fds, size_t count) {
  char byte = 0;
  union control control = {0};
  struct iovec sent = {&byte, 1};
  struct msghdr message = {.msg_iov = &sent, .msg_iovlen = 1};
  message.msg_control = control.bytes;
  message.msg_controllen = CMSG_SPACE(count * sizeof(int));
  control.header.cmsg_level = SOL_SOCKET;
  control.header.cmsg_type = SCM_RIGHTS;
  control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
  memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
  Sys3(SYS_sendmsg, end, (long)&message, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int OfferJob(struct shim_job* job, long channel) {
  const struct offer_job* offer = (const struct offer_job*)job;
  int fds[kOfferedMax];
  const int error = ChannelTake(channel, WIRE_CHILD, &fds[0], 1);
  if (error != 0) return error;
  // Without it, who may use userfaultfd may still do so.
  const size_t count = ChannelTake(channel, WIRE_USERFAULT, &fds[1], 1) == 0 ? 2 : 1;
  const long end = Fetch(offer->tid, offer->end);
  if (end >= 0) {
    Send(end, fds, count);
    SysClose(end);
  }
  for (size_t i = 0; i < count; i++) SysClose(fds[i]);
  return 0;
}

void OfferMake(int end) {
  struct offer_job offer = {{.run = OfferJob}, Sys3(SYS_gettid, 0, 0, 0), end};
  JobDo(&offer.job);
}

struct shim_offer OfferTake(int end) {
  struct shim_offer offer = {-1, -1};
  const long fd = end < 0 ? -1 : Fetch(Sys3(SYS_getpid, 0, 0, 0), end);
  if (fd < 0) return offer;
  char byte;
  union control control = {0};
  struct iovec received = {&byte, 1};
  struct msghdr message = {.msg_iov = &received, .msg_iovlen = 1};
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  const long bytes = Sys3(SYS_recvmsg, fd, (long)&message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  SysClose(fd);
  if (bytes != 1 || message.msg_controllen < CMSG_LEN(sizeof(int))) return offer;
  int fds[kOfferedMax] = {-1, -1};
  memcpy(fds, CMSG_DATA(&control.header), control.header.cmsg_len - CMSG_LEN(0));
  offer.channel = fds[0];
  offer.device = fds[1];
  return offer;
}
