#include "crc32.h"

#include <array>
#include <bit>
#include <cstring>

namespace fauxdax {

namespace {

// Bytes taken at a time, each through a table of its own.
constexpr size_t kSlices = 16;

static_assert(std::endian::native == std::endian::little, "the slices are loaded as they lie");

using Tables = std::array<std::array<uint32_t, 256>, kSlices>;

constexpr Tables MakeTables() {
  Tables tables = {};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1) ? 0xedb88320 : 0);
    tables[0][byte] = crc;
  }
  for (size_t slice = 1; slice < kSlices; ++slice) {
    for (size_t byte = 0; byte < 256; ++byte) {
      const uint32_t before = tables[slice - 1][byte];
      tables[slice][byte] = (before >> 8) ^ tables[0][before & 0xff];
    }
  }
  return tables;
}

constexpr Tables kTables = MakeTables();

}  // namespace

uint32_t Crc32(const uint8_t* bytes, size_t length_bytes) {
  uint32_t crc = ~uint32_t{0};
  for (; length_bytes >= kSlices; length_bytes -= kSlices, bytes += kSlices) {
    uint32_t words[kSlices / 4];
    std::memcpy(words, bytes, kSlices);
    words[0] ^= crc;
    crc = 0;
    for (size_t index = 0; index < kSlices; ++index) {
      crc ^= kTables[kSlices - 1 - index][(words[index / 4] >> (index % 4 * 8)) & 0xff];
    }
  }
  for (; length_bytes > 0; --length_bytes, ++bytes) {
    crc = (crc >> 8) ^ kTables[0][(crc ^ *bytes) & 0xff];
  }
  return ~crc;
}

}  // namespace fauxdax
