#include "shared_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace fauxdax {

int MakeShared(const char* name, size_t length_bytes, int* fd, void** mapped) {
  const int made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made < 0) return errno;
  int error = ftruncate(made, static_cast<off_t>(length_bytes)) == 0 ? 0 : errno;
  // Of a shorter one an access here would be SIGBUS.
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
  if (error == 0 && fcntl(made, F_ADD_SEALS, seals) != 0) error = errno;
  if (error == 0) {
    *mapped = mmap(nullptr, length_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, made, 0);
    if (*mapped == MAP_FAILED) error = errno;
  }
  if (error == 0) {
    *fd = made;
  } else {
    close(made);
  }
  return error;
}

}  // namespace fauxdax
