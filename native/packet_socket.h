// The socket that shims connect to, and its packets (SOCK_SEQPACKET) with descriptors. Nothing here
// waits. Errors are positive errnos.
#ifndef FAUXDAX_PACKET_SOCKET_H_
#define FAUXDAX_PACKET_SOCKET_H_

#include <sys/types.h>

#include <cstddef>
#include <initializer_list>
#include <string>

namespace fauxdax {

// Listens at an absolute path, of any length; mode 0600. A socket that is there already is a dead
// daemon's and goes. Errors: those of open(2), bind(2) and listen(2).
int ListenForPackets(const std::string& path, int* fd);

// A new connection, with the process at its other end: its number, and a descriptor of it that
// stays with that very process (-1 where there is none). EAGAIN when there is none.
struct PacketPeer {
  pid_t pid;
  uid_t uid;
  int pidfd;
};
int AcceptPackets(int listener_fd, int* fd, PacketPeer* peer);

// A connection whose other end is for a process: *fd is ours, *their_fd is to be passed on. Errors:
// those of socketpair(2).
int MakePackets(int* fd, int* their_fd);
// Whether packets come with who sent each, which the kernel vouches for.
int SetTellsSender(int fd, bool on);

// One packet of exactly `length_bytes`, with at most one descriptor (*passed_fd, else -1), which is
// the caller's, as is that of *sender, where the socket tells it and somebody asks: else -1. EAGAIN
// when there is none, ENOTCONN at the end, EBADMSG when it is anything else.
int ReceivePacket(int fd, void* packet, size_t length_bytes, int* passed_fd,
                  PacketPeer* sender = nullptr);

// EAGAIN when the other side does not read.
int SendPacket(int fd, const void* packet, size_t length_bytes,
               std::initializer_list<int> passed_fds);

}  // namespace fauxdax

#endif  // FAUXDAX_PACKET_SOCKET_H_
