// Linux names are bytes, JavaScript strings are UTF-16. A name is decoded as UTF-8; each byte that
// is not part of a well-formed sequence, and each byte of a sequence that encodes
// U+10FF00..U+10FFFF, becomes the code point U+10FF00 + byte (a surrogate pair DBFF DF00+byte).
// Encoding reverses it. Both ways are exact. Mirrored by lib/name_codec.ts; stateless, any thread,
// no Node-API.
#ifndef FAUXDAX_NAME_CODEC_H_
#define FAUXDAX_NAME_CODEC_H_

#include <cstddef>
#include <cstdint>
#include <string>

namespace fauxdax {

// True when every byte is below 0x80: such a name is its own Latin-1 string, with no decoding.
bool IsAscii(const uint8_t* bytes, size_t length_bytes);

// UTF-16 units a decoded name can take at most: every byte escaped to a surrogate pair.
constexpr size_t DecodedUnitsMax(size_t length_bytes) { return 2 * length_bytes; }

// Decodes into `units`, which has room for DecodedUnitsMax(length_bytes). Returns the units
// written. Never fails: any bytes are a name.
size_t DecodeName(const uint8_t* bytes, size_t length_bytes, char16_t* units);

// Encodes and replaces *bytes. False, with *bytes unspecified, for a string that DecodeName() never
// returns: a lone surrogate, U+10FF00..U+10FF7F, or escaped bytes that are well-formed together.
[[nodiscard]] bool EncodeName(const char16_t* units, size_t length_units, std::string* bytes);

}  // namespace fauxdax

#endif  // FAUXDAX_NAME_CODEC_H_
