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
#include <sys/un.h>

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

// "/proc/thread-self/fd/<folder>/<name>": the descriptor is the calling thread's, and the shim's
// threads have a table of their own.
static long PathThroughFolder(char* path, size_t size, long folder, const char* name) {
  static const char kPrefix[] = "/proc/thread-self/fd/";
  char digits[20];
  size_t digit_count = 0;
  for (long rest = folder; rest > 0 || digit_count == 0; rest /= 10) {
    digits[digit_count++] = (char)('0' + rest % 10);
  }
  const size_t name_size = strlen(name) + 1;
  size_t at = sizeof(kPrefix) - 1;
  if (at + digit_count + 1 + name_size > size) return -ENAMETOOLONG;
  memcpy(path, kPrefix, at);
  while (digit_count > 0) path[at++] = digits[--digit_count];
  path[at++] = '/';
  memcpy(path + at, name, name_size);
  return 0;
}

// A socket's path may have 107 bytes, an image's many more: then by way of its folder.
static long ConnectThroughFolder(long channel, struct sockaddr_un* address) {
  const char* path = shim_settings.socket_path;
  const char* slash = strrchr(path, '/');
  char parent[sizeof(shim_settings.socket_path)];
  const size_t length = (size_t)(slash - path);
  memcpy(parent, path, length);
  parent[length] = 0;
  const long folder = Sys4(SYS_openat, AT_FDCWD, (long)parent, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
  if (folder < 0) return folder;
  long result = PathThroughFolder(address->sun_path, sizeof(address->sun_path), folder, slash + 1);
  if (result == 0) result = Sys3(SYS_connect, channel, (long)address, sizeof(*address));
  SysClose(folder);
  return result;
}

long ChannelConnect(void) {
  const long channel = Sys3(SYS_socket, AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
  if (channel < 0) return channel;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const size_t size = strlen(shim_settings.socket_path) + 1;
  long result;
  if (size <= sizeof(address.sun_path)) {
    memcpy(address.sun_path, shim_settings.socket_path, size);
    result = Sys3(SYS_connect, channel, (long)&address, sizeof(address));
  } else {
    result = ConnectThroughFolder(channel, &address);
  }
  if (result == 0) return channel;
  SysClose(channel);
  return result;
}

int ChannelCall(long channel, struct wire_request* request, long fd, struct wire_reply* reply,
                int* fds, size_t fd_count) {
  request->magic = WIRE_MAGIC;
  request->version = WIRE_VERSION;
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(2 * sizeof(int))];
  } control = {0};
  struct iovec sent = {request, sizeof(*request)};
  struct msghdr message = {.msg_iov = &sent, .msg_iovlen = 1};
  if (fd >= 0) {
    const int one = (int)fd;
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(sizeof(int));
    control.header.cmsg_level = SOL_SOCKET;
    control.header.cmsg_type = SCM_RIGHTS;
    control.header.cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(&control.header), &one, sizeof(one));
  }
  long result;
  do {
    result = Sys3(SYS_sendmsg, channel, (long)&message, MSG_NOSIGNAL);
  } while (result == -EINTR);
  // Who is not let in finds the reason although the other end is closed.
  if (result != sizeof(*request) && result != -EPIPE) return EIO;

  struct iovec received = {reply, sizeof(*reply)};
  message = (struct msghdr){.msg_iov = &received, .msg_iovlen = 1};
  message.msg_control = control.bytes;
  message.msg_controllen = sizeof(control.bytes);
  do {
    result = Sys3(SYS_recvmsg, channel, (long)&message, MSG_CMSG_CLOEXEC);
  } while (result == -EINTR);
  if (result != sizeof(*reply)) return EIO;
  if (fd_count == 0 || reply->error != 0) return 0;
  if (message.msg_controllen < sizeof(struct cmsghdr) ||
      control.header.cmsg_len != CMSG_LEN(fd_count * sizeof(int))) {
    return EPROTO;
  }
  memcpy(fds, CMSG_DATA(&control.header), fd_count * sizeof(int));
  return 0;
}

// A userfaultfd of this process; a negative errno.
static long OpenUffd(void) {
  long fd = Sys3(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK, 0, 0);
  if (fd == -EPERM) {
    const long device = Sys4(SYS_openat, AT_FDCWD, (long)"/dev/userfaultfd", O_RDWR | O_CLOEXEC, 0);
    if (device >= 0) {
      fd = Sys3(SYS_ioctl, device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
      SysClose(device);
    }
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

static int Attach(struct shim_helper* helper) {
  int error = Open(&helper->uffd, OpenUffd());
  if (error != 0) return error;
  const int flags = O_RDONLY | O_CLOEXEC;
  error = Open(&helper->pagemap, Sys4(SYS_openat, AT_FDCWD, (long)"/proc/self/pagemap", flags, 0));
  if (error == 0) {
    error = Open(&helper->memory, Sys4(SYS_openat, AT_FDCWD, (long)"/proc/self/mem", flags, 0));
  }
  if (error == 0) error = Open(&helper->channel, ChannelConnect());
  if (error == ECONNREFUSED) return EIO;
  if (error != 0) return error;

  struct wire_request hello = {.call = WIRE_HELLO};
  hello.tid = (uint32_t)Sys3(SYS_gettid, 0, 0, 0);
  struct wire_reply reply;
  int fds[2];
  error = ChannelCall(helper->channel, &hello, helper->uffd, &reply, fds, 2);
  if (error == 0) error = reply.error == EPROTONOSUPPORT ? EPROTO : reply.error;
  if (error == EPERM) error = EACCES;  // the daemon's word, not the kernel's
  if (error != 0) return error;
  helper->region = fds[0];
  helper->empty = fds[1];
  helper->client = reply.values[0];
  helper->nonce = reply.values[1];
  helper->mode = reply.values[2];
  return 0;
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

static int Obey(const struct wire_command* command, bool* collided) {
  // A command may overtake the reply that gives its mapping a number, in another thread's hands.
  TableAwaitNumber(command->mapping);
  Lock(&shim_table_lock);
  const int error = ShowCommand(command, collided);
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
      bool collided;
      const int error = Obey(&commands[i], &collided);
      if (done.error == 0) done.error = error;
      done.collisions += collided ? 1 : 0;
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
}

static void Settle(uint32_t state, int error) {
  shim_helper.error = error;
  atomic_store(&shim_helper.state, state);
  FutexWake(&shim_helper.state, INT_MAX);
}

static int HelperMain(void* unused) {
  (void)unused;
  int error = Attach(&shim_helper);
  if (error == 0) error = ThreadStart(WatchMain, false);
  if (error == 0) error = AgentsStart();
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
    case EPERM:
      return "userfaultfd is not allowed (sysctl vm.unprivileged_userfaultfd)";
    default:
      return "threads, descriptors or memory are short, or /proc is missing";
  }
}

int HelperStart(void) {
  uint32_t state = kHelperNone;
  if (atomic_compare_exchange_strong(&shim_helper.state, &state, kHelperStarting)) {
    atomic_store(&is_over, 0);
    const int error = ThreadStart(HelperMain, true);
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
