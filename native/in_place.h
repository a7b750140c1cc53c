// Stores to bytes of a file that are there already: over an unchanged map, inside its size.
#ifndef FAUXDAX_IN_PLACE_H_
#define FAUXDAX_IN_PLACE_H_

#include <cstdint>

#include "file_map.h"
#include "region.h"

namespace fauxdax {

// Whoever calls it is alone inside the file's gate, or has closed it. The bytes are flushed, not
// fenced. EAGAIN, with nothing stored, unless all of it lies on written pages that are not
// poisoned; EIO as Region::StoreFlushed().
[[nodiscard]] int StoreInPlace(Region* region, const FileMap& file, uint64_t offset,
                               const uint8_t* bytes, uint64_t length_bytes);

}  // namespace fauxdax

#endif  // FAUXDAX_IN_PLACE_H_
