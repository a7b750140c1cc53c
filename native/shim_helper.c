// The helper thread: attaches the process to the daemon, then obeys its commands until the process
// ends, or the daemon does. A second thread, the watch, only waits for the daemon's end: the helper
// may then be in the middle of moving memory, which goes on once somebody has read of it.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "shim.h"

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW 0xAA00
#endif

enum {
  kUffdFeatures = UFFD_FEATURE_PAGEFAULT_FLAG_WP | UFFD_FEATURE_WP_UNPOPULATED |
                  UFFD_FEATURE_WP_HUGETLBFS_SHMEM | UFFD_FEATURE_EVENT_REMAP |
                  UFFD_FEATURE_EXACT_ADDRESS | UFFD_FEATURE_THREAD_ID | UFFD_FEATURE_MISSING_SHMEM,
  kDrainMs = 10,
};

struct shim_helper shim_helper;
static _Atomic uint32_t is_over;  // the helper needs the userfaultfd no more

// A userfaultfd of this process, by `device` when it may not otherwise; a negative errno.
static long OpenUffd(long device) {
  long fd = Sys3(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK, 0, 0);
  if (fd == -EPERM) {
    const long opened =
        device >= 0 ? device
                    : Sys4(SYS_openat, AT_FDCWD, (long)"/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
    if (opened >= 0) fd = Sys3(SYS_ioctl, opened, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
    if (opened >= 0) SysClose(opened);
  }
  if (fd < 0) return fd;
  struct uffdio_api api = {.api = UFFD_API, .features = kUffdFeatures};
  const long result = SysIoctl(fd, UFFDIO_API, &api);
  if (result == 0) return fd;
  SysClose(fd);
  return result == -EINVAL ? -ENOSYS : result;
}

static int Open(long* target, long fd) {
  *target = fd;
  return fd < 0 ? (int)-fd : 0;
}

// Says to daemons to come whether this process may still have something of the region mapped.
static int LockAttached(short type) {
  struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_len = 1};
  lock.l_start = (off_t)WIRE_ATTACHED_AT;
  return (int)-Sys3(SYS_fcntl, shim_helper.region, F_SETLK, (long)&lock);
}

static int SayHello(struct shim_helper* helper, long* calls) {
  struct wire_request hello = {.call = WIRE_HELLO};
  hello.tid = (uint32_t)Sys3(SYS_gettid, 0, 0, 0);
  struct wire_reply reply;
  int fds[3];
  int error = ChannelCall(helper->channel, &hello, helper->uffd, &reply, fds, 3);
  if (error == 0) error = reply.error == EPROTONOSUPPORT ? EPROTO : reply.error;
  if (error == EPERM) error = EACCES;  // the daemon's word, not the kernel's
  if (error != 0) return error;
  helper->region = fds[0];
  helper->empty = fds[1];
  *calls = fds[2];
  helper->mode = reply.values[0];
  return LockAttached(F_RDLCK);
}

// Where it may not open them, or there is no /proc, the daemon does it.
static int OpenProc(struct shim_helper* helper, long calls) {
  const int flags = O_RDONLY | O_CLOEXEC;
  helper->pagemap = Sys4(SYS_openat, AT_FDCWD, (long)"/proc/self/pagemap", flags, 0);
  helper->memory = Sys4(SYS_openat, AT_FDCWD, (long)"/proc/self/mem", flags, 0);
  if (helper->pagemap >= 0 && helper->memory >= 0) return 0;
  int fds[2];
  const int error = ChannelTake(calls, WIRE_PROC, fds, 2);
  if (error != 0) return error;
  helper->pagemap = fds[0];
  helper->memory = fds[1];
  return 0;
}

static int Attach(struct shim_helper* helper, long* calls) {
  const struct shim_offer offer = OfferTake(helper->is_child ? helper->offer : -1);
  // First: who may not attach has nothing of being allowed userfaultfd.
  int error = Open(&helper->channel, offer.channel >= 0 ? offer.channel : ChannelConnect());
  if (error == ECONNREFUSED) return EIO;
  if (error == 0) error = Open(&helper->uffd, OpenUffd(offer.device));
  if (error == 0) error = SayHello(helper, calls);
  return error != 0 ? error : OpenProc(helper, *calls);
}

static int WatchMain(void* unused) {
  (void)unused;
  struct pollfd end = {(int)shim_helper.channel, 0, 0};
  while ((end.revents & (POLLHUP | POLLERR | POLLNVAL)) == 0) {
    Sys3(SYS_poll, (long)&end, 1, -1);
  }
  while (atomic_load(&is_over) == 0) {
    struct pollfd messages = {(int)shim_helper.uffd, POLLIN, 0};
    struct uffd_msg message;
    Sys3(SYS_poll, (long)&messages, 1, kDrainMs);
    Sys3(SYS_read, shim_helper.uffd, (long)&message, sizeof(message));
  }
  return 0;
}

static int Obey(const struct wire_command* command, struct shim_met* met) {
  // A command may overtake the reply that gives its mapping a number, in another thread's hands.
  TableAwaitNumber(command->mapping);
  Lock(&shim_table_lock);
  const int error = ShowCommand(command, met);
  Unlock(&shim_table_lock);
  return error;
}

static void ObeyAll(void) {
  static struct wire_command commands[WIRE_COMMANDS_MAX];
  for (;;) {
    const long bytes =
        Sys6(SYS_recvfrom, shim_helper.channel, (long)commands, sizeof(commands), 0, 0, 0);
    if (bytes == -EINTR) continue;
    if (bytes <= 0 || (size_t)bytes % sizeof(*commands) != 0) return;
    const size_t count = (size_t)bytes / sizeof(*commands);
    struct wire_done done = {.number = commands[count - 1].number};
    for (size_t i = 0; i < count; i++) {
      struct shim_met met;
      const int error = Obey(&commands[i], &met);
      if (done.error == 0) done.error = error;
      done.collisions += met.own ? 1 : 0;
      done.small_count += met.small ? 1 : 0;
    }
    long sent;
    do {
      sent = Sys6(SYS_sendto, shim_helper.channel, (long)&done, sizeof(done), MSG_NOSIGNAL, 0, 0);
    } while (sent == -EINTR);
    if (sent != sizeof(done)) return;
  }
}

// The daemon is gone. What its mappings showed may be stale, and faults would wait for ever: every
// access is SIGBUS from now on.
static void Bury(void) {
  atomic_store(&shim_helper.state, kHelperGone);
  JobsFail();
  Lock(&shim_table_lock);
  const size_t count = TableCount();
  for (size_t i = 0; i < count; i++) {
    const struct shim_part* part = TablePart(i);
    ShowBus(part, part->start, part->end - part->start, shim_helper.empty);
    ShowWake(part->start, part->end - part->start);
  }
  Unlock(&shim_table_lock);
  if (count > 0) {
    static const char* const kWords[] = {
        "fauxdax: the daemon of the mount is gone: access to its mapped files is SIGBUS"};
    ShimSay(kWords, 1);
  }
  atomic_store(&is_over, 1);
  SysClose(shim_helper.uffd);
  FilesBury();
  LockAttached(F_UNLCK);
}

static void Settle(uint32_t state, int error) {
  shim_helper.error = error;
  atomic_store(&shim_helper.state, state);
  FutexWake(&shim_helper.state, INT_MAX);
}

static int HelperMain(void* unused) {
  (void)unused;
  long calls;
  int error = Attach(&shim_helper, &calls);
  if (error == 0) error = ThreadStart(WatchMain, NULL, false);
  if (error == 0) error = AgentsStart(calls);
  if (error != 0) {
    Sys3(SYS_close_range, 0, ~0U, 0);
    Settle(kHelperFailed, error);
    return 0;
  }
  ShowHoldSpare();
  Settle(kHelperReady, 0);
  ObeyAll();
  Bury();
  return 0;
}

static const char* Reason(int error) {
  switch (error) {
    case EPROTO:
      return "its daemon is of another version";
    case EIO:
      return "its daemon does not answer";
    case ENOENT:
      return "its daemon's socket or /proc is not there (the daemon ended, or chroot)";
    case EACCES:
      return "its daemon serves the user who mounted it, and this process is not (or no more) that";
    case ENOSYS:
      return "this kernel's userfaultfd lacks what is needed (6.7 has it)";
    case EOPNOTSUPP:
      return "valgrind does not run the threads that serve them";
    case EAGAIN:
      return "its daemon serves 1024 processes already, or there may be no more threads";
    case EPERM:
      return "userfaultfd is not allowed (sysctl vm.unprivileged_userfaultfd)";
    default:
      return "threads, descriptors or memory are short, or /proc is missing";
  }
}

int HelperStart(void) {
  uint32_t state = kHelperNone;
  if (atomic_load(&shim_helper.state) == state && !ThreadsMayStart()) return EAGAIN;
  if (atomic_compare_exchange_strong(&shim_helper.state, &state, kHelperStarting)) {
    atomic_store(&is_over, 0);
    const int error = shim_settings.is_valgrind ? EOPNOTSUPP : ThreadStart(HelperMain, NULL, true);
    if (error != 0) Settle(kHelperFailed, error);
    while (atomic_load(&shim_helper.state) == kHelperStarting) {
      FutexWait(&shim_helper.state, kHelperStarting);
    }
    if (atomic_load(&shim_helper.state) == kHelperFailed) {
      const char* const words[] = {
          shim_helper.is_child ? "fauxdax: a child of fork is not served, and access to the files "
                                 "that it has mapped is SIGBUS: "
                               : "fauxdax: files of the mount cannot be mapped: ",
          Reason(shim_helper.error)};
      ShimSay(words, 2);
    }
  }
  switch (atomic_load(&shim_helper.state)) {
    case kHelperReady:
      return 0;
    case kHelperFailed:
      return shim_helper.error == ENOENT ? EIO : shim_helper.error;
    default:
      return EIO;
  }
}
