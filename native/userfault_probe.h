// Whether this kernel, and its settings for this user, let a process have its page faults served by
// another, as direct mappings need.
#ifndef FAUXDAX_USERFAULT_PROBE_H_
#define FAUXDAX_USERFAULT_PROBE_H_

#include <cstdint>

namespace fauxdax {

// *missing: the UFFD_FEATURE_* that the kernel lacks. Otherwise ENOSYS: the kernel was built
// without userfaultfd; EPERM: neither userfaultfd(2) nor /dev/userfaultfd may be used.
int ProbeUserfault(uint64_t* missing);

}  // namespace fauxdax

#endif  // FAUXDAX_USERFAULT_PROBE_H_
