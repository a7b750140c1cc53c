// Stores to bytes of a file that are there already, over an unchanged map, inside its size; and
// behind its end, to pages that JavaScript set aside for that.
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

// As StoreInPlace(), for bytes that reach into the file's room from its first byte on, or on the
// page before it beyond the end: the file has those pages then, with zeroes behind the bytes, and
// may be longer. EAGAIN, with nothing changed, where it has no such room.
[[nodiscard]] int StoreInRoom(Region* region, FileMap* file, uint64_t offset, const uint8_t* bytes,
                              uint64_t length_bytes);

// The same for whole pages anywhere in the room and inside the file's size: those before them are
// the file's as well then, zeroes.
[[nodiscard]] int StorePagesInRoom(Region* region, FileMap* file, uint64_t offset,
                                   const uint8_t* bytes, uint64_t length_bytes);

}  // namespace fauxdax

#endif  // FAUXDAX_IN_PLACE_H_
