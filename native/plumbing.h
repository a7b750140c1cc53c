// System calls that Node lacks and a mount needs: mount and unmount, descriptor passing with
// fusermount3, whole-file locks, host block allocation, file capabilities. Stateless, any thread.
// Every function returns 0 or a positive errno and sets its results only on 0; descriptors it makes
// are close-on-exec.
#ifndef FAUXDAX_PLUMBING_H_
#define FAUXDAX_PLUMBING_H_

#include <cstdint>
#include <string>

namespace fauxdax {

// Opens /dev/fuse and mounts it at `dir` as type fuse.fauxdax. `flags` are MS_* of mount(2), `data`
// the FUSE options besides fd= (rootmode=40000,user_id=0,group_id=0,...). *fd is the caller's.
// Errors: those of open(2) and mount(2); EPERM without CAP_SYS_ADMIN.
int MountFuse(const std::string& dir, const std::string& source, uint64_t flags,
              const std::string& data, int* fd);

// umount2(2); `lazy` is MNT_DETACH. Never follows a symbolic link.
int Unmount(const std::string& dir, bool lazy);

// Receives the one descriptor that fusermount3 sends over the socket named by _FUSE_COMMFD. Blocks.
// ENODATA when the peer closes without sending one: it printed its reason on its standard error.
int ReceiveDescriptor(int socket_fd, int* fd);

// A connected pair of Unix stream sockets.
int SocketPair(int fds[2]);

// flock(LOCK_EX | LOCK_NB). *locked is false when another open file holds a lock.
int LockFile(int fd, bool* locked);

// Who has a lock of fcntl(2) on the byte at `offset`: a process, 0 when nobody has, -1 when it is
// none that has a number here.
int LockHolder(int fd, uint64_t offset, int* pid);

// posix_fallocate(3) from 0: the file is at least length_bytes long and its blocks exist. ENOSPC
// when the host has no room.
int AllocateFile(int fd, uint64_t length_bytes);

int CloseDescriptor(int fd);

// Whether a program gets capabilities from its file, capabilities(7). Errors: those of getxattr(2).
int HasFileCapabilities(const std::string& path, bool* has);

}  // namespace fauxdax

#endif  // FAUXDAX_PLUMBING_H_
