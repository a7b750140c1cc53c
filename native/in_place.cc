#include "in_place.h"

#include <cerrno>

namespace fauxdax {

int StoreInPlace(Region* region, const FileMap& file, uint64_t offset, const uint8_t* bytes,
                 uint64_t length_bytes) {
  if (length_bytes > file.size_bytes() || offset > file.size_bytes() - length_bytes) return EAGAIN;
  const bool storable = file.ForEachPiece(
      offset, length_bytes, [&](uint64_t region_offset, uint64_t piece_bytes, bool written) {
        return written && !region->Poisoned(region_offset, piece_bytes);
      });
  if (!storable) return EAGAIN;
  int error = 0;
  file.ForEachPiece(offset, length_bytes, [&](uint64_t region_offset, uint64_t piece_bytes, bool) {
    error = region->StoreFlushed(region_offset, bytes, piece_bytes);
    bytes += piece_bytes;
    return error == 0;
  });
  return error;
}

}  // namespace fauxdax
