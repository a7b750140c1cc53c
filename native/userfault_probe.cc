#include "userfault_probe.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

namespace fauxdax {

namespace {

// Linux 6.4; the headers of Debian 12 are older.
constexpr uint64_t kFeatureWpUnpopulated = uint64_t{1} << 13;

constexpr uint64_t kNeeded =
    uint64_t{UFFD_FEATURE_PAGEFAULT_FLAG_WP} | uint64_t{UFFD_FEATURE_WP_HUGETLBFS_SHMEM} |
    kFeatureWpUnpopulated | uint64_t{UFFD_FEATURE_MISSING_SHMEM} |
    uint64_t{UFFD_FEATURE_EVENT_REMAP} | uint64_t{UFFD_FEATURE_EXACT_ADDRESS} |
    uint64_t{UFFD_FEATURE_THREAD_ID};

// A positive errno, or 0 and the descriptor.
int OpenUserfault(int* fd) {
  *fd = static_cast<int>(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK));
  if (*fd >= 0 || errno != EPERM) return *fd >= 0 ? 0 : errno;
  const int device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
  if (device < 0) return EPERM;
  *fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK);
  const int error = *fd >= 0 ? 0 : errno;
  close(device);
  return error;
}

}  // namespace

int ProbeUserfault(uint64_t* missing) {
  int fd = -1;
  const int error = OpenUserfault(&fd);
  if (error != 0) return error;
  uffdio_api api = {};
  api.api = UFFD_API;
  const int status = ioctl(fd, UFFDIO_API, &api);
  const int api_error = status == 0 ? 0 : errno;
  close(fd);
  if (api_error != 0) return api_error;
  *missing = kNeeded & ~uint64_t{api.features};
  return 0;
}

}  // namespace fauxdax
