// The sizes everything else is counted in, mirrored from lib/units.ts. A `page` is the unit of
// extents and of the region, a `line` the unit of persistence, an `offset` always counts bytes.
#ifndef FAUXDAX_UNITS_H_
#define FAUXDAX_UNITS_H_

#include <cstddef>
#include <cstdint>

namespace fauxdax {

inline constexpr uint64_t kPageBytes = 4096;
inline constexpr uint64_t kPageShift = 12;
inline constexpr uint64_t kLineBytes = 64;
inline constexpr uint64_t kLinesPerPage = kPageBytes / kLineBytes;
inline constexpr uint64_t kPagesPerHuge = 512;

// Largest file size and file offset: exact in a double, with room to add.
inline constexpr uint64_t kFileBytesMax = uint64_t{1} << 52;
inline constexpr uint64_t kNameBytesMax = 255;
inline constexpr uint64_t kSymlinkBytesMax = 4095;

// Largest region: 4 TiB. Bounds every array that is sized by the page count.
inline constexpr uint64_t kRegionPagesMax = uint64_t{1} << 30;

static_assert(kPageBytes == uint64_t{1} << kPageShift);
static_assert(kLinesPerPage == 64, "a page's lines fit the bits of one 64-bit word");
static_assert(kRegionPagesMax * kPageBytes <= kFileBytesMax);

}  // namespace fauxdax

#endif  // FAUXDAX_UNITS_H_
