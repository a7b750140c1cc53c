#include "in_place.h"

#include <algorithm>
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

int StoreInRoom(Region* region, FileMap* file, uint64_t offset, const uint8_t* bytes,
                uint64_t length_bytes) {
  const MapExtent room = file->room();
  const uint64_t size_bytes = file->size_bytes();
  const uint64_t room_start = room.file_page << kPageShift;
  if (room.page_count == 0 || offset > std::min(size_bytes, room_start)) return EAGAIN;
  const uint64_t end = offset + length_bytes;
  if (end <= std::min(size_bytes, room_start)) return EAGAIN;
  if (end > room.end_page() << kPageShift) return EAGAIN;
  // Up to the room it is stored in place, also between the old end and that of its page.
  const uint64_t in_place = std::min(end, std::max(offset, room_start)) - offset;
  const bool storable = file->ForEachPiece(
      offset, in_place, [&](uint64_t region_offset, uint64_t piece_bytes, bool written) {
        return written && !region->Poisoned(region_offset, piece_bytes);
      });
  const uint64_t to_start = room.region_page << kPageShift;
  const uint64_t new_bytes = length_bytes - in_place;
  const uint64_t page_count = (new_bytes + kPageBytes - 1) >> kPageShift;
  const uint64_t page_bytes = page_count << kPageShift;
  if (!storable || region->Poisoned(to_start, page_bytes)) return EAGAIN;
  int error = 0;
  if (new_bytes > 0) error = region->StoreFlushed(to_start, bytes + in_place, new_bytes);
  if (error == 0 && page_bytes > new_bytes) {
    error = region->ZeroFlushed(to_start + new_bytes, page_bytes - new_bytes);
  }
  file->ForEachPiece(offset, in_place, [&](uint64_t region_offset, uint64_t piece_bytes, bool) {
    if (error == 0) error = region->StoreFlushed(region_offset, bytes, piece_bytes);
    bytes += piece_bytes;
    return error == 0;
  });
  if (error == 0) file->Grow(page_count, std::max(size_bytes, end));
  return error;
}

int StorePagesInRoom(Region* region, FileMap* file, uint64_t offset, const uint8_t* bytes,
                     uint64_t length_bytes) {
  const MapExtent room = file->room();
  const uint64_t size_bytes = file->size_bytes();
  const uint64_t room_start = room.file_page << kPageShift;
  const bool are_pages = length_bytes > 0 && (offset | length_bytes) % kPageBytes == 0;
  if (!are_pages || length_bytes > size_bytes || offset > size_bytes - length_bytes) return EAGAIN;
  const uint64_t end = offset + length_bytes;
  if (offset < room_start || end > room.end_page() << kPageShift) return EAGAIN;
  const uint64_t to_start = room.region_page << kPageShift;
  if (region->Poisoned(to_start, end - room_start)) return EAGAIN;
  int error = 0;
  if (offset > room_start) error = region->ZeroFlushed(to_start, offset - room_start);
  if (error == 0)
    error = region->StoreFlushed(to_start + (offset - room_start), bytes, length_bytes);
  if (error == 0) file->Grow((end - room_start) >> kPageShift, size_bytes);
  return error;
}

}  // namespace fauxdax
