#include "plumbing.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstring>

namespace fauxdax {

int MountFuse(const std::string& dir, const std::string& source, uint64_t flags,
              const std::string& data, int* fd) {
  const int fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fuse_fd < 0) return errno;
  std::string options = "fd=" + std::to_string(fuse_fd);
  if (!data.empty()) options += "," + data;
  if (mount(source.c_str(), dir.c_str(), "fuse.fauxdax", flags, options.c_str()) != 0) {
    const int error = errno;
    close(fuse_fd);
    return error;
  }
  *fd = fuse_fd;
  return 0;
}

int Unmount(const std::string& dir, bool lazy) {
  const int flags = UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0);
  return umount2(dir.c_str(), flags) == 0 ? 0 : errno;
}

int ReceiveDescriptor(int socket_fd, int* fd) {
  char byte = 0;
  iovec vector = {&byte, sizeof(byte)};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &vector;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t count = 0;
  do {
    count = recvmsg(socket_fd, &message, MSG_CMSG_CLOEXEC);
  } while (count < 0 && errno == EINTR);
  if (count < 0) return errno;
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS ||
      header->cmsg_len != CMSG_LEN(sizeof(int))) {
    return ENODATA;
  }
  std::memcpy(fd, CMSG_DATA(header), sizeof(int));
  return 0;
}

int SocketPair(int fds[2]) {
  return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) == 0 ? 0 : errno;
}

int LockFile(int fd, bool* locked) {
  int result = 0;
  do {
    result = flock(fd, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result != 0 && errno != EWOULDBLOCK) return errno;
  *locked = result == 0;
  return 0;
}

int LockHolder(int fd, uint64_t offset, int* pid) {
  struct flock wanted = {};
  wanted.l_type = F_WRLCK;
  wanted.l_whence = SEEK_SET;
  wanted.l_start = static_cast<off_t>(offset);
  wanted.l_len = 1;
  if (fcntl(fd, F_GETLK, &wanted) != 0) return errno;
  const int holder = wanted.l_pid > 0 ? wanted.l_pid : -1;
  *pid = wanted.l_type == F_UNLCK ? 0 : holder;
  return 0;
}

int AllocateFile(int fd, uint64_t length_bytes) {
  int error = 0;
  do {
    error = posix_fallocate(fd, 0, static_cast<off_t>(length_bytes));
  } while (error == EINTR);
  return error;
}

// Never repeated after EINTR: Linux has closed the descriptor by then.
int CloseDescriptor(int fd) { return close(fd) == 0 || errno == EINTR ? 0 : errno; }

int HasFileCapabilities(const std::string& path, bool* has) {
  *has = getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
  return *has || errno == ENODATA || errno == EOPNOTSUPP ? 0 : errno;
}

}  // namespace fauxdax
