#include "crc32.h"

#include <immintrin.h>

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

// Goes on from `crc`, the inner state without the final inversion.
uint32_t ByTables(uint32_t crc, const uint8_t* bytes, size_t length_bytes) {
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
  return crc;
}

// Carry-less multiplication folds a block onto one that lies further on: multiplied by
// x^distance mod P, its remainder stays the same. As in Gopal and others, "Fast CRC Computation for
// Generic Polynomials Using PCLMULQDQ", Intel 2009.
constexpr size_t kLanes = 4;
constexpr size_t kLaneBytes = 16;
constexpr size_t kStrideBytes = kLanes * kLaneBytes;

// x^exponent mod P with its bits reflected, moved up by the one that reflected products lack.
constexpr uint64_t Power(int exponent) {
  uint32_t remainder = uint32_t{1} << 31;  // x^0
  for (int step = 0; step < exponent; ++step) {
    remainder = (remainder >> 1) ^ ((remainder & 1) ? 0xedb88320 : 0);
  }
  return uint64_t{remainder} << 1;
}

[[gnu::target("pclmul,sse2")]] inline __m128i Fold(__m128i lane, __m128i powers, __m128i onto) {
  const __m128i low = _mm_clmulepi64_si128(lane, powers, 0x00);
  const __m128i high = _mm_clmulepi64_si128(lane, powers, 0x11);
  return _mm_xor_si128(_mm_xor_si128(low, high), onto);
}

[[gnu::target("pclmul,sse2")]] inline __m128i Load(const uint8_t* bytes) {
  return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

// Needs at least kStrideBytes.
[[gnu::target("pclmul,sse2")]] uint32_t ByFolding(uint32_t crc, const uint8_t* bytes,
                                                  size_t length_bytes) {
  constexpr int kStrideBits = kStrideBytes * 8;
  constexpr int kLaneBits = kLaneBytes * 8;
  const __m128i stride = _mm_set_epi64x(Power(kStrideBits - 32), Power(kStrideBits + 32));
  const __m128i next = _mm_set_epi64x(Power(kLaneBits - 32), Power(kLaneBits + 32));
  __m128i lanes[kLanes];
  for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] = Load(bytes + lane * kLaneBytes);
  lanes[0] = _mm_xor_si128(lanes[0], _mm_cvtsi32_si128(static_cast<int>(crc)));
  for (;;) {
    bytes += kStrideBytes;
    length_bytes -= kStrideBytes;
    if (length_bytes < kStrideBytes) break;
    for (size_t lane = 0; lane < kLanes; ++lane) {
      lanes[lane] = Fold(lanes[lane], stride, Load(bytes + lane * kLaneBytes));
    }
  }
  __m128i all = lanes[0];
  for (size_t lane = 1; lane < kLanes; ++lane) all = Fold(all, next, lanes[lane]);
  uint8_t rest[kLaneBytes];
  _mm_storeu_si128(reinterpret_cast<__m128i*>(rest), all);
  return ByTables(ByTables(0, rest, sizeof(rest)), bytes, length_bytes);
}

}  // namespace

uint32_t Crc32(const uint8_t* bytes, size_t length_bytes) {
  static const bool kCanFold = __builtin_cpu_supports("pclmul");
  const uint32_t start = ~uint32_t{0};
  if (kCanFold && length_bytes >= kStrideBytes) return ~ByFolding(start, bytes, length_bytes);
  return ~ByTables(start, bytes, length_bytes);
}

}  // namespace fauxdax
