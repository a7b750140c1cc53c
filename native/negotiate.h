// INIT: which protocol and which of the kernel's abilities a session uses. No state, any thread.
#ifndef FAUXDAX_NEGOTIATE_H_
#define FAUXDAX_NEGOTIATE_H_

#include <string>

#include "device.h"

namespace fauxdax {

struct Negotiated {
  // Answer `out` when 0; else this errno, and the session ends for `reason`.
  int error = 0;
  std::string reason;
  fuse_init_out out = {};
  // The kernel spoke a later major version and will send INIT again.
  bool again = false;
  bool setxattr_extended = false;
};

// `direct_mappings`: shared mappings of files opened FOPEN_DIRECT_IO are wanted, by the page cache.
Negotiated Negotiate(const Request& request, bool direct_mappings);

}  // namespace fauxdax

#endif  // FAUXDAX_NEGOTIATE_H_
