// Connections to the daemon, and calls over them. In threads of ours, which have the descriptors.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "shim.h"

enum { kPassedMax = 3 };

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

// Closes the descriptors that a message brought.
static void CloseTaken(const struct cmsghdr* header) {
  const size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (size_t i = 0; i < count; i++) {
    int fd;
    memcpy(&fd, CMSG_DATA(header) + i * sizeof(fd), sizeof(fd));
    SysClose(fd);
  }
}

int ChannelCall(long channel, struct wire_request* request, long fd, struct wire_reply* reply,
                int* fds, size_t fd_count) {
  request->magic = WIRE_MAGIC;
  request->version = WIRE_VERSION;
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(kPassedMax * sizeof(int))];
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
  if (message.msg_flags & MSG_CTRUNC) {  // RLIMIT_NOFILE: there is room for some, or for none
    if (message.msg_controllen >= sizeof(struct cmsghdr)) CloseTaken(&control.header);
    return EMFILE;
  }
  if (message.msg_controllen < sizeof(struct cmsghdr) ||
      control.header.cmsg_len != CMSG_LEN(fd_count * sizeof(int))) {
    return EPROTO;
  }
  memcpy(fds, CMSG_DATA(&control.header), fd_count * sizeof(int));
  return 0;
}

int ChannelAsk(long channel, struct shim_job* job) {
  const int error = ChannelCall(channel, &job->request, -1, &job->reply, NULL, 0);
  return error != 0 ? EIO : job->reply.error;
}

int ChannelTake(long channel, uint32_t call, int* fds, size_t fd_count) {
  struct wire_request request = {.call = call};
  request.tid = (uint32_t)Sys3(SYS_gettid, 0, 0, 0);
  struct wire_reply reply;
  const int error = ChannelCall(channel, &request, -1, &reply, fds, fd_count);
  return error != 0 ? error : reply.error;
}
