// The canary: what a free page holds in a mount with `-o canary`, so that an exposure of stale
// bytes names the page and the file it belonged to. Every 64-byte line of the page holds two copies
// of one 32-byte record; all numbers are little-endian:
//
//   offset  bytes  content
//   0       8      "FDXSTALE"
//   8       8      region page
//   16      8      inode number of the last owner, 0 when the page was never owned
//   24      8      index of the line in the page, 0..63
//   32      32     the same again
//
// A torn line therefore still shows a whole record unless the tear falls inside both.
#ifndef FAUXDAX_CANARY_H_
#define FAUXDAX_CANARY_H_

#include <bit>
#include <cstdint>
#include <cstring>

#include "units.h"

namespace fauxdax {

inline constexpr char kCanaryMagic[] = "FDXSTALE";
inline constexpr uint64_t kCanaryRecordBytes = 32;

static_assert(std::endian::native == std::endian::little,
              "records are written as they lie in memory");
static_assert(sizeof(kCanaryMagic) == 8 + 1);
static_assert(kLineBytes % kCanaryRecordBytes == 0);

// `bytes` has room for one page.
inline void FillCanaryPage(uint8_t* bytes, uint64_t region_page, uint64_t owner_ino) {
  for (uint64_t at = 0; at < kPageBytes; at += kCanaryRecordBytes) {
    const uint64_t numbers[3] = {region_page, owner_ino, at / kLineBytes};
    std::memcpy(bytes + at, kCanaryMagic, 8);
    std::memcpy(bytes + at + 8, numbers, sizeof(numbers));
  }
}

}  // namespace fauxdax

#endif  // FAUXDAX_CANARY_H_
