// Memory that is shared with processes by descriptor: they may write to all of it, and cut none
// off.
#ifndef FAUXDAX_SHARED_MEMORY_H_
#define FAUXDAX_SHARED_MEMORY_H_

#include <cstddef>

namespace fauxdax {

// A file in memory of so many zero bytes, mapped; both are the caller's. A positive errno of
// memfd_create(2), ftruncate(2), fcntl(2), mmap(2).
[[nodiscard]] int MakeShared(const char* name, size_t length_bytes, int* fd, void** mapped);

}  // namespace fauxdax

#endif  // FAUXDAX_SHARED_MEMORY_H_
