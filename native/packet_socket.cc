#include "packet_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "check.h"

#ifndef SO_PASSPIDFD
#define SO_PASSPIDFD 76
#define SO_PEERPIDFD 77
#define SCM_PIDFD 4
#endif

namespace fauxdax {

namespace {

constexpr int kBacklog = 128;
constexpr size_t kPassedMax = 3;
constexpr size_t kReceivedMax = 2;  // one, and whether there are more

int BindAndListen(int fd, int dir_fd, const std::string& name) {
  struct stat present;
  if (fstatat(dir_fd, name.c_str(), &present, AT_SYMLINK_NOFOLLOW) == 0 &&
      S_ISSOCK(present.st_mode) && unlinkat(dir_fd, name.c_str(), 0) != 0) {
    return errno;
  }
  // A socket's path may be 107 bytes at most; the folder's own may be longer.
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  const std::string path = "/proc/self/fd/" + std::to_string(dir_fd) + "/" + name;
  if (path.size() >= sizeof(address.sun_path)) return ENAMETOOLONG;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return errno;
  // Nobody can connect before listen(2).
  if (fchmodat(dir_fd, name.c_str(), 0600, 0) != 0) return errno;
  return listen(fd, kBacklog) == 0 ? 0 : errno;
}

// Takes the first descriptor of a message and closes all others; false when there were others.
bool TakePassed(const cmsghdr* part, int* passed_fd) {
  bool only_one = true;
  const size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
  for (size_t i = 0; i < count; i++) {
    int fd;
    std::memcpy(&fd, CMSG_DATA(part) + i * sizeof(int), sizeof(fd));
    if (*passed_fd < 0) {
      *passed_fd = fd;
    } else {
      close(fd);
      only_one = false;
    }
  }
  return only_one;
}

// What came with a message; false when there were several descriptors.
bool TakeControl(msghdr* message, int* passed_fd, PacketPeer* sender) {
  bool only_one = true;
  for (cmsghdr* part = CMSG_FIRSTHDR(message); part != nullptr; part = CMSG_NXTHDR(message, part)) {
    if (part->cmsg_level != SOL_SOCKET) continue;
    if (part->cmsg_type == SCM_RIGHTS) {
      if (!TakePassed(part, passed_fd)) only_one = false;
    } else if (part->cmsg_type == SCM_CREDENTIALS) {
      ucred credentials;
      std::memcpy(&credentials, CMSG_DATA(part), sizeof(credentials));
      sender->pid = credentials.pid;
      sender->uid = credentials.uid;
    } else if (part->cmsg_type == SCM_PIDFD) {
      std::memcpy(&sender->pidfd, CMSG_DATA(part), sizeof(sender->pidfd));
    }
  }
  return only_one;
}

}  // namespace

int ListenForPackets(const std::string& path, int* fd) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash + 1 == path.size()) return EINVAL;
  const std::string dir = slash == 0 ? "/" : path.substr(0, slash);
  const int dir_fd = open(dir.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir_fd < 0) return errno;
  int error = 0;
  const int socket_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (socket_fd < 0) {
    error = errno;
  } else {
    error = BindAndListen(socket_fd, dir_fd, path.substr(slash + 1));
    if (error != 0) close(socket_fd);
  }
  close(dir_fd);
  if (error == 0) *fd = socket_fd;
  return error;
}

int AcceptPackets(int listener_fd, int* fd, PacketPeer* peer) {
  const int socket_fd = accept4(listener_fd, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (socket_fd < 0) return errno == EWOULDBLOCK ? EAGAIN : errno;
  ucred credentials = {};
  socklen_t length = sizeof(credentials);
  if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) != 0) {
    const int error = errno;
    close(socket_fd);
    return error;
  }
  int pidfd = -1;
  length = sizeof(pidfd);
  if (getsockopt(socket_fd, SOL_SOCKET, SO_PEERPIDFD, &pidfd, &length) != 0) pidfd = -1;
  *peer = {credentials.pid, credentials.uid, pidfd};
  *fd = socket_fd;
  return 0;
}

int MakePackets(int* fd, int* their_fd) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) return errno;
  *fd = ends[0];
  *their_fd = ends[1];
  return 0;
}

int SetTellsSender(int fd, bool on) {
  const int value = on ? 1 : 0;
  for (const int option : {SO_PASSCRED, SO_PASSPIDFD}) {
    if (setsockopt(fd, SOL_SOCKET, option, &value, sizeof(value)) != 0) return errno;
  }
  return 0;
}

int ReceivePacket(int fd, void* packet, size_t length_bytes, int* passed_fd, PacketPeer* sender) {
  *passed_fd = -1;
  PacketPeer from = {-1, 0, -1};
  iovec vector = {packet, length_bytes};
  constexpr size_t kControlBytes =
      CMSG_SPACE(sizeof(int) * kReceivedMax) + CMSG_SPACE(sizeof(ucred)) + CMSG_SPACE(sizeof(int));
  alignas(cmsghdr) char control[kControlBytes] = {};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t count = 0;
  do {
    count = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? EAGAIN : ENOTCONN;
  const bool only_one = TakeControl(&message, passed_fd, &from);
  const bool is_good = count == static_cast<ssize_t>(length_bytes) && only_one &&
                       !(message.msg_flags & (MSG_TRUNC | MSG_CTRUNC));
  if (is_good && sender != nullptr) {
    *sender = from;
  } else if (from.pidfd >= 0) {
    close(from.pidfd);
  }
  if (is_good) return 0;
  if (*passed_fd >= 0) close(*passed_fd);
  *passed_fd = -1;
  return count == 0 ? ENOTCONN : EBADMSG;
}

int SendPacket(int fd, const void* packet, size_t length_bytes,
               std::initializer_list<int> passed_fds) {
  CHECK(passed_fds.size() <= kPassedMax, "few descriptors travel in a packet");
  iovec vector = {const_cast<void*>(packet), length_bytes};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kPassedMax)] = {};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  if (passed_fds.size() > 0) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(sizeof(int) * passed_fds.size());
    cmsghdr* header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * passed_fds.size());
    std::memcpy(CMSG_DATA(header), passed_fds.begin(), sizeof(int) * passed_fds.size());
  }
  ssize_t count = 0;
  do {
    count = sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
  } while (count < 0 && errno == EINTR);
  if (count == static_cast<ssize_t>(length_bytes)) return 0;
  return count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) ? EAGAIN : ENOTCONN;
}

}  // namespace fauxdax
