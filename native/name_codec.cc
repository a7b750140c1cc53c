#include "name_codec.h"

#include <cstring>
#include <vector>

namespace fauxdax {

namespace {

// Code points from here on are not text: they stand for bytes.
constexpr uint32_t kEscapeBase = 0x10ff00;
constexpr char16_t kEscapeHigh = 0xdbff;     // high surrogate of all of them
constexpr char16_t kEscapeLowBase = 0xdf00;  // low surrogate of kEscapeBase

bool IsContinuation(uint8_t byte) { return (byte & 0xc0) == 0x80; }

// Length of the well-formed UTF-8 sequence at `bytes` (Unicode 15, table 3-7) and its code point;
// 0 when there is none.
size_t WellFormed(const uint8_t* bytes, size_t length_bytes, uint32_t* code_point) {
  const uint8_t lead = bytes[0];
  size_t count = 0;
  uint32_t value = 0;
  uint32_t value_min = 0;
  if (lead < 0x80) {
    *code_point = lead;
    return 1;
  } else if ((lead & 0xe0) == 0xc0) {
    count = 2, value = lead & 0x1f, value_min = 0x80;
  } else if ((lead & 0xf0) == 0xe0) {
    count = 3, value = lead & 0x0f, value_min = 0x800;
  } else if ((lead & 0xf8) == 0xf0) {
    count = 4, value = lead & 0x07, value_min = 0x10000;
  } else {
    return 0;
  }
  if (length_bytes < count) return 0;
  for (size_t index = 1; index < count; ++index) {
    if (!IsContinuation(bytes[index])) return 0;
    value = value << 6 | (bytes[index] & 0x3f);
  }
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < value_min || value > 0x10ffff || surrogate) return 0;
  *code_point = value;
  return count;
}

void AppendUtf8(uint32_t code_point, std::string* bytes) {
  const auto append = [bytes](uint32_t byte) { bytes->push_back(static_cast<char>(byte)); };
  if (code_point < 0x80) {
    append(code_point);
    return;
  }
  if (code_point < 0x800) {
    append(0xc0 | code_point >> 6);
  } else {
    if (code_point < 0x10000) {
      append(0xe0 | code_point >> 12);
    } else {
      append(0xf0 | code_point >> 18);
      append(0x80 | (code_point >> 12 & 0x3f));
    }
    append(0x80 | (code_point >> 6 & 0x3f));
  }
  append(0x80 | (code_point & 0x3f));
}

// Code point at units[*at], which moves past it; false for a lone surrogate.
bool NextCodePoint(const char16_t* units, size_t length_units, size_t* at, uint32_t* code_point) {
  const char16_t unit = units[(*at)++];
  *code_point = unit;
  if (unit < 0xd800 || unit > 0xdfff) return true;
  if (unit >= 0xdc00 || *at == length_units) return false;
  const char16_t low = units[(*at)++];
  if (low < 0xdc00 || low > 0xdfff) return false;
  *code_point = 0x10000 + ((uint32_t{unit} - 0xd800) << 10) + (uint32_t{low} - 0xdc00);
  return true;
}

}  // namespace

bool IsAscii(const uint8_t* bytes, size_t length_bytes) {
  size_t at = 0;
  for (; at + 8 <= length_bytes; at += 8) {
    uint64_t word;
    std::memcpy(&word, bytes + at, 8);
    if ((word & 0x8080808080808080) != 0) return false;
  }
  for (; at < length_bytes; ++at) {
    if (bytes[at] >= 0x80) return false;
  }
  return true;
}

size_t DecodeName(const uint8_t* bytes, size_t length_bytes, char16_t* units) {
  size_t written = 0;
  for (size_t at = 0; at < length_bytes;) {
    uint32_t code_point = 0;
    const size_t count = WellFormed(bytes + at, length_bytes - at, &code_point);
    if (count == 0 || code_point >= kEscapeBase) {
      for (const size_t end = at + (count == 0 ? 1 : count); at < end; ++at) {
        units[written++] = kEscapeHigh;
        units[written++] = static_cast<char16_t>(kEscapeLowBase + bytes[at]);
      }
      continue;
    }
    at += count;
    if (code_point < 0x10000) {
      units[written++] = static_cast<char16_t>(code_point);
    } else {
      units[written++] = static_cast<char16_t>(0xd800 + ((code_point - 0x10000) >> 10));
      units[written++] = static_cast<char16_t>(0xdc00 + ((code_point - 0x10000) & 0x3ff));
    }
  }
  return written;
}

bool EncodeName(const char16_t* units, size_t length_units, std::string* bytes) {
  bytes->clear();
  bool escaped = false;
  for (size_t at = 0; at < length_units;) {
    uint32_t code_point = 0;
    if (!NextCodePoint(units, length_units, &at, &code_point)) return false;
    if (code_point < kEscapeBase) {
      AppendUtf8(code_point, bytes);
    } else {
      if (code_point < kEscapeBase + 0x80) return false;
      bytes->push_back(static_cast<char>(code_point - kEscapeBase));
      escaped = true;
    }
  }
  if (!escaped) return true;
  // Escapes that make text together would give two strings the same bytes: decode to see.
  std::vector<char16_t> again(DecodedUnitsMax(bytes->size()));
  const size_t again_units =
      DecodeName(reinterpret_cast<const uint8_t*>(bytes->data()), bytes->size(), again.data());
  return again_units == length_units &&
         std::memcmp(again.data(), units, length_units * sizeof(char16_t)) == 0;
}

}  // namespace fauxdax
