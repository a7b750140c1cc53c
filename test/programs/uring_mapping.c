/*
 * io_uring by liburing, in the directory that it starts in: reads and writes between a file and a
 * mapping of another, and buffers that the ring keeps, which may not be in a mapping. Prints what
 * was wrong.
 */
#include <errno.h>
#include <fcntl.h>
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { kPage = 4096, kPages = 64 };

static struct io_uring ring;
static char own[kPage];

#define EXPECT(condition)                                                \
  do {                                                                   \
    if (!(condition)) {                                                  \
      fprintf(stderr, "%d: %s, errno %d\n", __LINE__, #condition, errno); \
      exit(1);                                                           \
    }                                                                    \
  } while (0)

static int Done(void) {
  struct io_uring_cqe* cqe;
  EXPECT(io_uring_submit(&ring) == 1 && io_uring_wait_cqe(&ring, &cqe) == 0);
  const int result = cqe->res;
  io_uring_cqe_seen(&ring, cqe);
  return result;
}

static int Read(int fd, void* to, unsigned length, off_t offset) {
  io_uring_prep_read(io_uring_get_sqe(&ring), fd, to, length, offset);
  return Done();
}

static int Write(int fd, const void* from, unsigned length, off_t offset) {
  io_uring_prep_write(io_uring_get_sqe(&ring), fd, from, length, offset);
  return Done();
}

static int IsAll(const char* bytes, char byte) {
  for (int i = 0; i < kPage; i++) {
    if (bytes[i] != byte) return 0;
  }
  return 1;
}

int main(void) {
  const int made = io_uring_queue_init(8, &ring, 0);
  if (made == -ENOSYS || made == -EPERM) {
    puts("skipped: io_uring is not allowed here");
    return 77;
  }
  EXPECT(made == 0);
  const int fd = open("mapped", O_RDWR | O_CREAT | O_TRUNC, 0600);
  const int other = open("other", O_RDWR | O_CREAT | O_TRUNC, 0600);
  EXPECT(fd >= 0 && other >= 0 && ftruncate(fd, kPages * kPage) == 0);
  char* map = mmap(NULL, kPages * kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  EXPECT(map != MAP_FAILED);
  memset(own, 'o', kPage);
  EXPECT(Write(other, own, kPage, 0) == kPage);

  /* Into a hole that nobody has touched, and out of one. */
  EXPECT(Read(other, map + kPage, kPage, 0) == kPage && IsAll(map + kPage, 'o'));
  EXPECT(pread(fd, own, kPage, kPage) == kPage && IsAll(own, 'o'));
  EXPECT(Write(other, map + 3 * kPage, kPage, kPage) == kPage);
  EXPECT(pread(other, own, kPage, kPage) == kPage && IsAll(own, 0));
  /* Both ends are the mapped file; a page that was synced, and is clean, too. */
  memset(map + 4 * kPage, 'm', kPage);
  EXPECT(msync(map, kPages * kPage, MS_SYNC) == 0);
  EXPECT(Write(fd, map + 4 * kPage, kPage, 5 * kPage) == kPage && IsAll(map + 5 * kPage, 'm'));
  EXPECT(Read(fd, map + 6 * kPage, kPage, 4 * kPage) == kPage && IsAll(map + 6 * kPage, 'm'));
  EXPECT(Read(fd, map + 4 * kPage, kPage, kPage) == kPage && IsAll(map + 4 * kPage, 'o'));
  struct iovec parts[2] = {{map + 10 * kPage, 8}, {map + 12 * kPage, 8}};
  io_uring_prep_readv(io_uring_get_sqe(&ring), other, parts, 2, 0);
  EXPECT(Done() == 16 && map[10 * kPage] == 'o' && map[12 * kPage + 7] == 'o');

  /* Buffers that are kept. */
  struct iovec kept[2] = {{own, kPage}, {map + 20 * kPage, kPage}};
  const __u64 tags[2] = {0};
  EXPECT(io_uring_register_buffers(&ring, kept, 2) == -EOPNOTSUPP);
  EXPECT(io_uring_register_buffers_tags(&ring, kept, tags, 2) == -EOPNOTSUPP);
  EXPECT(io_uring_register_buffers(&ring, kept, 1) == 0);
  EXPECT(io_uring_register_buffers_update_tag(&ring, 0, &kept[1], tags, 1) == -EOPNOTSUPP);
  memset(own, 'x', kPage);
  io_uring_prep_write_fixed(io_uring_get_sqe(&ring), fd, own, kPage, 7 * kPage, 0);
  EXPECT(Done() == kPage && IsAll(map + 7 * kPage, 'x'));
  io_uring_prep_read_fixed(io_uring_get_sqe(&ring), fd, own, kPage, 4 * kPage, 0);
  EXPECT(Done() == kPage && IsAll(own, 'o'));
  EXPECT(io_uring_unregister_buffers(&ring) == 0);
  io_uring_queue_exit(&ring);
  EXPECT(munmap(map, kPages * kPage) == 0);
  return 0;
}
